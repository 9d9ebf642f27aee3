//! The two listeners: SCIM traffic for clients, the admin API for operators.
//!
//! Invariant: actix-web is named here and in `http/` only. What an HTTP request means is decided in
//! `pipeline` and `auth`; this room turns bytes into parts and parts into bytes.

mod admin;
mod answer;
mod body;
mod scim;
mod target;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
pub use admin::{AdminToken, TokenRequest, TokenView};

use crate::pipeline::Pipeline;
use crate::settings::HttpLimits;
use crate::store::Store;
use crate::tenant::Tenants;

/// What both listeners serve from.
#[derive(Clone)]
pub struct Services {
    /// The corridor.
    pub pipeline: Arc<Pipeline>,
    /// The configured tenants.
    pub tenants: Arc<Tenants>,
    /// Where tokens and the provisioning log are.
    pub store: Arc<dyn Store>,
    /// What the admin API asks for.
    pub admin_token: AdminToken,
    /// Limits of the SCIM listener.
    pub limits: HttpLimits,
}

/// Two bound sockets, so that both addresses are known, and taken, before anything is served.
pub struct Listeners {
    scim: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    /// Binds both addresses; port 0 takes a free one.
    pub fn bind(scim: SocketAddr, admin: SocketAddr) -> Result<Self, String> {
        let bind = |name: &str, address: SocketAddr| {
            TcpListener::bind(address)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                .map_err(|error| {
                    format!("cannot listen on {address} ({name}): {error}; set {name} in [gateway]")
                })
        };
        Ok(Self {
            scim: bind("listen", scim)?,
            admin: bind("admin_listen", admin)?,
        })
    }

    /// Where SCIM traffic is served.
    pub fn scim_addr(&self) -> std::io::Result<SocketAddr> {
        self.scim.local_addr()
    }

    /// Where the admin API is served.
    pub fn admin_addr(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves until `stop` resolves, then lets requests under way finish.
    pub async fn serve(
        self,
        services: Services,
        stop: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        let limits = services.limits.clone();
        let workers = match limits.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            chosen => chosen,
        };
        let shared = web::Data::new(services);
        let data = shared.clone();
        let scim =
            HttpServer::new(move || App::new().app_data(data.clone()).configure(scim::routes))
                .workers(workers)
                .client_request_timeout(Duration::from_millis(limits.head_deadline_ms))
                .max_connections(limits.connections_per_worker_max)
                .shutdown_timeout(limits.shutdown_s)
                .disable_signals()
                .listen(self.scim)?
                .run();
        let admin =
            HttpServer::new(move || App::new().app_data(shared.clone()).configure(admin::routes))
                .workers(1)
                .shutdown_timeout(1)
                .disable_signals()
                .listen(self.admin)?
                .run();
        let handles = (scim.handle(), admin.handle());
        let stopping = async {
            stop.await;
            tracing::info!("stopping: letting requests under way finish");
            handles.0.stop(true).await;
            handles.1.stop(true).await;
            Ok(())
        };
        tokio::try_join!(scim, admin, stopping).map(|_| ())
    }
}
