//! Requests that are cheap to send and would be dear to serve: each is a SCIM error of the 400s within
//! [`CPU_MS`] of the gateway's processor time and [`MEMORY_MIB`] of memory, and the gateway serves on.
//!
//! The processor time is that of all threads, as the scheduler counts it, and the least of three tries:
//! other programs on the machine disturb it upwards only. The memory is the peak over what the gateway
//! held just before, the most of three tries; what the allocator keeps of all of them together has its
//! own bound, [`KEPT_MIB`]. What a limit is does not matter here; that there is one does.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gateway_tests::corridor::{Corridor, SCIM, Setup};
use gateway_tests::entra::Entra;
use serde_json::{Value, json};

/// The most processor time that a bomb may take, milliseconds.
const CPU_MS: f64 = 50.0;
/// The most memory that it may take, MiB.
const MEMORY_MIB: f64 = 32.0;
/// The most memory that may stay after all of them, MiB.
const KEPT_MIB: f64 = 128.0;

const TRIES: usize = 3;
const MIB: usize = 1024 * 1024;

/// What is sent, and what shall come back.
struct Bomb {
    name: &'static str,
    statuses: &'static [u16],
    /// Ends in the HTTP server, which knows no SCIM errors.
    bare: bool,
    bytes: Vec<u8>,
}

/// The gateway under fire.
struct Target {
    address: String,
    /// The path of the tenant's tree.
    base: String,
    token: String,
    pid: u32,
}

/// How a body is sent.
enum Framing {
    /// With its length in front.
    Length,
    /// In chunks, of unknown length.
    Chunks,
    /// Its length in front, and then nothing.
    LengthAlone,
}

impl Target {
    fn head(&self, method: &str, path: &str, headers: &str) -> String {
        format!(
            "{method} {}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\n{headers}",
            self.base, self.token
        )
    }

    fn get(&self, path: &str) -> Vec<u8> {
        (self.head("GET", path, "") + "\r\n").into_bytes()
    }

    fn send(&self, method: &str, path: &str, body: &[u8], framing: &Framing) -> Vec<u8> {
        let json = "Content-Type: application/scim+json\r\n";
        let mut bytes = self.head(method, path, json).into_bytes();
        match framing {
            Framing::Length | Framing::LengthAlone => {
                bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                if let Framing::Length = framing {
                    bytes.extend(body);
                }
            }
            Framing::Chunks => {
                bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(64 * 1024) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        bytes
    }

    fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.send("POST", path, body.as_ref(), &Framing::Length)
    }

    fn patch(&self, id: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(
            "PATCH",
            &format!("/Users/{id}"),
            body.as_ref(),
            &Framing::Length,
        )
    }

    fn operations(&self, id: &str, operations: &[Value]) -> Vec<u8> {
        let urn = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        let body = json!({ "schemas": [urn], "Operations": operations }).to_string();
        assert!(
            body.len() < MIB,
            "{} bytes would be too many anyway",
            body.len()
        );
        self.patch(id, body)
    }

    /// Status and body of the answer.
    fn fire(&self, bytes: &[u8]) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.address).expect("a connection");
        let patience = Some(Duration::from_secs(30));
        socket.set_read_timeout(patience).expect("a deadline");
        socket.set_write_timeout(patience).expect("a deadline");
        // The gateway may answer and hang up before all is sent: then that is read.
        let _ = socket.write_all(bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.unwrap_or_default(), body.to_owned())
    }

    /// The processor time of all threads so far, milliseconds.
    fn cpu_ms(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("threads");
        let nanoseconds = |file: String| file.split(' ').next()?.parse::<u64>().ok();
        let total: u64 = threads
            .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok())
            .filter_map(nanoseconds)
            .sum();
        total as f64 / 1e6
    }

    /// `VmRSS`, what it holds now, or `VmHWM`, the most that it has held; MiB.
    fn memory_mib(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("a status");
        let line = status.lines().find(|line| line.starts_with(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }

    /// Makes what it holds now the most that it has held.
    fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the peak is reset");
    }
}

