//! Dialects: which forms of request beyond the RFC a tenant's client may use, as data.
//!
//! Invariant: what is wider than the RFC stands behind [`Reading::tolerates`], which notes the form as
//! met when it lets it pass; the `strict` dialect lets none pass. A dialect belongs to a tenant and
//! comes with each request: none is process-wide. Absent: what a form does, which stands where it is
//! read, and where the forms met are kept.

use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::ScimLimits;

/// A form of request that RFC 7643 and RFC 7644 do not know. [`Form::ROWS`] says what each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `"op": "Replace"`
    OpCapitalised,
    /// `"Operations": []`
    OperationsEmpty,
    /// `"path": ""`
    PathEmpty,
    /// `{"emails[type eq \"work\"].value": …}`
    KeyValuePath,
    /// `{"name.givenName": …}`
    KeyDotted,
    /// `{"urn:…:User:department": …}`
    KeyUrn,
    /// `urn:…:User.department`
    DotAfterUrn,
    /// `manager` for `urn:…:User:manager`
    ExtensionUnprefixed,
    /// `emails[type eq "work"].value` where there is no such e-mail
    ElementMade,
    /// `remove` with a `value`
    RemoveWithValue,
    /// `remove` of what is not there
    RemoveHitsNothing,
    /// `"active": "False"`
    BooleanAsString,
    /// `"level": "5"`
    NumberAsString,
    /// `"manager": "271"`, `"emails": ["a@x"]`
    WordForObject,
    /// `"manager": [{…}]`
    ListForObject,
    /// `"emails": {…}`
    ObjectForList,
    /// `"members": ["…"]`
    MemberBare,
    /// `remove` of `members[value eq "…"].value`
    MemberValueRemoved,
    /// `""` for no value
    EmptyUnassigns,
    /// `"primary": true` more than once
    PrimaryTwice,
    /// the resource's own `id` in a PATCH
    OwnId,
    /// `password`
    PasswordDropped,
    /// attributes of no schema
    UnknownKept,
    /// no `schemas`
    SchemasMissing,
    /// `schemas` that do not say what the body holds
    SchemasMistaken,
    /// `userName eq ann`
    WordUnquoted,
    /// `emails[type eq "work"].value eq "…"`
    ValuePathCompared,
}

/// What a form is called and which case shows it.
#[derive(Clone, Copy, Debug)]
pub struct FormRow {
    /// The form.
    pub form: Form,
    /// Its name, for reports and for the store.
    pub name: &'static str,
    /// What the client sends.
    pub what: &'static str,
    /// The case below `tests/cases/` that sends it.
    pub case: &'static str,
}

impl Form {
    /// Every form, in the order of the enum.
    pub const ROWS: &'static [FormRow] = &[
        row(
            Self::OpCapitalised,
            "op-capitalised",
            "`op` with capital letters",
            "entra/op-capitalised.json",
        ),
        row(
            Self::OperationsEmpty,
            "operations-empty",
            "a PATCH without operations",
            "entra/empty-operations.json",
        ),
        row(
            Self::PathEmpty,
            "path-empty",
            "an empty `path` in place of none",
            "entra/path-empty.json",
        ),
        row(
            Self::KeyValuePath,
            "key-value-path",
            "a value path as a key, such as `emails[type eq \"work\"].value`",
            "entra/pathless-value-path-keys.json",
        ),
        row(
            Self::KeyDotted,
            "key-dotted",
            "a sub-attribute's path as a key, such as `name.givenName`",
            "entra/dialect-with-flag.json",
        ),
        row(
            Self::KeyUrn,
            "key-urn",
            "a key that is a URN with an attribute, or the core schema's URN",
            "entra/dialect-with-flag.json",
        ),
        row(
            Self::DotAfterUrn,
            "dot-after-urn",
            "a dot between URN and attribute",
            "entra/dot-after-urn.json",
        ),
        row(
            Self::ExtensionUnprefixed,
            "extension-unprefixed",
            "an extension's attribute without its URN, such as `manager`",
            "entra/manager-forms.json",
        ),
        row(
            Self::ElementMade,
            "element-made",
            "add or replace at a value filter that matches nothing",
            "entra/filter-path-makes-value.json",
        ),
        row(
            Self::RemoveWithValue,
            "remove-with-value",
            "a remove operation with a `value`",
            "entra/filter-path-remove-with-value.json",
        ),
        row(
            Self::RemoveHitsNothing,
            "remove-hits-nothing",
            "remove at a value filter that matches nothing",
            "entra/remove-hits-nothing.json",
        ),
        row(
            Self::BooleanAsString,
            "boolean-as-string",
            "a boolean as a string, such as `\"False\"`",
            "entra/booleans-as-strings.json",
        ),
        row(
            Self::NumberAsString,
            "number-as-string",
            "a number as a string",
            "entra/number-as-string.json",
        ),
        row(
            Self::WordForObject,
            "word-for-object",
            "a string in place of an object with a `value`, such as a bare manager",
            "entra/manager-forms.json",
        ),
        row(
            Self::ListForObject,
            "list-for-object",
            "a list in place of an object, such as `[{\"value\": …}]` for manager",
            "entra/manager-forms.json",
        ),
        row(
            Self::ObjectForList,
            "object-for-list",
            "a single value in place of a list",
            "entra/members-one-object.json",
        ),
        row(
            Self::MemberBare,
            "member-bare",
            "a member as a string",
            "entra/members-bare-string.json",
        ),
        row(
            Self::MemberValueRemoved,
            "member-value-removed",
            "remove at `members[value eq \"…\"].value`",
            "entra/members-value-removed.json",
        ),
        row(
            Self::EmptyUnassigns,
            "empty-unassigns",
            "an empty string in place of null",
            "entra/null-update.json",
        ),
        row(
            Self::PrimaryTwice,
            "primary-twice",
            "more than one primary value of one attribute",
            "rfc7643/primary-only-once.json",
        ),
        row(
            Self::OwnId,
            "own-id",
            "the resource's own `id` in the value of a PATCH",
            "okta/patch-active-with-id.json",
        ),
        row(
            Self::PasswordDropped,
            "password-dropped",
            "a password, which is dropped",
            "okta/password-accepted-never-kept.json",
        ),
        row(
            Self::UnknownKept,
            "unknown-kept",
            "attributes that no schema knows, which are kept",
            "entra/unknown-attributes.json",
        ),
        row(
            Self::SchemasMissing,
            "schemas-missing",
            "a body whose `schemas` does not name its core schema or message",
            "entra/patch-without-schemas.json",
        ),
        row(
            Self::SchemasMistaken,
            "schemas-mistaken",
            "`schemas` that name an unknown schema or leave one out that is used",
            "entra/create-nulls-and-mistyped-urn.json",
        ),
        row(
            Self::WordUnquoted,
            "word-unquoted",
            "an unquoted word as a filter's value",
            "entra/filter-unquoted.json",
        ),
        row(
            Self::ValuePathCompared,
            "value-path-compared",
            "a comparison behind a value path, such as `emails[type eq \"work\"].value eq \"…\"`",
            "entra/match-by-other-attributes.json",
        ),
    ];

    /// The row of this form.
    #[must_use]
    pub const fn row(self) -> &'static FormRow {
        &Self::ROWS[self as usize]
    }

    const fn bit(self) -> u64 {
        1 << self as u32
    }
}

