//! `gateway log`: what was provisioned for a tenant, and what was not.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::admin::{Gateway, known};
use super::{Failure, Output};
use crate::settings::Settings;
use crate::store::LogEntry;

/// Which entries to show.
#[derive(Args)]
pub(super) struct LogArgs {
    /// The tenant.
    tenant: String,
    /// How many entries, the newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

/// Prints a tenant's provisioning log.
pub(super) async fn run(
    args: &LogArgs,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let tenant = &args.tenant;
    known(settings, tenant)?;
    let entries: Vec<LogEntry> = match Gateway::find(settings).await? {
        Gateway::Running(client) => {
            let path = format!("tenants/{tenant}/log?limit={}", args.limit);
            let mut answer = client.call(Method::GET, &path, None).await?;
            serde_json::from_value(answer["entries"].take())?
        }
        Gateway::Stopped(store) => store.log(tenant, None, args.limit.into()).await?,
    };
    if output == Output::Json {
        println!("{}", json!({ "entries": entries }));
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["AT", "OPERATION", "RESOURCE", "OUTCOME", "MS", "DETAIL"]);
    for entry in entries {
        table.add_row([
            entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            entry
                .operation
                .map(|it| format!("{it:?}").to_lowercase())
                .unwrap_or_default(),
            entry.resource.map(|it| it.to_string()).unwrap_or_default(),
            entry.outcome,
            entry.duration_ms.to_string(),
            entry.detail,
        ]);
    }
    println!("{table}");
    Ok(())
}