#[tokio::test]
async fn every_bomb_is_a_cheap_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let corridor = Corridor::start(dir.path(), Setup::instant().with(&[SCIM])).expect("it is up");
    let side = corridor.scim(SCIM.name).expect("the tenant is there");
    let url = corridor.gateway.scim_url(SCIM.name);
    let (address, base) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
        .expect("a URL");
    let target = Target {
        address: address.to_owned(),
        base: format!("/{base}"),
        token: side.token.clone(),
        pid: corridor.gateway.pid(),
    };
    let crowded = side.entra.create(&crowded("crowded", 60)).await;
    let crowded = crowded.expect("a user with many values");
    let heavy = side.entra.create(&self::crowded("heavy", 450)).await;
    let heavy = heavy.expect("a user with many large values");

    let bombs = [
        deep(&target),
        large(&target),
        many(&target),
        patches(&target, &crowded, &heavy),
        filters(&target),
        heads_and_paths(&target),
    ];
    // What the first requests leave behind for ever is no bomb's.
    for _ in 0..20 {
        target.fire(&target.get("/Users?filter=userName%20eq%20%22x%22"));
    }
    let quiet_mib = target.memory_mib("VmRSS");
    let mut failures = Vec::new();
    println!(
        "{:<44} {:>6} {:>9} {:>9}",
        "bomb", "status", "CPU ms", "MiB"
    );
    for bomb in bombs.into_iter().flatten() {
        if let Err(failure) = explode(&target, &bomb) {
            failures.push(failure);
        }
    }
    let kept_mib = target.memory_mib("VmRSS") - quiet_mib;
    println!("kept of all of them: {kept_mib:.1} MiB");
    if kept_mib >= KEPT_MIB {
        failures.push(format!("{kept_mib:.1} MiB are kept of all of them"));
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));

    // A new client: the old one's connections have been idle for longer than the gateway keeps them.
    let entra = Entra::new(&url, &side.token).expect("a client");
    let still = entra.create(&self::crowded("still", 1)).await;
    still.expect("the gateway serves on");
}

fn explode(target: &Target, bomb: &Bomb) -> Result<(), String> {
    let (mut cpu_ms, mut memory_mib) = (f64::MAX, 0.0_f64);
    let mut answer = (0, String::new());
    for _ in 0..TRIES {
        let held_mib = target.memory_mib("VmRSS");
        target.forget_peak();
        let before = target.cpu_ms();
        answer = target.fire(&bomb.bytes);
        cpu_ms = cpu_ms.min(target.cpu_ms() - before);
        memory_mib = memory_mib.max(target.memory_mib("VmHWM") - held_mib);
    }
    let (status, body) = answer;
    println!(
        "{:<44} {status:>6} {cpu_ms:>9.1} {memory_mib:>9.1}",
        bomb.name
    );
    let document: Value = serde_json::from_str(&body).unwrap_or_default();
    let is_error = document["schemas"][0] == "urn:ietf:params:scim:api:messages:2.0:Error"
        && document["status"].as_str() == Some(&*status.to_string());
    let told = |what: String| Err(format!("{}: {what}: {status} {body:.300}", bomb.name));
    if !bomb.statuses.contains(&status) {
        return told(format!("not one of {:?}", bomb.statuses));
    }
    if !is_error && !bomb.bare {
        return told("no SCIM error".to_owned());
    }
    if cpu_ms >= CPU_MS || memory_mib >= MEMORY_MIB {
        return told(format!("{cpu_ms:.1} ms, {memory_mib:.1} MiB"));
    }
    Ok(())
}

fn bomb(name: &'static str, statuses: &'static [u16], bytes: Vec<u8>) -> Bomb {
    Bomb {
        name,
        statuses,
        bare: false,
        bytes,
    }
}

/// A user with as many values as one may have, each of so many bytes.
fn crowded(name: &str, bytes: usize) -> Value {
    let emails: Vec<Value> = (0..500)
        .map(|n| json!({ "type": "other", "value": format!("{n:0>bytes$}") }))
        .collect();
    json!({ "userName": format!("{name}@example.com"), "emails": emails })
}

