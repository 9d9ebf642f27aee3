//! What a tenant's client gets away with, as operators see it: `gateway tenant forms`, with a running
//! gateway and without one. What each dialect reads and refuses is in `tests/cases/`.

use gateway_tests::corridor::{Corridor, SCIM, STRICT, Setup};
use reqwest::Method;
use serde_json::{Value, json};

/// The names of the forms that the command lists for a tenant.
fn forms(corridor: &Corridor, tenant: &str) -> Vec<String> {
    let ran = corridor
        .gateway
        .command(&["--output", "json", "tenant", "forms", tenant])
        .expect("the command runs");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let listed: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let listed = listed["forms"].as_array().expect("a list").iter();
    let name = |used: &Value| used["form"].as_str().unwrap_or_default().to_owned();
    listed.map(name).collect()
}

#[tokio::test]
async fn the_command_lists_what_a_stricter_dialect_would_refuse() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let setup = Setup::instant().with(&[SCIM, STRICT]);
    let mut corridor = Corridor::start(dir.path(), setup).expect("the corridor is up");
    assert_eq!(forms(&corridor, SCIM.name), Vec::<String>::new());

    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ann@example.com", "active": "True",
    });
    for (tenant, status) in [(SCIM.name, 201), (STRICT.name, 400)] {
        let side = corridor.scim(tenant).expect("the tenant is there");
        let answer = side.entra.send(Method::POST, "Users", Some(&user)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, status, "{tenant}: {}", answer.body);
    }
    // The form is noted off the request's path: the next look may come too early.
    let mut listed = Vec::new();
    for _ in 0..100 {
        listed = forms(&corridor, SCIM.name);
        if !listed.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(listed, ["boolean-as-string"]);
    assert!(forms(&corridor, STRICT.name).is_empty());

    assert!(corridor.gateway.stop().expect("it stops"));
    assert_eq!(forms(&corridor, SCIM.name), ["boolean-as-string"]);
    let table = corridor.gateway.command(&["tenant", "forms", SCIM.name]);
    let table = table.expect("the command runs").stdout;
    assert!(table.contains("boolean-as-string"), "{table}");
    let unknown = corridor.gateway.command(&["tenant", "forms", "nobody"]);
    assert_eq!(unknown.expect("the command runs").code, 1);
}
