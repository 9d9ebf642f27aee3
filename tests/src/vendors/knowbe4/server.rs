//! The HTTP face: one route, the vendor's statuses, the rate limit, and the faults.
//!
//! Invariant: every request to `/graphql` is logged once, after it took effect and before it is
//! answered, so who reads the log never waits for an answer.
//! Absent: GraphQL rules (the schema has them) and account rules (the roster has them).

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, ContentType, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection};
use serde_json::{Value, json};

use super::super::listener::{self, Broken, Window};
use super::super::trouble::When;
use super::faults::Fault;
use super::roster::INFERRED_ATTRIBUTES;
use super::schema::{self, ProductApi};
use super::{State, Switches};

const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A client has few documents; a test that makes them up must not fill the memory.
const DOCUMENTS_MAX: usize = 256;

/// What the workers share besides the state: the schema and the parsed documents are made once,
/// because a benchmark runs on the same processors.
struct Served {
    state: Arc<State>,
    api: ProductApi,
    documents: Mutex<HashMap<String, Arc<Document>>>,
    recent: Window,
}

struct Document {
    parsed: ExecutableDocument,
    operation: String,
    mutates: bool,
}

/// Serves `socket` on a thread of its own until the handle stops it.
pub(super) fn spawn(
    socket: TcpListener,
    state: Arc<State>,
) -> io::Result<(ServerHandle, JoinHandle<()>)> {
    let served = web::Data::new(Served {
        api: schema::build(Arc::clone(&state)),
        state,
        documents: Mutex::default(),
        recent: Window::default(),
    });
    listener::spawn("knowbe4", socket, move |app| {
        app.app_data(web::Data::clone(&served))
            .app_data(web::PayloadConfig::new(BODY_BYTES_MAX))
            .route("/graphql", web::post().to(answer))
            .default_service(web::to(wrong_path));
    })
}

async fn wrong_path() -> HttpResponse {
    HttpResponse::NotFound()
        .content_type(ContentType::html())
        .body("<html><body><h1>The page you were looking for doesn't exist.</h1></body></html>")
}

async fn answer(request: HttpRequest, body: web::Bytes, served: web::Data<Served>) -> HttpResponse {
    let call = Call::read(&body, &served);
    let operation = call.as_ref().map_or("", |call| &call.document.operation);
    let latency_ms = {
        let switches = served.state.switches();
        if switches.instant {
            0
        } else {
            switches.latency_ms
        }
    };
    if latency_ms > 0 {
        actix_web::rt::time::sleep(Duration::from_millis(latency_ms)).await;
    }
    let fault = served.state.faults().take(operation);
    let (fault, applied) = match fault {
        Some((fault, When::Before)) => (Some(fault), None),
        Some((fault, When::After)) => (Some(fault), Some(act(&request, &call, &served).await)),
        None => (None, Some(act(&request, &call, &served).await)),
    };
    // None: the client gets no whole answer.
    let answer = match &fault {
        Some(Fault::Hang | Fault::Drop) => None,
        Some(fault) => Some(fail(fault, &served.state.switches())),
        None => applied,
    };
    let variables = call
        .as_ref()
        .map_or(Value::Null, |call| call.variables.clone());
    let status = answer.as_ref().map(|answer| answer.status().as_u16());
    served.state.record(operation, variables, status);
    match answer {
        Some(answer) => answer,
        None if fault == Some(Fault::Hang) => std::future::pending().await,
        None => HttpResponse::Ok().body(Broken),
    }
}

/// One GraphQL request, as far as it can be read.
struct Call {
    document: Arc<Document>,
    operation_name: Option<String>,
    variables: Value,
}

impl Call {
    /// The parse error's message for a body that is no GraphQL request.
    fn read(body: &[u8], served: &Served) -> Result<Call, String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            query: String,
            operation_name: Option<String>,
            #[serde(default)]
            variables: Value,
        }
        let wire: Wire = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        Ok(Call {
            document: served.document(wire.query)?,
            operation_name: wire.operation_name,
            variables: wire.variables,
        })
    }

    fn request(&self) -> async_graphql::Request {
        let variables = async_graphql::Variables::from_json(self.variables.clone());
        let mut request = async_graphql::Request::new("").variables(variables);
        request.operation_name.clone_from(&self.operation_name);
        request.set_parsed_query(self.document.parsed.clone());
        request
    }
}

