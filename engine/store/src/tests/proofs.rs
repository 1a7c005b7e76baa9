//! The action cache: what makes an entry, what it takes to find one, and that damage is a miss that heals.

use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind};
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use rusqlite::Connection;

use super::{Fixture, blob, proved, run, started};
use crate::Store;

fn database(fixture: &Fixture) -> Connection {
    Connection::open(fixture.store.dir().join("state.db")).unwrap()
}

fn key() -> Digest {
    Digest::of(b"key")
}

/// A receipt with a small blob, a large one and a tree with both a small and a large file.
fn outputs(store: &Store) -> Vec<(&'static str, ArtifactRef)> {
    let (small, large) = (blob(store, b"small"), blob(store, &[7; 50_000]));
    let (deep, deep_large) = (blob(store, b"deep"), blob(store, &[8; 50_000]));
    let entry = |name: &str, kind, artifact: ArtifactRef| DirEntry {
        name: name.to_owned(),
        kind,
        digest: artifact.digest,
        size: artifact.size,
    };
    let below = Directory::new(vec![entry("large", EntryKind::File, deep_large)]).unwrap();
    let below = ArtifactRef { kind: ArtifactKind::Tree, digest: store.put_directory(&below).unwrap(), size: 0 };
    let root = vec![entry("below", EntryKind::Directory, below), entry("deep", EntryKind::Executable, deep)];
    let root = store.put_directory(&Directory::new(root).unwrap()).unwrap();
    let tree = ArtifactRef { kind: ArtifactKind::Tree, digest: root, size: 50_004 };
    vec![("small", small), ("large", large), ("tree", tree)]
}

