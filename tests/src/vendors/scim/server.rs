//! The HTTP face of the simulated SCIM service: bearer token, media types, endpoints, queries,
//! preconditions, the rate limit, and the faults.
//!
//! Invariant: every request is logged once, after it took effect and before it is answered, so who
//! reads the log never waits for an answer.
//! Absent: rules about attributes (the schema has them) and resources (the service has them).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH, LOCATION,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::super::listener::{self, Broken, Window};
use super::super::trouble::When;
use super::grammar::Filter;
use super::projection::Projection;
use super::schema::{Kind, Refusal, Schema};
use super::service::{Rules, etag, gone};
use super::{Fault, LoggedRequest, PAGE_MAX, State, Switches};

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const MEDIA_TYPE: &str = "application/scim+json";

struct Served {
    state: Arc<State>,
    recent: Window,
}

/// Serves `socket` on a thread of its own until the handle stops it.
pub(super) fn spawn(
    socket: TcpListener,
    state: Arc<State>,
) -> io::Result<(ServerHandle, JoinHandle<()>)> {
    let recent = Window::default();
    let served = web::Data::new(Served { state, recent });
    listener::spawn("scim", socket, move |app| {
        app.app_data(web::Data::clone(&served))
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .default_service(web::to(answer));
    })
}

async fn answer(request: HttpRequest, body: web::Bytes, served: web::Data<Served>) -> HttpResponse {
    let call = Call::read(&request, &body);
    let latency_ms = {
        let switches = served.state.switches();
        if switches.instant {
            0
        } else {
            switches.latency_ms
        }
    };
    let fault = served.state.faults().take(&call.operation);
    let late_ms = match fault {
        Some((Fault::Slow(late_ms), _)) => latency_ms + late_ms,
        _ => latency_ms,
    };
    if late_ms > 0 {
        actix_web::rt::time::sleep(Duration::from_millis(late_ms)).await;
    }
    // None: the client gets no whole answer.
    let answer = match &fault {
        None | Some((Fault::Slow(_), _)) => Some(act(&request, &call, &served)),
        Some((fault, when)) => {
            if *when == When::After {
                drop(act(&request, &call, &served));
            }
            fail(fault, &served.state.switches())
        }
    };
    served.state.record(LoggedRequest {
        sequence: 0,
        operation: call.operation,
        id: call.id,
        query: call.query,
        body: call.body.unwrap_or_default(),
        status: answer.as_ref().map(|answer| answer.status().as_u16()),
    });
    match (answer, fault) {
        (Some(answer), _) => answer,
        (None, Some((Fault::Hang, _))) => std::future::pending().await,
        (None, _) => HttpResponse::Ok().body(Broken),
    }
}

/// One request, as far as it can be read.
struct Call {
    operation: String,
    kind: Option<Kind>,
    id: Option<String>,
    query: String,
    /// None: there was no body, or it was no JSON.
    body: Option<Value>,
}

impl Call {
    fn read(request: &HttpRequest, body: &[u8]) -> Call {
        let path = request.path();
        let below = path.strip_prefix("/scim/v2/").unwrap_or(path);
        let (endpoint, id) = match below.split_once('/') {
            Some((endpoint, id)) => (endpoint, Some(id)),
            None => (below, None),
        };
        let kind = [Kind::User, Kind::Group]
            .into_iter()
            .find(|kind| kind.endpoint() == endpoint && below.len() < path.len());
        let shown = match (kind, id) {
            (Some(_), Some(_)) => format!("/{endpoint}/{{id}}"),
            (Some(_), None) => format!("/{endpoint}"),
            (None, _) => path.to_owned(),
        };
        let query: Vec<String> = pairs(request)
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Call {
            operation: format!("{} {shown}", request.method()),
            kind,
            id: id.map(str::to_owned),
            query: query.join("&"),
            body: serde_json::from_slice(body).ok(),
        }
    }
}

fn pairs(request: &HttpRequest) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
}

/// What the vendor does when nothing is wrong with it: limit, credential, then SCIM.
fn act(request: &HttpRequest, call: &Call, served: &Served) -> HttpResponse {
    let switches = served.state.switches();
    let limit = switches
        .requests_per_second_max
        .filter(|_| !switches.instant);
    if limit.is_some_and(|limit| !served.recent.has_room(limit)) {
        return too_many(&switches);
    }
    let credential = header(request, &AUTHORIZATION).and_then(|it| it.strip_prefix("Bearer "));
    if credential != Some(switches.token.as_str()) {
        let mut answer = refuse(&Refusal::status(401, "the bearer token is not valid"));
        let challenge = actix_web::http::header::HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return answer;
    }
    if let Some(kind) = call.kind {
        let endpoint = Endpoint {
            kind,
            request,
            call,
            switches: &switches,
            state: &served.state,
        };
        return endpoint.answer().unwrap_or_else(|refusal| refuse(&refusal));
    }
    match (request.method(), request.path()) {
        (&Method::GET, "/scim/v2/ServiceProviderConfig") => {
            scim(StatusCode::OK, &abilities(&switches))
        }
        (_, path) => refuse(&Refusal::status(404, format!("there is no {path}"))),
    }
}

