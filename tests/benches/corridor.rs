//! `make bench`: what the sandbox costs over the same code run natively, and what a request costs end
//! to end. Both sides of each comparison are measured in one run, in CPU time: wall time on a shared
//! machine says little.
//!
//! The load generator and the simulated vendor (instant: no limits, no latency) run in this process,
//! the gateway in its own; only the gateway's CPU time is counted.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gateway::connector::{Call, ConnectorHost, ConnectorLimits, Lent, Reply};
use gateway::egress::{EgressError, Outbound, Request, Response};
use gateway_tests::corridor::{Corridor, Setup, TENANT};
use gateway_tests::cost::{costed, header, rated, row};
use gateway_tests::directory::{Person, people};
use gateway_tests::entra::Entra;
use gateway_tests::gateway_process::connectors_dir;
use serde_json::Value;

/// The gateway's own: what is measured in this process shall cost what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SETTINGS: &str = r#"{"base_url":"http://127.0.0.1:1"}"#;

fn main() -> Result<(), String> {
    // `cargo bench` hands its own flags on; the only one of ours is for a quick look.
    let quick = std::env::args().any(|arg| arg == "--quick");
    let scale = if quick { 1 } else { 10 };
    header();
    sandbox(400 * scale)?;
    end_to_end(400 * scale)
}

/// The answer of an instant vendor to a request of a create, chosen by what is asked.
fn canned(body: &str) -> String {
    const UNKNOWN: &str = r#"{"data":{"userByEmail":null}}"#;
    const CREATED: &str = r#"{"data":{"userCreate":{"node":{"id":7,"email":"ada.okafor@example.com","archived":false},"errors":[]}}}"#;
    const EDITED: &str = r#"{"data":{"userEdit":{"node":{"id":7,"email":"ada.okafor@example.com","archived":false},"errors":[]}}}"#;
    let answer = match body {
        _ if body.contains("userByEmail") => UNKNOWN,
        _ if body.contains("userCreate") => CREATED,
        _ => EDITED,
    };
    answer.to_owned()
}

struct Instantly;

#[async_trait::async_trait]
impl Outbound for Instantly {
    async fn send(&self, request: Request) -> Result<Response, EgressError> {
        Ok(Response {
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: canned(request.body.as_deref().unwrap_or_default()),
        })
    }
}

