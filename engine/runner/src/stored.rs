//! The store as a run's journal, blobs and action cache.

use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, Directory};
use lockgate_model::{Digest, RunId};
use lockgate_store::{Entry, Proof, Store, StoreError};

use crate::ports::{BlobError, Blobs, Cache, Cached, JournalError, JournalSink, Stamped};

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
        let Proof { run, receipt, facts, .. } = self.action(key).ok()??;
        Some(Cached { run, receipt, facts })
    }
}

fn blob_error(error: StoreError) -> BlobError {
    match error {
        StoreError::TooLarge { digest, size, max } => BlobError::TooLarge { digest, size, max },
        error => BlobError::Store(Box::new(error)),
    }
}
