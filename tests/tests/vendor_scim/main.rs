//! The simulated SCIM vendor keeps to the RFC: over HTTP, request by request. What it refuses is as much
//! the point as what it does, for that is what it is there for.
//!
//! Absent: the gateway and the connector.

mod changes;
mod queries;
mod trouble;

use gateway_tests::vendors::scim::{Options, Simulator, Switches, TOKEN};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

struct Vendor {
    simulator: Simulator,
    client: reqwest::Client,
}

impl Vendor {
    fn start(switches: Switches) -> Vendor {
        let options = Options {
            switches,
            ..Options::default()
        };
        // A proxy that the machine has set must not get between.
        let client = reqwest::Client::builder().no_proxy().build();
        Vendor {
            simulator: Simulator::start(options).expect("it starts"),
            client: client.expect("a client"),
        }
    }

    fn instant() -> Vendor {
        Vendor::start(Switches {
            instant: true,
            ..Switches::default()
        })
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.simulator.url());
        let request = self.client.request(method, url).bearer_auth(TOKEN);
        match body {
            Some(body) => request
                .header("content-type", "application/scim+json")
                .body(body.to_string()),
            None => request,
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.request(method, path, body);
        read(request.send().await.expect("an answer")).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn user(&self, user_name: &str) -> String {
        let body = json!({ "schemas": [USER], "userName": user_name });
        self.made("/Users", &body).await
    }

    async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        self.made("/Groups", &body).await
    }

    async fn made(&self, path: &str, body: &Value) -> String {
        let (status, made) = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(status, 201, "{body}: {made}");
        made["id"].as_str().expect("an id").to_owned()
    }

    async fn patch(&self, path: &str, operations: Value) -> (u16, Value) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.send(Method::PATCH, path, Some(&body)).await
    }
}

async fn read(answer: Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    let body = match text.is_empty() {
        true => Value::Null,
        false => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
    };
    (status, body)
}

#[tokio::test]
async fn a_user_is_made_read_replaced_and_deleted() {
    let vendor = Vendor::instant();
    let body = json!({
        "schemas": [USER, ENTERPRISE],
        "USERNAME": "Ann@example.com",
        "externalId": "e-1",
        "password": "never shown",
        "id": "not taken",
        "active": true,
        "title": null,
        "roles": [],
        "name": { "givenName": "Ann", "familyName": "Lee" },
        "emails": [{ "value": "ann@example.com", "type": "work", "primary": true }],
        ENTERPRISE: { "department": "Care", "manager": { "value": "u-1", "displayName": "Bo" } },
    });
    let request = vendor.request(Method::POST, "/Users", Some(&body));
    let answer = request.send().await.expect("an answer");
    let location = answer.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(answer.headers()["etag"], "W/\"1\"");
    assert_eq!(answer.headers()["content-type"], "application/scim+json");
    let (status, made) = read(answer).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(location, format!("{}/Users/{id}", vendor.simulator.url()));
    let mut shown = made.clone();
    let meta = shown.as_object_mut().and_then(|it| it.remove("meta"));
    let meta = meta.expect("meta");
    assert_eq!(meta["location"], json!(location));
    assert_eq!(meta["resourceType"], "User");
    assert_eq!(
        shown,
        json!({
            "schemas": [USER, ENTERPRISE],
            "id": id,
            "userName": "Ann@example.com",
            "externalId": "e-1",
            "active": true,
            "name": { "givenName": "Ann", "familyName": "Lee" },
            "emails": [{ "value": "ann@example.com", "type": "work", "primary": true }],
            ENTERPRISE: { "department": "Care", "manager": { "value": "u-1" } },
        })
    );
    assert_eq!(vendor.get(&format!("/Users/{id}")).await, made);
    assert_eq!(vendor.simulator.user(&id), Some(made));

    let body = json!({ "schemas": [USER], "userName": "ann2@example.com" });
    let path = format!("/Users/{id}");
    let (status, replaced) = vendor.send(Method::PUT, &path, Some(&body)).await;
    assert_eq!(status, 200);
    assert_eq!(replaced["schemas"], json!([USER]));
    assert_eq!(replaced["userName"], "ann2@example.com");
    assert!(
        replaced.get("name").is_none(),
        "what is left out is cleared: {replaced}"
    );
    assert!(vendor.simulator.users_named("ann@example.com").is_empty());

    let (status, _) = vendor.send(Method::DELETE, &path, None).await;
    assert_eq!(status, 204);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let (status, error) = vendor.send(method, &path, Some(&body)).await;
        assert_eq!((status, &error["status"]), (404, &json!("404")), "{error}");
    }
}

