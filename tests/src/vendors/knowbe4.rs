//! KnowBe4 Security Awareness Training as its GraphQL Product API shows it: accounts, not groups.
//!
//! A real GraphQL server: `async-graphql` parses, validates and executes every document with its
//! variables, so a wrong field, argument or type fails here as it would at the vendor.
//!
//! Invariant: what the API shows and what [`Simulator::users`] shows is one and the same roster.
//! Absent: groups, the arguments of `users` that concern them, the Reporting API, the vendor's own
//! SCIM service, the daily request quota.
//!
//! # What is known, and how
//!
//! Verified in the vendor's own pages: the product key with its scopes Read Only and Read/Write.
//!
//! Verified in public third-party code that calls the API (three independent code bases):
//! - `POST /graphql`, `Authorization: Bearer`, JSON `{query, variables}`;
//! - `user`, `userByEmail`, `users(per, page, status, type)`, `account { accountOwner { email } }`,
//!   the fields of `User`, `Int` ids, `per` from 25 to 1000, pages counted from 1;
//! - `userCreate` with flat arguments, `userEdit(userId, attributes)`, `userArchive(userIds)`,
//!   `userUnarchive(userIds)`, payloads `{node, errors {field placeholders reason recordId}}`;
//! - accounts are archived and brought back; no mutation deletes one;
//! - both error layers come with status 200; 401 for a bad key, 403 for scope or subscription,
//!   404 for a wrong path or region, 429 above 4 requests a second, complexity at most 150;
//! - `too_long` above 255 characters in a custom field; dates as `YYYY-MM-DD`.
//!
//! Inferred, because no public source says:
//! - in `UserAttributes`: `department`, `division`, `organization`, `phoneNumber`, `email`,
//!   `customDate1`, `customDate2`, `comment`, `timeZone`, `language`
//!   ([`Switches::inferred_attributes`] takes them away); null and "" clear an attribute;
//! - every reason except `too_long` (`taken`, `blank`, `invalid`, `not_found`, `archived`: the
//!   names that Ruby on Rails gives its validation errors, as `too_long` is one); 255 characters
//!   as the limit of the other text attributes;
//! - addresses are compared without regard to case, archived accounts included;
//! - an archived account can be edited ([`Switches::archived_editable`] takes that away);
//!   archiving what is archived succeeds;
//! - `user` and `userByEmail` answer null for an unknown account, mutations a `not_found`;
//! - `node` of `userArchive` is the account itself, not a list; `status` is `ACTIVE` and `per` is
//!   25 if not given; one complexity point for each field;
//! - the bodies of 401, 403, 404 and 429, and that 429 carries `Retry-After`
//!   ([`Switches::retry_after_seconds`] takes it away); refused requests do not count as requests.

mod faults;
mod roster;
mod schema;
mod server;

pub use super::trouble::When;
pub use faults::Fault;
pub use roster::{Role, User};

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use tokio::sync::watch;

use super::trouble::FaultPlan;
use roster::Roster;

/// The product key that is valid unless [`Switches::api_key`] says otherwise.
pub const API_KEY: &str = "simulated-knowbe4-product-key";

/// How many requests the log keeps; older ones make room.
pub const LOG_ENTRIES_MAX: usize = 10_000;

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
    /// No rate limit and no latency, whatever the two fields below say: for benchmarks.
    pub instant: bool,
    /// Requests in any one second; the documented limit is 4.
    pub requests_per_second_max: u32,
    /// How long each answer is held back.
    pub latency_ms: u64,
    /// What `Retry-After` says on a 429; no header if none.
    pub retry_after_seconds: Option<u32>,
    /// The key with the scope Read/Write.
    pub api_key: String,
    /// A key with the scope Read Only: mutations answer 403.
    pub read_only_key: Option<String>,
    /// False: the subscription lacks the API, every request answers 403.
    pub subscribed: bool,
    /// False: `UserAttributes` has only what public code has been seen to write.
    pub inferred_attributes: bool,
    /// False: `userEdit` refuses an archived account.
    pub archived_editable: bool,
    /// False: an address can be given to more than one account, so that a create that was carried
    /// out twice leaves two. `userByEmail` shows the older one.
    pub unique_addresses: bool,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            instant: false,
            requests_per_second_max: 4,
            latency_ms: 0,
            retry_after_seconds: Some(1),
            api_key: API_KEY.to_owned(),
            read_only_key: None,
            subscribed: true,
            inferred_attributes: true,
            archived_editable: true,
            unique_addresses: true,
        }
    }
}

