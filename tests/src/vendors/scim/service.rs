//! What the simulated SCIM service holds: users, groups, and who is a member of what.
//!
//! Invariant: each membership stands in both indexes, and only while both its ends exist; a refused
//! change has left nothing.
//! Absent: HTTP, projections, the clock (times are arguments).

mod search;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::grammar::Filter;
use super::patch::{self, MemberChange};
use super::schema::{Document, Kind, NamedMember, Refusal, Schema};

/// A group with the ids of its members.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldGroup {
    /// The vendor's id.
    pub id: String,
    /// `displayName`.
    pub display_name: String,
    /// All other attributes, `members` and `meta` aside.
    pub attributes: Map<String, Value>,
    /// The ids of the users and groups in it.
    pub members: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) attributes: Map<String, Value>,
    pub(super) version: u64,
    created: String,
    modified: String,
}

#[derive(Debug, Default)]
struct Shelf {
    resources: BTreeMap<String, Resource>,
    /// By folded `userName` or `displayName`; one id each where names are unique.
    names: HashMap<String, BTreeSet<String>>,
    external_ids: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug, Default)]
pub(super) struct Service {
    users: Shelf,
    groups: Shelf,
    members: HashMap<String, BTreeSet<String>>,
    memberships: HashMap<String, BTreeSet<String>>,
    made: u64,
}

/// The rules that can be switched, and the time.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) schema: Schema<'a>,
    pub(super) unique_names: bool,
    pub(super) removal_needs_target: bool,
    /// RFC 3339.
    pub(super) now: &'a str,
}

impl Service {
    pub(super) fn get(&self, kind: Kind, id: &str) -> Option<&Resource> {
        self.shelf(kind).resources.get(id)
    }

    /// The ids under a name, whatever its case.
    pub(super) fn ids_named(&self, kind: Kind, name: &str) -> Vec<String> {
        let ids = self.shelf(kind).names.get(&name.to_lowercase());
        ids.into_iter().flatten().cloned().collect()
    }

    pub(super) fn all(&self, kind: Kind, base_url: &str) -> Vec<Value> {
        let ids = self.shelf(kind).resources.keys();
        ids.filter_map(|id| self.shown(kind, id, base_url))
            .collect()
    }

    pub(super) fn held_groups(&self) -> Vec<HeldGroup> {
        let ids = self.groups.resources.keys();
        ids.filter_map(|id| self.held_group(id)).collect()
    }

    pub(super) fn held_group(&self, id: &str) -> Option<HeldGroup> {
        let mut attributes = self.get(Kind::Group, id)?.attributes.clone();
        let display_name = attributes.shift_remove("displayName");
        Some(HeldGroup {
            id: id.to_owned(),
            display_name: text(display_name.as_ref()).to_owned(),
            attributes,
            members: self.members.get(id).cloned().unwrap_or_default(),
        })
    }

    /// The resource as the API shows it, whole.
    pub(super) fn shown(&self, kind: Kind, id: &str, base_url: &str) -> Option<Value> {
        self.render(kind, id, base_url, true)
    }

    /// The resource with or without `members` or `groups`, which can be many.
    pub(super) fn render(
        &self,
        kind: Kind,
        id: &str,
        base_url: &str,
        relations: bool,
    ) -> Option<Value> {
        let resource = self.get(kind, id)?;
        let mut schemas = vec![Value::from(kind.core())];
        let extensions = resource.attributes.keys().filter(|it| it.contains(':'));
        schemas.extend(extensions.cloned().map(Value::from));
        let mut shown = Map::new();
        shown.insert("schemas".to_owned(), schemas.into());
        shown.insert("id".to_owned(), id.into());
        shown.extend(resource.attributes.clone());
        if relations {
            let (name, ids) = match kind {
                Kind::User => ("groups", self.memberships.get(id)),
                Kind::Group => ("members", self.members.get(id)),
            };
            let elements: Vec<Value> = ids
                .into_iter()
                .flatten()
                .map(|other| self.relation(kind, other, base_url))
                .collect();
            if !elements.is_empty() {
                shown.insert(name.to_owned(), elements.into());
            }
        }
        let endpoint = kind.endpoint();
        let meta = json!({
            "resourceType": kind.name(),
            "created": resource.created,
            "lastModified": resource.modified,
            "location": format!("{base_url}/{endpoint}/{id}"),
            "version": etag(resource.version),
        });
        shown.insert("meta".to_owned(), meta);
        Some(shown.into())
    }

    /// An element of `groups` of a user or of `members` of a group.
    fn relation(&self, of: Kind, id: &str, base_url: &str) -> Value {
        let (other, name) = match (of, self.users.resources.get(id)) {
            (Kind::Group, Some(user)) => (Kind::User, user.attributes.get("displayName")),
            _ => {
                let group = self.groups.resources.get(id);
                let name = group.and_then(|it| it.attributes.get("displayName"));
                (Kind::Group, name)
            }
        };
        let mut element = json!({
            "value": id,
            "$ref": format!("{base_url}/{}/{id}", other.endpoint()),
            // The type of a user's group is how it is a member, not what the group is.
            "type": if of == Kind::User { "direct" } else { other.name() },
        });
        if let Some(name) = name {
            element["display"] = name.clone();
        }
        element
    }

