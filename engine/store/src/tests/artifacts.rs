//! Blobs and directories: storing, reading, damage, what is left behind.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;

use lockgate_model::Digest;
use lockgate_model::artifact::{DirEntry, Directory, EntryKind};

use super::Fixture;
use crate::{Store, StoreError};

/// Sizes around the limits between SQLite, waiting files and synced files.
const SIZES: [usize; 6] = [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20, (1 << 20) + 1];

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 31 % 251) as u8).collect()
}

#[test]
fn blobs_of_all_sizes_are_readable_before_and_after_they_are_durable() {
    let fixture = Fixture::new();
    for size in SIZES {
        let content = bytes(size);
        let mut writer = fixture.store.blob_writer();
        // Odd pieces: the buffer's edges are crossed in the middle of one.
        content.chunks(7_001).for_each(|piece| writer.write_all(piece).unwrap());
        let (digest, written) = writer.finish().unwrap();
        assert_eq!((digest, written), (Digest::of(&content), size as u64));
        assert_eq!(fixture.store.read_blob(&digest, u64::MAX).unwrap(), content, "{size} waiting");
        fixture.store.flush().unwrap();
        assert_eq!(fixture.store.read_blob(&digest, u64::MAX).unwrap(), content, "{size} flushed");
        let other = Store::open(fixture.store.dir()).unwrap();
        assert_eq!(other.read_blob(&digest, u64::MAX).unwrap(), content, "{size} in another process");
        assert_eq!(other.open_blob(&digest).unwrap().size(), size as u64);
    }
}

#[test]
fn a_closed_store_keeps_what_no_record_names() {
    let fixture = Fixture::new();
    let digests: Vec<_> = SIZES.map(|size| fixture.store.put_blob(&bytes(size)).unwrap()).into();
    let dir = fixture.store.dir().to_owned();
    drop(fixture.store);
    let store = Store::open(&dir).unwrap();
    assert!(digests.iter().all(|digest| store.has_blob(digest).unwrap()));
    assert_eq!(std::fs::read_dir(dir.join("tmp")).unwrap().count(), 0, "no temporary files stay");
}

#[test]
fn an_unfinished_writer_leaves_nothing() {
    let fixture = Fixture::new();
    let mut writer = fixture.store.blob_writer();
    writer.write_all(&bytes(3 << 20)).unwrap();
    drop(writer);
    let files = |name: &str| {
        let mut todo = vec![fixture.store.dir().join(name)];
        let mut files = 0;
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() { todo.push(entry.path()) } else { files += 1 }
            }
        }
        files
    };
    assert_eq!((files("tmp"), files("blobs")), (0, 0));
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_living_one_has_is_not() {
    let fixture = Fixture::new();
    let dead = fixture.store.dir().join("tmp/pdead");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("x"), "x").unwrap();
    let mut living = fixture.store.blob_writer();
    living.write_all(&bytes(50_000)).unwrap();
    assert!(!dead.exists());
    let other = Store::open(fixture.store.dir()).unwrap();
    other.put_blob(&bytes(60_000)).unwrap();
    assert!(living.finish().is_ok());
    fixture.store.flush().unwrap();
}

#[test]
fn equal_blobs_are_stored_once() {
    let fixture = Fixture::new();
    let content = bytes(2 << 20);
    let digest = fixture.store.put_blob(&content).unwrap();
    let path = fixture.store.dir().join("blobs").join(&digest.hex()[..2]).join(digest.hex());
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let before = inode();
    assert_eq!(fixture.store.put_blob(&content).unwrap(), digest);
    assert_eq!(inode(), before);
}

#[test]
fn a_flipped_bit_in_a_file_is_found_before_its_last_bytes_are_handed_out() {
    let fixture = Fixture::new();
    let content = bytes(2 << 20);
    let digest = fixture.store.put_blob(&content).unwrap();
    let path = fixture.store.dir().join("blobs").join(&digest.hex()[..2]).join(digest.hex());
    for damaged in [
        content.iter().enumerate().map(|(index, byte)| if index == 5 { byte ^ 1 } else { *byte }).collect::<Vec<_>>(),
        content[..content.len() - 1].to_vec(),
        [&content[..], b"x"].concat(),
        vec![],
    ] {
        let damage = || {
            // It was set aside before, or is there.
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &damaged).unwrap();
        };
        damage();
        let error = fixture.store.read_blob(&digest, u64::MAX).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged(found) if *found == digest), "{error}");
        assert!(error.to_string().contains(&digest.to_string()));
        assert!(!path.exists(), "it is set aside");
        assert!(matches!(fixture.store.open_blob(&digest), Err(StoreError::Damaged(_))), "and still called damaged");
        // Exactly as many bytes as there are, without asking for the end: refused all the same.
        damage();
        let mut reader = fixture.store.open_blob(&digest).unwrap();
        let mut buffer = vec![0; damaged.len().max(1)];
        assert!(reader.read_exact(&mut buffer).is_err());
    }
    // It is written anew when the right bytes come again, whether it is there with as many bytes or not.
    std::fs::write(&path, vec![0; content.len()]).unwrap();
    fixture.store.put_blob(&content).unwrap();
    assert_eq!(fixture.store.read_blob(&digest, u64::MAX).unwrap(), content);
}

#[test]
fn a_flipped_bit_in_sqlite_is_found_and_healed_by_the_right_bytes() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"small").unwrap();
    fixture.store.flush().unwrap();
    let database = rusqlite::Connection::open(fixture.store.dir().join("state.db")).unwrap();
    database.execute("UPDATE objects SET bytes = CAST('smalk' AS BLOB)", []).unwrap();
    assert!(matches!(fixture.store.read_blob(&digest, 10), Err(StoreError::Damaged(_))));
    fixture.store.put_blob(b"small").unwrap();
    fixture.store.flush().unwrap();
    assert_eq!(fixture.store.read_blob(&digest, 10).unwrap(), b"small");
}

