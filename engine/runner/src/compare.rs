//! Compares two executions of a node, and names what differs as exactly as it can be had cheaply: for `repeat`, for
//! `--check-determinism` and for replay.

use std::collections::BTreeMap;
use std::fmt;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, EntryKind, MAX_DEPTH};
use lockgate_model::effect::{self, EffectRecord};
use lockgate_model::outcome::{Completion, Failure, Verdict};
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, PortName, canonical_json};
use serde::Serialize;
use serde_json::Value;

use crate::ports::Blobs;

/// Blobs up to this size are compared byte by byte: 64 MiB, what looks may have joined; two of them stand in memory at once.
const MAX_COMPARED: u64 = 64 << 20;
/// Bytes that are shown on each side of the first one that differs.
const AROUND: usize = 8;
/// Longest text that is shown of a line, a message or a value, in characters.
const SHOWN: usize = 120;

/// One thing that differs between two executions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: ``output `name` ``, `log`, `findings`, `verdict`, `failure`, `state`, `effects`, `fuel`, `key`.
    pub what: String,
    /// Where in it, as far as it has places: `byte 12`, `line 3`, `effect 2`, `` `path` in it, byte 12 ``.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What the first execution has there.
    pub first: String,
    /// What the second one has.
    pub second: String,
}

impl Difference {
    /// What differs, and where: ``output `name` at byte 12``.
    pub fn what_and_where(&self) -> String {
        match &self.place {
            Some(place) => format!("{} at {place}", self.what),
            None => self.what.clone(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} and {}", self.what_and_where(), self.first, self.second)
    }
}

/// What an execution gave, of which nothing may depend on anything but its task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof<'a> {
    failure: Option<&'a Failure>,
    outputs: &'a BTreeMap<PortName, ArtifactRef>,
    findings: Option<&'a ArtifactRef>,
    verdict: Option<&'a Verdict>,
    state: Option<&'a [u8]>,
    log: Option<&'a ArtifactRef>,
    effects: Option<&'a ArtifactRef>,
    fuel: Option<u64>,
}

/// Everything that differs between two executions of one task whose effects had the same answers; nothing where they are the same. What
/// they took of memory is a fact for people. May block.
pub fn differences(first: &Completion, second: &Completion, blobs: &dyn Blobs) -> Vec<Difference> {
    let first = Proof { effects: first.effects.as_ref(), ..Proof::from(first) };
    let second = Proof { effects: second.effects.as_ref(), ..Proof::from(second) };
    first.differences(&second, blobs)
}

impl<'a> From<&'a Completion> for Proof<'a> {
    /// Without its effects: they are answers of the world. Memory and backtraces are facts for people.
    fn from(done: &'a Completion) -> Self {
        Self {
            failure: done.failure.as_ref(),
            outputs: &done.outputs,
            findings: done.findings.as_ref(),
            verdict: done.verdict.as_ref(),
            state: done.state.as_deref(),
            log: done.log.as_ref(),
            effects: None,
            fuel: done.fuel,
        }
    }
}

impl<'a> From<&'a Receipt> for Proof<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        Self {
            failure: receipt.failure.as_ref(),
            outputs: &receipt.outputs,
            findings: receipt.findings.as_ref(),
            verdict: receipt.verdict.as_ref(),
            state: None,
            log: receipt.log.as_ref(),
            effects: receipt.effects.as_ref(),
            fuel: receipt.fuel,
        }
    }
}

impl Proof<'_> {
    /// The same without what another fuel schedule changes.
    pub(crate) fn without_fuel(self) -> Self {
        Self { fuel: None, ..self }
    }

    /// What a receipt would hold of an execution that was judged so, effects included.
    pub(crate) fn of_receipt<'a>(done: &'a Completion, failure: Option<&'a Failure>) -> Proof<'a> {
        Proof { failure, state: None, effects: done.effects.as_ref(), ..Proof::from(done) }
    }

    /// Whether two executions gave the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.failure == other.failure
            && self.outputs == other.outputs
            && self.findings == other.findings
            && self.verdict == other.verdict
            && self.state == other.state
            && self.log == other.log
            && self.effects == other.effects
            && self.fuel == other.fuel
    }

    /// Everything that differs; nothing where they are the same. May block.
    pub(crate) fn differences(&self, other: &Self, blobs: &dyn Blobs) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.failure != other.failure {
            let text = |failure: Option<&Failure>| {
                failure.map_or("succeeded".to_owned(), |f| format!("failed ({}: {})", f.kind.name(), short(&f.message)))
            };
            found.push(plain("failure", text(self.failure), text(other.failure)));
        }
        let mut names: Vec<_> = self.outputs.keys().chain(other.outputs.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let what = format!("output `{name}`");
            found.extend(artifacts(&what, self.outputs.get(name), other.outputs.get(name), blobs));
        }
        found.extend(artifacts("findings", self.findings, other.findings, blobs));
        found.extend(verdicts(self.verdict, other.verdict));
        if self.state != other.state {
            let (a, b) = (self.state.unwrap_or_default(), other.state.unwrap_or_default());
            found.push(bytes("state", String::new(), a, b));
        }
        found.extend(lines("log", self.log, other.log, blobs));
        found.extend(effects(self.effects, other.effects, blobs));
        if self.fuel != other.fuel {
            let text = |fuel: Option<u64>| fuel.map_or("none".to_owned(), |fuel| fuel.to_string());
            found.push(plain("fuel", text(self.fuel), text(other.fuel)));
        }
        found
    }
}

