//! Effects: how they are counted and recorded, outbound HTTP and bare connections.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod request;
pub(crate) mod tcp;

use std::borrow::Cow;
use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::effect::{Begun, EffectRecord};
use lockgate_model::task::Task;
use serde_json::{Value, json};

use crate::ports::{Artifacts, Effects, EffectsError};
use crate::secret::{contains, replace};
use crate::state::{State, Stop};

/// Domain of the digests of requests.
pub(crate) const REQUEST_DOMAIN: &str = "lockgate-effect-v1";
/// Longest bytes that stand in a record; longer ones are blobs.
const INLINE: usize = 4 << 10;
/// Longest summary in characters.
const SUMMARY: usize = 300;

/// An effect before it has an answer.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) kind: &'static str,
    pub(crate) request: Digest,
    pub(crate) summary: String,
}

/// Records the effects of one host call.
pub(crate) struct Recorder {
    effects: Arc<dyn Effects>,
    first: u64,
}

impl Recorder {
    /// Takes sequence numbers for so many effects, within the limit.
    pub(crate) fn begin(state: &mut State, count: u64) -> Result<Self, Stop> {
        let first = state.next_sequence();
        let total = state.effect_count.saturating_add(count);
        let limit = state.limits().effects;
        if total > limit {
            return Err(Stop::limit(format_args!("it causes more than {limit} effects"), "effects"));
        }
        state.effect_count = total;
        Ok(Self { effects: state.effects.clone(), first })
    }

    /// The number of the effect of this index.
    pub(crate) const fn sequence(&self, index: u64) -> u64 {
        self.first.saturating_add(index)
    }

    /// Makes the intent of the effect of this index durable, or has it answered from a record.
    pub(crate) async fn intent(&self, index: u64, effect: &Effect) -> Result<Begun, Stop> {
        let summary: String = effect.summary.chars().take(SUMMARY).collect();
        self.effects.intent(self.sequence(index), effect.kind, effect.request, &summary).await.map_err(stop)
    }

    /// What the effect of this index is to tell of its trace.
    pub(crate) fn trace_parent(&self, index: u64) -> Option<String> {
        self.effects.trace_parent(self.sequence(index))
    }

    /// Makes the outcome of one that was issued durable.
    pub(crate) async fn outcome(&self, index: u64, answer: &Value) -> Result<(), Stop> {
        self.effects.outcome(self.sequence(index), answer).await.map_err(stop)
    }

    /// The end of a call whose record cannot be used.
    pub(crate) fn unreadable(&self, index: u64, error: &str) -> Stop {
        let sequence = self.sequence(index);
        Stop::Infrastructure(format!("failed to read the recorded answer of effect {sequence}: {error}"))
    }

    /// The record of an effect, for the node's own.
    pub(crate) fn record(&self, index: u64, effect: Effect, answer: Value) -> EffectRecord {
        let summary = effect.summary.chars().take(SUMMARY).collect();
        let (sequence, kind) = (self.sequence(index), effect.kind.to_owned());
        EffectRecord { sequence, kind, request: effect.request, summary, answer }
    }
}

fn stop(error: EffectsError) -> Stop {
    match error {
        EffectsError::Record(_) => Stop::Infrastructure(format!("failed to {error}")),
        EffectsError::Differs(_) => Stop::Differs(format!("failed to {error}")),
    }
}

/// The key under which an effect is issued again after a crash, so that a server can tell: `run/node/attempt/sequence`.
pub(crate) fn idempotency_key(task: &Task, sequence: u64) -> String {
    format!("{}/{}/{}/{sequence}", task.run, task.node, task.attempt)
}

/// What stands for the idempotency key in what a guest sends. Requests are recorded and compared with it, because an attempt's number is no
/// part of what a node asks for.
pub(crate) const KEY_PLACEHOLDER: &str = "{{lockgate:idempotency-key}}";

/// Puts the idempotency key in place of its placeholder.
pub(crate) fn place_key<'b>(bytes: &'b [u8], key: &str) -> Cow<'b, [u8]> {
    match contains(bytes, KEY_PLACEHOLDER.as_bytes()) {
        true => Cow::Owned(replace(bytes, KEY_PLACEHOLDER.as_bytes(), key.as_bytes())),
        false => Cow::Borrowed(bytes),
    }
}

/// Bytes as they stand in a record: `{"text"}` where they are UTF-8, else `{"hex"}`; large ones as `{"blob", "size"}`.
/// [`answer::Bytes`] reads them back.
pub(crate) fn bytes_json(artifacts: &dyn Artifacts, bytes: &[u8]) -> Result<Value, Stop> {
    if bytes.len() > INLINE {
        let digest =
            artifacts.put_blob(bytes).map_err(|error| Stop::artifacts("store the answer of an effect", &error))?;
        return Ok(json!({ "blob": digest, "size": bytes.len() }));
    }
    Ok(match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    })
}
