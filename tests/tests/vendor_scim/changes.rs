//! PATCH: of a user's attributes, as a table, and of a group's members.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{ENTERPRISE, GROUP, USER, Vendor};

/// operations | what the user then has at a pointer, or the `scimType` of the refusal
const PATCHES: &str = r#"
[{"op":"add","path":"title","value":"T"}]                                   | /title = "T"
[{"op":"replace","path":"TITLE","value":"T"}]                               | /title = "T"
[{"op":"replace","path":"USER:title","value":"T"}]                          | /title = "T"
[{"op":"replace","path":"name.givenName","value":"X"}]                      | /name = {"givenName":"X","familyName":"Lee"}
[{"op":"replace","path":"name","value":{"givenName":"X"}}]                  | /name = {"givenName":"X","familyName":"Lee"}
[{"op":"remove","path":"name.givenName"}]                                   | /name = {"familyName":"Lee"}
[{"op":"remove","path":"name"}]                                             | /name = null
[{"op":"replace","path":"nickName","value":null}]                           | /nickName = null
[{"op":"remove","path":"nickName"}]                                         | /nickName = null
[{"op":"replace","value":{"title":"T","ENTERPRISE":{"division":"D"}}}]      | /ENTERPRISE = {"department":"Care","division":"D"}
[{"op":"add","path":"ENTERPRISE:manager","value":{"value":"m"}}]            | /ENTERPRISE/manager = {"value":"m"}
[{"op":"add","path":"ENTERPRISE:manager.value","value":"m"}]                | /ENTERPRISE/manager = {"value":"m"}
[{"op":"remove","path":"ENTERPRISE:department"}]                            | /schemas = ["USER"]
[{"op":"replace","path":"emails[type eq \"work\"].value","value":"x@y.z"}]  | /emails/0/value = "x@y.z"
[{"op":"replace","path":"emails[type eq \"WORK\" and primary eq true].value","value":"x"}] | /emails/0/value = "x"
[{"op":"replace","path":"emails[type eq \"work\"]","value":{"value":"x"}}]  | /emails/0 = {"value":"x"}
[{"op":"add","path":"emails[type eq \"work\"]","value":{"display":"x"}}]    | /emails/0/type = "work"
[{"op":"remove","path":"emails[type eq \"work\"]"}]                         | /emails/0/type = "home"
[{"op":"remove","path":"emails[value eq \"a]\\\"b\" or type eq \"home\"]"}] | /emails/1 = null
[{"op":"remove","path":"emails"}]                                           | /emails = null
[{"op":"add","path":"emails","value":[{"value":"c","primary":true}]}]       | /emails/0/primary = false
[{"op":"replace","path":"emails[type eq \"home\"].primary","value":true}]   | /emails/0/primary = false
[{"op":"add","path":"emails","value":[{"value":"h","type":"home"}]}]        | /emails/2 = null
[{"op":"replace","path":"emails","value":[{"value":"c"}]}]                  | /emails = [{"value":"c"}]
[{"op":"replace","path":"active","value":false}]                            | /active = false
[{"op":"Replace","path":"title","value":"T"}]                               | invalidSyntax
[{"op":"replace","path":"title","value":"T","note":1}]                      | invalidSyntax
[{"op":"replace","path":"title"}]                                           | invalidSyntax
[{"op":"remove","path":"title","value":"T"}]                                | invalidSyntax
[]                                                                          | invalidSyntax
[{"op":"remove"}]                                                           | noTarget
[{"op":"remove","path":"emails[type eq \"fax\"]"}]                          | noTarget
[{"op":"replace","path":"emails[type eq \"fax\"].value","value":"x"}]       | noTarget
[{"op":"add","path":"phoneNumbers[type eq \"work\"].value","value":"x"}]    | noTarget
[{"op":"replace","path":"shoeSize","value":"4"}]                            | invalidPath
[{"op":"replace","path":"name.nick","value":"4"}]                           | invalidPath
[{"op":"replace","path":"title[value eq \"x\"]","value":"4"}]               | invalidPath
[{"op":"replace","path":"emails.value","value":"4"}]                        | invalidPath
[{"op":"replace","path":"emails[type eq work].value","value":"4"}]          | invalidPath
[{"op":"replace","path":"emails[type sw \"work\"].value","value":"4"}]      | invalidPath
[{"op":"replace","path":"emails[type eq \"work\"","value":"4"}]             | invalidPath
[{"op":"replace","path":"ENTERPRISE.department","value":"4"}]               | invalidPath
[{"op":"replace","path":"ENTERPRISE","value":{"department":"4"}}]           | invalidPath
[{"op":"replace","path":"","value":{}}]                                     | invalidPath
[{"op":"replace","path":7,"value":{}}]                                      | invalidPath
[{"op":"replace","value":{"name.givenName":"X"}}]                           | invalidPath
[{"op":"replace","value":"X"}]                                              | invalidValue
[{"op":"replace","path":"active","value":"False"}]                          | invalidValue
[{"op":"replace","path":"emails[type eq \"work\"].primary","value":"true"}] | invalidValue
[{"op":"replace","path":"ENTERPRISE:manager","value":"m"}]                  | invalidValue
[{"op":"remove","path":"userName"}]                                         | invalidValue
[{"op":"replace","path":"title","value":"T"},{"op":"replace","path":"userName","value":"TAKEN"}] | uniqueness
[{"op":"replace","path":"id","value":"x"}]                                  | mutability
[{"op":"add","path":"groups","value":[{"value":"g"}]}]                      | mutability
[{"op":"add","path":"ENTERPRISE:manager.displayName","value":"x"}]          | mutability
"#;

