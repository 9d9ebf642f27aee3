//! The SCIM engine: RFC 7643 (schema) and RFC 7644 (protocol) as pure functions over JSON.
//!
//! One attribute table ([`Schema`], built once per connector into a [`Profile`]) validates requests,
//! coerces values, decides how filters compare and serves `/Schemas`. One grammar ([`parse_filter`],
//! [`parse_path`]) reads filters and PATCH paths.
//!
//! **Invariant:** nothing here does IO, reads a clock, draws a random number or waits; the same
//! arguments give the same answer, and no input panics. Absent on purpose: HTTP types, tenants,
//! storage, vendors.

pub mod core_schema;
mod discovery;
mod error;
mod filter;
mod grammar;
mod limits;
pub mod patch;
mod profile;
mod render;
mod resource;
mod schema;
mod syntax;
mod value;
mod version;

pub use discovery::{resource_type, resource_types, schema, schemas, service_provider_config};
pub use error::{ScimError, ScimType};
pub use filter::IndexedAttribute;
pub use grammar::{parse_filter, parse_path};
pub use limits::ScimLimits;
pub use profile::{PathSpec, Profile, ProfilePath, ProfileSpec};
pub use render::{Meta, Projection, list_response, render};
pub use resource::{Resource, Unique, parse_body};
pub use schema::{
    Attribute, AttributeType, Container, Mutability, Resolved, ResourceKind, ResourceType,
    Returned, Schema, Uniqueness,
};
pub use syntax::{Comparison, Filter, Literal, Path, Test};
pub use value::fold;
pub use version::{etag, if_match_holds, if_none_match_holds};

#[cfg(test)]
mod tests;
