//! The signed head of a journal: the predicate `urn:lockgate:audit-head:v1` about the hash of its last record, to be kept elsewhere.
//!
//! ```text
//! subject   {"name":"journal","digest":{"lockgate-record-v1":HASH OF THE LAST RECORD}}
//! predicate {"first":"sha256:HASH OF RECORD 1","records":NUMBER,"time":"2026-11-21T12:00:00Z"}
//! ```
//!
//! Records are chained, so the hash of the last one stands for all. That of the first one tells which journal it is: two state
//! directories never have the same.

use lockgate_model::Digest;
use lockgate_model::time::{parse_rfc3339, rfc3339};
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::statement::{Predicate, Resource, Statement, StatementError};

/// The algorithm that gives a record's hash; `lockgate-store` has it byte for byte.
pub const RECORD: &str = "lockgate-record-v1";

/// What is said of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Hash of record 1.
    pub first: Digest,
    /// How many records there are.
    pub records: u64,
    /// When it was signed, RFC 3339.
    pub time: String,
}

impl Predicate for Head {
    const TYPE: &'static str = "urn:lockgate:audit-head:v1";
}

/// A head, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    /// Hash of record 1.
    pub first: Digest,
    /// How many records there are.
    pub records: u64,
    /// Hash of the last one.
    pub last: Digest,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
}

impl SignedHead {
    /// The statement to be signed.
    pub fn statement(&self) -> Statement {
        let head = Head { first: self.first, records: self.records, time: rfc3339(self.time) };
        Statement::new(vec![Resource::new("journal", RECORD, self.last)], &head)
    }

    /// Reads the head of an envelope. Whether it is signed is another question.
    pub fn of(envelope: &Envelope) -> Result<Self, StatementError> {
        let statement = Statement::of(envelope)?;
        let head: Head = statement.predicate()?;
        let last = statement.subject.first().and_then(|subject| subject.digest(RECORD));
        let wrong = |what: &str| StatementError::Value(format!("{what} of the head cannot be read"));
        let last = last.ok_or_else(|| wrong("the hash"))?;
        let time = parse_rfc3339(&head.time).ok_or_else(|| wrong("the time"))?;
        if head.records == 0 || head.records > i64::MAX as u64 {
            return Err(wrong("the number"));
        }
        Ok(Self { first: head.first, records: head.records, last, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    #[test]
    fn a_head_comes_back() {
        let head = SignedHead { first: Digest::of(b"1"), records: 7, last: Digest::of(b"7"), time: 1_800_000_000_000 };
        let key = SecretKey::from_seed(&[1; 32]);
        let envelope = head.statement().sign(&key).unwrap();
        assert_eq!(SignedHead::of(&envelope).unwrap(), head);
        assert!(envelope.is_signed_by(&key.public().unwrap()));
        let payload = String::from_utf8(envelope.payload().to_vec()).unwrap();
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"first":"{}","records":7,"time":"2027-01-15T08:00:00Z"}},"predicateType":"urn:lockgate:audit-head:v1","subject":[{{"digest":{{"lockgate-record-v1":"{}"}},"name":"journal"}}]}}"#,
            head.first,
            head.last.hex()
        );
        assert_eq!(payload, expected);
        for (from, to) in [("7,", "0,"), ("2027", "x027"), ("lockgate-record-v1", "sha256")] {
            let altered = Envelope::new(envelope.payload_type(), payload.replace(from, to).into_bytes());
            assert!(SignedHead::of(&altered).is_err(), "{from}");
        }
    }
}