#[test]
fn limits_and_missing_artifacts_are_named() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"12345").unwrap();
    assert!(matches!(fixture.store.read_blob(&digest, 4), Err(StoreError::TooLarge { size: 5, max: 4, .. })));
    let absent = Digest::of(b"absent");
    assert!(matches!(fixture.store.open_blob(&absent), Err(StoreError::Missing(found)) if found == absent));
    assert!(!fixture.store.has_blob(&absent).unwrap());
    assert!(matches!(fixture.store.directory(&digest), Err(StoreError::Missing(_))), "a blob is no directory");
}

fn entry(name: &str, kind: EntryKind, digest: Digest, size: u64) -> DirEntry {
    DirEntry { name: name.into(), kind, digest, size }
}

#[test]
fn a_walk_is_sorted_by_whole_paths_and_counts_sizes() {
    let fixture = Fixture::new();
    let blob = fixture.store.put_blob(b"123").unwrap();
    let file = |name| entry(name, EntryKind::File, blob, 3);
    let inner = fixture.store.put_directory(&Directory::new(vec![file("x")]).unwrap()).unwrap();
    let dir = |name| entry(name, EntryKind::Directory, inner, 0);
    let root = Directory::new(vec![dir("a"), file("a.b"), file("a0"), dir("b"), file("a-")]).unwrap();
    let tree = fixture.store.put_directory(&root).unwrap();
    assert_eq!(tree, root.digest());
    let reference = fixture.store.tree(&tree).unwrap();
    assert_eq!(reference.size, 15);
    let paths = fixture.paths(&reference);
    assert_eq!(paths, ["d a", "f a-", "f a.b", "f a/x", "f a0", "d b", "f b/x"]);
    let mut sorted = paths.clone();
    sorted.sort_by(|a, b| a.as_bytes()[2..].cmp(&b.as_bytes()[2..]));
    assert_eq!(paths, sorted);
    assert_eq!(*fixture.store.directory(&tree).unwrap(), root);
}

#[test]
fn a_tree_that_unfolds_without_end_is_refused() {
    let fixture = Fixture::new();
    let mut digest = fixture.store.put_directory(&Directory::default()).unwrap();
    // 2^40 entries in 40 objects.
    for _ in 0..40 {
        let both = ["a", "b"].map(|name| entry(name, EntryKind::Directory, digest, 0));
        digest = fixture.store.put_directory(&Directory::new(both.into()).unwrap()).unwrap();
    }
    assert!(matches!(fixture.store.tree(&digest), Err(StoreError::TreeTooLarge(_))));
    for _ in 0..100 {
        let one = vec![entry("a", EntryKind::Directory, digest, 0)];
        digest = fixture.store.put_directory(&Directory::new(one).unwrap()).unwrap();
    }
    let last = fixture.store.walk(&digest).last().unwrap();
    assert!(matches!(last, Err(StoreError::TreeTooLarge(_))), "deeper than 128");
}

#[test]
fn compiled_code_is_right_or_absent() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.code("k"), None);
    fixture.store.put_code("k", b"machine code").unwrap();
    assert_eq!(fixture.store.code("k").as_deref(), Some(&b"machine code"[..]));
    assert_eq!(fixture.store.code("other"), None);
    let path = fixture.store.dir().join("code").join(Digest::of(b"k").hex());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(fixture.store.code("k"), None, "cut to {cut}");
        let mut flipped = whole.clone();
        flipped[cut] ^= 0x40;
        std::fs::write(&path, flipped).unwrap();
        assert_eq!(fixture.store.code("k"), None, "flipped at {cut}");
    }
    // The file of one key under the name of another.
    std::fs::write(fixture.store.dir().join("code").join(Digest::of(b"other").hex()), &whole).unwrap();
    assert_eq!(fixture.store.code("other"), None);
}

#[test]
fn a_state_directory_is_private_and_out_of_version_control() {
    let fixture = Fixture::new();
    let dir = fixture.store.dir();
    assert_eq!(std::fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_to_string(dir.join(".gitignore")).unwrap(), "*\n");
    assert!(dir.join("code/CACHEDIR.TAG").exists() && !dir.join("CACHEDIR.TAG").exists());
}

#[test]
fn a_newer_or_foreign_state_directory_is_refused() {
    let fixture = Fixture::new();
    let dir = fixture.store.dir().to_owned();
    let database = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Store::open(&dir).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: 5, .. }), "{error}");
    database.execute_batch("PRAGMA user_version = 4; PRAGMA application_id = 7").unwrap();
    assert!(matches!(Store::open(&dir), Err(StoreError::Foreign(_))));

    let other = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(other.path().join("state.db")).unwrap();
    database.execute_batch("CREATE TABLE mine(x)").unwrap();
    assert!(matches!(Store::open(other.path()), Err(StoreError::Foreign(_))));
    std::fs::write(other.path().join("state.db"), "no database at all, but long enough to be read as one").unwrap();
    assert!(matches!(Store::open(other.path()), Err(StoreError::Database { .. })));
}

#[test]
fn a_long_log_is_put_into_the_database_at_the_last_close() {
    let fixture = Fixture::new();
    let log = fixture.store.dir().join("state.db-wal");
    for round in 0..100_u32 {
        let bytes: Vec<u8> = (0..8_192_u32).map(|at| (at ^ round) as u8).collect();
        fixture.store.put_blob(&bytes).unwrap();
        fixture.store.flush().unwrap();
    }
    assert!(log.metadata().unwrap().len() > 512 << 10);
    drop(fixture.store);
    assert_eq!(log.metadata().map_or(0, |log| log.len()), 0);
}
