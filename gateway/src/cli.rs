//! The `gateway` command: what it takes, and which exit code it ends with (0 done, 1 failed, 2 wrong
//! usage).

mod admin;
mod check;
mod connector;
mod log;
mod serve;
mod tenant;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::settings::Settings;

/// Multi-tenant SCIM provisioning gateway: SCIM 2.0 in, a sandboxed connector per app, the vendor's
/// own API out.
#[derive(Parser)]
#[command(name = "gateway", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "tenants.toml",
        env = "GATEWAY_CONFIG"
    )]
    config: PathBuf,
    /// How tables are printed.
    #[arg(long, global = true, value_enum, default_value = "table")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How a command prints what it found.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs: one JSON document on standard output.
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Serve SCIM traffic and the admin API until SIGINT or SIGTERM.
    Serve,
    /// Check the configuration and every connector; print all problems with file, line and column.
    Check,
    /// Show the configured tenants, and how their clients speak.
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Issue, list and revoke a tenant's bearer tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Show a tenant's provisioning log, newest entry first.
    Log(log::LogArgs),
    /// Build connectors and look into them.
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    /// Print the version.
    Version,
}

/// Why a command ends with exit code 1; already written for the person who typed it.
#[derive(Debug)]
pub struct Failure(String);

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Serve => load(&cli).and_then(|settings| runtime()?.block_on(serve::run(settings))),
        Command::Check => check::run(&cli.config, cli.output),
        Command::Tenant(command) => load(&cli)
            .and_then(|settings| runtime()?.block_on(tenant::run(command, &settings, cli.output))),
        Command::Token(command) => load(&cli)
            .and_then(|settings| runtime()?.block_on(token::run(command, &settings, cli.output))),
        Command::Log(args) => load(&cli)
            .and_then(|settings| runtime()?.block_on(log::run(args, &settings, cli.output))),
        Command::Connector(command) => connector::run(command, cli.output),
        Command::Version => {
            println!("gateway {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("{}", message.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn load(cli: &Cli) -> Result<Settings, Failure> {
    Settings::load(&cli.config).map_err(Failure::from)
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
}
