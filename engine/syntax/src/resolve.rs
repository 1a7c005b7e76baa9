//! Reads a file: all steps in order, each going on as far as the ones before it let it, so that all problems are reported at once.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use lockgate_model::graph::{Graph, GraphError};
use lockgate_model::limits::Limits;
use lockgate_model::pipeline::{Export, Pipeline};
use toml::de::DeTable;

use crate::check::{Checker, MAX_DEPTH, too_deep};
use crate::nodes::{self, Draft, Placed};
use crate::plugins::Plugins;
use crate::problem::{Code, Problem, Source};
use crate::report::Problems;
use crate::shape::Shape;
use crate::spans::Spans;
use crate::substitute::{Context, Scope};
use crate::table::Table;
use crate::{Inputs, Parsed, exports, fields, gates, grants, params, pieces, shape};

/// Largest text of which all syntax errors are reported; of a larger one only the first, because each byte of it may be one.
const MAX_RECOVERED: usize = 1 << 20;
/// Stack of the thread that reads TOML; only what is used of it is ever backed by memory.
const STACK: usize = 64 << 20;
/// Dots of a line that are no reason for a large stack: the reader nests inline tables and arrays 80 deep.
const ORDINARY_DOTS: usize = 4;
/// Most nodes of a cycle that are named and labelled.
const MAX_CYCLE: usize = 10;

/// What a file said as far as it was right, with the places of it.
pub(crate) struct Resolved {
    pub(crate) source: Arc<Source>,
    pub(crate) plugins: Plugins,
    /// The pipeline, without what was wrong.
    pub(crate) pipeline: Arc<Pipeline>,
    /// What is known of each of its nodes besides.
    pub(crate) drafts: Vec<Draft>,
    /// Where the limits of the whole file stand, if it has any.
    pub(crate) limits: Option<Spans>,
    /// Limits as the file has them, of nodes whose limits policies lowered.
    pub(crate) lowered: BTreeMap<usize, Limits>,
    /// Exports, with the places of each one's `from` and `to`.
    pub(crate) exports: Vec<(Export, Range<usize>, Range<usize>)>,
}

impl Resolved {
    pub(crate) fn empty(source: Arc<Source>) -> Self {
        let pipeline = Arc::default();
        let plugins = Plugins::default();
        Self {
            source,
            plugins,
            pipeline,
            drafts: Vec::new(),
            limits: None,
            lowered: BTreeMap::new(),
            exports: Vec::new(),
        }
    }

    /// The nodes with their places.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Placed<'_>> {
        self.pipeline.nodes.iter().zip(&self.drafts).map(|(node, draft)| Placed {
            node,
            places: &draft.places,
            config_known: draft.config_known,
            plugin_known: draft.plugin_known,
        })
    }
}

/// Reads a file of permitted size. A large one that is right is read on all cores; what is wrong is found in the order of the file.
pub(crate) fn parse(source: Arc<Source>, inputs: &Inputs<'_>) -> Parsed {
    let threads = pieces::threads(source.text());
    parse_on(threads, source, inputs)
}

fn parse_on(threads: usize, source: Arc<Source>, inputs: &Inputs<'_>) -> Parsed {
    let problems = Problems::new(source.clone());
    let mut resolved = Resolved::empty(source.clone());
    let mut whole = false;
    if let Some(root) = structure(&source, &problems, &shape::PIPELINE) {
        match meaning(root, inputs, &problems, &mut resolved, threads) {
            Some(all) => whole = all,
            None => return parse_on(1, source, inputs),
        }
    }
    let graph = if whole { graph(&resolved, &problems) } else { None };
    let problems = problems.finish();
    let graph = graph.filter(|_| problems.is_empty()).map(Arc::new);
    let pipeline = graph.is_some().then(|| Arc::clone(&resolved.pipeline));
    Parsed { pipeline, graph, problems, resolved }
}

/// Tables and syntax errors, or the place of what is nested too deeply.
type Read<'s> = Result<(DeTable<'s>, Vec<toml::de::Error>), Range<usize>>;

fn read(text: &str) -> Read<'_> {
    let (root, errors) = if let Some(root) = pieces::read(text) {
        (root, Vec::new())
    } else if text.len() > MAX_RECOVERED {
        match DeTable::parse(text) {
            Ok(root) => (root.into_inner(), Vec::new()),
            Err(error) => (DeTable::new(), vec![error]),
        }
    } else {
        let (root, errors) = DeTable::parse_recoverable(text);
        (root.into_inner(), errors)
    };
    match too_deep(&root, 0) {
        Some(span) => Err(span),
        None => Ok((root, errors)),
    }
}

