//! `connectors/scim` against a vendor that others wrote: scim2-server from PyPI, strict about RFC 7643
//! and 7644. Entra's cycle goes through a real gateway; what the foreign server then holds is read from
//! the server itself, not from the gateway.
//!
//! The server stands in the virtual environment of `scripts/judges`. Without it the test fails with
//! the command that makes it; nothing is skipped.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use gateway_tests::entra::Entra;
use gateway_tests::gateway_process::{Config, Gateway};
use reqwest::Method;
use serde_json::{Value, json};

const TENANT: &str = "foreign";
const VENDOR_TOKEN: &str = "the-foreign-vendors-token";
const START_DEADLINE: Duration = Duration::from_secs(60);
const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// scim2-server as a child process; killed when dropped.
struct ForeignServer {
    child: Child,
    base_url: String,
    client: reqwest::Client,
}

impl ForeignServer {
    fn start() -> Self {
        // A port that was free a moment ago can be taken by somebody else: then others are tried.
        for _ in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|socket| socket.local_addr())
                .expect("a free port")
                .port();
            if let Some(server) = Self::start_on(port) {
                return server;
            }
        }
        panic!("scim2-server ended three times before it listened");
    }

    /// `None` if it ended before it listened.
    fn start_on(port: u16) -> Option<Self> {
        let program = program();
        let mut child = Command::new(&program)
            .args(["--port", &port.to_string(), "--bearer-token", VENDOR_TOKEN])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // One line for each request.
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                let program = program.display();
                panic!("{program}: {error}; install it with `scripts/judges --install`")
            });
        let stdout = child.stdout.take().expect("standard output");
        let server = Self {
            child,
            base_url: format!("http://127.0.0.1:{port}/v2"),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(START_DEADLINE)
                .build()
                .expect("a client"),
        };
        let (said, heard) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Printed once the socket listens.
            let _ = said.send(lines.any(|line| line.starts_with("Serving SCIM on")));
        });
        let listens = heard.recv_timeout(START_DEADLINE);
        listens
            .expect("scim2-server says within the deadline that it listens")
            .then_some(server)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("{}/{path}", self.base_url))
            .bearer_auth(VENDOR_TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/scim+json")
                .body(body.to_string());
        }
        let response = request.send().await.expect("scim2-server answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a whole answer");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The one resource that a filter finds there; `None` if it finds none.
    async fn find(&self, endpoint: &str, attribute: &str, value: &str) -> Option<Value> {
        let filter = format!("{endpoint}?filter={attribute}%20eq%20%22{value}%22");
        let (status, list) = self.send(Method::GET, &filter, None).await;
        assert_eq!(status, 200, "{list}");
        let found = list["Resources"].as_array().cloned().unwrap_or_default();
        assert!(found.len() < 2, "{value} is there twice: {list}");
        found.into_iter().next()
    }

    async fn user(&self, user_name: &str) -> Value {
        let user = self.find("Users", "userName", user_name).await;
        user.unwrap_or_else(|| panic!("scim2-server has no {user_name}"))
    }

    /// The userNames behind the members of a group there, sorted.
    async fn members(&self, display_name: &str) -> Vec<String> {
        let group = self.find("Groups", "displayName", display_name).await;
        let group = group.unwrap_or_else(|| panic!("scim2-server has no group {display_name}"));
        let mut names = Vec::new();
        for member in group["members"].as_array().into_iter().flatten() {
            let id = member["value"].as_str().expect("a member has a value");
            let (status, user) = self.send(Method::GET, &format!("Users/{id}"), None).await;
            assert_eq!(status, 200, "{member} is nobody at scim2-server: {group}");
            names.push(user["userName"].as_str().expect("a name").to_owned());
        }
        names.sort();
        names
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `scripts/judges` installs it: below the folder into which cargo built this test.
fn program() -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let target = this.ancestors().nth(3).expect("target/debug/deps/this");
    target.join("judges/venv/bin/scim2-server")
}

