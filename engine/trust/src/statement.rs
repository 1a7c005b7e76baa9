//! in-toto statements, version 1 (<https://github.com/in-toto/attestation>): what is said (the predicate) about what (the subjects).
//!
//! ```text
//! {"_type":"https://in-toto.io/Statement/v1","predicate":{...},"predicateType":URI,"subject":[{"digest":{"sha256":HEX},"name":NAME}]}
//! ```
//!
//! They are written as canonical JSON. Members that the format does not have are passed over, as it asks; our own predicates are closed.

use std::collections::BTreeMap;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, TREE_DOMAIN};
use lockgate_model::{Digest, canonical_json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dsse::{Envelope, IN_TOTO};
use crate::key::{KeyError, SecretKey};

/// What every statement says that it is.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Name of the algorithm that digests blobs and components.
pub const SHA256: &str = "sha256";
/// Most subjects of a statement that is read.
const MAX_SUBJECTS: usize = 100_000;

/// Why something is not the statement that was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The envelope holds something else.
    #[error("read a statement: the envelope holds `{0}`, not `{IN_TOTO}`")]
    PayloadType(String),
    /// It is not JSON of a statement.
    #[error("read an in-toto statement")]
    Json(#[source] serde_json::Error),
    /// Another version of the format.
    #[error("read a statement of the type `{0}`: this lockgate knows `{STATEMENT_TYPE}`")]
    Type(String),
    /// It says something else than what was asked for.
    #[error("use a statement with the predicate `{found}`: expected `{expected}`")]
    Predicate {
        /// The type of its predicate.
        found: String,
        /// The type that is needed.
        expected: &'static str,
    },
    /// Too many subjects, or none.
    #[error("read a statement about {0} subjects: 1 to {MAX_SUBJECTS} are read")]
    Subjects(usize),
    /// A value that no engine writes.
    #[error("read a statement: {0}")]
    Value(String),
}

/// A thing, named by its digests: a subject, or something that was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Its digests by algorithm, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

impl Resource {
    /// Something with a digest by an algorithm.
    pub fn new(name: &str, algorithm: &str, digest: Digest) -> Self {
        let digest = BTreeMap::from([(algorithm.to_owned(), digest.hex())]);
        Self { name: name.to_owned(), digest, ..Self::default() }
    }

    /// An artifact: a blob by `sha256`, a tree by `lockgate-tree-v1`.
    pub fn artifact(name: &str, artifact: &ArtifactRef) -> Self {
        Self::new(name, algorithm(artifact.kind), artifact.digest)
    }

    /// Its digest by an algorithm.
    pub fn digest(&self, algorithm: &str) -> Option<Digest> {
        format!("sha256:{}", self.digest.get(algorithm)?).parse().ok()
    }
}

/// The algorithm that digests artifacts of a kind.
pub const fn algorithm(kind: ArtifactKind) -> &'static str {
    match kind {
        ArtifactKind::Blob => SHA256,
        ArtifactKind::Tree => TREE_DOMAIN,
    }
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Resource>,
    /// What kind of thing it says: a URI.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What it says.
    #[serde(default)]
    pub predicate: Value,
}

/// What a statement of one kind says.
pub trait Predicate: Serialize + DeserializeOwned {
    /// The URI of its kind.
    const TYPE: &'static str;
}

impl Statement {
    /// Says something about subjects.
    pub fn new<P: Predicate>(subject: Vec<Resource>, predicate: &P) -> Self {
        // Values of our own types are always JSON; what is not would be refused by whoever reads it.
        let predicate = serde_json::to_value(predicate).unwrap_or_default();
        Self { kind: STATEMENT_TYPE.to_owned(), subject, predicate_type: P::TYPE.to_owned(), predicate }
    }

    /// The statement in an envelope, signed.
    pub fn sign(&self, key: &SecretKey) -> Result<Envelope, KeyError> {
        let mut envelope = self.envelope();
        envelope.sign(key)?;
        Ok(envelope)
    }

    /// The statement in an envelope without signatures.
    pub fn envelope(&self) -> Envelope {
        Envelope::new(IN_TOTO, canonical_json(self).into_bytes())
    }