#[tokio::test]
async fn patches_apply_as_the_rfc_says_or_not_at_all() {
    let vendor = Vendor::instant();
    vendor.user("taken").await;
    for (number, row) in PATCHES.trim().lines().enumerate() {
        let made = json!({
            "schemas": [USER, ENTERPRISE],
            "userName": format!("ann{number}"),
            "active": true,
            "name": { "givenName": "Ann", "familyName": "Lee" },
            "emails": [
                { "value": "w", "type": "work", "primary": true },
                { "value": "h", "type": "home" },
            ],
            ENTERPRISE: { "department": "Care" },
        });
        let id = vendor.made("/Users", &made).await;
        let before = vendor.simulator.user(&id).expect("a user");
        let named = row
            .replace("ENTERPRISE", ENTERPRISE)
            .replace("\"USER", &format!("\"{USER}"));
        let (operations, wanted) = named.split_once(" | ").expect("two columns");
        let operations =
            serde_json::from_str(operations).unwrap_or_else(|it| panic!("{it}: {row}"));
        let (status, answer) = vendor.patch(&format!("/Users/{id}"), operations).await;
        let held = vendor.simulator.user(&id).expect("a user");
        match wanted.trim().split_once(" = ") {
            Some((pointer, value)) => {
                assert_eq!(status, 200, "{row}\n{answer}");
                assert_eq!(answer, held, "{row}");
                let value: Value = serde_json::from_str(value).expect("JSON");
                let found = held.pointer(pointer).unwrap_or(&Value::Null);
                assert_eq!(*found, value, "{row}\n{held}");
                assert_eq!(held["meta"]["version"], "W/\"2\"");
            }
            None => {
                let wanted_status = if wanted.contains("uniqueness") {
                    409
                } else {
                    400
                };
                let found = (status, answer["scimType"].as_str().unwrap_or_default());
                assert_eq!(found, (wanted_status, wanted.trim()), "{row}\n{answer}");
                assert_eq!(held, before, "{row}");
            }
        }
    }
}

