//! Loads connectors and carries out calls to them in a sandbox.
//!
//! A connector call owns nothing. The component is compiled once per build; every call gets a fresh
//! instance, which is dropped afterwards, so no data passes from one tenant to another and a trap
//! costs one operation. The instance can reach its tenant's [`Outbound`] and a log, both metered;
//! its CPU time, wall time, memory and reply are bounded by [`ConnectorLimits`].
//!
//! Invariant: only this module names wasmtime. Absent: retries, secrets, WASI, state between calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::egress::Outbound;
use crate::manifest::Manifest;

pub mod build;
mod cache;
pub mod component;
mod contract;
mod engine;
mod guest;
mod limits;
mod toolchain;
mod verdict;

use cache::Cache;
use contract::{Bindings, GROUPS, accounts, groups, types};
use guest::{Guest, LogBook};
pub use limits::ConnectorLimits;
pub use verdict::{Account, CallError, ConnectorError, ErrorKind, Reply};

/// What one host call may copy out of a guest, bytes. Above every limit on a request or a reply:
/// those are checked by size, this one keeps a guest from having the host copy without end.
const HOSTCALL_BYTES_MAX: usize = 16 << 20;

/// The host of all connectors of this process.
pub struct ConnectorHost {
    shared: Arc<Shared>,
    linker: Linker<Guest>,
}

struct Shared {
    engine: Engine,
    limits: ConnectorLimits,
    calls: Semaphore,
    cache: Option<Cache>,
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A limit lets no call succeed.
    #[error("gateway.limits.connector.{0}: {1}")]
    Limit(&'static str, String),
    /// The engine did not start.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The folder for compiled code is unusable or unsafe.
    #[error("the folder for compiled connectors, {}: {reason}", folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
}

/// Why a file is not a connector that this gateway runs.
#[derive(Debug, thiserror::Error)]
#[error("{}: {refusal}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it and what to do.
    pub refusal: Refusal,
}

/// What is wrong with a connector's file.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is larger than `component_bytes_max`.
    #[error("is larger than the {0} bytes of gateway.limits.connector.component_bytes_max")]
    TooLarge(u64),
    /// It is no WebAssembly, or not all of it, or does not compile.
    #[error("{0}")]
    Malformed(String),
    /// It carries no manifest, or one with problems.
    #[error("{}", .0.join("\n  "))]
    Manifest(Vec<String>),
    /// It asks for more than the contract gives, or does not offer what the contract asks for.
    #[error("{}", .0.join("\n  "))]
    Contract(Vec<String>),
}

/// A connector that is ready to be called.
pub struct Connector {
    shared: Arc<Shared>,
    name: Arc<str>,
    manifest: Manifest,
    digest: String,
    pre: InstancePre<Guest>,
    /// Where its interfaces are; not every connector has groups.
    accounts: accounts::GuestIndices,
    groups: Option<groups::GuestIndices>,
}

/// Who is in a group, by the vendor's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Whether the uid is an account's or a group's.
    pub kind: MemberKind,
    /// The vendor's key.
    pub uid: String,
}

/// What a member of a group is at the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// An account.
    User,
    /// A group inside the group.
    Group,
}

/// What a connector is asked to do. Resources and deltas are JSON text, as the contract wants them.
///
/// How many members a call names is bounded by the caller: each batch of them costs the connector a
/// request, of which it has `http_requests_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Bring an account into being as `desired`, a SCIM User.
    Create {
        /// A SCIM User.
        desired: String,
    },
    /// Make an account what `desired` says.
    Update {
        /// The vendor's key.
        uid: String,
        /// A SCIM User.
        desired: String,
        /// What changed: a list of paths and values.
        deltas: String,
    },
    /// Take an account away.
    Delete {
        /// The vendor's key.
        uid: String,
    },
    /// The account with this key.
    Get {
        /// The vendor's key.
        uid: String,
    },
    /// The accounts whose attribute has this value.
    Find {
        /// A path of the profile.
        attribute: String,
        /// Its value.
        value: String,
    },
    /// Bring a group into being, or adopt it, with these members.
    CreateGroup {
        /// A SCIM Group without its members.
        desired: String,
        /// Who is to be in it.
        members: Vec<GroupMember>,
    },
    /// Make a group what `desired` says, and have members join and leave.
    UpdateGroup {
        /// The vendor's key.
        uid: String,
        /// A SCIM Group without its members.
        desired: String,
        /// What changed: a list of paths and values, possibly empty.
        deltas: String,
        /// Who joins.
        add: Vec<GroupMember>,
        /// Who leaves.
        remove: Vec<GroupMember>,
    },
    /// Take a group away.
    DeleteGroup {
        /// The vendor's key.
        uid: String,
    },
    /// The group with this key, without its members.
    GetGroup {
        /// The vendor's key.
        uid: String,
    },
    /// The groups whose attribute has this value, without their members.
    FindGroup {
        /// A path of the profile.
        attribute: String,
        /// Its value.
        value: String,
    },
}

