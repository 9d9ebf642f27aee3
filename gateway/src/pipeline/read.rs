//! Reads of one resource, and the view of it that a client gets: attributes, `meta`, and the edges as
//! `members` of a group or `groups` of a user. No read reaches the vendor.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::dispatch::{into_resource, resource_kind};
use crate::scim::{self, Meta, Projection, Relations, ResourceKind, ScimError, ScimType};
use crate::store::{Kind, Member, PAGE_MAX, Stored};

use super::answer::{Failure, Response, no_such, unavailable};
use super::members::member_object;
use super::route::endpoint;
use super::write::check_if_match;
use super::{Admitted, Pipeline};

/// What the edges of one answer share: how many may still be read, and the names of groups that were
/// read already.
pub(super) struct Edges {
    left: usize,
    most: usize,
    refusal: fn(usize) -> String,
    names: HashMap<Uuid, Option<String>>,
}

impl Edges {
    /// Edges that an answer shows, at most so many.
    pub(super) fn shown(members_shown_max: usize) -> Self {
        Self::at_most(members_shown_max, |most| {
            format!(
                "the answer would hold more than {most} members of groups, or groups of users (limit \
                 members_shown_max); exclude them with excludedAttributes, ask for fewer resources, or \
                 read a group's members in pages with /Users?filter=groups.value eq \"ID\""
            )
        })
    }

    /// Edges that a filter looks at one by one, at most so many.
    pub(super) fn scanned(scan_resources_max: usize) -> Self {
        Self::at_most(scan_resources_max, |most| {
            format!(
                "this filter would have to look at more than {most} members one by one (limit \
                 scan_resources_max); compare members.value or groups.value with eq"
            )
        })
    }

    fn at_most(most: usize, refusal: fn(usize) -> String) -> Self {
        Self {
            left: most,
            most,
            refusal,
            names: HashMap::new(),
        }
    }

    /// Takes so many out of what may still be read. More than the limit is refused, never cut off: a
    /// client that takes a part for the whole removes people.
    fn take(&mut self, count: usize) -> Result<(), Failure> {
        let left = self.left.checked_sub(count);
        self.left =
            left.ok_or_else(|| ScimError::with(ScimType::TooMany, (self.refusal)(self.most)))?;
        Ok(())
    }
}

