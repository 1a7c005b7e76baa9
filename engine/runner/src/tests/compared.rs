//! What the comparison of two executions says: each part, the place in it, both sides.

use lockgate_model::artifact::{DirEntry, EntryKind};
use lockgate_model::effect::{EffectRecord, encode};

use super::*;
use crate::Difference;
use crate::compare::Proof;

/// Blobs and trees.
struct Shelf {
    memory: Arc<Memory>,
    trees: Mutex<HashMap<Digest, Arc<Directory>>>,
}

impl Shelf {
    fn new() -> Self {
        Self { memory: Memory::new(0), trees: Mutex::default() }
    }

    fn blob(&self, bytes: impl AsRef<[u8]>) -> ArtifactRef {
        self.memory.keep(bytes.as_ref())
    }

    fn entry(&self, name: &str, kind: EntryKind, text: &str) -> DirEntry {
        DirEntry { name: name.into(), kind, digest: self.blob(text).digest, size: text.len() as u64 }
    }

    fn tree(&self, entries: Vec<DirEntry>) -> ArtifactRef {
        let directory = Directory::new(entries).unwrap();
        let digest = directory.digest();
        self.trees.lock().unwrap().insert(digest, Arc::new(directory));
        ArtifactRef { kind: ArtifactKind::Tree, digest, size: 0 }
    }
}

impl Blobs for Shelf {
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        self.memory.read(digest, max)
    }

    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError> {
        self.memory.put(bytes)
    }

    fn directory(&self, digest: Digest) -> Result<Arc<Directory>, BlobError> {
        let found = self.trees.lock().unwrap().get(&digest).cloned();
        found.ok_or_else(|| BlobError::Store("no such directory".into()))
    }
}

fn out(done: &mut Completion, artifact: ArtifactRef) {
    done.outputs.insert(port("out"), artifact);
}

fn empty() -> Completion {
    let mut done = Completion::failed(FailureKind::Error, "");
    done.failure = None;
    done
}

/// What differs between two completions that differ only by this.
fn said_of(shelf: &Shelf, a: impl Fn(&mut Completion), b: impl Fn(&mut Completion)) -> Vec<String> {
    let (mut first, mut second) = (empty(), empty());
    a(&mut first);
    b(&mut second);
    let (a, b) =
        (Proof::of_receipt(&first, first.failure.as_ref()), Proof::of_receipt(&second, second.failure.as_ref()));
    let found = a.differences(&b, shelf);
    assert_eq!(found.is_empty(), a.same(&b));
    assert!(a.differences(&a, shelf).is_empty());
    found.iter().map(Difference::to_string).collect()
}

#[test]
fn blobs_differ_at_a_byte() {
    let shelf = Shelf::new();
    let said = |a: &[u8], b: &[u8]| {
        let put = |bytes: &[u8]| {
            let blob = shelf.blob(bytes);
            move |done: &mut Completion| out(done, blob)
        };
        said_of(&shelf, put(a), put(b)).concat()
    };
    assert_eq!(
        said(b"0123456789abcdefghij", b"0123456789abXdefghij"),
        "output `out` at byte 12: 63 in \"456789abcdefghij\" of 20 bytes and 58 in \"456789abXdefghij\" of 20 bytes"
    );
    assert_eq!(said(b"", b"\xff\n"), "output `out` at byte 0: the end of 0 bytes and ff in \"\\xff\\n\" of 2 bytes");
    assert_eq!(said(b"ab", b"abc"), "output `out` at byte 2: the end of 2 bytes and 63 in \"abc\" of 3 bytes");
    // What is lost cannot be looked into, but differs all the same.
    let lost = ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(b"lost"), size: 4 };
    let there = shelf.blob("there");
    let text = said_of(&shelf, |done| out(done, lost), |done| out(done, there));
    assert!(text[0].starts_with("output `out`: 4 bytes ("), "{text:?}");
    let text = said_of(&shelf, |_| (), |done| out(done, there));
    assert!(text[0].starts_with("output `out`: nothing and a blob of 5 bytes ("), "{text:?}");
}

