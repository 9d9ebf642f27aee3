//! Groups over real sockets, with the gateway's binary and a simulated vendor whose API is SCIM: members
//! that many clients change at once, races, pages, nested groups, and kill -9 in the middle of it. What
//! the gateway shows and what the vendor holds is compared each time, member by member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_tests::corridor::{Corridor, SCIM, ScimSide, Setup};
use gateway_tests::directory::{GROUP, USER};
use gateway_tests::entra::{Answer, Entra, change_of_members, patch_of};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

const AT_ONCE: usize = 16;
/// How many times the gateway is killed; `SOAK_ROUNDS` says otherwise.
const KILLS: u64 = 10;
const KILL_CLIENTS: usize = 6;
/// How long a request may be repeated after the last kill.
const SETTLE: Duration = Duration::from_secs(60);

/// Both ends of the one tenant that these tests are about.
struct Stage {
    corridor: Corridor,
    /// `userName` or group's name by the gateway's id.
    names: BTreeMap<String, String>,
    // Dropped last: the gateway has its data here.
    _dir: tempfile::TempDir,
}

impl Stage {
    /// With a vendor that takes so long for each answer.
    fn start(latency_ms: u64) -> Stage {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut setup = Setup::instant().with(&[SCIM]);
        setup.scim_switches.instant = latency_ms == 0;
        setup.scim_switches.latency_ms = latency_ms;
        Stage {
            corridor: Corridor::start(dir.path(), setup).expect("the corridor is up"),
            names: BTreeMap::new(),
            _dir: dir,
        }
    }

    fn side(&self) -> &ScimSide {
        self.corridor.scim(SCIM.name).expect("the tenant is there")
    }

    fn entra(&self) -> &Entra {
        &self.side().entra
    }