/// `{"a":[piece,piece,…]}` of about so many bytes.
fn list_of(piece: &str, bytes: usize) -> String {
    let pieces = (piece.to_owned() + ",").repeat(bytes / (piece.len() + 1) - 10);
    format!("{{\"a\":[{pieces}{piece}]}}")
}

fn deep(target: &Target) -> Vec<Bomb> {
    let arrays = "[".repeat(10_000);
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let late = list_of("\"x\"", MIB - 100).replace("]}", &"[".repeat(40));
    let hidden = format!(
        "{{\"a\":\"\\\"{}\",\"b\":{}",
        "[".repeat(1000),
        "[".repeat(40)
    );
    vec![
        bomb(
            "10,000 arrays in each other",
            &[400],
            target.post("/Users", &arrays),
        ),
        bomb(
            "10,000 objects in each other",
            &[400],
            target.post("/Users", objects),
        ),
        bomb("depth in a PATCH", &[400, 404], target.patch("7", arrays)),
        bomb(
            "depth at the end of 1 MiB",
            &[400, 413],
            target.post("/Users", late),
        ),
        bomb(
            "depth behind brackets in a string",
            &[400],
            target.post("/Users", hidden),
        ),
    ]
}

fn large(target: &Target) -> Vec<Bomb> {
    let ten = vec![b' '; 10 * MIB];
    let send = |framing| target.send("POST", "/Users", &ten, &framing);
    let text = |piece: &str, bytes: usize| {
        let long = piece.repeat(bytes / piece.len());
        target.post("/Users", format!("{{\"userName\":\"{long}\"}}"))
    };
    // The header decides, not what is behind it: nothing is inflated to find out.
    let mut zipped = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    zipped.resize(MIB / 2, 0);
    let coding = |coding: &str| {
        let headers = format!(
            "Content-Type: application/json\r\nContent-Encoding: {coding}\r\n\
             Content-Length: {}\r\n\r\n",
            zipped.len()
        );
        let mut bytes = target.head("POST", "/Users", &headers).into_bytes();
        bytes.extend(&zipped);
        bytes
    };
    let number = format!("{{\"a\":{}}}", "9".repeat(MIB - 100));
    vec![
        bomb("10 MiB", &[413], send(Framing::Length)),
        bomb("10 MiB in chunks", &[413], send(Framing::Chunks)),
        bomb(
            "10 MiB announced, nothing sent",
            &[413],
            send(Framing::LengthAlone),
        ),
        bomb(
            "10 MiB for a group",
            &[413],
            target.send("POST", "/Groups", &ten, &Framing::Chunks),
        ),
        bomb("a name of 1 MB", &[413], text("x", MIB - 100)),
        bomb(
            "a name of 1 MB of escapes",
            &[413],
            text("\\u0000", MIB - 100),
        ),
        bomb("a name of 1 MB of quotes", &[413], text("\\\"", MIB - 100)),
        bomb(
            "a number of 1 MB",
            &[400, 413],
            target.post("/Users", number),
        ),
        bomb("gzip", &[415], coding("gzip")),
        bomb("gzip twice", &[415], coding("gzip, gzip")),
    ]
}

