//! Nodes: from the tables of a file to `model::pipeline::Node`s, one for each combination of a matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use lockgate_model::grant::Grants;
use lockgate_model::limits::Limits;
use lockgate_model::pipeline::{InputSource, MAX_NODES, Node, NodeKind, PluginTerms, Retry};
use lockgate_model::{NodeId, PluginAlias, PortName};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::commands;
use crate::expr;
use crate::fields;
use crate::gates;
use crate::grants;
use crate::matrix::{self, Combination, Matrix};
use crate::pieces::side_by_side;
use crate::plugins::Plugins;
use crate::problem::{Code, Problem, cut};
use crate::references::{Base, Index, Miss, split, without_outputs};
use crate::shape::NODE_KINDS;
use crate::spans::Spans;
use crate::substitute::{Context, Scope, UNIT};
use crate::table::{Table, Text, Value, text};

/// Ids that mean something else in `when`.
const RESERVED: [&str; 8] = ["params", "matrix", "run", "git", "in", "true", "false", "null"];
/// What one edge costs of the budget: so a file has at most a million.
const EDGE: u64 = 4 * UNIT;

/// Where the parts of a node stand in the file, for problems that show later.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) id: Range<usize>,
    pub(crate) plugin: Range<usize>,
    pub(crate) config: Spans,
    /// Key and value of each input.
    pub(crate) inputs: BTreeMap<String, (Range<usize>, Range<usize>)>,
    pub(crate) when: Range<usize>,
    /// Where grants and limits stand, if the node has any of its own.
    pub(crate) grants: Option<Spans>,
    pub(crate) limits: Option<Spans>,
    /// Names of the environment that it declares, whether they have a value or not.
    pub(crate) env: Box<[(Box<str>, Range<usize>)]>,
}

/// What is known of a node besides it; the config may have problems although the rest is fine.
pub(crate) struct Draft {
    pub(crate) places: Arc<Places>,
    pub(crate) config_known: bool,
    pub(crate) plugin_known: bool,
}

/// A node with its places.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) node: &'a Node,
    pub(crate) places: &'a Places,
    pub(crate) config_known: bool,
    pub(crate) plugin_known: bool,
}

/// A node's table, before it is unfolded. It owns what stands in the file, so that a large file's tables go as its nodes come.
pub(crate) struct Raw<'s> {
    kind: NodeKind,
    value: Value<'s>,
    combinations: Option<Vec<Combination>>,
}

/// The same, as it is read.
struct View<'a> {
    kind: NodeKind,
    table: Table<'a>,
    id: Text<'a>,
    combinations: Option<&'a [Combination]>,
}

/// Takes the tables of all nodes out of a file's, in the order of the file.
pub(crate) fn take<'s>(root: &mut DeTable<'s>) -> Vec<(NodeKind, Value<'s>)> {
    let mut tables = Vec::new();
    for kind in NODE_KINDS {
        if let Some(DeValue::Array(list)) = root.get_mut(kind.name()).map(Spanned::get_mut) {
            tables.extend(std::mem::replace(list, DeArray::new()).into_iter().map(|value| (kind, value)));
        }
    }
    tables.sort_by_key(|(_, value)| value.span().start);
    tables
}

