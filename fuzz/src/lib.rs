//! What must hold for every input of the SCIM engine. Each fuzz target hands its input to one of these
//! functions, which panics if something does not hold.
//!
//! `scim.rs` and `scim` here are links to the engine's sources in the gateway: the engine is pure and
//! builds without the rest, and a build of seconds is run more often than one of minutes.

pub mod scim;

use std::sync::LazyLock;

use scim::{
    Dialect, Filter, Indexed, Lookup, Meta, Profile, Projection, Reading, Resource, ResourceKind,
    ResourceType, ScimLimits,
};
use serde_json::{Map, Value, json};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const ID: &str = "2819c223-7f76-453a-919d-413861904646";
const GROUP: &str = "e9e30dba-f08f-4109-8486-d5c6a331660a";

static DIALECTS: [&Dialect; 3] = [&scim::ENTRA, &scim::OKTA, &scim::STRICT];

/// Every sort of attribute: single and in lists, simple and complex, of the core and of extensions.
static PROFILE: LazyLock<Profile> = LazyLock::new(|| {
    let vendor = "urn:ietf:params:scim:schemas:extension:acme:2.0:User";
    let spec = serde_json::from_value(json!({
        "matching": "userName",
        "user": [
            { "path": "userName", "required": true },
            { "path": "externalId" },
            { "path": "active" },
            { "path": "displayName" },
            { "path": "name.givenName" },
            { "path": "name.familyName" },
            { "path": "emails" },
            { "path": "phoneNumbers[type eq \"work\"].value" },
            { "path": "roles[primary eq \"True\"].value" },
            { "path": "addresses" },
            { "path": format!("{ENTERPRISE}:department") },
            { "path": format!("{ENTERPRISE}:manager.value") },
            { "path": format!("{vendor}:date"), "type": "dateTime" },
            { "path": format!("{vendor}:level"), "type": "integer" },
            { "path": format!("{vendor}:vip"), "type": "boolean" },
            { "path": format!("{vendor}:score"), "type": "decimal" },
        ],
        "group": [
            { "path": "displayName", "required": true },
            { "path": "externalId" },
            { "path": "members" },
        ],
    }));
    Profile::build(&spec.expect("the spec is well-formed")).expect("the profile is valid")
});

static LIMITS: LazyLock<ScimLimits> = LazyLock::new(ScimLimits::default);

/// Limits for what the engine itself has printed: more parentheses than it was given, and escapes.
static GENEROUS: LazyLock<ScimLimits> = LazyLock::new(|| ScimLimits {
    filter_bytes_max: usize::MAX,
    filter_depth_max: 128,
    ..ScimLimits::default()
});

/// A user as filters see it.
static USER: LazyLock<(Resource, Map<String, Value>)> = LazyLock::new(|| {
    let body = json!({
        "userName": "Bjensen@example.com",
        "externalId": "701984",
        "displayName": "Babs Jensen",
        "active": true,
        "name": { "givenName": "Barbara", "familyName": "Jensen" },
        "emails": [
            { "value": "bjensen@example.com", "type": "work", "primary": true },
            { "value": "babs@jensen.org", "type": "home" },
        ],
        "phoneNumbers": [{ "value": "555-555-8377", "type": "work" }],
        ENTERPRISE: { "department": "Tour Operations", "manager": { "value": "26118915" } },
    });
    let reading = Reading::new(&scim::ENTRA, &LIMITS);
    let user = PROFILE.user().accept(body, &reading).expect("a user");
    let groups = vec![json!({ "value": GROUP, "type": "direct" })];
    let whole = scim::render(
        PROFILE.user(),
        user.resource.clone(),
        &meta(),
        Some(groups),
        &Projection::Default,
    );
    match whole {
        Value::Object(whole) => (user.resource, whole),
        other => panic!("render gave {other}"),
    }
});

fn meta() -> Meta {
    let at = "2026-11-21T10:00:00Z".parse().expect("a timestamp");
    Meta {
        id: ID.to_owned(),
        created: at,
        modified: at,
        version: 3,
        location: format!("https://scim.example.com/Users/{ID}"),
    }
}

/// A filter prints back to text that reads as the same filter; whatever finds its candidates by an
/// index finds all that match.
pub fn check_filter(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for dialect in DIALECTS {
        let reading = Reading::new(dialect, &LIMITS);
        let Ok(filter) = scim::parse_filter(text, &reading) else {
            continue;
        };
        let printed = filter.to_string();
        let again = scim::parse_filter(&printed, &Reading::new(dialect, &GENEROUS));
        assert_eq!(again.as_ref(), Ok(&filter), "{printed}");
        let (user, whole) = &*USER;
        if filter.check(&[PROFILE.user()], &reading).is_ok() {
            check_lookups(&filter, user, whole);
        }
        if let Some(group) = PROFILE.group()
            && filter.check(&[group], &reading).is_ok()
        {
            let _ = filter.lookups(group);
            let _ = filter.relations(group);
            let _ = filter.matches(whole, group);
        }
    }
}