/// What one call is lent.
pub struct Lent {
    /// Whom it acts for; named in the connector's log lines.
    pub tenant: String,
    /// Stable over all attempts of one operation.
    pub operation_id: String,
    /// 1 on the first attempt.
    pub attempt: u32,
    /// The tenant's settings, JSON text, checked against the manifest.
    pub settings: Arc<str>,
    /// The tenant's way out.
    pub outbound: Arc<dyn Outbound>,
}

impl ConnectorHost {
    /// Starts the engine. Compiled code is kept under `cache_dir`, which must be the gateway's own;
    /// without one each load compiles.
    ///
    /// # Errors
    /// If a limit lets no call succeed, the engine does not start, or the folder is open to others.
    pub fn new(
        limits: &ConnectorLimits,
        cache_dir: Option<PathBuf>,
    ) -> Result<ConnectorHost, HostError> {
        limits
            .check()
            .map_err(|(key, message)| HostError::Limit(key, message))?;
        let engine = engine::start(limits)?;
        let cache = cache_dir
            .map(|folder| Cache::open(&folder, &engine))
            .transpose()?;
        let mut linker = Linker::new(&engine);
        Bindings::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)
            .map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let shared = Arc::new(Shared {
            engine,
            limits: limits.clone(),
            calls: Semaphore::new(limits.concurrent_calls_max as usize),
            cache,
        });
        Ok(ConnectorHost { shared, linker })
    }

    /// Loads a connector: reads and checks it, and compiles it unless that was done before. Takes
    /// up to seconds for a large one; not for an async task.
    ///
    /// # Errors
    /// If the file is not a connector that this gateway runs; the message says why and what to do.
    pub fn load(&self, path: &Path) -> Result<Arc<Connector>, LoadError> {
        self.try_load(path).map_err(|refusal| LoadError {
            path: path.to_owned(),
            refusal,
        })
    }

    fn try_load(&self, path: &Path) -> Result<Arc<Connector>, Refusal> {
        let bytes = self.read(path)?;
        let digest = component::digest(&bytes);
        let anatomy = component::Anatomy::read(&bytes).map_err(Refusal::Malformed)?;
        anatomy.check().map_err(Refusal::Contract)?;
        let manifest = Manifest::read_component(&bytes).map_err(Refusal::Manifest)?;

        let engine = &self.shared.engine;
        let cached = self.shared.cache.as_ref();
        let compiled = match cached.and_then(|cache| cache.get(engine, &digest)) {
            Some(compiled) => compiled,
            None => {
                let compiled = compile(engine, &anatomy, bytes)?;
                if let Some(cache) = cached {
                    cache.put(&digest, &compiled);
                }
                compiled
            }
        };
        let misfit = |error: wasmtime::Error| {
            Refusal::Contract(vec![format!(
                "it does not fit contract {}: {error:#}; rebuild it with this gateway's \
                 connector-sdk",
                manifest.contract
            )])
        };
        let pre = self.linker.instantiate_pre(&compiled).map_err(misfit)?;
        let groups = match compiled.get_export_index(None, GROUPS) {
            Some(_) => Some(groups::GuestIndices::new(&pre).map_err(misfit)?),
            None if manifest.profile.group().is_some() => {
                return Err(Refusal::Contract(vec![component::groups_missing()]));
            }
            None => None,
        };
        let accounts = accounts::GuestIndices::new(&pre).map_err(misfit)?;
        Ok(Arc::new(Connector {
            shared: self.shared.clone(),
            name: manifest.name.as_str().into(),
            manifest,
            digest,
            pre,
            accounts,
            groups,
        }))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Refusal> {
        let bytes_max = self.shared.limits.component_bytes_max;
        let found = std::fs::metadata(path).map_err(Refusal::Unreadable)?;
        match found.len() <= bytes_max {
            true => std::fs::read(path).map_err(Refusal::Unreadable),
            false => Err(Refusal::TooLarge(bytes_max)),
        }
    }
}

