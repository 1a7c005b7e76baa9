//! The tables of a state directory, version by version, and the steps from one version to the next.
//!
//! To change them: another constant with what the step does, one more arm in [`migrate`], and a stored text of a state directory
//! of the version before in `tests`. A step is part of one transaction: it happened, or it did not.

use rusqlite::Connection;

/// Version of the state directory's layout and of its tables.
pub(crate) const STATE_VERSION: i64 = 5;
/// `LKGT`: tells a journal of Lockgate from any other SQLite file.
pub(crate) const APPLICATION_ID: i64 = 0x4c4b_4754;

/// Journal, index of runs, small artifacts.
const VERSION_1: &str = "
CREATE TABLE records(
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    body TEXT NOT NULL, prev BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE INDEX records_by_run ON records(run, seq);
CREATE TABLE head(id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash BLOB NOT NULL) STRICT;
CREATE TABLE runs(
    run TEXT PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    records INTEGER NOT NULL, started_ms INTEGER NOT NULL, finished_ms INTEGER, status TEXT, digest BLOB
) STRICT;
CREATE INDEX runs_by_first ON runs(first);
CREATE TABLE objects(id INTEGER PRIMARY KEY, space INTEGER NOT NULL, digest BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX objects_by_digest ON objects(space, digest);
";

/// What version 2 adds: the action cache, the hashes of the host's files, and what was removed.
///
/// `actions` names the record that proved a key's result. `files` is kept in the order in which files were hashed, so that the
/// oldest can go when it is full. `removed` says since when an artifact that a record names is gone on purpose.
const VERSION_2: &str = "
CREATE TABLE actions(key BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE files(
    id INTEGER PRIMARY KEY, dev INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, digest BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX files_by_inode ON files(dev, inode);
CREATE TABLE removed(
    space INTEGER NOT NULL, digest BLOB NOT NULL, time_ms INTEGER NOT NULL, PRIMARY KEY (space, digest)
) STRICT, WITHOUT ROWID;
";

/// What version 3 adds: the highest version of each plugin that was accepted from each signer.
const VERSION_3: &str = "
CREATE TABLE seen(
    signer TEXT NOT NULL, plugin TEXT NOT NULL, version TEXT NOT NULL, digest BLOB NOT NULL, time_ms INTEGER NOT NULL,
    PRIMARY KEY (signer, plugin)
) STRICT, WITHOUT ROWID;
";

/// What version 4 takes away: an index of records by run. A run's records lie between the first and the last that `runs` names, and each
/// commit wrote a page for it.
const VERSION_4: &str = "DROP INDEX records_by_run;";

/// What version 5 adds: the record that proved the results of a whole graph.
const VERSION_5: &str = "CREATE TABLE graphs(key BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

/// The version of a database; 0: an empty one.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether a database has no tables.
pub(crate) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Fills an empty database.
pub(crate) fn fill(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {VERSION_1} {VERSION_2} {VERSION_3} {VERSION_4} {VERSION_5} PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {STATE_VERSION}; COMMIT;"
    ))
}

/// Brings an older database to this version, in one transaction; of several processes that try, one does.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    migrate_watched(connection, &mut || {})
}

/// Migrates and calls `watch` when all is done but the commit, so that tests can interfere.
pub(crate) fn migrate_watched(connection: &mut Connection, watch: &mut dyn FnMut()) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    // The cache begins empty: records of version 1 do not say which nodes were pure.
    if found == 1 {
        transaction.execute_batch(VERSION_2)?;
    }
    if found == 1 || found == 2 {
        transaction.execute_batch(VERSION_3)?;
    }
    if (1..4).contains(&found) {
        transaction.execute_batch(VERSION_4)?;
    }
    if (1..5).contains(&found) {
        transaction.execute_batch(VERSION_5)?;
    }
    transaction.pragma_update(None, "user_version", STATE_VERSION)?;
    watch();
    transaction.commit()
}
