//! What a case expects: the keys of `expect` in its file, and the golden files of its folder `expected`.
//!
//! `expected/outputs/<name>` is an output as it must be, a file or a directory; what follows the first dot of its name does not count.
//! `expected/result.json` is a [`Result`]. What neither of them has is not compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockgate_model::PortName;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind};
use lockgate_model::outcome::{Finding, Verdict};
use lockgate_store::Store;
use lockgate_syntax::case::Expect;
use serde::{Deserialize, Serialize};

use super::execute::{End, take};
use super::project::ports;
use super::{Mismatch, text};
use crate::difference::Files;
use crate::exit::{CliError, Exit};

/// Largest golden result in bytes.
const MAX_RESULT: u64 = 64 << 20;
/// Largest output that is written as a golden file by itself, in bytes; of a larger one, and of one that is no text, the digest is kept.
const MAX_GOLDEN: u64 = 64 << 10;
/// Most entries of a tree that is written so.
const MAX_ENTRIES: usize = 100;
/// Most files of a tree whose difference is shown.
const MAX_FILES: usize = 5;
/// Largest file whose difference is shown, in bytes.
const MAX_SHOWN: u64 = 64 << 20;

/// The golden result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Result {
    /// `succeeded`, `failed` or `errored`.
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// What an evaluator returned for the next look: text as it is, else digest and size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Finding>,
    /// Outputs that have no golden file, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<PortName, ArtifactRef>,
    /// The lines of the log, where they are to be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log: Option<Vec<String>>,
    /// Of several looks those before the last, whose result this is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Result>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failed {
    kind: String,
    message: String,
}

/// The golden files of a case.
pub(super) struct Golden {
    dir: PathBuf,
    result: Option<Result>,
    outputs: BTreeMap<PortName, PathBuf>,
}

type Failure<'a> = Option<&'a (String, String)>;
/// How the looks of a case ended.
type Ends = [(End, Option<(String, String)>)];

/// Holds a call that was made against the keys of `expect`.
pub(super) fn expected(expect: &Expect, end: &End, failure: Failure<'_>) -> Vec<Mismatch> {
    let mut wrong = ended(expect, end.status.name(), failure);
    if let Some(word) = &expect.verdict {
        let found = end.verdict.as_ref().map(|verdict| verdict.word.as_str());
        if found != Some(word) && wrong.is_empty() {
            let found = found.map_or("none".to_owned(), |found| format!("`{found}`"));
            wrong.push(Mismatch::new("verdict", format!("expected `{word}`, found {found}\n")));
        }
    }
    if let Some(max) = expect.max_fuel {
        match end.fuel {
            Some(fuel) if fuel > max.0 => {
                wrong.push(Mismatch::new("fuel", format!("at most {} expected, it took {fuel}\n", max.0)));
            }
            // How much a call takes that does not return is not known exactly.
            _ => {}
        }
    }
    wrong
}

/// Holds a call that was not made against the keys of `expect`.
pub(super) fn expected_of_refusal(expect: &Expect, failure: Failure<'_>) -> Vec<Mismatch> {
    match &expect.kind {
        Some(_) => ended(expect, "failed", failure),
        // Nobody who expects the plugin to fail means that it is not even called.
        None => {
            let (kind, message) = failure.map(|(kind, message)| (kind.as_str(), message.as_str())).unwrap_or_default();
            vec![Mismatch::new("status", format!("the plugin was not called: {message} ({kind})\n"))]
        }
    }
}

fn ended(expect: &Expect, status: &str, failure: Failure<'_>) -> Vec<Mismatch> {
    let mut wrong = Vec::new();
    let found = || failure.map_or(String::new(), |(kind, message)| format!(" ({kind}: {message})"));
    if let Some(wanted) = &expect.status
        && wanted != status
    {
        wrong.push(Mismatch::new("status", format!("expected `{wanted}`, found `{status}`{}\n", found())));
        return wrong;
    }
    let Some((kind, message)) = failure else { return wrong };
    if let Some(wanted) = &expect.kind
        && wanted != kind
    {
        wrong.push(Mismatch::new("kind of failure", format!("expected `{wanted}`, found `{kind}` ({message})\n")));
    }
    if let Some(wanted) = &expect.message
        && !message.contains(wanted.as_str())
    {
        wrong.push(Mismatch::new("message", format!("expected one with `{wanted}`, found `{message}`\n")));
    }
    wrong
}

