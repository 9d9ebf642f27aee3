//! A connector's file as bytes: what it imports and exports, whether that is the contract, and how
//! a core module becomes a component with its manifest inside.
//!
//! Invariant: nothing here compiles or runs guest code.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use wasmparser::{Parser, Payload};

use crate::manifest::{CONTRACTS, SECTION};
use crate::scim::Profile;

const PACKAGE: &str = "scimgw:connector/";
const IMPORTS: &[&str] = &["types", "http", "log"];
const EXPORT: &str = "accounts";
const GROUPS: &str = "groups";

/// What can be read off a WebAssembly file without compiling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anatomy {
    /// False for a core module, which has yet to become a component.
    pub is_component: bool,
    /// Names of what it imports, each once.
    pub imports: Vec<String>,
    /// Names of what it exports.
    pub exports: Vec<String>,
}

impl Anatomy {
    /// Reads the imports and exports of a file's outermost component or module.
    ///
    /// # Errors
    /// If the bytes are no WebAssembly, or not all of it.
    pub fn read(bytes: &[u8]) -> Result<Anatomy, String> {
        if !bytes.starts_with(b"\0asm") {
            return Err("this is no WebAssembly file".to_owned());
        }
        let mut anatomy = Anatomy {
            is_component: Parser::is_component(bytes),
            imports: Vec::new(),
            exports: Vec::new(),
        };
        anatomy
            .walk(bytes)
            .map_err(|error| format!("this WebAssembly file is damaged: {error}"))?;
        Ok(anatomy)
    }

    fn walk(&mut self, bytes: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth > 0 => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        self.imported(import?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        self.exports.push(export?.name.name.to_owned());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        self.imported(import?.module);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        self.exports.push(export?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn imported(&mut self, name: &str) {
        if !self.imports.iter().any(|known| known == name) {
            self.imports.push(name.to_owned());
        }
    }

    /// Checks that it imports no more than the contract gives and, if it is a component, exports
    /// what the contract asks for.
    ///
    /// # Errors
    /// Every import that is refused, with its cure, and a missing export.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let refused = self.imports.iter().filter_map(|import| refusal(import));
        let mut problems: Vec<String> = refused.collect();
        if self.is_component && !self.exports_interface(EXPORT) {
            problems.push(format!(
                "it does not export {PACKAGE}{EXPORT} of contract {}; in Rust, implement \
                 connector_sdk::Connector and name the type in connector_sdk::export!",
                CONTRACTS.join(" or ")
            ));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(problems),
        }
    }

    /// Whether a component exports this interface of the contract.
    fn exports_interface(&self, interface: &str) -> bool {
        self.exports.iter().any(|export| {
            contract_name(export).is_some_and(|(name, line)| name == interface && is_spoken(&line))
        })
    }

    /// Checks that a component whose profile has groups exports them.
    ///
    /// # Errors
    /// If it does not, with the cure.
    pub(super) fn check_groups(&self, profile: &Profile) -> Result<(), Vec<String>> {
        match profile.group().is_none() || self.exports_interface(GROUPS) {
            true => Ok(()),
            false => Err(vec![groups_missing()]),
        }
    }
}

/// What is wrong with a connector whose profile promises groups, and the cure.
pub(super) fn groups_missing() -> String {
    format!(
        "its profile has groups, but it does not export {PACKAGE}{GROUPS}; in Rust, implement \
         connector_sdk::GroupConnector and write connector_sdk::export!(… with groups), or take \
         [[profile.group]] out of connector.toml"
    )
}

/// Interface and contract line (`0.1`) of a name such as `scimgw:connector/http@0.1.0`.
fn contract_name(name: &str) -> Option<(&str, String)> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    let line: Vec<&str> = version.splitn(3, '.').take(2).collect();
    Some((interface, line.join(".")))
}

fn is_spoken(line: &str) -> bool {
    CONTRACTS.contains(&line)
}

/// Why an import is refused, and its cure; none if it is granted.
fn refusal(import: &str) -> Option<String> {
    let cure = match contract_name(import) {
        Some((_, line)) if !is_spoken(&line) => format!(
            "this gateway speaks contract {}, not {line}; rebuild the connector with a \
             connector-sdk of that line, or use another gateway",
            CONTRACTS.join(" and ")
        ),
        Some((interface, _)) if IMPORTS.contains(&interface) => return None,
        Some((_, line)) => format!("contract {line} has no such interface for a connector"),
        None if import.starts_with("wasi:") => {
            "a connector gets no files, clock, network or environment; in Rust, build it with \
             `gateway connector build`, with other tools stub WASI out (componentize-qjs: \
             --backend-qjs-stub-wasi, componentize-py: --stub-wasi)"
                .to_owned()
        }
        None if import == "wasi_snapshot_preview1" => {
            "it was built for wasm32-wasip1; build it with `gateway connector build`".to_owned()
        }
        None if import.starts_with("__wbindgen") || import == "wbg" => {
            "one of its dependencies expects JavaScript; turn that dependency's js or wasm-bindgen \
             feature off"
                .to_owned()
        }
        None => format!(
            "a connector may import {} of {PACKAGE}*@{} and nothing else; remove the dependency \
             that asks for it",
            IMPORTS.join(", "),
            CONTRACTS.join(" or ")
        ),
    };
    Some(format!("it imports {import}: {cure}"))
}

/// Turns a core module that wit-bindgen has marked into a component.
///
/// # Errors
/// If the module is not of that kind.
pub fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = wit_component::ComponentEncoder::default().validate(true);
    encoder
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| {
            format!(
                "this module does not become a component: {error:#}; is there a \
                 connector_sdk::export! in it?"
            )
        })
}

/// The component with the manifest's text appended as a custom section.
pub fn with_manifest(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    use wasm_encoder::{ComponentSection as _, CustomSection};
    let section = CustomSection {
        name: SECTION.into(),
        data: manifest.as_bytes().into(),
    };
    section.append_to_component(&mut component);
    component
}

/// SHA-256 of a file, in hexadecimal digits: the name of exactly this build.
pub fn digest(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_the_import_and_its_cure() {
        let check = |import: &str, cure: &str| {
            let message = refusal(import).expect("refused");
            assert!(message.contains(import), "{message}");
            assert!(message.contains(cure), "{message}");
        };
        check("wasi:filesystem/types@0.2.3", "stub WASI");
        check("wasi_snapshot_preview1", "wasm32-wasip1");
        check("__wbindgen_placeholder__", "JavaScript");
        check(
            "scimgw:connector/http@0.2.0",
            "speaks contract 0.1, not 0.2",
        );
        check("scimgw:connector/kv@0.1.0", "no such interface");
        check("scimgw:connector/http", "nothing else");
        check("env", "nothing else");
    }

    #[test]
    fn the_contract_is_granted_in_any_patch_version() {
        for interface in IMPORTS {
            assert_eq!(
                refusal(&format!("scimgw:connector/{interface}@0.1.0")),
                None
            );
            assert_eq!(
                refusal(&format!("scimgw:connector/{interface}@0.1.9")),
                None
            );
        }
    }

    #[test]
    fn junk_and_parts_are_told_apart_from_wasm() {
        let module = b"\0asm\x01\0\0\0";
        assert!(Anatomy::read(module).is_ok());
        for junk in [&b""[..], b"junk", &module[..7], b"\0asm\x01\0\0\0\x01"] {
            assert!(Anatomy::read(junk).is_err(), "{junk:?}");
        }
    }
}