fn compile(
    engine: &Engine,
    anatomy: &component::Anatomy,
    bytes: Vec<u8>,
) -> Result<wasmtime::component::Component, Refusal> {
    let component = match anatomy.is_component {
        true => bytes,
        false => {
            let component = component::encode(&bytes).map_err(Refusal::Malformed)?;
            let anatomy = component::Anatomy::read(&component).map_err(Refusal::Malformed)?;
            anatomy.check().map_err(Refusal::Contract)?;
            component
        }
    };
    wasmtime::component::Component::new(engine, &component).map_err(|error| {
        Refusal::Malformed(format!(
            "does not compile: {error:#}; build it anew, or raise the limit that it names"
        ))
    })
}

impl Connector {
    /// What the connector says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of its file in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether calls about groups can be made; always where the profile has groups.
    pub fn has_groups(&self) -> bool {
        self.groups.is_some()
    }

    /// Carries out one call in a fresh instance. Works on any tokio runtime that has a timer; a
    /// guest that computes gives way to other tasks every ten milliseconds.
    ///
    /// # Errors
    /// Whatever keeps it from a reply; see [`CallError`] for what each verdict says about the
    /// vendor.
    pub async fn call(&self, call: Call, lent: Lent) -> Result<Reply, CallError> {
        let _call = self
            .shared
            .calls
            .try_acquire()
            .map_err(|_| CallError::Busy)?;
        let limits = &self.shared.limits;
        let wall = Duration::from_millis(limits.wall_ms.into());
        let context = types::Context {
            operation_id: lent.operation_id.clone(),
            attempt: lent.attempt,
            deadline_ms: limits.wall_ms,
            settings: lent.settings.to_string(),
        };
        let log = LogBook::new(limits, lent.tenant, self.name.clone(), lent.operation_id);
        let guest = Guest::new(limits, lent.outbound, Instant::now() + wall, log);
        let mut store = self.store(guest);
        let answer = tokio::time::timeout(wall, self.run(&mut store, context, call)).await;
        match answer {
            Err(_) => Err(CallError::DeadlineExceeded),
            Ok(Err(error)) => Err(verdict(&error, store.data())),
            Ok(Ok(answer)) => Ok(answer.map_err(|error| CallError::Refused(error.into()))?)
                .and_then(|reply| reply.check(limits.result_bytes_max)),
        }
    }