/// A request to `/Users` or `/Groups`.
struct Endpoint<'a> {
    kind: Kind,
    request: &'a HttpRequest,
    call: &'a Call,
    switches: &'a Switches,
    state: &'a State,
}

impl Endpoint<'_> {
    fn answer(&self) -> Result<HttpResponse, Refusal> {
        match (self.request.method().as_str(), self.call.id.as_deref()) {
            ("GET", None) => self.list(),
            ("POST", None) => self.create(),
            ("GET", Some(id)) => self.read(id),
            ("PUT", Some(id)) => self.replace(id),
            ("PATCH", Some(id)) => self.patch(id),
            ("DELETE", Some(id)) => self.delete(id),
            (method, id) => {
                let mut answer = refuse(&Refusal::status(405, format!("no {method} here")));
                let allowed = match id {
                    None => "GET, POST",
                    Some(_) => "GET, PUT, PATCH, DELETE",
                };
                let allowed = actix_web::http::header::HeaderValue::from_static(allowed);
                answer.headers_mut().insert(ALLOW, allowed);
                Ok(answer)
            }
        }
    }

    fn list(&self) -> Result<HttpResponse, Refusal> {
        let filter = self
            .query("filter")
            .map(|it| Filter::read(&it))
            .transpose()?;
        // RFC 7644 section 3.4.2.4: less than 1 means 1, a negative count means 0.
        let start = usize::try_from(self.number("startIndex")?.unwrap_or(1))
            .unwrap_or(1)
            .max(1);
        let count = match self.number("count")? {
            Some(count) => usize::try_from(count).unwrap_or(0).min(PAGE_MAX),
            None => PAGE_MAX,
        };
        let projection = self.projection()?;
        let service = self.state.service();
        let ids = service.find(self.kind, filter.as_ref())?;
        let page: Vec<Value> = ids
            .iter()
            .skip(start - 1)
            .take(count)
            .filter_map(|id| {
                let relations = projection.shows_relations(self.kind);
                let shown = service.render(self.kind, id, &self.state.base_url, relations)?;
                Some(projection.of(shown))
            })
            .collect();
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": ids.len(),
            "startIndex": start,
            "itemsPerPage": page.len(),
            "Resources": page,
        });
        Ok(scim(StatusCode::OK, &body))
    }

    fn create(&self) -> Result<HttpResponse, Refusal> {
        let projection = self.projection()?;
        let document = self.schema().document(self.body()?)?;
        let now = now();
        let id = self.state.service().create(document, self.rules(&now))?;
        self.resource(&id, StatusCode::CREATED, &projection)
    }

    fn read(&self, id: &str) -> Result<HttpResponse, Refusal> {
        let projection = self.projection()?;
        let held = self.version(id)?;
        if self.names(&IF_NONE_MATCH, held) == Some(true) {
            return Ok(HttpResponse::NotModified().finish());
        }
        self.resource(id, StatusCode::OK, &projection)
    }

    fn replace(&self, id: &str) -> Result<HttpResponse, Refusal> {
        let projection = self.projection()?;
        self.check_precondition(id)?;
        let document = self.schema().document(self.body()?)?;
        let now = now();
        let mut service = self.state.service();
        service.replace(id, document, self.rules(&now))?;
        drop(service);
        self.resource(id, StatusCode::OK, &projection)
    }

    fn patch(&self, id: &str) -> Result<HttpResponse, Refusal> {
        let projection = self.projection()?;
        self.check_precondition(id)?;
        let body = self.body()?;
        let now = now();
        self.state.service().patch(id, body, self.rules(&now))?;
        match (self.kind, &projection) {
            (Kind::User, _) | (Kind::Group, Projection::Only(_)) => {
                self.resource(id, StatusCode::OK, &projection)
            }
            (Kind::Group, _) => Ok(HttpResponse::NoContent().finish()),
        }
    }

    fn delete(&self, id: &str) -> Result<HttpResponse, Refusal> {
        self.check_precondition(id)?;
        self.state.service().delete(self.kind, id);
        Ok(HttpResponse::NoContent().finish())
    }

    fn resource(
        &self,
        id: &str,
        status: StatusCode,
        projection: &Projection,
    ) -> Result<HttpResponse, Refusal> {
        let relations = projection.shows_relations(self.kind);
        let service = self.state.service();
        let shown = service.render(self.kind, id, &self.state.base_url, relations);
        let shown = shown.ok_or_else(|| gone(self.kind, id))?;
        let header = |pointer: &str| {
            let text = shown.pointer(pointer).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (location, version) = (header("/meta/location"), header("/meta/version"));
        let mut answer = HttpResponse::build(status);
        answer.content_type(MEDIA_TYPE);
        if status == StatusCode::CREATED {
            answer.insert_header((LOCATION, location));
        }
        if self.switches.etags {
            answer.insert_header((ETAG, version));
        }
        Ok(answer.body(projection.of(shown).to_string()))
    }

    fn schema(&self) -> Schema<'_> {
        let only = match self.kind {
            Kind::User => &self.switches.user_attributes,
            Kind::Group => &self.switches.group_attributes,
        };
        Schema {
            kind: self.kind,
            only: only.as_deref(),
        }
    }

    fn rules<'a>(&'a self, now: &'a str) -> Rules<'a> {
        Rules {
            schema: self.schema(),
            unique_names: self.switches.unique_names,
            removal_needs_target: self.switches.removal_needs_target,
            now,
        }
    }

    fn body(&self) -> Result<&Value, Refusal> {
        let media_type = header(self.request, &CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
            let detail = format!("{media_type:?} in place of {MEDIA_TYPE}");
            return Err(Refusal::status(415, detail));
        }
        let body = self.call.body.as_ref();
        body.ok_or_else(|| Refusal::bad("invalidSyntax", "the body is no JSON"))
    }

    fn version(&self, id: &str) -> Result<u64, Refusal> {
        let service = self.state.service();
        let held = service.get(self.kind, id);
        held.map(|it| it.version).ok_or_else(|| gone(self.kind, id))
    }

    fn check_precondition(&self, id: &str) -> Result<(), Refusal> {
        let held = self.version(id)?;
        match self.names(&IF_MATCH, held) {
            Some(false) => Err(Refusal::status(412, format!("it is at {}", etag(held)))),
            _ => Ok(()),
        }
    }

    /// Whether a header of entity tags names the version held; none if there is no such header.
    fn names(&self, name: &HeaderName, held: u64) -> Option<bool> {
        let tags = header(self.request, name).filter(|_| self.switches.etags)?;
        let held = etag(held);
        Some(
            tags.split(',')
                .any(|tag| matches!(tag.trim(), it if it == held || it == "*")),
        )
    }

    fn query(&self, name: &str) -> Option<String> {
        pairs(self.request)
            .find(|(it, _)| it == name)
            .map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.query(name) else {
            return Ok(None);
        };
        let number = text.parse().map(Some);
        number.map_err(|_| Refusal::bad("invalidValue", format!("{name} is no number")))
    }

    fn projection(&self) -> Result<Projection, Refusal> {
        let names = |text: String| text.split(',').map(|it| it.trim().to_owned()).collect();
        match (self.query("attributes"), self.query("excludedAttributes")) {
            (None, None) => Ok(Projection::All),
            (Some(only), None) => Ok(Projection::Only(names(only))),
            (None, Some(without)) => Ok(Projection::Without(names(without))),
            // RFC 7644 section 3.9 calls them mutually exclusive.
            (Some(_), Some(_)) => Err(Refusal::bad(
                "invalidValue",
                "attributes and excludedAttributes exclude each other",
            )),
        }
    }
}