/// A gateway with one tenant whose vendor is the foreign server. The folder goes with it.
struct Stage {
    vendor: ForeignServer,
    entra: Entra,
    _gateway: Gateway,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn set_up() -> Self {
        let vendor = ForeignServer::start();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let tables = format!(
            "[tenants.{TENANT}]\nconnector = \"scim\"\n\
             [tenants.{TENANT}.settings]\nbase_url = \"{}\"\n\
             [tenants.{TENANT}.secrets]\ntoken = \"env:FOREIGN_TOKEN\"\n\
             [tenants.{TENANT}.egress]\nallow_private = [\"127.0.0.1/32\"]\n",
            vendor.base_url
        );
        let mut config = Config::new(dir.path(), tables);
        config
            .env
            .push(("FOREIGN_TOKEN".to_owned(), VENDOR_TOKEN.to_owned()));
        let gateway = Gateway::start(config).expect("the gateway is up");
        let token = gateway.token(TENANT).expect("a token");
        let entra = Entra::new(&gateway.scim_url(TENANT), &token).expect("a client");
        Self {
            vendor,
            entra,
            _gateway: gateway,
            _dir: dir,
        }
    }
}

/// The value of the element of that type in a multi-valued attribute.
fn typed<'a>(resource: &'a Value, attribute: &str, kind: &str, sub: &str) -> &'a Value {
    let elements = resource[attribute].as_array();
    let mut found = elements
        .into_iter()
        .flatten()
        .filter(|one| one["type"] == kind);
    let first = found.next().map_or(&Value::Null, |one| &one[sub]);
    assert!(found.next().is_none(), "{attribute} has {kind} twice");
    first
}

fn ada() -> Value {
    json!({
        "schemas": [USER, ENTERPRISE],
        "externalId": "ada",
        "userName": "ada.okafor@example.com",
        "active": true,
        "displayName": "Ada Okafor",
        "title": "Engineer",
        "emails": [{ "type": "work", "value": "ada.okafor@example.com", "primary": true }],
        "phoneNumbers": [{ "type": "work", "value": "+1 201 555 0100" }],
        "addresses": [{ "type": "work", "streetAddress": "1 Main Street", "locality": "Lagos" }],
        "name": { "givenName": "Ada", "familyName": "Okafor" },
        ENTERPRISE: { "employeeNumber": "1001", "department": "Research" },
    })
}

fn grace() -> Value {
    json!({
        "schemas": [USER],
        "externalId": "grace",
        "userName": "grace.lindqvist@example.com",
        "active": true,
        "name": { "givenName": "Grace", "familyName": "Lindqvist" },
    })
}

#[tokio::test]
async fn a_user_lives_at_the_foreign_vendor_as_entra_wants() {
    let Stage { vendor, entra, .. } = &Stage::set_up();
    let name = "ada.okafor@example.com";
    assert_eq!(entra.look_up(name).await, Ok(None));
    let id = entra.create(&ada()).await.expect("a new user");
    assert_eq!(entra.look_up(name).await, Ok(Some(id.clone())));

    let held = vendor.user(name).await;
    assert_eq!(held["active"], true, "{held}");
    assert_eq!(held["title"], "Engineer", "{held}");
    assert_eq!(held["name"]["givenName"], "Ada", "{held}");
    assert_eq!(*typed(&held, "emails", "work", "value"), name, "{held}");
    assert_eq!(
        *typed(&held, "addresses", "work", "locality"),
        "Lagos",
        "{held}"
    );
    assert_eq!(held[ENTERPRISE]["department"], "Research", "{held}");
    let uid = held["id"].clone();

    // Capital verbs and value paths, two of them on an element that is not there yet, which
    // scim2-server itself answers with noTarget.
    let operations = json!([
        { "op": "Replace", "path": "displayName", "value": "Ada O." },
        { "op": "Replace", "path": "name.familyName", "value": "Okafor-Berg" },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "ada@example.com" },
        { "op": "Add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "+1 201 555 0199" },
        { "op": "Add", "path": "addresses[type eq \"work\"].postalCode", "value": "101241" },
        { "op": "Add", "path": "addresses[type eq \"home\"].locality", "value": "Ikeja" },
        { "op": "Replace", "path": format!("{ENTERPRISE}:department"), "value": "Development" },
        { "op": "Remove", "path": "title" },
    ]);
    entra.patch(&id, operations).await.expect("a changed user");
    let held = vendor.user(name).await;
    assert_eq!(held["displayName"], "Ada O.", "{held}");
    assert_eq!(held["name"]["givenName"], "Ada", "{held}");
    assert_eq!(held["name"]["familyName"], "Okafor-Berg", "{held}");
    for (attribute, kind, sub, value) in [
        ("emails", "work", "value", "ada@example.com"),
        ("phoneNumbers", "mobile", "value", "+1 201 555 0199"),
        ("phoneNumbers", "work", "value", "+1 201 555 0100"),
        ("addresses", "work", "postalCode", "101241"),
        ("addresses", "work", "locality", "Lagos"),
        ("addresses", "work", "streetAddress", "1 Main Street"),
        ("addresses", "home", "locality", "Ikeja"),
    ] {
        assert_eq!(*typed(&held, attribute, kind, sub), value, "{held}");
    }
    assert_eq!(held[ENTERPRISE]["department"], "Development", "{held}");
    assert_eq!(held[ENTERPRISE]["employeeNumber"], "1001", "{held}");
    assert_eq!(held["title"], Value::Null, "{held}");
    assert_eq!(held["id"], uid, "changed in place: {held}");

    entra.disable(&id).await.expect("a disabled user");
    assert_eq!(vendor.user(name).await["active"], false);

    entra.delete(&id).await.expect("a deleted user");
    assert_eq!(vendor.find("Users", "userName", name).await, None);
    assert_eq!(entra.look_up(name).await, Ok(None));
}

