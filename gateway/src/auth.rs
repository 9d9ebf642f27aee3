//! Who may speak for a tenant: tokens, and the admission that a good token buys.
//!
//! Invariant: a store handle, a secret or a connector is only had through an [`Admission`], and only
//! this file makes one. Every refusal is the same [`AdmitError::Denied`]: an unknown tenant, a wrong token, an
//! expired one and a revoked one cannot be told apart from outside.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::connector::{Call, CallError, Lent, Reply};
use crate::scim::Profile;
use crate::store::{CommitError, Store, StoreError, TenantStore, Token, Write, WriteSet};
use crate::tenant::{Tenant, Tenants};

/// What every gateway token starts with, so that secret scanners can tell it.
pub const TOKEN_PREFIX: &str = "scimgw_";

const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How old the recorded last use of a token may get before it is written anew.
const LAST_USE_RESOLUTION: SignedDuration = SignedDuration::from_mins(1);

/// A request was not admitted, or that could not be decided.
#[derive(Debug)]
pub enum AdmitError {
    /// Carries no reason on purpose: the client gets one 401 for all of them (RFC 7644 section
    /// 3.12, RFC 6750 section 3.1).
    Denied,
    /// The store could not be asked.
    Store(StoreError),
}

/// Proof that a request may act for one tenant, and the only key to what that tenant owns.
pub struct Admission {
    tenant: Arc<Tenant>,
    store: TenantStore,
}

impl Admission {
    /// The tenant that this admission is bound to.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The tenant's part of the store.
    pub fn store(&self) -> &TenantStore {
        &self.store
    }

    /// What the tenant's app supports.
    pub fn profile(&self) -> &Profile {
        self.tenant.profile()
    }

    /// Has the tenant's connector carry out one call, lending it the tenant's way out.
    pub async fn call(
        &self,
        operation: Uuid,
        attempt: u32,
        call: Call,
    ) -> Result<Reply, CallError> {
        let vendor = self.tenant.vendor();
        let lent = Lent {
            tenant: self.tenant.name.to_string(),
            operation_id: operation.to_string(),
            attempt,
            settings: vendor.settings.clone(),
            outbound: vendor.egress.clone(),
        };
        vendor.connector.call(call, lent).await
    }
}

/// Admits requests by bearer token, and the gateway itself when it settles what a crash left open.
pub struct Gatekeeper {
    tenants: Arc<Tenants>,
    store: Arc<dyn Store>,
}

impl Gatekeeper {
    /// A gatekeeper over the configured tenants and the tokens in the store.
    pub fn new(tenants: Arc<Tenants>, store: Arc<dyn Store>) -> Self {
        Self { tenants, store }
    }

