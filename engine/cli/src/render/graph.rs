//! The graph of a pipeline as text for other programs to draw: Graphviz and Mermaid. Solid edges carry data, dashed ones only
//! order; nodes with `finally` have dashed borders.

use std::fmt::Write as _;

use lockgate_model::graph::{Edge, Graph};
use lockgate_model::pipeline::{Node, NodeKind, Pipeline, PluginSource, Wait};

use crate::time::rfc3339;

/// How people call a node's plugin: `std:pack`, or the last part of its path; none where it has none.
pub(crate) fn plugin_name(pipeline: &Pipeline, node: &Node) -> Option<String> {
    let alias = node.plugin.as_ref()?;
    Some(match pipeline.plugins.get(alias) {
        Some(PluginSource::Std { name, .. }) => format!("std:{name}"),
        Some(PluginSource::App { name }) => format!("app:{name}"),
        Some(PluginSource::Path { path, .. }) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        Some(PluginSource::Oci { name, .. }) => name.path().rsplit('/').next().unwrap_or_default().to_owned(),
        None => alias.to_string(),
    })
}

/// Most approvers whom a picture names.
const APPROVERS: usize = 3;

/// What stands below a node's id: its plugin, or whom or what it waits for.
pub(crate) fn caption(pipeline: &Pipeline, node: &Node) -> String {
    match (&node.approval, node.wait) {
        (Some(approval), _) => {
            let mut names: Vec<String> = approval.approvers.iter().take(APPROVERS).cloned().collect();
            if approval.approvers.len() > APPROVERS {
                names.push(format!("{} more", approval.approvers.len() - APPROVERS));
            }
            if names.is_empty() { "by anybody".to_owned() } else { format!("by {}", names.join(", ")) }
        }
        (None, Some(wait)) => wait_text(wait),
        (None, None) => plugin_name(pipeline, node).unwrap_or_default(),
    }
}

/// What a wait waits for.
pub(crate) fn wait_text(wait: Wait) -> String {
    match wait {
        Wait::For(span) => format!("for {span}"),
        Wait::Until(time) => format!("until {}", rfc3339(time)),
    }
}

/// The graph in Graphviz's language.
pub(crate) fn dot(pipeline: &Pipeline, graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n", dot_string(&pipeline.name));
    text += "  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"monospace\", fontsize=10];\n";
    for node in &pipeline.nodes {
        let shape = match node.kind {
            NodeKind::Stage => "",
            NodeKind::HealthCheck => ", shape=ellipse",
            NodeKind::Canary => ", shape=diamond",
            NodeKind::Approval => ", shape=octagon",
            NodeKind::Wait => ", shape=cds",
        };
        let style = if node.finally { ", style=\"rounded,dashed\"" } else { "" };
        let label = dot_string(&format!("{}\n{}", node.id, caption(pipeline, node)));
        let _ = writeln!(text, "  {} [label={label}{shape}{style}];", dot_string(node.id.as_str()));
    }
    for (from, to, edge) in edges(graph) {
        let style = if edge == Edge::Order { " [style=dashed]" } else { "" };
        let id = |index: usize| dot_string(pipeline.nodes[index].id.as_str());
        let _ = writeln!(text, "  {} -> {}{style};", id(from), id(to));
    }
    text + "}\n"
}

/// A string of Graphviz's language: only `"` and `\` need an escape, and line breaks are written as such.
fn dot_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The graph in Mermaid's language.
pub(crate) fn mermaid(pipeline: &Pipeline, graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, node) in pipeline.nodes.iter().enumerate() {
        let label =
            format!("{}<br/><small>{}</small>", mermaid_text(node.id.as_str()), mermaid_text(&caption(pipeline, node)));
        // Ids of nodes hold characters that Mermaid's own ids cannot.
        let _ = match node.kind {
            NodeKind::Stage => writeln!(text, "  n{index}[\"{label}\"]"),
            NodeKind::HealthCheck => writeln!(text, "  n{index}([\"{label}\"])"),
            NodeKind::Canary => writeln!(text, "  n{index}{{{{\"{label}\"}}}}"),
            NodeKind::Approval => writeln!(text, "  n{index}[/\"{label}\"\\]"),
            NodeKind::Wait => writeln!(text, "  n{index}>\"{label}\"]"),
        };
    }
    for (from, to, edge) in edges(graph) {
        let arrow = if edge == Edge::Order { "-.->" } else { "-->" };
        let _ = writeln!(text, "  n{from} {arrow} n{to}");
    }
    let finally: Vec<_> =
        pipeline.nodes.iter().enumerate().filter(|(_, node)| node.finally).map(|(i, _)| format!("n{i}")).collect();
    if !finally.is_empty() {
        let _ = writeln!(text, "  classDef finally stroke-dasharray: 4 3\n  class {} finally", finally.join(","));
    }
    text
}

