//! What one app supports: the `[profile]` table of `connector.toml`, checked and brought together with
//! the RFC's tables.
//!
//! Invariant: every path of a [`Profile`] names an attribute of its resource type, and what is
//! published under `/Schemas` is just what the profile lists. Absent: vendors' field names beyond the
//! one that is printed in the documentation.

use std::borrow::Cow;

use serde::Deserialize;

use super::core_schema::{self, ENTERPRISE_URN, USER_URN};
use super::grammar::parse_path;
use super::limits::ScimLimits;
use super::schema::{Attribute, AttributeType, Mutability, ResourceKind, ResourceType, Schema};
use super::syntax::Path;

/// The `[profile]` table of `connector.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSpec {
    /// The path by which an account is found again at the vendor, one of `user`.
    pub matching: String,
    /// The supported attributes of a User.
    pub user: Vec<PathSpec>,
}

/// One `[[profile.user]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSpec {
    /// A SCIM path: `name.givenName`, `emails[type eq "work"].value`, `urn:…:User:manager.value`.
    pub path: String,
    /// The type of an attribute that the RFC's schemas do not define. Default `string`.
    #[serde(default, rename = "type")]
    pub ty: Option<AttributeType>,
    /// Whether the app refuses a user without it. Default false.
    #[serde(default)]
    pub required: bool,
    /// What it becomes at the vendor, for the documentation.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Whether no public source proves this mapping. Default false.
    #[serde(default)]
    pub inferred: bool,
}

/// A supported path, checked.
#[derive(Clone, Debug)]
pub struct ProfilePath {
    /// The path as the manifest writes it: the name under which deltas report it.
    pub text: String,
    /// The path.
    pub path: Path,
    /// The type of the value at the path.
    pub ty: AttributeType,
    /// Whether the value at the path is a list.
    pub multi_valued: bool,
    /// Whether the app refuses a user without it.
    pub required: bool,
    /// What it becomes at the vendor, for the documentation.
    pub vendor: Option<String>,
    /// Whether no public source proves this mapping.
    pub inferred: bool,
}

/// What one app supports.
#[derive(Clone, Debug)]
pub struct Profile {
    user: ResourceType,
    user_paths: Vec<ProfilePath>,
    matching: usize,
    published: Vec<Schema>,
}

impl Profile {
    /// Checks a manifest's profile and builds the tables, once per connector.
    ///
    /// # Errors
    /// Every problem, each a sentence that names the path.
    pub fn build(spec: &ProfileSpec) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut user = ResourceType {
            kind: ResourceKind::User,
            schema: core_schema::user(),
            extensions: vec![core_schema::enterprise_user()],
            common: core_schema::common(),
            required: Vec::new(),
        };
        let mut user_paths: Vec<ProfilePath> = Vec::with_capacity(spec.user.len());
        for entry in &spec.user {
            if user_paths
                .iter()
                .any(|known| known.text.eq_ignore_ascii_case(&entry.path))
            {
                problems.push(format!("`{}` is listed twice.", entry.path));
                continue;
            }
            match check_path(&mut user, entry) {
                Ok(path) => user_paths.push(path),
                Err(problem) => problems.push(format!("`{}`: {problem}", entry.path)),
            }
        }
        if !user_paths
            .iter()
            .any(|known| known.text.eq_ignore_ascii_case("userName"))
        {
            problems.push("`userName` must be listed: SCIM requires it of every user.".to_owned());
        }
        let matching = user_paths
            .iter()
            .position(|known| known.text.eq_ignore_ascii_case(&spec.matching));
        match matching.map(|at| &user_paths[at]) {
            None => problems.push(format!(
                "`matching` names `{}`, which is not listed.",
                spec.matching
            )),
            Some(path) if path.multi_valued || path.ty != AttributeType::String => {
                problems.push(format!(
                    "`matching` names `{}`, which is not a single string.",
                    spec.matching
                ));
            }
            Some(_) => {}
        }
        let Some(matching) = matching.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        user.required = required_paths(&user.schema, &user_paths);
        let published = publish(&user, &user_paths);
        Ok(Self {
            user,
            user_paths,
            matching,
            published,
        })
    }

    /// The User resource type.
    #[must_use]
    pub fn user(&self) -> &ResourceType {
        &self.user
    }

    /// The supported paths, in the manifest's order.
    #[must_use]
    pub fn paths(&self, kind: ResourceKind) -> &[ProfilePath] {
        match kind {
            ResourceKind::User => &self.user_paths,
            ResourceKind::Group => &[],
        }
    }

    /// The path by which an account is found again at the vendor.
    #[must_use]
    pub fn matching(&self) -> &ProfilePath {
        &self.user_paths[self.matching]
    }

    /// The schemas as `/Schemas` shows them: the supported attributes, no others.
    #[must_use]
    pub fn published(&self) -> &[Schema] {
        &self.published
    }
}