const fn row(form: Form, name: &'static str, what: &'static str, case: &'static str) -> FormRow {
    FormRow {
        form,
        name,
        what,
        case,
    }
}

/// A set of forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms(u64);

impl Forms {
    /// All forms.
    pub const ALL: Self = Self(u64::MAX >> (64 - Form::ROWS.len() as u32));

    const fn of(forms: &[Form]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < forms.len() {
            bits |= forms[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// Puts a form in.
    pub fn insert(&mut self, form: Form) {
        self.0 |= form.bit();
    }

    /// Whether the form is in.
    #[must_use]
    pub const fn contains(self, form: Form) -> bool {
        self.0 & form.bit() != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The forms of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The forms of this one that are not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The forms, in the order of [`Form::ROWS`].
    pub fn iter(self) -> impl Iterator<Item = Form> {
        Form::ROWS
            .iter()
            .map(|row| row.form)
            .filter(move |form| self.contains(*form))
    }
}

/// How far a tenant's client may depart from the RFC.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The name in a tenant's `dialect`.
    pub name: &'static str,
    tolerated: Forms,
}

/// Microsoft Entra ID, and whoever does as it does: every form. The default.
pub static ENTRA: Dialect = Dialect {
    name: "entra",
    tolerated: Forms::ALL,
};

/// Okta: what it sends (a PATCH with the resource's `id` in it, a password, unknown attributes), and
/// other shapes of the same value. Not what guesses at a meaning or what only Entra's jobs write: a
/// value filter that makes its element, paths as keys, a dot after the URN, a list for an object and
/// unquoted words.
pub static OKTA: Dialect = Dialect {
    name: "okta",
    tolerated: Forms::ALL.minus(Forms::of(&[
        Form::KeyValuePath,
        Form::KeyDotted,
        Form::DotAfterUrn,
        Form::ElementMade,
        Form::ListForObject,
        Form::WordUnquoted,
    ])),
};

/// The RFC as it is written.
pub static STRICT: Dialect = Dialect {
    name: "strict",
    tolerated: Forms(0),
};

impl Dialect {
    /// The names of all dialects.
    pub const NAMES: &'static [&'static str] = &["entra", "okta", "strict"];

    /// The dialect of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        [&ENTRA, &OKTA, &STRICT]
            .into_iter()
            .find(|dialect| dialect.name == name)
    }

    /// The forms that it lets pass.
    #[must_use]
    pub fn tolerated(&self) -> Forms {
        self.tolerated
    }
}

/// How one request is read: by which dialect, within which limits, and which forms were met so far.
#[derive(Debug)]
pub struct Reading<'a> {
    dialect: &'static Dialect,
    limits: &'a ScimLimits,
    met: AtomicU64,
}

impl<'a> Reading<'a> {
    /// A request that has met no form yet.
    #[must_use]
    pub fn new(dialect: &'static Dialect, limits: &'a ScimLimits) -> Self {
        Self {
            dialect,
            limits,
            met: AtomicU64::new(0),
        }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &'a ScimLimits {
        self.limits
    }

    /// The forms met and let pass so far.
    #[must_use]
    pub fn forms(&self) -> Forms {
        Forms(self.met.load(Ordering::Relaxed))
    }

    /// Whether the request may use this form, which it does: if so, the form is noted.
    pub(super) fn tolerates(&self, form: Form) -> bool {
        let tolerated = self.dialect.tolerated.contains(form);
        if tolerated {
            self.met.fetch_or(form.bit(), Ordering::Relaxed);
        }
        tolerated
    }
}