fn many(target: &Target) -> Vec<Bomb> {
    let keys = |count: usize| "{".to_owned() + &"\"k\":0,".repeat(count) + "\"k\":0}";
    let four = 4 * MIB - 100;
    let members = |count: usize| {
        let members = "{\"value\":\"1\"},".repeat(count - 1) + "{\"value\":\"1\"}";
        format!("{{\"displayName\":\"g\",\"members\":[{members}]}}")
    };
    let bulk = |count: usize| format!("{{\"Operations\":[{}{{}}]}}", "{},".repeat(count - 1));
    vec![
        bomb(
            "a million keys",
            &[413],
            target.post("/Groups", keys(1_000_000)),
        ),
        bomb("170,000 keys", &[413], target.post("/Users", keys(170_000))),
        bomb(
            "690,000 keys for a group",
            &[413],
            target.post("/Groups", keys(690_000)),
        ),
        bomb(
            "2,000,000 numbers",
            &[413],
            target.post("/Groups", list_of("0", four)),
        ),
        bomb(
            "1,400,000 objects",
            &[413],
            target.post("/Groups", list_of("{}", four)),
        ),
        bomb(
            "600,000 objects with a key",
            &[413],
            target.post("/Groups", list_of("{\"\":0}", four)),
        ),
        bomb(
            "200,000 members",
            &[413],
            target.post("/Groups", members(200_000)),
        ),
        bomb(
            "100,000 bulk operations",
            &[413],
            target.post("/Bulk", bulk(100_000)),
        ),
        bomb(
            "10,000 bulk operations",
            &[413],
            target.post("/Bulk", bulk(10_000)),
        ),
    ]
}

/// PATCHes of at most 1 MiB on a user with 500 values, as expensive as they can be made.
fn patches(target: &Target, crowded: &str, heavy: &str) -> Vec<Bomb> {
    let terms = |term: &str, bytes: usize| {
        let count = bytes / (term.len() + " or ".len());
        vec![term; count].join(" or ")
    };
    let by_filter = |term: &str, count: usize| -> Vec<Value> {
        let path = format!("emails[{}]", terms(term, 900_000 / count - 100));
        vec![json!({ "op": "remove", "path": path }); count]
    };
    let set = |path: &str, bytes: usize, count: usize| -> Vec<Value> {
        let set = |n: usize| {
            let value = format!("{n:0>bytes$}");
            json!({ "op": "replace", "path": path.replace('#', &n.to_string()), "value": value })
        };
        (0..count).map(set).collect()
    };
    let pathless: serde_json::Map<String, Value> = (0..490)
        .map(|n| {
            let path = format!(
                "emails[{} or value eq \"{n}\"].display",
                terms("value eq \"y\"", 1500)
            );
            (path, "z".into())
        })
        .collect();
    let pathless = json!({ "op": "add", "value": pathless });
    let grow = |each: usize| -> Vec<Value> {
        let add = |n: usize| {
            let values: Vec<String> = (0..each).map(|at| format!("{n}-{at}")).collect();
            json!({ "op": "add", "path": "emails", "value": values })
        };
        (0..400).map(add).collect()
    };
    let nothing = format!("{{\"Operations\":[{}{{}}]}}", "{},".repeat(100_000));
    let titles = "{\"op\":\"add\",\"path\":\"title\",\"value\":\"x\"},".repeat(20_000);
    let titles = format!("{{\"Operations\":[{titles}{{}}]}}");
    let too_much: &[u16] = &[400, 413];
    vec![
        bomb("100,000 operations", &[413], target.patch(crowded, nothing)),
        bomb("20,000 operations", &[413], target.patch(crowded, titles)),
        bomb(
            "490 filters of 110 terms, 500 values",
            too_much,
            target.operations(crowded, &by_filter("value eq \"y\"", 490)),
        ),
        bomb(
            "490 filters that look into 500 values",
            too_much,
            target.operations(crowded, &by_filter("value co \"y\"", 490)),
        ),
        bomb(
            "240 filters that look into 1 MB",
            too_much,
            target.operations(heavy, &by_filter("value co \"y\"", 240)),
        ),
        bomb(
            "240 filters that fold 1 MB",
            too_much,
            target.operations(heavy, &by_filter("value co \"\u{c9}\"", 240)),
        ),
        bomb(
            "490 keys with filters",
            too_much,
            target.operations(crowded, &[pathless]),
        ),
        bomb(
            "60 KB copied to 500 values, 15 times",
            too_much,
            target.operations(crowded, &set("emails[value pr].x#", 60_000, 15)),
        ),
        bomb(
            "1.9 KB copied to 500 values, 490 times",
            too_much,
            target.operations(crowded, &set("emails[value pr].x#", 1900, 490)),
        ),
        bomb(
            "60 KB copied to 500 values of 450 bytes",
            too_much,
            target.operations(heavy, &set("emails[value pr].display", 60_000, 15)),
        ),
        bomb(
            "values added beyond the limit",
            too_much,
            target.operations(crowded, &grow(200)),
        ),
    ]
}

