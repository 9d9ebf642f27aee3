//! Bytes of a body to JSON, behind a survey that builds nothing.
//!
//! Invariant: depth, keys, items and the longest string are known to be within their limits before
//! anything is built, so that a body of brackets, of a million keys or of a million zeros costs one walk
//! over its bytes and no memory. Absent: what the JSON means.

use serde_json::Value;

use super::error::ScimError;
use super::limits::ScimLimits;

/// Reads a request's body.
///
/// # Errors
/// 400 invalidSyntax: empty, too deep, or not JSON; the text says at which line and column. 413: too
/// many keys or items, or too long a string.
pub fn parse_body(body: &[u8], limits: &ScimLimits) -> Result<Value, ScimError> {
    if body.trim_ascii().is_empty() {
        return Err(ScimError::invalid_syntax(
            "The body is empty; a JSON object was expected.",
        ));
    }
    survey(body, limits)?;
    serde_json::from_slice(body)
        .map_err(|error| ScimError::invalid_syntax(format!("The body is not valid JSON: {error}.")))
}

/// The refusal of a body that is nested too deep, wherever that is found out.
pub(super) fn too_deep(limits: &ScimLimits) -> ScimError {
    let depth_max = limits.json_depth();
    ScimError::invalid_syntax(format!(
        "The body is nested deeper than {depth_max} (json_depth_max)."
    ))
}

/// Walks over brackets, colons, commas and quotes. Each key has its colon; each item of a list stands
/// behind a bracket or a comma. Broken JSON is left for the parser to report.
fn survey(body: &[u8], limits: &ScimLimits) -> Result<(), ScimError> {
    let (mut keys, mut items) = (0_usize, 0_usize);
    // One bit for each level, the lowest for the innermost: whether it is a list. `json_depth` is
    // below the width.
    let (mut depth, mut lists) = (0_usize, 0_u128);
    let mut bytes = body.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes, at, limits)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > limits.json_depth() {
                    return Err(too_deep(limits));
                }
                lists = (lists << 1) | u128::from(*byte == b'[');
                items += usize::from(*byte == b'[');
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                lists >>= 1;
            }
            b',' => items += usize::from(lists & 1 == 1),
            b':' => keys += 1,
            _ => {}
        }
    }
    let too_many = |what: &str, count: usize, max: usize, limit: &str| {
        let detail = format!(
            "The body has {count} {what}; at most {max} ({limit}) are allowed. Send several \
             smaller requests."
        );
        Err(ScimError::status_with(413, detail))
    };
    if keys > limits.json_keys_max {
        return too_many(
            "keys of objects",
            keys,
            limits.json_keys_max,
            "json_keys_max",
        );
    }
    if items > limits.json_items_max {
        return too_many(
            "items of lists",
            items,
            limits.json_items_max,
            "json_items_max",
        );
    }
    Ok(())
}

/// Goes behind the closing quote of the string that opens at `start`.
fn skip_string<'b>(
    bytes: &mut impl Iterator<Item = (usize, &'b u8)>,
    start: usize,
    limits: &ScimLimits,
) -> Result<(), ScimError> {
    let mut escaped = false;
    for (at, byte) in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' if at - start - 1 > limits.string_bytes_max => {
                return Err(ScimError::status_with(
                    413,
                    format!(
                        "The body holds a string of {} bytes; at most {} (string_bytes_max) are \
                         allowed.",
                        at - start - 1,
                        limits.string_bytes_max
                    ),
                ));
            }
            b'"' => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
