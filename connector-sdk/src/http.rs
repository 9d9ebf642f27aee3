//! The only way out: HTTP requests that the gateway checks, signs and sends.
//!
//! The gateway attaches the credential, follows no redirect, and lets through only hosts that the
//! manifest names. Absent: an `authorization` header, cookies, streaming, time-outs longer than
//! the operation's own.

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// As many characters of a vendor's answer go into an error message.
const EXCERPT_CHARS_MAX: usize = 200;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// The gateway refuses the request: host not granted, private address, forbidden header.
    Denied(String),
    /// No whole answer in time; the vendor may have acted.
    Timeout,
    /// The request or the answer exceeds this many bytes.
    TooLarge(u64),
    /// The vendor's name does not resolve.
    Dns(String),
    /// No connection was made; the vendor has seen nothing.
    Connect(String),
    /// No trusted connection was made; the vendor has seen nothing.
    Tls(String),
    /// The connection broke, or the answer is not HTTP or not UTF-8; the vendor may have acted.
    Protocol(String),
    /// The operation has used up its requests.
    BudgetExhausted,
}

/// The kind that an error without an answer has for the gateway: what the operator must put right
/// is forbidden, what a mistake of the connector brings about is internal, the rest is the vendor's
/// trouble.
impl From<HttpError> for Error {
    fn from(error: HttpError) -> Error {
        match error {
            HttpError::Denied(reason) => {
                Error::forbidden(format!("the gateway refuses the request: {reason}"))
            }
            HttpError::Timeout => Error::unavailable("the vendor gave no whole answer in time"),
            HttpError::TooLarge(bytes_max) => Error::internal(format!(
                "the request or its answer is larger than the {bytes_max} bytes allowed"
            )),
            HttpError::Dns(reason) => {
                Error::unavailable(format!("the vendor's host name does not resolve: {reason}"))
            }
            HttpError::Connect(reason) => {
                Error::unavailable(format!("no connection to the vendor: {reason}"))
            }
            HttpError::Tls(reason) => {
                Error::unavailable(format!("no trusted connection to the vendor: {reason}"))
            }
            HttpError::Protocol(reason) => {
                Error::unavailable(format!("the vendor's answer broke off: {reason}"))
            }
            HttpError::BudgetExhausted => Error::internal(
                "the connector has used up the requests of one operation; \
                 raise http_requests_max or ask less of the vendor",
            ),
        }
    }
}

/// A request to the vendor, built step by step.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    pub(crate) timeout_ms: Option<u32>,
    /// The first mistake made while building, reported by `send`.
    problem: Option<Error>,
}

impl Request {
    fn new(method: &'static str, url: impl Into<String>) -> Request {
        Request {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
            problem: None,
        }
    }

    /// A GET request.
    pub fn get(url: impl Into<String>) -> Request {
        Request::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: impl Into<String>) -> Request {
        Request::new("POST", url)
    }

    /// A PUT request.
    pub fn put(url: impl Into<String>) -> Request {
        Request::new("PUT", url)
    }

    /// A PATCH request.
    pub fn patch(url: impl Into<String>) -> Request {
        Request::new("PATCH", url)
    }

    /// A DELETE request.
    pub fn delete(url: impl Into<String>) -> Request {
        Request::new("DELETE", url)
    }

    /// Appends one path segment, percent-encoded, so that a uid with a slash stays one segment. An
    /// empty segment, `.` and `..` cannot be expressed in a URL: `send` refuses them. Before
    /// [`Request::query`].
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Request {
        if matches!(segment, "" | "." | "..") {
            let message = format!("{segment:?} cannot be part of a vendor's URL");
            self.problem.get_or_insert(Error::invalid(message));
        }
        if self.url.contains('?') {
            let message = "a path segment cannot follow the query of a URL";
            self.problem.get_or_insert(Error::internal(message));
        }
        if !self.url.ends_with('/') {
            self.url.push('/');
        }
        percent_encode(segment, &mut self.url);
        self
    }

