//! The attributes that the simulated SCIM service knows, and what a value of each looks like.
//!
//! Invariant: what leaves here has the RFC's spelling of every name, the RFC's type at every place, and
//! no null or empty list.
//! Absent: PATCH, which has a module of its own; uniqueness and the existence of members, which the
//! service knows.

use serde_json::{Map, Value};

/// Core schema of a user (RFC 7643 section 4.1).
pub(super) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// Core schema of a group (RFC 7643 section 4.2).
pub(super) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// Enterprise extension (RFC 7643 section 4.3).
pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A type of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

impl Kind {
    /// The name in `meta.resourceType` and in a member's `type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
        }
    }

    /// The endpoint.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
        }
    }

    pub(super) fn core(self) -> &'static str {
        match self {
            Kind::User => USER,
            Kind::Group => GROUP,
        }
    }

    /// The attribute that is required and unique.
    pub(super) fn naming(self) -> &'static str {
        match self {
            Kind::User => "userName",
            Kind::Group => "displayName",
        }
    }
}

/// Why a request is refused: RFC 7644 section 3.12.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) scim_type: Option<&'static str>,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn bad(scim_type: &'static str, detail: impl Into<String>) -> Refusal {
        Refusal {
            status: 400,
            scim_type: Some(scim_type),
            detail: detail.into(),
        }
    }

    pub(super) fn status(status: u16, detail: impl Into<String>) -> Refusal {
        Refusal {
            status,
            scim_type: None,
            detail: detail.into(),
        }
    }
}

/// One attribute or sub-attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) many: bool,
    pub(super) read_only: bool,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Form {
    Text,
    Flag,
    Complex(&'static [Attribute]),
}

const fn text(name: &'static str) -> Attribute {
    Attribute {
        name,
        form: Form::Text,
        many: false,
        read_only: false,
    }
}

const fn flag(name: &'static str) -> Attribute {
    Attribute {
        form: Form::Flag,
        ..text(name)
    }
}

const fn complex(name: &'static str, parts: &'static [Attribute]) -> Attribute {
    Attribute {
        form: Form::Complex(parts),
        ..text(name)
    }
}

const fn many(name: &'static str, parts: &'static [Attribute]) -> Attribute {
    Attribute {
        many: true,
        ..complex(name, parts)
    }
}

const fn read_only(attribute: Attribute) -> Attribute {
    Attribute {
        read_only: true,
        ..attribute
    }
}

/// RFC 7643 section 2.4.
const VALUED: &[Attribute] = &[
    text("value"),
    text("display"),
    text("type"),
    flag("primary"),
    text("$ref"),
];

const NAME: &[Attribute] = &[
    text("formatted"),
    text("familyName"),
    text("givenName"),
    text("middleName"),
    text("honorificPrefix"),
    text("honorificSuffix"),
];

const ADDRESS: &[Attribute] = &[
    text("formatted"),
    text("streetAddress"),
    text("locality"),
    text("region"),
    text("postalCode"),
    text("country"),
    text("type"),
    flag("primary"),
];

const USER_ATTRIBUTES: &[Attribute] = &[
    read_only(text("id")),
    read_only(complex("meta", &[])),
    read_only(many("groups", VALUED)),
    text("externalId"),
    text("userName"),
    complex("name", NAME),
    text("displayName"),
    text("nickName"),
    text("profileUrl"),
    text("title"),
    text("userType"),
    text("preferredLanguage"),
    text("locale"),
    text("timezone"),
    flag("active"),
    text("password"),
    many("emails", VALUED),
    many("phoneNumbers", VALUED),
    many("ims", VALUED),
    many("photos", VALUED),
    many("addresses", ADDRESS),
    many("entitlements", VALUED),
    many("roles", VALUED),
    many("x509Certificates", VALUED),
];

const ENTERPRISE_ATTRIBUTES: &[Attribute] = &[
    text("employeeNumber"),
    text("costCenter"),
    text("organization"),
    text("division"),
    text("department"),
    complex(
        "manager",
        &[text("value"), text("$ref"), read_only(text("displayName"))],
    ),
];

const GROUP_ATTRIBUTES: &[Attribute] = &[
    read_only(text("id")),
    read_only(complex("meta", &[])),
    text("externalId"),
    text("displayName"),
    many(
        "members",
        &[text("value"), text("type"), text("$ref"), text("display")],
    ),
];

/// An attribute of the vendor's own extension: its name is in the list that a test has given.
const OWN: Attribute = text("");

/// The attributes of one kind of resource, less those that a list leaves out.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a> {
    pub(super) kind: Kind,
    pub(super) only: Option<&'a [String]>,
}

/// An attribute found by name.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    /// The extension that it belongs to; none for the core schema.
    pub(super) urn: Option<&'a str>,
    /// As the schema spells it.
    pub(super) name: &'a str,
    pub(super) attribute: &'static Attribute,
}

