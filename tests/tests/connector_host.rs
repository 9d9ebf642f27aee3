//! The sandbox against connectors that misbehave: each limit from its far side, each refusal at
//! load with its cure, and a host that is as good as new afterwards.
//!
//! The connector `hostile` is built by the same function as `gateway connector build`; components
//! that no toolchain would make are put together by hand. Nothing here needs the network.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gateway::connector::build::{Built, build};
use gateway::connector::component::with_manifest;
use gateway::connector::{
    Account, Call, CallError, Connector, ConnectorHost, ConnectorLimits, ErrorKind, GroupMember,
    Lent, MemberKind, Reply,
};
use gateway::egress::{
    Egress, EgressError, EgressLimits, EgressPolicy, Outbound, Request, Response,
};
use serde_json::{Value, json};
use wasm_encoder::{
    ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType, InstanceType,
};

const USER: &str = r#"{"userName": "ann@example.com", "name": {"givenName": "Ann"}}"#;

/// The hostile connector, built once per test run.
static HOSTILE: LazyLock<Built> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/connectors/hostile");
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("connectors");
    build(&folder, &out, &|line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{error}"))
});

/// A vendor that takes its time and gives one answer, and remembers what it was asked.
struct Vendor {
    delay: Duration,
    answer: Result<Response, EgressError>,
    requests: Mutex<Vec<Request>>,
}

