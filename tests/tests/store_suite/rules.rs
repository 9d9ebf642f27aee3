//! What one commit does, and what it refuses.

use super::*;

#[test]
fn a_commit_is_whole_or_nothing() {
    on_every_engine(|store| async move {
        store.commit(set([put(1, "ann")])).await.unwrap();
        let refused = store
            .commit(set([
                put(2, "bob"),
                Write::Log(log_entry(1)),
                put(3, "ann"),
            ]))
            .await;
        assert_eq!(refused, taken("ann", 1));
        assert_eq!(
            store.resource(TENANT, Kind::User, id(2)).await.unwrap(),
            None
        );
        assert_eq!(store.holder(TENANT, &user_name("bob")).await.unwrap(), None);
        assert_eq!(store.count(TENANT, Kind::User).await.unwrap(), 1);
        assert_eq!(store.log(TENANT, None, 10).await.unwrap(), []);
        let health = store.health().await;
        assert_eq!((health.seq, health.writable), (1, Ok(())));
    });
}

#[test]
fn preconditions_are_checked_against_the_stored_state() {
    on_every_engine(|store| async move {
        let version = |version| Precondition::Version {
            kind: Kind::User,
            id: id(1),
            version,
        };
        let absent = Precondition::Absent {
            kind: Kind::User,
            id: id(1),
        };
        let check = async |precondition: Precondition| {
            store
                .commit(set_if([precondition], []))
                .await
                .map_err(|error| match error {
                    CommitError::Conflict(conflict) => conflict,
                    other => panic!("{other}"),
                })
        };
        assert_eq!(
            check(version(1)).await,
            Err(Conflict::Missing { id: id(1) })
        );
        assert_eq!(check(absent.clone()).await, Ok(()));
        assert_eq!(check(attempt(1, 9, 1)).await, Err(Conflict::IntentGone));

        let open = Write::OpenIntent(intent(9, 1, &[]));
        store.commit(set([put(1, "ann"), open])).await.unwrap();
        assert_eq!(check(version(1)).await, Ok(()));
        assert_eq!(
            check(version(2)).await,
            Err(Conflict::VersionChanged {
                id: id(1),
                found: 1
            })
        );
        assert_eq!(check(absent).await, Err(Conflict::Exists { id: id(1) }));
        assert_eq!(check(attempt(1, 9, 1)).await, Ok(()));
        assert_eq!(check(attempt(1, 9, 2)).await, Err(Conflict::IntentGone));
        assert_eq!(check(attempt(1, 8, 1)).await, Err(Conflict::IntentGone));
    });
}

#[test]
fn a_unique_value_has_one_holder() {
    on_every_engine(|store| async move {
        store.commit(set([put(1, "ann")])).await.unwrap();
        assert_eq!(store.commit(set([put(2, "ann")])).await, taken("ann", 1));
        // Keeping one's own value is no conflict; a new one releases the old one.
        store.commit(set([put(1, "ann")])).await.unwrap();
        store.commit(set([put(1, "anna")])).await.unwrap();
        store.commit(set([put(2, "ann")])).await.unwrap();
        assert_eq!(
            store.holder(TENANT, &user_name("anna")).await.unwrap(),
            Some(id(1))
        );
        // Two can swap by way of a third value, within one write set.
        store
            .commit(set([put(1, "tmp"), put(2, "anna"), put(1, "ann")]))
            .await
            .unwrap();
        assert_eq!(
            store.holder(TENANT, &user_name("ann")).await.unwrap(),
            Some(id(1))
        );
        assert_eq!(store.holder(TENANT, &user_name("tmp")).await.unwrap(), None);
        // Whoever goes releases.
        store.commit(set([delete(1)])).await.unwrap();
        assert_eq!(store.holder(TENANT, &user_name("ann")).await.unwrap(), None);
        store.commit(set([delete(1)])).await.unwrap();
    });
}