impl Served {
    fn document(&self, query: String) -> Result<Arc<Document>, String> {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = documents.get(&query) {
            return Ok(Arc::clone(document));
        }
        let parsed = parse_query(&query).map_err(|error| error.to_string())?;
        let (_, first) = parsed
            .operations
            .iter()
            .next()
            .ok_or("the document has no operation")?;
        let field = first.node.selection_set.node.items.first();
        let operation = match field.map(|selection| &selection.node) {
            Some(Selection::Field(field)) => field.node.name.node.to_string(),
            _ => String::new(),
        };
        let mutates = parsed
            .operations
            .iter()
            .any(|(_, operation)| operation.node.ty == OperationType::Mutation);
        let document = Arc::new(Document {
            parsed,
            operation,
            mutates,
        });
        if documents.len() >= DOCUMENTS_MAX {
            documents.clear();
        }
        documents.insert(query, Arc::clone(&document));
        Ok(document)
    }
}

/// What the vendor does when nothing is wrong with it: limit, credential, scope, then GraphQL.
async fn act(request: &HttpRequest, call: &Result<Call, String>, served: &Served) -> HttpResponse {
    if let Some(refusal) = refuse(request, call, served) {
        return refusal;
    }
    match call {
        Ok(call) => HttpResponse::Ok().json(served.api.execute(call.request()).await),
        Err(message) => top_level_error(message),
    }
}

fn refuse(
    request: &HttpRequest,
    call: &Result<Call, String>,
    served: &Served,
) -> Option<HttpResponse> {
    let switches = served.state.switches();
    if !switches.instant && !served.recent.has_room(switches.requests_per_second_max) {
        return Some(too_many(&switches));
    }
    let credential = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let read_only = credential.is_some() && credential == switches.read_only_key.as_deref();
    if !read_only && credential != Some(&switches.api_key) {
        return Some(status_with_error(StatusCode::UNAUTHORIZED, "Invalid token"));
    }
    if !switches.subscribed {
        return Some(status_with_error(
            StatusCode::FORBIDDEN,
            "The subscription does not include this API",
        ));
    }
    let call = call.as_ref().ok()?;
    if read_only && call.document.mutates {
        return Some(status_with_error(
            StatusCode::FORBIDDEN,
            "The token's scope is Read Only",
        ));
    }
    if !switches.inferred_attributes {
        let attributes = call.variables.get("attributes")?;
        let field = INFERRED_ATTRIBUTES
            .iter()
            .find(|field| attributes.get(field).is_some())?;
        // The wording of the GraphQL library for Ruby; the vendor's own is not known.
        return Some(top_level_error(&format!(
            "Variable $attributes of type UserAttributes! was provided invalid value for {field} \
             (Field is not defined on UserAttributes)"
        )));
    }
    None
}

fn fail(fault: &Fault, switches: &Switches) -> HttpResponse {
    match fault {
        Fault::Status(429) => too_many(switches),
        Fault::Status(status) => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            HttpResponse::build(status)
                .content_type(ContentType::plaintext())
                .body(status.canonical_reason().unwrap_or_default())
        }
        Fault::Junk => HttpResponse::Ok()
            .content_type(ContentType::json())
            .body(r#"{"data":{"user":{"id":4200001,"ema"#),
        Fault::Html => HttpResponse::Ok()
            .content_type(ContentType::html())
            .body("<html><body><h1>We'll be right back</h1></body></html>"),
        // `data` is there, so the document was accepted and failed while it ran.
        Fault::TopLevelError(message) => {
            HttpResponse::Ok().json(json!({ "data": null, "errors": [{ "message": message }] }))
        }
        // Both are dealt with before an answer is made.
        Fault::Hang | Fault::Drop => HttpResponse::InternalServerError().finish(),
    }
}

/// The body is that of Rack's throttling middleware: inferred.
fn too_many(switches: &Switches) -> HttpResponse {
    let mut answer = HttpResponse::TooManyRequests();
    if let Some(seconds) = switches.retry_after_seconds {
        answer.insert_header((RETRY_AFTER, seconds));
    }
    answer
        .content_type(ContentType::plaintext())
        .body("Retry later\n")
}

fn top_level_error(message: &str) -> HttpResponse {
    status_with_error(StatusCode::OK, message)
}

fn status_with_error(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "errors": [{ "message": message }] }))
}
