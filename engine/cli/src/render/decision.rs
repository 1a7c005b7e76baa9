//! What policies say to a node, for people and programs: per kind of effect what is asked, granted, allowed and in force; per limit
//! its value and who set it.

use lockgate_model::policy::{Decision, GrantDecision, LimitDecision, Standing};
use lockgate_syntax::policy::PolicyFile;
use serde_json::{Value, json};

use super::style::clean_line;

/// Patterns of a policy that are shown for one kind; the file has the rest.
const SHOWN: usize = 5;

/// The lines of a plan about effects: each kind that somebody asks for or grants.
pub(crate) fn effects(decision: &Decision, policies: &[PolicyFile]) -> Vec<String> {
    let shown = decision.grants.iter().filter(|grant| grant.result != Standing::Absent);
    shown.map(|grant| effect(grant, policies)).collect()
}

fn effect(decision: &GrantDecision, policies: &[PolicyFile]) -> String {
    let GrantDecision { kind, asks, grants, allows, result } = decision;
    let asked = match asks {
        Some(true) => "asked",
        Some(false) => "not asked",
        None => "asked or not",
    };
    let granted = if grants.is_empty() { "not granted" } else { "granted" };
    let allowed = policies.iter().zip(allows).map(|(file, allows)| {
        let more = if allows.len() > SHOWN { ", ..." } else { "" };
        let name = clean_line(&file.policy.name);
        match allows.is_empty() {
            true => format!("`{name}` allows none"),
            false => format!("`{name}` allows {}{more}", clean_line(&allows[..allows.len().min(SHOWN)].join(", "))),
        }
    });
    let allowed: Vec<_> = allowed.collect();
    let allowed = if allowed.is_empty() { "no policy".to_owned() } else { allowed.join(", ") };
    let result = match result {
        Standing::Absent => "absent",
        Standing::NotGranted => "not in force",
        Standing::Unused => "without effect",
        Standing::Refused => "refused",
        Standing::InForce => "in force",
    };
    format!("{kind}: {asked}, {granted}; {allowed}: {result}")
}

/// Who set a limit, where it is not the engine's default.
pub(crate) fn set_by(decision: &Decision, name: &str) -> Option<&'static str> {
    let found = decision.limits.iter().find(|decided| decided.limit.name() == name)?;
    match found.by {
        lockgate_model::policy::SetBy::Default => None,
        lockgate_model::policy::SetBy::Pipeline => Some("pipeline"),
        lockgate_model::policy::SetBy::Policy(_) => Some("policy"),
    }
}

/// The same for programs.
pub(crate) fn json(decision: &Decision) -> Value {
    let effects: serde_json::Map<_, _> = decision
        .grants
        .iter()
        .map(|GrantDecision { kind, asks, grants, allows, result }| {
            let value = json!({ "asks": asks, "grants": grants, "allows": allows, "result": result.name() });
            ((*kind).to_owned(), value)
        })
        .collect();
    let limits: serde_json::Map<_, _> = decision
        .limits
        .iter()
        .map(|LimitDecision { limit, value, by, highest }| {
            (limit.name().to_owned(), json!({ "value": value, "by": by.name(), "highest": highest }))
        })
        .collect();
    json!({ "effects": effects, "limits": limits })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use lockgate_model::grant::{Grants, HttpGrant};
    use lockgate_model::limits::Limits;
    use lockgate_model::policy::limit::Limit;
    use lockgate_model::policy::{NodeFacts, decide};
    use lockgate_syntax::policy::parse_policy;

    use super::*;

    fn decided(asks: &[&str], grants: &Grants, policies: &[PolicyFile]) -> Decision {
        let asks: Vec<_> = asks.iter().map(ToString::to_string).collect();
        let (secrets, limits, said) = (BTreeMap::new(), Limits::default(), BTreeSet::from([Limit::Memory]));
        let facts =
            NodeFacts { grants, secrets: &secrets, asks: Some(&asks), limits: &limits, said: &said, variables: &[] };
        decide::node(policies, &facts)
    }

    #[test]
    fn every_stand_of_an_effect_is_told() {
        let text =
            b"schema = 1\nname = 'production'\ngrants.http = ['GET https://*.acme.example/']\nlimits.fuel = '1M'\n";
        let policies = [parse_policy("policy.toml", text).policy.unwrap()];
        let http = |text: &str| Grants { http: vec![HttpGrant::parse(text).unwrap()], ..Grants::default() };
        let good = http("GET https://a.acme.example/");
        let bad = http("GET https://elsewhere.example/");
        let clock = Grants { clock: true, ..Grants::default() };
        let all = [
            effects(&decided(&["http"], &good, &policies), &policies),
            effects(&decided(&["http"], &bad, &policies), &policies),
            effects(&decided(&["http"], &good, &[]), &[]),
            effects(&decided(&["clock"], &Grants::default(), &policies), &policies),
            effects(&decided(&[], &clock, &policies), &policies),
            effects(&decided(&[], &good, &policies), &policies),
            effects(&decided(&[], &Grants::default(), &policies), &policies),
        ];
        let allowed = "`production` allows GET https://*.acme.example:443/";
        assert_eq!(
            all.concat(),
            [
                format!("http: asked, granted; {allowed}: in force"),
                format!("http: asked, granted; {allowed}: refused"),
                "http: asked, granted; no policy: in force".to_owned(),
                "clock: asked, not granted; `production` allows none: not in force".to_owned(),
                "clock: not asked, granted; `production` allows none: refused".to_owned(),
                format!("http: not asked, granted; {allowed}: without effect"),
            ]
        );
        let decision = decided(&["http"], &good, &policies);
        assert_eq!(set_by(&decision, "fuel"), Some("policy"));
        assert_eq!(set_by(&decision, "memory"), Some("pipeline"));
        assert_eq!(set_by(&decision, "timeout"), None);
        let json = json(&decision);
        assert_eq!(json["limits"]["fuel"], json!({ "value": 1_000_000, "by": "policy", "highest": 1_000_000 }));
        assert_eq!(json["effects"]["http"]["result"], "in-force");
        assert_eq!(json["effects"]["tcp"]["asks"], false);
    }
}
