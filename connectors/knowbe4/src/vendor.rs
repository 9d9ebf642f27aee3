//! The vendor's GraphQL API: one document for each thing it can do, and what its refusals mean.
//!
//! It refuses in three places: the HTTP status, the top-level `errors` of an answer, and the
//! `errors` of a mutation's payload. The last two come with status 200.
//! Invariant: documents are constants, all that a client says travels in variables; and only a
//! refusal that speaks of the account is not-found, a wrong path must not look as if it were gone.

use connector_sdk::{Error, ErrorKind, Request};
use serde_json::{Map, Value, json};

use crate::{Settings, mapping};

/// How long to wait after a 429 that does not say, and at most: as public code for this API does.
const RETRY_AFTER_DEFAULT_MS: u32 = 60_000;
const RETRY_AFTER_MAX_MS: u32 = 300_000;

/// The one field that a document asks for, and the document.
type Document = (&'static str, &'static str);

const BY_ID: Document = ("user", include_str!("documents/by_id.graphql"));
const BY_EMAIL: Document = ("userByEmail", include_str!("documents/by_email.graphql"));
const CREATE: Document = ("userCreate", include_str!("documents/create.graphql"));
const EDIT: Document = ("userEdit", include_str!("documents/edit.graphql"));
const ARCHIVE: Document = ("userArchive", include_str!("documents/archive.graphql"));
const UNARCHIVE: Document = ("userUnarchive", include_str!("documents/unarchive.graphql"));

pub(crate) struct Vendor {
    url: String,
}

impl Vendor {
    pub(crate) fn of(settings: &Settings) -> Result<Vendor, Error> {
        let url = match (&settings.base_url, settings.region.as_deref()) {
            (Some(base_url), _) => format!("{}/graphql", base_url.trim_end_matches('/')),
            (None, Some("us")) => "https://training.knowbe4.com/graphql".to_owned(),
            (None, Some(region)) => format!("https://{region}.knowbe4.com/graphql"),
            (None, None) => return Err(Error::internal("the settings name no region or base_url")),
        };
        Ok(Vendor { url })
    }

    /// The account as the vendor shows it.
    pub(crate) fn by_id(&self, id: i32) -> Result<Option<Value>, Error> {
        self.one(BY_ID, json!({ "id": id }))
    }

    /// Archived or not.
    pub(crate) fn by_email(&self, email: &str) -> Result<Option<Value>, Error> {
        self.one(BY_EMAIL, json!({ "email": email }))
    }

    /// Makes an account, and takes out of `wanted` what it was made with: the four arguments that
    /// `userCreate` is known to have.
    pub(crate) fn create(&self, wanted: &mut Map<String, Value>) -> Result<i32, Error> {
        let arguments: Value = ["email", "firstName", "lastName", "jobTitle"]
            .into_iter()
            .filter_map(|name| wanted.remove_entry(name))
            .collect();
        id(&self.change(CREATE, arguments)?["node"])
    }

    /// Sets the attributes; asks nothing of the vendor if there are none.
    pub(crate) fn edit(&self, id: i32, attributes: Map<String, Value>) -> Result<(), Error> {
        if attributes.is_empty() {
            return Ok(());
        }
        let variables = json!({ "userId": id, "attributes": attributes });
        self.change(EDIT, variables).map(drop)
    }

    pub(crate) fn archive(&self, id: i32) -> Result<(), Error> {
        self.change(ARCHIVE, json!({ "userIds": [id] })).map(drop)
    }

    pub(crate) fn unarchive(&self, id: i32) -> Result<(), Error> {
        let variables = json!({ "userIds": [id] });
        self.change(UNARCHIVE, variables).map(drop)
    }

