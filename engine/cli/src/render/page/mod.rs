//! A run as one HTML page that needs nothing else: no script, no font, no image from anywhere. `lockgate run --report` and
//! `lockgate show --report` write it.
//!
//! Everything that a guest wrote is escaped by `maud`; the page's own policy forbids scripts and requests besides, so that a mistake
//! here would still run nothing. What opens and filters is HTML and CSS: it works with the keyboard as it is.
//!
//! In reading order: [`timeline`], [`node`].

mod node;
mod timeline;

use std::collections::BTreeMap;
use std::io;

use lockgate_model::NodeId;
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::NodeState;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::diagnostics::count;
use super::json::Worst;
use super::plan::source_text;
use super::report::{Blobs, Ended, LINE, reused, totals};
use super::style::{clean_line, clean_text};
use super::svg::{Label, picture};
use crate::past::PastRun;
use crate::time::{duration, rfc3339};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded and nothing runs; styles stand in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
/// Nodes of which everything is shown; of larger runs, those that did not succeed come first.
const NODES: usize = 2_000;

/// The page. `worst` is what each node used of its fuel at most over several runs.
///
/// # Errors
/// None yet: what cannot be read is said where it would stand.
#[expect(clippy::unnecessary_wraps, reason = "one of several reports, others of which can fail")]
pub(crate) fn page(run: &PastRun, blobs: &dyn Blobs, worst: &BTreeMap<NodeId, Worst>) -> io::Result<String> {
    let shown = shown(run);
    let mut room = node::Room::default();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content={ "lockgate " (env!("CARGO_PKG_VERSION")) };
                title { (line(&run.summary.name)) ": " (status_word(run)) ", run " (run.summary.id) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the graph" }
                (head(run))
                main #main tabindex="-1" {
                    (graph(run, &shown))
                    (timeline::timeline(run, &shown))
                    (nodes(run, &shown, (blobs, worst), &mut room))
                    footer { "Written by lockgate " (env!("CARGO_PKG_VERSION")) " from the journal of the run." }
                }
            }
        }
    };
    Ok(markup.into_string() + "\n")
}

/// The nodes that the page shows, by their index, in the pipeline's order.
fn shown(run: &PastRun) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..run.pipeline.nodes.len()).collect();
    if shown.len() > NODES {
        let fine = |index: &usize| ended(run, *index).is_some_and(|node| node.receipt.status == Status::Succeeded);
        shown.sort_by_key(fine);
        shown.truncate(NODES);
        shown.sort_unstable();
    }
    shown
}

fn ended(run: &PastRun, index: usize) -> Option<&Ended> {
    run.ended.get(&run.pipeline.nodes[index].id)
}

/// How a node ended or where it stands, as a word that is also a class.
fn word(run: &PastRun, index: usize) -> &'static str {
    match ended(run, index) {
        Some(ended) => ended.receipt.status.name(),
        None if matches!(run.state.state(index), NodeState::Waiting { .. }) => "waiting",
        None => "unfinished",
    }
}

fn status_word(run: &PastRun) -> &'static str {
    let open = if run.state.is_paused() { "waiting" } else { "unfinished" };
    run.summary.status.map_or(open, Status::name)
}

/// The place of a node in the page.
fn anchor(index: usize) -> String {
    format!("node-{index}")
}

/// A guest's text on one line.
fn line(text: &str) -> String {
    cut(&clean_line(text))
}

/// A guest's text of several lines.
fn lines(text: &str) -> String {
    clean_text(text).lines().map(cut).collect::<Vec<_>>().join("\n")
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 4 * LINE;
    if text.chars().count() > LONGEST { text.chars().take(LONGEST).chain(['…']).collect() } else { text.to_owned() }
}

fn head(run: &PastRun) -> Markup {
    let summary = &run.summary;
    let all: Vec<Ended> = run.in_order().into_iter().cloned().collect();
    let status = status_word(run);
    html! {
        header {
            h1 { (line(&summary.name)) " " span class={ "is-" (status) } { (status) } }
            p { (totals(&all, run.pipeline.nodes.len(), 0)) (reused(&all))
                @if let Some(micros) = run.micros() { " in " (duration(micros)) } }
            dl {
                dt { "run" } dd { code { (summary.id) } }
                dt { "file" } dd { code { (line(&summary.file)) } }
                dt { "started" } dd { time datetime=(rfc3339(summary.started_ms)) { (rfc3339(summary.started_ms)) } }
                dt { "digest" } dd { @match summary.digest {
                    Some(digest) => code { (digest) },
                    None if run.selection().is_some() => span.dim { "none: the run is of a part of the pipeline" },
                    None => span.dim { "none: infrastructure kept the run from one, or it is not over" },
                } }
                @if let Some(part) = run.selection() { dt { "part" } dd { code { (part) } } }
                @if let Some(Event::RunStarted { engine, determinism, logical_time, sources, .. }) = run.records.first().map(|r| &r.event) {
                    dt { "engine" } dd { "lockgate " (line(engine)) ", determinism " code { (line(determinism)) } }
                    dt { "logical time" } dd { (rfc3339(*logical_time)) }
                    @for source in sources {
                        dt { "source" } dd { (line(&source_text(&source.source))) ": " code { (source.artifact.digest) } }
                    }
                }
                (params(&run.pipeline))
            }
            nav aria-label="Parts of this page" { ul {
                li { a href="#graph" { "Graph" } }
                li { a href="#timeline" { "Timeline" } }
                li { a href="#nodes" { "Nodes" } }
                @for (index, node) in run.pipeline.nodes.iter().enumerate().filter(|(index, _)| ended(run, *index).is_some_and(Ended::is_bad)).take(20) {
                    li { a href={ "#" (anchor(index)) } { (word(run, index)) ": " (node.id) } }
                }
            } }
        }
    }
}

