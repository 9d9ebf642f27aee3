//! Write a connector for the SCIM provisioning gateway.
//!
//! A connector turns the gateway's five calls on accounts, and the same five on groups where the
//! vendor has them, into requests to one vendor's API. It is a WebAssembly component that owns
//! nothing: every call gets a fresh instance, its only way out is [`Request::send`], and it never
//! sees a credential. Implement [`Connector`] and, for groups, [`GroupConnector`], name the type in
//! [`export!`], and run `gateway connector build`. The README shows a complete one.
//!
//! The same code compiles natively, so its mapping is tested with `cargo test`: see `native`.
//!
//! Absent on purpose: a clock, random numbers, files, state between calls, secrets.

mod account;
mod call;
mod context;
mod deltas;
mod error;
mod group;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(target_arch = "wasm32")]
mod heap;
mod http;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
mod path;
pub mod scim;
mod user;

pub use account::Account;
pub use context::Context;
pub use deltas::{Delta, Deltas};
pub use error::{Error, ErrorKind};
pub use group::{Group, Member, MemberChange, MemberKind};
pub use http::{HttpError, Request, Response};
pub use user::User;

use serde::de::DeserializeOwned;

/// What a connector can do with the accounts of one vendor.
///
/// A call must be safe to repeat: the gateway repeats one whose outcome it does not know, after it
/// has looked the account up.
pub trait Connector {
    /// The tenant's settings as `connector.toml` declares them. The gateway has checked them
    /// against the manifest and has put in the defaults.
    type Settings: DeserializeOwned;

    /// Brings an account into being as `desired` says. Looks it up first where the vendor has no
    /// idempotency key, and adopts what it finds, so that a repeated create yields one account.
    fn create(context: &Context<Self::Settings>, desired: &User) -> Result<Account, Error>;

    /// Makes the account what `desired` says; `deltas` is what changed since the last success.
    /// Setting what is already set succeeds.
    fn update(
        context: &Context<Self::Settings>,
        uid: &str,
        desired: &User,
        deltas: &Deltas,
    ) -> Result<Account, Error>;

    /// Takes the account away as far as the vendor can. An account that is gone already is success.
    fn delete(context: &Context<Self::Settings>, uid: &str) -> Result<(), Error>;

    /// The account with this uid, or none if the vendor knows no such account.
    fn get(context: &Context<Self::Settings>, uid: &str) -> Result<Option<Account>, Error>;

    /// The accounts whose attribute equals the value. The gateway asks by the matching attribute of
    /// the manifest's profile; an attribute that the vendor cannot search by is
    /// [`Error::unsupported`].
    fn find(
        context: &Context<Self::Settings>,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, Error>;
}

/// What a connector can do with the groups of one vendor. Without it, the manifest's profile can
/// have no groups.
///
/// What [`Connector`] says about repetition holds here as well.
pub trait GroupConnector: Connector {
    /// Brings a group into being as `desired` says, with these members. Adopts a group that is there
    /// already, with whoever else is in it.
    fn create_group(
        context: &Context<Self::Settings>,
        desired: &Group,
        members: &[Member],
    ) -> Result<Account, Error>;

    /// Makes the group what `desired` says and its members who they shall be; `deltas` is what
    /// changed of its attributes since the last success. Either change may be empty.
    fn update_group(
        context: &Context<Self::Settings>,
        uid: &str,
        desired: &Group,
        deltas: &Deltas,
        members: &MemberChange,
    ) -> Result<Account, Error>;

    /// Takes the group away, not the accounts in it. A group that is gone already is success.
    fn delete_group(context: &Context<Self::Settings>, uid: &str) -> Result<(), Error>;

    /// The group with this uid, without its members, or none if the vendor knows no such group.
    fn get_group(context: &Context<Self::Settings>, uid: &str) -> Result<Option<Account>, Error>;

    /// The groups whose attribute equals the value, without their members. The gateway asks by
    /// `displayName`.
    fn find_groups(
        context: &Context<Self::Settings>,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, Error>;
}

/// Exports a type that implements [`Connector`] as the component's `accounts` interface, and with
/// `export!(Acme with groups)` one that implements [`GroupConnector`] as its `groups` interface too.
/// Once per crate, with the type's plain name. Does nothing on a native target.
#[macro_export]
macro_rules! export {
    ($connector:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
    $crate::guest::bindings::export!($connector with_types_in $crate::guest::bindings);
        };
    };
    ($connector:ident with groups) => {
        $crate::export!($connector);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::guest::group_bindings::export!(
                $connector with_types_in $crate::guest::group_bindings
            );
        };
    };
}

/// The README's connector compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
