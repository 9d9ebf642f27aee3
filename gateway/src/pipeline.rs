//! The corridor: one SCIM request from admission to answer.
//!
//! ```text
//! http -> admit -> parse -> load -> plan -> intent -> dispatch -> connector -> egress -> vendor
//!                                                                   and back: commit -> render
//! ```
//!
//! [`Pipeline::run`] tells the story; each stage lives in its own module. There is no HTTP here: the
//! request comes as parts, the answer leaves as parts.

mod answer;
mod bulk;
mod convoy;
mod cursor;
mod forms;
mod list;
mod members;
mod read;
mod route;
mod write;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::{Admission, AdmitError, Gatekeeper};
use crate::dispatch::{Dispatcher, Turn};
use crate::scim::{
    self, Accepted, ListQuery, Projection, Reading, ResourceType, ScimError, ScimLimits,
};
use crate::store::Kind;

pub use answer::Response;
use answer::{Failure, unavailable};
use convoy::Convoys;
use forms::FormBook;

/// How long a request waits for its turn on a resource before it is told to come again. Entra's
/// patience is not documented, Okta's is 60 s; a connector call takes 30 s at most.
const TURN_PATIENCE: Duration = Duration::from_secs(20);

/// The parts of a SCIM request in front of its body.
#[derive(Clone)]
pub struct Request {
    /// Name of the request, for logs; sent back as `X-Request-Id`.
    pub id: String,
    /// The tenant segment of the URL, as it came.
    pub tenant: String,
    /// The HTTP method.
    pub method: Method,
    /// What follows `/scim/v2/`, split at `/`, decoded.
    pub path: Vec<String>,
    /// The raw query string.
    pub query: String,
    /// The bearer token, if one well-formed `Authorization` header came.
    pub token: Option<String>,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
}

/// The HTTP methods that SCIM gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Create, search, or several at once.
    Post,
    /// Replace.
    Put,
    /// Change.
    Patch,
    /// Delete.
    Delete,
    /// Anything else.
    Other,
}

/// What sort of body a request has, which decides how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// One user, or a search.
    Plain,
    /// A group with its members, or several operations.
    Large,
}

/// Serves SCIM requests for all tenants.
pub struct Pipeline {
    gatekeeper: Arc<Gatekeeper>,
    dispatcher: Arc<Dispatcher>,
    limits: ScimLimits,
    bulk_bytes_max: usize,
    convoys: Convoys,
    forms: FormBook,
}

/// A request that was admitted, and how it is read.
struct Admitted<'a> {
    admission: &'a Admission,
    request: &'a Request,
    reading: &'a Reading<'a>,
}

/// What a request asks for, once its path and method are understood.
enum Task {
    Discover(Value),
    List(Vec<Kind>, Box<ListQuery>),
    Search(Vec<Kind>),
    Read(Kind, Uuid, Projection),
    Write(Aim, Projection),
    Bulk,
}

/// What a write aims at.
#[derive(Clone, Copy)]
struct Aim {
    kind: Kind,
    verb: Verb,
}

/// What a write does.
#[derive(Clone, Copy)]
enum Verb {
    Create,
    Patch(Uuid),
    Replace(Uuid),
    Delete(Uuid),
}

/// The body of a write, parsed as far as it can be without the resource.
enum Wanted {
    Resource(Accepted),
    Patch(Value),
    Nothing,
}

impl Pipeline {
    /// A pipeline that admits by `gatekeeper` and changes through `dispatcher`. `bulk_bytes_max` is
    /// what the listener takes as a bulk request's body; it is published.
    pub fn new(
        gatekeeper: Arc<Gatekeeper>,
        dispatcher: Arc<Dispatcher>,
        limits: ScimLimits,
        bulk_bytes_max: usize,
    ) -> Self {
        Self {
            gatekeeper,
            dispatcher,
            limits,
            bulk_bytes_max,
            convoys: Convoys::default(),
            forms: FormBook::default(),
        }
    }

    /// Serves one request. The body is read only once the request is admitted and known to need one.
    pub async fn run(
        &self,
        request: Request,
        body: impl AsyncFnOnce(BodyKind) -> Result<Vec<u8>, ScimError>,
    ) -> Response {
        let served = async {
            let admission = self.admit(&request).await?;
            let reading = Reading::new(admission.tenant().dialect, &self.limits);
            let admitted = Admitted {
                admission: &admission,
                request: &request,
                reading: &reading,
            };
            let served = self.serve(&admitted, body).await;
            self.forms.note(&admission, reading.forms());
            served
        };
        served
            .await
            .unwrap_or_else(|failure: Failure| failure.into())
    }

    async fn serve(
        &self,
        admitted: &Admitted<'_>,
        body: impl AsyncFnOnce(BodyKind) -> Result<Vec<u8>, ScimError>,
    ) -> Result<Response, Failure> {
        match self.route(admitted)? {
            Task::Discover(document) => Ok(Response::new(200, Some(document))),
            Task::List(kinds, query) => self.list(admitted, &kinds, &query).await,
            Task::Search(kinds) => {
                let document = scim::parse_body(&body(BodyKind::Plain).await?, &self.limits)?;
                let query = self.search_query(admitted, &kinds, document)?;
                self.list(admitted, &kinds, &query).await
            }
            Task::Read(kind, id, shown) => self.read(admitted, kind, id, &shown).await,
            Task::Write(aim, shown) => {
                let document = match aim.verb {
                    Verb::Delete(_) => Value::Null,
                    _ => {
                        let body = body(body_kind(aim.kind)).await?;
                        scim::parse_body(&body, &self.limits)?
                    }
                };
                self.write(admitted, aim, document, &shown).await
            }
            Task::Bulk => {
                let document = scim::parse_body(&body(BodyKind::Large).await?, &self.limits)?;
                self.bulk(admitted, document).await
            }
        }
    }

    async fn admit(&self, request: &Request) -> Result<Admission, Failure> {
        self.gatekeeper
            .admit(&request.tenant, request.token.as_deref(), Timestamp::now())
            .await
            .map_err(|error| match error {
                AdmitError::Denied => ScimError::status(401).into(),
                AdmitError::Store(error) => unavailable(&error),
            })
    }

    async fn turn(&self, admission: &Admission, id: Uuid) -> Result<Turn, Failure> {
        self.dispatcher
            .turn(admission, id, TURN_PATIENCE)
            .await
            .ok_or_else(answer::too_busy)
    }
}

impl Admitted<'_> {
    /// The resource type of a kind; 501 where the app has none.
    fn resource_type(&self, kind: Kind) -> Result<&ResourceType, Failure> {
        let kind = crate::dispatch::resource_kind(kind);
        self.admission
            .profile()
            .resource_type(kind)
            .ok_or_else(answer::no_groups)
    }
}

fn body_kind(kind: Kind) -> BodyKind {
    match kind {
        Kind::User => BodyKind::Plain,
        Kind::Group => BodyKind::Large,
    }
}
