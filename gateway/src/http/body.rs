//! Request bodies, read under a size limit and a deadline. actix-web has no deadline of its own for
//! bodies: a slow sender would hold its connection for ever.

use std::time::Duration;

use actix_web::web;
use futures::StreamExt;

use crate::scim::ScimError;
use crate::settings::HttpLimits;

/// Reads the whole body. Too large is 413, too slow 408, a broken connection 400.
pub(super) async fn read(
    mut payload: web::Payload,
    announced: Option<usize>,
    limits: &HttpLimits,
) -> Result<Vec<u8>, ScimError> {
    let limit = limits.body_bytes_max;
    let too_large = || {
        ScimError::status_with(
            413,
            format!("the body exceeds {limit} bytes (limit body_bytes_max)"),
        )
    };
    if announced.is_some_and(|bytes| bytes > limit) {
        return Err(too_large());
    }
    let whole = async {
        let mut body = Vec::with_capacity(announced.unwrap_or(0));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                ScimError::invalid_syntax(format!("the body cannot be read: {error}"))
            })?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let deadline = Duration::from_millis(limits.body_deadline_ms);
    tokio::time::timeout(deadline, whole)
        .await
        .unwrap_or_else(|_| {
            Err(ScimError::status_with(
                408,
                format!(
                    "the body did not arrive within {} ms (limit body_deadline_ms)",
                    limits.body_deadline_ms
                ),
            ))
        })
}
