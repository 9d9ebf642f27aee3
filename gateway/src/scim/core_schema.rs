//! The attribute tables of RFC 7643: User (4.1), Group (4.2), enterprise User (4.3) and the attributes
//! that every resource has (3.1).
//!
//! Invariant: each row carries all seven characteristics; where the RFC's prose (section 4) and its
//! listing (section 8.7) differ, the prose counts. Wire names stand here and nowhere else in bulk.
//! Canonical values are published and never enforced. Absent: vendor extensions, which come from
//! `connector.toml`.

use std::borrow::Cow;

use super::schema::{Attribute, AttributeType, Mutability, Returned, Schema, Uniqueness};

/// The core User schema.
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core Group schema.
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise User extension.
pub const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A row with the RFC's defaults (RFC 7643 section 2.2): optional, single-valued, not caseExact,
/// readWrite, returned by default, not unique.
pub(super) fn attribute(
    name: impl Into<Cow<'static, str>>,
    ty: AttributeType,
    description: impl Into<Cow<'static, str>>,
) -> Attribute {
    Attribute {
        name: name.into(),
        ty,
        multi_valued: false,
        required: false,
        case_exact: false,
        mutability: Mutability::ReadWrite,
        returned: Returned::Default,
        uniqueness: Uniqueness::None,
        canonical_values: Vec::new(),
        reference_types: Vec::new(),
        sub_attributes: Vec::new(),
        description: description.into(),
    }
}

fn string(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, AttributeType::String, description)
}

fn boolean(name: &'static str, description: &'static str) -> Attribute {
    attribute(name, AttributeType::Boolean, description)
}

fn reference(name: &'static str, types: &[&'static str], description: &'static str) -> Attribute {
    Attribute {
        // RFC 7643 section 2.3.7: references are caseExact.
        case_exact: true,
        reference_types: types.iter().map(|name| Cow::Borrowed(*name)).collect(),
        ..attribute(name, AttributeType::Reference, description)
    }
}

fn complex(
    name: &'static str,
    description: &'static str,
    sub_attributes: Vec<Attribute>,
) -> Attribute {
    Attribute {
        sub_attributes,
        ..attribute(name, AttributeType::Complex, description)
    }
}

fn many(attribute: Attribute) -> Attribute {
    Attribute {
        multi_valued: true,
        ..attribute
    }
}

fn exact(attribute: Attribute) -> Attribute {
    Attribute {
        case_exact: true,
        ..attribute
    }
}

fn read_only(attribute: Attribute) -> Attribute {
    Attribute {
        mutability: Mutability::ReadOnly,
        ..attribute
    }
}

fn immutable(attribute: Attribute) -> Attribute {
    Attribute {
        mutability: Mutability::Immutable,
        ..attribute
    }
}