fn with_proof() -> (Fixture, Vec<(&'static str, ArtifactRef)>) {
    let fixture = Fixture::new();
    let outputs = outputs(&fixture.store);
    fixture.store.append(&run("ra"), 7, &[started("a"), proved("n", key(), &outputs)]).unwrap();
    (fixture, outputs)
}

#[test]
fn a_result_is_found_by_its_key_with_the_record_that_proved_it() {
    let (fixture, outputs) = with_proof();
    let proof = fixture.store.action(&key()).unwrap().unwrap();
    assert_eq!((proof.run, proof.seq, proof.time_ms), (run("ra"), 2, 7));
    assert_eq!(proof.receipt.outputs.len(), outputs.len());
    let other = Digest::of(b"other");
    let found = fixture.store.actions(&[other, key(), other]).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    // The newest proof counts.
    fixture.store.append(&run("rb"), 8, &[started("b"), proved("m", key(), &outputs)]).unwrap();
    assert_eq!(fixture.store.action(&key()).unwrap().unwrap().run, run("rb"));
    assert_eq!(Store::open(fixture.store.dir()).unwrap().action(&key()).unwrap().unwrap().seq, 4);
}

#[test]
fn only_proofs_make_entries() {
    let fixture = Fixture::new();
    let change = |change: fn(&mut Event)| {
        let mut event = proved("n", key(), &[]);
        change(&mut event);
        event
    };
    let changes: [fn(&mut Event); 4] = [
        |event| {
            if let Event::NodeFinished { receipt, .. } = event {
                Arc::make_mut(receipt).status = Status::Failed
            }
        },
        |event| {
            if let Event::NodeFinished { receipt, .. } = event {
                Arc::make_mut(receipt).status = Status::Errored
            }
        },
        |event| {
            if let Event::NodeFinished { facts, .. } = event {
                facts.pure = false
            }
        },
        |event| {
            if let Event::NodeFinished { facts, .. } = event {
                facts.cached = true
            }
        },
    ];
    fixture.store.append(&run("ra"), 1, &[started("a")]).unwrap();
    fixture.store.append(&run("ra"), 1, &changes.map(change)).unwrap();
    assert_eq!(fixture.store.action(&key()).unwrap(), None);
    fixture.store.append(&run("ra"), 1, &[change(|_| {})]).unwrap();
    assert!(fixture.store.action(&key()).unwrap().is_some());
}

#[test]
fn an_entry_without_its_record_is_no_entry_and_the_index_is_rebuilt() {
    let (fixture, _) = with_proof();
    let forge = |sql: &str| database(&fixture).execute_batch(sql).unwrap();
    // Another record, a missing one, another key: nothing is served.
    forge("UPDATE actions SET seq = 1");
    assert_eq!(fixture.store.action(&key()).unwrap(), None);
    forge("UPDATE actions SET seq = 99");
    assert_eq!(fixture.store.action(&key()).unwrap(), None);
    let forged = Digest::of(b"forged");
    database(&fixture).execute("INSERT INTO actions VALUES (?1, 2)", [forged.as_bytes()]).unwrap();
    assert_eq!(fixture.store.action(&forged).unwrap(), None);
    assert_eq!(fixture.store.verify().unwrap(), 2);
    assert_eq!(fixture.store.action(&key()).unwrap().unwrap().seq, 2);
    forge("DELETE FROM actions");
    fixture.store.verify().unwrap();
    assert!(fixture.store.action(&key()).unwrap().is_some());
    // An altered receipt is never used.
    forge("UPDATE records SET body = replace(body, '\"fuel\":12', '\"fuel\":13') WHERE seq = 2");
    assert_eq!(fixture.store.action(&key()).unwrap(), None);
}

/// The file of an artifact.
fn path(fixture: &Fixture, folder: &str, digest: &Digest) -> std::path::PathBuf {
    fixture.store.dir().join(folder).join(&digest.hex()[..2]).join(digest.hex())
}

#[test]
fn a_damaged_or_lost_artifact_is_a_miss_and_the_right_bytes_heal_it() {
    type Damage = fn(&Fixture);
    let large = Digest::of(&[7; 50_000]);
    let damages: [(&str, Damage); 8] = [
        ("a flipped bit, the same size", |f| {
            std::fs::write(path(f, "blobs", &Digest::of(&[7; 50_000])), [9; 50_000]).unwrap()
        }),
        ("cut", |f| std::fs::write(path(f, "blobs", &Digest::of(&[7; 50_000])), [7; 40_000]).unwrap()),
        ("gone", |f| std::fs::remove_file(path(f, "blobs", &Digest::of(&[7; 50_000]))).unwrap()),
        ("a file in a tree", |f| std::fs::write(path(f, "blobs", &Digest::of(&[8; 50_000])), [9; 50_000]).unwrap()),
        ("a small one", |f| {
            sql(f, "UPDATE objects SET bytes = CAST('broken' AS BLOB) WHERE bytes = CAST('small' AS BLOB)")
        }),
        ("a small one gone", |f| sql(f, "DELETE FROM objects WHERE bytes = CAST('small' AS BLOB)")),
        ("a small one in a tree", |f| {
            sql(f, "UPDATE objects SET bytes = CAST('broken' AS BLOB) WHERE bytes = CAST('deep' AS BLOB)")
        }),
        ("a directory", |f| sql(f, "UPDATE objects SET bytes = CAST('d' AS BLOB) WHERE space = 1")),
    ];
    for (name, damage) in damages {
        let (fixture, _) = with_proof();
        damage(&fixture);
        // As the next process finds it.
        let store = Store::open(fixture.store.dir()).unwrap();
        assert_eq!(store.action(&key()).unwrap(), None, "{name}");
        assert_eq!(store.action(&key()).unwrap(), None, "{name}, again");
        outputs(&store);
        store.flush().unwrap();
        assert!(store.action(&key()).unwrap().is_some(), "{name}, made again");
        assert_eq!(store.read_blob(&large, 50_000).unwrap(), [7; 50_000], "{name}");
    }
}

fn sql(fixture: &Fixture, sql: &str) {
    assert!(database(fixture).execute(sql, []).unwrap() > 0, "{sql}");
}

#[test]
fn a_touched_file_is_read_once_and_believed_again() {
    let (fixture, _) = with_proof();
    let path = path(&fixture, "blobs", &Digest::of(&[7; 50_000]));
    let touched = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(touched).unwrap();
    assert!(fixture.store.action(&key()).unwrap().is_some());
    assert_ne!(std::fs::metadata(&path).unwrap().modified().unwrap(), touched);
}

#[test]
fn what_changed_behind_the_file_system_is_found_by_the_thorough_and_by_readers() {
    let silently = |fixture: &Fixture| {
        let path = path(fixture, "blobs", &Digest::of(&[7; 50_000]));
        let sealed = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, [9; 50_000]).unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(sealed).unwrap();
    };
    let (fixture, _) = with_proof();
    silently(&fixture);
    assert!(fixture.store.action(&key()).unwrap().is_some(), "nothing tells");
    assert_eq!(fixture.store.thorough().action(&key()).unwrap(), None);
    assert_eq!(fixture.store.action(&key()).unwrap(), None, "it was set aside");
    let (fixture, _) = with_proof();
    silently(&fixture);
    fixture.store.read_blob(&Digest::of(&[7; 50_000]), 50_000).unwrap_err();
    assert_eq!(fixture.store.action(&key()).unwrap(), None);
    assert_eq!(std::fs::read_dir(fixture.store.dir().join("damaged")).unwrap().count(), 1);
}
