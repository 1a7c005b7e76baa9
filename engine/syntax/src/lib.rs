//! TOML text to model: every diagnostic that a user can get about a pipeline file, and the JSON Schema of the format.
//!
//! What this crate never does: no I/O, no environment, no clock; what it needs of them comes in by [`Inputs`]. A file, a
//! parameter or a plugin's manifest may hold anything: the answer is a [`Problem`], never a panic. All problems of a file are
//! reported at once, up to [`problem::MAX_PROBLEMS`]. Modules in reading order:

pub mod problem;

use std::collections::BTreeMap;

use lockgate_model::graph::Graph;
use lockgate_model::manifest::Manifest;
use lockgate_model::pipeline::{GitFacts, InputSource, Pipeline, PluginSource};
use lockgate_model::{NodeId, PluginAlias};

pub use problem::{Code, Problem};

/// What a file's meaning depends on besides its text.
pub struct Inputs<'a> {
    /// Values from `--param`, by name.
    pub params: &'a BTreeMap<String, String>,
    /// Reads a variable of the environment; asked only for names that a node's `env` lists.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Git facts of the root; asked at most once, and only if the file uses `${git.*}`.
    pub git: &'a dyn Fn() -> Result<GitFacts, String>,
}

/// A read pipeline file: the pipeline if the file is right, and every problem if it is not.
pub struct Parsed {
    /// The pipeline; none if there is a problem.
    pub pipeline: Option<Pipeline>,
    /// Its graph.
    pub graph: Option<Graph>,
    /// Every problem of the file, in the order of their lines.
    pub problems: Vec<Problem>,
}

/// Reads a pipeline file. `name` is what diagnostics call it.
pub fn parse(name: &str, text: &str, inputs: &Inputs) -> Parsed {
    let _ = (name, text, inputs);
    Parsed { pipeline: None, graph: None, problems: Vec::new() }
}

/// Reads a pipeline file from its bytes: as [`parse`], and bytes that are not UTF-8 are a problem too.
pub fn parse_bytes(name: &str, bytes: &[u8], inputs: &Inputs) -> Parsed {
    parse(name, &String::from_utf8_lossy(bytes), inputs)
}

impl Parsed {
    /// The plugins that nodes name, as far as the file is right: known even where there are problems, so that manifests can be
    /// checked and all problems be reported at once.
    pub fn plugins(&self) -> &BTreeMap<PluginAlias, PluginSource> {
        static NONE: BTreeMap<PluginAlias, PluginSource> = BTreeMap::new();
        &NONE
    }

    /// Checks the nodes against the manifests of their plugins; a node whose manifest is not given is not checked.
    pub fn check_manifests(&self, manifests: &BTreeMap<PluginAlias, Manifest>) -> Vec<Problem> {
        let _ = manifests;
        Vec::new()
    }

    /// A problem with a plugin, at the place that names it: its file is missing, its digest differs, it cannot be loaded.
    pub fn plugin_problem(&self, alias: &PluginAlias, message: String, hint: Option<String>) -> Problem {
        let _ = alias;
        Problem::new(Code::Plugin, message, hint)
    }

    /// A problem with an input of the host, at the place that names it: a directory is missing, a file cannot be read.
    pub fn source_problem(&self, source: &InputSource, message: String, hint: Option<String>) -> Problem {
        let _ = source;
        Problem::new(Code::Source, message, hint)
    }

    /// A problem with a node that only shows when it is about to run, at the node's id.
    pub fn node_problem(&self, node: &NodeId, message: String, hint: Option<String>) -> Problem {
        let _ = node;
        Problem::new(Code::Plugin, message, hint)
    }
}

/// The JSON Schema (2020-12) of the format, for editors.
pub fn json_schema() -> serde_json::Value {
    serde_json::json!({})
}
