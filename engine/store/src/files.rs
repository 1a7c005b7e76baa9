//! What the host's files were when they were last hashed, so that those that did not change are not hashed again.
//!
//! A file is known by device and inode, and unchanged if size, modification time and change time (each in nanoseconds) are what
//! they were. Two writes within one tick of the file system's clock leave the same times, so a file is remembered only if both of
//! its times were older than a tick when hashing began; git calls the others "racily clean"
//! (<https://git-scm.com/docs/racy-git>). The time is the file system's own, that of a file made just then.

use std::os::unix::fs::MetadataExt;

use cap_std::fs::{Metadata, MetadataExt as _};
use lockgate_model::Digest;
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::state::{Store, StoreError, lock};

/// The coarsest clock of a file system in use, FAT's, in nanoseconds.
const TICK_NS: i64 = 2_000_000_000;
/// Files remembered at most, some 100 bytes each: as many as the largest tree holds. The oldest go first.
const MAX_FILES: i64 = crate::MAX_TREE_ENTRIES as i64;

/// What tells one state of a file from another. All numbers are kept as SQLite has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    /// Device and inode.
    pub id: (i64, i64),
    pub size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
}

impl FileState {
    /// The state of a file; none where its times lie beyond the years 1677 to 2262.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        let nanos = |seconds: i64, nanos: i64| seconds.checked_mul(1_000_000_000)?.checked_add(nanos);
        Some(Self {
            id: (metadata.dev().cast_signed(), metadata.ino().cast_signed()),
            size: metadata.len(),
            mtime_ns: nanos(metadata.mtime(), metadata.mtime_nsec())?,
            ctime_ns: nanos(metadata.ctime(), metadata.ctime_nsec())?,
        })
    }

    fn settled(&self, now_ns: i64) -> bool {
        self.mtime_ns.max(self.ctime_ns) < now_ns.saturating_sub(TICK_NS)
    }
}

impl Store {
    /// Asks the file system for its time. Called before any file of a snapshot is looked at.
    pub(crate) fn look_at_clock(&self) {
        let now = self.inner.temp_file().ok().and_then(|file| {
            let metadata = file.file().metadata().ok()?;
            let (seconds, nanos) = (MetadataExt::mtime(&metadata), MetadataExt::mtime_nsec(&metadata));
            seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
        });
        // Without a time, nothing is remembered.
        *lock(&self.inner.now_ns) = now;
    }

    /// The digest of a file that was hashed in this state, if its bytes are still stored.
    pub(crate) fn known_file(&self, state: &FileState) -> Result<Option<Digest>, StoreError> {
        if self.thorough {
            return Ok(None);
        }
        let known = self.inner.read(|connection| {
            let failed = || self.inner.db_error("read");
            let mut statement = connection
                .prepare_cached(
                    "SELECT digest FROM files
                     WHERE dev = ?1 AND inode = ?2 AND size = ?3 AND mtime_ns = ?4 AND ctime_ns = ?5",
                )
                .map_err(failed())?;
            let at = params![state.id.0, state.id.1, state.size.cast_signed(), state.mtime_ns, state.ctime_ns];
            statement.query_row(at, |row| row.get::<_, [u8; 32]>(0)).optional().map_err(failed())
        })?;
        let Some(digest) = known.map(Digest::from_bytes) else { return Ok(None) };
        Ok(self.blob_is_there(&digest, state.size)?.then_some(digest))
    }

    /// Remembers a file that was hashed in this state, with the next transaction.
    pub(crate) fn remember_file(&self, state: &FileState, digest: Digest) {
        if lock(&self.inner.now_ns).is_some_and(|now| state.settled(now)) {
            lock(&self.inner.pending).hashed(*state, digest);
        }
    }
}

/// Writes what was hashed since the last transaction.
pub(crate) fn insert(transaction: &Transaction<'_>, hashed: &[(FileState, Digest)]) -> rusqlite::Result<()> {
    if hashed.is_empty() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO files(dev, inode, size, mtime_ns, ctime_ns, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (state, digest) in hashed {
        let FileState { id, size, mtime_ns, ctime_ns } = state;
        statement.execute(params![id.0, id.1, size.cast_signed(), mtime_ns, ctime_ns, digest.as_bytes()])?;
    }
    prune(transaction, MAX_FILES)
}

/// Forgets all but the files hashed last.
pub(crate) fn prune(transaction: &Transaction<'_>, max: i64) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("DELETE FROM files WHERE id <= (SELECT max(id) FROM files) - ?1")?;
    statement.execute([max]).map(drop)
}
