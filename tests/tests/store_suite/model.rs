//! Random histories, compared with a model that is too simple to be wrong: lists, and no index at
//! all.

use std::collections::{BTreeMap, BTreeSet};

use gateway::store::FormUse;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::histories::{FIRST_GROUP, KINDS, NAMES, TENANTS, write_set};
use crate::watched::{Watched, open_watched, queued, until};

use super::*;

/// A tenant's data as one would write it down on paper.
#[derive(Clone, Default)]
struct Tenant {
    resources: Vec<Stored>,
    intents: BTreeMap<Uuid, Intent>,
    log: BTreeMap<Uuid, LogEntry>,
    tokens: BTreeMap<Uuid, Token>,
    positions: BTreeMap<Kind, u64>,
    /// Group, kind of the member, member.
    members: BTreeSet<(Uuid, Kind, Uuid)>,
    forms: BTreeMap<String, FormUse>,
    /// How often each group was deleted. Ids of groups are not given out twice, so what a history
    /// calls group 101 is another one after that.
    deleted: BTreeMap<Uuid, u128>,
}

impl Tenant {
    fn find(&self, kind: Kind, id: Uuid) -> Option<&Stored> {
        self.resources
            .iter()
            .find(|stored| stored.kind == kind && stored.id == id)
    }

    fn holder(&self, key: &AttributeKey) -> Option<Uuid> {
        let held = self
            .resources
            .iter()
            .find(|stored| stored.unique.contains(key));
        let claimed = || self.intents.values().find(|open| open.claims.contains(key));
        held.map(|stored| stored.id)
            .or_else(|| claimed().map(|open| open.resource))
    }

    fn check_free(&self, keys: &[AttributeKey], holder: Uuid) -> Result<(), Conflict> {
        for key in keys {
            if let Some(other) = self.holder(key).filter(|other| *other != holder) {
                return Err(Conflict::UniqueTaken {
                    key: key.clone(),
                    holder: other,
                });
            }
        }
        Ok(())
    }

    fn require(&self, precondition: &Precondition) -> Result<(), Conflict> {
        match *precondition {
            Precondition::Version { kind, id, version } => match self.find(kind, id) {
                None => Err(Conflict::Missing { id }),
                Some(stored) if stored.version == version => Ok(()),
                Some(stored) => Err(Conflict::VersionChanged {
                    id,
                    found: stored.version,
                }),
            },
            Precondition::Absent { kind, id } => self
                .find(kind, id)
                .map_or(Ok(()), |_| Err(Conflict::Exists { id })),
            Precondition::Intent {
                resource,
                id,
                attempt,
            } => match self.intents.get(&resource) {
                Some(open) if (open.id, open.attempt) == (id, attempt) => Ok(()),
                _ => Err(Conflict::IntentGone),
            },
        }
    }

