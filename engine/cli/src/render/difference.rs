//! What differs between two runs, for people.

use std::fmt::Display;

use lockgate_model::Digest;
use serde_json::Value;

use super::diagnostics::count;
use super::report::{fuel_text, short};
use super::style::{Style, clean_line};
use super::table::{Align, Cell, Table};
use crate::difference::{Artifacts, Change, Difference, Files, Named, NodeDifference, Side};
use crate::time::{duration, rfc3339};

/// Files of one tree, and nodes, that are listed; `--verbose` and `--format json` have all.
const LISTED: usize = 20;
/// Longest value of a parameter that is shown, in characters.
const VALUE: usize = 60;

/// Everything that differs.
pub(crate) fn text(difference: &Difference, style: Style, verbose: bool) -> String {
    let most = if verbose { usize::MAX } else { LISTED };
    let mut text = side("before", &difference.before, style) + &side("after", &difference.after, style);
    text += &section("engine", values(&difference.engine), style);
    text += &section("parameters", values(&difference.params), style);
    text += &section("components", digests(&difference.components), style);
    text += &section("sources", difference.sources.iter().map(|source| artifact(source, style, most)).collect(), style);
    let nodes: Vec<&NodeDifference> = difference.differing().collect();
    let same = difference.nodes.len() - nodes.len();
    if !nodes.is_empty() {
        text += &format!("\n{}\n{}", style.bold("nodes"), table(&nodes, style, most));
        text += &nodes.iter().take(most).map(|node| details(node, style, most)).collect::<String>();
    }
    if text.lines().count() == 2 {
        text += "\nnothing differs but time\n";
    } else {
        text += &format!("\n{} the same\n", count(same, "node"));
    }
    text
}

/// In one line, for `lockgate show`: `parameter version; 3 files of directory `.`; 1 component; 2 nodes`.
pub(crate) fn short_text(difference: &Difference) -> String {
    let mut parts: Vec<String> = Vec::new();
    let names = |what: &str, names: Vec<&str>| match names.as_slice() {
        [] => None,
        [one] => Some(format!("{what} {}", clean_line(one))),
        several => Some(count(several.len(), what)),
    };
    parts.extend(names("parameter", difference.params.iter().map(|param| &*param.name).collect()));
    parts.extend(names("component", difference.components.iter().map(|component| &*component.name).collect()));
    for source in &difference.sources {
        parts.push(match &source.files {
            Some(files) => format!("{} of {}", files_text(files), source.name),
            None => source.name.clone(),
        });
    }
    parts.extend(difference.engine.iter().map(|part| part.name.clone()));
    let defined: Vec<&str> =
        difference.nodes.iter().filter(|node| !node.definition.is_empty()).map(|node| node.node.as_str()).collect();
    match defined.as_slice() {
        [] => {}
        [one] => parts.push(format!("definition of {one}")),
        several => parts.push(format!("definitions of {} nodes", several.len())),
    }
    if parts.is_empty() { "nothing that goes into it".to_owned() } else { parts.join("; ") }
}

fn side(word: &str, side: &Side, style: Style) -> String {
    let status = match side.status {
        Some(status) => style.status(status).trim_end().to_owned(),
        None => style.warn("unfinished"),
    };
    let took = side.micros.map(|micros| format!(", {}", duration(micros))).unwrap_or_default();
    let digest = side.digest.map(|digest| format!(", {}", digest.short())).unwrap_or_default();
    let part = side.selection.as_ref().map(|part| format!(", part {part}")).unwrap_or_default();
    let started = rfc3339(side.started);
    format!(
        "{} {} {status} {started}{took}{digest}{part}\n",
        style.dim(&format!("{word:<6}")),
        style.bold(side.run.as_str())
    )
}

fn section(title: &str, lines: Vec<String>, style: Style) -> String {
    if lines.is_empty() { String::new() } else { format!("\n{}\n{}", style.bold(title), lines.concat()) }
}

fn values(changes: &[Named<Value>]) -> Vec<String> {
    let value = |value: &Option<Value>| match value {
        Some(value) => short_value(&clean_line(&value.to_string())),
        None => "none".to_owned(),
    };
    changes
        .iter()
        .map(|change| {
            format!("  {}: {} -> {}\n", clean_line(&change.name), value(&change.before), value(&change.after))
        })
        .collect()
}

