//! The whole corridor, set up: simulated vendors, one real gateway with a tenant for each of them, a
//! token per tenant, and clients that present them.
//!
//! The tenant of KnowBe4 is always there; tenants with the connector `scim` are there when asked for.

use std::path::Path;

use crate::entra::Entra;
use crate::gateway_process::{Config, Gateway};
use crate::vendors::{knowbe4, scim};

/// The name of KnowBe4's tenant.
pub const TENANT: &str = "acme-knowbe4";

/// A tenant with the connector `scim` whose client is Entra.
pub const SCIM: ScimTenant = ScimTenant {
    name: "acme-scim",
    dialect: None,
};

/// A tenant with the connector `scim` whose client is Okta.
pub const OKTA: ScimTenant = ScimTenant {
    name: "okta-scim",
    dialect: Some("okta"),
};

/// A tenant with the connector `scim` whose client keeps to the RFC.
pub const STRICT: ScimTenant = ScimTenant {
    name: "strict-scim",
    dialect: Some("strict"),
};

/// A tenant with the connector `scim` and a simulated vendor of its own.
#[derive(Clone, Copy, Debug)]
pub struct ScimTenant {
    /// The tenant's name.
    pub name: &'static str,
    /// What the configuration says of its dialect; the gateway's default if nothing.
    pub dialect: Option<&'static str>,
}

impl ScimTenant {
    /// The environment variable that its secret is in.
    fn variable(&self) -> String {
        format!("{}_TOKEN", self.name.to_uppercase().replace('-', "_"))
    }

    /// The tenant's part of `tenants.toml`, for a vendor at that URL.
    fn tables(&self, vendor_url: &str) -> String {
        let Self { name, dialect } = self;
        let dialect = dialect.map_or_else(String::new, |it| format!("dialect = \"{it}\"\n"));
        format!(
            "[tenants.{name}]\nconnector = \"scim\"\n{dialect}\
             [tenants.{name}.settings]\nbase_url = \"{vendor_url}\"\n\
             [tenants.{name}.secrets]\ntoken = \"env:{}\"\n\
             [tenants.{name}.egress]\nallow_private = [\"127.0.0.1/32\"]\n",
            self.variable()
        )
    }
}

/// How a corridor shall be.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How the simulated KnowBe4 behaves.
    pub switches: knowbe4::Switches,
    /// The tenants with the connector `scim`.
    pub scim: Vec<ScimTenant>,
    /// How their vendors behave; each has a token of its own, whatever is said here.
    pub scim_switches: scim::Switches,
    /// More TOML for the gateway's configuration, such as `[gateway.limits.http]`.
    pub tables: String,
    /// More environment for the gateway.
    pub env: Vec<(String, String)>,
    /// A program in front of `gateway serve`, with its arguments.
    pub wrapper: Vec<String>,
}

impl Setup {
    /// Vendors without rate limits and latency.
    pub fn instant() -> Self {
        let mut setup = Self::default();
        setup.switches.instant = true;
        setup.scim_switches.instant = true;
        setup
    }

    /// The same with these tenants of the connector `scim`.
    pub fn with(mut self, tenants: &[ScimTenant]) -> Self {
        self.scim.extend(tenants);
        self
    }
}

/// Everything that is up. Dropping it ends it all.
pub struct Corridor {
    /// The simulated KnowBe4.
    pub vendor: knowbe4::Simulator,
    /// The tenants with the connector `scim`, in the order asked for.
    pub scim: Vec<ScimSide>,
    /// The real gateway.
    pub gateway: Gateway,
    /// A bearer token for [`TENANT`].
    pub token: String,
    /// A client that presents it.
    pub entra: Entra,
}

/// Both ends of a tenant with the connector `scim`.
pub struct ScimSide {
    /// The tenant's name.
    pub tenant: &'static str,
    /// Its simulated vendor.
    pub vendor: scim::Simulator,
    /// A bearer token for the tenant.
    pub token: String,
    /// A client that presents it.
    pub entra: Entra,
}

impl Corridor {
    /// Starts vendors and gateway, with the gateway's data in `dir`.
    ///
    /// # Errors
    /// What did not start, and what the gateway has said about it.
    pub fn start(dir: &Path, setup: Setup) -> Result<Self, String> {
        let vendor = knowbe4::Simulator::start(knowbe4::Options {
            switches: setup.switches,
            ..knowbe4::Options::default()
        })
        .map_err(|error| format!("the simulated KnowBe4: {error}"))?;
        let mut config = Config::new(dir, tables(&vendor.url()));
        config.env = setup.env;
        config.env.push((
            "ACME_KNOWBE4_API_KEY".to_owned(),
            knowbe4::API_KEY.to_owned(),
        ));
        config.wrapper = setup.wrapper;
        let mut vendors = Vec::new();
        for tenant in setup.scim {
            let name = tenant.name;
            let switches = scim::Switches {
                // A token of its own: a vendor that meets another tenant's refuses it.
                token: format!("{}-{name}", scim::TOKEN),
                ..setup.scim_switches.clone()
            };
            let options = scim::Options {
                switches,
                ..scim::Options::default()
            };
            let vendor = scim::Simulator::start(options)
                .map_err(|error| format!("the simulated vendor of {name}: {error}"))?;
            config.tables.push_str(&tenant.tables(&vendor.url()));
            config.env.push((tenant.variable(), vendor.token()));
            vendors.push((name, vendor));
        }
        config.tables.push_str(&setup.tables);
        let gateway = Gateway::start(config)?;
        let token = gateway.token(TENANT)?;
        let entra = Entra::new(&gateway.scim_url(TENANT), &token)?;
        let scim = vendors
            .into_iter()
            .map(|(tenant, vendor)| {
                let token = gateway.token(tenant)?;
                let entra = Entra::new(&gateway.scim_url(tenant), &token)?;
                Ok(ScimSide {
                    tenant,
                    vendor,
                    token,
                    entra,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            vendor,
            scim,
            gateway,
            token,
            entra,
        })
    }

    /// The tenant of that name with the connector `scim`, if it is there.
    pub fn scim(&self, tenant: &str) -> Option<&ScimSide> {
        self.scim.iter().find(|it| it.tenant == tenant)
    }
}

/// The part of `tenants.toml` of KnowBe4's tenant, for a vendor at that URL.
pub fn tables(vendor_url: &str) -> String {
    format!(
        "[tenants.{TENANT}]\nconnector = \"knowbe4\"\n\
         [tenants.{TENANT}.settings]\nbase_url = \"{vendor_url}\"\n\
         [tenants.{TENANT}.secrets]\napi_key = \"env:ACME_KNOWBE4_API_KEY\"\n\
         [tenants.{TENANT}.egress]\nallow_private = [\"127.0.0.1/32\"]\n"
    )
}
