//! A browser for pages that Lockgate writes: Debian's Chromium, driven by playwright-core. `cargo xtask browser` installs both.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::binary;

/// What to do where something is missing.
const HINT: &str = "run `cargo xtask browser`, which installs it, or `cargo xtask test`";
/// Names under which Chromium is known.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Chromium: `LOCKGATE_CHROMIUM`, or the first that is in the path.
fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("LOCKGATE_CHROMIUM") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    all.find(|path| path.is_file()).unwrap_or_else(|| panic!("there is no Chromium: {HINT}"))
}

/// Opens a page in light and dark and by the keyboard; what was seen. Screenshots go to `out`.
///
/// # Panics
/// Where the browser is missing or does not end well.
pub fn look_at(page: &Path, out: &Path) -> Value {
    drive("report.mjs", page, out)
}

/// Zooms and searches in a flame graph; what was seen, likewise.
///
/// # Panics
/// Where the browser is missing or does not end well.
pub fn look_at_flames(picture: &Path, out: &Path) -> Value {
    drive("flame.mjs", picture, out)
}

fn drive(script: &str, page: &Path, out: &Path) -> Value {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let target = binary::repository().join(target);
    let playwright = target.join("browser");
    assert!(playwright.join("node_modules/playwright-core").is_dir(), "there is no playwright-core: {HINT}");
    let script = binary::repository().join("tests/browser").join(script);
    let mut command = Command::new("node");
    command.arg(script).arg(page).arg(playwright).arg(chromium()).arg(out);
    let done = command.output().unwrap_or_else(|error| panic!("start node: {error}: {HINT}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "the browser ended with {}\n{stdout}\n{stderr}", done.status);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"))
}
