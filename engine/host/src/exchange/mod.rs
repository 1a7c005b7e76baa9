//! Effects: how they are counted and recorded, and outbound HTTP.

pub(crate) mod client;
pub(crate) mod request;

use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::effect::EffectRecord;
use serde_json::{Value, json};

use crate::ports::{Artifacts, Effects};
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
        let first = state.task.first_sequence.saturating_add(state.effect_count);
        let total = state.effect_count.saturating_add(count);
        let limit = state.limits().effects;
        if total > limit {
            return Err(Stop::limit(format_args!("it causes more than {limit} effects"), "effects"));
        }
        state.effect_count = total;
        Ok(Self { effects: state.effects.clone(), first })
    }

    /// Makes the intent of the effect of this index durable.
    pub(crate) async fn intent(&self, index: u64, effect: &Effect) -> Result<(), Stop> {
        let summary: String = effect.summary.chars().take(SUMMARY).collect();
        let recorded = self.effects.intent(self.first + index, effect.kind, effect.request, &summary).await;
        recorded.map_err(|error| Stop::Infrastructure(format!("failed to {error}")))
    }

    /// Makes its outcome durable.
    pub(crate) async fn outcome(&self, index: u64, effect: Effect, answer: Value) -> Result<EffectRecord, Stop> {
        let sequence = self.first + index;
        let recorded = self.effects.outcome(sequence, &answer).await;
        recorded.map_err(|error| Stop::Infrastructure(format!("failed to {error}")))?;
        let summary = effect.summary.chars().take(SUMMARY).collect();
        Ok(EffectRecord { sequence, kind: effect.kind.to_owned(), request: effect.request, summary, answer })
    }
}

/// Bytes as they stand in a record: `{"text"}` where they are UTF-8, else `{"hex"}`; large ones as `{"blob", "size"}`.
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