    /// Admits a request to `tenant` that carries `token`.
    ///
    /// The same work is done for a tenant that exists and one that does not. The token is found by
    /// its SHA-256 and compared in constant time.
    pub async fn admit(
        &self,
        tenant: &str,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Admission, AdmitError> {
        let secret = token
            .filter(|token| well_formed(token))
            .ok_or(AdmitError::Denied)?;
        let hash = hash(secret);
        let record = self
            .store
            .token_by_hash(&hash)
            .await
            .map_err(AdmitError::Store)?
            .ok_or(AdmitError::Denied)?;
        let same_secret = record.hash.ct_eq(&hash);
        let same_tenant = record.tenant.as_bytes().ct_eq(tenant.as_bytes());
        let live = record.revoked.is_none() && record.expires.is_none_or(|at| now < at);
        let admitted = bool::from(same_secret & same_tenant) && live;
        let tenant = self
            .tenants
            .get(tenant)
            .filter(|_| admitted)
            .ok_or(AdmitError::Denied)?;
        self.note_use(&record, now);
        Ok(self.admission(tenant))
    }

    /// Admits the gateway itself to a tenant, to settle intents that a crash left open. `None` when
    /// the tenant is no longer configured.
    pub fn admit_recovery(&self, tenant: &str) -> Option<Admission> {
        Some(self.admission(self.tenants.get(tenant)?))
    }

    fn admission(&self, tenant: Arc<Tenant>) -> Admission {
        let store = TenantStore::new(self.store.clone(), tenant.name.clone());
        Admission { tenant, store }
    }

    /// Records the use of a token, at most once in [`LAST_USE_RESOLUTION`] and off the request's path.
    fn note_use(&self, token: &Token, now: Timestamp) {
        let fresh = |last: Timestamp| now.duration_since(last) < LAST_USE_RESOLUTION;
        if token.last_used.is_some_and(fresh) {
            return;
        }
        let store = self.store.clone();
        let touch = tenant_write(
            &token.tenant,
            Write::TouchToken {
                id: token.id,
                last_used: now,
            },
        );
        tokio::spawn(async move {
            if let Err(error) = store.commit(touch).await {
                tracing::debug!(%error, "a token's last use was not recorded");
            }
        });
    }
}

/// A token as it is issued: the secret, shown once, and the record that is stored.
pub struct Issued {
    /// The secret to hand to the client. Not stored.
    pub secret: String,
    /// What the store keeps.
    pub record: Token,
}

/// Makes a token for `tenant` that expires `ttl` from `now`, or never, and stores its record.
pub async fn issue(
    store: &dyn Store,
    tenant: &str,
    label: Option<String>,
    ttl: Option<SignedDuration>,
    now: Timestamp,
) -> Result<Issued, TokenError> {
    let secret = new_secret();
    let record = Token {
        id: Uuid::now_v7(),
        tenant: tenant.to_owned(),
        hash: hash(&secret),
        name: label,
        created: now,
        expires: ttl.map(|ttl| now.saturating_add(ttl).unwrap_or(Timestamp::MAX)),
        last_used: None,
        revoked: None,
    };
    store
        .commit(tenant_write(tenant, Write::PutToken(record.clone())))
        .await?;
    Ok(Issued { secret, record })
}

/// Revokes a tenant's token at once. `Ok(None)` when the tenant has no such token.
pub async fn revoke(
    store: &dyn Store,
    tenant: &str,
    id: Uuid,
    now: Timestamp,
) -> Result<Option<Token>, TokenError> {
    let tokens = store.tokens(tenant).await?;
    let Some(mut token) = tokens.into_iter().find(|token| token.id == id) else {
        return Ok(None);
    };
    if token.revoked.is_none() {
        token.revoked = Some(now);
        store
            .commit(tenant_write(tenant, Write::PutToken(token.clone())))
            .await?;
    }
    Ok(Some(token))
}

/// A token could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store refused the write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
}

fn tenant_write(tenant: &str, write: Write) -> WriteSet {
    WriteSet {
        tenant: tenant.to_owned(),
        preconditions: Vec::new(),
        writes: vec![write],
    }
}

/// The token in an `Authorization` header: `Bearer` in any case, one space or more, the token
/// (RFC 6750 section 2.1).
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn new_secret() -> String {
    let mut rng = rand::rng();
    let secret: String = (0..SECRET_CHARS)
        .map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())]))
        .collect();
    let checksum = checksum(&secret);
    format!("{TOKEN_PREFIX}{secret}{checksum}")
}

/// Prefix, length and checksum are right; turns typing errors and garbage away without the store.
fn well_formed(token: &str) -> bool {
    token
        .strip_prefix(TOKEN_PREFIX)
        .filter(|rest| rest.len() == SECRET_CHARS + CHECKSUM_CHARS && rest.is_ascii())
        .is_some_and(|rest| {
            let (secret, sum) = rest.split_at(SECRET_CHARS);
            checksum(secret) == sum
        })
}

fn checksum(secret: &str) -> String {
    let mut rest = crc32fast::hash(secret.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.map(char::from).iter().collect()
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_well_formed_and_every_flipped_character_is_noticed() {
        let secret = new_secret();
        assert!(well_formed(&secret), "{secret}");
        for at in 0..secret.len() {
            let mut bytes = secret.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).expect("still ASCII");
            assert!(!well_formed(&changed), "{changed}");
        }
    }

    #[test]
    fn secrets_differ() {
        assert_ne!(new_secret(), new_secret());
    }

    #[test]
    fn bearer_takes_any_case_and_nothing_else() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bEARER   abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("non-token"), None);
    }
}