/// A body of POST or PUT.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) attributes: Map<String, Value>,
    pub(super) members: Vec<NamedMember>,
}

/// A member as a request names it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamedMember {
    pub(super) id: String,
    pub(super) kind: Option<String>,
}

impl<'a> Schema<'a> {
    /// The attribute of that name, in an extension or in the core schema.
    pub(super) fn find(&self, urn: Option<&str>, name: &str) -> Option<Found<'a>> {
        let core = urn.is_none_or(|urn| urn.eq_ignore_ascii_case(self.kind.core()));
        let table = match self.kind {
            Kind::User if core => USER_ATTRIBUTES,
            Kind::Group if core => GROUP_ATTRIBUTES,
            Kind::User if urn.is_some_and(|it| it.eq_ignore_ascii_case(ENTERPRISE)) => {
                ENTERPRISE_ATTRIBUTES
            }
            _ => return self.find_own(urn?, name),
        };
        let attribute = table.iter().find(|it| it.name.eq_ignore_ascii_case(name))?;
        let urn = (!core).then_some(ENTERPRISE);
        let found = Found {
            urn,
            name: attribute.name,
            attribute,
        };
        // What every resource has is no matter of lists.
        let always = core && matches!(attribute.name, "id" | "meta" | "groups");
        (always || self.lists(urn, attribute.name, None)).then_some(found)
    }

    /// The sub-attribute of that name.
    pub(super) fn part(&self, of: &Found<'_>, name: &str) -> Option<&'static Attribute> {
        let Form::Complex(parts) = of.attribute.form else {
            return None;
        };
        let part = parts.iter().find(|it| it.name.eq_ignore_ascii_case(name))?;
        self.lists(of.urn, of.name, Some(part.name)).then_some(part)
    }

    fn find_own(&self, urn: &str, name: &str) -> Option<Found<'a>> {
        self.only?.iter().find_map(|listed| {
            let (own, attribute) = listed.rsplit_once(':')?;
            let here = own.eq_ignore_ascii_case(urn) && attribute.eq_ignore_ascii_case(name);
            here.then_some(Found {
                urn: Some(own),
                name: attribute,
                attribute: &OWN,
            })
        })
    }

    /// The extension with this URN, as the schema spells it.
    fn extension(&self, urn: &str) -> Option<&'a str> {
        if self.kind == Kind::User && urn.eq_ignore_ascii_case(ENTERPRISE) {
            return Some(ENTERPRISE);
        }
        self.only?.iter().find_map(|listed| {
            let (own, _) = listed.rsplit_once(':')?;
            own.eq_ignore_ascii_case(urn).then_some(own)
        })
    }

    fn lists(&self, urn: Option<&str>, name: &str, part: Option<&str>) -> bool {
        let Some(only) = self.only else { return true };
        let mut path = urn.map_or_else(String::new, |urn| format!("{urn}:"));
        path.push_str(name);
        if let Some(part) = part {
            path = format!("{path}.{part}");
        }
        // A listed attribute is listed with all its parts; a listed part brings its attribute.
        only.iter().any(|listed| {
            let inside = |inner: &str, outer: &str| {
                inner
                    .strip_prefix(outer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            inside(&path, listed) || (part.is_none() && inside(listed, &path))
        })
    }

    /// Reads the body of a POST or PUT.
    pub(super) fn document(&self, body: &Value) -> Result<Document, Refusal> {
        let body = body
            .as_object()
            .ok_or_else(|| Refusal::bad("invalidSyntax", "the body is no JSON object"))?;
        let schemas = self.schemas(body.get("schemas"))?;
        let mut document = Document {
            attributes: Map::new(),
            members: Vec::new(),
        };
        for (name, value) in body {
            if name == "schemas" {
                continue;
            }
            if name.to_ascii_lowercase().starts_with("urn:") {
                let urn = self.extension(name).filter(|urn| schemas.contains(urn));
                let urn = urn.ok_or_else(|| {
                    Refusal::bad("invalidValue", format!("`schemas` does not name {name}"))
                })?;
                let attributes = self.extension_value(urn, value)?;
                insert(&mut document.attributes, urn, attributes);
                continue;
            }
            let found = self.known(None, name)?;
            match found.name {
                // RFC 7644 section 3.3: what is read-only is ignored here.
                _ if found.attribute.read_only => {}
                "members" => document.members = members(value)?,
                _ => {
                    let value = self.value(&found, value)?;
                    insert(&mut document.attributes, found.name, value);
                }
            }
        }
        Ok(document)
    }

    fn schemas(&self, schemas: Option<&Value>) -> Result<Vec<&'a str>, Refusal> {
        let named = schemas.and_then(Value::as_array);
        let named =
            named.ok_or_else(|| Refusal::bad("invalidSyntax", "`schemas` is no list of URNs"))?;
        let mut core = false;
        let mut extensions = Vec::new();
        for urn in named {
            let urn = urn.as_str().unwrap_or_default();
            if urn.eq_ignore_ascii_case(self.kind.core()) {
                core = true;
                continue;
            }
            extensions.push(self.extension(urn).ok_or_else(|| {
                Refusal::bad("invalidValue", format!("`schemas` names {urn:?}: unknown"))
            })?);
        }
        match core {
            true => Ok(extensions),
            false => Err(Refusal::bad(
                "invalidValue",
                format!("`schemas` does not name {}", self.kind.core()),
            )),
        }
    }

    /// The attribute of that name, or the refusal of a body that has it.
    pub(super) fn known(&self, urn: Option<&str>, name: &str) -> Result<Found<'a>, Refusal> {
        self.find(urn, name)
            .ok_or_else(|| Refusal::bad("invalidValue", format!("unknown attribute {name}")))
    }

    /// The value of a whole extension; none if nothing is assigned in it.
    pub(super) fn extension_value(
        &self,
        urn: &str,
        value: &Value,
    ) -> Result<Option<Value>, Refusal> {
        let given = value
            .as_object()
            .ok_or_else(|| Refusal::bad("invalidValue", format!("{urn} is no object")))?;
        let mut attributes = Map::new();
        for (name, value) in given {
            let found = self.known(Some(urn), name)?;
            let value = self.value(&found, value)?;
            insert(&mut attributes, found.name, value);
        }
        Ok((!attributes.is_empty()).then_some(attributes.into()))
    }

    /// A value of an attribute; none if it is null or empty (RFC 7643 section 2.5).
    pub(super) fn value(&self, found: &Found<'_>, value: &Value) -> Result<Option<Value>, Refusal> {
        if value.is_null() {
            return Ok(None);
        }
        if !found.attribute.many {
            return self.one(found, value);
        }
        let given = value
            .as_array()
            .ok_or_else(|| Refusal::bad("invalidValue", format!("{} takes a list", found.name)))?;
        let mut elements = Vec::with_capacity(given.len());
        for element in given {
            elements.extend(self.one(found, element)?);
        }
        if elements.iter().filter(|it| it["primary"] == true).count() > 1 {
            let detail = format!("{}: more than one is primary", found.name);
            return Err(Refusal::bad("invalidValue", detail));
        }
        Ok((!elements.is_empty()).then_some(elements.into()))
    }

    /// One value of an attribute: an element where it has many.
    pub(super) fn one(&self, found: &Found<'_>, value: &Value) -> Result<Option<Value>, Refusal> {
        let Form::Complex(_) = found.attribute.form else {
            return simple(found.attribute, found.name, value).map(Some);
        };
        let given = value.as_object().ok_or_else(|| {
            Refusal::bad("invalidValue", format!("{} takes an object", found.name))
        })?;
        let mut parts = Map::new();
        for (name, value) in given {
            let path = format!("{}.{name}", found.name);
            let part = self
                .part(found, name)
                .ok_or_else(|| Refusal::bad("invalidValue", format!("unknown attribute {path}")))?;
            if part.read_only || value.is_null() {
                continue;
            }
            parts.insert(part.name.to_owned(), simple(part, &path, value)?);
        }
        Ok((!parts.is_empty()).then_some(parts.into()))
    }
}

