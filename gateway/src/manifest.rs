//! What a connector says about itself: `connector.toml`, embedded in the component as a custom
//! section, so that one file is the whole connector.
//!
//! A manifest only asks. What is granted follows from it together with one tenant's settings
//! ([`Manifest::check_settings`], [`Manifest::granted_origins`]). Invariant: a [`Manifest`] is
//! whole; every rule names settings and secrets that exist. Absent: values of secrets, anything
//! about a particular tenant.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

use crate::scim::Profile;

mod reading;
#[cfg(test)]
mod tests;

/// Name of the custom section that holds the manifest's text.
pub const SECTION: &str = "scimgw:manifest";

/// The lines of the connector contract that this gateway speaks, newest first.
pub const CONTRACTS: &[&str] = &["0.1"];

/// The longest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: usize = 256 * 1024;

/// What a connector is, needs and supports.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Matches `[a-z0-9][a-z0-9-]{0,62}`; the component's file is named after it.
    pub name: String,
    /// The connector's own version.
    pub version: String,
    /// The line of the contract that it was written for, one of [`CONTRACTS`].
    pub contract: String,
    /// One sentence for people.
    pub description: String,
    /// What it may call; never empty.
    pub hosts: Vec<HostRule>,
    /// Names of the secrets that the gateway applies for it, with what each one is.
    pub secrets: BTreeMap<String, String>,
    /// What a tenant can set.
    pub settings: BTreeMap<String, SettingSpec>,
    /// Of each list, a tenant must set at least one.
    pub require_one_of: Vec<Vec<String>>,
    /// How the gateway authenticates to the vendor; none where the vendor asks for nothing.
    pub auth: Option<AuthRecipe>,
    /// What the app supports.
    pub profile: Profile,
}

/// One origin that the connector may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// `https://host[:port]`, or `{setting}` for a setting of type `url`.
    pub origin: String,
    /// The rule holds only if this setting has this value.
    pub when: Option<(String, String)>,
}

/// How the gateway authenticates to the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthRecipe {
    /// `Authorization: Bearer …` (RFC 6750 section 2.1).
    Bearer {
        /// The name of the secret that is the token.
        secret: String,
    },
}

/// What one setting may be.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingSpec {
    /// The type of its value.
    pub ty: SettingType,
    /// The only values allowed; empty for any. Of type string only.
    pub choices: Vec<String>,
    /// What it is where a tenant does not set it.
    pub default: Option<Value>,
    /// Whether a tenant must set it.
    pub required: bool,
    /// One sentence for people.
    pub description: String,
}

/// The types of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingType {
    /// Text.
    String,
    /// An http or https URL without credentials, query and fragment.
    Url,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

impl SettingType {
    const ALL: [SettingType; 4] = [Self::String, Self::Url, Self::Integer, Self::Boolean];

    /// The word that stands for it in `connector.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Url => "url",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }
}

/// What is wrong with a tenant's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// The setting at fault; none if one is missing.
    pub setting: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Manifest {
    /// Reads the text of a `connector.toml`.
    ///
    /// # Errors
    /// Every problem in it, one sentence each. Where the contract's line is not spoken, only that:
    /// what else a manifest of another line may hold is not known here.
    pub fn parse(text: &str) -> Result<Manifest, Vec<String>> {
        reading::manifest(text)
    }

    /// Reads the manifest that a built connector carries.
    ///
    /// # Errors
    /// As [`Manifest::parse`]; also if the bytes are no WebAssembly, or hold no manifest or more
    /// than one.
    pub fn read_component(bytes: &[u8]) -> Result<Manifest, Vec<String>> {
        Manifest::parse(&section(bytes).map_err(|problem| vec![problem])?)
    }

    /// Checks a tenant's settings and puts the defaults in. Numbers and truth values may come as
    /// text, as they do from the environment; a URL loses its trailing slash.
    ///
    /// # Errors
    /// Every problem, each with the setting that it is about.
    pub fn check_settings(
        &self,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Vec<SettingProblem>> {
        let mut checked = Map::new();
        let mut problems = Vec::new();
        for (name, value) in given {
            let result = match self.settings.get(name) {
                Some(spec) => spec.check(value),
                None => Err(format!(
                    "connector \"{}\" has no such setting{}",
                    self.name,
                    alternatives(name, self.settings.keys().map(String::as_str))
                )),
            };
            match result {
                Ok(value) => _ = checked.insert(name.clone(), value),
                Err(message) => problems.push(SettingProblem {
                    setting: Some(name.clone()),
                    message,
                }),
            }
        }
        let mut missing = |message| {
            problems.push(SettingProblem {
                setting: None,
                message,
            });
        };
        for (name, spec) in &self.settings {
            match &spec.default {
                _ if given.contains_key(name) => {}
                Some(default) => _ = checked.insert(name.clone(), default.clone()),
                None if spec.required => {
                    missing(format!("add {name}: {}", spec.hint()));
                }
                None => {}
            }
        }
        for names in &self.require_one_of {
            if !names.iter().any(|name| given.contains_key(name)) {
                let hints: Vec<String> = names
                    .iter()
                    .map(|name| format!("{name} ({})", self.settings[name].hint()))
                    .collect();
                missing(format!("add one of: {}", hints.join("; ")));
            }
        }
        match problems.is_empty() {
            true => Ok(checked),
            false => Err(problems),
        }
    }

    /// The origins that a connector may call for a tenant with these checked settings: scheme, host
    /// and port, nothing else. `http` only where the tenant's own setting says so.
    ///
    /// # Errors
    /// If no rule applies: such a tenant could call nothing.
    pub fn granted_origins(&self, settings: &Map<String, Value>) -> Result<Vec<Url>, String> {
        let mut granted = Vec::new();
        for rule in &self.hosts {
            let applies = rule.when.as_ref().is_none_or(|(setting, value)| {
                settings.get(setting).and_then(Value::as_str) == Some(value)
            });
            let url = match placeholder(&rule.origin) {
                Some(setting) => settings.get(setting).and_then(Value::as_str),
                None => Some(rule.origin.as_str()),
            };
            let origin = url.and_then(|url| Url::parse(url).ok()).and_then(origin_of);
            if let Some(origin) = origin.filter(|_| applies)
                && !granted.contains(&origin)
            {
                granted.push(origin);
            }
        }
        match granted.is_empty() {
            true => Err(format!(
                "these settings give connector \"{}\" no host to call; it knows: {}",
                self.name,
                self.hosts
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            false => Ok(granted),
        }
    }
}

impl std::fmt::Display for HostRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.origin)?;
        match &self.when {
            Some((setting, value)) => write!(formatter, " (when {setting} is \"{value}\")"),
            None => Ok(()),
        }
    }
}

