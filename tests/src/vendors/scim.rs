//! A vendor whose own API is SCIM 2.0: Users and Groups as RFC 7643 and RFC 7644 write them, and
//! nothing beyond.
//!
//! Stricter than the dialect that Entra speaks, on purpose: a client that hands its own client's
//! dialect on is refused here. What the simulator knows of SCIM it has from the RFC's text; it shares
//! no code with the gateway, so a misreading there shows here.
//!
//! Invariant: what the API shows and what [`Simulator::users`] and [`Simulator::groups`] show is one
//! and the same; a refused request has changed nothing.
//! Absent: Bulk, `/Me`, `/.search`, sorting, `/Schemas` and `/ResourceTypes`, filters other than `eq`
//! with `and`, passwords (taken, never kept).
//!
//! # From the RFC
//!
//! - 401 with `WWW-Authenticate` for a missing or wrong bearer token (7644 section 2);
//!   `application/scim+json` in every answer (8.1); errors with a string status and `scimType` (3.12).
//! - POST 201 with `Location`, PUT that clears what it leaves out, DELETE 204, 404 for what is not
//!   there (3.3 to 3.6); 409 `uniqueness` for a `userName` that is taken, whatever its case.
//! - PATCH (3.5.2): whole or not at all; the three operations, attribute paths, value filters;
//!   `noTarget` when a filter selects nothing; `mutability`, `invalidPath`, `invalidValue`; a new
//!   `primary` takes the flag from the old one; 204 or 200 with the resource.
//! - Types and names of the core User, the enterprise extension and Group (7643 sections 4 and 8.7);
//!   names without regard to case (7643 section 2.1), values by `caseExact`.
//! - `startIndex` and `count` with an exact `totalResults` (3.4.2.4), `attributes` and
//!   `excludedAttributes` (3.9), weak ETags with `If-Match` and `If-None-Match` (3.14).
//! - `groups` of a User is computed and read-only; `members` is a set.
//!
//! # Decided here
//!
//! - Bodies in another media type are 415. Unknown attributes, unknown URNs in `schemas` and extension
//!   attributes whose URN `schemas` does not name are 400 `invalidValue`; the RFC would let a service
//!   ignore some of them.
//! - `op` in lower case only; `remove` carries no value; a path without a filter does not reach a
//!   sub-attribute of a multi-valued attribute; a path that is only an extension's URN is none.
//! - `displayName` of a Group is unique, whatever its case. `externalId` is not unique.
//! - A member's id exists and is compared exactly; a group is not its own member.
//! - PATCH of a User answers 200, of a Group 204 unless `attributes` is asked for. `or` is understood
//!   in a value filter, not in a list's filter. A page has at most [`PAGE_MAX`] resources.
//! - Deleting a resource takes its memberships along. The text of every `detail`.
//! - [`Switches`] loosens or tightens some of this.

mod grammar;
mod patch;
mod projection;
mod schema;
mod server;
mod service;

pub use super::trouble::When;
pub use service::HeldGroup;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::trouble::FaultPlan;
use schema::Kind;
use service::Service;

/// The token that is valid unless [`Switches::token`] says otherwise.
pub const TOKEN: &str = "simulated-scim-token";

/// How many requests the log keeps; older ones make room.
pub const LOG_ENTRIES_MAX: usize = 10_000;

/// The most resources in one page of a list, and how many it has if the client does not say.
pub const PAGE_MAX: usize = 100;

/// What is fixed once the simulator runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The port on 127.0.0.1; a free one if none is given.
    pub port: Option<u16>,
    /// How it behaves at the start.
    pub switches: Switches,
}

