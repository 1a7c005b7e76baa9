//! Everything about one node: what it was, what it said, what it proved.

use std::collections::BTreeMap;

use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::outcome::{Finding, Status, Verdict};
use lockgate_model::units::{Bytes, Fuel, Millis};
use lockgate_model::{NodeId, PortName};
use maud::{Markup, html};

use super::{anchor, ended, line, lines, word};
use crate::past::PastRun;
use crate::render::findings::{finding_counts, read_findings};
use crate::render::graph::caption;
use crate::render::json::Worst;
use crate::render::report::{Blobs, Ended, last_lines, percent, percent_text};
use crate::render::verdict::number;
use crate::time::{duration, rfc3339};

/// Lines of one log; of longer ones the end.
const LOG_LINES: usize = 2_000;
/// Bytes of all logs together, after which they are left out: browsers grow slow with tens of megabytes.
const LOG_BYTES: usize = 16 << 20;
/// Findings of one node, and of all together.
const FINDINGS: usize = 1_000;
const ALL_FINDINGS: usize = 20_000;
/// Steps (attempts, looks, effects) of one node that are listed.
const STEPS: usize = 500;

/// What the page still has room for.
pub(super) struct Room {
    log_bytes: usize,
    findings: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { log_bytes: LOG_BYTES, findings: ALL_FINDINGS }
    }
}

/// What else is known of the nodes: their blobs, and the most fuel that they used over several runs.
pub(super) type About<'a> = (&'a dyn Blobs, &'a BTreeMap<NodeId, Worst>);

/// Whether a node is one that people look for first. Skipped ones are the consequence, not the cause.
pub(super) fn is_bad(ended: Option<&Ended>) -> bool {
    ended.is_none_or(|ended| !matches!(ended.receipt.status, Status::Succeeded | Status::Skipped))
}

/// A node, open if it went wrong.
pub(super) fn node(run: &PastRun, index: usize, (blobs, worst): About<'_>, room: &mut Room) -> Markup {
    let node = &run.pipeline.nodes[index];
    let ended = ended(run, index);
    let (status, bad) = (word(run, index), is_bad(ended));
    let mut class = String::from("node");
    for (wanted, name) in [
        (bad, " bad"),
        (ended.is_some_and(|ended| ended.receipt.findings.is_some()), " found"),
        (ended.is_some_and(|ended| ended.facts.cached), " cached"),
    ] {
        class += if wanted { name } else { "" };
    }
    html! {
        details class=(class) open[bad] {
            summary {
                span class={ "status is-" (status) } { (status) }
                span.id { (node.id) }
                @if let Some(ended) = ended { (figures(ended)) }
                @if node.allow_failure { span.dim { "may fail" } }
            }
            // The place to jump to is inside, so that browsers open what is around it.
            div.body id=(anchor(index)) tabindex="-1" {
                dl {
                    dt { "kind" } dd { (node.kind.name()) ", " code { (line(&caption(&run.pipeline, node))) } }
                    @if let Some(approval) = &node.approval { dt { "asks" } dd { (line(&approval.message)) } }
                    @if let Some(ended) = ended { (receipt(ended, worst.get(&node.id))) }
                }
                @if let Some(ended) = ended { (outcome(ended, blobs, room)) }
                (history(run, index))
                @if let Some(ended) = ended {
                    (ports("Outputs", &ended.receipt.outputs))
                }
                (log(run, index, blobs, room))
                @if let Some(ended) = ended {
                    @if let Some(backtrace) = &ended.facts.backtrace { h3 { "Wasm backtrace" } pre tabindex="0" { (lines(backtrace)) } }
                    details { summary { "Receipt as JSON" }
                        pre tabindex="0" { (lines(&serde_json::to_string_pretty(&ended.receipt).unwrap_or_default())) } }
                }
            }
        }
    }
}

fn figures(ended: &Ended) -> Markup {
    let findings = finding_counts(&ended.facts);
    html! {
        @if ended.attempt > 0 { span.dim { (duration(ended.facts.micros)) } }
        @if ended.facts.cached { span.dim { (ended.origin()) } }
        @if let Some(fuel) = ended.receipt.fuel { span.dim { "fuel " (percent(fuel, ended.facts.fuel_limit)) " of budget" } }
        @if let Some(verdict) = &ended.receipt.verdict { span class=(verdict_class(verdict)) { (line(&verdict.word)) } }
        @if !findings.is_empty() { span { (line(&findings)) } }
    }
}

