//! The simulated KnowBe4 behaves as its documentation says: over HTTP, document by document.
//!
//! The documents are those that public code sends. Absent: the gateway and the connector.

use gateway_tests::vendors::knowbe4::{
    API_KEY, Fault, LoggedRequest, Options, Role, Simulator, Switches, User, When,
};
use serde_json::{Value, json};

const CREATE: &str = "mutation($email:String!,$firstName:String!,$lastName:String,$jobTitle:String){\
    userCreate(email:$email,firstName:$firstName,lastName:$lastName,jobTitle:$jobTitle){\
    node{id email firstName lastName displayName jobTitle archived role}\
    errors{field placeholders reason recordId}}}";
const EDIT: &str = "mutation($id:Int!,$attributes:UserAttributes!){\
    userEdit(userId:$id,attributes:$attributes){node{id} errors{field placeholders reason recordId}}}";
const ARCHIVE: &str = "mutation($ids:[Int!]!){userArchive(userIds:$ids){\
    node{email archivable archived archivedAt employeeNumber} errors{field reason recordId}}}";
const UNARCHIVE: &str =
    "mutation($ids:[Int!]!){userUnarchive(userIds:$ids){node{archived archivedAt} errors{reason}}}";
const BY_EMAIL: &str = "query($email:String){userByEmail(email:$email){id email archived}}";

fn instant() -> Simulator {
    started(Switches {
        instant: true,
        ..Switches::default()
    })
}

fn started(switches: Switches) -> Simulator {
    Simulator::start(Options {
        port: None,
        switches,
    })
    .unwrap()
}

fn plant(simulator: &Simulator, email: &str) -> i32 {
    let user = User {
        email: email.to_owned(),
        first_name: Some("Ann".to_owned()),
        ..User::default()
    };
    simulator.plant(user).unwrap()
}

/// A proxy that the machine has set must not get between.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn post(
    simulator: &Simulator,
    key: &str,
    body: impl Into<reqwest::Body>,
) -> reqwest::RequestBuilder {
    client()
        .post(format!("{}/graphql", simulator.url()))
        .bearer_auth(key)
        .header("content-type", "application/json")
        .body(body)
}

async fn send(simulator: &Simulator, document: &str, variables: Value) -> reqwest::Response {
    let body = json!({"query": document, "variables": variables}).to_string();
    post(simulator, API_KEY, body).send().await.unwrap()
}