impl Pipeline {
    /// `GET /Users/{id}` and `GET /Groups/{id}` (RFC 7644 section 3.4.1).
    pub(super) async fn read(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        id: Uuid,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let request = admitted.request;
        let stored = admitted.admission.store().resource(kind, id).await;
        let stored = stored
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| no_such(kind, &id.to_string()))?;
        check_if_match(request, stored.version)?;
        let known = request.if_none_match.as_deref();
        if known.is_some_and(|tags| !scim::if_none_match_holds(tags, Some(stored.version))) {
            return Ok(Response {
                etag: Some(scim::etag(stored.version)),
                ..Response::new(304, None)
            });
        }
        let etag = scim::etag(stored.version);
        let edges = &mut Edges::shown(self.limits.members_shown_max);
        let document = self.view(admitted, stored, shown, edges).await?;
        Ok(Response {
            etag: Some(etag),
            ..Response::new(200, Some(document))
        })
    }

    /// The answer to a create (RFC 7644 section 3.3).
    pub(super) async fn created(
        &self,
        admitted: &Admitted<'_>,
        stored: Stored,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let location = location(admitted, stored.kind, stored.id);
        Ok(Response {
            location: Some(location),
            ..self.document(admitted, 201, stored, shown).await?
        })
    }

    /// A resource as the answer to a write. What was written stays written: a group with more members
    /// than one answer holds comes without them.
    pub(super) async fn document(
        &self,
        admitted: &Admitted<'_>,
        status: u16,
        stored: Stored,
        shown: &Projection,
    ) -> Result<Response, Failure> {
        let etag = scim::etag(stored.version);
        let edges = &mut Edges::shown(self.limits.members_shown_max);
        let relation = match self.relation(admitted, &stored, shown, edges).await {
            Err(failure) if failure.is_refusal() => None,
            relation => relation?,
        };
        let document = render(admitted, stored, relation, shown)?;
        Ok(Response {
            etag: Some(etag),
            ..Response::new(status, Some(document))
        })
    }

    /// A stored resource as the client sees it.
    pub(super) async fn view(
        &self,
        admitted: &Admitted<'_>,
        stored: Stored,
        shown: &Projection,
        edges: &mut Edges,
    ) -> Result<Value, Failure> {
        let relation = self.relation(admitted, &stored, shown, edges).await?;
        render(admitted, stored, relation, shown)
    }

    /// The members of a group, the groups of a user; `None` where the answer does not show them.
    async fn relation(
        &self,
        admitted: &Admitted<'_>,
        stored: &Stored,
        shown: &Projection,
        edges: &mut Edges,
    ) -> Result<Option<Vec<Value>>, Failure> {
        let has_groups = admitted.admission.profile().group().is_some();
        let attribute = resource_kind(stored.kind).relation();
        let resource_type = admitted.resource_type(stored.kind)?;
        if !has_groups || !shown.shows(resource_type, attribute) {
            return Ok(None);
        }
        let relation = match stored.kind {
            Kind::User => self.groups_of(admitted, stored.id, edges).await?,
            Kind::Group => self.members_of(admitted, stored.id, edges).await?,
        };
        Ok(Some(relation))
    }

    /// `members` of a group (RFC 7643 section 4.2).
    async fn members_of(
        &self,
        admitted: &Admitted<'_>,
        group: Uuid,
        edges: &mut Edges,
    ) -> Result<Vec<Value>, Failure> {
        let store = admitted.admission.store();
        let mut shown = Vec::new();
        let mut last: Option<Member> = None;
        loop {
            let page = store.members(group, None, last.as_ref(), 0, PAGE_MAX).await;
            let page = page.map_err(|error| unavailable(&error))?;
            edges.take(page.len())?;
            let complete = page.len() < PAGE_MAX;
            shown.extend(page.iter().map(|member| {
                let mut object = member_object(member);
                object["$ref"] = location(admitted, member.kind, member.id).into();
                object
            }));
            last = page.into_iter().last();
            if complete {
                return Ok(shown);
            }
            tokio::task::yield_now().await;
        }
    }

    /// `groups` of a user (RFC 7643 section 4.1.2): those that it is a direct member of.
    async fn groups_of(
        &self,
        admitted: &Admitted<'_>,
        user: Uuid,
        edges: &mut Edges,
    ) -> Result<Vec<Value>, Failure> {
        let ids = self.group_ids(admitted, user).await?;
        edges.take(ids.len())?;
        edges.read_names(admitted, &ids).await?;
        let shown = ids.into_iter().filter_map(|id| {
            let display = edges.names.get(&id)?.as_ref()?;
            Some(json!({
                "value": id.to_string(),
                "$ref": location(admitted, Kind::Group, id),
                "display": display,
                "type": "direct",
            }))
        });
        Ok(shown.collect())
    }

    /// The groups that a resource is a direct member of.
    async fn group_ids(&self, admitted: &Admitted<'_>, member: Uuid) -> Result<Vec<Uuid>, Failure> {
        let store = admitted.admission.store();
        let mut ids: Vec<Uuid> = Vec::new();
        loop {
            let page = store.groups_of(member, ids.last().copied(), PAGE_MAX).await;
            let page = page.map_err(|error| unavailable(&error))?;
            let complete = page.len() < PAGE_MAX;
            ids.extend(page);
            if complete {
                return Ok(ids);
            }
        }
    }

    /// The elements of `members` or `groups` that a filter has to see of a resource. Those that are
    /// read only because the filter looks at all of them are taken out of `edges`.
    pub(super) async fn related(
        &self,
        admitted: &Admitted<'_>,
        stored: &Stored,
        wanted: &Relations,
        edges: &mut Edges,
    ) -> Result<Option<Vec<Value>>, Failure> {
        let store = admitted.admission.store();
        let element = |kind: Kind, id: Uuid| {
            let mut element = member_object(&Member {
                kind,
                id,
                uid: None,
            });
            if kind == Kind::Group && stored.kind == Kind::User {
                element["type"] = "direct".into();
            }
            element
        };
        let ids = match wanted {
            Relations::None => return Ok(None),
            Relations::Named(ids) => ids,
            Relations::All => {
                let all = match stored.kind {
                    Kind::Group => {
                        for kind in [Kind::User, Kind::Group] {
                            let count = store.member_count(stored.id, kind).await;
                            let count = count.map_err(|error| unavailable(&error))?;
                            edges.take(usize::try_from(count).unwrap_or(usize::MAX))?;
                        }
                        self.member_objects(admitted.admission, stored.id).await?
                    }
                    Kind::User => {
                        let ids = self.group_ids(admitted, stored.id).await?;
                        edges.take(ids.len())?;
                        ids.into_iter().map(|id| element(Kind::Group, id)).collect()
                    }
                };
                return Ok(Some(all));
            }
        };
        let ids: Vec<Uuid> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut found = Vec::new();
        match stored.kind {
            Kind::Group => {
                let held = store.which_are_members(stored.id, &ids).await;
                let held = held.map_err(|error| unavailable(&error))?;
                let held = ids.into_iter().zip(held);
                found.extend(held.filter_map(|(id, kind)| Some(element(kind?, id))));
            }
            Kind::User => {
                for group in ids {
                    let held = store.which_are_members(group, &[stored.id]).await;
                    let held = held.map_err(|error| unavailable(&error))?;
                    if held.first().is_some_and(Option::is_some) {
                        found.push(element(Kind::Group, group));
                    }
                }
            }
        }
        Ok(Some(found))
    }

    /// The whole of a resource as a filter or a sort order sees it.
    pub(super) fn whole(
        &self,
        admitted: &Admitted<'_>,
        stored: &Stored,
        relation: Option<Vec<Value>>,
    ) -> Result<Map<String, Value>, Failure> {
        let everything = Projection::default();
        match render(admitted, stored.clone(), relation, &everything)? {
            Value::Object(whole) => Ok(whole),
            _ => Ok(Map::new()),
        }
    }
}

