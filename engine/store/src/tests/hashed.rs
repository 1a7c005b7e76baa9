//! Files of the host are hashed once, as long as nothing tells that they changed.

use std::os::unix::fs::MetadataExt as _;

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::outcome::Status;
use rusqlite::Connection;

use super::{Fixture, run, started};
use crate::files::{self, FileState};
use crate::state::lock;

fn state(fixture: &Fixture, path: &str) -> FileState {
    let dir = cap_std::fs::Dir::open_ambient_dir(fixture.root(), cap_std::ambient_authority()).unwrap();
    FileState::of(&dir.metadata(path).unwrap()).unwrap()
}

fn count(fixture: &Fixture) -> i64 {
    let database = Connection::open(fixture.store.dir().join("state.db")).unwrap();
    database.query_row("SELECT count(*) FROM files", [], |row| row.get(0)).unwrap()
}

/// Makes believe that a file had this content when it was hashed, long after it was last written. So whoever answers with that
/// content has not read the file.
fn pretend(fixture: &Fixture, path: &str, content: &[u8]) -> Digest {
    let digest = fixture.store.put_blob(content).unwrap();
    *lock(&fixture.store.inner.now_ns) = Some(i64::MAX);
    fixture.store.remember_file(&state(fixture, path), digest);
    fixture.store.flush().unwrap();
    digest
}

fn file(fixture: &Fixture, path: &str) -> ArtifactRef {
    fixture.store.snapshot_file(fixture.root(), path).unwrap()
}

#[test]
fn an_unchanged_file_is_not_read() {
    let fixture = Fixture::new();
    fixture.write("src/a", "real");
    fixture.write("src/large", vec![1; 50_000]);
    let small = pretend(&fixture, "src/a", b"fake");
    let large = pretend(&fixture, "src/large", &[2; 50_000]);
    assert_eq!((file(&fixture, "src/a").digest, file(&fixture, "src/large").digest), (small, large));
    let tree = fixture.snapshot("src").unwrap();
    let digests: Vec<_> = fixture.store.walk(&tree.digest).map(|entry| entry.unwrap().1.digest).collect();
    assert_eq!((digests, tree.size), (vec![small, large], 50_004));
    // Those who want to know it hash it.
    let thorough = fixture.store.thorough();
    assert_eq!(thorough.snapshot_file(fixture.root(), "src/a").unwrap().digest, Digest::of(b"real"));
}

#[test]
fn a_change_of_anything_that_tells_is_noticed() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 5] = [
        ("content", |path| std::fs::write(path, "new!").unwrap()),
        ("content, with the old time of modification", |path| {
            let before = std::fs::metadata(path).unwrap().modified().unwrap();
            std::fs::write(path, "new!").unwrap();
            std::fs::File::options().append(true).open(path).unwrap().set_modified(before).unwrap();
        }),
        ("size, in place", |path| std::fs::File::options().append(true).open(path).unwrap().set_len(2).unwrap()),
        ("another file under its name", |path| {
            std::fs::write(path.with_extension("new"), "new!").unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("only the time of modification", |path| {
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }),
    ];
    for (name, change) in changes {
        let fixture = Fixture::new();
        fixture.write("a", "real");
        pretend(&fixture, "a", b"fake");
        // The clock of the file system may tick as seldom as every 10 ms: wait for it, so that its times can differ.
        let before = std::fs::metadata(fixture.root().join("a")).unwrap();
        loop {
            fixture.write("clock", "x");
            let now = std::fs::metadata(fixture.root().join("clock")).unwrap();
            if (now.ctime(), now.ctime_nsec()) > (before.ctime(), before.ctime_nsec()) {
                break;
            }
        }
        change(&fixture.root().join("a"));
        let content = std::fs::read(fixture.root().join("a")).unwrap();
        assert_eq!(file(&fixture, "a").digest, Digest::of(&content), "{name}");
    }
}

#[test]
fn a_file_written_just_now_is_not_believed() {
    let fixture = Fixture::new();
    fixture.write("a", "real");
    file(&fixture, "a");
    fixture.snapshot(".").unwrap();
    fixture.store.flush().unwrap();
    assert_eq!(count(&fixture), 0, "a second edit within the same tick would leave no trace");
    // Once the file system's clock went on, it is.
    let state = state(&fixture, "a");
    let written = std::fs::metadata(fixture.root().join("a")).unwrap().ctime() * 1_000_000_000;
    for (seconds, believed) in [(-10, 0), (0, 0), (2, 0), (4, 1)] {
        *lock(&fixture.store.inner.now_ns) = Some(written + seconds * 1_000_000_000);
        fixture.store.remember_file(&state, Digest::of(b"real"));
        fixture.store.flush().unwrap();
        assert_eq!(count(&fixture), believed, "after {seconds} s");
    }
}

#[test]
fn a_file_whose_bytes_are_gone_from_the_store_is_read_again() {
    let fixture = Fixture::new();
    fixture.write("a", "real");
    fixture.write("large", vec![1; 50_000]);
    pretend(&fixture, "a", b"fake");
    let large = pretend(&fixture, "large", &[2; 50_000]);
    let database = Connection::open(fixture.store.dir().join("state.db")).unwrap();
    database.execute("DELETE FROM objects", []).unwrap();
    std::fs::write(fixture.store.dir().join("blobs").join(&large.hex()[..2]).join(large.hex()), [3; 50_000]).unwrap();
    assert_eq!(file(&fixture, "a").digest, Digest::of(b"real"));
    assert_eq!(file(&fixture, "large").digest, Digest::of(&[1; 50_000]));
}

#[test]
fn the_oldest_are_forgotten_first() {
    let fixture = Fixture::new();
    for name in ["a", "b", "c", "d"] {
        fixture.write(name, name);
        pretend(&fixture, name, name.as_bytes());
    }
    // Hashed again: now it is the newest.
    pretend(&fixture, "a", b"A");
    fixture
        .store
        .inner
        .commit(|transaction| {
            files::prune(transaction, 2).unwrap();
            Ok(())
        })
        .unwrap();
    assert_eq!(count(&fixture), 2);
    let known = |name: &str| fixture.store.known_file(&state(&fixture, name)).unwrap().is_some();
    assert_eq!(["a", "b", "c", "d"].map(known), [true, false, false, true]);
}

#[test]
fn hashes_come_with_the_journal_and_need_no_transaction_of_their_own() {
    let fixture = Fixture::new();
    fixture.write("a", "real");
    *lock(&fixture.store.inner.now_ns) = Some(i64::MAX);
    fixture.store.remember_file(&state(&fixture, "a"), Digest::of(b"real"));
    assert_eq!(count(&fixture), 0);
    fixture.store.append(&run("ra"), 1, &[started("a")]).unwrap();
    assert_eq!(count(&fixture), 1);
    assert_eq!(fixture.store.runs(1).unwrap()[0].status, None::<Status>);
}
