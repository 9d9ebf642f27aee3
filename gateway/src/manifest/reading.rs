//! From the text of `connector.toml` to a [`Manifest`].
//!
//! Read by hand instead of derived, so that an author sees every problem at once and every unknown
//! key with the one that was meant.

use std::collections::BTreeMap;
use std::fmt::Display;

use toml::{Table, Value};
use url::Url;

use super::{
    AuthRecipe, CONTRACTS, HostRule, Manifest, SettingSpec, SettingType, alternatives, placeholder,
};
use crate::scim::{Profile, ProfileSpec};

/// Reads a whole manifest; every problem at once.
pub(super) fn manifest(text: &str) -> Result<Manifest, Vec<String>> {
    let top: Table = text
        .parse()
        .map_err(|error: toml::de::Error| vec![error.to_string().trim_end().to_owned()])?;
    let mut reading = Reading::default();

    let contract = reading.text(&top, "", "contract").unwrap_or_default();
    if reading.problems.is_empty() && !CONTRACTS.contains(&contract.as_str()) {
        return Err(vec![format!(
            "contract: it is written for contract \"{contract}\", this gateway speaks {}; \
             rebuild the connector with a connector-sdk of that line, or use another gateway",
            CONTRACTS.join(", ")
        )]);
    }
    reading.known_keys(
        &top,
        "",
        &[
            "name",
            "version",
            "contract",
            "description",
            "secrets",
            "require_one_of",
            "auth",
            "host",
            "settings",
            "profile",
        ],
    );
    let name = reading.text(&top, "", "name").unwrap_or_default();
    if !name.is_empty() && !is_name(&name, '-') {
        reading.problem("name", "must match [a-z0-9][a-z0-9-]{0,62}");
    }
    let version = reading.text(&top, "", "version").unwrap_or_default();
    let description = reading.text(&top, "", "description").unwrap_or_default();
    let secrets = reading.secrets(&top);
    let settings = reading.settings(&top);
    let require_one_of = reading.require_one_of(&top, &settings);
    let auth = reading.auth(&top, &secrets);
    let hosts = reading.hosts(&top, &settings);
    let profile = reading.profile(&top);

    match profile {
        Some(profile) if reading.problems.is_empty() => Ok(Manifest {
            name,
            version,
            contract,
            description,
            hosts,
            secrets,
            settings,
            require_one_of,
            auth,
            profile,
        }),
        _ => Err(reading.problems),
    }
}

#[derive(Default)]
struct Reading {
    problems: Vec<String>,
}

impl Reading {
    fn problem(&mut self, place: impl Display, message: impl Display) {
        self.problems.push(format!("{place}: {message}"));
    }

