//! `gateway connector`: builds connectors and looks into built ones.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use comfy_table::Table;
use serde_json::{Value, json};

use super::{Failure, Output};
use crate::connector::build::{self, Built};
use crate::connector::component::{self, Anatomy};
use crate::manifest::{Manifest, SettingSpec};
use crate::scim::{ProfilePath, ResourceKind};

/// What can be done with connectors.
#[derive(Subcommand)]
pub(super) enum ConnectorCommand {
    /// Build connectors from their folders: one .wasm file each, manifest included.
    Build {
        /// Folders that hold connector.toml, Cargo.toml and src.
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Where the built files go.
        #[arg(long, value_name = "FOLDER", default_value = "connectors/dist")]
        out: PathBuf,
    },
    /// Show what a built connector is, needs and supports, without running it.
    Inspect {
        /// The .wasm file.
        file: PathBuf,
    },
}

/// Runs one connector command.
pub(super) fn run(command: &ConnectorCommand, output: Output) -> Result<(), Failure> {
    match command {
        ConnectorCommand::Build { folders, out } => {
            for folder in folders {
                let built = build::build(folder, out, &|line| eprintln!("{line}"))?;
                print_built(&built, output);
            }
            Ok(())
        }
        ConnectorCommand::Inspect { file } => inspect(file, output),
    }
}

fn print_built(built: &Built, output: Output) {
    let (path, manifest) = (built.path.display(), &built.manifest);
    match output {
        Output::Json => println!(
            "{}",
            json!({
                "name": manifest.name,
                "version": manifest.version,
                "file": path.to_string(),
                "file_bytes": built.file_bytes,
                "sha256": built.digest,
                "imports": built.imports,
            })
        ),
        Output::Table => {
            println!("{path}: {} {}", manifest.name, manifest.version);
            println!("  {} bytes, sha256 {}", built.file_bytes, built.digest);
            println!("  imports {}", list(&built.imports));
        }
    }
}

fn inspect(file: &Path, output: Output) -> Result<(), Failure> {
    let of_file = |message: String| Failure::from(format!("{}: {message}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| of_file(error.to_string()))?;
    let anatomy = Anatomy::read(&bytes).map_err(of_file)?;
    let manifest =
        Manifest::read_component(&bytes).map_err(|problems| of_file(problems.join("\n  ")))?;
    let digest = component::digest(&bytes);
    match output {
        Output::Json => println!("{}", describe(&manifest, &anatomy, &digest, bytes.len())),
        Output::Table => print_tables(&manifest, &anatomy, &digest, bytes.len()),
    }
    // Shown before it is judged: what is refused is what the reader came to see.
    match anatomy.check() {
        Ok(()) => Ok(()),
        Err(problems) => Err(of_file(format!(
            "this gateway would not load it: {}",
            problems.join("\n  ")
        ))),
    }
}

fn describe(manifest: &Manifest, anatomy: &Anatomy, digest: &str, file_bytes: usize) -> Value {
    let hosts = manifest.hosts.iter().map(|rule| {
        let when = rule.when.as_ref();
        let when = when.map(|(setting, value)| json!({ "setting": setting, "value": value }));
        json!({ "origin": rule.origin, "when": when })
    });
    let settings = manifest.settings.iter().map(|(name, spec)| {
        json!({
            "name": name,
            "type": spec.ty.word(),
            "choices": spec.choices,
            "default": spec.default,
            "required": spec.required,
            "description": spec.description,
        })
    });
    let paths = |kind: ResourceKind| -> Vec<Value> {
        let paths = manifest.profile.paths(kind).iter();
        paths.map(describe_path).collect()
    };
    let matching = |kind: ResourceKind| Some(&manifest.profile.matching(kind)?.text);
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "contract": manifest.contract,
        "description": manifest.description,
        "sha256": digest,
        "file_bytes": file_bytes,
        "component": anatomy.is_component,
        "imports": anatomy.imports,
        "exports": anatomy.exports,
        "hosts": hosts.collect::<Vec<_>>(),
        "secrets": manifest.secrets,
        "settings": settings.collect::<Vec<_>>(),
        "require_one_of": manifest.require_one_of,
        "profile": {
            "matching": matching(ResourceKind::User),
            "user": paths(ResourceKind::User),
            "group": paths(ResourceKind::Group),
            "members": manifest.profile.has_members(),
        },
    })
}

fn describe_path(path: &ProfilePath) -> Value {
    json!({
        "path": path.text,
        "type": path.ty.as_str(),
        "required": path.required,
        "vendor": path.vendor,
        "inferred": path.inferred,
    })
}

fn print_tables(manifest: &Manifest, anatomy: &Anatomy, digest: &str, file_bytes: usize) {
    let kind = match anatomy.is_component {
        true => "component",
        false => "core module",
    };
    println!(
        "{} {}: {}",
        manifest.name, manifest.version, manifest.description
    );
    println!("  {kind} of {file_bytes} bytes, sha256 {digest}");
    println!("  contract {}", manifest.contract);
    println!("  imports  {}", list(&anatomy.imports));
    println!("  exports  {}", list(&anatomy.exports));
    let hosts: Vec<String> = manifest.hosts.iter().map(ToString::to_string).collect();
    println!("  hosts    {}", list(&hosts));

    let secrets = manifest
        .secrets
        .iter()
        .map(|(name, description)| [name.clone(), "required".to_owned(), description.clone()]);
    print_table(["SECRET", "", "DESCRIPTION"], secrets);
    let settings = manifest
        .settings
        .iter()
        .map(|(name, spec)| [name.clone(), values(spec), spec.description.clone()]);
    print_table(["SETTING", "VALUES", "DESCRIPTION"], settings);
    for names in &manifest.require_one_of {
        println!("  at least one of: {}", list(names));
    }
    for (kind, header) in [
        (ResourceKind::User, "USER PATH"),
        (ResourceKind::Group, "GROUP PATH"),
    ] {
        let matching = manifest.profile.matching(kind);
        let paths = manifest.profile.paths(kind).iter().map(|path| {
            let mut notes = vec![path.ty.as_str()];
            notes.extend(path.required.then_some("required"));
            let matches = matching.is_some_and(|matching| matching.text == path.text);
            notes.extend(matches.then_some("matching"));
            notes.extend(path.inferred.then_some("inferred"));
            let vendor = path.vendor.clone().unwrap_or_default();
            [path.text.clone(), notes.join(", "), vendor]
        });
        print_table([header, "", "AT THE VENDOR"], paths);
    }
    if manifest.profile.has_members() {
        println!("  members of groups are provisioned");
    }
}

fn print_table(header: [&str; 3], rows: impl Iterator<Item = [String; 3]>) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header);
    table.add_rows(rows);
    if !table.is_empty() {
        println!("\n{table}");
    }
}

fn values(spec: &SettingSpec) -> String {
    let mut values = match spec.choices.as_slice() {
        [] => spec.ty.word().to_owned(),
        choices => choices.join(" | "),
    };
    match &spec.default {
        Some(default) => values.push_str(&format!(", default {default}")),
        None if spec.required => values.push_str(", required"),
        None => {}
    }
    values
}

fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}
