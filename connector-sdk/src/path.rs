//! Profile paths over SCIM JSON: `userName`, `name.givenName`, `emails[type eq "work"].value`,
//! `urn:…:User:manager.value`.
//!
//! Only what a profile path can be: at most one filter, which compares one sub-attribute with `eq`.
//! Attribute names are compared exactly, since the gateway has brought them to canonical case.
//! Absent: the rest of the SCIM filter grammar.

use serde_json::{Map, Value};

/// Core attributes stand at the top of a resource, also when a path names their schema.
const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

struct Path<'a> {
    /// The extension that the attribute belongs to.
    schema: Option<&'a str>,
    attribute: &'a str,
    filter: Option<Filter<'a>>,
    sub: Option<&'a str>,
}

struct Filter<'a> {
    attribute: &'a str,
    value: Value,
}

impl Filter<'_> {
    /// The sub-attributes that filters name (`type`, `primary`) are `caseExact: false` in
    /// RFC 7643 section 8.7.1, so text is compared without regard to case.
    fn matches(&self, element: &Value) -> bool {
        match (element.get(self.attribute), &self.value) {
            (Some(Value::String(held)), Value::String(wanted)) => held.eq_ignore_ascii_case(wanted),
            (Some(held), wanted) => held == wanted,
            (None, _) => false,
        }
    }
}

fn parse(text: &str) -> Option<Path<'_>> {
    // A schema URN may hold dots and the filter's text may hold colons, hence this order.
    let (head, filter, tail) = match text.split_once('[') {
        Some((head, rest)) => {
            let (filter, tail) = rest.rsplit_once(']')?;
            (head, Some(parse_filter(filter)?), tail)
        }
        None => (text, None, ""),
    };
    let (schema, name) = match head.rsplit_once(':') {
        Some((CORE_USER, name)) => (None, name),
        Some((schema, name)) => (Some(schema), name),
        None => (None, head),
    };
    let (attribute, sub) = match (name.split_once('.'), tail.strip_prefix('.')) {
        (Some((attribute, sub)), None) if filter.is_none() => (attribute, Some(sub)),
        (None, Some(sub)) if filter.is_some() => (name, Some(sub)),
        (None, None) if tail.is_empty() => (name, None),
        _ => return None,
    };
    let plain = |name: &str| !name.is_empty() && !name.contains(['.', '[', ']', ' ', '"']);
    (plain(attribute) && sub.is_none_or(plain)).then_some(Path {
        schema,
        attribute,
        filter,
        sub,
    })
}

fn parse_filter(text: &str) -> Option<Filter<'_>> {
    let mut words = text.trim().splitn(3, ' ');
    let (attribute, operator, value) = (words.next()?, words.next()?, words.next()?);
    // The operand of a filter is a JSON value (RFC 7644 section 3.4.2.2).
    let value = serde_json::from_str(value.trim()).ok()?;
    operator
        .eq_ignore_ascii_case("eq")
        .then_some(Filter { attribute, value })
}

/// A path with a filter, taken apart: one element of a list, or a sub-attribute of it.
pub(crate) struct ValuePath<'a> {
    /// The path of the list.
    pub(crate) list: &'a str,
    /// The filter as the path writes it.
    pub(crate) filter: &'a str,
    pub(crate) sub: Option<&'a str>,
    condition: Filter<'a>,
}

impl<'a> ValuePath<'a> {
    /// None if the text has no filter or is no profile path.
    pub(crate) fn parse(text: &'a str) -> Option<ValuePath<'a>> {
        let Path { filter, sub, .. } = parse(text)?;
        let condition = filter?;
        let (list, rest) = text.split_once('[')?;
        let (filter, _) = rest.rsplit_once(']')?;
        Some(ValuePath {
            list,
            filter,
            sub,
            condition,
        })
    }

    /// The element that the filter names, if the resource has it.
    pub(crate) fn find<'r>(&self, resource: &'r Map<String, Value>) -> Option<&'r Value> {
        let elements = get(resource, self.list)?.as_array()?;
        let mut elements = elements.iter();
        elements.find(|element| self.condition.matches(element))
    }

    /// What an element must hold for the filter to name it.
    pub(crate) fn condition(&self) -> (&'a str, &Value) {
        (self.condition.attribute, &self.condition.value)
    }
}

/// The name of the attribute that a path ends in, where a filter or a plain `value` says no more
/// than the attribute it belongs to.
pub(crate) fn leaf(text: &str) -> Option<&str> {
    let path = parse(text)?;
    let sub = path
        .sub
        .filter(|sub| path.filter.is_none() && *sub != "value");
    Some(sub.unwrap_or(path.attribute))
}

/// The condition in RFC 7644's grammar that a resource has this text at the path.
pub(crate) fn equals(path: &str, text: &str) -> String {
    // The operand is a JSON string, so JSON's escapes are the filter's (RFC 7644 section 3.4.2.2).
    let operand = serde_json::to_string(text).unwrap_or_default();
    match ValuePath::parse(path) {
        Some(ValuePath {
            list,
            filter,
            sub: Some(sub),
            ..
        }) => format!("{list}[{filter} and {sub} eq {operand}]"),
        _ => format!("{path} eq {operand}"),
    }
}

