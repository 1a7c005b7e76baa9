//! Executing node kinds: their time, their panics, and what remains of each end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockgate_host::Artifacts as _;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::Component;
use lockgate_model::manifest::{Manifest, World};
use lockgate_model::outcome::{Completion, Failure, FailureKind, Verdict};
use lockgate_model::task::Task;
use lockgate_model::{Digest, canonical_json, effect};
use lockgate_runner::EffectSink;
use lockgate_syntax::policy::PluginKnown;
use serde_json::json;
use tokio::task::JoinHandle;

use super::call::{Call, Made};
use super::{Answer, Failed, NodeFailure, NodeKind};
use crate::error::Error;
use crate::wiring::executor::StoreArtifacts;

/// Longest message of a failure in characters: it stands in the receipt.
const MAX_MESSAGE: usize = 10_000;
/// Most reasons of a verdict, most bytes of its details and of an evaluator's state: those of plugins.
const MAX_REASONS: usize = 100;
const MAX_DETAILS: usize = 256 << 10;
const MAX_STATE: usize = 1 << 20;

/// The node kinds of a program by name.
pub(crate) type Kinds = BTreeMap<String, Arc<Native>>;

/// A node kind whose declaration was checked.
pub struct Native {
    kind: Arc<dyn NodeKind>,
    manifest: Arc<Manifest>,
    declaration: String,
    digest: Digest,
}

impl Native {
    pub(crate) fn new(kind: Arc<dyn NodeKind>) -> Result<Self, Error> {
        let manifest = kind.declare().manifest()?;
        let declaration = canonical_json(&json!({ "kind": "lockgate-node-kind-v1", "manifest": manifest }));
        let digest = Digest::of(declaration.as_bytes());
        Ok(Self { kind, manifest: Arc::new(manifest), declaration, digest })
    }

    /// What it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What names it in receipts and action keys: the digest of [`Native::declaration`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its declaration as it is kept with runs.
    pub(crate) fn declaration(&self) -> &str {
        &self.declaration
    }

    /// What policies get to know of it: nobody signs what is part of the program.
    pub(crate) fn known(&self) -> PluginKnown {
        let asks = Some(self.manifest.effects.clone());
        PluginKnown { digest: Some(self.digest), asks, locked: false, signers: Vec::new() }
    }

    pub(crate) fn component(&self) -> Component {
        let name = format!("{} {}", self.manifest.name, self.manifest.version);
        Component { digest: self.digest, name, reads_time: false }
    }

    /// Executes one task.
    pub(crate) async fn execute(
        &self,
        task: Task,
        artifacts: Arc<StoreArtifacts>,
        effects: Arc<dyn EffectSink>,
    ) -> Completion {
        let made = Arc::new(Mutex::new(Made::new(&task)));
        let limits = task.limits.clone();
        let world = task.world;
        let call = Call::new(task, self.manifest.clone(), artifacts.clone(), effects, made.clone());
        let kind = self.kind.clone();
        // A task of its own: a panic ends it and nothing else, and code that never awaits keeps only itself from ending.
        let mut running = Running(tokio::spawn(async move {
            let mut call = call?;
            kind.run(&mut call).await
        }));
        let ended = tokio::time::timeout(Duration::from_millis(limits.timeout.0), &mut running.0).await;
        let answer = match ended {
            Ok(Ok(answer)) => answer.and_then(|answer| checked(answer, world)),
            Ok(Err(error)) => Err(NodeFailure::engine(FailureKind::Trap, panic_text(error))),
            Err(_) => {
                let message = format!(
                    "it did not end within {}; raise `limits.timeout` of the node if it is right",
                    limits.timeout
                );
                Err(NodeFailure::engine(FailureKind::Timeout, message))
            }
        };
        drop(running);
        let made = std::mem::replace(&mut *made.lock().unwrap_or_else(PoisonError::into_inner), Made::closed());
        self.complete(answer, made, &artifacts)
    }

