//! Licences: lock files do not know them (npm's does, since version 2), packages' own manifests do.

use std::collections::BTreeMap;

use lockgate_documents::{Document, Limits, read, toml};
use lockgate_sdk::prelude::*;

use crate::package::{Bill, Ecosystem, Package};

/// The largest manifest that is read.
const LARGEST: u64 = 1 << 20;

const LIMITS: Limits = Limits { depth: 64 };

/// What a manifest says: ecosystem, name, version, licence.
type Said = (Ecosystem, String, String, String);

/// What workspaces of Cargo give to their packages, by their folders: version and licence.
type Workspaces = BTreeMap<String, (Option<String>, Option<String>)>;

/// Reads all manifests of a tree.
pub fn read(tree: &Tree, bill: &mut Bill) -> Result<()> {
    let mut workspaces = Workspaces::new();
    // Workspaces first: their packages may stand before them.
    for file in tree.files().filter(|file| file.size() <= LARGEST && name_of(&file.path) == "Cargo.toml") {
        let Some(manifest) = manifest(tree, &file.path)? else { continue };
        let manifest = toml::read(&manifest, LIMITS).ok();
        if let Some(shared) = manifest.as_ref().and_then(|manifest| manifest.get("workspace")?.get("package")) {
            workspaces.insert(folder_of(&file.path).to_owned(), (text(shared, "version"), text(shared, "license")));
        }
    }
    for file in tree.files().filter(|file| file.size() <= LARGEST) {
        let said = match name_of(&file.path) {
            "Cargo.toml" => {
                manifest(tree, &file.path)?.and_then(|text| cargo(&text, folder_of(&file.path), &workspaces))
            }
            "package.json" => manifest(tree, &file.path)?.and_then(|text| npm(&text)),
            "METADATA" if file.path.contains(".dist-info/") => {
                manifest(tree, &file.path)?.and_then(|text| python(&text))
            }
            _ => continue,
        };
        let Some((ecosystem, name, version, licence)) = said else { continue };
        let prefix = Package::new(ecosystem, &name, Some(&version)).purl();
        for (purl, package) in bill.packages.range_mut(prefix.clone()..) {
            // The same package may come from elsewhere, which is a qualifier.
            match purl.strip_prefix(&prefix) {
                Some(rest) if rest.is_empty() || rest.starts_with('?') => package.licence = Some(licence.clone()),
                // A longer version.
                Some(_) => {}
                None => break,
            }
        }
    }
    Ok(())
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A manifest's text. One that cannot be read belongs to a package's tests, as likely as not.
fn manifest(tree: &Tree, path: &str) -> Result<Option<String>> {
    Ok(String::from_utf8(tree.read(path)?).ok())
}

fn text(document: &Document, key: &str) -> Option<String> {
    document.get(key).and_then(Document::text).map(str::to_owned)
}

fn cargo(manifest: &str, folder: &str, workspaces: &Workspaces) -> Option<Said> {
    let manifest = toml::read(manifest, LIMITS).ok()?;
    let package = manifest.get("package")?;
    // The nearest workspace upwards.
    let shared = || {
        let mut at = folder;
        loop {
            if let Some(shared) = workspaces.get(at) {
                return Some(shared);
            }
            if at.is_empty() {
                return None;
            }
            at = folder_of(at);
        }
    };
    let inherits = |key: &str| package.get(key).is_some_and(|value| value.get("workspace").is_some());
    let version = text(package, "version").or_else(|| shared().filter(|_| inherits("version"))?.0.clone())?;
    let licence = text(package, "license").or_else(|| shared().filter(|_| inherits("license"))?.1.clone());
    let licence = licence.or_else(|| Some(format!("see the file {}", text(package, "license-file")?)))?;
    // Before expressions `/` was "or".
    let licence = if licence.starts_with("see ") { licence } else { licence.replace('/', " OR ") };
    Some((Ecosystem::Cargo, text(package, "name")?, version, licence))
}

fn npm(manifest: &str) -> Option<Said> {
    let (mut documents, _) = read::json(manifest, LIMITS);
    let manifest = documents.pop()?;
    let of = |document: &Document| document.text().map(str::to_owned).or_else(|| text(document, "type"));
    let list = || {
        let all: Vec<String> = manifest.get("licenses")?.items().iter().filter_map(of).collect();
        (!all.is_empty()).then(|| all.join(" OR "))
    };
    let licence = manifest.get("license").and_then(of).or_else(list)?;
    Some((Ecosystem::Npm, text(&manifest, "name")?, text(&manifest, "version")?, licence))
}

fn python(manifest: &str) -> Option<Said> {
    let head = manifest.split("\n\n").next().unwrap_or(manifest);
    let get = |key: &str| {
        head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(|value| value.trim().to_owned())
    };
    let classifier = || {
        let mut lines = head.lines().filter_map(|line| line.strip_prefix("Classifier: License ::"));
        lines.find_map(|line| line.rsplit("::").next()).map(|name| name.trim().to_owned())
    };
    let short = |licence: &String| !licence.is_empty() && licence != "UNKNOWN" && licence.len() < 100;
    let licence = get("License-Expression").or_else(|| get("License").filter(short)).or_else(classifier)?;
    Some((Ecosystem::Python, get("Name")?, get("Version")?, licence))
}
