//! The accounts that the simulated KnowBe4 holds, and the rules by which it refuses data.
//!
//! Invariant: an edit applies whole or not at all, and no two accounts share an address unless that
//! rule is switched off.
//! Absent: HTTP, GraphQL execution, the clock (times are arguments).

use std::collections::{BTreeMap, HashMap};

use async_graphql::{ComplexObject, Enum, InputObject, MaybeUndefined, SimpleObject};

/// The longest text that an attribute takes, in characters: verified for the custom fields,
/// inferred for the rest.
const TEXT_CHARACTERS_MAX: usize = 255;

/// Ids start high, so that a test that confuses an id with a position fails.
const ID_FIRST: i32 = 4_200_001;

/// What an account may do at the vendor.
#[derive(Clone, Copy, Debug, Default, Enum, PartialEq, Eq)]
#[graphql(name = "UserRoles")]
pub enum Role {
    /// Learner, the default.
    #[default]
    User,
    /// Administrator of the console.
    Admin,
    /// Learner of the student edition.
    Student,
}

/// One account. The field names are the vendor's own, in snake case.
#[derive(Clone, Debug, Default, PartialEq, SimpleObject)]
#[graphql(complex)]
#[allow(
    missing_docs,
    reason = "the vendor's fields; no source says more than the name"
)]
pub struct User {
    pub id: i32,
    pub email: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub job_title: Option<String>,
    pub employee_number: Option<String>,
    pub department: Option<String>,
    pub division: Option<String>,
    pub organization: Option<String>,
    pub company_name: Option<String>,
    pub location: Option<String>,
    pub manager_name: Option<String>,
    pub manager_email: Option<String>,
    pub phone_number: Option<String>,
    pub extension: Option<String>,
    pub mobile_phone_number: Option<String>,
    pub employee_start_date: Option<String>,
    pub out_of_office_start: Option<String>,
    /// Read as `outOfOfficeUntil`, written as `outOfOfficeEnd`: both names are verified.
    pub out_of_office_until: Option<String>,
    pub custom_field1: Option<String>,
    pub custom_field2: Option<String>,
    pub custom_field3: Option<String>,
    pub custom_field4: Option<String>,
    pub custom_date1: Option<String>,
    pub custom_date2: Option<String>,
    pub comment: Option<String>,
    pub time_zone: Option<String>,
    pub language: Option<String>,
    pub ldap_enabled: bool,
    pub saml_enabled: bool,
    pub role: Role,
    pub archived: bool,
    pub archived_at: Option<String>,
}

#[ComplexObject]
impl User {
    async fn display_name(&self) -> String {
        [&self.first_name, &self.last_name]
            .into_iter()
            .filter_map(|part| part.as_deref())
            .collect::<Vec<_>>()
            .join(" ")
    }

    async fn admin(&self) -> bool {
        self.role == Role::Admin
    }

    async fn archivable(&self) -> bool {
        !self.archived
    }
}

/// What `userEdit` changes: an attribute that is absent stays, null and "" clear.
#[derive(Clone, Debug, Default, InputObject)]
pub(super) struct UserAttributes {
    first_name: MaybeUndefined<String>,
    last_name: MaybeUndefined<String>,
    job_title: MaybeUndefined<String>,
    employee_number: MaybeUndefined<String>,
    location: MaybeUndefined<String>,
    manager_name: MaybeUndefined<String>,
    manager_email: MaybeUndefined<String>,
    mobile_phone_number: MaybeUndefined<String>,
    employee_start_date: MaybeUndefined<String>,
    out_of_office_start: MaybeUndefined<String>,
    out_of_office_end: MaybeUndefined<String>,
    custom_field1: MaybeUndefined<String>,
    custom_field2: MaybeUndefined<String>,
    custom_field3: MaybeUndefined<String>,
    custom_field4: MaybeUndefined<String>,
    ldap_enabled: MaybeUndefined<bool>,
    role: MaybeUndefined<Role>,
    // Inferred from here on; `INFERRED_ATTRIBUTES` lists the same names as the wire has them.
    email: MaybeUndefined<String>,
    department: MaybeUndefined<String>,
    division: MaybeUndefined<String>,
    organization: MaybeUndefined<String>,
    phone_number: MaybeUndefined<String>,
    custom_date1: MaybeUndefined<String>,
    custom_date2: MaybeUndefined<String>,
    comment: MaybeUndefined<String>,
    time_zone: MaybeUndefined<String>,
    language: MaybeUndefined<String>,
}

