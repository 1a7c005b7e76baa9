//! `std:licenses`: holds the licences in an SBOM against a policy.
//!
//! In reading order: `policy` (what is permitted), `bill` (components of the SBOM), and here the plugin.

mod bill;
mod policy;

use std::collections::BTreeMap;

use lockgate_documents::{Limits, read};
use lockgate_sdk::prelude::*;

use crate::bill::{Component, components};
use crate::policy::{Answer, Policy};

/// What is permitted.
#[config]
#[serde(default)]
pub struct Config {
    /// Licences that are permitted, as SPDX names them, with `WITH` an exception where there is one; empty: all that are not denied.
    pub allow: Vec<String>,
    /// Licences that are not.
    pub deny: Vec<String>,
    /// Classes of licences that are permitted besides.
    pub allow_classes: Vec<Class>,
    /// Packages for which something else counts.
    pub exceptions: Vec<Exception>,
    /// What a package is whose licence is not known.
    pub unknown: Level,
    /// What a package is whose licence is not permitted.
    pub refused: Level,
    /// Whose packages are looked at.
    pub whose: Whose,
    /// Whether packages for development alone are looked at.
    pub dev: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            deny: Vec::new(),
            allow_classes: Vec::new(),
            exceptions: Vec::new(),
            unknown: Level::Error,
            refused: Level::Error,
            whose: Whose::Others,
            dev: true,
        }
    }
}

/// Whose packages are looked at. The tree's own are those that `std:sbom` marks as local.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of others.
    Others,
    /// The tree's own.
    Own,
    /// All.
    All,
}

impl Whose {
    fn has(self, component: &Component) -> bool {
        match self {
            Self::Others => !component.local,
            Self::Own => component.local,
            Self::All => true,
        }
    }
}

/// Classes of licences, as the SPDX list has them.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Approved by the Open Source Initiative.
    OsiApproved,
    /// Free by the Free Software Foundation's list.
    FsfFree,
}

/// How bad it is.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Not at all.
    Ignore,
    /// For information.
    Note,
    /// Worth a look.
    Warning,
    /// It fails the stage.
    Error,
}

impl Level {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Ignore => None,
            Self::Note => Some(Severity::Note),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

/// Packages for which something else counts.
#[config]
pub struct Exception {
    /// Patterns of purls without qualifiers, such as `pkg:cargo/ring@*`.
    pub packages: Vec<String>,
    /// Licences that are permitted for them besides; empty: any.
    #[serde(default)]
    pub allow: Vec<String>,
    /// The licence that they have, where the SBOM knows none, or another.
    #[serde(default)]
    pub license: Option<String>,
    /// Why.
    pub reason: String,
}

/// The plugin.
pub struct Licenses;

/// The deepest nesting of an SBOM: components may hold components.
const LIMITS: Limits = Limits { depth: 100 };
/// Findings at most.
const FINDINGS: usize = 5_000;

impl Stage for Licenses {
    type Config = Config;
    const ABOUT: About = about!("Holds the licences in an SBOM against a policy.")
        .inputs(&[Port::blob("sbom", "a CycloneDX document, such as `std:sbom` makes")])
        .outputs(&[Port::blob("report", "licences and how many packages have them, as text")])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let mut policy = Policy::new(&config)?;
        let text = input("sbom")?.read_text()?;
        let (mut documents, problems) = read::json(&text, LIMITS);
        if let Some(problem) = problems.into_iter().next() {
            let finding = problem.finding("sbom", &text);
            bail!("the SBOM is no JSON: {finding}");
        }
        let document = documents.pop().context("the SBOM is empty")?;
        let all = components(&document)?;
        let (mut findings, mut counts) = (Findings::new(), BTreeMap::<String, u64>::new());
        let (mut looked, mut more) = (0_u64, 0_u64);
        for component in all.iter().filter(|component| config.whose.has(component) && (config.dev || !component.dev)) {
            looked += 1;
            let (answer, licence) = policy.judge(component);
            *counts.entry(licence).or_default() += 1;
            let Some(finding) = finding(component, answer, &config) else { continue };
            match findings.len() < FINDINGS {
                true => findings.push(finding),
                false => more += 1,
            }
        }
        if more > 0 {
            findings.push(Finding::error(format!("and {more} more")));
        }
        for reason in policy.unused() {
            findings.push(Finding::note(format!("an exception fits no package: {reason}")).rule("unused-exception"));
        }
        let mut report = output("report").blob()?;
        for (licence, count) in &counts {
            writeln!(report, "{count:>6}  {licence}")?;
        }
        report.finish()?;
        info!("{looked} packages, {} licences", counts.len());
        match findings.count(Severity::Error) {
            0 => Ok(findings),
            1 => Err(findings.fail("1 package has no licence that is permitted")),
            count => Err(findings.fail(format!("{count} packages have no licence that is permitted"))),
        }
    }
}

export_stage!(Licenses);

fn finding(component: &Component, answer: Answer, config: &Config) -> Option<Finding> {
    let name = &component.purl;
    match answer {
        Answer::Permitted => None,
        Answer::Unknown => {
            let severity = config.unknown.severity()?;
            let message = format!("`{name}`: its licence is not known; an exception with a `license` says what it is");
            Some(Finding::new(severity, message).rule("unknown"))
        }
        Answer::Unclear(text, why) => {
            let severity = config.unknown.severity()?;
            let message = format!("`{name}`: its licence `{text}` is no SPDX expression: {why}");
            Some(Finding::new(severity, message).rule("unknown"))
        }
        Answer::Refused(text, why) => {
            let severity = config.refused.severity()?;
            Some(
                Finding::new(severity, format!("`{name}`: its licence `{text}` is not permitted: {why}"))
                    .rule("refused"),
            )
        }
    }
}

#[cfg(test)]
mod tests;
