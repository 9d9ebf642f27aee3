//! Reads: one resource, a lookup by index, a page, a bounded scan. No read reaches the vendor.

use serde_json::Value;

use crate::auth::Admission;
use crate::dispatch::resource_of;
use crate::scim::{self, Filter, IndexedAttribute, Projection, ScimError, ScimType, Unique};
use crate::store::{Kind, StoreError, Stored, UniqueKey};

use super::answer::{Failure, Response, gone, meta, unavailable};
use super::{Pipeline, Query, Request, check_if_match};

/// How many resources a page or a scan reads before it lets other requests run.
const READ_CHUNK: usize = 200;

impl Pipeline {
    /// `GET /Users/{id}` (RFC 7644 section 3.4.1).
    pub(super) async fn read(
        &self,
        admission: &Admission,
        request: &Request,
        id: uuid::Uuid,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let stored = admission.store().resource(Kind::User, id).await;
        let stored = stored
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| gone(request))?;
        check_if_match(request, stored.version)?;
        let known = request.if_none_match.as_deref();
        if known.is_some_and(|tags| !scim::if_none_match_holds(tags, Some(stored.version))) {
            return Ok(Response {
                etag: Some(scim::etag(stored.version)),
                ..Response::new(304, None)
            });
        }
        Ok(self.document(admission, 200, &stored, shown))
    }

    /// `GET /Users` (RFC 7644 section 3.4.2). A filter that nothing matches is an empty list.
    pub(super) async fn list(
        &self,
        admission: &Admission,
        query: &Query,
    ) -> Result<Response, Failure> {
        let indexed = query.filter.as_ref().and_then(|filter| {
            let (attribute, value) = filter.index_lookup()?;
            Some((filter, attribute, value))
        });
        let (total, found) = match (&query.filter, indexed) {
            (_, Some((filter, attribute, value))) => self
                .look_up(admission, filter, attribute, value, query)
                .await
                .map_err(|error| unavailable(&error))?,
            (Some(filter), None) => self.scan(admission, filter, query).await?,
            (None, None) => self
                .page(admission, query)
                .await
                .map_err(|error| unavailable(&error))?,
        };
        let resources: Vec<Value> = found
            .iter()
            .map(|stored| self.render(admission, stored, &query.shown))
            .collect();
        let body = scim::list_response(total, query.start_index as u64, resources);
        Ok(Response::new(200, Some(body)))
    }

    /// The one resource that an index names, if the whole filter holds for it. A value that is only
    /// claimed by an open intent has no resource yet, and a claimed new name is not the old
    /// resource's yet: both are no hit.
    async fn look_up(
        &self,
        admission: &Admission,
        filter: &Filter,
        attribute: IndexedAttribute,
        value: String,
        query: &Query,
    ) -> Result<(u64, Vec<Stored>), StoreError> {
        let store = admission.store();
        let id = match attribute {
            IndexedAttribute::Id => uuid::Uuid::parse_str(&value).ok(),
            IndexedAttribute::UserName => store.holder(&key(Unique::UserName, value)).await?,
            IndexedAttribute::ExternalId => store.holder(&key(Unique::ExternalId, value)).await?,
        };
        let found = match id {
            Some(id) => store.resource(Kind::User, id).await?,
            None => None,
        };
        let found: Vec<Stored> = found
            .filter(|stored| matches(admission, filter, stored))
            .into_iter()
            .collect();
        let total = found.len() as u64;
        let wanted = query.start_index == 1 && query.count > 0;
        Ok((total, if wanted { found } else { Vec::new() }))
    }

    /// A page of all resources in the order of their creation.
    async fn page(
        &self,
        admission: &Admission,
        query: &Query,
    ) -> Result<(u64, Vec<Stored>), StoreError> {
        let store = admission.store();
        let total = store.count(Kind::User).await?;
        let mut found = Vec::new();
        let mut after = store.seek(Kind::User, query.start_index as u64 - 1).await?;
        while found.len() < query.count {
            let wanted = READ_CHUNK.min(query.count - found.len());
            let chunk = store.page(Kind::User, after, wanted).await?;
            let Some(last) = chunk.last() else { break };
            after = Some(last.position);
            found.extend(chunk);
            tokio::task::yield_now().await;
        }
        Ok((total, found))
    }

    /// Reads every resource and keeps those that the filter holds for: for filters that no index
    /// serves. Refuses once it has read more than the limit allows, rather than holding others up.
    async fn scan(
        &self,
        admission: &Admission,
        filter: &Filter,
        query: &Query,
    ) -> Result<(u64, Vec<Stored>), Failure> {
        let store = admission.store();
        let count = store.count(Kind::User).await;
        if count.map_err(|error| unavailable(&error))? > self.limits.scan_resources_max as u64 {
            let detail = format!(
                "this filter would have to read more than {} resources (limit \
                 scan_resources_max); filter by userName or externalId with eq",
                self.limits.scan_resources_max
            );
            return Err(ScimError::with(ScimType::TooMany, detail).into());
        }
        let mut total = 0u64;
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let chunk = store.page(Kind::User, after, READ_CHUNK).await;
            let chunk = chunk.map_err(|error| unavailable(&error))?;
            let Some(last) = chunk.last() else { break };
            after = Some(last.position);
            for stored in chunk {
                if matches(admission, filter, &stored) {
                    total += 1;
                    if total >= query.start_index as u64 && found.len() < query.count {
                        found.push(stored);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        Ok((total, found))
    }
}

fn key(unique: Unique, value: String) -> UniqueKey {
    UniqueKey {
        kind: Kind::User,
        attribute: unique.as_str().to_owned(),
        value,
    }
}

fn matches(admission: &Admission, filter: &Filter, stored: &Stored) -> bool {
    let users = admission.profile().user();
    let everything = Projection::default();
    let whole = scim::render(
        users,
        &resource_of(stored),
        &meta(admission, stored),
        &everything,
    );
    whole
        .as_object()
        .is_some_and(|whole| filter.matches(whole, users))
}