/// Unfolds the matrices of all nodes, in the order of the file, and indexes their ids. `root` is the file without them.
pub(crate) fn collect<'s>(
    root: &Table<'_>,
    tables: Vec<(NodeKind, Value<'s>)>,
    cx: &Context<'_>,
) -> (Vec<Raw<'s>>, Index) {
    let none = |kind: NodeKind| root.get(kind.name()).is_none_or(|value| value.get_ref().is_array());
    if tables.is_empty() && NODE_KINDS.into_iter().all(none) {
        let hint = Some("add a `[[stage]]`, a `[[health-check]]` or a `[[canary]]`".to_owned());
        cx.problems.report(Code::EmptyPipeline, &root.key_span("name"), "", "the pipeline has no nodes", hint);
    }
    let mut index = Index::default();
    let mut raws = Vec::new();
    let mut total = 0_usize;
    for (kind, value) in tables {
        let Some(table) = Table::of(&value) else { continue };
        let Some(id) = table.text("id") else { continue };
        if RESERVED.contains(&id.text) {
            let hint = Some("it means something else in `when`: choose another id".to_owned());
            cx.problems.report(Code::BadName, &id.span, "", format!("no node may be called `{}`", id.text), hint);
            continue;
        }
        if let Some(earlier) = index.bases.get(id.text) {
            let problem = Problem::new(
                Code::DuplicateNode,
                format!("two nodes are called `{}`", id.text),
                Some("ids are unique in a pipeline".to_owned()),
            );
            let source = &cx.problems.source;
            cx.problems.push(problem.at(source, &id.span, "here again").at(source, &earlier.span, "here first"));
            continue;
        }
        let matrix = match table.table("matrix") {
            Some(matrix) => {
                let Some(matrix) =
                    Matrix::read(&Table { span: table.key_span("matrix"), ..matrix }, id.text, cx.problems)
                else {
                    continue;
                };
                Some(matrix)
            }
            None => None,
        };
        let before = total;
        total = total.saturating_add(matrix.as_ref().map_or(1, Matrix::len));
        if total > MAX_NODES {
            // Reported once, at the node that passes the limit; nothing of it or after it is unfolded.
            if before <= MAX_NODES {
                let span = if matrix.is_some() { table.key_span("matrix") } else { id.span.clone() };
                let hint = Some("use fewer values in matrices, or split the pipeline".to_owned());
                cx.problems.report(
                    Code::TooLarge,
                    &span,
                    "",
                    format!("the pipeline has more than {MAX_NODES} nodes"),
                    hint,
                );
            }
            continue;
        }
        let combinations = matrix.as_ref().map(Matrix::combinations);
        let ids: Vec<_> = match &combinations {
            None => NodeId::new(id.text).into_iter().collect(),
            Some(all) => {
                all.iter().filter_map(|combination| NodeId::new(&matrix::id(id.text, combination)).ok()).collect()
            }
        };
        let inputs = table.table("inputs").filter(|_| kind.world().is_some());
        let inputs = inputs.map(|inputs| inputs.map.keys().map(|key| key.get_ref().to_string()).collect());
        let finally = table.boolean("finally").unwrap_or(false);
        let base = Base {
            kind,
            ids,
            has_matrix: matrix.is_some(),
            inputs: inputs.unwrap_or_default(),
            finally,
            span: id.span.clone(),
        };
        index.insert(id.text, base);
        raws.push(Raw { kind, value, combinations });
    }
    (raws, index)
}

/// Tables that are built one after another by one thread.
const CHUNK: usize = 512;

/// Makes the nodes of all tables, on so many threads. None where there is a problem and more than one thread: what is wrong is found in
/// the order of the file.
pub(crate) fn build_all(
    raws: Vec<Raw<'_>>,
    defaults: &Limits,
    cx: &Context<'_>,
    index: &Index,
    plugins: &mut Plugins,
    threads: usize,
) -> Option<(Vec<Node>, Vec<Draft>)> {
    let (mut nodes, mut drafts) = (Vec::with_capacity(raws.len()), Vec::with_capacity(raws.len()));
    if threads <= 1 {
        for raw in raws {
            if cx.problems.stop_if_full() {
                break;
            }
            for (node, draft) in build(&raw, defaults, cx, index, plugins) {
                nodes.push(node);
                drafts.push(draft);
            }
        }
        return Some((nodes, drafts));
    }
    let mut raws = raws.into_iter();
    let chunks =
        std::iter::from_fn(|| Some(raws.by_ref().take(CHUNK).collect()).filter(|chunk: &Vec<_>| !chunk.is_empty()));
    let (shared, declared) = (cx.shared(), &*plugins);
    let built = side_by_side(chunks.collect(), threads, |chunk| {
        let mut plugins = declared.clone();
        let build = |cx: &Context<'_>| {
            // Each table goes when its nodes are made.
            let tables = chunk.into_iter().flat_map(|raw| build(&raw, defaults, cx, index, &mut plugins));
            tables.collect::<Vec<_>>()
        };
        let (built, cost) = shared.with(build)?;
        Some((built, cost, plugins))
    });
    for chunk in built {
        let (built, cost, used) = chunk.flatten()?;
        if !cx.take(cost) {
            return None;
        }
        plugins.merge(used);
        for (node, draft) in built {
            nodes.push(node);
            drafts.push(draft);
        }
    }
    Some((nodes, drafts))
}