/// What a user must have: what the core schema requires, then what the app requires.
fn required_paths(core: &Schema, paths: &[ProfilePath]) -> Vec<Path> {
    let always = core
        .attributes
        .iter()
        .filter(|attribute| attribute.required);
    let mut required: Vec<Path> = always
        .map(|attribute| Path {
            urn: None,
            name: Some(attribute.name.clone().into_owned()),
            filter: None,
            sub: None,
        })
        .collect();
    for path in paths.iter().filter(|path| path.required) {
        if !required.contains(&path.path) {
            required.push(path.path.clone());
        }
    }
    required
}

/// A sub-attribute that the RFC leaves to the service provider is the client's to write where the
/// app takes it: `manager.displayName` (RFC 7643 section 4.3) is KnowBe4's `managerName`.
fn open_sub_attribute(user: &mut ResourceType, path: &Path) {
    let resolved = user.resolve(path);
    let (Some(attribute), Some(sub)) = (resolved.attribute, resolved.sub) else {
        return;
    };
    let (attribute, sub) = (attribute.name.clone(), sub.name.clone());
    let schemas = std::iter::once(&mut user.schema).chain(&mut user.extensions);
    schemas
        .flat_map(|schema| &mut schema.attributes)
        .filter(|row| row.name == attribute && row.mutability == Mutability::ReadWrite)
        .flat_map(|row| &mut row.sub_attributes)
        .filter(|row| row.name == sub)
        .for_each(|row| row.mutability = Mutability::ReadWrite);
}

/// Checks one entry; an attribute of a vendor's extension joins the resource type.
fn check_path(user: &mut ResourceType, entry: &PathSpec) -> Result<ProfilePath, String> {
    let path = parse_path(&entry.path, &ScimLimits::default()).map_err(|error| error.detail)?;
    let Some(name) = path.name.clone() else {
        return Err("the path must name an attribute.".to_owned());
    };
    let declared = user.resolve(&path).attribute.is_some();
    match (&path.urn, declared) {
        (Some(urn), false)
            if ![USER_URN, ENTERPRISE_URN]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(urn)) =>
        {
            if path.sub.is_some()
                || path.filter.is_some()
                || entry.ty == Some(AttributeType::Complex)
            {
                return Err("attributes of a vendor's extension must be simple.".to_owned());
            }
            let ty = entry.ty.unwrap_or(AttributeType::String);
            let row = core_schema::attribute(name, ty, entry.vendor.clone().unwrap_or_default());
            vendor_schema(user, urn).attributes.push(row);
        }
        (_, false) => {
            return Err(
                "no schema defines it; an attribute of the vendor's own needs its extension's URN."
                    .to_owned(),
            );
        }
        (_, true) if entry.ty.is_some() => {
            return Err(
                "`type` is only for attributes that the RFC's schemas do not define.".to_owned(),
            );
        }
        (_, true) => {}
    }
    open_sub_attribute(user, &path);
    let resolved = user.resolve(&path);
    let Some(attribute) = resolved.attribute else {
        return Err("no schema defines it.".to_owned());
    };
    let leaf = match (&path.sub, resolved.sub) {
        (None, _) => attribute,
        (Some(_), Some(sub)) => sub,
        (Some(sub), None) => {
            return Err(format!(
                "`{}` has no sub-attribute `{sub}`.",
                attribute.name
            ));
        }
    };
    if attribute.mutability != Mutability::ReadWrite || leaf.mutability != Mutability::ReadWrite {
        return Err("it cannot be provisioned: the gateway sets it, or keeps none.".to_owned());
    }
    if let Some(filter) = &path.filter {
        if !attribute.multi_valued {
            return Err(format!(
                "`{}` has a single value, a filter cannot stand there.",
                attribute.name
            ));
        }
        if filter.equalities().is_none() {
            return Err("its filter must compare with `eq` only, joined by `and`.".to_owned());
        }
    }
    Ok(ProfilePath {
        text: entry.path.clone(),
        ty: leaf.ty,
        multi_valued: attribute.multi_valued && path.filter.is_none(),
        required: entry.required,
        vendor: entry.vendor.clone(),
        inferred: entry.inferred,
        path,
    })
}