/// One request as the simulator saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// 1 for the first request since the start.
    pub sequence: u64,
    /// The first field that the document asks for, such as `userCreate`; empty if the body is no
    /// GraphQL document.
    pub operation: String,
    /// The variables as sent; null if there were none.
    pub variables: serde_json::Value,
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
        let listener = TcpListener::bind(("127.0.0.1", options.port.unwrap_or(0)))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new(options.switches));
        let (server, thread) = server::spawn(listener, Arc::clone(&state))?;
        Ok(Simulator {
            address,
            state,
            server,
            thread: Some(thread),
        })
    }

    /// The URL in front of `/graphql`, without a slash at its end: the connector's `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it behaves from the next request on.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(
            &mut self
                .state
                .switches
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Lets the next `times` requests fail, after those that were promised to fail before.
    pub fn fail_next(&self, times: u32, fault: Fault, when: When) {
        self.state.faults().add(None, times, &fault, when);
    }

    /// Lets the next `times` requests for `operation` (such as `userEdit`) fail.
    pub fn fail_next_of(&self, operation: &str, times: u32, fault: Fault, when: When) {
        self.state
            .faults()
            .add(Some(operation.to_owned()), times, &fault, when);
    }

    /// Takes back the faults that have not happened yet.
    pub fn heal(&self) {
        self.state.faults().clear();
    }

    /// Every account, the archived ones included, by ascending id: the ground truth.
    pub fn users(&self) -> Vec<User> {
        self.state.roster().all().cloned().collect()
    }

    /// The account with this id.
    pub fn user(&self, id: i32) -> Option<User> {
        self.state.roster().get(id).cloned()
    }

    /// The account with this address, archived or not; case does not matter.
    pub fn user_by_email(&self, email: &str) -> Option<User> {
        self.state.roster().by_email(email).cloned()
    }

    /// Adds an account as the vendor's console would, past the API and its log. The id in `user`
    /// does not matter; the one it got is returned, or none if the address is taken.
    pub fn plant(&self, user: User) -> Option<i32> {
        self.state.roster().plant(user)
    }

    /// Changes an account as the vendor's console would. False if there is none. The address and
    /// the id stay as they are.
    pub fn alter(&self, id: i32, change: impl FnOnce(&mut User)) -> bool {
        self.state.roster().alter(id, change)
    }

    /// Deletes an account for good, which only the vendor's console can. False if there is none.
    pub fn purge(&self, id: i32) -> bool {
        self.state.roster().purge(id)
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
        self.state.requests_total.load(Ordering::Acquire)
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

/// What the server's workers and the [`Simulator`] share.
#[derive(Debug)]
struct State {
    roster: Mutex<Roster>,
    switches: RwLock<Switches>,
    faults: Mutex<FaultPlan<Fault>>,
    log: Mutex<std::collections::VecDeque<LoggedRequest>>,
    requests_total: AtomicU64,
    logged: watch::Sender<u64>,
}

impl State {
    fn new(switches: Switches) -> State {
        State {
            roster: Mutex::default(),
            switches: RwLock::new(switches),
            faults: Mutex::default(),
            log: Mutex::default(),
            requests_total: AtomicU64::new(0),
            logged: watch::Sender::new(0),
        }
    }

    // A test that panics while it holds a lock must not take the other tests' answers away, so a
    // poisoned lock is used as it is.
    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, FaultPlan<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, std::collections::VecDeque<LoggedRequest>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn switches(&self) -> std::sync::RwLockReadGuard<'_, Switches> {
        self.switches.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the request down and wakes who waits for it.
    fn record(&self, operation: &str, variables: serde_json::Value, status: Option<u16>) {
        let mut log = self.log();
        let sequence = self.requests_total.fetch_add(1, Ordering::AcqRel) + 1;
        if log.len() >= LOG_ENTRIES_MAX {
            log.pop_front();
        }
        log.push_back(LoggedRequest {
            sequence,
            operation: operation.to_owned(),
            variables,
            status,
        });
        self.logged.send_replace(sequence);
    }
}