fn filters(target: &Target) -> Vec<Bomb> {
    let filter = |text: &str| {
        let escaped: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        target.get(&format!("/Users?filter={escaped}"))
    };
    let search =
        |text: String| target.post("/Users/.search", json!({ "filter": text }).to_string());
    let nested = |count: usize| "(".repeat(count) + "id eq 1" + &")".repeat(count);
    let many = vec!["id eq 1"; 400].join(" or ");
    vec![
        bomb("1,900 parentheses", &[400], filter(&nested(1900))),
        bomb(
            "10,000 parentheses in the URL",
            &[400, 414],
            filter(&nested(10_000)),
        ),
        bomb(
            "10,000 parentheses in a search",
            &[400],
            search(nested(10_000)),
        ),
        bomb("4 KiB of `not (`", &[400], filter(&"not (".repeat(819))),
        bomb(
            "4 KiB of value filters",
            &[400],
            filter(&"emails[".repeat(585)),
        ),
        bomb("400 comparisons", &[400], filter(&many)),
        bomb(
            "60 KB of a filter in a search",
            &[400],
            search("x".repeat(60_000)),
        ),
        bomb(
            "5,000 attributes",
            &[400],
            target.get(&format!("/Users?attributes={}", vec!["a"; 5000].join(","))),
        ),
        bomb(
            "a cursor of 10 KB",
            &[400],
            target.get(&format!("/Users?cursor={}", "A".repeat(10_000))),
        ),
    ]
}

fn heads_and_paths(target: &Target) -> Vec<Bomb> {
    let headers = |count: usize, bytes: usize| {
        let line = |n| format!("X-{n}: {:0>bytes$}\r\n", 0);
        let lines: String = (0..count).map(line).collect();
        (target.head("GET", "/Users", &lines) + "\r\n").into_bytes()
    };
    let mut bombs = vec![
        bomb(
            "a query of 60 KB",
            &[414],
            target.get(&format!("/Users?x={}", "y".repeat(60_000))),
        ),
        bomb(
            "an id of 60 KB",
            &[414],
            target.get(&format!("/Users/{}", "y".repeat(60_000))),
        ),
        bomb("90 headers", &[431], headers(90, 1)),
        bomb("40 KB of headers", &[431], headers(20, 2000)),
        // The HTTP server gives up on these before there is a request.
        Bomb {
            bare: true,
            ..bomb(
                "a query of 1 MiB",
                &[431],
                target.get(&format!("/Users?x={}", "y".repeat(MIB))),
            )
        },
        Bomb {
            bare: true,
            ..bomb("10,000 headers", &[431], headers(10_000, 1))
        },
    ];
    let paths: &[(&str, &[u16], &str)] = &[
        ("%00 for an id", &[404], "/Users/%00"),
        ("%00 behind a type", &[404], "/Users%00"),
        ("CRLF in an id", &[404], "/Users/x%0d%0aX-Evil:%201"),
        (".. in the path", &[404], "/Users/../../../../etc/passwd"),
        ("%2e%2e in the path", &[404], "/Users/%2e%2e/%2e%2e/admin"),
        ("%2f in an id", &[404], "/Users%2f..%2f..%2fadmin"),
        ("an id twice escaped", &[404], "/Users/%252e%252e%252f"),
        ("an id that is not UTF-8", &[400], "/Users/%c0%ae%c0%ae"),
        ("an escape that is none", &[400], "/Users/%zz"),
    ];
    let path = |(name, statuses, path): &(&'static str, &'static [u16], &str)| {
        bomb(name, statuses, target.get(path))
    };
    bombs.extend(paths.iter().map(path));
    bombs
}