/// What can be changed while it runs, with [`Simulator::switch`].
#[derive(Clone, Debug)]
pub struct Switches {
    /// No rate limit and no latency, whatever the fields below say: for benchmarks.
    pub instant: bool,
    /// Requests in any one second; no limit if none.
    pub requests_per_second_max: Option<u32>,
    /// How long each answer is held back.
    pub latency_ms: u64,
    /// What `Retry-After` says on a 429; no header if none.
    pub retry_after_seconds: Option<u32>,
    /// The bearer token.
    pub token: String,
    /// False: one `userName` or group's `displayName` can be given twice, so that a create that was
    /// carried out twice leaves two.
    pub unique_names: bool,
    /// False: a removal whose value filter selects nothing succeeds, as at some services.
    pub removal_needs_target: bool,
    /// False: no ETags, and preconditions are not looked at.
    pub etags: bool,
    /// The only attributes of a User that the service knows, such as `name.givenName`, `emails` or
    /// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`; the RFC's if none is
    /// given. A URN that the RFC does not have is an extension of the vendor's own, all text.
    pub user_attributes: Option<Vec<String>>,
    /// The same for a Group.
    pub group_attributes: Option<Vec<String>>,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            instant: false,
            requests_per_second_max: None,
            latency_ms: 0,
            retry_after_seconds: Some(1),
            token: TOKEN.to_owned(),
            unique_names: true,
            removal_needs_target: true,
            etags: true,
            user_attributes: None,
            group_attributes: None,
        }
    }
}

/// What the client sees in place of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status with a short text as its body; 429 looks like the rate limit's own.
    Status(u16),
    /// 200, `application/scim+json`, and a body that breaks off.
    Junk,
    /// 200 with an HTML page, as from a proxy or a sign-in page.
    Html,
    /// The right answer, this many milliseconds late.
    Slow(u64),
    /// No answer while the simulator runs.
    Hang,
    /// The connection closes without a whole answer.
    Drop,
}

/// One request as the simulator saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// 1 for the first request since the start.
    pub sequence: u64,
    /// Method and path, an id shown as `{id}`: `PATCH /Users/{id}`.
    pub operation: String,
    /// The id in the path.
    pub id: Option<String>,
    /// The query, decoded: `filter=userName eq "ann@example.com"`; empty if there was none.
    pub query: String,
    /// The body as sent; null if there was none or it was no JSON.
    pub body: Value,
    /// The status of the answer; none if the fault was to give no answer.
    pub status: Option<u16>,
}

