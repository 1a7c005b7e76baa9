//! Garbage collection: artifacts, entries of the action cache, hashes of files and compiled code that no kept run needs go.
//!
//! The journal stays whole. What a kept run needs is found by its records alone: every digest that occurs in one, in whatever
//! event, and all that a tree so named holds; so an event of a later engine cannot be forgotten here. The index goes first, in one
//! transaction that also notes what is removed, then the files: whoever is interrupted leaves files that nothing names, and the next
//! collection takes them. What a record of a served run stands for is part of the journal, and stays. All this happens alone, without
//! anybody who has put something that no record names yet.

mod mark;
mod sweep;

use std::collections::BTreeSet;

use lockgate_model::RunId;
use rustix::fs::{FlockOperation, flock};

use crate::state::{Store, StoreError};
use mark::Marker;

/// What is kept.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Runs with a record since then are kept, and those that are not finished.
    pub keep_since_ms: u64,
    /// These are kept besides.
    pub keep_runs: BTreeSet<RunId>,
    /// As long as all that is kept is at most so large, older runs are kept, too, the newest first.
    pub max_bytes: Option<u64>,
    /// Only counts what would go.
    pub dry_run: bool,
    /// Waits until nobody else uses the state directory, instead of failing.
    pub wait: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Runs whose artifacts are kept.
    pub kept_runs: u64,
    /// The other ones. Their records are kept.
    pub other_runs: u64,
    /// Entries of the action cache that went.
    pub actions: u64,
    /// Artifacts that went: blobs and directories.
    pub artifacts: u64,
    /// Their bytes.
    pub artifact_bytes: u64,
    /// Hashes of files that were forgotten.
    pub files: u64,
    /// Files of compiled code and manifests that went.
    pub code: u64,
    /// Their bytes.
    pub code_bytes: u64,
    /// Bytes of artifacts and compiled code that are left.
    pub left_bytes: u64,
}

/// What a collection is about to do, for tests that interfere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GcStep {
    /// The transaction is complete but for its commit.
    Commit,
    /// A file goes.
    Unlink,
}

impl Store {
    /// Removes what no kept run needs. Fails with [`StoreError::InUse`] where others have the state directory open to write to it, and
    /// with the damage where a kept run cannot be read: then nothing is removed.
    pub fn gc(&self, options: &GcOptions) -> Result<GcReport, StoreError> {
        self.gc_watched(options, &mut |_| Ok(()))
    }

    pub(crate) fn gc_watched(
        &self,
        options: &GcOptions,
        watch: &mut dyn FnMut(GcStep) -> Result<(), StoreError>,
    ) -> Result<GcReport, StoreError> {
        let _alone = Alone::get(self, options.wait)?;
        // What this process itself has put is durable before anything is counted.
        self.flush()?;
        let mut marker = Marker::new(self)?;
        marker.keep_served()?;
        let mut report = GcReport::default();
        let mut left = Vec::new();
        for (run, last_ms) in self.runs_by_age()? {
            let finished = run.finished_ms.is_some();
            if !finished || last_ms >= options.keep_since_ms || options.keep_runs.contains(&run.id) {
                marker.keep(&run.id)?;
                report.kept_runs += 1;
            } else {
                left.push(run.id);
            }
        }
        for run in &left {
            let Some(max) = options.max_bytes else { break };
            if !marker.keep_if_at_most(run, max)? {
                break;
            }
            report.kept_runs += 1;
        }
        report.other_runs = self.inner.count_runs()?.saturating_sub(report.kept_runs);
        sweep::sweep(self, options, marker, &mut report, watch)?;
        Ok(report)
    }
}

/// The lock of one that has the state directory alone; then it is shared again.
struct Alone<'a>(&'a Store);

impl<'a> Alone<'a> {
    fn get(store: &'a Store, wait: bool) -> Result<Self, StoreError> {
        let dir = || store.inner.dir.clone();
        let Some(file) = &store.inner.lock else { return Err(StoreError::ReadOnly(dir())) };
        let how = if wait { FlockOperation::LockExclusive } else { FlockOperation::NonBlockingLockExclusive };
        let alone = Self(store);
        match flock(file, how) {
            Ok(()) => Ok(alone),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse(dir())),
            Err(error) => Err(StoreError::io("lock", dir())(error.into())),
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        if let Some(file) = &self.0.inner.lock {
            let _ = flock(file, FlockOperation::LockShared);
        }
    }
}
