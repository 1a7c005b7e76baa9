//! The format of journal records, version 1, byte for byte: what is hashed, and how a record is checked when it is read.
//!
//! Records are numbered from 1 without gaps over the whole journal, and each is chained to the one before it:
//!
//! ```text
//! hash = sha-256( "lockgate-record-v1" 0x00 text )
//! text = {"body":BODY,"prev":"sha256:PREV","run":"RUN","seq":SEQ,"time":TIME,"version":1}
//! ```
//!
//! where the text is canonical JSON (RFC 8785) in UTF-8, and
//! - `BODY` is the event ([`lockgate_model::event::Event`]) as canonical JSON, the same bytes that stand in the column `body`;
//! - `PREV` is the hash of the record before, 64 lower-case hexadecimal digits; 64 zeros in record 1;
//! - `RUN` is the run's id, `SEQ` the record's number, `TIME` milliseconds since 1970, at most 2^53 - 1, so that any reader of
//!   JSON gets them exactly.
//!
//! The columns of the table `records` hold the same values; `kind` repeats the body's `event` for queries and is compared with it.

use std::fmt;

use lockgate_model::canonical::canonical_exact;
use lockgate_model::digest::Hasher;
use lockgate_model::event::{Event, RECORD_VERSION};
use lockgate_model::{Digest, RunId};

use crate::state::StoreError;

/// Domain of record hashes.
pub(crate) const RECORD_DOMAIN: &str = "lockgate-record-v1";
/// What record 1 is chained to.
pub(crate) const FIRST_PREV: Digest = Digest::from_bytes([0; 32]);
/// Largest integer that JSON carries exactly everywhere.
pub(crate) const MAX_TIME: u64 = (1 << 53) - 1;

/// One record of the journal, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number in the journal, from 1.
    pub seq: u64,
    /// When it was written, in milliseconds since 1970, by the writer's clock.
    pub time_ms: u64,
    /// What happened.
    pub event: Event,
}

/// A record with its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chained {
    pub record: Record,
    pub prev: Digest,
    pub hash: Digest,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordProblem {
    /// It is not there, though the ones around it, or the index of runs, say that it was.
    Missing,
    /// Its content does not have its hash.
    Altered,
    /// Another record stands in its place: the one with this number.
    Moved(u64),
    /// Its hash is right, but it is not chained to the record before it.
    Unchained,
    /// A newer engine wrote it.
    Version(u32),
    /// Its body is no event that this engine knows.
    Unknown(String),
}

impl fmt::Display for RecordProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Altered => f.write_str("it was altered, its content does not have its hash"),
            Self::Moved(from) => write!(f, "it was moved, record {from} stands in its place"),
            Self::Unchained => f.write_str("it does not follow the record before it"),
            Self::Version(found) => {
                write!(f, "it has version {found}, this lockgate knows versions up to {RECORD_VERSION}")
            }
            Self::Unknown(reason) => write!(f, "its body is no known event ({reason})"),
        }
    }
}

impl RecordProblem {
    pub(crate) fn at(self, seq: u64) -> StoreError {
        StoreError::Record { seq, problem: self }
    }
}

/// A record as its row has it.
pub(crate) struct Row {
    pub seq: u64,
    pub run: String,
    pub time_ms: u64,
    pub kind: String,
    pub version: u32,
    pub body: String,
    pub prev: Digest,
    pub hash: Digest,
}

impl Row {
    /// Makes the row of an event.
    pub fn new(seq: u64, run: &RunId, time_ms: u64, body: Body, prev: Digest) -> Self {
        let (run, time_ms) = (run.as_str().to_owned(), time_ms.min(MAX_TIME));
        let Body { kind, text } = body;
        let kind = kind.to_owned();
        let mut row = Self { seq, run, time_ms, kind, version: RECORD_VERSION, body: text, prev, hash: FIRST_PREV };
        row.hash = row.computed_hash();
        row
    }

    /// The hash that its content has.
    pub fn computed_hash(&self) -> Digest {
        // The run's id holds nothing that JSON escapes: checked when it was made, and when it is read.
        let mut hasher = Hasher::tagged(RECORD_DOMAIN);
        hasher.update(br#"{"body":"#);
        hasher.update(self.body.as_bytes());
        let rest = format!(
            r#","prev":"{}","run":"{}","seq":{},"time":{},"version":{}}}"#,
            self.prev, self.run, self.seq, self.time_ms, self.version
        );
        hasher.update(rest.as_bytes());
        hasher.finish()
    }

    /// Checks everything that a record says about itself: version, hash, body.
    pub fn check(self) -> Result<Record, StoreError> {
        if self.version > RECORD_VERSION {
            return Err(RecordProblem::Version(self.version).at(self.seq));
        }
        if RunId::new(&self.run).is_err() || self.computed_hash() != self.hash {
            return Err(RecordProblem::Altered.at(self.seq));
        }
        let unknown = |error: serde_json::Error| RecordProblem::Unknown(error.to_string()).at(self.seq);
        let event: Event = serde_json::from_str(&self.body).map_err(unknown)?;
        if event.kind() != self.kind {
            return Err(RecordProblem::Altered.at(self.seq));
        }
        Ok(Record { seq: self.seq, time_ms: self.time_ms, event })
    }
}

/// An event, serialised.
pub(crate) struct Body {
    kind: &'static str,
    text: String,
}

/// Largest body: effects carry at most a few KiB, a run's start names its snapshots and components.
const MAX_BODY: usize = 16 << 20;

impl Body {
    /// Serialises an event. Refuses one that could not be read back as it was.
    pub fn new(run: &RunId, event: &Event) -> Result<Self, StoreError> {
        let refused = |reason: String| StoreError::Event { run: run.to_string(), reason };
        let (text, exact) = canonical_exact(event);
        if !exact {
            return Err(refused("it holds a number beyond 2^53, which JSON does not carry".to_owned()));
        }
        if text.len() > MAX_BODY {
            return Err(refused(format!("it has {} bytes, at most {MAX_BODY} fit into a record", text.len())));
        }
        Ok(Self { kind: event.kind(), text })
    }
}
