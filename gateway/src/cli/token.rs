//! `gateway token`: the bearer tokens that Entra and others present.

use clap::Subcommand;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::{Gateway, known};
use super::{Failure, Output};
use crate::auth;
use crate::http::{TokenRequest, TokenView};
use crate::settings::Settings;
use crate::tenant::scim_url;

/// What can be done with tokens.
#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it, once: only its SHA-256 is stored.
    Issue {
        /// The tenant that the token speaks for.
        tenant: String,
        /// What to call it in listings.
        #[arg(long)]
        name: Option<String>,
        /// How long it lives, as in 90d or 12h. Without it the token does not expire, as Entra
        /// wants: an expired token puts its job into quarantine.
        #[arg(long, value_name = "TIME", value_parser = lifetime)]
        expires: Option<SignedDuration>,
    },
    /// List a tenant's tokens, the revoked ones included.
    List {
        /// The tenant.
        tenant: String,
    },
    /// Revoke a token at once.
    Revoke {
        /// The tenant.
        tenant: String,
        /// The token's id, as `list` shows it.
        id: Uuid,
    },
}

fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let span: Span = text
        .parse()
        .map_err(|error| format!("{error}; write it as 90d or 12h"))?;
    let lifetime = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|error| error.to_string())?;
    match lifetime.is_positive() && u32::try_from(lifetime.as_secs()).is_ok() {
        true => Ok(lifetime),
        false => Err("a token lives longer than no time and shorter than 136 years".to_owned()),
    }
}

/// Runs one token command.
pub(super) async fn run(
    command: &TokenCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let (TokenCommand::Issue { tenant, .. }
    | TokenCommand::List { tenant }
    | TokenCommand::Revoke { tenant, .. }) = command;
    known(settings, tenant)?;
    let gateway = Gateway::find(settings).await?;
    match command {
        TokenCommand::Issue { name, expires, .. } => {
            let issued = issue(&gateway, tenant, name.clone(), *expires).await?;
            print_issued(settings, tenant, &issued, output)
        }
        TokenCommand::List { .. } => print(&list(&gateway, tenant).await?, output),
        TokenCommand::Revoke { id, .. } => {
            let revoked = revoke(&gateway, tenant, *id).await?;
            print(&[revoked], output)
        }
    }
}

async fn issue(
    gateway: &Gateway,
    tenant: &str,
    name: Option<String>,
    expires: Option<SignedDuration>,
) -> Result<TokenView, Failure> {
    match gateway {
        Gateway::Running(client) => {
            let wanted = TokenRequest {
                name,
                expires_in_s: expires.and_then(|ttl| u32::try_from(ttl.as_secs()).ok()),
            };
            let path = format!("tenants/{tenant}/tokens");
            let body = serde_json::to_value(wanted)?;
            let answer = client.call(Method::POST, &path, Some(&body)).await?;
            Ok(serde_json::from_value(answer)?)
        }
        Gateway::Stopped(store) => {
            let now = Timestamp::now();
            let issued = auth::issue(store.as_ref(), tenant, name, expires, now).await?;
            store.close().await;
            Ok(TokenView {
                token: Some(issued.secret),
                ..issued.record.into()
            })
        }
    }
}

async fn list(gateway: &Gateway, tenant: &str) -> Result<Vec<TokenView>, Failure> {
    match gateway {
        Gateway::Running(client) => {
            let path = format!("tenants/{tenant}/tokens");
            let mut answer = client.call(Method::GET, &path, None).await?;
            Ok(serde_json::from_value(answer["tokens"].take())?)
        }
        Gateway::Stopped(store) => {
            let tokens = store.tokens(tenant).await?;
            Ok(tokens.into_iter().map(TokenView::from).collect())
        }
    }
}

async fn revoke(gateway: &Gateway, tenant: &str, id: Uuid) -> Result<TokenView, Failure> {
    match gateway {
        Gateway::Running(client) => {
            let path = format!("tenants/{tenant}/tokens/{id}");
            let answer = client.call(Method::DELETE, &path, None).await?;
            Ok(serde_json::from_value(answer)?)
        }
        Gateway::Stopped(store) => {
            let revoked = auth::revoke(store.as_ref(), tenant, id, Timestamp::now()).await?;
            store.close().await;
            let revoked = revoked.ok_or(format!("tenant \"{tenant}\" has no token {id}"))?;
            Ok(revoked.into())
        }
    }
}

/// The secret alone goes to standard output, so that it can be piped; the rest is for the eye.
fn print_issued(
    settings: &Settings,
    tenant: &str,
    issued: &TokenView,
    output: Output,
) -> Result<(), Failure> {
    let url = scim_url(settings.gateway.public_url.as_str(), tenant);
    match output {
        Output::Json => {
            let mut document = serde_json::to_value(issued)?;
            document["scim_url"] = Value::from(url);
            println!("{document}");
        }
        Output::Table => {
            eprintln!("Tenant URL    {url}");
            eprintln!(
                "Secret Token  (shown once; revoke it with: gateway token revoke {tenant} {})",
                issued.id
            );
            println!("{}", issued.token.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

fn print(tokens: &[TokenView], output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        println!("{}", json!({ "tokens": tokens }));
        return Ok(());
    }
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["ID", "NAME", "CREATED", "EXPIRES", "LAST USED", "STATE"]);
    let now = Timestamp::now();
    let time = |at: Option<Timestamp>, none: &str| {
        at.map_or(none.to_owned(), |at| {
            at.strftime("%Y-%m-%d %H:%M").to_string()
        })
    };
    for token in tokens {
        let state = match (token.revoked, token.expires) {
            (Some(_), _) => "revoked",
            (None, Some(at)) if at <= now => "expired",
            _ => "live",
        };
        table.add_row([
            token.id.to_string(),
            token.name.clone().unwrap_or_default(),
            time(Some(token.created), ""),
            time(token.expires, "never"),
            time(token.last_used, "never"),
            state.to_owned(),
        ]);
    }
    println!("{table}");
    Ok(())
}
