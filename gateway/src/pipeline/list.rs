//! Lists: which resources a query means, in which order, and the page of them that is shown (RFC 7644
//! section 3.4.2, RFC 9865).
//!
//! Invariant: `totalResults` counts every match, and what no index serves is read one by one up to a
//! limit, giving way to other requests; beyond it the query is refused. A filter that cannot be served
//! is an error, never an unfiltered list.

use std::cmp::Ordering;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::scim::{ListQuery, Lookup, Page, Relations, ScimError, ScimType, Sort, SortKey};
use crate::store::{AttributeKey, Kind, Member, PAGE_MAX, StoreError, Stored};

use super::answer::{Failure, Response, unavailable};
use super::cursor::{Cursor, Place, Scope};
use super::read::Edges;
use super::route::resource_id;
use super::{Admitted, Pipeline};

/// How many resources a page or a scan reads before it lets other requests run.
const READ_CHUNK: usize = 200;

/// Where a page begins.
enum Start {
    /// Behind so many matches.
    Skip(u64),
    /// Behind this one, of these many in all.
    After(Place, u64),
}

/// Some of the matches of one kind.
struct Part {
    /// How many match; those of the cursor if the page began with one.
    total: u64,
    found: Vec<Stored>,
}

/// How the matches of a filter are found.
enum Access {
    /// There is no filter.
    Everything,
    /// The members of this group, and nothing else is asked.
    MembersOf(Uuid),
    /// Among these.
    Candidates(Vec<Uuid>),
    /// By reading everything.
    Scan,
}

/// A match and what the sort order sees of it.
struct Sorted {
    key: SortKey,
    kind: Kind,
    position: u64,
    id: Uuid,
}

impl Pipeline {
    /// `GET /Users`, `GET /Groups` and the searches. A filter that nothing matches is an empty list.
    pub(super) async fn list(
        &self,
        admitted: &Admitted<'_>,
        kinds: &[Kind],
        query: &ListQuery,
    ) -> Result<Response, Failure> {
        let scope = Scope::of(admitted.admission, kinds, query);
        let cursor = match query.cursor.as_deref() {
            None => None,
            Some("") => Some(Cursor::start()),
            Some(text) => Some(Cursor::open(&scope, text)?),
        };
        let skip = query.start_index as u64 - 1;
        let (total, found, next) = match (&query.sort, &cursor) {
            (Some(sort), cursor) => {
                self.sorted(admitted, kinds, query, sort, cursor.as_ref())
                    .await?
            }
            (None, Some(cursor)) => self.after(admitted, kinds, query, cursor).await?,
            (None, None) => {
                let (total, found) = self
                    .skipping(admitted, kinds, query, skip, query.count)
                    .await?;
                (total, found, None)
            }
        };
        let edges = &mut Edges::shown(self.limits.members_shown_max);
        let mut resources = Vec::with_capacity(found.len());
        for stored in found {
            resources.push(self.view(admitted, stored, &query.shown, edges).await?);
        }
        let page = Page {
            total: Some(total),
            start_index: cursor.is_none().then_some(query.start_index as u64),
            next_cursor: next.map(|next| next.seal(&scope, self.limits.cursor_ttl_s)),
            resources,
        };
        Ok(Response::new(200, Some(page.body())))
    }

    /// A page by its index, over all kinds, one behind the other.
    async fn skipping(
        &self,
        admitted: &Admitted<'_>,
        kinds: &[Kind],
        query: &ListQuery,
        skip: u64,
        count: usize,
    ) -> Result<(u64, Vec<Stored>), Failure> {
        let (mut total, mut found) = (0, Vec::new());
        for kind in kinds {
            let start = Start::Skip(skip.saturating_sub(total));
            let room = count - found.len();
            let part = self.select(admitted, *kind, query, start, room).await?;
            total += part.total;
            found.extend(part.found);
        }
        Ok((total, found))
    }

    /// The page behind a cursor, in the order of creation. One more than the page holds is looked for:
    /// whether the list goes on is asked of the store as it is now, not as it was at the first page.
    async fn after(
        &self,
        admitted: &Admitted<'_>,
        kinds: &[Kind],
        query: &ListQuery,
        cursor: &Cursor,
    ) -> Result<(u64, Vec<Stored>, Option<Cursor>), Failure> {
        let count = query.count + 1;
        let (total, mut found) = match &cursor.place {
            None => self.skipping(admitted, kinds, query, 0, count).await?,
            Some(place) => {
                let mut found: Vec<Stored> = Vec::new();
                let mut kinds = kinds.iter().skip_while(|kind| **kind != place.kind());
                let mut start = Start::After(place.clone(), cursor.total);
                while found.len() < count {
                    let Some(kind) = kinds.next() else { break };
                    let room = count - found.len();
                    let part = self.select(admitted, *kind, query, start, room).await?;
                    found.extend(part.found);
                    start = Start::Skip(0);
                }
                (cursor.total, found)
            }
        };
        let goes_on = found.len() == count;
        found.truncate(query.count);
        let next = found.last().filter(|_| goes_on);
        let next = next.map(|last| Cursor::behind(last, total));
        Ok((total, found, next))
    }