    /// Reads the statement of an envelope. Whether it is signed is another question.
    pub fn of(envelope: &Envelope) -> Result<Self, StatementError> {
        if envelope.payload_type() != IN_TOTO {
            return Err(StatementError::PayloadType(envelope.payload_type().to_owned()));
        }
        let statement: Self = serde_json::from_slice(envelope.payload()).map_err(StatementError::Json)?;
        if statement.kind != STATEMENT_TYPE {
            return Err(StatementError::Type(statement.kind.chars().take(100).collect()));
        }
        if statement.subject.is_empty() || statement.subject.len() > MAX_SUBJECTS {
            return Err(StatementError::Subjects(statement.subject.len()));
        }
        Ok(statement)
    }

    /// What it says, if it is of this kind.
    pub fn predicate<P: Predicate>(&self) -> Result<P, StatementError> {
        if self.predicate_type != P::TYPE {
            let found = self.predicate_type.chars().take(100).collect();
            return Err(StatementError::Predicate { found, expected: P::TYPE });
        }
        P::deserialize(&self.predicate).map_err(StatementError::Json)
    }

    /// The subject with this digest.
    pub fn find(&self, algorithm: &str, digest: Digest) -> Option<&Resource> {
        self.subject.iter().find(|subject| subject.digest(algorithm) == Some(digest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plugin::PluginClaim;

    fn statement() -> Statement {
        let claim = PluginClaim { name: "scan".into(), version: "1.2.3".into(), expires: None };
        Statement::new(vec![Resource::new("scan.wasm", SHA256, Digest::of(b"x"))], &claim)
    }

    fn payload(text: &str) -> Envelope {
        Envelope::new(IN_TOTO, text.as_bytes().to_vec())
    }

    #[test]
    fn the_form_is_that_of_in_toto() {
        let hex = Digest::of(b"x").hex();
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"name":"scan","version":"1.2.3"}},"predicateType":"urn:lockgate:plugin:v1","subject":[{{"digest":{{"sha256":"{hex}"}},"name":"scan.wasm"}}]}}"#
        );
        let envelope = statement().envelope();
        assert_eq!(envelope.payload(), expected.as_bytes());
        let again = Statement::of(&envelope).unwrap();
        assert_eq!(again, statement());
        assert_eq!(again.find(SHA256, Digest::of(b"x")).unwrap().name, "scan.wasm");
        assert!(again.find(SHA256, Digest::of(b"y")).is_none() && again.find(TREE_DOMAIN, Digest::of(b"x")).is_none());
    }

    #[test]
    fn what_is_something_else_is_named() {
        let text = canonical_json(&statement());
        let error = |text: &str| Statement::of(&payload(text)).unwrap_err().to_string();
        assert!(error("{}").contains("in-toto statement"));
        assert!(error(&text.replace("Statement/v1", "Statement/v0.1")).contains("Statement/v0.1"));
        assert!(error(&text.replace(r#""subject":[{"#, r#""subject":[],"x":[{"#)).contains("0 subjects"));
        let other = Envelope::new("application/json", text.clone().into_bytes());
        assert!(matches!(Statement::of(&other), Err(StatementError::PayloadType(_))));
        let read = Statement::of(&payload(&text.replace("urn:lockgate:plugin:v1", "https://example.org/x"))).unwrap();
        assert!(matches!(read.predicate::<PluginClaim>(), Err(StatementError::Predicate { .. })));
        // Ours is closed, the rest is open.
        let read = Statement::of(&payload(&text.replace(r#""subject""#, r#""other":1,"subject""#))).unwrap();
        assert!(read.predicate::<PluginClaim>().is_ok());
        let read = Statement::of(&payload(&text.replace(r#""version""#, r#""nearly":1,"version""#))).unwrap();
        assert!(matches!(read.predicate::<PluginClaim>(), Err(StatementError::Json(_))));
    }

    proptest! {
        #[test]
        fn any_payload_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Statement::of(&Envelope::new(IN_TOTO, bytes));
        }

        #[test]
        fn nearly_right_payloads_are_answered(at: prop::sample::Index, byte: u8) {
            let mut bytes = canonical_json(&statement()).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(read) = Statement::of(&Envelope::new(IN_TOTO, bytes)) {
                let _ = read.predicate::<PluginClaim>();
            }
        }
    }
}
