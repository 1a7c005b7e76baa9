//! Compares repeated executions of a node, and names the first thing that differs as exactly as it can be had cheaply.

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, EntryKind, MAX_DEPTH};
use lockgate_model::outcome::Completion;

use crate::ports::Blobs;

/// Blobs up to this size are compared byte by byte: 16 MiB, as two of them stand in memory at once.
const MAX_COMPARED: u64 = 16 << 20;

/// Whether two executions gave the same: failure, outputs, findings, log, verdict and fuel. Effects are answers of the world,
/// memory and backtraces facts for people.
pub(crate) fn same(a: &Completion, b: &Completion) -> bool {
    a.failure == b.failure
        && a.outputs == b.outputs
        && a.findings == b.findings
        && a.log == b.log
        && a.verdict == b.verdict
        && a.state == b.state
        && a.fuel == b.fuel
}

/// What differs first between two executions that are not the same, for people. May block.
pub(crate) fn difference(a: &Completion, b: &Completion, blobs: &dyn Blobs) -> String {
    if a.failure != b.failure {
        let text = |c: &Completion| {
            c.failure.as_ref().map_or("succeeded".to_owned(), |f| format!("failed ({}: {})", f.kind.name(), f.message))
        };
        return format!("one {}, one {}", text(a), text(b));
    }
    let names = a.outputs.keys().chain(b.outputs.keys());
    if let Some(name) = names.filter(|name| a.outputs.get(*name) != b.outputs.get(*name)).min() {
        return match (a.outputs.get(name), b.outputs.get(name)) {
            (Some(a), Some(b)) => format!("output `{name}` differs{}", artifacts(a, b, blobs)),
            _ => format!("output `{name}` was made only once"),
        };
    }
    for (what, a, b) in [("findings differ", &a.findings, &b.findings), ("the log differs", &a.log, &b.log)] {
        match (a, b) {
            (Some(a), Some(b)) if a != b => return format!("{what}{}", artifacts(a, b, blobs)),
            (Some(_), None) | (None, Some(_)) => return format!("{what}: one is empty"),
            _ => {}
        }
    }
    if a.verdict != b.verdict {
        let word =
            |c: &Completion| c.verdict.as_ref().map_or("none".to_owned(), |verdict| format!("`{}`", verdict.word));
        return match (word(a), word(b)) {
            (a, b) if a == b => format!("the verdict {a} has other reasons or figures"),
            (a, b) => format!("the verdict differs: {a} and {b}"),
        };
    }
    if a.state != b.state {
        return "the evaluator's state differs".to_owned();
    }
    let fuel = |c: &Completion| c.fuel.map_or("none".to_owned(), |fuel| fuel.to_string());
    format!("the fuel differs: {} and {}", fuel(a), fuel(b))
}

fn artifacts(a: &ArtifactRef, b: &ArtifactRef, blobs: &dyn Blobs) -> String {
    match (a.kind, b.kind) {
        (ArtifactKind::Blob, ArtifactKind::Blob) => bytes(a.digest, a.size, b.digest, b.size, blobs),
        (ArtifactKind::Tree, ArtifactKind::Tree) => trees(a.digest, b.digest, blobs),
        _ => format!(": a {} and a {}", a.kind.name(), b.kind.name()),
    }
}

fn bytes(a: Digest, size_a: u64, b: Digest, size_b: u64, blobs: &dyn Blobs) -> String {
    let sizes = if size_a == size_b { format!("{size_a} bytes") } else { format!("{size_a} and {size_b} bytes") };
    if size_a.max(size_b) > MAX_COMPARED {
        return format!(" ({sizes})");
    }
    match (blobs.read(a, MAX_COMPARED), blobs.read(b, MAX_COMPARED)) {
        (Ok(a), Ok(b)) => {
            let offset = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
            format!(" from byte {offset} on ({sizes})")
        }
        // The difference is certain; where it is, is a courtesy.
        _ => format!(" ({sizes})"),
    }
}

/// Goes down to the first entry that differs: one directory of each tree a level.
fn trees(mut a: Digest, mut b: Digest, blobs: &dyn Blobs) -> String {
    let mut path = String::new();
    for _ in 0..MAX_DEPTH {
        let (Ok(left), Ok(right)) = (blobs.directory(a), blobs.directory(b)) else { break };
        let Some((name, left, right)) = first_difference(left.entries(), right.entries()) else { break };
        if !path.is_empty() {
            path.push('/');
        }
        path += name;
        match (left, right) {
            (Some(left), Some(right)) if left.kind == EntryKind::Directory && right.kind == EntryKind::Directory => {
                (a, b) = (left.digest, right.digest);
            }
            (Some(left), Some(right)) if left.kind == right.kind => {
                return format!(": `{path}`{}", bytes(left.digest, left.size, right.digest, right.size, blobs));
            }
            (Some(_), Some(_)) => return format!(": `{path}` has another kind or mode"),
            _ => return format!(": `{path}` is there only once"),
        }
    }
    if path.is_empty() { String::new() } else { format!(" below `{path}`") }
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
