//! `gateway tenant`: what is configured.

use clap::Subcommand;
use serde_json::json;

use super::{Failure, Output};
use crate::settings::Settings;
use crate::tenant::scim_url;

/// What can be asked about tenants.
#[derive(Subcommand)]
pub(super) enum TenantCommand {
    /// List the configured tenants with their app and the SCIM URL to paste into Entra.
    List,
}

/// Prints the tenants of the configuration.
pub(super) fn run(
    command: &TenantCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let TenantCommand::List = command;
    let public_url = settings.gateway.public_url.as_str();
    let rows = settings
        .tenants
        .iter()
        .map(|(name, tenant)| (name, &tenant.connector, scim_url(public_url, name)));
    match output {
        Output::Json => {
            let tenants: Vec<_> = rows
                .map(|(name, app, url)| json!({ "name": name, "app": app, "scim_url": url }))
                .collect();
            println!("{}", json!({ "tenants": tenants }));
        }
        Output::Table => {
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::NOTHING);
            table.set_header(["TENANT", "APP", "TENANT URL"]);
            for (name, app, url) in rows {
                table.add_row([name, app, &url]);
            }
            println!("{table}");
        }
    }
    Ok(())
}
