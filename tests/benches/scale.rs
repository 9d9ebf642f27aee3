//! `make bench`: whether a request costs the same in a small tenant and in a large one. One membership
//! in groups of 10, 10,000 and 200,000 members; lookups and pages among 1,000 and 500,000 users.
//!
//! Both sizes live in one store and are measured in one run. The store is filled by the store's own
//! code, whose documents are made as the gateway makes them; then the real gateway serves it. The load
//! generator (this process, so many requests at once as the row says) and an instant vendor, which
//! answers every PATCH with 204, cost nothing here: only the gateway's CPU time counts.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpResponse, HttpServer, web};
use futures::{StreamExt, TryStreamExt};
use gateway::dispatch::{indexed_keys, resource_kind, unique_keys};
use gateway::manifest::Manifest;
use gateway::scim::{ENTRA, Profile, Reading, ScimLimits};
use gateway::store::{
    self, Kind, Member, MemberChange, Store, StoreLimits, Stored, Write, WriteSet,
};
use gateway_tests::cost::{costed, header, rated};
use gateway_tests::gateway_process::{Config, Gateway, issue_token, repository};
use jiff::Timestamp;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use uuid::Uuid;

/// The tenant of 1,000 users, and the one of 500,000.
const SMALL: &str = "small";
const LARGE: &str = "large";

/// Write sets of so many users fill the store.
const CHUNK: u64 = 250;
/// Memory that is meant for the store: enough to hold it, as an operator of this size would give.
const MEMORY_BYTES: u64 = 16 << 30;
const AT_ONCE: usize = 32;

/// How much there is of everything.
struct Size {
    small: u64,
    large: u64,
    groups: [u64; 3],
    operations: usize,
}