    fn one(&self, document: Document, variables: Value) -> Result<Option<Value>, Error> {
        match self.ask(document, variables) {
            Ok(Value::Null) => Ok(None),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn change(&self, document: Document, variables: Value) -> Result<Value, Error> {
        let payload = self.ask(document, variables)?;
        match payload["errors"].as_array().map(Vec::as_slice) {
            Some(refusals @ [first, ..]) => Err(refused(document.0, first, refusals)),
            _ if payload.is_object() => Ok(payload),
            _ => Err(unreadable(document.0)),
        }
    }

    /// The value of the document's field.
    fn ask(&self, document: Document, variables: Value) -> Result<Value, Error> {
        let (field, text) = document;
        let body = json!({ "query": text, "variables": variables });
        let answer = Request::post(&self.url).json(&body).send()?;
        let answer = answer
            .error_for_status()
            .map_err(|error| self.explain(error))?;
        let mut answer: Value = answer.json()?;
        let ran = answer.get("data").is_some();
        if let Some(error) = answer["errors"].get(0) {
            return Err(failed(field, error, ran, &variables));
        }
        let value = answer.get_mut("data").and_then(|data| data.get_mut(field));
        value.map(Value::take).ok_or_else(|| unreadable(field))
    }

    /// The statuses of which more is known than what they usually mean.
    fn explain(&self, mut error: Error) -> Error {
        let what_to_do = match error.vendor_status {
            Some(401) => "the product API key is wrong or has expired; make a new one",
            Some(402 | 403) => "the API key lacks the scope Read/Write or the subscription the API",
            Some(404 | 410) => {
                error.kind = ErrorKind::Forbidden;
                "there is no GraphQL API at this address; check the settings region and base_url"
            }
            Some(429) => {
                let wait_ms = error.retry_after_ms.unwrap_or(RETRY_AFTER_DEFAULT_MS);
                error.retry_after_ms = Some(wait_ms.min(RETRY_AFTER_MAX_MS));
                "KnowBe4 takes 4 requests a second, and 10 a day for each licensed user"
            }
            _ => return error,
        };
        error.message = format!("{what_to_do} ({}: {})", self.url, error.message);
        error
    }
}

/// A top-level error. Without `data` the vendor refused the document before it ran it (GraphQL
/// specification, section 7.1), and will again until somebody changes something. With `data` it
/// failed on the way, and what happened is unknown. Which words mean what is inferred.
fn failed(field: &str, error: &Value, ran: bool, variables: &Value) -> Error {
    let text = error["message"].as_str().unwrap_or_default();
    let message = format!("KnowBe4 failed at {field}: {text}");
    let said = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["rate limit", "throttl", "too many requests"]) {
        Error::rate_limited(message).retry_after_ms(RETRY_AFTER_DEFAULT_MS)
    } else if says(&["not authorized", "unauthorized", "permission"]) {
        Error::forbidden(message)
    } else if error["path"][0] == field && says(&["not found", "couldn't find"]) {
        Error::not_found(message)
    } else if ran {
        Error::unavailable(message)
    } else if let Some(path) = mapping::path_named(text, &variables["attributes"]) {
        let what_to_do = "take it out of the attribute mapping of the identity provider";
        Error::unsupported(format!("{message}; {what_to_do}")).path(path)
    } else {
        Error::internal(message)
    }
}

/// A payload's errors; the first decides. `too_long` is verified, the other reasons are Rails'
/// names for such errors, of which `too_long` is one.
fn refused(field: &str, first: &Value, all: &[Value]) -> Error {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let list = |error: &Value| format!("{} {}", text(&error["field"]), text(&error["reason"]));
    let listed: Vec<String> = all.iter().map(list).collect();
    let message = format!("KnowBe4 refuses {field}: {}", listed.join(", "));
    let reason = text(&first["reason"]);
    let path = mapping::path_of(&text(&first["field"]));
    let mut error = match reason.to_lowercase().as_str() {
        "taken" | "already_taken" | "already_exists" => Error::already_exists(message),
        // On an attribute it would speak of something else, such as the manager.
        "not_found" if path.is_none() => Error::not_found(message),
        "unauthorized" | "not_authorized" | "forbidden" => Error::forbidden(message),
        "archived" => Error::conflict(message),
        _ => Error::invalid(message),
    };
    error.path = path.map(str::to_owned);
    error.code(reason).vendor_status(200)
}

fn unreadable(field: &str) -> Error {
    Error::internal(format!("KnowBe4's answer to {field} is not as documented"))
}

/// The vendor's key of an account that it shows: a 32-bit integer.
pub(crate) fn id(held: &Value) -> Result<i32, Error> {
    let id = held["id"].as_i64().and_then(|id| id.try_into().ok());
    id.ok_or_else(|| Error::internal("KnowBe4 shows an account without a 32-bit id"))
}