impl SettingSpec {
    fn check(&self, value: &Value) -> Result<Value, String> {
        let wrong = || format!("must be {}", self.hint());
        match self.ty {
            SettingType::String => {
                let text = value.as_str().ok_or_else(wrong)?;
                let allowed = self.choices.is_empty() || self.choices.iter().any(|one| one == text);
                allowed.then(|| value.clone()).ok_or_else(|| {
                    let choices = self.choices.iter().map(String::as_str);
                    format!(
                        "\"{text}\" is none of its values{}",
                        alternatives(text, choices)
                    )
                })
            }
            SettingType::Url => {
                let text = value.as_str().ok_or_else(wrong)?;
                Ok(base_url(text)?.into())
            }
            SettingType::Integer => match value {
                Value::String(text) => Ok(text.parse::<i64>().map_err(|_| wrong())?.into()),
                _ => value.as_i64().map(Value::from).ok_or_else(wrong),
            },
            SettingType::Boolean => match value {
                Value::String(text) => Ok(text.parse::<bool>().map_err(|_| wrong())?.into()),
                _ => value.as_bool().map(Value::from).ok_or_else(wrong),
            },
        }
    }

    /// What to write, for messages.
    fn hint(&self) -> String {
        let ty = match (self.ty, self.choices.as_slice()) {
            (SettingType::String, [_, ..]) => format!("one of {}", self.choices.join(", ")),
            (SettingType::String, []) => "text".to_owned(),
            (SettingType::Url, _) => "a URL such as https://example.com/api".to_owned(),
            (SettingType::Integer, _) => "a whole number".to_owned(),
            (SettingType::Boolean, _) => "true or false".to_owned(),
        };
        match self.description.is_empty() {
            true => ty,
            false => format!("{ty}, {}", self.description),
        }
    }
}

/// Checks a URL that requests will start with, and takes its trailing slash away.
fn base_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("\"{text}\" is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("\"{text}\" must start with https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must hold no credentials; put them under secrets".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "\"{text}\" must end with its path, without ? and #"
        ));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The setting that stands for the whole origin of a rule.
fn placeholder(origin: &str) -> Option<&str> {
    origin.strip_prefix('{')?.strip_suffix('}')
}

fn origin_of(url: Url) -> Option<Url> {
    Url::parse(&url.origin().ascii_serialization()).ok()
}

/// The end of a message about a word that is not known: the nearest of those that are, or all.
fn alternatives<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = |one: &&&str| strsim::damerau_levenshtein(word, one) <= word.len() / 3;
    match known.iter().find(near) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None if known.is_empty() => String::new(),
        None => format!("; it knows: {}", known.join(", ")),
    }
}

/// The text of the manifest section at the top of a component or core module. Sections of nested
/// modules are not the connector's word.
fn section(bytes: &[u8]) -> Result<String, String> {
    use wasmparser::{Parser, Payload};
    let mut depth = 0_u32;
    let mut found = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| format!("this is no sound WebAssembly file: {error}"))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                let text = std::str::from_utf8(section.data()).ok();
                let text = text.filter(|text| text.len() <= MANIFEST_BYTES_MAX);
                let text = text.ok_or("its manifest is not UTF-8 text or too long")?;
                if found.replace(text.to_owned()).is_some() {
                    return Err("it carries more than one manifest; build it anew".to_owned());
                }
            }
            _ => {}
        }
    }
    found.ok_or_else(|| {
        "it carries no manifest; build it from its folder with `gateway connector build DIR`"
            .to_owned()
    })
}
