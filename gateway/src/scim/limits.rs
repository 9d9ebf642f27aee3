//! The limits of the SCIM engine, one table for operators and for every caller.
//!
//! Invariant: whatever a client can make long, deep or many has its limit here, with a default.
//! Limits on bytes of a request and on time belong to `http`.

use serde::Deserialize;

/// `[gateway.limits.scim]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScimLimits {
    /// Longest filter or PATCH path, in bytes. Default 4096.
    pub filter_bytes_max: usize,
    /// Deepest nesting of parentheses, `not` and value filters. Default 32; more than 128 counts as 128.
    pub filter_depth_max: usize,
    /// Most comparisons in one filter, and most names in a list of attributes. Default 256.
    pub filter_terms_max: usize,
    /// Deepest nesting of arrays and objects in a body. Default 32; more than 120 counts as 120.
    pub json_depth_max: usize,
    /// Most keys of objects in one body, all levels together; counted before anything is built from
    /// the body. Default 100,000.
    pub json_keys_max: usize,
    /// Most items of lists in one body, all lists together. Default 100,000.
    pub json_items_max: usize,
    /// Longest string in a body, in bytes as it was sent. Default 65,536.
    pub string_bytes_max: usize,
    /// Largest resource, in bytes of its JSON without `id`, `meta` and members: what a POST or PUT
    /// brings, and what a PATCH makes of it. Default 262,144.
    pub resource_bytes_max: usize,
    /// Most operations in one PATCH; each key of a value without path counts as one. Default 500.
    pub patch_operations_max: usize,
    /// Most work that the operations of one PATCH may cause together: about one for each value, and
    /// each 16 bytes of text, that an operation looks at. Default 1,000,000.
    pub patch_work_max: usize,
    /// Most values of one multi-valued attribute of a User. Default 500. Members of a group do not
    /// count: they are not part of the group's document.
    pub values_max: usize,
    /// Most operations in one bulk request, published as `bulk.maxOperations`. Default 1,000.
    pub bulk_operations_max: usize,
    /// Most members of a group that one request may name, to add or to remove. Default 50,000.
    pub members_changed_max: usize,
    /// Most members of groups, and groups of users, in one answer. Default 50,000.
    pub members_shown_max: usize,
    /// Most resources of a tenant that a filter may read one by one; a filter that an index serves
    /// (`id`, `userName`, `externalId`, `emails.value`, `displayName` or membership with `eq`) reads
    /// only what the index names. Default 50,000.
    pub scan_resources_max: usize,
    /// Resources on a page when the client does not say. Default 100.
    pub page_size_default: usize,
    /// Most resources on a page, published as `filter.maxResults`. Default 200.
    pub page_size_max: usize,
    /// How long a cursor is good for, in seconds (RFC 9865); 0 is no time at all. Default 3,600.
    pub cursor_ttl_s: u64,
}

impl Default for ScimLimits {
    fn default() -> Self {
        Self {
            filter_bytes_max: 4096,
            filter_depth_max: 32,
            filter_terms_max: 256,
            json_depth_max: 32,
            json_keys_max: 100_000,
            json_items_max: 100_000,
            string_bytes_max: 65_536,
            resource_bytes_max: 256 * 1024,
            patch_operations_max: 500,
            patch_work_max: 1_000_000,
            values_max: 500,
            bulk_operations_max: 1000,
            members_changed_max: 50_000,
            members_shown_max: 50_000,
            scan_resources_max: 50_000,
            page_size_default: 100,
            page_size_max: 200,
            cursor_ttl_s: 3600,
        }
    }
}

impl ScimLimits {
    /// The depth up to which the filter parser recurses: no setting may exhaust the stack.
    pub(super) fn filter_depth(&self) -> usize {
        self.filter_depth_max.min(128)
    }

    /// The depth of a body: below serde_json's own limit, whose message would not name ours.
    pub(super) fn json_depth(&self) -> usize {
        self.json_depth_max.min(120)
    }
}
