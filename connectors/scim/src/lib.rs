//! Any service that speaks SCIM 2.0: the gateway's calls, carried out by the SDK's SCIM client.
//!
//! The manifest's profile is the whole of RFC 7643's User, Enterprise User and Group. Absent: what
//! one vendor does differently; such a vendor gets a connector of its own, made like this one.

use connector_sdk::scim::{Client, OnDelete, Options, Update};
use connector_sdk::{
    Account, Connector, Context, Deltas, Error, Group, GroupConnector, Member, MemberChange, User,
};

connector_sdk::export!(Scim with groups);

/// The connector.
#[derive(Debug)]
pub struct Scim;

/// What `connector.toml` declares under `[settings]`.
#[derive(Debug, serde::Deserialize)]
pub struct Settings {
    base_url: String,
    update: Update,
    on_delete: OnDelete,
}

fn service(context: &Context<Settings>) -> Client {
    let settings = &context.settings;
    let options = Options {
        update: settings.update,
        on_delete: settings.on_delete,
        ..Options::default()
    };
    Client::new(&settings.base_url, options)
}

impl Connector for Scim {
    type Settings = Settings;

    fn create(context: &Context<Settings>, desired: &User) -> Result<Account, Error> {
        service(context).create(desired)
    }

    fn update(
        context: &Context<Settings>,
        uid: &str,
        _: &User,
        deltas: &Deltas,
    ) -> Result<Account, Error> {
        service(context).update(uid, deltas)
    }

    fn delete(context: &Context<Settings>, uid: &str) -> Result<(), Error> {
        service(context).delete(uid)
    }

    fn get(context: &Context<Settings>, uid: &str) -> Result<Option<Account>, Error> {
        service(context).get(uid)
    }

    fn find(
        context: &Context<Settings>,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, Error> {
        service(context).find(attribute, value)
    }
}

impl GroupConnector for Scim {
    fn create_group(
        context: &Context<Settings>,
        desired: &Group,
        members: &[Member],
    ) -> Result<Account, Error> {
        service(context).create_group(desired, members)
    }

    fn update_group(
        context: &Context<Settings>,
        uid: &str,
        _: &Group,
        deltas: &Deltas,
        members: &MemberChange,
    ) -> Result<Account, Error> {
        service(context).update_group(uid, deltas, members)
    }

    fn delete_group(context: &Context<Settings>, uid: &str) -> Result<(), Error> {
        service(context).delete_group(uid)
    }

    fn get_group(context: &Context<Settings>, uid: &str) -> Result<Option<Account>, Error> {
        service(context).get_group(uid)
    }

    fn find_groups(
        context: &Context<Settings>,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, Error> {
        service(context).find_groups(attribute, value)
    }
}
