//! The connector against the simulated KnowBe4, over HTTP: its documents are valid against a real
//! GraphQL schema, and its calls leave at the vendor what they should. Absent: the gateway.

use connector_sdk::{Error, ErrorKind, HttpError, native};
use gateway_tests::vendors::knowbe4::{
    API_KEY, Fault, Options, Role, Simulator, Switches, User, When,
};
use knowbe4::KnowBe4;
use serde_json::{Value, json};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const KMSAT: &str = "urn:ietf:params:scim:schemas:extension:knowbe4:kmsat:2.0:User";

struct Setup {
    simulator: Simulator,
    host: native::Host<KnowBe4>,
}

fn setup() -> Setup {
    let switches = Switches {
        instant: true,
        ..Switches::default()
    };
    let options = Options {
        port: None,
        switches,
    };
    let simulator = Simulator::start(options).unwrap();
    let settings = json!({"base_url": simulator.url()}).to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let host = native::Host::new(settings, move |request| {
        let mut outgoing = client.post(&request.url).bearer_auth(API_KEY);
        for (name, value) in &request.headers {
            outgoing = outgoing.header(name, value);
        }
        let outgoing = outgoing.body(request.body.unwrap());
        let broke = |error: reqwest::Error| HttpError::Protocol(error.to_string());
        runtime.block_on(async {
            let answer = outgoing.send().await.map_err(broke)?;
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            let body = answer.text().await.map_err(broke)?;
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            Ok(native::response(status, &headers, body))
        })
    });
    Setup { simulator, host }
}

impl Setup {
    fn plant(&self, email: &str, archived: bool) -> i32 {
        let user = User {
            email: email.to_owned(),
            first_name: Some("Ann".to_owned()),
            location: Some("Oslo".to_owned()),
            archived,
            ..User::default()
        };
        self.simulator.plant(user).unwrap()
    }

    fn create(&self, desired: Value) -> Result<String, Error> {
        let account = self.host.create(&desired.to_string())?;
        Ok(account.uid().to_owned())
    }

    /// What the vendor was asked for since the last time.
    fn operations(&self) -> Vec<String> {
        let log = self.simulator.drain_log();
        log.into_iter().map(|request| request.operation).collect()
    }

    fn only_user(&self) -> User {
        let [user] = <[User; 1]>::try_from(self.simulator.users()).unwrap();
        user
    }
}

fn ann() -> Value {
    json!({
        "userName": "ann@example.com", "active": true, "displayName": "Ann Margaret Lee",
        "externalId": "0a21", "title": "Engineer", "name": {"givenName": "Ann", "familyName": "Lee"},
        "phoneNumbers": [{"type": "mobile", "value": "1"}, {"type": "work", "value": "2"}],
        "addresses": [{"type": "work", "formatted": "Oslo"}],
        ENTERPRISE: {
            "employeeNumber": "7", "department": "R&D", "division": "D", "organization": "O",
            "manager": {"value": "bo@example.com", "displayName": "Bo"},
        },
        KMSAT: {
            "customField1": "c1", "customField2": "c2", "customField3": "c3", "customField4": "c4",
            "customDate1": "2026-03-01T00:00:00Z", "customDate2": "2026-03-02T00:00:00Z",
            "outOfOfficeEnd": "2026-03-03T00:00:00Z", "userRole": "STUDENT",
        },
    })
}

#[test]
fn a_new_account_has_every_attribute_and_is_read_back_as_written() {
    let setup = setup();
    let uid = setup.create(ann()).unwrap();
    assert_eq!(
        setup.operations(),
        ["userByEmail", "userCreate", "userEdit"]
    );
    let user = setup.only_user();
    assert_eq!(user.manager_name.as_deref(), Some("Bo"));
    assert_eq!(user.role, Role::Student);
    let account = setup.host.get(&uid).unwrap().unwrap();
    let shown: Value = serde_json::from_str(&account.to_json().unwrap()).unwrap();
    let mut expected = ann();
    for not_mapped in ["displayName", "externalId"] {
        expected.as_object_mut().unwrap().remove(not_mapped);
    }
    assert_eq!(shown, expected);
    assert_eq!(
        setup.host.find("userName", "ANN@example.com"),
        Ok(vec![account])
    );
}

