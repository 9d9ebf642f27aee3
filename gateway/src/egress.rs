//! The only way out: every request that a connector sends to its vendor passes here.
//!
//! Invariant: nothing leaves unless its origin is granted and every address it resolves to is
//! allowed, and the connection goes to the very addresses that were checked. The credential is
//! attached after those checks and its bytes are taken out of whatever comes back. Absent on
//! purpose: redirects, the system's proxy, cookies, referers, compression, retries, and any way
//! for a guest to see or to set a credential.

mod address;
mod client;
mod redact;
mod request;

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use client::{Answer, Clients};
use redact::Redactor;
use request::Origins;

/// How a connector reaches its vendor. [`Egress`] is the real one; tests of connectors bring their
/// own, which answers from recorded exchanges.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Sends one request and returns the vendor's whole answer, whatever its status.
    async fn send(&self, request: Request) -> Result<Response, EgressError>;
}

/// One request of a connector, not yet checked. Its `Debug` shows sizes, not contents: bodies and
/// URLs hold personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, HEAD, POST, PUT, PATCH or DELETE.
    pub method: String,
    /// Absolute URL.
    pub url: String,
    /// Names and values; those that belong to the gateway are refused.
    pub headers: Vec<(String, String)>,
    /// Body, if any.
    pub body: Option<String>,
    /// Time for the whole exchange, milliseconds; the limit `request_ms` if that is shorter.
    pub timeout_ms: Option<u32>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url_bytes", &self.url.len())
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.as_ref().map(String::len))
            .field("timeout_ms", &self.timeout_ms)
            .finish()
    }
}

/// The vendor's answer. Its `Debug` shows sizes, not contents.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status; a redirect (3xx) is data like any other answer.
    pub status: u16,
    /// Names in lower case; without cookies and without headers of the connection itself.
    pub headers: Vec<(String, String)>,
    /// The whole body, UTF-8.
    pub body: String,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Why there is no answer. The variants are those of `http-error` in the connector contract, less
/// the budget, which is the connector host's. `Denied`, `Dns`, `Connect` and `Tls` mean that the
/// vendor has seen no request; after `Timeout` and `Protocol` it may have acted. `TooLarge` is
/// the gateway's limit: of the request, which was not sent, or of the answer to a request that was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The gateway refuses the request.
    #[error("denied: {0}")]
    Denied(String),
    /// No whole answer in time.
    #[error("the vendor gave no whole answer in time")]
    Timeout,
    /// The request or the answer exceeds this many bytes.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// The host's name could not be resolved.
    #[error("name resolution: {0}")]
    Dns(String),
    /// No connection was made.
    #[error("no connection: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection broke, or the answer is not HTTP or not UTF-8.
    #[error("no valid answer: {0}")]
    Protocol(String),
}

/// Limits of every exchange with a vendor. The table `[gateway.limits.egress]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressLimits {
    /// Largest request body, bytes. Default 1 MiB.
    pub request_bytes_max: usize,
    /// Largest answer body, bytes. Default 8 MiB.
    pub response_bytes_max: usize,
    /// Longest URL, bytes. Default 8 KiB.
    pub url_bytes_max: usize,
    /// Most headers of a request, and of an answer. Default 100.
    pub headers_max: usize,
    /// All header names and values of a request together, and of an answer, bytes. Default 16 KiB.
    pub headers_bytes_max: usize,
    /// Time for resolving the name, connecting and the TLS handshake, milliseconds. Default 5000.
    pub connect_ms: u64,
    /// Time for one whole exchange, connecting included, milliseconds. Default 10 000.
    pub request_ms: u64,
    /// How long an unused connection is kept for the next request, milliseconds. Default 20 000:
    /// common load balancers close theirs after 60 s and a request must not meet that moment.
    pub idle_ms: u64,
    /// Most unused connections kept per tenant and origin. Default 32.
    pub idle_connections_max: usize,
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            request_bytes_max: 1024 * 1024,
            response_bytes_max: 8 * 1024 * 1024,
            url_bytes_max: 8 * 1024,
            headers_max: 100,
            headers_bytes_max: 16 * 1024,
            connect_ms: 5_000,
            request_ms: 10_000,
            idle_ms: 20_000,
            idle_connections_max: 32,
        }
    }
}

impl EgressLimits {
    /// The first limit that would let nothing through: its key and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let least = [
            ("request_bytes_max", self.request_bytes_max as u64),
            ("response_bytes_max", self.response_bytes_max as u64),
            ("url_bytes_max", self.url_bytes_max as u64),
            ("headers_max", self.headers_max as u64),
            ("headers_bytes_max", self.headers_bytes_max as u64),
            ("connect_ms", self.connect_ms),
            ("request_ms", self.request_ms),
        ];
        match least.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err((key, "0 would let no request through; at least 1".to_owned())),
            None => Ok(()),
        }
    }
}

