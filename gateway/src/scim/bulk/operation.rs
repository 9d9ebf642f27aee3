//! One operation of a bulk request: read from it, and shown in the answer.
//!
//! Invariant: what can be read is kept even if something else is wrong, so that the answer can name it.
//! Absent: what the operation does, and when.

use serde_json::{Map, Value};

use super::BulkMethod;
use super::reference::PREFIX;
use crate::scim::error::ScimError;

#[derive(Debug, Default)]
pub(super) struct Operation {
    pub(super) method: Option<BulkMethod>,
    pub(super) bulk_id: Option<String>,
    pub(super) endpoint: String,
    pub(super) id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) data: Option<Value>,
    /// What is wrong with the operation itself.
    pub(super) problem: Option<ScimError>,
    /// What a resource gets once others exist: the value of a PATCH.
    pub(super) later: Option<Value>,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) id: Option<String>,
    pub(super) version: Option<String>,
    pub(super) error: Option<Value>,
}

/// Takes a member out of an object, in any letter case of its name.
pub(super) fn take(map: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let key = map.keys().find(|key| key.eq_ignore_ascii_case(name));
    let key = key?.clone();
    map.shift_remove(&key).filter(|value| !value.is_null())
}

impl Operation {
    pub(super) fn read(value: Value) -> Self {
        let Value::Object(mut members) = value else {
            return Self {
                problem: Some(ScimError::invalid_syntax(
                    "An operation must be a JSON object.",
                )),
                ..Self::default()
            };
        };
        let mut operation = Self::default();
        operation.problem = operation.fill(&mut members).err();
        operation
    }

    fn fill(&mut self, members: &mut Map<String, Value>) -> Result<(), ScimError> {
        let bulk_id = text(members, "bulkId");
        let path = text(members, "path");
        let method = text(members, "method");
        let version = text(members, "version");
        self.data = take(members, "data");
        if let Ok(bulk_id) = &bulk_id {
            self.bulk_id = bulk_id.clone().filter(|id| !id.is_empty());
        }
        if let Ok(Some(path)) = &path {
            (self.endpoint, self.id) = split_path(path);
        }
        let known = |method: &BulkMethod, name: &str| method.as_str() == name;
        if let Ok(Some(name)) = &method {
            self.method = BulkMethod::ALL.into_iter().find(|it| known(it, name));
        }
        let Some(method) = self.method else {
            method?;
            return Err(ScimError::invalid_syntax(
                "method must be POST, PUT, PATCH or DELETE.",
            ));
        };
        bulk_id?;
        self.version = version?;
        if path?.is_none() {
            return Err(ScimError::invalid_syntax(
                "The operation has no path, such as /Users.",
            ));
        }
        match (method, &self.id) {
            (BulkMethod::Post, Some(_)) => {
                return Err(ScimError::invalid_syntax(
                    "The path of a POST must be that of a resource type, such as /Users.",
                ));
            }
            (BulkMethod::Post, None) if self.bulk_id.is_none() => {
                return Err(ScimError::invalid_syntax(
                    "A POST needs a bulkId, so that its answer can be told from others.",
                ));
            }
            (BulkMethod::Put | BulkMethod::Patch | BulkMethod::Delete, None) => {
                return Err(ScimError::invalid_syntax(
                    "The path must be that of a resource, such as /Users/<id>.",
                ));
            }
            _ => {}
        }
        match method {
            BulkMethod::Delete => self.data = None,
            _ if self.data.is_none() => {
                let detail = format!("A {} needs data.", method.as_str());
                return Err(ScimError::invalid_syntax(detail));
            }
            _ => {}
        }
        Ok(())
    }

    /// The bulkId in the path, if there is one.
    pub(super) fn id_reference(&self) -> Option<&str> {
        self.id.as_deref()?.strip_prefix(PREFIX)
    }
}

/// A member that must be text if it is there.
fn text(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, ScimError> {
    match take(members, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ScimError::invalid_syntax(format!(
            "{name} must be a string."
        ))),
    }
}

/// `/Users/7` -> `Users`, `7`. The query is left out: it could only shape a body that a bulk answer
/// does not hold. More segments stay in the id, which then is none.
fn split_path(path: &str) -> (String, Option<String>) {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    match path.split_once('/') {
        Some((endpoint, id)) => (endpoint.to_owned(), Some(id.to_owned())),
        None => (path.to_owned(), None),
    }
}

impl Outcome {
    /// The resource was created, but its circle could not be closed: 409 (RFC 7644 section 3.7.1).
    pub(super) fn incomplete(&mut self, why: &str) {
        let error = ScimError::status_with(
            409,
            format!(
                "The resource was created without the values that refer to other operations: {why}"
            ),
        );
        self.status = error.status;
        self.error = Some(error.body());
    }
}

impl Operation {
    /// What the answer says of this operation, if it was processed.
    pub(super) fn into_outcome(self, base_url: &str) -> Option<Value> {
        let outcome = self.outcome?;
        let mut shown = Map::new();
        // "except for failed POST operations (which have no location)".
        let location = outcome.id.filter(|_| !self.endpoint.is_empty());
        if let Some(id) = location {
            let location = format!("{base_url}/{}/{id}", self.endpoint);
            shown.insert("location".to_owned(), location.into());
        }
        if let Some(method) = self.method {
            shown.insert("method".to_owned(), method.as_str().into());
        }
        if let Some(bulk_id) = self.bulk_id {
            shown.insert("bulkId".to_owned(), bulk_id.into());
        }
        if let Some(version) = outcome.version {
            shown.insert("version".to_owned(), version.into());
        }
        if let Some(error) = outcome.error {
            shown.insert("response".to_owned(), error);
        }
        // A string, as in all of the RFC's examples but one.
        shown.insert("status".to_owned(), outcome.status.to_string().into());
        Some(Value::Object(shown))
    }
}