    /// Appends one parameter to the URL's query, percent-encoded.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Request {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        self.url.push(separator);
        percent_encode(name, &mut self.url);
        self.url.push('=');
        percent_encode(value, &mut self.url);
        self
    }

    /// Adds a header. `authorization`, `host` and hop-by-hop headers are refused by the gateway.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body to the value as JSON, and `content-type: application/json` unless a content
    /// type is set already.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Request {
        match serde_json::to_string(value) {
            Ok(body) => self.body = Some(body),
            Err(error) => {
                let message = format!("the request body is no JSON: {error}");
                self.problem.get_or_insert(Error::internal(message));
            }
        }
        let is_content_type =
            |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
        if self.headers.iter().any(is_content_type) {
            self
        } else {
            self.header("content-type", "application/json")
        }
    }

    /// Bounds the wait for this one answer, in milliseconds. Never past the operation's deadline.
    #[must_use]
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Request {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends the request and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// A mistake in building the request, or an [`HttpError`] turned into the kind that it has for
    /// the gateway.
    pub fn send(mut self) -> Result<Response, Error> {
        match self.problem.take() {
            Some(problem) => Err(problem),
            None => Ok(transmit(self)?),
        }
    }
}

/// Everything but RFC 3986's unreserved characters is escaped.
fn percent_encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(target_arch = "wasm32")]
use crate::guest::transmit;
#[cfg(not(target_arch = "wasm32"))]
use crate::native::transmit;

/// A vendor's answer.
#[derive(Debug, Clone)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(held, _)| held.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as it came.
    pub fn text(&self) -> &str {
        &self.body
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`Error::internal`] if it is none, or not of this shape: the vendor may have acted, and the
    /// connector cannot tell.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.body).map_err(|error| {
            Error::internal(format!(
                "the vendor's answer cannot be read: {error}; it begins {:?}",
                self.excerpt()
            ))
            .vendor_status(self.status)
        })
    }

    /// The answer itself if its status is 2xx.
    ///
    /// # Errors
    /// The kind that the status usually means: 401 unauthorized, 402 and 403 forbidden, 404 and
    /// 410 not found, 409 already exists, 412 and 423 conflict, 429 rate limited (with the time of
    /// `Retry-After`), 408, 425 and 5xx unavailable, 501 unsupported, other 4xx invalid, and
    /// internal for the rest. Look at [`Response::status`] first where the vendor means something
    /// else.
    pub fn error_for_status(self) -> Result<Response, Error> {
        let make = match self.status {
            200..=299 => return Ok(self),
            401 => Error::unauthorized,
            402 | 403 => Error::forbidden,
            404 | 410 => Error::not_found,
            409 => Error::already_exists,
            412 | 423 => Error::conflict,
            429 => Error::rate_limited,
            501 => Error::unsupported,
            408 | 425 | 500..=599 => Error::unavailable,
            400..=499 => Error::invalid,
            _ => Error::internal,
        };
        let mut message = format!("the vendor answered {}", self.status);
        if !self.body.is_empty() {
            let _ = write!(message, ": {}", self.excerpt());
        }
        let mut error = make(message).vendor_status(self.status);
        error.retry_after_ms = self.retry_after_ms();
        Err(error)
    }

    /// `Retry-After` in both its forms (RFC 9110 section 10.2.3). A connector has no clock; what a
    /// date means it learns from the answer's own `Date`.
    fn retry_after_ms(&self) -> Option<u32> {
        let text = self.header("retry-after")?.trim();
        let seconds = match text.parse::<u32>() {
            Ok(seconds) => seconds,
            Err(_) => {
                let now = http_date_s(self.header("date")?)?;
                u32::try_from(http_date_s(text)?.saturating_sub(now)).ok()?
            }
        };
        Some(seconds.saturating_mul(1000))
    }

    fn excerpt(&self) -> &str {
        match self.body.char_indices().nth(EXCERPT_CHARS_MAX) {
            Some((end, _)) => &self.body[..end],
            None => &self.body,
        }
    }
}

