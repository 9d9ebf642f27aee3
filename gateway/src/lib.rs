//! A multi-tenant SCIM provisioning gateway with WebAssembly connectors.
//!
//! The modules in reading order: a request enters through [`http`], walks the corridor in
//! [`pipeline`], and leaves through [`egress`]. `docs/architecture.md` is the map.

pub mod cli;
pub mod telemetry;

pub mod http;
pub mod pipeline;

pub mod dispatch;

pub mod auth;
pub mod tenant;

pub mod plan;
pub mod scim;

pub mod store;

pub mod connector;
pub mod egress;
pub mod manifest;
pub mod settings;