/// The vendor's extension with this URN, made on first use.
fn vendor_schema<'t>(user: &'t mut ResourceType, urn: &str) -> &'t mut Schema {
    let at = user
        .extensions
        .iter()
        .position(|schema| schema.id.eq_ignore_ascii_case(urn))
        .unwrap_or_else(|| {
            let noise = ["urn", "ietf", "params", "scim", "schemas", "extension"];
            let words = urn
                .split(':')
                .filter(|word| !noise.contains(word) && !word.contains('.'));
            user.extensions.push(Schema {
                id: Cow::Owned(urn.to_owned()),
                name: Cow::Owned(words.collect::<Vec<_>>().join(" ")),
                description: Cow::Borrowed("Attributes of the app's own"),
                attributes: Vec::new(),
            });
            user.extensions.len() - 1
        });
    &mut user.extensions[at]
}

/// The tables cut down to what the paths name.
fn publish(user: &ResourceType, paths: &[ProfilePath]) -> Vec<Schema> {
    let cut = |schema: &Schema| {
        let attributes = schema
            .attributes
            .iter()
            .chain(&user.common)
            .filter_map(|attribute| {
                let named: Vec<&ProfilePath> = paths
                    .iter()
                    .filter(|path| {
                        let resolved = user.resolve(&path.path);
                        resolved.schema.is_some_and(|own| own.id == schema.id)
                            && resolved
                                .attribute
                                .is_some_and(|own| own.name == attribute.name)
                    })
                    .collect();
                (!named.is_empty()).then(|| publish_attribute(attribute, &named))
            });
        Schema {
            attributes: attributes.collect(),
            ..schema.clone()
        }
    };
    std::iter::once(&user.schema)
        .chain(&user.extensions)
        .map(cut)
        .filter(|schema| !schema.attributes.is_empty())
        .collect()
}

fn publish_attribute(attribute: &Attribute, named: &[&ProfilePath]) -> Attribute {
    let mut published = attribute.clone();
    if named.iter().any(|path| path.path.sub.is_none()) {
        published.required |= named
            .iter()
            .any(|path| path.path.filter.is_none() && path.required);
    } else {
        published.sub_attributes.retain(|sub| {
            named.iter().any(|path| {
                let by_filter = path
                    .path
                    .filter
                    .as_ref()
                    .and_then(|filter| filter.equalities())
                    .unwrap_or_default();
                path.path
                    .sub
                    .as_deref()
                    .is_some_and(|name| sub.name.eq_ignore_ascii_case(name))
                    || by_filter
                        .iter()
                        .any(|(name, _)| sub.name.eq_ignore_ascii_case(name))
            })
        });
    }
    for sub in &mut published.sub_attributes {
        let of = |path: &&&ProfilePath| {
            path.path
                .sub
                .as_deref()
                .is_some_and(|name| sub.name.eq_ignore_ascii_case(name))
        };
        sub.required |= named
            .iter()
            .filter(of)
            .any(|path| path.required && path.path.filter.is_none());
        // Entra's schema discovery makes `emails[type eq "…"].value` of each canonical value: those of
        // the profile count, also where they stand in no list of the RFC (Entra fact 2.12).
        let equalities = named
            .iter()
            .filter_map(|path| path.path.filter.as_ref()?.equalities())
            .flatten();
        let mut own: Vec<Cow<'static, str>> = Vec::new();
        for (name, value) in equalities {
            if sub.ty == AttributeType::String
                && sub.name.eq_ignore_ascii_case(name)
                && !own.iter().any(|known| known == value)
            {
                own.push(Cow::Owned(value.to_owned()));
            }
        }
        if !own.is_empty() {
            sub.canonical_values = own;
        }
    }
    published
}