pub(crate) fn plain(what: &str, first: String, second: String) -> Difference {
    Difference { what: what.to_owned(), place: None, first, second }
}

fn short(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown += " ...";
    }
    shown
}

fn verdicts(a: Option<&Verdict>, b: Option<&Verdict>) -> Option<Difference> {
    if a == b {
        return None;
    }
    let (Some(a), Some(b)) = (a, b) else {
        let text = |verdict: Option<&Verdict>| verdict.map_or("none".to_owned(), |v| format!("`{}`", v.word));
        return Some(plain("verdict", text(a), text(b)));
    };
    if a.word != b.word {
        return Some(plain("verdict", format!("`{}`", a.word), format!("`{}`", b.word)));
    }
    // The first of its parts that differs, as JSON.
    let parts = [
        ("reasons", canonical_json(&a.reasons), canonical_json(&b.reasons)),
        ("figures", canonical_json(&a.figures), canonical_json(&b.figures)),
        ("details", canonical_json(&a.details), canonical_json(&b.details)),
    ];
    let (name, a, b) = parts.into_iter().find(|(_, a, b)| a != b)?;
    let Difference { place, first, second, .. } = bytes("", String::new(), a.as_bytes(), b.as_bytes());
    let place = place.map(|place| format!("its {name}, {place} of their JSON"));
    Some(Difference { what: "verdict".to_owned(), place, first, second })
}

fn artifacts(what: &str, a: Option<&ArtifactRef>, b: Option<&ArtifactRef>, blobs: &dyn Blobs) -> Option<Difference> {
    let about = |artifact: Option<&ArtifactRef>| artifact.map_or("nothing".to_owned(), summary);
    match (a, b) {
        (a, b) if a == b => None,
        (Some(a), Some(b)) if a.kind == ArtifactKind::Blob && b.kind == ArtifactKind::Blob => {
            Some(contents(what, String::new(), (a.digest, a.size), (b.digest, b.size), blobs))
        }
        (Some(a), Some(b)) if a.kind == ArtifactKind::Tree && b.kind == ArtifactKind::Tree => {
            Some(trees(what, a, b, blobs))
        }
        (a, b) => Some(plain(what, about(a), about(b))),
    }
}

fn summary(artifact: &ArtifactRef) -> String {
    format!("a {} of {} bytes ({})", artifact.kind.name(), artifact.size, artifact.digest.short())
}

/// Two blobs; `inside` is the path in front of the place.
fn contents(what: &str, inside: String, a: (Digest, u64), b: (Digest, u64), blobs: &dyn Blobs) -> Difference {
    if let (Ok(first), Ok(second)) = (blobs.read(a.0, MAX_COMPARED), blobs.read(b.0, MAX_COMPARED)) {
        return bytes(what, inside, &first, &second);
    }
    // The difference is certain; where it is, is a courtesy to those whose bytes are there.
    let text = |(digest, size): (Digest, u64)| format!("{size} bytes ({})", digest.short());
    let place = Some(inside.trim_end_matches(", ").to_owned()).filter(|place| !place.is_empty());
    Difference { what: what.to_owned(), place, first: text(a), second: text(b) }
}

/// The first byte that differs, with those around it.
fn bytes(what: &str, inside: String, a: &[u8], b: &[u8]) -> Difference {
    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    let text = |bytes: &[u8]| {
        let size = bytes.len();
        match bytes.get(at) {
            None => format!("the end of {size} bytes"),
            Some(byte) => {
                let around = &bytes[at.saturating_sub(AROUND)..size.min(at + AROUND + 1)];
                format!("{byte:02x} in \"{}\" of {size} bytes", around.escape_ascii())
            }
        }
    };
    Difference { what: what.to_owned(), place: Some(format!("{inside}byte {at}")), first: text(a), second: text(b) }
}

