//! What has to change at the vendor: the difference between two states of a resource, attribute by
//! attribute of the profile.
//!
//! Invariant: only paths of the profile appear, each at most once, in the manifest's order; what the
//! app does not support never causes a vendor call. Absent: IO, any knowledge of the vendor, and a
//! group's members, which are no part of its document.

use serde::Serialize;
use serde_json::Value;

use crate::scim::{Profile, Resource, ResourceKind};

/// What changed of one attribute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delta {
    /// One of the profile's paths, as the manifest writes it.
    pub path: String,
    /// The new value; `None`, on the wire null, if the attribute lost its value.
    pub value: Option<Value>,
}

/// The deltas that lead from `old` to `new`; none if the vendor need not be called.
#[must_use]
pub fn diff(profile: &Profile, kind: ResourceKind, old: &Resource, new: &Resource) -> Vec<Delta> {
    let Some(resource_type) = profile.resource_type(kind) else {
        return Vec::new();
    };
    profile
        .paths(kind)
        .iter()
        .filter_map(|supported| {
            let before = supported.path.value_in(resource_type, old.as_map());
            let after = supported.path.value_in(resource_type, new.as_map());
            // Who does not say whether a user is active leaves that as it is at the vendor: nobody is
            // switched on or off unasked.
            let silent =
                after.is_none() && kind == ResourceKind::User && supported.text == "active";
            (before != after && !silent).then(|| Delta {
                path: supported.text.clone(),
                value: after.cloned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::diff;
    use crate::scim::{ENTRA, Profile, ProfileSpec, Reading, ResourceKind, ScimLimits};

    #[test]
    fn only_the_profile_counts() {
        let department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
        let manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value";
        let work = "emails[type eq \"work\"].value";
        let paths = [
            "userName",
            "active",
            "name.givenName",
            work,
            department,
            manager,
            "roles",
        ];
        let spec: ProfileSpec = serde_json::from_value(json!({
            "matching": "userName",
            "user": paths.map(|path| json!({ "path": path })),
        }))
        .expect("well-formed");
        let profile = Profile::build(&spec).expect("valid");
        let accept = |body: Value| {
            profile
                .user()
                .accept(body, &Reading::new(&ENTRA, &ScimLimits::default()))
                .expect("accepted")
                .resource
        };
        let old = accept(json!({
            "userName": "ann", "active": true, "title": "x", "name": { "givenName": "A", "familyName": "B" },
            "emails": [{ "type": "home", "value": "h" }, { "type": "work", "value": "w" }], "manager": "271",
        }));
        let new = accept(json!({
            "userName": "ann", "active": "False", "title": "y", "name": { "givenName": "A" },
            "emails": [{ "type": "work", "value": "w" }, { "type": "home", "value": "other" }],
            "department": "IT", "roles": [{ "value": "r" }],
        }));
        let deltas =
            serde_json::to_value(diff(&profile, ResourceKind::User, &old, &new)).expect("JSON");
        assert_eq!(
            deltas,
            json!([
                { "path": "active", "value": false },
                { "path": department, "value": "IT" },
                { "path": manager, "value": null },
                { "path": "roles", "value": [{ "value": "r" }] },
            ])
        );
        assert!(diff(&profile, ResourceKind::User, &new, &new).is_empty());
        let silent = accept(
            json!({ "userName": "ann", "department": "IT", "roles": [{ "value": "r" }],
            "name": { "givenName": "A" }, "emails": [{ "type": "work", "value": "w" }] }),
        );
        assert!(diff(&profile, ResourceKind::User, &new, &silent).is_empty());
        assert_eq!(diff(&profile, ResourceKind::User, &silent, &new).len(), 1);
    }

    #[test]
    fn groups_have_deltas_of_their_own() {
        let urn = "urn:ietf:params:scim:schemas:extension:acme:2.0:Group:active";
        let spec: ProfileSpec = serde_json::from_value(json!({
            "matching": "userName",
            "user": [{ "path": "userName" }],
            "group": [{ "path": "displayName" }, { "path": "members" }, { "path": urn, "type": "boolean" }],
        }))
        .expect("well-formed");
        let profile = Profile::build(&spec).expect("valid");
        let limits = ScimLimits::default();
        let accept = |body: Value| {
            let group = profile.group().expect("has groups");
            let accepted = group.accept(body, &Reading::new(&ENTRA, &limits));
            accepted.expect("accepted").resource
        };
        let old = accept(json!({ "displayName": "crew", "externalId": "1", "members": ["a"] }));
        let new = accept(
            json!({ "displayName": "band", "externalId": "2", "members": ["b"], urn: "True" }),
        );
        let deltas = diff(&profile, ResourceKind::Group, &old, &new);
        assert_eq!(
            serde_json::to_value(deltas).expect("JSON"),
            json!([{ "path": "displayName", "value": "band" }, { "path": urn, "value": true }])
        );
        assert!(diff(&profile, ResourceKind::Group, &new, &new).is_empty());
    }
}