#[tokio::test]
async fn members_are_a_set_that_is_changed_whole_or_not_at_all() {
    let vendor = Vendor::instant();
    let (ann, bo) = (vendor.user("ann").await, vendor.user("bo").await);
    let inner = vendor.group("Inner", &[&bo]).await;
    let outer = vendor.group("Outer", &[&ann, &ann, &inner]).await;
    let path = format!("/Groups/{outer}");
    let members = || {
        let held = vendor.simulator.group_named("OUTER").expect("a group");
        held.members.into_iter().collect::<Vec<_>>()
    };
    let all = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|it| (*it).clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(members(), all(&[&ann, &inner]));
    let shown = vendor.get(&path).await;
    let url = vendor.simulator.url();
    assert_eq!(
        shown["members"],
        json!([
            { "value": inner, "$ref": format!("{url}/Groups/{inner}"), "type": "Group", "display": "Inner" },
            { "value": ann, "$ref": format!("{url}/Users/{ann}"), "type": "User" },
        ])
    );
    let user = vendor.get(&format!("/Users/{ann}")).await;
    assert_eq!(user["groups"][0]["value"], json!(outer));
    assert_eq!(user["groups"][0]["type"], "direct");

    let add =
        json!([{ "op": "add", "path": "members", "value": [{ "value": bo }, { "value": ann }] }]);
    assert_eq!(vendor.patch(&path, add).await, (204, Value::Null));
    assert_eq!(members(), all(&[&ann, &bo, &inner]));

    let half = json!([
        { "op": "remove", "path": format!("members[value eq \"{ann}\"]") },
        { "op": "replace", "path": "displayName", "value": "Other" },
        { "op": "add", "path": "members", "value": [{ "value": "nobody" }] },
    ]);
    let (status, error) = vendor.patch(&path, half).await;
    assert_eq!(
        (status, error["scimType"].as_str()),
        (400, Some("invalidValue"))
    );
    assert_eq!(members(), all(&[&ann, &bo, &inner]), "nothing has changed");

    let (first, second) = (
        format!("value eq \"{ann}\""),
        format!("value eq \"{inner}\""),
    );
    let remove = json!([{ "op": "remove", "path": format!("members[{first} or {second}]") }]);
    assert_eq!(vendor.patch(&path, remove.clone()).await.0, 204);
    assert_eq!(members(), all(&[&bo]));
    let (status, error) = vendor.patch(&path, remove.clone()).await;
    assert_eq!(
        (status, error["scimType"].as_str()),
        (400, Some("noTarget"))
    );
    vendor
        .simulator
        .switch(|it| it.removal_needs_target = false);
    assert_eq!(vendor.patch(&path, remove).await.0, 204);

    for (operation, scim_type) in [
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": outer }] }),
            "invalidValue",
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": ann.to_uppercase() }] }),
            "invalidValue",
        ),
        (
            json!({ "op": "replace", "path": format!("members[{first}]"), "value": { "value": bo } }),
            "mutability",
        ),
        (
            json!({ "op": "remove", "path": format!("members[{first}].display") }),
            "mutability",
        ),
        (
            json!({ "op": "remove", "path": "members", "value": [{ "value": bo }] }),
            "invalidSyntax",
        ),
    ] {
        let (status, error) = vendor.patch(&path, json!([operation])).await;
        assert_eq!(
            (status, error["scimType"].as_str()),
            (400, Some(scim_type)),
            "{error}"
        );
    }
    assert_eq!(members(), all(&[&bo]));

    let replace =
        json!([{ "op": "replace", "value": { "members": [{ "value": ann, "type": "User" }] } }]);
    let asked = vendor
        .patch(&format!("{path}?attributes=members.value"), replace)
        .await;
    assert_eq!(asked.0, 200);
    assert_eq!(asked.1["members"], json!([{ "value": ann }]));
    assert_eq!(
        vendor
            .send(Method::DELETE, &format!("/Users/{ann}"), None)
            .await
            .0,
        204
    );
    assert_eq!(members(), all(&[]));
    let put = json!({ "schemas": [GROUP], "displayName": "Outer", "members": [{ "value": bo }] });
    assert_eq!(vendor.send(Method::PUT, &path, Some(&put)).await.0, 200);
    assert_eq!(members(), all(&[&bo]));
    let emptied = json!([{ "op": "remove", "path": "members" }]);
    assert_eq!(vendor.patch(&path, emptied).await.0, 204);
    assert_eq!(members(), all(&[]));
}
