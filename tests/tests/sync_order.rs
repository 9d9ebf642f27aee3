//! The data file is synced before the answer is written, and before the vendor hears of a write:
//! read off the gateway's own system calls.

use std::path::Path;
use std::time::{Duration, Instant};

use gateway_tests::corridor::{Corridor, Setup};
use gateway_tests::directory::people;

#[test]
fn fdatasync_comes_between_intent_vendor_outcome_and_answer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let trace = dir.path().join("trace");
    // -D: the gateway stays this process's child, so that it can be asked to stop.
    let strace = "strace -D -f -y -s 24 -e trace=fdatasync,write,writev,sendto,sendmsg -o";
    let mut setup = Setup::instant();
    setup.wrapper = strace.split(' ').map(str::to_owned).collect();
    setup.wrapper.push(trace.display().to_string());
    let Corridor {
        mut gateway,
        entra,
        vendor: _up,
        ..
    } = Corridor::start(dir.path(), setup)
        .expect("the gateway starts under strace (missing? apt-get install strace)");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for person in people(20) {
        runtime
            .block_on(entra.create(&person.as_scim()))
            .expect("a created user");
    }
    assert!(
        gateway.stop().expect("the gateway stops"),
        "{}",
        gateway.log()
    );
    check(&trace);
}

/// What the trace tells, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Synced,
    AskedVendor,
    Answered201,
}

fn check(trace: &Path) {
    let text = whole(trace);
    let events: Vec<Event> = text.lines().filter_map(event).collect();
    // The first 201 is the admin API's, for the token.
    let issued = events.iter().position(|it| *it == Event::Answered201);
    let events = events[issued.expect("a token was issued") + 1..].to_vec();
    let answers: Vec<usize> = positions(&events, Event::Answered201);
    assert_eq!(answers.len(), 20, "twenty answers are in the trace");
    let mut from = 0;
    for at in answers {
        let story = &events[from..at];
        let first = story.iter().position(|it| *it == Event::AskedVendor);
        let last = story.iter().rposition(|it| *it == Event::AskedVendor);
        let (first, last) = first.zip(last).expect("the vendor was asked");
        assert!(
            story[..first].contains(&Event::Synced),
            "the intent is on disk before the vendor hears of it: {story:?}"
        );
        assert!(
            story[last..].contains(&Event::Synced),
            "the outcome is on disk before the client hears of it: {story:?}"
        );
        from = at + 1;
    }
}

/// The trace once strace has ended it; strace writes its last lines after the gateway has gone.
fn whole(trace: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(trace).expect("strace wrote its trace");
        if text.trim_end().ends_with("+++ exited with 0 +++") {
            return text;
        }
        assert!(Instant::now() < deadline, "strace does not end its trace");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn positions(events: &[Event], wanted: Event) -> Vec<usize> {
    let hits = events.iter().enumerate().filter(|(_, it)| **it == wanted);
    hits.map(|(at, _)| at).collect()
}

/// A sync counts when it has returned, a write when it is made.
fn event(line: &str) -> Option<Event> {
    // With several threads, strace splits a call that others interleave: "fdatasync(9</…/db> <unfinished ...>"
    // and later "<... fdatasync resumed>) = 0". Only the store's thread calls fdatasync on its file.
    let synced = line.contains("fdatasync") && line.trim_end().ends_with("= 0");
    if synced && (line.contains("/db>") || line.contains("resumed")) {
        return Some(Event::Synced);
    }
    if line.contains("\"POST /graphql") {
        return Some(Event::AskedVendor);
    }
    line.contains("\"HTTP/1.1 201 Created")
        .then_some(Event::Answered201)
}
