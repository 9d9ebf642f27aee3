//! The connections: resolving, connecting, sending and reading, by reqwest.
//!
//! Invariant: a connection is only ever made to an address that `address` allowed. A host name is
//! resolved once per connection, by [`CheckedResolver`], which hands on exactly what it checked;
//! the HTTP client does not ask a resolver about IP literals, so [`Clients::check_literal`] must
//! come first for those. Connections are never shared between tenants, because tenants differ in
//! what they allow. Absent: any knowledge of secrets; headers come here complete.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Client, redirect, retry};
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::Instrument;
use url::{Host, Url};

use super::request::Checked;
use super::{EgressError, EgressLimits, address};

/// What came back, untouched.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// One tenant's clients, made when first needed: one for https and one for plain http, because the
/// two may connect to different addresses.
pub(super) struct Clients {
    encrypted: OnceLock<Client>,
    plain: OnceLock<Client>,
    allowed: Arc<[IpNet]>,
    limits: EgressLimits,
}

impl Clients {
    pub(super) fn new(allowed: Arc<[IpNet]>, limits: EgressLimits) -> Self {
        Self {
            encrypted: OnceLock::new(),
            plain: OnceLock::new(),
            allowed,
            limits,
        }
    }

    /// Checks the address of a URL whose host is one. `url` has read every spelling of it already
    /// (decimal, hexadecimal, octal, IPv4-mapped).
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), EgressError> {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
            Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(EgressError::Denied("the URL names no host".to_owned())),
        };
        address::check(address, is_encrypted(url), &self.allowed).map_err(EgressError::Denied)
    }

    /// Sends a checked request and reads the whole answer. Dropping the future ends the exchange
    /// and closes its connection.
    pub(super) async fn send(
        &self,
        checked: Checked,
        deadline: Instant,
    ) -> Result<Answer, EgressError> {
        let client = self.client(is_encrypted(&checked.url))?.clone();
        let exchange = exchange(client, checked, deadline, self.limits.clone());
        let task = connections()
            .map_err(EgressError::Connect)?
            .spawn(exchange.in_current_span());
        UntilDropped(task).finish().await
    }

    fn client(&self, encrypted: bool) -> Result<&Client, EgressError> {
        let slot = if encrypted {
            &self.encrypted
        } else {
            &self.plain
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let tls = if encrypted { verifying_tls() } else { no_tls() }.map_err(EgressError::Tls)?;
        let resolver = CheckedResolver {
            lookup: system_lookup,
            allowed: self.allowed.clone(),
            encrypted,
            turns: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .http1_only()
            .http1_max_headers(self.limits.headers_max)
            .user_agent(concat!("scim-gateway/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(self.limits.connect_ms))
            .pool_idle_timeout(Duration::from_millis(self.limits.idle_ms))
            .pool_max_idle_per_host(self.limits.idle_connections_max)
            .build()
            .map_err(|error| EgressError::Connect(innermost(&error)))?;
        Ok(slot.get_or_init(|| client))
    }
}

fn is_encrypted(url: &Url) -> bool {
    url.scheme() == "https"
}

/// The threads that own all connections to vendors.
///
/// A pooled connection lives on the runtime on which it was made. Were that an HTTP worker's, the
/// connection would stall whenever that worker computes and would die with it, under requests of
/// other workers. So connections have a runtime of their own, which lasts as long as the process.
fn connections() -> Result<&'static Runtime, String> {
    static CONNECTIONS: LazyLock<Result<Runtime, String>> = LazyLock::new(|| {
        Builder::new_multi_thread()
            .worker_threads(CONNECTION_THREADS)
            .thread_name("egress")
            .enable_all()
            .build()
            .map_err(|error| format!("no thread for connections could be started: {error}"))
    });
    CONNECTIONS.as_ref().map_err(String::clone)
}

/// They only move bytes and encrypt them: one is good for some ten thousand exchanges a second.
const CONNECTION_THREADS: usize = 2;

/// A spawned exchange that ends when nobody waits for it any more.
struct UntilDropped(JoinHandle<Result<Answer, EgressError>>);

impl UntilDropped {
    async fn finish(mut self) -> Result<Answer, EgressError> {
        (&mut self.0).await.unwrap_or_else(|error| {
            Err(EgressError::Protocol(format!(
                "the exchange broke off in the gateway: {error}"
            )))
        })
    }
}

impl Drop for UntilDropped {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(
    client: Client,
    checked: Checked,
    deadline: Instant,
    limits: EgressLimits,
) -> Result<Answer, EgressError> {
    let mut request = reqwest::Request::new(checked.method, checked.url);
    *request.headers_mut() = checked.headers;
    // Without this header a vendor may choose any encoding (RFC 9110 section 12.5.3).
    request
        .headers_mut()
        .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    *request.body_mut() = checked.body.map(Into::into);
    let whole = async {
        let response = client
            .execute(request)
            .await
            .map_err(|error| explain(&error, limits.connect_ms))?;
        read(response, &limits).await
    };
    tokio::time::timeout_at(deadline.into(), whole)
        .await
        .unwrap_or(Err(EgressError::Timeout))
}

async fn read(
    mut response: reqwest::Response,
    limits: &EgressLimits,
) -> Result<Answer, EgressError> {
    let too_large = || EgressError::TooLarge(limits.response_bytes_max as u64);
    let status = response.status().as_u16();
    if status < 200 {
        return Err(EgressError::Protocol(format!(
            "the vendor answered with status {status}"
        )));
    }
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(EgressError::Protocol(
            "the vendor compressed the answer although it was asked not to".to_owned(),
        ));
    }
    let announced = response.content_length().unwrap_or(0);
    if announced > limits.response_bytes_max as u64 {
        return Err(too_large());
    }
    // What is announced is not reserved in advance beyond a first page: it may never come.
    let mut body = Vec::with_capacity(announced.min(FIRST_PAGE_BYTES) as usize);
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| explain(&error, limits.connect_ms))?
    {
        if body.len() + chunk.len() > limits.response_bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        status,
        headers: std::mem::take(response.headers_mut()),
        body,
    })
}