/// Text inside quotes of Mermaid, which takes entities with `#`.
fn mermaid_text(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | ';' => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// All edges, from what is needed to what needs it, sorted.
pub(crate) fn edges(graph: &Graph) -> Vec<(usize, usize, Edge)> {
    let mut edges: Vec<_> =
        (0..graph.len()).flat_map(|to| graph.needs(to).map(move |(from, edge)| (from, to, edge))).collect();
    edges.sort_unstable();
    edges
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use lockgate_model::pipeline::{Approval, InputSource, OnDeadline, Retry};
    use lockgate_model::units::Millis;
    use lockgate_model::{NodeId, PluginAlias, PortName};

    use super::*;

    pub(crate) fn node(id: &str, kind: NodeKind, data: &[&str], after: &[&str]) -> Node {
        let id_of = |text: &str| NodeId::new(text).unwrap();
        let inputs = data.iter().enumerate().map(|(i, from)| {
            let output = PortName::new("out").unwrap();
            (PortName::new(&format!("in{i}")).unwrap(), InputSource::Output { node: id_of(from), output })
        });
        Node {
            id: id_of(id),
            kind,
            plugin: Some(PluginAlias::new("std-noop").unwrap()),
            config: serde_json::Map::new(),
            inputs: inputs.collect(),
            after: after.iter().map(|id| id_of(id)).collect(),
            when: None,
            limits: lockgate_model::limits::Limits::default(),
            grants: lockgate_model::grant::Grants::default(),
            retry: Retry::default(),
            poll: None,
            accept: BTreeSet::new(),
            allow_failure: false,
            finally: false,
            repeat: 1,
            env: BTreeMap::new(),
            approval: None,
            wait: None,
            max_age: None,
        }
    }

    pub(crate) fn pipeline(nodes: Vec<Node>) -> (Pipeline, Graph) {
        let plugins =
            [(PluginAlias::new("std-noop").unwrap(), PluginSource::Std { name: "noop".into(), digest: None })].into();
        let pipeline = Pipeline {
            schema: 1,
            name: "test".into(),
            params: BTreeMap::new(),
            terms: Default::default(),
            plugins,
            nodes,
            exports: Vec::new(),
            concurrency: None,
            secrets: Default::default(),
        };
        let graph = Graph::new(&pipeline).unwrap();
        (pipeline, graph)
    }

    pub(crate) fn approval(approvers: &[&str], after: &str) -> Node {
        Node {
            plugin: None,
            approval: Some(Approval {
                message: "Release it?".into(),
                approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
                deadline: Millis(86_400_000),
                on_deadline: OnDeadline::Reject,
            }),
            ..node("release", NodeKind::Approval, &[], &[after])
        }
    }

    pub(crate) fn wait(wait: Wait, after: &str) -> Node {
        Node { plugin: None, wait: Some(wait), ..node("calm", NodeKind::Wait, &[], &[after]) }
    }

    pub(crate) fn sample() -> (Pipeline, Graph) {
        let mut cleanup = node("cleanup", NodeKind::Stage, &[], &[]);
        cleanup.finally = true;
        pipeline(vec![
            node("build[os=linux]", NodeKind::Stage, &[], &[]),
            node("sample", NodeKind::Stage, &["build[os=linux]"], &[]),
            node("up", NodeKind::HealthCheck, &[], &["build[os=linux]"]),
            node("judge", NodeKind::Canary, &["sample"], &["up", "build[os=linux]"]),
            cleanup,
            approval(&["alice", "bob", "carol", "dora", "<eve>"], "judge"),
            wait(Wait::For(Millis(1_800_000)), "release"),
        ])
    }

    #[test]
    fn dot_is_drawn() {
        let (pipeline, graph) = sample();
        insta::assert_snapshot!(dot(&pipeline, &graph));
    }

    #[test]
    fn mermaid_is_drawn() {
        let (pipeline, graph) = sample();
        insta::assert_snapshot!(mermaid(&pipeline, &graph));
    }

    #[test]
    fn names_cannot_break_out() {
        assert_eq!(dot_string("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
        assert_eq!(mermaid_text("a\"]<b>;"), "a#34;]#60;b#62;#59;");
    }
}