    fn complete(&self, answer: Result<Answer, NodeFailure>, made: Made, artifacts: &StoreArtifacts) -> Completion {
        let mut done = Completion::failed(FailureKind::Infrastructure, "");
        done.failure = None;
        let answer = answer.and_then(|answer| match made.breach.clone() {
            Some(breach) => Err(NodeFailure::engine(FailureKind::Contract, breach)),
            None => Ok(answer),
        });
        let missing = self.manifest.outputs.named.iter();
        let missing = missing.filter(|port| !port.optional).find(|port| !made.outputs.contains_key(&port.name));
        match (answer, missing) {
            (Ok(_), Some(port)) => {
                let message = format!("it did not write the output `{}`, which it declares", port.name);
                done.failure = Some(Failure { kind: FailureKind::Contract, message });
            }
            (Ok(answer), None) => {
                done.outputs = made.outputs.clone();
                done.verdict = answer.verdict;
                done.state = answer.state.filter(|state| !state.is_empty());
            }
            (Err(NodeFailure(Failed::Said(message))), _) => {
                done.failure = Some(Failure { kind: FailureKind::Error, message: cut(message) });
            }
            (Err(NodeFailure(Failed::Engine(kind, message))), _) => {
                done.failure = Some(Failure { kind, message: cut(message) });
            }
        }
        match keep(&mut done, made, artifacts) {
            Ok(()) => done,
            Err(error) => {
                let message = format!("failed to store what it made: {error}");
                let failure = Some(Failure { kind: FailureKind::Infrastructure, message });
                Completion { failure, outputs: BTreeMap::new(), verdict: None, state: None, ..done }
            }
        }
    }
}

/// Stores what goes with every end: log, findings, effects.
fn keep(done: &mut Completion, made: Made, artifacts: &StoreArtifacts) -> std::io::Result<()> {
    let put = |text: &str| -> std::io::Result<Option<ArtifactRef>> {
        if text.is_empty() {
            return Ok(None);
        }
        let digest = artifacts.put_blob(text.as_bytes())?;
        Ok(Some(ArtifactRef { kind: ArtifactKind::Blob, digest, size: text.len() as u64 }))
    };
    done.log = put(&made.log.finish())?;
    done.effects = put(&effect::encode(&made.records))?;
    if !made.findings.is_empty() {
        for finding in &made.findings {
            let known = ["error", "warning", "note"].contains(&finding.severity.as_str());
            let severity = if known { finding.severity.as_str() } else { "note" };
            *done.finding_counts.entry(severity.to_owned()).or_default() += 1;
        }
        done.findings = put(&canonical_json(&made.findings))?;
    }
    Ok(())
}

/// What a node kind answered, if its world permits it.
fn checked(answer: Answer, world: World) -> Result<Answer, NodeFailure> {
    let wrong = |what: String| Err(NodeFailure::engine(FailureKind::Contract, what));
    let words: &[&str] = match world {
        World::HealthCheck => &Verdict::HEALTH,
        World::CanaryEvaluator => &Verdict::CANARY,
        World::Stage | World::Command => &[],
    };
    match &answer.verdict {
        None if words.is_empty() => {}
        None => return wrong(format!("it gave no verdict: one of {}", words.join(", "))),
        Some(_) if words.is_empty() => return wrong("it gave a verdict, which a stage has not".to_owned()),
        Some(verdict) if !words.contains(&verdict.word.as_str()) => {
            let word: String = verdict.word.chars().take(80).collect();
            return wrong(format!("its verdict is `{word}`, not one of {}", words.join(", ")));
        }
        Some(verdict) => {
            let details = verdict.details.as_ref().map_or(0, |details| details.to_string().len());
            let reason = verdict.reasons.iter().any(|reason| reason.chars().count() > MAX_MESSAGE);
            if verdict.reasons.len() > MAX_REASONS || reason || details > MAX_DETAILS {
                return wrong("its verdict is too long".to_owned());
            }
        }
    }
    if answer.state.as_ref().is_some_and(|state| state.len() > MAX_STATE) {
        return wrong(format!("it returned more than {MAX_STATE} bytes of state"));
    }
    Ok(answer)
}

/// A task that ends with whoever waits for it.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("it panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
        }
        Err(_) => "it was stopped".to_owned(),
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_MESSAGE) {
        text.truncate(end);
        text += " ...";
    }
    text
}