const FIRST_PAGE_BYTES: u64 = 64 * 1024;

/// TLS as every tenant uses it. The root certificates, some 150 parsed structures, are read once
/// and shared; a clone of the configuration is a handful of reference counts. Certificates added
/// to the system later count from the next start on.
fn verifying_tls() -> Result<ClientConfig, String> {
    static SHARED: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = SHARED.get() {
        return Ok(config.clone());
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(|error| {
            format!("no certificate can be verified ({error}); install the package ca-certificates")
        })?
        .with_no_client_auth();
    Ok(SHARED.get_or_init(|| config).clone())
}

/// For plain http: trusts nobody, and needs no root certificates to be there.
fn no_tls() -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
        .clone()
}

/// Lookups of one tenant that may wait at a time. Each occupies a thread until the system's
/// resolver gives up; a tenant whose name server hangs must not take the threads of all others.
const LOOKUPS_AT_ONCE: usize = 4;

type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Resolves once and refuses a name if any of its addresses is not allowed, so that a name which
/// mixes public and private addresses gets no second chance.
struct CheckedResolver {
    lookup: Lookup,
    allowed: Arc<[IpNet]>,
    encrypted: bool,
    turns: Arc<Semaphore>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, allowed, encrypted) = (self.lookup, self.allowed.clone(), self.encrypted);
        let turns = self.turns.clone();
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let turn = turns.acquire_owned().await?;
            let asked = host.clone();
            let found = tokio::task::spawn_blocking(move || {
                // The turn ends with the lookup, which goes on when the request has timed out.
                let _turn = turn;
                lookup(&asked)
            })
            .await?;
            let addresses = screen(&host, found, encrypted, &allowed)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn screen(
    host: &str,
    found: io::Result<Vec<IpAddr>>,
    encrypted: bool,
    allowed: &[IpNet],
) -> Result<Vec<SocketAddr>, Unresolved> {
    let found = found.map_err(|error| Unresolved::Failed(format!("{host}: {error}")))?;
    if found.is_empty() {
        return Err(Unresolved::Failed(format!("{host} has no address")));
    }
    for address in &found {
        address::check(*address, encrypted, allowed).map_err(|refusal| {
            Unresolved::Refused(format!("{host} resolves to {address}: {refusal}"))
        })?;
    }
    // Port 0 is replaced by the URL's.
    Ok(found
        .into_iter()
        .map(|address| SocketAddr::new(address, 0))
        .collect())
}

