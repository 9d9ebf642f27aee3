//! The component's side of the contract: bindings made from `wit/connector.wit`, and the way from
//! them to a [`Connector`] and back.

use std::sync::Once;

use bindings::exports::scimgw::connector::accounts;
use bindings::scimgw::connector::{http as wire, types};
use group_bindings::exports::scimgw::connector::groups;

use crate::call::{self, RawContext};
use crate::{
    Account, Connector, Error, ErrorKind, GroupConnector, HttpError, Member, MemberChange,
    MemberKind, Response, http, log,
};

/// Made by wit-bindgen. The canonical ABI is raw pointers, hence the unsafe code.
#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "connector",
        pub_export_macro: true,
        default_bindings_module: "connector_sdk::guest::bindings",
    });
}

/// A world of its own, so that a connector without groups exports none: what a world exports, a
/// component must have. The types are those of the first world.
#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all)]
pub mod group_bindings {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package scimgw:sdk; world groups { export scimgw:connector/groups@0.1.0; }",
        world: "scimgw:sdk/groups",
        with: { "scimgw:connector/types@0.1.0": super::bindings::scimgw::connector::types },
        pub_export_macro: true,
        default_bindings_module: "connector_sdk::guest::group_bindings",
    });
}

impl<C: Connector> accounts::Guest for C {
    fn create(context: types::Context, desired: String) -> Result<types::Account, types::Error> {
        log_panics();
        Ok(call::create::<C>(context.into(), &desired)?.into())
    }

    fn update(
        context: types::Context,
        uid: String,
        desired: String,
        deltas: String,
    ) -> Result<types::Account, types::Error> {
        log_panics();
        Ok(call::update::<C>(context.into(), &uid, &desired, &deltas)?.into())
    }

    fn delete(context: types::Context, uid: String) -> Result<String, types::Error> {
        log_panics();
        call::delete::<C>(context.into(), &uid)?;
        Ok(uid)
    }

    fn get(context: types::Context, uid: String) -> Result<Option<types::Account>, types::Error> {
        log_panics();
        Ok(call::get::<C>(context.into(), &uid)?.map(Into::into))
    }

    fn find(
        context: types::Context,
        attribute: String,
        value: String,
    ) -> Result<Vec<types::Account>, types::Error> {
        log_panics();
        let accounts = call::find::<C>(context.into(), &attribute, &value)?;
        Ok(accounts.into_iter().map(Into::into).collect())
    }
}

impl<C: GroupConnector> groups::Guest for C {
    fn create(
        context: types::Context,
        desired: String,
        members: Vec<groups::Member>,
    ) -> Result<types::Account, types::Error> {
        log_panics();
        Ok(call::create_group::<C>(context.into(), &desired, &owned(members))?.into())
    }

    fn update(
        context: types::Context,
        uid: String,
        desired: String,
        deltas: String,
        add: Vec<groups::Member>,
        remove: Vec<groups::Member>,
    ) -> Result<types::Account, types::Error> {
        log_panics();
        let members = MemberChange {
            add: owned(add),
            remove: owned(remove),
        };
        let context = context.into();
        Ok(call::update_group::<C>(context, &uid, &desired, &deltas, &members)?.into())
    }

    fn delete(context: types::Context, uid: String) -> Result<String, types::Error> {
        log_panics();
        call::delete_group::<C>(context.into(), &uid)?;
        Ok(uid)
    }

    fn get(context: types::Context, uid: String) -> Result<Option<types::Account>, types::Error> {
        log_panics();
        Ok(call::get_group::<C>(context.into(), &uid)?.map(Into::into))
    }

    fn find(
        context: types::Context,
        attribute: String,
        value: String,
    ) -> Result<Vec<types::Account>, types::Error> {
        log_panics();
        let groups = call::find_groups::<C>(context.into(), &attribute, &value)?;
        Ok(groups.into_iter().map(Into::into).collect())
    }
}

fn owned(members: Vec<groups::Member>) -> Vec<Member> {
    let members = members.into_iter().map(|member| Member {
        kind: match member.kind {
            groups::MemberKind::User => MemberKind::User,
            groups::MemberKind::Group => MemberKind::Group,
        },
        uid: member.uid,
    });
    members.collect()
}

/// A panic ends the instance with a bare `unreachable`; its message reaches the operator as a log
/// line.
fn log_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string()))));
}

pub(crate) fn transmit(request: http::Request) -> Result<Response, HttpError> {
    let response = wire::send(&wire::Request {
        method: request.method.to_owned(),
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout_ms: request.timeout_ms,
    })?;
    Ok(Response {
        status: response.status,
        headers: response.headers,
        body: response.body,
    })
}

impl From<types::Context> for RawContext {
    fn from(context: types::Context) -> RawContext {
        RawContext {
            operation_id: context.operation_id,
            attempt: context.attempt,
            deadline_ms: context.deadline_ms,
            settings: context.settings,
        }
    }
}

impl From<Account> for types::Account {
    fn from(account: Account) -> types::Account {
        types::Account {
            attributes: account.to_json(),
            uid: account.uid().to_owned(),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> types::Error {
        types::Error {
            kind: match error.kind {
                ErrorKind::Invalid => types::ErrorKind::Invalid,
                ErrorKind::NotFound => types::ErrorKind::NotFound,
                ErrorKind::AlreadyExists => types::ErrorKind::AlreadyExists,
                ErrorKind::Conflict => types::ErrorKind::Conflict,
                ErrorKind::Unauthorized => types::ErrorKind::Unauthorized,
                ErrorKind::Forbidden => types::ErrorKind::Forbidden,
                ErrorKind::RateLimited => types::ErrorKind::RateLimited,
                ErrorKind::Unavailable => types::ErrorKind::Unavailable,
                ErrorKind::Unsupported => types::ErrorKind::Unsupported,
                ErrorKind::Internal => types::ErrorKind::Internal,
            },
            message: error.message,
            code: error.code,
            path: error.path,
            retry_after_ms: error.retry_after_ms,
            vendor_status: error.vendor_status,
            uid: error.uid,
        }
    }
}

impl From<wire::HttpError> for HttpError {
    fn from(error: wire::HttpError) -> HttpError {
        match error {
            wire::HttpError::Denied(reason) => HttpError::Denied(reason),
            wire::HttpError::Timeout => HttpError::Timeout,
            wire::HttpError::TooLarge(bytes_max) => HttpError::TooLarge(bytes_max),
            wire::HttpError::Dns(reason) => HttpError::Dns(reason),
            wire::HttpError::Connect(reason) => HttpError::Connect(reason),
            wire::HttpError::Tls(reason) => HttpError::Tls(reason),
            wire::HttpError::Protocol(reason) => HttpError::Protocol(reason),
            wire::HttpError::BudgetExhausted => HttpError::BudgetExhausted,
        }
    }
}
