//! Recorded effects: host calls whose answer is not a function of the node's inputs.
//!
//! A node's effects are one blob, version 1: canonical JSON, one [`EffectRecord`] a line, each ended by `\n`, in order of their
//! sequence numbers.
//!
//! A call may also be given what was recorded instead of the world: [`Recorded`]. Replay has the record of a whole node, resume
//! that of an interrupted attempt, whose last effects it issues.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, canonical_json};

/// One effect with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EffectRecord {
    /// Number within the node, from 0, over all looks.
    pub sequence: u64,
    /// `http`, `tcp`, `process` or `clock`.
    pub kind: String,
    /// Digest of the request's canonical JSON: on replay it must be the same.
    pub request: Digest,
    /// The request, for people: method and URL, ...
    pub summary: String,
    /// The answer as the guest got it. Bodies larger than 4 KiB are blobs named by digest.
    pub answer: Value,
}

/// Encodes effects as the blob that the module's documentation describes.
pub fn encode(records: &[EffectRecord]) -> String {
    records.iter().map(|record| canonical_json(record) + "\n").collect()
}

/// Reads such a blob back.
pub fn decode(text: &str) -> Result<Vec<EffectRecord>, serde_json::Error> {
    text.lines().map(serde_json::from_str).collect()
}

/// What happens to an effect whose intent was announced.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// The intent is durable, and the effect is to be issued; its outcome is announced in turn.
    Issue,
    /// It happened before: this is its recorded answer, nothing is issued, and no outcome is announced.
    Answered(Value),
}

/// Recorded effects by sequence number, to answer from instead of the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded(BTreeMap<u64, EffectRecord>);

impl Recorded {
    /// The effects of one attempt of one node; of two with one number the last one counts.
    pub fn new(records: impl IntoIterator<Item = EffectRecord>) -> Self {
        Self(records.into_iter().map(|record| (record.sequence, record)).collect())
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an effect of this number, or one after it, is recorded: then any wait before it is over.
    pub fn reaches(&self, sequence: u64) -> bool {
        self.0.range(sequence..).next().is_some()
    }

    /// What happens to the effect of this number: answered if it is recorded, to be issued if not. Fails where another kind or
    /// another request is recorded under its number.
    pub fn begin(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, Differs> {
        match self.0.get(&sequence) {
            None => Ok(Begun::Issue),
            Some(record) if record.kind == kind && record.request == request => {
                Ok(Begun::Answered(record.answer.clone()))
            }
            Some(record) => Err(Differs {
                sequence,
                recorded: Some(about(&record.kind, record.request, &record.summary)),
                asked: about(kind, request, summary),
            }),
        }
    }

    /// Like [`Recorded::begin`], where nothing may be issued: what is not recorded differs, too.
    pub fn answer(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Value, Differs> {
        match self.begin(sequence, kind, request, summary)? {
            Begun::Answered(answer) => Ok(answer),
            Begun::Issue => Err(Differs { sequence, recorded: None, asked: about(kind, request, summary) }),
        }
    }
}

/// An effect for people. The digest tells requests apart that differ in a header or in the body.
fn about(kind: &str, request: Digest, summary: &str) -> String {
    format!("{kind} {summary} ({})", request.short())
}

/// A node asks for another effect than the one that is recorded under its number: it does not do again what it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("match effect {sequence} with the record: recorded is {}, asked for is `{asked}`", or_nothing(.recorded.as_deref()))]
pub struct Differs {
    /// The effect's number.
    pub sequence: u64,
    /// What is recorded: kind, summary, first digits of the request's digest. Nothing: the record ends before it.
    pub recorded: Option<String>,
    /// What the node asks for, likewise.
    pub asked: String,
}

fn or_nothing(text: Option<&str>) -> String {
    text.map_or_else(|| "nothing".to_owned(), |text| format!("`{text}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(sequence: u64, summary: &str) -> EffectRecord {
        let (request, answer) = (Digest::of(summary.as_bytes()), json!({ "n": sequence }));
        EffectRecord { sequence, kind: "http".into(), request, summary: summary.into(), answer }
    }

    #[test]
    fn what_is_recorded_is_answered_and_the_rest_issued() {
        let recorded = Recorded::new([record(3, "GET a"), record(4, "GET b")]);
        let begin = |sequence, kind, text: &str| recorded.begin(sequence, kind, Digest::of(text.as_bytes()), text);
        assert_eq!(begin(3, "http", "GET a"), Ok(Begun::Answered(json!({ "n": 3 }))));
        assert_eq!(begin(5, "http", "GET a"), Ok(Begun::Issue));
        assert!(recorded.reaches(0) && recorded.reaches(4) && !recorded.reaches(5));
        for (kind, text) in [("http", "GET b"), ("clock", "GET a")] {
            let message = begin(3, kind, text).unwrap_err().to_string();
            assert!(message.starts_with("match effect 3 with the record: recorded is `http GET a ("), "{message}");
            assert!(message.contains(&format!("asked for is `{kind} {text} (")), "{message}");
        }
        let beyond = recorded.answer(5, "http", Digest::of(b"GET c"), "GET c").unwrap_err();
        assert!(beyond.to_string().contains("recorded is nothing, asked for is `http GET c ("), "{beyond}");
    }

    #[test]
    fn the_blob_reads_back() {
        let records = [record(0, "GET a"), record(1, "GET \u{2028}b")];
        assert_eq!(decode(&encode(&records)).unwrap(), records);
    }
}
