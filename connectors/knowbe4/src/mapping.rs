//! Which SCIM attribute is which attribute at KnowBe4: one table, read in both directions.
//!
//! Invariant: the table and the profile in `connector.toml` have the same paths; a test holds it.
//! Absent: `displayName` and `externalId`, for which the vendor has no place; `active`, which is
//! no attribute there but the archive.

use connector_sdk::{Account, Deltas, Error, User, log};
use serde_json::{Map, Value};

use crate::vendor;

/// How a value crosses over.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Email,
    FirstName,
    Text,
    /// dateTime in SCIM, `YYYY-MM-DD` at the vendor.
    Date,
    Role,
    /// A text that the vendor can use only if it is an address.
    Manager,
}
use Form::{Date, Email, FirstName, Manager, Role, Text};

struct Row {
    path: &'static str,
    vendor: &'static str,
    form: Form,
}

const fn row(path: &'static str, vendor: &'static str, form: Form) -> Row {
    Row { path, vendor, form }
}

macro_rules! urn {
    ($schema:literal, $name:literal) => {
        concat!(
            "urn:ietf:params:scim:schemas:extension:",
            $schema,
            ":2.0:User:",
            $name
        )
    };
}

/// In the order of the manifest.
#[rustfmt::skip] // A table: one attribute, one line.
const ROWS: [Row; 21] = [
    row("userName", "email", Email),
    row("name.givenName", "firstName", FirstName),
    row("name.familyName", "lastName", Text),
    row("title", "jobTitle", Text),
    row(r#"phoneNumbers[type eq "mobile"].value"#, "mobilePhoneNumber", Text),
    row(r#"phoneNumbers[type eq "work"].value"#, "phoneNumber", Text),
    row(r#"addresses[type eq "work"].formatted"#, "location", Text),
    row(urn!("enterprise", "employeeNumber"), "employeeNumber", Text),
    row(urn!("enterprise", "department"), "department", Text),
    row(urn!("enterprise", "division"), "division", Text),
    row(urn!("enterprise", "organization"), "organization", Text),
    row(urn!("enterprise", "manager.value"), "managerEmail", Manager),
    row(urn!("enterprise", "manager.displayName"), "managerName", Text),
    row(urn!("knowbe4:kmsat", "customField1"), "customField1", Text),
    row(urn!("knowbe4:kmsat", "customField2"), "customField2", Text),
    row(urn!("knowbe4:kmsat", "customField3"), "customField3", Text),
    row(urn!("knowbe4:kmsat", "customField4"), "customField4", Text),
    row(urn!("knowbe4:kmsat", "customDate1"), "customDate1", Date),
    row(urn!("knowbe4:kmsat", "customDate2"), "customDate2", Date),
    row(urn!("knowbe4:kmsat", "outOfOfficeEnd"), "outOfOfficeEnd", Date),
    row(urn!("knowbe4:kmsat", "userRole"), "role", Role),
];

impl Row {
    /// The text that the vendor shows for the attribute.
    fn shown<'a>(&self, held: &'a Value) -> Option<&'a str> {
        let name = match self.vendor {
            "outOfOfficeEnd" => "outOfOfficeUntil",
            vendor => vendor,
        };
        held.get(name)?.as_str()
    }

    /// What the vendor is to hold for a SCIM value, null for nothing; none if it must not be told.
    fn outward(&self, value: Option<&Value>, email: &str) -> Result<Option<Value>, Error> {
        let &Row { path, vendor, form } = self;
        let refuse =
            |expected| Error::invalid(format!("KnowBe4's {vendor} takes {expected}")).path(path);
        let text = value.map_or(Some(""), Value::as_str);
        let text = text.ok_or_else(|| refuse("a text"))?;
        let value: Value = match (form, text) {
            (FirstName, "") => first_name_from(email).into(),
            // A role that is taken away must not leave an administrator behind.
            (Role, "") => "USER".into(),
            (_, "") => Value::Null,
            (Role, role) => match role.to_uppercase().as_str() {
                role @ ("USER" | "ADMIN" | "STUDENT") => role.into(),
                _ => return Err(refuse("USER, ADMIN or STUDENT")),
            },
            (Date, text) => date(text).ok_or_else(|| refuse("a date"))?.into(),
            (Manager, text) if !text.contains('@') => {
                log::info("manager.value is no address; the manager's e-mail stays as it is");
                return Ok(None);
            }
            (Email, text) if email_before_deletion(text).is_some() => {
                log::info("userName is that of a deleted user; the address stays as it is");
                return Ok(None);
            }
            (_, text) => text.into(),
        };
        Ok(Some(value))
    }
}

/// The address to make or find an account by.
pub(crate) fn email(desired: &User) -> &str {
    match email_before_deletion(desired.user_name()) {
        Some(email) if !desired.active() => email,
        _ => desired.user_name(),
    }
}

/// Entra renames a user whom it has deleted but can still restore: the object id as 32 hexadecimal
/// digits in front of the address. The vendor must not get that; this is the address behind it.
pub(crate) fn email_before_deletion(user_name: &str) -> Option<&str> {
    let (object_id, email) = user_name.split_at_checked(32)?;
    let has_object_id = object_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (has_object_id && email.find('@')? > 0).then_some(email)
}

/// All that `desired` says, in the vendor's terms; what it does not say is left out.
pub(crate) fn wanted(desired: &User, email: &str) -> Result<Map<String, Value>, Error> {
    let mut wanted = Map::new();
    for row in &ROWS {
        let value = match (row.form, desired.value(row.path)) {
            (Email, _) => Some(email.into()),
            (FirstName, value) => row.outward(value, email)?,
            (_, None) => None,
            (_, value) => row.outward(value, email)?.filter(|value| !value.is_null()),
        };
        wanted.extend(value.map(|value| (row.vendor.to_owned(), value)));
    }
    Ok(wanted)
}

/// Leaves what the account does not hold yet. The address that found it stays as it is, and so does
/// a first name for which `desired` has none.
pub(crate) fn drop_held(wanted: &mut Map<String, Value>, held: &Value, desired: &User) {
    for row in &ROWS {
        let shown = row.shown(held).unwrap_or_default();
        let stays = match row.form {
            Email => true,
            FirstName if desired.value(row.path).is_none() => !shown.is_empty(),
            _ => wanted.get(row.vendor).is_some_and(|wants| wants == shown),
        };
        if stays {
            wanted.remove(row.vendor);
        }
    }
}

/// What changed, in the vendor's terms: null for what lost its value.
pub(crate) fn changes(desired: &User, deltas: &Deltas) -> Result<Map<String, Value>, Error> {
    let mut changes = Map::new();
    for row in &ROWS {
        if let Some(value) = deltas.get(row.path)
            && let Some(value) = row.outward(value, desired.user_name())?
        {
            changes.insert(row.vendor.to_owned(), value);
        }
    }
    Ok(changes)
}

/// The account that the vendor shows, in SCIM's terms.
pub(crate) fn account(held: &Value) -> Result<Account, Error> {
    let account = Account::new(vendor::id(held)?).set("active", held["archived"] != true);
    Ok(ROWS
        .iter()
        .fold(account, |account, row| match row.shown(held) {
            None | Some("") => account,
            Some(day) if row.form == Date => account.set(row.path, format!("{day}T00:00:00Z")),
            Some(text) => account.set(row.path, text),
        }))
}

/// The SCIM path of an attribute that the vendor names, in camel or snake case.
pub(crate) fn path_of(vendor: &str) -> Option<&'static str> {
    let plain = vendor.replace('_', "");
    let row = ROWS
        .iter()
        .find(|row| row.vendor.eq_ignore_ascii_case(&plain));
    row.map(|row| row.path)
}

