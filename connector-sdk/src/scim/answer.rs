//! What a service's answer says: a resource, a list, or a refusal in whatever shape it comes.
//!
//! Invariant: only [`Refusal::is_scim`] answers speak for the service; anything else may come from a
//! proxy or from another site.

use serde_json::{Map, Value};

use super::operations;
use crate::{Error, ErrorKind, Response, path};

const ERROR_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// A list (RFC 7644 section 3.4.2).
pub(super) struct List {
    pub(super) resources: Vec<Map<String, Value>>,
    /// 0 where the service does not say: the page is then taken for the whole list.
    pub(super) total_results: usize,
}

/// The list in an answer. `Resources` may be absent where it would be empty.
///
/// # Errors
/// If the answer is no JSON object.
pub(super) fn list(response: &Response) -> Result<List, Error> {
    let mut list: Map<String, Value> = response.json()?;
    let resources = match list.remove("Resources") {
        Some(Value::Array(resources)) => resources,
        _ => Vec::new(),
    };
    let resources = resources.into_iter().filter_map(|resource| match resource {
        Value::Object(resource) => Some(resource),
        _ => None,
    });
    let total = list.get("totalResults").and_then(Value::as_u64);
    Ok(List {
        resources: resources.collect(),
        total_results: usize::try_from(total.unwrap_or_default()).unwrap_or(usize::MAX),
    })
}

/// The resource in an answer; none where the body is empty or something else.
pub(super) fn resource(response: &Response) -> Option<Map<String, Value>> {
    serde_json::from_str(response.text()).ok()
}

/// The id at the end of `Location`.
pub(super) fn uid_in_location(response: &Response) -> Option<String> {
    let location = response.header("location")?.trim_end_matches('/');
    let (_, segment) = location.rsplit_once('/')?;
    let uid = percent_decode(segment.split(['?', '#']).next()?)?;
    (!uid.is_empty()).then_some(uid)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Why there is no answer to work with.
pub(super) struct Refusal {
    /// 0 if there was no answer at all.
    status: u16,
    /// Whether the answer is an error as RFC 7644 section 3.12 has it.
    pub(super) is_scim: bool,
    detail: Option<String>,
    error: Error,
}

/// Tells a good answer from a refusal.
pub(super) fn sift(sent: Result<Response, Error>) -> Result<Response, Box<Refusal>> {
    let response = sent.map_err(|error| {
        Box::new(Refusal {
            status: 0,
            is_scim: false,
            detail: None,
            error,
        })
    })?;
    let status = response.status();
    let told = resource(&response).unwrap_or_default();
    let location = response.header("location").unwrap_or_default().to_owned();
    let mut error = match response.error_for_status() {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    let text = |name: &str| told.get(name)?.as_str().filter(|text| !text.is_empty());
    let (scim_type, detail) = (text("scimType"), text("detail"));
    if let Some(detail) = detail {
        let word = scim_type.unwrap_or_default();
        error.message = format!("the service answered {status} {word}: {detail}");
    }
    error.code = scim_type.map(str::to_owned);
    match status {
        // RFC 7644 section 3.12 has `uniqueness` with 409; some send it with 400.
        _ if scim_type == Some("uniqueness") => error.kind = ErrorKind::AlreadyExists,
        409 if scim_type.is_some() => error.kind = ErrorKind::Conflict,
        300..=399 => {
            error.kind = ErrorKind::Forbidden;
            error.message = format!(
                "the service redirects to {location:?}; set base_url to where it really is"
            );
        }
        401 => error
            .message
            .push_str("; the token is wrong or has expired, make a new one at the service"),
        403 => error
            .message
            .push_str("; the token lacks a right, or the subscription provisioning"),
        _ => {}
    }
    let schemas = told.get("schemas").and_then(Value::as_array);
    Err(Box::new(Refusal {
        status,
        is_scim: schemas.is_some_and(|schemas| schemas.iter().any(|urn| urn == ERROR_SCHEMA)),
        detail: detail.map(str::to_owned),
        error,
    }))
}

impl Refusal {
    /// Either the resource or the service is not there.
    pub(super) fn is_about_address(&self) -> bool {
        matches!(self.status, 404 | 410)
    }

    /// The error that it is; names the attribute at fault, if it is one of those sent.
    pub(super) fn into_error(self, sent: Option<&Value>) -> Error {
        let mut error = self.error;
        let is_about_data = matches!(
            error.kind,
            ErrorKind::Invalid | ErrorKind::AlreadyExists | ErrorKind::Conflict
        );
        if let (true, Some(detail), Some(sent)) = (is_about_data, self.detail, sent) {
            error.path = named(&detail, operations::paths(sent));
        }
        error
    }

    /// The error that it is for a search by this attribute.
    pub(super) fn of_filter(self, attribute: &str) -> Error {
        let error = self.error;
        match error.code.as_deref() == Some("invalidFilter") || self.status == 501 {
            true => Error::unsupported(format!("it cannot be searched by {attribute}: {error}"))
                .vendor_status(self.status),
            false => error,
        }
    }
}

/// A filter in a PATCH matches nothing (RFC 7644 section 3.5.2); nothing was changed.
pub(super) fn is_no_target(error: &Error) -> bool {
    error.code.as_deref() == Some("noTarget")
}

/// The first path whose attribute the text names.
fn named(text: &str, paths: Vec<String>) -> Option<String> {
    let mut words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let at = words.find_map(|word| {
        paths
            .iter()
            .position(|path| path::leaf(path).is_some_and(|leaf| leaf.eq_ignore_ascii_case(word)))
    })?;
    paths.into_iter().nth(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::response;

    #[test]
    fn the_id_in_a_location() {
        let check = |location: &str, uid: Option<&str>| {
            let answer = response(201, &[("Location", location)], "");
            assert_eq!(uid_in_location(&answer).as_deref(), uid, "{location}");
        };
        check("https://x.example/scim/v2/Users/7", Some("7"));
        check("/scim/v2/Users/a%2Fb%C3%A9/", Some("a/bé"));
        check("/Users/7?attributes=id", Some("7"));
        for broken in ["", "7", "/Users/%zz", "/Users/%F", "/Users/%ff", "///"] {
            check(broken, None);
        }
    }

    #[test]
    fn the_attribute_at_fault() {
        let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let paths = [
            "userName".to_owned(),
            "name.givenName".to_owned(),
            r#"phoneNumbers[type eq "work"].value"#.to_owned(),
            format!("{urn}:department"),
            format!("{urn}:manager.value"),
        ];
        let check = |text: &str, path: Option<&str>| {
            assert_eq!(named(text, paths.to_vec()).as_deref(), path, "{text}");
        };
        check("Attribute 'givenName' is too long", Some("name.givenName"));
        check("USERNAME: taken", Some("userName"));
        check("phoneNumbers[0].value is no number", Some(&paths[2]));
        check("Department \"R&D\" does not exist", Some(&paths[3]));
        check("The manager is unknown", Some(&paths[4]));
        check("Internal value error", None);
    }
}