    fn take(&mut self, write: Write, preconditions: &[Precondition]) -> Result<(), Conflict> {
        match write {
            Write::PutResource(mut stored) => {
                self.check_free(&stored.unique, stored.id)?;
                match self
                    .find(stored.kind, stored.id)
                    .map(|before| before.position)
                {
                    Some(position) => {
                        stored.position = position;
                        self.resources.retain(|before| {
                            before.position != position || before.kind != stored.kind
                        });
                    }
                    None => {
                        let last = self.positions.entry(stored.kind).or_default();
                        *last += 1;
                        stored.position = *last;
                    }
                }
                self.resources.push(stored);
                self.resources.sort_by_key(|stored| stored.position);
            }
            Write::DeleteResource { kind, id } => {
                self.resources
                    .retain(|stored| stored.kind != kind || stored.id != id);
                self.members
                    .retain(|(group, _, member)| *group != id && *member != id);
            }
            Write::ChangeMembers { group, change } => {
                if self.find(Kind::Group, group).is_none() {
                    return Ok(());
                }
                for member in change.remove {
                    self.members.remove(&(group, member.kind, member.id));
                }
                for member in change.add {
                    if self.find(member.kind, member.id).is_some() {
                        self.members.insert((group, member.kind, member.id));
                    }
                }
            }
            Write::OpenIntent(intent) => {
                if let Some(open) = self.intents.get(&intent.resource) {
                    let named = preconditions.iter().any(|precondition| {
                        matches!(precondition, Precondition::Intent { resource, id, .. }
                            if (*resource, *id) == (open.resource, open.id))
                    });
                    if !named {
                        return Err(Conflict::IntentOpen { intent: open.id });
                    }
                }
                self.check_free(&intent.claims, intent.resource)?;
                self.intents.insert(intent.resource, intent);
            }
            Write::CloseIntent { resource } => {
                self.intents.remove(&resource).ok_or(Conflict::IntentGone)?;
            }
            Write::Log(entry) => {
                self.log.insert(entry.id, entry);
            }
            Write::PutToken(mut token) => {
                let mut others = self.tokens.values();
                if let Some(other) = others.find(|t| t.hash == token.hash && t.id != token.id) {
                    return Err(Conflict::Exists { id: other.id });
                }
                if let Some(before) = self.tokens.get(&token.id) {
                    token.revoked = before.revoked.or(token.revoked);
                }
                self.tokens.insert(token.id, token);
            }
            Write::TouchToken { id, last_used } => {
                if let Some(token) = self.tokens.get_mut(&id) {
                    token.last_used = token.last_used.max(Some(last_used));
                }
            }
            Write::NoteForms { forms, at } => {
                for form in forms {
                    let (first, last) = (at, at);
                    let used = self.forms.entry(form.clone());
                    let used = used.or_insert(FormUse { form, first, last });
                    used.first = used.first.min(at);
                    used.last = used.last.max(at);
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, write_set: WriteSet) -> Result<(), CommitError> {
        let mut after = self.clone();
        let WriteSet {
            preconditions,
            writes,
            ..
        } = write_set;
        preconditions
            .iter()
            .try_for_each(|precondition| after.require(precondition))?;
        for write in writes {
            after.take(write, &preconditions)?;
        }
        *self = after;
        Ok(())
    }

    /// The same for a write set of a history: also gives it back with the ids that its resources
    /// have now.
    fn commit_of_history(&mut self, write_set: WriteSet) -> (WriteSet, Result<(), CommitError>) {
        let deleted = self.deleted.clone();
        let write_set = self.with_ids_of_now(write_set);
        let committed = self.commit(write_set.clone());
        if committed.is_err() {
            self.deleted = deleted;
        }
        (write_set, committed)
    }

    /// The id that a history's resource has now.
    fn now(&self, id: Uuid) -> Uuid {
        let deleted = self.deleted.get(&id).copied().unwrap_or_default();
        Uuid::from_u128(id.as_u128() + 1000 * deleted)
    }

    fn with_ids_of_now(&mut self, mut write_set: WriteSet) -> WriteSet {
        for precondition in &mut write_set.preconditions {
            match precondition {
                Precondition::Version { id, .. } | Precondition::Absent { id, .. } => {
                    *id = self.now(*id);
                }
                Precondition::Intent { resource, .. } => *resource = self.now(*resource),
            }
        }
        for write in &mut write_set.writes {
            match write {
                Write::PutResource(stored) => stored.id = self.now(stored.id),
                Write::DeleteResource { kind, id } => {
                    let now = self.now(*id);
                    if *kind == Kind::Group {
                        *self.deleted.entry(*id).or_default() += 1;
                    }
                    *id = now;
                }
                Write::OpenIntent(intent) => intent.resource = self.now(intent.resource),
                Write::CloseIntent { resource } => *resource = self.now(*resource),
                Write::ChangeMembers { group, change } => {
                    *group = self.now(*group);
                    for member in change.add.iter_mut().chain(&mut change.remove) {
                        member.id = self.now(member.id);
                    }
                }
                _ => {}
            }
        }
        write_set
    }

    /// Every group that there ever was.
    fn groups_ever(&self) -> Vec<Uuid> {
        (FIRST_GROUP..FIRST_GROUP + 3)
            .flat_map(|number| {
                let deleted = self.deleted.get(&id(number)).copied().unwrap_or_default();
                (0..=deleted).map(move |times| id(number + 1000 * times))
            })
            .collect()
    }
}

/// Everything that a store answers is what the model answers.
async fn compare(store: &dyn Store, model: &BTreeMap<&str, Tenant>) {
    let mut intents = Vec::new();
    for (name, tenant) in model {
        for kind in KINDS {
            let resources: Vec<_> = tenant
                .resources
                .iter()
                .filter(|stored| stored.kind == kind)
                .cloned()
                .collect();
            assert_eq!(store.page(name, kind, None, 100).await.unwrap(), resources);
            assert_eq!(
                store.count(name, kind).await.unwrap(),
                resources.len() as u64
            );
            for stored in &resources {
                let found = store.resource(name, kind, stored.id).await.unwrap();
                assert_eq!(found.as_ref(), Some(stored));
            }
            for skip in 0..resources.len() + 2 {
                let after = store.seek(name, kind, skip as u64).await.unwrap();
                let page = store.page(name, kind, after, 100).await.unwrap();
                assert_eq!(page, resources[skip.min(resources.len())..]);
            }
            for value in NAMES {
                let key = AttributeKey {
                    kind,
                    ..user_name(value)
                };
                assert_eq!(
                    store.holder(name, &key).await.unwrap(),
                    tenant.holder(&key),
                    "{key:?}"
                );
                let with_value = resources.iter().filter(|r| r.indexed.contains(&key));
                let mut with_value: Vec<Uuid> = with_value.map(|stored| stored.id).collect();
                with_value.sort();
                let indexed = store.indexed(name, &key, None, 100).await.unwrap();
                assert_eq!(indexed, with_value, "{key:?}");
            }
        }
        for (resource, open) in &tenant.intents {
            assert_eq!(
                store.intent(name, *resource).await.unwrap().as_ref(),
                Some(open)
            );
        }
        compare_members(store, name, tenant).await;
        intents.extend(tenant.intents.values().cloned());
        let log: Vec<_> = tenant.log.values().rev().cloned().collect();
        assert_eq!(store.log(name, None, 100).await.unwrap(), log);
        let tokens: Vec<_> = tenant.tokens.values().cloned().collect();
        assert_eq!(store.tokens(name).await.unwrap(), tokens);
        let forms: Vec<_> = tenant.forms.values().cloned().collect();
        assert_eq!(store.forms(name).await.unwrap(), forms);
    }
    assert_eq!(store.intents(None, 100).await.unwrap(), intents);
}

/// Every question about members, asked of every id that there ever was.
async fn compare_members(store: &dyn Store, name: &str, tenant: &Tenant) {
    let groups = tenant.groups_ever();
    let ids: Vec<Uuid> = (1..4).map(id).chain(groups.iter().copied()).collect();
    for group in &groups {
        let all: Vec<Member> = tenant
            .members
            .range((*group, Kind::User, Uuid::nil())..)
            .take_while(|(other, ..)| other == group)
            .map(|(_, kind, id)| member(*kind, id.as_u128()))
            .collect();
        for kind in KINDS.map(Some).into_iter().chain([None]) {
            let of_kind = all
                .iter()
                .filter(|member| kind.is_none_or(|kind| member.kind == kind));
            let of_kind: Vec<Member> = of_kind.cloned().collect();
            for skip in 0..of_kind.len() + 2 {
                let page = store.members(name, *group, kind, None, skip as u64, 2);
                let expected: Vec<Member> = of_kind.iter().skip(skip).take(2).cloned().collect();
                assert_eq!(page.await.unwrap(), expected, "{group} {kind:?} {skip}");
            }
            for after in &all {
                let behind = of_kind
                    .iter()
                    .filter(|member| (member.kind, member.id) > (after.kind, after.id));
                let behind: Vec<Member> = behind.cloned().collect();
                let page = store.members(name, *group, kind, Some(after), 0, 100);
                assert_eq!(page.await.unwrap(), behind, "{group} {kind:?} {after:?}");
            }
            if let Some(kind) = kind {
                let count = store.member_count(name, *group, kind).await.unwrap();
                assert_eq!(count, of_kind.len() as u64, "{group} {kind:?}");
            }
        }
        let kind_of = |id: &Uuid| all.iter().find(|member| member.id == *id).map(|m| m.kind);
        let kinds: Vec<Option<Kind>> = ids.iter().map(kind_of).collect();
        let found = store.which_are_members(name, *group, &ids).await.unwrap();
        assert_eq!(found, kinds, "{group}");
    }
    for id in &ids {
        let theirs = tenant.members.iter().filter(|(_, _, member)| member == id);
        let theirs: Vec<Uuid> = theirs.map(|(group, ..)| *group).collect();
        for first in 0..theirs.len() + 1 {
            let after = first.checked_sub(1).map(|before| theirs[before]);
            let found = store.groups_of(name, *id, after, 100).await.unwrap();
            assert_eq!(found, theirs[first..], "{id}");
        }
        let one = store.groups_of(name, *id, None, 1).await.unwrap();
        assert_eq!(one, theirs[..theirs.len().min(1)], "{id}");
    }
    let known = |id: &Uuid| {
        let stored = tenant.resources.iter().find(|stored| stored.id == *id)?;
        Some(Member {
            uid: stored.uid.clone(),
            ..member(stored.kind, id.as_u128())
        })
    };
    let identities: Vec<Option<Member>> = ids.iter().map(known).collect();
    assert_eq!(store.identify(name, &ids).await.unwrap(), identities);
}

fn empty_model() -> BTreeMap<&'static str, Tenant> {
    TENANTS
        .into_iter()
        .map(|tenant| (tenant, Tenant::default()))
        .collect()
}

async fn step(store: &dyn Store, model: &mut BTreeMap<&str, Tenant>, write_set: WriteSet) {
    let tenant = model.get_mut(&*write_set.tenant).unwrap();
    let (write_set, expected) = tenant.commit_of_history(write_set);
    assert_eq!(
        store.commit(write_set.clone()).await,
        expected,
        "{write_set:?}"
    );
}

/// So many random histories, and no files about failed ones: the message has the whole history.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn memory_does_what_the_model_does(history in vec(write_set(), 1..40)) {
        wait(async {
            let store = open_memory();
            let mut model = empty_model();
            for write_set in history {
                step(&*store, &mut model, write_set).await;
                compare(&*store, &model).await;
            }
        });
    }
}