#[test]
fn tenants_kinds_and_attributes_are_apart() {
    on_every_engine(|store| async move {
        let other = WriteSet {
            tenant: "acme-2".into(),
            ..set([put(2, "ann")])
        };
        let mut group = user(3, "ann");
        group.kind = Kind::Group;
        group.unique[0].kind = Kind::Group;
        let mut mail = user(4, "ann");
        mail.unique[0].attribute = "externalId".into();
        store.commit(set([put(1, "ann")])).await.unwrap();
        store.commit(other).await.unwrap();
        store
            .commit(set([Write::PutResource(group), Write::PutResource(mail)]))
            .await
            .unwrap();
        assert_eq!(
            store.holder("acme-2", &user_name("ann")).await.unwrap(),
            Some(id(2))
        );
        assert_eq!(
            store.resource("acme-2", Kind::User, id(1)).await.unwrap(),
            None
        );
        assert_eq!(
            store.resource(TENANT, Kind::User, id(3)).await.unwrap(),
            None
        );
        assert_eq!(store.count(TENANT, Kind::User).await.unwrap(), 2);
        assert_eq!(store.count(TENANT, Kind::Group).await.unwrap(), 1);
        assert_eq!(
            store
                .page("acme-2", Kind::User, None, 10)
                .await
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn an_open_intent_holds_its_claims() {
    on_every_engine(|store| async move {
        store
            .commit(set([Write::OpenIntent(intent(10, 1, &["ann"]))]))
            .await
            .unwrap();
        assert_eq!(
            store.holder(TENANT, &user_name("ann")).await.unwrap(),
            Some(id(1))
        );
        let second = set([Write::OpenIntent(intent(20, 2, &["ann"]))]);
        assert_eq!(store.commit(second).await, taken("ann", 1));
        assert_eq!(store.commit(set([put(2, "ann")])).await, taken("ann", 1));
        assert_eq!(store.intent(TENANT, id(2)).await.unwrap(), None);
        // Given up: the claim goes with the intent.
        store
            .commit(set_if([attempt(1, 10, 1)], [close(1)]))
            .await
            .unwrap();
        assert_eq!(store.holder(TENANT, &user_name("ann")).await.unwrap(), None);
        assert_eq!(store.intent(TENANT, id(1)).await.unwrap(), None);
        assert_eq!(
            store.commit(set([close(1)])).await,
            Err(Conflict::IntentGone.into())
        );
    });
}

#[test]
fn an_outcome_turns_claims_into_holdings_in_either_order() {
    for put_first in [true, false] {
        on_every_engine(|store| async move {
            store
                .commit(set([Write::OpenIntent(intent(10, 1, &["ann"]))]))
                .await
                .unwrap();
            let mut writes = [put(1, "ann"), close(1)];
            if !put_first {
                writes.reverse();
            }
            store
                .commit(set_if([attempt(1, 10, 1)], writes))
                .await
                .unwrap();
            assert_eq!(
                store.holder(TENANT, &user_name("ann")).await.unwrap(),
                Some(id(1))
            );
            assert_eq!(store.commit(set([put(2, "ann")])).await, taken("ann", 1));
        });
    }
}

#[test]
fn a_rename_holds_both_names_until_it_is_settled() {
    on_every_engine(|store| async move {
        store.commit(set([put(1, "ann")])).await.unwrap();
        store
            .commit(set([Write::OpenIntent(intent(10, 1, &["anna"]))]))
            .await
            .unwrap();
        assert_eq!(store.commit(set([put(2, "ann")])).await, taken("ann", 1));
        assert_eq!(store.commit(set([put(2, "anna")])).await, taken("anna", 1));
        // The vendor refused: the old name stays, the new one is free.
        store.commit(set([close(1)])).await.unwrap();
        assert_eq!(store.commit(set([put(2, "ann")])).await, taken("ann", 1));
        store.commit(set([put(2, "anna")])).await.unwrap();

        // While a delete of a claimed value is open, a put without that value does not release it.
        store
            .commit(set([Write::OpenIntent(intent(11, 1, &["ann"]))]))
            .await
            .unwrap();
        store.commit(set([put(1, "annie")])).await.unwrap();
        assert_eq!(store.commit(set([put(3, "ann")])).await, taken("ann", 1));
        store.commit(set([delete(1)])).await.unwrap();
        assert_eq!(store.commit(set([put(3, "ann")])).await, taken("ann", 1));
        store.commit(set([close(1)])).await.unwrap();
        store
            .commit(set([put(3, "ann"), put(4, "annie")]))
            .await
            .unwrap();
    });
}

#[test]
fn an_attempt_replaces_only_the_one_it_names() {
    on_every_engine(|store| async move {
        let mut first = intent(10, 1, &["ann", "bob"]);
        first.desired = Some(json!("x".repeat(20_000)));
        store.commit(set([Write::OpenIntent(first)])).await.unwrap();
        let mut second = intent(10, 1, &["bob", "cid"]);
        second.attempt = 2;
        let blind = store.commit(set([Write::OpenIntent(second.clone())])).await;
        assert_eq!(blind, Err(Conflict::IntentOpen { intent: id(10) }.into()));
        let write = Write::OpenIntent(second.clone());
        store
            .commit(set_if([attempt(1, 10, 1)], [write.clone()]))
            .await
            .unwrap();
        assert_eq!(store.intent(TENANT, id(1)).await.unwrap(), Some(second));
        assert_eq!(store.holder(TENANT, &user_name("ann")).await.unwrap(), None);
        assert_eq!(
            store.holder(TENANT, &user_name("bob")).await.unwrap(),
            Some(id(1))
        );
        assert_eq!(
            store.holder(TENANT, &user_name("cid")).await.unwrap(),
            Some(id(1))
        );
        // The first attempt wakes up late: it can neither go on nor close.
        let late = store
            .commit(set_if([attempt(1, 10, 1)], [put(1, "ann"), close(1)]))
            .await;
        assert_eq!(late, Err(Conflict::IntentGone.into()));
        // The longer first attempt has left nothing behind.
        store
            .commit(set_if([attempt(1, 10, 2)], [close(1)]))
            .await
            .unwrap();
        assert_eq!(store.intents(None, 10).await.unwrap(), []);
    });
}

#[test]
fn pages_follow_creation_and_skip_what_is_gone() {
    on_every_engine(|store| async move {
        // More than two of the blocks that the order is counted in.
        for base in (1..=2500u128).step_by(500) {
            let writes: Vec<Write> = (base..base + 500)
                .map(|n| put(5000 - n, &format!("u{n}")))
                .collect();
            store.commit(set(writes)).await.unwrap();
        }
        let gone = |n: u128| n.is_multiple_of(3) || (1000..2100).contains(&n);
        for n in (1..=2500).filter(|n| gone(*n)) {
            // One commit per thousand deletes would do; the counter must survive both ways.
            if n.is_multiple_of(3) {
                store.commit(set([delete(5000 - n)])).await.unwrap();
            }
        }
        let rest: Vec<Write> = (1..=2500)
            .filter(|n| gone(*n) && !n.is_multiple_of(3))
            .map(|n| delete(5000 - n))
            .collect();
        store.commit(set(rest)).await.unwrap();
        let mut changed = user(5000 - 1, "first");
        changed.version = 2;
        store
            .commit(set([Write::PutResource(changed)]))
            .await
            .unwrap();

        let expected: Vec<Uuid> = (1..=2500)
            .filter(|n| !gone(*n))
            .map(|n| id(5000 - n))
            .collect();
        let total = expected.len();
        assert_eq!(store.count(TENANT, Kind::User).await.unwrap(), total as u64);
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.page(TENANT, Kind::User, after, 100).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.position);
            seen.extend(page.iter().map(|stored| stored.id));
        }
        assert_eq!(seen, expected);
        for skip in [
            0,
            1,
            2,
            665,
            666,
            667,
            800,
            total - 1,
            total,
            total + 1,
            1 << 40,
        ] {
            let after = store.seek(TENANT, Kind::User, skip as u64).await.unwrap();
            let page = store.page(TENANT, Kind::User, after, 2).await.unwrap();
            let ids: Vec<Uuid> = page.iter().map(|stored| stored.id).collect();
            assert_eq!(
                ids,
                expected
                    .iter()
                    .copied()
                    .skip(skip)
                    .take(2)
                    .collect::<Vec<_>>(),
                "{skip}"
            );
        }
        assert_eq!(
            store
                .page(TENANT, Kind::User, Some(u64::MAX), 2)
                .await
                .unwrap(),
            []
        );
        assert_eq!(store.page(TENANT, Kind::User, None, 0).await.unwrap(), []);
        assert_eq!(store.page(TENANT, Kind::Group, None, 9).await.unwrap(), []);
    });
}

#[test]
fn the_log_is_read_backwards() {
    on_every_engine(|store| async move {
        for number in [3, 1, 2, 5, 4] {
            let mut entry = log_entry(number);
            entry.detail = "long ".repeat(3000 * usize::from(number == 2));
            store.commit(set([Write::Log(entry)])).await.unwrap();
        }
        let ids = async |before, limit| {
            let entries = store.log(TENANT, before, limit).await.unwrap();
            entries
                .iter()
                .map(|entry| entry.id.as_u128())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(None, 10).await, [5, 4, 3, 2, 1]);
        assert_eq!(ids(None, 2).await, [5, 4]);
        assert_eq!(ids(Some(id(4)), 2).await, [3, 2]);
        assert_eq!(ids(Some(id(3)), 1).await, [2]);
        assert_eq!(ids(Some(id(1)), 2).await, [0u128; 0]);
        assert_eq!(store.log("acme-2", None, 2).await.unwrap(), []);
    });
}

#[test]
fn open_intents_of_all_tenants_are_found() {
    on_every_engine(|store| async move {
        let mut expected = Vec::new();
        for tenant in ["acme", "acme-2", "beta"] {
            for resource in [1, 2] {
                let mut open = intent(10 * resource, resource, &["ann"]);
                open.tenant = tenant.into();
                open.claims[0].value = format!("u{resource}");
                open.desired = Some(json!({ "note": "x".repeat(9000) }));
                let write_set = set([Write::OpenIntent(open.clone())]);
                store
                    .commit(WriteSet {
                        tenant: tenant.into(),
                        ..write_set
                    })
                    .await
                    .unwrap();
                expected.push(open);
            }
        }
        assert_eq!(store.intents(None, 100).await.unwrap(), expected);
        let mut seen: Vec<Intent> = Vec::new();
        loop {
            let after = seen
                .last()
                .map(|open| (open.tenant.as_str(), open.resource));
            let next = store.intents(after, 1).await.unwrap();
            if next.is_empty() {
                break;
            }
            seen.extend(next);
        }
        assert_eq!(seen, expected);
    });
}

#[test]
fn tokens_are_found_by_hash_and_stay_revoked() {
    on_every_engine(|store| async move {
        let (first, second) = (token(1, 0xa1), token(2, 0xb2));
        let puts = [first.clone(), second.clone()].map(Write::PutToken);
        store.commit(set(puts)).await.unwrap();
        assert_eq!(
            store.token_by_hash(&[0xa1; 32]).await.unwrap(),
            Some(first.clone())
        );
        assert_eq!(store.token_by_hash(&[0xcc; 32]).await.unwrap(), None);
        assert_eq!(store.tokens(TENANT).await.unwrap(), [first.clone(), second]);
        assert_eq!(store.tokens("acme-2").await.unwrap(), []);

        // The hash is the whole credential: it cannot come to mean another tenant's token.
        let mut thief = token(3, 0xa1);
        thief.tenant = "acme-2".into();
        let write_set = WriteSet {
            tenant: "acme-2".into(),
            ..set([Write::PutToken(thief)])
        };
        let refused = Err(Conflict::Exists { id: id(1) }.into());
        assert_eq!(store.commit(write_set).await, refused);
        assert_eq!(
            store.commit(set([Write::PutToken(token(2, 0xa1))])).await,
            refused
        );

        let touch = |second| Write::TouchToken {
            id: id(1),
            last_used: at(second),
        };
        store.commit(set([touch(60), touch(30)])).await.unwrap();
        let mut expected = Token {
            last_used: Some(at(60)),
            ..first.clone()
        };
        assert_eq!(
            store.token_by_hash(&[0xa1; 32]).await.unwrap(),
            Some(expected.clone())
        );
        let revoked = Token {
            revoked: Some(at(70)),
            ..expected.clone()
        };
        store.commit(set([Write::PutToken(revoked)])).await.unwrap();
        // Prepared before the revocation, committed after it.
        expected.name = Some("laptop".into());
        store
            .commit(set([Write::PutToken(expected)]))
            .await
            .unwrap();
        let found = store.token_by_hash(&[0xa1; 32]).await.unwrap().unwrap();
        assert_eq!(
            (found.revoked, found.name.as_deref()),
            (Some(at(70)), Some("laptop"))
        );

        // Another secret for the same token: the old one is worth nothing.
        store
            .commit(set([Write::PutToken(token(2, 0xdd))]))
            .await
            .unwrap();
        assert_eq!(store.token_by_hash(&[0xb2; 32]).await.unwrap(), None);
        assert_eq!(
            store.token_by_hash(&[0xdd; 32]).await.unwrap().unwrap().id,
            id(2)
        );
        store
            .commit(set([Write::TouchToken {
                id: id(77),
                last_used: at(1),
            }]))
            .await
            .unwrap();
        assert_eq!(store.tokens(TENANT).await.unwrap().len(), 2);
    });
}

#[test]
fn documents_come_back_as_they_were_at_every_length() {
    on_every_engine(|store| async move {
        for length in [0, 3000, 4000, 5000, 200_000, 9000, 10] {
            let mut stored = user(1, "ann");
            stored.uid = Some("v-1".into());
            stored.document = json!({ "z": 1, "a": "ü".repeat(length), "m": [null, 1.5, -3] });
            store
                .commit(set([Write::PutResource(stored.clone())]))
                .await
                .unwrap();
            stored.position = 1;
            let found = store
                .resource(TENANT, Kind::User, id(1))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                found.document.to_string(),
                stored.document.to_string(),
                "order of keys"
            );
            assert_eq!(found, stored);
        }
    });
}

#[test]
fn long_names_are_unique_too() {
    on_every_engine(|store| async move {
        let long = "n".repeat(5000);
        store.commit(set([put(1, &long)])).await.unwrap();
        assert_eq!(store.commit(set([put(2, &long)])).await, taken(&long, 1));
        let longer = format!("{long}n");
        store.commit(set([put(2, &longer)])).await.unwrap();
        store.commit(set([delete(1)])).await.unwrap();
        assert_eq!(store.holder(TENANT, &user_name(&long)).await.unwrap(), None);
        assert_eq!(
            store.holder(TENANT, &user_name(&longer)).await.unwrap(),
            Some(id(2))
        );
    });
}

#[test]
fn what_can_never_be_stored_is_invalid() {
    on_every_engine(|store| async move {
        let mut large = user(1, "ann");
        large.document = json!("x".repeat(9 << 20));
        let mut odd = user(1, "ann");
        odd.unique[0].attribute = "user\0Name".into();
        let mut mixed = user(1, "ann");
        mixed.kind = Kind::Group;
        let mut index = user(1, "ann");
        index.indexed = vec![AttributeKey {
            kind: Kind::Group,
            ..user_name("ann")
        }];
        let form = Write::NoteForms {
            forms: vec!["fine".into(), "no\0t".into()],
            at: at(1),
        };
        let mut foreign = log_entry(1);
        foreign.tenant = "acme-2".into();
        let nul = WriteSet {
            tenant: "ac\0me".into(),
            ..set([])
        };
        let others = [
            Write::PutResource(large),
            Write::PutResource(odd),
            Write::PutResource(mixed),
            Write::PutResource(index),
            Write::Log(foreign),
            form,
        ];
        for write_set in others.map(|write| set([write])).into_iter().chain([nul]) {
            let refused = store.commit(write_set).await;
            assert!(
                matches!(refused, Err(CommitError::Invalid(_))),
                "{refused:?}"
            );
        }
        assert!(store.resource("", Kind::User, id(1)).await.is_err());
        assert!(store.log("acme\0", None, 1).await.is_err());
        assert_eq!(store.health().await.seq, 0);
    });
}
