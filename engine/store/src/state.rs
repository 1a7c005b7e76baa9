//! The state directory: opening it, its version, its connections to SQLite, and the one kind of transaction that writes.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_model::Digest;
use lockgate_model::artifact::TreeError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

use crate::pending::{Pending, TempArea};
use crate::record::RecordProblem;
use crate::tree::DirectoryCache;

/// Version of the state directory's layout and of its tables.
const STATE_VERSION: i64 = 1;
/// `LKGT`: tells a journal of Lockgate from any other SQLite file.
const APPLICATION_ID: i64 = 0x4c4b_4754;
/// How long a writer waits for another process. A transaction takes milliseconds; on a slow disk with several processes,
/// seconds; longer means that something hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers kept open. More threads than this may read at once; what they open besides is closed again.
const IDLE_READERS: usize = 8;
/// Statements kept prepared in each connection: more than this crate has.
const STATEMENTS: usize = 32;

const SCHEMA: &str = "
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

/// What goes wrong in a state directory. Everything here is infrastructure, except a run that cannot be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or directory.
    #[error("{action} `{path}`")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite.
    #[error("{action} `{path}`")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A state directory of a newer engine.
    #[error(
        "use the state directory `{path}`: it has version {found}, this lockgate knows versions up to {known}; \
         use a newer lockgate or another directory by `--state`"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known one.
        known: i64,
    },
    /// An SQLite file that Lockgate did not make.
    #[error("use `{0}`: it is a database, but not one of lockgate")]
    Foreign(PathBuf),
    /// An artifact that is not there.
    #[error("find artifact `{0}` in the state directory")]
    Missing(Digest),
    /// An artifact whose bytes have another digest than its name says.
    #[error("use artifact `{0}`: its bytes are damaged")]
    Damaged(Digest),
    /// An artifact that is larger than the caller takes.
    #[error("read artifact `{digest}` of {size} bytes: at most {max} are taken here")]
    TooLarge {
        /// The artifact.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The largest size that the caller takes.
        max: u64,
    },
    /// A tree that no engine writes.
    #[error("use tree `{digest}`")]
    Tree {
        /// The tree or directory.
        digest: Digest,
        /// What is wrong with it.
        source: TreeError,
    },
    /// A tree with more entries than any snapshot may have.
    #[error("use tree `{0}`: it has more than {max} entries or is nested deeper than {depth}", max = crate::MAX_TREE_ENTRIES, depth = lockgate_model::artifact::MAX_DEPTH)]
    TreeTooLarge(Digest),
    /// A record that is torn, altered, missing or of an unknown version.
    #[error("use record {seq} of the journal: {problem}")]
    Record {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        problem: RecordProblem,
    },
    /// An event that cannot be written so that it could be read again.
    #[error("write an event of run `{run}` to the journal: {reason}")]
    Event {
        /// The run.
        run: String,
        /// Why not.
        reason: String,
    },
    /// No run has this id or a prefix like this.
    #[error("find run `{0}`")]
    UnknownRun(String),
    /// Several runs have this prefix.
    #[error("tell which run `{text}` is: {}", candidates.join(", "))]
    AmbiguousRun {
        /// The prefix.
        text: String,
        /// Some of the runs, newest first.
        candidates: Vec<String>,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the caller named a run that is not there, or not one alone: a wrong command, not a broken disk.
    pub fn is_unknown_run(&self) -> bool {
        matches!(self, Self::UnknownRun(_) | Self::AmbiguousRun { .. })
    }
}

/// A state directory: artifacts, journal, compiled code. Cheap to clone; threads and processes may use one at the same time.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// SQLite's write-ahead log.
const LOG: &str = "state.db-wal";
/// Bytes of the log from which on the last close puts it into the database: reading it back costs every later command more than
/// these few syncs cost one.
const LONG_LOG: u64 = 512 << 10;

