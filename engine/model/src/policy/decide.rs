//! What policies say to a pipeline: pure functions from policies and what a pipeline wants to what it gets, and to every refusal.
//!
//! Each policy decides for itself, and everything must pass all of them. With none, everything passes.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::grants::{KINDS, LINES, Wanted};
use super::limit::Limit;
use super::{Policy, Rule};
use crate::digest::Digest;
use crate::grant::{Grants, SecretName, SecretSource};
use crate::limits::Limits;
use crate::pipeline::{Export, PluginSource};

/// What is known of a plugin before anything runs.
#[derive(Debug, Clone, Copy)]
pub struct PluginFacts<'a> {
    /// Where it comes from.
    pub source: &'a PluginSource,
    /// The digest of its component, where that was read.
    pub digest: Option<Digest>,
    /// Whether a lock file pins its digest. A digest in the pipeline counts by itself.
    pub locked: bool,
    /// For each policy, in their order, the signers whose signature over its digest was found valid by that policy's trust roots.
    /// What is missing at the end counts as none.
    pub signers: &'a [BTreeSet<String>],
}

/// What a node wants.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// What the pipeline grants.
    pub grants: &'a Grants,
    /// Where the pipeline's secrets come from.
    pub secrets: &'a BTreeMap<SecretName, SecretSource>,
    /// The kinds of effects that the plugin asks for; none where its manifest is not known.
    pub asks: Option<&'a [String]>,
    /// The limits before the policies.
    pub limits: &'a Limits,
    /// Which of them the pipeline says itself; the others are defaults.
    pub said: &'a BTreeSet<Limit>,
    /// Names of the environment's variables that it declares.
    pub variables: &'a [&'a str],
}

/// What is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The plugin.
    Plugin,
    /// A grant: its kind, and its number among those of its kind where there are several.
    Grant(&'static str, Option<usize>),
    /// A limit.
    Limit(Limit),
    /// A variable of the environment.
    Variable(String),
    /// An export, by its number in the pipeline.
    Export(usize),
}

/// One thing that one line of one policy refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the policy among those in force.
    pub policy: usize,
    /// The line.
    pub rule: Rule,
    /// What it refuses.
    pub subject: Subject,
    /// What is refused and why, as a fragment without the policy's name.
    pub message: String,
    /// What the line allows, as a sentence without its end.
    pub allows: String,
}

/// What became of a node's wishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Each kind of effect.
    pub grants: Vec<GrantDecision>,
    /// Each limit.
    pub limits: Vec<LimitDecision>,
    /// The limits in force: those of the node, defaults lowered to what the policies allow.
    pub in_force: Limits,
    /// Everything that is refused; empty: the node may run.
    pub refusals: Vec<Refusal>,
}

/// One kind of effect: asked, granted, allowed, and the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDecision {
    /// The kind, as manifests name it.
    pub kind: &'static str,
    /// Whether the plugin asks for it; none where its manifest is not known.
    pub asks: Option<bool>,
    /// What the pipeline grants, one text each; empty: nothing.
    pub grants: Vec<String>,
    /// What each policy allows, one text each. No policy: everything is allowed.
    pub allows: Vec<Vec<String>>,
    /// The result.
    pub result: Standing,
}

/// How a kind of effect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody asks for it, nobody grants it.
    Absent,
    /// The plugin asks for it, the pipeline does not grant it.
    NotGranted,
    /// It is granted, and the plugin does not ask for it.
    Unused,
    /// A policy does not allow what is granted.
    Refused,
    /// Asked, granted and allowed.
    InForce,
}

impl Standing {
    /// The word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::NotGranted => "not-granted",
            Self::Unused => "unused",
            Self::Refused => "refused",
            Self::InForce => "in-force",
        }
    }
}

/// One limit, and who set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitDecision {
    /// Which.
    pub limit: Limit,
    /// The value in force.
    pub value: u64,
    /// Who set it.
    pub by: SetBy,
    /// The highest value that the policies allow; none: they say nothing.
    pub highest: Option<u64>,
}

/// Who set a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// Nobody: it is the engine's default.
    Default,
    /// The pipeline.
    Pipeline,
    /// This policy lowered the default.
    Policy(usize),
}

impl SetBy {
    /// The word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Pipeline => "pipeline",
            Self::Policy(_) => "policy",
        }
    }
}

