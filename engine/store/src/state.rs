//! The state directory: opening it, its version, its connections to SQLite, and the one kind of transaction that writes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockgate_model::Digest;
use lockgate_model::artifact::TreeError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, Mode, flock};

use crate::disk::{At, Disk, PRIVATE_DIR, RealDisk, SHARED, create_dirs, sync_dir};
use crate::pending::{Pending, TempArea};
use crate::record::RecordProblem;
use crate::schema::{self, APPLICATION_ID, STATE_VERSION};
use crate::tree::DirectoryCache;

/// How long a writer waits for another process. A transaction takes milliseconds; on a slow disk with several processes,
/// seconds; longer means that something hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers kept open. More threads than this may read at once; what they open besides is closed again.
const IDLE_READERS: usize = 8;
/// Statements kept prepared in each connection: more than this crate has.
const STATEMENTS: usize = 48;

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
    /// A state directory that can only be read.
    #[error("write to the state directory `{0}`: it is read-only")]
    ReadOnly(PathBuf),
    /// A state directory that can only be read, and whose last changes are in a log that SQLite cannot read without writing.
    #[error(
        "read the state directory `{0}`: it is read-only, and the index of its log `state.db-wal` is missing; copy the directory to \
         where it can be written, and read the copy"
    )]
    ReadOnlyLog(PathBuf),
    /// Others use the state directory.
    #[error("have the state directory `{0}` alone: another lockgate process uses it")]
    InUse(PathBuf),
    /// Syncing a file or directory failed in this process.
    #[error("write to the state directory `{0}`: syncing it failed before, so what was written since may be lost")]
    Unsynced(PathBuf),
    /// An SQLite file that Lockgate did not make.
    #[error("use `{0}`: it is a database, but not one of lockgate")]
    Foreign(PathBuf),
    /// An artifact that is not there.
    #[error("find artifact `{0}` in the state directory")]
    Missing(Digest),
    /// An artifact that [`Store::gc`] removed.
    #[error("find artifact `{digest}`: removed by gc on {}", lockgate_model::time::rfc3339(*time_ms))]
    Removed {
        /// The artifact.
        digest: Digest,
        /// When, in milliseconds since 1970.
        time_ms: u64,
    },
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
    /// Whether nothing is believed that could be hashed instead.
    pub(crate) thorough: bool,
}

/// Pages of the database that a connection that writes keeps in memory, at most, in KiB.
const CACHE_KIB: i64 = 16 << 10;
/// SQLite's write-ahead log.
const LOG: &str = "state.db-wal";
/// Bytes of the log from which on the last close puts it into the database: reading it back costs every later command more than
/// these few syncs cost one.
const LONG_LOG: u64 = 512 << 10;

/// The file that those lock who put artifacts: shared, and [`Store::gc`] alone exclusively.
const LOCK: &str = "gc.lock";

pub(crate) struct Inner {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub pending: Mutex<Pending>,
    pub temps: Mutex<Option<TempArea>>,
    pub directories: Mutex<DirectoryCache>,
    /// The time of the file system when the last snapshot began, in nanoseconds since 1970.
    pub now_ns: Mutex<Option<i64>>,
    /// Trees that were found whole.
    pub whole: Mutex<HashSet<Digest>>,
    /// Held shared as long as this lives. None where nothing is written.
    pub lock: Option<fs::File>,
    /// Whether syncing failed once: then nothing more is promised, until the directory is opened again and artifacts are looked for
    /// where they are.
    pub unsynced: AtomicBool,
    access: Access,
    /// Its version, which is an older one only where it can only be read.
    pub version: i64,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

/// How a state directory is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// To read and write.
    Write,
    /// To read, as it cannot be written.
    Read,
    /// To read, and nobody else writes to it: there is no log.
    ReadImmutable,
}

