//! A client for vendors that speak SCIM 2.0 themselves (RFC 7643, RFC 7644).
//!
//! A connector for such a vendor is its manifest, its settings and one line for each call; where the
//! vendor departs from the usual, [`Options`] says so. `connectors/scim` is the whole example.
//!
//! - Of an account that exists, only what changed is sent, in one PATCH.
//! - A create that meets an existing resource adopts it: found by the matching attribute, and given
//!   what the client said and it does not hold. Nothing is cleared on adoption.
//! - Members join and leave in batches of [`MEMBERS_PER_REQUEST_MAX`].
//! - Every answer is read with patience (a PATCH may answer 200 or 204, a create may say its id in
//!   `Location` only, an empty list may lack `Resources`), and every refusal becomes the kind of
//!   error that it is, with the vendor's `scimType` and `detail`.
//!
//! Invariant: an answer of 404 is only taken for "it is gone" from what is a SCIM service, so that a
//! wrong `base_url` never looks like a deleted account. Absent: Bulk, ETags, `/Me`, discovery, and
//! attributes: what is sent is what the gateway hands over.

use serde_json::{Map, Value};

use crate::{Account, Deltas, Error, ErrorKind, Request, Response, User, path};

mod answer;
mod groups;
mod operations;

use answer::Refusal;
use operations::Change;

/// The media type of SCIM (RFC 7644 section 3.1).
const MEDIA_TYPE: &str = "application/scim+json";

const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// How many members join or leave in one PATCH.
pub const MEMBERS_PER_REQUEST_MAX: usize = 100;

/// How many pages of a lookup's answer are read. A lookup by a unique attribute has one result; a
/// service that answers with more pages than this does not filter.
const LOOKUP_PAGES_MAX: usize = 10;

/// How many results a page after the first may have. The first is asked for without paging, as
/// identity providers do, which every service understands.
const LOOKUP_PAGE_SIZE: &str = "100";

/// Whether an attribute is the account's or group's own: not one that the service sets, and not a
/// membership, which goes ways of its own.
fn is_sent(name: &str) -> bool {
    !matches!(name, "schemas" | "id" | "meta" | "groups" | "members")
}

/// How a service takes a change of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// PATCH with what changed.
    #[default]
    Patch,
    /// PUT of the whole resource, read and changed: for a service without PATCH, which RFC 7644
    /// leaves optional. Two requests, and between them another writer's change is lost.
    Put,
}

/// What becomes of an account that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// DELETE.
    #[default]
    Delete,
    /// `active` becomes false, and the account stays. Groups are deleted all the same.
    Deactivate,
}

/// Where services differ.
#[derive(Debug, Clone)]
pub struct Options {
    /// Default [`Update::Patch`].
    pub update: Update,
    /// Default [`OnDelete::Delete`].
    pub on_delete: OnDelete,
    /// The path by which an account that exists is found, the manifest's `matching`. Default
    /// `userName`. A group is found by `displayName`.
    pub matching: &'static str,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            update: Update::default(),
            on_delete: OnDelete::default(),
            matching: "userName",
        }
    }
}

/// The SCIM service of one tenant. The gateway attaches the credential.
#[derive(Debug, Clone)]
pub struct Client {
    base_url: String,
    options: Options,
}

/// What kind of resource a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Group,
}

impl Kind {
    fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
        }
    }

    fn schema(self) -> &'static str {
        match self {
            Kind::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            Kind::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
        }
    }
}

impl Client {
    /// A client for the service with this base URL, the one in front of `/Users`.
    pub fn new(base_url: &str, options: Options) -> Client {
        Client {
            base_url: base_url.trim_end_matches('/').to_owned(),
            options,
        }
    }

    /// Creates the account, or adopts the one that has its name.
    ///
    /// # Errors
    /// The service's refusal, [`Error::already_exists`] if what is taken is not the matching
    /// attribute, or [`Error::conflict`] if several accounts match.
    pub fn create(&self, desired: &User) -> Result<Account, Error> {
        let matching = self.matching(Kind::User);
        let Some(name) = desired.text(matching) else {
            return Err(Error::invalid(format!("the user has no {matching}")).path(matching));
        };
        let body = body(Kind::User, desired.attributes());
        match self.post(Kind::User, body, name)? {
            Made::New(account) => Ok(account),
            Made::Held(held) => self.adopt(Kind::User, held, desired.attributes()),
        }
    }

