//! The sample directory that the demo provisions: who is in it, the SCIM that Entra would send, and
//! what the vendor has to hold in the end.

use serde_json::{Value, json};

/// Core schema of a user.
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Enterprise extension.
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

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