    /// A page in the order that the client wants. All matches are looked at, the page is read.
    async fn sorted(
        &self,
        admitted: &Admitted<'_>,
        kinds: &[Kind],
        query: &ListQuery,
        sort: &Sort,
        cursor: Option<&Cursor>,
    ) -> Result<(u64, Vec<Stored>, Option<Cursor>), Failure> {
        let mut matches: Vec<Sorted> = Vec::new();
        for kind in kinds {
            let resource_type = admitted.resource_type(*kind)?;
            let access = self.access(admitted, *kind, query).await?;
            self.visit(admitted, *kind, query, access, &mut |stored, whole| {
                matches.push(Sorted {
                    key: sort.key(resource_type, whole),
                    kind: *kind,
                    position: stored.position,
                    id: stored.id,
                });
            })
            .await?;
        }
        // Equal ones in the order of their creation, so that pages neither repeat nor leave out.
        let order = |one: &Sorted, other: &Sorted| -> Ordering {
            sort.compare(&one.key, &other.key)
                .then_with(|| (one.kind, one.position).cmp(&(other.kind, other.position)))
        };
        matches.sort_by(order);
        let total = matches.len() as u64;
        let start = match cursor.and_then(|cursor| cursor.place.as_ref()) {
            Some(Place::Sorted {
                key,
                kind,
                position,
            }) => {
                let last = Sorted {
                    key: key.clone(),
                    kind: *kind,
                    position: *position,
                    id: Uuid::nil(),
                };
                matches.partition_point(|one| order(one, &last).is_le())
            }
            _ if cursor.is_some() => 0,
            _ => query.start_index - 1,
        };
        let page = matches.get(start..).unwrap_or_default();
        let page = page.get(..query.count).unwrap_or(page);
        let store = admitted.admission.store();
        let mut found = Vec::with_capacity(page.len());
        for one in page {
            let stored = store.resource(one.kind, one.id).await;
            found.extend(stored.map_err(|error| unavailable(&error))?);
        }
        let behind = start + page.len();
        let next = page
            .last()
            .filter(|_| cursor.is_some() && behind < matches.len())
            .map(|last| Cursor {
                place: Some(Place::Sorted {
                    key: last.key.clone(),
                    kind: last.kind,
                    position: last.position,
                }),
                total,
            });
        Ok((total, found, next))
    }

    /// Matches of one kind from `start` on, `room` at most, and how many there are.
    async fn select(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        query: &ListQuery,
        start: Start,
        room: usize,
    ) -> Result<Part, Failure> {
        match self.access(admitted, kind, query).await? {
            Access::Everything => everything(admitted, kind, start, room)
                .await
                .map_err(|error| unavailable(&error)),
            Access::MembersOf(group) => members_of(admitted, kind, group, start, room)
                .await
                .map_err(|error| unavailable(&error)),
            access @ (Access::Candidates(_) | Access::Scan) => {
                let (mut matched, mut found) = (0u64, Vec::new());
                self.visit(admitted, kind, query, access, &mut |stored, _| {
                    matched += 1;
                    let begun = match &start {
                        Start::Skip(skip) => matched > *skip,
                        Start::After(place, _) => place.is_before(stored),
                    };
                    if begun && found.len() < room {
                        found.push(stored.clone());
                    }
                })
                .await?;
                let total = match start {
                    Start::Skip(_) => matched,
                    Start::After(_, total) => total,
                };
                Ok(Part { total, found })
            }
        }
    }

