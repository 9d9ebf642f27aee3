//! Resource versions as weak ETags, and the conditions that clients put on them (RFC 7644 section
//! 3.14, RFC 9110 section 13).
//!
//! Invariant: `W/"3"` and `"3"` name the same version; what cannot be read names none, so that a
//! broken If-Match never lets a write through.

/// The ETag of a version, for the `ETag` header and `meta.version`.
#[must_use]
pub fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// Whether `If-Match` lets the request go on; if not, the answer is 412. `version` is the current one,
/// `None` if there is no resource.
#[must_use]
pub fn if_match_holds(header: &str, version: Option<u64>) -> bool {
    version.is_some_and(|version| names(header, version))
}

/// Whether `If-None-Match` lets the request go on; if not, the answer is 304 to a read and 412 to a
/// write.
#[must_use]
pub fn if_none_match_holds(header: &str, version: Option<u64>) -> bool {
    !version.is_some_and(|version| names(header, version))
}

/// Whether a list of ETags, or `*`, names this version. RFC 7644 compares weakly throughout, against
/// RFC 9110's rule for If-Match: its only ETags are weak ones.
fn names(header: &str, version: u64) -> bool {
    header.split(',').map(str::trim).any(|tag| {
        tag == "*"
            || tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'))
                .is_some_and(|tag| tag.parse() == Ok(version))
    })
}