fn header<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name).and_then(|it| it.to_str().ok())
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// RFC 7643 section 5.
fn abilities(switches: &Switches) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": PAGE_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": switches.etags },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that the vendor has given",
        }],
    })
}

fn scim(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .content_type(MEDIA_TYPE)
        .body(body.to_string())
}

fn refuse(refusal: &Refusal) -> HttpResponse {
    let mut body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": refusal.status.to_string(),
        "detail": refusal.detail,
    });
    if let Some(scim_type) = refusal.scim_type {
        body["scimType"] = scim_type.into();
    }
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    scim(status, &body)
}

/// None: the client gets no whole answer.
fn fail(fault: &Fault, switches: &Switches) -> Option<HttpResponse> {
    Some(match fault {
        Fault::Status(429) => too_many(switches),
        Fault::Status(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HttpResponse::build(status)
                .content_type("text/plain")
                .body(status.canonical_reason().unwrap_or_default())
        }
        Fault::Junk => HttpResponse::Ok()
            .content_type(MEDIA_TYPE)
            .body(r#"{"schemas":["urn:ietf:params:scim:sche"#),
        Fault::Html => HttpResponse::Ok()
            .content_type("text/html")
            .body("<html><body><h1>We'll be right back</h1></body></html>"),
        Fault::Hang | Fault::Drop | Fault::Slow(_) => return None,
    })
}

/// RFC 6585 section 4; SCIM itself has no word about it.
fn too_many(switches: &Switches) -> HttpResponse {
    let mut answer = refuse(&Refusal::status(429, "too many requests"));
    if let Some(seconds) = switches.retry_after_seconds {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