#[test]
fn only_what_is_needed_is_asked_for() {
    let setup = setup();
    setup.create(json!({"userName": "cy@example.com"})).unwrap();
    assert_eq!(setup.operations(), ["userByEmail", "userCreate"]);
    assert_eq!(setup.only_user().first_name.as_deref(), Some("cy"));
    setup
        .create(json!({"userName": "di@example.com", "active": false}))
        .unwrap();
    assert_eq!(
        setup.operations(),
        ["userByEmail", "userCreate", "userArchive"]
    );
    assert!(
        setup
            .simulator
            .user_by_email("di@example.com")
            .unwrap()
            .archived
    );
}

#[test]
fn an_account_that_is_there_is_adopted() {
    let setup = setup();
    let id = setup.plant("Ann@example.com", true);
    let uid = setup
        .create(json!({"userName": "ann@example.com", "title": "Engineer"}))
        .unwrap();
    assert_eq!(uid, id.to_string());
    assert_eq!(
        setup.operations(),
        ["userByEmail", "userUnarchive", "userEdit"]
    );
    let user = setup.only_user();
    assert!(!user.archived);
    assert_eq!(user.job_title.as_deref(), Some("Engineer"));
    // What the client does not speak of stays.
    assert_eq!(user.first_name.as_deref(), Some("Ann"));
    assert_eq!(user.location.as_deref(), Some("Oslo"));

    setup
        .create(json!({"userName": "ann@example.com", "title": "Engineer"}))
        .unwrap();
    assert_eq!(setup.operations(), ["userByEmail"]);
    setup
        .create(json!({"userName": "ann@example.com", "active": false}))
        .unwrap();
    assert_eq!(setup.operations(), ["userByEmail", "userArchive"]);
    setup
        .create(json!({"userName": "ann@example.com", "active": false}))
        .unwrap();
    assert_eq!(setup.operations(), ["userByEmail"]);
    assert!(setup.only_user().archived);
}