#[test]
fn trees_differ_at_a_path() {
    use EntryKind::{Directory as Dir, Executable, File, Symlink};
    let shelf = Shelf::new();
    let nested = |entries: Vec<DirEntry>| {
        let below = shelf.tree(entries);
        let dir = DirEntry { name: "dir".into(), kind: Dir, digest: below.digest, size: 0 };
        shelf.tree(vec![shelf.entry("a", File, "a"), dir])
    };
    let said = |a: Vec<DirEntry>, b: Vec<DirEntry>| {
        let put = |tree: ArtifactRef| move |done: &mut Completion| out(done, tree);
        said_of(&shelf, put(nested(a)), put(nested(b))).concat()
    };
    let file = |name: &str, text: &str| shelf.entry(name, File, text);
    assert_eq!(
        said(vec![file("x", "one"), file("y", "1")], vec![file("x", "onE"), file("y", "2")]),
        "output `out` at `dir/x`, byte 2: 65 in \"one\" of 3 bytes and 45 in \"onE\" of 3 bytes"
    );
    assert_eq!(said(vec![file("x", "1")], vec![]), "output `out` at `dir/x`: a file of 1 bytes and nothing");
    assert_eq!(
        said(vec![file("x", "1")], vec![shelf.entry("x", Executable, "1")]),
        "output `out` at `dir/x`: a file of 1 bytes and an executable file of 1 bytes"
    );
    assert_eq!(
        said(vec![shelf.entry("x", Symlink, "a")], vec![file("w", "1")]),
        "output `out` at `dir/w`: nothing and a file of 1 bytes"
    );
    let (blob, tree) = (shelf.blob("1"), nested(vec![]));
    let text = said_of(&shelf, |done| out(done, blob), |done| out(done, tree));
    assert!(text[0].starts_with("output `out`: a blob of 1 bytes"), "{text:?}");
}

#[test]
fn logs_differ_at_a_line_and_effects_at_a_number() {
    let shelf = Shelf::new();
    let log = |text: &'static str| {
        let blob = (!text.is_empty()).then(|| shelf.blob(text));
        move |done: &mut Completion| done.log = blob
    };
    assert_eq!(
        said_of(&shelf, log("info a\ninfo b\n"), log("info a\ninfo c\n")),
        ["log at line 2: `info b` and `info c`"]
    );
    assert_eq!(said_of(&shelf, log("info a\n"), log("")), ["log at line 1: `info a` and the end"]);
    let record = |sequence: u64, summary: &str, status: u32| EffectRecord {
        sequence,
        kind: "http".into(),
        request: Digest::of(summary.as_bytes()),
        summary: summary.into(),
        answer: serde_json::json!({ "body": { "text": "b" }, "status": status }),
    };
    let effects = |records: &[EffectRecord]| {
        let blob = shelf.blob(encode(records));
        move |done: &mut Completion| done.effects = Some(blob)
    };
    let (a, b) = (record(0, "GET a", 200), record(1, "GET b", 200));
    assert_eq!(
        said_of(&shelf, effects(&[a.clone(), b.clone()]), effects(&[a.clone(), record(1, "GET c", 200)])),
        ["effects at effect 1: `http GET b` and `http GET c`"]
    );
    assert_eq!(
        said_of(&shelf, effects(&[a.clone(), b.clone()]), effects(&[a.clone(), record(1, "GET b", 503)])),
        ["effects at effect 1, `status` of its answer: 200 and 503"]
    );
    assert_eq!(
        said_of(&shelf, effects(&[a.clone(), b]), effects(&[a])),
        ["effects at effect 1: `http GET b` and none"]
    );
}

#[test]
fn verdicts_failures_and_fuel() {
    let shelf = Shelf::new();
    let verdict = |word: &'static str, reason: &'static str| {
        move |done: &mut Completion| {
            done.verdict = said(word).verdict;
            done.verdict.as_mut().unwrap().reasons[0] = reason.into();
        }
    };
    assert_eq!(said_of(&shelf, verdict("healthy", ""), verdict("degraded", "")), ["verdict: `healthy` and `degraded`"]);
    assert_eq!(
        said_of(&shelf, verdict("healthy", "one"), verdict("healthy", "two")),
        [r#"verdict at its reasons, byte 2 of their JSON: 6f in "["one"]" of 7 bytes and 74 in "["two"]" of 7 bytes"#
            .replace("[\"", "[\\\"")
            .replace("\"]\"", "\\\"]\"")]
    );
    assert_eq!(said_of(&shelf, verdict("healthy", ""), |_| ()), ["verdict: `healthy` and none"]);
    assert_eq!(
        said_of(&shelf, |_| (), |done| done.failure = Some(failure(FailureKind::Trap))),
        ["failure: succeeded and failed (trap: as told)"]
    );
    assert_eq!(said_of(&shelf, |done| done.fuel = Some(7), |_| ()), ["fuel: 7 and none"]);
}
