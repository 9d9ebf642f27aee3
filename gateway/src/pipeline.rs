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
mod read;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::auth::{Admission, AdmitError, Gatekeeper};
use crate::dispatch::{Change, Concluded, Dispatcher, Leftover, Turn, resource_of};
use crate::scim::{self, Filter, Profile, Projection, Resource, ScimError, ScimLimits};
use crate::store::{
    CommitError, Conflict, Intent, Kind, Operation, Precondition, Stored, UniqueKey, Write,
};

pub use answer::Response;
use answer::{
    Failure, duplicate, gone, is_local, not_allowed, store_failure, unavailable, unique_keys,
    vendor_failure,
};

/// How long a request waits for its turn on a resource before it is told to come again. Entra's
/// patience is not documented, Okta's is 60 s; a connector call takes 30 s at most.
const TURN_PATIENCE: Duration = Duration::from_secs(20);

/// The parts of a SCIM request in front of its body.
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
    /// Create.
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

/// Serves SCIM requests for all tenants.
pub struct Pipeline {
    gatekeeper: Arc<Gatekeeper>,
    dispatcher: Arc<Dispatcher>,
    limits: ScimLimits,
}

/// What a request asks for, once its path and method are understood.
enum Task {
    Discover(Value),
    List(Query),
    Read(Uuid, Projection),
    Write(Aim, Projection),
}

/// What a write aims at.
#[derive(Clone, Copy)]
enum Aim {
    Create,
    Patch(Uuid),
    Replace(Uuid),
    Delete(Uuid),
}

/// The body of a write, parsed as far as it can be without the resource.
enum Wanted {
    Resource(Resource),
    Patch(Value),
    Nothing,
}

/// The resource that a write works on, and the right to change it.
struct Work {
    id: Uuid,
    _turn: Turn,
    before: Option<Stored>,
    /// An attempt to create this resource that an earlier request left open.
    resume: Option<Intent>,
}

/// The query parameters that have a meaning. Others are ignored on every verb, as Entra's flag
/// `?aadOptscim062020` needs, which comes without a value.
struct Query {
    filter: Option<Filter>,
    start_index: usize,
    count: usize,
    shown: Projection,
}

impl Pipeline {
    /// A pipeline that admits by `gatekeeper` and changes through `dispatcher`.
    pub fn new(
        gatekeeper: Arc<Gatekeeper>,
        dispatcher: Arc<Dispatcher>,
        limits: ScimLimits,
    ) -> Self {
        Self {
            gatekeeper,
            dispatcher,
            limits,
        }
    }

    /// Serves one request. The body is read only once the request is admitted and known to need one.
    pub async fn run(
        &self,
        request: Request,
        body: impl AsyncFnOnce() -> Result<Vec<u8>, ScimError>,
    ) -> Response {
        let served = async {
            let admission = self.admit(&request).await?;
            match self.route(&admission, &request)? {
                Task::Discover(document) => Ok(Response::new(200, Some(document))),
                Task::List(query) => self.list(&admission, &query).await,
                Task::Read(id, shown) => self.read(&admission, &request, id, &shown).await,
                Task::Write(aim, shown) => {
                    let wanted = self.parse(&admission, aim, body).await?;
                    self.write(&admission, &request, aim, wanted, &shown).await
                }
            }
        };
        served
            .await
            .unwrap_or_else(|failure: Failure| failure.into())
    }

