//! `gateway tenant`: what is configured, and how a tenant's client speaks.

use clap::Subcommand;
use reqwest::Method;
use serde_json::json;

use super::admin::{Gateway, known};
use super::{Failure, Output};
use crate::scim::Form;
use crate::settings::Settings;
use crate::store::FormUse;
use crate::tenant::scim_url;

/// What can be asked about tenants.
#[derive(Subcommand)]
pub(super) enum TenantCommand {
    /// List the configured tenants with their app, dialect and the SCIM URL to paste into Entra.
    List,
    /// Show which non-standard forms a tenant's client has used: what `dialect = "strict"` would
    /// refuse.
    Forms {
        /// The tenant.
        tenant: String,
    },
}

/// Runs one tenant command.
pub(super) async fn run(
    command: &TenantCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        TenantCommand::List => list(settings, output),
        TenantCommand::Forms { tenant } => {
            known(settings, tenant)?;
            let forms = forms(settings, tenant).await?;
            print_forms(tenant, &forms, output)
        }
    }
}

fn list(settings: &Settings, output: Output) -> Result<(), Failure> {
    let public_url = settings.gateway.public_url.as_str();
    let rows = settings.tenants.iter().map(|(name, tenant)| {
        let url = scim_url(public_url, name);
        (name, &tenant.connector, tenant.dialect.name, url)
    });
    match output {
        Output::Json => {
            let tenants: Vec<_> = rows
                .map(|(name, app, dialect, url)| {
                    json!({ "name": name, "app": app, "dialect": dialect, "scim_url": url })
                })
                .collect();
            println!("{}", json!({ "tenants": tenants }));
        }
        Output::Table => {
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::NOTHING);
            table.set_header(["TENANT", "APP", "DIALECT", "TENANT URL"]);
            for (name, app, dialect, url) in rows {
                table.add_row([name, app, dialect, &url]);
            }
            println!("{table}");
        }
    }
    Ok(())
}

async fn forms(settings: &Settings, tenant: &str) -> Result<Vec<FormUse>, Failure> {
    match Gateway::find(settings).await? {
        Gateway::Running(client) => {
            let path = format!("tenants/{tenant}/forms");
            let mut answer = client.call(Method::GET, &path, None).await?;
            Ok(serde_json::from_value(answer["forms"].take())?)
        }
        Gateway::Stopped(store) => Ok(store.forms(tenant).await?),
    }
}

fn print_forms(tenant: &str, forms: &[FormUse], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        println!("{}", json!({ "forms": forms }));
        return Ok(());
    }
    if forms.is_empty() {
        println!("the client of {tenant} has used no form beyond the RFC so far");
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["FORM", "WHAT THE CLIENT SENDS", "FIRST", "LAST"]);
    for used in forms {
        // A form that a newer gateway has noted is listed without words.
        let what = Form::ROWS.iter().find(|row| row.name == used.form);
        let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
        table.add_row([
            used.form.clone(),
            what.map_or("", |row| row.what).to_owned(),
            time(used.first),
            time(used.last),
        ]);
    }
    println!("{table}");
    Ok(())
}
