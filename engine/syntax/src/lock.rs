//! The lock file `lockgate.lock`: its text to data and back.
//!
//! ```toml
//! schema = 1
//!
//! [[plugin]]
//! source = "path:scan.wasm"
//! digest = "sha256:..."
//! name = "scan"
//! version = "1.0.0"
//! contract = "0.1.0"
//! world = "stage"
//! imports = ["artifacts", "log"]
//! effects = []
//! ```
//!
//! Printed, plugins are sorted by source, lists by their texts, keys stand in this order: the same lock is the same bytes. A lock that
//! cannot be read in full is not used at all: half of a lock would be a lock with holes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use lockgate_model::Digest;
use lockgate_model::lock::{Lock, Locked, MAX_LOCK};
use lockgate_model::manifest::World;

use crate::not_utf8;
use crate::problem::{Code, Problem, Source, cut};
use crate::report::Problems;
use crate::resolve::structure;
use crate::shape::{Shape, Type, key, needed};
use crate::table::Table;

/// What stands above everything.
const HEADER: &str = "\
# What the plugins of the pipelines beside this file are, and what they ask for. Written by `lockgate plugin lock`: keep it
# under version control, and let that command change it.
";
/// Most plugins of one file.
const MAX_PLUGINS: usize = 2_000;
/// Most imports or effects of one plugin: more than any contract has.
const MAX_ASKED: usize = 200;
/// Longest name and version, in bytes; what plugins say of themselves is cut to this when it is written.
const MAX_TEXT: usize = 200;
/// Longest source: a path, and what stands before it.
const MAX_SOURCE: usize = 4096 + 5;

static LOCK: Shape = Shape {
    name: "the lock file",
    doc: "What the plugins of pipelines are, and what they ask for.",
    groups: &[&[
        needed("schema", Type::Version, "Version of the format: 1."),
        key("plugin", Type::List(&Type::Table(&PLUGIN), MAX_PLUGINS), "The plugins."),
    ]],
    one_of: &[],
};

static PLUGIN: Shape = Shape {
    name: "a locked plugin",
    doc: "One plugin.",
    groups: &[&[
        needed("source", Type::Text(MAX_SOURCE), "where it comes from, as in `std:pack` or `path:scan.wasm`"),
        needed("digest", Type::Text(71), "the component's digest"),
        needed("name", Type::Text(MAX_TEXT), "its name by its manifest"),
        needed("version", Type::Text(MAX_TEXT), "its version by its manifest"),
        needed("contract", Type::Text(MAX_TEXT), "the version of the contract that it is built for"),
        needed(
            "world",
            Type::Word(&["stage", "health-check", "canary-evaluator", "command"]),
            "the world that it exports",
        ),
        needed("imports", Type::List(&Type::Text(MAX_TEXT), MAX_ASKED), "the interfaces that it imports"),
        needed("effects", Type::List(&Type::Text(MAX_TEXT), MAX_ASKED), "the kinds of effects that it asks for"),
    ]],
    one_of: &[],
};

/// Reads a lock file; `name` is what diagnostics call it. Every problem is reported.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Lock, Vec<Problem>> {
    if bytes.len() as u64 > MAX_LOCK {
        let message = format!("`{name}` has {} bytes: at most {} MiB", bytes.len(), MAX_LOCK >> 20);
        return Err(vec![Problem::new(Code::TooLarge, message, Some(AGAIN.to_owned()))]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(vec![not_utf8(&Source::new(name, &String::from_utf8_lossy(bytes)), error)]),
    };
    let source = Source::new(name, text);
    let problems = Problems::new(source.clone());
    if let Some(at) = text.lines().find(|line| line.starts_with("<<<<<<< ")).and_then(|line| text.find(line)) {
        let hint = "take either side whole, then let `lockgate plugin lock` put in what is missing".to_owned();
        problems.report(Code::Conflict, &(at..at + 7), "", "the file holds both sides of a merge", Some(hint));
        return Err(problems.finish());
    }
    let mut lock = Lock::default();
    if let Some(root) = structure(&source, &problems, &LOCK) {
        let root = Table { map: &root, span: 0..0 };
        for table in root.list("plugin").iter().filter_map(Table::of) {
            read(&table, &mut lock, &problems);
        }
    }
    let problems = problems.finish();
    if problems.is_empty() { Ok(lock) } else { Err(problems) }
}

const AGAIN: &str =
    "take the file from version control again, or remove it and write it anew with `lockgate plugin lock`";

/// Reads one plugin. What is missing or of a wrong type was reported before.
fn read(table: &Table<'_>, lock: &mut Lock, problems: &Problems) -> Option<()> {
    let (source, digest) = (table.text("source")?, table.text("digest")?);
    let report = |code, span: &Range<usize>, message: String| {
        problems.report(code, span, "", message, Some(AGAIN.to_owned()));
    };
    if !["std:", "path:", "oci:"].iter().any(|kind| source.text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
    {
        let message =
            format!("`{}` is no source: `std:<name>`, `path:<file>` or `oci:<name>`", cut(source.text.to_owned(), 80));
        report(Code::BadName, &source.span, message);
    }
    let parsed = digest.text.parse::<Digest>();
    if let Err(error) = &parsed {
        report(Code::BadName, &digest.span, format!("failed to {error}"));
    }
    let text = |key| Some(table.text(key)?.text.to_owned());
    let world = table.text("world")?.text;
    let world = [World::Stage, World::HealthCheck, World::CanaryEvaluator, World::Command]
        .into_iter()
        .find(|known| known.name() == world)?;
    let asked = |key| table.texts(key).map(|text| text.text.to_owned()).collect();
    let locked = Locked {
        digest: parsed.ok()?,
        name: text("name")?,
        version: text("version")?,
        contract: text("contract")?,
        world,
        imports: asked("imports"),
        effects: asked("effects"),
    };
    if lock.plugins.insert(source.text.to_owned(), locked).is_some() {
        report(Code::Conflict, &source.span, format!("`{}` is locked twice", cut(source.text.to_owned(), 80)));
    }
    Some(())
}

/// What the lock file can hold of a plugin: texts as it has room for. What is compared with a lock must have gone through this.
#[must_use]
pub fn normal(locked: Locked) -> Locked {
    // As the structural check takes it: no control characters.
    let text = |text: String| {
        let mut text: String = text.chars().filter(|c| !c.is_control()).collect();
        while text.len() > MAX_TEXT {
            text.pop();
        }
        if text.is_empty() { "-".to_owned() } else { text }
    };
    let asked = |names: BTreeSet<String>| names.into_iter().map(text).take(MAX_ASKED).collect();
    Locked {
        name: text(locked.name),
        version: text(locked.version),
        contract: text(locked.contract),
        imports: asked(locked.imports),
        effects: asked(locked.effects),
        ..locked
    }
}

/// The text of a lock.
pub fn print(lock: &Lock) -> String {
    let mut file = format!("{HEADER}schema = 1\n");
    for (source, locked) in &lock.plugins {
        let Locked { digest, name, version, contract, world, imports, effects } = locked;
        let list = |names: &BTreeSet<String>| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        // Writing to a string does not fail.
        let _ = write!(
            file,
            "\n[[plugin]]\nsource = {}\ndigest = \"{digest}\"\nname = {}\nversion = {}\ncontract = {}\nworld = \"{}\"\n\
             imports = [{}]\neffects = [{}]\n",
            quoted(source),
            quoted(name),
            quoted(version),
            quoted(contract),
            world.name(),
            list(imports),
            list(effects)
        );
    }
    file
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
