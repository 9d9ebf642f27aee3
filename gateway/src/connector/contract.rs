//! The contract as Rust types, made from `connector-sdk/wit/connector.wit`.
//!
//! Invariant: the gateway links these interfaces and nothing else into a connector.

/// What the host gives: one async function, since only `http.send` waits.
#[allow(missing_docs, unreachable_pub)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../connector-sdk/wit",
        world: "connector",
        imports: { "scimgw:connector/http.send": async },
        exports: { default: async },
    });
}

pub(super) use bindings::scimgw::connector::{http, log, types};
pub(super) use bindings::{Connector as Bindings, ConnectorPre as BindingsPre};