/// Commits write sets in one batch: queued in this order while the commit thread waits for a sync.
async fn step_together(
    watched: &Watched,
    store: &Arc<dyn Store>,
    model: &mut BTreeMap<&str, Tenant>,
    write_sets: Vec<WriteSet>,
) {
    let spawn = |write_set| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.commit(write_set).await })
    };
    let waiting = watched.waiting();
    watched.allow(Some(0));
    let plug = spawn(WriteSet {
        tenant: "plug".into(),
        ..set([put(1, "plug")])
    });
    until(|| watched.waiting() > waiting).await;
    let mut commits = Vec::new();
    for write_set in write_sets {
        let tenant = model.get_mut(&*write_set.tenant).unwrap();
        let (write_set, expected) = tenant.commit_of_history(write_set);
        let before = store.health().await.queued;
        commits.push((write_set.clone(), expected, spawn(write_set)));
        queued(&**store, before + 1).await;
    }
    watched.allow(None);
    plug.await.unwrap().unwrap();
    for (write_set, expected, commit) in commits {
        assert_eq!(commit.await.unwrap(), expected, "{write_set:?}");
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn write_sets_of_one_batch_see_each_other(
        history in vec(vec(write_set(), 1..8), 1..8),
    ) {
        wait(async {
            let watched = Arc::new(Watched::default());
            let store = open_watched(&watched);
            let mut model = empty_model();
            for tenant in TENANTS {
                let users = (1..4).map(|number| put(number, &number.to_string()));
                let groups = (FIRST_GROUP..FIRST_GROUP + 3).map(put_group);
                let tenant = tenant.to_owned();
                let writes: Vec<Write> = users.chain(groups).collect();
                step(&*store, &mut model, WriteSet { tenant, ..set(writes) }).await;
            }
            for write_sets in history {
                step_together(&watched, &store, &mut model, write_sets).await;
                compare(&*store, &model).await;
            }
        });
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn sled_does_what_the_model_does_also_after_reopening(
        history in vec(vec(write_set(), 1..20), 2..4),
    ) {
        let dir = TempDir::new().unwrap();
        let mut model = empty_model();
        for session in history {
            wait(async {
                let store = open_sled(dir.path());
                compare(&*store, &model).await;
                for write_set in session {
                    step(&*store, &mut model, write_set).await;
                }
                compare(&*store, &model).await;
            });
        }
        wait(async { compare(&*open_sled(dir.path()), &model).await });
    }
}
