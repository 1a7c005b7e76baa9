//! `std:secret-scan`: finds secrets in a tree: keys by their format, passwords by their place.
//!
//! In reading order: `rules` (what is looked for), `scan` (looking for it, line by line), `allow` (what is permitted, and
//! fingerprints), and here the plugin.

mod allow;
mod rules;
mod scan;

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;

use crate::allow::Allowed;
use crate::rules::Rules;
use crate::scan::{Found, Lines};

/// What is looked for, where, and what is permitted.
#[config]
#[serde(default)]
pub struct Config {
    /// Patterns of paths that are looked at; empty: all.
    pub include: Vec<String>,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// Severities of rules by their names, where they should not be the usual ones.
    pub rules: BTreeMap<String, Level>,
    /// Rules of your own.
    pub patterns: Vec<Pattern>,
    /// What is permitted.
    pub allow: Vec<Allow>,
    /// The least severity that fails the stage; `off`: it only reports.
    pub fail_on: Level,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            rules: BTreeMap::new(),
            patterns: Vec::new(),
            allow: Vec::new(),
            fail_on: Level::Warning,
        }
    }
}

/// How bad it is.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not looked for.
    Off,
    /// For information.
    Note,
    /// Worth a look.
    Warning,
    /// Wrong.
    Error,
}

impl Level {
    /// The severity of a finding; none: there is no finding.
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Off => None,
            Self::Note => Some(Severity::Note),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

/// A rule of a pipeline's own.
#[config]
pub struct Pattern {
    /// Its name, for `rules`, `allow` and comments.
    pub id: String,
    /// What it is, for people.
    #[serde(default)]
    pub summary: String,
    /// A regular expression over a line. Its first group, or else all of it, is the secret.
    pub regex: String,
    /// Words of which a line must hold one before the expression is tried, in lower case: without any it is tried on all lines,
    /// which is slow.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// How bad it is.
    #[serde(default = "error")]
    pub severity: Level,
}

fn error() -> Level {
    Level::Error
}

/// Something that is permitted: what fits all that is given here.
#[config]
pub struct Allow {
    /// Patterns of paths; empty: all.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Names of rules; empty: all.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Fingerprints, as findings show them; empty: all.
    #[serde(default)]
    pub fingerprints: Vec<String>,
    /// Why.
    pub reason: String,
}

/// The most findings that one file may give: a file of keys would drown all others.
const PER_FILE: usize = 100;

/// The most findings in all, a tenth below what a node may have.
const IN_ALL: usize = 9_000;

/// The plugin.
pub struct SecretScan;

impl Stage for SecretScan {
    type Config = Config;
    const ABOUT: About = about!("Finds secrets in a tree: keys by their format, passwords by their place.")
        .inputs(&[
            Port::tree("src", "where is looked"),
            Port::blob("baseline", "fingerprints of what is permitted, one a line").optional(),
        ])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let rules = Rules::new(&config)?;
        let baseline = match inputs().iter().find(|input| input.name == "baseline") {
            Some(input) => input.read_text()?,
            None => String::new(),
        };
        let mut allowed = Allowed::new(&config, &rules, &baseline)?;
        let tree = input("src")?.tree()?;
        let (mut findings, mut files, mut bytes, mut permitted) = (Findings::new(), 0_u64, 0_u64, 0_u64);
        let any = |patterns: &[String], path: &str| patterns.iter().any(|pattern| fast_glob::glob_match(pattern, path));
        for file in tree.files() {
            if !config.include.is_empty() && !any(&config.include, &file.path) || any(&config.exclude, &file.path) {
                continue;
            }
            let mut lines = Lines::new(tree.open(&file.path)?);
            if lines.is_binary()? {
                continue;
            }
            (files, bytes) = (files + 1, bytes + file.size());
            let mut count = 0;
            for found in scan::scan(&rules, &mut lines)? {
                let fingerprint = allowed.fingerprint(&file.path, &found);
                if found.commented || allowed.permits(&file.path, &found, &fingerprint) {
                    permitted += 1;
                    continue;
                }
                count += 1;
                if count <= PER_FILE {
                    findings.extend(finding(&rules, &file.path, &found, &fingerprint));
                }
            }
            if count > PER_FILE {
                findings.push(Finding::error(format!("and {} more", count - PER_FILE)).path(&file.path));
            }
            if findings.len() > IN_ALL {
                let rest = "too many findings: the files after this one were not looked at";
                findings.push(Finding::error(rest).path(&file.path));
                break;
            }
        }
        findings.extend(allowed.unused());
        info!("looked at {files} files of {bytes} bytes; {} findings, {permitted} permitted", findings.len());
        let bad =
            findings.iter().filter(|finding| config.fail_on.severity().is_some_and(|least| finding.severity >= least));
        match (bad.count(), config.fail_on) {
            (0, _) | (_, Level::Off) => Ok(findings),
            (1, _) => Err(findings.fail("1 secret was found; revoke it, then take it out, or permit it")),
            (count, _) => {
                Err(findings
                    .fail(format!("{count} secrets were found; revoke them, then take them out, or permit them")))
            }
        }
    }
}

export_stage!(SecretScan);

/// What people see of a secret: never its value.
fn finding(rules: &Rules, path: &str, found: &Found, fingerprint: &str) -> Option<Finding> {
    let rule = rules.get(found.rule);
    let Found { shown, length, .. } = found;
    let message = format!("{}: `{shown}***` ({length} characters), fingerprint {fingerprint}", rule.summary);
    let finding = Finding::new(rule.level.severity()?, message).rule(&*rule.id);
    Some(finding.at(path, found.line).column(found.column))
}

#[cfg(test)]
mod tests;
