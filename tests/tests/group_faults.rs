//! Groups when things go wrong at the vendor, over real sockets, with the gateway's binary and a
//! simulated vendor whose API is SCIM: people who are gone there, a group that somebody removed,
//! requests that get lost, kill -9 with a change open. Each time: who is in the group here and there,
//! and whether a later request pays for an earlier one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_tests::corridor::{Corridor, SCIM, ScimSide, Setup};
use gateway_tests::directory::{GROUP, USER};
use gateway_tests::entra::{Answer, Entra, change_of_members, patch_of};
use gateway_tests::vendors::scim::{Fault, Simulator, When};
use reqwest::Method;
use serde_json::{Value, json};

const AT_ONCE: usize = 16;
/// How long what was left open may take to be settled.
const SETTLE: Duration = Duration::from_secs(60);
const PATCH_GROUP: &str = "PATCH /Groups/{id}";

struct Stage {
    corridor: Corridor,
    // Dropped last: the gateway has its data here.
    _dir: tempfile::TempDir,
}

/// A user in both places.
#[derive(Clone, Debug)]
struct Person {
    id: String,
    uid: String,
}

impl Stage {
    fn start() -> Stage {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut setup = Setup::instant().with(&[SCIM]);
        setup.tables = "[gateway.limits.egress]\nrequest_ms = 1000\n".to_owned();
        Stage {
            corridor: Corridor::start(dir.path(), setup).expect("the corridor is up"),
            _dir: dir,
        }
    }

    fn side(&self) -> &ScimSide {
        self.corridor.scim(SCIM.name).expect("the tenant is there")
    }

    fn entra(&self) -> &Entra {
        &self.side().entra
    }

    fn vendor(&self) -> &Simulator {
        &self.side().vendor
    }

    async fn people(&self, count: usize) -> Vec<Person> {
        futures::stream::iter(0..count)
            .map(async |n| {
                let name = format!("p{n:04}@example.com");
                let body = json!({ "schemas": [USER], "userName": name, "active": true });
                let id = self.entra().create(&body).await;
                let id = id.unwrap_or_else(|error| panic!("{name}: {error}"));
                let uid = text(&self.vendor().users_named(&name)[0]["id"]);
                Person { id, uid }
            })
            .buffered(AT_ONCE)
            .collect()
            .await
    }