#[test]
fn a_create_that_half_succeeded_names_the_account() {
    for (operation, desired) in [
        ("userEdit", ann()),
        (
            "userArchive",
            json!({"userName": "ann@example.com", "active": false}),
        ),
    ] {
        let setup = setup();
        setup
            .simulator
            .fail_next_of(operation, 1, Fault::Status(502), When::Before);
        let error = setup.create(desired.clone()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(error.uid, Some(setup.only_user().id.to_string()));
        setup.create(desired).unwrap();
        setup.only_user();
    }
}

#[test]
fn a_create_whose_answer_was_lost_yields_one_account() {
    for (fault, kind) in [
        (Fault::Drop, ErrorKind::Unavailable),
        (Fault::Status(504), ErrorKind::Unavailable),
        (Fault::Html, ErrorKind::Internal),
        (Fault::Junk, ErrorKind::Internal),
    ] {
        let setup = setup();
        setup
            .simulator
            .switch(|switches| switches.unique_addresses = false);
        setup
            .simulator
            .fail_next_of("userCreate", 1, fault, When::After);
        let error = setup.create(ann()).unwrap_err();
        assert_eq!((error.kind, error.uid), (kind, None));
        let uid = setup.create(ann()).unwrap();
        assert_eq!(setup.only_user().id.to_string(), uid);
    }
}

#[test]
fn updates_bring_back_first_and_archive_last() {
    let setup = setup();
    setup
        .simulator
        .switch(|switches| switches.archived_editable = false);
    let uid = setup.plant("ann@example.com", true).to_string();
    let update = |desired: Value, deltas: Value| {
        setup
            .host
            .update(&uid, &desired.to_string(), &deltas.to_string())
    };
    let named = |active: bool| json!({"userName": "ann@example.com", "active": active});
    let both = |active: bool| json!([{"path": "active", "value": active}, {"path": "title", "value": active.to_string()}]);
    update(named(true), both(true)).unwrap();
    assert_eq!(setup.operations(), ["userUnarchive", "userEdit"]);
    update(named(false), both(false)).unwrap();
    assert_eq!(setup.operations(), ["userEdit", "userArchive"]);
    assert_eq!(setup.only_user().job_title.as_deref(), Some("false"));
    update(named(false), json!([{"path": "active", "value": false}])).unwrap();
    assert_eq!(setup.operations(), ["userArchive"]);
    update(named(false), json!([])).unwrap();
    assert_eq!(setup.operations(), Vec::<String>::new());

    let error = update(named(false), json!([{"path": "title", "value": "x"}])).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    setup
        .simulator
        .switch(|switches| switches.archived_editable = true);
    update(named(false), json!([{"path": "title", "value": null}])).unwrap();
    assert_eq!(setup.only_user().job_title, None);
}

#[test]
fn the_vendors_refusals_name_the_attribute() {
    let setup = setup();
    setup.plant("bo@example.com", false);
    let uid = setup.plant("ann@example.com", false).to_string();
    let field = format!("{KMSAT}:customField1");
    let department = format!("{ENTERPRISE}:department");
    let change = |path: &str, value: &str| {
        let desired = json!({"userName": "ann@example.com"}).to_string();
        let deltas = json!([{"path": path, "value": value}]).to_string();
        let error = setup.host.update(&uid, &desired, &deltas).unwrap_err();
        (error.kind, error.path.unwrap())
    };
    assert_eq!(
        change(&field, &"x".repeat(256)),
        (ErrorKind::Invalid, field.clone())
    );
    let taken = (ErrorKind::AlreadyExists, "userName".to_owned());
    assert_eq!(change("userName", "BO@example.com"), taken);
    setup
        .simulator
        .switch(|switches| switches.inferred_attributes = false);
    assert_eq!(
        change(&department, "R&D"),
        (ErrorKind::Unsupported, department.clone())
    );
}

#[test]
fn deleting_archives_and_what_is_gone_is_deleted() {
    let setup = setup();
    let id = setup.plant("ann@example.com", false);
    let uid = id.to_string();
    setup.host.delete(&uid).unwrap();
    assert!(setup.only_user().archived);
    setup.host.delete(&uid).unwrap();
    assert!(setup.simulator.purge(id));
    setup.host.delete(&uid).unwrap();
    assert_eq!(setup.host.get(&uid), Ok(None));
    let deltas = json!([{"path": "title", "value": "x"}]).to_string();
    let error = setup
        .host
        .update(&uid, r#"{"userName":"a"}"#, &deltas)
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn a_user_deleted_in_entra_keeps_the_address() {
    let setup = setup();
    let id = setup.plant("ann@example.com", false);
    let renamed = "0a21f0f28d2a4f8ebf987363c4aed4efann@example.com";
    let desired = json!({"userName": renamed, "active": false});
    let deltas = json!([
        {"path": "userName", "value": renamed}, {"path": "active", "value": false},
    ]);
    setup
        .host
        .update(&id.to_string(), &desired.to_string(), &deltas.to_string())
        .unwrap();
    assert_eq!(setup.operations(), ["userArchive"]);
    let user = setup.only_user();
    assert_eq!(
        (user.email.as_str(), user.archived),
        ("ann@example.com", true)
    );
    let found = setup.host.find("userName", renamed).unwrap();
    assert_eq!(found[0].uid(), id.to_string());
    assert_eq!(setup.create(desired).unwrap(), id.to_string());
    assert_eq!(setup.only_user(), user);
}

#[test]
fn credentials_limits_and_trouble() {
    let setup = setup();
    let find = || setup.host.find("userName", "ann@example.com").unwrap_err();
    setup
        .simulator
        .switch(|switches| switches.api_key = "rotated".to_owned());
    assert_eq!(find().kind, ErrorKind::Unauthorized);
    setup
        .simulator
        .switch(|switches| switches.api_key = API_KEY.to_owned());
    setup
        .simulator
        .switch(|switches| switches.subscribed = false);
    assert_eq!(find().kind, ErrorKind::Forbidden);
    for (fault, kind) in [
        (Fault::Status(429), ErrorKind::RateLimited),
        (Fault::Status(500), ErrorKind::Unavailable),
        (
            Fault::TopLevelError("Something went wrong".to_owned()),
            ErrorKind::Unavailable,
        ),
        (Fault::Drop, ErrorKind::Unavailable),
    ] {
        setup.simulator.fail_next(1, fault, When::Before);
        assert_eq!(find().kind, kind);
    }
}
