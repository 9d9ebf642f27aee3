//! `gateway serve`: puts the house together in five steps and keeps it until it is told to stop.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rand::Rng;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::auth::Gatekeeper;
use crate::connector::ConnectorHost;
use crate::dispatch::Dispatcher;
use crate::http::{AdminToken, Listeners, Services};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::{self, Store};
use crate::telemetry;
use crate::tenant::Tenants;

/// The file in the data folder that admits this user's commands to the admin API.
pub(super) const ADMIN_TOKEN_FILE: &str = "admin-token";

/// Serves until SIGINT, SIGTERM or the store's failure.
pub(super) async fn run(settings: Settings) -> Result<(), Failure> {
    telemetry::start();
    for warning in settings.warnings.iter() {
        tracing::warn!("{warning}");
    }
    let gateway = &settings.gateway;
    let data = gateway.store.data_dir();

    let listeners = Listeners::bind(gateway.listen, gateway.admin_listen)?;
    let store = store::open(&gateway.store.to_string(), &gateway.limits.store)?;
    let host = ConnectorHost::new(&gateway.limits.connector, Some(data.join("compiled")))?;
    let tenants = Arc::new(Tenants::assemble(&settings, &host)?);
    let admin_token = leave_admin_token(&data)?;

    let gatekeeper = Arc::new(Gatekeeper::new(tenants.clone(), store.clone()));
    let dispatcher = Arc::new(Dispatcher::default());
    let recovery = tokio::spawn(
        dispatcher
            .clone()
            .recover(gatekeeper.clone(), store.clone()),
    );
    let services = Services {
        pipeline: Arc::new(Pipeline::new(
            gatekeeper,
            dispatcher,
            gateway.limits.scim.clone(),
            gateway.limits.http.members_body_bytes_max,
        )),
        tenants: tenants.clone(),
        store: store.clone(),
        admin_token,
        limits: gateway.limits.http.clone(),
    };
    tracing::info!(
        listen = %listeners.scim_addr()?, admin_listen = %listeners.admin_addr()?,
        public_url = %gateway.public_url, store = %gateway.store, tenants = tenants.all().len(),
        "serving"
    );
    let served = listeners.serve(services, stop(store.clone())).await;
    recovery.abort();
    let _ = fs::remove_file(data.join(ADMIN_TOKEN_FILE));
    let health = store.health().await;
    store.close().await;
    served?;
    health.writable.map_err(Failure::from)
}

/// Resolves when the gateway shall stop: asked to, or unable to keep its word.
async fn stop(store: Arc<dyn Store>) {
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be heard; stopping");
            return;
        }
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM"),
        _ = tokio::signal::ctrl_c() => tracing::info!("SIGINT"),
        reason = store.failed() => tracing::error!(%reason, "the store failed; stopping"),
    }
}

/// Makes an admin token for this run and leaves it in the data folder, for its owner only.
fn leave_admin_token(data: &Path) -> Result<AdminToken, Failure> {
    let mut rng = rand::rng();
    let token: String = (0..32)
        .map(|_| format!("{:02x}", rng.random::<u8>()))
        .collect();
    let file = data.join(ADMIN_TOKEN_FILE);
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(data)?;
        // A file left by a killed gateway may have other rights; a new one has these from birth.
        let _ = fs::remove_file(&file);
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        out.write_all(token.as_bytes())
    };
    write().map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    Ok(AdminToken(SecretString::from(token)))
}