fn short_value(text: &str) -> String {
    if text.chars().count() > VALUE { text.chars().take(VALUE).chain(['…']).collect() } else { text.to_owned() }
}

fn digests(changes: &[Named<Digest>]) -> Vec<String> {
    let digest = |digest: &Option<Digest>| digest.map_or("none".to_owned(), |digest| digest.short());
    changes
        .iter()
        .map(|change| {
            format!("  {}: {} -> {}\n", clean_line(&change.name), digest(&change.before), digest(&change.after))
        })
        .collect()
}

fn files_text(files: &Files) -> String {
    let number = usize::try_from(files.count).unwrap_or(usize::MAX);
    if files.error.is_some() { "some files".to_owned() } else { count(number, "file") }
}

/// An artifact with the files in which it differs.
fn artifact(artifact: &Artifacts, style: Style, most: usize) -> String {
    let name = clean_line(&artifact.name);
    let Some(files) = &artifact.files else {
        let digest = |side: Option<lockgate_model::artifact::ArtifactRef>| {
            side.map_or("none".to_owned(), |artifact| artifact.digest.short())
        };
        return format!("  {name}: {} -> {}\n", digest(artifact.before), digest(artifact.after));
    };
    let mut text = format!("  {name}: {}\n", files_text(files));
    let lists = [("~", &files.changed), ("+", &files.added), ("-", &files.removed)];
    let all = lists.iter().flat_map(|(mark, paths)| paths.iter().map(move |path| (*mark, path)));
    for (mark, path) in all.take(most) {
        let mark = match mark {
            "+" => style.good(mark),
            "-" => style.bad(mark),
            _ => style.warn(mark),
        };
        text += &format!("    {mark} {}\n", clean_line(path));
    }
    let left =
        files.count.saturating_sub(most.min(files.changed.len() + files.added.len() + files.removed.len()) as u64);
    if left > 0 {
        text += &format!("    {}\n", style.dim(&format!("and {left} more")));
    }
    if let Some(error) = &files.error {
        text += &format!("    {}\n", style.warn(&format!("not compared to the end: {}", clean_line(error))));
    }
    text
}

fn table(nodes: &[&NodeDifference], style: Style, most: usize) -> String {
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("status", Align::Left),
        ("verdict", Align::Left),
        ("fuel", Align::Left),
        ("time", Align::Left),
        ("differs in", Align::Left),
    ]);
    for node in nodes.iter().take(most) {
        table.row(vec![
            node.node.as_str().into(),
            arrow(&node.status, |status| status.name().to_owned()).into(),
            arrow(&node.verdict, |word| clean_line(word)).into(),
            fuel(&node.fuel).into(),
            arrow(&node.micros, |micros| duration(*micros)).into(),
            Cell::from(parts(node)),
        ]);
    }
    let mut text = table.render(style, 2);
    if nodes.len() > most {
        text += &format!("  {}\n", style.dim(&format!("and {} more", nodes.len() - most)));
    }
    text
}

/// `succeeded -> failed`; one word where both are the same.
fn arrow<T: PartialEq>(change: &Change<Option<T>>, text: impl Fn(&T) -> String) -> String {
    let side = |side: &Option<T>| side.as_ref().map_or("none".to_owned(), &text);
    match (&change.before, &change.after) {
        (None, None) => String::new(),
        (before, after) if before == after => side(before),
        (before, after) => format!("{} -> {}", side(before), side(after)),
    }
}

/// `1.2M -> 1.5M (+25 %)`
fn fuel(change: &Change<Option<u64>>) -> String {
    let mut text = arrow(change, |fuel| fuel_text(*fuel));
    if let (Some(before), Some(after)) = (change.before, change.after)
        && before != after
        && before > 0
    {
        text += &format!(" ({:+.1} %)", (after as f64 - before as f64) * 100.0 / before as f64);
    }
    text
}

