//! How resources are found without walking over all of them: plain indexes, lists of ids. And the
//! forms of requests, which are found again too.

use gateway::store::FormUse;

use super::*;

fn mail(value: &str) -> AttributeKey {
    AttributeKey {
        attribute: "emails.value".into(),
        ..user_name(value)
    }
}

fn put_with(number: u128, mails: &[&str]) -> Write {
    Write::PutResource(Stored {
        indexed: mails.iter().map(|value| mail(value)).collect(),
        ..user(number, &format!("u{number}"))
    })
}

async fn with_mail(store: &dyn Store, value: &str) -> Vec<u128> {
    let found = store.indexed(TENANT, &mail(value), None, 100).await;
    found.unwrap().iter().map(Uuid::as_u128).collect()
}

#[test]
fn index_entries_follow_their_resource() {
    on_every_engine(|store| async move {
        // Many may have one value, and one may have many.
        store
            .commit(set([
                put_with(2, &["a@x", "b@x"]),
                put_with(1, &["a@x", "a@x"]),
            ]))
            .await
            .unwrap();
        assert_eq!(with_mail(&*store, "a@x").await, [1, 2]);
        assert_eq!(with_mail(&*store, "b@x").await, [2]);
        assert_eq!(with_mail(&*store, "a@").await, [0u128; 0]);
        let stored = store.resource(TENANT, Kind::User, id(2)).await.unwrap();
        assert_eq!(stored.unwrap().indexed, [mail("a@x"), mail("b@x")]);
        // An index is not a unique value, nor another attribute's, kind's or tenant's index.
        assert_eq!(store.holder(TENANT, &mail("a@x")).await.unwrap(), None);
        for other in [
            user_name("a@x"),
            AttributeKey {
                kind: Kind::Group,
                ..mail("a@x")
            },
        ] {
            let found = store.indexed(TENANT, &other, None, 9).await;
            assert_eq!(found, Ok(vec![]));
        }
        let elsewhere = store.indexed("acme-2", &mail("a@x"), None, 9).await;
        assert_eq!(elsewhere, Ok(vec![]));

        store
            .commit(set([put_with(2, &["b@x", "c@x"])]))
            .await
            .unwrap();
        assert_eq!(with_mail(&*store, "a@x").await, [1]);
        assert_eq!(with_mail(&*store, "b@x").await, [2]);
        assert_eq!(with_mail(&*store, "c@x").await, [2]);
        // Within one write set, and in one that is refused.
        store
            .commit(set([put_with(1, &["d@x"]), put_with(1, &["e@x"])]))
            .await
            .unwrap();
        let refused = set([put_with(1, &["f@x"]), put(3, "u2")]);
        assert_eq!(store.commit(refused).await, taken("u2", 2));
        for (value, holders) in [("a@x", 0), ("d@x", 0), ("e@x", 1), ("f@x", 0)] {
            assert_eq!(with_mail(&*store, value).await.len(), holders, "{value}");
        }
        store.commit(set([delete(1), delete(2)])).await.unwrap();
        for value in ["b@x", "c@x", "e@x"] {
            assert_eq!(with_mail(&*store, value).await, [0u128; 0], "{value}");
        }
    });
}

#[test]
fn an_index_is_read_in_pages() {
    on_every_engine(|store| async move {
        let long = "n".repeat(5000);
        let values = ["", "a", &long, &format!("{long}n")];
        for first in (1..=1100).step_by(100) {
            let writes = (first..first + 100).map(|n| put_with(n, &values));
            store.commit(set(writes.collect::<Vec<_>>())).await.unwrap();
        }
        for value in values {
            let page = async |after, limit| {
                let page = store.indexed(TENANT, &mail(value), after, limit).await;
                page.unwrap()
            };
            let ids = |numbers: std::ops::RangeInclusive<u128>| numbers.map(id).collect::<Vec<_>>();
            assert_eq!(page(None, 3).await, ids(1..=3));
            assert_eq!(page(Some(id(3)), 2).await, ids(4..=5));
            assert_eq!(page(Some(id(1099)), 9).await, ids(1100..=1100));
            assert!(page(Some(Uuid::max()), 9).await.is_empty());
            assert!(page(None, 0).await.is_empty());
            assert_eq!(page(None, usize::MAX).await, ids(1..=1000));
        }
        assert_eq!(with_mail(&*store, "n").await, [0u128; 0]);
        let nul = AttributeKey {
            attribute: "e\0".into(),
            ..mail("")
        };
        assert!(store.indexed(TENANT, &nul, None, 1).await.is_err());
    });
}

#[test]
fn resources_are_loaded_and_identified_by_many_ids() {
    on_every_engine(|store| async move {
        let known = Stored {
            uid: Some("v-1".into()),
            ..user(1, "ann")
        };
        let writes = [Write::PutResource(known), put(2, "bob"), put_group(10)];
        store.commit(set(writes)).await.unwrap();
        let ids = [2, 77, 10, 1, 2].map(id);
        let found = store.resources(TENANT, Kind::User, &ids).await.unwrap();
        let found: Vec<u128> = found.iter().map(|stored| stored.id.as_u128()).collect();
        assert_eq!(found, [2, 1, 2]);
        let one = store.resources(TENANT, Kind::User, &[id(1)]).await.unwrap();
        let same = store.resource(TENANT, Kind::User, id(1)).await.unwrap();
        assert_eq!(one.first(), same.as_ref());
        let with_uid = Member {
            uid: Some("v-1".into()),
            ..member(Kind::User, 1)
        };
        assert_eq!(
            store.identify(TENANT, &ids).await.unwrap(),
            [
                Some(member(Kind::User, 2)),
                None,
                Some(member(Kind::Group, 10)),
                Some(with_uid),
                Some(member(Kind::User, 2)),
            ]
        );
        assert_eq!(store.identify("acme-2", &ids).await.unwrap(), vec![None; 5]);
        // More than one page of them.
        let many: Vec<Uuid> = (0..2500).map(|n| id(n % 3)).collect();
        let answers = store.identify(TENANT, &many).await.unwrap();
        assert_eq!(answers.len(), 2500);
        assert_eq!(answers.iter().flatten().count(), 1666);
        let found = store.resources(TENANT, Kind::User, &many).await.unwrap();
        assert_eq!(found.len(), 1666);
    });
}

#[test]
fn forms_are_noted_with_their_first_and_last_use() {
    on_every_engine(|store| async move {
        let note = async |second, forms: &[&str]| {
            let forms = forms.iter().map(ToString::to_string).collect();
            let write = Write::NoteForms {
                forms,
                at: at(second),
            };
            store.commit(set([write])).await.unwrap();
        };
        assert_eq!(store.forms(TENANT).await.unwrap(), []);
        note(50, &["op-capitalised", "active-as-text"]).await;
        note(70, &["op-capitalised"]).await;
        note(60, &["op-capitalised", "op"]).await;
        note(40, &["active-as-text", "active-as-text"]).await;
        note(40, &[]).await;
        let uses = [
            ("active-as-text", 40, 50),
            ("op", 60, 60),
            ("op-capitalised", 50, 70),
        ];
        let uses = uses.map(|(form, first, last)| FormUse {
            form: form.into(),
            first: at(first),
            last: at(last),
        });
        assert_eq!(store.forms(TENANT).await.unwrap(), uses);
        assert_eq!(store.forms("acme-2").await.unwrap(), []);
        let seq = store.health().await.seq;
        // What is known already is no write at all.
        note(55, &["op-capitalised"]).await;
        assert_eq!(store.health().await.seq, seq);
    });
}