fn main() -> Result<(), String> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let size = match quick {
        true => Size {
            small: 1_000,
            large: 20_000,
            groups: [10, 1_000, 10_000],
            operations: 600,
        },
        false => Size {
            small: 1_000,
            large: 500_000,
            groups: [10, 10_000, 200_000],
            operations: 6_000,
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;

    let started = Instant::now();
    println!(
        "filling a store with {} and {} users",
        size.small, size.large
    );
    runtime.block_on(fill(&dir.path().join("data"), &size))?;
    println!("filled in {:.0} s", started.elapsed().as_secs_f64());

    let vendor = runtime.block_on(async { instant_vendor() })?;
    let mut config = Config::new(dir.path(), tables(&vendor));
    config.env = vec![
        ("GATEWAY_LOG".to_owned(), "warn".to_owned()),
        ("VENDOR_TOKEN".to_owned(), "instant-vendor-token".to_owned()),
    ];
    let gateway = Gateway::start(config)?;
    let bench = Bench {
        client: Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?,
        small: issue_token(gateway.config(), SMALL)?,
        large: issue_token(gateway.config(), LARGE)?,
        gateway,
        runtime,
        operations: size.operations,
    };
    println!(
        "one sled store of both tenants, memory_bytes {} GiB; {AT_ONCE} requests at once from this process",
        MEMORY_BYTES >> 30
    );
    header();
    bench.memberships(&size)?;
    bench.lookups(&size)?;
    bench.pages(&size)
}

fn tables(vendor: &str) -> String {
    let tenant = |name: &str| {
        format!(
            "[tenants.{name}]\nconnector = \"scim\"\n\
             [tenants.{name}.settings]\nbase_url = \"{vendor}\"\n\
             [tenants.{name}.secrets]\ntoken = \"env:VENDOR_TOKEN\"\n\
             [tenants.{name}.egress]\nallow_private = [\"127.0.0.1/32\"]\n"
        )
    };
    format!(
        "[gateway.limits.store]\nmemory_bytes = {MEMORY_BYTES}\n{}{}",
        tenant(SMALL),
        tenant(LARGE)
    )
}

/// A vendor that has done whatever it is asked before the question ends.
fn instant_vendor() -> Result<String, String> {
    let server = HttpServer::new(|| {
        App::new().default_service(web::route().to(|| async { HttpResponse::NoContent().finish() }))
    })
    .workers(1)
    .disable_signals()
    .bind("127.0.0.1:0")
    .map_err(|error| error.to_string())?;
    let address = server.addrs()[0];
    tokio::spawn(server.run());
    Ok(format!("http://{address}"))
}

/// The id of a user or group of the store: known without a lookup.
fn id(tenant: &str, kind: Kind, number: u64) -> Uuid {
    let tenant = u128::from(tenant == LARGE);
    let kind = match kind {
        Kind::User => 1,
        Kind::Group => 2,
    };
    // The bits of a version 4 UUID, spread as random ones are.
    let spread = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let bits = (spread << 8) ^ (kind << 4) ^ tenant;
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

fn user_name(number: u64) -> String {
    format!("person.{number}@example.com")
}

async fn fill(dir: &std::path::Path, size: &Size) -> Result<(), String> {
    let limits = StoreLimits {
        memory_bytes: MEMORY_BYTES,
        ..StoreLimits::default()
    };
    let location = format!("sled:{}", dir.display());
    let store = store::open(&location, &limits).map_err(|error| error.to_string())?;
    let text = std::fs::read_to_string(repository().join("connectors/scim/connector.toml"));
    let text = text.map_err(|error| error.to_string())?;
    let manifest = Manifest::parse(&text).map_err(|problems| problems.join("\n"))?;
    for (tenant, users) in [(SMALL, size.small), (LARGE, size.large)] {
        fill_users(&store, &manifest.profile, tenant, users).await?;
    }
    for (number, members) in (0..).zip(size.groups) {
        fill_group(&store, &manifest.profile, number, members).await?;
    }
    store.close().await;
    Ok(())
}

/// Commits write sets, as many at once as share a flush well.
async fn commit_all(
    store: &Arc<dyn Store>,
    write_sets: impl Iterator<Item = WriteSet>,
) -> Result<(), String> {
    futures::stream::iter(write_sets)
        .map(|write_set| async { store.commit(write_set).await.map_err(|e| e.to_string()) })
        .buffer_unordered(8)
        .try_collect::<Vec<()>>()
        .await
        .map(|_| ())
}

async fn fill_users(
    store: &Arc<dyn Store>,
    profile: &Profile,
    tenant: &str,
    users: u64,
) -> Result<(), String> {
    let write_sets = (0..users).step_by(CHUNK as usize).map(|first| {
        let numbers: Range<u64> = first..users.min(first + CHUNK);
        WriteSet {
            tenant: tenant.to_owned(),
            preconditions: Vec::new(),
            writes: numbers
                .filter_map(|number| {
                    let body = user(number);
                    stored(profile, Kind::User, id(tenant, Kind::User, number), body)
                })
                .collect(),
        }
    });
    commit_all(store, write_sets).await
}

async fn fill_group(
    store: &Arc<dyn Store>,
    profile: &Profile,
    number: u64,
    members: u64,
) -> Result<(), String> {
    let group = id(LARGE, Kind::Group, number);
    let body = json!({ "displayName": format!("Group of {members}") });
    let put = stored(profile, Kind::Group, group, body).ok_or("no group")?;
    let put = WriteSet {
        tenant: LARGE.to_owned(),
        preconditions: Vec::new(),
        writes: vec![put],
    };
    store.commit(put).await.map_err(|error| error.to_string())?;
    let write_sets = (0..members).step_by(CHUNK as usize).map(|first| {
        let add = (first..members.min(first + CHUNK)).map(|number| Member {
            kind: Kind::User,
            id: id(LARGE, Kind::User, number),
            uid: None,
        });
        let change = MemberChange {
            add: add.collect(),
            remove: Vec::new(),
        };
        WriteSet {
            tenant: LARGE.to_owned(),
            preconditions: Vec::new(),
            writes: vec![Write::ChangeMembers { group, change }],
        }
    });
    commit_all(store, write_sets).await
}

/// A user with what an identity provider sends of one.
fn user(number: u64) -> Value {
    json!({
        "externalId": format!("0a21f0f2-8d2a-4f8e-bf98-{number:012}"),
        "userName": user_name(number),
        "active": true,
        "displayName": format!("Person {number}"),
        "title": "Engineer",
        "name": { "formatted": format!("Person {number}"), "familyName": format!("{number}"), "givenName": "Person" },
        "emails": [{ "type": "work", "primary": true, "value": user_name(number) }],
        "phoneNumbers": [{ "type": "work", "value": "+31 20 123 4567" }],
        "addresses": [{ "type": "work", "locality": "Utrecht", "country": "NL" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "department": "Research", "employeeNumber": format!("{number}"),
        },
    })
}

/// The write that stores a resource as the gateway would have.
fn stored(profile: &Profile, kind: Kind, id: Uuid, body: Value) -> Option<Write> {
    let limits = ScimLimits::default();
    let reading = Reading::new(&ENTRA, &limits);
    let resource_type = profile.resource_type(resource_kind(kind))?;
    let resource = resource_type.accept(body, &reading).ok()?.resource;
    let now = Timestamp::now();
    Some(Write::PutResource(Stored {
        id,
        kind,
        version: 1,
        created: now,
        modified: now,
        uid: Some(id.simple().to_string()),
        unique: unique_keys(kind, &resource),
        indexed: indexed_keys(kind, &resource),
        position: 0,
        document: resource.into_document(),
    }))
}

struct Bench {
    client: Client,
    gateway: Gateway,
    runtime: tokio::runtime::Runtime,
    small: String,
    large: String,
    operations: usize,
}

impl Bench {
    /// One member in or out of groups of each size, and reads around them.
    fn memberships(&self, size: &Size) -> Result<(), String> {
        let target = Some(Duration::from_micros(120));
        // Users behind those of the largest group: in none of them.
        let outsiders = size.groups[2]..size.large;
        for (number, members) in (0..).zip(size.groups) {
            let group = id(LARGE, Kind::Group, number);
            let path = format!("Groups/{group}");
            let people: Vec<Uuid> = outsiders
                .clone()
                .take(self.operations / 2)
                .map(|number| id(LARGE, Kind::User, number))
                .collect();
            let patches = |op: &str| -> Vec<Option<Value>> {
                people
                    .iter()
                    .map(|user| Some(membership(op, *user)))
                    .collect()
            };
            let name = format!("PATCH one member, group of {members}");
            let patch = |bodies: &[Option<Value>]| {
                self.all(
                    Method::PATCH,
                    LARGE,
                    204,
                    AT_ONCE,
                    &|at| (path.clone(), bodies[at].clone()),
                    bodies.len(),
                )
            };
            patch(&patches("Add")[..people.len().min(64)])?;
            patch(&patches("Remove")[..people.len().min(64)])?;
            let (adds, removes) = (patches("Add"), patches("Remove"));
            let ((), cost) = costed(&self.gateway, || {
                patch(&adds).and_then(|()| patch(&removes))
            })?;
            rated(&name, &cost.per(2 * people.len()), target);
        }
        for (number, members) in (0..).zip(size.groups) {
            let group = id(LARGE, Kind::Group, number);
            let path = format!("Groups/{group}?excludedAttributes=members");
            let name = format!("GET group without members, {members} of them");
            self.get(&name, LARGE, target, &|_| path.clone())?;
        }
        let (_, middle, largest) = (size.groups[0], size.groups[1], size.groups[2]);
        for (name, users) in [
            ("GET user in no group", largest..size.large),
            ("GET user in the largest group", middle..largest),
            ("GET user in the two larger groups", size.groups[0]..middle),
        ] {
            let users: Vec<u64> = users.take(2_000).collect();
            self.get(name, LARGE, target, &|at| {
                let user = id(LARGE, Kind::User, users[at % users.len()]);
                format!("Users/{user}")
            })?;
        }
        Ok(())
    }

    /// Lookups by each index, in both tenants.
    fn lookups(&self, size: &Size) -> Result<(), String> {
        let target = Some(Duration::from_micros(80));
        for (attribute, value) in [
            ("userName", user_name as fn(u64) -> String),
            ("externalId", |number| {
                format!("0a21f0f2-8d2a-4f8e-bf98-{number:012}")
            }),
            ("emails[type eq \"work\"].value", user_name),
        ] {
            for (tenant, users) in [(SMALL, size.small), (LARGE, size.large)] {
                let name = format!("{} eq, {users} users", attribute.replace("type eq ", ""));
                self.get(&name, tenant, target, &|at| {
                    // All over the tenant: a step that shares no factor with its size.
                    let value = value((at as u64 * 7_919) % users);
                    let filter = format!("{attribute} eq \"{value}\"");
                    let filter = filter.replace(' ', "+").replace('@', "%40");
                    format!("Users?filter={filter}")
                })?;
            }
        }
        Ok(())
    }

    /// Full pages from all over the tenant.
    fn pages(&self, size: &Size) -> Result<(), String> {
        let target = Some(Duration::from_millis(2));
        for (tenant, users) in [(SMALL, size.small), (LARGE, size.large)] {
            let name = format!("GET a page of 100, {users} users");
            let pages = self.operations / 20;
            let page = |at: usize| {
                let start = (at as u64 * 7_919) % (users - 100) + 1;
                (format!("Users?startIndex={start}&count=100"), None)
            };
            // The same pages before: what is read from disk for the first time is another question.
            self.all(Method::GET, tenant, 200, AT_ONCE, &page, pages)?;
            let ((), cost) = costed(&self.gateway, || {
                self.all(Method::GET, tenant, 200, AT_ONCE, &page, pages)
            })?;
            rated(&name, &cost.per(pages), target);
        }
        Ok(())
    }

    fn get(
        &self,
        name: &str,
        tenant: &str,
        target: Option<Duration>,
        path: &dyn Fn(usize) -> String,
    ) -> Result<(), String> {
        let request = |at: usize| (path(at), None);
        // The first round warms the store's cache, for the small tenant as for the large one.
        self.all(Method::GET, tenant, 200, AT_ONCE, &request, self.operations)?;
        let ((), cost) = costed(&self.gateway, || {
            self.all(Method::GET, tenant, 200, AT_ONCE, &request, self.operations)
        })?;
        rated(name, &cost.per(self.operations), target);
        Ok(())
    }

    /// Sends so many requests, `at_once` of them at any moment; each must be answered as expected.
    fn all(
        &self,
        method: Method,
        tenant: &str,
        status: u16,
        at_once: usize,
        request: &dyn Fn(usize) -> (String, Option<Value>),
        count: usize,
    ) -> Result<(), String> {
        let token = match tenant {
            SMALL => &self.small,
            _ => &self.large,
        };
        let base = self.gateway.scim_url(tenant);
        let requests = (0..count).map(|at| {
            let (path, body) = request(at);
            let sent = self
                .client
                .request(method.clone(), format!("{base}/{path}"))
                .bearer_auth(token);
            let sent = match body {
                Some(body) => sent.json(&body),
                None => sent,
            };
            async move {
                let answer = sent.send().await.map_err(|error| error.to_string())?;
                let found = answer.status().as_u16();
                let body = answer.bytes().await.map_err(|error| error.to_string())?;
                match found == status {
                    true => Ok(()),
                    false => Err(format!("{found}: {}", String::from_utf8_lossy(&body))),
                }
            }
        });
        self.runtime.block_on(
            futures::stream::iter(requests)
                .buffer_unordered(at_once)
                .try_collect::<Vec<()>>(),
        )?;
        Ok(())
    }
}

fn membership(op: &str, user: Uuid) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": op, "path": "members", "value": [{ "$ref": null, "value": user.to_string() }] }],
    })
}