/// A value of a type without parts.
pub(super) fn simple(attribute: &Attribute, path: &str, value: &Value) -> Result<Value, Refusal> {
    let (right, wanted) = match attribute.form {
        Form::Text => (value.is_string(), "text"),
        Form::Flag => (value.is_boolean(), "true or false"),
        Form::Complex(_) => (false, "an object"),
    };
    match right {
        true => Ok(value.clone()),
        false => Err(Refusal::bad(
            "invalidValue",
            format!("{path} takes {wanted}"),
        )),
    }
}

/// The members that a request names, in its order.
pub(super) fn members(value: &Value) -> Result<Vec<NamedMember>, Refusal> {
    let wrong = |detail: &str| Refusal::bad("invalidValue", detail);
    let given = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(given) => given,
        _ => return Err(wrong("members takes a list")),
    };
    given
        .iter()
        .map(|member| {
            let parts = member
                .as_object()
                .ok_or_else(|| wrong("a member is an object"))?;
            let unknown = parts
                .keys()
                .find(|it| !matches!(it.as_str(), "value" | "type" | "$ref" | "display"));
            if let Some(unknown) = unknown {
                return Err(wrong(&format!("unknown attribute members.{unknown}")));
            }
            // `$ref` is text where it is given: RFC 7643 section 2.3.7.
            let text = |name: &str| match parts.get(name) {
                None => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone())),
                Some(_) => Err(wrong(&format!("members.{name} takes text"))),
            };
            text("$ref")?;
            text("display")?;
            Ok(NamedMember {
                id: text("value")?.ok_or_else(|| wrong("a member has a value: its id"))?,
                kind: text("type")?,
            })
        })
        .collect()
}

fn insert(attributes: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        attributes.insert(name.to_owned(), value);
    }
}
