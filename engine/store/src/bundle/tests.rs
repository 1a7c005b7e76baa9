//! Bundles: what they hold, that they come back whole, and everything that is refused.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::effect::{self, EffectRecord};
use lockgate_model::event::{AttemptFacts, Component, Event, Source};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::InputSource;
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, RunId};
use serde_json::json;
use structured_zstd::decoding::StreamingDecoder;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use tempfile::TempDir;

use crate::{BundleError, BundleLimits, Store, StoreError};

/// A state directory with one run, in which every kind of reference occurs, between records of another run.
struct Fixture {
    _dir: TempDir,
    store: Store,
    run: RunId,
}

fn fresh() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    (dir, store)
}

impl Fixture {
    fn new() -> Self {
        let (dir, store) = fresh();
        std::fs::create_dir_all(dir.path().join("src/a/b")).unwrap();
        std::fs::write(dir.path().join("src/a/b/file"), "x".repeat(40_000)).unwrap();
        std::fs::write(dir.path().join("src/one"), "one").unwrap();
        let path = |path: &str| {
            serde_json::from_value(json!({ "dir": path, "include": [], "exclude": [], "ignore": true })).unwrap()
        };
        let tree = store.snapshot(dir.path(), &path("src"), &[]).unwrap();
        let blob = |text: &str| {
            let digest = store.put_blob(text.as_bytes()).unwrap();
            ArtifactRef { kind: ArtifactKind::Blob, digest, size: text.len() as u64 }
        };
        let component = Component { digest: blob("component").digest, name: "c 1".into(), reads_time: false };
        let answer = |text: &str| json!({ "headers": [["x", { "text": "y" }]], "body": { "blob": blob(text).digest, "size": 4 } });
        let record = EffectRecord {
            sequence: 0,
            kind: "http".into(),
            request: Digest::of(b"r"),
            summary: "GET".into(),
            answer: answer("body of the receipt"),
        };
        let node = "n".parse().unwrap();
        let receipt = Receipt {
            node: "n".parse().unwrap(),
            component: Some(component.digest),
            key: None,
            status: Status::Succeeded,
            failure: None,
            outputs: [("out".parse().unwrap(), blob("output"))].into(),
            findings: Some(blob("findings")),
            verdict: None,
            decision: None,
            log: Some(blob("log")),
            effects: Some(blob(&effect::encode(&[record]))),
            fuel: Some(1),
        };
        let facts = |log| AttemptFacts { log, ..AttemptFacts::default() };
        let failure = lockgate_model::outcome::Failure {
            kind: lockgate_model::outcome::FailureKind::Error,
            message: "no".into(),
        };
        let digest = receipt.digest();
        let events = [
            Event::RunStarted {
                pipeline: blob("pipeline"),
                pipeline_digest: Digest::of(b"p"),
                name: "p".into(),
                file: "p.toml".into(),
                root: None,
                components: [("c".parse().unwrap(), component)].into(),
                sources: vec![Source { source: InputSource::File { path: "src".into() }, artifact: tree }],
                logical_time: 0,
                engine: "1".into(),
                determinism: "1".into(),
                selection: None,
                commit: None,
                policies: Vec::new(),
            },
            Event::AttemptStarted {
                node: "n".parse().unwrap(),
                attempt: 1,
                key: Digest::of(b"k"),
                inputs: [("in".parse().unwrap(), blob("input"))].into(),
            },
            Event::EffectFinished { node: "n".parse().unwrap(), attempt: 1, sequence: 0, answer: answer("body") },
            Event::AttemptFailed { node, attempt: 1, failure, facts: facts(Some(blob("first log"))), next_in: 0 },
            Event::NodeFinished { receipt: Arc::new(receipt), digest, attempt: 2, reason: None, facts: facts(None) },
            Event::RunFinished { status: Status::Succeeded, digest: None },
        ];
        let run: RunId = "r1".parse().unwrap();
        let other: RunId = "r0".parse().unwrap();
        for (time, event) in (1_000..).zip(events) {
            let end = Event::RunFinished { status: Status::Cancelled, digest: None };
            store.append(&run, time, &[event]).unwrap();
            if time % 2 == 0 {
                store.append(&other, time, &[end]).unwrap();
            }
        }
        store.put_blob(b"of another run").unwrap();
        Self { _dir: dir, store, run }
    }

    fn bundle(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store.write_bundle(&self.run, &mut bytes).unwrap();
        bytes
    }
}

type Entries = Vec<(String, Vec<u8>)>;

fn unpack(bundle: &[u8]) -> Entries {
    let mut archive = tar::Archive::new(StreamingDecoder::new(bundle));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    entries.collect()
}

