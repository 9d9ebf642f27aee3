//! What a guest may ask for: the checks that need no network.
//!
//! Invariant: what passes here is one of six methods, to a granted origin, with headers that are
//! the guest's to set, within the limits. Pure; addresses are checked in `address`, and nothing
//! here knows a secret.

use std::fmt;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{EgressError, EgressLimits, Request};

/// A request that may leave, as far as one can tell without resolving its host.
pub(super) struct Checked {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
}

/// The granted origins.
pub(super) struct Origins(Vec<url::Origin>);

impl Origins {
    pub(super) fn new(urls: &[Url]) -> Result<Self, String> {
        urls.iter().map(grant).collect::<Result<_, _>>().map(Self)
    }

    fn allows(&self, url: &Url) -> bool {
        self.0.contains(&url.origin())
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, origin) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", origin.ascii_serialization())?;
        }
        Ok(())
    }
}

fn grant(url: &Url) -> Result<url::Origin, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!(
            "{}: only http and https can be granted",
            url.scheme()
        ));
    }
    if has_userinfo(url) {
        return Err(format!(
            "the URL of {} holds a user name or a password; secrets belong into the tenant's \
             secrets table",
            url.host_str().unwrap_or_default()
        ));
    }
    Ok(url.origin())
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Checks a guest's request against the grants and the limits.
pub(super) fn check(
    request: Request,
    origins: &Origins,
    limits: &EgressLimits,
) -> Result<Checked, EgressError> {
    let method = method(&request.method)?;
    let url = url(&request.url, origins, limits)?;
    let headers = headers(&request.headers, limits)?;
    if request
        .body
        .as_ref()
        .is_some_and(|body| body.len() > limits.request_bytes_max)
    {
        return Err(EgressError::TooLarge(limits.request_bytes_max as u64));
    }
    Ok(Checked {
        method,
        url,
        headers,
        body: request.body,
    })
}

fn denied<T>(message: impl Into<String>) -> Result<T, EgressError> {
    Err(EgressError::Denied(message.into()))
}

fn method(name: &str) -> Result<Method, EgressError> {
    match name {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        _ => denied("the method must be one of GET, HEAD, POST, PUT, PATCH, DELETE"),
    }
}