/// The fields of `UserAttributes` that no public source has been seen to write.
pub(super) const INFERRED_ATTRIBUTES: [&str; 10] = [
    "email",
    "department",
    "division",
    "organization",
    "phoneNumber",
    "customDate1",
    "customDate2",
    "comment",
    "timeZone",
    "language",
];

/// Why the vendor refuses the data of a mutation: the second error layer.
#[derive(Clone, Debug, PartialEq, SimpleObject)]
#[graphql(name = "MutationError")]
pub(super) struct Refusal {
    field: Option<String>,
    placeholders: Vec<String>,
    reason: String,
    record_id: Option<i32>,
}

impl Refusal {
    fn of(field: &str, reason: &str) -> Refusal {
        Refusal {
            field: Some(field.to_owned()),
            placeholders: Vec::new(),
            reason: reason.to_owned(),
            record_id: None,
        }
    }

    fn not_found(id: i32) -> Refusal {
        Refusal {
            record_id: Some(id),
            ..Refusal::of("id", "not_found")
        }
    }

    fn too_long(field: &str) -> Refusal {
        Refusal {
            placeholders: vec![TEXT_CHARACTERS_MAX.to_string()],
            ..Refusal::of(field, "too_long")
        }
    }
}

/// The rules that can be switched off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) archived_editable: bool,
    pub(super) unique_addresses: bool,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    users: BTreeMap<i32, User>,
    ids_by_email: HashMap<String, i32>,
    created_total: i32,
}

