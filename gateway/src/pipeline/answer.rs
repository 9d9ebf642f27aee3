//! The way back: resources and failures become answers.
//!
//! Invariant: trouble at the vendor or in the store is 429, 500, 501 or 503, never 400, 401 or 404:
//! Entra quarantines a whole provisioning job on those (facts: quarantine status page). What the
//! client reads is written for an administrator; the log keeps the rest.

use serde_json::Value;

use crate::auth::Admission;
use crate::connector::{CallError, ConnectorError, ErrorKind};
use crate::scim::ScimError;
use crate::store::{AttributeKey, CommitError, Conflict, Kind, StoreError};

use super::Request;

/// What `Retry-After` says when nothing better is known.
const RETRY_AFTER_S: u64 = 10;

/// The parts of the answer.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// `Location` of a created resource.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u64>,
    /// `Allow`, with 405.
    pub allow: Option<&'static str>,
    /// The SCIM document; none with 204 and 304.
    pub body: Option<Value>,
}

impl Response {
    pub(super) fn new(status: u16, body: Option<Value>) -> Self {
        Self {
            status,
            location: None,
            etag: None,
            retry_after_s: None,
            allow: None,
            body,
        }
    }
}

/// Why a request is not served, and what the client is told besides.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    error: ScimError,
    retry_after_s: Option<u64>,
    allow: Option<&'static str>,
}

impl From<ScimError> for Failure {
    fn from(error: ScimError) -> Self {
        let retry_after_s = matches!(error.status, 429 | 503).then_some(RETRY_AFTER_S);
        Self {
            error,
            retry_after_s,
            allow: None,
        }
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        let body = failure.error.body();
        Self {
            retry_after_s: failure.retry_after_s,
            allow: failure.allow,
            ..Self::new(failure.error.status, Some(body))
        }
    }
}

impl From<ScimError> for Response {
    fn from(error: ScimError) -> Self {
        Failure::from(error).into()
    }
}

impl Failure {
    /// Sending the request again, or sending parts of it alone, can make a difference: neither the
    /// vendor nor the store is what stands in the way.
    pub(super) fn is_about_the_change(&self) -> bool {
        !matches!(self.error.status, 429 | 503)
    }

    /// The same failure of a group's change of which earlier portions are done.
    pub(super) fn after_a_part(mut self, group: uuid::Uuid) -> Self {
        self.error.detail = format!(
            "a part of the members is done, the rest is not; go on with PATCH on Groups/{group}: {}",
            self.error.detail
        );
        self
    }

    /// The request itself is at fault: sending it again will not help.
    pub(super) fn is_refusal(&self) -> bool {
        (400..500).contains(&self.error.status) && self.error.status != 429
            || self.error.status == 501
    }
}

/// 404 for a resource that does not exist.
pub(super) fn no_such(kind: Kind, id: &str) -> Failure {
    let detail = match kind {
        Kind::User => format!("no user of this tenant has the id {id}"),
        Kind::Group => format!("no group of this tenant has the id {id}"),
    };
    ScimError::status_with(404, detail).into()
}

/// 404 for a path that leads nowhere.
pub(super) fn gone(request: &Request) -> Failure {
    match request.path.as_slice() {
        [kind, id] if kind == "Users" => no_such(Kind::User, id),
        [kind, id] if kind == "Groups" => no_such(Kind::Group, id),
        path => {
            let detail = format!("there is nothing at {}", path.join("/"));
            ScimError::status_with(404, detail).into()
        }
    }
}

/// 501: the app has no groups.
pub(super) fn no_groups() -> Failure {
    let detail = "this app provisions users only; take groups out of the scope";
    ScimError::status_with(501, detail).into()
}

/// 503: a change of the same resource takes too long.
pub(super) fn too_busy() -> Failure {
    let detail = "another change of this resource takes long; try again";
    ScimError::status_with(503, detail).into()
}

/// 405 with the methods that the path knows.
pub(super) fn not_allowed(allow: &'static str) -> Failure {
    Failure {
        allow: Some(allow),
        ..ScimError::status_with(405, format!("this path takes {allow}")).into()
    }
}

