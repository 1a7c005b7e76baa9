//! `package-lock.json` and `npm-shrinkwrap.json`, versions 1 to 3: packages, hashes and the graph, which follows from where in
//! `node_modules` a package stands.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_documents::{Document, Value, read};
use lockgate_sdk::prelude::*;

use crate::package::{Bill, Ecosystem, File, Package, Scope, base64_to_hex, hash};
use crate::{LIMITS, document};

const MODULES: &str = "node_modules/";

/// A package at a place.
struct Entry<'a> {
    purl: String,
    needs: Vec<(&'a str, bool)>,
}

pub fn read(file: File<'_>, bill: &mut Bill) -> Result<()> {
    let (documents, problems) = read::json(file.text, LIMITS);
    let read = if problems.is_empty() { Ok(documents) } else { Err(problems) };
    let Some(lock) = document(file, read, bill) else { return Ok(()) };
    let mut places = BTreeMap::new();
    match lock.get("packages") {
        Some(packages) => {
            for (place, _, package) in packages.entries() {
                entry(place, package, &lock, &mut places, bill);
            }
        }
        None => nested("", &lock, &mut places, bill)?,
    }
    if places.is_empty() {
        bill.found(
            Finding::error("there are no packages in it: it is no lock file of npm").rule("lock").path(file.path),
        );
    }
    let mut edges: Vec<(String, BTreeSet<String>)> = Vec::new();
    for (place, entry) in &places {
        let mut depends = BTreeSet::new();
        for (name, optional) in &entry.needs {
            match resolve(place, name, &places) {
                Some(purl) => {
                    depends.insert(purl.to_owned());
                }
                None if *optional => {}
                None => bill.found(
                    Finding::warning(format!("`{}` needs `{name}`, which is not in the file", shown(place)))
                        .rule("unresolved")
                        .path(file.path),
                ),
            }
        }
        edges.push((entry.purl.clone(), depends));
    }
    for (purl, depends) in edges {
        if let Some(package) = bill.packages.get_mut(&purl) {
            package.depends.get_or_insert_default().extend(depends);
        }
    }
    Ok(())
}

fn shown(place: &str) -> &str {
    if place.is_empty() { "the package itself" } else { place }
}

/// Adds the package at a place.
fn entry<'a>(
    place: &'a str,
    package: &'a Document,
    lock: &Document,
    places: &mut BTreeMap<String, Entry<'a>>,
    bill: &mut Bill,
) {
    let get = |key| package.get(key).and_then(Document::text);
    let is = |key| matches!(package.get(key).map(|value| &value.value), Some(Value::Boolean(true)));
    if is("link") {
        // Leads to a package of the tree, which has an entry of its own.
        let target = get("resolved").unwrap_or_default();
        places.insert(place.to_owned(), Entry { purl: format!("link:{target}"), needs: Vec::new() });
        return;
    }
    let local = !place.contains(MODULES);
    let named = place.rsplit_once(MODULES).map_or(place, |(_, name)| name);
    let own = lock.get("name").and_then(Document::text).filter(|_| place.is_empty());
    let name = get("name").or(own).unwrap_or(named);
    if name.is_empty() {
        // A tree without a name: what it needs is what there is.
        let needs = needs(package);
        places.insert(place.to_owned(), Entry { purl: String::new(), needs });
        return;
    }
    let mut found = Package::new(Ecosystem::Npm, name, get("version"));
    found.local = local;
    found.depends = Some(BTreeSet::new());
    describe(&mut found, get("resolved"), get("integrity"));
    found.scope = if is("dev") || is("devOptional") { Scope::Dev } else { optional(is("optional")) };
    if let Some(licence) = get("license") {
        found.licence = Some(licence.to_owned());
    }
    let purl = bill.add(found);
    if local {
        bill.direct.insert(purl.clone());
    }
    places.insert(place.to_owned(), Entry { purl, needs: needs(package) });
}