fn receipt(ended: &Ended, worst: Option<&Worst>) -> Markup {
    let receipt = &ended.receipt;
    html! {
        @if let Some(component) = receipt.component { dt { "component" } dd { code { (component) } } }
        @if let Some(decision) = &receipt.decision {
            dt { "decision" } dd {
                (line(&decision.word))
                @if let Some(by) = &decision.by { " by " (line(by)) }
                @if let Some(comment) = &decision.comment { ": " (line(comment)) }
            }
        }
        @if let Some(key) = receipt.key { dt { "action key" } dd { code { (key) } } }
        @if let Some(origin) = &ended.facts.taken_from { dt { "executed" } dd { "in run " code { (origin.run) } ", " (rfc3339(origin.time)) } }
        dt { "receipt" } dd { code { (receipt.digest()) } }
        @if let Some(fuel) = receipt.fuel {
            dt { "fuel" } dd { (Fuel(fuel)) " of " (Fuel(ended.facts.fuel_limit)) ", " (percent(fuel, ended.facts.fuel_limit)) }
        }
        @if let Some(worst) = worst.filter(|worst| worst.runs > 1) {
            dt { "worst fuel" } dd { (percent_text(worst.percent)) " of the budget, in " code { (worst.run) } ", the most of " (worst.runs) " runs" }
        }
        @if ended.facts.peak_memory > 0 { dt { "memory" } dd { (Bytes(ended.facts.peak_memory)) } }
        @if ended.attempt > 1 { dt { "attempts" } dd { (ended.attempt) } }
        @if let Some(reason) = &ended.reason { dt { "reason" } dd { (line(reason)) } }
    }
}

fn outcome(ended: &Ended, blobs: &dyn Blobs, room: &mut Room) -> Markup {
    html! {
        @if let Some(failure) = &ended.receipt.failure {
            h3 { "Failure: " (failure.kind.name()) }
            pre tabindex="0" { (lines(&failure.message)) }
        }
        @if let Some(verdict) = &ended.receipt.verdict { (verdict_part(verdict)) }
        @if let Some(blob) = &ended.receipt.findings {
            h3 { "Findings" }
            @match read_findings(blob, ended.dir.as_deref(), blobs) {
                Ok(findings) => (finding_table(&findings, room)),
                Err(error) => p { "They cannot be read: " (line(&error.to_string())) },
            }
        }
    }
}

fn verdict_class(verdict: &Verdict) -> &'static str {
    match (verdict.is_good(), verdict.is_bad()) {
        (true, _) => "is-succeeded",
        (_, true) => "is-failed",
        _ => "is-warning",
    }
}

fn verdict_part(verdict: &Verdict) -> Markup {
    html! {
        h3 { "Verdict: " span class=(verdict_class(verdict)) { (line(&verdict.word)) } }
        @if !verdict.reasons.is_empty() { ul { @for reason in &verdict.reasons { li { (line(reason)) } } } }
        @if !verdict.figures.is_empty() {
            table {
                thead { tr { th scope="col" { "figure" } th.num scope="col" { "value" } th.num scope="col" { "baseline" } th.num scope="col" { "limit" } th scope="col" { "unit" } th scope="col" { "" } } }
                tbody { @for figure in &verdict.figures { tr {
                    td { (line(&figure.name)) }
                    td.num { (number(figure.value)) }
                    td.num { (figure.baseline.map(number).unwrap_or_default()) }
                    td.num { (figure.limit.map(number).unwrap_or_default()) }
                    td { (line(figure.unit.as_deref().unwrap_or_default())) }
                    td { @match figure.passed { Some(true) => span.is-within { "within" }, Some(false) => span.is-over { "over" }, None => "" } }
                } } }
            }
        }
        @if let Some(details) = &verdict.details {
            details { summary { "Details" } pre tabindex="0" { (lines(&format!("{details:#}"))) } }
        }
    }
}

fn finding_table(findings: &[Finding], room: &mut Room) -> Markup {
    let shown = findings.len().min(FINDINGS).min(room.findings);
    room.findings -= shown;
    html! {
        @if shown > 0 {
            table {
                thead { tr { th scope="col" { "severity" } th scope="col" { "place" } th scope="col" { "message" } th scope="col" { "rule" } } }
                tbody { @for finding in &findings[..shown] { tr {
                    td class={ "is-" (match finding.severity.as_str() { "error" => "error", "warning" => "warning", _ => "note" }) } { (line(&finding.severity)) }
                    td.mono {
                        (line(finding.path.as_deref().unwrap_or_default()))
                        @if let Some(at) = finding.line { ":" (at) @if let Some(column) = finding.column { ":" (column) } }
                    }
                    td { (line(&finding.message)) }
                    td.mono { (line(finding.rule.as_deref().unwrap_or_default())) }
                } } }
            }
        }
        @if shown < findings.len() { p.dim { "and " (findings.len() - shown) " more; `lockgate show` has all" } }
    }
}