fn url(text: &str, origins: &Origins, limits: &EgressLimits) -> Result<Url, EgressError> {
    if text.len() > limits.url_bytes_max {
        return Err(EgressError::TooLarge(limits.url_bytes_max as u64));
    }
    // The URL standard drops tabs and line breaks and reads `\` as `/`. Who checks and who connects
    // would then speak of different strings, so neither may occur.
    if text
        .chars()
        .any(|c| c.is_control() || c == ' ' || c == '\\')
    {
        return denied(
            "the URL holds a blank, a backslash or a control character; percent-encode it",
        );
    }
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return denied(format!("the URL cannot be read: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return denied(format!("{} URLs do not leave; use https", url.scheme()));
    }
    if has_userinfo(&url) {
        return denied("the URL holds a user name or a password; the gateway attaches credentials");
    }
    if !origins.allows(&url) {
        return denied(format!(
            "{} is not granted; granted: {origins}. `hosts` in the connector's manifest and the \
             tenant's settings that it names decide this",
            url.origin().ascii_serialization()
        ));
    }
    Ok(url)
}

fn headers(given: &[(String, String)], limits: &EgressLimits) -> Result<HeaderMap, EgressError> {
    if given.len() > limits.headers_max {
        return denied(format!("more than {} headers", limits.headers_max));
    }
    let bytes: usize = given
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > limits.headers_bytes_max {
        return Err(EgressError::TooLarge(limits.headers_bytes_max as u64));
    }
    let mut headers = HeaderMap::with_capacity(given.len() + 2);
    for (name, value) in given {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return denied("a header's name is not a token (RFC 9110 section 5.1)");
        };
        if belongs_to_gateway(name.as_str()) {
            return denied(format!(
                "the header {name} belongs to the gateway; leave it out"
            ));
        }
        let ascii = Some(value).filter(|value| value.is_ascii());
        let Some(value) = ascii.and_then(|value| HeaderValue::from_str(value).ok()) else {
            return denied(format!(
                "the header {name} holds a line break, a control character or a character outside \
                 ASCII"
            ));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

/// Headers that say who the gateway is, where the request goes, or how the connection is used.
/// `accept-encoding` is among them because the size limit counts what the vendor sends.
fn belongs_to_gateway(name: &str) -> bool {
    const GATEWAYS: [&str; 14] = [
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "cookie2",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    GATEWAYS.contains(&name) || name.starts_with("proxy-")
}

/// Whether a header of an answer is for the guest: not sessions, not echoed credentials, not the
/// connection's own affairs. The length goes too: redaction may change it.
pub(super) fn passes_to_guest(name: &str) -> bool {
    const DROPPED: [&str; 12] = [
        "alt-svc",
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "keep-alive",
        "set-cookie",
        "set-cookie2",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    !DROPPED.contains(&name) && !name.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(urls: &[&str]) -> Origins {
        let urls: Vec<Url> = urls.iter().map(|url| url.parse().expect("a URL")).collect();
        Origins::new(&urls).expect("origins")
    }

    fn try_url(text: &str) -> Result<Url, EgressError> {
        let granted = origins(&["https://api.example.com", "http://127.0.0.1:8080/base/"]);
        url(text, &granted, &EgressLimits::default())
    }

    #[test]
    fn granted_origins_pass_in_every_spelling() {
        for text in [
            "https://api.example.com/users?x=1#fragment",
            "https://API.example.COM:443/",
            "HTTPS://api.example.com/%2e%2e/",
            "http://127.0.0.1:8080/other",
            "http://2130706433:8080/",
            "http://0x7f.1:8080/",
            "http://0177.0.0.1:8080/",
            "http://127.1:8080/",
        ] {
            assert!(try_url(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn everything_else_is_denied() {
        for text in [
            "",
            "/users",
            "//api.example.com/",
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com./",
            "https://api.example.com.evil.example/",
            "https://evil.example/api.example.com",
            "https://xn--pi-7ia.example.com/",
            "https://\u{430}pi.example.com/",
            "https://api.example.com@evil.example/",
            "https://user@api.example.com/",
            "https://user:pass@api.example.com/",
            "https://:pass@api.example.com/",
            "https://evil.example\\@api.example.com/",
            "https://api.example.com\\.evil.example/",
            "https://api.example.com/a b",
            "https://api.example.com/\t",
            "https://api.example.com/\r\nhost: x",
            " https://api.example.com/",
            "http://127.0.0.1/",
            "http://127.0.0.2:8080/",
            "http://[::ffff:127.0.0.1]:8080/",
            "http://[fe80::1%25eth0]:8080/",
            "file:///etc/passwd",
            "ftp://api.example.com/",
            "data:text/plain,x",
            "gopher://api.example.com/",
        ] {
            assert!(
                matches!(try_url(text), Err(EgressError::Denied(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_names_the_host_and_the_grants() {
        let Err(EgressError::Denied(message)) = try_url("https://evil.example/x?mail=a@b.c") else {
            panic!("granted");
        };
        assert_eq!(
            message,
            "https://evil.example is not granted; granted: https://api.example.com, \
             http://127.0.0.1:8080. `hosts` in the connector's manifest and the tenant's settings \
             that it names decide this"
        );
    }

    #[test]
    fn the_gateways_headers_are_refused_in_any_case() {
        for name in [
            "Authorization",
            "HOST",
            "connection",
            "TE",
            "Transfer-Encoding",
            "Content-Length",
            "Proxy-Authorization",
            "proxy-connection",
            "Upgrade",
            "Cookie",
            "Expect",
            "Accept-Encoding",
            "",
            "a b",
            "a:b",
            "a\r\nb",
            "\u{e4}",
        ] {
            let given = [(name.to_owned(), "x".to_owned())];
            let refused = headers(&given, &EgressLimits::default());
            assert!(matches!(refused, Err(EgressError::Denied(_))), "{name}");
        }
        for value in ["a\r\nx: y", "a\nb", "a\0b", "\u{7f}", "\u{e9}"] {
            let given = [("x-note".to_owned(), value.to_owned())];
            let refused = headers(&given, &EgressLimits::default());
            assert!(matches!(refused, Err(EgressError::Denied(_))), "{value:?}");
        }
    }

    #[test]
    fn methods_are_six() {
        for name in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(method(name).is_ok());
        }
        for name in ["", "get", "CONNECT", "TRACE", "OPTIONS", "GET ", "G\r\nT"] {
            assert!(method(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn origins_without_web_schemes_or_with_passwords_cannot_be_granted() {
        for url in [
            "ftp://x.example",
            "file:///x",
            "https://u:hunter22@x.example",
        ] {
            let error = Origins::new(&[url.parse().expect("a URL")])
                .err()
                .expect(url);
            assert!(!error.contains("hunter22"));
        }
    }
}
