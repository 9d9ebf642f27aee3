//! Request bodies: what they may be encoded in, how large they may be, and how long they may take.
//!
//! Invariant: nothing is ever inflated, so a body is as large as what came over the wire, and that has
//! a limit. actix-web has no deadline of its own for bodies: a slow sender would hold its connection
//! for ever. Absent: what the bytes mean.

use std::time::Duration;

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::web;
use futures::StreamExt;

use crate::pipeline::BodyKind;
use crate::scim::ScimError;
use crate::settings::HttpLimits;

/// The media types of a SCIM body (RFC 7644 section 3.8); Okta and Google send the second.
pub(super) const MEDIA_TYPES: &str = "application/scim+json, application/json";

/// What a body must not be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsupported {
    /// It is compressed.
    Coding,
    /// It is not JSON.
    MediaType,
}

/// What the headers say against a body.
pub(super) fn unsupported(headers: &HeaderMap) -> Option<Unsupported> {
    let all = |name: HeaderName, fine: fn(&str) -> bool| {
        let mut values = headers.get_all(name);
        values.all(|value| value.to_str().is_ok_and(fine))
    };
    let coding = |value: &str| {
        let mut codings = value.split(',').map(str::trim);
        codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
    };
    // No type at all is taken for JSON. Its parameters are not read: JSON is UTF-8, whatever they say.
    let media_type = |value: &str| {
        let given = value.split(';').next().unwrap_or_default().trim();
        let mut known = MEDIA_TYPES.split(", ");
        given.is_empty() || known.any(|known| given.eq_ignore_ascii_case(known))
    };
    if !all(header::CONTENT_ENCODING, coding) {
        Some(Unsupported::Coding)
    } else if !all(header::CONTENT_TYPE, media_type) {
        Some(Unsupported::MediaType)
    } else {
        None
    }
}

impl From<Unsupported> for ScimError {
    fn from(what: Unsupported) -> Self {
        let detail = match what {
            Unsupported::Coding => {
                "The body is compressed (Content-Encoding); send it as it is.".to_owned()
            }
            Unsupported::MediaType => {
                format!("The body's Content-Type must be one of {MEDIA_TYPES}.")
            }
        };
        Self::status_with(415, detail)
    }
}

/// Reads the whole body. Compressed or no JSON is 415, too large 413, too slow 408, a broken
/// connection 400.
pub(super) async fn read(
    headers: &HeaderMap,
    mut payload: web::Payload,
    kind: BodyKind,
    limits: &HttpLimits,
) -> Result<Vec<u8>, ScimError> {
    if let Some(what) = unsupported(headers) {
        return Err(what.into());
    }
    let (limit, name) = match kind {
        BodyKind::Plain => (limits.body_bytes_max, "body_bytes_max"),
        BodyKind::Large => (limits.members_body_bytes_max, "members_body_bytes_max"),
    };
    let too_large = || {
        ScimError::status_with(
            413,
            format!("the body exceeds {limit} bytes (limit {name})"),
        )
    };
    let announced = announced(headers);
    if announced.is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let whole = async {
        let mut body = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                ScimError::invalid_syntax(format!("the body cannot be read: {error}"))
            })?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let deadline = Duration::from_millis(limits.body_deadline_ms);
    tokio::time::timeout(deadline, whole)
        .await
        .unwrap_or_else(|_| {
            Err(ScimError::status_with(
                408,
                format!(
                    "the body did not arrive within {} ms (limit body_deadline_ms)",
                    limits.body_deadline_ms
                ),
            ))
        })
}

/// The length that the client gives its body; none if it comes in chunks.
fn announced(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{
        CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    };

    use super::{Unsupported, unsupported};

    type Case = (&'static [(HeaderName, &'static str)], Option<Unsupported>);

    #[test]
    fn only_plain_json_is_read() {
        let (coding, media_type) = (Some(Unsupported::Coding), Some(Unsupported::MediaType));
        let cases: &[Case] = &[
            (&[], None),
            (&[(CONTENT_TYPE, "application/scim+json")], None),
            (
                &[(CONTENT_TYPE, "Application/SCIM+JSON ; charset=utf-8")],
                None,
            ),
            (&[(CONTENT_TYPE, "application/json;charset=\"x\"")], None),
            (&[(CONTENT_TYPE, "")], None),
            (&[(CONTENT_TYPE, "text/plain")], media_type),
            (&[(CONTENT_TYPE, "application/xml")], media_type),
            (&[(CONTENT_TYPE, "application/jsonx")], media_type),
            (
                &[(CONTENT_TYPE, "application/x-www-form-urlencoded")],
                media_type,
            ),
            (
                &[(CONTENT_TYPE, "application/json, text/plain")],
                media_type,
            ),
            (
                &[
                    (CONTENT_TYPE, "application/json"),
                    (CONTENT_TYPE, "text/plain"),
                ],
                media_type,
            ),
            (&[(CONTENT_TYPE, "application/json\u{e9}")], media_type),
            (&[(CONTENT_ENCODING, "identity")], None),
            (&[(CONTENT_ENCODING, "Identity, identity")], None),
            (&[(CONTENT_ENCODING, "")], None),
            (&[(CONTENT_ENCODING, "gzip")], coding),
            (&[(CONTENT_ENCODING, "identity, br")], coding),
            (
                &[(CONTENT_ENCODING, "identity"), (CONTENT_ENCODING, "zstd")],
                coding,
            ),
            (
                &[(CONTENT_ENCODING, "gzip"), (CONTENT_TYPE, "text/plain")],
                coding,
            ),
        ];
        for (headers, expected) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in *headers {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header's value");
                map.append(name.clone(), value);
            }
            assert_eq!(unsupported(&map), *expected, "{headers:?}");
        }
    }
}
