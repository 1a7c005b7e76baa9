//! A full disk: writes fail at some byte. A child process with a limit on the size of files stands for it, because that fails
//! the same calls at the same places and needs no rights.

use std::io::Write as _;
use std::process::Command;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};

use super::{Fixture, child, effect, run, started};
use crate::{ExportError, Store};

/// Runs the ignored test `name` in a process whose files cannot grow beyond `blocks` of 512 bytes.
fn limited(name: &str, blocks: u32, fixture: &Fixture) -> bool {
    let inner = child(name);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"")).arg("sh");
    command.arg(inner.get_program()).args(inner.get_args()).env("LOCKGATE_TEST_ROOT", fixture.root());
    let output = command.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("1 passed") || !output.status.success(), "the child ran: {shown}");
    if !output.status.success() {
        eprintln!("{shown}{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn inherited() -> (std::path::PathBuf, Store) {
    let root = std::path::PathBuf::from(std::env::var_os("LOCKGATE_TEST_ROOT").unwrap());
    let store = Store::open(&root.join(".lockgate")).unwrap();
    (root, store)
}

fn large() -> Vec<u8> {
    (0..4 << 20).map(|index: u32| (index % 253) as u8).collect()
}

#[test]
fn a_full_disk_leaves_the_old_export_and_nothing_else() {
    let fixture = Fixture::new();
    fixture.store.put_blob(&large()).unwrap();
    fixture.write("src/large", large());
    fixture.write("src/small", "x");
    let tree = fixture.snapshot("src").unwrap();
    fixture.store.append(&run("ra"), 1, &[started("a")]).unwrap();
    fixture.write("dist/file", "old");
    fixture.write("dist/tree/old", "old");
    fixture.write("tree-digest", tree.digest.to_string());
    assert!(limited("faults::export_to_a_full_disk", 2048, &fixture));
    let listed = |dir: &str| std::fs::read_dir(fixture.root().join(dir)).unwrap().count();
    assert_eq!((listed("dist"), listed("dist/tree")), (2, 1), "no temporary files stay");
    assert_eq!(std::fs::read(fixture.root().join("dist/file")).unwrap(), b"old");
    assert_eq!(std::fs::read(fixture.root().join("dist/tree/old")).unwrap(), b"old");
}

#[test]
#[ignore = "a child of `a_full_disk_leaves_the_old_export_and_nothing_else`"]
fn export_to_a_full_disk() {
    let (root, store) = inherited();
    let blob = ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(&large()), size: 4 << 20 };
    let tree = std::fs::read_to_string(root.join("tree-digest")).unwrap().parse().unwrap();
    let tree = ArtifactRef { kind: ArtifactKind::Tree, digest: tree, size: 0 };
    for (artifact, to) in [(blob, "dist/file"), (tree, "dist/tree")] {
        let error = store.export(&artifact, &root, to, &[]).unwrap_err();
        assert!(matches!(error, ExportError::Io { .. }), "{error:?}");
    }
}

#[test]
fn a_full_disk_fails_a_blob_and_leaves_nothing() {
    let fixture = Fixture::new();
    assert!(limited("faults::write_blobs_to_a_full_disk", 2048, &fixture));
    assert_eq!(std::fs::read_dir(fixture.store.dir().join("blobs")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(fixture.store.dir().join("tmp")).unwrap().count(), 0);
}

#[test]
#[ignore = "a child of `a_full_disk_fails_a_blob_and_leaves_nothing`"]
fn write_blobs_to_a_full_disk() {
    let (_, store) = inherited();
    assert!(store.put_blob(&large()).is_err());
    let mut writer = store.blob_writer();
    assert!(large().chunks(1000).any(|piece| writer.write_all(piece).is_err()));
}

#[test]
fn a_full_disk_fails_an_append_whole_and_loses_nothing_acknowledged() {
    let fixture = Fixture::new();
    assert!(limited("faults::append_to_a_full_disk", 512, &fixture));
    let acknowledged: u64 = std::fs::read_to_string(fixture.root().join("acknowledged")).unwrap().parse().unwrap();
    assert!(acknowledged > 0);
    let store = Store::open(fixture.store.dir()).unwrap();
    assert_eq!(store.verify().unwrap(), acknowledged);
    let next = store.append(&run("ra"), 3, &[effect(0)]).unwrap();
    assert_eq!(next, [acknowledged + 1], "it goes on where it stopped");
}

#[test]
#[ignore = "a child of `a_full_disk_fails_an_append_whole_and_loses_nothing_acknowledged`"]
fn append_to_a_full_disk() {
    let (root, store) = inherited();
    let group: Vec<_> = (0..50).map(effect).collect();
    let mut last = store.append(&run("ra"), 1, &[started("a")]).unwrap()[0];
    // The log is limited to 256 KiB: it ends long before this does.
    for _ in 0..100 {
        match store.append(&run("ra"), 2, &group) {
            Ok(numbers) => last = numbers[numbers.len() - 1],
            Err(_) => {
                std::fs::write(root.join("acknowledged"), last.to_string()).unwrap();
                return;
            }
        }
    }
    panic!("the disk never filled");
}

#[test]
fn a_large_blob_streams_in_little_memory() {
    let fixture = Fixture::new();
    let mut command = child("faults::stream_a_large_blob");
    assert!(command.env("LOCKGATE_TEST_ROOT", fixture.root()).output().unwrap().status.success());
}

#[test]
#[ignore = "a child of `a_large_blob_streams_in_little_memory`"]
fn stream_a_large_blob() {
    const SIZE: u64 = 192 << 20;
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(str::trim);
        line.and_then(|line| line.strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0)
    };
    let (_, store) = inherited();
    let before = peak();
    let mut writer = store.blob_writer();
    let piece = vec![5; 1 << 20];
    (0..SIZE >> 20).for_each(|_| writer.write_all(&piece).unwrap());
    let (digest, size) = writer.finish().unwrap();
    assert_eq!(size, SIZE);
    let copied = store.open_blob(&digest).unwrap().copy_to(&mut std::io::sink()).unwrap().unwrap();
    assert_eq!(copied, SIZE);
    assert!(peak() - before < 16 << 10, "{} KiB", peak() - before);
}
