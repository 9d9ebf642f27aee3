//! The store as request handling sees it: one tenant's part of it.
//!
//! Invariant: every method names the tenant that the handle is bound to. Absent: what spans
//! tenants, such as [`Store::intents`], and what is not a tenant's own business, such as
//! [`Store::health`].

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::{
    AttributeKey, CommitError, FormUse, Intent, Kind, LogEntry, Member, Precondition, Store,
    StoreError, Stored, Token, Write, WriteSet,
};

/// The store as one tenant sees it: the same operations, without a tenant argument.
///
/// Holding one is the authority over that tenant's data. Only `auth.rs` mints them, for a request
/// that it has admitted, and recovery does for the tenant that an open intent names.
#[derive(Clone)]
pub struct TenantStore {
    store: Arc<dyn Store>,
    tenant: Arc<str>,
}

impl TenantStore {
    /// Binds a store to a tenant. See the type for who may call this.
    pub(crate) fn new(store: Arc<dyn Store>, tenant: impl Into<Arc<str>>) -> TenantStore {
        TenantStore {
            store,
            tenant: tenant.into(),
        }
    }

    /// The tenant that this handle is bound to.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// [`Store::commit`]. A write that names another tenant is [`CommitError::Invalid`].
    pub async fn commit(
        &self,
        preconditions: Vec<Precondition>,
        writes: Vec<Write>,
    ) -> Result<(), CommitError> {
        let tenant = self.tenant.to_string();
        self.store
            .commit(WriteSet {
                tenant,
                preconditions,
                writes,
            })
            .await
    }

    /// [`Store::resource`].
    pub async fn resource(&self, kind: Kind, id: Uuid) -> Result<Option<Stored>, StoreError> {
        self.store.resource(&self.tenant, kind, id).await
    }

    /// [`Store::holder`].
    pub async fn holder(&self, key: &AttributeKey) -> Result<Option<Uuid>, StoreError> {
        self.store.holder(&self.tenant, key).await
    }

    /// [`Store::resources`].
    pub async fn resources(&self, kind: Kind, ids: &[Uuid]) -> Result<Vec<Stored>, StoreError> {
        self.store.resources(&self.tenant, kind, ids).await
    }

    /// [`Store::identify`].
    pub async fn identify(&self, ids: &[Uuid]) -> Result<Vec<Option<Member>>, StoreError> {
        self.store.identify(&self.tenant, ids).await
    }

    /// [`Store::indexed`].
    pub async fn indexed(
        &self,
        key: &AttributeKey,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.store.indexed(&self.tenant, key, after, limit).await
    }

    /// [`Store::members`].
    pub async fn members(
        &self,
        group: Uuid,
        kind: Option<Kind>,
        after: Option<&Member>,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<Member>, StoreError> {
        self.store
            .members(&self.tenant, group, kind, after, skip, limit)
            .await
    }

    /// [`Store::member_count`].
    pub async fn member_count(&self, group: Uuid, kind: Kind) -> Result<u64, StoreError> {
        self.store.member_count(&self.tenant, group, kind).await
    }

    /// [`Store::which_are_members`].
    pub async fn which_are_members(
        &self,
        group: Uuid,
        ids: &[Uuid],
    ) -> Result<Vec<Option<Kind>>, StoreError> {
        self.store.which_are_members(&self.tenant, group, ids).await
    }

    /// [`Store::groups_of`].
    pub async fn groups_of(
        &self,
        member: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        self.store
            .groups_of(&self.tenant, member, after, limit)
            .await
    }

    /// [`Store::page`].
    pub async fn page(
        &self,
        kind: Kind,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        self.store.page(&self.tenant, kind, after, limit).await
    }

    /// [`Store::seek`].
    pub async fn seek(&self, kind: Kind, skip: u64) -> Result<Option<u64>, StoreError> {
        self.store.seek(&self.tenant, kind, skip).await
    }

    /// [`Store::count`].
    pub async fn count(&self, kind: Kind) -> Result<u64, StoreError> {
        self.store.count(&self.tenant, kind).await
    }

    /// [`Store::intent`].
    pub async fn intent(&self, resource: Uuid) -> Result<Option<Intent>, StoreError> {
        self.store.intent(&self.tenant, resource).await
    }

    /// [`Store::log`].
    pub async fn log(
        &self,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        self.store.log(&self.tenant, before, limit).await
    }

    /// [`Store::tokens`].
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.store.tokens(&self.tenant).await
    }

    /// [`Store::forms`].
    pub async fn forms(&self) -> Result<Vec<FormUse>, StoreError> {
        self.store.forms(&self.tenant).await
    }

    /// [`Store::secret`]. The same for all tenants: what is signed with it must name the tenant.
    pub fn secret(&self) -> [u8; 32] {
        self.store.secret()
    }
}

impl fmt::Debug for TenantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantStore")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