    /// Creates users and returns their ids, in their order.
    async fn users(&mut self, prefix: &str, count: usize) -> Vec<String> {
        let entra = self.entra();
        let made: Vec<(String, String)> = futures::stream::iter(0..count)
            .map(async |n| {
                let name = format!("{prefix}{n:04}@example.com");
                let body = json!({ "schemas": [USER], "userName": name, "active": true });
                let id = entra.create(&body).await;
                (id.unwrap_or_else(|error| panic!("{name}: {error}")), name)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        self.names.extend(made.iter().cloned());
        made.into_iter().map(|(id, _)| id).collect()
    }

    async fn group(&mut self, name: &str) -> String {
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": [] });
        let id = self.entra().create_group(&body).await;
        let id = id.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.names.insert(id.clone(), name.to_owned());
        id
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.entra().send(Method::GET, path, None).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// A page of the users in a group.
    async fn page(&self, group: &str, start: usize, count: usize) -> Value {
        let filter = format!("filter=groups.value+eq+\"{group}\"");
        let shown = "attributes=userName";
        self.get(&format!(
            "Users?{filter}&startIndex={start}&count={count}&{shown}"
        ))
        .await
    }

    /// The gateway shows these members and no others, and the vendor holds the same.
    async fn agree(&self, group: &str, wanted: &[String]) {
        let wanted: BTreeSet<&str> = wanted.iter().map(|id| self.names[id].as_str()).collect();
        let shown = self.get(&format!("Groups/{group}")).await;
        let members = shown["members"].as_array().cloned().unwrap_or_default();
        let ids = members
            .iter()
            .map(|it| it["value"].as_str().unwrap_or("no value"));
        let named = |id| self.names.get(id).map_or(id, String::as_str);
        let shown: BTreeSet<&str> = ids.map(named).collect();
        assert_eq!(shown.len(), members.len(), "a member is shown twice");
        same("the gateway", &wanted, &shown);

        let vendor = &self.side().vendor;
        let name = &self.names[group];
        let held = vendor.group_named(name);
        let held = held.unwrap_or_else(|| panic!("the vendor has no group {name}"));
        let names: BTreeMap<String, String> = vendor
            .users()
            .iter()
            .map(|it| (text(&it["id"]), text(&it["userName"])))
            .chain(
                vendor
                    .groups()
                    .into_iter()
                    .map(|it| (it.id, it.display_name)),
            )
            .collect();
        let held = held.members.iter().map(|id| names[id].as_str()).collect();
        same("the vendor", &wanted, &held);
    }
}

/// Says who is missing and who is too much, not what a thousand members are.
fn same(place: &str, wanted: &BTreeSet<&str>, found: &BTreeSet<&str>) {
    let missing: Vec<_> = wanted.difference(found).take(10).collect();
    let extra: Vec<_> = found.difference(wanted).take(10).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{place} has {} members instead of {}; missing: {missing:?} …, too much: {extra:?} …",
        found.len(),
        wanted.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_changes_of_one_member_each_lose_none() {
    let mut stage = Stage::start(2);
    let users = stage.users("parallel", 300).await;
    let group = stage.group("Parallel").await;
    let (leavers, joiners) = users.split_at(100);
    let filled = stage.entra().add_members(&group, leavers).await;
    filled.expect("the group is filled");
    stage.agree(&group, leavers).await;

    // Two who join, then one who leaves, and so on.
    let mut changes = Vec::new();
    for (leaver, pair) in leavers.iter().zip(joiners.chunks(2)) {
        changes.extend(pair.iter().map(|it| ("Add", it)));
        changes.push(("Remove", leaver));
    }
    assert_eq!(changes.len(), 300);
    let failures: Vec<String> = futures::stream::iter(changes)
        .map(async |(verb, member)| {
            let operation = change_of_members(verb, std::slice::from_ref(member));
            let done = stage.entra().patch_group(&group, operation).await;
            done.err().map(|error| format!("{verb}: {error}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    stage.agree(&group, joiners).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_creates_of_one_name_one_wins_and_the_vendor_is_told_once() {
    let stage = Stage::start(20);
    for (endpoint, schema, attribute) in [
        ("Groups", GROUP, "displayName"),
        ("Users", USER, "userName"),
    ] {
        for round in 0..3 {
            let name = format!("Racer{round}@example.com");
            stage.side().vendor.drain_log();
            // Two of them, then sixteen.
            let racers = if round == 0 { 2 } else { AT_ONCE };
            let racers = (0..racers).map(|racer| {
                let name = if racer % 2 == 0 {
                    name.clone()
                } else {
                    name.to_uppercase()
                };
                let body = json!({ "schemas": [schema], attribute: name });
                let entra = stage.entra().clone();
                tokio::spawn(async move { entra.send(Method::POST, endpoint, Some(&body)).await })
            });
            let answers = all(racers).await;
            let won = answers.iter().filter(|it| it.status == 201).count();
            let lost = answers
                .iter()
                .filter(|it| it.status == 409 && it.body["scimType"] == "uniqueness")
                .count();
            assert_eq!((won, won + lost), (1, answers.len()), "{answers:?}");
            let log = stage.side().vendor.drain_log();
            let creates = log
                .iter()
                .filter(|it| it.operation == format!("POST /{endpoint}"));
            assert_eq!(creates.count(), 1, "the vendor is told once: {log:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_changes_with_if_match_one_wins() {
    let mut stage = Stage::start(5);
    let group = stage.group("Conditional").await;
    let version = text(&stage.get(&format!("Groups/{group}")).await["meta"]["version"]);
    assert!(
        version.starts_with("W/\""),
        "a weak entity tag: {version:?}"
    );
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let url = stage.corridor.gateway.scim_url(SCIM.name);
    let attempts = (0..8).map(|n| {
        let operation =
            json!([{ "op": "replace", "path": "displayName", "value": format!("C{n}") }]);
        let request = client
            .patch(format!("{url}/Groups/{group}"))
            .bearer_auth(&stage.side().token)
            .header("content-type", "application/scim+json")
            .header("if-match", &version)
            .body(patch_of(operation).to_string());
        tokio::spawn(request.send())
    });
    let mut statuses = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        let answer = attempt.await.expect("no panic").expect("an answer");
        statuses.push(answer.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 412, 412, 412, 412, 412, 412, 412]);
    let shown = stage.get(&format!("Groups/{group}")).await;
    let held = stage.side().vendor.groups();
    assert_eq!(json!(held[0].display_name), shown["displayName"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_is_in_no_group_and_an_inactive_one_stays() {
    let mut stage = Stage::start(0);
    let users = stage.users("life", 3).await;
    let (first, second) = (stage.group("First").await, stage.group("Second").await);
    for group in [&first, &second] {
        let filled = stage.entra().add_members(group, &users).await;
        filled.expect("the group is filled");
    }
    let read = stage.entra().read(&users[0]).await.expect("a user");
    let mut groups: Vec<String> = read["groups"]
        .as_array()
        .unwrap_or_else(|| panic!("a user shows its groups: {read}"))
        .iter()
        .map(|it| text(&it["value"]))
        .collect();
    groups.sort();
    let mut wanted = vec![first.clone(), second.clone()];
    wanted.sort();
    assert_eq!(groups, wanted);

    stage.entra().disable(&users[1]).await.expect("disabled");
    stage.agree(&first, &users).await;
    let inactive = stage.entra().read(&users[1]).await.expect("a user");
    assert_eq!(inactive["active"], false);
    assert_eq!(
        inactive["groups"].as_array().map(Vec::len),
        Some(2),
        "{inactive}"
    );

    stage.entra().delete(&users[0]).await.expect("deleted");
    for group in [&first, &second] {
        stage.agree(group, &users[1..]).await;
    }
    stage.entra().delete_group(&second).await.expect("deleted");
    let path = format!("Groups/{second}");
    let gone = stage.entra().send(Method::GET, &path, None).await;
    assert_eq!(gone.expect("an answer").status, 404);
    assert!(stage.side().vendor.group_named("Second").is_none());
    let read = stage.entra().read(&users[2]).await.expect("a user");
    assert_eq!(read["groups"][0]["value"], json!(first));
    assert_eq!(read["groups"].as_array().map(Vec::len), Some(1), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_members_come_by_hundreds_and_are_read_in_pages() {
    let mut stage = Stage::start(0);
    let users = stage.users("many", 2000).await;
    let outsider = stage.users("outsider", 1).await;
    let group = stage.group("Many").await;
    let other = stage.group("Other").await;
    let put = stage.entra().add_members(&other, &outsider).await;
    put.expect("a member of another group");
    for hundred in users.chunks(100) {
        let added = stage.entra().add_members(&group, hundred).await;
        added.expect("a hundred members");
    }
    stage.agree(&group, &users).await;

    let wanted: BTreeSet<&String> = users.iter().collect();
    for count in [100, 70] {
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < users.len() {
            let start = seen.len() + 1;
            let page = stage.page(&group, start, count).await;
            assert_eq!(
                page["totalResults"],
                json!(users.len()),
                "exact on every page"
            );
            assert_eq!(page["startIndex"], json!(start));
            let expected = count.min(users.len() - seen.len());
            assert_eq!(page["itemsPerPage"], json!(expected), "page at {start}");
            let resources = page["Resources"].as_array().expect("a page");
            assert_eq!(resources.len(), expected, "page at {start}");
            seen.extend(resources.iter().map(|it| text(&it["id"])));
        }
        assert_eq!(
            seen.iter().collect::<BTreeSet<_>>(),
            wanted,
            "each member once"
        );
    }
    for (start, count) in [(2001, 10), (1, 0)] {
        let page = stage.page(&group, start, count).await;
        assert_eq!(page["totalResults"], json!(users.len()), "{page}");
        let none = page["Resources"].as_array().is_none_or(Vec::is_empty);
        assert!(none, "no resource at {start}, {count} of them: {page}");
    }

    let (leavers, stayers) = users.split_at(1000);
    for hundred in leavers.chunks(100) {
        let removed = stage.entra().remove_members(&group, hundred).await;
        removed.expect("a hundred members less");
    }
    stage.agree(&group, stayers).await;
    let page = stage.page(&group, 1, 1).await;
    assert_eq!(page["totalResults"], json!(stayers.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_in_a_group_is_a_member_and_nothing_more() {
    let mut stage = Stage::start(0);
    let users = stage.users("nested", 3).await;
    let inner = stage.group("Inner").await;
    let outer = stage.group("Outer").await;
    let (inside, beside) = users.split_at(2);
    let entra = stage.entra();
    entra.add_members(&inner, inside).await.expect("filled");
    let members = [beside, std::slice::from_ref(&inner)].concat();
    entra.add_members(&outer, &members).await.expect("filled");
    stage.agree(&inner, inside).await;
    stage.agree(&outer, &members).await;

    let shown = stage.get(&format!("Groups/{outer}")).await;
    let of_type = |wanted: &str| -> Vec<String> {
        let members = shown["members"].as_array().into_iter().flatten();
        let right = members.filter(|it| it["type"] == wanted);
        right.map(|it| text(&it["value"])).collect()
    };
    assert_eq!(of_type("Group"), std::slice::from_ref(&inner), "{shown}");
    assert_eq!(of_type("User"), beside, "{shown}");
    // Not flattened: whoever is in the inner group is not listed as in the outer one.
    let page = stage.page(&outer, 1, 10).await;
    assert_eq!(page["totalResults"], 1, "{page}");
    assert_eq!(page["Resources"][0]["id"], json!(beside[0]));

    let entra = stage.entra();
    let gone = entra.remove_members(&outer, beside).await;
    gone.expect("one member less");
    stage.agree(&outer, std::slice::from_ref(&inner)).await;
    stage.entra().delete_group(&inner).await.expect("deleted");
    stage.agree(&outer, &[]).await;
    for id in &users {
        let user = stage.entra().read(id).await.expect("the members stay");
        assert!(user.get("groups").is_none(), "{user}");
    }
}

#[test]
fn kill_9_between_changes_of_members_leaves_gateway_and_vendor_in_agreement() {
    let kills = number("SOAK_ROUNDS").unwrap_or(KILLS);
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    println!("{kills} kills, CRASH_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // Long enough that many kills fall between the vendor's answer and the gateway's commit.
    let mut stage = Stage::start(3);
    let users = runtime.block_on(stage.users("killed", KILL_CLIENTS * 12));
    let group = runtime.block_on(stage.group("Killed"));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = users
        .chunks(12)
        .enumerate()
        .map(|(number, own)| {
            let client = Client {
                entra: stage.entra().clone(),
                group: group.clone(),
                own: own.to_vec(),
                rng: StdRng::seed_from_u64(seed ^ (number as u64 + 1)),
            };
            runtime.spawn(client.work(stop.clone()))
        })
        .collect();

    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..kills {
        let moment = match rng.random_range(0..5) {
            // Every fifth kill or so falls into the start itself.
            0 => Duration::from_millis(rng.random_range(0..60)),
            _ => Duration::from_millis(rng.random_range(100..700)),
        };
        std::thread::sleep(moment);
        let gateway = &mut stage.corridor.gateway;
        gateway.respawn().expect("the gateway starts again");
    }
    let gateway = &mut stage.corridor.gateway;
    gateway
        .wait_until_ready()
        .expect("the gateway is ready after the last kill");
    stop.store(true, Ordering::Relaxed);

    let (mut members, mut changes) = (Vec::new(), 0);
    for client in clients {
        let ended = runtime.block_on(client).expect("no client panics");
        let (own, made) = ended.expect("every change is acknowledged in the end");
        members.extend(own);
        changes += made;
    }
    println!("{changes} changes acknowledged, {} members", members.len());
    assert!(changes > kills, "too little load to prove anything");
    runtime.block_on(stage.agree(&group, &members));
}

/// One provisioning client with users of its own, who come and go.
struct Client {
    entra: Entra,
    group: String,
    own: Vec<String>,
    rng: StdRng,
}

impl Client {
    /// The ids of those who are members in the end, and how many changes were acknowledged.
    async fn work(mut self, stop: Arc<AtomicBool>) -> Result<(Vec<String>, u64), String> {
        let mut members: BTreeSet<String> = BTreeSet::new();
        let mut changes = 0;
        while !stop.load(Ordering::Relaxed) {
            let member = self.own[self.rng.random_range(0..self.own.len())].clone();
            let verb = if members.contains(&member) {
                "Remove"
            } else {
                "Add"
            };
            self.patiently(verb, &member).await?;
            match verb {
                "Add" => members.insert(member),
                _ => members.remove(&member),
            };
            changes += 1;
        }
        Ok((members.into_iter().collect(), changes))
    }

    /// Repeats a change until it is acknowledged.
    async fn patiently(&self, verb: &str, member: &String) -> Result<(), String> {
        let path = format!("Groups/{}", self.group);
        let body = patch_of(change_of_members(verb, std::slice::from_ref(member)));
        let deadline = Instant::now() + SETTLE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.entra.send(Method::PATCH, &path, Some(&body)).await {
                Ok(answer) if answer.status == 204 => return Ok(()),
                Ok(answer) if matches!(answer.status, 429 | 503) => last = answer.body.to_string(),
                // Group and user were acknowledged: a 404 is a lost write.
                Ok(Answer { status, body, .. }) => {
                    return Err(format!("{verb} {member}: {status} {body}"));
                }
                Err(error) => last = error,
            }
            // The gateway is being killed and started: there is nothing to wait on but its socket.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!(
            "{verb} {member}: no answer in {SETTLE:?}; last: {last}"
        ))
    }
}

async fn all(
    requests: impl Iterator<Item = tokio::task::JoinHandle<Result<Answer, String>>>,
) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        answers.push(request.await.expect("no panic").expect("an answer"));
    }
    answers
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
