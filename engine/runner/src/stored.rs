//! The store as a run's journal, blobs and action cache.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory};
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_store::{Entry, Proof, Store, StoreError};

use crate::ports::{BlobError, Blobs, Cache, Cached, Earlier, JournalError, JournalSink, LastEnd, Stamped};

/// Records of earlier runs, the newest first, that are searched for how nodes with grants ended: a second's work.
const SEARCHED: u64 = 200_000;

impl JournalSink for Store {
    fn append(&self, run: &RunId, events: &[Stamped]) -> Result<(), JournalError> {
        let entries: Vec<_> =
            events.iter().map(|stamped| Entry { run, time_ms: stamped.time, event: &stamped.event }).collect();
        self.append_many(&entries).map(drop).map_err(|error| JournalError(Box::new(error)))
    }

    fn signals(&self, run: &RunId, after: u64) -> Result<(Vec<Stamped>, u64), JournalError> {
        let (records, last) = Store::signals(self, run, after).map_err(|error| JournalError(Box::new(error)))?;
        let stamped = |record: lockgate_store::Record| Stamped { time: record.time_ms, event: record.event };
        Ok((records.into_iter().map(stamped).collect(), last))
    }
}

impl Blobs for Store {
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        self.read_blob(&digest, max).map_err(blob_error)
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        let digest = self.put_blob(bytes).map_err(blob_error)?;
        Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 })
    }

    fn directory(&self, digest: Digest) -> Result<Arc<Directory>, BlobError> {
        Store::directory(self, &digest).map_err(blob_error)
    }
}

impl Cache for Store {
    fn find(&self, key: &Digest) -> Option<Cached> {
        self.action(key).ok()?.map(cached)
    }

    fn graph(&self, key: &Digest) -> Option<(ArtifactRef, String)> {
        Store::graph(self, key).ok()?
    }
}

fn cached(proof: Proof) -> Cached {
    let Proof { run, time_ms, receipt, facts, .. } = proof;
    Cached { run, receipt, facts, time: time_ms }
}

/// The earlier runs of one pipeline. They are read when the first question comes.
pub struct EarlierRuns {
    store: Store,
    name: String,
    ends: OnceLock<HashMap<(NodeId, Digest), Proof>>,
}

impl EarlierRuns {
    /// Runs of the pipeline with this name: files are moved, and named differently from elsewhere.
    pub fn new(store: Store, name: impl Into<String>) -> Self {
        Self { store, name: name.into(), ends: OnceLock::new() }
    }

    fn ends(&self) -> &HashMap<(NodeId, Digest), Proof> {
        self.ends.get_or_init(|| {
            let mut last = HashMap::new();
            for proof in self.store.ends_with_grants(&self.name, SEARCHED).unwrap_or_default() {
                if let Some(key) = proof.receipt.key {
                    last.entry((proof.receipt.node.clone(), key)).or_insert(proof);
                }
            }
            last
        })
    }
}

impl Earlier for EarlierRuns {
    fn last_end(&self, node: &NodeId, key: &Digest) -> Option<LastEnd> {
        let proof = self.ends().get(&(node.clone(), *key))?.clone();
        // What cannot be looked at is not there.
        let whole = self.store.has_all_of(&proof.receipt).unwrap_or(false);
        Some(LastEnd { found: cached(proof), whole })
    }
}

fn blob_error(error: StoreError) -> BlobError {
    match error {
        StoreError::TooLarge { digest, size, max } => BlobError::TooLarge { digest, size, max },
        error => BlobError::Store(Box::new(error)),
    }
}