/// Goes down to the first entry that differs: one directory of each tree a level.
fn trees(what: &str, a: &ArtifactRef, b: &ArtifactRef, blobs: &dyn Blobs) -> Difference {
    let (mut left_dir, mut right_dir) = (a.digest, b.digest);
    let mut path = String::new();
    let entry = |entry: Option<&DirEntry>| match entry {
        None => "nothing".to_owned(),
        Some(DirEntry { kind: EntryKind::Directory, .. }) => "a directory".to_owned(),
        Some(DirEntry { kind: EntryKind::Symlink, .. }) => "a symbolic link".to_owned(),
        Some(DirEntry { kind: EntryKind::File, size, .. }) => format!("a file of {size} bytes"),
        Some(DirEntry { kind: EntryKind::Executable, size, .. }) => format!("an executable file of {size} bytes"),
    };
    for _ in 0..=MAX_DEPTH {
        let (Ok(left), Ok(right)) = (blobs.directory(left_dir), blobs.directory(right_dir)) else { break };
        let Some((name, left, right)) = first_difference(left.entries(), right.entries()) else { break };
        if !path.is_empty() {
            path.push('/');
        }
        path += name;
        match (left, right) {
            (Some(left), Some(right)) if left.kind == EntryKind::Directory && right.kind == EntryKind::Directory => {
                (left_dir, right_dir) = (left.digest, right.digest);
            }
            (Some(left), Some(right)) if left.kind == right.kind => {
                let inside = format!("`{}`, ", short(&path));
                return contents(what, inside, (left.digest, left.size), (right.digest, right.size), blobs);
            }
            (left, right) => {
                let place = Some(format!("`{}`", short(&path)));
                return Difference { what: what.to_owned(), place, first: entry(left), second: entry(right) };
            }
        }
    }
    let place = Some(format!("`{}`", short(&path))).filter(|_| !path.is_empty());
    Difference { what: what.to_owned(), place, first: summary(a), second: summary(b) }
}

type Pair<'a> = (&'a str, Option<&'a DirEntry>, Option<&'a DirEntry>);

/// The first name, in order, under which two sorted directories differ.
fn first_difference<'a>(a: &'a [DirEntry], b: &'a [DirEntry]) -> Option<Pair<'a>> {
    let equal = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    match (a.get(equal), b.get(equal)) {
        (Some(a), Some(b)) if a.name == b.name => Some((&a.name, Some(a), Some(b))),
        (Some(a), Some(b)) if a.name.as_bytes() > b.name.as_bytes() => Some((&b.name, None, Some(b))),
        (Some(a), _) => Some((&a.name, Some(a), None)),
        (None, Some(b)) => Some((&b.name, None, Some(b))),
        (None, None) => None,
    }
}

/// A blob's text; an empty one where there is none.
fn text(blob: Option<&ArtifactRef>, blobs: &dyn Blobs) -> Option<String> {
    let Some(blob) = blob else { return Some(String::new()) };
    String::from_utf8(blobs.read(blob.digest, MAX_COMPARED).ok()?).ok()
}

/// The first line that differs.
fn lines(what: &str, a: Option<&ArtifactRef>, b: Option<&ArtifactRef>, blobs: &dyn Blobs) -> Option<Difference> {
    if a == b {
        return None;
    }
    let (Some(first), Some(second)) = (text(a, blobs), text(b, blobs)) else { return artifacts(what, a, b, blobs) };
    let equal = first.lines().zip(second.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(equal).map_or("the end".to_owned(), |line| format!("`{}`", short(line)));
    let place = Some(format!("line {}", equal + 1));
    Some(Difference { what: what.to_owned(), place, first: line(&first), second: line(&second) })
}

/// The first effect that differs, and what of it.
fn effects(a: Option<&ArtifactRef>, b: Option<&ArtifactRef>, blobs: &dyn Blobs) -> Option<Difference> {
    if a == b {
        return None;
    }
    let decode = |blob| text(blob, blobs).and_then(|text| effect::decode(&text).ok());
    let (Some(first), Some(second)) = (decode(a), decode(b)) else { return artifacts("effects", a, b, blobs) };
    let equal = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
    let (a, b) = (first.get(equal), second.get(equal));
    let sequence = a.or(b).map_or(equal as u64, |record| record.sequence);
    let about = |record: Option<&EffectRecord>| {
        record.map_or("none".to_owned(), |r| format!("`{}`", short(&format!("{} {}", r.kind, r.summary))))
    };
    let whole = Difference {
        what: "effects".to_owned(),
        place: Some(format!("effect {sequence}")),
        first: about(a),
        second: about(b),
    };
    match (a, b) {
        (Some(a), Some(b)) if (&a.kind, a.request, a.sequence) == (&b.kind, b.request, b.sequence) => {
            let (name, a, b) = members(&a.answer, &b.answer)?;
            let place = Some(format!("effect {sequence}, {name} of its answer"));
            Some(Difference { place, first: short(&a), second: short(&b), ..whole })
        }
        _ => Some(whole),
    }
}

/// The first member that differs between two answers.
fn members(a: &Value, b: &Value) -> Option<(String, String, String)> {
    let all: Vec<&String> = [a, b].into_iter().filter_map(Value::as_object).flat_map(|map| map.keys()).collect();
    let differs = |name: &&&String| a.get(name.as_str()) != b.get(name.as_str());
    let name = all.iter().filter(differs).min();
    let text = |value: &Value| match name {
        Some(name) => value.get(name.as_str()).map_or("nothing".to_owned(), canonical_json),
        None => canonical_json(value),
    };
    Some((name.map_or("all".to_owned(), |name| format!("`{name}`")), text(a), text(b)))
}
