//! What an attribute is, and how a path finds one (RFC 7643 sections 2 and 7).
//!
//! Invariant: every question "may this value stand here, how does it compare, who may see it" is
//! answered from an [`Attribute`], never from a name in code. Names are compared without regard to
//! ASCII case (RFC 7643 section 2.1). Absent: the tables themselves (`core_schema`) and any JSON value.

use std::borrow::Cow;

use super::syntax::Path;

/// RFC 7643 section 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttributeType {
    /// Unicode text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Decimal,
    /// A whole number.
    Integer,
    /// An instant or a date as text. The form is not checked: values go back as they came.
    DateTime,
    /// Base64 text.
    Binary,
    /// A URI or an id as text. The form is not checked: Entra's validator sends random words.
    Reference,
    /// An object of sub-attributes.
    Complex,
}

impl AttributeType {
    /// The name on the wire, for example `dateTime`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Decimal => "decimal",
            Self::Integer => "integer",
            Self::DateTime => "dateTime",
            Self::Binary => "binary",
            Self::Reference => "reference",
            Self::Complex => "complex",
        }
    }
}

/// Who may change a value (RFC 7643 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Only the gateway.
    ReadOnly,
    /// Anybody, at any time.
    ReadWrite,
    /// Anybody, once.
    Immutable,
    /// Anybody, but nobody reads it.
    WriteOnly,
}

impl Mutability {
    /// The name on the wire, for example `readWrite`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "readOnly",
            Self::ReadWrite => "readWrite",
            Self::Immutable => "immutable",
            Self::WriteOnly => "writeOnly",
        }
    }
}

/// When a value is part of an answer (RFC 7643 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Always, whatever `attributes` and `excludedAttributes` say.
    Always,
    /// Never.
    Never,
    /// Unless the client chooses otherwise.
    Default,
    /// Only when the client names it.
    Request,
}

impl Returned {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Default => "default",
            Self::Request => "request",
        }
    }
}

/// Within which bounds a value is unique (RFC 7643 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniqueness {
    /// Not unique.
    None,
    /// Unique within the tenant.
    Server,
    /// Unique in the world.
    Global,
}

impl Uniqueness {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Server => "server",
            Self::Global => "global",
        }
    }
}

/// One row of the attribute table: a name and all its characteristics (RFC 7643 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The name in its canonical spelling.
    pub name: Cow<'static, str>,
    /// The type of the value, or of each value.
    pub ty: AttributeType,
    /// Whether the value is a list.
    pub multi_valued: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether letter case counts when values are compared.
    pub case_exact: bool,
    /// Who may change it.
    pub mutability: Mutability,
    /// When it is part of an answer.
    pub returned: Returned,
    /// Within which bounds it is unique.
    pub uniqueness: Uniqueness,
    /// Suggested values: published, never enforced (apps map types that stand in no list, such as
    /// `emails[type eq "alternate"]`).
    pub canonical_values: Vec<Cow<'static, str>>,
    /// What a reference points to.
    pub reference_types: Vec<Cow<'static, str>>,
    /// The parts of a complex attribute.
    pub sub_attributes: Vec<Attribute>,
    /// A sentence for people.
    pub description: Cow<'static, str>,
}

impl Attribute {
    /// The sub-attribute of this name, in any letter case.
    #[must_use]
    pub fn sub(&self, name: &str) -> Option<&Attribute> {
        lookup(&self.sub_attributes, name)
    }

    /// Whether the value is an object.
    #[must_use]
    pub fn is_complex(&self) -> bool {
        self.ty == AttributeType::Complex
    }

    /// Whether the attribute stands for its `value` sub-attribute, as `emails` and `manager` do and
    /// `name` does not: then a bare value may take the object's place.
    #[must_use]
    pub fn has_value_sub(&self) -> bool {
        self.sub("value").is_some()
    }
}

/// A schema: a URN and its attributes (RFC 7643 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The URN.
    pub id: Cow<'static, str>,
    /// The name for people, for example `User`.
    pub name: Cow<'static, str>,
    /// A sentence for people.
    pub description: Cow<'static, str>,
    /// The attributes, in the order in which they are published.
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// The attribute of this name, in any letter case.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        lookup(&self.attributes, name)
    }
}

/// A scan compares lengths before letters; for tables of twenty rows that beats hashing a folded copy.
fn lookup<'t>(attributes: &'t [Attribute], name: &str) -> Option<&'t Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The kinds of resource that the gateway knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// RFC 7643 section 4.1.
    User,
    /// RFC 7643 section 4.2.
    Group,
}

impl ResourceKind {
    /// The resource type's name: `User` or `Group`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// The attribute that shows the memberships: of a group, or of a user in groups.
    #[must_use]
    pub const fn relation(self) -> &'static str {
        match self {
            Self::User => "groups",
            Self::Group => "members",
        }
    }

    /// The path below the SCIM base URL, with its slash.
    #[must_use]
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "/Users",
            Self::Group => "/Groups",
        }
    }
}

