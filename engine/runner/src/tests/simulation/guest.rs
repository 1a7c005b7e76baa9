//! Who executes: results that follow from component, config and inputs alone, after some time, with faults between.

use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::canonical_json;
use lockgate_model::effect::{self, Begun, EffectRecord};
use lockgate_model::outcome::{Completion, FailureKind, Status};
use lockgate_model::run::NodeState;
use lockgate_model::task::Task;
use serde_json::{Value, json};

use super::world::{FAULT, Intended, Promise, World, is_lost};
use crate::tests::{port, said};
use crate::{EffectSink, Executor};

pub(super) struct Guest(pub(super) Arc<World>);

/// Counts an execution as long as it lives.
struct Running<'a>(&'a World);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().process.running -= 1;
    }
}

#[async_trait::async_trait]
impl Executor for Guest {
    async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        let (node, attempt, look) = (self.0.position(&task.node), task.attempt, task.look.index);
        let completion = self.call(node, task, effects).await;
        if completion.failure.is_some() {
            self.0.lock().process.failed.insert((node, attempt, look));
        }
        completion
    }
}

fn fault(kind: FailureKind) -> Completion {
    Completion::failed(kind, FAULT)
}

impl Guest {
    async fn call(&self, node: usize, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        let world = &self.0;
        world.lock().process.running += 1;
        let _running = Running(world);
        world.tell(|| format!("execute {} attempt {} look {}", task.node, task.attempt, task.look.index));
        world.count("executions");
        self.check_start(node, &task);
        if !world.moment("before an execution") {
            return fault(FailureKind::Infrastructure);
        }
        world.time.dawdle().await;
        let rates = &world.scenario.rates;
        if world.fault(rates.panic, "panics") {
            // Not `panic!`: the hook would print each.
            std::panic::resume_unwind(Box::new(FAULT));
        }
        let records = match self.effects(node, &task, &*effects).await {
            Ok(records) => records,
            Err(kind) => return fault(kind),
        };
        if world.fault(rates.flaky, "flaky executions") {
            return fault(*world.dice.pick(&FailureKind::ALL));
        }
        world.time.dawdle().await;
        world.moment("behind an execution");
        self.result(node, &task, &records)
    }

    /// What must hold when an execution begins.
    fn check_start(&self, node: usize, task: &Task) {
        let world = &self.0;
        if world.time.is_dead() {
            return;
        }
        let name = world.scenario.name(node);
        let mut broken = None;
        {
            let mut inner = world.lock();
            let (running, jobs) = (inner.process.running, inner.process.jobs);
            if running > jobs {
                broken = Some((Promise::Jobs, format!("{running} executions at once, {jobs} jobs")));
            }
            // A resumed run begins before that is durable.
            let again = inner.process.again.contains(&node) || inner.durable.is_late(node);
            if inner.durable.receipt(node).is_some_and(|receipt| receipt.status == Status::Succeeded) && !again {
                broken = Some((Promise::Once, format!("`{name}` is executed, and it succeeded before")));
            }
            let count = inner.process.executed.entry((node, task.attempt, task.look.index)).or_default();
            *count += 1;
            let repeat = world.scenario.pipeline.nodes[node].repeat;
            let checked = world.scenario.check && task.grants.is_empty();
            if *count > if checked { repeat.max(2) } else { repeat } {
                let what =
                    format!("look {} of attempt {} of `{name}` is executed too often", task.look.index, task.attempt);
                broken = Some((Promise::Once, what));
            }
            if !task.grants.is_empty() {
                let begun = match inner.durable.state(node) {
                    NodeState::Running(attempt)
                    | NodeState::WaitingForLook(attempt)
                    | NodeState::Waiting { attempt: Some(attempt), .. } => attempt.number == task.attempt,
                    _ => false,
                };
                let finals = |(need, _): (usize, _)| inner.durable.receipt(need).is_some();
                // An attempt that another process began goes on, even where what it needs begins again.
                let goes_on = inner.process.under_way.contains(&node);
                if !begun || (!goes_on && !world.scenario.graph.needs(node).all(finals)) {
                    let what = format!("`{name}` has grants, and begins before its beginning is durable");
                    broken = Some((Promise::Durable, what));
                }
            }
        }
        let look = task.look.index;
        let returned = look > 0 && !world.lock().process.failed.contains(&(node, task.attempt, look - 1));
        if task.state != returned.then(|| vec![look as u8]) {
            broken = Some((Promise::State, format!("look {} of `{name}` has another's state", task.look.index)));
        }
        if let Some((promise, what)) = broken {
            world.broke(promise, what);
        }
    }