    fn store(&self, guest: Guest) -> Store<Guest> {
        let mut store = Store::new(&self.shared.engine, guest);
        store.limiter(|guest| &mut guest.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_epoch_deadline(1);
        // A plain epoch deadline would also count the wait for the vendor.
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().cpu.book() {
                true => UpdateDeadline::Yield(1),
                false => UpdateDeadline::Interrupt,
            })
        });
        store
    }

    /// The reply or the connector's error; the outer error is a trap.
    async fn run(
        &self,
        store: &mut Store<Guest>,
        context: types::Context,
        call: Call,
    ) -> wasmtime::Result<Result<Reply, types::Error>> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        Ok(match call {
            Call::Create { desired } => self
                .accounts(store, &instance)?
                .call_create(store, &context, &desired)
                .await?
                .map(account),
            Call::Update {
                uid,
                desired,
                deltas,
            } => self
                .accounts(store, &instance)?
                .call_update(store, &context, &uid, &desired, &deltas)
                .await?
                .map(account),
            Call::Delete { uid } => self
                .accounts(store, &instance)?
                .call_delete(store, &context, &uid)
                .await?
                .map(Reply::Deleted),
            Call::Get { uid } => self
                .accounts(store, &instance)?
                .call_get(store, &context, &uid)
                .await?
                .map(found),
            Call::Find { attribute, value } => self
                .accounts(store, &instance)?
                .call_find(store, &context, &attribute, &value)
                .await?
                .map(accounts),
            Call::CreateGroup { desired, members } => self
                .groups(store, &instance)?
                .call_create(store, &context, &desired, &wire(members))
                .await?
                .map(account),
            Call::UpdateGroup {
                uid,
                desired,
                deltas,
                add,
                remove,
            } => {
                let (add, remove) = (wire(add), wire(remove));
                self.groups(store, &instance)?
                    .call_update(store, &context, &uid, &desired, &deltas, &add, &remove)
                    .await?
                    .map(account)
            }
            Call::DeleteGroup { uid } => self
                .groups(store, &instance)?
                .call_delete(store, &context, &uid)
                .await?
                .map(Reply::Deleted),
            Call::GetGroup { uid } => self
                .groups(store, &instance)?
                .call_get(store, &context, &uid)
                .await?
                .map(found),
            Call::FindGroup { attribute, value } => self
                .groups(store, &instance)?
                .call_find(store, &context, &attribute, &value)
                .await?
                .map(accounts),
        })
    }

    fn accounts(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<accounts::Guest> {
        self.accounts.load(store, instance)
    }

    fn groups(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<groups::Guest> {
        match &self.groups {
            Some(groups) => groups.load(store, instance),
            None => Err(wasmtime::Error::msg("it was asked for groups and has none")),
        }
    }
}

fn account(account: types::Account) -> Reply {
    Reply::Account(account.into())
}

fn found(account: Option<types::Account>) -> Reply {
    Reply::Found(account.map(Into::into))
}

fn accounts(accounts: Vec<types::Account>) -> Reply {
    Reply::Accounts(accounts.into_iter().map(Into::into).collect())
}

fn wire(members: Vec<GroupMember>) -> Vec<groups::Member> {
    let members = members.into_iter().map(|member| groups::Member {
        kind: match member.kind {
            MemberKind::User => groups::MemberKind::User,
            MemberKind::Group => groups::MemberKind::Group,
        },
        uid: member.uid,
    });
    members.collect()
}

/// What a call that ended in a trap means.
fn verdict(error: &wasmtime::Error, guest: &Guest) -> CallError {
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::Busy;
    }
    let trap = error.downcast_ref::<Trap>();
    match trap {
        Some(Trap::Interrupt) => CallError::CpuExhausted,
        _ if guest.memory.was_refused => CallError::MemoryExhausted,
        Some(trap) => CallError::Trapped(match guest.log.last_error() {
            Some(line) => format!("{trap}; its last words: {line}"),
            None => trap.to_string(),
        }),
        // Not the guest's code but what it handed over: a bad pointer, text that is not UTF-8, or
        // more than a host call copies.
        None => CallError::Contract(format!("{error:#}")),
    }
}

impl From<types::Account> for Account {
    fn from(account: types::Account) -> Account {
        Account {
            uid: account.uid,
            attributes: account.attributes,
        }
    }
}

impl Reply {
    /// The reply itself if it is what the contract promises.
    fn check(self, bytes_max: usize) -> Result<Reply, CallError> {
        let accounts = match &self {
            Reply::Account(account) | Reply::Found(Some(account)) => std::slice::from_ref(account),
            Reply::Accounts(accounts) => accounts,
            Reply::Found(None) => &[],
            Reply::Deleted(uid) => return check_uid(uid).map(|()| self),
        };
        let bytes = |account: &Account| {
            account.uid.len() + account.attributes.as_ref().map_or(0, String::len)
        };
        if accounts.iter().map(bytes).sum::<usize>() > bytes_max {
            return Err(CallError::Contract(format!(
                "its reply is larger than the {bytes_max} bytes of \
                 gateway.limits.connector.result_bytes_max"
            )));
        }
        for account in accounts {
            check_uid(&account.uid)?;
            if let Some(attributes) = &account.attributes {
                type Object = std::collections::HashMap<String, IgnoredAny>;
                serde_json::from_str::<Object>(attributes).map_err(|error| {
                    CallError::Contract(format!(
                        "an account's attributes are no JSON object: {error}"
                    ))
                })?;
            }
        }
        Ok(self)
    }
}

fn check_uid(uid: &str) -> Result<(), CallError> {
    match verdict::is_uid(uid) {
        true => Ok(()),
        false => Err(CallError::Contract(format!(
            "a uid must be 1 to {} bytes of plain text",
            verdict::WORD_BYTES_MAX
        ))),
    }
}
