//! `std:diff`: says how two trees or texts differ, as a list and as a patch.
//!
//! In reading order: `patch` (one file's differences in the form of git), and here the plugin. Files are compared by the digests that
//! the engine knows; only what differs is read.

mod patch;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use serde::Serialize;

use crate::patch::{Patch, Side};

/// What is compared, and what a difference means.
#[config]
#[serde(default)]
pub struct Config {
    /// Patterns of paths that are compared; empty: all.
    pub include: Vec<String>,
    /// Patterns of paths that are left out.
    pub exclude: Vec<String>,
    /// Lines around a difference.
    #[schemars(range(max = 100))]
    pub context: u32,
    /// The largest file whose lines are compared, in bytes; larger ones are said to differ.
    #[schemars(range(max = 16777216))]
    pub max_size: u64,
    /// The longest patch in bytes; differences behind it are listed only.
    pub max_patch: u64,
    /// What the inputs have to be.
    pub expect: Expect,
}

impl Default for Config {
    fn default() -> Self {
        let (include, exclude, expect) = (Vec::new(), Vec::new(), Expect::Anything);
        Self { include, exclude, context: 3, max_size: 1 << 20, max_patch: 8 << 20, expect }
    }
}

/// What the inputs have to be.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Equal or different.
    Anything,
    /// Equal, else the stage fails.
    Equal,
    /// Different, else the stage fails.
    Different,
}

/// The plugin.
pub struct Diff;

/// Findings at most: each is a file that differs.
const FINDINGS: usize = 1_000;
/// Files in the list at most.
const LISTED: usize = 100_000;

/// What `summary` holds.
#[derive(Default, Serialize)]
struct Summary {
    equal: bool,
    added: u64,
    removed: u64,
    changed: u64,
    lines_added: u64,
    lines_removed: u64,
    /// The patch does not hold all of it.
    cut: bool,
    files: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// `content`, `mode`, `kind`: what changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    what: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Lines, where they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines_added: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines_removed: Option<u64>,
}

impl Stage for Diff {
    type Config = Config;
    const ABOUT: About = about!("Says how two trees or texts differ.")
        .inputs(&[Port::any("before", "what there was"), Port::any("after", "what there is")])
        .outputs(&[
            Port::blob("patch", "the differences, as `git apply` takes them"),
            Port::blob("summary", "the differences as JSON: counts and files"),
        ])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let (before, after) = (input("before")?, input("after")?);
        ensure!(before.kind == after.kind, "one input is a tree and the other a blob: give two of a kind");
        let mut report = Report {
            patch: Patch::new(output("patch").blob()?, config.context, config.max_patch),
            config,
            summary: Summary::default(),
            findings: Findings::new(),
        };
        match before.kind {
            Kind::Blob if before.digest != after.digest => {
                let read = |input: &Input, config: &Config| -> Result<Option<Vec<u8>>> {
                    if input.size > config.max_size { Ok(None) } else { input.read().map(Some) }
                };
                let both = (read(&before, &report.config)?, read(&after, &report.config)?);
                let side = |bytes| Some(Side { mode: "100644", bytes });
                let names = (before.digest, after.digest);
                report.differ("blob", side(both.0), side(both.1), vec!["content"], names)?;
            }
            Kind::Blob => {}
            Kind::Tree => trees(&before.tree()?, &after.tree()?, &mut report)?,
        }
        report.end()
    }
}

export_stage!(Diff);

/// What was found so far.
struct Report {
    config: Config,
    patch: Patch,
    summary: Summary,
    findings: Findings,
}

/// An entry without its path: its mode as git writes it, and what names its content.
fn mode(kind: &EntryKind) -> (&'static str, &str) {
    match kind {
        EntryKind::File { executable: false, digest, .. } => ("100644", digest),
        EntryKind::File { executable: true, digest, .. } => ("100755", digest),
        EntryKind::Symlink { target } => ("120000", target),
        EntryKind::Directory => ("040000", ""),
    }
}

/// Walks both trees at once: their entries are sorted.
fn trees(before: &Tree, after: &Tree, report: &mut Report) -> Result<()> {
    let (mut olds, mut news) = (before.entries().peekable(), after.entries().peekable());
    // Directories of one side alone, in which nothing was seen yet: what is in them says it all, unless nothing is. What is in `a`
    // need not come next: `a-b` stands between `a` and `a/b`.
    let mut bare: BTreeMap<String, [Option<Entry>; 2]> = BTreeMap::new();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.as_bytes().cmp(new.path.as_bytes()),
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        let Some(path) = old.as_ref().or(new.as_ref()).map(|entry| entry.path.clone()) else { break };
        if !bare.is_empty() {
            for (slash, _) in path.match_indices('/') {
                bare.remove(&path[..slash]);
            }
        }
        if old == new || !report.is_chosen(&path) {
            continue;
        }
        let directory = |side: &Option<Entry>| side.as_ref().is_some_and(|entry| entry.kind == EntryKind::Directory);
        if old.is_none() && directory(&new) || new.is_none() && directory(&old) {
            bare.insert(path, [old, new]);
            continue;
        }
        entry(&path, old.map(|old| (before, old)), new.map(|new| (after, new)), report)
            .with_context(|| format!("compare `{path}`"))?;
    }
    for (path, [old, new]) in bare {
        entry(&path, old.map(|old| (before, old)), new.map(|new| (after, new)), report)?;
    }
    Ok(())
}