/// Takes a lock. A thread that panicked with it left plain data behind, which is whole after each statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens a state directory to write to it: creates it (mode 700) where it does not exist, and brings one of an older version
    /// to this one. As long as it is open, [`Store::gc`] of another process waits.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealDisk), dir)
    }

    /// Opens a state directory on this disk.
    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let create = || {
            let grown = create_dirs(&*disk, dir, PRIVATE_DIR)?;
            grown.iter().try_for_each(|parent| sync_dir(&*disk, parent))
        };
        create().map_err(StoreError::io("create the state directory", dir))?;
        Self::open_as(disk, dir, true)
    }

    /// Opens a state directory that exists, to read from it. One that cannot be written can be read, and is left as it is; else
    /// this is like [`Store::open`], but keeps nobody from anything.
    pub fn open_to_read(dir: &Path) -> Result<Self, StoreError> {
        Self::open_as(Arc::new(RealDisk), dir, false)
    }

    fn open_as(disk: Arc<dyn Disk>, dir: &Path, write: bool) -> Result<Self, StoreError> {
        let dir = dir.canonicalize().map_err(StoreError::io("open the state directory", dir))?;
        let path = dir.join("state.db");
        let database = |action| db(action, &path);
        let writable = is_writable(&dir)?;
        if write && !writable {
            return Err(StoreError::ReadOnly(dir));
        }
        let (access, mut connection) =
            if writable { (Access::Write, connect(&path, Access::Write)?) } else { open_read_only(&dir, &path)? };
        if writable && schema::version(&connection).map_err(database("open"))? == 0 {
            create(&*disk, &dir, &path, &connection)?;
        }
        let version = schema::version(&connection).map_err(database("open"))?;
        if version > STATE_VERSION {
            return Err(StoreError::Newer { path: dir, found: version, known: STATE_VERSION });
        }
        let id: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(database("open"))?;
        if id != APPLICATION_ID || version < 1 {
            return Err(StoreError::Foreign(path));
        }
        if writable && version < STATE_VERSION {
            schema::migrate(&mut connection).map_err(database("bring to this version"))?;
        }
        let version = if writable { STATE_VERSION } else { version };
        let lock = if write { Some(shared_lock(&*disk, &dir)?) } else { None };
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                dir,
                pending: Mutex::default(),
                temps: Mutex::default(),
                directories: Mutex::default(),
                now_ns: Mutex::default(),
                whole: Mutex::default(),
                lock,
                unsynced: AtomicBool::new(false),
                access,
                version,
                writer: Mutex::new(connection),
                readers: Mutex::default(),
            }),
            thorough: false,
        })
    }

    /// The same state directory for those who believe nothing: files of the host are hashed even if they seem unchanged, and
    /// artifacts of cached results are read whole before they are used.
    #[must_use]
    pub fn thorough(&self) -> Self {
        Self { thorough: true, ..self.clone() }
    }

    /// The state directory, absolute and without links: what snapshots must leave out.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The version of its format.
    pub fn version(&self) -> i64 {
        self.inner.version
    }

    /// Whether it can be written, too.
    pub fn is_writable(&self) -> bool {
        self.inner.access == Access::Write
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
        if self.access != Access::Write {
            return Err(StoreError::ReadOnly(self.dir.clone()));
        }
        let mut connection = lock(&self.writer);
        if self.unsynced.load(Ordering::Relaxed) {
            return Err(StoreError::Unsynced(self.dir.clone()));
        }
        let batch = lock(&self.pending).batch();
        self.settle(&batch)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.db_error("write to"))?;
        batch.insert(&transaction).map_err(self.db_error("write artifacts to"))?;
        let value = work(&transaction)?;
        transaction.commit().map_err(self.db_error("write to"))?;
        lock(&self.pending).forget(&batch);
        Ok(value)
    }

    /// Gives free pages back to the disk where they are more than half of the database. SQLite does it whole or not at all.
    pub fn compact(&self) -> Result<(), StoreError> {
        let connection = lock(&self.writer);
        let work = || {
            let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
            if free > pages / 2 { connection.execute_batch("VACUUM") } else { Ok(()) }
        };
        work().map_err(self.db_error("compact"))
    }

    /// The connection that writes, for tests that limit it.
    #[cfg(test)]
    pub fn writer(&self) -> MutexGuard<'_, Connection> {
        lock(&self.writer)
    }

    /// Opens a file of the state directory to lock it, and makes it where there is none.
    pub fn open_lock(&self, path: &Path, mode: Mode) -> Result<fs::File, StoreError> {
        open_lock(&*self.disk, path, mode)
    }

    /// Lends a connection for reading. Its transactions see everything committed before they begin.
    pub fn read<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = lock(&self.readers).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.dir.join("state.db"), self.access)?,
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
        if self.access == Access::Write && fs::metadata(self.dir.join(LOG)).is_ok_and(|log| log.len() > LONG_LOG) {
            lock(&self.readers).clear();
            let _ = lock(&self.writer).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

fn db(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Database { action, path, source }
}

fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let writes = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connect = || {
        let connection = match access {
            Access::Write => Connection::open_with_flags(path, writes | OpenFlags::SQLITE_OPEN_NO_MUTEX)?,
            Access::Read => {
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
            }
            Access::ReadImmutable => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?
            }
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        if access == Access::Write {
            connection.pragma_update(None, "synchronous", "FULL")?;
            // The index of action keys is written all over; with less of it in memory its pages are read back again and again.
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            // The checkpoint at the last close costs several syncs, at the end of every command. A short log may stay.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Ok(connection)
    };
    connect().map_err(db("open", path))
}

/// The database as an URI that says that nobody writes to it.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

/// Whether a state directory can be written, as far as permissions and mounts say.
fn is_writable(dir: &Path) -> Result<bool, StoreError> {
    let may = |path: &Path, access| match rustix::fs::access(path, access) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM) => Ok(false),
        Err(error) => Err(StoreError::io("open", path)(error.into())),
    };
    let path = dir.join("state.db");
    let both = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(may(dir, both)? && (!path.exists() || may(&path, rustix::fs::Access::WRITE_OK)?))
}