impl Edges {
    /// Reads the names of these groups that are not known yet.
    async fn read_names(&mut self, admitted: &Admitted<'_>, ids: &[Uuid]) -> Result<(), Failure> {
        let unknown = ids.iter().filter(|id| !self.names.contains_key(id));
        let unknown: Vec<Uuid> = unknown.copied().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let store = admitted.admission.store();
        let groups = store.resources(Kind::Group, &unknown).await;
        let groups = groups.map_err(|error| unavailable(&error))?;
        self.names.extend(unknown.into_iter().map(|id| (id, None)));
        for group in groups {
            let name = group.document.get("displayName").and_then(Value::as_str);
            self.names.insert(group.id, name.map(str::to_owned));
        }
        Ok(())
    }
}

fn render(
    admitted: &Admitted<'_>,
    stored: Stored,
    relation: Option<Vec<Value>>,
    shown: &Projection,
) -> Result<Value, Failure> {
    let resource_type = admitted.resource_type(stored.kind)?;
    let meta = Meta {
        id: stored.id.to_string(),
        created: stored.created,
        modified: stored.modified,
        version: stored.version,
        location: location(admitted, stored.kind, stored.id),
    };
    let resource = into_resource(stored);
    Ok(scim::render(
        resource_type,
        resource,
        &meta,
        relation,
        shown,
    ))
}

/// The absolute URL of a resource.
fn location(admitted: &Admitted<'_>, kind: Kind, id: Uuid) -> String {
    let kind: ResourceKind = resource_kind(kind);
    let base = &admitted.admission.tenant().scim_url;
    format!("{base}/{}/{id}", endpoint(kind))
}
