//! Compilers of other languages, as `cargo xtask tools` installs them below `target/tools`, put into a created project the way its author
//! would have them there.

use std::path::PathBuf;
use std::process::Command;

use crate::{Project, binary};

/// What to do where something is missing.
const HINT: &str = "run `cargo xtask tools`, which installs it, or `cargo xtask test`";

/// Where cargo builds for this machine, and what is installed for tests.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    binary::repository().join(target)
}

/// Gives a project what npm would have installed in it.
///
/// # Panics
/// Where that is missing.
pub fn npm(project: &Project, folder: &str) {
    let installed = target().join("tools/npm/node_modules");
    assert!(installed.join("componentize-qjs").is_dir(), "there is no componentize-qjs: {HINT}");
    std::os::unix::fs::symlink(installed, project.join(folder).join("node_modules")).expect("make a link");
}

/// Gives a project a virtual environment with this program of PyPI.
///
/// # Panics
/// Where that is missing.
pub fn python(project: &Project, folder: &str, program: &str) {
    let installed = target().join("tools/python");
    assert!(installed.join("bin").join(program).is_file(), "there is no {program}: {HINT}");
    std::os::unix::fs::symlink(installed, project.join(folder).join(".venv")).expect("make a link");
}

/// Makes cargo build into one directory for all created projects, so that their dependencies are compiled once, from crates that are here.
pub fn cargo(command: &mut Command) {
    command.env("CARGO_TARGET_DIR", target().join("tools/rust")).env("CARGO_NET_OFFLINE", "true");
}