/// The SCIM path of the first attribute sent that the vendor's message names.
pub(crate) fn path_named(message: &str, attributes: &Value) -> Option<&'static str> {
    let mut words = message.split(|character: char| !character.is_alphanumeric());
    words
        .find(|word| attributes.get(word).is_some())
        .and_then(path_of)
}

/// The vendor requires a first name: who has none is called by what stands before the @.
fn first_name_from(email: &str) -> &str {
    email.split('@').next().unwrap_or(email)
}

/// The day of a date and time in RFC 3339, as it is written there, or of a plain `YYYY-MM-DD`.
fn date(text: &str) -> Option<&str> {
    let (day, rest) = text.split_at_checked("2026-01-31".len())?;
    let is_day = day.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (is_day && (rest.is_empty() || rest.starts_with(['T', 't', ' ']))).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_manifest_have_the_same_attributes() {
        let manifest = include_str!("../connector.toml");
        let (_, profile) = manifest.split_once("[profile]").unwrap();
        let values = |key: &str| -> Vec<&str> {
            let lines = profile.lines().filter_map(|line| line.split_once('='));
            lines
                .filter(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim().trim_matches(['"', '\'']))
                .collect()
        };
        let rows = |of: fn(&Row) -> &'static str| ROWS.iter().map(of);
        let paths: Vec<&str> = rows(|row| row.path).chain(["active"]).collect();
        assert_eq!(values("path"), paths);
        let vendor: Vec<&str> = rows(|row| row.vendor).chain(["archived"]).collect();
        assert_eq!(values("vendor"), vendor);
    }

    #[test]
    fn the_day_of_a_date() {
        for (text, expected) in [
            ("2026-01-31", Some("2026-01-31")),
            ("2026-01-31T23:59:59.000Z", Some("2026-01-31")),
            ("2026-01-31 00:00:00", Some("2026-01-31")),
            ("2026-01-311", None),
            ("31/01/2026", None),
            ("2026-1-31", None),
            ("20260131", None),
            ("", None),
        ] {
            assert_eq!(date(text), expected, "{text}");
        }
    }

    #[test]
    fn the_address_behind_the_name_of_a_deleted_user() {
        for (user_name, expected) in [
            (
                "0a21f0f28d2a4f8ebf987363c4aed4efann@example.com",
                Some("ann@example.com"),
            ),
            (
                "0A21F0F28D2A4F8EBF987363C4AED4EFann@example.com",
                Some("ann@example.com"),
            ),
            ("ann@example.com", None),
            ("0a21f0f28d2a4f8ebf987363c4aed4ef@example.com", None),
            ("0a21f0f28d2a4f8ebf987363c4aed4ef", None),
            ("0a21f0f28d2a4f8ebf987363c4aed4eé@example.com", None),
            ("zz21f0f28d2a4f8ebf987363c4aed4efann@example.com", None),
        ] {
            assert_eq!(email_before_deletion(user_name), expected, "{user_name}");
        }
    }
}