/// A resource type (RFC 7643 section 6): a core schema, its extensions and what must be present.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Which kind.
    pub kind: ResourceKind,
    /// The core schema.
    pub schema: Schema,
    /// The extensions that are known; others are kept and echoed.
    pub extensions: Vec<Schema>,
    /// The attributes that every resource has (RFC 7643 section 3.1): schemas, id, externalId, meta.
    pub common: Vec<Attribute>,
    /// What a resource must have: the core schema's required attributes and the profile's.
    pub required: Vec<Path>,
}

/// In which object of a resource an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container<'p> {
    /// At the top.
    Core,
    /// In the object under this URN, which is the canonical spelling if the extension is known.
    Extension(&'p str),
}

/// What a key that is a URN stands for, in the body of a POST as in a PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UrnKey<'t, 'k> {
    /// A whole schema.
    Whole(&'t Schema),
    /// Something within a schema: `urn:…:User:department`.
    Within {
        /// The schema.
        schema: &'t Schema,
        /// What follows its URN, which may be anything.
        rest: &'k str,
        /// Whether a dot stands between them, in place of a colon.
        dotted: bool,
    },
    /// Something of which no schema knows.
    Foreign,
}

/// What a path means for a resource type. An attribute that no schema knows is not an error: the
/// gateway keeps and echoes it.
#[derive(Clone, Copy, Debug)]
pub struct Resolved<'p> {
    /// Where to look.
    pub container: Container<'p>,
    /// The schema of the container, if it is known.
    pub schema: Option<&'p Schema>,
    /// The attribute's row; `None` if it is unknown or if the path names a whole schema.
    pub attribute: Option<&'p Attribute>,
    /// The sub-attribute's row, if the path names one and it is known.
    pub sub: Option<&'p Attribute>,
}

impl ResourceType {
    /// The known extension with this URN, in any letter case.
    #[must_use]
    pub fn extension(&self, urn: &str) -> Option<&Schema> {
        self.extensions
            .iter()
            .find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// A core or common attribute by its name, in any letter case.
    #[must_use]
    pub fn core_attribute(&self, name: &str) -> Option<&Attribute> {
        self.schema
            .attribute(name)
            .or_else(|| lookup(&self.common, name))
    }

    /// Where an unprefixed name stands: in the core schema, else in the first extension that declares
    /// it (Entra writes and asks for `manager` without its URN), else nowhere.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(Container<'_>, &Schema, &Attribute)> {
        if let Some(attribute) = self.core_attribute(name) {
            return Some((Container::Core, &self.schema, attribute));
        }
        self.extensions.iter().find_map(|schema| {
            let attribute = schema.attribute(name)?;
            Some((Container::Extension(&schema.id), schema, attribute))
        })
    }

    /// Takes a key that is a URN apart, at the longest URN of a known schema.
    pub(super) fn urn_key<'k>(&self, key: &'k str) -> UrnKey<'_, 'k> {
        let mut found = UrnKey::Foreign;
        let mut longest = 0;
        for schema in std::iter::once(&self.schema).chain(&self.extensions) {
            let own = schema.id.len();
            let begins = key
                .get(..own)
                .is_some_and(|start| start.eq_ignore_ascii_case(&schema.id));
            match key.get(own..) {
                Some("") if begins => return UrnKey::Whole(schema),
                Some(rest) if begins && own > longest && rest.starts_with([':', '.']) => {
                    longest = own;
                    found = UrnKey::Within {
                        schema,
                        rest: &rest[1..],
                        dotted: rest.starts_with('.'),
                    };
                }
                _ => {}
            }
        }
        found
    }

    /// Whether this is the core schema.
    pub(super) fn is_core(&self, schema: &Schema) -> bool {
        self.schema.id == schema.id
    }

    /// What `path` means here. The core schema's URN in front of a name says no more than none.
    #[must_use]
    pub fn resolve<'p>(&'p self, path: &'p Path) -> Resolved<'p> {
        let name = path.name.as_deref();
        let core = path
            .urn
            .as_deref()
            .is_none_or(|urn| self.schema.id.eq_ignore_ascii_case(urn));
        let (container, schema, attribute) = match path.urn.as_deref() {
            Some(urn) if !core => match self.extension(urn) {
                Some(schema) => {
                    let attribute = name.and_then(|name| schema.attribute(name));
                    (Container::Extension(&schema.id), Some(schema), attribute)
                }
                None => (Container::Extension(urn), None, None),
            },
            _ => match name.and_then(|name| self.find(name)) {
                Some((container, schema, attribute)) => (container, Some(schema), Some(attribute)),
                None => (Container::Core, Some(&self.schema), None),
            },
        };
        Resolved {
            container,
            schema,
            attribute,
            sub: attribute
                .zip(path.sub.as_deref())
                .and_then(|(attribute, sub)| attribute.sub(sub)),
        }
    }
}
