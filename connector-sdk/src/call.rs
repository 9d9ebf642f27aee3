//! From the contract's JSON text to a connector's typed arguments.
//!
//! Shared by the component and by native runs, so that both take the same way through a connector.

use crate::{
    Account, Connector, Context, Deltas, Error, Group, GroupConnector, Member, MemberChange, User,
};

/// The contract's context record.
pub(crate) struct RawContext {
    pub(crate) operation_id: String,
    pub(crate) attempt: u32,
    pub(crate) deadline_ms: u32,
    pub(crate) settings: String,
}

impl RawContext {
    fn typed<C: Connector>(self) -> Result<Context<C::Settings>, Error> {
        let settings = serde_json::from_str(&self.settings).map_err(|error| {
            Error::internal(format!(
                "the tenant's settings do not fit the connector: {error}; \
                 compare [settings] in connector.toml with the connector's Settings type"
            ))
        })?;
        Ok(Context {
            operation_id: self.operation_id,
            attempt: self.attempt,
            deadline_ms: self.deadline_ms,
            settings,
        })
    }
}

pub(crate) fn create<C: Connector>(context: RawContext, desired: &str) -> Result<Account, Error> {
    C::create(&context.typed::<C>()?, &User::parse(desired)?)
}

pub(crate) fn update<C: Connector>(
    context: RawContext,
    uid: &str,
    desired: &str,
    deltas: &str,
) -> Result<Account, Error> {
    let (desired, deltas) = (User::parse(desired)?, Deltas::parse(deltas)?);
    C::update(&context.typed::<C>()?, uid, &desired, &deltas)
}

pub(crate) fn delete<C: Connector>(context: RawContext, uid: &str) -> Result<(), Error> {
    C::delete(&context.typed::<C>()?, uid)
}

pub(crate) fn get<C: Connector>(context: RawContext, uid: &str) -> Result<Option<Account>, Error> {
    C::get(&context.typed::<C>()?, uid)
}

pub(crate) fn find<C: Connector>(
    context: RawContext,
    attribute: &str,
    value: &str,
) -> Result<Vec<Account>, Error> {
    C::find(&context.typed::<C>()?, attribute, value)
}

pub(crate) fn create_group<C: GroupConnector>(
    context: RawContext,
    desired: &str,
    members: &[Member],
) -> Result<Account, Error> {
    C::create_group(&context.typed::<C>()?, &Group::parse(desired)?, members)
}

pub(crate) fn update_group<C: GroupConnector>(
    context: RawContext,
    uid: &str,
    desired: &str,
    deltas: &str,
    members: &MemberChange,
) -> Result<Account, Error> {
    let (desired, deltas) = (Group::parse(desired)?, Deltas::parse(deltas)?);
    C::update_group(&context.typed::<C>()?, uid, &desired, &deltas, members)
}

pub(crate) fn delete_group<C: GroupConnector>(context: RawContext, uid: &str) -> Result<(), Error> {
    C::delete_group(&context.typed::<C>()?, uid)
}

pub(crate) fn get_group<C: GroupConnector>(
    context: RawContext,
    uid: &str,
) -> Result<Option<Account>, Error> {
    C::get_group(&context.typed::<C>()?, uid)
}

pub(crate) fn find_groups<C: GroupConnector>(
    context: RawContext,
    attribute: &str,
    value: &str,
) -> Result<Vec<Account>, Error> {
    C::find_groups(&context.typed::<C>()?, attribute, value)
}
