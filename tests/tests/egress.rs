//! The way out over real sockets: what a connector can reach, and what a bad vendor can do to it.
//!
//! Every vendor here is a few lines of TCP on loopback, so that it can break HTTP in ways that no
//! library would. Nothing leaves the machine. Where a test says that something was not reached, the
//! vendor's own count of connections says so, and another test reaches the same kind of vendor.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::egress::{
    Credential, Egress, EgressError, EgressLimits, EgressPolicy, Outbound, Request, Response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const SECRET: &str = "s3cret-k3y-of-the-tenant";

/// What a vendor does with one request.
#[derive(Clone)]
enum Act {
    /// Sends these bytes and waits for the next request.
    Say(Vec<u8>),
    /// Sends these bytes and closes.
    SayAndClose(Vec<u8>),
    /// Sends the first bytes, then one more byte every 20 ms for ever.
    Drip(Vec<u8>),
    /// Sends these bytes and then says nothing more.
    SayAndHang(Vec<u8>),
}

fn say(text: impl Into<String>) -> Act {
    Act::Say(text.into().into_bytes())
}

fn ok(body: &str) -> Act {
    say(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A vendor on a free port of 127.0.0.1.
struct Vendor {
    port: u16,
    connections: Arc<AtomicUsize>,
    /// Connections that the other side has closed.
    closed: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    async fn start(act: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let vendor = Self {
            port: listener.local_addr().expect("bound").port(),
            connections: Arc::default(),
            closed: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, closed) = (vendor.connections.clone(), vendor.closed.clone());
        let requests = vendor.requests.clone();
        let act = Arc::new(act);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (act, requests, closed) = (act.clone(), requests.clone(), closed.clone());
                tokio::spawn(async move {
                    serve(socket, act.as_ref(), &requests).await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        vendor
    }

    async fn answering(act: Act) -> Self {
        Self::start(move |_| act.clone()).await
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn request(&self, index: usize) -> String {
        self.requests.lock().expect("not poisoned")[index].clone()
    }
}

async fn serve(
    mut socket: TcpStream,
    act: &(dyn Fn(&str) -> Act + Sync),
    heard: &Mutex<Vec<String>>,
) {
    while let Some(request) = hear(&mut socket).await {
        let act = act(&request);
        heard.lock().expect("not poisoned").push(request);
        let sent = match act {
            Act::Say(bytes) => socket.write_all(&bytes).await,
            Act::SayAndClose(bytes) => {
                let _ = socket.write_all(&bytes).await;
                let _ = socket.shutdown().await;
                return;
            }
            Act::SayAndHang(bytes) => {
                let _ = socket.write_all(&bytes).await;
                // Ends when the other side closes.
                let _ = socket.read(&mut [0; 1]).await;
                return;
            }
            Act::Drip(bytes) => {
                let mut sent = socket.write_all(&bytes).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    sent = socket.write_all(b"x").await;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// One whole request, or none when the other side has closed.
async fn hear(socket: &mut TcpStream) -> Option<String> {
    let mut heard = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().expect("a length")) {
                return Some(text);
            }
        }
        let mut page = [0; 4096];
        match socket.read(&mut page).await {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => heard.extend_from_slice(&page[..bytes]),
        }
    }
}

/// A tenant's way out to these origins, with loopback allowed.
fn egress(origins: &[&str]) -> Egress {
    with(origins, &["127.0.0.0/8"], &EgressLimits::default())
}

fn with(origins: &[&str], allow_private: &[&str], limits: &EgressLimits) -> Egress {
    let policy = EgressPolicy {
        origins: origins
            .iter()
            .map(|origin| origin.parse().expect("a URL"))
            .collect(),
        allow_private: allow_private
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect(),
        credential: Some(Credential::Bearer(SECRET.into())),
    };
    Egress::new(policy, limits).expect("a policy")
}

fn get(url: impl Into<String>) -> Request {
    Request {
        method: "GET".into(),
        url: url.into(),
        headers: vec![],
        body: None,
        timeout_ms: None,
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response
        .headers
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

/// Sends one request to a vendor that acts like this.
async fn meet(act: Act) -> Result<Response, EgressError> {
    let vendor = Vendor::answering(act).await;
    egress(&[&vendor.url()]).send(get(vendor.url())).await
}

fn assert_denied(result: &Result<Response, EgressError>, reason: &str) {
    match result {
        Err(EgressError::Denied(message)) => assert!(message.contains(reason), "{message}"),
        other => panic!("not denied: {other:?}"),
    }
}

#[tokio::test]
async fn a_granted_origin_is_reached_with_the_credential() {
    let vendor = Vendor::answering(ok(r#"{"data":1}"#)).await;
    let egress = egress(&[&format!("{}/base/", vendor.url())]);
    let request = Request {
        method: "POST".into(),
        url: format!("{}/graphql?x=1#part", vendor.url()),
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: Some(r#"{"query":"\u00e9 é"}"#.into()),
        timeout_ms: Some(5_000),
    };
    let response = egress.send(request).await.expect("an answer");
    assert_eq!(
        (response.status, response.body.as_str()),
        (200, r#"{"data":1}"#)
    );
    let heard = vendor.request(0);
    assert!(
        heard.starts_with("POST /graphql?x=1 HTTP/1.1\r\n"),
        "{heard}"
    );
    assert!(
        heard.ends_with("\r\n\r\n{\"query\":\"\\u00e9 é\"}"),
        "{heard}"
    );
    for line in [
        &format!("authorization: Bearer {SECRET}\r\n"),
        "content-type: application/json\r\n",
        "accept-encoding: identity\r\n",
        "user-agent: scim-gateway/",
    ] {
        assert_eq!(heard.matches(line).count(), 1, "{line} in {heard}");
    }
    for absent in ["cookie", "referer", "proxy"] {
        assert!(!heard.to_lowercase().contains(absent), "{heard}");
    }
}

#[test]
fn the_systems_proxy_is_not_used() {
    // The variables must be those of a whole process, so this one runs the test above again with
    // proxies at which nobody listens.
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(["--exact", "a_granted_origin_is_reached_with_the_credential"]);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ] {
        again.env(name, "http://127.0.0.1:1");
    }
    let output = again.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_not_granted_is_not_reached() {
    let granted = Vendor::answering(ok("")).await;
    let other = Vendor::answering(ok("")).await;
    let egress = egress(&[&granted.url()]);
    let result = egress
        .send(get(format!("{}/x?mail=a@b.example", other.url())))
        .await;
    assert_denied(
        &result,
        &format!("{} is not granted; granted: {}", other.url(), granted.url()),
    );
    let with_password = format!("http://{SECRET}@127.0.0.1:{}/", granted.port);
    assert_denied(&egress.send(get(with_password)).await, "user name");
    assert_denied(&egress.send(get("file:///etc/passwd")).await, "file URLs");
    let nobody = with(&[], &["127.0.0.0/8"], &EgressLimits::default());
    assert_denied(&nobody.send(get(granted.url())).await, "granted: nothing");
    assert_eq!((granted.connections(), other.connections()), (0, 0));
}

#[tokio::test]
async fn a_private_address_needs_the_tenants_leave_in_every_spelling() {
    let vendor = Vendor::answering(ok("")).await;
    let port = vendor.port;
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/");
        let shut = with(&[&url], &[], &EgressLimits::default());
        assert_denied(&shut.send(get(&url)).await, "add \"127.0.0.1/32\"");
        let elsewhere = with(
            &[&url],
            &["10.0.0.0/8", "::1/128"],
            &EgressLimits::default(),
        );
        assert_denied(&elsewhere.send(get(&url)).await, "loopback");
    }
    assert_eq!(vendor.connections(), 0);
    let open = with(
        &[&vendor.url()],
        &["127.0.0.1/32"],
        &EgressLimits::default(),
    );
    assert_eq!(
        open.send(get(vendor.url())).await.expect("reached").status,
        200
    );
    let metadata = with(&["http://169.254.169.254"], &[], &EgressLimits::default());
    assert_denied(
        &metadata.send(get("http://169.254.169.254/latest")).await,
        "cloud metadata",
    );
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_needs_it_too() {
    let vendor = Vendor::answering(ok("")).await;
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://localhost:{}", vendor.port);
        let shut = with(&[&url], &["10.0.0.0/8"], &EgressLimits::default());
        assert_denied(&shut.send(get(&url)).await, "localhost resolves to");
    }
    assert_eq!(vendor.connections(), 0);
    let url = format!("http://localhost:{}", vendor.port);
    let open = with(
        &[&url],
        &["127.0.0.0/8", "::1/128"],
        &EgressLimits::default(),
    );
    assert_eq!(open.send(get(&url)).await.expect("reached").status, 200);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let target = Vendor::answering(ok("")).await;
    for status in [301, 302, 303, 307, 308] {
        let location = target.url();
        let vendor = Vendor::answering(say(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        )))
        .await;
        // Even where the target is granted too.
        let egress = egress(&[&vendor.url(), &target.url()]);
        let response = egress.send(get(vendor.url())).await.expect("an answer");
        assert_eq!(response.status, status);
        assert_eq!(header(&response, "location"), Some(location.as_str()));
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_answer_may_be_as_large_as_the_limit_and_no_larger() {
    let limits = EgressLimits {
        response_bytes_max: 1_000,
        ..EgressLimits::default()
    };
    let chunked = |bytes: usize| {
        let body = "x".repeat(bytes);
        say(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"
        ))
    };
    let endless = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n".to_vec();
    for (act, fits) in [
        (ok(&"x".repeat(1_000)), true),
        (chunked(1_000), true),
        (ok(&"x".repeat(1_001)), false),
        (chunked(1_001), false),
        (Act::SayAndHang(announced), false),
        (
            Act::SayAndHang([endless, vec![b'x'; 100_000]].concat()),
            false,
        ),
    ] {
        let vendor = Vendor::answering(act).await;
        let egress = with(&[&vendor.url()], &["127.0.0.0/8"], &limits);
        match egress.send(get(vendor.url())).await {
            Ok(response) => assert!(fits && response.body.len() == 1_000),
            Err(error) => assert!(!fits && error == EgressError::TooLarge(1_000), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_request_has_its_limits_too() {
    let vendor = Vendor::answering(ok("")).await;
    let limits = EgressLimits {
        request_bytes_max: 10,
        url_bytes_max: 100,
        headers_max: 2,
        headers_bytes_max: 50,
        ..EgressLimits::default()
    };
    let egress = with(&[&vendor.url()], &["127.0.0.0/8"], &limits);
    let body = |bytes: usize| Request {
        body: Some("x".repeat(bytes)),
        ..get(vendor.url())
    };
    assert!(egress.send(body(10)).await.is_ok());
    assert_eq!(egress.send(body(11)).await, Err(EgressError::TooLarge(10)));
    let url = format!("{}/{}", vendor.url(), "x".repeat(100));
    assert_eq!(egress.send(get(url)).await, Err(EgressError::TooLarge(100)));
    let headers = |count: usize, bytes: usize| Request {
        headers: vec![("x".into(), "y".repeat(bytes)); count],
        ..get(vendor.url())
    };
    assert!(egress.send(headers(2, 20)).await.is_ok());
    assert_denied(&egress.send(headers(3, 1)).await, "more than 2 headers");
    assert_eq!(
        egress.send(headers(2, 25)).await,
        Err(EgressError::TooLarge(50))
    );
    assert_eq!(vendor.requests.lock().expect("not poisoned").len(), 2);
}

#[tokio::test]
async fn a_slow_vendor_is_left_when_the_time_is_up() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n".to_vec();
    for act in [
        Act::SayAndHang(Vec::new()),
        Act::SayAndHang(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Act::SayAndHang(head.clone()),
        Act::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec()),
        Act::Drip(head),
    ] {
        let vendor = Vendor::answering(act).await;
        let short = EgressLimits {
            request_ms: 300,
            ..EgressLimits::default()
        };
        let by_limit = with(&[&vendor.url()], &["127.0.0.0/8"], &short);
        let by_request = egress(&[&vendor.url()]);
        for (egress, timeout_ms) in [(by_limit, Some(60_000)), (by_request, Some(300))] {
            let started = Instant::now();
            let request = Request {
                timeout_ms,
                ..get(vendor.url())
            };
            assert_eq!(egress.send(request).await, Err(EgressError::Timeout));
            let took = started.elapsed();
            assert!(
                took >= Duration::from_millis(300) && took < Duration::from_secs(5),
                "{took:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_broken_answer_is_a_protocol_error() {
    let head = "HTTP/1.1 200 OK\r\n";
    for bytes in [
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        &format!("{head}content-length: 10\r\n\r\nshort"),
        &format!("{head}content-length: ten\r\n\r\n"),
        &format!("{head}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
        &format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        &format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nab"),
        &format!("{head}content-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx"),
        &format!("{head}{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(200)),
    ] {
        let result = meet(Act::SayAndClose(bytes.as_bytes().to_vec())).await;
        assert!(
            matches!(result, Err(EgressError::Protocol(_))),
            "{bytes:?}: {result:?}"
        );
    }
    let latin1 = [
        format!("{head}content-length: 3\r\n\r\n").as_bytes(),
        b"a\xe9b",
    ]
    .concat();
    let result = meet(Act::Say(latin1)).await;
    assert_eq!(
        result,
        Err(EgressError::Protocol(
            "the body is not UTF-8 (byte 1)".into()
        ))
    );
    let wide = say(format!(
        "{head}x: {}\r\ncontent-length: 0\r\n\r\n",
        "y".repeat(20_000)
    ));
    assert_eq!(meet(wide).await, Err(EgressError::TooLarge(16 * 1024)));
}

#[tokio::test]
async fn failures_before_the_request_say_that_the_vendor_saw_nothing() {
    let limits = EgressLimits {
        connect_ms: 300,
        ..EgressLimits::default()
    };
    let send = async |url: &str| {
        with(&[url], &["127.0.0.0/8"], &limits)
            .send(get(url))
            .await
            .expect_err("no answer")
    };
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = closed.local_addr().expect("bound").port();
    drop(closed);
    for scheme in ["http", "https"] {
        let error = send(&format!("{scheme}://127.0.0.1:{port}")).await;
        assert!(matches!(error, EgressError::Connect(_)), "{error:?}");
    }

    // A full queue of connections drops further ones without a word.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("bound");
    let full = socket.listen(1).expect("listening");
    let address = full.local_addr().expect("bound");
    let mut waiting = Vec::new();
    while let Ok(Ok(one)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(one);
    }
    let error = send(&format!("http://{address}")).await;
    assert_eq!(
        error,
        EgressError::Connect("not established within 300 ms".into())
    );

    // A vendor that does not speak TLS, and one that hangs up.
    for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let _ = socket.read(&mut [0; 1000]).await;
                let _ = socket.write_all(words).await;
            }
        });
        let error = send(&format!("https://127.0.0.1:{port}")).await;
        assert!(matches!(error, EgressError::Tls(_)), "{error:?}");
    }

    // A label of more than 63 bytes is refused by the resolver itself; nobody is asked.
    let error = send(&format!("http://{}.invalid", "a".repeat(64))).await;
    assert!(matches!(error, EgressError::Dns(_)), "{error:?}");
}

#[tokio::test]
async fn the_gateways_headers_are_not_the_guests() {
    let vendor = Vendor::answering(ok("")).await;
    let egress = egress(&[&vendor.url()]);
    for name in [
        "Authorization",
        "host",
        "Connection",
        "transfer-encoding",
        "Cookie",
        "proxy-x",
    ] {
        let request = Request {
            headers: vec![(name.into(), "x".into())],
            ..get(vendor.url())
        };
        assert_denied(&egress.send(request).await, "belongs to the gateway");
    }
    let split = vec![("x-note".into(), "a\r\nauthorization: Bearer stolen".into())];
    let request = Request {
        headers: split,
        ..get(vendor.url())
    };
    assert_denied(&egress.send(request).await, "line break");
    for method in [
        "CONNECT",
        "TRACE",
        "get",
        "GET / HTTP/1.1\r\nx: y\r\n\r\nGET",
    ] {
        let request = Request {
            method: method.into(),
            ..get(vendor.url())
        };
        assert_denied(&egress.send(request).await, "the method must be");
    }
    assert_eq!(vendor.connections(), 0);
}

#[tokio::test]
async fn an_echoed_secret_reaches_no_guest() {
    let vendor = Vendor::start(|request| {
        let sent = request
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "));
        let sent = sent.expect("a credential");
        let body = format!("{{\"echo\":\"{sent}\",\"again\":\"{SECRET}\"}}");
        say(format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: {sent}\r\nauthorization: {sent}\r\n\
             set-cookie: session={SECRET}\r\nproxy-status: x\r\nx-vendor: yes\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ))
    })
    .await;
    let egress = egress(&[&vendor.url()]);
    let response = egress.send(get(vendor.url())).await.expect("an answer");
    assert_eq!(
        response.body,
        r#"{"echo":"Bearer [redacted]","again":"[redacted]"}"#
    );
    assert_eq!(
        response.headers,
        [
            (
                "www-authenticate".to_owned(),
                "Bearer [redacted]".to_owned()
            ),
            ("x-vendor".to_owned(), "yes".to_owned()),
        ]
    );
    let denied = egress.send(get(format!("http://{SECRET}.example/"))).await;
    assert_denied(&denied, "http://[redacted].example is not granted");
}

#[tokio::test]
async fn debug_output_shows_neither_secrets_nor_people() {
    let vendor = Vendor::answering(ok("ann@example.com")).await;
    let policy = EgressPolicy {
        origins: vec![vendor.url().parse().expect("a URL")],
        allow_private: vec!["127.0.0.0/8".parse().expect("a network")],
        credential: Some(Credential::Bearer(SECRET.into())),
    };
    let mut shown = format!("{policy:?}");
    let egress = Egress::new(policy, &EgressLimits::default()).expect("a policy");
    let request = Request {
        body: Some("ann@example.com".into()),
        ..get(format!("{}/?mail=ann@example.com", vendor.url()))
    };
    shown += &format!("{request:?}");
    let response = egress.send(request).await;
    shown += &format!("{response:?}{egress:?}");
    assert!(
        shown.contains("127.0.0.1") && shown.contains("200"),
        "{shown}"
    );
    assert!(
        !shown.contains(SECRET) && !shown.contains("ann@"),
        "{shown}"
    );
}

#[test]
fn policies_that_cannot_be_kept_are_refused() {
    let policy = |origin: &str, secret: &str| EgressPolicy {
        origins: vec![origin.parse().expect("a URL")],
        allow_private: vec![],
        credential: Some(Credential::Bearer(secret.into())),
    };
    for (origin, secret) in [
        ("ftp://vendor.example", SECRET),
        ("https://me:password@vendor.example", SECRET),
        ("https://vendor.example", "short"),
        ("https://vendor.example", "two words of it"),
        ("https://vendor.example", "with-a-line\nbreak"),
        ("https://vendor.example", "nicht-in-äscii"),
    ] {
        let error =
            Egress::new(policy(origin, secret), &EgressLimits::default()).expect_err(origin);
        assert!(!error.to_string().contains(secret), "{error}");
    }
    let limits = EgressLimits {
        request_ms: 0,
        ..EgressLimits::default()
    };
    let error = Egress::new(policy("https://vendor.example", SECRET), &limits).expect_err("a 0");
    assert!(error.to_string().contains("request_ms"), "{error}");
}

#[tokio::test]
async fn connections_are_used_again_but_not_across_tenants() {
    let vendor = Vendor::answering(ok("x")).await;
    let (one, other) = (egress(&[&vendor.url()]), egress(&[&vendor.url()]));
    for _ in 0..5 {
        one.send(get(vendor.url())).await.expect("an answer");
    }
    assert_eq!(vendor.connections(), 1);
    other.send(get(vendor.url())).await.expect("an answer");
    assert_eq!(vendor.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_vendor_closes_is_not_used_again() {
    let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let vendor = Vendor::answering(Act::SayAndClose(last.to_vec())).await;
    let egress = egress(&[&vendor.url()]);
    for _ in 0..3 {
        egress.send(get(vendor.url())).await.expect("an answer");
    }
    assert_eq!(vendor.connections(), 3);
}

#[tokio::test]
async fn an_abandoned_request_gives_up_its_connection() {
    let vendor = Vendor::answering(Act::SayAndHang(vec![])).await;
    let egress = egress(&[&vendor.url()]);
    let sending = egress.send(get(vendor.url()));
    assert!(
        tokio::time::timeout(Duration::from_millis(300), sending)
            .await
            .is_err()
    );
    until(|| vendor.closed.load(Ordering::SeqCst) == 1).await;
}

#[test]
fn connections_outlive_the_runtime_that_first_used_them() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let vendors = tokio::runtime::Runtime::new().expect("a runtime");
    let vendor = vendors.block_on(Vendor::answering(ok("x")));
    let egress = Arc::new(egress(&[&vendor.url()]));
    for _ in 0..3 {
        // One worker after the other comes, uses the tenant's connection and stops.
        let response = runtime().block_on(egress.send(get(vendor.url())));
        assert_eq!(response.expect("an answer").body, "x");
    }
    assert_eq!(vendor.connections(), 1);
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (egress, url) = (egress.clone(), vendor.url());
            std::thread::spawn(move || {
                for _ in 0..25 {
                    // Each request from a runtime that ends right after it.
                    let response = runtime().block_on(egress.send(get(&url)));
                    assert_eq!(response.expect("an answer").status, 200);
                }
            })
        })
        .collect();
    workers
        .into_iter()
        .for_each(|worker| worker.join().expect("no failure"));
}

async fn until(mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "it never came to hold"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
