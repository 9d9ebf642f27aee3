//! From the merged tree to checked types: what each key means and which values it takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::Map;
use url::{Host, Url};

use super::limits::limits;
use super::problem::Problems;
use super::secret::SecretRef;
use super::source::Source;
use super::tree::{Reader, Table, did_you_mean};
use super::{EgressSettings, GatewaySettings, Settings, StoreLocation, TenantSettings};
use crate::scim::{Dialect, ENTRA};

/// Why a text is not the value that is wanted, and what to write instead.
type Wrong = (String, Option<String>);

/// Reads everything; `problems` are those found so far.
pub(super) fn settings(
    mut root: Table,
    problems: Problems,
    source: Source,
) -> Result<Settings, Problems> {
    let mut reader = Reader {
        source: &source,
        problems,
        warnings: Problems::default(),
    };
    let gateway = gateway(root.table("gateway", &mut reader), &mut reader);
    let tenants = tenants(root.table("tenants", &mut reader), &mut reader);
    root.refuse_unknown(&["gateway", "tenants"], &mut reader);
    let Reader {
        problems, warnings, ..
    } = reader;
    problems.or(Settings {
        gateway,
        tenants,
        warnings,
        source,
    })
}

fn gateway(mut table: Table, reader: &mut Reader<'_>) -> GatewaySettings {
    let own = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let names_admin = table.has("admin_listen");
    let listen = table
        .parsed("listen", reader, listen_address)
        .unwrap_or(own(8080));
    let admin_listen = table
        .parsed("admin_listen", reader, listen_address)
        .unwrap_or(own(8081));
    if collide(listen, admin_listen) {
        let message = format!(
            "`admin_listen` ({admin_listen}) must differ from `listen` ({listen}): SCIM clients must \
             not reach the admin API"
        );
        let key = if names_admin {
            "admin_listen"
        } else {
            "listen"
        };
        reader.problem(&["gateway", key], message, None);
    }
    if !admin_listen.ip().is_loopback() {
        let message = "the admin API is reachable from other machines, in plain http".to_owned();
        let help = "listen on 127.0.0.1 and put a proxy with TLS and its own login in front";
        reader.warning(&["gateway", "admin_listen"], message, Some(help.into()));
    }
    let public_url = public_url(&mut table, listen, reader);
    let store = table
        .parsed("store", reader, store)
        .unwrap_or(StoreLocation::Sled("data".into()));
    if store == StoreLocation::Memory {
        let message = "the store forgets everything when the gateway stops".to_owned();
        reader.warning(&["gateway", "store"], message, None);
    }
    let connectors = table.parsed("connectors", reader, folder);
    let limits = limits(table.table("limits", reader), reader);
    let known = [
        "listen",
        "admin_listen",
        "public_url",
        "store",
        "connectors",
        "limits",
    ];
    table.refuse_unknown(&known, reader);
    GatewaySettings {
        listen,
        admin_listen,
        public_url,
        store,
        connectors: connectors.unwrap_or_else(|| PathBuf::from("connectors/dist")),
        limits,
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        let port = text
            .rsplit(':')
            .next()
            .and_then(|port| port.parse::<u16>().ok());
        let local = text.starts_with("localhost") || !text.trim_start_matches(':').contains(':');
        (
            format!("\"{text}\" is not an address and a port"),
            Some(match port {
                Some(port) if local => format!("write \"127.0.0.1:{port}\""),
                _ => "write it as in \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned(),
            }),
        )
    })
}

/// Whether the second of two listeners could not be bound, or would take the first one's traffic.
/// Port 0 takes a free one each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (everywhere || a.ip() == b.ip())
}

