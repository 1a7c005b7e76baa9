//! The tests inside of a policy file: a pipeline, and whether the policy allows it. Nothing is loaded and nothing runs.

use std::collections::BTreeMap;

use super::{Expectation, PluginKnown, PolicyFile, PolicyTest};
use crate::{Inputs, resolve};

/// What stands before a fragment that is no whole pipeline.
const HEAD: &str = "schema = 1\nname = \"test\"\n";

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseEnd {
    /// As expected.
    Passed,
    /// Otherwise; with what the policy said instead, or why the pipeline is none, for people.
    Failed(String),
}

impl PolicyFile {
    /// Runs one of its tests, against this policy alone.
    pub fn run(&self, test: &PolicyTest) -> CaseEnd {
        let whole = resolve::has_key(&test.pipeline, "schema");
        let text = if whole { test.pipeline.clone() } else { format!("{HEAD}{}", test.pipeline) };
        let before = if whole { 0 } else { HEAD.lines().count() };
        let git = || Err("a test of a policy has no repository".to_owned());
        let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &git };
        let mut parsed = crate::parse("the test's pipeline", &text, &inputs);
        if let Some(problem) = parsed.problems.first() {
            let line =
                problem.place().map(|place| format!("line {} of it: ", place.line.saturating_sub(before).max(1)));
            return CaseEnd::Failed(format!("it is no pipeline: {}{}", line.unwrap_or_default(), problem.message));
        }
        let known = PluginKnown { signers: vec![test.signed_by.clone()], ..PluginKnown::default() };
        let known = parsed.plugins().keys().map(|alias| (alias.clone(), known.clone())).collect();
        let judged = parsed.judge(std::slice::from_ref(self), &known);
        let rules = &judged.rules;
        let names = || rules.iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ");
        match test.expect {
            Expectation::Allowed if rules.is_empty() => CaseEnd::Passed,
            Expectation::Allowed => {
                let why =
                    judged.first.as_ref().map(|refusal| format!("{}; {}", refusal.message, self.because(refusal)));
                CaseEnd::Failed(format!("it is refused: {}", why.unwrap_or_default()))
            }
            Expectation::Refused(_) if rules.is_empty() => CaseEnd::Failed("it is allowed".to_owned()),
            Expectation::Refused(Some(rule)) if *rules != [rule].into() => {
                CaseEnd::Failed(format!("it is refused by {}, not by `{rule}` alone", names()))
            }
            Expectation::Refused(_) => CaseEnd::Passed,
        }
    }
}