fn system_lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect())
}

/// Why a name led to no address. Travels through the HTTP client to [`explain`].
#[derive(Debug)]
enum Unresolved {
    Failed(String),
    Refused(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Refused(text) => f.write_str(text),
        }
    }
}

impl Error for Unresolved {}

/// Says what a failure means for the request: whether the vendor can have seen it.
fn explain(error: &reqwest::Error, connect_ms: u64) -> EgressError {
    match causes(error).find_map(|cause| cause.downcast_ref::<Unresolved>()) {
        Some(Unresolved::Refused(text)) => return EgressError::Denied(text.clone()),
        Some(Unresolved::Failed(text)) => return EgressError::Dns(text.clone()),
        None => {}
    }
    if !error.is_connect() {
        return match error.is_timeout() {
            true => EgressError::Timeout,
            false => EgressError::Protocol(innermost(error)),
        };
    }
    if error.is_timeout() {
        return EgressError::Connect(format!("not established within {connect_ms} ms"));
    }
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return EgressError::Tls(tls.to_string());
    }
    let unreached = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| {
            use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable};
            use io::ErrorKind::{NetworkDown, NetworkUnreachable, PermissionDenied};
            let kinds = [
                AddrNotAvailable,
                ConnectionRefused,
                HostUnreachable,
                NetworkDown,
                NetworkUnreachable,
                PermissionDenied,
            ];
            kinds.contains(&io.kind())
        });
    // What fails between the TCP connection and the request is the handshake.
    match !unreached && error.url().is_some_and(is_encrypted) {
        true => EgressError::Tls(format!("the handshake broke off: {}", innermost(error))),
        false => EgressError::Connect(innermost(error)),
    }
}

/// The error and what caused it, outermost first. An `io::Error` hides the error that it wraps from
/// `source()`, and rustls' errors come wrapped that way.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The cause of causes, in words; the outer ones only say that there is one, and name the URL.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_bad_address_spoils_the_name() {
        let mixed = vec![ip("93.184.216.34"), ip("10.0.0.5")];
        let refused = screen("vendor.example", Ok(mixed.clone()), true, &[]);
        let Err(Unresolved::Refused(text)) = refused else {
            panic!("passed")
        };
        assert!(
            text.starts_with("vendor.example resolves to 10.0.0.5: "),
            "{text}"
        );
        let allowed: [IpNet; 1] = ["10.0.0.0/8".parse().expect("a network")];
        let passed = screen("vendor.example", Ok(mixed), true, &allowed).expect("allowed");
        assert_eq!(
            passed,
            [
                "93.184.216.34:0".parse().expect(""),
                "10.0.0.5:0".parse().expect("")
            ]
        );
    }

    #[test]
    fn names_without_addresses_are_resolution_failures() {
        for found in [Ok(Vec::new()), Err(io::Error::other("server failure"))] {
            assert!(matches!(
                screen("x.example", found, true, &[]),
                Err(Unresolved::Failed(_))
            ));
        }
    }

    #[test]
    fn a_name_is_resolved_again_for_each_connection_and_checked_each_time() {
        // Public at first, private later: DNS rebinding. Each call is one connection's resolution.
        static CALLS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        fn rebinding(_: &str) -> io::Result<Vec<IpAddr>> {
            match CALLS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => Ok(vec![ip("93.184.216.34")]),
                _ => Ok(vec![ip("169.254.169.254")]),
            }
        }
        let resolver = CheckedResolver {
            lookup: rebinding,
            allowed: Arc::new([]),
            encrypted: true,
            turns: Arc::new(Semaphore::new(1)),
        };
        let resolve = || async {
            let name: Name = "vendor.example".parse().expect("a name");
            resolver
                .resolve(name)
                .await
                .map(|found| found.collect::<Vec<_>>())
        };
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let first = runtime.block_on(resolve()).expect("public");
        assert_eq!(first, ["93.184.216.34:0".parse().expect("an address")]);
        let second = runtime
            .block_on(resolve())
            .expect_err("private")
            .to_string();
        assert!(second.contains("cloud metadata"), "{second}");
    }
}
