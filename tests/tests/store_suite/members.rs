//! Who is a member of what: sets, both directions, counters, pages, and what becomes of it when one
//! side goes.

use std::ops::Range;

use super::*;

pub(crate) const GROUP: u128 = 1000;

pub(crate) async fn all_members(store: &dyn Store, group: u128) -> Vec<(Kind, u128)> {
    let page = store.members(TENANT, id(group), None, None, 0, 1000).await;
    let page = page.unwrap().into_iter();
    page.map(|member| (member.kind, member.id.as_u128()))
        .collect()
}

pub(crate) async fn groups(store: &dyn Store, of: u128) -> Vec<u128> {
    let groups = store.groups_of(TENANT, id(of), None, 1000).await.unwrap();
    groups.iter().map(Uuid::as_u128).collect()
}

pub(crate) async fn counts(store: &dyn Store, group: u128) -> (u64, u64) {
    let count = async |kind| store.member_count(TENANT, id(group), kind).await.unwrap();
    (count(Kind::User).await, count(Kind::Group).await)
}

/// Users of these numbers, in write sets of a thousand.
pub(crate) async fn put_users(store: &dyn Store, numbers: Range<u128>) {
    let numbers: Vec<u128> = numbers.collect();
    for numbers in numbers.chunks(1000) {
        let writes: Vec<Write> = numbers.iter().map(|n| put(*n, &format!("u{n}"))).collect();
        store.commit(set(writes)).await.unwrap();
    }
}

#[test]
fn members_are_a_set() {
    on_every_engine(|store| async move {
        put_users(&*store, 1..5).await;
        store
            .commit(set([put_group(GROUP), put_group(GROUP + 1)]))
            .await
            .unwrap();
        let group = || vec![member(Kind::Group, GROUP + 1)];
        let add = change(GROUP, [users([3, 1, 3]), group()].concat(), users([2]));
        store.commit(set([add.clone()])).await.unwrap();
        let expected = [(Kind::User, 1), (Kind::User, 3), (Kind::Group, GROUP + 1)];
        assert_eq!(all_members(&*store, GROUP).await, expected);
        assert_eq!(counts(&*store, GROUP).await, (2, 1));
        assert_eq!(groups(&*store, 1).await, [GROUP]);
        assert_eq!(groups(&*store, GROUP + 1).await, [GROUP]);
        assert_eq!(groups(&*store, 2).await, [0u128; 0]);

        // The same again is no write at all.
        let seq = store.health().await.seq;
        store.commit(set([add])).await.unwrap();
        assert_eq!(store.health().await.seq, seq);

        // Named twice: of one change the addition wins, of two changes the last one.
        let writes = [
            change(GROUP, users([1, 2]), users([1, 2, 3])),
            change(GROUP, vec![], users([2])),
            change(GROUP, users([4]), vec![]),
        ];
        store.commit(set(writes)).await.unwrap();
        let expected = [(Kind::User, 1), (Kind::User, 4), (Kind::Group, GROUP + 1)];
        assert_eq!(all_members(&*store, GROUP).await, expected);
        assert_eq!(counts(&*store, GROUP).await, (2, 1));
        let ids = [1, 3, 4, GROUP + 1, GROUP, 77].map(id);
        assert_eq!(
            store
                .which_are_members(TENANT, id(GROUP), &ids)
                .await
                .unwrap(),
            [
                Some(Kind::User),
                None,
                Some(Kind::User),
                Some(Kind::Group),
                None,
                None
            ]
        );
        // A put of the group leaves its members alone; another tenant has none of this.
        store.commit(set([put_group(GROUP)])).await.unwrap();
        assert_eq!(counts(&*store, GROUP).await, (2, 1));
        let elsewhere = store.members("acme-2", id(GROUP), None, None, 0, 9).await;
        assert_eq!(elsewhere.unwrap(), []);
    });
}