/// The same operations by the same Rust code: native, and as WebAssembly in a fresh instance per call.
fn sandbox(calls: usize) -> Result<(), String> {
    let user = people(1)[0].as_scim().to_string();

    let native = connector_sdk::native::Host::<knowbe4::KnowBe4>::new(SETTINGS, |request| {
        let body = canned(request.body.as_deref().unwrap_or_default());
        Ok(connector_sdk::native::response(200, &[], &body))
    });
    let host = ConnectorHost::new(&ConnectorLimits::default(), None).map_err(|e| e.to_string())?;
    let file = connectors_dir().join("knowbe4.wasm");
    let connector = host.load(&file).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let outbound: Arc<dyn Outbound> = Arc::new(Instantly);
    let sandboxed = |call: &Call| {
        let lent = Lent {
            tenant: TENANT.to_owned(),
            operation_id: "0192f0c1-2d3e-7a4b-8c5d-6e7f8091a2b3".to_owned(),
            attempt: 1,
            settings: SETTINGS.into(),
            outbound: outbound.clone(),
        };
        match runtime.block_on(connector.call(call.clone(), lent)) {
            Ok(Reply::Account(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };

    let deltas = r#"[{"path":"title","value":"Principal Engineer"}]"#;
    let update = Call::Update {
        uid: "7".to_owned(),
        desired: user.clone(),
        deltas: deltas.to_owned(),
    };
    let create = Call::Create {
        desired: user.clone(),
    };
    let failed = |error: connector_sdk::Error| error.message;
    let target = Some(Duration::from_micros(20));
    for (name, native, sandboxed) in [
        (
            "update, 1 vendor call",
            per_call(calls, || {
                let done = native.update("7", &user, deltas);
                done.map(|_| ()).map_err(failed)
            })?,
            per_call(calls, || sandboxed(&update))?,
        ),
        (
            "create, 3 vendor calls",
            per_call(calls, || native.create(&user).map(|_| ()).map_err(failed))?,
            per_call(calls, || sandboxed(&create))?,
        ),
    ] {
        row(&format!("{name}, connector native"), native, None);
        row(&format!("{name}, connector sandboxed"), sandboxed, None);
        let over = sandboxed.saturating_sub(native);
        row("  sandboxed over native", over, target);
    }
    Ok(())
}

/// Median CPU time of one call, over batches.
fn per_call(
    calls: usize,
    mut call: impl FnMut() -> Result<(), String>,
) -> Result<Duration, String> {
    const BATCHES: usize = 9;
    for _ in 0..calls / BATCHES {
        call()?;
    }
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let before = thread_cpu();
        for _ in 0..calls {
            call()?;
        }
        batches.push((thread_cpu() - before) / u32::try_from(calls).unwrap_or(u32::MAX));
    }
    batches.sort();
    Ok(batches[BATCHES / 2])
}

/// Durable creates through the sandbox to the vendor, then reads of what was created.
fn end_to_end(count: usize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let mut setup = Setup::instant();
    setup.env = vec![("GATEWAY_LOG".to_owned(), "warn".to_owned())];
    let corridor = Corridor::start(dir.path(), setup)?;
    let (gateway, entra) = (&corridor.gateway, &corridor.entra);

    let everybody = people(2 * count + 64);
    let (warm_up, rest) = everybody.split_at(64);
    let (whole, plain) = rest.split_at(count);
    let warm_up: Vec<Value> = warm_up.iter().map(Person::as_scim).collect();
    let whole: Vec<Value> = whole.iter().map(Person::as_scim).collect();
    let plain: Vec<Value> = plain.iter().map(name_and_title).collect();
    runtime.block_on(create_all(entra, &warm_up, 16))?;

    // An absent target means that the row is there to compare with.
    let post = Some(Duration::from_micros(350));
    let get = Some(Duration::from_micros(50));
    let (few, many) = whole.split_at(count / 4);
    let rows = [
        ("POST /Users, 3 vendor calls, 1 at once", few, 1, None),
        ("POST /Users, 3 vendor calls, 32 at once", many, 32, post),
        ("POST /Users, 2 vendor calls, 32 at once", &plain, 32, post),
    ];
    let mut ids = Vec::new();
    for (name, bodies, at_once, target) in rows {
        let (made, cost) = costed(gateway, || {
            runtime.block_on(create_all(entra, bodies, at_once))
        })?;
        rated(name, &cost.per(made.len()), target);
        ids.extend(made);
    }
    for (name, at_once, target) in [
        ("GET /Users/id, 1 at once", 1, None),
        ("GET /Users/id, 32 at once", 32, get),
    ] {
        let reads = 2 * ids.len();
        let ((), cost) = costed(gateway, || {
            runtime.block_on(read_all(entra, &ids, reads, at_once))
        })?;
        rated(name, &cost.per(reads), target);
    }
    Ok(())
}

/// A user that KnowBe4's `userCreate` takes whole: no `userEdit` follows.
fn name_and_title(person: &Person) -> Value {
    let mut user = person.as_scim();
    if let Some(user) = user.as_object_mut() {
        user.retain(|name, _| matches!(name.as_str(), "schemas" | "userName" | "name" | "title"));
    }
    user
}

async fn create_all(
    entra: &Entra,
    bodies: &[Value],
    at_once: usize,
) -> Result<Vec<String>, String> {
    futures::stream::iter(bodies)
        .map(|body| entra.create(body))
        .buffer_unordered(at_once)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect()
}

async fn read_all(
    entra: &Entra,
    ids: &[String],
    reads: usize,
    at_once: usize,
) -> Result<(), String> {
    futures::stream::iter(ids.iter().cycle().take(reads))
        .map(|id| entra.read(id))
        .buffer_unordered(at_once)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .try_for_each(|read| read.map(|_| ()))
}

/// CPU time of this thread.
fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}