fn optional(optional: bool) -> Scope {
    if optional { Scope::Optional } else { Scope::Required }
}

/// What a package needs: names, and whether it does without.
fn needs(package: &Document) -> Vec<(&str, bool)> {
    let lists = [
        ("dependencies", false),
        ("devDependencies", false),
        ("optionalDependencies", true),
        ("peerDependencies", true),
    ];
    let mut needs: BTreeMap<&str, bool> = BTreeMap::new();
    for (key, optional) in lists {
        for (name, _, _) in package.get(key).map(Document::entries).unwrap_or_default() {
            *needs.entry(name).or_insert(optional) |= optional;
        }
    }
    needs.into_iter().collect()
}

/// Hashes, and where it comes from.
fn describe(package: &mut Package, resolved: Option<&str>, integrity: Option<&str>) {
    for text in integrity.unwrap_or_default().split_whitespace() {
        if let Some((algorithm, value)) = text.split_once('-') {
            let value = value.split('?').next().unwrap_or(value);
            package.hashes.extend(base64_to_hex(value).and_then(|hex| hash(algorithm, &hex)));
        }
    }
    let Some(resolved) = resolved else { return };
    if resolved.starts_with("git") {
        package.from = Some(("vcs_url", resolved.replacen('#', "@", 1)));
    } else if resolved.starts_with("http") && !resolved.starts_with("https://registry.npmjs.org/") {
        package.from = Some(("download_url", resolved.to_owned()));
    }
}

/// The package that a name means at a place, as Node.js finds it: the nearest `node_modules` upwards.
fn resolve<'p>(place: &str, name: &str, places: &'p BTreeMap<String, Entry<'_>>) -> Option<&'p str> {
    let mut at = place;
    loop {
        let candidate = if at.is_empty() { format!("{MODULES}{name}") } else { format!("{at}/{MODULES}{name}") };
        if let Some(entry) = places.get(&candidate) {
            let target =
                entry.purl.strip_prefix("link:").map(|target| places.get(target).map(|entry| entry.purl.as_str()));
            return target.unwrap_or(Some(&entry.purl));
        }
        if at.is_empty() {
            return None;
        }
        at = match at.rfind(MODULES) {
            Some(modules) => at[..modules].trim_end_matches('/'),
            None => at.rsplit_once('/').map_or("", |(above, _)| above),
        };
    }
}

/// Version 1: packages inside of packages. What the tree itself needs is not in it: what stands outermost is taken for it.
fn nested<'a>(
    above: &str,
    lock: &'a Document,
    places: &mut BTreeMap<String, Entry<'a>>,
    bill: &mut Bill,
) -> Result<()> {
    for (name, _, package) in lock.get("dependencies").map(Document::entries).unwrap_or_default() {
        let place = format!("{above}{MODULES}{name}");
        let get = |key| package.get(key).and_then(Document::text);
        let is = |key| matches!(package.get(key).map(|value| &value.value), Some(Value::Boolean(true)));
        let version = get("version").unwrap_or_default();
        // The version of what comes from elsewhere is where it comes from.
        let elsewhere = version.contains([':', '/']);
        let mut found = Package::new(Ecosystem::Npm, name, (!elsewhere && !version.is_empty()).then_some(version));
        found.depends = Some(BTreeSet::new());
        describe(&mut found, if elsewhere { Some(version) } else { get("resolved") }, get("integrity"));
        found.scope = if is("dev") { Scope::Dev } else { optional(is("optional")) };
        let purl = bill.add(found);
        if above.is_empty() {
            bill.direct.insert(purl.clone());
        }
        let required = package.get("requires").map(Document::entries).unwrap_or_default();
        let needs = required.iter().map(|(name, _, _)| (name.as_str(), is("optional"))).collect();
        places.insert(place.clone(), Entry { purl, needs });
        nested(&format!("{place}/"), package, places, bill)?;
    }
    Ok(())
}
