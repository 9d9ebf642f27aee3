//! What a tenant is at run time: one customer's connection to one app, assembled once from the
//! settings and the connector's manifest, immutable afterwards.
//!
//! Invariant: what belongs to the vendor side (connector, credential, way out) is handed to `auth`
//! alone, which lends it to admitted requests.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use crate::connector::{Connector, ConnectorHost};
use crate::egress::{Credential, Egress, EgressPolicy};
use crate::manifest::{AuthRecipe, Manifest};
use crate::scim::{Dialect, Profile};
use crate::settings::{Problem, Problems, Settings, TenantSettings};

/// One customer's connection to one app.
pub struct Tenant {
    /// As in `tenants.toml` and in the SCIM URL.
    pub name: Arc<str>,
    /// What clients see in front of `/Users`; `meta.location` starts with it.
    pub scim_url: String,
    /// How its client's requests are read.
    pub dialect: &'static Dialect,
    vendor: Vendor,
}

/// The vendor side of a tenant.
pub struct Vendor {
    /// The app's connector.
    pub connector: Arc<Connector>,
    /// The tenant's settings for it, JSON text, checked against the manifest.
    pub settings: Arc<str>,
    /// The tenant's only way out.
    pub egress: Arc<Egress>,
}

impl Tenant {
    /// What the tenant's app supports.
    pub fn profile(&self) -> &Profile {
        &self.vendor.connector.manifest().profile
    }

    /// The app's name: that of its connector.
    pub fn app(&self) -> &str {
        &self.vendor.connector.manifest().name
    }

    /// The vendor side; for `auth` only.
    pub(crate) fn vendor(&self) -> &Vendor {
        &self.vendor
    }
}

/// All configured tenants by name.
pub struct Tenants(HashMap<Arc<str>, Arc<Tenant>>);

impl Tenants {
    /// The tenant of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Tenant>> {
        self.0.get(name).cloned()
    }

    /// Every tenant, by name.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let mut tenants: Vec<_> = self.0.values().cloned().collect();
        tenants.sort_by(|a, b| a.name.cmp(&b.name));
        tenants
    }

    /// Assembles every configured tenant: loads each connector once, checks each tenant's settings
    /// and secrets against its manifest. Reports all problems of all tenants at once.
    pub fn assemble(settings: &Settings, host: &ConnectorHost) -> Result<Self, Problems> {
        let mut loaded = BTreeMap::new();
        let mut tenants = HashMap::new();
        let mut problems = Problems::default();
        for (name, tenant) in &settings.tenants {
            let connector = loaded
                .entry(tenant.connector.clone())
                .or_insert_with(|| load(&settings.gateway.connectors, &tenant.connector, host));
            match connector {
                Err(message) => problems.push(settings.source.problem(
                    &["tenants", name, "connector"],
                    message.clone(),
                    None,
                )),
                Ok(connector) => match connect(name, tenant, connector.clone(), settings) {
                    Ok(vendor) => {
                        let name: Arc<str> = name.as_str().into();
                        let scim_url = scim_url(settings.gateway.public_url.as_str(), &name);
                        let assembled = Tenant {
                            name: name.clone(),
                            scim_url,
                            dialect: tenant.dialect,
                            vendor,
                        };
                        tenants.insert(name, Arc::new(assembled));
                    }
                    Err(found) => found.into_iter().for_each(|problem| problems.push(problem)),
                },
            }
        }
        problems.or(Self(tenants))
    }
}

/// The SCIM base URL of a tenant.
pub fn scim_url(public_url: &str, tenant: &str) -> String {
    format!(
        "{}/tenants/{tenant}/scim/v2",
        public_url.trim_end_matches('/')
    )
}

