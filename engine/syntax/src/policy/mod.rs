//! Policy files: TOML text to `model::policy::Policy`, with every diagnostic at once, and what policies say to a pipeline file, at the
//! places of that file. Modules in reading order: `shape` (the format), `read` (its meaning), `apply` (a pipeline under policies),
//! `cases` (the tests inside of a policy).

mod apply;
mod cases;
mod read;
pub(crate) mod shape;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::Digest;
use lockgate_model::policy::{MAX_FILE, Policy, Refusal, Rule};

use crate::problem::{Code, Problem, Source};

pub use apply::{Judged, PluginKnown};
pub use cases::CaseEnd;

/// A policy file without a problem.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    /// The file as the user named it.
    pub file: String,
    /// What it says.
    pub policy: Policy,
    /// Digest of its bytes: `sha256sum` gives the same.
    pub digest: Digest,
    /// Its tests, in the order of the file.
    pub tests: Vec<PolicyTest>,
    /// The line, from 1, on which a rule stands.
    lines: BTreeMap<Rule, usize>,
}

/// One `[[test]]` of a policy file.
#[derive(Debug, Clone)]
pub struct PolicyTest {
    /// Its name.
    pub name: String,
    /// The line, from 1, on which it begins.
    pub line: usize,
    /// A pipeline, or the part of one behind `schema` and `name`.
    pub pipeline: String,
    /// Signers whose signatures are taken for valid.
    pub signed_by: BTreeSet<String>,
    /// What the policy is expected to say.
    pub expect: Expectation,
}

/// What a policy is expected to say to a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Everything passes.
    Allowed,
    /// Something is refused; if a rule is named, by that rule and no other.
    Refused(Option<Rule>),
}

/// A read policy file: the policy if the file is right, and every problem if it is not.
#[derive(Debug)]
pub struct ParsedPolicy {
    /// The policy; none if there is a problem.
    pub policy: Option<PolicyFile>,
    /// Every problem of the file, in the order of their places.
    pub problems: Vec<Problem>,
}

/// Reads a policy file from its bytes. `name` is what diagnostics call it.
pub fn parse_policy(name: &str, bytes: &[u8]) -> ParsedPolicy {
    let wrong = |problem| ParsedPolicy { policy: None, problems: vec![problem] };
    if bytes.len() as u64 > MAX_FILE {
        let message = format!("`{name}` has {} bytes: at most {} MiB", bytes.len(), MAX_FILE >> 20);
        return wrong(Problem::new(Code::TooLarge, message, Some("no policy needs this much".to_owned())));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => read::read(name, text),
        Err(error) => wrong(crate::not_utf8(&Source::new(name, &String::from_utf8_lossy(bytes)), error)),
    }
}

impl Borrow<Policy> for PolicyFile {
    fn borrow(&self) -> &Policy {
        &self.policy
    }
}

impl PolicyFile {
    /// The line, from 1, on which a rule stands; none where the file says nothing of it.
    pub fn line(&self, rule: Rule) -> Option<usize> {
        self.lines.get(&rule).copied()
    }

    /// Why something is refused: the line of this file, and what it allows.
    pub fn because(&self, refusal: &Refusal) -> String {
        match self.line(refusal.rule) {
            Some(line) => format!("{}:{line}, `{}`: {}", self.file, refusal.rule, refusal.allows),
            None => format!("{}: {}", self.file, refusal.allows),
        }
    }
}