fn entry(path: &str, old: Option<(&Tree, Entry)>, new: Option<(&Tree, Entry)>, report: &mut Report) -> Result<()> {
    let most = report.config.max_size;
    let side = |at: &Option<(&Tree, Entry)>| -> Result<(Option<Side>, String)> {
        let Some((tree, entry)) = at else { return Ok((None, String::new())) };
        let (mode, name) = mode(&entry.kind);
        let bytes = match &entry.kind {
            EntryKind::File { size, .. } if *size > most => None,
            EntryKind::File { .. } => Some(tree.read(path)?),
            EntryKind::Symlink { target } => Some(target.clone().into_bytes()),
            // git knows no directories: an empty one is listed, and no part of the patch.
            EntryKind::Directory => return Ok((None, name.to_owned())),
        };
        Ok((Some(Side { mode, bytes }), name.to_owned()))
    };
    let kinds = [&old, &new].map(|side| side.as_ref().map(|(_, entry)| mode(&entry.kind)));
    let mut what = Vec::new();
    if let [Some(old), Some(new)] = kinds {
        let kind = |mode: &str| mode[..3].to_owned();
        if kind(old.0) != kind(new.0) {
            what.push("kind");
        } else if old.0 != new.0 {
            what.push("mode");
        }
        if old.1 != new.1 {
            what.push("content");
        }
    }
    let same_content = what == ["mode"];
    let ((old, before), (new, after)) = if same_content {
        let bare = |side: &Option<(&Tree, Entry)>| {
            side.as_ref().map(|(_, entry)| {
                (Side { mode: mode(&entry.kind).0, bytes: Some(Vec::new()) }, mode(&entry.kind).1.to_owned())
            })
        };
        let split =
            |side: Option<(Side, String)>| side.map_or((None, String::new()), |(side, name)| (Some(side), name));
        (split(bare(&old)), split(bare(&new)))
    } else {
        (side(&old)?, side(&new)?)
    };
    let is = [kinds[0].is_some(), kinds[1].is_some()];
    report.note(path, is, old, new, what, (before, after))
}

impl Report {
    fn is_chosen(&self, path: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fast_glob::glob_match(pattern, path));
        (self.config.include.is_empty() || any(&self.config.include)) && !any(&self.config.exclude)
    }

    fn differ(
        &mut self,
        path: &str,
        old: Option<Side>,
        new: Option<Side>,
        what: Vec<&'static str>,
        names: (String, String),
    ) -> Result<()> {
        let is = [old.is_some(), new.is_some()];
        self.note(path, is, old, new, what, names)
    }

    /// Lists a difference, and writes it.
    fn note(
        &mut self,
        path: &str,
        is: [bool; 2],
        old: Option<Side>,
        new: Option<Side>,
        what: Vec<&'static str>,
        names: (String, String),
    ) -> Result<()> {
        let lines = self.patch.add(path, old, new)?;
        let change = match is {
            [false, _] => "added",
            [true, false] => "removed",
            [true, true] => "changed",
        };
        let summary = &mut self.summary;
        match change {
            "added" => summary.added += 1,
            "removed" => summary.removed += 1,
            _ => summary.changed += 1,
        }
        let (added, removed) = lines.unwrap_or_default();
        summary.lines_added += added;
        summary.lines_removed += removed;
        if self.findings.len() < FINDINGS {
            let how = match (&*what, lines) {
                ([], _) | (_, None) => String::new(),
                (["mode"], _) => " (mode)".to_owned(),
                (_, Some((added, removed))) => format!(" (+{added} -{removed} lines)"),
            };
            self.findings.push(Finding::note(format!("{change}{how}")).rule(change).path(path));
        }
        if summary.files.len() < LISTED {
            let name = |name: String| (!name.is_empty()).then_some(name);
            summary.files.push(Listed {
                path: path.to_owned(),
                change,
                what,
                before: name(names.0),
                after: name(names.1),
                lines_added: lines.map(|(added, _)| added),
                lines_removed: lines.map(|(_, removed)| removed),
            });
        }
        Ok(())
    }

    fn end(mut self) -> Result<Findings> {
        self.summary.cut = self.patch.finish()?;
        let Summary { added, removed, changed, cut, .. } = self.summary;
        let count = added + removed + changed;
        self.summary.equal = count == 0;
        let mut json = serde_json::to_vec_pretty(&self.summary)?;
        json.push(b'\n');
        output("summary").write(json)?;
        info!("{added} added, {removed} removed, {changed} changed");
        if cut {
            warn!("the patch is cut off at {} bytes: `max_patch` permits more", self.config.max_patch);
        }
        match self.config.expect {
            Expect::Equal if count > 0 => {
                Err(self.findings.fail(format!("they differ: {added} added, {removed} removed, {changed} changed")))
            }
            Expect::Different if count == 0 => Err(Error::new("they are equal, and ought to differ")),
            _ => Ok(self.findings),
        }
    }
}

#[cfg(test)]
mod tests;