fn check_lookups(filter: &Filter, user: &Resource, whole: &Map<String, Value>) {
    let users = PROFILE.user();
    let _ = filter.relations(users);
    let lookups = filter.lookups(users);
    if let Some(relation) = filter.only_relation(users) {
        let relation = Lookup::Relation(relation.to_owned());
        assert_eq!(lookups.as_deref(), Some(&[relation][..]), "{filter}");
    }
    if !filter.matches(whole, users) {
        return;
    }
    let Some(lookups) = lookups else { return };
    let unique = user.unique_values(ResourceKind::User);
    let indexed: Vec<(Indexed, String)> = user.indexed_values(ResourceKind::User);
    let finds = |lookup: &Lookup| match lookup {
        Lookup::Id(id) => id == ID,
        Lookup::Unique(attribute, value) => unique.contains(&(*attribute, value.clone())),
        Lookup::Indexed(attribute, value) => indexed.contains(&(*attribute, value.clone())),
        Lookup::Relation(id) => id == GROUP,
    };
    assert!(lookups.iter().any(finds), "{filter}: {lookups:?}");
}

/// A path prints back to text that reads as the same path.
pub fn check_path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for dialect in DIALECTS {
        let Ok(path) = scim::parse_path(text, &Reading::new(dialect, &LIMITS)) else {
            continue;
        };
        let printed = path.to_string();
        let again = scim::parse_path(&printed, &Reading::new(dialect, &GENEROUS));
        assert_eq!(again.as_ref(), Ok(&path), "{printed}");
        let _ = PROFILE.user().resolve(&path);
    }
}

/// What a POST accepts is accepted again as it is shown, and stays as it is.
pub fn check_resource(input: &[u8]) {
    let Ok(body) = scim::parse_body(input, &LIMITS) else {
        return;
    };
    for dialect in DIALECTS {
        for resource_type in resource_types() {
            let reading = Reading::new(dialect, &LIMITS);
            let Ok(accepted) = resource_type.accept(body.clone(), &reading) else {
                continue;
            };
            let members = accepted.members.filter(|members| !members.is_empty());
            let relation = members.as_ref().map(|members| {
                let member = |id: &String| json!({ "value": id });
                members.iter().map(member).collect()
            });
            let resource = accepted.resource;
            let shown = scim::render(
                resource_type,
                resource.clone(),
                &meta(),
                relation,
                &Projection::Default,
            );
            let again = resource_type.accept(shown, &Reading::new(dialect, &LIMITS));
            let again = again.map(|again| (again.resource, again.members));
            assert_eq!(again, Ok((resource, members)), "{}", dialect.name);
        }
    }
}

/// A PATCH leaves a resource that a POST would have left: canonical names, values of their type, nothing
/// empty, the right `schemas`. The same PATCH again, and the members that it names, do no harm.
pub fn check_patch(input: &[u8]) {
    let Ok(Value::Array(parts)) = scim::parse_body(input, &LIMITS) else {
        return;
    };
    let Ok([body, patch]) = <[Value; 2]>::try_from(parts) else {
        return;
    };
    for dialect in DIALECTS {
        for resource_type in resource_types() {
            let reading = Reading::new(dialect, &LIMITS);
            let Ok(accepted) = resource_type.accept(body.clone(), &reading) else {
                continue;
            };
            let before = accepted.resource;
            let patched = scim::patch::apply(resource_type, &before, patch.clone(), ID, &reading);
            let Ok(patched) = patched else { continue };
            let document = patched.resource.clone().into_document();
            let again = resource_type.accept(document, &Reading::new(dialect, &LIMITS));
            let again = again.map(|again| again.resource);
            assert_eq!(again, Ok(patched.resource.clone()), "{}", dialect.name);
            let ids = accepted.members.unwrap_or_default().into_iter();
            let mut members: Vec<Value> = ids.map(|id| json!({ "value": id })).collect();
            let _ = patched.members.apply_to(resource_type, &mut members);
            let _ = patched.members.net();
            let _ = scim::patch::apply(
                resource_type,
                &patched.resource,
                patch.clone(),
                ID,
                &reading,
            );
        }
    }
}

fn resource_types() -> impl Iterator<Item = &'static ResourceType> {
    std::iter::once(PROFILE.user()).chain(PROFILE.group())
}
