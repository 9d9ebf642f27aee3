//! Random histories, compared with a model that is too simple to be wrong: lists, and no index at
//! all.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TENANTS: [&str; 2] = ["acme", "acme-2"];
const NAMES: [&str; 4] = ["ann", "bob", "cid", "dee"];

/// A tenant's data as one would write it down on paper.
#[derive(Clone, Default)]
struct Tenant {
    resources: Vec<Stored>,
    intents: BTreeMap<Uuid, Intent>,
    log: BTreeMap<Uuid, LogEntry>,
    tokens: BTreeMap<Uuid, Token>,
    positions: BTreeMap<Kind, u64>,
}

impl Tenant {
    fn find(&self, kind: Kind, id: Uuid) -> Option<&Stored> {
        self.resources
            .iter()
            .find(|stored| stored.kind == kind && stored.id == id)
    }

    fn holder(&self, key: &UniqueKey) -> Option<Uuid> {
        let held = self
            .resources
            .iter()
            .find(|stored| stored.unique.contains(key));
        let claimed = || self.intents.values().find(|open| open.claims.contains(key));
        held.map(|stored| stored.id)
            .or_else(|| claimed().map(|open| open.resource))
    }

    fn check_free(&self, keys: &[UniqueKey], holder: Uuid) -> Result<(), Conflict> {
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
}

/// Everything that a store answers is what the model answers.
async fn compare(store: &dyn Store, model: &BTreeMap<&str, Tenant>) {
    let mut intents = Vec::new();
    for (name, tenant) in model {
        for kind in [Kind::User, Kind::Group] {
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
                let key = UniqueKey {
                    kind,
                    ..user_name(value)
                };
                assert_eq!(
                    store.holder(name, &key).await.unwrap(),
                    tenant.holder(&key),
                    "{key:?}"
                );
            }
        }
        for (resource, open) in &tenant.intents {
            assert_eq!(
                store.intent(name, *resource).await.unwrap().as_ref(),
                Some(open)
            );
        }
        intents.extend(tenant.intents.values().cloned());
        let log: Vec<_> = tenant.log.values().rev().cloned().collect();
        assert_eq!(store.log(name, None, 100).await.unwrap(), log);
        let tokens: Vec<_> = tenant.tokens.values().cloned().collect();
        assert_eq!(store.tokens(name).await.unwrap(), tokens);
    }
    assert_eq!(store.intents(None, 100).await.unwrap(), intents);
}

fn small_id() -> impl Strategy<Value = Uuid> {
    (1u128..4).prop_map(id)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => Just(Kind::User), 1 => Just(Kind::Group)]
}

fn keys(kind: Kind, names: Vec<&'static str>) -> Vec<UniqueKey> {
    names
        .into_iter()
        .map(|value| UniqueKey {
            kind,
            ..user_name(value)
        })
        .collect()
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(NAMES.to_vec()), 0..3)
}

/// Of documents in one chunk and in several.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(6000)]
}

fn precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        (kind(), small_id(), 1u64..3).prop_map(|(kind, id, version)| Precondition::Version {
            kind,
            id,
            version
        }),
        (kind(), small_id()).prop_map(|(kind, id)| Precondition::Absent { kind, id }),
        (small_id(), small_id(), 1u32..3).prop_map(|(resource, id, attempt)| {
            Precondition::Intent {
                resource,
                id,
                attempt,
            }
        }),
    ]
}

fn write(tenant: &'static str) -> impl Strategy<Value = Write> {
    let put = (kind(), small_id(), 1u64..3, names(), length());
    let open = (kind(), small_id(), small_id(), 1u32..3, names(), length());
    prop_oneof![
        6 => put.prop_map(|(kind, id, version, names, length)| {
            let document = json!({ "names": names, "note": "x".repeat(length) });
            let unique = keys(kind, names);
            Write::PutResource(Stored { id, kind, version, unique, document, ..user(1, "") })
        }),
        2 => (kind(), small_id()).prop_map(|(kind, id)| Write::DeleteResource { kind, id }),
        5 => open.prop_map(move |(kind, operation, resource, attempt, names, length)| {
            let claims = keys(kind, names);
            let tenant = tenant.to_owned();
            Write::OpenIntent(Intent {
                id: operation,
                tenant,
                resource,
                kind,
                attempt,
                claims,
                desired: Some(json!("x".repeat(length))),
                ..intent(1, 1, &[])
            })
        }),
        3 => small_id().prop_map(|resource| Write::CloseIntent { resource }),
        1 => (1u128..9, 0usize..3).prop_map(move |(number, thousands)| {
            let (detail, tenant) = ("d".repeat(4000 * thousands), tenant.to_owned());
            Write::Log(LogEntry { detail, tenant, ..log_entry(number) })
        }),
        1 => (1u128..4, 0u8..3, any::<bool>()).prop_map(move |(number, hash, revoked)| {
            // Hashes of the two tenants differ: the model keeps them apart.
            let hash = [hash + 100 * u8::from(tenant == TENANTS[1]); 32];
            let revoked = revoked.then(|| at(9));
            Write::PutToken(Token { hash, tenant: tenant.to_owned(), revoked, ..token(number, 0) })
        }),
        1 => (1u128..4, 1i64..9)
            .prop_map(|(number, second)| touch(number, second)),
    ]
}

fn touch(number: u128, second: i64) -> Write {
    Write::TouchToken {
        id: id(number),
        last_used: at(second),
    }
}

fn write_set() -> impl Strategy<Value = WriteSet> {
    prop::sample::select(TENANTS.to_vec()).prop_flat_map(|tenant| {
        let preconditions =
            prop_oneof![2 => vec(precondition(), 0..1), 1 => vec(precondition(), 1..3)];
        (preconditions, vec(write(tenant), 0..4)).prop_map(move |(preconditions, writes)| {
            WriteSet {
                tenant: tenant.to_owned(),
                preconditions,
                writes,
            }
        })
    })
}

fn empty_model() -> BTreeMap<&'static str, Tenant> {
    TENANTS
        .into_iter()
        .map(|tenant| (tenant, Tenant::default()))
        .collect()
}

async fn step(store: &dyn Store, model: &mut BTreeMap<&str, Tenant>, write_set: WriteSet) {
    let expected = model
        .get_mut(&*write_set.tenant)
        .unwrap()
        .commit(write_set.clone());
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