/// verb | path | body | status | `scimType`; `-` where there is none
const REFUSED: &str = r#"
POST | /Users | not json | 400 | invalidSyntax
POST | /Users | [] | 400 | invalidSyntax
POST | /Users | {"userName":"a"} | 400 | invalidSyntax
POST | /Users | {"schemas":["GROUP"],"userName":"a"} | 400 | invalidValue
POST | /Users | {"schemas":["USER","urn:x:y"],"userName":"a"} | 400 | invalidValue
POST | /Users | {"schemas":["USER"]} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":" "} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"TAKEN"} | 409 | uniqueness
POST | /Users | {"schemas":["USER"],"userName":"a","shoeSize":"4"} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","active":"True"} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","emails":"a@b.c"} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","emails":["a@b.c"]} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","name.givenName":"A"} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","name":{"nick":"A"}} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","ENTERPRISE":{}} | 400 | invalidValue
POST | /Users | {"schemas":["USER","ENTERPRISE"],"userName":"a","ENTERPRISE":{"manager":"1"}} | 400 | invalidValue
POST | /Users | {"schemas":["USER"],"userName":"a","emails":[{"value":"1","primary":true},{"value":"2","primary":true}]} | 400 | invalidValue
POST | /Groups | {"schemas":["GROUP"],"displayName":"TEAM"} | 409 | uniqueness
POST | /Groups | {"schemas":["GROUP"],"displayName":"b","members":[{"value":"nobody"}]} | 400 | invalidValue
POST | /Groups | {"schemas":["GROUP"],"displayName":"b","members":[{"value":"ID","type":"Group"}]} | 400 | invalidValue
POST | /Groups | {"schemas":["GROUP"],"displayName":"b","members":["ID"]} | 400 | invalidValue
POST | /Users/ID | {} | 405 | -
DELETE | /Users | - | 405 | -
GET | /Users?filter=userName sw "a" | - | 400 | invalidFilter
GET | /Users?filter=userName eq "a" or userName eq "b" | - | 400 | invalidFilter
GET | /Users?filter=userName eq a | - | 400 | invalidFilter
GET | /Users?filter=title eq "a" | - | 400 | invalidFilter
GET | /Users?filter= | - | 400 | invalidFilter
GET | /Users?count=many | - | 400 | invalidValue
GET | /Users?attributes=id&excludedAttributes=name | - | 400 | invalidValue
GET | /Persons | - | 404 | -
PATCH | /Users/nobody | {} | 404 | -
"#;

#[tokio::test]
async fn what_the_rfc_does_not_have_is_refused_and_changes_nothing() {
    let vendor = Vendor::instant();
    let id = vendor.user("taken").await;
    vendor.group("Team", &[&id]).await;
    let before = (vendor.simulator.users(), vendor.simulator.groups());
    for row in REFUSED.trim().lines() {
        let columns: Vec<&str> = row.split(" | ").map(str::trim).collect();
        let [method, path, body, status, scim_type] = columns[..] else {
            panic!("five columns: {row}")
        };
        let body = body
            .replace("\"USER\"", &format!("\"{USER}\""))
            .replace("\"GROUP\"", &format!("\"{GROUP}\""))
            .replace("\"ENTERPRISE\"", &format!("\"{ENTERPRISE}\""))
            .replace("\"ID\"", &format!("\"{id}\""));
        let method = method.parse().expect("a method");
        let mut request = vendor.request(method, &path.replace("/ID", &format!("/{id}")), None);
        if body != "-" {
            request = request
                .header("content-type", "application/scim+json")
                .body(body);
        }
        let (found, error) = read(request.send().await.expect("an answer")).await;
        assert_eq!(found.to_string(), status, "{row}\n{error}");
        assert_eq!(
            error["scimType"].as_str().unwrap_or("-"),
            scim_type,
            "{row}\n{error}"
        );
    }
    assert_eq!(
        (vendor.simulator.users(), vendor.simulator.groups()),
        before
    );
}

#[tokio::test]
async fn a_wrong_token_or_media_type_is_refused() {
    let vendor = Vendor::instant();
    let url = format!("{}/Users", vendor.simulator.url());
    for token in ["", "another"] {
        let request = vendor.client.get(&url).bearer_auth(token);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        assert_eq!(read(answer).await.0, 401);
    }
    let body = json!({ "schemas": [USER], "userName": "ann" }).to_string();
    let request = vendor.client.post(&url).bearer_auth(TOKEN);
    let request = request
        .header("content-type", "application/json")
        .body(body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(read(answer).await.0, 415);
    let config = vendor.get("/ServiceProviderConfig").await;
    assert_eq!(config["patch"]["supported"], true);
}

#[tokio::test]
async fn a_list_of_attributes_narrows_what_is_known() {
    let own = "urn:example:own:2.0:User";
    let listed = [
        "userName",
        "name.givenName",
        "emails",
        &format!("{own}:badge"),
    ];
    let vendor = Vendor::start(Switches {
        instant: true,
        user_attributes: Some(listed.iter().map(|it| (*it).to_owned()).collect()),
        group_attributes: Some(vec!["displayName".to_owned()]),
        ..Switches::default()
    });
    let good = json!({
        "schemas": [USER, own],
        "userName": "ann",
        "name": { "givenName": "Ann" },
        "emails": [{ "value": "a", "type": "work" }],
        own: { "badge": "7" },
    });
    let path = format!("/Users/{}", vendor.made("/Users", &good).await);
    for (name, value) in [
        ("title", json!("T")),
        ("name", json!({ "familyName": "Lee" })),
    ] {
        let mut body = good.clone();
        body["userName"] = json!("bo");
        body[name] = value;
        let (status, error) = vendor.send(Method::POST, "/Users", Some(&body)).await;
        assert_eq!(
            (status, error["scimType"].as_str()),
            (400, Some("invalidValue")),
            "{error}"
        );
    }
    for (path_in, status) in [
        ("title", 400),
        ("name.familyName", 400),
        (&format!("{ENTERPRISE}:department") as &str, 400),
        ("name.givenName", 200),
        ("emails[type eq \"work\"].value", 200),
        (&format!("{own}:badge"), 200),
    ] {
        let operation = json!([{ "op": "replace", "path": path_in, "value": "x" }]);
        let (found, error) = vendor.patch(&path, operation).await;
        assert_eq!(found, status, "{path_in}: {error}");
    }
    let group = json!({ "schemas": [GROUP], "displayName": "Team", "members": [] });
    assert_eq!(
        vendor.send(Method::POST, "/Groups", Some(&group)).await.0,
        400
    );
}
