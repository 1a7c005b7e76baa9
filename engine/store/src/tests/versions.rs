//! State directories of other versions, and those that can only be read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use lockgate_model::Digest;
use lockgate_model::outcome::Status;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Fixture, child, effect, run, started};
use crate::schema::{self, STATE_VERSION};
use crate::{Store, StoreError};

/// What `sqlite3 state.db .dump` says of a state directory of version 1, with one run of two nodes.
const VERSION_1: &str = include_str!("state-v1.sql");
const RUN: &str = "r01m7ywedgvjshnmt3p";
/// The same of version 2.
const VERSION_2: &str = include_str!("state-v2.sql");
/// The same of version 3, with a version that was accepted.
const VERSION_3: &str = include_str!("state-v3.sql");
/// The same of version 4, without the index that it took away.
const VERSION_4: &str = include_str!("state-v4.sql");
const RUN_2: &str = "r01m7zkaaebw21gdjx4";

fn version_1() -> TempDir {
    stored(VERSION_1)
}

fn stored(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let connection = database(dir.path());
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(text).unwrap();
    for name in ["blobs", "trees", "code", "tmp"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    dir
}

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join("state.db")).unwrap()
}

fn version(dir: &Path) -> i64 {
    schema::version(&database(dir)).unwrap()
}

/// Tables and indexes, by name.
fn tables(dir: &Path) -> Vec<String> {
    let connection = database(dir);
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|sql| sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn a_state_directory_of_version_1_is_brought_to_this_version_with_all_that_is_in_it() {
    let dir = version_1();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.verify().unwrap(), 6);
    let found = store.find_run("latest").unwrap();
    assert_eq!((found.id.as_str(), found.status, found.name.as_str()), (RUN, Some(Status::Succeeded), "stored"));
    assert_eq!(store.records(&run(RUN)).unwrap().len(), 6);
    assert_eq!(store.read_blob(&Digest::of(b"hello\n"), 100).unwrap(), b"hello\n");
    // Nobody knows which of its nodes were pure.
    assert_eq!(database(dir.path()).query_row("SELECT count(*) FROM actions", [], |row| row.get(0)), Ok(0));
    store.append(&run("ra"), 1, &[started("a")]).unwrap();
    assert_eq!(store.verify().unwrap(), 7);
    let new = Fixture::new();
    assert_eq!(tables(dir.path()), tables(new.store.dir()), "migrated and new ones are alike");
    assert_eq!(version(dir.path()), STATE_VERSION);
}

#[test]
fn a_state_directory_of_version_2_is_brought_to_this_version_with_all_that_is_in_it() {
    let dir = stored(VERSION_2);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.verify().unwrap(), 6);
    let found = store.find_run("latest").unwrap();
    assert_eq!((found.id.as_str(), found.status), (RUN_2, Some(Status::Succeeded)));
    assert_eq!(store.read_blob(&Digest::of(b"hello\n"), 100).unwrap(), b"hello\n");
    // The cache stays: what it proved, it proves.
    let key = |hex: &str| format!("sha256:{hex}").parse().unwrap();
    let proof = store.action(&key("7a090a17832f54e5671a7a34bb37deb21a4a0c86020d57f8ba6c6a05af32a42e")).unwrap();
    assert_eq!(proof.map(|proof| proof.receipt.node.to_string()), Some("fine".into()));
    assert!(store.seen().unwrap().is_empty());
    let new = Fixture::new();
    assert_eq!(tables(dir.path()), tables(new.store.dir()), "migrated and new ones are alike");
    assert_eq!(version(dir.path()), STATE_VERSION);
}

#[test]
fn state_directories_of_versions_3_and_4_are_brought_to_this_version_with_all_that_is_in_them() {
    [VERSION_3, VERSION_4].into_iter().for_each(is_brought_to_this_version);
}

fn is_brought_to_this_version(text: &str) {
    let dir = stored(text);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.verify().unwrap(), 6);
    assert_eq!(store.records(&run(RUN_2)).unwrap().len(), 6);
    assert_eq!(store.records_after(&run(RUN_2), 4, 1).unwrap()[0].seq, 5);
    assert_eq!(store.seen().unwrap()[0].plugin, "noop");
    let new = Fixture::new();
    assert_eq!(tables(dir.path()), tables(new.store.dir()), "migrated and new ones are alike");
    assert_eq!(version(dir.path()), STATE_VERSION);
}

#[test]
fn a_migration_that_is_killed_happened_or_did_not() {
    let dir = version_1();
    let mut command = child("versions::migrate_and_die");
    let status = command.env("LOCKGATE_TEST_STATE", dir.path()).stdout(Stdio::null()).status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(rustix::process::Signal::KILL.as_raw()));
    assert_eq!(version(dir.path()), 1);
    assert!(!tables(dir.path()).iter().any(|sql| sql.contains("actions")));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((store.verify().unwrap(), version(dir.path())), (6, STATE_VERSION));
}

