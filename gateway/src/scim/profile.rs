//! What one app supports: the `[profile]` table of `connector.toml`, checked and brought together with
//! the RFC's tables.
//!
//! Invariant: every path of a [`Profile`] names an attribute of its resource type, and what is
//! published under `/Schemas` is just what the profile lists. Absent: vendors' field names beyond the
//! one that is printed in the documentation.

use std::borrow::Cow;

use serde::Deserialize;

use super::core_schema::{self, ENTERPRISE_URN, GROUP_URN, USER_URN};
use super::dialect::{ENTRA, Reading};
use super::grammar::parse_path;
use super::limits::ScimLimits;
use super::members::MEMBERS;
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
    /// The supported attributes of a Group, `members` among them. None: the app has no groups.
    #[serde(default)]
    pub group: Vec<PathSpec>,
}

/// One `[[profile.user]]` or `[[profile.group]]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSpec {
    /// A SCIM path: `name.givenName`, `emails[type eq "work"].value`, `urn:…:User:manager.value`.
    pub path: String,
    /// The type of an attribute that the RFC's schemas do not define. Default `string`.
    #[serde(default, rename = "type")]
    pub ty: Option<AttributeType>,
    /// Whether the app refuses a resource without it. Default false.
    #[serde(default)]
    pub required: bool,
    /// The values that the app knows, published as `canonicalValues` (RFC 7643 section 7), for people
    /// and for clients that offer a choice. Never enforced: what else is sent is for the app to judge.
    #[serde(default)]
    pub canonical: Vec<String>,
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
    /// Whether the app refuses a resource without it.
    pub required: bool,
    /// The values that the app knows; none if it takes any.
    pub canonical: Vec<String>,
    /// What it becomes at the vendor, for the documentation.
    pub vendor: Option<String>,
    /// Whether no public source proves this mapping.
    pub inferred: bool,
}

/// What one app supports.
#[derive(Clone, Debug)]
pub struct Profile {
    user: Supported,
    group: Option<Supported>,
    has_members: bool,
    published: Vec<Schema>,
}

/// What it supports of one kind of resource.
#[derive(Clone, Debug)]
struct Supported {
    resource_type: ResourceType,
    paths: Vec<ProfilePath>,
    matching: usize,
}

impl Profile {
    /// Checks a manifest's profile and builds the tables, once per connector.
    ///
    /// # Errors
    /// Every problem, each a sentence that names the path.
    pub fn build(spec: &ProfileSpec) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut user = resource_type(ResourceKind::User);
        let user_paths = check_paths(&mut user, &spec.user, &mut problems);
        if find(&user_paths, "userName").is_none() {
            problems.push("`userName` must be listed: SCIM requires it of every user.".to_owned());
        }
        let matching = find(&user_paths, &spec.matching);
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

        let mut group = resource_type(ResourceKind::Group);
        let mut group_paths = check_paths(&mut group, &spec.group, &mut problems);
        let members = group_paths.iter().position(|path| is_members(&path.path));
        if let Some(members) = members {
            group_paths.remove(members);
        }
        // Entra finds groups by it, and its value is unique.
        let named = find(&group_paths, "displayName");
        if named.is_none() && !spec.group.is_empty() {
            problems
                .push("`displayName` must be listed: SCIM requires it of every group.".to_owned());
        }
        for schema in &group.extensions {
            if user.extension(&schema.id).is_some() {
                problems.push(format!(
                    "`{}` cannot extend both users and groups; use two URNs.",
                    schema.id
                ));
            }
        }

