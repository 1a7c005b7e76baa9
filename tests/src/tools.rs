//! Compilers of other languages, as `cargo xtask tools` installs them below `target/tools`, put into a created project the way its author
//! would have them there.

use std::path::PathBuf;
use std::process::Command;

use crate::{Project, binary};

/// What to do where something is missing.
const HINT: &str = "run `cargo xtask tools`, which installs it, or `cargo xtask test`";

/// The sources of a crate that `Cargo.lock` names, as cargo fetched them, and its version there. Nothing need compile it.
///
/// # Panics
/// Where it was not fetched.
pub fn fetched(name: &str) -> (PathBuf, String) {
    let lock = std::fs::read_to_string(binary::repository().join("Cargo.lock")).expect("Cargo.lock");
    let version =
        lock.split(&format!("name = \"{name}\"\nversion = \"")).nth(1).and_then(|rest| rest.split('"').next());
    let version = version.unwrap_or_else(|| panic!("Cargo.lock has no `{name}`")).to_owned();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).expect("a home of cargo");
    let registries = std::fs::read_dir(home.join("registry/src")).expect("cargo's registry");
    let mut found = registries.map(|registry| registry.expect("a registry").path().join(format!("{name}-{version}")));
    let path = found.find(|path| path.is_dir());
    (path.unwrap_or_else(|| panic!("{name} is not here: run `cargo fetch`, or `cargo xtask test`")), version)
}

/// Where cargo builds for this machine, and what is installed for tests.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    binary::repository().join(target)
}

/// A folder of what is installed, and the name under which a project has it.
fn installed(folder: &str, name: &'static str, needed: &str) -> Result<(PathBuf, &'static str), String> {
    let dir = target().join("tools").join(folder);
    if dir.join(needed).exists() { Ok((dir, name)) } else { Err(format!("there is no `{needed}`: {HINT}")) }
}

fn npm_packages() -> Result<(PathBuf, &'static str), String> {
    installed("npm/node_modules", "node_modules", "componentize-qjs")
}

fn environment(program: &str) -> Result<(PathBuf, &'static str), String> {
    installed("python", ".venv", &format!("bin/{program}"))
}

/// What a project in a language needs; nothing where it needs no more than the machine has.
fn needed(language: &str) -> Result<Option<(PathBuf, &'static str)>, String> {
    match language {
        "js" | "ts" => npm_packages().map(Some),
        "python" => environment("componentize-py").map(Some),
        "go" => environment("go").map(Some),
        _ => Ok(None),
    }
}

/// Whether what a language needs is there.
pub fn has(language: &str) -> bool {
    needed(language).is_ok()
}

/// Gives a project what its author would have installed for its language.
///
/// # Panics
/// Where that is missing.
pub fn install(project: &Project, folder: &str, language: &str) {
    if let Some(found) = needed(language).unwrap_or_else(|missing| panic!("{missing}")) {
        link(project, folder, found);
    }
}

/// Gives a project a virtual environment with this program of PyPI.
///
/// # Panics
/// Where that is missing.
pub fn python(project: &Project, folder: &str, program: &str) {
    link(project, folder, environment(program).unwrap_or_else(|missing| panic!("{missing}")));
}

fn link(project: &Project, folder: &str, (installed, name): (PathBuf, &str)) {
    std::os::unix::fs::symlink(installed, project.join(folder).join(name)).expect("make a link");
}

/// Makes cargo build into one directory for all created projects, so that their dependencies are compiled once, from crates that are here.
pub fn cargo(command: &mut Command) {
    command.env("CARGO_TARGET_DIR", target().join("tools/rust")).env("CARGO_NET_OFFLINE", "true");
}