fn load(folder: &Path, name: &str, host: &ConnectorHost) -> Result<Arc<Connector>, String> {
    let file = folder.join(format!("{name}.wasm"));
    if !file.is_file() {
        return Err(format!(
            "no connector \"{name}\" in {}: build it with `gateway connector build connectors/{name}`{}",
            folder.display(),
            available(folder)
        ));
    }
    let connector = host.load(&file).map_err(|error| error.to_string())?;
    match connector.manifest().name == name {
        true => Ok(connector),
        false => Err(format!(
            "{} holds the connector \"{}\": name the file after it",
            file.display(),
            connector.manifest().name
        )),
    }
}

fn available(folder: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| Some(file.strip_suffix(".wasm")?.to_owned()))
        .collect();
    names.sort();
    match names.is_empty() {
        true => "; the folder holds no connector".to_owned(),
        false => format!("; the folder holds: {}", names.join(", ")),
    }
}

/// Checks one tenant against its connector's manifest and gives it its way out.
fn connect(
    name: &str,
    tenant: &TenantSettings,
    connector: Arc<Connector>,
    settings: &Settings,
) -> Result<Vendor, Vec<Problem>> {
    let manifest = connector.manifest();
    let at = |keys: &[&str], message: String| {
        let path: Vec<&str> = ["tenants", name].iter().chain(keys).copied().collect();
        settings.source.problem(&path, message, None)
    };
    let mut problems = Vec::new();

    let checked = manifest
        .check_settings(&tenant.settings)
        .unwrap_or_else(|found| {
            problems.extend(found.into_iter().map(|found| match &found.setting {
                Some(setting) => at(&["settings", setting], found.message),
                None => at(&["settings"], found.message),
            }));
            tenant.settings.clone()
        });
    let secrets = secrets(manifest, tenant, &at, &mut problems);
    let origins = match manifest.granted_origins(&checked) {
        Ok(origins) => origins,
        Err(message) => {
            problems.push(at(&["settings"], message));
            Vec::new()
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }

    let policy = EgressPolicy {
        origins,
        allow_private: tenant.egress.allow_private.clone(),
        credential: credential(manifest, secrets),
    };
    let egress = Egress::new(policy, &settings.gateway.limits.egress)
        .map_err(|error| vec![at(&[], format!("its way out cannot be set up: {error}"))])?;
    let settings = serde_json::Value::Object(checked).to_string().into();
    Ok(Vendor {
        connector,
        settings,
        egress: Arc::new(egress),
    })
}

/// Resolves the tenant's secret references: exactly those that the manifest names.
fn secrets(
    manifest: &Manifest,
    tenant: &TenantSettings,
    at: &impl Fn(&[&str], String) -> Problem,
    problems: &mut Vec<Problem>,
) -> HashMap<String, SecretString> {
    let app = &manifest.name;
    for given in tenant.secrets.keys() {
        if !manifest.secrets.contains_key(given) {
            let known: Vec<&str> = manifest.secrets.keys().map(String::as_str).collect();
            let message = format!(
                "connector \"{app}\" has no secret \"{given}\"; it takes: {}",
                known.join(", ")
            );
            problems.push(at(&["secrets", given], message));
        }
    }
    let mut resolved = HashMap::new();
    for (wanted, description) in &manifest.secrets {
        match tenant.secrets.get(wanted) {
            None => {
                let message = format!(
                    "connector \"{app}\" needs the secret \"{wanted}\" ({description}): \
                     add {wanted} = \"env:NAME\" or \"file:/path\""
                );
                problems.push(at(&["secrets"], message));
            }
            Some(reference) => match reference.resolve() {
                Ok(secret) => {
                    resolved.insert(wanted.clone(), secret);
                }
                Err(message) => problems.push(at(&["secrets", wanted], message)),
            },
        }
    }
    resolved
}

fn credential(
    manifest: &Manifest,
    mut secrets: HashMap<String, SecretString>,
) -> Option<Credential> {
    match manifest.auth.as_ref()? {
        AuthRecipe::Bearer { secret } => secrets.remove(secret).map(Credential::Bearer),
    }
}
