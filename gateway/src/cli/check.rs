//! `gateway check`: everything that `serve` would find wrong, all of it at once, without serving.

use std::path::Path;

use serde_json::json;

use super::{Failure, Output};
use crate::connector::ConnectorHost;
use crate::settings::Settings;
use crate::tenant::Tenants;

/// Loads the configuration and every connector that a tenant names.
pub(super) fn run(config: &Path, output: Output) -> Result<(), Failure> {
    let settings = Settings::load(config)?;
    let host = ConnectorHost::new(&settings.gateway.limits.connector, None)?;
    let tenants = Tenants::assemble(&settings, &host)?.all();
    let warnings = &settings.warnings;
    match output {
        Output::Json => println!(
            "{}",
            json!({ "ok": true, "tenants": tenants.len(), "warnings": warnings })
        ),
        Output::Table => {
            if !warnings.is_empty() {
                eprintln!("Doubtful, but not wrong:\n{warnings}");
            }
            println!(
                "{}: ok, {} tenant{}",
                config.display(),
                tenants.len(),
                if tenants.len() == 1 { "" } else { "s" }
            );
        }
    }
    Ok(())
}
