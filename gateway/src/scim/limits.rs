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
    /// Most operations in one PATCH; each key of a value without path counts as one. Default 500.
    pub patch_operations_max: usize,
    /// Most values of one multi-valued attribute of a User. Default 500. Members of a group do not
    /// count: they are not part of the group's document.
    pub values_max: usize,
    /// Most resources of a tenant that a filter may read one by one; a filter by `id`, `userName` or
    /// `externalId` with `eq` reads one and is not bound. Default 50,000.
    pub scan_resources_max: usize,
    /// Resources on a page when the client does not say. Default 100.
    pub page_size_default: usize,
    /// Most resources on a page, published as `filter.maxResults`. Default 200.
    pub page_size_max: usize,
}

impl Default for ScimLimits {
    fn default() -> Self {
        Self {
            filter_bytes_max: 4096,
            filter_depth_max: 32,
            filter_terms_max: 256,
            json_depth_max: 32,
            patch_operations_max: 500,
            values_max: 500,
            scan_resources_max: 50_000,
            page_size_default: 100,
            page_size_max: 200,
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
