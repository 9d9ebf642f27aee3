//! Kill -9 of the gateway at random moments under load: no acknowledged write is missing, and no
//! account is at the vendor twice.
//!
//! Eight clients write like Entra and repeat what was not acknowledged. The simulated vendor takes a
//! few milliseconds per request, so that many kills fall between its answer and the gateway's
//! commit, and it accepts one address twice, so that a blind repetition would show.
//!
//! `SOAK_ROUNDS` sets the number of kills, 30 by default; `CRASH_SEED` repeats a run's random choices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gateway_tests::corridor::{Corridor, Setup};
use gateway_tests::directory::{Person, people};
use gateway_tests::entra::Entra;
use gateway_tests::vendors::knowbe4::{Simulator, Switches};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

const CLIENTS: usize = 8;
const ROUNDS: usize = 30;
/// How long recovery and repetition may take after the last kill.
const SETTLE: Duration = Duration::from_secs(60);

/// What a client has been told, per user name: the acknowledged state.
#[derive(Clone, Debug, PartialEq)]
struct Acknowledged {
    id: String,
    title: String,
    active: bool,
    deleted: bool,
}

#[test]
fn kill_9_loses_no_acknowledged_write_and_doubles_no_account() {
    let rounds = number("SOAK_ROUNDS").unwrap_or(ROUNDS as u64) as usize;
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    println!("{rounds} rounds, CRASH_SEED={seed}");

    let switches = Switches {
        requests_per_second_max: u32::MAX,
        latency_ms: 3,
        unique_addresses: false,
        ..Switches::default()
    };
    let setup = Setup {
        switches,
        ..Setup::default()
    };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Corridor {
        vendor,
        mut gateway,
        entra,
        ..
    } = Corridor::start(dir.path(), setup).expect("the corridor is up");

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = Client::new(entra.clone(), number, seed);
            runtime.spawn(client.work(stop.clone()))
        })
        .collect();

    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..rounds {
        let moment = match rng.random_range(0..5) {
            // Every fifth kill or so falls into the start itself.
            0 => Duration::from_millis(rng.random_range(0..60)),
            _ => Duration::from_millis(rng.random_range(100..700)),
        };
        std::thread::sleep(moment);
        gateway.respawn().expect("the gateway starts again");
    }
    gateway
        .wait_until_ready()
        .expect("the gateway is ready after the last kill");
    stop.store(true, Ordering::Relaxed);

    let mut expected = BTreeMap::new();
    for client in clients {
        let known = runtime.block_on(client).expect("no client panics");
        expected.extend(known.expect("every operation is acknowledged in the end"));
    }
    println!("{} users acknowledged", expected.len());
    assert!(expected.len() > rounds, "too little load to prove anything");
    runtime.block_on(check_gateway(&entra, &expected));
    check_vendor(&vendor, &expected);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One provisioning client with users of its own.
struct Client {
    entra: Entra,
    number: usize,
    rng: StdRng,
    known: BTreeMap<String, Acknowledged>,
}

impl Client {
    fn new(entra: Entra, number: usize, seed: u64) -> Self {
        Self {
            entra,
            number,
            rng: StdRng::seed_from_u64(seed ^ (number as u64 + 1)),
            known: BTreeMap::new(),
        }
    }

    async fn work(
        mut self,
        stop: Arc<AtomicBool>,
    ) -> Result<BTreeMap<String, Acknowledged>, String> {
        let mut made = 0;
        while !stop.load(Ordering::Relaxed) {
            let living: Vec<String> = self
                .known
                .iter()
                .filter(|(_, it)| !it.deleted)
                .map(|(name, _)| name.clone())
                .collect();
            let choice = self.rng.random_range(0..10);
            if living.is_empty() || choice < 5 {
                made += 1;
                self.create(made).await?;
                continue;
            }
            let name = living[self.rng.random_range(0..living.len())].clone();
            match choice {
                5..=7 => self.promote(&name).await?,
                8 => self.toggle(&name).await?,
                _ => self.delete(&name).await?,
            }
        }
        Ok(self.known)
    }

