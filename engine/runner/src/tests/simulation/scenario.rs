//! What a seed makes: a pipeline, how it is driven, and what goes wrong.

use std::sync::Arc;

use lockgate_model::expr::{Compare, Expr, Step};
use lockgate_model::grant::{HttpGrant, InDoubt};
use lockgate_model::graph::Graph;
use lockgate_model::outcome::FailureKind;
use lockgate_model::pipeline::{Approval, InputSource, Node, NodeKind, OnDeadline, Pipeline, Poll, Retry, Wait};
use lockgate_model::units::Millis;
use lockgate_model::{NodeId, PortName};
use serde_json::{Value, json};

use super::dice::Dice;
use crate::tests::{id, node, pipeline, port};

/// One seed's world, before anything happens in it.
pub(super) struct Scenario {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) graph: Arc<Graph>,
    /// What each node's `when` says, to be decided without the engine.
    pub(super) whens: Vec<Option<When>>,
    pub(super) fail_fast: bool,
    pub(super) check: bool,
    /// Processes that things go wrong in, before those in which nothing does.
    pub(super) rough: u32,
    pub(super) rates: Rates,
    /// Whether an earlier run filled the cache.
    pub(super) warm: bool,
}

/// How often something goes wrong, of a thousand times.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) append: u64,
    pub(super) signals: u64,
    pub(super) blob: u64,
    pub(super) cache: u64,
    /// Executions that fail although they should not.
    pub(super) flaky: u64,
    pub(super) panic: u64,
    /// Executions that end in the middle of an effect.
    pub(super) torn: u64,
    /// Requests whose answer is an error.
    pub(super) unanswered: u64,
    /// Processes that are killed, or interrupted.
    pub(super) crash: u64,
    pub(super) interrupt: u64,
    /// Steps of the writer beside which somebody says something.
    pub(super) said: u64,
}