/// Packs entries as nobody should.
fn pack(entries: &[(String, Vec<u8>)], change: impl Fn(&str, &mut tar::Header)) -> Vec<u8> {
    let mut builder = tar::Builder::new(StreamingEncoder::new(Vec::new(), CompressionLevel::Fastest));
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // By hand: `set_path` refuses what leaves the archive.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        change(name, &mut header);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn read(bundle: &[u8]) -> Result<(), BundleError> {
    read_within(bundle, BundleLimits::default())
}

fn read_within(bundle: &[u8], limits: BundleLimits) -> Result<(), BundleError> {
    let (_dir, store) = fresh();
    let result = store.read_bundle(bundle, limits).map(|_| ());
    if result.is_err() {
        assert_eq!(store.runs(10).unwrap(), [], "nothing of a refused bundle is a run");
    }
    result
}

#[track_caller]
fn refused(bundle: &[u8], part: &str) {
    let error = read(bundle).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BundleError::Refused(_) | BundleError::NotABundle(_)), "{text}");
    assert!(text.contains(part), "{text}");
}

#[test]
fn a_bundle_holds_the_run_and_nothing_else_and_comes_back() {
    let fixture = Fixture::new();
    let bundle = fixture.bundle();
    assert_eq!(bundle, fixture.bundle(), "the same bytes each time");
    let (_dir, store) = fresh();
    assert_eq!(store.read_bundle(&bundle[..], BundleLimits::default()).unwrap(), fixture.run);
    let (before, after) = (fixture.store.records(&fixture.run).unwrap(), store.records(&fixture.run).unwrap());
    assert!(
        before.iter().map(|record| (record.time_ms, &record.event)).eq(after.iter().map(|r| (r.time_ms, &r.event)))
    );
    assert_eq!(store.runs(10).unwrap().len(), 1);
    for text in ["component", "output", "findings", "log", "first log", "input", "body", "body of the receipt", "one"] {
        assert_eq!(store.read_blob(&Digest::of(text.as_bytes()), 100).unwrap(), text.as_bytes(), "{text}");
    }
    assert!(!store.has_blob(&Digest::of(b"of another run")).unwrap());
    let Event::RunStarted { sources, .. } = &after[0].event else { panic!() };
    let paths: Vec<_> = store.walk(&sources[0].artifact.digest).map(|entry| entry.unwrap().0).collect();
    assert_eq!(paths, ["a", "a/b", "a/b/file", "one"]);
    let names: Vec<_> = unpack(&bundle).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..2], ["bundle.json", "records.jsonl"]);
    assert!(names[2..].is_sorted());
    // What a reader writes again is the same file, but for the records' new places in the chain.
    let mut again = Vec::new();
    store.write_bundle(&fixture.run, &mut again).unwrap();
    let rest =
        |bundle: &[u8]| unpack(bundle).into_iter().filter(|(name, _)| name != "records.jsonl").collect::<Entries>();
    assert_eq!(rest(&bundle), rest(&again));
}

#[test]
fn what_is_missing_is_named_when_it_is_written() {
    let fixture = Fixture::new();
    let (_dir, store) = fresh();
    let records = fixture.store.records(&fixture.run).unwrap();
    store.append(&fixture.run, 0, &records.into_iter().map(|record| record.event).collect::<Vec<_>>()).unwrap();
    let error = store.write_bundle(&fixture.run, Vec::new()).unwrap_err();
    assert!(matches!(error, BundleError::Store(StoreError::Missing(_))), "{error}");
}

#[test]
fn every_cut_and_every_flipped_byte_is_refused() {
    let bundle = Fixture::new().bundle();
    // One state directory for all: what a refused bundle leaves in it are artifacts that nothing names.
    let (_dir, store) = fresh();
    let read = |bundle: &[u8]| store.read_bundle(bundle, BundleLimits::default());
    for end in (0..bundle.len()).step_by(7).chain(bundle.len() - 20..bundle.len()) {
        assert!(read(&bundle[..end]).is_err(), "cut to {end} of {}", bundle.len());
    }
    for at in (0..bundle.len()).step_by(11) {
        let mut flipped = bundle.clone();
        flipped[at] ^= 0x10;
        // Bits of the frame's header that say nothing may flip; then it is the same bundle.
        if read(&flipped).is_ok() {
            assert_eq!(unpack(&flipped), unpack(&bundle), "byte {at}");
        }
    }
    refused(&[&bundle[..], b"x"].concat(), "torn or damaged");
    refused(&[&bundle[..], &bundle[..]].concat(), "behind its last entry");
    refused(b"PK\x03\x04", "zstd");
    refused(b"", "zstd");
}