/// The policies with their numbers.
fn each<P: Borrow<Policy>>(policies: &[P]) -> impl Iterator<Item = (usize, &Policy)> + Clone {
    policies.iter().map(Borrow::borrow).enumerate()
}

/// What of a plugin the policies refuse.
pub fn plugin<P: Borrow<Policy>>(policies: &[P], facts: &PluginFacts<'_>) -> Vec<Refusal> {
    let none = BTreeSet::new();
    each(policies)
        .flat_map(|(index, policy)| policy.plugin(index, facts, facts.signers.get(index).unwrap_or(&none)))
        .collect()
}

/// What the policies make of a node's limits, and what of the node they refuse: all that a run needs to know of a decision.
pub fn check<P: Borrow<Policy>>(policies: &[P], facts: &NodeFacts<'_>) -> (Limits, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let mut in_force = facts.limits.clone();
    for (index, policy) in each(policies) {
        policy.grants(index, Wanted { grants: facts.grants, secrets: facts.secrets }, &mut refusals);
    }
    for limit in Limit::ALL {
        limit.set(&mut in_force, limit_decision(policies, facts, limit, &mut refusals).value);
    }
    for (index, policy) in each(policies) {
        policy.variables(index, facts.variables, &mut refusals);
    }
    (in_force, refusals)
}

/// What the policies say to a node, with everything that they look at.
pub fn node<P: Borrow<Policy>>(policies: &[P], facts: &NodeFacts<'_>) -> Decision {
    let (in_force, refusals) = check(policies, facts);
    let grants = KINDS.iter().map(|kind| {
        let grants = (kind.texts)(facts.grants);
        let allows = each(policies).map(|(_, policy)| kind.rule.says(policy)).collect();
        let asks = facts.asks.map(|asks| asks.iter().any(|asked| asked == kind.name));
        let refused = |refusal: &Refusal| matches!(refusal.subject, Subject::Grant(name, _) if name == kind.name);
        let result = match (asks, grants.is_empty()) {
            _ if refusals.iter().any(refused) => Standing::Refused,
            (Some(true), true) => Standing::NotGranted,
            (_, true) => Standing::Absent,
            (Some(false), false) => Standing::Unused,
            (_, false) => Standing::InForce,
        };
        GrantDecision { kind: kind.name, asks, grants, allows, result }
    });
    let grants = grants.collect();
    let limits = Limit::ALL.into_iter().map(|limit| limit_decision(policies, facts, limit, &mut Vec::new())).collect();
    Decision { grants, limits, in_force, refusals }
}

/// What of a pipeline's exports the policies refuse.
pub fn exports<'a, P: Borrow<Policy>>(
    policies: &[P],
    exports: impl Iterator<Item = &'a Export> + Clone,
) -> Vec<Refusal> {
    each(policies).flat_map(|(index, policy)| policy.exports(index, exports.clone())).collect()
}

fn limit_decision<P: Borrow<Policy>>(
    policies: &[P],
    facts: &NodeFacts<'_>,
    limit: Limit,
    refusals: &mut Vec<Refusal>,
) -> LimitDecision {
    let wanted = limit.of(facts.limits);
    let said = facts.said.contains(&limit);
    let caps = each(policies).filter_map(|(index, policy)| Some((*policy.limits.get(&limit)?, index)));
    let lowest = caps.clone().min();
    let mut decided = LimitDecision {
        limit,
        value: wanted,
        by: if said { SetBy::Pipeline } else { SetBy::Default },
        highest: lowest.map(|(cap, _)| cap),
    };
    for (cap, policy) in caps.filter(|(cap, _)| said && wanted > *cap) {
        let (name, rule) = (limit.name(), Rule::Limit(limit));
        let message = format!("the limit `{name}` of {} is higher than the policy's", limit.show(wanted));
        let allows = format!("it allows at most {}", limit.show(cap));
        refusals.push(Refusal { policy, rule, subject: Subject::Limit(limit), message, allows });
    }
    if let Some((cap, policy)) = lowest.filter(|(cap, _)| !said && wanted > *cap) {
        (decided.value, decided.by) = (cap, SetBy::Policy(policy));
    }
    decided
}

/// What a line allows; or that it allows nothing.
fn allowing(rule: Rule, policy: &Policy) -> String {
    /// Patterns that are shown; the file has the rest.
    const SHOWN: usize = 5;
    let allowed = rule.says(policy);
    if allowed.is_empty() {
        return format!("without `{rule}` nothing of the kind is allowed");
    }
    let more = allowed.len().saturating_sub(SHOWN);
    let shown: Vec<_> = allowed.iter().take(SHOWN).map(|text| format!("`{text}`")).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("it allows {}{more}", shown.join(", "))
}

