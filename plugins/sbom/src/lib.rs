//! `std:sbom`: lists what a tree depends on, as CycloneDX 1.6, from its lock files.
//!
//! In reading order: `package` (what is known of one package, and its purl), `cargo`, `npm`, `python` and `go` (the lock files),
//! `licence` (what vendored manifests say), `cyclonedx` (the document), and here the plugin.

mod cargo;
mod cyclonedx;
mod go;
mod licence;
mod npm;
mod package;
mod python;

use std::collections::BTreeMap;

use lockgate_documents::{Document, Limits, Problem};
use lockgate_sdk::prelude::*;

use crate::package::{Bill, File};

/// What is listed, and what of.
#[config]
#[serde(default)]
pub struct Config {
    /// Name of what the list is of; without one that of its only package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub kind: Kind,
    /// Patterns of lock files that are read; empty: all whose names are known.
    pub include: Vec<String>,
    /// Patterns of lock files that are left out.
    pub exclude: Vec<String>,
    /// Whether packages that are for development alone are listed, with the scope `excluded`.
    pub dev: bool,
    /// When the list was made, as RFC 3339. Without it the document has no time, and the same lock files give the same bytes.
    pub timestamp: String,
}

impl Default for Config {
    fn default() -> Self {
        let none = String::new;
        Self {
            name: none(),
            version: none(),
            kind: Kind::Application,
            include: Vec::new(),
            exclude: Vec::new(),
            dev: true,
            timestamp: none(),
        }
    }
}

/// What a list is of.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program or a service.
    Application,
    /// A library.
    Library,
    /// An image.
    Container,
    /// A firmware.
    Firmware,
}

/// The plugin.
pub struct Sbom;

impl Stage for Sbom {
    type Config = Config;
    const ABOUT: About = about!("Lists what a tree depends on, as CycloneDX 1.6.")
        .inputs(&[
            Port::tree("src", "where the lock files are"),
            Port::tree(
                "manifests",
                "packages' own manifests, such as `cargo vendor` or `node_modules` has them: their licences",
            )
            .optional(),
        ])
        .outputs(&[Port::blob("sbom", "the list, as JSON")])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        ensure!(
            config.timestamp.is_empty() || cyclonedx::is_timestamp(&config.timestamp),
            "`timestamp` is `{}`, which is no time of RFC 3339, such as `2026-01-31T12:00:00Z`",
            config.timestamp
        );
        let tree = input("src")?.tree()?;
        let mut bill = Bill::default();
        let any = |patterns: &[String], path: &str| patterns.iter().any(|pattern| fast_glob::glob_match(pattern, path));
        let mut modules = BTreeMap::new();
        let mut read = 0;
        for file in tree.files() {
            let chosen = config.include.is_empty() || any(&config.include, &file.path);
            let Some(kind) = Lock::of(&file.path).filter(|_| chosen && !any(&config.exclude, &file.path)) else {
                continue;
            };
            read += 1;
            let text = tree.read_text(&file.path)?;
            let at = File { path: &file.path, text: &text };
            match kind {
                Lock::Cargo => cargo::read(at, &mut bill)?,
                Lock::Npm => npm::read(at, &mut bill)?,
                Lock::Python => python::read(at, &mut bill, &|path| tree.read_text(path).ok())?,
                // The two of one module belong together.
                Lock::GoMod | Lock::GoSum => {
                    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let module: &mut go::Module = modules.entry(folder.to_owned()).or_default();
                    let half = Some((file.path.clone(), text));
                    if kind == Lock::GoMod { module.own = half } else { module.sums = half }
                }
            }
        }
        for module in modules.values() {
            go::read(module, &mut bill)?;
        }
        if bill.failed() {
            let message = "a lock file cannot be read: see the findings";
            return Err(bill.findings.fail(message));
        }
        ensure!(
            read > 0,
            "there is no lock file: Cargo.lock, package-lock.json, npm-shrinkwrap.json, requirements.txt, go.mod or go.sum"
        );
        if let Some(input) = inputs().iter().find(|input| input.name == "manifests") {
            licence::read(&input.tree()?, &mut bill)?;
        }
        if !config.dev {
            bill.packages.retain(|_, package| package.scope != package::Scope::Dev);
        }
        bill.close();
        let document = cyclonedx::document(&config, &bill);
        output("sbom").write(document?)?;
        let licensed = bill.packages.values().filter(|package| package.licence.is_some()).count();
        info!("{read} lock files, {} packages, {licensed} with a licence", bill.packages.len());
        Ok(bill.findings)
    }
}

export_stage!(Sbom);

/// The lock files that are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Cargo,
    Npm,
    Python,
    GoMod,
    GoSum,
}

impl Lock {
    fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        Some(match name {
            "Cargo.lock" => Self::Cargo,
            "package-lock.json" | "npm-shrinkwrap.json" if !path.contains("node_modules/") => Self::Npm,
            "go.mod" => Self::GoMod,
            "go.sum" => Self::GoSum,
            _ if name.starts_with("requirements") && name.ends_with(".txt") => Self::Python,
            _ => return None,
        })
    }
}

/// The deepest nesting of a lock file: packages inside of packages, two levels each.
const LIMITS: Limits = Limits { depth: 100 };

/// A document, or findings that say what is wrong.
fn document(file: File<'_>, read: Result<Vec<Document>, Vec<Problem>>, bill: &mut Bill) -> Option<Document> {
    match read {
        Ok(mut documents) => documents.pop(),
        Err(problems) => {
            bill.findings.extend(problems.into_iter().take(100).map(|problem| problem.finding(file.path, file.text)));
            None
        }
    }
}

#[cfg(test)]
mod tests;