    /// The story of a write: load under the resource's turn, plan, make the intent durable, have the
    /// vendor told, commit the outcome, render.
    async fn write(
        &self,
        admission: &Admission,
        request: &Request,
        aim: Aim,
        wanted: Wanted,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let started = Instant::now();
        let mut work = self.load(admission, request, aim).await?;
        let change = loop {
            let change = self.plan(admission, request, aim, &wanted, &work)?;
            if is_local(&change) {
                return self.commit_locally(admission, change, shown).await;
            }
            let opened = self
                .dispatcher
                .open(admission, &change, work.resume.as_ref());
            match opened.await {
                Ok(()) => break change,
                Err(CommitError::Conflict(Conflict::UniqueTaken { key, holder }))
                    if matches!(aim, Aim::Create) && holder != work.id =>
                {
                    // The holder may be an earlier attempt at this very create, whose outcome
                    // nobody knows: then this request takes it over.
                    drop(work);
                    work = self.take_over(admission, &key, holder).await?;
                }
                Err(error) => return Err(store_failure(&error)),
            }
        };
        let verdict = self.dispatcher.carry_out(admission, &change).await;
        let concluded = self
            .dispatcher
            .conclude(admission, &change, verdict, started)
            .await
            .map_err(|error| store_failure(&error))?;
        match concluded {
            Concluded::Stored(stored) if change.before.is_none() => {
                Ok(self.created(admission, &stored, shown))
            }
            Concluded::Stored(stored) => Ok(self.document(admission, 200, &stored, shown)),
            Concluded::Deleted => Ok(Response::new(204, None)),
            Concluded::Failed(error) => Err(vendor_failure(admission, &error)),
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

    /// Understands path, method and query.
    fn route(&self, admission: &Admission, request: &Request) -> Result<Task, Failure> {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let url = &admission.tenant().scim_url;
        if let Some(document) = discovery(admission.profile(), &self.limits, url, &path) {
            return match request.method {
                // RFC 7644 section 4: a filter on these endpoints is 403.
                Method::Get if names_filter(&request.query) => {
                    Err(ScimError::status_with(403, "discovery documents take no filter").into())
                }
                Method::Get => Ok(Task::Discover(document)),
                _ => Err(not_allowed("GET")),
            };
        }
        let read = || self.query(admission, request);
        let shown = || self.projection(request);
        match (path.as_slice(), request.method) {
            (["Users"], Method::Get) => Ok(Task::List(read()?)),
            (["Users"], Method::Post) => Ok(Task::Write(Aim::Create, shown()?)),
            (["Users"], _) => Err(not_allowed("GET, POST")),
            (["Users", id], method) => {
                let id = resource_id(id).ok_or_else(|| gone(request))?;
                match method {
                    Method::Get => Ok(Task::Read(id, shown()?)),
                    Method::Put => Ok(Task::Write(Aim::Replace(id), shown()?)),
                    Method::Patch => Ok(Task::Write(Aim::Patch(id), shown()?)),
                    Method::Delete => Ok(Task::Write(Aim::Delete(id), shown()?)),
                    Method::Post | Method::Other => Err(not_allowed("GET, PUT, PATCH, DELETE")),
                }
            }
            // A lookup of a group that cannot exist yet is an empty list: Entra asks during Test
            // Connection, and a 404 there puts the job into quarantine.
            (["Groups"], Method::Get) => Ok(Task::Discover(scim::list_response(0, 1, Vec::new()))),
            (["Groups"], Method::Post) => {
                let detail = "this app provisions users only; take groups out of the scope";
                Err(ScimError::status_with(501, detail).into())
            }
            (["Me"], _) => Err(ScimError::status_with(501, "/Me is not implemented").into()),
            _ => Err(gone(request)),
        }
    }

    fn query(&self, admission: &Admission, request: &Request) -> Result<Query, Failure> {
        let mut query = Query {
            filter: None,
            start_index: 1,
            count: self.limits.page_size_default,
            shown: self.projection(request)?,
        };
        for (name, value) in url::form_urlencoded::parse(request.query.as_bytes()) {
            match name.as_ref() {
                "filter" => {
                    let filter = scim::parse_filter(&value, &self.limits)?;
                    filter.check(admission.profile().user())?;
                    query.filter = Some(filter);
                }
                // RFC 7644 section 3.4.2.4: below 1 means 1, a negative count means 0.
                "startIndex" => query.start_index = whole(&name, &value)?.max(1),
                "count" => query.count = whole(&name, &value)?.min(self.limits.page_size_max),
                _ => {}
            }
        }
        Ok(query)
    }

    /// What of a resource the client wants to see (RFC 7644 section 3.9).
    fn projection(&self, request: &Request) -> Result<Projection, Failure> {
        let (mut attributes, mut excluded) = (None, None);
        for (name, value) in url::form_urlencoded::parse(request.query.as_bytes()) {
            match name.as_ref() {
                "attributes" => attributes = Some(value),
                "excludedAttributes" => excluded = Some(value),
                _ => {}
            }
        }
        let (attributes, excluded) = (attributes.as_deref(), excluded.as_deref());
        Ok(Projection::parse(attributes, excluded, &self.limits)?)
    }

    async fn parse(
        &self,
        admission: &Admission,
        aim: Aim,
        body: impl AsyncFnOnce() -> Result<Vec<u8>, ScimError>,
    ) -> Result<Wanted, Failure> {
        if let Aim::Delete(_) = aim {
            return Ok(Wanted::Nothing);
        }
        let document = scim::parse_body(&body().await?, &self.limits)?;
        match aim {
            Aim::Patch(_) => Ok(Wanted::Patch(document)),
            _ => {
                let users = admission.profile().user();
                Ok(Wanted::Resource(users.accept(document, &self.limits)?))
            }
        }
    }

    /// Takes the turn on the resource, settles what an earlier attempt left open, and loads it.
    async fn load(
        &self,
        admission: &Admission,
        request: &Request,
        aim: Aim,
    ) -> Result<Work, Failure> {
        let id = match aim {
            Aim::Create => return self.fresh(admission).await,
            Aim::Patch(id) | Aim::Replace(id) | Aim::Delete(id) => id,
        };
        let turn = self.turn(admission, id).await?;
        let store = admission.store();
        if let Some(intent) = store.intent(id).await.map_err(|e| unavailable(&e))? {
            self.dispatcher
                .settle_leftover(admission, intent)
                .await
                .map_err(|error| match error {
                    Leftover::Vendor(error) => vendor_failure(admission, &error),
                    Leftover::Store(error) => store_failure(&error),
                    Leftover::Read(error) => unavailable(&error),
                })?;
        }
        let before = store
            .resource(Kind::User, id)
            .await
            .map_err(|e| unavailable(&e))?
            .ok_or_else(|| gone(request))?;
        check_if_match(request, before.version)?;
        let known = request.if_none_match.as_deref();
        if known.is_some_and(|tags| !scim::if_none_match_holds(tags, Some(before.version))) {
            let detail = "the resource is at a version that If-None-Match names";
            return Err(ScimError::status_with(412, detail).into());
        }
        Ok(Work {
            id,
            _turn: turn,
            before: Some(before),
            resume: None,
        })
    }

    async fn fresh(&self, admission: &Admission) -> Result<Work, Failure> {
        let id = Uuid::new_v4();
        Ok(Work {
            id,
            _turn: self.turn(admission, id).await?,
            before: None,
            resume: None,
        })
    }

    /// A create met a value that `holder` has. If `holder` is a resource, that is a duplicate. If
    /// it is an earlier create whose outcome is unknown, this request goes on in its place.
    async fn take_over(
        &self,
        admission: &Admission,
        key: &UniqueKey,
        holder: Uuid,
    ) -> Result<Work, Failure> {
        let turn = self.turn(admission, holder).await?;
        let store = admission.store();
        let held = store.resource(key.kind, holder).await;
        if held.map_err(|e| unavailable(&e))?.is_some() {
            return Err(duplicate(key));
        }
        match store.intent(holder).await.map_err(|e| unavailable(&e))? {
            Some(open) if open.operation == Operation::Create => Ok(Work {
                id: holder,
                _turn: turn,
                before: None,
                resume: Some(open),
            }),
            Some(_) => Err(duplicate(key)),
            None => self.fresh(admission).await,
        }
    }

    async fn turn(&self, admission: &Admission, id: Uuid) -> Result<Turn, Failure> {
        self.dispatcher
            .turn(admission, id, TURN_PATIENCE)
            .await
            .ok_or_else(|| {
                ScimError::status_with(503, "another change of this resource takes long; try again")
                    .into()
            })
    }

    /// What the resource shall be, and what of that the vendor has to hear.
    fn plan(
        &self,
        admission: &Admission,
        request: &Request,
        aim: Aim,
        wanted: &Wanted,
        work: &Work,
    ) -> Result<Change, Failure> {
        let users = admission.profile().user();
        let current = work.before.as_ref().map(resource_of);
        let desired = match (wanted, &current) {
            (Wanted::Resource(resource), _) => Some(resource.clone()),
            (Wanted::Patch(patch), Some(current)) => {
                let id = work.id.to_string();
                Some(scim::patch::apply(
                    users,
                    current,
                    patch.clone(),
                    &id,
                    &self.limits,
                )?)
            }
            (Wanted::Patch(_), None) | (Wanted::Nothing, _) => None,
        };
        let desired = match (desired, &current) {
            (Some(desired), Some(current)) => Some(desired.keeping_active(current)),
            (desired, _) => desired,
        };
        let claims = desired.as_ref().map(unique_keys).unwrap_or_default();
        let operation = match aim {
            Aim::Create => Operation::Create,
            Aim::Patch(_) | Aim::Replace(_) => Operation::Update,
            Aim::Delete(_) => Operation::Delete,
        };
        let intent = Intent {
            id: Uuid::now_v7(),
            tenant: admission.tenant().name.to_string(),
            resource: work.id,
            kind: Kind::User,
            operation,
            desired: desired.clone().map(Resource::into_document),
            uid: work.before.as_ref().and_then(|before| before.uid.clone()),
            base_version: work.before.as_ref().map(|before| before.version),
            claims,
            attempt: work.resume.as_ref().map_or(1, |open| open.attempt + 1),
            opened: Timestamp::now(),
        };
        let before = work.before.clone();
        Ok(Change::new(
            admission,
            intent,
            before,
            desired,
            request.id.clone(),
        ))
    }

    /// A change that the vendor need not hear of: stored in one commit, or not at all when nothing
    /// differs.
    async fn commit_locally(
        &self,
        admission: &Admission,
        change: Change,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let (Some(before), Some(desired)) = (change.before, change.desired) else {
            return Err(ScimError::status_with(500, "a local change without a resource").into());
        };
        let document = desired.into_document();
        if document == before.document {
            return Ok(self.document(admission, 200, &before, shown));
        }
        let stored = Stored {
            version: before.version + 1,
            modified: Timestamp::now(),
            unique: change.intent.claims,
            document,
            ..before
        };
        let unchanged = Precondition::Version {
            kind: stored.kind,
            id: stored.id,
            version: stored.version - 1,
        };
        let writes = vec![Write::PutResource(stored.clone())];
        admission
            .store()
            .commit(vec![unchanged], writes)
            .await
            .map_err(|error| store_failure(&error))?;
        Ok(self.document(admission, 200, &stored, shown))
    }
}

/// RFC 7644 section 3.14: a version that `If-Match` does not name is 412.
fn check_if_match(request: &Request, version: u64) -> Result<(), ScimError> {
    let expected = request.if_match.as_deref();
    match expected.is_none_or(|tags| scim::if_match_holds(tags, Some(version))) {
        true => Ok(()),
        false => Err(ScimError::status_with(
            412,
            "the resource has changed since it was read (If-Match)",
        )),
    }
}

/// The discovery document at this path, if it is one (RFC 7644 section 4).
fn discovery(profile: &Profile, limits: &ScimLimits, url: &str, path: &[&str]) -> Option<Value> {
    match path {
        ["ServiceProviderConfig"] => Some(scim::service_provider_config(limits, url)),
        ["Schemas"] => Some(scim::schemas(profile, url)),
        ["Schemas", id] => scim::schema(profile, url, id),
        ["ResourceTypes"] => Some(scim::resource_types(profile, url)),
        ["ResourceTypes", name] => scim::resource_type(profile, url, name),
        _ => None,
    }
}

fn names_filter(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "filter")
}

/// A number of the query, cut to what can be counted; negative counts as 0.
fn whole(name: &str, value: &str) -> Result<usize, ScimError> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        let detail = format!("{name}: \"{value}\" is not a whole number");
        return Err(ScimError::invalid_value(detail));
    }
    match value.starts_with('-') {
        true => Ok(0),
        false => Ok(digits.parse().unwrap_or(usize::MAX)),
    }
}

/// An id as the gateway wrote it. Other spellings of the same number are other ids: `id` is
/// caseExact (RFC 7643 section 3.1).
fn resource_id(text: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(text).ok()?;
    (id.to_string() == text).then_some(id)
}