/// Opens the database of a directory that cannot be written. SQLite reads a log only with its index beside it; where there is
/// no log there is nothing that an index could be wrong about.
fn open_read_only(dir: &Path, path: &Path) -> Result<(Access, Connection), StoreError> {
    let readable = |connection: &Connection| schema::version(connection).map(drop);
    let first = connect(path, Access::Read)?;
    let Err(error) = readable(&first) else { return Ok((Access::Read, first)) };
    if fs::metadata(dir.join(LOG)).is_ok_and(|log| log.len() > 0) {
        return Err(match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => StoreError::ReadOnlyLog(dir.to_owned()),
            _ => db("open", path)(error),
        });
    }
    let second = connect(path, Access::ReadImmutable)?;
    readable(&second).map_err(db("open", path))?;
    Ok((Access::ReadImmutable, second))
}

/// Waits until nobody collects garbage, and keeps others from beginning to.
fn shared_lock(disk: &dyn Disk, dir: &Path) -> Result<fs::File, StoreError> {
    let path = dir.join(LOCK);
    let file = open_lock(disk, &path, SHARED)?;
    flock(&file, FlockOperation::LockShared).map_err(|error| StoreError::io("lock", &path)(error.into()))?;
    Ok(file)
}

/// Opens a file to lock it, and makes it where there is none.
fn open_lock(disk: &dyn Disk, path: &Path, mode: Mode) -> Result<fs::File, StoreError> {
    loop {
        let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(At::Path(path), mode),
            opened => opened,
        };
        match file {
            // Another process was faster; should it be gone already, it is made next time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return file.map_err(StoreError::io("open", path)),
        }
    }
}

/// Fills a new state directory. One process does, the others wait for it. Its tables come last and at once: whoever finds them,
/// however this process ended, finds the rest.
fn create(disk: &dyn Disk, dir: &Path, path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let guard = fs::File::open(dir).map_err(StoreError::io("open the state directory", dir))?;
    flock(&guard, FlockOperation::LockExclusive)
        .map_err(|error| StoreError::io("lock the state directory", dir)(error.into()))?;
    if schema::version(connection).map_err(db("create", path))? != 0 {
        return Ok(());
    }
    if !schema::is_empty(connection).map_err(db("create", path))? {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    // State is never committed to a repository by accident; the `*` covers this file too.
    create_file(disk, &dir.join(".gitignore"), "*\n")?;
    for name in ["blobs", "trees", "code", "tmp"] {
        let path = dir.join(name);
        match disk.create_dir(At::Path(&path), PRIVATE_DIR) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create the directory", path)(error));
            }
            _ => {}
        }
    }
    // By https://bford.info/cachedir/ backups leave a marked directory out: the code can be made again, the journal cannot.
    create_file(
        disk,
        &dir.join("code/CACHEDIR.TAG"),
        "Signature: 8a477f597d28d172789f06886806bc55\n# Compiled components of lockgate: a cache that may be deleted.\n",
    )?;
    // Its own name too, should the process that made it have ended here.
    let synced = disk.sync(&guard).and_then(|()| dir.parent().map_or(Ok(()), |parent| sync_dir(disk, parent)));
    synced.map_err(StoreError::io("sync the state directory", dir))?;
    schema::fill(connection).map_err(db("create", path))
}

/// Writes a file that nothing depends on. One that is there stays.
fn create_file(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), StoreError> {
    match disk.create(At::Path(path), SHARED) {
        Ok(mut file) => disk.write(&mut file, text.as_bytes()).map_err(StoreError::io("write", path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::io("create", path)(error)),
    }
}
