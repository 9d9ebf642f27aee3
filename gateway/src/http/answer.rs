//! The corridor's answer as HTTP: status, headers, and a body in pieces.
//!
//! Invariant: a document is taken apart as it is written, and a piece is freed once it is sent, so that
//! a large answer is never held twice. Absent: what is answered.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use serde_json::Value;

use crate::pipeline::Response;

use super::body::{MEDIA_TYPES, Unsupported};

/// Every SCIM answer's content type; Entra's validator warns or aborts on any other (RFC 7644
/// section 8.1).
const SCIM_JSON: &str = "application/scim+json; charset=utf-8";

/// From what size on a piece of a body is closed.
const PIECE_BYTES: usize = 64 * 1024;

/// How deep a document is taken apart: the members of the groups of a list are four levels down.
const TAKEN_APART_LEVELS: usize = 4;

/// The answer to a request of that name; `refused` says what a 415 is about.
pub(super) fn answer(
    response: Response,
    request_id: &str,
    refused: Option<Unsupported>,
) -> HttpResponse {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = HttpResponse::build(status);
    answer.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if !request_id.is_empty() {
        answer.insert_header(("x-request-id", request_id));
    }
    if let Some(location) = response.location {
        answer.insert_header((header::LOCATION, location));
    }
    if let Some(etag) = response.etag {
        answer.insert_header((header::ETAG, etag));
    }
    if let Some(seconds) = response.retry_after_s {
        answer.insert_header((header::RETRY_AFTER, seconds));
    }
    if let Some(allow) = response.allow {
        answer.insert_header((header::ALLOW, allow));
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    // RFC 9110 section 15.5.16: what would have been taken. Accept-Encoding must stand there only if
    // the coding was the reason.
    match refused.filter(|_| status == StatusCode::UNSUPPORTED_MEDIA_TYPE) {
        Some(Unsupported::Coding) => {
            answer.insert_header((header::ACCEPT_ENCODING, "identity"));
        }
        Some(Unsupported::MediaType) => {
            answer.insert_header((header::ACCEPT, MEDIA_TYPES));
        }
        None => {}
    }
    match response.body {
        Some(body) => answer.content_type(SCIM_JSON).body(Pieces::of(body)),
        None => answer.finish(),
    }
}

/// A document as text, in pieces.
struct Pieces {
    pieces: VecDeque<Bytes>,
    length: u64,
}

impl Pieces {
    fn of(document: Value) -> Self {
        let mut writer = Writer {
            closed: VecDeque::new(),
            open: Vec::with_capacity(1024),
        };
        writer.take(document, TAKEN_APART_LEVELS);
        let mut pieces = writer.closed;
        pieces.push_back(writer.open.into());
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, length }
    }
}

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.pieces.pop_front().map(Ok))
    }
}

struct Writer {
    closed: VecDeque<Bytes>,
    open: Vec<u8>,
}

impl Writer {
    /// Writes a value and lets go of each part of it as soon as it is written.
    fn take(&mut self, value: Value, levels: usize) {
        match value {
            Value::Array(items) if levels > 0 => {
                self.open.push(b'[');
                for (at, item) in items.into_iter().enumerate() {
                    if at > 0 {
                        self.open.push(b',');
                    }
                    self.take(item, levels - 1);
                }
                self.open.push(b']');
            }
            Value::Object(members) if levels > 0 => {
                self.open.push(b'{');
                for (at, (name, value)) in members.into_iter().enumerate() {
                    if at > 0 {
                        self.open.push(b',');
                    }
                    self.write(&Value::String(name));
                    self.open.push(b':');
                    self.take(value, levels - 1);
                }
                self.open.push(b'}');
            }
            whole => self.write(&whole),
        }
        if self.open.len() >= PIECE_BYTES {
            let next = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
            self.closed
                .push_back(std::mem::replace(&mut self.open, next).into());
        }
    }

    fn write(&mut self, value: &Value) {
        // Names are strings and memory takes every byte: neither of the two ways to fail exists.
        let _ = serde_json::to_writer(&mut self.open, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{PIECE_BYTES, Pieces};

    fn text(pieces: &Pieces) -> String {
        let bytes: Vec<u8> = pieces.pieces.iter().flatten().copied().collect();
        String::from_utf8(bytes).expect("JSON is text")
    }

    #[test]
    fn the_pieces_are_the_document() {
        let members: Vec<Value> = (0..20_000)
            .map(|n| json!({ "value": n.to_string(), "odd \"é\n": [n, null, { "a": 1.5 }] }))
            .collect();
        let groups: Vec<Value> = (0..3)
            .map(|n| json!({ "id": n, "members": members }))
            .collect();
        for document in [
            json!(null),
            json!({}),
            json!([]),
            json!("é\u{0}\"\\"),
            json!({ "a": [], "b": {}, "c": [[[[[[[1]]]]]]], "": { "d": { "e": { "f": { "g": 1 } } } } }),
            json!({ "totalResults": 3, "Resources": groups }),
        ] {
            let expected = document.to_string();
            let pieces = Pieces::of(document);
            assert_eq!(pieces.length, expected.len() as u64);
            assert!(text(&pieces) == expected, "{:.200}", expected);
            let most = PIECE_BYTES + 1024;
            assert!(pieces.pieces.iter().all(|piece| piece.len() < most));
        }
    }
}