#[test]
fn who_does_not_exist_is_left_out() {
    on_every_engine(|store| async move {
        put_users(&*store, 1..3).await;
        // No group: nothing happens, and nothing is refused.
        store
            .commit(set([change(GROUP, users([1]), users([2]))]))
            .await
            .unwrap();
        assert_eq!(groups(&*store, 1).await, [0u128; 0]);
        // No such user, a user called a group, one that goes in the same write set.
        let odd = vec![member(Kind::User, 77), member(Kind::Group, 1)];
        let writes = [
            put_group(GROUP),
            change(GROUP, [odd, users([1, 2])].concat(), vec![]),
            delete(2),
            change(GROUP, users([2]), vec![]),
        ];
        store.commit(set(writes)).await.unwrap();
        assert_eq!(all_members(&*store, GROUP).await, [(Kind::User, 1)]);
        assert_eq!(counts(&*store, GROUP).await, (1, 0));
        // Whoever comes later is no member by that.
        store
            .commit(set([put(2, "bob"), put(77, "x")]))
            .await
            .unwrap();
        assert_eq!(all_members(&*store, GROUP).await, [(Kind::User, 1)]);
        // A group that goes and a change of it, in one write set.
        let writes = [delete_group(GROUP), change(GROUP, users([2]), vec![])];
        store.commit(set(writes)).await.unwrap();
        assert_eq!(groups(&*store, 2).await, [0u128; 0]);
    });
}

#[test]
fn a_refused_write_set_changes_no_members() {
    on_every_engine(|store| async move {
        let join = |user| change(GROUP, users([user]), vec![]);
        store
            .commit(set([
                put_group(GROUP),
                put(1, "ann"),
                put(2, "bob"),
                join(1),
            ]))
            .await
            .unwrap();
        let refused = set([join(2), delete(1), put(3, "bob")]);
        assert_eq!(store.commit(refused).await, taken("bob", 2));
        let refused = set([delete_group(GROUP), put(3, "bob")]);
        assert_eq!(store.commit(refused).await, taken("bob", 2));
        assert_eq!(all_members(&*store, GROUP).await, [(Kind::User, 1)]);
        assert_eq!(counts(&*store, GROUP).await, (1, 0));
        assert_eq!(groups(&*store, 1).await, [GROUP]);
    });
}

#[test]
fn who_goes_leaves_all_groups() {
    on_every_engine(|store| async move {
        put_users(&*store, 1..3).await;
        let everybody = || [users([1, 2]), vec![member(Kind::Group, GROUP)]].concat();
        let mut writes = Vec::new();
        for number in GROUP..GROUP + 20 {
            writes.extend([put_group(number), change(number, everybody(), vec![])]);
        }
        store.commit(set(writes)).await.unwrap();
        assert_eq!(groups(&*store, 1).await.len(), 20);
        assert_eq!(counts(&*store, GROUP + 7).await, (2, 1));
        // Into one more and out of all, before anything of that is in the engine.
        let one_more = [
            put_group(GROUP + 20),
            change(GROUP + 20, everybody(), vec![]),
            change(GROUP + 3, vec![], users([1])),
            delete(1),
        ];
        store.commit(set(one_more)).await.unwrap();
        store.commit(set([put(1, "again")])).await.unwrap();
        assert_eq!(groups(&*store, 1).await, [0u128; 0]);
        for number in GROUP..GROUP + 21 {
            let rest = [(Kind::User, 2), (Kind::Group, GROUP)];
            assert_eq!(all_members(&*store, number).await, rest);
            assert_eq!(counts(&*store, number).await, (1, 1));
        }
        // A group is a member too, here even of itself.
        store.commit(set([delete_group(GROUP)])).await.unwrap();
        assert_eq!(groups(&*store, GROUP).await, [0u128; 0]);
        assert_eq!(all_members(&*store, GROUP).await, []);
        assert_eq!(counts(&*store, GROUP + 9).await, (1, 0));
        assert_eq!(groups(&*store, 2).await.len(), 20);
    });
}