/// The whole GraphQL answer, which has status 200 whatever it says.
async fn ask(simulator: &Simulator, document: &str, variables: Value) -> Value {
    let answer = send(simulator, document, variables).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

#[actix_web::test]
async fn creates_edits_archives_and_brings_back() {
    let simulator = instant();
    let made = ask(
        &simulator,
        CREATE,
        json!({"email": "Ann@example.com", "firstName": "Ann", "lastName": "Lee"}),
    )
    .await;
    let node = &made["data"]["userCreate"]["node"];
    assert_eq!(node["email"], "Ann@example.com");
    assert_eq!(node["displayName"], "Ann Lee");
    assert_eq!(node["role"], "USER");
    assert_eq!(made["data"]["userCreate"]["errors"], json!([]));
    let id = node["id"].as_i64().unwrap();

    let attributes = json!({
        "jobTitle": "Engineer", "employeeNumber": "7", "location": "Oslo", "managerName": "Bo",
        "managerEmail": "bo@example.com", "mobilePhoneNumber": "1", "phoneNumber": "2",
        "department": "R&D", "division": "D", "organization": "O", "employeeStartDate": "2026-01-31",
        "outOfOfficeStart": "2026-02-01", "outOfOfficeEnd": "2026-02-02", "customField1": "c1",
        "customField2": "c2", "customField3": "c3", "customField4": "c4",
        "customDate1": "2026-03-01", "customDate2": "2026-03-02", "role": "STUDENT",
        "comment": "x", "timeZone": "UTC", "language": "en", "ldapEnabled": true,
    });
    ask(
        &simulator,
        EDIT,
        json!({"id": id, "attributes": attributes}),
    )
    .await;
    let shown = ask(
        &simulator,
        "query($id:Int!){user(id:$id){jobTitle employeeNumber location managerName managerEmail \
         mobilePhoneNumber phoneNumber department division organization employeeStartDate \
         outOfOfficeStart customField1 customField2 customField3 customField4 \
         customDate1 customDate2 role comment timeZone language ldapEnabled \
         outOfOfficeEnd:outOfOfficeUntil}}",
        json!({"id": id}),
    )
    .await;
    assert_eq!(shown["data"]["user"], attributes);

    let cleared = json!({"jobTitle": null, "location": "", "customDate1": null});
    ask(&simulator, EDIT, json!({"id": id, "attributes": cleared})).await;
    let user = simulator.user_by_email("ann@EXAMPLE.com").unwrap();
    assert_eq!(
        (user.job_title, user.location, user.custom_date1),
        (None, None, None)
    );
    assert_eq!(user.employee_number.as_deref(), Some("7"));
    assert_eq!(user.role, Role::Student);

    for _ in 0..2 {
        let archived = ask(&simulator, ARCHIVE, json!({"ids": [id]})).await;
        let node = &archived["data"]["userArchive"]["node"];
        assert_eq!(
            (&node["archived"], &node["archivable"]),
            (&json!(true), &json!(false))
        );
        assert!(node["archivedAt"].is_string());
    }
    let back = ask(&simulator, UNARCHIVE, json!({"ids": [id]})).await;
    assert_eq!(
        back["data"]["userUnarchive"]["node"],
        json!({"archived": false, "archivedAt": null})
    );
}

#[actix_web::test]
async fn a_refusal_comes_in_the_payload_and_changes_nothing() {
    let simulator = instant();
    let id = plant(&simulator, "ann@example.com");
    plant(&simulator, "bo@example.com");
    let before = simulator.users();
    let long = "ø".repeat(256);
    for (attributes, field, reason) in [
        (
            json!({"jobTitle": "x", "customField2": long}),
            "customField2",
            "too_long",
        ),
        (
            json!({"customDate1": "31/01/2026"}),
            "customDate1",
            "invalid",
        ),
        (
            json!({"employeeStartDate": "2026-02-30"}),
            "employeeStartDate",
            "invalid",
        ),
        (json!({"email": "BO@example.com"}), "email", "taken"),
        (json!({"email": "no address"}), "email", "invalid"),
        (json!({"email": null}), "email", "blank"),
        (json!({"firstName": ""}), "firstName", "blank"),
    ] {
        let answer = ask(
            &simulator,
            EDIT,
            json!({"id": id, "attributes": attributes}),
        )
        .await;
        let payload = &answer["data"]["userEdit"];
        assert_eq!(payload["node"], Value::Null, "{attributes}");
        assert_eq!(payload["errors"][0]["field"], field);
        assert_eq!(payload["errors"][0]["reason"], reason);
    }
    for email in ["Ann@Example.com", ""] {
        let answer = ask(
            &simulator,
            CREATE,
            json!({"email": email, "firstName": "A"}),
        )
        .await;
        assert_eq!(answer["data"]["userCreate"]["errors"][0]["field"], "email");
    }
    assert_eq!(simulator.users(), before);
    let fits = json!({"id": id, "attributes": {"customField2": "ø".repeat(255)}});
    let answer = ask(&simulator, EDIT, fits).await;
    assert_eq!(answer["data"]["userEdit"]["errors"], json!([]));
}

#[actix_web::test]
async fn unknown_accounts_are_null_to_queries_and_refused_to_mutations() {
    let simulator = instant();
    let id = plant(&simulator, "ann@example.com");
    assert!(simulator.purge(id));
    let shown = ask(
        &simulator,
        "query($id:Int!){user(id:$id){id}}",
        json!({"id": id}),
    )
    .await;
    assert_eq!(shown, json!({"data": {"user": null}}));
    let found = ask(&simulator, BY_EMAIL, json!({"email": "ann@example.com"})).await;
    assert_eq!(found, json!({"data": {"userByEmail": null}}));
    for (document, variables, mutation) in [
        (EDIT, json!({"id": id, "attributes": {}}), "userEdit"),
        (ARCHIVE, json!({"ids": [id]}), "userArchive"),
        (UNARCHIVE, json!({"ids": [id]}), "userUnarchive"),
    ] {
        let answer = ask(&simulator, document, variables).await;
        assert_eq!(answer["data"][mutation]["errors"][0]["reason"], "not_found");
    }
}

#[actix_web::test]
async fn a_document_that_the_schema_does_not_allow_is_a_top_level_error() {
    let simulator = instant();
    for (document, variables) in [
        ("{ user(id: 1) { nickname } }", json!({})),
        (
            "{ users(per: 25, search: \"x\") { nodes { id } } }",
            json!({}),
        ),
        ("query($id:String!){user(id:$id){id}}", json!({"id": "1"})),
        (EDIT, json!({"id": 1, "attributes": {"shoeSize": 43}})),
        (EDIT, json!({"id": 1, "attributes": {"role": "KING"}})),
        (EDIT, json!({"id": 1})),
        ("mutation{userDelete(userIds:[1]){node{id}}}", json!({})),
        ("{ user(id: 1) { id }", json!({})),
        ("query { users(per: 24) { nodes { id } } }", json!({})),
        ("query { users(per: 1001) { nodes { id } } }", json!({})),
    ] {
        let answer = ask(&simulator, document, variables).await;
        assert!(
            answer["errors"][0]["message"].is_string(),
            "{document}: {answer}"
        );
    }
    let fields = (0..150).map(|n| format!("f{n}:id ")).collect::<String>();
    let costly = format!("{{ user(id: 1) {{ {fields} }} }}");
    let answer = ask(&simulator, &costly, json!({})).await;
    assert!(answer["errors"][0]["message"].is_string());
    let fields = (0..149).map(|n| format!("f{n}:id ")).collect::<String>();
    let allowed = format!("{{ user(id: 1) {{ {fields} }} }}");
    assert_eq!(
        ask(&simulator, &allowed, json!({})).await,
        json!({"data": {"user": null}})
    );

    simulator.switch(|switches| switches.inferred_attributes = false);
    let id = plant(&simulator, "ann@example.com");
    let refused = json!({"id": id, "attributes": {"department": "R&D"}});
    assert!(ask(&simulator, EDIT, refused).await["errors"].is_array());
    let proven = json!({"id": id, "attributes": {"jobTitle": "Engineer"}});
    assert!(ask(&simulator, EDIT, proven).await["errors"].is_null());
}

#[actix_web::test]
async fn lists_by_page_status_and_type() {
    let simulator = instant();
    for n in 0..60 {
        plant(&simulator, &format!("user{n}@example.com"));
    }
    let first = simulator.users()[0].id;
    assert!(simulator.alter(first, |user| user.archived = true));
    let document = "query($page:Int,$status:UserStatusFilters){\
        users(per:25,page:$page,status:$status,type:USER){nodes{id archived}\
        pagination{page pages per totalCount}}}";
    for (status, page, nodes, pages, total) in [
        ("ALL", 3, 10, 3, 60),
        ("ALL", 4, 0, 3, 60),
        ("ACTIVE", 1, 25, 3, 59),
        ("ARCHIVED", 1, 1, 1, 1),
    ] {
        let variables = json!({"page": page, "status": status});
        let answer = ask(&simulator, document, variables).await;
        let users = &answer["data"]["users"];
        assert_eq!(users["nodes"].as_array().unwrap().len(), nodes);
        let expected = json!({"page": page, "pages": pages, "per": 25, "totalCount": total});
        assert_eq!(users["pagination"], expected);
    }
    let owner = ask(
        &simulator,
        "query { account { accountOwner { email } } }",
        json!({}),
    )
    .await;
    assert!(owner["data"]["account"]["accountOwner"]["email"].is_string());
}

#[actix_web::test]
async fn keys_scopes_and_paths() {
    let simulator = instant();
    simulator.switch(|switches| switches.read_only_key = Some("reads".to_owned()));
    let status = async |key: &str, document: &str, variables: Value| {
        let body = json!({"query": document, "variables": variables}).to_string();
        let answer = post(&simulator, key, body).send().await.unwrap();
        answer.status().as_u16()
    };
    let create = json!({"email": "a@example.com", "firstName": "A"});
    let lookup = json!({"email": "a@example.com"});
    assert_eq!(status("wrong", BY_EMAIL, lookup.clone()).await, 401);
    assert_eq!(status("reads", BY_EMAIL, lookup.clone()).await, 200);
    assert_eq!(status("reads", CREATE, create).await, 403);
    assert_eq!(simulator.users(), []);
    simulator.switch(|switches| switches.api_key = "rotated".to_owned());
    assert_eq!(status(API_KEY, BY_EMAIL, lookup.clone()).await, 401);
    simulator.switch(|switches| switches.subscribed = false);
    assert_eq!(status("rotated", BY_EMAIL, lookup).await, 403);
    let url = format!("{}/graphql", simulator.url());
    let elsewhere = client().get(url).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
}

#[actix_web::test]
async fn four_requests_a_second_and_no_more() {
    let simulator = started(Switches::default());
    let mut passed = 0;
    // Twenty requests in a row take less than a second on any machine that can run the rest.
    let refused = loop {
        let answer = send(&simulator, BY_EMAIL, json!({})).await;
        if answer.status() != 200 {
            break answer;
        }
        passed += 1;
        assert!(passed < 20);
    };
    assert!(passed >= 4);
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    simulator.switch(|switches| {
        switches.requests_per_second_max = 0;
        switches.retry_after_seconds = None;
    });
    let answer = send(&simulator, BY_EMAIL, json!({})).await;
    assert_eq!(answer.status(), 429);
    assert!(!answer.headers().contains_key("retry-after"));
    simulator.switch(|switches| switches.instant = true);
    assert_eq!(send(&simulator, BY_EMAIL, json!({})).await.status(), 200);
}

#[actix_web::test]
async fn faults_come_as_promised_and_only_so_often() {
    let simulator = instant();
    let id = plant(&simulator, "ann@example.com");
    for status in [429, 500, 502, 504] {
        simulator.fail_next(1, Fault::Status(status), When::Before);
        assert_eq!(send(&simulator, BY_EMAIL, json!({})).await.status(), status);
    }
    for fault in [Fault::Junk, Fault::Html] {
        simulator.fail_next(1, fault, When::Before);
        let answer = send(&simulator, BY_EMAIL, json!({})).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.json::<Value>().await.is_err());
    }
    let message = "Something went wrong".to_owned();
    simulator.fail_next(1, Fault::TopLevelError(message), When::Before);
    let answer = ask(&simulator, BY_EMAIL, json!({})).await;
    assert_eq!(answer["errors"][0]["message"], "Something went wrong");

    let archive = json!({"query": ARCHIVE, "variables": {"ids": [id]}}).to_string();
    for (when, archived) in [(When::Before, false), (When::After, true)] {
        simulator.fail_next_of("userArchive", 1, Fault::Drop, when);
        assert_eq!(send(&simulator, BY_EMAIL, json!({})).await.status(), 200);
        let cut = post(&simulator, API_KEY, archive.clone()).send().await;
        let failed = match cut {
            Ok(answer) => answer.bytes().await.is_err(),
            Err(_) => true,
        };
        assert!(failed);
        assert_eq!(simulator.user(id).unwrap().archived, archived);
    }
    assert_eq!(
        send(&simulator, ARCHIVE, json!({"ids": [id]}))
            .await
            .status(),
        200
    );
}