        let Some(matching) = matching.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let has_members = members.is_some();
        let user = Supported::new(user, user_paths, matching);
        let group = named.map(|named| Supported::new(group, group_paths, named));
        let published = std::iter::once(&user).chain(&group);
        Ok(Self {
            published: published.flat_map(|own| own.publish(has_members)).collect(),
            user,
            group,
            has_members,
        })
    }

    fn supported(&self, kind: ResourceKind) -> Option<&Supported> {
        match kind {
            ResourceKind::User => Some(&self.user),
            ResourceKind::Group => self.group.as_ref(),
        }
    }

    /// The User resource type.
    #[must_use]
    pub fn user(&self) -> &ResourceType {
        &self.user.resource_type
    }

    /// The Group resource type; `None` if the app has no groups.
    #[must_use]
    pub fn group(&self) -> Option<&ResourceType> {
        self.resource_type(ResourceKind::Group)
    }

    /// The resource type of this kind; `None` if the app has none such.
    #[must_use]
    pub fn resource_type(&self, kind: ResourceKind) -> Option<&ResourceType> {
        self.supported(kind).map(|own| &own.resource_type)
    }

    /// The supported paths, in the manifest's order; those of groups without `members`.
    #[must_use]
    pub fn paths(&self, kind: ResourceKind) -> &[ProfilePath] {
        self.supported(kind).map_or(&[], |own| &own.paths)
    }

    /// Whether the app's groups have members.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.has_members
    }

    /// The path by which an account, or a group by its `displayName`, is found again at the vendor;
    /// `None` if the app has none such.
    #[must_use]
    pub fn matching(&self, kind: ResourceKind) -> Option<&ProfilePath> {
        self.supported(kind)
            .and_then(|own| own.paths.get(own.matching))
    }

    /// The schemas as `/Schemas` shows them: the supported attributes, no others.
    #[must_use]
    pub fn published(&self) -> &[Schema] {
        &self.published
    }
}

impl Supported {
    fn new(mut resource_type: ResourceType, paths: Vec<ProfilePath>, matching: usize) -> Self {
        resource_type.required = required_paths(&resource_type.schema, &paths);
        Self {
            resource_type,
            paths,
            matching,
        }
    }

    fn publish(&self, has_members: bool) -> Vec<Schema> {
        let mut published = publish(&self.resource_type, &self.paths);
        // The memberships, seen from either side, are in no path.
        let relation = self.resource_type.kind.relation();
        if let (true, Some(relation), Some(core)) = (
            has_members,
            self.resource_type.schema.attribute(relation),
            published.first_mut(),
        ) {
            core.attributes.push(relation.clone());
        }
        published
    }
}

/// The tables of the RFC for a kind of resource.
fn resource_type(kind: ResourceKind) -> ResourceType {
    let (schema, extensions) = match kind {
        ResourceKind::User => (core_schema::user(), vec![core_schema::enterprise_user()]),
        ResourceKind::Group => (core_schema::group(), Vec::new()),
    };
    ResourceType {
        kind,
        schema,
        extensions,
        common: core_schema::common(),
        required: Vec::new(),
    }
}

/// Checks the entries of one kind; what is wrong is added to the problems.
fn check_paths(
    resource_type: &mut ResourceType,
    entries: &[PathSpec],
    problems: &mut Vec<String>,
) -> Vec<ProfilePath> {
    let mut paths: Vec<ProfilePath> = Vec::with_capacity(entries.len());
    for entry in entries {
        if find(&paths, &entry.path).is_some() {
            problems.push(format!("`{}` is listed twice.", entry.path));
            continue;
        }
        match check_path(resource_type, entry) {
            Ok(path) => paths.push(path),
            Err(problem) => problems.push(format!("`{}`: {problem}", entry.path)),
        }
    }
    paths
}

/// The place of the path that the manifest writes so.
fn find(paths: &[ProfilePath], text: &str) -> Option<usize> {
    paths
        .iter()
        .position(|known| known.text.eq_ignore_ascii_case(text))
}

fn is_members(path: &Path) -> bool {
    let core = path
        .urn
        .as_deref()
        .is_none_or(|urn| urn.eq_ignore_ascii_case(GROUP_URN));
    let name = path.name.as_deref();
    core && path.filter.is_none()
        && path.sub.is_none()
        && name.is_some_and(|name| name.eq_ignore_ascii_case(MEMBERS))
}

/// What a resource must have: what the core schema requires, then what the app requires.
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
fn open_sub_attribute(resource_type: &mut ResourceType, path: &Path) {
    let resolved = resource_type.resolve(path);
    let (Some(attribute), Some(sub)) = (resolved.attribute, resolved.sub) else {
        return;
    };
    let (attribute, sub) = (attribute.name.clone(), sub.name.clone());
    let schemas = std::iter::once(&mut resource_type.schema).chain(&mut resource_type.extensions);
    schemas
        .flat_map(|schema| &mut schema.attributes)
        .filter(|row| row.name == attribute && row.mutability == Mutability::ReadWrite)
        .flat_map(|row| &mut row.sub_attributes)
        .filter(|row| row.name == sub && row.mutability == Mutability::ReadOnly)
        .for_each(|row| row.mutability = Mutability::ReadWrite);
}

