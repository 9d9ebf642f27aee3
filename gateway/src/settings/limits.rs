//! The tables `[gateway.limits.*]`: every limit of every room in one place for operators.
//!
//! Each table is the limits type of its room; this file finds all mistakes in one pass, where serde
//! stops at the first. The limits of `http`, which is above this room, are defined here.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde_json::{Map, Value};

use super::tree::{Reader, Table};
use crate::connector::ConnectorLimits;
use crate::egress::EgressLimits;
use crate::scim::ScimLimits;
use crate::store::StoreLimits;

/// All limits; each has a default.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// `[gateway.limits.http]`
    pub http: HttpLimits,
    /// `[gateway.limits.scim]`
    pub scim: ScimLimits,
    /// `[gateway.limits.connector]`
    pub connector: ConnectorLimits,
    /// `[gateway.limits.egress]`
    pub egress: EgressLimits,
    /// `[gateway.limits.store]`
    pub store: StoreLimits,
}

/// Limits of the SCIM listener. The table `[gateway.limits.http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpLimits {
    /// Largest request body, bytes. Beyond it: 413.
    pub body_bytes_max: usize,
    /// Largest body of a request to /Groups or /Bulk, bytes: it may name many members. Beyond it: 413.
    pub members_body_bytes_max: usize,
    /// Longest path and query of a URL, bytes. Beyond it: 414.
    pub target_bytes_max: usize,
    /// Most headers of a request. Beyond it: 431.
    pub headers_max: usize,
    /// Most bytes of names and values of a request's headers. Beyond it: 431.
    pub headers_bytes_max: usize,
    /// How long a client may take to send a body, milliseconds. Beyond it: 408.
    pub body_deadline_ms: u64,
    /// How long a client may take to send a request's head, milliseconds. Beyond it: 408.
    pub head_deadline_ms: u64,
    /// Open connections per worker; more wait in the listener's queue.
    pub connections_per_worker_max: usize,
    /// How long requests under way may still take when the gateway stops, seconds.
    pub shutdown_s: u64,
    /// Threads that serve SCIM traffic; 0 for one per core.
    pub workers: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1024 * 1024,
            members_body_bytes_max: 4 * 1024 * 1024,
            target_bytes_max: 16 * 1024,
            headers_max: 64,
            headers_bytes_max: 16 * 1024,
            body_deadline_ms: 15_000,
            head_deadline_ms: 5_000,
            connections_per_worker_max: 5_000,
            shutdown_s: 30,
            workers: 0,
        }
    }
}

pub(super) fn limits(mut table: Table, reader: &mut Reader<'_>) -> Limits {
    let limits = Limits {
        http: one(table.table("http", reader), reader),
        scim: one(table.table("scim", reader), reader),
        connector: one(table.table("connector", reader), reader),
        egress: one(table.table("egress", reader), reader),
        store: one(table.table("store", reader), reader),
    };
    if let Err((key, message)) = limits.egress.check() {
        reader.problem(&["gateway", "limits", "egress", key], message, None);
    }
    table.refuse_unknown(&["http", "scim", "connector", "egress", "store"], reader);
    limits
}

/// Reads one table. Every limits type has a default for each field (`#[serde(default)]`), so a
/// table with a single key can be read, and each key tried by itself.
fn one<L: DeserializeOwned + Default>(mut table: Table, reader: &mut Reader<'_>) -> L {
    let fields = fields_of::<L>();
    let mut good = Map::new();
    for field in fields {
        let Some((path, mut value)) = table.json(field, reader) else {
            continue;
        };
        if reader.source.variable(&path).is_some()
            && let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok())
        {
            value = number.into();
        }
        let single = Map::from_iter([((*field).to_owned(), value.clone())]);
        match serde_json::from_value::<L>(Value::Object(single)) {
            Ok(_) => drop(good.insert((*field).to_owned(), value)),
            Err(error) => {
                reader.problem_at(
                    &path,
                    format!("`{field}` {}", plain(&error.to_string())),
                    None,
                );
            }
        }
    }
    let header = table.path.clone();
    table.refuse_unknown(fields, reader);
    serde_json::from_value(Value::Object(good)).unwrap_or_else(|error| {
        reader.key_problem_at(&header, plain(&error.to_string()), None);
        L::default()
    })
}

/// "invalid type: string \"x\", expected u64" in the operator's words.
fn plain(error: &str) -> String {
    match error.rsplit_once("expected ").map(|(_, expected)| expected) {
        Some("u8" | "u16" | "u32" | "u64" | "usize") => "must be a whole number, 0 or more".into(),
        Some(expected) => format!("must be {expected}"),
        None => format!("is not valid: {error}"),
    }
}

/// The names of a struct's fields, as its derived `Deserialize` tells them to a deserializer.
fn fields_of<L: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It always fails, having learned the names.
    let _ = L::deserialize(FieldNames(&mut fields));
    fields
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom(
            "only the names of fields are asked for",
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
