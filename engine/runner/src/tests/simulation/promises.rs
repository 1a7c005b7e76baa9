//! What must hold when a process, or the run, has ended. Decided from receipts, without the engine's own rules.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use lockgate_model::canonical_json;
use lockgate_model::event::Event;
use lockgate_model::graph::Edge;
use lockgate_model::outcome::{FailureKind, Status};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState, Skip};
use serde_json::Value;

use super::scenario::{Scenario, When};
use super::world::{FAULT, Inner, Promise, World};
use crate::ports::Stamped;
use crate::tests::port;
use crate::{Recovered, RunReport};

/// A scenario for people.
pub(super) fn describe(scenario: &Scenario) -> String {
    let mut text = format!(
        "{} nodes, fail fast {}, check {}, {} rough processes, warm {}\n",
        scenario.pipeline.nodes.len(),
        scenario.fail_fast,
        scenario.check,
        scenario.rough,
        scenario.warm
    );
    text += &format!("  {:?}\n", scenario.rates);
    for (node, when) in scenario.pipeline.nodes.iter().zip(&scenario.whens) {
        let mut json = serde_json::to_value(node).unwrap_or_default();
        if let Value::Object(members) = &mut json {
            for quiet in ["limits", "plugin", "env", "when"] {
                members.remove(quiet);
            }
            members.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
        }
        text += &format!("  {} when {when:?}\n", canonical_json(&json));
    }
    text
}

/// What is recovered is what was recorded. Notes whose verdicts are too old at this time, in milliseconds.
pub(super) fn check_recovered(world: &World, recovered: &Recovered, now: u64) {
    let mut inner = world.lock();
    // A clock that was set back counts from the latest record on.
    let now = inner.journal.iter().map(|stamped| stamped.time).fold(now, u64::max);
    let (mut wrong, mut again) = (None, BTreeSet::new());
    for (node, made) in world.scenario.pipeline.nodes.iter().enumerate() {
        if recovered.state.state(node) != inner.durable.state(node) {
            wrong = Some(format!("`{}` is recovered as another", made.id));
        }
        let verdict = inner.durable.receipt(node).is_some_and(|receipt| receipt.verdict.is_some());
        if verdict && made.max_age.is_some_and(|most| now.saturating_sub(finished_at(&inner, node)) > most.0) {
            again.insert(node);
        }
    }
    inner.process.again = again;
    drop(inner);
    if let Some(what) = wrong {
        world.broke(Promise::State, what);
    }
}

fn finished_at(inner: &Inner, node: usize) -> u64 {
    let ends = |stamped: &&Stamped| match &stamped.event {
        Event::NodeFinished { receipt, .. } => inner.durable.position(receipt.node.as_str()) == Some(node),
        _ => false,
    };
    inner.journal.iter().rev().find(ends).map_or(0, |stamped| stamped.time)
}

/// The driver's last state is the journal's.
pub(super) fn check_report(world: &World, report: &RunReport) {
    let inner = world.lock();
    let (state, durable) = (&report.state, &inner.durable);
    let mut wrong = None;
    for node in 0..world.scenario.pipeline.nodes.len() {
        if state.state(node) != durable.state(node) || state.tried(node) != durable.tried(node) {
            let (name, found, kept) = (world.scenario.name(node), state.state(node), durable.state(node));
            wrong = Some(format!("`{name}`: the driver says {found:?}, the journal {kept:?}"));
        }
    }
    let summary = |state: &RunState| (state.over(), state.counts(), state.is_paused(), state.receipts());
    if summary(state) != summary(durable) {
        wrong = Some(format!("the driver says {:?}, the journal {:?}", summary(state), summary(durable)));
    }
    let reported = (report.status, report.digest, report.exit);
    if reported != (durable.status(), durable.over().and_then(|(_, digest)| digest), durable.exit_class()) {
        wrong = Some(format!("{reported:?} is reported, the journal says {:?}", durable.over()));
    }
    if durable.over().is_none() && !durable.is_paused() {
        wrong = Some("a process ended well, and the run goes on".to_owned());
    }
    drop(inner);
    if let Some(what) = wrong {
        world.broke(Promise::State, what);
    }
}

