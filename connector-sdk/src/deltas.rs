//! What changed since the last update that succeeded.

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// One attribute that changed.
#[derive(Debug, Clone, Deserialize)]
pub struct Delta {
    /// The profile path, as the manifest writes it.
    pub path: String,
    /// The new value; none if the attribute lost its value.
    pub value: Option<Value>,
}

/// The attributes that changed, each by its profile path.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Deltas {
    deltas: Vec<Delta>,
}

impl Deltas {
    pub(crate) fn parse(json: &str) -> Result<Deltas, Error> {
        serde_json::from_str(json)
            .map_err(|error| Error::internal(format!("the deltas cannot be read: {error}")))
    }

    /// Whether the attribute changed, and to what: none if it did not change, `Some(None)` if it
    /// lost its value.
    pub fn get(&self, path: &str) -> Option<Option<&Value>> {
        let delta = self.deltas.iter().find(|delta| delta.path == path)?;
        Some(delta.value.as_ref())
    }

    /// Every change, in the order of the manifest's profile.
    pub fn iter(&self) -> std::slice::Iter<'_, Delta> {
        self.deltas.iter()
    }
}

impl<'a> IntoIterator for &'a Deltas {
    type Item = &'a Delta;
    type IntoIter = std::slice::Iter<'a, Delta>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_changed_from_emptied_from_untouched() {
        let deltas =
            Deltas::parse(r#"[{"path":"active","value":false},{"path":"title","value":null}]"#)
                .unwrap();
        assert_eq!(deltas.get("active"), Some(Some(&Value::Bool(false))));
        assert_eq!(deltas.get("title"), Some(None));
        assert_eq!(deltas.get("userName"), None);
        assert_eq!(deltas.iter().count(), 2);
    }
}