fn public_url(table: &mut Table, listen: SocketAddr, reader: &mut Reader<'_>) -> Url {
    match table.parsed("public_url", reader, web_url) {
        Some(url) => {
            if url.scheme() == "http" && !is_local(&url) {
                let message = "Entra ID accepts https only".to_owned();
                reader.warning(&["gateway", "public_url"], message, None);
            }
            url
        }
        None => {
            let derived = derived_url(listen);
            if !listen.ip().is_loopback() {
                let message = format!("`public_url` is not set; clients are told {derived}");
                let help = Some("set it to the https URL at which clients reach `listen`".into());
                reader.warning(&["gateway", "public_url"], message, help);
            }
            derived
        }
    }
}

fn web_url(text: &str) -> Result<Url, Wrong> {
    let example = || Some("write it as in \"https://scim.example.com\"".to_owned());
    let url: Url = text.parse().map_err(|error| {
        (
            format!("`public_url` cannot be read as a URL: {error}"),
            example(),
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err((
            "`public_url` must start with https://".to_owned(),
            example(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err((
            "`public_url` must not hold a user name or a password".to_owned(),
            example(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err((
            "`public_url` must end with its path: no `?` and no `#`".into(),
            example(),
        ));
    }
    Ok(url)
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The URL of the listener as seen from this machine: the address that means "all of mine" is not
/// one that can be called.
fn derived_url(listen: SocketAddr) -> Url {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(host, listen.port());
    Url::parse(&format!("http://{address}")).expect("an address and a port make a URL")
}

fn store(text: &str) -> Result<StoreLocation, Wrong> {
    let default = || Some("write \"sled:data\", or another folder".to_owned());
    let scheme = text.split(':').next().unwrap_or_default();
    match text.split_once(':') {
        Some(("sled", "")) => Err(("`sled:` takes a folder".to_owned(), default())),
        Some(("sled", dir)) if dir.starts_with("//") => {
            Err(("`sled:` takes a folder, not a URL".to_owned(), default()))
        }
        Some(("sled", dir)) => Ok(StoreLocation::Sled(dir.into())),
        Some(("memory", "")) => Ok(StoreLocation::Memory),
        Some(("memory", _)) => Err(("`memory:` takes nothing after it".to_owned(), None)),
        Some(("redb" | "postgres" | "postgresql", _)) => Err((
            format!("the store `{scheme}` is not in this version"),
            default(),
        )),
        Some(_) => Err((
            format!("there is no store `{scheme}`"),
            did_you_mean(scheme, &["sled", "memory"]).or_else(default),
        )),
        None if scheme == "memory" => Err((
            "`store` must name an engine and a place".to_owned(),
            Some("write \"memory:\"".to_owned()),
        )),
        None => Err((
            "`store` must name an engine and a place".to_owned(),
            Some(format!(
                "write \"sled:{}\"",
                if text == "sled" { "data" } else { text }
            )),
        )),
    }
}

fn folder(text: &str) -> Result<PathBuf, Wrong> {
    match text {
        "" => Err(("`connectors` must name a folder".to_owned(), None)),
        path => Ok(PathBuf::from(path)),
    }
}

fn tenants(mut table: Table, reader: &mut Reader<'_>) -> BTreeMap<String, TenantSettings> {
    let mut tenants = BTreeMap::new();
    for name in table.names() {
        if !is_name(&name) {
            let message = "a tenant's name has 1 to 63 characters a-z, 0-9 and -, and does not \
                           start with -: it is part of a URL";
            reader.key_problem_at(&table.path_of(&name), message.to_owned(), None);
        }
        let tenant = tenant(table.table(&name, reader), reader);
        tenants.insert(name, tenant);
    }
    if tenants.is_empty() {
        let help = Some("add a table [tenants.NAME]; see tenants.example.toml".to_owned());
        reader.warning(&[], "no tenant is configured".to_owned(), help);
    }
    tenants
}

/// `[a-z0-9][a-z0-9-]{0,62}`
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-')
}

fn tenant(mut table: Table, reader: &mut Reader<'_>) -> TenantSettings {
    let header = table.path.clone();
    // A misspelt `connector` is one mistake, not two: it is reported as an unknown key below.
    let names_connector = table
        .names()
        .iter()
        .any(|name| did_you_mean(name, &["connector"]).is_some());
    let connector = table.parsed("connector", reader, connector_name);
    if !names_connector && !table.is_stand_in {
        let help = Some("add connector = \"knowbe4\", or the name of another".to_owned());
        reader.key_problem_at(&header, "the tenant names no `connector`".to_owned(), help);
    }
    if table.boolean("test_mode", reader) == Some(true) {
        let mut path = header.clone();
        path.push("test_mode".to_owned());
        let message = "test mode is not available in this version; the vendor would be changed";
        reader.problem_at(
            &path,
            message.to_owned(),
            Some("set it to false".to_owned()),
        );
    }
    let dialect = table.parsed("dialect", reader, dialect).unwrap_or(&ENTRA);
    let settings = free(table.table("settings", reader), reader);
    let secrets = secrets(table.table("secrets", reader), reader);
    let egress = egress(table.table("egress", reader), reader);
    let known = [
        "connector",
        "test_mode",
        "dialect",
        "settings",
        "secrets",
        "egress",
    ];
    table.refuse_unknown(&known, reader);
    TenantSettings {
        connector: connector.unwrap_or_default(),
        dialect,
        test_mode: false,
        settings,
        secrets,
        egress,
    }
}

fn connector_name(text: &str) -> Result<String, Wrong> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err((
            "`connector` must be a connector's name: a-z, 0-9 and -".to_owned(),
            text.strip_suffix(".wasm")
                .map(|name| format!("write \"{name}\"")),
        )),
    }
}

fn dialect(text: &str) -> Result<&'static Dialect, Wrong> {
    Dialect::named(text).ok_or_else(|| {
        let known = Dialect::NAMES.join(", ");
        (
            format!("there is no dialect \"{text}\""),
            did_you_mean(text, Dialect::NAMES).or(Some(format!("there are: {known}"))),
        )
    })
}

/// A table whose keys are the connector's affair.
fn free(mut table: Table, reader: &mut Reader<'_>) -> Map<String, serde_json::Value> {
    let mut keys = Map::new();
    for name in table.names() {
        if let Some((_, value)) = table.json(&name, reader) {
            keys.insert(name, value);
        }
    }
    keys
}

fn secrets(mut table: Table, reader: &mut Reader<'_>) -> BTreeMap<String, SecretRef> {
    let mut secrets = BTreeMap::new();
    for name in table.names() {
        let Some((path, value)) = table.json(&name, reader) else {
            continue;
        };
        match SecretRef::parse(value.as_str().unwrap_or_default()) {
            Ok(reference) => drop(secrets.insert(name, reference)),
            Err(message) => reader.problem_at(&path, message.to_owned(), None),
        }
    }
    secrets
}

fn egress(mut table: Table, reader: &mut Reader<'_>) -> EgressSettings {
    let mut allow_private = Vec::new();
    for (path, text) in table.texts("allow_private", reader) {
        match network(&text) {
            Ok(network) => allow_private.push(network),
            Err((message, suggestion)) => reader.problem_at(&path, message, suggestion),
        }
    }
    table.refuse_unknown(&["allow_private"], reader);
    EgressSettings { allow_private }
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    match text.parse::<IpNet>() {
        Ok(network) if network.prefix_len() == 0 => Err((
            format!("\"{text}\" is every address there is"),
            Some("name the vendor's network only".to_owned()),
        )),
        Ok(network) => Ok(network),
        Err(_) => Err((
            format!("\"{text}\" is not a network"),
            Some(match text.parse::<IpAddr>() {
                Ok(address) => format!("write \"{}\"", IpNet::from(address)),
                Err(_) => "write it as in \"10.1.0.0/16\" or \"fd00::/8\"".to_owned(),
            }),
        )),
    }
}