#[test]
fn members_and_groups_are_read_in_pages() {
    on_every_engine(|store| async move {
        // More than one look at the store passes over.
        const USERS: u128 = 9000;
        put_users(&*store, 1..USERS + 1).await;
        let nested = [member(Kind::Group, 20_001), member(Kind::Group, 20_002)];
        let everybody = [users(1..=USERS), nested.to_vec()].concat();
        let writes = [20_000, 20_001, 20_002].map(put_group);
        store.commit(set(writes)).await.unwrap();
        store
            .commit(set([change(20_000, everybody.clone(), vec![])]))
            .await
            .unwrap();
        let page = async |kind, after: Option<&Member>, skip, limit| {
            let page = store.members(TENANT, id(20_000), kind, after, skip, limit);
            page.await.unwrap()
        };
        for skip in [0, 1, 3999, 4000, 4001, 8000, 8999, 9000, 9001, 9002, 50_000] {
            let expected: Vec<Member> = everybody.iter().skip(skip).take(3).cloned().collect();
            assert_eq!(page(None, None, skip as u64, 3).await, expected, "{skip}");
        }
        assert_eq!(page(None, None, u64::MAX, 3).await, []);
        assert_eq!(page(None, None, 5, 0).await, []);
        assert_eq!(page(None, None, 0, usize::MAX).await, everybody[..1000]);
        assert_eq!(page(Some(Kind::Group), None, 1, 9).await, nested[1..]);
        assert_eq!(
            page(Some(Kind::User), None, 8998, 9).await,
            users([8999, 9000])
        );
        let after = Some(&everybody[8998]);
        assert_eq!(page(None, after, 0, 9).await, everybody[8999..]);
        assert_eq!(page(None, after, 2, 9).await, nested[1..]);
        assert_eq!(page(Some(Kind::User), after, 0, 9).await, users([9000]));
        assert_eq!(page(Some(Kind::Group), after, 0, 9).await, nested);
        let after = Some(&nested[0]);
        assert_eq!(page(Some(Kind::User), after, 0, 9).await, []);
        assert_eq!(page(None, after, 0, 9).await, nested[1..]);

        let many = 30_000..30_020;
        let mut writes: Vec<Write> = many.clone().map(put_group).collect();
        writes.extend(many.clone().map(|group| change(group, users([7]), vec![])));
        store.commit(set(writes)).await.unwrap();
        let page = async |after, limit| {
            let page = store.groups_of(TENANT, id(7), after, limit);
            page.await.unwrap()
        };
        assert_eq!(page(None, 2).await, [id(20_000), id(30_000)]);
        assert_eq!(page(Some(id(30_017)), 9).await, [id(30_018), id(30_019)]);
        assert!(page(Some(id(30_019)), 9).await.is_empty());
        assert!(page(None, 0).await.is_empty());
        assert_eq!(page(None, usize::MAX).await.len(), 21);
    });
}

#[test]
fn a_large_change_counts_by_its_bytes() {
    let small = StoreLimits {
        batch_bytes_max: 64 << 10,
        ..limits()
    };
    let store = store::open("memory:", &small).unwrap();
    wait(async {
        store.commit(set([put_group(GROUP)])).await.unwrap();
        let fits = change(GROUP, users(1..=300), users(301..=600));
        store.commit(set([fits])).await.unwrap();
        for change in [
            change(GROUP, users(1..=1000), vec![]),
            change(GROUP, vec![], users(1..=1000)),
        ] {
            let refused = store.commit(set([change])).await;
            assert!(
                matches!(refused, Err(CommitError::Invalid(_))),
                "{refused:?}"
            );
        }
    });
}

/// What one request may name (`limits.scim.members_changed_max`): its intent and its outcome.
#[test]
fn fifty_thousand_members_fit_a_write_set() {
    on_every_engine(|store| async move {
        let store = &*store;
        put_users(store, 1..50_001).await;
        let everybody = users(1..=50_000).into_iter();
        let everybody: Vec<Member> = everybody
            .map(|member| Member {
                uid: Some(member.id.to_string()),
                ..member
            })
            .collect();
        let members = MemberChange {
            add: everybody,
            remove: Vec::new(),
        };
        let open = Intent {
            kind: Kind::Group,
            members: members.clone(),
            ..intent(1, 60_000, &[])
        };
        store
            .commit(set([Write::OpenIntent(open.clone())]))
            .await
            .unwrap();
        let found = store.intent(TENANT, id(60_000)).await.unwrap();
        assert_eq!(found, Some(open));
        let done = [
            put_group(60_000),
            Write::ChangeMembers {
                group: id(60_000),
                change: members,
            },
            close(60_000),
        ];
        store
            .commit(set_if([attempt(60_000, 1, 1)], done))
            .await
            .unwrap();
        assert_eq!(counts(store, 60_000).await, (50_000, 0));
    });
}
