//! References to what other operations of a bulk request create (RFC 7644 section 3.7.2).

use serde_json::Value;

/// What stands in front of a bulkId where it stands for an id.
pub(super) const PREFIX: &str = "bulkId:";

/// A bulkId in a text.
pub(super) struct Reference<'t> {
    pub(super) start: usize,
    pub(super) bulk_id: &'t str,
    /// The text is nothing but the reference.
    pub(super) whole: bool,
}

/// The references in a text: `bulkId:x` alone, in quotes as in `members[value eq "bulkId:x"]`, and as
/// a segment of a URL as in `$ref`.
pub(super) fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    let alone = text.strip_prefix(PREFIX).map(|bulk_id| Reference {
        start: 0,
        bulk_id,
        whole: true,
    });
    let within = match alone {
        Some(_) => "",
        None => text,
    };
    let within = within.match_indices(PREFIX).filter_map(|(start, _)| {
        let end = match within[..start].chars().next_back()? {
            '"' => '"',
            '/' => '/',
            _ => return None,
        };
        let rest = &within[start + PREFIX.len()..];
        let bulk_id = rest.split(end).next().unwrap_or(rest);
        Some(Reference {
            start,
            bulk_id,
            whole: false,
        })
    });
    alone.into_iter().chain(within)
}

/// Whether one of the references in a value, names of members included, is the one that is looked for.
pub(super) fn any_reference(value: &Value, is_it: &mut impl FnMut(&str) -> bool) -> bool {
    match value {
        Value::String(text) => references(text).any(|found| is_it(found.bulk_id)),
        Value::Array(items) => items.iter().any(|item| any_reference(item, is_it)),
        Value::Object(members) => members.iter().any(|(key, value)| {
            references(key).any(|found| is_it(found.bulk_id)) || any_reference(value, is_it)
        }),
        _ => false,
    }
}
