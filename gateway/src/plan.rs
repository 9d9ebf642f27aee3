//! What has to change at the vendor: the difference between two states of a resource, attribute by
//! attribute of the profile.
//!
//! Invariant: only paths of the profile appear, each at most once, in the manifest's order; what the
//! app does not support never causes a vendor call. Absent: IO, and any knowledge of the vendor.

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
pub fn diff(profile: &Profile, old: &Resource, new: &Resource) -> Vec<Delta> {
    let user = profile.user();
    profile
        .paths(ResourceKind::User)
        .iter()
        .filter_map(|supported| {
            let before = supported.path.value_in(user, old.as_map());
            let after = supported.path.value_in(user, new.as_map());
            // Who never said whether a user is active means an active one.
            let implied = (supported.text == "active").then_some(&Value::Bool(true));
            let (before, after) = (before.or(implied), after.or(implied));
            (before != after).then(|| Delta {
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
    use crate::scim::{Profile, ProfileSpec, Resource, ScimLimits};

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
                .accept(body, &ScimLimits::default())
                .expect("accepted")
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
        let deltas = serde_json::to_value(diff(&profile, &old, &new)).expect("JSON");
        assert_eq!(
            deltas,
            json!([
                { "path": "active", "value": false },
                { "path": department, "value": "IT" },
                { "path": manager, "value": null },
                { "path": "roles", "value": [{ "value": "r" }] },
            ])
        );
        assert!(diff(&profile, &new, &new).is_empty());
        // Not `active`: true is what its absence means.
        assert_eq!(diff(&profile, &Resource::default(), &old).len(), 4);
    }
}
