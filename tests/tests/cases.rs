//! Runs every case of `tests/cases/`: requests over a real socket to the real gateway, the answers it
//! shall give, and the calls that reach the simulated vendors.
//!
//! A case is a JSON file that names its source (RFC section, Entra fact, vendor page):
//!
//! ```json
//! { "source": "RFC 7644 section 3.3",
//!   "steps": [
//!     { "request":  { "method": "POST", "path": "/Users", "body": { "userName": "ann.${case}@example.com" } },
//!       "response": { "status": 201, "headers": { "etag": "W/\"1\"" }, "body": { "active": true }, "absent": ["/password"] },
//!       "save":     { "id": "/id" },
//!       "vendor":   [ { "operation": "userByEmail" }, { "operation": "userCreate" } ] } ] }
//! ```
//!
//! `"tenant"` beside `source` names the tenant of the case: `acme-knowbe4` if it is not given, else
//! `acme-scim` (whose client is Entra), `okta-scim` or `strict-scim`, each with a simulated vendor of
//! its own whose API is SCIM. A `tenant` in a request sends this case's token to that tenant.
//!
//! `${case}` is unique to the case, other `${…}` come from `save`. A step with `"repeat": 25` is run 25
//! times; `${n}` counts them from 1, also within another name: `"save": { "id${n}": "/id" }` and later
//! `${id3}` or `${id${n}}`.
//!
//! An expected body holds where the answer has at least these members; arrays are compared whole. A
//! string that starts with `~` is expected to be contained; a member `"members~"` is `members` in any
//! order. `raw` in place of `body` sends text as it is, `raw_repeat` repeats a piece of it.
//!
//! `vendor` lists the requests that reach the tenant's vendor in the step, all of them, in their order,
//! and no other vendor may see any. At KnowBe4 a request has `variables`, at a SCIM vendor `body` and
//! `query` (decoded, without the `?`): `{ "operation": "PATCH /Groups/{id}", "body": { … } }`. With
//! `exact`, variables or body are those named and no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gateway_tests::corridor::{Corridor, OKTA, SCIM, STRICT, Setup, TENANT};
use gateway_tests::gateway_process::repository;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    #[serde(default = "here")]
    tenant: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default = "once")]
    repeat: usize,
    request: Request,
    response: Expected,
    #[serde(default)]
    save: BTreeMap<String, String>,
    vendor: Option<Vec<VendorCall>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    raw: Option<String>,
    raw_repeat: Option<(String, usize)>,
    #[serde(default)]
    without_token: bool,
    /// The tenant of the case, if no other.
    tenant: Option<String>,
}

fn here() -> String {
    TENANT.to_owned()
}

fn once() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    absent: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorCall {
    operation: String,
    #[serde(default)]
    variables: Map<String, Value>,
    query: Option<String>,
    body: Option<Value>,
    /// The variables, or the body, are these and no others.
    #[serde(default)]
    exact: bool,
}

/// A request as one of the vendors saw it.
struct Seen {
    operation: String,
    query: String,
    /// The variables at KnowBe4, the body at a SCIM vendor.
    content: Value,
}

#[test]
fn every_case_holds() {
    let mut files = Vec::new();
    collect(&repository().join("tests/cases"), &mut files);
    files.sort();
    assert!(!files.is_empty(), "there are cases");

    let dir = tempfile::tempdir().expect("a temporary folder");
    let stage = Stage {
        // Entra sends no User-Agent; neither does this client.
        client: reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client"),
        runtime: tokio::runtime::Runtime::new().expect("a runtime"),
        corridor: Corridor::start(dir.path(), Setup::instant().with(&[SCIM, OKTA, STRICT]))
            .expect("the corridor is up"),
    };

    let mut failures = Vec::new();
    for (number, file) in files.iter().enumerate() {
        if let Err(failure) = stage.run(number, file) {
            failures.push(format!("{}: {failure}", file.display()));
        }
    }
    println!("{} cases", files.len());
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

/// The cases that go over the wire; other folders hold cases of other tests.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "json") {
            files.push(path);
        }
    }
}

struct Stage {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    corridor: Corridor,
}