    pub(super) fn create(
        &mut self,
        document: Document,
        rules: Rules<'_>,
    ) -> Result<String, Refusal> {
        let kind = rules.schema.kind;
        let mut attributes = document.attributes;
        finish(kind, &mut attributes)?;
        self.check_name(kind, None, &attributes, rules)?;
        let id = self.next_id(kind);
        let members = self.existing(&id, &document.members)?;
        self.put(kind, &id, attributes, rules.now);
        for member in members {
            self.join(&id, &member);
        }
        Ok(id)
    }

    pub(super) fn replace(
        &mut self,
        id: &str,
        document: Document,
        rules: Rules<'_>,
    ) -> Result<(), Refusal> {
        let kind = rules.schema.kind;
        let mut attributes = document.attributes;
        finish(kind, &mut attributes)?;
        self.check_name(kind, Some(id), &attributes, rules)?;
        if kind == Kind::Group {
            let wanted = self.existing(id, &document.members)?;
            self.replace_members(id, &wanted, &mut Vec::new());
        }
        self.put(kind, id, attributes, rules.now);
        Ok(())
    }

    pub(super) fn patch(
        &mut self,
        id: &str,
        body: &Value,
        rules: Rules<'_>,
    ) -> Result<(), Refusal> {
        let kind = rules.schema.kind;
        let before = self.get(kind, id).ok_or_else(|| gone(kind, id))?;
        let mut patched = patch::apply(&rules.schema, &before.attributes, body)?;
        finish(kind, &mut patched.attributes)?;
        self.check_name(kind, Some(id), &patched.attributes, rules)?;
        // Members change in place: a group may have many. What was done is taken back on a refusal.
        let mut done = Vec::new();
        for change in &patched.members {
            if let Err(refusal) = self.change_members(id, change, rules, &mut done) {
                for (member, joined) in done.into_iter().rev() {
                    match joined {
                        true => self.part(id, &member),
                        false => self.join(id, &member),
                    };
                }
                return Err(refusal);
            }
        }
        self.put(kind, id, patched.attributes, rules.now);
        Ok(())
    }

    /// Deletes a resource with its memberships; false if there is none.
    pub(super) fn delete(&mut self, kind: Kind, id: &str) -> bool {
        let shelf = self.shelf_mut(kind);
        let Some(resource) = shelf.resources.remove(id) else {
            return false;
        };
        shelf.forget(kind, id, &resource.attributes);
        for group in self.memberships.remove(id).unwrap_or_default() {
            if let Some(members) = self.members.get_mut(&group) {
                members.remove(id);
            }
        }
        for member in self.members.remove(id).unwrap_or_default() {
            if let Some(groups) = self.memberships.get_mut(&member) {
                groups.remove(id);
            }
        }
        true
    }

    /// Adds a resource past all rules but that it is stored.
    pub(super) fn plant(&mut self, kind: Kind, attributes: Map<String, Value>) -> String {
        let id = self.next_id(kind);
        self.put(kind, &id, attributes, "2026-01-01T00:00:00Z");
        id
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        match kind {
            Kind::User => &self.users,
            Kind::Group => &self.groups,
        }
    }

    fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    /// Ids look like nobody else's, so that a client that confuses its own with ours fails.
    fn next_id(&mut self, kind: Kind) -> String {
        self.made += 1;
        let letter = if kind == Kind::User { 'u' } else { 'g' };
        format!("{letter}-{:08}", self.made)
    }

    fn put(&mut self, kind: Kind, id: &str, attributes: Map<String, Value>, now: &str) {
        let shelf = self.shelf_mut(kind);
        let before = shelf.resources.remove(id);
        if let Some(before) = &before {
            shelf.forget(kind, id, &before.attributes);
        }
        shelf.remember(kind, id, &attributes);
        let resource = Resource {
            attributes,
            version: before.as_ref().map_or(1, |it| it.version + 1),
            created: before.map_or_else(|| now.to_owned(), |it| it.created),
            modified: now.to_owned(),
        };
        shelf.resources.insert(id.to_owned(), resource);
    }

    fn check_name(
        &self,
        kind: Kind,
        own: Option<&str>,
        attributes: &Map<String, Value>,
        rules: Rules<'_>,
    ) -> Result<(), Refusal> {
        let name = text(attributes.get(kind.naming()));
        let ids = self.ids_named(kind, name);
        if rules.unique_names && ids.iter().any(|id| Some(id.as_str()) != own) {
            return Err(Refusal {
                status: 409,
                scim_type: Some("uniqueness"),
                detail: format!("{} {name:?} is taken", kind.naming()),
            });
        }
        Ok(())
    }

