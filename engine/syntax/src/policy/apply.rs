//! A pipeline file under policies: every refusal as a problem at its place, and limits lowered to what is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use lockgate_model::policy::limit::Limit;
use lockgate_model::policy::{Decision, NodeFacts, PluginFacts, Refusal, Rule, Subject, decide};
use lockgate_model::{Digest, PluginAlias};

use super::PolicyFile;
use crate::Parsed;
use crate::nodes::{Placed, Places};
use crate::problem::{Code, Problem};
use crate::report::Problems;
use crate::spans::Spans;

/// What is known of a plugin besides where it comes from.
#[derive(Debug, Clone, Default)]
pub struct PluginKnown {
    /// The digest of its component, where that was read.
    pub digest: Option<Digest>,
    /// The kinds of effects that it asks for, where its manifest was read.
    pub asks: Option<Vec<String>>,
    /// Whether a lock file pins its digest.
    pub locked: bool,
    /// For each policy, in their order, the signers whose signature was found valid.
    pub signers: Vec<BTreeSet<String>>,
}

/// What policies say to a pipeline.
#[derive(Debug, Default)]
pub struct Judged {
    /// Every line that refuses something.
    pub rules: BTreeSet<Rule>,
    /// The first refusal.
    pub first: Option<Refusal>,
    /// Every refusal at its place in the file.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// Holds the pipeline against policies: refusals are problems, defaults of limits are lowered to what is allowed. Plugins that are
    /// not known are held against what is known of their source. Also where the file has problems, as far as it is right.
    pub fn judge(&mut self, policies: &[PolicyFile], known: &BTreeMap<PluginAlias, PluginKnown>) -> Judged {
        if policies.is_empty() {
            return Judged::default();
        }
        let mut judging =
            Judging { policies, judged: Judged::default(), problems: Problems::new(self.resolved.source.clone()) };
        let nothing = PluginKnown::default();
        for (alias, source) in self.plugins() {
            let PluginKnown { digest, locked, signers, .. } = known.get(alias).unwrap_or(&nothing);
            let facts = PluginFacts { source, digest: *digest, locked: *locked, signers };
            let span = self.resolved.plugins.places.get(alias).cloned();
            judging.take(decide::plugin(policies, &facts), |_| span.clone());
        }
        let mut lowered = Vec::new();
        for (index, placed) in self.resolved.placed().enumerate().filter(|(_, placed)| placed.node.plugin.is_some()) {
            let (limits, refusals) = self.with_facts(index, placed, None, |facts| decide::check(policies, facts));
            judging.take(refusals, |subject| self.place_in_node(placed.places, subject));
            if limits != placed.node.limits {
                lowered.push((index, limits));
            }
        }
        let exports = decide::exports(policies, self.resolved.exports.iter().map(|(export, ..)| export));
        judging.take(exports, |subject| match subject {
            Subject::Export(index) => self.resolved.exports.get(*index).map(|(_, _, to)| to.clone()),
            _ => None,
        });
        let Judging { judged, problems, .. } = judging;
        self.lower(lowered);
        Judged { problems: problems.finish(), ..judged }
    }

    /// What policies say to one node, with everything that they look at. `asks`: the kinds of effects that its plugin asks for.
    pub fn decision(&self, policies: &[PolicyFile], node: usize, asks: Option<&[String]>) -> Option<Decision> {
        let placed = self.resolved.placed().nth(node)?;
        Some(self.with_facts(node, placed, asks, |facts| decide::node(policies, facts)))
    }

    fn with_facts<T>(
        &self,
        index: usize,
        placed: Placed<'_>,
        asks: Option<&[String]>,
        decide: impl FnOnce(&NodeFacts<'_>) -> T,
    ) -> T {
        let (node, places) = (placed.node, placed.places);
        let limits = self.resolved.lowered.get(&index).unwrap_or(&node.limits);
        let tables = [places.limits.as_ref(), self.resolved.limits.as_ref()];
        let says = |limit: &Limit| tables.iter().flatten().any(|table| table.get(limit.name()).is_some());
        let said: BTreeSet<_> = match tables {
            [None, None] => BTreeSet::new(),
            _ => Limit::ALL.into_iter().filter(says).collect(),
        };
        let variables: Vec<&str> = places.env.iter().map(|(name, _)| &**name).collect();
        let secrets = &self.resolved.pipeline.secrets;
        decide(&NodeFacts { grants: &node.grants, secrets, asks, limits, said: &said, variables: &variables })
    }

    /// Where something of a node stands that is refused.
    fn place_in_node(&self, places: &Places, subject: &Subject) -> Option<Range<usize>> {
        let found = match subject {
            Subject::Plugin => Some(places.plugin.clone()),
            Subject::Grant(kind, index) => {
                let grants = places.grants.as_ref().and_then(|grants| grants.get(kind));
                grants.map(|grants| match index {
                    Some(index) => grants.find(&[index.to_string()]).value.clone(),
                    None => grants.key.clone(),
                })
            }
            Subject::Limit(limit) => {
                let tables = [places.limits.as_ref(), self.resolved.limits.as_ref()];
                let found = tables.into_iter().flatten().find_map(|table: &Spans| table.get(limit.name()));
                found.map(|spans| spans.value.clone())
            }
            Subject::Variable(name) => {
                places.env.iter().find(|(declared, _)| **declared == **name).map(|(_, span)| span.clone())
            }
            Subject::Export(_) => None,
        };
        found.or_else(|| Some(places.id.clone()))
    }

    fn lower(&mut self, lowered: Vec<(usize, lockgate_model::limits::Limits)>) {
        if lowered.is_empty() {
            return;
        }
        // Held once, so that it is changed where it is: a pipeline may be large.
        let whole = self.pipeline.take().is_some();
        let pipeline = Arc::make_mut(&mut self.resolved.pipeline);
        for (index, limits) in lowered {
            let before = std::mem::replace(&mut pipeline.nodes[index].limits, limits);
            self.resolved.lowered.entry(index).or_insert(before);
        }
        self.pipeline = whole.then(|| Arc::clone(&self.resolved.pipeline));
    }
}

/// Refusals on their way to places.
struct Judging<'a> {
    policies: &'a [PolicyFile],
    judged: Judged,
    problems: Problems,
}

impl Judging<'_> {
    fn take(&mut self, refusals: Vec<Refusal>, place: impl Fn(&Subject) -> Option<Range<usize>>) {
        for refusal in refusals {
            if let Some(policy) = self.policies.get(refusal.policy) {
                let message = format!("refused: {}", refusal.message);
                let problem = Problem::new(Code::Refused, message, Some(policy.because(&refusal)));
                self.problems.push(match place(&refusal.subject) {
                    Some(span) => problem.at(&self.problems.source, &span, ""),
                    None => problem,
                });
            }
            self.judged.rules.insert(refusal.rule);
            self.judged.first.get_or_insert(refusal);
        }
    }
}
