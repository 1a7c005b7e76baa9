//! Rust: cargo makes a core module, and we a component of it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Made, Options, taken};
use crate::ToolchainError;
use crate::component::componentize;
use crate::program::{Happening, Progress, cargo, run};
use crate::project::Project;
use crate::rust::{RustToolchain, TARGET};

/// What of `cargo metadata` is needed.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

pub(super) fn build(project: &Project, options: &Options, progress: &mut Progress<'_>) -> Result<Made, ToolchainError> {
    let toolchain = RustToolchain::find(&project.directory)?;
    let (metadata, package, library) = look(&project.directory)?;
    progress(Happening::Step(&format!("compiling {package} by cargo ({toolchain})")));
    // Each toolchain has its own folder: they would build everything anew in turn.
    let target = metadata.target_directory.join(format!("guests-{toolchain}"));
    let mut command = toolchain.build(&project.directory, &metadata.workspace_root, &target)?;
    let profile = if options.debug { "dev" } else { "release" };
    command.args(["--lib", "--profile", profile, "-p", &package]);
    run(&mut command, progress)?;
    let folder = target.join(TARGET).join(if options.debug { "debug" } else { "release" });
    let module = taken(&folder.join(format!("{library}.wasm")))?;
    progress(Happening::Step("making a component of it"));
    Ok(Made { name: package, component: componentize(&module)? })
}

/// Asks cargo where things are: the package of the folder and the name of its library.
fn look(directory: &Path) -> Result<(Metadata, String, String), ToolchainError> {
    let mut command = cargo(directory);
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().map_err(ToolchainError::io("start `cargo metadata`"))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        let (program, how) = ("cargo metadata".to_owned(), "an error".to_owned());
        return Err(ToolchainError::Program { program, how, output });
    }
    let wrong = |reason: String| ToolchainError::Wrong(format!("build `{}`: {reason}", directory.display()));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| wrong(format!("cargo's metadata: {error}")))?;
    let manifest = directory.join("Cargo.toml");
    let package = metadata.packages.iter().find(|package| package.manifest_path == manifest);
    let package = package.ok_or_else(|| wrong("its Cargo.toml has no package, only a workspace".into()))?;
    let is_plugin = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
    let library = package.targets.iter().find(is_plugin).ok_or_else(|| {
        wrong("its library is no plugin: Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`".into())
    })?;
    let (name, library) = (package.name.clone(), library.name.replace('-', "_"));
    Ok((metadata, name, library))
}
