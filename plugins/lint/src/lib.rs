//! `std:lint`: finds what is wrong in TOML, JSON and YAML files, and where they are not what a JSON Schema says.
//!
//! In reading order: `schema` (JSON Schema over documents), and here the plugin. The readers are those of `lockgate-documents`.

mod schema;

use lockgate_documents::{Document, Format, Limits, Problem, read};
use lockgate_sdk::prelude::*;

use crate::schema::Schema;

/// What is checked, and how strictly.
#[config]
#[serde(default)]
pub struct Config {
    /// Patterns of paths that are left out, such as `tests/broken/**`.
    pub exclude: Vec<String>,
    /// Files that must be what a schema says.
    pub schemas: Vec<SchemaRule>,
    /// The deepest nesting of tables, arrays and objects.
    #[schemars(range(min = 1, max = 100))]
    pub max_depth: u32,
    /// The largest file in bytes; a larger one is an error and not read.
    #[schemars(range(min = 1, max = 8388608))]
    pub max_size: u64,
    /// Whether an error fails the stage; otherwise it only reports.
    pub fail: bool,
}

impl Default for Config {
    fn default() -> Self {
        // A document takes about ten times its text: 2 MiB stay within the 64 MiB of a node.
        Self { exclude: Vec::new(), schemas: Vec::new(), max_depth: 64, max_size: 2 << 20, fail: true }
    }
}

/// Files and what they must be.
#[config]
pub struct SchemaRule {
    /// Patterns of paths, such as `deploy/**/*.yaml`.
    pub files: Vec<String>,
    /// The schema: a path inside `src`, or `input:<name>`, an input that is a blob. JSON, or YAML or TOML by its extension.
    pub schema: String,
}

/// The most findings that one file may give: a file of the wrong kind would drown all others.
const PER_FILE: usize = 100;

/// The most findings in all, a tenth below what a node may have.
const IN_ALL: usize = 9_000;

/// The plugin.
pub struct Lint;

impl Stage for Lint {
    type Config = Config;
    const ABOUT: About = about!("Finds what is wrong in TOML, JSON and YAML files.")
        .inputs(&[Port::tree("src", "where the files are; others are left alone")])
        .open_inputs(PortKind::Blob)
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let limits = Limits { depth: config.max_depth.clamp(1, 100) as usize };
        let tree = input("src")?.tree()?;
        let schemas = schemas(&config.schemas, &tree, limits)?;
        let (mut findings, mut count) = (Findings::new(), 0);
        for file in tree.files() {
            let Some(format) = Format::of(&file.path) else { continue };
            if matches(&config.exclude, &file.path) {
                continue;
            }
            count += 1;
            if file.size() > config.max_size.min(lockgate_sdk::artifact::MAX_WHOLE) {
                findings
                    .push(Finding::error(format!("{} bytes are too many", file.size())).rule("size").path(&file.path));
                continue;
            }
            let applied: Vec<&Schema> =
                schemas.iter().filter(|(rule, _)| matches(&rule.files, &file.path)).map(|(_, schema)| schema).collect();
            let bytes = tree.read(&file.path)?;
            let mut problems = check(&bytes, format, limits, &applied);
            let more = problems.len().saturating_sub(PER_FILE);
            problems.truncate(PER_FILE);
            let text = String::from_utf8_lossy(&bytes);
            findings.extend(problems.into_iter().map(|problem| problem.finding(&file.path, &text)));
            if more > 0 {
                findings.push(Finding::error(format!("and {more} more")).path(&file.path));
            }
            if findings.len() > IN_ALL {
                findings.push(
                    Finding::error("too many findings: the files after this one were not looked at").path(&file.path),
                );
                break;
            }
        }
        info!("looked at {count} files");
        match findings.count(Severity::Error) {
            0 => Ok(findings),
            _ if !config.fail => Ok(findings),
            1 => Err(findings.fail("1 error")),
            errors => Err(findings.fail(format!("{errors} errors"))),
        }
    }
}

export_stage!(Lint);

/// Everything wrong with one file.
fn check(bytes: &[u8], format: Format, limits: Limits, schemas: &[&Schema]) -> Vec<Problem> {
    let (documents, mut problems) = read::read(bytes, format, limits);
    if problems.is_empty() {
        for document in &documents {
            schemas.iter().for_each(|schema| schema.check(document, &mut problems));
        }
    }
    problems
}

fn matches(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| fast_glob::glob_match(pattern, path))
}

/// Reads all schemas.
fn schemas<'a>(rules: &'a [SchemaRule], tree: &Tree, limits: Limits) -> Result<Vec<(&'a SchemaRule, Schema)>> {
    let read = |rule: &'a SchemaRule| {
        let (bytes, format) = match rule.schema.strip_prefix("input:") {
            Some(name) => (input(name)?.read()?, Format::Json),
            None => (tree.read(&rule.schema)?, Format::of(&rule.schema).unwrap_or(Format::Json)),
        };
        let (mut documents, problems) = read::read(&bytes, format, limits);
        if let Some(problem) = problems.first() {
            bail!("the schema `{}` is not well-formed: {}", rule.schema, problem.message);
        }
        let document = documents.pop().unwrap_or(Document::NOTHING);
        Ok((rule, Schema::new(document).with_context(|| format!("the schema `{}` cannot be used", rule.schema))?))
    };
    rules.iter().map(read).collect()
}

#[cfg(test)]
mod tests;
