//! What a store does in a day: a snapshot, artifacts of all sizes, two runs, exports, a collection. Played on disks that fail, it
//! says what was acknowledged, and looks at what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::sync::OnceLock;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind};
use lockgate_model::event::{Event, Source};
use lockgate_model::pipeline::InputSource;
use lockgate_model::{Digest, RunId};

use super::{effect, finished, proved, run, spec, started};
use crate::pending::DEFER_MAX;
use crate::{ExportError, GcOptions, Store, StoreError};

const DAY: u64 = 86_400_000;
/// What stands at the targets of exports before.
const OLD: &str = "old";

/// Something that the store acknowledged.
#[derive(Debug, Clone)]
pub enum Fact {
    /// Events of a run.
    Appended(RunId, Vec<Event>),
    /// An artifact that no record names.
    Stored(ArtifactRef),
    /// This target.
    Exported(&'static str),
    /// The collection is about to begin: what only the old run needs may go.
    Collecting,
}

fn small(number: usize) -> Vec<u8> {
    format!("small {number}").into_bytes()
}

fn medium(number: usize) -> Vec<u8> {
    format!("medium {number} ").into_bytes().repeat(2_000)
}

fn large() -> Vec<u8> {
    b"large ".repeat(DEFER_MAX as usize / 6 + 1)
}

type Blobs = BTreeMap<[u8; 32], Vec<u8>>;

/// Every blob of the scenario, by digest.
fn blobs() -> &'static Blobs {
    static BLOBS: OnceLock<Blobs> = OnceLock::new();
    BLOBS.get_or_init(|| {
        let all = (0..60).flat_map(|number| [small(number), medium(number)]).chain([large(), b"{}".to_vec()]);
        all.map(|bytes| (*Digest::of(&bytes).as_bytes(), bytes)).collect()
    })
}

