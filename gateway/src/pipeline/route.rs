//! What a request asks for: path, method and query become a [`Task`].
//!
//! Invariant: a lookup of groups in a tenant whose app has none is an empty list. Entra asks during
//! Test Connection, and a 404 there puts the job into quarantine (Entra fact 1.1).

use serde_json::Value;
use uuid::Uuid;

use crate::scim::{self, ListQuery, Page, ResourceKind, ScimError};
use crate::store::Kind;

use super::answer::{Failure, gone, no_groups, not_allowed};
use super::{Admitted, Aim, Method, Pipeline, Task, Verb};

impl Pipeline {
    /// Understands path, method and query. Query parameters that have no meaning are ignored on
    /// every verb, as Entra's flag `?aadOptscim062020` needs, which comes without a value.
    pub(super) fn route(&self, admitted: &Admitted<'_>) -> Result<Task, Failure> {
        let request = admitted.request;
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        if let Some(document) = self.discovery(admitted, &path) {
            return match request.method {
                // RFC 7644 section 4: a filter on these endpoints is 403.
                Method::Get if names_filter(&request.query) => {
                    Err(ScimError::status_with(403, "discovery documents take no filter").into())
                }
                Method::Get => Ok(Task::Discover(document)),
                _ => Err(not_allowed("GET")),
            };
        }
        let has_groups = admitted.admission.profile().group().is_some();
        match path.as_slice() {
            ["Users"] => collection(admitted, Kind::User),
            ["Groups"] if has_groups => collection(admitted, Kind::Group),
            ["Groups"] => match request.method {
                Method::Get => Ok(nothing_found()),
                Method::Post => Err(no_groups()),
                _ => Err(not_allowed("GET")),
            },
            ["Users", ".search"] => search(admitted, vec![Kind::User]),
            ["Groups", ".search"] if has_groups => search(admitted, vec![Kind::Group]),
            ["Groups", ".search"] => match request.method {
                Method::Post => Ok(nothing_found()),
                _ => Err(not_allowed("POST")),
            },
            [".search"] if has_groups => search(admitted, vec![Kind::User, Kind::Group]),
            [".search"] => search(admitted, vec![Kind::User]),
            ["Users", id] => resource(admitted, Kind::User, id),
            ["Groups", id] if has_groups => resource(admitted, Kind::Group, id),
            ["Bulk"] => match request.method {
                Method::Post => Ok(Task::Bulk),
                _ => Err(not_allowed("POST")),
            },
            ["Me"] => Err(ScimError::status_with(501, "/Me is not implemented").into()),
            _ => Err(gone(request)),
        }
    }

    /// What a search asks for (RFC 7644 section 3.4.3).
    pub(super) fn search_query(
        &self,
        admitted: &Admitted<'_>,
        kinds: &[Kind],
        document: Value,
    ) -> Result<ListQuery, Failure> {
        let types = kinds.iter().map(|kind| admitted.resource_type(*kind));
        let types = types.collect::<Result<Vec<_>, Failure>>()?;
        Ok(ListQuery::from_search(document, &types, admitted.reading)?)
    }

    /// The discovery document at this path, if it is one (RFC 7644 section 4).
    fn discovery(&self, admitted: &Admitted<'_>, path: &[&str]) -> Option<Value> {
        let url = &admitted.admission.tenant().scim_url;
        let profile = admitted.admission.profile();
        match path {
            ["ServiceProviderConfig"] => Some(scim::service_provider_config(
                &self.limits,
                self.bulk_bytes_max,
                url,
            )),
            ["Schemas"] => Some(scim::schemas(profile, url)),
            ["Schemas", id] => scim::schema(profile, url, id),
            ["ResourceTypes"] => Some(scim::resource_types(profile, url)),
            ["ResourceTypes", name] => scim::resource_type(profile, url, name),
            _ => None,
        }
    }
}

/// `/Users`, `/Groups`.
fn collection(admitted: &Admitted<'_>, kind: Kind) -> Result<Task, Failure> {
    let request = admitted.request;
    match request.method {
        Method::Get => {
            let resource_type = admitted.resource_type(kind)?;
            let query = ListQuery::from_query(&request.query, resource_type, admitted.reading)?;
            Ok(Task::List(vec![kind], Box::new(query)))
        }
        Method::Post => write(admitted, kind, Verb::Create),
        _ => Err(not_allowed("GET, POST")),
    }
}

/// `/Users/{id}`, `/Groups/{id}`.
fn resource(admitted: &Admitted<'_>, kind: Kind, id: &str) -> Result<Task, Failure> {
    let request = admitted.request;
    let id = resource_id(id).ok_or_else(|| gone(request))?;
    match request.method {
        Method::Get => {
            let shown = scim::projection_of(&request.query, admitted.reading)?;
            Ok(Task::Read(kind, id, shown))
        }
        Method::Put => write(admitted, kind, Verb::Replace(id)),
        Method::Patch => write(admitted, kind, Verb::Patch(id)),
        Method::Delete => write(admitted, kind, Verb::Delete(id)),
        Method::Post | Method::Other => Err(not_allowed("GET, PUT, PATCH, DELETE")),
    }
}

fn write(admitted: &Admitted<'_>, kind: Kind, verb: Verb) -> Result<Task, Failure> {
    let shown = scim::projection_of(&admitted.request.query, admitted.reading)?;
    Ok(Task::Write(Aim { kind, verb }, shown))
}

/// `POST /.search`, at the root or below a type (RFC 7644 section 3.4.3).
fn search(admitted: &Admitted<'_>, kinds: Vec<Kind>) -> Result<Task, Failure> {
    match admitted.request.method {
        Method::Post => Ok(Task::Search(kinds)),
        _ => Err(not_allowed("POST")),
    }
}

/// The answer to whoever asks for groups where there are none.
fn nothing_found() -> Task {
    let nothing = Page {
        total: Some(0),
        start_index: Some(1),
        next_cursor: None,
        resources: Vec::new(),
    };
    Task::Discover(nothing.body())
}

fn names_filter(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "filter")
}

/// An id as the gateway wrote it. Other spellings of the same number are other ids: `id` is
/// caseExact (RFC 7643 section 3.1).
pub(super) fn resource_id(text: &str) -> Option<Uuid> {
    let id = Uuid::parse_str(text).ok()?;
    (id.to_string() == text).then_some(id)
}

/// The name of a resource's collection in a URL.
pub(super) fn endpoint(kind: ResourceKind) -> &'static str {
    kind.endpoint().trim_start_matches('/')
}