    /// Sends what changed.
    ///
    /// # Errors
    /// The service's refusal; [`Error::not_found`] if it has no such account.
    pub fn update(&self, uid: &str, deltas: &Deltas) -> Result<Account, Error> {
        let changes: Vec<Change> = deltas.iter().map(Change::from).collect();
        self.change(Kind::User, uid, &changes, None)
    }

    /// Deletes or deactivates the account, as [`Options::on_delete`] says.
    ///
    /// # Errors
    /// The service's refusal; that there is no such account is none.
    pub fn delete(&self, uid: &str) -> Result<(), Error> {
        if self.options.on_delete == OnDelete::Delete {
            return self.remove(Kind::User, uid);
        }
        let inactive = Change::new("active", Some(false.into()));
        match self.change(Kind::User, uid, &[inactive], None) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// The account with this uid; none if the service has no such account.
    ///
    /// # Errors
    /// The service's refusal.
    pub fn get(&self, uid: &str) -> Result<Option<Account>, Error> {
        let held = self.read(Kind::User, uid, Shown::Plain)?;
        Ok(held.map(|held| account(uid, held)))
    }

    /// The accounts whose attribute equals the value.
    ///
    /// # Errors
    /// The service's refusal; [`Error::unsupported`] if it cannot filter by this attribute.
    pub fn find(&self, attribute: &str, value: &str) -> Result<Vec<Account>, Error> {
        self.accounts(Kind::User, attribute, value)
    }

    fn accounts(&self, kind: Kind, attribute: &str, value: &str) -> Result<Vec<Account>, Error> {
        let held = self.lookup(kind, attribute, value)?;
        let accounts = held.into_iter().map(|held| {
            let uid = uid_in(&held).ok_or_else(|| unreadable(kind))?;
            Ok(account(&uid, held))
        });
        accounts.collect()
    }

    fn at(&self, kind: Kind) -> String {
        format!("{}/{}", self.base_url, kind.endpoint())
    }

    /// The path by which a resource that exists is found.
    fn matching(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::User => self.options.matching,
            Kind::Group => "displayName",
        }
    }

    /// Creates a resource, or finds the one that is in its way.
    fn post(&self, kind: Kind, body: Map<String, Value>, name: &str) -> Result<Made, Error> {
        let matching = self.matching(kind);
        let body = Value::Object(body);
        let error = match ask(Request::post(self.at(kind)), Some(&body)) {
            Ok(response) => {
                let held = answer::resource(&response);
                // Most say the id in the body, all must say it in Location (RFC 7644 section 3.3).
                let uid = held.as_ref().and_then(uid_in);
                if let Some(uid) = uid.or_else(|| answer::uid_in_location(&response)) {
                    return Ok(Made::New(account(&uid, held.unwrap_or_default())));
                }
                unreadable(kind)
            }
            Err(refusal) if refusal.is_about_address() => return Err(self.wrong_address()),
            Err(refusal) => refusal.into_error(Some(&body)),
        };
        let is_there = matches!(error.kind, ErrorKind::AlreadyExists | ErrorKind::Internal);
        if is_there && let Some(held) = self.only(kind, matching, name)? {
            return Ok(Made::Held(held));
        }
        Err(error)
    }

    /// The one resource with this name, if there is one.
    fn only(
        &self,
        kind: Kind,
        matching: &str,
        name: &str,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let mut held = self.lookup(kind, matching, name)?;
        match held.len() {
            0 | 1 => Ok(held.pop()),
            several => Err(Error::conflict(format!(
                "the service has {several} {}s with this {matching}; rename or delete all but one",
                kind.noun()
            ))
            .path(matching)),
        }
    }

    /// Gives a resource that was there already what the client said and it does not hold.
    fn adopt(
        &self,
        kind: Kind,
        held: Map<String, Value>,
        desired: &Map<String, Value>,
    ) -> Result<Account, Error> {
        let uid = uid_in(&held).ok_or_else(|| unreadable(kind))?;
        let mut changes = operations::adoption(desired, &held, self.matching(kind));
        // Who never said whether a user is active means an active one.
        if held.get("active") == Some(&Value::Bool(false)) && !desired.contains_key("active") {
            changes.push(Change::new("active", Some(true.into())));
        }
        match changes.is_empty() {
            true => Ok(account(&uid, held)),
            false => self.change(kind, &uid, &changes, Some(held)),
        }
    }

