//! Flipped bits: in every byte of every record, all over artifacts of each kind, and anywhere in the database. Reading and verifying
//! name what is damaged; nothing damaged is used, by the cache least of all.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Instant;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind};
use rusqlite::{Connection, params};

use super::disk::Random;
use super::scenario::quick_dir;
use super::{blob, effect, finished, proved, run, started};
use crate::{Store, StoreError};

/// A second connection that damages the database and is not slowed down by syncs.
fn damager(dir: &std::path::Path) -> Connection {
    let connection = Connection::open(dir.join("state.db")).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection
}

fn key() -> Digest {
    Digest::of(b"key")
}

/// One column of a record with a bit flipped in one byte.
struct Flip {
    column: &'static str,
    value: rusqlite::types::Value,
}

/// Every flip of a record: one bit of each byte.
fn flips(database: &Connection, seq: u64, random: &mut Random) -> Vec<Flip> {
    use rusqlite::types::Value;
    let mut flips = Vec::new();
    for column in ["run", "time_ms", "kind", "version", "body", "prev", "hash"] {
        let sql = format!("SELECT {column} FROM records WHERE seq = ?1");
        let value: Value = database.query_row(&sql, [seq as i64], |row| row.get(0)).unwrap();
        let bytes = match &value {
            Value::Integer(number) => number.to_le_bytes().to_vec(),
            Value::Text(text) => text.clone().into_bytes(),
            Value::Blob(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        };
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << random.below(8);
            let value = match &value {
                Value::Integer(_) => Value::Integer(i64::from_le_bytes(flipped.try_into().unwrap())),
                _ => Value::Blob(flipped),
            };
            flips.push(Flip { column, value });
        }
    }
    flips
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_record_is_named_and_proves_nothing() {
    let (begun, mut random) = (Instant::now(), Random(3));
    let dir = quick_dir();
    let store = Store::open(dir.path()).unwrap();
    let proof = proved("n", key(), &[("out", blob(&store, b"out"))]);
    store.append(&run("ra"), 7, &[started("a"), effect(0), proof, finished()]).unwrap();
    let database = damager(dir.path());
    let (mut flipped, before) = (0, store.records(&run("ra")).unwrap());
    for seq in 1..=before.len() as u64 {
        for Flip { column, value } in flips(&database, seq, &mut random) {
            // Bytes that are no text are written as such, like a disk would.
            let cast = if matches!(column, "run" | "kind" | "body") { "CAST(?1 AS TEXT)" } else { "?1" };
            let sql = format!("UPDATE records SET {column} = {cast} WHERE seq = ?2");
            database.execute_batch(&format!("SAVEPOINT s; CREATE TEMP TABLE old AS SELECT {column} AS v FROM records WHERE seq = {seq}; RELEASE s")).unwrap();
            database.execute(&sql, params![value, seq as i64]).unwrap();
            let named = |result: Result<(), StoreError>| match result {
                Err(StoreError::Record { seq: found, .. }) => found == seq,
                other => panic!("{column} of record {seq} became {value:?}: {other:?}"),
            };
            assert!(named(store.verify().map(drop)), "{column} of record {seq}");
            assert!(named(store.records(&run("ra")).map(drop)), "{column} of record {seq}");
            if seq == 3 {
                assert_eq!(store.action(&key()).unwrap(), None, "{column}");
            }
            database
                .execute_batch(&format!(
                    "UPDATE records SET {column} = (SELECT v FROM old) WHERE seq = {seq}; DROP TABLE old"
                ))
                .unwrap();
            flipped += 1;
        }
    }
    assert_eq!(store.records(&run("ra")).unwrap(), before);
    assert!(store.action(&key()).unwrap().is_some());
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("{flipped} flipped bits in {} records, {flipped} named; {seconds:.1} s", before.len());
    assert!(flipped > 1_000);
}

#[test]
fn a_number_that_was_flipped_is_a_record_that_is_missing() {
    let dir = quick_dir();
    let store = Store::open(dir.path()).unwrap();
    store.append(&run("ra"), 7, &[started("a"), effect(0), effect(1)]).unwrap();
    let database = damager(dir.path());
    for bit in 0..64 {
        let to = 2 ^ (1i64 << bit);
        // 3 is taken.
        if database.execute("UPDATE records SET seq = ?1 WHERE seq = 2", [to]).is_err() {
            continue;
        }
        assert!(matches!(store.verify(), Err(StoreError::Record { .. })), "{to}");
        assert!(matches!(store.records(&run("ra")), Err(StoreError::Record { .. })), "{to}");
        database.execute("UPDATE records SET seq = 2 WHERE seq = ?1", [to]).unwrap();
    }
    assert_eq!(store.verify().unwrap(), 3);
}

/// Reads an artifact, as the cache and as somebody who wants its bytes.
fn is_damaged(store: &Store, artifact: &ArtifactRef) -> bool {
    let read = match artifact.kind {
        ArtifactKind::Blob => store.read_blob(&artifact.digest, u64::MAX).map(drop),
        ArtifactKind::Tree => store.read_directory(&artifact.digest).map(drop),
    };
    match read {
        Err(StoreError::Damaged(digest)) => digest == artifact.digest,
        _ => false,
    }
}

#[test]
fn a_flipped_bit_in_any_artifact_is_named_and_never_served() {
    let (begun, mut random) = (Instant::now(), Random(4));
    let dir = quick_dir();
    let store = Store::open(dir.path()).unwrap();
    let (small, large) = (blob(&store, &[7; 300]), blob(&store, &[8; 17_000]));
    let entry = |number: usize| DirEntry {
        name: format!("n{number:03}"),
        kind: EntryKind::File,
        digest: small.digest,
        size: 300,
    };
    let tree = |count: usize| {
        let digest = store.put_directory(&Directory::new((0..count).map(entry).collect()).unwrap()).unwrap();
        ArtifactRef { kind: ArtifactKind::Tree, digest, size: 300 * count as u64 }
    };
    let artifacts = [small, large, tree(3), tree(210)];
    for (number, artifact) in artifacts.iter().enumerate() {
        let key = Digest::of(&[number as u8]);
        store.append(&run("ra"), 7, &[proved("n", key, &[("out", *artifact)])]).unwrap();
    }
    let (database, mut flipped) = (damager(dir.path()), 0);
    for (number, artifact) in artifacts.iter().enumerate() {
        let (key, hex) = (Digest::of(&[number as u8]), artifact.digest.hex());
        let (folder, space) = if artifact.kind == ArtifactKind::Tree { ("trees", 1) } else { ("blobs", 0) };
        let path = dir.path().join(folder).join(&hex[..2]).join(&hex);
        let aside = dir.path().join("damaged").join(&hex);
        let at = params![space, artifact.digest.as_bytes()];
        let bytes = match path.exists() {
            true => std::fs::read(&path).unwrap(),
            false => database
                .query_row("SELECT bytes FROM objects WHERE space = ?1 AND digest = ?2", at, |row| {
                    row.get::<_, Vec<u8>>(0)
                })
                .unwrap(),
        };
        // Each byte of what is small, one of each five of what is a file.
        let step = if path.exists() { 5 } else { 1 };
        for start in (0..bytes.len()).step_by(step) {
            let place = (start + random.below(step)).min(bytes.len() - 1);
            let byte = [bytes[place] ^ (1 << random.below(8))];
            if path.exists() {
                // Behind the file system's back: its time stays as it is.
                let file = File::options().write(true).open(&path).unwrap();
                let sealed = file.metadata().unwrap().modified().unwrap();
                file.write_all_at(&byte, place as u64).unwrap();
                file.set_modified(sealed).unwrap();
            } else {
                let mut damaged = bytes.clone();
                damaged[place] = byte[0];
                let sql = "UPDATE objects SET bytes = ?3 WHERE space = ?1 AND digest = ?2";
                database.execute(sql, params![space, artifact.digest.as_bytes(), damaged]).unwrap();
            }
            assert!(is_damaged(&store, artifact), "byte {place} of {hex}");
            // It is set aside: the cache has nothing, and whoever asks again hears the same.
            assert_eq!(store.action(&key).unwrap(), None, "byte {place} of {hex}");
            assert!(aside.exists() && is_damaged(&store, artifact), "byte {place} of {hex}");
            if path.parent().unwrap().exists() && bytes.len() > crate::pending::INLINE_MAX {
                std::fs::rename(&aside, &path).unwrap();
                let file = File::options().write(true).open(&path).unwrap();
                file.write_all_at(&bytes[place..=place], place as u64).unwrap();
                store.inner.seal(&file);
            } else {
                let sql = "INSERT INTO objects(space, digest, bytes) VALUES (?1, ?2, ?3)";
                database.execute(sql, params![space, artifact.digest.as_bytes(), bytes]).unwrap();
                std::fs::remove_file(&aside).unwrap();
            }
            flipped += 1;
        }
        assert!(store.action(&key).unwrap().is_some(), "{hex}");
    }
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("{flipped} flipped bits in {} artifacts, {flipped} named; {seconds:.1} s", artifacts.len());
}

#[test]
fn a_flipped_bit_anywhere_in_the_database_gives_the_truth_or_an_error() {
    let (begun, mut random) = (Instant::now(), Random(5));
    let dir = quick_dir();
    let (records, small) = {
        let store = Store::open(dir.path()).unwrap();
        let small = blob(&store, b"small");
        store
            .append(&run("ra"), 7, &[started("a"), effect(0), proved("n", key(), &[("out", small)]), finished()])
            .unwrap();
        store.append(&run("rb"), 8, &[started("b"), effect(0)]).unwrap();
        store.inner.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        (["ra", "rb"].map(|name| store.records(&run(name)).unwrap()), small)
    };
    let bytes = std::fs::read(dir.path().join("state.db")).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let (tried, mut named, mut harmless) = (800, 0, 0);
    for _ in 0..tried {
        // Most of the file is empty: what holds something is what matters.
        let at = if random.below(8) == 0 { random.below(bytes.len()) } else { used[random.below(used.len())] };
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << random.below(8);
        let copy = quick_dir();
        std::fs::write(copy.path().join("state.db"), &damaged).unwrap();
        let mut errors = 0;
        if let Ok(store) = Store::open(copy.path()) {
            for (name, whole) in ["ra", "rb"].iter().zip(&records) {
                match store.records(&run(name)) {
                    Ok(found) => assert_eq!(found, *whole, "byte {at}"),
                    Err(_) => errors += 1,
                }
            }
            match store.verify() {
                Ok(count) => assert_eq!(count, 6, "byte {at}"),
                Err(_) => errors += 1,
            }
            match store.read_blob(&small.digest, 10) {
                Ok(found) => assert_eq!(found, b"small", "byte {at}"),
                Err(_) => errors += 1,
            }
            match store.action(&key()) {
                Ok(Some(proof)) => {
                    assert_eq!(proof.receipt.outputs.values().collect::<Vec<_>>(), [&small], "byte {at}")
                }
                Ok(None) => {}
                Err(_) => errors += 1,
            }
        } else {
            errors += 1;
        }
        *if errors > 0 { &mut named } else { &mut harmless } += 1;
    }
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!(
        "{tried} flipped bits in a database of {} bytes: {named} named, {harmless} without effect, 0 used; {seconds:.1} s",
        bytes.len()
    );
    assert!(named > 100, "{named}");
}