impl Stage {
    fn run(&self, number: usize, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        let case: Case = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if case.source.trim().is_empty() || case.steps.is_empty() {
            return Err("a case names its source and has steps".to_owned());
        }
        let mut saved = BTreeMap::from([("case".to_owned(), format!("c{number}"))]);
        for (at, step) in case.steps.iter().enumerate() {
            for n in 1..=step.repeat {
                saved.insert("n".to_owned(), n.to_string());
                self.drain_logs();
                self.step(&case, step, &mut saved)
                    .map_err(|failure| match step.repeat {
                        1 => format!("step {}: {failure}", at + 1),
                        _ => format!("step {}, time {n}: {failure}", at + 1),
                    })?;
            }
        }
        Ok(())
    }

    fn step(
        &self,
        case: &Case,
        step: &Step,
        saved: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let sent = self.send(&case.tenant, &step.request, saved);
        let (status, headers, text) = self.runtime.block_on(sent)?;
        let body: Value = match text.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?,
        };
        let told = || format!("\n    answer: {status} {body}");
        if status != step.response.status {
            return Err(format!(
                "{status} instead of {}{}",
                step.response.status,
                told()
            ));
        }
        for (name, wanted) in &step.response.headers {
            let found = headers
                .get(name)
                .and_then(|it| it.to_str().ok())
                .unwrap_or_default();
            let wanted = substitute(wanted, saved);
            compare(&Value::from(wanted), &Value::from(found))
                .map_err(|difference| format!("header {name}: {difference}{}", told()))?;
        }
        if let Some(wanted) = &step.response.body {
            let wanted = substitute_all(wanted, saved);
            compare(&wanted, &body).map_err(|difference| format!("{difference}{}", told()))?;
        }
        for pointer in &step.response.absent {
            if body.pointer(pointer).is_some() {
                return Err(format!("{pointer} is there{}", told()));
            }
        }
        for (name, pointer) in &step.save {
            let found = body.pointer(pointer).and_then(Value::as_str);
            let found = found.ok_or_else(|| format!("no text at {pointer} to save{}", told()))?;
            saved.insert(substitute(name, saved), found.to_owned());
        }
        match &step.vendor {
            Some(wanted) => self.check_vendors(&case.tenant, wanted, saved),
            None => Ok(()),
        }
    }

    /// The token of a tenant; empty if it is not there.
    fn token(&self, tenant: &str) -> &str {
        match self.corridor.scim(tenant) {
            Some(side) => &side.token,
            None if tenant == TENANT => &self.corridor.token,
            None => "",
        }
    }

    async fn send(
        &self,
        tenant: &str,
        request: &Request,
        saved: &BTreeMap<String, String>,
    ) -> Result<(u16, reqwest::header::HeaderMap, String), String> {
        let addressed = request.tenant.as_deref().unwrap_or(tenant);
        let url = self.corridor.gateway.scim_url(addressed) + &substitute(&request.path, saved);
        let method = request.method.parse().map_err(|_| "no method".to_owned())?;
        let mut sent = self.client.request(method, url);
        if !request.without_token {
            sent = sent.bearer_auth(self.token(tenant));
        }
        let body = match (&request.body, &request.raw, &request.raw_repeat) {
            (Some(body), None, None) => Some(substitute_all(body, saved).to_string()),
            (None, Some(raw), None) => Some(substitute(raw, saved)),
            (None, None, Some((piece, times))) => Some(piece.repeat(*times)),
            (None, None, None) => None,
            _ => return Err("one of body, raw and raw_repeat".to_owned()),
        };
        if let Some(body) = body {
            sent = sent.body(body);
            if !request.headers.contains_key("content-type") {
                sent = sent.header("content-type", "application/scim+json; charset=utf-8");
            }
        }
        for (name, value) in &request.headers {
            sent = sent.header(name, substitute(value, saved));
        }
        let response = sent.send().await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.map_err(|error| error.to_string())?;
        if !text.is_empty() {
            let content_type = headers.get("content-type").and_then(|it| it.to_str().ok());
            if !content_type.is_some_and(|it| it.starts_with("application/scim+json")) {
                return Err(format!("content type {content_type:?} on {status}"));
            }
        }
        Ok((status, headers, text))
    }

    /// Empties every vendor's log and returns what was in them, by tenant.
    fn drain_logs(&self) -> BTreeMap<&str, Vec<Seen>> {
        let knowbe4 = self.corridor.vendor.drain_log().into_iter();
        let knowbe4 = knowbe4.map(|it| Seen {
            operation: it.operation,
            query: String::new(),
            content: it.variables,
        });
        let mut logs = BTreeMap::from([(TENANT, knowbe4.collect())]);
        for side in &self.corridor.scim {
            let seen = side.vendor.drain_log().into_iter().map(|it| Seen {
                operation: it.operation,
                query: it.query,
                content: it.body,
            });
            logs.insert(side.tenant, seen.collect());
        }
        logs
    }

    fn check_vendors(
        &self,
        tenant: &str,
        wanted: &[VendorCall],
        saved: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let mut logs = self.drain_logs();
        let seen = logs.remove(tenant).unwrap_or_default();
        if let Some((other, seen)) = logs.iter().find(|(_, seen)| !seen.is_empty()) {
            let operation = &seen[0].operation;
            return Err(format!("the vendor of {other} saw {operation}"));
        }
        let operations: Vec<&str> = seen.iter().map(|it| it.operation.as_str()).collect();
        let expected: Vec<&str> = wanted.iter().map(|it| it.operation.as_str()).collect();
        if operations != expected {
            let calls = seen
                .iter()
                .map(|it| format!("{} {}", it.operation, it.content));
            let calls: Vec<String> = calls.collect();
            return Err(format!(
                "the vendor saw {operations:?} instead of {expected:?}\n    {}",
                calls.join("\n    ")
            ));
        }
        for (seen, wanted) in seen.iter().zip(wanted) {
            let operation = &wanted.operation;
            if let Some(query) = &wanted.query {
                let query = substitute(query, saved);
                compare(&Value::from(query), &Value::from(seen.query.as_str()))
                    .map_err(|difference| format!("{operation}: query: {difference}"))?;
            }
            let content = match &wanted.body {
                Some(body) => body.clone(),
                None if seen.content.is_object() || wanted.exact => {
                    Value::Object(wanted.variables.clone())
                }
                // Nothing was sent and nothing is expected.
                None => continue,
            };
            let content = substitute_all(&content, saved);
            if wanted.exact && content != seen.content {
                let seen = &seen.content;
                return Err(format!("{operation}: {seen} instead of exactly {content}"));
            }
            compare(&content, &seen.content).map_err(|difference| {
                format!("{operation}: {difference}\n    sent: {}", seen.content)
            })?;
        }
        Ok(())
    }
}