    /// Sends what changed, if anything did; `held` is the resource, where it is at hand.
    ///
    /// A value path such as `emails[type eq "work"].value` changes an element if there is one and
    /// otherwise makes one: which of the two only the resource tells, since RFC 7644 section 3.5.2.3
    /// has a service refuse a filter that matches nothing. Hence the read.
    fn change(
        &self,
        kind: Kind,
        uid: &str,
        changes: &[Change],
        held: Option<Map<String, Value>>,
    ) -> Result<Account, Error> {
        if changes.is_empty() {
            return Ok(Account::new(uid));
        }
        if self.options.update == Update::Put {
            // What is at hand may lack the members, whom a PUT without them would take away.
            let whole = self.must_read(kind, uid)?;
            return self.put(kind, uid, operations::applied(whole, changes));
        }
        let held = match held {
            None if changes.iter().any(Change::has_value_path) => Some(self.must_read(kind, uid)?),
            held => held,
        };
        match self.patch(kind, uid, operations::of(changes, held.as_ref())) {
            // What shall be removed is not there, and the service does not say which it is.
            Err(error) if held.is_none() && answer::is_no_target(&error) => {
                let held = self.must_read(kind, uid)?;
                self.patch(kind, uid, operations::of(changes, Some(&held)))
            }
            outcome => outcome,
        }
    }

    fn patch(&self, kind: Kind, uid: &str, operations: Vec<Value>) -> Result<Account, Error> {
        if operations.is_empty() {
            return Ok(Account::new(uid));
        }
        let mut body = Map::new();
        body.insert("schemas".to_owned(), vec![PATCH_SCHEMA].into());
        body.insert("Operations".to_owned(), operations.into());
        let request = Request::patch(self.at(kind)).segment(uid);
        self.written(kind, uid, request, body)
    }

    fn put(&self, kind: Kind, uid: &str, mut whole: Map<String, Value>) -> Result<Account, Error> {
        whole.remove("meta");
        whole.remove("groups");
        let request = Request::put(self.at(kind)).segment(uid);
        self.written(kind, uid, request, whole)
    }

    /// A change is answered with 200 and the resource, or with 204.
    fn written(
        &self,
        kind: Kind,
        uid: &str,
        request: Request,
        body: Map<String, Value>,
    ) -> Result<Account, Error> {
        let request = without_members(kind, request);
        let response = self.about_one(kind, uid, request, Some(&Value::Object(body)))?;
        let response = response.ok_or_else(|| gone(kind, uid))?;
        let held = answer::resource(&response).unwrap_or_default();
        Ok(account(uid, held))
    }

    /// Deletes a resource; that it is gone already is success.
    fn remove(&self, kind: Kind, uid: &str) -> Result<(), Error> {
        let request = Request::delete(self.at(kind)).segment(uid);
        self.about_one(kind, uid, request, None).map(drop)
    }

    fn read(
        &self,
        kind: Kind,
        uid: &str,
        shown: Shown,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let mut request = Request::get(self.at(kind)).segment(uid);
        if shown == Shown::Plain {
            request = without_members(kind, request);
        }
        let Some(response) = self.about_one(kind, uid, request, None)? else {
            return Ok(None);
        };
        // A list or another object would be taken for a resource without attributes.
        let held = answer::resource(&response).filter(|held| uid_in(held).is_some());
        held.ok_or_else(|| unreadable(kind)).map(Some)
    }

    fn must_read(&self, kind: Kind, uid: &str) -> Result<Map<String, Value>, Error> {
        let held = self.read(kind, uid, Shown::Whole)?;
        held.ok_or_else(|| gone(kind, uid))
    }

    /// The resources whose attribute equals the value: asked by filter, and looked at again, because
    /// a service that ignores a filter answers with everybody.
    fn lookup(
        &self,
        kind: Kind,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let filter = path::equals(attribute, value);
        let mut found = Vec::new();
        let mut seen = 0;
        for _ in 0..LOOKUP_PAGES_MAX {
            let mut request = Request::get(self.at(kind)).query("filter", &filter);
            if seen > 0 {
                request = request
                    .query("startIndex", &(seen + 1).to_string())
                    .query("count", LOOKUP_PAGE_SIZE);
            }
            let response = match ask(without_members(kind, request), None) {
                Ok(response) => response,
                Err(refusal) if refusal.is_about_address() => return Err(self.wrong_address()),
                Err(refusal) => return Err(refusal.of_filter(attribute)),
            };
            let page = answer::list(&response)?;
            let results = page.resources.len();
            seen += results;
            found.extend(page.resources.into_iter().filter(|held| {
                let text = path::get(held, attribute).and_then(Value::as_str);
                text.is_some_and(|text| is_same(text, value))
            }));
            if results == 0 || seen >= page.total_results {
                return Ok(found);
            }
        }
        Err(Error::unsupported(format!(
            "the service answers a search for one {attribute} with more than {seen} {}s; it seems \
             to ignore the filter",
            kind.noun()
        )))
    }

