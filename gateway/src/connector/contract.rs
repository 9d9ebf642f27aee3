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

/// What only some connectors export: a world would demand it of all, so it is looked up by itself.
#[allow(missing_docs, unreachable_pub)]
mod optional {
    wasmtime::component::bindgen!({
        path: "../connector-sdk/wit",
        inline: "package scimgw:host; world optional { export scimgw:connector/groups@0.1.0; }",
        world: "scimgw:host/optional",
        with: { "scimgw:connector/types": super::bindings::scimgw::connector::types },
        exports: { default: async },
    });
}

pub(super) use bindings::Connector as Bindings;
pub(super) use bindings::exports::scimgw::connector::accounts;
pub(super) use bindings::scimgw::connector::{http, log, types};
pub(super) use optional::exports::scimgw::connector::groups;

/// The name under which a component exports its groups.
pub(super) const GROUPS: &str = "scimgw:connector/groups@0.1.0";