impl Roster {
    pub(super) fn all(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    pub(super) fn get(&self, id: i32) -> Option<&User> {
        self.users.get(&id)
    }

    pub(super) fn by_email(&self, email: &str) -> Option<&User> {
        self.get(*self.ids_by_email.get(&email.to_lowercase())?)
    }

    pub(super) fn plant(&mut self, user: User) -> Option<i32> {
        if self.by_email(&user.email).is_some() {
            return None;
        }
        Some(self.insert(user))
    }

    fn insert(&mut self, user: User) -> i32 {
        let id = ID_FIRST + self.created_total;
        self.created_total += 1;
        let key = user.email.to_lowercase();
        self.ids_by_email.entry(key).or_insert(id);
        self.users.insert(id, User { id, ..user });
        id
    }

    /// Takes an account that is gone from under its address. Another account can have the same one
    /// where addresses are not unique, and is found by it from now on.
    fn forget_address(&mut self, id: i32, email: &str) {
        let key = email.to_lowercase();
        if self.ids_by_email.get(&key) != Some(&id) {
            return;
        }
        self.ids_by_email.remove(&key);
        let other = self.all().find(|user| user.email.to_lowercase() == key);
        if let Some(other) = other.map(|user| user.id) {
            self.ids_by_email.insert(key, other);
        }
    }

    pub(super) fn alter(&mut self, id: i32, change: impl FnOnce(&mut User)) -> bool {
        let Some(user) = self.users.get_mut(&id) else {
            return false;
        };
        let email = user.email.clone();
        change(user);
        user.id = id;
        user.email = email;
        true
    }

    pub(super) fn purge(&mut self, id: i32) -> bool {
        let Some(user) = self.users.remove(&id) else {
            return false;
        };
        self.forget_address(id, &user.email);
        true
    }

    pub(super) fn create(
        &mut self,
        email: String,
        first_name: String,
        last_name: Option<String>,
        job_title: Option<String>,
        rules: Rules,
    ) -> Result<User, Vec<Refusal>> {
        let mut user = User::default();
        let mut refusals = Vec::new();
        let attributes = UserAttributes {
            email: MaybeUndefined::Value(email),
            first_name: MaybeUndefined::Value(first_name),
            last_name: MaybeUndefined::from(Some(last_name)),
            job_title: MaybeUndefined::from(Some(job_title)),
            ..UserAttributes::default()
        };
        self.apply(&mut user, attributes, rules, &mut refusals);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let id = self.insert(user.clone());
        Ok(User { id, ..user })
    }

    pub(super) fn edit(
        &mut self,
        id: i32,
        attributes: UserAttributes,
        rules: Rules,
    ) -> Result<User, Vec<Refusal>> {
        let Some(before) = self.users.get(&id) else {
            return Err(vec![Refusal::not_found(id)]);
        };
        if before.archived && !rules.archived_editable {
            return Err(vec![Refusal {
                record_id: Some(id),
                ..Refusal::of("base", "archived")
            }]);
        }
        let mut user = before.clone();
        let mut refusals = Vec::new();
        self.apply(&mut user, attributes, rules, &mut refusals);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let email_before = before.email.clone();
        self.users.insert(id, user.clone());
        if user.email.to_lowercase() != email_before.to_lowercase() {
            self.forget_address(id, &email_before);
            let key = user.email.to_lowercase();
            self.ids_by_email.entry(key).or_insert(id);
        }
        Ok(user)
    }

    fn apply(
        &self,
        user: &mut User,
        new: UserAttributes,
        rules: Rules,
        refusals: &mut Vec<Refusal>,
    ) {
        match new.email {
            MaybeUndefined::Undefined => {}
            MaybeUndefined::Null => refusals.push(Refusal::of("email", "blank")),
            MaybeUndefined::Value(email) => {
                let other = self
                    .by_email(&email)
                    .is_some_and(|other| other.id != user.id);
                let taken = other && rules.unique_addresses;
                take_email(&mut user.email, email, taken, refusals);
            }
        }
        take_first_name(&mut user.first_name, new.first_name, refusals);
        if let MaybeUndefined::Value(role) = new.role {
            user.role = role;
        }
        if let MaybeUndefined::Value(ldap_enabled) = new.ldap_enabled {
            user.ldap_enabled = ldap_enabled;
        }
        for (held, given, field) in [
            (&mut user.last_name, new.last_name, "lastName"),
            (&mut user.job_title, new.job_title, "jobTitle"),
            (
                &mut user.employee_number,
                new.employee_number,
                "employeeNumber",
            ),
            (&mut user.location, new.location, "location"),
            (&mut user.manager_name, new.manager_name, "managerName"),
            (&mut user.manager_email, new.manager_email, "managerEmail"),
            (
                &mut user.mobile_phone_number,
                new.mobile_phone_number,
                "mobilePhoneNumber",
            ),
            (&mut user.phone_number, new.phone_number, "phoneNumber"),
            (&mut user.department, new.department, "department"),
            (&mut user.division, new.division, "division"),
            (&mut user.organization, new.organization, "organization"),
            (&mut user.custom_field1, new.custom_field1, "customField1"),
            (&mut user.custom_field2, new.custom_field2, "customField2"),
            (&mut user.custom_field3, new.custom_field3, "customField3"),
            (&mut user.custom_field4, new.custom_field4, "customField4"),
            (&mut user.comment, new.comment, "comment"),
            (&mut user.time_zone, new.time_zone, "timeZone"),
            (&mut user.language, new.language, "language"),
        ] {
            take_text(held, given, field, refusals);
        }
        for (held, given, field) in [
            (
                &mut user.employee_start_date,
                new.employee_start_date,
                "employeeStartDate",
            ),
            (
                &mut user.out_of_office_start,
                new.out_of_office_start,
                "outOfOfficeStart",
            ),
            (
                &mut user.out_of_office_until,
                new.out_of_office_end,
                "outOfOfficeEnd",
            ),
            (&mut user.custom_date1, new.custom_date1, "customDate1"),
            (&mut user.custom_date2, new.custom_date2, "customDate2"),
        ] {
            take_date(held, given, field, refusals);
        }
    }

    /// `now` is the time that `archivedAt` will say, in RFC 3339.
    pub(super) fn archive(&mut self, ids: &[i32], now: &str) -> Result<User, Vec<Refusal>> {
        self.each(ids, |user| {
            if !user.archived {
                user.archived = true;
                user.archived_at = Some(now.to_owned());
            }
        })
    }

    pub(super) fn unarchive(&mut self, ids: &[i32]) -> Result<User, Vec<Refusal>> {
        self.each(ids, |user| {
            user.archived = false;
            user.archived_at = None;
        })
    }

    /// Changes every account named, and returns the last; nothing changes if one is unknown.
    fn each(&mut self, ids: &[i32], change: impl Fn(&mut User)) -> Result<User, Vec<Refusal>> {
        let unknown: Vec<Refusal> = ids
            .iter()
            .filter(|id| !self.users.contains_key(id))
            .map(|id| Refusal::not_found(*id))
            .collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut last = None;
        for id in ids {
            if let Some(user) = self.users.get_mut(id) {
                change(user);
                last = Some(user.clone());
            }
        }
        last.ok_or_else(|| vec![Refusal::of("userIds", "blank")])
    }
}

fn take_email(held: &mut String, given: String, taken: bool, refusals: &mut Vec<Refusal>) {
    if given.trim().is_empty() {
        refusals.push(Refusal::of("email", "blank"));
    } else if given.chars().count() > TEXT_CHARACTERS_MAX {
        refusals.push(Refusal::too_long("email"));
    } else if !is_address(&given) {
        refusals.push(Refusal::of("email", "invalid"));
    } else if taken {
        refusals.push(Refusal::of("email", "taken"));
    } else {
        *held = given;
    }
}

fn take_first_name(
    held: &mut Option<String>,
    given: MaybeUndefined<String>,
    refusals: &mut Vec<Refusal>,
) {
    let blank = match &given {
        MaybeUndefined::Undefined => false,
        MaybeUndefined::Null => true,
        MaybeUndefined::Value(value) => value.trim().is_empty(),
    };
    if blank {
        refusals.push(Refusal::of("firstName", "blank"));
    } else {
        take_text(held, given, "firstName", refusals);
    }
}

fn take_text(
    held: &mut Option<String>,
    given: MaybeUndefined<String>,
    field: &str,
    refusals: &mut Vec<Refusal>,
) {
    match given {
        MaybeUndefined::Undefined => {}
        MaybeUndefined::Null => *held = None,
        MaybeUndefined::Value(value) if value.chars().count() > TEXT_CHARACTERS_MAX => {
            refusals.push(Refusal::too_long(field));
        }
        MaybeUndefined::Value(value) => *held = Some(value).filter(|value| !value.is_empty()),
    }
}

fn take_date(
    held: &mut Option<String>,
    given: MaybeUndefined<String>,
    field: &str,
    refusals: &mut Vec<Refusal>,
) {
    match given {
        MaybeUndefined::Value(value) if !value.is_empty() && !is_date(&value) => {
            refusals.push(Refusal::of(field, "invalid"));
        }
        given => take_text(held, given, field, refusals),
    }
}

fn is_address(text: &str) -> bool {
    text.split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.contains(char::is_whitespace)
}

/// `YYYY-MM-DD` and a day that the calendar has.
fn is_date(text: &str) -> bool {
    text.len() == "2026-01-31".len()
        && text
            .parse::<jiff::civil::Date>()
            .is_ok_and(|date| date.to_string() == text)
}
