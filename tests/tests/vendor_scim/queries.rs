//! Lists, pages, projections and preconditions.

use std::collections::HashMap;

use gateway_tests::directory::{Person, groups, people};
use gateway_tests::held::{differences, group_differences, scim_users_and_groups};
use gateway_tests::vendors::scim::TOKEN;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{USER, Vendor, read};

#[tokio::test]
async fn lists_are_filtered_and_come_in_pages() {
    let vendor = Vendor::instant();
    let mut ids = Vec::new();
    for n in 0..7 {
        let body = json!({
            "schemas": [USER],
            "userName": format!("User{n}"),
            "externalId": format!("E{n}"),
            "displayName": "Same",
            "emails": [{ "value": format!("user{n}@example.com"), "type": "work" }],
        });
        ids.push(vendor.made("/Users", &body).await);
    }
    let group = vendor.group("Team", &[&ids[2]]).await;
    let found = async |path: &str| {
        let list = vendor.get(path).await;
        let resources = list["Resources"].as_array().expect("a list").clone();
        let found: Vec<String> = resources
            .iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect();
        assert_eq!(list["itemsPerPage"], json!(found.len()));
        (list["totalResults"].as_u64().expect("a number"), found)
    };
    let one = |id: &String| (1, vec![id.clone()]);
    let none = (0, Vec::new());
    for (filter, wanted) in [
        (format!("id eq \"{}\"", ids[1]), one(&ids[1])),
        (format!("id eq \"{}\"", ids[1].to_uppercase()), none.clone()),
        ("userName eq \"USER1\"".to_owned(), one(&ids[1])),
        (format!("{USER}:username EQ \"user1\""), one(&ids[1])),
        ("externalId eq \"E3\"".to_owned(), one(&ids[3])),
        ("externalId eq \"e3\"".to_owned(), none.clone()),
        (
            "emails.value eq \"USER4@example.com\"".to_owned(),
            one(&ids[4]),
        ),
        (
            "displayName eq \"same\" and externalId eq \"E5\"".to_owned(),
            one(&ids[5]),
        ),
        (
            "externalId eq \"E5\" and userName eq \"user4\"".to_owned(),
            none.clone(),
        ),
        ("displayName eq \"same\"".to_owned(), (7, ids.clone())),
    ] {
        assert_eq!(
            found(&format!("/Users?filter={filter}")).await,
            wanted,
            "{filter}"
        );
    }
    let (ann, bo) = (&ids[2], &ids[3]);
    for (filter, wanted) in [
        (
            format!("id eq \"{group}\" and members.value eq \"{ann}\""),
            one(&group),
        ),
        (
            format!("members.value eq \"{bo}\" and id eq \"{group}\""),
            none.clone(),
        ),
        ("displayName eq \"TEAM\"".to_owned(), one(&group)),
    ] {
        assert_eq!(
            found(&format!("/Groups?filter={filter}")).await,
            wanted,
            "{filter}"
        );
    }
    for (page, wanted) in [
        ("startIndex=3&count=2", &ids[2..4]),
        ("startIndex=0&count=1", &ids[..1]),
        ("startIndex=7&count=9", &ids[6..]),
        ("startIndex=8", &[]),
        ("count=0", &[]),
        ("count=-1", &[]),
    ] {
        assert_eq!(
            found(&format!("/Users?{page}")).await,
            (7, wanted.to_vec()),
            "{page}"
        );
    }
    let path = format!("/Users/{ann}");
    let only = vendor
        .get(&format!("{path}?attributes=emails.type,USERNAME"))
        .await;
    assert_eq!(
        only,
        json!({ "schemas": [USER], "id": ann, "userName": "User2", "emails": [{ "type": "work" }] })
    );
    let without = vendor
        .get(&format!(
            "{path}?excludedAttributes=id,groups,meta,emails.value,externalId"
        ))
        .await;
    assert_eq!(
        without,
        json!({ "schemas": [USER], "id": ann, "userName": "User2", "displayName": "Same", "emails": [{ "type": "work" }] })
    );
}

#[tokio::test]
async fn versions_decide_conditional_requests() {
    let vendor = Vendor::instant();
    let path = format!("/Users/{}", vendor.user("ann").await);
    let body = json!({ "schemas": [USER], "userName": "ann", "title": "T" });
    let send = async |method: Method, name: &str, tag: &str| {
        let request = vendor.request(method, &path, Some(&body)).header(name, tag);
        read(request.send().await.expect("an answer")).await.0
    };
    assert_eq!(send(Method::GET, "if-none-match", "W/\"1\"").await, 304);
    assert_eq!(send(Method::GET, "if-none-match", "W/\"2\"").await, 200);
    assert_eq!(send(Method::PUT, "if-match", "W/\"2\"").await, 412);
    assert_eq!(send(Method::PUT, "if-match", "W/\"9\", W/\"1\"").await, 200);
    assert_eq!(send(Method::DELETE, "if-match", "W/\"1\"").await, 412);
    vendor.simulator.switch(|it| it.etags = false);
    assert_eq!(send(Method::DELETE, "if-match", "W/\"1\"").await, 204);
}

#[tokio::test]
async fn the_sample_directory_fits_in_and_is_read_back_page_by_page() {
    let vendor = Vendor::instant();
    let everybody = people(250);
    let mut ids = HashMap::new();
    for person in &everybody {
        let id = vendor.made("/Users", &person.at_scim()).await;
        ids.insert(person.user_name(), id);
    }
    let groups = groups(&everybody);
    for group in &groups {
        let names = group.people.iter().chain(&group.groups);
        let members: Vec<&str> = names.map(|it| ids[it].as_str()).collect();
        let id = vendor.group(&group.name, &members).await;
        ids.insert(group.name.clone(), id);
    }
    let wanted: Vec<Value> = everybody.iter().map(Person::at_scim).collect();
    let held = scim_users_and_groups(&vendor.simulator.url(), TOKEN).await;
    let (users, held) = held.expect("users and groups");
    assert_eq!(differences(&wanted, &users, "userName"), [""; 0]);
    assert_eq!(group_differences(&groups, &held), [""; 0]);

    let gone = &ids[&everybody[7].user_name()];
    assert!(vendor.simulator.purge(gone));
    let held = scim_users_and_groups(&vendor.simulator.url(), TOKEN).await;
    let (users, held) = held.expect("users and groups");
    assert_eq!(differences(&wanted, &users, "userName").len(), 1);
    assert_eq!(differences(&wanted[..200], &users, "userName").len(), 51);
    assert_eq!(group_differences(&groups, &held).len(), 1);
}
