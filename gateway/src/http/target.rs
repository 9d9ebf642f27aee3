//! The path of a request: which tenant's tree it is in, and the segments below.
//!
//! Invariant: escapes are decoded once, per segment, and strictly, after the path was split. So `%2f` is
//! a character of an id and never a separator, `..` and `%2e%2e` are names like others, and what is not
//! UTF-8 is refused. The segments in front of the resources, the tenant's among them, are compared as
//! they came. Absent: which resources there are.

use crate::scim::ScimError;

/// A place in the tree of a tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The tenant's segment, as it came.
    pub(super) tenant: String,
    /// What follows `/scim/v2/`, decoded; slashes at the end are left out.
    pub(super) path: Vec<String>,
}

/// Finds the place that a raw path names; none outside the trees of tenants.
///
/// # Errors
/// 400 if an escape is not two hexadecimal digits, or the escapes are not UTF-8.
pub(super) fn locate(raw: &str) -> Result<Option<Target>, ScimError> {
    let below = raw.strip_prefix("/tenants/");
    let Some((tenant, below)) = below.and_then(|below| below.split_once('/')) else {
        return Ok(None);
    };
    let below = match below.strip_prefix("scim/v2") {
        Some("") => "",
        Some(below) if below.starts_with('/') => &below[1..],
        _ => return Ok(None),
    };
    let path = below.trim_end_matches('/').split('/').map(decode);
    Ok(Some(Target {
        tenant: tenant.to_owned(),
        path: path.collect::<Result<_, _>>()?,
    }))
}

fn decode(segment: &str) -> Result<String, ScimError> {
    let mut pieces = segment.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let byte = piece
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or_else(|| {
                ScimError::status_with(400, "The path holds a % without two hexadecimal digits.")
            })?;
        decoded.push(byte);
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(decoded)
        .map_err(|_| ScimError::status_with(400, "The escapes in the path are not UTF-8."))
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn escapes_are_decoded_once_and_separate_nothing() {
        let base = "/tenants/acme/scim/v2";
        let cases: &[(&str, &[&str])] = &[
            ("", &[""]),
            ("/", &[""]),
            ("/Users", &["Users"]),
            ("/Users/", &["Users"]),
            ("/Users/7//", &["Users", "7"]),
            ("//Users", &["", "Users"]),
            ("/Users//7", &["Users", "", "7"]),
            ("/Users%2f7", &["Users/7"]),
            ("/Users/..", &["Users", ".."]),
            ("/Users/%2e%2E/7", &["Users", "..", "7"]),
            ("/Users/%252f", &["Users", "%2f"]),
            ("/Users/%00", &["Users", "\0"]),
            ("/Users/%0d%0aX:%201", &["Users", "\r\nX: 1"]),
            ("/Users/%C3%A9é", &["Users", "éé"]),
            ("/Users/a+b", &["Users", "a+b"]),
            ("/Users/7;v=1", &["Users", "7;v=1"]),
        ];
        for (below, expected) in cases {
            let target = locate(&format!("{base}{below}"));
            let target = target.expect("a path").expect("a tenant's");
            assert_eq!(target.tenant, "acme", "{below}");
            assert_eq!(target.path, *expected, "{below}");
        }
        for below in [
            "/%", "/%4", "/%zz", "/%+1", "/%E9", "/%C3", "/%C3%28", "/%ff", "/%c0%af", "/a%é1",
        ] {
            let error = locate(&format!("{base}{below}")).expect_err(below);
            assert_eq!(error.status, 400, "{below}");
        }
    }

    #[test]
    fn only_the_trees_of_tenants_are_found_as_they_are_spelt() {
        for elsewhere in [
            "",
            "/",
            "*",
            "/tenants",
            "/tenants/acme",
            "/tenants/acme/",
            "/tenants/acme/scim",
            "/tenants/acme/scim/v1/Users",
            "/tenants/acme/scim/v2x",
            "/tenants/acme/SCIM/v2/Users",
            "/tenants/acme%2fscim/v2/Users",
            "/tenants/acme/scim%2fv2/Users",
            "/%74enants/acme/scim/v2/Users",
            "//tenants/acme/scim/v2/Users",
            "/x/../tenants/acme/scim/v2/Users",
        ] {
            assert_eq!(locate(elsewhere), Ok(None), "{elsewhere}");
        }
        for tenant in ["%61cme", "..", "", "a%00", "%zz"] {
            let target = locate(&format!("/tenants/{tenant}/scim/v2/Users"));
            let target = target.expect("a path").expect("a tenant's");
            assert_eq!(target.tenant, tenant);
        }
    }
}