    fn known_keys(&mut self, table: &Table, place: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = alternatives(key, known.iter().copied());
            self.problem(under(place, key), format!("no such key{hint}"));
        }
    }

    /// A text that must be there and must not be empty.
    fn text(&mut self, table: &Table, place: &str, key: &str) -> Option<String> {
        let text = self.optional_text(table, place, key);
        if text.is_none() && table.get(key).is_none_or(Value::is_str) {
            self.problem(under(place, key), "is missing; add a text");
        }
        text
    }

    fn optional_text(&mut self, table: &Table, place: &str, key: &str) -> Option<String> {
        match table.get(key)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            _ => {
                self.problem(under(place, key), "must be a text in quotes");
                None
            }
        }
    }

    fn table<'a>(&mut self, table: &'a Table, key: &str) -> Option<&'a Table> {
        let value = table.get(key)?;
        if !value.is_table() {
            self.problem(key, "must be a table");
        }
        value.as_table()
    }

    /// The elements of a list; none of them if it is absent or no list.
    fn list<'a>(&mut self, table: &'a Table, place: &str, key: &str) -> &'a [Value] {
        match table.get(key) {
            None => &[],
            Some(Value::Array(elements)) => elements,
            Some(_) => {
                self.problem(under(place, key), "must be a list");
                &[]
            }
        }
    }

    fn texts(&mut self, elements: &[Value], place: &str) -> Vec<String> {
        let texts: Vec<String> = elements
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if texts.len() < elements.len() {
            self.problem(place, "must be a list of texts in quotes");
        }
        texts
    }

    fn secrets(&mut self, top: &Table) -> BTreeMap<String, String> {
        let mut secrets = BTreeMap::new();
        let Some(table) = self.table(top, "secrets") else {
            return secrets;
        };
        for name in table.keys() {
            if !is_name(name, '_') {
                let place = under("secrets", name);
                self.problem(place, "a secret's name must match [a-z0-9][a-z0-9_]{0,62}");
            }
            if let Some(description) = self.text(table, "secrets", name) {
                secrets.insert(name.clone(), description);
            }
        }
        secrets
    }

    fn settings(&mut self, top: &Table) -> BTreeMap<String, SettingSpec> {
        let mut settings = BTreeMap::new();
        let Some(table) = self.table(top, "settings") else {
            return settings;
        };
        for (name, value) in table {
            let place = under("settings", name);
            if !is_name(name, '_') {
                self.problem(
                    &place,
                    "a setting's name must match [a-z0-9][a-z0-9_]{0,62}",
                );
            }
            match value.as_table() {
                Some(table) => {
                    if let Some(spec) = self.setting(table, &place) {
                        settings.insert(name.clone(), spec);
                    }
                }
                None => self.problem(&place, "must be a table with a type"),
            }
        }
        settings
    }

    fn setting(&mut self, table: &Table, place: &str) -> Option<SettingSpec> {
        let keys = ["type", "choices", "default", "required", "description"];
        self.known_keys(table, place, &keys);
        let word = self.text(table, place, "type")?;
        let Some(ty) = SettingType::ALL.into_iter().find(|ty| ty.word() == word) else {
            let hint = alternatives(&word, SettingType::ALL.into_iter().map(SettingType::word));
            self.problem(under(place, "type"), format!("no type \"{word}\"{hint}"));
            return None;
        };
        let choices = self.list(table, place, "choices");
        let choices = self.texts(choices, &under(place, "choices"));
        if !choices.is_empty() && ty != SettingType::String {
            self.problem(under(place, "choices"), "only a string has choices");
        }
        let required = match table.get("required") {
            None => false,
            Some(Value::Boolean(required)) => *required,
            Some(_) => {
                self.problem(under(place, "required"), "must be true or false");
                false
            }
        };
        let mut spec = SettingSpec {
            ty,
            choices,
            default: None,
            required,
            description: self
                .optional_text(table, place, "description")
                .unwrap_or_default(),
        };
        if let Some(default) = table.get("default") {
            let default = serde_json::to_value(default).unwrap_or_default();
            match spec.check(&default) {
                Ok(default) => spec.default = Some(default),
                Err(message) => self.problem(under(place, "default"), message),
            }
            if required {
                self.problem(
                    place,
                    "a setting with a default is never required; drop one of them",
                );
            }
        }
        Some(spec)
    }

    fn require_one_of(
        &mut self,
        top: &Table,
        settings: &BTreeMap<String, SettingSpec>,
    ) -> Vec<Vec<String>> {
        let place = "require_one_of";
        let mut all = Vec::new();
        for element in self.list(top, "", place) {
            let Some(names) = element.as_array().filter(|names| !names.is_empty()) else {
                self.problem(place, "must be a list of lists of settings");
                continue;
            };
            let names = self.texts(names, place);
            for name in names.iter().filter(|name| !settings.contains_key(*name)) {
                self.no_setting(place, name, settings);
            }
            all.push(names);
        }
        all
    }

    fn no_setting(&mut self, place: &str, name: &str, settings: &BTreeMap<String, SettingSpec>) {
        let hint = alternatives(name, settings.keys().map(String::as_str));
        self.problem(place, format!("there is no setting \"{name}\"{hint}"));
    }

    fn auth(&mut self, top: &Table, secrets: &BTreeMap<String, String>) -> Option<AuthRecipe> {
        let recipe = self.table(top, "auth").and_then(|table| {
            self.known_keys(table, "auth", &["type", "secret"]);
            let ty = self.text(table, "auth", "type")?;
            if ty != "bearer" {
                let hint = alternatives(&ty, ["bearer"].into_iter());
                self.problem("auth.type", format!("no recipe \"{ty}\"{hint}"));
            }
            let secret = self.text(table, "auth", "secret")?;
            if !secrets.contains_key(&secret) {
                let hint = alternatives(&secret, secrets.keys().map(String::as_str));
                self.problem("auth.secret", format!("no secret \"{secret}\"{hint}"));
                return None;
            }
            Some(AuthRecipe::Bearer { secret })
        });
        // A secret never enters the sandbox: one that no recipe applies could only mislead.
        let used = |name: &&String| matches!(&recipe, Some(AuthRecipe::Bearer { secret }) if secret == *name);
        let unused: Vec<&String> = secrets.keys().filter(|name| !used(name)).collect();
        for name in unused
            .into_iter()
            .filter(|_| recipe.is_some() || !top.contains_key("auth"))
        {
            self.problem(
                under("secrets", name),
                "no [auth] uses it; remove it or add the recipe",
            );
        }
        recipe
    }

    fn hosts(&mut self, top: &Table, settings: &BTreeMap<String, SettingSpec>) -> Vec<HostRule> {
        let elements = self.list(top, "", "host");
        if elements.is_empty() {
            self.problem("host", "is missing; add a [[host]] with the origin to call");
        }
        let mut hosts = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            let place = format!("host[{index}]");
            let Some(table) = element.as_table() else {
                self.problem(&place, "must be a table with an origin");
                continue;
            };
            self.known_keys(table, &place, &["origin", "when"]);
            let when = self.when(table, &place, settings);
            let Some(origin) = self.text(table, &place, "origin") else {
                continue;
            };
            if let Err(message) = check_origin(&origin, settings) {
                self.problem(under(&place, "origin"), message);
            }
            hosts.push(HostRule { origin, when });
        }
        hosts
    }

    fn when(
        &mut self,
        table: &Table,
        place: &str,
        settings: &BTreeMap<String, SettingSpec>,
    ) -> Option<(String, String)> {
        let value = table.get("when")?;
        let place = under(place, "when");
        let mut pairs = value.as_table().into_iter().flatten();
        let (Some((setting, Value::String(value))), None) = (pairs.next(), pairs.next()) else {
            self.problem(
                place,
                "must be one setting and its value, as { region = \"us\" }",
            );
            return None;
        };
        match settings.get(setting) {
            None => self.no_setting(&place, setting, settings),
            Some(spec) => {
                if let Err(message) = spec.check(&value.as_str().into()) {
                    self.problem(place, message);
                }
            }
        }
        Some((setting.clone(), value.clone()))
    }

    fn profile(&mut self, top: &Table) -> Option<Profile> {
        let Some(value) = top.get("profile") else {
            self.problem(
                "profile",
                "is missing; add a [profile] with the supported paths",
            );
            return None;
        };
        let spec: ProfileSpec = match value.clone().try_into() {
            Ok(spec) => spec,
            Err(error) => {
                self.problem("profile", error.to_string().trim_end());
                return None;
            }
        };
        Profile::build(&spec)
            .map_err(|problems| {
                for problem in problems {
                    self.problem("profile", problem);
                }
            })
            .ok()
    }
}

