//! The SCIM engine against what clients really send: tables of input and expected outcome.

mod accept;
mod asking;
mod bulk;
mod dialects;
mod groups;
mod lists;
mod model;
mod oracle;
mod output;
mod patches;
mod reading;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{
    Dialect, ENTRA, Meta, Profile, ProfileSpec, Projection, Reading, Resource, ResourceKind,
    ResourceType, ScimError, ScimLimits, core_schema, render,
};

pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub(super) const VENDOR: &str = "urn:ietf:params:scim:schemas:extension:knowbe4:kmsat:2.0:User";

/// A profile with one path of each sort.
pub(super) fn profile() -> Profile {
    let spec: ProfileSpec = serde_json::from_value(json!({
        "matching": "userName",
        "user": [
            { "path": "userName", "required": true, "vendor": "email" },
            { "path": "externalId" },
            { "path": "active" },
            { "path": "displayName" },
            { "path": "name.givenName" },
            { "path": "name.familyName" },
            { "path": "emails[type eq \"work\"].value" },
            { "path": "emails[type eq \"alternate\"].value" },
            { "path": "roles[primary eq \"True\"].value" },
            { "path": "addresses" },
            { "path": format!("{ENTERPRISE}:department") },
            { "path": format!("{ENTERPRISE}:manager.value") },
            { "path": format!("{VENDOR}:customDate1"), "type": "dateTime" },
            { "path": format!("{VENDOR}:level"), "type": "integer" },
            { "path": format!("{VENDOR}:vip"), "type": "boolean" },
            { "path": format!("{VENDOR}:score"), "type": "decimal" },
        ],
    }))
    .expect("the spec is well-formed");
    Profile::build(&spec).expect("the profile is valid")
}

/// A request in the tolerant dialect, within the usual limits.
pub(super) fn reading() -> Reading<'static> {
    read_as(&ENTRA)
}

pub(super) fn read_as(dialect: &'static Dialect) -> Reading<'static> {
    static LIMITS: LazyLock<ScimLimits> = LazyLock::new(ScimLimits::default);
    Reading::new(dialect, &LIMITS)
}

pub(super) fn accept(profile: &Profile, body: Value) -> Result<Resource, ScimError> {
    let accepted = profile.user().accept(body, &reading())?;
    assert_eq!(accepted.members, None, "a user has none");
    Ok(accepted.resource)
}

pub(super) fn meta() -> Meta {
    Meta {
        id: "2819c223-7f76-453a-919d-413861904646".to_owned(),
        created: "2026-11-21T10:00:00.123456Z".parse().expect("a timestamp"),
        modified: "2026-11-21T11:00:00Z".parse().expect("a timestamp"),
        version: 3,
        location: "https://scim.example.com/tenants/acme/scim/v2/Users/2819c223-7f76-453a-919d-413861904646".to_owned(),
    }
}

/// Groups, as every app has them that has any.
pub(super) fn groups() -> ResourceType {
    ResourceType {
        kind: ResourceKind::Group,
        schema: core_schema::group(),
        extensions: Vec::new(),
        common: core_schema::common(),
        required: Vec::new(),
    }
}

/// The whole resource, as filters see it.
pub(super) fn whole(user: &ResourceType, resource: &Resource) -> serde_json::Map<String, Value> {
    match render(user, resource.clone(), &meta(), None, &Projection::Default) {
        Value::Object(map) => map,
        other => panic!("render gave {other}"),
    }
}