/// Makes the nodes of one table.
pub(crate) fn build(
    raw: &Raw<'_>,
    defaults: &Limits,
    cx: &Context<'_>,
    index: &Index,
    plugins: &mut Plugins,
) -> Vec<(Node, Draft)> {
    let view = Table::of(&raw.value).and_then(|table| {
        let (kind, id) = (raw.kind, table.text("id")?);
        Some(View { kind, table, id, combinations: raw.combinations.as_deref() })
    });
    let Some(raw) = &view else { return Vec::new() };
    let table = &raw.table;
    // Of a node without a plugin, keys that belong to one were reported by the structural check.
    let plugin = table.text("plugin").filter(|_| raw.kind.world().is_some());
    let alias = plugin.and_then(|text| plugins.resolve(&text, cx.problems));
    let plugin = alias.as_ref().map(|alias| (alias, plugins.terms(alias)));
    let places = Arc::new(Places {
        id: raw.id.span.clone(),
        plugin: table.get("plugin").map_or(raw.id.span.clone(), |value| value.span()),
        config: table
            .get("config")
            .map(|value| Spans::of(table.key_span("config"), value))
            .unwrap_or_else(|| Spans::leaf(raw.id.span.clone())),
        inputs: table
            .table("inputs")
            .map(|inputs| inputs.entries())
            .unwrap_or_default()
            .into_iter()
            .map(|(key, span, value)| (key.to_owned(), (span, value.span())))
            .collect(),
        when: table.get("when").map_or(raw.id.span.clone(), |value| value.span()),
        grants: table.get("grants").map(|value| Spans::of(table.key_span("grants"), value)),
        limits: table.get("limits").map(|value| Spans::of(table.key_span("limits"), value)),
        env: table.texts("env").map(|name| (name.text.into(), name.span)).collect(),
    });
    let single = [Combination::new()];
    let combinations = raw.combinations.unwrap_or(&single);
    let ids = index.bases.get(raw.id.text).map_or(&[][..], |base| &base.ids);
    let mut drafts = Vec::with_capacity(combinations.len());
    for (id, combination) in ids.iter().zip(combinations) {
        if cx.spent() || !cx.charge(16 * UNIT, &raw.id.span) {
            break;
        }
        let scope = Scope { cx, matrix: raw.combinations.is_some().then_some(combination) };
        drafts.extend(one(raw, id, plugin, defaults, scope, index, &places));
    }
    drafts
}

/// Makes one node.
fn one(
    raw: &View<'_>,
    id: &NodeId,
    plugin: Option<(&PluginAlias, PluginTerms)>,
    defaults: &Limits,
    scope: Scope<'_>,
    index: &Index,
    places: &Arc<Places>,
) -> Option<(Node, Draft)> {
    let (table, cx) = (&raw.table, scope.cx);
    let when = table.text("when").filter(|when| !when.text.is_empty());
    let mut node = Node {
        id: id.clone(),
        kind: raw.kind,
        plugin: None,
        config: serde_json::Map::new(),
        inputs: BTreeMap::new(),
        after: after(table, id, scope, index),
        when: when.and_then(|when| expr::parse(&when, id, scope, index)),
        limits: Limits::default(),
        grants: Grants::default(),
        retry: Retry::default(),
        poll: None,
        accept: BTreeSet::new(),
        allow_failure: table.boolean("allow_failure").unwrap_or(false),
        finally: table.boolean("finally").unwrap_or(false),
        repeat: 1,
        env: BTreeMap::new(),
        approval: None,
        wait: None,
        max_age: None,
    };
    let mut config_known = true;
    match raw.kind {
        NodeKind::Stage | NodeKind::HealthCheck | NodeKind::Canary => {
            node.limits = fields::limits(table.table("limits").as_ref(), defaults);
            config_known = plugged(&mut node, raw, plugin.map(|(_, terms)| terms), scope, index);
            // Because of a node without a known plugin the rest is read all the same; then the alias is not looked at.
            node.plugin = Some(plugin.map(|(alias, _)| alias.clone()).or_else(|| PluginAlias::new(raw.id.text).ok())?);
        }
        NodeKind::Approval => node.approval = gates::approval(table, scope),
        NodeKind::Wait => node.wait = gates::wait(table, scope),
    }
    needs_finally(&node, places, cx, index);
    Some((node, Draft { places: places.clone(), config_known, plugin_known: plugin.is_some() }))
}

/// Reads what nodes with a plugin have besides it and their limits; false where the config has a problem.
fn plugged(node: &mut Node, raw: &View<'_>, terms: Option<PluginTerms>, scope: Scope<'_>, index: &Index) -> bool {
    let (table, cx) = (&raw.table, scope.cx);
    let is_command = terms.is_some_and(|terms| terms.command) && raw.kind == NodeKind::Stage;
    if !is_command && terms.is_some() && raw.kind == NodeKind::Stage {
        commands::refuse(table, scope);
    }
    let config = match table.get("config") {
        _ if is_command => commands::config(table, scope),
        None => Some(serde_json::Map::new()),
        Some(value) => match scope.json(value) {
            Some(serde_json::Value::Object(config)) => Some(config),
            _ => None,
        },
    };
    let known = config.is_some();
    node.config = config.unwrap_or_default();
    node.inputs = inputs(table, &node.id, scope, index);
    node.grants = grants::grants(table.table("grants").as_ref(), scope);
    node.retry = fields::retry(table.table("retry").as_ref(), cx);
    node.env = fields::env(table, cx);
    node.repeat = table.integer("repeat").and_then(|repeat| u32::try_from(repeat).ok()).unwrap_or(1);
    let mut polled = false;
    if raw.kind != NodeKind::Stage {
        polled = table.table("poll").is_some();
        node.poll = table.table("poll").and_then(|poll| fields::poll(&poll, cx));
        node.accept = table.texts("accept").map(|word| word.text.to_owned()).collect();
        node.max_age = table.quantity("max_age");
    }
    if node.repeat > 1 {
        let other = [
            ("poll", polled, "a polled node looks again by itself"),
            ("grants", !node.grants.is_empty(), "an effect's answer may differ each time"),
        ];
        for (key, _, reason) in other.into_iter().filter(|(_, there, _)| *there) {
            let message = format!("`repeat` cannot be combined with `{key}`");
            cx.problems.report(Code::Conflict, &table.key_span("repeat"), "", message, Some(reason.to_owned()));
        }
    }
    known
}