#[actix_web::test]
async fn a_request_that_hangs_is_logged_and_ends_with_the_simulator() {
    let simulator = instant();
    simulator.fail_next(1, Fault::Hang, When::After);
    let body = json!({"query": CREATE, "variables": {"email": "a@example.com", "firstName": "A"}});
    let hanging = actix_web::rt::spawn(post(&simulator, API_KEY, body.to_string()).send());
    simulator.requests_reached(1).await;
    assert_eq!(simulator.users().len(), 1);
    assert!(!hanging.is_finished());
    assert_eq!(simulator.requests_total(), 1);
    assert_eq!(
        simulator.drain_log(),
        [LoggedRequest {
            sequence: 1,
            operation: "userCreate".to_owned(),
            variables: body["variables"].clone(),
            status: None,
        }]
    );
    assert_eq!(simulator.log(), []);
    simulator.stop();
    assert!(hanging.await.unwrap().is_err());
}

#[actix_web::test]
async fn archived_accounts_can_be_closed_to_edits() {
    let simulator = instant();
    let id = plant(&simulator, "ann@example.com");
    simulator.alter(id, |user| user.archived = true);
    let edit = json!({"id": id, "attributes": {"jobTitle": "x"}});
    let errors = |answer: Value| answer["data"]["userEdit"]["errors"].clone();
    assert_eq!(errors(ask(&simulator, EDIT, edit.clone()).await), json!([]));
    simulator.switch(|switches| switches.archived_editable = false);
    let answer = errors(ask(&simulator, EDIT, edit).await);
    assert_eq!(answer[0]["reason"], "archived");
    assert_eq!(answer[0]["recordId"], id);
}

#[actix_web::test]
async fn addresses_can_be_made_not_unique() {
    let simulator = instant();
    simulator.switch(|switches| switches.unique_addresses = false);
    let create = json!({"email": "ann@example.com", "firstName": "Ann"});
    for _ in 0..2 {
        let answer = ask(&simulator, CREATE, create.clone()).await;
        assert_eq!(answer["data"]["userCreate"]["errors"], json!([]));
    }
    let [older, newer] = <[User; 2]>::try_from(simulator.users()).unwrap();
    let found = || simulator.user_by_email("ann@example.com").unwrap().id;
    assert_eq!(found(), older.id);
    let edit = json!({"id": older.id, "attributes": {"email": "else@example.com"}});
    ask(&simulator, EDIT, edit).await;
    assert_eq!(found(), newer.id);
    assert_eq!(
        simulator.user_by_email("else@example.com").unwrap().id,
        older.id
    );
}