/// What one tenant may reach, and as whom.
#[derive(Debug)]
pub struct EgressPolicy {
    /// Granted origins: scheme, host and port count, a path does not. Empty means none.
    pub origins: Vec<Url>,
    /// Networks that may be reached although they are not public, and over plain http.
    pub allow_private: Vec<IpNet>,
    /// Who the gateway is to the vendor; sent to granted origins only.
    pub credential: Option<Credential>,
}

/// How the gateway makes itself known to the vendor. `Debug` does not show the secret.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `Authorization: Bearer SECRET` (RFC 6750 section 2.1).
    Bearer(SecretString),
}

/// Why a policy cannot be put into force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// A secret shorter than this cannot be told from ordinary text in an answer, so it could not be
/// kept from the guest. No vendor issues such keys.
const SECRET_BYTES_MIN: usize = 8;

/// One tenant's way out. Cheap until it is first used: the connections' client is made then.
pub struct Egress {
    origins: Origins,
    authorization: Option<HeaderValue>,
    redactor: Redactor,
    clients: Clients,
    limits: EgressLimits,
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("origins", &self.origins.to_string())
            .field("credential", &self.authorization.is_some())
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// Puts a policy into force. Opens no connection.
    ///
    /// # Errors
    /// An origin that is not http or https or that holds a user name or a password; a secret that
    /// no header can carry or that is too short to be kept out of answers; a limit of 0.
    pub fn new(policy: EgressPolicy, limits: &EgressLimits) -> Result<Self, PolicyError> {
        limits.check().map_err(|(key, message)| {
            PolicyError(format!("gateway.limits.egress.{key}: {message}"))
        })?;
        let origins = Origins::new(&policy.origins).map_err(PolicyError)?;
        let (authorization, redactor) = match &policy.credential {
            None => (None, Redactor::default()),
            Some(Credential::Bearer(secret)) => {
                let secret = secret.expose_secret();
                (Some(bearer(secret)?), Redactor::new(secret))
            }
        };
        Ok(Self {
            origins,
            authorization,
            redactor,
            clients: Clients::new(policy.allow_private.into(), limits.clone()),
            limits: limits.clone(),
        })
    }

    /// The corridor of one exchange: check, attach the credential, send, clean.
    async fn exchange(&self, request: Request) -> Result<Response, EgressError> {
        let deadline = Instant::now() + self.time_for(&request);
        let mut checked = request::check(request, &self.origins, &self.limits)?;
        self.clients.check_literal(&checked.url)?;
        if let Some(value) = &self.authorization {
            checked.headers.insert(AUTHORIZATION, value.clone());
        }
        let answer = self.clients.send(checked, deadline).await?;
        self.clean(answer)
    }

    fn time_for(&self, request: &Request) -> Duration {
        let asked = request.timeout_ms.map_or(u64::MAX, u64::from);
        Duration::from_millis(asked.min(self.limits.request_ms))
    }

    /// Turns the raw answer into what a guest may see.
    fn clean(&self, answer: Answer) -> Result<Response, EgressError> {
        let body = String::from_utf8(answer.body).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            EgressError::Protocol(format!("the body is not UTF-8 (byte {at})"))
        })?;
        Ok(Response {
            status: answer.status,
            headers: self.clean_headers(&answer.headers)?,
            body: self.redactor.clean(body),
        })
    }

    fn clean_headers(&self, headers: &HeaderMap) -> Result<Vec<(String, String)>, EgressError> {
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes > self.limits.headers_bytes_max {
            return Err(EgressError::TooLarge(self.limits.headers_bytes_max as u64));
        }
        Ok(headers
            .iter()
            .filter(|(name, _)| request::passes_to_guest(name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), self.redactor.clean(value))
            })
            .collect())
    }
}

#[async_trait]
impl Outbound for Egress {
    async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let started = Instant::now();
        let method = request.method.clone();
        let result = self
            .exchange(request)
            .await
            .map_err(|error| self.redactor.clean_error(error));
        let duration_ms = started.elapsed().as_millis() as u64;
        // The URL is not logged: its path and query hold e-mail addresses.
        match &result {
            Ok(response) => {
                tracing::debug!(%method, status = response.status, duration_ms, "vendor answered");
            }
            Err(error @ EgressError::Denied(_)) => {
                tracing::warn!(%error, "a connector's request was refused");
            }
            Err(error) => tracing::info!(%method, %error, duration_ms, "no answer from the vendor"),
        }
        result
    }
}

fn bearer(secret: &str) -> Result<HeaderValue, PolicyError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(PolicyError(format!(
            "the secret has fewer than {SECRET_BYTES_MIN} bytes; check what its reference points to"
        )));
    }
    // RFC 6750's b64token has no blanks; a blank or a line break is a copying mistake.
    let visible = secret.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {secret}"))
        .ok()
        .filter(|_| visible);
    let Some(mut value) = value else {
        return Err(PolicyError(
            "the secret holds a blank, a line break or a character outside ASCII; \
             check what its reference points to"
                .to_owned(),
        ));
    };
    value.set_sensitive(true);
    Ok(value)
}
