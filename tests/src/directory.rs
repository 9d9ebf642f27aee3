//! The sample directory that the demo provisions: who is in it, the groups, the SCIM that Entra would
//! send, and what each vendor has to hold in the end.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Core schema of a user.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Enterprise extension.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Core schema of a group.
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// What Entra puts beside it in `schemas` (Entra fact 1.7).
pub const GROUP_OF_ENTRA: &str =
    "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";

/// One employee.
#[derive(Clone, Debug)]
pub struct Person {
    /// Given name.
    pub given: String,
    /// Family name.
    pub family: String,
    /// Job title.
    pub title: String,
    /// Department.
    pub department: String,
    /// Number on the payroll.
    pub employee_number: String,
    /// Mobile phone.
    pub mobile: String,
    /// Mail address of the manager.
    pub manager: Option<String>,
    /// Disabled employees keep their account, switched off.
    pub active: bool,
}

impl Person {
    /// The user name: a mail address, as in most directories.
    pub fn user_name(&self) -> String {
        let name = format!("{}.{}", self.given, self.family).to_lowercase();
        let plain = name.replace('ö', "o").replace([' ', '\''], "");
        format!("{plain}@example.com")
    }

    /// The body of Entra's POST (facts: order of calls, per-user samples).
    pub fn as_scim(&self) -> Value {
        let mut enterprise = json!({
            "employeeNumber": self.employee_number,
            "department": self.department,
        });
        if let Some(manager) = &self.manager {
            enterprise["manager"] = json!({ "value": manager });
        }
        json!({
            "schemas": [USER, ENTERPRISE],
            "externalId": format!("00000000-0000-4000-8000-{:0>12}", self.employee_number),
            "userName": self.user_name(),
            "active": self.active,
            "displayName": format!("{} {}", self.given, self.family),
            "title": self.title,
            "name": {
                "formatted": format!("{} {}", self.given, self.family),
                "givenName": self.given,
                "familyName": self.family,
            },
            "emails": [{ "primary": true, "type": "work", "value": self.user_name() }],
            "phoneNumbers": [{ "type": "mobile", "value": self.mobile }],
            "meta": { "resourceType": "User" },
            "roles": [],
            ENTERPRISE: enterprise,
        })
    }

    /// What a vendor whose API is SCIM has to hold, by the names of the RFC.
    pub fn at_scim(&self) -> Value {
        let mut user = self.as_scim();
        if let Some(attributes) = user.as_object_mut() {
            // An empty list is no value (RFC 7643 section 2.5), and `meta` is the vendor's.
            attributes.retain(|name, _| !matches!(name.as_str(), "roles" | "meta"));
        }
        user
    }

    /// What KnowBe4 has to hold, by the names of its GraphQL type `User`.
    pub fn at_knowbe4(&self) -> Value {
        json!({
            "email": self.user_name(),
            "firstName": self.given,
            "lastName": self.family,
            "jobTitle": self.title,
            "department": self.department,
            "employeeNumber": self.employee_number,
            "mobilePhoneNumber": self.mobile,
            "managerEmail": self.manager,
            "archived": !self.active,
        })
    }
}

/// A group of the directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// `displayName`.
    pub name: String,
    /// The user names of the people in it.
    pub people: BTreeSet<String>,
    /// The names of the groups in it.
    pub groups: BTreeSet<String>,
}

impl Group {
    /// The body of Entra's POST: members follow one PATCH at a time.
    pub fn as_scim(&self) -> Value {
        json!({
            "schemas": [GROUP, GROUP_OF_ENTRA],
            "externalId": format!("group-{}", self.name.to_lowercase().replace(' ', "-")),
            "displayName": self.name,
            "members": [],
            "meta": { "resourceType": "Group" },
        })
    }
}

/// A change of the groups, after everybody was provisioned.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// Somebody becomes a member.
    Join {
        /// Which group.
        group: String,
        /// Who.
        user_name: String,
    },
    /// Somebody is a member no longer.
    Quit {
        /// Which group.
        group: String,
        /// Who.
        user_name: String,
    },
    /// The group has another name.
    Rename {
        /// Which group.
        group: String,
        /// The new name.
        name: String,
    },
    /// The group is deleted, its members are not.
    Dissolve(String),
}

/// The groups of these people: one for each department, and one that holds those groups.
pub fn groups(people: &[Person]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for person in people {
        if !groups.iter().any(|it| it.name == person.department) {
            groups.push(Group {
                name: person.department.clone(),
                people: BTreeSet::new(),
                groups: BTreeSet::new(),
            });
        }
        for group in &mut groups {
            if group.name == person.department {
                group.people.insert(person.user_name());
            }
        }
    }
    let names = groups.iter().map(|it| it.name.clone()).collect();
    groups.push(Group {
        name: "All departments".to_owned(),
        people: BTreeSet::new(),
        groups: names,
    });
    groups
}

/// What happens to the groups of at least four people, after [`events`].
pub fn group_events(people: &[Person]) -> Vec<GroupEvent> {
    let person = |n: usize| &people[n % people.len()];
    vec![
        GroupEvent::Join {
            group: "Board".to_owned(),
            user_name: person(1).user_name(),
        },
        GroupEvent::Quit {
            group: person(1).department.clone(),
            user_name: person(1).user_name(),
        },
        GroupEvent::Rename {
            group: "Board".to_owned(),
            name: "Board & Principals".to_owned(),
        },
        GroupEvent::Dissolve(person(3).department.clone()),
    ]
}