fn ports(title: &str, ports: &BTreeMap<PortName, ArtifactRef>) -> Markup {
    html! {
        @if !ports.is_empty() {
            h3 { (title) }
            dl { @for (name, artifact) in ports {
                dt { (name) } dd { (artifact.kind.name()) " of " (Bytes(artifact.size)) ", " code { (artifact.digest) } }
            } }
        }
    }
}

/// What happened, step by step: attempts, looks, effects. One uneventful attempt is no history.
fn history(run: &PastRun, index: usize) -> Markup {
    let id = &run.pipeline.nodes[index].id;
    let mut inputs = None;
    let mut steps: Vec<(u64, String)> = Vec::new();
    let mut eventful = false;
    for (time, event) in run.events_of(id) {
        let said = match event {
            Event::AttemptStarted { attempt, inputs: given, .. } => {
                inputs = Some(given);
                format!("attempt {attempt} started")
            }
            Event::EffectIntended { sequence, kind, summary, .. } => {
                eventful = true;
                format!("effect {sequence}: {} {}", line(kind), line(summary))
            }
            Event::LookTaken { look, verdict, failure, next_in, .. } => {
                eventful = true;
                let word = match (verdict, failure) {
                    (Some(verdict), _) => line(&verdict.word),
                    (None, Some(failure)) => format!("{}: {}", failure.kind.name(), line(&failure.message)),
                    (None, None) => "nothing".to_owned(),
                };
                format!("look {}: {word}; next in {}", u64::from(*look) + 1, Millis(*next_in))
            }
            Event::AttemptFailed { attempt, failure, next_in, .. } => {
                eventful = true;
                let (kind, message) = (failure.kind.name(), line(&failure.message));
                format!("attempt {attempt} failed ({kind}): {message}; next in {}", Millis(*next_in))
            }
            Event::NodeWaiting { until, .. } => {
                eventful = true;
                format!("waits{}", until.map(|until| format!(" until {}", rfc3339(until))).unwrap_or_default())
            }
            Event::Signalled { signal, by, comment, .. } => {
                eventful = true;
                let comment = comment.as_deref().map(|comment| format!(": {}", line(comment))).unwrap_or_default();
                format!("{} by {}{comment}", signal.name(), line(by))
            }
            Event::EffectFinished { .. }
            | Event::GraphProved { .. }
            | Event::GraphServed { .. }
            | Event::RunWaiting { .. }
            | Event::RunResumed { .. }
            | Event::NodeFinished { .. }
            | Event::RunStarted { .. }
            | Event::RunFinished { .. } => continue,
        };
        steps.push((time, said));
    }
    html! {
        @if let Some(inputs) = inputs { (ports("Inputs", inputs)) }
        @if eventful {
            h3 { "History" }
            table.history { tbody { @for (time, said) in steps.iter().take(STEPS) { tr {
                td.num { "after " (duration(time.saturating_sub(run.summary.started_ms) * 1_000)) } td { (said) }
            } } } }
            @if steps.len() > STEPS { p.dim { "and " (steps.len() - STEPS) " more" } }
        }
    }
}

fn log(run: &PastRun, index: usize, blobs: &dyn Blobs, room: &mut Room) -> Markup {
    let id = &run.pipeline.nodes[index].id;
    let Some(blob) = run.log_of(id) else { return html! {} };
    if room.log_bytes == 0 {
        return html! { p.dim { "Its log is left out, the page is large: " code { "lockgate logs " (run.summary.id) " " (id) } } };
    }
    match blobs.open(&blob).and_then(|reader| last_lines(reader, LOG_LINES)) {
        Ok((total, kept)) => {
            let text = kept.iter().map(|kept| line(kept)).collect::<Vec<_>>().join("\n");
            room.log_bytes = room.log_bytes.saturating_sub(text.len());
            html! {
                h3 { "Log" @if kept.len() < total { ", last " (kept.len()) " of " (total) " lines" } }
                pre tabindex="0" role="region" aria-label={ "Log of " (id) } { (text) }
            }
        }
        Err(error) => html! { p { "The log cannot be read: " (line(&error.to_string())) } },
    }
}
