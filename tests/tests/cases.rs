//! Runs every case of `tests/cases/`: requests over a real socket to the real gateway, the answers it
//! shall give, and the calls that reach the simulated vendor.
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
//! `${case}` is unique to the case, other `${…}` come from `save`. An expected body holds where the
//! answer has at least these members; arrays are compared whole. A string that starts with `~` is
//! expected to be contained. `raw` in place of `body` sends text as it is, `raw_repeat` repeats a
//! piece of it. `vendor` lists the vendor's requests of the step, all of them, in their order; with
//! `exact`, a request's variables are those named and no others.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gateway_tests::corridor::{Corridor, Setup, TENANT};
use gateway_tests::gateway_process::repository;
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    source: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
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
    #[serde(default = "here")]
    tenant: String,
}

fn here() -> String {
    TENANT.to_owned()
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
    /// The variables are these and no others.
    #[serde(default)]
    exact: bool,
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
        corridor: Corridor::start(dir.path(), Setup::instant()).expect("the corridor is up"),
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
            self.corridor.vendor.drain_log();
            self.step(step, &mut saved)
                .map_err(|failure| format!("step {}: {failure}", at + 1))?;
        }
        Ok(())
    }

    fn step(&self, step: &Step, saved: &mut BTreeMap<String, String>) -> Result<(), String> {
        let (status, headers, text) = self.runtime.block_on(self.send(&step.request, saved))?;
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
            saved.insert(name.clone(), found.to_owned());
        }
        match &step.vendor {
            Some(wanted) => self.check_vendor(wanted, saved),
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        request: &Request,
        saved: &BTreeMap<String, String>,
    ) -> Result<(u16, reqwest::header::HeaderMap, String), String> {
        let url =
            self.corridor.gateway.scim_url(&request.tenant) + &substitute(&request.path, saved);
        let method = request.method.parse().map_err(|_| "no method".to_owned())?;
        let mut sent = self.client.request(method, url);
        if !request.without_token {
            sent = sent.bearer_auth(&self.corridor.token);
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

    fn check_vendor(
        &self,
        wanted: &[VendorCall],
        saved: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let seen = self.corridor.vendor.drain_log();
        let operations: Vec<&str> = seen.iter().map(|it| it.operation.as_str()).collect();
        let expected: Vec<&str> = wanted.iter().map(|it| it.operation.as_str()).collect();
        if operations != expected {
            return Err(format!(
                "the vendor saw {operations:?} instead of {expected:?}"
            ));
        }
        for (seen, wanted) in seen.iter().zip(wanted) {
            let variables = substitute_all(&Value::Object(wanted.variables.clone()), saved);
            if wanted.exact && variables != seen.variables {
                let (operation, seen) = (&wanted.operation, &seen.variables);
                return Err(format!(
                    "{operation}: {seen} instead of exactly {variables}"
                ));
            }
            compare(&variables, &seen.variables)
                .map_err(|difference| format!("{}: {difference}", wanted.operation))?;
        }
        Ok(())
    }
}

fn substitute(text: &str, saved: &BTreeMap<String, String>) -> String {
    saved.iter().fold(text.to_owned(), |text, (name, value)| {
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
                let there = found
                    .get(name)
                    .ok_or_else(|| format!("{name} is missing"))?;
                compare(it, there).map_err(|difference| format!("{name}: {difference}"))
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
