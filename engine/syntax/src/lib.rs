//! TOML text to model: every diagnostic that a user can get about a pipeline file, and the JSON Schema of the format.
//!
//! What this crate never does: no I/O, no environment, no clock; what it needs of them comes in by [`Inputs`]. A file, a
//! parameter or a plugin's manifest may hold anything: the answer is a [`Problem`], never a panic. All problems of a file are
//! reported at once, up to [`problem::MAX_PROBLEMS`]. Modules in reading order: `problem` and `report` (what is said),
//! `shape` (the format), `pieces` (a large file's text), `check` and `table` (a file's structure), `params`, `plugins`, `matrix`, `substitute`, `references`,
//! `lexer` and `expr`, `fields`, `gates`, `commands`, `nodes`, `exports` (its meaning), `resolve` (all of it in order), `spans`, `config` and
//! `manifests` (what plugins say to it), `policy` (what operators say to it), `schema` (what editors get), `lock` (the lock file),
//! `case` (the tests of plugins), `contract` (what plugins take and give, from one version to the next).

pub mod case;
mod check;
mod commands;
mod config;
pub mod contract;
mod exports;
mod expr;
mod fields;
mod gates;
mod grants;
mod lexer;
pub mod lock;
mod manifests;
mod matrix;
mod nodes;
mod params;
mod pieces;
mod plugins;
pub mod policy;
pub mod problem;
mod references;
mod report;
mod resolve;
mod schema;
mod shape;
mod spans;
mod substitute;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::graph::Graph;
use lockgate_model::manifest::Manifest;
use lockgate_model::pipeline::{GitFacts, InputSource, MAX_FILE, Pipeline, PluginSource, PluginTerms};
use lockgate_model::{NodeId, PluginAlias};

use crate::problem::Source;
use crate::resolve::Resolved;

pub use problem::{Code, Place, Problem};
pub use report::nearest;
pub use schema::{case_schema, json_schema, policy_schema};

/// What a file's meaning depends on besides its text.
pub struct Inputs<'a> {
    /// Values from `--param`, by name.
    pub params: &'a BTreeMap<String, String>,
    /// Reads a variable of the environment; asked only for names that a node's `env` lists.
    pub env: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// Git facts of the root; asked at most once, and only if the file uses `${git.*}`.
    pub git: &'a (dyn Fn() -> Result<GitFacts, String> + Sync),
}

/// A read pipeline file: the pipeline if the file is right, and every problem if it is not.
pub struct Parsed {
    /// The pipeline; none if there is a problem.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Its graph; none if there is a problem.
    pub graph: Option<Arc<Graph>>,
    /// Every problem of the file, in the order of their places.
    pub problems: Vec<Problem>,
    resolved: Resolved,
}

/// Reads a pipeline file. `name` is what diagnostics call it.
pub fn parse(name: &str, text: &str, inputs: &Inputs<'_>) -> Parsed {
    match text.len() as u64 > MAX_FILE {
        true => too_large(name, text.len()),
        false => resolve::parse(Source::new(name, text), inputs),
    }
}

/// Reads a pipeline file from its bytes: as [`parse`], and bytes that are not UTF-8 are a problem too.
pub fn parse_bytes(name: &str, bytes: &[u8], inputs: &Inputs<'_>) -> Parsed {
    if bytes.len() as u64 > MAX_FILE {
        return too_large(name, bytes.len());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(name, text, inputs),
        Err(error) => {
            // Up to the wrong byte the lossy text has the same offsets.
            let source = Source::new(name, &String::from_utf8_lossy(bytes));
            let problem = not_utf8(&source, error);
            Parsed { pipeline: None, graph: None, problems: vec![problem], resolved: Resolved::empty(source) }
        }
    }
}

/// The problem of a file whose bytes are no text.
fn not_utf8(source: &Arc<Source>, error: std::str::Utf8Error) -> Problem {
    let at = error.valid_up_to();
    let problem = Problem::new(Code::Encoding, "the file is not UTF-8", Some("save it as UTF-8".to_owned()));
    problem.at(source, &(at..at + 1), "the first wrong byte")
}

fn too_large(name: &str, len: usize) -> Parsed {
    let message = format!("`{name}` has {len} bytes: at most {} MiB", MAX_FILE >> 20);
    let problem = Problem::new(Code::TooLarge, message, Some("split the pipeline".to_owned()));
    Parsed { pipeline: None, graph: None, problems: vec![problem], resolved: Resolved::empty(Source::new(name, "")) }
}

/// Checks a config that stands in no file against its plugin's manifest, as that of a node would be: the problems have no place.
pub fn check_config(config: &serde_json::Map<String, serde_json::Value>, manifest: &Manifest) -> Vec<Problem> {
    manifests::check_config(config, manifest)
}

impl Parsed {
    /// The plugins that nodes name, as far as the file is right: known even where there are problems, so that manifests can be
    /// checked and all problems be reported at once.
    pub fn plugins(&self) -> &BTreeMap<PluginAlias, PluginSource> {
        &self.resolved.plugins.used
    }

    /// As what a plugin is taken, by what the file says.
    pub fn terms(&self, alias: &PluginAlias) -> PluginTerms {
        self.resolved.plugins.terms(alias)
    }

    /// Checks the nodes against the manifests of their plugins, also where the file has problems; a node whose manifest is not
    /// given is not checked. Schemas in manifests are trusted with nothing.
    pub fn check_manifests(&self, manifests: &BTreeMap<PluginAlias, Manifest>) -> Vec<Problem> {
        manifests::check(&self.resolved, manifests)
    }

    /// A problem with a plugin, at the place that names it: its file is missing, its digest differs, it cannot be loaded.
    pub fn plugin_problem(&self, alias: &PluginAlias, message: impl Into<String>, hint: Option<String>) -> Problem {
        let problem = Problem::new(Code::Plugin, message, hint);
        match self.resolved.plugins.places.get(alias) {
            Some(span) => problem.at(&self.resolved.source, span, ""),
            None => problem,
        }
    }

    /// A problem with an input of the host, at the first place that names it: a directory is missing, a file cannot be read.
    pub fn source_problem(&self, source: &InputSource, message: impl Into<String>, hint: Option<String>) -> Problem {
        let problem = Problem::new(Code::Source, message, hint);
        let inputs = |draft: nodes::Placed<'_>| {
            let (name, _) = draft.node.inputs.iter().find(|(_, found)| *found == source)?;
            draft.places.inputs.get(name.as_str()).map(|(_, value)| value.clone())
        };
        match self.resolved.placed().find_map(inputs) {
            Some(span) => problem.at(&self.resolved.source, &span, ""),
            None => problem,
        }
    }

    /// A problem with a node, at its id.
    pub fn node_problem(&self, node: &NodeId, code: Code, message: impl Into<String>, hint: Option<String>) -> Problem {
        let problem = Problem::new(code, message, hint);
        match self.resolved.placed().find(|draft| draft.node.id == *node) {
            Some(draft) => problem.at(&self.resolved.source, &draft.places.id, ""),
            None => problem,
        }
    }
}