#[tokio::test]
async fn groups_and_their_members_live_at_the_foreign_vendor() {
    let Stage { vendor, entra, .. } = &Stage::set_up();
    let ada = entra.create(&ada()).await.expect("a new user");
    let grace = entra.create(&grace()).await.expect("a new user");
    assert_eq!(entra.look_up_group("Engineers").await, Ok(None));
    let group = json!({ "schemas": [GROUP], "externalId": "g1", "displayName": "Engineers" });
    let group = entra.create_group(&group).await.expect("a new group");
    let found = entra.look_up_group("Engineers").await;
    assert_eq!(found, Ok(Some(group.clone())));
    assert!(vendor.members("Engineers").await.is_empty());

    let both = ["ada.okafor@example.com", "grace.lindqvist@example.com"];
    // Entra adds each member with a PATCH of its own, and may send one twice.
    for member in [&ada, &grace, &grace] {
        let added = entra.add_members(&group, std::slice::from_ref(member));
        added.await.expect("a member more");
    }
    assert_eq!(vendor.members("Engineers").await, both);

    // Two forms of removal: Entra's, with the members as the value, and the RFC's, with a filter.
    let removed = entra.remove_members(&group, std::slice::from_ref(&grace));
    removed.await.expect("a member less");
    assert_eq!(vendor.members("Engineers").await, both[..1]);
    let filtered = json!([{ "op": "Remove", "path": format!("members[value eq \"{ada}\"]") }]);
    let removed = entra.patch_group(&group, filtered).await;
    removed.expect("no member");
    assert!(vendor.members("Engineers").await.is_empty());

    let operations = json!([
        { "op": "Replace", "path": "displayName", "value": "Builders" },
        { "op": "Add", "path": "members", "value": [{ "value": ada }, { "value": grace }] },
    ]);
    let changed = entra.patch_group(&group, operations).await;
    changed.expect("another name, and members");
    assert_eq!(vendor.members("Builders").await, both);
    let old = vendor.find("Groups", "displayName", "Engineers").await;
    assert_eq!(old, None);

    entra.delete_group(&group).await.expect("a deleted group");
    let gone = vendor.find("Groups", "displayName", "Builders").await;
    assert_eq!(gone, None);
    // Who was a member stays.
    for name in both {
        vendor.user(name).await;
    }
}

#[tokio::test]
async fn who_is_at_the_foreign_vendor_already_is_matched_and_not_made_twice() {
    let Stage { vendor, entra, .. } = &Stage::set_up();
    let there =
        json!({ "schemas": [USER], "userName": "Ada.Okafor@example.com", "title": "Guest" });
    let (status, there) = vendor.send(Method::POST, "Users", Some(&there)).await;
    assert_eq!(status, 201, "{there}");

    entra.create(&ada()).await.expect("a new user");
    let held = vendor.user("ada.okafor@example.com").await;
    assert_eq!(held["id"], there["id"], "{held}");
    assert_eq!(held["title"], "Engineer", "{held}");
}