fn miss(miss: Miss, span: &Range<usize>, cx: &Context<'_>) {
    cx.problems.report(miss.code, span, "", miss.message, miss.hint);
}

fn itself(id: &NodeId, span: &Range<usize>, cx: &Context<'_>) {
    let hint = Some("a node starts only when all that it needs is final".to_owned());
    cx.problems.report(Code::Cycle, span, "", format!("`{id}` waits for itself"), hint);
}

fn inputs(table: &Table<'_>, id: &NodeId, scope: Scope<'_>, index: &Index) -> BTreeMap<PortName, InputSource> {
    let cx = scope.cx;
    let mut inputs = BTreeMap::new();
    for (name, _, value) in table.table("inputs").map(|inputs| inputs.entries()).unwrap_or_default() {
        let source = match (text(value), Table::of(value)) {
            (Some(reference), _) => input_reference(&reference, id, scope, index),
            (None, Some(table)) => fields::host_input(&table, scope),
            (None, None) => None,
        };
        if let (Ok(name), Some(source)) = (PortName::new(name), source)
            && cx.charge(EDGE, &value.span())
        {
            inputs.insert(name, source);
        }
    }
    inputs
}

fn input_reference(reference: &Text<'_>, id: &NodeId, scope: Scope<'_>, index: &Index) -> Option<InputSource> {
    let expanded = scope.text(reference)?;
    match split(&expanded).and_then(|(node, port)| Ok((index.node(node, &format!(".{port}"))?, port))) {
        Err(missed) => {
            miss(missed, &reference.span, scope.cx);
            None
        }
        Ok((node, _)) if node == *id => {
            itself(id, &reference.span, scope.cx);
            None
        }
        Ok((node, _)) if let Some(missed) = without_outputs(&node, index.base(node.as_str())) => {
            miss(missed, &reference.span, scope.cx);
            None
        }
        Ok((node, port)) => {
            Some(match index.base(node.as_str()).is_some_and(|base| base.inputs.contains(port.as_str())) {
                true => InputSource::Input { node, input: port },
                false => InputSource::Output { node, output: port },
            })
        }
    }
}

fn after(table: &Table<'_>, id: &NodeId, scope: Scope<'_>, index: &Index) -> BTreeSet<NodeId> {
    let mut after = BTreeSet::new();
    for text in table.texts("after") {
        let Some(expanded) = scope.text(&text) else { continue };
        match index.nodes(&expanded) {
            Err(missed) => {
                let output = expanded
                    .rsplit_once('.')
                    .filter(|(node, _)| missed.code == Code::UnknownNode && index.nodes(node).is_ok());
                let hint = output
                    .map(|(node, _)| format!("`after` names nodes, not outputs: write `{}`", cut(node.to_owned(), 80)));
                miss(Miss { hint: hint.or(missed.hint), ..missed }, &text.span, scope.cx);
            }
            Ok(nodes) if nodes.contains(id) => itself(id, &text.span, scope.cx),
            Ok(nodes) => {
                if scope.cx.charge(EDGE * nodes.len() as u64, &text.span) {
                    after.extend(nodes);
                }
            }
        }
    }
    after
}

/// A node without `finally` cannot wait for one with it: that one waits for all others.
fn needs_finally(node: &Node, places: &Places, cx: &Context<'_>, index: &Index) {
    if node.finally || !index.has_finally {
        return;
    }
    let mut needed: BTreeSet<NodeId> = node.after.iter().cloned().collect();
    needed.extend(node.inputs.values().filter_map(InputSource::node).cloned());
    needed.extend(node.when.iter().flat_map(lockgate_model::expr::Expr::nodes));
    for other in needed {
        if index.base(other.as_str()).is_some_and(|base| base.finally) {
            let message = format!("`{}` needs `{other}`, which runs after all others", node.id);
            let hint = Some("give it `finally = true` too, or take that away from the other".to_owned());
            cx.problems.report(Code::NeedsFinally, &places.id, "", message, hint);
        }
    }
}