    async fn create(&mut self, n: usize) -> Result<(), String> {
        let mut person: Person = people(1).remove(0);
        person.given = format!("c{}n{n}", self.number);
        person.employee_number = person.given.clone();
        let body = person.as_scim();
        let name = person.user_name();
        let id = loop {
            match self.patiently(Method::POST, "Users", Some(&body)).await? {
                (201, answer) => break text(&answer["id"]),
                // An earlier attempt got through, its answer did not: Entra matches anew.
                (409, _) => match self.entra.look_up(&name).await {
                    Ok(Some(id)) => break id,
                    Ok(None) => continue,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                },
                (status, answer) => return Err(format!("create {name}: {status} {answer}")),
            }
        };
        let acknowledged = Acknowledged {
            id,
            title: person.title,
            active: true,
            deleted: false,
        };
        self.known.insert(name, acknowledged);
        Ok(())
    }

    async fn promote(&mut self, name: &str) -> Result<(), String> {
        let title = format!("Title {}", self.rng.random_range(0..1_000_000));
        let operation = json!([{ "op": "Replace", "path": "title", "value": title }]);
        self.patch(name, operation).await?;
        self.change(name, |it| it.title = title);
        Ok(())
    }

    async fn toggle(&mut self, name: &str) -> Result<(), String> {
        let active = !self.known[name].active;
        let word = if active { "True" } else { "False" };
        let operation = json!([{ "op": "Replace", "path": "active", "value": word }]);
        self.patch(name, operation).await?;
        self.change(name, |it| it.active = active);
        Ok(())
    }

    async fn delete(&mut self, name: &str) -> Result<(), String> {
        let path = format!("Users/{}", self.known[name].id);
        match self.patiently(Method::DELETE, &path, None).await? {
            // 404: the attempt before got through, its answer did not.
            (204 | 404, _) => {
                self.change(name, |it| it.deleted = true);
                Ok(())
            }
            (status, answer) => Err(format!("delete {name}: {status} {answer}")),
        }
    }

    async fn patch(&self, name: &str, operations: Value) -> Result<(), String> {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        let path = format!("Users/{}", self.known[name].id);
        match self.patiently(Method::PATCH, &path, Some(&body)).await? {
            (200, _) => Ok(()),
            // The user was acknowledged: a 404 is a lost write.
            (status, answer) => Err(format!("patch {name} at {path}: {status} {answer}")),
        }
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Acknowledged)) {
        if let Some(known) = self.known.get_mut(name) {
            change(known);
        }
    }

    /// Repeats a request until the gateway answers it with something else than "come again".
    async fn patiently(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), String> {
        let deadline = Instant::now() + SETTLE;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.entra.send(method.clone(), path, body).await {
                Ok(answer) if matches!(answer.status, 429 | 503) => last = answer.body.to_string(),
                Ok(answer) => return Ok((answer.status, answer.body)),
                Err(error) => last = error,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(format!(
            "{method} {path}: no answer in {SETTLE:?}; last: {last}"
        ))
    }
}

async fn check_gateway(entra: &Entra, expected: &BTreeMap<String, Acknowledged>) {
    for (name, wanted) in expected {
        let answer = entra
            .send(Method::GET, &format!("Users/{}", wanted.id), None)
            .await
            .expect("the gateway answers");
        if wanted.deleted {
            assert_eq!(answer.status, 404, "{name} was deleted: {}", answer.body);
            continue;
        }
        assert_eq!(
            answer.status, 200,
            "{name} was acknowledged: {}",
            answer.body
        );
        assert_eq!(answer.body["title"], json!(wanted.title), "{name}");
        assert_eq!(answer.body["active"], json!(wanted.active), "{name}");
        let found = entra.look_up(name).await.expect("the gateway answers");
        assert_eq!(found.as_deref(), Some(wanted.id.as_str()), "{name}");
    }
}

/// The vendor holds each account once and as acknowledged, and no account that nobody asked for.
fn check_vendor(vendor: &Simulator, expected: &BTreeMap<String, Acknowledged>) {
    let mut held: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for account in vendor.users() {
        held.entry(account.email.clone()).or_default().push(account);
    }
    for (name, wanted) in expected {
        let accounts = held.remove(name).unwrap_or_default();
        assert_eq!(
            accounts.len(),
            1,
            "{name} is at the vendor {} times",
            accounts.len()
        );
        let account = &accounts[0];
        let active = wanted.active && !wanted.deleted;
        assert_eq!(
            account.archived, !active,
            "{name} at the vendor: {account:?}"
        );
        if !wanted.deleted {
            assert_eq!(
                account.job_title.as_deref(),
                Some(wanted.title.as_str()),
                "{name}"
            );
        }
    }
    assert!(
        held.is_empty(),
        "accounts that nobody asked for: {:?}",
        held.keys()
    );
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