    /// A request about one resource; none if there is no such resource. SCIM's own 404 says so; any
    /// other may come from elsewhere, so then the collection is asked, in the way that every service
    /// must answer.
    fn about_one(
        &self,
        kind: Kind,
        uid: &str,
        request: Request,
        body: Option<&Value>,
    ) -> Result<Option<Response>, Error> {
        match ask(request, body) {
            Ok(response) => Ok(Some(response)),
            Err(refusal) if refusal.is_about_address() => {
                if !refusal.is_scim {
                    self.lookup(kind, self.matching(kind), uid)?;
                }
                Ok(None)
            }
            Err(refusal) => Err(refusal.into_error(body)),
        }
    }

    fn wrong_address(&self) -> Error {
        Error::forbidden(format!(
            "there is no SCIM service at {}; check the setting base_url",
            self.base_url
        ))
        .vendor_status(404)
    }
}

/// What became of a POST.
enum Made {
    New(Account),
    /// What was there already.
    Held(Map<String, Value>),
}

/// How much of a resource is read.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    /// Without the members of a group, of which there may be very many.
    Plain,
    Whole,
}

fn ask(request: Request, body: Option<&Value>) -> Result<Response, Box<Refusal>> {
    let request = request.header("accept", MEDIA_TYPE);
    let request = match body {
        Some(body) => request.header("content-type", MEDIA_TYPE).json(body),
        None => request,
    };
    answer::sift(request.send())
}

fn without_members(kind: Kind, request: Request) -> Request {
    match kind {
        Kind::User => request,
        Kind::Group => request.query("excludedAttributes", "members"),
    }
}

/// The resource as a POST carries it.
fn body(kind: Kind, desired: &Map<String, Value>) -> Map<String, Value> {
    let mut body = Map::new();
    let extensions = desired.keys().filter(|name| name.starts_with("urn:"));
    let schemas: Vec<&str> = std::iter::once(kind.schema())
        .chain(extensions.map(String::as_str))
        .collect();
    body.insert("schemas".to_owned(), schemas.into());
    let sent = desired
        .iter()
        .filter(|(name, value)| is_sent(name) && !value.is_null());
    body.extend(sent.map(|(name, value)| (name.clone(), value.clone())));
    body
}

/// Some services number their resources, which RFC 7643 section 3.1 does not allow.
fn uid_in(held: &Map<String, Value>) -> Option<String> {
    match held.get("id")? {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn account(uid: &str, mut held: Map<String, Value>) -> Account {
    held.retain(|name, value| is_sent(name) && !value.is_null());
    Account::of_resource(uid.to_owned(), held)
}

/// Whether two texts are the same name, letter case aside. Letters beyond ASCII are left to the
/// service, which has compared them already: this is the guard against one that has not.
fn is_same(held: &str, wanted: &str) -> bool {
    let (mut held, mut wanted) = (held.chars(), wanted.chars());
    loop {
        match (held.next(), wanted.next()) {
            (None, None) => return true,
            (Some(held), Some(wanted))
                if held.eq_ignore_ascii_case(&wanted)
                    || !(held.is_ascii() || wanted.is_ascii()) => {}
            _ => return false,
        }
    }
}

fn gone(kind: Kind, uid: &str) -> Error {
    Error::not_found(format!("the service has no {} {uid}", kind.noun())).vendor_status(404)
}

fn unreadable(kind: Kind) -> Error {
    let message = format!(
        "the service's answer is no SCIM {}: it has no id",
        kind.noun()
    );
    Error::internal(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case() {
        let check = |held, wanted, expected| assert_eq!(is_same(held, wanted), expected, "{held}");
        check("Ann@example.com", "ann@EXAMPLE.com", true);
        check("Émile", "émile", true);
        check("Emile", "émile", false);
        check("ann", "anna", false);
        check("anna", "ann", false);
    }
}