/// A condition that is decided by receipts alone.
#[derive(Debug, Clone)]
pub(super) enum When {
    Value(bool),
    Status(usize, &'static str),
    Verdict(usize, &'static str),
    Output(usize, u64),
    Failed,
    /// It compares what has no order: an error.
    Wrong,
}

/// What a node's execution comes to, always.
pub(super) const FATES: [&str; 6] = ["error", "trap", "fuel", "limit", "contract", "leaves-out"];

impl Scenario {
    pub(super) fn new(dice: &Dice) -> Self {
        let count = 1 + dice.below(1 + dice.below(40)) as usize;
        let mut nodes: Vec<Node> = Vec::with_capacity(count);
        let mut whens = Vec::with_capacity(count);
        for number in 0..count {
            let (node, when) = random_node(dice, number, &nodes);
            nodes.push(node);
            whens.push(when);
        }
        let pipeline = Arc::new(pipeline(nodes));
        let graph = Arc::new(Graph::new(&pipeline).unwrap());
        // Some runs see many faults of few kinds, others few of many.
        let rate = |most: u64| if dice.chance(500) { dice.below(most) } else { 0 };
        let rates = Rates {
            append: rate(60),
            signals: rate(60),
            blob: rate(100),
            cache: rate(500),
            flaky: rate(300),
            panic: rate(60),
            torn: rate(200),
            unanswered: rate(200),
            crash: rate(1_000),
            interrupt: rate(600),
            said: rate(200),
        };
        Self {
            pipeline,
            graph,
            whens,
            fail_fast: dice.chance(200),
            check: dice.chance(100),
            rough: dice.below(6) as u32,
            rates,
            warm: dice.chance(200),
        }
    }

    pub(super) fn name(&self, node: usize) -> &str {
        self.pipeline.nodes[node].id.as_str()
    }

    /// Whether an effect of a node must not be repeated unasked.
    pub(super) fn stops(&self, node: usize, effect: &Effect) -> bool {
        self.pipeline.nodes[node].grants.in_doubt(effect.kind, &effect.summary) == InDoubt::Stop
    }

    /// The effect of this number of a node: the same in every attempt.
    pub(super) fn effect(&self, node: usize, sequence: u64) -> Effect {
        let node = &self.pipeline.nodes[node];
        match node.grants.http.first() {
            Some(grant) => {
                let summary = format!("{} http://service/{}/{sequence}", grant.method, node.id);
                Effect { kind: "http", summary }
            }
            None => Effect { kind: "clock", summary: "now".to_owned() },
        }
    }
}

/// What a node does to the world outside.
pub(super) struct Effect {
    pub(super) kind: &'static str,
    pub(super) summary: String,
}

fn random_node(dice: &Dice, number: usize, before: &[Node]) -> (Node, Option<When>) {
    let mut made = node(&format!("n{number}"));
    made.kind = *dice.pick(&[
        NodeKind::Stage,
        NodeKind::Stage,
        NodeKind::Stage,
        NodeKind::Stage,
        NodeKind::HealthCheck,
        NodeKind::Canary,
        NodeKind::Approval,
        NodeKind::Wait,
    ]);
    made.finally = dice.chance(100);
    made.allow_failure = dice.chance(150);
    edges(dice, &mut made, before);
    if made.kind.world().is_some() {
        plugged(dice, &mut made);
    } else {
        gated(dice, &mut made);
    }
    let when = dice.chance(150).then(|| condition(dice, &made, before));
    made.when = when.as_ref().map(|when| expression(when, before));
    (made, when)
}

fn edges(dice: &Dice, made: &mut Node, before: &[Node]) {
    if before.is_empty() {
        return;
    }
    for _ in 0..dice.below(4) {
        // Near ones more often, so that graphs are deep too.
        let back = 1 + dice.below(1 + dice.below(before.len() as u64)) as usize;
        let need = &before[before.len() - back];
        let plugs = need.kind.world().is_some() && made.kind.world().is_some();
        match dice.below(5) {
            0 | 1 if plugs => {
                let output = InputSource::Output { node: need.id.clone(), output: port("out") };
                made.inputs.insert(port(&format!("in-{}", need.id)), output);
            }
            // Of what is never taken again: an edge leads only to the node that is named.
            2 if plugs && let Some(input) = need.inputs.keys().find(|input| keeps(need, input, before)) => {
                let input = InputSource::Input { node: need.id.clone(), input: input.clone() };
                made.inputs.insert(port(&format!("as-{}", need.id)), input);
            }
            _ => {
                made.after.insert(need.id.clone());
            }
        }
    }
}

/// Whether the node that an input comes from, through others or not, never takes its verdict again.
fn keeps(node: &Node, input: &PortName, before: &[Node]) -> bool {
    let find = |id: &NodeId| before.iter().find(|node| node.id == *id);
    match &node.inputs[input] {
        InputSource::Output { node, .. } => find(node).is_some_and(|node| node.max_age.is_none()),
        InputSource::Input { node, input } => find(node).is_some_and(|node| keeps(node, input, before)),
        _ => true,
    }
}

/// What only nodes with a plugin have.
fn plugged(dice: &Dice, made: &mut Node) {
    if dice.chance(150) {
        // Equal to others.
        made.config = [("twin".to_owned(), json!(dice.below(2)))].into_iter().collect();
        made.inputs.clear();
    }
    if dice.chance(120) {
        made.config.insert("fate".to_owned(), json!(dice.word(&FATES)));
    } else if dice.chance(20) {
        made.config.insert("fate".to_owned(), json!("varies"));
    }
    if dice.chance(300) {
        let mut on = Retry::default().on;
        if dice.chance(300) {
            on = FailureKind::ALL.into_iter().filter(|_| dice.chance(500)).collect();
        }
        let (backoff, max_backoff) = (Millis(dice.spread(12)), Millis(dice.spread(13)));
        made.retry = Retry { attempts: 1 + dice.below(4) as u32, backoff, max_backoff, on };
    }
    if made.kind != NodeKind::Stage {
        judging(dice, made);
    }
    if dice.chance(250) {
        made.config.insert("effects".to_owned(), json!(dice.below(4)));
        if dice.chance(850) {
            let method = dice.word(&["GET", "POST", "POST"]);
            let grant = HttpGrant::parse(&format!("{method} http://service/")).unwrap();
            made.grants.http.push(match dice.below(3) {
                0 => grant.with_in_doubt(InDoubt::Repeat),
                1 => grant.with_in_doubt(InDoubt::Stop),
                _ => grant,
            });
        } else {
            made.grants.clock = true;
        }
    } else if made.poll.is_none() && dice.chance(100) {
        made.repeat = 2 + dice.below(2) as u32;
    }
}

/// What only health checks and canaries have.
fn judging(dice: &Dice, made: &mut Node) {
    let words: &[&str] = if made.kind == NodeKind::Canary {
        &["promote", "promote", "promote", "hold", "rollback", "inconclusive"]
    } else {
        &["healthy", "healthy", "healthy", "degraded", "unhealthy"]
    };
    let said: Vec<_> = (0..1 + dice.below(6)).map(|_| dice.word(words)).collect();
    made.config.insert("words".to_owned(), json!(said));
    if dice.chance(300) {
        made.accept.insert(dice.word(words).to_owned());
    }
    if dice.chance(600) {
        let every = dice.spread(11);
        let row = || dice.chance(400).then(|| 1 + dice.below(3) as u32);
        let span = Millis(every * dice.below(7));
        made.poll = Some(Poll { every: Millis(every), span, healthy: row(), unhealthy: row() });
    }
    if dice.chance(400) {
        made.max_age = Some(Millis(dice.spread(14)));
    }
}

/// What makes an approval or a wait of a node.
fn gated(dice: &Dice, made: &mut Node) {
    made.plugin = None;
    made.config.clear();
    if made.kind == NodeKind::Approval {
        let approvers = if dice.chance(500) { ["alice".to_owned()].into() } else { [].into() };
        // Longer than the driver takes to hear what was said.
        let deadline = Millis(2_000 + dice.below(20_000));
        let on_deadline = *dice.pick(&[OnDeadline::Reject, OnDeadline::Approve]);
        made.approval = Some(Approval { message: "Go?".to_owned(), approvers, deadline, on_deadline });
    } else {
        // Near the moment at which virtual time begins, too.
        let moment = 1_700_000_000_000 - 5_000 + dice.below(40_000);
        made.wait = Some(if dice.chance(700) { Wait::For(Millis(dice.spread(14))) } else { Wait::Until(moment) });
    }
}

fn condition(dice: &Dice, made: &Node, before: &[Node]) -> When {
    let earlier = || dice.below(before.len() as u64) as usize;
    match dice.below(8) {
        0 => When::Value(false),
        1 => When::Value(true),
        2 if dice.chance(100) => When::Wrong,
        3 if made.finally => When::Failed,
        _ if before.is_empty() => When::Value(true),
        4 | 5 => When::Status(earlier(), dice.word(&["succeeded", "failed", "skipped"])),
        6 => When::Verdict(earlier(), dice.word(&["promote", "healthy", "rollback", "approved", "expired"])),
        _ => When::Output(earlier(), dice.below(2)),
    }
}

fn expression(when: &When, before: &[Node]) -> Expr {
    let equal = |left, right: Value| Expr::Compare(Compare::Equal, Box::new(left), Box::new(Expr::Value(right)));
    let name = |node: &usize| id(before[*node].id.as_str());
    match when {
        When::Value(value) => Expr::Value(json!(value)),
        When::Status(node, word) => equal(Expr::Status(name(node)), json!(word)),
        When::Verdict(node, word) => equal(Expr::Verdict(name(node)), json!(word)),
        When::Output(node, k) => {
            let path = vec![Step::Key("k".to_owned())];
            equal(Expr::Output { node: name(node), output: port("out"), path }, json!(k))
        }
        When::Failed => equal(Expr::RunStatus, json!("failed")),
        When::Wrong => Expr::Compare(Compare::Less, Box::new(Expr::Value(json!("x"))), Box::new(Expr::Value(json!(1)))),
    }
}
