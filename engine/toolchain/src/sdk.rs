//! The Rust SDK as a new project gets it: its sources beside the contract's, so that nothing but the `lockgate` binary is needed. What it
//! inherits from its workspace is written out, and the versions of all dependencies are those that Lockgate is built and tested with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::{Table, Value};

use crate::scaffold::{EMBEDDED, Embedded};
use crate::{ToolchainError, contract};

/// Where a project has the SDK. Two folders deep, as in Lockgate's repository: its sources name the contract by `../../wit`.
pub(crate) const FOLDER: &str = "vendor/lockgate-sdk";

/// The files that a project needs for the SDK: the lock file and, if it is to have them, the sources.
pub(crate) fn files(sources: bool, plugin: &str) -> Result<BTreeMap<PathBuf, String>, ToolchainError> {
    let workspace = parse(text("Cargo.toml")?)?;
    let mut files = BTreeMap::new();
    files.insert("Cargo.lock".into(), lock(plugin, text("Cargo.lock")?)?);
    if !sources {
        return Ok(files);
    }
    for Embedded { path, text } in EMBEDDED {
        let Some(inside) = path.strip_prefix("sdk/") else { continue };
        let text = if inside.ends_with("Cargo.toml") { standalone(text, &workspace)? } else { (*text).to_owned() };
        files.insert(PathBuf::from(FOLDER).join(inside), text);
    }
    for (name, text) in contract::FILES {
        files.insert(PathBuf::from("wit").join(contract::VERSION).join(name), text.to_owned());
    }
    Ok(files)
}

fn text(path: &str) -> Result<&'static str, ToolchainError> {
    let file = EMBEDDED.iter().find(|file| file.path == path);
    file.map(|file| file.text).ok_or_else(|| bug(format!("`plugins/{path}` is not in this binary")))
}

fn bug(reason: String) -> ToolchainError {
    ToolchainError::Wrong(format!("take the SDK out of this binary: {reason}"))
}

fn parse(text: &str) -> Result<Table, ToolchainError> {
    text.parse().map_err(|error: toml::de::Error| bug(error.to_string()))
}

/// A manifest that needs no workspace: what it inherits is put in, what is only for its own tests and lints is left out.
fn standalone(manifest: &str, workspace: &Table) -> Result<String, ToolchainError> {
    let mut manifest = parse(manifest)?;
    let workspace = workspace.get("workspace").and_then(Value::as_table);
    let shared = |table: &str, key: &str| {
        let value = workspace.and_then(|workspace| workspace.get(table)?.as_table()?.get(key)).cloned();
        value.ok_or_else(|| bug(format!("the workspace has no {table}.{key}")))
    };
    manifest.remove("lints");
    manifest.remove("dev-dependencies");
    if let Some(package) = manifest.get_mut("package").and_then(Value::as_table_mut) {
        // The compiler's version is for the repository: guests compile with older ones.
        package.remove("rust-version");
        inherit(package, |key| shared("package", key))?;
    }
    let mut tables: Vec<&mut Table> = Vec::new();
    for (key, value) in &mut manifest {
        match (key.as_str(), value) {
            ("dependencies", Value::Table(table)) => tables.push(table),
            ("target", Value::Table(targets)) => {
                for (_, target) in targets {
                    tables.extend(target.get_mut("dependencies").and_then(Value::as_table_mut));
                }
            }
            _ => {}
        }
    }
    for table in tables {
        inherit(table, |key| shared("dependencies", key))?;
    }
    toml::to_string(&manifest).map_err(|error| bug(error.to_string()))
}

/// Replaces each `x.workspace = true` of a table by what the workspace says.
fn inherit(table: &mut Table, shared: impl Fn(&str) -> Result<Value, ToolchainError>) -> Result<(), ToolchainError> {
    let inherits = |value: &Value| value.get("workspace").and_then(Value::as_bool) == Some(true);
    let keys: Vec<String> = table.iter().filter(|(_, value)| inherits(value)).map(|(key, _)| key.clone()).collect();
    for key in keys {
        let value = shared(&key)?;
        table.insert(key, value);
    }
    Ok(())
}

/// The part of a lock file that the SDK needs, with the project's own package.
fn lock(plugin: &str, whole: &str) -> Result<String, ToolchainError> {
    let whole = parse(whole)?;
    let packages: Vec<&Table> =
        whole.get("package").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table).collect();
    let name = |package: &Table| package.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let needs = |package: &Table| -> Vec<String> {
        let list = package.get("dependencies").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    // A dependency is a name, or a name and a version where there are several.
    let find = |wanted: &str| {
        let (wanted, version) = wanted.split_once(' ').map_or((wanted, None), |(name, version)| (name, Some(version)));
        let fits = |package: &&&Table| {
            name(package) == wanted
                && version.is_none_or(|version| package.get("version").and_then(Value::as_str) == Some(version))
        };
        packages.iter().find(fits).copied()
    };
    let mut kept: BTreeSet<(String, String)> = BTreeSet::new();
    let mut found: Vec<Table> = Vec::new();
    let mut open = vec!["lockgate-sdk".to_owned()];
    while let Some(wanted) = open.pop() {
        let package = find(&wanted).ok_or_else(|| bug(format!("the lock file lacks `{wanted}`")))?;
        let version = package.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
        if !kept.insert((name(package), version)) {
            continue;
        }
        let mut package = package.clone();
        // The SDK's own tests use the engine's model; those of a plugin do not.
        let needed: Vec<String> = needs(&package).into_iter().filter(|name| name != "lockgate-model").collect();
        if !needed.is_empty() {
            package.insert("dependencies".into(), Value::Array(needed.iter().cloned().map(Value::String).collect()));
        }
        open.extend(needed);
        found.push(package);
    }
    let own =
        [("name", plugin), ("version", "0.1.0")].map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())));
    let mut own = Table::from_iter(own);
    own.insert("dependencies".into(), Value::Array(vec![Value::String("lockgate-sdk".into())]));
    found.push(own);
    found.sort_by_key(|package| (name(package), package.get("version").map(ToString::to_string)));
    let mut lock = Table::new();
    lock.insert("version".into(), whole.get("version").cloned().unwrap_or(Value::Integer(4)));
    lock.insert("package".into(), Value::Array(found.into_iter().map(Value::Table).collect()));
    let text = toml::to_string(&lock).map_err(|error| bug(error.to_string()))?;
    Ok(format!("# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_stands_alone() {
        let files = files(true, "my-plugin").unwrap();
        let manifest = &files[&PathBuf::from("vendor/lockgate-sdk/Cargo.toml")];
        assert!(!manifest.contains("workspace") && !manifest.contains("lockgate-model"), "{manifest}");
        assert!(manifest.contains("[dependencies.serde]") && manifest.contains("wit-bindgen"), "{manifest}");
        for path in ["vendor/lockgate-sdk/src/lib.rs", "vendor/lockgate-sdk/macros/src/lib.rs", "wit/0.1.0/types.wit"] {
            assert!(files.contains_key(&PathBuf::from(path)), "{path}");
        }
    }

    #[test]
    fn the_lock_file_has_what_the_sdk_needs_and_no_more() {
        let lock = &files(false, "my-plugin").unwrap()[&PathBuf::from("Cargo.lock")];
        let packages: Table = lock.parse().unwrap();
        let names: Vec<&str> =
            packages["package"].as_array().unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
        assert!(
            names.contains(&"my-plugin") && names.contains(&"wit-bindgen") && names.contains(&"serde_json"),
            "{names:?}"
        );
        assert!(!names.contains(&"lockgate-model") && !names.contains(&"lockgate-pack"), "{names:?}");
    }
}
