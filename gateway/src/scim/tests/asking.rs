//! What is asked by a filter: the RFC's own examples, what a strict client may ask, and what of it
//! indexes and relations answer.

use serde_json::{Value, json};

use super::{ENTERPRISE, VENDOR, accept, groups, profile, read_as, reading, whole};
use crate::scim::{
    Filter, Form, Indexed, Lookup, Relations, ResourceType, STRICT, ScimType, Unique, parse_filter,
};

fn filter(text: &str) -> Filter {
    parse_filter(text, &reading()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// RFC 7644 figure 2, each filter with one user for whom it holds and one for whom it does not.
#[test]
fn the_examples_of_the_rfc_hold() {
    let user = |body: Value| {
        let profile = profile();
        let mut body = body;
        if body.get("userName").is_none() {
            body["userName"] = json!("nobody");
        }
        whole(profile.user(), &accept(&profile, body).expect("accepted"))
    };
    let mail = |ty: &str, value: &str| json!({ "emails": [{ "type": ty, "value": value }] });
    let employee = |mut body: Value| {
        body["userType"] = json!("Employee");
        body
    };
    let profile = profile();
    for (text, yes, no) in [
        (
            r#"userName eq "bjensen""#,
            json!({ "userName": "BJensen" }),
            json!({ "userName": "bjensen2" }),
        ),
        (
            r#"name.familyName co "O'Malley""#,
            json!({ "name": { "familyName": "Mc O'Malley" } }),
            json!({ "name": { "givenName": "O'Malley" } }),
        ),
        (
            r#"userName sw "J""#,
            json!({ "userName": "jsmith" }),
            json!({ "userName": "bj" }),
        ),
        (
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J""#,
            json!({ "userName": "jsmith" }),
            json!({ "userName": "bj" }),
        ),
        ("title pr", json!({ "title": "Dr" }), json!({ "title": "" })),
        (
            r#"title pr and userType eq "Employee""#,
            employee(json!({ "title": "Dr" })),
            json!({ "title": "Dr", "userType": "Intern" }),
        ),
        (
            r#"title pr or userType eq "Intern""#,
            json!({ "userType": "Intern" }),
            json!({ "userType": "Employee" }),
        ),
        (
            r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#,
            json!({ ENTERPRISE: { "department": "IT" } }),
            json!({}),
        ),
        (
            r#"userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")"#,
            employee(mail("work", "a@example.org")),
            mail("work", "a@example.org"),
        ),
        (
            r#"userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")"#,
            mail("work", "a@example.net"),
            mail("work", "a@example.com"),
        ),
        (
            r#"userType eq "Employee" and (emails.type eq "work")"#,
            employee(mail("work", "a@example.org")),
            employee(mail("home", "a@example.org")),
        ),
        (
            r#"userType eq "Employee" and emails[type eq "work" and value co "@example.com"]"#,
            employee(mail("work", "a@example.com")),
            employee(json!({ "emails": [
                { "type": "home", "value": "a@example.com" },
                { "type": "work", "value": "a@example.org" },
            ] })),
        ),
        (
            r#"emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp" and value co "@foo.com"]"#,
            json!({ "ims": [{ "type": "xmpp", "value": "a@foo.com" }] }),
            json!({ "ims": [{ "type": "aim", "value": "a@foo.com" }] }),
        ),
    ] {
        let strict = read_as(&STRICT);
        let read = parse_filter(text, &strict).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(read.check(&[profile.user()], &strict), Ok(()), "{text}");
        assert!(read.matches(&user(yes), profile.user()), "{text}");
        assert!(!read.matches(&user(no), profile.user()), "{text}");
    }
    let map = user(json!({}));
    for (operator, expected) in [("gt", true), ("ge", true), ("lt", false), ("le", false)] {
        let text = format!("meta.lastModified {operator} \"2011-05-13T04:42:34Z\"");
        assert_eq!(
            filter(&text).matches(&map, profile.user()),
            expected,
            "{text}"
        );
    }
    let text = "(meta.resourceType eq User) or (meta.resourceType eq Group)";
    assert!(filter(text).matches(&map, profile.user()));
}

#[test]
fn nothing_is_not_a_value() {
    let profile = profile();
    let map = json!({ "name": { "givenName": "" }, "emails": [{ "value": "" }], "tags": [] });
    let map = map.as_object().expect("an object");
    for (text, expected) in [
        ("name pr", false),
        ("emails pr", false),
        ("emails.value pr", false),
        ("tags pr", false),
        (r#"emails[type ne "work"]"#, false),
        (r#"title ne "x""#, true),
        (r#"unheardOf eq "x""#, false),
        ("unheardOf pr", false),
        (r#"urn:x:y:2.0:User:unheardOf eq "x""#, false),
    ] {
        assert_eq!(
            filter(text).matches(map, profile.user()),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_strict_client_asks_only_for_what_there_is() {
    let profile = profile();
    for (text, form) in [
        ("shoeSize eq 5", Form::UnknownKept),
        ("emails.shoeSize pr", Form::UnknownKept),
        ("emails[shoeSize eq 5]", Form::UnknownKept),
        ("urn:x:y:2.0:User:odd pr", Form::UnknownKept),
        ("department pr", Form::ExtensionUnprefixed),
        (r#"active eq "true""#, Form::BooleanAsString),
        (&format!("{VENDOR}:level eq \"5\""), Form::NumberAsString),
    ] {
        let strict = read_as(&STRICT);
        let error = filter(text).check(&[profile.user()], &strict);
        let error = error.expect_err(text);
        assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{text}");
        let tolerant = reading();
        assert_eq!(filter(text).check(&[profile.user()], &tolerant), Ok(()));
        assert!(tolerant.forms().contains(form), "{text}");
    }
    // At the root, what one type does not have another may.
    let (groups, strict) = (groups(), read_as(&STRICT));
    for text in ["members pr", "name.givenName pr", "displayName pr"] {
        let types = [profile.user(), &groups];
        assert_eq!(filter(text).check(&types, &strict), Ok(()), "{text}");
    }
}

#[test]
fn lookups_name_the_candidates() {
    let (profile, groups) = (profile(), groups());
    let user_name = |text: &str| Lookup::Unique(Unique::UserName, text.to_owned());
    let external = |text: &str| Lookup::Unique(Unique::ExternalId, text.to_owned());
    let group_name = |text: &str| Lookup::Unique(Unique::DisplayName, text.to_owned());
    let mail = |text: &str| Lookup::Indexed(Indexed::EmailValue, text.to_owned());
    let name = |text: &str| Lookup::Indexed(Indexed::DisplayName, text.to_owned());
    let id = |text: &str| Lookup::Id(text.to_owned());
    let other = |text: &str| Lookup::Relation(text.to_owned());
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    let check = |resource_type: &ResourceType, text: &str, expected: Option<Vec<Lookup>>| {
        assert_eq!(filter(text).lookups(resource_type), expected, "{text}");
    };
    for (text, expected) in [
        ("userName eq \"ANN\"", user_name("ann")),
        ("USERNAME EQ ANN", user_name("ann")),
        ("externalId eq Ab", external("Ab")),
        (&*format!("{core}:id eq 5"), id("5")),
        (&*format!("{core}:emails.Value eq \"A@X\""), mail("a@x")),
        ("displayName eq \"Änn\"", name("änn")),
        ("emails eq \"A\"", mail("a")),
        ("emails.value eq \"A\"", mail("a")),
        ("emails[type eq \"work\"].value eq \"A\"", mail("a")),
        ("emails[value eq \"A\"]", mail("a")),
        ("emails[type eq \"work\" and value eq \"A\"]", mail("a")),
        ("emails[value eq \"A\"].type eq \"work\"", mail("a")),
        ("groups eq G", other("G")),
        ("groups.value eq G", other("G")),
        ("groups[value eq G]", other("G")),
        // The cheapest part of an `and` counts, in either order.
        ("id eq 5 and manager eq 6", id("5")),
        ("manager eq 6 and id eq 5", id("5")),
        ("emails eq a and userName eq b", user_name("b")),
        ("groups eq g and displayName eq b", name("b")),
        ("active eq true and (groups eq g and title pr)", other("g")),
    ] {
        check(profile.user(), text, Some(vec![expected]));
    }
    for (text, expected) in [
        ("displayName eq \"ADMINS\"", group_name("admins")),
        ("externalId eq Ab", external("Ab")),
        ("members eq u", other("u")),
        ("members.value eq u", other("u")),
        ("members[value eq \"u\"]", other("u")),
        ("members[value eq u and type eq User]", other("u")),
        ("id eq g and members eq u", id("g")),
        ("members eq u and id eq g", id("g")),
    ] {
        check(&groups, text, Some(vec![expected]));
    }
    check(
        profile.user(),
        "userName eq a or emails eq b or userName eq A",
        Some(vec![user_name("a"), mail("b")]),
    );
    check(
        profile.user(),
        "emails[value eq a or value eq b]",
        Some(vec![mail("a"), mail("b")]),
    );
    for text in [
        "userName eq a or active eq true",
        "not (userName eq a)",
        "userName sw a",
        "userName eq null",
        "title eq a",
        "emails ne a",
        "emails.type eq a",
        "emails[value eq a].type ne work",
        "emails[value eq a].type eq null",
        "emails[not (value eq a)]",
        "emails[value eq a or type eq b]",
        "userName.value eq a",
        "members eq a",
        "urn:x:y:2.0:User:userName eq a",
    ] {
        check(profile.user(), text, None);
    }
    for text in ["emails eq a", "groups eq a", "userName eq a"] {
        check(&groups, text, None);
    }
}

#[test]
fn filters_say_which_members_they_look_at() {
    let groups = groups();
    let named = |ids: &[&str]| Relations::Named(ids.iter().map(|id| (*id).to_owned()).collect());
    for (text, expected, only) in [
        ("displayName eq a", Relations::None, None),
        ("members eq \"u\"", named(&["u"]), Some("u")),
        ("Members.Value eq u", named(&["u"]), Some("u")),
        ("members[value eq u]", named(&["u"]), Some("u")),
        ("members[value eq u].value pr", named(&["u"]), Some("u")),
        ("members[value eq u].type pr", named(&["u"]), None),
        ("members[value eq u and type eq User]", named(&["u"]), None),
        ("members[type eq User].value eq u", named(&["u"]), None),
        ("not (members eq u)", named(&["u"]), None),
        ("id eq g and members eq u", named(&["u"]), None),
        (
            "members eq u or members eq v or members eq u",
            named(&["u", "v"]),
            None,
        ),
        ("members pr", Relations::All, None),
        ("members ne u", Relations::All, None),
        ("members eq null", Relations::All, None),
        ("members.type eq \"User\"", Relations::All, None),
        ("not (members.value co \"x\")", Relations::All, None),
        ("members[not (value eq u)]", Relations::All, None),
        ("members eq u and members pr", Relations::All, None),
        ("groups eq u", Relations::None, None),
    ] {
        let filter = filter(text);
        assert_eq!(filter.relations(&groups), expected, "{text}");
        assert_eq!(filter.only_relation(&groups), only, "{text}");
    }
}

#[test]
fn indexed_values_are_folded_once_each() {
    let profile = profile();
    let body = json!({
        "userName": "a", "displayName": "Änn",
        "emails": [{ "value": "A@X" }, { "value": "a@x", "type": "work" }, { "type": "home" }, "b"],
    });
    let resource = accept(&profile, body).expect("accepted");
    assert_eq!(
        resource.indexed_values(profile.user().kind),
        [
            (Indexed::EmailValue, "a@x".to_owned()),
            (Indexed::EmailValue, "b".to_owned()),
            (Indexed::DisplayName, "änn".to_owned()),
        ]
    );
    assert_eq!(resource.indexed_values(groups().kind), []);
    assert_eq!(Indexed::EmailValue.as_str(), "emails.value");
}