    /// Does to the outside what the node does, and gives the record of it.
    async fn effects(&self, node: usize, task: &Task, sink: &dyn EffectSink) -> Result<Vec<EffectRecord>, FailureKind> {
        let world = &self.0;
        let count = world.scenario.pipeline.nodes[node].config.get("effects").and_then(Value::as_u64).unwrap_or(0);
        let mut records = Vec::new();
        for sequence in task.first_sequence..task.first_sequence + count {
            let effect = world.scenario.effect(node, sequence);
            let request = Digest::of(effect.summary.as_bytes());
            let begun = sink.intent(sequence, effect.kind, request, &effect.summary).await;
            if !world.moment("behind an intent") {
                return Err(FailureKind::Infrastructure);
            }
            let number = (node, task.attempt, sequence);
            let mut answer = json!({ "status": 200, "of": effect.summary });
            match begun {
                Err(crate::SinkError::Ending) => return Err(FailureKind::Infrastructure),
                Err(error @ crate::SinkError::Differs(_)) => {
                    world.broke(Promise::Effects, format!("`{}` failed to {error}", task.node));
                    return Err(FailureKind::Infrastructure);
                }
                Ok(Begun::Answered(recorded)) => {
                    self.check_answer(number, &recorded);
                    answer = recorded;
                }
                Ok(Begun::Issue) => {
                    let key = format!("{}/{}/{}/{sequence}", task.run, task.node, task.attempt);
                    // It may reach the server and the answer not us, or not even reach it.
                    if !world.fault(world.scenario.rates.torn / 2, "lost requests") {
                        world.serve(number, &key);
                    }
                    world.moment("behind a request");
                    world.time.dawdle().await;
                    if world.fault(world.scenario.rates.torn, "torn effects") {
                        if world.dice.chance(500) {
                            std::panic::resume_unwind(Box::new(FAULT));
                        }
                        return Err(FailureKind::Timeout);
                    }
                    if world.fault(world.scenario.rates.unanswered, "error answers") {
                        answer = json!({ "error": { "code": "closed", "message": FAULT } });
                    }
                    if sink.outcome(sequence, &answer).await.is_err() || !world.moment("behind an outcome") {
                        return Err(FailureKind::Infrastructure);
                    }
                    self.check_answer(number, &answer);
                }
            }
            if answer.get("error").is_some() && !is_lost(&answer) {
                return Err(FailureKind::Error);
            }
            let (kind, summary) = (effect.kind.to_owned(), effect.summary);
            records.push(EffectRecord { sequence, kind, request, summary, answer });
        }
        Ok(records)
    }

    /// What the guest sees is on record.
    fn check_answer(&self, number: (usize, u32, u64), answer: &Value) {
        let world = &self.0;
        let recorded = match world.lock().intents.get(&number) {
            Some(Intended { answer, .. }) => answer.clone(),
            None => None,
        };
        if !world.time.is_dead() && recorded.as_ref() != Some(answer) {
            let what = format!("effect {} of `{}` is answered by {answer}", number.2, world.scenario.name(number.0));
            world.broke(Promise::Durable, format!("{what}, on record is {recorded:?}"));
        }
    }

    /// What the node comes to.
    fn result(&self, node: usize, task: &Task, records: &[EffectRecord]) -> Completion {
        let world = &self.0;
        let config = &world.scenario.pipeline.nodes[node].config;
        let fate = config.get("fate").and_then(Value::as_str).unwrap_or_default();
        let failed = |kind| Completion::failed(kind, "as fated");
        let look = task.look.index;
        let words = config.get("words").and_then(Value::as_array);
        let mut completion = match (fate, words) {
            ("error", _) => return failed(FailureKind::Error),
            ("trap", _) => return failed(FailureKind::Trap),
            ("fuel", _) => return failed(FailureKind::Fuel),
            ("limit", _) => return failed(FailureKind::Limit),
            ("contract", _) => return failed(FailureKind::Contract),
            (_, Some(words)) => said(words[(look as usize).min(words.len() - 1)].as_str().unwrap_or_default()),
            _ => {
                let mut completion = failed(FailureKind::Error);
                completion.failure = None;
                completion
            }
        };
        let lost: Vec<_> = records.iter().map(|record| is_lost(&record.answer)).collect();
        let varies = if fate == "varies" { world.lock().counts["executions"] } else { 0 };
        let text = format!("{} {} {look} {lost:?} {varies}", task.config, canonical_json(&task.inputs));
        let of = Digest::of(text.as_bytes());
        let out = canonical_json(&json!({ "k": of.as_bytes()[0] % 2, "of": of }));
        if fate != "leaves-out" {
            completion.outputs.insert(port("out"), world.keep(out.as_bytes()));
        }
        if of.as_bytes()[1].is_multiple_of(2) {
            completion.log = Some(world.keep(format!("info {of}\n").as_bytes()));
        }
        if !records.is_empty() {
            completion.effects = Some(world.keep(effect::encode(records).as_bytes()));
        }
        completion.fuel = Some(text.len() as u64);
        completion.state = Some(vec![look as u8 + 1]);
        completion
    }
}