fn substitute(text: &str, saved: &BTreeMap<String, String>) -> String {
    if !text.contains("${") {
        return text.to_owned();
    }
    // The number first: it can be part of another name.
    let numbered = match saved.get("n") {
        Some(n) => text.replace("${n}", n),
        None => text.to_owned(),
    };
    saved.iter().fold(numbered, |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    })
}

fn substitute_all(value: &Value, saved: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::from(substitute(text, saved)),
        Value::Array(items) => items.iter().map(|it| substitute_all(it, saved)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, it)| (substitute(name, saved), substitute_all(it, saved)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

/// Whether `found` is what is `wanted`; the error names the place of the first difference.
fn compare(wanted: &Value, found: &Value) -> Result<(), String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().try_for_each(|(name, it)| {
                let (name, any_order) = match name.strip_suffix('~') {
                    Some(name) => (name, true),
                    None => (name.as_str(), false),
                };
                let there = found
                    .get(name)
                    .ok_or_else(|| format!("{name} is missing"))?;
                match any_order {
                    true => compare_unordered(it, there),
                    false => compare(it, there),
                }
                .map_err(|difference| format!("{name}: {difference}"))
            })
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .try_for_each(|(at, (wanted, found))| {
                compare(wanted, found).map_err(|difference| format!("[{at}]: {difference}"))
            }),
        (Value::String(wanted), Value::String(found)) if wanted.starts_with('~') => {
            match found.contains(&wanted[1..]) {
                true => Ok(()),
                false => Err(format!("{found:?} does not contain {:?}", &wanted[1..])),
            }
        }
        _ if wanted == found => Ok(()),
        _ => Err(format!("{found} instead of {wanted}")),
    }
}

/// The same for two arrays without regard to their order.
fn compare_unordered(wanted: &Value, found: &Value) -> Result<(), String> {
    let (Some(wanted), Some(found)) = (wanted.as_array(), found.as_array()) else {
        return Err(format!("{found} instead of a list"));
    };
    if wanted.len() != found.len() {
        let (wanted, found) = (wanted.len(), found.len());
        return Err(format!("{found} elements instead of {wanted}"));
    }
    let mut rest: Vec<&Value> = found.iter().collect();
    for it in wanted {
        let at = rest.iter().position(|there| compare(it, there).is_ok());
        let at =
            at.ok_or_else(|| format!("nothing like {it} in {}", Value::from(found.clone())))?;
        rest.swap_remove(at);
    }
    Ok(())
}
