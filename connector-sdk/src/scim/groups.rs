//! Groups and their members.
//!
//! A group's members are never read, except where the service has no PATCH or says that one of several
//! who shall leave is not in; and a group that is too large to be read does without. Invariant: that a
//! group is gone is only said of a group that is: some services answer 404 for a member that they do
//! not know.

use serde_json::{Map, Value};

use super::operations::{Change, operation};
use super::{Client, Kind, MEMBERS_PER_REQUEST_MAX, Made, Shown, Update, account, answer, body};
use crate::{Account, Deltas, Error, ErrorKind, Group, Member, MemberChange, MemberKind, path};

impl Client {
    /// Creates the group with its members, or adopts the one that has its name. Looked up first:
    /// a group's name need not be unique at the service (RFC 7643 section 4.2).
    ///
    /// # Errors
    /// The service's refusal, or [`Error::conflict`] if several groups have the name.
    pub fn create_group(&self, desired: &Group, members: &[Member]) -> Result<Account, Error> {
        let name = desired.display_name();
        let made = match self.only(Kind::Group, "displayName", name)? {
            Some(held) => Made::Held(held),
            None => {
                let mut body = body(Kind::Group, desired.attributes());
                let first = &members[..members.len().min(MEMBERS_PER_REQUEST_MAX)];
                if !first.is_empty() {
                    body.insert("members".to_owned(), values(first).into());
                }
                self.post(Kind::Group, body, name)
                    .map_err(|error| match error.kind {
                        // The lookup has just shown that there is a service.
                        ErrorKind::Forbidden
                            if error.vendor_status == Some(404) && !first.is_empty() =>
                        {
                            unknown_member()
                        }
                        _ => error,
                    })?
            }
        };
        match made {
            Made::New(account) => {
                let later = members.get(MEMBERS_PER_REQUEST_MAX..).unwrap_or_default();
                self.add_members(account.uid(), later)
                    .map_err(|error| error.uid(account.uid()))?;
                Ok(account)
            }
            Made::Held(held) => {
                let account = self.adopt(Kind::Group, held, desired.attributes())?;
                // Not named in the error: the gateway takes back what a create left behind, and
                // this group was there before.
                self.add_members(account.uid(), members)
                    .map_err(|error| Error { uid: None, ..error })?;
                Ok(account)
            }
        }
    }

    /// Sends what changed, of the group and of its members.
    ///
    /// # Errors
    /// The service's refusal, with the group's uid if a part of the change was made;
    /// [`Error::not_found`] if it has no such group.
    pub fn update_group(
        &self,
        uid: &str,
        deltas: &Deltas,
        members: &MemberChange,
    ) -> Result<Account, Error> {
        let changes: Vec<Change> = deltas.iter().map(Change::from).collect();
        let account = self.change(Kind::Group, uid, &changes, None)?;
        let changed = self.change_members(uid, &members.remove, &members.add);
        changed.map_err(|error| match changes.is_empty() {
            true => error,
            false => error.uid(uid),
        })?;
        Ok(account)
    }

    /// Deletes the group.
    ///
    /// # Errors
    /// The service's refusal; that there is no such group is none.
    pub fn delete_group(&self, uid: &str) -> Result<(), Error> {
        self.remove(Kind::Group, uid)
    }

    /// The group with this uid, without its members; none if the service has no such group.
    ///
    /// # Errors
    /// The service's refusal.
    pub fn get_group(&self, uid: &str) -> Result<Option<Account>, Error> {
        let held = self.read(Kind::Group, uid, Shown::Plain)?;
        Ok(held.map(|held| account(uid, held)))
    }

    /// The groups whose attribute equals the value, without their members.
    ///
    /// # Errors
    /// The service's refusal; [`Error::unsupported`] if it cannot filter by this attribute.
    pub fn find_groups(&self, attribute: &str, value: &str) -> Result<Vec<Account>, Error> {
        self.accounts(Kind::Group, attribute, value)
    }

    fn add_members(&self, uid: &str, members: &[Member]) -> Result<(), Error> {
        self.change_members(uid, &[], members)
    }

