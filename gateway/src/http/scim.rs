//! The SCIM listener: one route per tenant tree, `/livez`, and a SCIM error for everything else.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use crate::auth;
use crate::pipeline::{Method, Request, Response};
use crate::scim::ScimError;

use super::{Services, body};

/// Every SCIM answer's content type; Entra's validator warns or aborts on any other (RFC 7644
/// section 8.1).
const SCIM_JSON: &str = "application/scim+json; charset=utf-8";

/// The routes of the SCIM listener.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(async || "ok\n"))
        .route(
            "/tenants/{tenant}/scim/v2/{path:.*}",
            web::route().to(serve),
        )
        .default_service(web::route().to(elsewhere));
}

async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> HttpResponse {
    let parts = parts(&request);
    let id = parts.id.clone();
    let announced = header_text(&request, header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok());
    let limits = services.limits.clone();
    let (give, take) = tokio::sync::oneshot::channel();
    let (ask, asked) = tokio::sync::oneshot::channel();

    // The corridor runs as a task of its own: a client that hangs up must not stop a write halfway
    // between vendor and store.
    let pipeline = services.pipeline.clone();
    let corridor = tokio::spawn(async move {
        pipeline
            .run(parts, async move || {
                let interrupted = || ScimError::invalid_syntax("the body was not sent");
                ask.send(()).map_err(|()| interrupted())?;
                take.await.map_err(|_| interrupted())?
            })
            .await
    });
    // The body is a thing of this connection's thread; it is read here when the corridor asks.
    if asked.await.is_ok() {
        let _ = give.send(body::read(payload, announced, &limits).await);
    }
    let response = corridor.await.unwrap_or_else(|error| {
        tracing::error!(request.id = %id, %error, "the corridor panicked");
        ScimError::status_with(
            500,
            "the gateway failed; its operator finds the reason in its log",
        )
        .into()
    });
    answer(response, &id)
}

/// Anything outside a tenant's tree.
async fn elsewhere(request: HttpRequest) -> HttpResponse {
    let detail = format!("there is nothing at {}", request.path());
    answer(ScimError::status_with(404, detail).into(), "")
}

fn parts(request: &HttpRequest) -> Request {
    let path = request.match_info().query("path");
    Request {
        id: Uuid::now_v7().to_string(),
        tenant: request.match_info().query("tenant").to_owned(),
        method: match request.method().as_str() {
            // The server leaves the body of the answer to HEAD away.
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => Method::Other,
        },
        path: path
            .trim_end_matches('/')
            .split('/')
            .map(str::to_owned)
            .collect(),
        query: request.query_string().to_owned(),
        token: token(request),
        if_match: condition(request, header::IF_MATCH),
        if_none_match: condition(request, header::IF_NONE_MATCH),
    }
}

/// The bearer token; none when there is no `Authorization` header or more than one.
fn token(request: &HttpRequest) -> Option<String> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let only = headers.next()?;
    if headers.next().is_some() {
        return None;
    }
    auth::bearer(only.to_str().ok()?).map(str::to_owned)
}

/// A condition that cannot be read is still one: it names no version.
fn condition(request: &HttpRequest, name: header::HeaderName) -> Option<String> {
    let tags = request.headers().get(name)?;
    Some(String::from_utf8_lossy(tags.as_bytes()).into_owned())
}

fn header_text(request: &HttpRequest, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

fn answer(response: Response, request_id: &str) -> HttpResponse {
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
    match response.body {
        Some(body) => answer.content_type(SCIM_JSON).body(body.to_string()),
        None => answer.finish(),
    }
}
