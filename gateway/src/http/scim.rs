//! The SCIM listener: the trees of the tenants, `/livez`, and a SCIM error for everything else.
//!
//! Invariant: a request's head is within its limits before anything of it is looked at, and its path is
//! read by [`super::target`] alone: actix-web's router decodes what it matches, and has nothing to
//! match here. Heads that actix-web itself cannot read never come here; it closes the connection after
//! a bare 400, 408 or 431.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use crate::auth;
use crate::pipeline::{BodyKind, Method, Request};
use crate::scim::ScimError;
use crate::settings::HttpLimits;

use super::answer::answer;
use super::target::{Target, locate};
use super::{Services, body};

/// The one route of the SCIM listener.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.default_service(web::route().to(serve));
}

async fn serve(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> HttpResponse {
    let refused = |error: ScimError| answer(error.into(), "", None);
    if let Err(error) = check_head(&request, &services.limits) {
        return refused(error);
    }
    match locate(request.uri().path()) {
        Ok(Some(target)) => run(&request, target, payload, &services).await,
        Ok(None) if request.uri().path() == "/livez" && reads(&request) => {
            HttpResponse::Ok().body("ok\n")
        }
        Ok(None) => {
            let detail = "There is nothing here; a tenant's URL is /tenants/<tenant>/scim/v2.";
            refused(ScimError::status_with(404, detail))
        }
        Err(error) => refused(error),
    }
}

async fn run(
    request: &HttpRequest,
    target: Target,
    payload: web::Payload,
    services: &Services,
) -> HttpResponse {
    let parts = parts(request, target);
    let id = parts.id.clone();
    let (give, take) = tokio::sync::oneshot::channel();
    let (ask, asked) = tokio::sync::oneshot::channel();

    // The corridor runs as a task of its own: a client that hangs up must not stop a write halfway
    // between vendor and store.
    let pipeline = services.pipeline.clone();
    let corridor = tokio::spawn(async move {
        pipeline
            .run(parts, async move |kind: BodyKind| {
                let interrupted = || ScimError::invalid_syntax("the body was not sent");
                ask.send(kind).map_err(|_| interrupted())?;
                take.await.map_err(|_| interrupted())?
            })
            .await
    });
    // The body is a thing of this connection's thread; it is read here when the corridor asks.
    if let Ok(kind) = asked.await {
        let body = body::read(request.headers(), payload, kind, &services.limits).await;
        let _ = give.send(body);
    }
    let response = corridor.await.unwrap_or_else(|error| {
        tracing::error!(request.id = %id, %error, "the corridor panicked");
        ScimError::status_with(
            500,
            "the gateway failed; its operator finds the reason in its log",
        )
        .into()
    });
    answer(response, &id, body::unsupported(request.headers()))
}

/// 414 and 431 (RFC 9110 section 15.5.15, RFC 6585 section 5). actix-web's own bounds are wider: 96
/// headers, 65,534 bytes of URL, 128 KiB of head.
fn check_head(request: &HttpRequest, limits: &HttpLimits) -> Result<(), ScimError> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > limits.target_bytes_max {
        let most = limits.target_bytes_max;
        let detail = format!(
            "The URL has {target} bytes after the host; at most {most} (target_bytes_max) are \
             allowed. Long queries can be sent to .search with POST."
        );
        return Err(ScimError::status_with(414, detail));
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let (count, most) = (headers.len(), limits.headers_max);
    if count > most {
        let detail =
            format!("The request has {count} headers; at most {most} (headers_max) are allowed.");
        return Err(ScimError::status_with(431, detail));
    }
    let most = limits.headers_bytes_max;
    if bytes > most {
        let detail = format!(
            "The request's headers have {bytes} bytes; at most {most} (headers_bytes_max) are \
             allowed."
        );
        return Err(ScimError::status_with(431, detail));
    }
    Ok(())
}

fn reads(request: &HttpRequest) -> bool {
    matches!(request.method().as_str(), "GET" | "HEAD")
}

fn parts(request: &HttpRequest, target: Target) -> Request {
    Request {
        id: Uuid::now_v7().to_string(),
        tenant: target.tenant,
        method: match request.method().as_str() {
            // The server leaves the body of the answer to HEAD away, and keeps its length.
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => Method::Other,
        },
        path: target.path,
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
