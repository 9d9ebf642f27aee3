//! The admin listener: tokens, tenants and the provisioning log for operators and for the
//! `gateway` command. Every path but the probes asks for the admin token; errors are
//! `application/problem+json` (RFC 9457).

use actix_web::http::{StatusCode, header};
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, ResponseError, web};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::auth::{self, TokenError};
use crate::store::{StoreError, Token};

use super::Services;

/// How many entries of the provisioning log one answer holds at most.
const LOG_PAGE_MAX: usize = 1000;

/// The secret that admits to the admin API.
#[derive(Clone, Debug)]
pub struct AdminToken(pub SecretString);

/// The routes of the admin listener.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::JsonConfig::default().error_handler(|error, _| unreadable(&error)))
        .app_data(web::PathConfig::default().error_handler(|error, _| unreadable(&error)))
        .app_data(web::QueryConfig::default().error_handler(|error, _| unreadable(&error)))
        .route("/livez", web::get().to(async || "ok\n"))
        .route("/readyz", web::get().to(ready))
        .service(
            web::scope("/api/v1")
                .wrap(from_fn(guard))
                .route("/tenants", web::get().to(tenants))
                .route("/tenants/{tenant}/tokens", web::get().to(tokens))
                .route("/tenants/{tenant}/tokens", web::post().to(issue))
                .route("/tenants/{tenant}/tokens/{id}", web::delete().to(revoke))
                .route("/tenants/{tenant}/log", web::get().to(log))
                .route("/tenants/{tenant}/forms", web::get().to(forms)),
        )
        .default_service(web::route().to(async || {
            HttpResponse::from_error(Problem::new(StatusCode::NOT_FOUND, "no such path"))
        }));
}

async fn guard(
    services: web::Data<Services>,
    request: actix_web::dev::ServiceRequest,
    next: actix_web::middleware::Next<impl actix_web::body::MessageBody>,
) -> Result<actix_web::dev::ServiceResponse<impl actix_web::body::MessageBody>, actix_web::Error> {
    let header = request.headers().get(header::AUTHORIZATION);
    let given = header
        .and_then(|header| auth::bearer(header.to_str().ok()?))
        .unwrap_or_default();
    let wanted = services.admin_token.0.expose_secret();
    if !bool::from(given.as_bytes().ct_eq(wanted.as_bytes())) {
        let detail = "the admin token is missing or wrong; it is in the file admin-token in the \
                      gateway's data folder";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail).into());
    }
    next.call(request).await
}

async fn ready(services: web::Data<Services>) -> HttpResponse {
    let health = services.store.health().await;
    match health.writable {
        Ok(()) => HttpResponse::Ok().json(json!({
            "ready": true,
            "store": { "disk_bytes": health.disk_bytes, "seq": health.seq },
        })),
        Err(reason) => HttpResponse::ServiceUnavailable().json(json!({
            "ready": false,
            "store": { "reason": reason },
        })),
    }
}

async fn tenants(services: web::Data<Services>) -> HttpResponse {
    let tenants: Vec<_> = services
        .tenants
        .all()
        .into_iter()
        .map(|tenant| {
            json!({ "name": &*tenant.name, "app": tenant.app(), "scim_url": tenant.scim_url })
        })
        .collect();
    HttpResponse::Ok().json(json!({ "tenants": tenants }))
}

/// A token as operators see it: never its hash.
#[derive(Deserialize, Serialize)]
pub struct TokenView {
    /// What `revoke` takes.
    pub id: Uuid,
    /// What the operator called it.
    pub name: Option<String>,
    /// When it was issued.
    pub created: Timestamp,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The secret: only in the answer that issues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        Self {
            id: token.id,
            name: token.name,
            created: token.created,
            expires: token.expires,
            last_used: token.last_used,
            revoked: token.revoked,
            token: None,
        }
    }
}

/// What a token shall be. The body of `POST …/tokens`.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenRequest {
    /// What to call it.
    pub name: Option<String>,
    /// Seconds until it expires; none for never.
    pub expires_in_s: Option<u32>,
}

async fn tokens(
    services: web::Data<Services>,
    tenant: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    known(&services, &tenant)?;
    let tokens = services.store.tokens(&tenant).await?;
    let tokens: Vec<TokenView> = tokens.into_iter().map(TokenView::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "tokens": tokens })))
}

async fn issue(
    services: web::Data<Services>,
    tenant: web::Path<String>,
    wanted: web::Json<TokenRequest>,
) -> Result<HttpResponse, Problem> {
    known(&services, &tenant)?;
    let wanted = wanted.into_inner();
    let ttl = wanted
        .expires_in_s
        .map(|seconds| SignedDuration::from_secs(seconds.into()));
    let issued = auth::issue(
        services.store.as_ref(),
        &tenant,
        wanted.name,
        ttl,
        Timestamp::now(),
    )
    .await?;
    Ok(HttpResponse::Created().json(TokenView {
        token: Some(issued.secret),
        ..issued.record.into()
    }))
}

async fn revoke(
    services: web::Data<Services>,
    path: web::Path<(String, Uuid)>,
) -> Result<HttpResponse, Problem> {
    let (tenant, id) = path.into_inner();
    known(&services, &tenant)?;
    let revoked = auth::revoke(services.store.as_ref(), &tenant, id, Timestamp::now()).await?;
    match revoked {
        Some(token) => Ok(HttpResponse::Ok().json(TokenView::from(token))),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("tenant \"{tenant}\" has no token {id}"),
        )),
    }
}

/// Which part of the provisioning log is wanted.
#[derive(Deserialize)]
struct LogQuery {
    before: Option<Uuid>,
    limit: Option<usize>,
}

async fn log(
    services: web::Data<Services>,
    tenant: web::Path<String>,
    query: web::Query<LogQuery>,
) -> Result<HttpResponse, Problem> {
    known(&services, &tenant)?;
    let limit = query.limit.unwrap_or(100).min(LOG_PAGE_MAX);
    let entries = services.store.log(&tenant, query.before, limit).await?;
    Ok(HttpResponse::Ok().json(json!({ "entries": entries })))
}

/// The non-standard forms that the tenant's client has used.
async fn forms(
    services: web::Data<Services>,
    tenant: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    known(&services, &tenant)?;
    let forms = services.store.forms(&tenant).await?;
    Ok(HttpResponse::Ok().json(json!({ "forms": forms })))
}

fn known(services: &Services, tenant: &str) -> Result<(), Problem> {
    match services.tenants.get(tenant) {
        Some(_) => Ok(()),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            format!("no tenant \"{tenant}\" is configured"),
        )),
    }
}

/// A body, path or query that cannot be read.
fn unreadable(error: &dyn std::fmt::Display) -> actix_web::Error {
    Problem::new(StatusCode::BAD_REQUEST, error.to_string()).into()
}

/// An error of the admin API (RFC 9457).
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status)
            .content_type("application/problem+json")
            .body(
                json!({
                    "type": "about:blank",
                    "title": self.status.canonical_reason(),
                    "status": self.status.as_u16(),
                    "detail": self.detail,
                })
                .to_string(),
            )
    }
}