/// Seconds since the year 0 of a date as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7);
/// none for the two forms that are obsolete.
fn http_date_s(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = words[..] else {
        return None;
    };
    let number = |text: &str, max: u64| text.parse().ok().filter(|number: &u64| *number <= max);
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let mut parts = time.splitn(3, ':');
    let mut part = |max| number(parts.next()?, max);
    let (hour, minute, second) = (part(23)?, part(59)?, part(60)?);
    // Days up to a date, for years that begin in March, so that the leap day is a year's last.
    let (year, month) = match month {
        0 | 1 => (year.checked_sub(1)?, month + 10),
        _ => (year, month - 2),
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::native::response;

    #[test]
    fn what_comes_from_outside_stays_in_its_place_in_the_url() {
        let check = |request: Request, url: &str| assert_eq!(request.url, url);
        let base = || Request::get("https://acme.example/api");
        check(base().segment("users"), "https://acme.example/api/users");
        check(
            Request::get("https://acme.example/").segment("a/../b?c#d e"),
            "https://acme.example/a%2F..%2Fb%3Fc%23d%20e",
        );
        check(
            base()
                .query("filter", "userName eq \"ä&b\"")
                .query("n", "1"),
            "https://acme.example/api?filter=userName%20eq%20%22%C3%A4%26b%22&n=1",
        );
        for segment in ["", ".", ".."] {
            let error = base().segment(segment).send().unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
        }
        let error = base().query("a", "b").segment("c").send().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
    }

    #[test]
    fn a_body_has_one_content_type() {
        let request = Request::post("u").json(&[1]);
        assert_eq!(request.body.as_deref(), Some("[1]"));
        assert_eq!(request.headers.len(), 1);
        let request = Request::post("u").header("Content-Type", "application/scim+json");
        assert_eq!(request.json(&[1]).headers.len(), 1);
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let error = |headers: &[(&str, &str)]| {
            let answer = response(429, headers, "slow down");
            answer.error_for_status().unwrap_err()
        };
        let told = error(&[("Retry-After", "30")]);
        assert_eq!(told.kind, ErrorKind::RateLimited);
        assert_eq!(told.retry_after_ms, Some(30_000));
        assert_eq!(told.vendor_status, Some(429));
        assert_eq!(told.message, "the vendor answered 429: slow down");
        let until =
            |now: &str, then: &str| error(&[("date", now), ("retry-after", then)]).retry_after_ms;
        let then = "Sun, 01 Mar 2026 00:00:05 GMT";
        let check = |now: &str, expected| assert_eq!(until(now, then), expected, "{now}");
        check("Sun, 01 Mar 2026 00:00:00 GMT", Some(5_000));
        check("Sat, 28 Feb 2026 23:59:00 GMT", Some(65_000));
        // It has passed.
        check("Mon, 02 Mar 2026 00:00:00 GMT", Some(0));
        check("Wed, 31 Dec 2025 00:00:05 GMT", Some(u32::MAX));
        for now in ["", "yesterday", "Sun, 01 Foo 2026 00:00:00 GMT"] {
            check(now, None);
        }
        let leap = until(
            "Wed, 28 Feb 2024 00:00:00 GMT",
            "Fri, 01 Mar 2024 00:00:00 GMT",
        );
        assert_eq!(leap, Some(2 * 86_400_000));
        // Without a `Date` there is nothing to count from.
        assert_eq!(error(&[("retry-after", then)]).retry_after_ms, None);
    }

    #[test]
    fn a_long_answer_is_quoted_in_part() {
        let answer = response(200, &[], "ä".repeat(300));
        let error = answer.json::<u8>().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert!(error.message.chars().filter(|c| *c == 'ä').count() == EXCERPT_CHARS_MAX);
    }
}
