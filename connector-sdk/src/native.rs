//! Runs a connector natively: the gateway's part for tests and benchmarks.
//!
//! A call takes the same way as in the gateway, from JSON text to the connector and back, and each
//! request goes to a closure. Absent: everything that the gateway enforces (limits, granted hosts,
//! deadlines, a fresh instance per call).
//!
//! ```
//! use connector_sdk::{Account, Connector, Context, Deltas, Error, Request, User, native};
//! # #[derive(serde::Deserialize)]
//! # struct Settings { base_url: String }
//! # struct Acme;
//! # impl Connector for Acme {
//! #     type Settings = Settings;
//! #     fn create(context: &Context<Settings>, desired: &User) -> Result<Account, Error> {
//! #         let made: serde_json::Value = Request::post(&context.settings.base_url)
//! #             .json(&desired.user_name()).send()?.error_for_status()?.json()?;
//! #         Ok(Account::new(&made["id"]))
//! #     }
//! #     fn update(_: &Context<Settings>, uid: &str, _: &User, _: &Deltas)
//! #         -> Result<Account, Error> { Ok(Account::new(uid)) }
//! #     fn delete(_: &Context<Settings>, _: &str) -> Result<(), Error> { Ok(()) }
//! #     fn get(_: &Context<Settings>, _: &str) -> Result<Option<Account>, Error> { Ok(None) }
//! #     fn find(_: &Context<Settings>, _: &str, _: &str)
//! #         -> Result<Vec<Account>, Error> { Ok(vec![]) }
//! # }
//! let host = native::Host::<Acme>::new(r#"{"base_url": "https://acme.example"}"#, |request| {
//!     assert_eq!(request.url, "https://acme.example");
//!     Ok(native::response(201, &[], r#"{"id": 7}"#))
//! });
//! let account = host.create(r#"{"userName": "ann@example.com"}"#).unwrap();
//! assert_eq!(account.uid(), "7");
//! ```

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use crate::call::{self, RawContext};
use crate::{
    Account, Connector, Error, GroupConnector, HttpError, Member, MemberChange, Response, http,
};

/// A request as the gateway would get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method in capitals.
    pub method: String,
    /// The whole URL, query included.
    pub url: String,
    /// Headers in the order in which the connector added them.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: Option<String>,
    /// Milliseconds that the connector is willing to wait for this answer.
    pub timeout_ms: Option<u32>,
}

/// A vendor's answer for a transport to return.
pub fn response(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> Response {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Response {
        status,
        headers: headers.iter().map(owned).collect(),
        body: body.into(),
    }
}

type Transport = Rc<RefCell<dyn FnMut(Request) -> Result<Response, HttpError>>>;

thread_local! {
    /// The transport of the call that is under way on this thread.
    static TRANSPORT: RefCell<Option<Transport>> = const { RefCell::new(None) };
}

/// Takes the transport away again, also when the connector panics.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        TRANSPORT.with_borrow_mut(Option::take);
    }
}

pub(crate) fn transmit(request: http::Request) -> Result<Response, HttpError> {
    let transport = TRANSPORT.with_borrow(Clone::clone);
    let Some(transport) = transport else {
        return Err(HttpError::Denied(
            "no transport; call the connector through connector_sdk::native::Host".to_owned(),
        ));
    };
    let mut transport = transport.borrow_mut();
    transport(Request {
        method: request.method.to_owned(),
        url: request.url,
        headers: request.headers,
        body: request.body,
        timeout_ms: request.timeout_ms,
    })
}

/// Plays the gateway for one connector and one tenant's settings.
pub struct Host<C> {
    settings: String,
    attempt: u32,
    transport: Transport,
    connector: PhantomData<C>,
}

impl<C: Connector> Host<C> {
    /// A host with the tenant's settings as JSON text, and a closure that answers each request.
    pub fn new(
        settings: impl Into<String>,
        transport: impl FnMut(Request) -> Result<Response, HttpError> + 'static,
    ) -> Host<C> {
        Host {
            settings: settings.into(),
            attempt: 1,
            transport: Rc::new(RefCell::new(transport)),
            connector: PhantomData,
        }
    }

    /// Makes the calls that follow the given attempt of their operation.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Host<C> {
        self.attempt = attempt;
        self
    }

    /// Calls [`Connector::create`] with a User as JSON text.
    pub fn create(&self, desired: &str) -> Result<Account, Error> {
        self.run(|context| call::create::<C>(context, desired))
    }

    /// Calls [`Connector::update`] with a User and the deltas as JSON text.
    pub fn update(&self, uid: &str, desired: &str, deltas: &str) -> Result<Account, Error> {
        self.run(|context| call::update::<C>(context, uid, desired, deltas))
    }

    /// Calls [`Connector::delete`].
    pub fn delete(&self, uid: &str) -> Result<(), Error> {
        self.run(|context| call::delete::<C>(context, uid))
    }

    /// Calls [`Connector::get`].
    pub fn get(&self, uid: &str) -> Result<Option<Account>, Error> {
        self.run(|context| call::get::<C>(context, uid))
    }

    /// Calls [`Connector::find`].
    pub fn find(&self, attribute: &str, value: &str) -> Result<Vec<Account>, Error> {
        self.run(|context| call::find::<C>(context, attribute, value))
    }

    fn run<T>(&self, call: impl FnOnce(RawContext) -> T) -> T {
        TRANSPORT.set(Some(Rc::clone(&self.transport)));
        let _installed = Installed;
        call(RawContext {
            operation_id: "00000000-0000-7000-8000-000000000000".to_owned(),
            attempt: self.attempt,
            deadline_ms: 30_000,
            settings: self.settings.clone(),
        })
    }
}

impl<C: GroupConnector> Host<C> {
    /// Calls [`GroupConnector::create_group`] with a Group as JSON text.
    pub fn create_group(&self, desired: &str, members: &[Member]) -> Result<Account, Error> {
        self.run(|context| call::create_group::<C>(context, desired, members))
    }

    /// Calls [`GroupConnector::update_group`] with a Group and the deltas as JSON text.
    pub fn update_group(
        &self,
        uid: &str,
        desired: &str,
        deltas: &str,
        members: &MemberChange,
    ) -> Result<Account, Error> {
        self.run(|context| call::update_group::<C>(context, uid, desired, deltas, members))
    }

    /// Calls [`GroupConnector::delete_group`].
    pub fn delete_group(&self, uid: &str) -> Result<(), Error> {
        self.run(|context| call::delete_group::<C>(context, uid))
    }

    /// Calls [`GroupConnector::get_group`].
    pub fn get_group(&self, uid: &str) -> Result<Option<Account>, Error> {
        self.run(|context| call::get_group::<C>(context, uid))
    }

    /// Calls [`GroupConnector::find_groups`].
    pub fn find_groups(&self, attribute: &str, value: &str) -> Result<Vec<Account>, Error> {
        self.run(|context| call::find_groups::<C>(context, attribute, value))
    }
}