fn under(place: &str, key: &str) -> String {
    match place.is_empty() {
        true => key.to_owned(),
        false => format!("{place}.{key}"),
    }
}

/// `[a-z0-9][a-z0-9-]{0,62}` with the given sign in the place of the dash.
fn is_name(name: &str, sign: char) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 63 && name.starts_with(plain) && name.chars().all(|c| plain(c) || c == sign)
}

/// A fixed origin is https and nothing but an origin; a placeholder is a setting of type url.
fn check_origin(origin: &str, settings: &BTreeMap<String, SettingSpec>) -> Result<(), String> {
    if let Some(name) = placeholder(origin) {
        let hint = alternatives(name, settings.keys().map(String::as_str));
        let spec = settings
            .get(name)
            .ok_or_else(|| format!("there is no setting \"{name}\"{hint}"))?;
        return match spec.ty {
            SettingType::Url => Ok(()),
            _ => Err(format!("the setting \"{name}\" must be of type url")),
        };
    }
    if origin.contains(['{', '}']) {
        return Err("a placeholder stands for the whole origin, as \"{base_url}\"".to_owned());
    }
    let url = Url::parse(origin).map_err(|error| format!("\"{origin}\" is no URL: {error}"))?;
    if url.scheme() != "https" {
        return Err(format!("\"{origin}\" must start with https://"));
    }
    match url.origin().ascii_serialization() == origin.to_ascii_lowercase() {
        true => Ok(()),
        false => Err(format!(
            "\"{origin}\" must be scheme, host and port only, as {}",
            url.origin().ascii_serialization()
        )),
    }
}