impl Golden {
    /// Reads the golden files of a case's folder.
    pub(super) fn read(case: &Path) -> std::result::Result<Self, CliError> {
        let dir = case.join("expected");
        let path = dir.join("result.json");
        let failed = |error: anyhow::Error| {
            CliError::new(Exit::Wrong, error.context(format!("read the golden result `{}`", path.display())))
        };
        let result = match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error.into())),
            Ok(meta) if meta.len() > MAX_RESULT => return Err(failed(anyhow::anyhow!("it is larger than 64 MiB"))),
            Ok(_) => {
                let text = fs::read_to_string(&path).map_err(|error| failed(error.into()))?;
                let read = serde_json::from_str(&text)
                    .map_err(|error| failed(error.into()).hint("`lockgate plugin test --update` writes it anew"))?;
                Some(read)
            }
        };
        Ok(Self { result, outputs: ports(&dir.join("outputs"))?, dir })
    }

    /// What came of a call as its golden result has it: the log and outputs only where the golden one has them.
    fn result(&self, end: &End, failure: Failure<'_>, outputs: BTreeMap<PortName, ArtifactRef>) -> Result {
        let has_log = self.result.as_ref().is_some_and(|result| result.log.is_some());
        Result {
            status: end.status.name().to_owned(),
            failure: failure.map(|(kind, message)| Failed { kind: kind.clone(), message: message.clone() }),
            verdict: end.verdict.clone(),
            state: end.state.clone(),
            findings: end.findings.clone(),
            outputs,
            log: has_log.then(|| end.log.clone()),
            earlier: Vec::new(),
        }
    }

    /// The golden results of all looks in one; of the earlier ones all outputs stand in it.
    fn results(
        &self,
        end: &End,
        failure: Failure<'_>,
        before: &Ends,
        outputs: BTreeMap<PortName, ArtifactRef>,
    ) -> Result {
        let earlier = before.iter().map(|(end, failure)| self.result(end, failure.as_ref(), end.outputs.clone()));
        Result { earlier: earlier.collect(), ..self.result(end, failure, outputs) }
    }

    /// Holds a call against the golden files.
    pub(super) fn compare(
        &self,
        store: &Store,
        expect: &Expect,
        ends: &Ends,
    ) -> std::result::Result<Vec<Mismatch>, CliError> {
        let mut wrong = Vec::new();
        let Some(((end, failure), before)) = ends.split_last() else { return Ok(wrong) };
        let failure = failure.as_ref();
        match &self.result {
            Some(golden) => {
                let pinned = golden.outputs.keys().filter_map(|name| Some((name.clone(), *end.outputs.get(name)?)));
                let found = self.results(end, failure, before, pinned.collect());
                if *golden != found {
                    let why = text::difference(pretty(golden).as_bytes(), pretty(&found).as_bytes());
                    wrong.push(Mismatch::new("expected/result.json", why));
                }
            }
            None => wrong.extend(unsaid(expect, end, failure)),
        }
        for (name, path) in &self.outputs {
            let what = format!("output {name}");
            match end.outputs.get(name) {
                None => wrong.push(Mismatch::new(what, format!("`{}` has it, the plugin made none\n", path.display()))),
                Some(found) => {
                    let golden = take(store, path)?;
                    if golden != *found {
                        wrong.push(Mismatch::new(what, contents(store, &golden, found)?));
                    }
                }
            }
        }
        Ok(wrong)
    }

    /// Makes the golden files say what came of a call; gives those that were written or removed.
    pub(super) fn update(&self, store: &Store, ends: &Ends) -> std::result::Result<Vec<String>, CliError> {
        let mut changed = Vec::new();
        let Some(((end, failure), before)) = ends.split_last() else { return Ok(changed) };
        let failure = failure.as_ref();
        let failed = |error: anyhow::Error| {
            let context = format!("write golden files to `{}`", self.dir.display());
            CliError::new(Exit::Infrastructure, error.context(context))
        };
        let first = self.result.is_none() && self.outputs.is_empty();
        let folder = self.dir.join("outputs");
        let mut pinned = BTreeMap::new();
        for (name, found) in &end.outputs {
            let path = match self.outputs.get(name) {
                Some(path) if take(store, path)? == *found => continue,
                Some(path) => path.clone(),
                None if first && is_small_text(store, found) => folder.join(name.as_str()),
                None => {
                    pinned.insert(name.clone(), *found);
                    continue;
                }
            };
            fs::create_dir_all(&folder).map_err(|error| failed(error.into()))?;
            let root = folder.canonicalize().map_err(|error| failed(error.into()))?;
            let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
            remove_other_kind(&path, found.kind).map_err(|error| failed(error.into()))?;
            store.export(found, &root, &file, &[]).map_err(|error| failed(error.into()))?;
            changed.push(format!("expected/outputs/{file}"));
        }
        for (name, path) in self.outputs.iter().filter(|(name, _)| !end.outputs.contains_key(*name)) {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(|error| failed(error.into()))?;
            changed.push(format!("expected/outputs/{name} (removed)"));
        }
        let result = self.results(end, failure, before, pinned);
        if self.result.as_ref() != Some(&result) {
            let path = self.dir.join("result.json");
            crate::commands::put(&path, pretty(&result).as_bytes()).map_err(|error| failed(error.into()))?;
            changed.push("expected/result.json".to_owned());
        }
        Ok(changed)
    }
}

/// A file cannot take the place of a directory, nor the other way round.
fn remove_other_kind(path: &Path, kind: ArtifactKind) -> std::io::Result<()> {
    match (path.symlink_metadata(), kind) {
        (Ok(meta), ArtifactKind::Blob) if meta.is_dir() => fs::remove_dir_all(path),
        (Ok(meta), ArtifactKind::Tree) if !meta.is_dir() => fs::remove_file(path),
        _ => Ok(()),
    }
}