/// Checks one entry; an attribute of a vendor's extension joins the resource type.
fn check_path(resource_type: &mut ResourceType, entry: &PathSpec) -> Result<ProfilePath, String> {
    let limits = ScimLimits::default();
    let path =
        parse_path(&entry.path, &Reading::new(&ENTRA, &limits)).map_err(|error| error.detail)?;
    let Some(name) = path.name.clone() else {
        return Err("the path must name an attribute.".to_owned());
    };
    let declared = resource_type.resolve(&path).attribute.is_some();
    match (&path.urn, declared) {
        (Some(urn), false)
            if ![USER_URN, GROUP_URN, ENTERPRISE_URN]
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
            vendor_schema(resource_type, urn).attributes.push(row);
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
    let resolved = resource_type.resolve(&path);
    let apart = resolved
        .attribute
        .is_some_and(|own| resource_type.keeps_apart(resolved.container, own));
    if apart && !is_members(&path) {
        return Err("`members` can only be listed as a whole.".to_owned());
    }
    open_sub_attribute(resource_type, &path);
    let resolved = resource_type.resolve(&path);
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
    if !entry.canonical.is_empty() && leaf.ty != AttributeType::String {
        return Err("`canonical` is only for attributes of type string.".to_owned());
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
        canonical: entry.canonical.clone(),
        vendor: entry.vendor.clone(),
        inferred: entry.inferred,
        path,
    })
}

/// The vendor's extension with this URN, made on first use.
fn vendor_schema<'t>(resource_type: &'t mut ResourceType, urn: &str) -> &'t mut Schema {
    let at = resource_type
        .extensions
        .iter()
        .position(|schema| schema.id.eq_ignore_ascii_case(urn))
        .unwrap_or_else(|| {
            resource_type.extensions.push(Schema {
                id: Cow::Owned(urn.to_owned()),
                name: Cow::Owned(name_of(urn)),
                description: Cow::Borrowed("Attributes of the app's own"),
                attributes: Vec::new(),
            });
            resource_type.extensions.len() - 1
        });
    &mut resource_type.extensions[at]
}

/// One word for people and for command line clients, which make options of it:
/// `urn:ietf:params:scim:schemas:extension:knowbe4:kmsat:2.0:User` is `Knowbe4KmsatUser`.
fn name_of(urn: &str) -> String {
    let noise = ["urn", "ietf", "params", "scim", "schemas", "extension"];
    urn.split(':')
        .filter(|word| !noise.contains(word) && !word.contains('.'))
        .flat_map(|segment| segment.split(|c: char| !c.is_ascii_alphanumeric()))
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// The tables cut down to what the paths name.
fn publish(resource_type: &ResourceType, paths: &[ProfilePath]) -> Vec<Schema> {
    let cut = |schema: &Schema| {
        let attributes = schema
            .attributes
            .iter()
            .chain(&resource_type.common)
            .filter_map(|attribute| {
                let named: Vec<&ProfilePath> = paths
                    .iter()
                    .filter(|path| {
                        let resolved = resource_type.resolve(&path.path);
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
    std::iter::once(&resource_type.schema)
        .chain(&resource_type.extensions)
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
        let equal = equalities
            .filter(|(name, _)| {
                sub.ty == AttributeType::String && sub.name.eq_ignore_ascii_case(name)
            })
            .map(|(_, value)| value.text());
        let listed = named.iter().filter(of).flat_map(canonical);
        own_canonical(&mut sub.canonical_values, equal.chain(listed));
    }
    let whole = named.iter().filter(|path| path.path.sub.is_none());
    own_canonical(&mut published.canonical_values, whole.flat_map(canonical));
    published
}

fn canonical<'p>(path: &&'p ProfilePath) -> impl Iterator<Item = &'p str> {
    path.canonical.iter().map(String::as_str)
}

/// Puts the profile's values, each once, in the place of the RFC's, if there are any.
fn own_canonical<'v>(values: &mut Vec<Cow<'static, str>>, listed: impl Iterator<Item = &'v str>) {
    let mut own: Vec<Cow<'static, str>> = Vec::new();
    for value in listed {
        if !own.iter().any(|known| known == value) {
            own.push(Cow::Owned(value.to_owned()));
        }
    }
    if !own.is_empty() {
        *values = own;
    }
}
