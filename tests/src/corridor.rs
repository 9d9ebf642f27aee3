//! The whole corridor, set up for one tenant of KnowBe4: simulated vendor, real gateway, a token, and
//! a client that presents it.

use std::path::Path;

use crate::entra::Entra;
use crate::gateway_process::{Config, Gateway};
use crate::vendors::knowbe4::{API_KEY, Options, Simulator, Switches};

/// The tenant's name.
pub const TENANT: &str = "acme-knowbe4";

/// How a corridor shall be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How the simulated vendor behaves.
    pub switches: Switches,
    /// More TOML for the gateway's configuration, such as `[gateway.limits.http]`.
    pub tables: String,
    /// More environment for the gateway.
    pub env: Vec<(String, String)>,
    /// A program in front of `gateway serve`, with its arguments.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// A vendor without rate limits and latency.
    pub fn instant() -> Self {
        let switches = Switches {
            instant: true,
            ..Switches::default()
        };
        Self {
            switches,
            ..Self::default()
        }
    }
}

/// Everything that is up. Dropping it ends it all.
pub struct Corridor {
    /// The simulated vendor.
    pub vendor: Simulator,
    /// The real gateway.
    pub gateway: Gateway,
    /// A bearer token for [`TENANT`].
    pub token: String,
    /// A client that presents it.
    pub entra: Entra,
}

impl Corridor {
    /// Starts vendor and gateway, with the gateway's data in `dir`.
    pub fn start(dir: &Path, setup: Setup) -> Result<Self, String> {
        let vendor = Simulator::start(Options {
            switches: setup.switches,
            ..Options::default()
        })
        .map_err(|error| format!("the simulated vendor: {error}"))?;
        let mut config = Config::new(dir, tables(&vendor.url()) + &setup.tables);
        config.env = setup.env;
        config
            .env
            .push(("ACME_KNOWBE4_API_KEY".to_owned(), API_KEY.to_owned()));
        config.wrapper = setup.wrapper;
        let gateway = Gateway::start(config)?;
        let token = gateway.token(TENANT)?;
        let entra = Entra::new(&gateway.scim_url(TENANT), &token)?;
        Ok(Self {
            vendor,
            gateway,
            token,
            entra,
        })
    }
}

/// The tenant's part of `tenants.toml`, for a vendor at that URL.
pub fn tables(vendor_url: &str) -> String {
    format!(
        "[tenants.{TENANT}]\nconnector = \"knowbe4\"\n\
         [tenants.{TENANT}.settings]\nbase_url = \"{vendor_url}\"\n\
         [tenants.{TENANT}.secrets]\napi_key = \"env:ACME_KNOWBE4_API_KEY\"\n\
         [tenants.{TENANT}.egress]\nallow_private = [\"127.0.0.1/32\"]\n"
    )
}