#[test]
fn archives_of_another_make_are_refused() {
    let bundle = Fixture::new().bundle();
    let entries = unpack(&bundle);
    let same = |_: &str, _: &mut tar::Header| ();
    assert!(read(&pack(&entries, same)).is_ok(), "the test packs as the engine does");
    let with = |change: &dyn Fn(&mut Entries)| {
        let mut entries = entries.clone();
        change(&mut entries);
        pack(&entries, same)
    };
    let last = entries.len() - 1;
    for name in ["../escape", "/etc/passwd", "blobs/../../x", "blobs/zz", "zzz", "trees/", "blobs"] {
        refused(&with(&|all| all[last].0 = name.into()), "no place in a bundle");
    }
    let upper = with(&|all| all[last].0 = all[last].0.to_uppercase().replace("TREES", "trees"));
    refused(&upper, "no place in a bundle");
    refused(&with(&|all| all.swap(2, 3)), "not in order");
    refused(&with(&|all| all.insert(2, all[2].clone())), "not in order");
    refused(&with(&|all| all.swap(0, 1)), "its first entry");
    refused(&with(&|all| drop(all.remove(1))), "its second entry");
    refused(&with(&|all| drop(all.remove(2))), "it lacks sha256:");
    refused(&with(&|all| drop(all.remove(last))), "it lacks sha256:");
    refused(&with(&|all| all[2].1.push(b'!')), "has the digest");
    refused(&with(&|all| all[last].1.push(b'!')), "has the digest");
    let stray = Digest::of(b"stray");
    refused(
        &with(&|all| {
            all.push((format!("blobs/{}", stray.hex()), b"stray".to_vec()));
            all[2..].sort();
        }),
        "which none of its records names",
    );
    refused(&with(&|all| all.truncate(0)), "it ends before `bundle.json`");
    refused(&with(&|all| all.truncate(1)), "it ends before `records.jsonl`");
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory, tar::EntryType::GNULongName]
    {
        let changed = pack(&entries, |name, header| {
            if name.starts_with("trees") {
                header.set_entry_type(kind);
            }
        });
        refused(&changed, "no regular file");
    }
    let grown = pack(&entries, |name, header| {
        if name.starts_with("trees") {
            header.set_size(1 << 40);
        }
    });
    refused(&grown, "is too much");
    refused(&with(&|all| all[0].1 = b"{}".to_vec()), "does not name the format");
    refused(&with(&|all| all[0].1 = vec![b' '; 5_000]), "is too much");
    let newer = with(&|all| all[0].1 = br#"{"format":"lockgate-bundle","version":2,"new":{}}"#.to_vec());
    assert!(matches!(read(&newer), Err(BundleError::Newer { found: 2 })));
}

#[test]
fn altered_records_are_refused() {
    let fixture = Fixture::new();
    let entries = unpack(&fixture.bundle());
    let with = |from: &str, to: &str| {
        let mut entries = entries.clone();
        let text = String::from_utf8(entries[1].1.clone()).unwrap();
        assert!(text.contains(from));
        entries[1].1 = text.replacen(from, to, 1).into_bytes();
        pack(&entries, |_, _| ())
    };
    refused(&with("\"time\":1000", "\"time\":1001"), "does not have its hash");
    refused(&with("\"run\":\"r1\"", "\"run\":\"r2\""), "belongs to another run");
    refused(&with("\"seq\":1,", "\"seq\":9,"), "");
    refused(&with("\"version\":1", "\"version\":1,\"more\":2"), "cannot be read");
    refused(&with("succeeded", "failed"), "does not have its hash");
    let mut fewer = entries.clone();
    let end = fewer[1].1.iter().rposition(|byte| *byte == b'{').unwrap();
    fewer[1].1.truncate(end);
    refused(&pack(&fewer, |_, _| ()), "");
}

#[test]
fn a_bomb_ends_at_the_limits() {
    let bundle = Fixture::new().bundle();
    let entries = unpack(&bundle);
    let small = BundleLimits { bytes: 30_000, ..BundleLimits::default() };
    assert!(read_within(&bundle, small).unwrap_err().to_string().contains("is too much"));
    let few = BundleLimits { entries: 4, ..BundleLimits::default() };
    assert!(read_within(&bundle, few).unwrap_err().to_string().contains("is too much"));
    let short = BundleLimits { records: 100, ..BundleLimits::default() };
    assert!(read_within(&bundle, short).unwrap_err().to_string().contains("is too much"));
    // A gigabyte of zeros behind the last entry, in a few hundred kilobytes.
    let mut encoder = StreamingEncoder::new(Vec::new(), CompressionLevel::Fastest);
    let mut inner = Vec::new();
    StreamingDecoder::new(&pack(&entries, |_, _| ())[..]).read_to_end(&mut inner).unwrap();
    encoder.write_all(&inner).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..64).for_each(|_| encoder.write_all(&zeros).unwrap());
    refused(&encoder.finish().unwrap(), "behind its last entry");
}
