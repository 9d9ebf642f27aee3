//! Random histories: write sets about few resources with few names, so that they meet.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) const TENANTS: [&str; 2] = ["acme", "acme-2"];
pub(crate) const NAMES: [&str; 4] = ["ann", "bob", "cid", "dee"];
pub(crate) const FORMS: [&str; 3] = ["op-capitalised", "op", "active-as-text"];
pub(crate) const KINDS: [Kind; 2] = [Kind::User, Kind::Group];
/// Users are 1 to 3; groups 101 to 103, and 1000 more each time that one was deleted.
pub(crate) const FIRST_GROUP: u128 = 101;

fn small_id() -> impl Strategy<Value = Uuid> {
    (1u128..4).prop_map(id)
}

fn resource() -> impl Strategy<Value = (Kind, Uuid)> {
    let kind = prop_oneof![2 => Just(Kind::User), 1 => Just(Kind::Group)];
    (kind, 0u128..3).prop_map(|(kind, number)| match kind {
        Kind::User => (kind, id(1 + number)),
        Kind::Group => (kind, id(FIRST_GROUP + number)),
    })
}

fn some_members() -> impl Strategy<Value = Vec<Member>> {
    // Now and then one with the wrong kind, which is not there.
    let odd = prop_oneof![9 => Just(false), 1 => Just(true)];
    vec((resource(), odd), 0..4).prop_map(|members| {
        let members = members.into_iter().map(|((kind, id), odd)| Member {
            kind: if odd { Kind::User } else { kind },
            id,
            uid: Some("ignored".into()),
        });
        members.collect()
    })
}

fn keys(kind: Kind, names: Vec<&'static str>) -> Vec<AttributeKey> {
    names
        .into_iter()
        .map(|value| AttributeKey {
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
        (resource(), 1u64..3).prop_map(|((kind, id), version)| Precondition::Version {
            kind,
            id,
            version
        }),
        resource().prop_map(|(kind, id)| Precondition::Absent { kind, id }),
        (resource(), small_id(), 1u32..3).prop_map(|((_, resource), id, attempt)| {
            Precondition::Intent {
                resource,
                id,
                attempt,
            }
        }),
    ]
}

fn write(tenant: &'static str) -> impl Strategy<Value = Write> {
    let put = (resource(), 1u64..3, names(), names(), length());
    let open = (resource(), small_id(), 1u32..3, names(), length());
    let change = (0u128..3, some_members(), some_members());
    let forms = vec(prop::sample::select(FORMS.to_vec()), 0..3);
    prop_oneof![
        6 => put.prop_map(|((kind, id), version, names, indexed, length)| {
            let document = json!({ "names": names, "note": "x".repeat(length) });
            let (unique, indexed) = (keys(kind, names), keys(kind, indexed));
            let uid = (version > 1).then(|| "v".to_owned());
            Write::PutResource(Stored {
                id, kind, version, uid, unique, indexed, document, ..user(1, "")
            })
        }),
        2 => resource().prop_map(|(kind, id)| Write::DeleteResource { kind, id }),
        6 => change.prop_map(|(number, add, remove)| Write::ChangeMembers {
            group: id(FIRST_GROUP + number),
            change: MemberChange { add, remove },
        }),
        1 => (forms, 1i64..9).prop_map(|(forms, second)| Write::NoteForms {
            forms: forms.into_iter().map(String::from).collect(),
            at: at(second),
        }),
        5 => open.prop_map(move |((kind, resource), operation, attempt, names, length)| {
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
        3 => resource().prop_map(|(_, resource)| Write::CloseIntent { resource }),
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

pub(crate) fn write_set() -> impl Strategy<Value = WriteSet> {
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
