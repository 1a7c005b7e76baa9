//! `go.mod` and `go.sum`: modules and the hashes that Go keeps of them. What needs what is not in them.
//!
//! Since Go 1.17 `go.mod` names every module that a build needs. Before that, or where it is missing, `go.sum` is all there is, and
//! may hold modules that no build needs any more.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;

use crate::package::{Bill, Ecosystem, Package};

/// The two files of a module: paths and texts.
#[derive(Default)]
pub struct Module {
    pub own: Option<(String, String)>,
    pub sums: Option<(String, String)>,
}

pub fn read(module: &Module, bill: &mut Bill) -> Result<()> {
    let mut sums = BTreeMap::new();
    if let Some((path, text)) = &module.sums {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some(name), Some(version), Some(sum), None) if sum.starts_with("h1:") => {
                    // Sums of `go.mod` alone say nothing about whether a module is used.
                    if !version.ends_with("/go.mod") {
                        sums.insert((name, version), sum);
                    }
                }
                _ => bill.found(Finding::error("this is no line of a go.sum").rule("lock").at(path, number + 1)),
            }
        }
    }
    let modules = match &module.own {
        Some((path, text)) => own(path, text, bill),
        None => None,
    };
    match modules {
        Some(modules) => {
            for (name, version, direct) in modules {
                let sum = sums.get(&(name.as_str(), version.as_str())).copied();
                add(&name, &version, sum, direct, bill);
            }
        }
        None => sums.iter().for_each(|((name, version), sum)| add(name, version, Some(sum), true, bill)),
    }
    bill.graphless.extend([&module.own, &module.sums].into_iter().flatten().map(|(path, _)| path.clone()).take(1));
    Ok(())
}

fn add(name: &str, version: &str, sum: Option<&str>, direct: bool, bill: &mut Bill) {
    let mut package = Package::new(Ecosystem::Go, name, Some(version));
    // A hash over names and hashes of a module's files: no program but Go's own can compare it with what was downloaded.
    package.properties.extend(sum.map(|sum| ("lockgate:go:sum", sum.to_owned())));
    let purl = bill.add(package);
    if direct {
        bill.direct.insert(purl);
    }
}

/// The modules that a `go.mod` requires: name, version, whether the tree itself needs them. None where it may not name all.
fn own(path: &str, text: &str, bill: &mut Bill) -> Option<Vec<(String, String, bool)>> {
    let (mut block, mut go, mut required) = (None, (0, 0), Vec::new());
    let mut replaced: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let (code, comment) = line.split_once("//").unwrap_or((line, ""));
        let code = code.trim();
        let words: Vec<&str> = code.split_whitespace().map(|word| word.trim_matches(['"', '`'])).collect();
        let (verb, words) = match (&block, words.split_first()) {
            (_, None) => continue,
            (Some(_), Some((&")", _))) => {
                block = None;
                continue;
            }
            (Some(verb), Some(_)) => (*verb, words.as_slice()),
            (None, Some((verb, ["("]))) => {
                block = Some(*verb);
                continue;
            }
            (None, Some((verb, words))) => (*verb, words),
        };
        match (verb, words) {
            ("require", [name, version]) => {
                let direct = comment.trim() != "indirect";
                required.push(((*name).to_owned(), (*version).to_owned(), direct));
            }
            ("replace", [name, rest @ ..]) => {
                let arrow = rest.iter().position(|word| *word == "=>");
                let target = arrow.map(|at| rest[at + 1..].iter().map(|word| (*word).to_owned()).collect());
                replaced.insert((*name).to_owned(), target.unwrap_or_default());
            }
            ("go", [version]) => {
                let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
                go = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            }
            ("module", [name]) => {
                let mut package = Package::new(Ecosystem::Go, name, None);
                package.local = true;
                let purl = bill.add(package);
                bill.direct.insert(purl);
            }
            ("exclude" | "retract" | "toolchain" | "godebug" | "tool" | "ignore", _) => {}
            _ => {
                bill.found(Finding::error(format!("`{code}` is no line of a go.mod")).rule("lock").at(path, number + 1))
            }
        }
    }
    for (name, version, _) in &mut required {
        match replaced.get(name).map(Vec::as_slice) {
            Some([other, at]) => (*name, *version) = (other.clone(), at.clone()),
            Some([place]) => {
                let message =
                    format!("`{name}` is replaced by the directory `{place}`: it is listed as it would come otherwise");
                bill.found(Finding::note(message).rule("replaced").path(path));
            }
            _ => {}
        }
    }
    (go >= (1, 17)).then_some(required)
}
