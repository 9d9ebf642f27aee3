//! Which resources a list's filter finds: `eq` on the attributes that can be searched for, and `and`.
//!
//! Invariant: an index narrows what is looked at, and each comparison is made on what is held.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Service, text};
use crate::vendors::scim::grammar::Filter;
use crate::vendors::scim::schema::{Kind, Refusal};

impl Service {
    /// The ids of the resources for which all comparisons hold, in the order of their making.
    pub(in crate::vendors::scim) fn find(
        &self,
        kind: Kind,
        filter: Option<&Filter>,
    ) -> Result<Vec<String>, Refusal> {
        let shelf = self.shelf(kind);
        let Some(filter) = filter else {
            return Ok(shelf.resources.keys().cloned().collect());
        };
        let comparisons = match filter {
            Filter::All(parts) => parts.iter().collect(),
            other => vec![other],
        };
        let comparisons = comparisons
            .into_iter()
            .map(|it| Comparison::of(kind, it))
            .collect::<Result<Vec<_>, _>>()?;
        let candidates = comparisons.iter().find_map(|it| it.candidates(self, kind));
        let candidates: Box<dyn Iterator<Item = &String>> = match &candidates {
            Some(ids) => Box::new(ids.iter()),
            None => Box::new(shelf.resources.keys()),
        };
        let matches = |id: &&String| comparisons.iter().all(|it| it.holds(self, kind, id));
        Ok(candidates.filter(matches).cloned().collect())
    }
}

/// `attribute eq "text"` on one of the attributes that can be searched for.
struct Comparison<'a> {
    attribute: Searchable,
    text: &'a str,
}

#[derive(Clone, Copy)]
enum Searchable {
    Id,
    UserName,
    ExternalId,
    DisplayName,
    EmailValue,
    MemberValue,
}

impl<'a> Comparison<'a> {
    fn of(kind: Kind, filter: &'a Filter) -> Result<Comparison<'a>, Refusal> {
        let unsupported = |detail: &str| Refusal::bad("invalidFilter", detail);
        let Filter::Equal(path, Value::String(text)) = filter else {
            return Err(unsupported(
                "a list is filtered by `eq` on texts and by `and`",
            ));
        };
        let urn = format!("{}:", kind.core()).to_ascii_lowercase();
        let path = path.to_ascii_lowercase();
        let attribute = match (path.strip_prefix(&urn).unwrap_or(&path), kind) {
            ("id", _) => Searchable::Id,
            ("externalid", _) => Searchable::ExternalId,
            ("displayname", _) => Searchable::DisplayName,
            ("username", Kind::User) => Searchable::UserName,
            ("emails.value", Kind::User) => Searchable::EmailValue,
            ("members.value", Kind::Group) => Searchable::MemberValue,
            (path, _) => return Err(unsupported(&format!("{path} cannot be filtered by"))),
        };
        Ok(Comparison { attribute, text })
    }

    /// The ids among which the resources are; none if all have to be looked at.
    fn candidates(&self, service: &Service, kind: Kind) -> Option<BTreeSet<String>> {
        let shelf = service.shelf(kind);
        let indexed = match (self.attribute, kind) {
            (Searchable::Id, _) => return Some(BTreeSet::from([self.text.to_owned()])),
            (Searchable::UserName, _) | (Searchable::DisplayName, Kind::Group) => {
                shelf.names.get(&self.text.to_lowercase())
            }
            (Searchable::ExternalId, _) => shelf.external_ids.get(self.text),
            (Searchable::MemberValue, _) => service.memberships.get(self.text),
            (Searchable::DisplayName | Searchable::EmailValue, _) => return None,
        };
        Some(indexed.cloned().unwrap_or_default())
    }

    fn holds(&self, service: &Service, kind: Kind, id: &str) -> bool {
        let Some(resource) = service.get(kind, id) else {
            return false;
        };
        let folded = |name: &str| {
            let held = resource.attributes.get(name);
            held.is_some() && text(held).to_lowercase() == self.text.to_lowercase()
        };
        match self.attribute {
            // Case-exact: RFC 7643 section 3.1.
            Searchable::Id => id == self.text,
            Searchable::ExternalId => text(resource.attributes.get("externalId")) == self.text,
            Searchable::UserName => folded("userName"),
            Searchable::DisplayName => folded("displayName"),
            Searchable::EmailValue => {
                let emails = resource.attributes.get("emails").and_then(Value::as_array);
                let wanted = self.text.to_lowercase();
                emails
                    .into_iter()
                    .flatten()
                    .any(|it| text(it.get("value")).to_lowercase() == wanted)
            }
            Searchable::MemberValue => {
                let members = service.members.get(id);
                members.is_some_and(|members| members.contains(self.text))
            }
        }
    }
}