/// A running simulated vendor. Stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Binds 127.0.0.1 and serves on threads of its own. It answers from the moment this returns.
    ///
    /// # Errors
    /// The port is taken, or the system gives no socket or thread.
    pub fn start(options: Options) -> io::Result<Simulator> {
        let socket = TcpListener::bind(("127.0.0.1", options.port.unwrap_or(0)))?;
        let address = socket.local_addr()?;
        let state = Arc::new(State::new(base_url(address), options.switches));
        let (server, thread) = server::spawn(socket, Arc::clone(&state))?;
        Ok(Simulator {
            address,
            state,
            server,
            thread: Some(thread),
        })
    }

    /// The URL in front of `/Users`, without a slash at its end: the connector's `base_url`.
    pub fn url(&self) -> String {
        base_url(self.address)
    }

    /// The bearer token that is valid now.
    pub fn token(&self) -> String {
        self.state.switches().token.clone()
    }

    /// Changes how it behaves from the next request on.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        let mut switches = self.state.switches.write();
        change(switches.as_mut().unwrap_or_else(|held| held.get_mut()));
    }

    /// Lets the next `times` requests fail, after those that were promised to fail before.
    pub fn fail_next(&self, times: u32, fault: Fault, when: When) {
        self.state.faults().add(None, times, &fault, when);
    }

    /// Lets the next `times` requests for `operation` (such as `PATCH /Groups/{id}`) fail.
    pub fn fail_next_of(&self, operation: &str, times: u32, fault: Fault, when: When) {
        self.state
            .faults()
            .add(Some(operation.to_owned()), times, &fault, when);
    }

    /// Takes back the faults that have not happened yet.
    pub fn heal(&self) {
        self.state.faults().clear();
    }

    /// Every user as the API shows it, in the order of their making: the ground truth.
    pub fn users(&self) -> Vec<Value> {
        self.state.service().all(Kind::User, &self.state.base_url)
    }

    /// The user with this id.
    pub fn user(&self, id: &str) -> Option<Value> {
        let service = self.state.service();
        service.shown(Kind::User, id, &self.state.base_url)
    }

    /// The users with this `userName`, whatever its case; several only where names are not unique.
    pub fn users_named(&self, user_name: &str) -> Vec<Value> {
        let service = self.state.service();
        let ids = service.ids_named(Kind::User, user_name);
        ids.iter()
            .filter_map(|id| service.shown(Kind::User, id, &self.state.base_url))
            .collect()
    }

    /// Every group with the ids of its members, in the order of their making.
    pub fn groups(&self) -> Vec<HeldGroup> {
        self.state.service().held_groups()
    }

    /// The first group with this `displayName`, whatever its case.
    pub fn group_named(&self, display_name: &str) -> Option<HeldGroup> {
        let service = self.state.service();
        let ids = service.ids_named(Kind::Group, display_name);
        service.held_group(ids.first()?)
    }

    /// Adds a user as the vendor's own console would, past the API, its rules and its log. Returns its
    /// id.
    pub fn plant_user(&self, attributes: Map<String, Value>) -> String {
        self.state.service().plant(Kind::User, attributes)
    }

    /// The same for a group, without members.
    pub fn plant_group(&self, attributes: Map<String, Value>) -> String {
        self.state.service().plant(Kind::Group, attributes)
    }

    /// Deletes a user or group, as the vendor's own console would. False if there is none.
    pub fn purge(&self, id: &str) -> bool {
        let mut service = self.state.service();
        service.delete(Kind::User, id) || service.delete(Kind::Group, id)
    }

    /// The last [`LOG_ENTRIES_MAX`] requests, oldest first.
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.state.log().iter().cloned().collect()
    }

    /// Empties the log and returns what was in it.
    pub fn drain_log(&self) -> Vec<LoggedRequest> {
        self.state.log().drain(..).collect()
    }

    /// How many requests have come since the start.
    pub fn requests_total(&self) -> u64 {
        *self.state.logged.borrow()
    }

    /// Waits until `total` requests have come since the start and been logged: a request that hangs
    /// counts as soon as it hangs. The caller sets the time limit.
    pub async fn requests_reached(&self, total: u64) {
        let mut logged = self.state.logged.subscribe();
        // The sender lives in `self.state`, so the wait can only end by reaching the total.
        let _ = logged.wait_for(|seen| *seen >= total).await;
    }

    /// Stops serving, cuts open connections, and returns when the port is free again. Dropping the
    /// simulator does the same.
    pub fn stop(self) {}
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // The command is sent when the future is made; the thread's end is what is waited for.
        drop(self.server.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A path in front, as at most vendors: a client that forgets it gets 404.
fn base_url(address: SocketAddr) -> String {
    format!("http://{address}/scim/v2")
}

/// What the server's worker and the [`Simulator`] share.
#[derive(Debug)]
struct State {
    base_url: String,
    service: Mutex<Service>,
    switches: RwLock<Switches>,
    faults: Mutex<FaultPlan<Fault>>,
    log: Mutex<VecDeque<LoggedRequest>>,
    /// How many requests have been logged.
    logged: watch::Sender<u64>,
}

impl State {
    fn new(base_url: String, switches: Switches) -> State {
        State {
            base_url,
            service: Mutex::default(),
            switches: RwLock::new(switches),
            faults: Mutex::default(),
            log: Mutex::default(),
            logged: watch::Sender::new(0),
        }
    }

    // A test that panics while it holds a lock must not take the other tests' answers away, so a
    // poisoned lock is used as it is.
    fn service(&self) -> MutexGuard<'_, Service> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, FaultPlan<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, VecDeque<LoggedRequest>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switches(&self) -> RwLockReadGuard<'_, Switches> {
        self.switches.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the request down, numbers it, and wakes who waits for it.
    fn record(&self, mut request: LoggedRequest) {
        let mut log = self.log();
        self.logged.send_modify(|total| {
            *total += 1;
            request.sequence = *total;
        });
        if log.len() >= LOG_ENTRIES_MAX {
            log.pop_front();
        }
        log.push_back(request);
    }
}