    /// Has members leave and join, in batches.
    fn change_members(&self, uid: &str, leave: &[Member], join: &[Member]) -> Result<(), Error> {
        if leave.is_empty() && join.is_empty() {
            return Ok(());
        }
        if self.options.update == Update::Put {
            let mut whole = self.must_read(Kind::Group, uid)?;
            change_within(&mut whole, leave, join);
            return match self.put(Kind::Group, uid, whole) {
                // It has just been read.
                Err(error) if error.kind == ErrorKind::NotFound => Err(unknown_member()),
                outcome => outcome.map(drop),
            };
        }
        let leaving = leave.chunks(MEMBERS_PER_REQUEST_MAX);
        let joining = join.chunks(MEMBERS_PER_REQUEST_MAX);
        let batches = leaving.map(Batch::Leave).chain(joining.map(Batch::Join));
        for (index, batch) in batches.enumerate() {
            self.change_batch(uid, batch)
                .map_err(|error| if index > 0 { error.uid(uid) } else { error })?;
        }
        Ok(())
    }

    fn change_batch(&self, uid: &str, batch: Batch<'_>) -> Result<(), Error> {
        let Err(error) = self.patch(Kind::Group, uid, batch.operations()) else {
            return Ok(());
        };
        let unknown = error.kind == ErrorKind::NotFound;
        if unknown && self.get_group(uid)?.is_none() {
            return Err(error);
        }
        match batch {
            Batch::Leave(members) if unknown || answer::is_no_target(&error) => {
                self.leave_if_in(uid, members)
            }
            Batch::Join(_) if unknown => Err(unknown_member()),
            _ => Err(error),
        }
    }

    /// Someone who shall leave is not in, and the service does not say who.
    fn leave_if_in(&self, uid: &str, members: &[Member]) -> Result<(), Error> {
        let (first, second) = members.split_at(members.len() / 2);
        if first.is_empty() {
            return Ok(());
        }
        match self.must_read(Kind::Group, uid) {
            Ok(whole) => {
                let within = set(members_of(&whole).iter().map(uid_of));
                let mut present = members.to_vec();
                present.retain(|member| within.contains_key(&member.uid));
                let operations = Batch::Leave(&present).operations();
                self.patch(Kind::Group, uid, operations).map(drop)
            }
            // More members than one answer can carry: halves, down to those who are not in.
            Err(error) if error.kind == ErrorKind::Internal => {
                self.change_batch(uid, Batch::Leave(first))?;
                self.change_batch(uid, Batch::Leave(second))
            }
            Err(error) => Err(error),
        }
    }
}

fn unknown_member() -> Error {
    Error::invalid("the service does not know one of the members")
        .path("members")
        .vendor_status(404)
}

/// Members of one request.
#[derive(Clone, Copy)]
enum Batch<'a> {
    Leave(&'a [Member]),
    Join(&'a [Member]),
}

impl Batch<'_> {
    /// RFC 7644 section 3.5.2.2 removes by a filter; a list of values to remove is not in it.
    fn operations(self) -> Vec<Value> {
        match self {
            Batch::Leave(members) => {
                let leave = members.iter().map(|member| {
                    let one = path::equals("value", &member.uid);
                    operation("remove", format!("members[{one}]"), None)
                });
                leave.collect()
            }
            Batch::Join(members) => {
                let values = values(members).into();
                vec![operation("add", "members".to_owned(), Some(values))]
            }
        }
    }
}

/// Members as SCIM has them. That one is a user goes without saying.
fn values(members: &[Member]) -> Vec<Value> {
    let values = members.iter().map(|member| {
        let mut value = Map::new();
        value.insert("value".to_owned(), member.uid.as_str().into());
        if member.kind == MemberKind::Group {
            value.insert("type".to_owned(), "Group".into());
        }
        Value::Object(value)
    });
    values.collect()
}

fn members_of(group: &Map<String, Value>) -> &[Value] {
    let members = group.get("members").and_then(Value::as_array);
    members.map_or(&[], Vec::as_slice)
}

/// Some keys, to look one up: JSON's own map, which is in a connector already.
fn set<'a>(keys: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    let mut set = Map::new();
    for key in keys {
        set.insert(key.to_owned(), Value::Null);
    }
    set
}

fn uid_of(member: &Value) -> &str {
    member["value"].as_str().unwrap_or_default()
}

/// Changes the members within a group that is sent whole.
fn change_within(group: &mut Map<String, Value>, leave: &[Member], join: &[Member]) {
    let within = set(members_of(group).iter().map(uid_of));
    let leaving = set(leave.iter().map(|member| member.uid.as_str()));
    let mut members = members_of(group).to_vec();
    members.retain(|member| !leaving.contains_key(uid_of(member)));
    let mut joining = join.to_vec();
    joining.retain(|member| !within.contains_key(&member.uid));
    members.extend(values(&joining));
    group.insert("members".to_owned(), members.into());
}
