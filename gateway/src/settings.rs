//! The configuration: `tenants.toml` and the environment, checked once into types.
//!
//! Invariant: a [`Settings`] is whole and valid, or there is a [`Problems`] that lists everything
//! that is wrong with it, each with its place. No secret is in it: secrets are references
//! ([`SecretRef`]), and an inline one is refused without being shown. Absent: what a connector
//! asks of a tenant's settings and secrets; `tenant` checks that against the manifest and reports
//! through [`Source::problem`].
//!
//! Relative paths (`connectors`, `sled:data`) start at the process's working directory, as paths
//! on a command line do, not at the folder of the configuration file.

mod limits;
mod problem;
mod read;
mod secret;
mod source;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Map, Value};
use url::Url;

use crate::scim::Dialect;

pub use limits::{HttpLimits, Limits};
pub use problem::{Place, Problem, Problems};
pub use secret::SecretRef;
pub use source::Source;

/// The whole configuration of one gateway process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The table `[gateway]`.
    pub gateway: GatewaySettings,
    /// The tables `[tenants.NAME]`, by name.
    pub tenants: BTreeMap<String, TenantSettings>,
    /// What works but is probably not meant; for the operator's log.
    pub warnings: Problems,
    /// Where all of it was written; lets other modules report problems with their place.
    pub source: Source,
}

/// The table `[gateway]`: what does not depend on a tenant.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Where SCIM traffic is served. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Where the admin API is served. Default 127.0.0.1:8081.
    pub admin_listen: SocketAddr,
    /// How clients see the SCIM listener; derived from `listen` unless given.
    pub public_url: Url,
    /// Where resources and intents are kept. Default `sled:data`.
    pub store: StoreLocation,
    /// The folder of the built connectors. Default `connectors/dist`.
    pub connectors: PathBuf,
    /// The tables `[gateway.limits.*]`.
    pub limits: Limits,
}

/// A store engine and where it keeps its data; displayed as it is written, `sled:data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// `sled:FOLDER`
    Sled(PathBuf),
    /// `memory:`, for trials and tests: everything is gone when the process ends.
    Memory,
}

impl StoreLocation {
    /// The folder for what belongs to this gateway on this machine beside its store.
    pub fn data_dir(&self) -> PathBuf {
        match self {
            Self::Sled(folder) => folder.clone(),
            Self::Memory => PathBuf::from("data"),
        }
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sled(folder) => write!(f, "sled:{}", folder.display()),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// One table `[tenants.NAME]`.
#[derive(Clone, Debug)]
pub struct TenantSettings {
    /// Name of the connector; its file is `NAME.wasm` in the connectors' folder.
    pub connector: String,
    /// How this tenant's client departs from the RFC.
    pub dialect: &'static Dialect,
    /// Whether changes are planned but withheld from the vendor. Always false in this version.
    pub test_mode: bool,
    /// What the connector is told; not yet checked against its manifest.
    pub settings: Map<String, Value>,
    /// Where the connector's secrets are, by the manifest's names.
    pub secrets: BTreeMap<String, SecretRef>,
    /// Exceptions from the rules of the way out.
    pub egress: EgressSettings,
}

/// The table `[tenants.NAME.egress]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressSettings {
    /// Networks that this tenant's connector may reach although they are not public.
    pub allow_private: Vec<IpNet>,
}

impl Settings {
    /// Reads the file and this process's environment.
    ///
    /// Any key can be overridden by a variable: `GATEWAY__` and the key's path in upper case,
    /// joined by `__`, as in `GATEWAY__GATEWAY__LISTEN`. An empty variable counts as not set. A
    /// list is written with commas. A connector's setting that comes from a variable is text.
    ///
    /// # Errors
    /// Everything that is wrong, all at once.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        match std::fs::read_to_string(file) {
            Ok(text) => Self::parse(file, &text, source::process_environment()),
            Err(error) => Err(Problem::of_file(
                file,
                format!("cannot be read: {error}"),
                Some("name another file with --config, or start from tenants.example.toml".into()),
            )
            .into()),
        }
    }

    /// Reads `text` as the content of `file`, with these environment variables.
    ///
    /// # Errors
    /// Everything that is wrong, all at once.
    pub fn parse(
        file: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let source = Source::new(file, text, environment);
        let mut problems = Problems::default();
        match tree::merge(&source, &mut problems) {
            Some(tree) => read::settings(tree, problems, source),
            None => Err(problems),
        }
    }
}
