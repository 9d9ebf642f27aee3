//! From a connector's folder to one `.wasm` file: compiles the crate, makes a component of it,
//! checks what that imports, and puts the manifest inside.
//!
//! Invariant: a file appears whole and checked, or not at all.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use super::component::{self, Anatomy};
use super::toolchain::{TARGET, Toolchain};
use crate::manifest::Manifest;

/// The manifest's name in a connector's folder.
const MANIFEST: &str = "connector.toml";

/// Settings that make any crate a small and quick component, whatever its workspace's profiles say.
/// For speed: with opt-level "s" a component was a sixth smaller and a call 7 to 15 microseconds dearer
/// (`make bench`), on top of 16 to 25.
const PROFILE: &[&str] = &[
    "profile.release.opt-level=2",
    "profile.release.lto=\"fat\"",
    "profile.release.codegen-units=1",
    "profile.release.panic=\"abort\"",
    "profile.release.strip=true",
    "profile.release.debug=false",
];

/// A small stack and a heap that is there from the start: an instance then asks for no more memory
/// while it runs a usual call, which saves system calls (see the SDK's `heap.rs`).
const LINK: &str = "rustflags=[\"-Clink-arg=-zstack-size=131072\", \
                    \"-Clink-arg=--initial-heap=196608\"]";

/// A connector that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The file.
    pub path: PathBuf,
    /// What the connector says about itself.
    pub manifest: Manifest,
    /// Size of the file, bytes.
    pub file_bytes: usize,
    /// SHA-256 of the file in hexadecimal digits.
    pub digest: String,
    /// What it imports.
    pub imports: Vec<String>,
}

/// Why a connector was not built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder is not that of a connector, or its manifest has problems.
    #[error("{}: {}", path.display(), problems.join("\n  "))]
    Source {
        /// The file or folder at fault.
        path: PathBuf,
        /// What is wrong and what to do.
        problems: Vec<String>,
    },
    /// No toolchain compiles for WebAssembly here.
    #[error("{0}")]
    Toolchain(String),
    /// cargo did not build the crate; it has said why.
    #[error("cargo did not build {}: {reason}", folder.display())]
    Cargo {
        /// The connector's folder.
        folder: PathBuf,
        /// What is known besides cargo's own words.
        reason: String,
    },
    /// What was compiled is not a connector.
    #[error("{} is not a connector yet: {}", path.display(), problems.join("\n  "))]
    Component {
        /// The compiled module.
        path: PathBuf,
        /// What is wrong and what to do.
        problems: Vec<String>,
    },
    /// The file cannot be written.
    #[error("{} cannot be written: {error}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Builds the connector in `folder` and writes `NAME.wasm` into `out`. cargo's progress goes to
/// standard error; `say` gets a line before anything else that takes long.
///
/// # Errors
/// Whatever keeps it from being a connector, with what to do.
pub fn build(folder: &Path, out: &Path, say: &dyn Fn(&str)) -> Result<Built, BuildError> {
    let text = read_source(folder, MANIFEST)?;
    read_source(folder, "Cargo.toml")?;
    let manifest = Manifest::parse(&text).map_err(|problems| BuildError::Source {
        path: folder.join(MANIFEST),
        problems,
    })?;
    let toolchain = Toolchain::find(folder, say).map_err(BuildError::Toolchain)?;
    let module = compile(folder, &toolchain)?;
    let (bytes, imports) =
        assemble(&module, &manifest, &text).map_err(|problems| BuildError::Component {
            path: module,
            problems,
        })?;

    let path = out.join(format!("{}.wasm", manifest.name));
    write(&path, &bytes).map_err(|error| BuildError::Output {
        path: path.clone(),
        error,
    })?;
    Ok(Built {
        path,
        manifest,
        file_bytes: bytes.len(),
        digest: component::digest(&bytes),
        imports,
    })
}

fn read_source(folder: &Path, name: &str) -> Result<String, BuildError> {
    let path = folder.join(name);
    std::fs::read_to_string(&path).map_err(|error| BuildError::Source {
        path,
        problems: vec![format!(
            "{error}; a connector's folder holds {MANIFEST}, Cargo.toml and src"
        )],
    })
}

/// Compiles the crate and returns the path of its core module.
fn compile(folder: &Path, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
    let fail = |reason: String| BuildError::Cargo {
        folder: folder.to_owned(),
        reason,
    };
    let own_manifest = folder.join("Cargo.toml").canonicalize();
    let own_manifest = own_manifest.map_err(|error| fail(error.to_string()))?;
    let mut command = toolchain.cargo_build(folder);
    command.args(["--release", "--lib"]);
    command.arg("--message-format=json-render-diagnostics");
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    command.args(["--config", &format!("target.{TARGET}.{LINK}")]);
    let mut cargo = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| fail(format!("cargo does not start: {error}; install Rust")))?;

    let mut module = None;
    for line in cargo
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        let line = line.map_err(|error| fail(error.to_string()))?;
        // Lines of other kinds, and of crates that this one depends on, are not of interest.
        if let Ok(artifact) = serde_json::from_str::<Artifact>(&line)
            && artifact.manifest_path.canonicalize().ok().as_ref() == Some(&own_manifest)
        {
            let mut files = artifact.filenames.into_iter();
            module = files.find(|file| file.extension().is_some_and(|end| end == "wasm"));
        }
    }
    let status = cargo.wait().map_err(|error| fail(error.to_string()))?;
    if !status.success() {
        return Err(fail(format!("it ended with {status}; its words are above")));
    }
    module.ok_or_else(|| {
        fail(
            "it made no WebAssembly module; add to Cargo.toml:\n  [lib]\n  crate-type = \
             [\"cdylib\", \"rlib\"]"
                .to_owned(),
        )
    })
}

/// cargo's message about one crate that it has compiled.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    filenames: Vec<PathBuf>,
}

/// Makes the component with its manifest from a core module; also returns what it imports.
fn assemble(
    module: &Path,
    manifest: &Manifest,
    text: &str,
) -> Result<(Vec<u8>, Vec<String>), Vec<String>> {
    let one = |problem: String| vec![problem];
    let module = std::fs::read(module).map_err(|error| one(error.to_string()))?;
    Anatomy::read(&module).map_err(one)?.check()?;
    let component = component::encode(&module).map_err(one)?;
    let anatomy = Anatomy::read(&component).map_err(one)?;
    anatomy.check()?;
    anatomy.check_groups(&manifest.profile)?;
    let component = component::with_manifest(component, text);
    Ok((component, anatomy.imports))
}

/// Writes a file whole: beside its place, then renamed into it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    std::fs::write(&temporary, bytes)
        .and_then(|()| std::fs::rename(&temporary, path))
        .inspect_err(|_| _ = std::fs::remove_file(&temporary))
}