/// Reads on a stack that the deepest tables fit on: dotted keys inside of inline tables nest some 6,500 levels before the TOML
/// reader refuses, and tables are dropped recursively. What comes back is shallow. Keys stand on one line, so where no line has
/// many dots, nothing nests that deep, and the memory of another thread, which nobody uses again, is saved.
fn on_large_stack(text: &str) -> Read<'_> {
    if text.lines().all(|line| line.bytes().filter(|byte| *byte == b'.').count() <= ORDINARY_DOTS) {
        return read(text);
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read(text));
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(read)) => read,
            // A panic of the reader would be its defect; it is handed on as it is.
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No thread to be had: an ordinary file needs none.
            Err(_) => read(text),
        }
    })
}

/// Whether a text has a key at its top, as far as it is TOML.
pub(crate) fn has_key(text: &str, key: &str) -> bool {
    on_large_stack(text).is_ok_and(|(root, _)| root.contains_key(key))
}

/// The file's tables, if it is TOML; structural problems are reported.
pub(crate) fn structure<'s>(source: &'s Source, problems: &Problems, shape: &'static Shape) -> Option<DeTable<'s>> {
    let (root, errors) = match on_large_stack(source.text()) {
        Ok(read) => read,
        Err(span) => {
            let hint = Some("no file needs this".to_owned());
            problems.report(
                Code::TooDeep,
                &span,
                "",
                format!("tables and arrays are nested deeper than {MAX_DEPTH}"),
                hint,
            );
            return None;
        }
    };
    if errors.is_empty() {
        Checker { problems }.table(&root, &(0..0), shape);
        return Some(root);
    }
    // What was read around an error may miss something that stands there, so only what is there is looked at, on other lines.
    let mut lines = HashSet::new();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        lines.insert(source.line_of(span.start));
        let hint = match error.message() {
            "duplicate key" => {
                Some("each key, and each table that is not in double brackets, stands there once".to_owned())
            }
            _ => None,
        };
        problems.report(Code::Toml, &span, "", format!("the file is not TOML here: {}", error.message()), hint);
    }
    let around = Problems::new(problems.source.clone());
    Checker { problems: &around }.table(&root, &(0..0), shape);
    for problem in around.finish() {
        if !matches!(problem.code, Code::MissingKey | Code::TooManyProblems)
            && !lines.contains(&source.line_of(problem.offset()))
        {
            problems.push(problem);
        }
    }
    None
}

/// What the tables mean. Whether all of them were looked at; none where that is to be found with one thread.
fn meaning(
    mut root: DeTable<'_>,
    inputs: &Inputs<'_>,
    problems: &Problems,
    resolved: &mut Resolved,
    threads: usize,
) -> Option<bool> {
    let tables = nodes::take(&mut root);
    let root = &Table { map: &root, span: 0..0 };
    let mut cx = Context::new(problems, inputs, params::read(root, inputs.params, problems));
    cx.secrets = grants::secrets(root, Scope { cx: &cx, matrix: None });
    let cx = cx;
    resolved.plugins = Plugins::read(root, problems);
    resolved.limits = root.get("limits").map(|value| Spans::of(root.key_span("limits"), value));
    let defaults = fields::limits(root.table("limits").as_ref(), &Limits::default());
    let (raws, index) = nodes::collect(root, tables, &cx);
    let (nodes, drafts) = nodes::build_all(raws, &defaults, &cx, &index, &mut resolved.plugins, threads)?;
    resolved.drafts = drafts;
    resolved.exports = exports::read(root, &cx, &index);
    let concurrency = gates::concurrency(root, &cx);
    resolved.pipeline = Arc::new(Pipeline {
        schema: 1,
        name: root.text("name").map(|name| name.text.to_owned()).unwrap_or_default(),
        params: cx.params.values.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect(),
        plugins: resolved.plugins.used.clone(),
        terms: resolved
            .plugins
            .terms
            .iter()
            .filter(|(alias, _)| resolved.plugins.used.contains_key(*alias))
            .map(|(alias, terms)| (alias.clone(), *terms))
            .collect(),
        nodes,
        exports: resolved.exports.iter().map(|(export, ..)| export.clone()).collect(),
        concurrency,
        secrets: cx.secrets.clone(),
    });
    Some(!cx.spent() && !problems.stopped())
}