fn parts(node: &NodeDifference) -> String {
    let mut parts: Vec<String> = node.definition.iter().map(|part| clean_line(part)).collect();
    let ports = |word: &str, ports: &[Artifacts]| -> Vec<String> {
        ports.iter().map(|port| format!("{word} {}", clean_line(&port.name))).collect()
    };
    parts.extend(ports("input", &node.inputs));
    parts.extend(ports("output", &node.outputs));
    const SHOWN: usize = 4;
    if parts.len() > SHOWN {
        let more = parts.len() - SHOWN;
        parts.truncate(SHOWN);
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

/// Why a node fails now, or failed before, and which files of its outputs differ.
fn details(node: &NodeDifference, style: Style, most: usize) -> String {
    let mut text = String::new();
    if node.failure.before != node.failure.after {
        for (word, failure) in [("before", &node.failure.before), ("after", &node.failure.after)] {
            if let Some(failure) = failure {
                text += &line(style, word, format_args!("{}: {}", failure.kind.name(), short(&failure.message)));
            }
        }
    }
    for output in node.outputs.iter().filter(|output| output.files.is_some()) {
        text += &artifact(output, style, most).lines().map(|line| format!("  {line}\n")).collect::<String>();
    }
    if text.is_empty() { text } else { format!("\n  {}\n{text}", style.bold(node.node.as_str())) }
}

fn line(style: Style, word: &str, what: impl Display) -> String {
    format!("    {} {what}\n", style.dim(&format!("{word:<6}")))
}

#[cfg(test)]
mod tests {
    use lockgate_model::event::Event;
    use lockgate_model::outcome::{Failure, FailureKind, Status};
    use lockgate_model::pipeline::ParamValue;
    use lockgate_store::Store;

    use super::*;
    use crate::past::PastRun;
    use crate::render::samples;

    fn compared() -> (tempfile::TempDir, Difference) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        let (before, _) = samples::past();
        let (mut after, _) = samples::past();
        let mut pipeline = (*after.pipeline).clone();
        pipeline.params.insert("version".into(), ParamValue::String("1.2\x1b.3".into()));
        pipeline.nodes[0].config.insert("level".into(), 3.into());
        after.run.records.iter_mut().for_each(|record| record.seq += 100);
        after.run.summary.id = lockgate_model::RunId::new("r01jd74vjm00000002").unwrap();
        for record in &mut after.run.records {
            if let Event::RunStarted { components, logical_time, .. } = &mut record.event {
                components.values_mut().for_each(|component| component.digest = Digest::of(b"newer"));
                *logical_time += 1;
            }
            if let Event::NodeFinished { receipt, facts, .. } = &mut record.event
                && receipt.node.as_str() == "build[os=linux]"
            {
                let receipt = std::sync::Arc::make_mut(receipt);
                receipt.status = Status::Failed;
                receipt.failure = Some(Failure { kind: FailureKind::Fuel, message: "spent\nall".into() });
                receipt.fuel = None;
                receipt.outputs.clear();
                facts.micros = 99_000;
            }
        }
        let graph = (**after.state.graph()).clone();
        let after = PastRun::unchecked(after.run.summary, after.run.records, pipeline, graph);
        // The order of the arguments does not matter.
        let difference = Difference::new(&store, &after, &before);
        (dir, difference)
    }

    #[test]
    fn two_runs_are_compared() {
        let (_dir, difference) = compared();
        insta::assert_snapshot!(text(&difference, Style::PLAIN, false));
        assert_eq!(
            short_text(&difference),
            "parameter version; component std-noop; logical time; definition of build[os=linux]"
        );
    }

    #[test]
    fn files_of_trees_are_listed_and_counted() {
        let files = Files {
            added: vec!["b\x1b".into()],
            removed: vec!["c".into()],
            changed: vec!["a".into()],
            count: 3,
            error: None,
        };
        let source = Artifacts { name: "directory `.`".into(), before: None, after: None, files: Some(files) };
        let text = artifact(&source, Style::PLAIN, 2);
        assert_eq!(text, "  directory `.`: 3 files\n    ~ a\n    + b\\u{1b}\n    and 1 more\n");
    }

    #[test]
    fn fuel_is_compared_in_percent() {
        assert_eq!(fuel(&Change { before: Some(1_000_000), after: Some(1_250_000) }), "1M -> 1.2M (+25.0 %)");
        assert_eq!(fuel(&Change { before: Some(5), after: Some(5) }), "5");
        assert_eq!(fuel(&Change { before: None, after: Some(5) }), "none -> 5");
    }
}