    /// Shows every match of one kind to `seen`, in the order of creation, with the whole of it.
    async fn visit(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        query: &ListQuery,
        access: Access,
        seen: &mut (dyn FnMut(&Stored, &Map<String, Value>) + Send),
    ) -> Result<(), Failure> {
        let resource_type = admitted.resource_type(kind)?;
        let relations = match &query.filter {
            Some(filter) => filter.relations(resource_type),
            None => Relations::None,
        };
        // Members that a filter has to look at one by one count as resources do.
        let edges = &mut Edges::scanned(self.limits.scan_resources_max);
        let mut source = self.source(admitted, kind, access).await?;
        while let Some(chunk) = source.next(admitted, kind).await? {
            for stored in chunk {
                let related = self.related(admitted, &stored, &relations, edges).await?;
                let whole = self.whole(admitted, &stored, related)?;
                let filter = query.filter.as_ref();
                if filter.is_none_or(|filter| filter.matches(&whole, resource_type)) {
                    seen(&stored, &whole);
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Where a filter's matches are read from, chunk by chunk.
    async fn source(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        access: Access,
    ) -> Result<Source, Failure> {
        let store = admitted.admission.store();
        let most = self.limits.scan_resources_max;
        let Access::Candidates(ids) = access else {
            let count = store.count(kind).await;
            return match count.map_err(|error| unavailable(&error))? > most as u64 {
                true => Err(too_many(most)),
                false => Ok(Source::All { after: None }),
            };
        };
        let mut few = Vec::new();
        let mut places = Vec::with_capacity(ids.len());
        let are_few = ids.len() <= READ_CHUNK;
        for ids in ids.chunks(READ_CHUNK) {
            let chunk = store.resources(kind, ids).await;
            let chunk = chunk.map_err(|error| unavailable(&error))?;
            if are_few {
                few = chunk;
                break;
            }
            places.extend(chunk.iter().map(|stored| (stored.position, stored.id)));
            tokio::task::yield_now().await;
        }
        if are_few {
            few.sort_by_key(|stored| stored.position);
            return Ok(Source::Few(Some(few)));
        }
        // Many whole resources are not held at once: they are read again in their order.
        places.sort_unstable();
        let ids: Vec<Uuid> = places.into_iter().map(|(_, id)| id).collect();
        Ok(Source::Named(ids.into_iter()))
    }

    async fn access(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        query: &ListQuery,
    ) -> Result<Access, Failure> {
        let Some(filter) = &query.filter else {
            return Ok(Access::Everything);
        };
        let resource_type = admitted.resource_type(kind)?;
        if let (Kind::User, Some(group), None) =
            (kind, filter.only_relation(resource_type), &query.sort)
        {
            return Ok(match resource_id(group) {
                Some(group) => Access::MembersOf(group),
                None => Access::Candidates(Vec::new()),
            });
        }
        let Some(lookups) = filter.lookups(resource_type) else {
            return Ok(Access::Scan);
        };
        let mut ids = Vec::new();
        for lookup in lookups {
            self.look_up(admitted, kind, lookup, &mut ids).await?;
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Access::Candidates(ids))
    }

    /// The resources that an index names. A value that is only claimed by an open intent has no
    /// resource yet, and a claimed new name is not the old resource's yet: the filter is asked too.
    async fn look_up(
        &self,
        admitted: &Admitted<'_>,
        kind: Kind,
        lookup: Lookup,
        ids: &mut Vec<Uuid>,
    ) -> Result<(), Failure> {
        let store = admitted.admission.store();
        let key = |attribute: &str, value: String| AttributeKey {
            kind,
            attribute: attribute.to_owned(),
            value,
        };
        match lookup {
            Lookup::Id(id) => ids.extend(resource_id(&id)),
            Lookup::Unique(unique, value) => {
                let holder = store.holder(&key(unique.as_str(), value)).await;
                ids.extend(holder.map_err(|error| unavailable(&error))?);
            }
            Lookup::Indexed(indexed, value) => {
                let listing = Listing::Indexed(key(indexed.as_str(), value));
                self.gather(admitted, &listing, ids).await?;
            }
            Lookup::Relation(other) => {
                let Some(other) = resource_id(&other) else {
                    return Ok(());
                };
                let listing = match kind {
                    Kind::Group => Listing::GroupsOf(other),
                    Kind::User => Listing::UsersIn(other),
                };
                self.gather(admitted, &listing, ids).await?;
            }
        }
        Ok(())
    }

    /// Collects what an index lists, in pages.
    async fn gather(
        &self,
        admitted: &Admitted<'_>,
        listing: &Listing,
        ids: &mut Vec<Uuid>,
    ) -> Result<(), Failure> {
        let most = self.limits.scan_resources_max;
        let mut after = None;
        loop {
            let found = listing.page(admitted, after).await;
            let found = found.map_err(|error| unavailable(&error))?;
            let complete = found.len() < PAGE_MAX;
            after = found.last().copied();
            ids.extend(found);
            if ids.len() > most {
                return Err(too_many(most));
            }
            if complete {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What an index lists.
enum Listing {
    /// The resources with this value.
    Indexed(AttributeKey),
    /// The groups of a member.
    GroupsOf(Uuid),
    /// The users in a group.
    UsersIn(Uuid),
}

impl Listing {
    async fn page(
        &self,
        admitted: &Admitted<'_>,
        after: Option<Uuid>,
    ) -> Result<Vec<Uuid>, StoreError> {
        let store = admitted.admission.store();
        match self {
            Self::Indexed(key) => store.indexed(key, after, PAGE_MAX).await,
            Self::GroupsOf(member) => store.groups_of(*member, after, PAGE_MAX).await,
            Self::UsersIn(group) => {
                let after = after.map(|id| Member {
                    kind: Kind::User,
                    id,
                    uid: None,
                });
                let users = store
                    .members(*group, Some(Kind::User), after.as_ref(), 0, PAGE_MAX)
                    .await?;
                Ok(users.into_iter().map(|member| member.id).collect())
            }
        }
    }
}

/// Where the resources come from that a filter is asked about, in the order of creation.
enum Source {
    /// An index named a few: all of them at once.
    Few(Option<Vec<Stored>>),
    /// An index named many.
    Named(std::vec::IntoIter<Uuid>),
    /// The store has them.
    All { after: Option<u64> },
}

impl Source {
    async fn next(
        &mut self,
        admitted: &Admitted<'_>,
        kind: Kind,
    ) -> Result<Option<Vec<Stored>>, Failure> {
        let store = admitted.admission.store();
        match self {
            Self::Few(few) => Ok(few.take()),
            Self::Named(ids) => {
                let ids: Vec<Uuid> = ids.take(READ_CHUNK).collect();
                if ids.is_empty() {
                    return Ok(None);
                }
                let chunk = store.resources(kind, &ids).await;
                chunk.map(Some).map_err(|error| unavailable(&error))
            }
            Self::All { after } => {
                let chunk = store.page(kind, *after, READ_CHUNK).await;
                let chunk = chunk.map_err(|error| unavailable(&error))?;
                let Some(last) = chunk.last() else {
                    return Ok(None);
                };
                *after = Some(last.position);
                Ok(Some(chunk))
            }
        }
    }
}

/// A page of all resources in the order of their creation.
async fn everything(
    admitted: &Admitted<'_>,
    kind: Kind,
    start: Start,
    room: usize,
) -> Result<Part, StoreError> {
    let store = admitted.admission.store();
    let (mut after, total) = match start {
        Start::Skip(skip) => (store.seek(kind, skip).await?, store.count(kind).await?),
        Start::After(place, total) => (Some(place.position()), total),
    };
    let mut found = Vec::new();
    while found.len() < room {
        let chunk = READ_CHUNK.min(room - found.len());
        let chunk = store.page(kind, after, chunk).await?;
        let Some(last) = chunk.last() else { break };
        after = Some(last.position);
        found.extend(chunk);
        tokio::task::yield_now().await;
    }
    Ok(Part { total, found })
}

/// A page of a group's members of one kind, in the order of their ids.
async fn members_of(
    admitted: &Admitted<'_>,
    kind: Kind,
    group: Uuid,
    start: Start,
    room: usize,
) -> Result<Part, StoreError> {
    let store = admitted.admission.store();
    let (mut skip, mut after, total) = match start {
        Start::Skip(skip) => (skip, None, store.member_count(group, kind).await?),
        Start::After(place, total) => (0, place.id(), total),
    };
    let mut found = Vec::new();
    while found.len() < room {
        let last = after.map(|id| Member {
            kind,
            id,
            uid: None,
        });
        let chunk = READ_CHUNK.min(room - found.len());
        let chunk = store
            .members(group, Some(kind), last.as_ref(), skip, chunk)
            .await?;
        let ids: Vec<Uuid> = chunk.into_iter().map(|member| member.id).collect();
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        skip = 0;
        found.extend(store.resources(kind, &ids).await?);
        tokio::task::yield_now().await;
    }
    Ok(Part { total, found })
}

/// Refuses to read more than the limit allows, rather than holding others up.
fn too_many(most: usize) -> Failure {
    let detail = format!(
        "this query would have to read more than {most} resources one by one (limit \
         scan_resources_max); filter with eq by id, userName, externalId, emails.value or \
         displayName, or page without filter and sortBy"
    );
    ScimError::with(ScimType::TooMany, detail).into()
}