impl Vendor {
    fn new(delay_ms: u64, answer: Result<(u16, &str), EgressError>) -> Arc<Vendor> {
        let answer = answer.map(|(status, body)| Response {
            status,
            headers: vec![("retry-after".to_owned(), "3".to_owned())],
            body: body.to_owned(),
        });
        Arc::new(Vendor {
            delay: Duration::from_millis(delay_ms),
            answer,
            requests: Mutex::default(),
        })
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

#[async_trait]
impl Outbound for Vendor {
    async fn send(&self, request: Request) -> Result<Response, EgressError> {
        self.requests.lock().unwrap().push(request);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.answer.clone()
    }
}

/// A vendor that creates what it is asked to.
fn willing(delay_ms: u64) -> Arc<Vendor> {
    Vendor::new(delay_ms, Ok((201, r#"{"id": "4711"}"#)))
}

/// Room for honest work on a machine that is busy with other things: the budget counts the time that
/// a guest waits for a processor as well.
fn limits() -> ConnectorLimits {
    ConnectorLimits {
        cpu_ms: 5_000,
        concurrent_calls_max: 8,
        ..ConnectorLimits::default()
    }
}

/// For a guest that is expected to use its budget up.
fn hasty() -> ConnectorLimits {
    ConnectorLimits {
        cpu_ms: 100,
        ..limits()
    }
}

fn hostile(limits: &ConnectorLimits) -> Arc<Connector> {
    let host = ConnectorHost::new(limits, None).unwrap();
    host.load(&HOSTILE.path).unwrap()
}

fn lent(behaviour: &str, vendor: &Arc<Vendor>) -> Lent {
    let settings = json!({"base_url": "https://vendor.example/api", "behaviour": behaviour});
    Lent {
        tenant: "acme".to_owned(),
        operation_id: "op-1".to_owned(),
        attempt: 2,
        settings: settings.to_string().into(),
        outbound: vendor.clone(),
    }
}

async fn create(
    connector: &Connector,
    behaviour: &str,
    vendor: &Arc<Vendor>,
) -> Result<Reply, CallError> {
    let desired = USER.to_owned();
    connector
        .call(Call::Create { desired }, lent(behaviour, vendor))
        .await
}

fn account(uid: &str, attributes: Option<Value>) -> Account {
    Account {
        uid: uid.to_owned(),
        attributes: attributes.map(|attributes| attributes.to_string()),
    }
}

/// A connector that has misbehaved does not keep the next call from working.
async fn assert_healthy(connector: &Connector) {
    for _ in 0..20 {
        let reply = create(connector, "post", &willing(0)).await.unwrap();
        let attributes = json!({"userName": "ann@example.com"});
        assert_eq!(reply, Reply::Account(account("4711", Some(attributes))));
    }
}

#[tokio::test]
async fn every_call_has_its_reply() {
    let connector = hostile(&limits());
    let vendor = willing(0);
    let reply = create(&connector, "echo", &vendor).await.unwrap();
    let echoed = json!({
        "userName": "ann@example.com", "name": {"givenName": "Ann"}, "active": true, "title": "2",
    });
    assert_eq!(reply, Reply::Account(account("op-1", Some(echoed))));

    let call = |call| connector.call(call, lent("nothing", &vendor));
    let update = Call::Update {
        uid: "7".to_owned(),
        desired: USER.to_owned(),
        deltas: r#"[{"path":"active","value":false},{"path":"title","value":null}]"#.to_owned(),
    };
    let updated = account("7", Some(json!({"active": false})));
    assert_eq!(call(update).await, Ok(Reply::Account(updated)));
    let uid = || "7".to_owned();
    assert_eq!(
        call(Call::Delete { uid: uid() }).await,
        Ok(Reply::Deleted(uid()))
    );
    let found = Reply::Found(Some(account("7", None)));
    assert_eq!(call(Call::Get { uid: uid() }).await, Ok(found));
    let absent = Call::Get {
        uid: "absent".to_owned(),
    };
    assert_eq!(call(absent).await, Ok(Reply::Found(None)));
    let find = Call::Find {
        attribute: "userName".to_owned(),
        value: "a b".to_owned(),
    };
    let both = vec![account("a", None), account("b", None)];
    assert_eq!(call(find).await, Ok(Reply::Accounts(both)));
}

#[tokio::test]
async fn every_call_about_groups_has_its_reply() {
    let connector = hostile(&limits());
    assert!(connector.has_groups());
    let vendor = willing(0);
    let member = |kind, uid: &str| GroupMember {
        kind,
        uid: uid.to_owned(),
    };
    let users = |count: usize| vec![member(MemberKind::User, "a"); count];
    let call = |call| connector.call(call, lent("echo", &vendor));
    let group = |uid: &str, external_id: &str| {
        let shown = json!({"displayName": "Sales", "externalId": external_id});
        Ok(Reply::Account(account(uid, Some(shown))))
    };
    let uid = || "7".to_owned();
    let desired = || r#"{"displayName": "Sales"}"#.to_owned();

    let create = Call::CreateGroup {
        desired: desired(),
        members: vec![
            member(MemberKind::User, "a"),
            member(MemberKind::Group, "g"),
        ],
    };
    assert_eq!(call(create).await, group("op-1", "2 group g"));
    let update = |add, remove| Call::UpdateGroup {
        uid: uid(),
        desired: desired(),
        deltas: r#"[{"path":"displayName","value":"Sales"}]"#.to_owned(),
        add,
        remove,
    };
    let changed = group("7", "1 +3 user a -1 user b");
    let leaves = vec![member(MemberKind::User, "b")];
    assert_eq!(call(update(users(3), leaves)).await, changed);
    let changed = group("7", "1 +0 -0");
    assert_eq!(call(update(vec![], vec![])).await, changed);
    // Far more than one call is meant to carry.
    let changed = group("7", "1 +50000 user a -50000 user a");
    assert_eq!(call(update(users(50_000), users(50_000))).await, changed);

    let delete = Call::DeleteGroup { uid: uid() };
    assert_eq!(call(delete).await, Ok(Reply::Deleted(uid())));
    let found = Reply::Found(Some(account("7", None)));
    assert_eq!(call(Call::GetGroup { uid: uid() }).await, Ok(found));
    let absent = Call::GetGroup {
        uid: "absent".to_owned(),
    };
    assert_eq!(call(absent).await, Ok(Reply::Found(None)));
    let find = Call::FindGroup {
        attribute: "displayName".to_owned(),
        value: "a b".to_owned(),
    };
    let both = vec![account("a", None), account("b", None)];
    assert_eq!(call(find).await, Ok(Reply::Accounts(both)));
}

#[tokio::test]
async fn the_limits_hold_for_calls_about_groups() {
    let create = async |connector: &Connector, behaviour: &str| {
        let call = Call::CreateGroup {
            desired: r#"{"displayName": "Sales"}"#.to_owned(),
            members: Vec::new(),
        };
        let verdict = connector.call(call, lent(behaviour, &willing(0))).await;
        verdict.expect_err(behaviour)
    };
    let hasty = hostile(&hasty());
    assert_eq!(create(&hasty, "spin").await, CallError::CpuExhausted);
    let impatient = hostile(&ConnectorLimits {
        wall_ms: 200,
        ..limits()
    });
    assert_eq!(
        create(&impatient, "spin").await,
        CallError::DeadlineExceeded
    );
    let connector = hostile(&limits());
    assert_eq!(
        create(&connector, "hoard").await,
        CallError::MemoryExhausted
    );
    for (behaviour, expected) in [
        ("huge result", "result_bytes_max"),
        ("empty uid", "a uid must be"),
        ("post without end", "http_requests_max"),
        ("panic", "told to panic"),
    ] {
        let error = create(&connector, behaviour).await.to_string();
        assert!(error.contains(expected), "{behaviour}: {error}");
    }
    assert_healthy(&connector).await;
}

#[tokio::test]
async fn each_misbehaviour_has_its_verdict_and_the_host_stays_healthy() {
    let hasty = hostile(&hasty());
    for behaviour in ["spin", "post, then spin"] {
        let verdict = create(&hasty, behaviour, &willing(0)).await;
        assert_eq!(verdict, Err(CallError::CpuExhausted), "{behaviour}");
        assert_healthy(&hasty).await;
    }
    let connector = hostile(&limits());
    let check = async |behaviour: &str, expected: fn(&CallError) -> bool| {
        let error = create(&connector, behaviour, &willing(0))
            .await
            .unwrap_err();
        assert!(expected(&error), "{behaviour}: {error:?}");
        assert_healthy(&connector).await;
    };
    check("hoard", |error| *error == CallError::MemoryExhausted).await;
    check("recurse", |error| matches!(error, CallError::Trapped(_))).await;
    check("panic", |error| {
        matches!(error, CallError::Trapped(why) if why.contains(r"told to panic\nover two lines"))
    })
    .await;
    check(
        "huge result",
        |error| matches!(error, CallError::Contract(why) if why.contains("result_bytes_max")),
    )
    .await;
    check(
        "enormous result",
        |error| matches!(error, CallError::Contract(why) if why.contains("hostcalls")),
    )
    .await;
    check(
        "empty uid",
        |error| matches!(error, CallError::Contract(why) if why.contains("uid")),
    )
    .await;
    check("post without end", |error| {
        matches!(error, CallError::Refused(why) if why.kind == ErrorKind::Internal
            && why.message.contains("http_requests_max"))
    })
    .await;
}

#[tokio::test]
async fn an_error_arrives_whole_and_on_one_line() {
    let connector = hostile(&limits());
    let error = create(&connector, "refuse", &willing(0)).await.unwrap_err();
    let CallError::Refused(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert_eq!(error.message, r"first\nsecond");
    assert_eq!(error.code.as_deref(), Some("E1"));
    assert_eq!(error.path.as_deref(), Some("title"));
    assert_eq!(error.retry_after_ms, Some(1500));
    assert_eq!(error.vendor_status, Some(422));
    assert_eq!(error.uid.as_deref(), Some("7"));
}

#[tokio::test]
async fn nothing_passes_from_one_call_to_the_next() {
    let connector = hostile(&limits());
    for _ in 0..50 {
        let reply = create(&connector, "count", &willing(0)).await;
        assert_eq!(reply, Ok(Reply::Account(account("1", None))));
    }
}

#[tokio::test]
async fn the_vendors_answer_decides_the_kind_of_error() {
    let connector = hostile(&limits());
    let check = async |answer: Result<(u16, &str), EgressError>, kind: ErrorKind| {
        let error = create(&connector, "post", &Vendor::new(0, answer.clone())).await;
        match error {
            Err(CallError::Refused(error)) => assert_eq!(error.kind, kind, "{answer:?}"),
            other => panic!("{answer:?}: {other:?}"),
        }
    };
    let word = || "word".to_owned();
    check(Err(EgressError::Denied(word())), ErrorKind::Forbidden).await;
    check(Err(EgressError::Timeout), ErrorKind::Unavailable).await;
    check(Err(EgressError::TooLarge(1)), ErrorKind::Internal).await;
    check(Err(EgressError::Dns(word())), ErrorKind::Unavailable).await;
    check(Err(EgressError::Connect(word())), ErrorKind::Unavailable).await;
    check(Err(EgressError::Tls(word())), ErrorKind::Unavailable).await;
    check(Err(EgressError::Protocol(word())), ErrorKind::Unavailable).await;
    check(Ok((400, "")), ErrorKind::Invalid).await;
    check(Ok((401, "")), ErrorKind::Unauthorized).await;
    check(Ok((403, "")), ErrorKind::Forbidden).await;
    check(Ok((404, "")), ErrorKind::NotFound).await;
    check(Ok((409, "")), ErrorKind::AlreadyExists).await;
    check(Ok((423, "")), ErrorKind::Conflict).await;
    check(Ok((429, "")), ErrorKind::RateLimited).await;
    check(Ok((501, "")), ErrorKind::Unsupported).await;
    check(Ok((503, "")), ErrorKind::Unavailable).await;
    check(Ok((200, "<html>")), ErrorKind::Internal).await;
    check(Ok((302, "")), ErrorKind::Internal).await;
}

#[tokio::test]
async fn only_granted_hosts_are_within_reach() {
    let connector = hostile(&limits());
    let settings = json!({"base_url": "https://vendor.example/api"});
    let settings = settings.as_object().unwrap();
    let policy = EgressPolicy {
        origins: connector.manifest().granted_origins(settings).unwrap(),
        allow_private: Vec::new(),
        credential: None,
    };
    let egress: Arc<dyn Outbound> =
        Arc::new(Egress::new(policy, &EgressLimits::default()).unwrap());
    let check = async |behaviour: &str, expected: &str| {
        let lent = Lent {
            outbound: egress.clone(),
            ..lent(behaviour, &willing(0))
        };
        let desired = USER.to_owned();
        let error = connector
            .call(Call::Create { desired }, lent)
            .await
            .unwrap_err();
        let CallError::Refused(error) = error else {
            panic!("{behaviour}: {error:?}");
        };
        assert_eq!(error.kind, ErrorKind::Forbidden, "{behaviour}: {error}");
        assert!(error.message.contains(expected), "{behaviour}: {error}");
    };
    check("call elsewhere", "elsewhere.example").await;
    check("call the metadata service", "169.254.169.254").await;
    check("call a neighbour's port", "vendor.example:8443").await;
    check("bring a credential", "authorization").await;
}

#[tokio::test]
async fn waiting_for_the_vendor_is_no_cpu_time() {
    let limits = ConnectorLimits {
        http_requests_max: 20,
        ..hasty()
    };
    let connector = hostile(&limits);
    // Ten times the budget in one wait, then as many waits as would use it up ten times over.
    let reply = create(&connector, "post twice", &willing(1_000)).await;
    assert!(reply.is_ok(), "{reply:?}");
    let error = create(&connector, "post without end", &willing(50)).await;
    assert!(matches!(error, Err(CallError::Refused(_))), "{error:?}");
    // Having waited does not buy a guest time to compute.
    let error = create(&connector, "post, then spin", &willing(50)).await;
    assert_eq!(error, Err(CallError::CpuExhausted));
}

#[tokio::test]
async fn the_wall_deadline_ends_a_call_that_waits_and_one_that_computes() {
    let limits = ConnectorLimits {
        wall_ms: 200,
        cpu_ms: 60_000,
        ..limits()
    };
    let connector = hostile(&limits);
    let slow = willing(20_000);
    let check = async |behaviour: &str| {
        let started = Instant::now();
        let error = create(&connector, behaviour, &slow).await;
        assert_eq!(error, Err(CallError::DeadlineExceeded), "{behaviour}");
        assert!(started.elapsed() < Duration::from_secs(5), "{behaviour}");
    };
    check("post").await;
    // On this runtime of one thread: a guest that computes gives way to the timer.
    check("spin").await;
    // A request gets no more time than the call has left.
    let given = slow.requests()[0].timeout_ms.unwrap();
    assert!((1..=200).contains(&given), "{given}");
    assert_healthy(&connector).await;
}

#[tokio::test]
async fn one_call_too_many_is_refused_as_busy() {
    let limits = ConnectorLimits {
        concurrent_calls_max: 2,
        ..limits()
    };
    let connector = hostile(&limits);
    let slow = willing(200);
    let calls = || create(&connector, "post", &slow);
    let (first, second, third) = tokio::join!(calls(), calls(), calls());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(third, Err(CallError::Busy));
    assert_healthy(&connector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_side_by_side() {
    let limits = ConnectorLimits {
        concurrent_calls_max: 100,
        ..limits()
    };
    let connector = hostile(&limits);
    let slow = willing(200);
    let started = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (connector, slow) = (connector.clone(), slow.clone());
            tokio::spawn(async move { create(&connector, "post", &slow).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_ok());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn without_room_for_a_pool_calls_still_work() {
    let limits = ConnectorLimits {
        concurrent_calls_max: 100_000,
        ..limits()
    };
    let connector = hostile(&limits);
    assert_healthy(&connector).await;
    let error = create(&connector, "hoard", &willing(0)).await;
    assert_eq!(error, Err(CallError::MemoryExhausted));
}

/// Collects what the gateway logs on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn during(run: impl Future<Output = ()>) -> impl Future<Output = Vec<String>> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        async move {
            run.await;
            drop(guard);
            let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }
}

#[tokio::test]
async fn log_lines_are_counted_cut_and_cannot_be_forged() {
    let limits = ConnectorLimits {
        log_lines_max: 5,
        log_line_bytes_max: 100,
        ..limits()
    };
    let connector = hostile(&limits);
    let lines = Lines::during(async {
        create(&connector, "log flood", &willing(0)).await.unwrap();
    })
    .await;
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for (index, line) in lines[..5].iter().enumerate() {
        assert!(
            line.contains(&format!(r"line {index}\nERROR forged xxx")),
            "{line}"
        );
        assert!(
            line.contains(r#"tenant.id="acme" connector.id="hostile""#),
            "{line}"
        );
        assert!(line.contains('…') && line.len() < 300, "{line}");
    }
    assert!(lines[5].contains("995 log lines more"), "{}", lines[5]);
}

#[tokio::test]
async fn the_message_of_a_panic_reaches_the_log() {
    let connector = hostile(&limits());
    let lines = Lines::during(async {
        create(&connector, "panic", &willing(0)).await.unwrap_err();
    })
    .await;
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("ERROR") && lines[0].contains("told to panic"),
        "{lines:#?}"
    );
}

const MANIFEST: &str = include_str!("../fixtures/connectors/hostile/connector.toml");

/// A component that imports functions of these instances and can export an empty `accounts`.
fn component(imports: &[(&str, &str)], exports_accounts: bool) -> Vec<u8> {
    let mut builder = ComponentBuilder::default();
    for (name, function) in imports {
        let mut instance = InstanceType::new();
        let no_parameters: [(&str, ComponentValType); 0] = [];
        instance.ty().function().params(no_parameters).result(None);
        instance.export(*function, ComponentTypeRef::Func(0));
        let ty = builder.type_instance(None, &instance);
        builder.import(*name, ComponentTypeRef::Instance(ty));
    }
    if exports_accounts {
        let inner = builder.component(None, ComponentBuilder::default());
        let no_arguments: [(&str, ComponentExportKind, u32); 0] = [];
        let instance = builder.instantiate(None, inner, no_arguments);
        let name = "scimgw:connector/accounts@0.1.0";
        builder.export(name, ComponentExportKind::Instance, instance, None);
    }
    builder.finish()
}

fn file(folder: &Path, bytes: &[u8]) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let path = folder.join(format!("{}.wasm", COUNTER.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_is_no_connector_is_refused_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let host = ConnectorHost::new(&limits(), None).unwrap();
    let check = |bytes: &[u8], expected: &[&str]| {
        let Err(error) = host.load(&file(folder.path(), bytes)) else {
            panic!("{expected:?} was loaded");
        };
        let message = error.to_string();
        for part in expected {
            assert!(message.contains(part), "{part}: {message}");
        }
    };
    let sound = std::fs::read(&HOSTILE.path).unwrap();
    let with = |component| with_manifest(component, MANIFEST);
    check(b"", &["no WebAssembly file"]);
    check(b"junk", &["no WebAssembly file"]);
    check(&sound[..sound.len() / 2], &["damaged"]);
    check(
        &component(&[], true),
        &["carries no manifest", "gateway connector build"],
    );
    check(
        &with(component(&[], false)),
        &["does not export", "accounts", "export!"],
    );
    let wasi = [
        ("wasi:filesystem/types@0.2.3", "read"),
        ("wasi:cli/environment@0.2.3", "get"),
    ];
    check(
        &with(component(&wasi, true)),
        &[
            "imports wasi:filesystem/types@0.2.3",
            "imports wasi:cli/environment@0.2.3",
            "stub WASI out",
        ],
    );
    let newer = [("scimgw:connector/http@0.2.0", "send")];
    check(
        &with(component(&newer, true)),
        &["speaks contract 0.1, not 0.2", "rebuild"],
    );
    let unknown = [("scimgw:connector/http@0.1.0", "teleport")];
    check(
        &with(component(&unknown, true)),
        &["does not fit contract 0.1", "teleport"],
    );
    check(
        &with(component(&[("acme:db/query@1.0.0", "run")], true)),
        &["acme:db/query@1.0.0"],
    );
    let (accounts_only, _) = MANIFEST.split_once("[[profile.group]]").unwrap();
    check(
        &with_manifest(component(&[], true), accounts_only),
        &["does not fit contract 0.1", "create"],
    );
    let promised = [
        "does not export scimgw:connector/groups",
        "GroupConnector",
        "[[profile.group]]",
    ];
    check(&with(component(&[], true)), &promised);
    let of_later_line = MANIFEST.replace("contract = \"0.1\"", "contract = \"0.7\"");
    check(
        &with_manifest(component(&[], true), &of_later_line),
        &["\"0.7\"", "speaks 0.1"],
    );
    check(
        &with_manifest(sound.clone(), MANIFEST),
        &["more than one manifest"],
    );

    let error = host.load(&folder.path().join("absent.wasm")).err().unwrap();
    assert!(error.to_string().contains("cannot be read"), "{error}");
    let small = ConnectorLimits {
        component_bytes_max: 1000,
        ..limits()
    };
    let host = ConnectorHost::new(&small, None).unwrap();
    let error = host.load(&HOSTILE.path).err().unwrap();
    assert!(error.to_string().contains("component_bytes_max"), "{error}");
}

#[test]
fn the_built_file_is_the_whole_connector() {
    assert_eq!(HOSTILE.path.file_name().unwrap(), "hostile.wasm");
    assert_eq!(HOSTILE.manifest.name, "hostile");
    let ours = |import: &String| import.starts_with("scimgw:connector/");
    assert!(HOSTILE.imports.iter().all(ours), "{:?}", HOSTILE.imports);
    let connector = hostile(&limits());
    assert_eq!(connector.digest(), HOSTILE.digest);
    assert_eq!(connector.manifest().name, "hostile");
}

#[tokio::test]
async fn a_core_module_is_accepted_too() {
    // What the compiler made, before the build turned it into a component.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/hostile");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root, PathBuf::from);
    LazyLock::force(&HOSTILE);
    let module = std::fs::read(target.join("wasm32-unknown-unknown/release/hostile.wasm")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &with_manifest(module, MANIFEST));
    let host = ConnectorHost::new(&limits(), None).unwrap();
    assert_healthy(&host.load(&path).unwrap()).await;
}

/// The cached entry of the only connector in a cache folder.
fn entry(cache: &Path) -> PathBuf {
    let engine = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap();
    let mut files = std::fs::read_dir(engine.path())
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .find(|file| file.extension().is_some_and(|end| end == "cwasm"))
        .unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn compiled_code_is_kept_and_only_used_if_sound() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("compiled");
    let load = || {
        let host = ConnectorHost::new(&limits(), Some(cache.clone())).unwrap();
        host.load(&HOSTILE.path).unwrap()
    };
    load();
    let entry = entry(&cache);
    // An entry is replaced by renaming, so a new inode tells that the code was compiled again.
    let inode = || std::fs::metadata(&entry).unwrap().ino();
    let first = inode();
    assert_healthy(&load()).await;
    assert_eq!(
        inode(),
        first,
        "the second load uses what the first one kept"
    );

    let spoilt = |spoil: &dyn Fn()| {
        spoil();
        let before = inode();
        let connector = load();
        assert_ne!(inode(), before, "a spoilt entry is replaced");
        connector
    };
    let sound = std::fs::read(&entry).unwrap();
    let mut tampered = sound.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    assert_healthy(&spoilt(&|| std::fs::write(&entry, &tampered).unwrap())).await;
    assert_healthy(&spoilt(&|| std::fs::write(&entry, &sound[..100]).unwrap())).await;
    let open = std::fs::Permissions::from_mode(0o666);
    assert_healthy(&spoilt(&|| {
        std::fs::set_permissions(&entry, open.clone()).unwrap()
    }))
    .await;
    std::fs::remove_file(entry.with_extension("sha256")).unwrap();
    assert_healthy(&spoilt(&|| {})).await;

    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = ConnectorHost::new(&limits(), Some(cache.clone()))
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("can be written by others"),
        "{error}"
    );
}
