//! What the gateway tells its operator: log lines on standard error, for people on a terminal and
//! as JSON elsewhere. No token, secret or attribute value is ever a field.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged unless `GATEWAY_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info,actix_server=warn";

/// Starts logging. `GATEWAY_LOG` sets levels as `tracing` filters do: `debug`, `warn,gateway=info`.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("GATEWAY_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        lines.with_target(false).init();
    } else {
        lines.json().flatten_event(true).init();
    }
}