fn params(pipeline: &Pipeline) -> Markup {
    html! {
        @for (name, value) in &pipeline.params {
            dt { "parameter" } dd { code { (line(name)) " = " (line(&value.to_string())) } }
        }
    }
}

fn graph(run: &PastRun, shown: &[usize]) -> Markup {
    let label = |index: usize| {
        let ended = ended(run, index);
        let mut below = word(run, index).to_owned();
        if let Some(ended) = ended.filter(|ended| ended.attempt > 0) {
            below += &format!(" · {}", duration(ended.facts.micros));
        }
        if let Some(origin) = ended.map(Ended::origin).filter(|origin| !origin.is_empty()) {
            below += &format!(" · {origin}");
        }
        let link = shown.binary_search(&index).is_ok().then(|| format!("#{}", anchor(index)));
        Label { below, class: word(run, index), link }
    };
    html! {
        section aria-labelledby="graph" {
            h2 #graph { "Graph" }
            @match picture(&run.pipeline, run.state.graph(), label) {
                Ok(svg) => {
                    div.scroll tabindex="0" role="region" aria-label="Graph; each node leads to its details" { (PreEscaped(svg)) }
                },
                Err(error) => p { "Too large to " (error.to_string()) "." },
            }
        }
    }
}

fn nodes(run: &PastRun, shown: &[usize], about: node::About<'_>, room: &mut node::Room) -> Markup {
    let number = |test: &dyn Fn(&Ended) -> bool| shown.iter().filter(|&&i| ended(run, i).is_some_and(test)).count();
    let bad = shown.iter().filter(|&&index| node::is_bad(ended(run, index))).count();
    let found = number(&|node| node.receipt.findings.is_some());
    let cached = number(&|node| node.facts.cached);
    let left_out = run.pipeline.nodes.len() - shown.len();
    html! {
        section aria-labelledby="nodes" {
            h2 #nodes { "Nodes" }
            fieldset {
                legend { "Show" }
                @for (id, text, number) in [("all", "all", shown.len()), ("bad", "what did not succeed", bad), ("found", "with findings", found), ("cached", "from the cache", cached)] {
                    label { input type="radio" name="show" id={ "show-" (id) } checked[id == "all"]; " " (text) " (" (number) ")" }
                }
            }
            @if left_out > 0 { p { (count(left_out, "node")) " that succeeded are left out." } }
            @for &index in shown { (node::node(run, index, about, room)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_run_is_a_page() {
        let (run, blobs) = samples::past();
        let judge = run.pipeline.nodes.iter().find(|node| node.id.as_str() == "judge").unwrap().id.clone();
        let worst = Worst { percent: 93.7, run: "r0worst".parse().unwrap(), runs: 7 };
        let text = page(&run, &blobs, &[(judge, worst)].into()).unwrap();
        assert!(text.contains("94 % of the budget, in <code>r0worst</code>, the most of 7 runs"), "{text}");
        for part in ["<!DOCTYPE html>", "id=\"graph\"", "id=\"timeline\"", "id=\"nodes\"", "error-rate", "info begins"]
        {
            assert!(text.contains(part), "no {part}");
        }
    }

    #[test]
    fn nothing_that_a_guest_wrote_is_markup() {
        let (run, blobs) = samples::past();
        let text = page(&run, &blobs, &BTreeMap::new()).unwrap();
        for bad in ["<script", "<!--", "javascript:", "\u{1b}", "\u{202e}", " onload", "<img", "src="] {
            assert!(!text.contains(bad), "{bad}");
        }
        // Nothing is asked of anybody: addresses are names of XML, or text.
        for attribute in ["href=\"http", "url(http", "@import", "url(//"] {
            assert!(!text.contains(attribute), "{attribute}");
        }
        assert!(text.contains("&lt;/script&gt;"));
        assert!(text.contains("default-src 'none'"));
    }

    #[test]
    fn large_runs_show_what_failed() {
        let (run, blobs) = samples::past();
        let mut pipeline = (*run.pipeline).clone();
        let template = pipeline.nodes[1].clone();
        let succeeded = run.ended[&pipeline.nodes[0].id].clone();
        let mut ended = run.ended.clone();
        for i in 0..NODES {
            let mut node = template.clone();
            node.id = lockgate_model::NodeId::new(&format!("n{i}")).unwrap();
            node.inputs.clear();
            ended.insert(node.id.clone(), succeeded.clone());
            pipeline.nodes.insert(0, node);
        }
        let graph = lockgate_model::graph::Graph::new(&pipeline).unwrap();
        let mut run = PastRun::unchecked(run.run.summary, run.run.records, pipeline, graph);
        run.ended = ended;
        let shown = shown(&run);
        assert_eq!(shown.len(), NODES);
        assert!(shown.contains(&(NODES + 3)), "`judge` failed");
        assert!(page(&run, &blobs, &BTreeMap::new()).unwrap().contains("7 nodes that succeeded are left out"));
        assert!(page(&run, &blobs, &BTreeMap::new()).unwrap().contains("Too large to draw a picture of 2007 nodes"));
    }
}