pub(crate) struct Inner {
    pub dir: PathBuf,
    pub pending: Mutex<Pending>,
    pub temps: Mutex<Option<TempArea>>,
    pub directories: Mutex<DirectoryCache>,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// Takes a lock. A thread that panicked with it left plain data behind, which is whole after each statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens a state directory, and creates it (mode 700) where it does not exist.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(StoreError::io("create the state directory", dir))?;
        let dir = dir.canonicalize().map_err(StoreError::io("open the state directory", dir))?;
        let path = dir.join("state.db");
        let connection = connect(&path)?;
        let database = |action| db(action, &path);
        if version(&connection).map_err(database("open"))? == 0 {
            create(&dir, &path, &connection)?;
        }
        match version(&connection).map_err(database("open"))? {
            STATE_VERSION => {}
            found => return Err(StoreError::Newer { path: dir, found, known: STATE_VERSION }),
        }
        let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(database("open"))?;
        if id != APPLICATION_ID {
            return Err(StoreError::Foreign(path));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                pending: Mutex::default(),
                temps: Mutex::default(),
                directories: Mutex::default(),
                writer: Mutex::new(connection),
                readers: Mutex::default(),
            }),
        })
    }

    /// The state directory, absolute and without links: what snapshots must leave out.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Makes every artifact put so far durable. [`Store::append`] does so by itself; this is for callers without a record.
    pub fn flush(&self) -> Result<(), StoreError> {
        if lock(&self.inner.pending).is_empty() { Ok(()) } else { self.inner.commit(|_| Ok(())) }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.inner.dir).finish()
    }
}

impl Inner {
    pub fn db_error(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
        db(action, &self.dir.join("state.db"))
    }

    /// Does `work` in one transaction, durable at return, that also holds all artifacts put before: so no record that names an
    /// artifact is older than it.
    pub fn commit<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut connection = lock(&self.writer);
        let batch = lock(&self.pending).batch();
        self.settle(&batch)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.db_error("write to"))?;
        batch.insert(&transaction).map_err(self.db_error("write artifacts to"))?;
        let value = work(&transaction)?;
        transaction.commit().map_err(self.db_error("write to"))?;
        lock(&self.pending).forget_small(&batch);
        Ok(value)
    }

    /// Lends a connection for reading. Its transactions see everything committed before they begin.
    pub fn read<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = lock(&self.readers).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.dir.join("state.db"))?,
        };
        let value = work(&mut connection);
        let mut readers = lock(&self.readers);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        value
    }
}

impl Drop for Inner {
    /// Keeps what was put and never named by a record, so that it need not be made again. Losing it would lose nothing else.
    fn drop(&mut self) {
        if !lock(&self.pending).is_empty() {
            let _ = self.commit(|_| Ok(()));
        }
        // Failing, or another process in the way, only leaves the log as it is.
        if fs::metadata(self.dir.join(LOG)).is_ok_and(|log| log.len() > LONG_LOG) {
            lock(&self.readers).clear();
            let _ = lock(&self.writer).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

fn db(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Database { action, path, source }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // The checkpoint at the last close costs several syncs, at the end of every command. A short log may stay.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    connect().map_err(db("open", path))
}

/// Fills a new state directory. One process does, the others wait for it.
fn create(dir: &Path, path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let guard = fs::File::open(dir).map_err(StoreError::io("open the state directory", dir))?;
    flock(&guard, FlockOperation::LockExclusive)
        .map_err(|error| StoreError::io("lock the state directory", dir)(error.into()))?;
    let work = || {
        if version(connection)? != 0 {
            return Ok(true);
        }
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables != 0 {
            return Ok(false);
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {STATE_VERSION}; COMMIT;"
        ))?;
        Ok(true)
    };
    if !work().map_err(db("create", path))? {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    // State is never committed to a repository by accident; the `*` covers this file too.
    create_file(&dir.join(".gitignore"), "*\n")?;
    for name in ["blobs", "trees", "code", "tmp"] {
        let path = dir.join(name);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create the directory", path)(error));
            }
            _ => {}
        }
    }
    // By https://bford.info/cachedir/ backups leave a marked directory out: the code can be made again, the journal cannot.
    create_file(
        &dir.join("code/CACHEDIR.TAG"),
        "Signature: 8a477f597d28d172789f06886806bc55\n# Compiled components of lockgate: a cache that may be deleted.\n",
    )?;
    guard.sync_all().map_err(StoreError::io("sync the state directory", dir))
}

fn create_file(path: &Path, text: &str) -> Result<(), StoreError> {
    match fs::File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(StoreError::io("write", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io("create", path)(error)),
    }
}