/// The groups as they are after both kinds of events: who was removed is in no group, and who was
/// switched off stays where they were.
pub fn groups_after(
    mut groups: Vec<Group>,
    events: &[Event],
    group_events: &[GroupEvent],
) -> Vec<Group> {
    for group in &mut groups {
        for event in events {
            if let Event::Removal(user_name) = event {
                group.people.remove(user_name);
            }
        }
    }
    for event in group_events {
        let (GroupEvent::Join { group: name, .. }
        | GroupEvent::Quit { group: name, .. }
        | GroupEvent::Rename { group: name, .. }
        | GroupEvent::Dissolve(name)) = event;
        match event {
            GroupEvent::Rename { name: new, .. } => {
                for group in &mut groups {
                    if group.groups.remove(name) {
                        group.groups.insert(new.clone());
                    }
                }
            }
            GroupEvent::Dissolve(_) => {
                groups.retain(|it| it.name != *name);
                for group in &mut groups {
                    group.groups.remove(name);
                }
            }
            GroupEvent::Join { .. } | GroupEvent::Quit { .. } => {}
        }
        let Some(group) = groups.iter_mut().find(|it| it.name == *name) else {
            continue;
        };
        match event {
            GroupEvent::Join { user_name, .. } => drop(group.people.insert(user_name.clone())),
            GroupEvent::Quit { user_name, .. } => drop(group.people.remove(user_name)),
            GroupEvent::Rename { name, .. } => group.name.clone_from(name),
            GroupEvent::Dissolve(_) => {}
        }
    }
    groups
}

/// A change that happens in the directory after everybody was provisioned.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new title and department.
    Promotion {
        /// Who.
        user_name: String,
        /// The new title.
        title: String,
        /// The new department.
        department: String,
    },
    /// The account is switched off.
    Leave(String),
    /// The account is switched on again.
    Return(String),
    /// The user is deleted for good.
    Removal(String),
}

/// Everybody in the sample directory, `count` people, the first of them the others' manager.
pub fn people(count: usize) -> Vec<Person> {
    const GIVEN: [&str; 10] = [
        "Ada", "Björn", "Chiara", "Daan", "Elif", "Femke", "Goran", "Hanna", "Ilse", "Jamal",
    ];
    const FAMILY: [&str; 8] = [
        "Okafor",
        "de Vries",
        "Rossi",
        "Lindqvist",
        "Yilmaz",
        "O'Brien",
        "Nowak",
        "Tanaka",
    ];
    const WORK: [(&str, &str); 5] = [
        ("Chief Executive", "Board"),
        ("Engineer", "Research"),
        ("Nurse", "Care"),
        ("Accountant", "Finance"),
        ("Recruiter", "People"),
    ];
    let mut people: Vec<Person> = Vec::with_capacity(count);
    for n in 0..count {
        let round = n / (GIVEN.len() * FAMILY.len());
        let family = FAMILY[(n / GIVEN.len() + n) % FAMILY.len()];
        let (title, department) = if n == 0 { WORK[0] } else { WORK[1 + n % 4] };
        people.push(Person {
            given: GIVEN[n % GIVEN.len()].to_owned(),
            family: match round {
                0 => family.to_owned(),
                _ => format!("{family} {}", n + 1),
            },
            title: title.to_owned(),
            department: department.to_owned(),
            employee_number: format!("{}", 1001 + n),
            mobile: format!("+31 6 {:08}", 10_000_000 + 137 * n),
            manager: people.first().map(Person::user_name),
            active: true,
        });
    }
    people
}

/// What happens after the first cycle, for a directory of at least four people.
pub fn events(people: &[Person]) -> Vec<Event> {
    let name = |n: usize| people[n % people.len()].user_name();
    vec![
        Event::Promotion {
            user_name: name(1),
            title: "Principal Engineer".to_owned(),
            department: "Research".to_owned(),
        },
        Event::Leave(name(2)),
        Event::Leave(name(3)),
        Event::Return(name(3)),
        Event::Removal(name(4)),
    ]
}

/// The directory as it is after the events; whoever was removed counts as switched off, because
/// KnowBe4 archives and never deletes.
pub fn after(mut people: Vec<Person>, events: &[Event]) -> Vec<Person> {
    for event in events {
        let (Event::Promotion { user_name, .. }
        | Event::Leave(user_name)
        | Event::Return(user_name)
        | Event::Removal(user_name)) = event;
        let found = people.iter_mut().find(|it| it.user_name() == *user_name);
        let Some(person) = found else { continue };
        match event {
            Event::Promotion {
                title, department, ..
            } => {
                person.title.clone_from(title);
                person.department.clone_from(department);
            }
            Event::Leave(_) | Event::Removal(_) => person.active = false,
            Event::Return(_) => person.active = true,
        }
    }
    people
}

/// The same without those who were removed: a vendor whose API is SCIM deletes them.
pub fn without_removed(mut people: Vec<Person>, events: &[Event]) -> Vec<Person> {
    people.retain(|person| {
        !events
            .iter()
            .any(|it| matches!(it, Event::Removal(name) if *name == person.user_name()))
    });
    people
}