fn canonical(attribute: Attribute, values: &[&'static str]) -> Attribute {
    Attribute {
        canonical_values: values.iter().map(|value| Cow::Borrowed(*value)).collect(),
        ..attribute
    }
}

/// A multi-valued attribute with the sub-attributes of RFC 7643 section 2.4: `value`, `display`,
/// `type`, `primary`.
fn plural(
    name: &'static str,
    description: &'static str,
    value: Attribute,
    types: &[&'static str],
) -> Attribute {
    many(complex(
        name,
        description,
        vec![
            value,
            string("display", "A name for display."),
            canonical(string("type", "What the value is for."), types),
            boolean(
                "primary",
                "Whether this is the preferred value; at most one is.",
            ),
        ],
    ))
}

/// Attributes of every resource (RFC 7643 section 3.1). `schemas` is readOnly here: the gateway
/// computes it.
#[must_use]
pub fn common() -> Vec<Attribute> {
    vec![
        Attribute {
            returned: Returned::Always,
            required: true,
            ..read_only(many(reference(
                "schemas",
                &["uri"],
                "The schemas of which the resource holds attributes.",
            )))
        },
        Attribute {
            returned: Returned::Always,
            uniqueness: Uniqueness::Server,
            ..read_only(exact(string(
                "id",
                "The identifier that the gateway gave the resource.",
            )))
        },
        exact(string(
            "externalId",
            "The identifier that the client gave the resource.",
        )),
        read_only(complex(
            "meta",
            "What the gateway knows of the resource.",
            vec![
                read_only(exact(string(
                    "resourceType",
                    "The name of the resource type.",
                ))),
                read_only(attribute(
                    "created",
                    AttributeType::DateTime,
                    "When the resource was made.",
                )),
                read_only(attribute(
                    "lastModified",
                    AttributeType::DateTime,
                    "When the resource last changed.",
                )),
                read_only(reference("location", &["uri"], "The URL of the resource.")),
                read_only(exact(string(
                    "version",
                    "The version of the resource, as in the ETag header.",
                ))),
            ],
        )),
    ]
}

/// RFC 7643 section 4.1.
#[must_use]
pub fn user() -> Schema {
    Schema {
        id: USER_URN.into(),
        name: "User".into(),
        // Microsoft's Postman collection looks for these two words.
        description: "User Account".into(),
        attributes: vec![
            Attribute {
                required: true,
                uniqueness: Uniqueness::Server,
                ..string(
                    "userName",
                    "The name that identifies the user, unique within the tenant; letter case does not count.",
                )
            },
            complex(
                "name",
                "The parts of the user's name.",
                vec![
                    string("formatted", "The whole name, ready for display."),
                    string("familyName", "The family name."),
                    string("givenName", "The given name."),
                    string("middleName", "The middle names."),
                    string(
                        "honorificPrefix",
                        "What stands in front of the name, such as Ms.",
                    ),
                    string(
                        "honorificSuffix",
                        "What stands behind the name, such as III.",
                    ),
                ],
            ),
            string("displayName", "The name for display."),
            string("nickName", "The casual name."),
            reference(
                "profileUrl",
                &["external"],
                "The address of the user's profile page.",
            ),
            string("title", "The job title."),
            string(
                "userType",
                "How the user relates to the organization, such as Contractor.",
            ),
            string(
                "preferredLanguage",
                "The preferred language, as in Accept-Language.",
            ),
            string(
                "locale",
                "How dates, numbers and currencies are to be written.",
            ),
            string("timezone", "The time zone, as in the IANA database."),
            boolean("active", "Whether the user may use the app."),
            Attribute {
                mutability: Mutability::WriteOnly,
                returned: Returned::Never,
                ..exact(string(
                    "password",
                    "A password in clear text. Accepted and dropped: the gateway keeps none.",
                ))
            },
            plural(
                "emails",
                "E-mail addresses.",
                string("value", "The e-mail address."),
                &["work", "home", "other"],
            ),
            plural(
                "phoneNumbers",
                "Phone numbers.",
                string("value", "The phone number."),
                &["work", "home", "mobile", "fax", "pager", "other"],
            ),
            plural(
                "ims",
                "Instant messaging addresses.",
                string("value", "The instant messaging address."),
                &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"],
            ),
            plural(
                "photos",
                "Photos.",
                reference("value", &["external"], "The address of the photo."),
                &["photo", "thumbnail"],
            ),
            many(complex(
                "addresses",
                "Postal addresses.",
                vec![
                    string("formatted", "The whole address, ready for display."),
                    string("streetAddress", "Street, number, post office box."),
                    string("locality", "The city."),
                    string("region", "The state or region."),
                    string("postalCode", "The postal code."),
                    string("country", "The country."),
                    canonical(
                        string("type", "What the address is for."),
                        &["work", "home", "other"],
                    ),
                    boolean(
                        "primary",
                        "Whether this is the preferred address; at most one is.",
                    ),
                ],
            )),
            read_only(many(complex(
                "groups",
                "The groups of which the user is a member; changed through the groups.",
                vec![
                    read_only(exact(string("value", "The id of the group."))),
                    read_only(reference(
                        "$ref",
                        &["User", "Group"],
                        "The URL of the group.",
                    )),
                    read_only(string("display", "The name of the group.")),
                    read_only(canonical(
                        string("type", "How the user is a member."),
                        &["direct", "indirect"],
                    )),
                ],
            ))),
            plural(
                "entitlements",
                "What the user may do.",
                string("value", "The entitlement."),
                &[],
            ),
            plural(
                "roles",
                "What the user is.",
                string("value", "The role."),
                &[],
            ),
            plural(
                "x509Certificates",
                "Certificates.",
                exact(attribute(
                    "value",
                    AttributeType::Binary,
                    "The DER certificate in base64.",
                )),
                &[],
            ),
        ],
    }
}

/// RFC 7643 section 4.3.
#[must_use]
pub fn enterprise_user() -> Schema {
    Schema {
        id: ENTERPRISE_URN.into(),
        name: "EnterpriseUser".into(),
        description: "Enterprise User".into(),
        attributes: vec![
            string(
                "employeeNumber",
                "The number that the organization gave the person.",
            ),
            string("costCenter", "The cost center."),
            string("organization", "The organization."),
            string("division", "The division."),
            string("department", "The department."),
            complex(
                "manager",
                "The user's manager.",
                vec![
                    string("value", "The id of the manager."),
                    reference("$ref", &["User"], "The URL of the manager."),
                    read_only(string("displayName", "The manager's name for display.")),
                ],
            ),
        ],
    }
}

/// RFC 7643 section 4.2. `displayName` is required and unique here: Entra matches groups by it, and
/// its validator asks for 409 on a second one.
#[must_use]
pub fn group() -> Schema {
    Schema {
        id: GROUP_URN.into(),
        name: "Group".into(),
        description: "Group".into(),
        attributes: vec![
            Attribute {
                required: true,
                uniqueness: Uniqueness::Server,
                ..string(
                    "displayName",
                    "The name of the group, unique within the tenant; letter case does not count.",
                )
            },
            many(complex(
                "members",
                "The members of the group.",
                vec![
                    immutable(exact(string("value", "The id of the member."))),
                    immutable(reference(
                        "$ref",
                        &["User", "Group"],
                        "The URL of the member.",
                    )),
                    immutable(canonical(
                        string("type", "What the member is."),
                        &["User", "Group"],
                    )),
                    read_only(string("display", "The name of the member.")),
                ],
            )),
        ],
    }
}
