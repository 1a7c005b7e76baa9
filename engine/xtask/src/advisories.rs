//! Known vulnerabilities of what Lockgate is built on: by `cargo deny` and the advisory database where both can be had, by recorded floors in
//! any case.
//!
//! A floor is the lowest version of a crate without an advisory that concerned Lockgate when it was written down. To take an advisory in:
//! raise the floor, update the lock file, and say it in the changelog.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::root;
use crate::steps::{Closing, succeeds};

/// Crate, lowest version, why: the advisory, or the line that we stay on.
const FLOORS: &[(&str, [u64; 3], &str)] = &[
    ("crossbeam-channel", [0, 5, 15], "RUSTSEC-2025-0024"),
    ("hashbrown", [0, 15, 1], "RUSTSEC-2024-0402"),
    ("idna", [1, 0, 0], "RUSTSEC-2024-0421"),
    ("regex", [1, 5, 5], "RUSTSEC-2022-0013"),
    ("ring", [0, 17, 12], "RUSTSEC-2025-0009"),
    ("rustls", [0, 23, 18], "RUSTSEC-2024-0399"),
    ("rustls-webpki", [0, 101, 4], "RUSTSEC-2023-0053"),
    ("slab", [0, 4, 11], "RUSTSEC-2025-0047"),
    ("tar", [0, 4, 36], "RUSTSEC-2021-0080"),
    ("tokio", [1, 44, 2], "RUSTSEC-2025-0023"),
    ("tracing-subscriber", [0, 3, 20], "RUSTSEC-2025-0055"),
    ("wasmtime", [48, 0, 8], "the LTS line"),
];

/// The step of `cargo xtask test`.
pub fn check() -> Result<Closing> {
    let root = root()?;
    let mut seen = 0;
    for lock in [root.join("Cargo.lock"), root.join("plugins/Cargo.lock")] {
        seen += floors(&std::fs::read_to_string(&lock).with_context(|| format!("failed to read {}", lock.display()))?)?;
    }
    let floors = format!("{seen} crates are above their floors");
    Ok(match database(&root)? {
        Ok(()) => Closing::Line(format!("{floors}; cargo deny knows no advisory")),
        Err(why) => Closing::Line(format!("{floors}; the advisory database was not asked: {why}")),
    })
}

/// Holds a lock file against the floors; the number of crates that have one.
fn floors(lock: &str) -> Result<usize> {
    let lock: toml::Table = lock.parse().context("failed to read the lock file")?;
    let packages = lock.get("package").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut seen = 0;
    for package in packages {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let Some((name, floor, why)) = FLOORS.iter().find(|(name, ..)| *name == text("name")) else { continue };
        let version = version(text("version")).with_context(|| format!("failed to read the version of {name}"))?;
        if version < *floor {
            let [a, b, c] = floor;
            bail!("{name} {} is below {a}.{b}.{c} ({why}): cargo update -p {name}", text("version"));
        }
        seen += 1;
    }
    Ok(seen)
}

fn version(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// Asks `cargo deny`; the inner error says why it could not be asked.
fn database(root: &Path) -> Result<Result<(), String>> {
    if !succeeds("cargo", &["deny", "--version"]) {
        return Ok(Err("cargo-deny is not installed (cargo install cargo-deny)".to_owned()));
    }
    let fetched = Command::new("cargo").args(["deny", "fetch", "db"]).current_dir(root).output();
    if !fetched.is_ok_and(|fetched| fetched.status.success()) {
        return Ok(Err("it is out of reach".to_owned()));
    }
    crate::steps::run(Command::new("cargo").args(["deny", "check", "advisories"]).current_dir(root))?;
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_its_floor_is_named() {
        let lock = |version: &str| format!("[[package]]\nname = \"wasmtime\"\nversion = \"{version}\"\n");
        assert_eq!(floors(&lock("48.0.8")).unwrap(), 1);
        assert_eq!(floors(&lock("49.0.0-rc.1")).unwrap(), 1);
        assert_eq!(floors("[[package]]\nname = \"other\"\nversion = \"0.0.1\"\n").unwrap(), 0);
        let error = floors(&lock("48.0.7")).unwrap_err().to_string();
        assert_eq!(error, "wasmtime 48.0.7 is below 48.0.8 (the LTS line): cargo update -p wasmtime");
    }

    #[test]
    fn the_floors_hold_here() {
        check().unwrap();
    }
}
