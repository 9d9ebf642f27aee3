//! The SCIM engine: RFC 7643 (schema) and RFC 7644 (protocol) as pure functions over JSON.
//!
//! One attribute table ([`Schema`], built once per connector into a [`Profile`]) validates requests,
//! coerces values, decides how filters compare and serves `/Schemas`. One grammar ([`parse_filter`],
//! [`parse_path`]) reads filters and PATCH paths.
//!
//! **Invariant:** nothing here does IO, reads a clock, draws a random number or waits; the same
//! arguments give the same answer, and no input panics. Absent on purpose: HTTP types, tenants,
//! storage, vendors.

mod body;
mod bulk;
pub mod core_schema;
mod dialect;
mod discovery;
mod error;
mod filter;
mod grammar;
mod limits;
mod members;
pub mod patch;
mod profile;
mod query;
mod render;
mod resource;
mod restrict;
mod schema;
mod sort;
mod syntax;
mod value;
mod version;

pub use body::parse_body;
pub use bulk::{BulkAnswer, BulkCall, BulkJob, BulkMethod, parse_bulk};
pub use dialect::{Dialect, ENTRA, Form, FormRow, Forms, OKTA, Reading, STRICT};
pub use discovery::{resource_type, resource_types, schema, schemas, service_provider_config};
pub use error::{ScimError, ScimType};
pub use filter::{Indexed, Lookup, Relations};
pub use grammar::{parse_filter, parse_path};
pub use limits::ScimLimits;
pub use members::{MemberNet, MemberOp, MemberOps};
pub use profile::{PathSpec, Profile, ProfilePath, ProfileSpec};
pub use query::{ListQuery, projection_of};
pub use render::{Meta, Page, Projection, render};
pub use resource::{Accepted, Resource, Unique};
pub use schema::{
    Attribute, AttributeType, Container, Mutability, Resolved, ResourceKind, ResourceType,
    Returned, Schema, Uniqueness,
};
pub use sort::{Sort, SortKey};
pub use syntax::{Comparison, Filter, Literal, Path, Test};
pub use value::fold;
pub use version::{etag, if_match_holds, if_none_match_holds};

#[cfg(test)]
mod tests;