/// What a case without a golden result expects where it says nothing: a call that succeeds, and a good verdict.
fn unsaid(expect: &Expect, end: &End, failure: Failure<'_>) -> Option<Mismatch> {
    if expect.status.is_none()
        && let Some((kind, message)) = failure
    {
        let status = end.status.name();
        return Some(Mismatch::new("status", format!("expected `succeeded`, found `{status}` ({kind}: {message})\n")));
    }
    let bad = end.verdict.as_ref().filter(|verdict| expect.verdict.is_none() && !verdict.is_good())?;
    let reason = bad.reasons.first().map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(Mismatch::new("verdict", format!("expected a good one, found `{}`{reason}\n", bad.word)))
}

fn pretty(result: &Result) -> String {
    // Neither holds a map with keys that are not text, the one thing that JSON cannot have.
    serde_json::to_string_pretty(result).unwrap_or_default() + "\n"
}

/// How an output differs from its golden file.
fn contents(store: &Store, golden: &ArtifactRef, found: &ArtifactRef) -> std::result::Result<String, CliError> {
    match (golden.kind, found.kind) {
        (ArtifactKind::Blob, ArtifactKind::Blob) => blobs(store, golden, found),
        (ArtifactKind::Tree, ArtifactKind::Tree) => trees(store, golden, found),
        (golden, found) => Ok(format!("expected a {}, found a {}\n", golden.name(), found.name())),
    }
}

fn blobs(store: &Store, golden: &ArtifactRef, found: &ArtifactRef) -> std::result::Result<String, CliError> {
    if golden.size.max(found.size) > MAX_SHOWN {
        return Ok(format!(
            "expected {} of {} bytes, found {} of {}\n",
            golden.digest, golden.size, found.digest, found.size
        ));
    }
    let (golden, found) = (store.read_blob(&golden.digest, MAX_SHOWN)?, store.read_blob(&found.digest, MAX_SHOWN)?);
    Ok(text::difference(&golden, &found))
}

fn trees(store: &Store, golden: &ArtifactRef, found: &ArtifactRef) -> std::result::Result<String, CliError> {
    let files = Files::between(store, golden.digest, found.digest);
    let mut why = String::new();
    let list = |what: &str, paths: &[String]| {
        let shown: Vec<_> = paths.iter().take(20).map(|path| format!("`{path}`")).collect();
        let more = paths.len().saturating_sub(20);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if paths.is_empty() { String::new() } else { format!("{what} {}{more}\n", shown.join(", ")) }
    };
    why += &list("missing:", &files.removed);
    why += &list("not expected:", &files.added);
    why += &list("differs:", &files.changed);
    if let Some(error) = files.error {
        why += &format!("the trees cannot be compared: {error}\n");
    }
    for path in files.changed.iter().take(MAX_FILES) {
        if let (Some(golden), Some(found)) = (file(store, golden, path), file(store, found, path)) {
            why += &format!("`{path}`:\n{}", blobs(store, &golden, &found)?);
        }
    }
    Ok(why)
}

/// The file at a path of a tree.
fn file(store: &Store, tree: &ArtifactRef, path: &str) -> Option<ArtifactRef> {
    let mut directory = store.directory(&tree.digest).ok()?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let entry = directory.entries().iter().find(|entry| entry.name == part)?.clone();
        match (entry.kind, parts.peek()) {
            (EntryKind::Directory, Some(_)) => directory = store.directory(&entry.digest).ok()?,
            (EntryKind::File | EntryKind::Executable, None) => {
                return Some(ArtifactRef { kind: ArtifactKind::Blob, digest: entry.digest, size: entry.size });
            }
            _ => return None,
        }
    }
    None
}

/// Whether people can read an output, and would.
fn is_small_text(store: &Store, artifact: &ArtifactRef) -> bool {
    if artifact.size > MAX_GOLDEN {
        return false;
    }
    match artifact.kind {
        ArtifactKind::Blob => {
            store.read_blob(&artifact.digest, MAX_GOLDEN).is_ok_and(|bytes| text::as_text(&bytes).is_some())
        }
        ArtifactKind::Tree => {
            let mut left = MAX_ENTRIES;
            is_small_tree(store, &artifact.digest, &mut left)
        }
    }
}

fn is_small_tree(store: &Store, digest: &lockgate_model::Digest, left: &mut usize) -> bool {
    let Ok(directory) = store.directory(digest) else { return false };
    // Version control keeps no empty directory.
    !directory.entries().is_empty()
        && directory.entries().iter().all(|entry| {
            *left = left.saturating_sub(1);
            let blob = |kind| ArtifactRef { kind, digest: entry.digest, size: entry.size };
            *left > 0
                && match entry.kind {
                    EntryKind::Directory => is_small_tree(store, &entry.digest, left),
                    EntryKind::File | EntryKind::Executable => is_small_text(store, &blob(ArtifactKind::Blob)),
                    EntryKind::Symlink => true,
                }
        })
}
