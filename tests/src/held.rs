//! What the simulated vendors hold, asked over their own APIs as any other program would, how that
//! differs from what they should hold, and how it looks in a table.
//!
//! Absent: the simulators' accessors. Who reads here believes nothing but what is on the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use comfy_table::Table;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::directory::Group;
use crate::vendors::knowbe4;

/// Every account at KnowBe4, the archived ones included.
///
/// # Errors
/// The vendor does not answer, or not as its API does.
pub async fn knowbe4_accounts(url: &str) -> Result<Vec<Value>, String> {
    let query = "query { users(per: 1000, page: 1, status: ALL) { nodes { email firstName lastName \
                 jobTitle department employeeNumber mobilePhoneNumber managerEmail archived } } }";
    let request = client()?
        .post(format!("{url}/graphql"))
        .bearer_auth(knowbe4::API_KEY)
        .json(&json!({ "query": query }));
    let mut answer = patiently(request).await?;
    match answer["data"]["users"]["nodes"].take() {
        Value::Array(nodes) => Ok(nodes),
        _ => Err(format!("KnowBe4 answers {answer}")),
    }
}

/// Every user and every group at a vendor whose API is SCIM. A user comes without what is the vendor's
/// own (`id`, `meta`, `groups`), a group's members by their names.
///
/// # Errors
/// The vendor does not answer, or not as its API does.
pub async fn scim_users_and_groups(
    url: &str,
    token: &str,
) -> Result<(Vec<Value>, Vec<Group>), String> {
    let mut users = scim_list(&format!("{url}/Users"), token).await?;
    let groups = scim_list(&format!("{url}/Groups"), token).await?;
    let named = |resources: &[Value], name: &str| -> BTreeMap<String, String> {
        let pair = |it: &Value| (text(&it["id"]), text(&it[name]));
        resources.iter().map(pair).collect()
    };
    let (people, teams) = (named(&users, "userName"), named(&groups, "displayName"));
    for user in users.iter_mut().filter_map(Value::as_object_mut) {
        user.retain(|name, _| !matches!(name.as_str(), "id" | "meta" | "groups"));
    }
    let held = groups.iter().map(|group| {
        let members = group["members"].as_array();
        let names = |of: &BTreeMap<String, String>| -> BTreeSet<String> {
            let members = members.into_iter().flatten();
            members
                .filter_map(|it| of.get(it["value"].as_str()?).cloned())
                .collect()
        };
        Group {
            name: text(&group["displayName"]),
            people: names(&people),
            groups: names(&teams),
        }
    });
    let held = held.collect();
    Ok((users, held))
}

async fn scim_list(url: &str, token: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    loop {
        let page = client()?
            .get(format!("{url}?startIndex={}", all.len() + 1))
            .bearer_auth(token);
        let mut page = patiently(page).await?;
        match page["Resources"].take() {
            Value::Array(resources) if resources.is_empty() => return Ok(all),
            Value::Array(resources) => all.extend(resources),
            _ => return Err(format!("{url} answers {page}")),
        }
    }
}

/// What is missing, too much or different; resources are told apart by the attribute `key`.
pub fn differences(wanted: &[Value], held: &[Value], key: &str) -> Vec<String> {
    let keyed = |resources: &[Value]| {
        let pairs = resources.iter().map(|it| (text(&it[key]), it.clone()));
        pairs.collect::<Vec<_>>()
    };
    compare(&keyed(wanted), &keyed(held))
}

/// The same for groups, by their names.
pub fn group_differences(wanted: &[Group], held: &[Group]) -> Vec<String> {
    let keyed = |groups: &[Group]| {
        let pairs = groups.iter().map(|it| (it.name.clone(), it.clone()));
        pairs.collect::<Vec<_>>()
    };
    compare(&keyed(wanted), &keyed(held))
}

fn compare<T: PartialEq + Debug>(wanted: &[(String, T)], held: &[(String, T)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, wanted) in wanted {
        let found: Vec<&T> = held
            .iter()
            .filter(|(it, _)| it == name)
            .map(|(_, it)| it)
            .collect();
        match found.as_slice() {
            [one] if *one == wanted => {}
            [] => wrong.push(format!("  missing    {name}")),
            [one] => wrong.push(format!("  different  {one:?}\n  wanted     {wanted:?}")),
            _ => wrong.push(format!("  {} times   {name}", found.len())),
        }
    }
    for (name, _) in held {
        if !wanted.iter().any(|(it, _)| it == name) {
            wrong.push(format!("  too much   {name}"));
        }
    }
    wrong
}

/// The accounts of KnowBe4, for people.
pub fn knowbe4_table(accounts: &[Value]) -> Table {
    let mut table = table(&["email", "name", "job title", "department", "no.", "state"]);
    for account in accounts {
        let archived = account["archived"] == Value::Bool(true);
        table.add_row([
            text(&account["email"]),
            format!(
                "{} {}",
                text(&account["firstName"]),
                text(&account["lastName"])
            ),
            text(&account["jobTitle"]),
            text(&account["department"]),
            text(&account["employeeNumber"]),
            if archived { "archived" } else { "active" }.to_owned(),
        ]);
    }
    table
}

/// The users of a vendor whose API is SCIM, for people.
pub fn scim_users_table(users: &[Value]) -> Table {
    let mut table = table(&[
        "userName",
        "displayName",
        "title",
        "department",
        "no.",
        "active",
    ]);
    for user in users {
        let enterprise = &user[crate::directory::ENTERPRISE];
        table.add_row([
            text(&user["userName"]),
            text(&user["displayName"]),
            text(&user["title"]),
            text(&enterprise["department"]),
            text(&enterprise["employeeNumber"]),
            user["active"].to_string(),
        ]);
    }
    table
}

/// The groups of a vendor whose API is SCIM, for people.
pub fn scim_groups_table(groups: &[Group]) -> Table {
    let mut table = table(&["group", "members"]);
    for group in groups {
        let groups = group.groups.iter().map(|name| format!("[{name}]"));
        let people = group.people.iter().cloned();
        let members: Vec<String> = groups.chain(people).collect();
        table.add_row([group.name.clone(), members.join("\n")]);
    }
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

fn client() -> Result<Client, String> {
    let client = Client::builder().no_proxy().build();
    client.map_err(|error| error.to_string())
}

/// Comes again while the vendor has had too many requests.
async fn patiently(request: RequestBuilder) -> Result<Value, String> {
    loop {
        let again = request
            .try_clone()
            .ok_or("the request cannot be repeated")?;
        let response = again.send().await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            return response.json().await.map_err(|error| error.to_string());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