/// The value at a path; none if the path is absent from the resource, null or no profile path.
pub(crate) fn get<'a>(resource: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let value = match resource.get(path) {
        // A plain attribute, or a whole extension by its URN.
        Some(value) => value,
        None => {
            let path = parse(path)?;
            let container = match path.schema {
                Some(schema) => resource.get(schema)?.as_object()?,
                None => resource,
            };
            let mut value = container.get(path.attribute)?;
            if let Some(filter) = &path.filter {
                let elements = value.as_array()?;
                value = elements.iter().find(|element| filter.matches(element))?;
            }
            match path.sub {
                Some(sub) => value.get(sub)?,
                None => value,
            }
        }
    };
    (!value.is_null()).then_some(value)
}

/// Sets the value at a path and makes what is missing on the way there. False if the text is no
/// profile path.
pub(crate) fn set(resource: &mut Map<String, Value>, path: &str, value: Value) -> bool {
    let Some(path) = parse(path) else {
        return false;
    };
    let container = match path.schema {
        Some(schema) => object(resource.entry(schema).or_insert(Value::Null)),
        None => resource,
    };
    let mut place = container.entry(path.attribute).or_insert(Value::Null);
    if let Some(filter) = path.filter {
        place = element(place, filter);
    }
    if let Some(sub) = path.sub {
        place = object(place).entry(sub).or_insert(Value::Null);
    }
    *place = value;
    true
}

/// The value as an object; anything else in its place is replaced by an empty one.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("just made an object"),
    }
}

/// The element that the filter names, appended if there is none yet.
fn element<'a>(value: &'a mut Value, filter: Filter<'_>) -> &'a mut Value {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    let Value::Array(elements) = value else {
        unreachable!("just made an array");
    };
    let index = elements.iter().position(|element| filter.matches(element));
    let index = index.unwrap_or_else(|| {
        let mut fresh = Map::new();
        fresh.insert(filter.attribute.to_owned(), filter.value);
        elements.push(Value::Object(fresh));
        elements.len() - 1
    });
    &mut elements[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn sample() -> Map<String, Value> {
        let Value::Object(map) = json!({
            "userName": "ann@example.com",
            "title": null,
            "name": {"givenName": "Ann"},
            "emails": [
                {"type": "home", "value": "h@example.com"},
                {"type": "Work", "value": "w@example.com", "primary": true},
            ],
            ENTERPRISE: {"department": "R: [x]", "manager": {"value": "m1"}},
        }) else {
            unreachable!()
        };
        map
    }

    #[test]
    fn reads_each_kind_of_path() {
        let check = |path: &str, expected: Value| {
            let found = get(&sample(), path).cloned().unwrap_or(Value::Null);
            assert_eq!(found, expected, "{path}");
        };
        check("userName", json!("ann@example.com"));
        check(
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            json!("ann@example.com"),
        );
        check("name.givenName", json!("Ann"));
        check(r#"emails[type eq "work"].value"#, json!("w@example.com"));
        check("emails[primary eq true].value", json!("w@example.com"));
        check(&format!("{ENTERPRISE}:department"), json!("R: [x]"));
        check(&format!("{ENTERPRISE}:manager.value"), json!("m1"));
        check(ENTERPRISE, sample()[ENTERPRISE].clone());
        for absent in [
            "",
            "title",
            "nickName",
            "name.familyName",
            "emails.value",
            r#"emails[type eq "other"].value"#,
            r#"emails[type eq "work].value"#,
            r#"emails[type ne "work"].value"#,
            r#"emails[type eq "work""#,
            r#"emails[type eq "work"]value"#,
            "name..givenName",
            ".",
        ] {
            check(absent, Value::Null);
        }
    }

    #[test]
    fn a_filter_finds_by_what_a_path_holds() {
        let check = |path: &str, text: &str, filter: &str| assert_eq!(equals(path, text), filter);
        check("userName", "ann", r#"userName eq "ann""#);
        check("userName", r#"a"\n"#, r#"userName eq "a\"\\n""#);
        check(
            "name.familyName",
            "O'Malley",
            r#"name.familyName eq "O'Malley""#,
        );
        check(
            r#"emails[type eq "work"].value"#,
            "é@x",
            r#"emails[type eq "work" and value eq "é@x"]"#,
        );
        check(
            &format!("{ENTERPRISE}:employeeNumber"),
            "7",
            &format!(r#"{ENTERPRISE}:employeeNumber eq "7""#),
        );
    }

    #[test]
    fn the_leaf_is_the_word_that_people_use() {
        let check = |path: &str, name: &str| assert_eq!(leaf(path), Some(name), "{path}");
        check("title", "title");
        check("name.givenName", "givenName");
        check(r#"emails[type eq "work"].value"#, "emails");
        check(&format!("{ENTERPRISE}:manager.value"), "manager");
        check(&format!("{ENTERPRISE}:department"), "department");
    }

    #[test]
    fn what_was_set_is_read_back() {
        let mut map = Map::new();
        let paths = [
            "userName".to_owned(),
            "name.givenName".to_owned(),
            "name.familyName".to_owned(),
            r#"emails[type eq "work"].value"#.to_owned(),
            r#"emails[type eq "work"].primary"#.to_owned(),
            r#"emails[type eq "home"].value"#.to_owned(),
            format!("{ENTERPRISE}:manager.value"),
            format!("{ENTERPRISE}:department"),
        ];
        for path in &paths {
            assert!(set(&mut map, path, json!(path)), "{path}");
        }
        for path in &paths {
            assert_eq!(get(&map, path), Some(&json!(path)));
        }
        assert_eq!(map["emails"].as_array().unwrap().len(), 2);
        assert!(!set(&mut map, "emails[", json!(1)));
    }
}