/// A directory in memory where there is one, as SQLite's syncs cost much here and show nothing.
pub fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// What is there before: sources, and targets of exports.
pub fn prepare(root: &Path) {
    for (name, bytes) in [("src/small", small(50)), ("src/below/medium", medium(50))] {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::create_dir_all(root.join("dist/tree/below")).unwrap();
    for name in ["dist/small", "dist/tree/a", "dist/tree/below/b"] {
        std::fs::write(root.join(name), OLD).unwrap();
    }
}

fn entry(name: String, kind: EntryKind, artifact: &ArtifactRef) -> DirEntry {
    DirEntry { name, kind, digest: artifact.digest, size: artifact.size }
}

fn put(store: &Store, bytes: &[u8]) -> Result<ArtifactRef, StoreError> {
    Ok(ArtifactRef { kind: ArtifactKind::Blob, digest: store.put_blob(bytes)?, size: bytes.len() as u64 })
}

fn put_tree(store: &Store, entries: Vec<DirEntry>) -> Result<ArtifactRef, StoreError> {
    let size = entries.iter().map(|entry| entry.size).sum();
    let digest = store.put_directory(&Directory::new(entries).unwrap())?;
    Ok(ArtifactRef { kind: ArtifactKind::Tree, digest, size })
}

/// Plays it under these names for its runs, until something fails.
pub fn play(store: &Store, root: &Path, name: &str, done: &mut dyn FnMut(Fact)) -> Result<(), Box<dyn Error>> {
    let (this, old) = (run(name), run(&format!("{name}-old")));
    let mut append = |run: &RunId, day: u64, events: Vec<Event>| {
        store.append(run, day * DAY, &events)?;
        done(Fact::Appended(run.clone(), events));
        Ok::<_, StoreError>(())
    };
    // An old run, of which a collection leaves only the records.
    let pipeline = put(store, b"{}")?;
    let begun = |sources| {
        let mut event = started(name);
        if let Event::RunStarted { pipeline: kept, sources: taken, .. } = &mut event {
            (*kept, *taken) = (pipeline, sources);
        }
        event
    };
    let (gone, shared) = (put(store, &medium(30))?, put(store, &medium(0))?);
    let proof =
        proved("n", Digest::of(b"old"), &[("gone", gone), ("small", put(store, &small(30))?), ("shared", shared)]);
    append(&old, 1, vec![begun(vec![]), proof, finished()])?;

    let source = store.snapshot(root, &spec("src"), &[])?;
    let from = InputSource::File { path: "src".to_owned() };
    append(&this, 90, vec![begun(vec![Source { source: from, artifact: source }])])?;

    let artifacts = [put(store, &small(0))?, put(store, &medium(0))?, put(store, &large())?];
    let below = put_tree(store, vec![entry("medium".into(), EntryKind::Executable, &artifacts[1])])?;
    let tree = put_tree(
        store,
        vec![
            entry("below".into(), EntryKind::Directory, &below),
            entry("small".into(), EntryKind::File, &artifacts[0]),
        ],
    )?;
    // A directory that is a file of its own.
    let wide = (0..200).map(|number| entry(format!("name-{number:03}"), EntryKind::File, &artifacts[0])).collect();
    let wide = put_tree(store, wide)?;
    let outputs =
        [("small", artifacts[0]), ("medium", artifacts[1]), ("large", artifacts[2]), ("tree", tree), ("wide", wide)];
    append(&this, 90, vec![proved("n", Digest::of(b"key"), &outputs)])?;

    // As many files as are synced together.
    let many: Vec<_> = (1..18).map(|number| put(store, &medium(number))).collect::<Result<_, _>>()?;
    let names: Vec<_> = (1..18).map(|number| format!("o{number}")).collect();
    let outputs: Vec<_> = names.iter().map(String::as_str).zip(many).collect();
    append(&this, 90, vec![proved("m", Digest::of(b"many"), &outputs)])?;
    put(store, &medium(0))?;
    append(&this, 90, vec![effect(0)])?;

    // As many entries as are synced together.
    let some = (0..17).map(|number| entry(format!("name-{number:02}"), EntryKind::File, &artifacts[0])).collect();
    let some = put_tree(store, some)?;
    for (target, artifact) in targets(&artifacts, tree, some) {
        store.export(&artifact, root, target, &[])?;
        done(Fact::Exported(target));
    }
    store.put_code("a", b"compiled")?;
    append_to(store, &this, done)?;

    let stored = put(store, &medium(40))?;
    store.flush()?;
    done(Fact::Stored(stored));
    done(Fact::Collecting);
    let options = GcOptions { now_ms: 100 * DAY, keep_since_ms: 80 * DAY, ..GcOptions::default() };
    store.gc(&options)?;
    Ok(())
}

fn append_to(store: &Store, run: &RunId, done: &mut dyn FnMut(Fact)) -> Result<(), StoreError> {
    store.append(run, 90 * DAY, &[finished()])?;
    done(Fact::Appended(run.clone(), vec![finished()]));
    Ok(())
}

fn targets(artifacts: &[ArtifactRef; 3], tree: ArtifactRef, some: ArtifactRef) -> [(&'static str, ArtifactRef); 5] {
    [
        ("dist/small", artifacts[0]),
        ("dist/deep/down/large", artifacts[2]),
        ("dist/tree", tree),
        ("dist/some", some),
        ("dist/new/tree", tree),
    ]
}

/// What is wrong with what is left, where `acknowledged` was promised and `all` was to come. Records that are there.
pub fn check(store: &Store, root: &Path, acknowledged: &[Fact], all: &[Fact]) -> Result<u64, String> {
    let say = |what: &'static str| move |error: StoreError| format!("{what}: {}", chain(&error));
    let collecting = acknowledged.iter().any(|fact| matches!(fact, Fact::Collecting));
    let (blobs, mut kept, mut may_go) = (blobs(), BTreeSet::new(), BTreeSet::new());
    let mut total = 0;
    let runs: BTreeSet<_> =
        all.iter().filter_map(|fact| if let Fact::Appended(run, _) = fact { Some(run) } else { None }).collect();
    for run in runs {
        let (promised, whole) = (events(acknowledged, run), events(all, run));
        let found = match store.records(run) {
            Err(StoreError::UnknownRun(_)) => Vec::new(),
            found => found.map_err(say("records"))?,
        };
        total += found.len() as u64;
        let found: Vec<_> = found.into_iter().map(|record| record.event).collect();
        if found.len() < promised.len() || !whole.starts_with(&found) {
            return Err(format!("run {run}: {} records of {}, {} promised", found.len(), whole.len(), promised.len()));
        }
        let named = found.iter().flat_map(named);
        if collecting && run.as_str().ends_with("-old") { may_go.extend(named) } else { kept.extend(named) }
    }
    let verified = store.verify().map_err(say("verify"))?;
    if verified < total {
        return Err(format!("{verified} records verified of {total}"));
    }
    let promised =
        acknowledged.iter().filter_map(|fact| if let Fact::Stored(artifact) = fact { Some(artifact) } else { None });
    // What no record names goes with the collection.
    if !collecting {
        kept.extend(promised.map(|artifact| (artifact.kind == ArtifactKind::Tree, *artifact.digest.as_bytes())));
    }
    for (is_tree, digest) in &kept {
        read(store, *is_tree, digest, blobs).map_err(|error| format!("a record names it: {error}"))?;
    }
    // What nobody promised may be lost, but is never wrong.
    for digest in blobs.keys().filter(|digest| !kept.contains(&(false, **digest))) {
        match read(store, false, digest, blobs) {
            Err(error) if !error.starts_with("lost") => return Err(error),
            _ => {}
        }
    }
    for key in ["old", "key", "many"] {
        if let Some(proof) = store.action(&Digest::of(key.as_bytes())).map_err(say("action"))? {
            for output in proof.receipt.outputs.values() {
                read(store, output.kind == ArtifactKind::Tree, output.digest.as_bytes(), blobs)
                    .map_err(|error| format!("served for `{key}`: {error}"))?;
            }
        }
    }
    if store.code("a").is_some_and(|code| code != b"compiled") {
        return Err("wrong code".to_owned());
    }
    check_exports(root, acknowledged)?;
    Ok(total)
}

/// Each target is what it was or what it should be, and the latter where that was acknowledged.
fn check_exports(root: &Path, acknowledged: &[Fact]) -> Result<(), String> {
    let file = |path: &str, bytes: &[u8]| (path.to_owned(), bytes.to_vec());
    let new = |target: &str| match target {
        "dist/small" => vec![file("", &small(0))],
        "dist/deep/down/large" => vec![file("", &large())],
        "dist/some" => (0..17).map(|number| file(&format!("name-{number:02}"), &small(0))).collect(),
        _ => vec![file("below/medium", &medium(0)), file("small", &small(0))],
    };
    let old = |target: &str| match target {
        "dist/small" => vec![file("", OLD.as_bytes())],
        "dist/tree" => vec![file("a", OLD.as_bytes()), file("below/b", OLD.as_bytes())],
        _ => vec![],
    };
    for target in ["dist/small", "dist/deep/down/large", "dist/tree", "dist/some", "dist/new/tree"] {
        let is_promised = acknowledged.iter().any(|fact| matches!(fact, Fact::Exported(done) if *done == target));
        let mut found = Vec::new();
        files(&root.join(target), "", &mut found);
        found.sort();
        if found != new(target) && (is_promised || found != old(target)) {
            let names: Vec<_> = found.iter().map(|(name, bytes)| format!("{name}: {}", bytes.len())).collect();
            return Err(format!("`{target}` is neither new nor, or not promised to be, old: {names:?}"));
        }
    }
    Ok(())
}

/// Files below a path with their bytes; the path itself as ``.
pub fn files(path: &Path, name: &str, found: &mut Vec<(String, Vec<u8>)>) {
    if path.is_file() {
        found.push((name.to_owned(), std::fs::read(path).unwrap()));
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().map(Result::unwrap) {
        let below = entry.file_name().into_string().unwrap();
        files(&entry.path(), &if name.is_empty() { below } else { format!("{name}/{below}") }, found);
    }
}

fn events(facts: &[Fact], of: &RunId) -> Vec<Event> {
    let of_run = |fact: &Fact| {
        if let Fact::Appended(run, events) = fact
            && run == of
        {
            events.clone()
        } else {
            vec![]
        }
    };
    facts.iter().flat_map(of_run).collect()
}

/// Artifacts that an event names, by whether they are trees.
fn named(event: &Event) -> Vec<(bool, [u8; 32])> {
    let artifacts: Vec<ArtifactRef> = match event {
        Event::RunStarted { pipeline, sources, .. } => {
            sources.iter().map(|source| source.artifact).chain([*pipeline]).collect()
        }
        Event::NodeFinished { receipt, .. } => receipt.outputs.values().copied().collect(),
        _ => vec![],
    };
    artifacts.iter().map(|artifact| (artifact.kind == ArtifactKind::Tree, *artifact.digest.as_bytes())).collect()
}

/// Reads an artifact with everything in it.
fn read(store: &Store, is_tree: bool, digest: &[u8; 32], blobs: &Blobs) -> Result<(), String> {
    let name = Digest::from_bytes(*digest);
    let failed = |error: StoreError| match error.is_lost() {
        true => format!("lost: {}", chain(&error)),
        false => chain(&error),
    };
    if is_tree {
        for entry in store.walk(&name) {
            let (_, entry) = entry.map_err(failed)?;
            if entry.kind != EntryKind::Directory {
                read(store, false, entry.digest.as_bytes(), blobs)?;
            }
        }
        return Ok(());
    }
    let bytes = store.read_blob(&name, u64::MAX).map_err(failed)?;
    if blobs.get(digest) == Some(&bytes) { Ok(()) } else { Err(format!("wrong bytes for {name}")) }
}

/// An error with its sources.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Whether an error names a place of the scenario.
pub fn names_a_place(error: &(dyn Error + 'static), root: &Path) -> bool {
    let text = chain(error);
    text.contains(&root.display().to_string()) || error.is::<ExportError>() && text.contains("`dist/")
}

/// What is whole is proved again without anything being made again.
pub fn is_served(store: &Store) -> bool {
    ["key", "many"].iter().all(|key| store.action(&Digest::of(key.as_bytes())).unwrap().is_some())
}