/// 409: another resource of the tenant has the value (RFC 7644 section 3.12, `uniqueness`).
pub(super) fn duplicate(key: &AttributeKey) -> Failure {
    let attribute = &key.attribute;
    let holder = match key.kind {
        Kind::User => "user",
        Kind::Group => "group",
    };
    ScimError::uniqueness(format!(
        "another {holder} of this tenant has this {attribute} already"
    ))
    .into()
}

/// The store could not be read.
pub(super) fn unavailable(error: &StoreError) -> Failure {
    tracing::error!(%error, "the store cannot be read");
    ScimError::status_with(503, "the gateway's store is not available; try again").into()
}

/// The store refused a commit.
pub(super) fn store_failure(error: &CommitError) -> Failure {
    match error {
        CommitError::Conflict(Conflict::UniqueTaken { key, .. }) => duplicate(key),
        CommitError::Conflict(conflict) => {
            tracing::info!(%conflict, "a concurrent change came first");
            ScimError::status_with(503, "the resource was changed at the same time; try again")
                .into()
        }
        CommitError::Unavailable {
            message,
            retry_after_ms,
            ..
        } => {
            tracing::error!(reason = %message, "the store cannot be written");
            let busy =
                ScimError::status_with(503, "the gateway's store is not available; try again");
            Failure {
                retry_after_s: Some(retry_after_ms.div_ceil(1000).max(1)),
                ..busy.into()
            }
        }
        CommitError::Invalid(reason) => ScimError::status_with(413, reason).into(),
    }
}

/// The vendor, or the connector that speaks to it, did not carry the change out.
pub(super) fn vendor_failure(admission: &Admission, error: &CallError) -> Failure {
    let app = admission.tenant().app();
    tracing::warn!(tenant.id = %admission.tenant().name, connector.id = app, %error, "not carried out");
    match error {
        CallError::Refused(refusal) => refused(app, refusal),
        CallError::DeadlineExceeded => {
            ScimError::status_with(503, format!("{app} did not answer in time; try again")).into()
        }
        CallError::Busy => ScimError::status_with(503, "the gateway is busy; try again").into(),
        CallError::Trapped(_)
        | CallError::CpuExhausted
        | CallError::MemoryExhausted
        | CallError::Contract(_) => ScimError::status_with(
            500,
            format!(
                "the connector for {app} failed; the gateway's operator finds the reason in its log"
            ),
        )
        .into(),
    }
}

/// An earlier change of the same resource is still open, and the vendor did not let it be settled. That
/// is no fault of this request: whatever the reason, it is told to come again.
pub(super) fn leftover_failure(admission: &Admission, error: &CallError) -> Failure {
    let failure = vendor_failure(admission, error);
    match failure.error.status {
        429 | 503 => failure,
        _ => ScimError::status_with(
            503,
            "an earlier change of this resource is not settled at the vendor yet; try again",
        )
        .into(),
    }
}

fn refused(app: &str, refusal: &ConnectorError) -> Failure {
    let said = &refusal.message;
    let retry_after_s = refusal
        .retry_after_ms
        .map_or(RETRY_AFTER_S, |ms| u64::from(ms).div_ceil(1000).max(1));
    let retry = |error: ScimError| Failure {
        retry_after_s: Some(retry_after_s),
        ..error.into()
    };
    match refusal.kind {
        ErrorKind::Invalid => match &refusal.path {
            Some(path) => ScimError::invalid_value(format!("{path}: {app} refuses it: {said}")),
            None => ScimError::invalid_value(format!("{app} refuses it: {said}")),
        }
        .into(),
        ErrorKind::AlreadyExists => ScimError::uniqueness(format!("{app}: {said}")).into(),
        ErrorKind::Conflict => ScimError::status_with(409, format!("{app}: {said}")).into(),
        ErrorKind::Unsupported => ScimError::status_with(501, format!("{app}: {said}")).into(),
        ErrorKind::RateLimited => retry(ScimError::status_with(429, format!("{app}: {said}"))),
        ErrorKind::Unauthorized | ErrorKind::Forbidden => retry(ScimError::status_with(
            503,
            format!(
                "{app} does not accept the gateway's credential, its operator has to renew it: {said}"
            ),
        )),
        ErrorKind::Unavailable | ErrorKind::NotFound => {
            retry(ScimError::status_with(503, format!("{app}: {said}")))
        }
        ErrorKind::Internal => ScimError::status_with(500, format!("{app}: {said}")).into(),
    }
}