#[test]
#[ignore = "a child of `a_migration_that_is_killed_happened_or_did_not`"]
fn migrate_and_die() {
    let dir = std::path::PathBuf::from(std::env::var_os("LOCKGATE_TEST_STATE").unwrap());
    let mut connection = database(&dir);
    let kill = || rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    schema::migrate_watched(&mut connection, &mut { kill }).unwrap();
}

#[test]
fn several_processes_migrate_one_state_directory() {
    let dir = version_1();
    let open = |_| {
        let path = dir.path().to_owned();
        std::thread::spawn(move || Store::open(&path).map(|store| store.verify()))
    };
    let threads: Vec<_> = (0..6).map(open).collect();
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap().unwrap().unwrap(), 6));
}

/// Runs the ignored test `name` without the superuser's right to write everywhere, over a directory without write permission.
fn read_only(dir: &Path, name: &str) {
    let mode = |mode: u32| {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(mode & 0o666)).unwrap();
        }
    };
    mode(0o555);
    let output = child(name).env("LOCKGATE_TEST_STATE", dir).output().unwrap();
    mode(0o755);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn inherited() -> std::path::PathBuf {
    super::without_override();
    std::path::PathBuf::from(std::env::var_os("LOCKGATE_TEST_STATE").unwrap())
}

#[test]
fn what_cannot_be_written_can_be_read() {
    let fixture = Fixture::new();
    fixture.store.put_blob(b"small").unwrap();
    fixture.store.append(&run("ra"), 1, &[started("a"), effect(0)]).unwrap();
    // With its log, which holds everything up to now.
    read_only(fixture.store.dir(), "versions::read_what_cannot_be_written");
    let dir = fixture.store.dir().to_owned();
    drop(fixture.store);
    database(&dir).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(dir.join(name));
    }
    read_only(&dir, "versions::read_what_cannot_be_written");
    assert!(!dir.join("state.db-wal").exists(), "nothing was made");
}

#[test]
#[ignore = "a child of `what_cannot_be_written_can_be_read`"]
fn read_what_cannot_be_written() {
    let dir = inherited();
    let error = Store::open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly(_)), "{error}");
    let store = Store::open_to_read(&dir).unwrap();
    assert_eq!(store.records(&run("ra")).unwrap().len(), 2);
    assert_eq!(store.read_blob(&Digest::of(b"small"), 10).unwrap(), b"small");
    assert_eq!((store.runs(9).unwrap().len(), store.verify().unwrap()), (1, 2));
    assert!(matches!(store.read_blob(&Digest::of(b"none"), 10), Err(StoreError::Missing(_))));
    assert_eq!(store.action(&Digest::of(b"key")).unwrap(), None);
    assert!(matches!(store.append(&run("ra"), 2, &[effect(1)]), Err(StoreError::ReadOnly(_))));
    assert!(matches!(store.gc(&crate::GcOptions::default()), Err(StoreError::ReadOnly(_))));
}

#[test]
fn an_older_version_can_be_read_where_it_cannot_be_written() {
    let dir = version_1();
    read_only(dir.path(), "versions::read_an_older_version");
    assert_eq!(version(dir.path()), 1);
}

#[test]
#[ignore = "a child of `an_older_version_can_be_read_where_it_cannot_be_written`"]
fn read_an_older_version() {
    let store = Store::open_to_read(&inherited()).unwrap();
    assert_eq!((store.verify().unwrap(), store.records(&run(RUN)).unwrap().len()), (6, 6));
    assert!(matches!(store.read_blob(&Digest::of(b"none"), 10), Err(StoreError::Missing(_))));
    assert_eq!(store.action(&Digest::of(b"key")).unwrap(), None);
}

#[test]
fn version_2_can_be_read_where_it_cannot_be_written() {
    let dir = stored(VERSION_2);
    read_only(dir.path(), "versions::read_version_2");
    assert_eq!(version(dir.path()), 2);
}

#[test]
#[ignore = "a child of `version_2_can_be_read_where_it_cannot_be_written`"]
fn read_version_2() {
    let store = Store::open_to_read(&inherited()).unwrap();
    assert_eq!((store.verify().unwrap(), store.audit(&[]).unwrap().records), (6, 6));
    assert!(store.seen().unwrap().is_empty());
}

#[test]
fn a_log_that_cannot_be_read_without_writing_is_named() {
    let fixture = Fixture::new();
    fixture.store.append(&run("ra"), 1, &[started("a")]).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(fixture.store.dir().join(name), copy.path().join(name)).unwrap();
    }
    read_only(copy.path(), "versions::read_a_log_without_its_index");
}

#[test]
#[ignore = "a child of `a_log_that_cannot_be_read_without_writing_is_named`"]
fn read_a_log_without_its_index() {
    let error = Store::open_to_read(&inherited()).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnlyLog(_)), "{error:?}");
}
