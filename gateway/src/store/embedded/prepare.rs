//! Write sets on their way into the queue: checked, measured and encoded.
//!
//! Done on the caller's thread, because the commit thread is the one thing here that there is only
//! one of. Invariant: what is queued names one tenant, fits into a batch, and has keys that the
//! layout can hold.

use jiff::Timestamp;
use uuid::Uuid;

use super::chunks;
use super::keys::{self, Tenant};
use crate::store::{AttributeKey, Kind, Member, Precondition, Token, Write, WriteSet};

/// A write set, checked and encoded.
pub(super) struct Prepared {
    pub(super) tenant: String,
    pub(super) preconditions: Vec<Precondition>,
    pub(super) steps: Vec<Step>,
    /// What it weighs in the queue and in a batch.
    pub(super) bytes: usize,
}

/// A [`Write`] whose record is JSON already.
pub(super) enum Step {
    PutResource {
        kind: Kind,
        id: Uuid,
        unique: Vec<AttributeKey>,
        indexed: Vec<AttributeKey>,
        body: Vec<u8>,
    },
    DeleteResource {
        kind: Kind,
        id: Uuid,
    },
    OpenIntent {
        resource: Uuid,
        claims: Vec<AttributeKey>,
        body: Vec<u8>,
    },
    CloseIntent {
        resource: Uuid,
    },
    ChangeMembers {
        group: Uuid,
        add: Vec<(Kind, Uuid)>,
        remove: Vec<(Kind, Uuid)>,
    },
    Log {
        id: Uuid,
        body: Vec<u8>,
    },
    PutToken(Box<Token>),
    TouchToken {
        id: Uuid,
        last_used: Timestamp,
    },
    NoteForms {
        forms: Vec<String>,
        at: Timestamp,
    },
}

/// Bytes in front of a resource's JSON: its position.
pub(super) const POSITION_BYTES: usize = 8;

/// What a write set weighs at least: its keys and the queue's own cost.
const WRITE_BYTES: usize = 128;

/// Checks and encodes a write set of at most so many bytes.
pub(super) fn prepare(write_set: WriteSet, bytes_max: usize) -> Result<Prepared, String> {
    let WriteSet {
        tenant,
        preconditions,
        writes,
    } = write_set;
    Tenant::new(&tenant)?;
    let mut bytes = 0;
    let mut steps = Vec::with_capacity(writes.len());
    for write in writes {
        let (step, step_bytes) = prepare_write(&tenant, write)?;
        steps.push(step);
        bytes += WRITE_BYTES + step_bytes;
    }
    if bytes > bytes_max.min(chunks::RECORD_BYTES_MAX) {
        return Err(format!(
            "it has {bytes} bytes, the limit batch_bytes_max is {bytes_max}"
        ));
    }
    Ok(Prepared {
        tenant,
        preconditions,
        steps,
        bytes,
    })
}

fn prepare_write(tenant: &str, write: Write) -> Result<(Step, usize), String> {
    let json = |result: serde_json::Result<Vec<u8>>| result.map_err(|e| e.to_string());
    let same_tenant = |named: &str| match named == tenant {
        true => Ok(()),
        false => Err(format!(
            "a write names the tenant {named:?} in a write set of {tenant:?}"
        )),
    };
    Ok(match write {
        Write::PutResource(stored) => {
            check_keys(&stored.unique, stored.kind)?;
            check_keys(&stored.indexed, stored.kind)?;
            let mut body = vec![0; POSITION_BYTES];
            serde_json::to_writer(&mut body, &stored).map_err(|e| e.to_string())?;
            let bytes = body.len() + key_bytes(&stored.unique) + key_bytes(&stored.indexed);
            let step = Step::PutResource {
                kind: stored.kind,
                id: stored.id,
                unique: stored.unique,
                indexed: stored.indexed,
                body,
            };
            (step, bytes)
        }
        Write::DeleteResource { kind, id } => (Step::DeleteResource { kind, id }, 0),
        Write::OpenIntent(intent) => {
            same_tenant(&intent.tenant)?;
            check_keys(&intent.claims, intent.kind)?;
            let body = json(serde_json::to_vec(&intent))?;
            let bytes = body.len() + key_bytes(&intent.claims);
            let (resource, claims) = (intent.resource, intent.claims);
            (
                Step::OpenIntent {
                    resource,
                    claims,
                    body,
                },
                bytes,
            )
        }
        Write::CloseIntent { resource } => (Step::CloseIntent { resource }, 0),
        Write::ChangeMembers { group, change } => {
            let add = members(change.add);
            let remove = members(change.remove);
            let bytes = (add.len() + remove.len()) * Tenant::new(tenant)?.membership_bytes();
            (Step::ChangeMembers { group, add, remove }, bytes)
        }
        Write::Log(entry) => {
            same_tenant(&entry.tenant)?;
            let body = json(serde_json::to_vec(&entry))?;
            let bytes = body.len();
            (Step::Log { id: entry.id, body }, bytes)
        }
        Write::PutToken(token) => {
            same_tenant(&token.tenant)?;
            let bytes = token.name.as_ref().map_or(0, String::len);
            (Step::PutToken(Box::new(token)), bytes)
        }
        Write::TouchToken { id, last_used } => (Step::TouchToken { id, last_used }, 0),
        Write::NoteForms { forms, at } => {
            forms.iter().try_for_each(|form| keys::check_form(form))?;
            let bytes = forms.iter().map(|form| WRITE_BYTES + 2 * form.len()).sum();
            (Step::NoteForms { forms, at }, bytes)
        }
    })
}

/// Memberships do not hold the vendor's keys: what waits in the queue need not either.
fn members(members: Vec<Member>) -> Vec<(Kind, Uuid)> {
    let members = members.into_iter();
    members.map(|member| (member.kind, member.id)).collect()
}

/// A resource holds values of its own kind only: who releases them looks at that kind alone.
fn check_keys(held: &[AttributeKey], kind: Kind) -> Result<(), String> {
    for key in held {
        keys::check_attribute(key)?;
        if key.kind != kind {
            let attribute = &key.attribute;
            return Err(format!(
                "a {kind:?} cannot hold the {attribute} of a {:?}",
                key.kind
            ));
        }
    }
    Ok(())
}

fn key_bytes(held: &[AttributeKey]) -> usize {
    held.iter()
        .map(|key| WRITE_BYTES + key.attribute.len() + key.value.len())
        .sum()
}