    /// The ids of members that can be in this group, each once.
    fn existing(&self, group: &str, named: &[NamedMember]) -> Result<BTreeSet<String>, Refusal> {
        let wrong = |detail: String| Refusal::bad("invalidValue", detail);
        let mut ids = BTreeSet::new();
        for member in named {
            let id = &member.id;
            let kind = match id {
                id if self.users.resources.contains_key(id) => Kind::User,
                id if self.groups.resources.contains_key(id) => Kind::Group,
                _ => return Err(wrong(format!("there is no member {id}"))),
            };
            if id == group {
                return Err(wrong("a group is not its own member".to_owned()));
            }
            if member.kind.as_deref().is_some_and(|it| it != kind.name()) {
                return Err(wrong(format!("{id} is a {}", kind.name())));
            }
            ids.insert(id.clone());
        }
        Ok(ids)
    }

    fn change_members(
        &mut self,
        group: &str,
        change: &MemberChange,
        rules: Rules<'_>,
        done: &mut Vec<(String, bool)>,
    ) -> Result<(), Refusal> {
        match change {
            MemberChange::Add(named) => {
                for member in self.existing(group, named)? {
                    if self.join(group, &member) {
                        done.push((member, true));
                    }
                }
            }
            MemberChange::Replace(named) => {
                let wanted = self.existing(group, named)?;
                self.replace_members(group, &wanted, done);
            }
            MemberChange::Remove(filter) => {
                let selected = self.selected(group, filter);
                if selected.is_empty() && rules.removal_needs_target {
                    let detail = "no member is selected by the filter";
                    return Err(Refusal::bad("noTarget", detail));
                }
                for member in selected {
                    self.part(group, &member);
                    done.push((member, false));
                }
            }
        }
        Ok(())
    }

    fn replace_members(
        &mut self,
        group: &str,
        wanted: &BTreeSet<String>,
        done: &mut Vec<(String, bool)>,
    ) {
        let held = self.members.get(group).cloned().unwrap_or_default();
        for member in held.difference(wanted) {
            self.part(group, member);
            done.push((member.clone(), false));
        }
        for member in wanted.difference(&held) {
            self.join(group, member);
            done.push((member.clone(), true));
        }
    }

    /// The members that a value filter selects: by their ids where it names them.
    fn selected(&self, group: &str, filter: &Filter) -> Vec<String> {
        let Some(held) = self.members.get(group) else {
            return Vec::new();
        };
        match named_ids(filter) {
            Some(ids) => ids.into_iter().filter(|id| held.contains(id)).collect(),
            None => held
                .iter()
                .filter(|id| match self.relation(Kind::Group, id, "") {
                    Value::Object(element) => filter.selects(&element),
                    _ => false,
                })
                .cloned()
                .collect(),
        }
    }

    /// True if it was no member before.
    fn join(&mut self, group: &str, member: &str) -> bool {
        let groups = self.memberships.entry(member.to_owned()).or_default();
        groups.insert(group.to_owned());
        let members = self.members.entry(group.to_owned()).or_default();
        members.insert(member.to_owned())
    }

    /// True if it was a member before.
    fn part(&mut self, group: &str, member: &str) -> bool {
        if let Some(groups) = self.memberships.get_mut(member) {
            groups.remove(group);
        }
        let members = self.members.get_mut(group);
        members.is_some_and(|members| members.remove(member))
    }
}

impl Shelf {
    fn remember(&mut self, kind: Kind, id: &str, attributes: &Map<String, Value>) {
        let name = text(attributes.get(kind.naming())).to_lowercase();
        self.names.entry(name).or_default().insert(id.to_owned());
        if let Some(Value::String(external)) = attributes.get("externalId") {
            let ids = self.external_ids.entry(external.clone()).or_default();
            ids.insert(id.to_owned());
        }
    }

    fn forget(&mut self, kind: Kind, id: &str, attributes: &Map<String, Value>) {
        let name = text(attributes.get(kind.naming())).to_lowercase();
        take_from(&mut self.names, &name, id);
        if let Some(Value::String(external)) = attributes.get("externalId") {
            take_from(&mut self.external_ids, external, id);
        }
    }
}

fn take_from(index: &mut HashMap<String, BTreeSet<String>>, key: &str, id: &str) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

/// The ids in `value eq "a" or value eq "b"`; none for any other filter.
fn named_ids(filter: &Filter) -> Option<Vec<String>> {
    match filter {
        Filter::Equal(name, Value::String(id)) if name.eq_ignore_ascii_case("value") => {
            Some(vec![id.clone()])
        }
        Filter::Any(parts) => {
            let ids = parts.iter().map(named_ids).collect::<Option<Vec<_>>>()?;
            Some(ids.concat())
        }
        _ => None,
    }
}

/// What is required is there, and what is never kept is gone.
fn finish(kind: Kind, attributes: &mut Map<String, Value>) -> Result<(), Refusal> {
    attributes.shift_remove("password");
    match text(attributes.get(kind.naming())).trim() {
        "" => {
            let detail = format!("{} is required", kind.naming());
            Err(Refusal::bad("invalidValue", detail))
        }
        _ => Ok(()),
    }
}

pub(super) fn gone(kind: Kind, id: &str) -> Refusal {
    Refusal::status(404, format!("there is no {} {id}", kind.name()))
}

pub(super) fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}
