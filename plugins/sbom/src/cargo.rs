//! `Cargo.lock`, versions 1 to 4: packages, checksums and the whole graph.

use std::collections::BTreeMap;

use lockgate_documents::{Document, toml};
use lockgate_sdk::prelude::*;

use crate::package::{Bill, Ecosystem, File, Package, hash};
use crate::{LIMITS, document};

/// The registry that purls mean without saying so, by both of its protocols.
const CRATES_IO: [&str; 2] = ["https://github.com/rust-lang/crates.io-index", "https://index.crates.io/"];

/// A package and what the file says that it needs.
struct Entry<'a> {
    name: &'a str,
    version: &'a str,
    source: Option<&'a str>,
    purl: String,
    needs: Vec<&'a str>,
}

pub fn read(file: File<'_>, bill: &mut Bill) -> Result<()> {
    let read = toml::read(file.text, LIMITS).map(|document| vec![document]);
    let Some(lock) = document(file, read, bill) else { return Ok(()) };
    let text = |document: &'_ Document, key: &str| document.get(key).and_then(Document::text).map(str::to_owned);
    // Version 1 has its checksums apart.
    let metadata = lock.get("metadata");
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for package in lock.get("package").into_iter().flat_map(Document::items) {
        let get = |key| package.get(key).and_then(Document::text);
        let (Some(name), Some(version)) = (get("name"), get("version")) else {
            bill.found(Finding::error("a package has no name or no version").rule("lock").path(file.path));
            continue;
        };
        let source = get("source");
        let mut found = Package::new(Ecosystem::Cargo, name, Some(version));
        found.local = source.is_none();
        found.from = source.and_then(origin);
        let old = || text(metadata?, &format!("checksum {name} {version} ({})", source.unwrap_or_default()));
        let checksum = get("checksum").map(str::to_owned).or_else(old);
        found.hashes.extend(checksum.and_then(|checksum| hash("sha256", &checksum)));
        found.depends = Some(Default::default());
        let local = found.local;
        let purl = bill.add(found);
        if local {
            bill.direct.insert(purl.clone());
        }
        let needs = package.get("dependencies").into_iter().flat_map(Document::items).filter_map(Document::text);
        entries.push(Entry { name, version, source, purl, needs: needs.collect() });
    }
    let mut by_name: BTreeMap<&str, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in &entries {
        by_name.entry(entry.name).or_default().push(entry);
    }
    for entry in &entries {
        for need in &entry.needs {
            // `name`, `name version` or `name version (source)`: as much as tells it from others.
            let mut parts = need.splitn(3, ' ');
            let (name, version) = (parts.next().unwrap_or_default(), parts.next());
            let source = parts.next().map(|source| source.trim_start_matches('(').trim_end_matches(')'));
            let fits = |other: &&&Entry<'_>| {
                version.is_none_or(|version| other.version == version)
                    && source.is_none_or(|source| other.source.is_some_and(|other| plain(other) == plain(source)))
            };
            let found = by_name.get(name).and_then(|entries| entries.iter().find(fits));
            match (found, bill.packages.get_mut(&entry.purl)) {
                (Some(found), Some(package)) => {
                    package.depends.get_or_insert_default().insert(found.purl.clone());
                }
                _ => bill.found(
                    Finding::warning(format!("`{}` needs `{need}`, which is not in the file", entry.name))
                        .rule("unresolved")
                        .path(file.path),
                ),
            }
        }
    }
    Ok(())
}

/// A source without the commit behind it.
fn plain(source: &str) -> &str {
    source.split('#').next().unwrap_or(source)
}

/// Where a package comes from, if not from crates.io.
fn origin(source: &str) -> Option<(&'static str, String)> {
    if let Some(git) = source.strip_prefix("git+") {
        let (url, commit) = git.split_once('#').unwrap_or((git, ""));
        let url = url.split('?').next().unwrap_or(url);
        let at = if commit.is_empty() { String::new() } else { format!("@{commit}") };
        return Some(("vcs_url", format!("git+{url}{at}")));
    }
    let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"))?;
    (!CRATES_IO.contains(&registry)).then(|| ("repository_url", registry.to_owned()))
}
