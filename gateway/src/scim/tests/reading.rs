//! The grammar, and what filters mean.

use proptest::prelude::*;
use serde_json::json;

use super::{ENTERPRISE, VENDOR, accept, profile, reading, whole};
use crate::scim::{
    Comparison, ENTRA, Filter, Literal, Path, Reading, ScimError, ScimLimits, ScimType, Test,
};

fn parse_filter(text: &str) -> Result<Filter, ScimError> {
    crate::scim::parse_filter(text, &reading())
}

fn parse_path(text: &str) -> Result<Path, ScimError> {
    crate::scim::parse_path(text, &reading())
}

fn check(filter: &Filter) -> Result<(), ScimError> {
    filter.check(&[profile().user()], &reading())
}

/// Each filter, and whether it matches this user.
#[test]
fn filters_mean_what_the_rfc_says() {
    let profile = profile();
    let body = json!({
        "userName": "Ann@X.test",
        "externalId": "Ext-1",
        "active": "True",
        "displayName": "Änn \"Q\" O'Neil",
        "name": { "givenName": "Ann" },
        "emails": [
            { "type": "work", "value": "ann@work.test", "primary": true },
            { "type": "home", "value": "ann@home.test" },
        ],
        "roles": [{ "primary": "True", "value": "admin" }],
        "tags": ["red", "Blue"],
        ENTERPRISE: { "manager": "2819c223-7f76-453a-919d-413861904646", "department": "IT" },
        VENDOR: { "level": 5, "customDate1": "2024-05-01T10:00:00+02:00" },
        "urn:x:y:1.0:User": { "Odd": "thing" },
    });
    let resource = accept(&profile, body).expect("accepted");
    let map = whole(profile.user(), &resource);
    let cases = [
        (r#"userName eq "ann@x.test""#, true),
        (r#"USERNAME EQ "ANN@X.TEST""#, true),
        (
            r#"urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann@x.test""#,
            true,
        ),
        ("userName sw A", true),
        ("userName ew TEST", true),
        ("userName co n@", true),
        ("userName co zz", false),
        ("userName gt aaa and userName lt b", true),
        (r#"externalId eq "Ext-1""#, true),
        (r#"externalId eq "ext-1""#, false),
        (r#"displayName eq "ÄNN \"q\" o'neil""#, true),
        (r#"displayName eq "\u00e4nn \"Q\" O'Neil""#, true),
        ("active eq true", true),
        (r#"active eq "True""#, true),
        ("active ne true", false),
        ("active pr", true),
        ("title pr", false),
        (r#"title ne "x""#, true),
        (r#"not (title eq "x")"#, true),
        ("title eq null", true),
        ("title ne null", false),
        ("userName ne null", true),
        ("name pr", true),
        (r#"name.givenname eq "ann""#, true),
        (r#"emails eq "ann@home.test""#, true),
        (r#"emails.Value co "work""#, true),
        (r#"emails[type eq "work"].value eq "ANN@work.test""#, true),
        (r#"emails[type eq "work"].value eq "ann@home.test""#, false),
        (r#"emails[type eq "work" and value co "home"]"#, false),
        (r#"emails[type eq "home" and not (primary eq true)]"#, true),
        (r#"emails[type eq "fax"]"#, false),
        (r#"emails[type eq "work"] and active eq true"#, true),
        (r#"emails[type eq "work"].value pr"#, true),
        (r#"emails[type eq "work"].display pr"#, false),
        (r#"roles[primary eq "True"].value eq "admin""#, true),
        (r#"tags eq "blue""#, true),
        (r#"tags[value eq "red"]"#, true),
        (
            "id eq 2819c223-7f76-453a-919d-413861904646 and manager eq 2819c223-7f76-453a-919d-413861904646",
            true,
        ),
        (
            "manager eq 2819c223-7f76-453a-919d-413861904646 and id eq 54D382A4",
            false,
        ),
        (
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value sw "2819""#,
            true,
        ),
        (
            r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User.department eq "it""#,
            true,
        ),
        (r#"urn:x:y:1.0:User:odd eq "thing""#, true),
        ("level eq 5", true),
        (r#"level gt "4""#, true),
        ("level lt 4.5", false),
        ("customDate1 eq 2024-05-01T08:00:00Z", true),
        ("customDate1 gt 2024-05-01T08:00:00.0000001Z", false),
        ("customDate1 gt 2024-04-30", true),
        ("meta.Created gt 2015-10-10T14:38:21.8617979-07:00", true),
        ("meta.lastModified le 2026-11-21T11:00:00Z", true),
        // not binds tighter than and, and tighter than or.
        ("title pr and title pr or active eq true", true),
        ("active eq true or title pr and title pr", true),
        ("(active eq true or title pr) and title pr", false),
        ("not (title pr) and active eq true", true),
        ("not(active eq true)or(title pr)", false),
    ];
    for (text, expected) in cases {
        let filter = parse_filter(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        check(&filter).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(filter.matches(&map, profile.user()), expected, "{text}");
    }
}

#[test]
fn filters_that_can_never_be_answered_are_refused() {
    for (text, words) in [
        ("active gt true", "no order"),
        ("active eq banana", "true or false"),
        ("level eq banana", "number"),
        ("password eq secret", "cannot be used"),
        ("name eq Ann", "sub-attributes"),
        ("emails[primary gt true]", "no order"),
        ("x509Certificates gt \"YQ==\"", "no order"),
        ("active co t", "no text"),
        ("level sw 5", "no text"),
        ("level eq inf", "number"),
        ("title gt null", "eq and ne only"),
        ("meta.created gt \"2024-05-01T10:00:00 02:00\"", "%2B"),
        ("customDate1 le yesterday", "date"),
        (
            "emails[urn:ietf:params:scim:schemas:core:2.0:User:type eq work]",
            "sub-attribute of emails",
        ),
    ] {
        let filter = parse_filter(text).expect("well-formed");
        let error = check(&filter).expect_err(text);
        assert_eq!(error.scim_type, Some(ScimType::InvalidFilter));
        assert!(error.detail.contains(words), "{text}: {error}");
    }
}

#[test]
fn broken_filters_say_where() {
    for (text, words) in [
        ("", "character 1"),
        ("userName", "character 9: one of eq"),
        ("userName eq", "a value"),
        ("userName eq ", "a value"),
        ("userName == \"x\"", "character 10"),
        ("userName eq \"x", "no closing quote"),
        (r#"userName eq "\q""#, "escapes"),
        ("userName eq x y", "nothing more"),
        ("(userName eq x", "`)`"),
        ("userName eq x)", "nothing more"),
        ("emails[type eq work", "`]`"),
        ("emails[type eq work].", "sub-attribute"),
        (
            "emails[a[b pr]]",
            "character 9: a value filter cannot stand within another",
        ),
        ("a.b.c eq 1", "not an attribute name"),
        ("1a eq 1", "not an attribute name"),
        ("and eq 1 and", "attribute name"),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User eq 1",
            "after the schema URN",
        ),
        ("ä eq 1", "character 1"),
    ] {
        let error = parse_filter(text).expect_err(text);
        assert_eq!(
            (error.status, error.scim_type),
            (400, Some(ScimType::InvalidFilter))
        );
        assert!(error.detail.contains(words), "{text}: {error}");
    }
}

#[test]
fn limits_hold_and_are_named() {
    let limits = ScimLimits::default();
    let deep = |n: usize| format!("{}a eq 1{}", "(".repeat(n), ")".repeat(n));
    let many = |n: usize| vec!["a eq 1"; n].join(" or ");
    for (text, name) in [
        (format!("a eq \"{}\"", "x".repeat(4096)), "filter_bytes_max"),
        (deep(1000), "filter_depth_max"),
        (format!("{}a eq 1", "not (".repeat(800)), "filter_depth_max"),
        (format!("a[{}a eq 1", "(".repeat(2000)), "filter_depth_max"),
        (many(257), "filter_terms_max"),
    ] {
        let error = parse_filter(&text).expect_err(name);
        assert!(error.detail.contains(name), "{error}");
        assert_eq!(error.scim_type, Some(ScimType::InvalidFilter));
    }
    assert!(parse_filter(&deep(32)).is_ok());
    assert!(parse_filter(&many(256)).is_ok());
    let wide = ScimLimits {
        filter_depth_max: usize::MAX,
        filter_bytes_max: usize::MAX,
        ..limits
    };
    let wide = Reading::new(&ENTRA, &wide);
    let error =
        crate::scim::parse_filter(&deep(1_000_000), &wide).expect_err("the stack is finite");
    assert!(error.detail.contains("128"), "{error}");
    let error = parse_path(&"a".repeat(5000)).expect_err("too long");
    assert_eq!(error.scim_type, Some(ScimType::InvalidPath));
}

#[test]
fn paths_come_apart() {
    let core = "urn:ietf:params:scim:schemas:core:2.0:User";
    for (text, urn, name, sub) in [
        ("userName", None, Some("userName"), None),
        ("members.$ref", None, Some("members"), Some("$ref")),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User",
            Some(core),
            None,
            None,
        ),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:name.givenName",
            Some(core),
            Some("name"),
            Some("givenName"),
        ),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User.name.givenName",
            Some(core),
            Some("name"),
            Some("givenName"),
        ),
        ("urn:x:User:attr", Some("urn:x:User"), Some("attr"), None),
        (
            "urn:x:2.0:A:B:attr.sub",
            Some("urn:x:2.0:A:B"),
            Some("attr"),
            Some("sub"),
        ),
        (
            "urn:x:enterprise:2.0User",
            Some("urn:x:enterprise:2.0User"),
            None,
            None,
        ),
    ] {
        let path = parse_path(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (
                path.urn.as_deref(),
                path.name.as_deref(),
                path.sub.as_deref()
            ),
            (urn, name, sub),
            "{text}"
        );
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z$_][a-zA-Z0-9_-]{0,8}",
        Just("not".to_owned()),
        Just("and".to_owned())
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        "\\PC{0,12}".prop_map(Literal::Quoted),
        any::<String>().prop_map(Literal::Quoted),
        "[a-zA-Z0-9.:+-]{1,12}".prop_map(Literal::Bare),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    use Comparison::{Co, Eq, Ew, Ge, Gt, Le, Lt, Ne, Sw};
    let comparison = prop::sample::select(vec![Eq, Ne, Co, Sw, Ew, Gt, Ge, Lt, Le]);
    prop_oneof![
        Just(Test::Present),
        (comparison, literal())
            .prop_map(|(comparison, literal)| Test::Compare(comparison, literal))
    ]
}

/// Filters without value filters, which cannot stand within one another.
fn plain_filter() -> impl Strategy<Value = Filter> {
    let urn = prop::option::of(Just("urn:x:y:2.0:User".to_owned()));
    let path = (urn, name(), prop::option::of(name())).prop_map(|(urn, name, sub)| Path {
        urn,
        name: Some(name),
        filter: None,
        sub,
    });
    joined((path, test()).prop_map(|(path, test)| Filter::Term { path, test }))
}

fn filter() -> impl Strategy<Value = Filter> {
    let path = (name(), plain_filter(), prop::option::of(name()));
    let path = path.prop_map(|(name, filter, sub)| Path {
        urn: None,
        name: Some(name),
        filter: Some(Box::new(filter)),
        sub,
    });
    let valued = (path, test()).prop_map(|(path, test)| Filter::Term { path, test });
    joined(prop_oneof![plain_filter(), valued])
}

fn joined(leaf: impl Strategy<Value = Filter> + 'static) -> impl Strategy<Value = Filter> {
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}", bytes in any::<String>()) {
        for text in [text, bytes] {
            let _ = parse_filter(&text);
            let _ = parse_path(&text);
        }
    }

    #[test]
    fn no_filter_like_text_panics(text in r#"([a-z]{1,3}|\[|\]|\(|\)| |"|\\|\.|:|eq|and|not|urn:|2\.0:){0,30}"#) {
        let profile = profile();
        if let Ok(filter) = parse_filter(&text) {
            let _ = check(&filter);
            let _ = filter.matches(&serde_json::Map::new(), profile.user());
        }
        let _ = parse_path(&text);
    }

    #[test]
    fn filters_print_and_read_back(filter in filter()) {
        let text = filter.to_string();
        prop_assert_eq!(parse_filter(&text), Ok(filter), "{}", text);
    }
}
