//! References to secrets. The secret itself is only read when a tenant is put together.
//!
//! Invariant: neither a reference nor an error about one contains the secret.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: an environment variable of the gateway.
    Env(String),
    /// `file:/path`: a file, as container platforms and systemd mount secrets.
    File(PathBuf),
}

/// No key or certificate is longer; a larger file is not a secret but a mistake.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

impl SecretRef {
    /// Reads a reference as it is written. The message does not repeat the text, which may be a
    /// secret that somebody wrote in its place.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "a secret is never written here; write \"env:NAME\" for an environment \
                            variable or \"file:/path\" for a file, and keep the secret there";
        if let Some(name) = text.strip_prefix("env:") {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
            return match !name.is_empty() && name.chars().all(fits) {
                true => Ok(Self::Env(name.to_owned())),
                false => Err("`env:` takes the name of a variable: letters, digits and _"),
            };
        }
        if let Some(path) = text.strip_prefix("file:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::File(path)),
                false => Err("`file:` takes an absolute path, as in \"file:/run/secrets/key\""),
            };
        }
        Err(FORM)
    }

    /// Reads the secret. Line breaks at its end are not part of it, since editors add one.
    ///
    /// # Errors
    /// For the operator: the variable is not set or empty, the file cannot be read, is empty, is
    /// larger than 64 KiB or is not UTF-8.
    pub fn resolve(&self) -> Result<SecretString, String> {
        let (name, text) = match self {
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|error| match error {
                    std::env::VarError::NotPresent => {
                        format!("the environment variable {name} is not set")
                    }
                    std::env::VarError::NotUnicode(_) => {
                        format!("the environment variable {name} is not UTF-8")
                    }
                })?;
                (
                    format!("the environment variable {name}"),
                    Zeroizing::new(text),
                )
            }
            Self::File(path) => {
                let name = path.display().to_string();
                let mut text = Zeroizing::new(String::new());
                let read = File::open(path)
                    .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text));
                match read {
                    Err(error) => return Err(format!("{name} cannot be read: {error}")),
                    Ok(bytes) if bytes as u64 > SECRET_BYTES_MAX => {
                        return Err(format!("{name} is larger than {SECRET_BYTES_MAX} bytes"));
                    }
                    Ok(_) => (name, text),
                }
            }
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(format!("{name} is empty")),
            secret => Ok(SecretString::from(secret)),
        }
    }
}
