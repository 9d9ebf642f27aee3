//! Finds a Rust toolchain that can compile for WebAssembly, which a fresh machine may lack.
//!
//! Tried in this order: the target is installed; `rustup` adds it; the standard library's source is
//! there to be compiled along; the same for Debian's own Rust. Nothing but the target is installed
//! on anyone's behalf: what needs the system's package manager is left to the person, with the line
//! to type.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The compile target of connectors: it knows no system, so nothing is imported for one.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// The line that gives Debian and Ubuntu all that is needed.
const DEBIAN_CURE: &str = "apt-get install -y rustc-web cargo-web rust-web-src lld-22";

/// What leaks from an enclosing `cargo run`, `cargo test` or `cargo clippy`, or is meant for native
/// code, and would change how a connector is compiled.
const LEAKS: &[&str] = &[
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
];

/// A way to compile for [`TARGET`].
#[derive(Debug)]
pub(super) struct Toolchain {
    /// Debian's own programs instead of those on the path.
    is_debian: bool,
    /// The target's standard library has to be compiled along.
    builds_std: bool,
}

impl Toolchain {
    /// Finds a toolchain for the crate in this folder. `say` gets a line before anything that takes
    /// long.
    ///
    /// # Errors
    /// What is missing, with the lines that cure it.
    pub(super) fn find(folder: &Path, say: &dyn Fn(&str)) -> Result<Toolchain, String> {
        let found = |is_debian, builds_std| {
            Ok(Toolchain {
                is_debian,
                builds_std,
            })
        };
        let own = Path::new("rustc");
        if has_target(folder, own) {
            return found(false, false);
        }
        let add = format!("rustup target add {TARGET}");
        say(&format!(
            "the target {TARGET} is not installed; trying `{add}`"
        ));
        if succeeds(scrubbed(folder, "rustup").args(["target", "add", TARGET]))
            && has_target(folder, own)
        {
            return found(false, false);
        }
        if has_source(folder, own) {
            say("it could not be added; compiling the standard library from its source");
            return found(false, true);
        }
        let debian = Path::new(DEBIAN_RUSTC);
        if has_target(folder, debian) {
            return found(true, false);
        }
        if has_source(folder, debian) {
            say("it could not be added; compiling the standard library with Debian's Rust");
            return found(true, true);
        }
        Err(format!(
            "no Rust toolchain here compiles for {TARGET}. One of these lines cures it:\n  {add}\n  \
             rustup component add rust-src\n  {DEBIAN_CURE}"
        ))
    }

    /// `cargo build`, ready for the arguments that say what to build.
    pub(super) fn cargo_build(&self, folder: &Path) -> Command {
        let mut command = match self.is_debian {
            true => {
                let mut command = scrubbed(folder, DEBIAN_CARGO);
                command.env("RUSTC", DEBIAN_RUSTC);
                command
            }
            false => scrubbed(folder, "cargo"),
        };
        command.args(["build", "--target", TARGET]);
        if self.builds_std {
            // Compiling std is not stable in cargo. It is needed only where no compiled one is to
            // be had.
            command.env("RUSTC_BOOTSTRAP", "1");
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A program in the crate's folder, whose `rust-toolchain.toml` and `.cargo/config.toml` then hold.
fn scrubbed(folder: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    for name in LEAKS {
        command.env_remove(name);
    }
    command
}

/// rustc prints the library folder also where it does not exist, hence the look inside.
fn has_target(folder: &Path, rustc: &Path) -> bool {
    let libraries = rustc_prints(
        folder,
        rustc,
        &["--print", "target-libdir", "--target", TARGET],
    );
    let entries = libraries.and_then(|libraries| std::fs::read_dir(libraries).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn has_source(folder: &Path, rustc: &Path) -> bool {
    rustc_prints(folder, rustc, &["--print", "sysroot"]).is_some_and(|root| {
        root.join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .exists()
    })
}

fn rustc_prints(folder: &Path, rustc: &Path, arguments: &[&str]) -> Option<PathBuf> {
    let output = scrubbed(folder, rustc)
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(path.trim_end()))
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