/// What must hold of a run that is over.
pub(super) fn check(world: &Arc<World>, reference: &World) {
    let (inner, other) = (world.lock(), reference.lock());
    let wrong = other.broken.clone().map(|broken| (broken.promise, format!("without faults: {}", broken.what)));
    let wrong = wrong
        .or_else(|| shape(world, &inner))
        .or_else(|| decisions(world, &inner))
        .or_else(|| same(&world.scenario, &inner, &other));
    drop((inner, other));
    if let Some((promise, what)) = wrong {
        world.broke(promise, what);
    }
}

type Wrong = Option<(Promise, String)>;

/// Each node ended as what it needs lets it.
fn shape(world: &World, inner: &Inner) -> Wrong {
    let scenario = &world.scenario;
    for (node, made) in scenario.pipeline.nodes.iter().enumerate() {
        let name = &made.id;
        let NodeState::Finished { receipt, skip, .. } = inner.durable.state(node) else {
            let promise = if made.finally { Promise::Finally } else { Promise::Ends };
            return Some((promise, format!("the run is over, and `{name}` is not final")));
        };
        let late = inner.durable.is_late(node);
        if late && *skip == Some(Skip::FailFast) {
            return Some((Promise::Finally, format!("`{name}` is cut by a failure of others")));
        }
        // What it needs may have begun again when this had begun.
        let went_on = went_on(scenario, inner, node);
        let blocks = |&(need, edge): &(usize, Edge)| !lets_start(scenario, inner, need, edge, made.finally);
        let blocker = scenario.graph.needs(node).find(blocks);
        let skipped = receipt.status == Status::Skipped;
        match blocker {
            Some((need, _)) if !skipped && !went_on => {
                return Some((Promise::Skips, format!("`{name}` ran although `{}` keeps it", scenario.name(need))));
            }
            None if skipped && *skip != Some(Skip::FailFast) => {
                let when = scenario.whens[node].as_ref();
                if when.is_none_or(|when| decide(when, inner) != Some(false)) {
                    return Some((Promise::Skips, format!("`{name}` is skipped, and nothing keeps it")));
                }
            }
            None if !skipped && !went_on => {
                let when = scenario.whens[node].as_ref();
                if when.is_some_and(|when| decide(when, inner) == Some(false)) {
                    return Some((Promise::Skips, format!("`{name}` ran, and its `when` is false")));
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether something that a node needs ended behind the node's last beginning: it began again with the run's resumption.
fn went_on(scenario: &Scenario, inner: &Inner, node: usize) -> bool {
    let last = |node: usize, begins: bool| {
        let id = &scenario.pipeline.nodes[node].id;
        let is = |stamped: &Stamped| match &stamped.event {
            Event::AttemptStarted { node, .. } | Event::NodeWaiting { node, attempt: None, .. } => begins && node == id,
            Event::NodeFinished { receipt, .. } => !begins && receipt.node == *id,
            _ => false,
        };
        inner.journal.iter().rposition(is)
    };
    let Some(began) = last(node, true) else { return false };
    let ended_since = |node: usize| last(node, false).is_some_and(|ended| ended > began);
    let early = |node: &usize| !inner.durable.is_late(*node);
    scenario.graph.needs(node).any(|(need, _)| ended_since(need))
        || inner.durable.is_late(node) && (0..scenario.pipeline.nodes.len()).filter(early).any(ended_since)
}

fn lets_start(scenario: &Scenario, inner: &Inner, need: usize, edge: Edge, finally: bool) -> bool {
    let NodeState::Finished { receipt, skip, .. } = inner.durable.state(need) else { return false };
    match receipt.status {
        Status::Succeeded => true,
        _ if edge == Edge::Data => false,
        _ if finally => true,
        Status::Skipped => *skip == Some(Skip::When),
        Status::Failed => scenario.pipeline.nodes[need].allow_failure,
        _ => false,
    }
}

/// What a `when` comes to; none: nothing can be said.
fn decide(when: &When, inner: &Inner) -> Option<bool> {
    let receipt = |node: &usize| inner.durable.receipt(*node);
    match when {
        When::Value(value) => Some(*value),
        When::Status(node, word) => Some(receipt(node)?.status.name() == *word),
        When::Verdict(node, word) => {
            let receipt = receipt(node)?;
            let said = receipt.verdict.as_ref().map(|verdict| verdict.word.as_str());
            let said = said.or(receipt.decision.as_ref().map(|decision| decision.word.as_str()));
            Some(said == Some(*word))
        }
        When::Output(node, k) => {
            let Some(artifact) = receipt(node)?.outputs.get(&port("out")) else { return Some(false) };
            let bytes = inner.blobs.get(&artifact.digest)?;
            let value: Value = serde_json::from_slice(bytes).ok()?;
            Some(value["k"] == *k)
        }
        When::Failed => {
            let fails = |node: usize| {
                let made = &inner.durable.pipeline().nodes[node];
                inner.durable.receipt(node).is_some_and(|receipt| match &receipt.failure {
                    Some(failure) if failure.kind == FailureKind::NotReproducible => true,
                    Some(_) => receipt.status == Status::Errored || !made.allow_failure,
                    None => false,
                })
            };
            let count = inner.durable.pipeline().nodes.len();
            Some((0..count).filter(|node| !inner.durable.is_late(*node)).any(fails))
        }
        When::Wrong => None,
    }
}

/// Only who may has decided.
fn decisions(world: &World, inner: &Inner) -> Wrong {
    for (node, made) in world.scenario.pipeline.nodes.iter().enumerate() {
        let decision = inner.durable.receipt(node).and_then(|receipt| receipt.decision.as_ref());
        let (Some(approval), Some(decision)) = (&made.approval, decision) else { continue };
        let Some(by) = &decision.by else { continue };
        let cancelled = decision.word == "cancelled";
        if !cancelled && !approval.approvers.is_empty() && !approval.approvers.contains(by) {
            return Some((Promise::Decisions, format!("`{}` is {} by {by}, who may not", made.id, decision.word)));
        }
    }
    None
}

/// Receipts and digest are those of the run without faults, but for nodes that a fault, or a person, gave another end.
fn same(scenario: &Scenario, inner: &Inner, other: &Inner) -> Wrong {
    let mut touched = HashSet::new();
    // What runs after all others may ask what became of any of them.
    let (late, early): (Vec<usize>, _) = scenario.graph.order().iter().partition(|node| inner.durable.is_late(**node));
    for node in early.into_iter().chain(late) {
        let (Some(receipt), Some(expected)) = (inner.durable.receipt(node), other.durable.receipt(node)) else {
            return Some((Promise::Ends, format!("`{}` is not final", scenario.name(node))));
        };
        let needs = scenario.graph.needs(node).any(|(need, _)| touched.contains(&need));
        let asks = matches!(scenario.whens[node], Some(When::Failed)) && !touched.is_empty();
        if needs || asks || went_on(scenario, inner, node) || is_touched(scenario, inner, node, receipt) {
            touched.insert(node);
        } else if receipt != expected {
            let what = format!(
                "`{}`: {}\nexpected {}",
                scenario.name(node),
                canonical_json(receipt),
                canonical_json(expected)
            );
            return Some((Promise::Digest, what));
        }
    }
    let digests = (inner.durable.run_digest(), other.durable.run_digest());
    match digests {
        (found, expected) if touched.is_empty() && found != expected => {
            Some((Promise::Digest, format!("the run digest is {found:?}, expected {expected:?}")))
        }
        _ => None,
    }
}

/// Whether a look failed by a fault: it may have changed how many there were.
fn bad_look(inner: &Inner, node: usize) -> bool {
    inner.journal.iter().any(|stamped| match &stamped.event {
        Event::LookTaken { node: name, failure: Some(failure), .. } => {
            inner.durable.position(name.as_str()) == Some(node) && failure.message.contains(FAULT)
        }
        _ => false,
    })
}

/// Whether a node's own end does not follow from the pipeline.
fn is_touched(scenario: &Scenario, inner: &Inner, node: usize, receipt: &Receipt) -> bool {
    let NodeState::Finished { skip, .. } = inner.durable.state(node) else { return true };
    let by_fault = receipt.failure.as_ref().is_some_and(|failure| failure.message.contains(FAULT));
    let config = &scenario.pipeline.nodes[node].config;
    let varies = config.get("fate").and_then(Value::as_str) == Some("varies");
    // Not of an approval, which the other run hears too; a wait may be over before it hears.
    let cancelled = receipt.failure.as_ref().is_some_and(|failure| failure.message.starts_with("cancelled by"))
        && scenario.pipeline.nodes[node].approval.is_none();
    let lost = receipt.effects.is_some_and(|effects| {
        let bytes = inner.blobs.get(&effects.digest);
        bytes.is_some_and(|bytes| String::from_utf8_lossy(bytes).contains("answer-lost"))
    });
    by_fault || varies || cancelled || lost || bad_look(inner, node) || *skip == Some(Skip::FailFast)
}
