//! What the store promises, tried on every engine.
//!
//! `rules` says what a commit does, `members` what it does to groups and `cost` what that costs,
//! `lookups` how resources are found, `model` compares random `histories` with a plain model, `load`
//! is about many writers and a failing engine, `power_cut` about what is left when the power goes,
//! `refusals` about folders that must not be opened. `watched` is an engine that counts and can be
//! stopped. Nothing here sleeps or needs the network.

mod cost;
mod histories;
mod load;
mod lookups;
mod members;
mod model;
mod power_cut;
mod refusals;
mod rules;
mod watched;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use gateway::store::{
    self, AttributeKey, CommitError, Conflict, Intent, Kind, LogEntry, Member, MemberChange,
    Operation, Precondition, Store, StoreLimits, Stored, Token, Write, WriteSet,
};
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

const TENANT: &str = "acme";

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn limits() -> StoreLimits {
    StoreLimits {
        memory_bytes: 64 << 20,
        ..StoreLimits::default()
    }
}

fn open_sled(dir: &Path) -> Arc<dyn Store> {
    store::open(&format!("sled:{}", dir.display()), &limits()).unwrap()
}

fn open_memory() -> Arc<dyn Store> {
    store::open("memory:", &limits()).unwrap()
}

/// Runs a script on a new store of every engine.
fn on_every_engine<F: Future<Output = ()>>(script: impl Fn(Arc<dyn Store>) -> F) {
    wait(script(open_memory()));
    let dir = TempDir::new().unwrap();
    wait(script(open_sled(&dir.path().join("store"))));
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn user_name(value: &str) -> AttributeKey {
    AttributeKey {
        kind: Kind::User,
        attribute: "userName".into(),
        value: value.into(),
    }
}

fn user(number: u128, name: &str) -> Stored {
    Stored {
        id: id(number),
        kind: Kind::User,
        version: 1,
        created: at(1),
        modified: at(1),
        uid: None,
        unique: vec![user_name(name)],
        indexed: Vec::new(),
        position: 0,
        document: json!({ "userName": name, "active": true }),
    }
}

/// Groups have other ids than users: an id names one resource.
fn group(number: u128) -> Stored {
    Stored {
        kind: Kind::Group,
        unique: Vec::new(),
        document: json!({ "displayName": number.to_string() }),
        ..user(number, "")
    }
}

fn member(kind: Kind, number: u128) -> Member {
    Member {
        kind,
        id: id(number),
        uid: None,
    }
}

/// Users of these numbers.
fn users(numbers: impl IntoIterator<Item = u128>) -> Vec<Member> {
    let numbers = numbers.into_iter();
    numbers.map(|number| member(Kind::User, number)).collect()
}

fn intent(operation: u128, resource: u128, claims: &[&str]) -> Intent {
    Intent {
        id: id(operation),
        tenant: TENANT.into(),
        resource: id(resource),
        kind: Kind::User,
        operation: Operation::Create,
        desired: Some(json!({ "userName": claims.first() })),
        uid: None,
        base_version: None,
        members: MemberChange::default(),
        claims: claims.iter().map(|name| user_name(name)).collect(),
        attempt: 1,
        opened: at(1),
    }
}

fn log_entry(number: u128) -> LogEntry {
    LogEntry {
        id: id(number),
        at: at(1),
        tenant: TENANT.into(),
        resource: Some(id(1)),
        kind: Some(Kind::User),
        operation: Some(Operation::Create),
        outcome: "done".into(),
        detail: String::new(),
        vendor_uid: None,
        duration_ms: 12,
        request_id: "r".into(),
    }
}

fn token(number: u128, hash: u8) -> Token {
    Token {
        id: id(number),
        tenant: TENANT.into(),
        hash: [hash; 32],
        name: None,
        created: at(1),
        expires: None,
        last_used: None,
        revoked: None,
    }
}

fn set(writes: impl Into<Vec<Write>>) -> WriteSet {
    WriteSet {
        tenant: TENANT.into(),
        preconditions: Vec::new(),
        writes: writes.into(),
    }
}

fn set_if(preconditions: impl Into<Vec<Precondition>>, writes: impl Into<Vec<Write>>) -> WriteSet {
    WriteSet {
        preconditions: preconditions.into(),
        ..set(writes)
    }
}

fn put(number: u128, name: &str) -> Write {
    Write::PutResource(user(number, name))
}

fn delete(number: u128) -> Write {
    Write::DeleteResource {
        kind: Kind::User,
        id: id(number),
    }
}

fn put_group(number: u128) -> Write {
    Write::PutResource(group(number))
}

fn delete_group(number: u128) -> Write {
    Write::DeleteResource {
        kind: Kind::Group,
        id: id(number),
    }
}

fn change(group: u128, add: Vec<Member>, remove: Vec<Member>) -> Write {
    Write::ChangeMembers {
        group: id(group),
        change: MemberChange { add, remove },
    }
}

fn close(resource: u128) -> Write {
    Write::CloseIntent {
        resource: id(resource),
    }
}

fn attempt(resource: u128, operation: u128, attempt: u32) -> Precondition {
    Precondition::Intent {
        resource: id(resource),
        id: id(operation),
        attempt,
    }
}

fn taken(name: &str, holder: u128) -> Result<(), CommitError> {
    Err(Conflict::UniqueTaken {
        key: user_name(name),
        holder: id(holder),
    }
    .into())
}