    /// A group of these people, in both places.
    async fn group(&self, name: &str, people: &[Person]) -> String {
        let body = group_of(name, people);
        let id = self.entra().create_group(&body).await;
        id.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Removes people at the vendor, as by hand.
    fn purge(&self, people: &[Person]) {
        for person in people {
            assert!(self.vendor().purge(&person.uid), "{person:?}");
        }
    }

    async fn change(&self, group: &str, operations: Value) -> Answer {
        let path = format!("Groups/{group}");
        let body = patch_of(operations);
        let answer = self.entra().send(Method::PATCH, &path, Some(&body)).await;
        answer.expect("the gateway answers")
    }

    async fn join(&self, group: &str, people: &[Person]) -> Answer {
        self.change(group, change_of_members("Add", &ids(people)))
            .await
    }

    /// The ids that the gateway shows as the group's members.
    async fn shown(&self, group: &str) -> BTreeSet<String> {
        let path = format!("Groups/{group}");
        let answer = self.entra().send(Method::GET, &path, None).await;
        let answer = answer.expect("the gateway answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let members = answer.body["members"].as_array().cloned();
        let members = members.unwrap_or_default();
        members.iter().map(|it| text(&it["value"])).collect()
    }

    /// The uids of the members that the vendor holds under this name, of the one group that has it.
    fn held(&self, name: &str) -> BTreeSet<String> {
        let groups = self.vendor().groups();
        let mut named = groups.into_iter().filter(|it| it.display_name == name);
        let group = named.next();
        let group = group.unwrap_or_else(|| panic!("the vendor has no group {name}"));
        assert!(named.next().is_none(), "the vendor has {name} twice");
        group.members
    }

    /// The outcomes and details in the tenant's provisioning log, the newest first.
    fn log(&self) -> Vec<(String, String)> {
        let log = ["--output", "json", "log", SCIM.name];
        let ran = self.corridor.gateway.command(&log).expect("it runs");
        let log: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let entries = log["entries"].as_array().expect("entries");
        let told = entries
            .iter()
            .map(|it| (text(&it["outcome"]), text(&it["detail"])));
        told.collect()
    }

    /// These people are in the group in both places, and nobody else.
    async fn agree(&self, group: &str, name: &str, people: &[Person]) {
        let shown = self.shown(group).await;
        assert_eq!(shown, ids(people).into_iter().collect(), "the gateway");
        let uids: BTreeSet<String> = people.iter().map(|it| it.uid.clone()).collect();
        assert_eq!(self.held(name), uids, "the vendor");
    }
}

fn ids(people: &[Person]) -> Vec<String> {
    people.iter().map(|it| it.id.clone()).collect()
}

fn group_of(name: &str, people: &[Person]) -> Value {
    let members: Vec<Value> = people.iter().map(|it| json!({ "value": it.id })).collect();
    json!({ "schemas": [GROUP], "displayName": name, "members": members })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_there_before_survives_a_create_that_fails() {
    let stage = Stage::start();
    let people = stage.people(4).await;
    let (there, stranger) = people.split_at(3);
    let name = json!({ "displayName": "Planted" });
    let planted = stage
        .vendor()
        .plant_group(name.as_object().cloned().expect("an object"));
    let members: Vec<Value> = there.iter().map(|it| json!({ "value": it.uid })).collect();
    let operations = json!([{ "op": "add", "path": "members", "value": members }]);
    let client = reqwest::Client::builder().no_proxy().build();
    let filled = client
        .expect("a client")
        .patch(format!("{}/Groups/{planted}", stage.vendor().url()))
        .bearer_auth(stage.vendor().token())
        .header("content-type", "application/scim+json")
        .body(patch_of(operations).to_string())
        .send()
        .await;
    assert!(filled.expect("an answer").status().is_success());
    stage.purge(stranger);

    // The adoption's first request is lost; when it is settled, the member is refused.
    let mut body = group_of("Planted", stranger);
    body["externalId"] = json!("x");
    let vendor = stage.vendor();
    vendor.fail_next_of(PATCH_GROUP, 1, Fault::Drop, When::Before);
    for expected in [503, 400] {
        let answer = stage.entra().send(Method::POST, "Groups", Some(&body));
        let answer = answer.await.expect("the gateway answers");
        assert_eq!(answer.status, expected, "{}", answer.body);
        let held = stage.vendor().group_named("Planted");
        let held = held.expect("the group is still there");
        assert_eq!(held.id, planted);
        let people = there.iter().map(|it| it.uid.clone()).collect();
        assert_eq!(held.members, people);
    }
    // The client learns, and adopts it with the people in it.
    let group = stage.group("Planted", &there[..1]).await;
    assert_eq!(
        stage.shown(&group).await,
        BTreeSet::from([there[0].id.clone()])
    );
    assert_eq!(stage.held("Planted").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undoing_that_is_refused_comes_to_an_end() {
    let stage = Stage::start();
    let people = stage.people(4).await;
    let group = stage.group("Sales", &people[..2]).await;
    // Both are known here and gone there: neither can come in, nor come back in.
    stage.purge(&people[1..3]);
    let mut operations = change_of_members("Remove", &ids(&people[1..2]));
    let mut joining = change_of_members("Add", &ids(&people[2..3]));
    let operations = {
        let both = operations.as_array_mut().expect("operations");
        both.append(joining.as_array_mut().expect("operations"));
        json!(both)
    };
    let answer = stage.change(&group, operations).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(
        stage.shown(&group).await,
        ids(&people[..2]).into_iter().collect()
    );
    let (outcome, detail) = stage.log().swap_remove(0);
    assert_eq!(outcome, "refused");
    let uid = &people[1].uid;
    let left = format!("not taken back: removed members: {uid}");
    assert!(detail.ends_with(&left), "{detail}");

    // Nobody pays for it later.
    let answer = stage.join(&group, &people[3..]).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let uids = [&people[0], &people[3]].map(|it| it.uid.clone());
    assert_eq!(stage.held("Sales"), BTreeSet::from(uids));
    let renamed = stage.entra().rename_group(&group, "Marketing").await;
    renamed.expect("another name");
    let left = change_of_members("Remove", &ids(&people[1..2]));
    assert_eq!(stage.change(&group, left).await.status, 204);
    let here = [people[0].clone(), people[3].clone()];
    stage.agree(&group, "Marketing", &here).await;
    stage.entra().delete_group(&group).await.expect("deleted");
    assert!(stage.vendor().groups().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_is_nobodys_fault() {
    let stage = Stage::start();
    let people = stage.people(2).await;
    let group = stage.group("Sales", &[]).await;
    // The change is lost, and so is the question what became of it; and then the vendor is not
    // spoken to in a way that it understands.
    let vendor = stage.vendor();
    vendor.fail_next_of(PATCH_GROUP, 1, Fault::Drop, When::Before);
    vendor.fail_next_of(
        "GET /Groups/{id}",
        1_000_000,
        Fault::Status(400),
        When::Before,
    );
    let answer = stage.join(&group, &people[..1]).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let answer = stage.join(&group, &people[1..]).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after_s.is_some());
    // However often it is looked at, it is told once.
    let mut log = stage.log();
    log.retain(|(outcome, _)| outcome == "unknown");
    assert_eq!(log.len(), 1, "{log:?}");
    stage.vendor().heal();
    stage
        .entra()
        .add_members(&group, &ids(&people[1..]))
        .await
        .expect("in");
    stage.agree(&group, "Sales", &people).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_removed_at_the_vendor_is_made_anew_with_the_right_members() {
    let stage = Stage::start();
    let people = stage.people(6).await;
    let group = stage.group("Sales", &people[..4]).await;
    let held = stage.vendor().group_named("Sales").expect("the group");
    stage.vendor().purge(&held.id);
    // One of the members is gone there as well, and does not keep the others out.
    stage.purge(&people[3..4]);
    stage.vendor().drain_log();
    let mut operations = change_of_members("Remove", &ids(&people[..1]));
    let joining = change_of_members("Add", &ids(&people[4..]));
    operations
        .as_array_mut()
        .expect("operations")
        .extend(joining.as_array().cloned().expect("operations"));
    let answer = stage.change(&group, operations).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let shown = stage.shown(&group).await;
    assert_eq!(shown, ids(&people[1..]).into_iter().collect());
    let wanted = [1, 2, 4, 5].map(|n: usize| people[n].uid.clone());
    assert_eq!(stage.held("Sales"), BTreeSet::from(wanted));
    // Who leaves does not come in for a moment. What was sent to the group that is gone aside.
    let log = stage.vendor().drain_log();
    let told = log.iter().skip_while(|it| it.operation != "POST /Groups");
    for request in told {
        for operation in request.body["Operations"].as_array().into_iter().flatten() {
            let value = operation["value"].to_string();
            assert!(!value.contains(&people[0].uid), "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_group_anew_goes_on_where_it_was_lost() {
    let stage = Stage::start();
    let people = stage.people(3).await;
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "Marketing" }]);
    let join = change_of_members("Add", &ids(&people[2..]));
    for (operation, when, first) in [
        ("POST /Groups", When::After, &rename),
        ("POST /Groups", When::After, &join),
        (PATCH_GROUP, When::Before, &rename),
        (PATCH_GROUP, When::After, &join),
    ] {
        let group = stage.group("Sales", &people[..2]).await;
        let held = stage.vendor().group_named("Sales").expect("the group");
        let vendor = stage.vendor();
        vendor.purge(&held.id);
        if operation == PATCH_GROUP {
            // To the group that is gone; the next is the first of the new one.
            vendor.fail_next_of(PATCH_GROUP, 1, Fault::Slow(0), When::Before);
        }
        vendor.fail_next_of(operation, 1, Fault::Drop, when);
        let answer = stage.change(&group, first.clone()).await;
        assert!([204, 503].contains(&answer.status), "{}", answer.body);
        for change in [&rename, &join] {
            let changed = stage.entra().patch_group(&group, change.clone()).await;
            changed.expect("changed");
        }
        stage.agree(&group, "Marketing", &people).await;
        assert_eq!(vendor.groups().len(), 1, "nothing is left behind");
        stage.entra().delete_group(&group).await.expect("deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_refused_members_give_the_group_up_and_are_not_the_clients_fault() {
    let stage = Stage::start();
    let people = stage.people(20).await;
    let group = stage.group("Sales", &people[..19]).await;
    let held = stage.vendor().group_named("Sales").expect("the group");
    stage.vendor().purge(&held.id);
    // One more than are left out.
    stage.purge(&people[..17]);
    let answer = stage.join(&group, &people[19..]).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    let left = change_of_members("Remove", &ids(&people[..1]));
    let answer = stage.change(&group, left).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let answer = stage.join(&group, &people[19..]).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let uids = people[17..].iter().map(|it| it.uid.clone()).collect();
    assert_eq!(stage.held("Sales"), uids);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_member_in_a_merged_change_fails_alone() {
    let stage = Stage::start();
    let people = stage.people(40).await;
    let group = stage.group("Sales", &[]).await;
    let bad = 17;
    stage.purge(&people[bad..=bad]);
    stage.vendor().drain_log();
    // While the first is under way, the others gather.
    stage
        .vendor()
        .fail_next_of(PATCH_GROUP, 1, Fault::Slow(500), When::Before);
    let answers = people
        .iter()
        .map(|it| stage.join(&group, std::slice::from_ref(it)));
    let answers: Vec<Answer> = futures::future::join_all(answers).await;
    for (n, answer) in answers.iter().enumerate() {
        let expected = if n == bad { 400 } else { 204 };
        assert_eq!(answer.status, expected, "{n}: {}", answer.body);
    }
    let mut good = people.clone();
    good.remove(bad);
    stage.agree(&group, "Sales", &good).await;
    let log = stage.vendor().drain_log();
    let merged = log.iter().any(|it| {
        let members = it.body["Operations"][0]["value"].as_array();
        members.is_some_and(|members| members.len() > 1)
    });
    assert!(merged, "nothing was merged, so nothing was shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_members_than_one_change_carries_are_stored_and_told() {
    let stage = Stage::start();
    let people = stage.people(501).await;
    let group = stage.group("Sales", &people).await;
    stage.agree(&group, "Sales", &people).await;
    // Made anew, they come in by several calls as well.
    let held = stage.vendor().group_named("Sales").expect("the group");
    stage.vendor().purge(&held.id);
    let left = change_of_members("Remove", &ids(&people[..1]));
    assert_eq!(stage.change(&group, left).await.status, 204);
    stage.agree(&group, "Sales", &people[1..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_change_that_was_open_when_the_process_died_is_settled() {
    let mut stage = Stage::start();
    let people = stage.people(4).await;
    let group = stage.group("Sales", &people[..2]).await;
    for (when, joining) in [(When::Before, 2), (When::After, 3)] {
        let vendor = stage.vendor();
        vendor.fail_next_of(PATCH_GROUP, 1, Fault::Hang, when);
        let reached = vendor.requests_total() + 1;
        let entra = stage.entra().clone();
        let change = change_of_members("Add", &ids(&people[joining..=joining]));
        let path = format!("Groups/{group}");
        let lost = tokio::spawn(async move {
            let body = patch_of(change);
            entra.send(Method::PATCH, &path, Some(&body)).await
        });
        let hangs = tokio::time::timeout(SETTLE, vendor.requests_reached(reached));
        hangs.await.expect("the vendor is asked");
        stage.corridor.gateway.kill();
        assert!(lost.await.expect("no panic").is_err(), "nobody answers");
        stage.corridor.gateway.restart().expect("it starts again");
        // Nobody asks for it: recovery does it by itself.
        let started = Instant::now();
        while !stage.shown(&group).await.contains(&people[joining].id) {
            assert!(started.elapsed() < SETTLE, "not settled: {when:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stage.agree(&group, "Sales", &people[..=joining]).await;
    }
}