impl Policy {
    fn plugin(&self, policy: usize, facts: &PluginFacts<'_>, signers: &BTreeSet<String>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut refuse = |rule, message: String, allows: String| {
            refusals.push(Refusal { policy, rule, subject: Subject::Plugin, message, allows });
        };
        let name = facts.source;
        let is_std = name.is_built_in();
        let demanded = name.digest();
        let rules = &self.plugins;
        if !rules.sources.iter().any(|pattern| pattern.covers(facts.source)) {
            let message = format!("the plugin `{name}` comes from where the policy allows none");
            refuse(Rule::Sources, message, allowing(Rule::Sources, self));
        }
        if rules.digests_required && !is_std && !facts.locked && demanded.is_none() {
            let message = format!("the plugin `{name}` is not pinned by a digest");
            let allows = "pin it by `digest = \"sha256:...\"` in `[plugins]`, or by a lock file".to_owned();
            refuse(Rule::Digests, message, allows);
        }
        if !rules.signed.is_empty() && !is_std && rules.signed.is_disjoint(signers) {
            let names: Vec<_> = rules.signed.iter().map(|name| format!("`{name}`")).collect();
            let message = format!("the plugin `{name}` has no valid signature that the policy asks for");
            refuse(Rule::Signed, message, format!("one of these must have signed it: {}", names.join(", ")));
        }
        // The digest of what would be executed, and the one that is demanded: a revoked one is no good in either place.
        let revoked =
            [facts.digest, demanded].into_iter().flatten().find(|digest| self.revoked.digests.contains(digest));
        if let Some(digest) = revoked {
            let message = format!("the plugin `{name}` is revoked");
            refuse(Rule::RevokedDigests, message, format!("nothing with the digest `{digest}` may run"));
        }
        refusals
    }

    fn grants(&self, policy: usize, wanted: Wanted<'_>, refusals: &mut Vec<Refusal>) {
        for line in &LINES {
            let rule = line.rule;
            for number in (0..(line.kind.count)(wanted.grants)).filter(|number| !(line.covers)(self, wanted, *number)) {
                let texts = (line.kind.texts)(wanted.grants);
                let text = texts.get(number).map_or("", |text| text);
                let what = match rule {
                    Rule::App => "the grant of what the embedding program does goes beyond the policy".to_owned(),
                    Rule::Clock => "the grant of the real clock goes beyond the policy".to_owned(),
                    Rule::Networks => format!("the grant of `{text}` names networks beyond the policy"),
                    Rule::Environments => format!("the grant of `{text}` takes secrets of other environments"),
                    Rule::Secrets => format!("the grant of `{text}` takes secrets from where the policy allows none"),
                    Rule::SecretsInUrls => {
                        format!("the grant of `{text}` puts a secret into URLs that may not stand there")
                    }
                    _ => format!("the grant of `{text}` goes beyond the policy"),
                };
                let subject =
                    Subject::Grant(line.kind.name, (!matches!(rule, Rule::App | Rule::Clock)).then_some(number));
                refusals.push(Refusal { policy, rule, subject, message: what, allows: allowing(rule, self) });
            }
        }
    }

    fn variables(&self, policy: usize, names: &[&str], refusals: &mut Vec<Refusal>) {
        let rules = &self.environment.variables;
        for name in names.iter().filter(|name| !rules.iter().any(|pattern| pattern.covers(name))) {
            let (rule, subject) = (Rule::Variables, Subject::Variable((*name).to_owned()));
            let message = format!("the environment variable `{name}` may not be read");
            refusals.push(Refusal { policy, rule, subject, message, allows: allowing(rule, self) });
        }
    }

    fn exports<'a>(&self, policy: usize, exports: impl Iterator<Item = &'a Export>) -> Vec<Refusal> {
        let rules = &self.exports.roots;
        let outside = exports.enumerate().filter(|(_, export)| !rules.iter().any(|root| root.covers(&export.to)));
        let refuse = |(index, export): (usize, &Export)| {
            let rule = Rule::Roots;
            let message = format!("nothing may be exported to `{}`", export.to);
            Refusal { policy, rule, subject: Subject::Export(index), message, allows: allowing(rule, self) }
        };
        outside.map(refuse).collect()
    }
}

#[cfg(test)]
mod tests;