fn graph(resolved: &Resolved, problems: &Problems) -> Option<Graph> {
    match Graph::new(&resolved.pipeline) {
        Ok(graph) => Some(graph),
        Err(error) => {
            graph_problem(&error, problems, resolved);
            None
        }
    }
}

fn graph_problem(error: &GraphError, problems: &Problems, resolved: &Resolved) {
    let GraphError::Cycle(cycle) = error else {
        // Two nodes of one id, or a node that is not there, were reported at their places; a node left out for a problem of its
        // own was too.
        if problems.count() == 0 {
            problems.push(Problem::new(Code::Reference, format!("failed to {error}"), None));
        }
        return;
    };
    let shown = &cycle[..cycle.len().min(MAX_CYCLE)];
    let mut text: Vec<_> = shown.iter().map(|id| format!("`{id}`")).collect();
    if cycle.len() > MAX_CYCLE {
        text.push(format!("{} more", cycle.len() - MAX_CYCLE));
    }
    text.extend(cycle.first().map(|id| format!("`{id}`")));
    let message = format!("these nodes wait for each other: {}", text.join(" needs "));
    let hint = "take away one of the inputs, `after` or `when` that close the circle".to_owned();
    let mut problem = Problem::new(Code::Cycle, message, Some(hint));
    for (at, id) in shown.iter().enumerate() {
        if let Some(placed) = resolved.placed().find(|placed| placed.node.id == *id) {
            let next = &cycle[(at + 1) % cycle.len()];
            problem = problem.at(&problems.source, &placed.places.id, format!("needs `{next}`"));
        }
    }
    problems.push(problem);
}

#[cfg(test)]
mod tests {
    use lockgate_model::pipeline::GitFacts;

    use super::*;

    const HEAD: &str = "schema = 1\nname = \"many\"\n[params.to]\ntype = \"string\"\ndefault = \"x\"\n\
                        [plugins]\nown = { path = \"own.wasm\" }\n";

    /// Nodes with everything that one of them learns from the rest of the file.
    fn many(wrong: &str) -> String {
        let node = |number: usize| {
            let plugin = if number.is_multiple_of(3) { "own" } else { "std:noop" };
            let before = number.saturating_sub(7);
            let after = if number == before { String::new() } else { format!("after = [\"n{before}\"]\n") };
            let matrix = if number.is_multiple_of(100) { "matrix = { k = [1, 2] }\n" } else { "" };
            let right = format!("config = {{ to = \"${{params.to}} ${{git.commit}}\" }}\n{matrix}{after}");
            let rest = if number == 2_901 && !wrong.is_empty() { wrong } else { &right };
            format!("[[stage]]\nid = \"n{number}\"\nplugin = \"{plugin}\"\n{rest}")
        };
        (0..3_000).map(node).fold(HEAD.to_owned(), |text, node| text + &node)
    }

    fn on(threads: usize, text: &str) -> Parsed {
        let params = BTreeMap::new();
        let git = || Ok(GitFacts { commit: "c0ffee".to_owned(), ..GitFacts::default() });
        parse_on(threads, Source::new("p.toml", text), &Inputs { params: &params, env: &|_| None, git: &git })
    }

    #[test]
    fn a_file_means_the_same_however_many_threads_read_it() {
        let text = many("");
        let (one, four) = (on(1, &text), on(4, &text));
        assert!(one.problems.is_empty(), "{:?}", one.problems.first().map(|problem| &problem.message));
        assert!(one.pipeline.is_some() && one.pipeline == four.pipeline);
        assert_eq!(one.resolved.plugins.places, four.resolved.plugins.places);
        let places = |parsed: &Parsed| parsed.resolved.drafts.iter().map(|d| d.places.id.clone()).collect::<Vec<_>>();
        assert_eq!(places(&one), places(&four));
    }

    #[test]
    fn problems_are_the_same_however_many_threads_read_the_file() {
        for wrong in [
            "after = [\"nobody\"]\n",
            "config = { x = \"${params.none}\" }\n",
            "repeat = 2\nafter = [\"n1\"]\n[stage.grants]\nclock = true\n",
        ] {
            let text = many(wrong);
            let said = |parsed: &Parsed| {
                parsed.problems.iter().map(|p| (p.code, p.offset(), p.message.clone())).collect::<Vec<_>>()
            };
            let (one, four) = (on(1, &text), on(4, &text));
            assert!(!one.problems.is_empty() && one.pipeline.is_none());
            assert_eq!(said(&one), said(&four));
        }
    }
}
