//! What the gateway says of itself: `/Schemas`, `/ResourceTypes`, `/ServiceProviderConfig`
//! (RFC 7643 sections 5 to 7, RFC 7644 section 4).
//!
//! Invariant: it is computed from the same table that validates requests; names are camelCase and no
//! value is null, or Entra's schema discovery gives up (Entra fact 2.12). `base_url` is the tenant's
//! SCIM base without a slash at its end.

use serde_json::{Map, Value, json};

use super::limits::ScimLimits;
use super::profile::Profile;
use super::render::Page;
use super::schema::{Attribute, ResourceType, Schema};

const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

/// The answer to `GET /Schemas`.
#[must_use]
pub fn schemas(profile: &Profile, base_url: &str) -> Value {
    whole_list(
        profile
            .published()
            .iter()
            .map(|schema| schema_body(schema, base_url))
            .collect(),
    )
}

/// The answer to `GET /Schemas/{urn}`; `None` is a 404.
#[must_use]
pub fn schema(profile: &Profile, base_url: &str, urn: &str) -> Option<Value> {
    profile
        .published()
        .iter()
        .find(|schema| schema.id.eq_ignore_ascii_case(urn))
        .map(|schema| schema_body(schema, base_url))
}

/// The answer to `GET /ResourceTypes`.
#[must_use]
pub fn resource_types(profile: &Profile, base_url: &str) -> Value {
    whole_list(
        types(profile)
            .map(|known| type_body(profile, known, base_url))
            .collect(),
    )
}

/// The answer to `GET /ResourceTypes/{name}`; `None` is a 404.
#[must_use]
pub fn resource_type(profile: &Profile, base_url: &str, name: &str) -> Option<Value> {
    types(profile)
        .find(|known| known.kind.as_str() == name)
        .map(|known| type_body(profile, known, base_url))
}

/// The answer to `GET /ServiceProviderConfig`. `bulk_bytes_max` is the longest body of a bulk request.
#[must_use]
pub fn service_provider_config(
    limits: &ScimLimits,
    bulk_bytes_max: usize,
    base_url: &str,
) -> Value {
    json!({
        "schemas": [CONFIG_URN],
        "patch": { "supported": true },
        "bulk": {
            "supported": true,
            "maxOperations": limits.bulk_operations_max,
            "maxPayloadSize": bulk_bytes_max,
        },
        "filter": { "supported": true, "maxResults": limits.page_size_max },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        // RFC 9865 section 4. A service that has paged by index keeps that as its default: Entra knows
        // nothing else.
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": limits.page_size_default.min(limits.page_size_max),
            "maxPageSize": limits.page_size_max,
            "cursorTimeout": limits.cursor_ttl_s,
        },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "OAuth Bearer Token",
            "description": "A token in the Authorization header (RFC 6750).",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base_url}/ServiceProviderConfig"),
        },
    })
}

/// These lists are never paged (RFC 7644 section 4).
fn whole_list(resources: Vec<Value>) -> Value {
    Page::whole(resources).body()
}

/// The types of resource that the app has.
fn types(profile: &Profile) -> impl Iterator<Item = &ResourceType> {
    std::iter::once(profile.user()).chain(profile.group())
}

fn type_body(profile: &Profile, resource_type: &ResourceType, base_url: &str) -> Value {
    // Another type's schema that is published beside them is no extension of this one.
    let extensions: Vec<Value> = profile
        .published()
        .iter()
        .filter(|schema| resource_type.extension(&schema.id).is_some())
        .map(|schema| json!({ "schema": schema.id, "required": false }))
        .collect();
    let name = resource_type.kind.as_str();
    json!({
        "schemas": [RESOURCE_TYPE_URN],
        "id": name,
        "name": name,
        "description": resource_type.schema.description,
        "endpoint": resource_type.kind.endpoint(),
        "schema": resource_type.schema.id,
        "schemaExtensions": extensions,
        "meta": {
            "resourceType": "ResourceType",
            "location": format!("{base_url}/ResourceTypes/{name}"),
        },
    })
}

fn schema_body(schema: &Schema, base_url: &str) -> Value {
    json!({
        "schemas": [SCHEMA_URN],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes.iter().map(attribute_body).collect::<Vec<_>>(),
        "meta": {
            "resourceType": "Schema",
            "location": format!("{base_url}/Schemas/{}", schema.id),
        },
    })
}

fn attribute_body(attribute: &Attribute) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("name", json!(attribute.name));
    put("type", json!(attribute.ty.as_str()));
    put("multiValued", json!(attribute.multi_valued));
    put("description", json!(attribute.description));
    put("required", json!(attribute.required));
    put("caseExact", json!(attribute.case_exact));
    put("mutability", json!(attribute.mutability.as_str()));
    put("returned", json!(attribute.returned.as_str()));
    put("uniqueness", json!(attribute.uniqueness.as_str()));
    if !attribute.canonical_values.is_empty() {
        put("canonicalValues", json!(attribute.canonical_values));
    }
    if !attribute.reference_types.is_empty() {
        put("referenceTypes", json!(attribute.reference_types));
    }
    if attribute.is_complex() {
        put(
            "subAttributes",
            attribute
                .sub_attributes
                .iter()
                .map(attribute_body)
                .collect(),
        );
    }
    Value::Object(body)
}
