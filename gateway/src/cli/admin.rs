//! How commands reach the gateway's data: through the admin API when a gateway runs, through the
//! store itself when none does.

use std::sync::Arc;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use super::Failure;
use super::serve::ADMIN_TOKEN_FILE;
use crate::settings::Settings;
use crate::store::{self, Store};

/// Where a command finds the gateway's data.
pub(super) enum Gateway {
    /// A gateway runs; it is asked over its admin listener.
    Running(AdminClient),
    /// None runs; the store is open in this process.
    Stopped(Arc<dyn Store>),
}

impl Gateway {
    /// Finds the running gateway of this configuration, or opens its store.
    pub(super) async fn find(settings: &Settings) -> Result<Self, Failure> {
        let file = settings.gateway.store.data_dir().join(ADMIN_TOKEN_FILE);
        if let Ok(token) = std::fs::read_to_string(&file) {
            let client = AdminClient {
                base: format!("http://{}", settings.gateway.admin_listen),
                token: token.trim().to_owned(),
                client: Client::builder().no_proxy().build()?,
            };
            if client.answers().await? {
                return Ok(Self::Running(client));
            }
        }
        let gateway = &settings.gateway;
        let store = store::open(&gateway.store.to_string(), &gateway.limits.store)?;
        Ok(Self::Stopped(store))
    }
}

/// Speaks to a running gateway's admin API.
pub(super) struct AdminClient {
    base: String,
    token: String,
    client: Client,
}

impl AdminClient {
    /// Whether a gateway listens there at all. A token file without one is left from a killed run.
    async fn answers(&self) -> Result<bool, Failure> {
        match self.client.get(format!("{}/livez", self.base)).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.is_connect() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// One call; a refusal becomes the gateway's own words.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let request = self
            .client
            .request(method, format!("{}/api/v1/{path}", self.base))
            .bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status();
        let answer: Value = response.json().await?;
        match status {
            StatusCode::OK | StatusCode::CREATED => Ok(answer),
            _ => Err(match answer["detail"].as_str() {
                Some(detail) => detail.into(),
                None => format!("the gateway answered {status}").into(),
            }),
        }
    }
}

/// Refuses a tenant that is not configured, and names those that are.
pub(super) fn known(settings: &Settings, tenant: &str) -> Result<(), Failure> {
    if settings.tenants.contains_key(tenant) {
        return Ok(());
    }
    let names: Vec<&str> = settings.tenants.keys().map(String::as_str).collect();
    let names = match names.is_empty() {
        true => "none".to_owned(),
        false => names.join(", "),
    };
    Err(format!("no tenant \"{tenant}\" is configured; there are: {names}").into())
}
