//! A run for people, while it goes on: plain lines, or the live view where stderr is a terminal. All of it goes to stderr.

use std::collections::HashSet;

use lockgate_model::event::Event;
use lockgate_model::outcome::Verdict;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::units::Millis;
use lockgate_model::{NodeId, RunId};

use super::diagnostics::count;
use super::live::Live;
use super::output::Output;
use super::report::{Ended, short};
use super::style::{Style, clean_line};
use crate::time::rfc3339;

/// Longer ids push the rest of their line to the right, instead of all lines.
const MAX_WIDTH: usize = 40;

/// Prints events as they come, and keeps what the summary needs.
pub(crate) struct Human<'a> {
    output: &'a Output,
    live: Option<Live>,
    lines: Lines,
    started: HashSet<NodeId>,
    /// Nodes that are final, in the order in which they ended.
    pub(crate) ended: Vec<Ended>,
}

impl<'a> Human<'a> {
    /// For a run of these nodes.
    pub(crate) fn new(output: &'a Output, pipeline: &Pipeline) -> Self {
        let longest = pipeline.nodes.iter().map(|node| node.id.as_str().len()).max().unwrap_or(0);
        let nodes = pipeline.nodes.len();
        let Output { err: style, verbose, quiet, .. } = *output;
        let lines = Lines { nodes, width: longest.min(MAX_WIDTH), style, verbose, quiet };
        Self { output, live: None, lines, started: HashSet::new(), ended: Vec::with_capacity(nodes) }
    }

    /// Takes in one event.
    pub(crate) fn event(&mut self, run: &RunId, event: &Event) {
        if let Some(text) = self.lines.text(run, event) {
            match &self.live {
                Some(live) => live.print(&text),
                None => self.output.note(&text),
            }
        }
        match event {
            Event::RunStarted { .. } | Event::RunResumed { .. } if self.output.live => {
                self.live = Some(Live::new(self.lines.nodes, self.output.err))
            }
            Event::AttemptStarted { node, attempt, .. } => {
                self.started.insert(node.clone());
                self.with_live(|live| {
                    live.started(node, &if *attempt > 1 { format!("attempt {attempt}") } else { String::new() })
                });
            }
            Event::EffectIntended { node, summary, .. } => self.with_live(|live| live.says(node, &short(summary))),
            Event::EffectFinished { node, .. } => self.with_live(|live| live.says(node, "")),
            Event::LookTaken { node, verdict, next_in, .. } => {
                let word = verdict.as_ref().map_or("failed", |verdict| verdict.word.as_str());
                self.with_live(|live| live.says(node, &format!("{word}, next look in {}", Millis(*next_in))));
            }
            Event::AttemptFailed { node, next_in, .. } => {
                self.with_live(|live| live.says(node, &format!("failed, next attempt in {}", Millis(*next_in))));
            }
            Event::NodeFinished { receipt, .. } => {
                let started = self.started.contains(&receipt.node);
                self.with_live(|live| live.finished(&receipt.node, started));
            }
            Event::NodeWaiting { node, .. } => self.with_live(|live| live.says(node, "waits")),
            Event::RunFinished { .. } | Event::RunWaiting { .. } => self.close(),
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::GraphProved { .. }
            | Event::GraphServed { .. }
            | Event::Signalled { .. } => {}
        }
        self.keep(event);
    }

    /// Keeps what the summary needs, and prints nothing.
    pub(crate) fn keep(&mut self, event: &Event) {
        if let Event::NodeFinished { receipt, attempt, reason, facts, .. } = event {
            let (receipt, reason, facts) = (receipt.clone(), reason.clone(), facts.clone());
            self.ended.push(Ended { receipt, attempt: *attempt, reason, facts, dir: None });
        }
    }

    /// Takes the live view away; what comes after is plain.
    pub(crate) fn close(&mut self) {
        if let Some(mut live) = self.live.take() {
            live.close();
        }
    }

    fn with_live(&mut self, act: impl FnOnce(&mut Live)) {
        if let Some(live) = &mut self.live {
            act(live);
        }
    }
}

/// Puts events into words.
pub(crate) struct Lines {
    /// Nodes of the run.
    pub(crate) nodes: usize,
    /// Width to which ids are padded.
    pub(crate) width: usize,
    /// How to colour.
    pub(crate) style: Style,
    /// Say more.
    pub(crate) verbose: bool,
    /// Say nothing.
    pub(crate) quiet: bool,
}

impl Lines {
    /// The lines of one event; none for what is only shown when asked for.
    pub(crate) fn text(&self, run: &RunId, event: &Event) -> Option<String> {
        let Self { nodes, width, style, verbose, quiet } = *self;
        let line = |word: &str, node: &NodeId, rest: String| {
            Some(format!("  {} {}  {rest}\n", style.dim(&format!("{word:<9}")), style.bold(&format!("{node:<width$}"))))
        };
        match event {
            _ if quiet => None,
            Event::RunStarted { name, sources, selection, .. } => {
                let sources =
                    if sources.is_empty() { String::new() } else { format!(", {}", count(sources.len(), "source")) };
                let run = style.dim(&format!("run {run}"));
                let part = selection.as_ref().map_or(String::new(), |part| format!(", part {part}"));
                Some(format!("{}: {}{sources}{part}, {run}\n", style.bold(&clean_line(name)), count(nodes, "node")))
            }
            Event::AttemptStarted { node, attempt, .. } if verbose => {
                line("started", node, format!("attempt {attempt}"))
            }
            Event::EffectIntended { node, kind, summary, .. } if verbose => {
                line("effect", node, format!("{} {}", clean_line(kind), short(summary)))
            }
            Event::LookTaken { node, look, verdict, failure, next_in, .. } => {
                let said = match (verdict, failure) {
                    (Some(verdict), _) => said(verdict),
                    (None, Some(failure)) => format!("{}: {}", failure.kind.name(), short(&failure.message)),
                    (None, None) => "nothing".to_owned(),
                };
                line(&format!("look {}", u64::from(*look) + 1), node, format!("{said}; next in {}", Millis(*next_in)))
            }
            Event::AttemptFailed { node, attempt, failure, next_in, .. } => {
                let message = short(&failure.message);
                line(
                    "retrying",
                    node,
                    format!(
                        "attempt {attempt} failed ({}: {message}); next in {}",
                        failure.kind.name(),
                        Millis(*next_in)
                    ),
                )
            }
            Event::NodeWaiting { node, until, attempt } => {
                let what = if attempt.is_some() { "an effect is in doubt" } else { "for a decision or a time" };
                let until = until.map_or(String::new(), |until| format!(", until {}", rfc3339(until)));
                line("waits", node, format!("{what}{until}"))
            }
            Event::Signalled { node: Some(node), signal, by, comment } => {
                let comment = comment.as_ref().map_or(String::new(), |comment| format!(": {}", short(comment)));
                line(signal.name(), node, format!("by {}{comment}", short(by)))
            }
            Event::Signalled { node: None, signal, by, .. } => {
                Some(format!("  {} the run, by {}\n", style.dim(&format!("{:<9}", signal.name())), short(by)))
            }
            Event::RunResumed { again, .. } => {
                let again = if again.is_empty() {
                    String::new()
                } else {
                    let names: Vec<_> = again.iter().map(ToString::to_string).collect();
                    format!(", taking old verdicts again: {}", names.join(", "))
                };
                Some(format!("{} {}{again}\n", style.bold("resuming"), style.dim(&format!("run {run}"))))
            }
            Event::NodeFinished { receipt, attempt, reason, facts, .. } => {
                let (receipt, reason, facts) = (receipt.clone(), reason.clone(), facts.clone());
                let ended = Ended { receipt, attempt: *attempt, reason, facts, dir: None };
                let shown = verbose || !ended.is_left_out();
                shown.then(|| ended.line(style, width) + &outputs(&ended, style, verbose))
            }
            Event::AttemptStarted { .. }
            | Event::EffectIntended { .. }
            | Event::EffectFinished { .. }
            | Event::RunWaiting { .. }
            | Event::GraphProved { .. }
            | Event::GraphServed { .. }
            | Event::RunFinished { .. } => None,
        }
    }
}

fn said(verdict: &Verdict) -> String {
    let reason = verdict.reasons.first().map(|reason| format!(": {}", short(reason))).unwrap_or_default();
    clean_line(&verdict.word) + &reason
}

fn outputs(ended: &Ended, style: Style, verbose: bool) -> String {
    if !verbose {
        return String::new();
    }
    let line = |(name, artifact): (&lockgate_model::PortName, &lockgate_model::artifact::ArtifactRef)| {
        let size = lockgate_model::units::Bytes(artifact.size);
        format!("            {}\n", style.dim(&format!("{name}: {} {size} {}", artifact.kind.name(), artifact.digest)))
    };
    ended.receipt.outputs.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use lockgate_model::Digest;
    use lockgate_model::event::AttemptFacts;
    use lockgate_model::outcome::{Failure, FailureKind, Status};

    use super::super::report::tests::ended;
    use super::*;

    fn events() -> Vec<Event> {
        let node = NodeId::new("up").unwrap();
        let mut failed = ended("judge", Status::Failed);
        std::sync::Arc::make_mut(&mut failed.receipt).failure =
            Some(Failure { kind: FailureKind::Verdict, message: "rollback: error rate\x1b[1m 12 %".into() });
        let finished = |ended: Ended| Event::NodeFinished {
            digest: Digest::of(b""),
            receipt: ended.receipt,
            attempt: ended.attempt,
            reason: ended.reason,
            facts: ended.facts,
        };
        vec![
            Event::AttemptStarted { node: node.clone(), attempt: 1, key: Digest::of(b""), inputs: [].into() },
            Event::EffectIntended {
                node: node.clone(),
                attempt: 1,
                sequence: 0,
                kind: "http".into(),
                request: Digest::of(b""),
                summary: "GET http://127.0.0.1:1/".into(),
            },
            Event::LookTaken {
                node: node.clone(),
                attempt: 1,
                look: 0,
                verdict: Some(Verdict {
                    word: "degraded".into(),
                    reasons: vec!["slow".into()],
                    figures: vec![],
                    details: None,
                }),
                failure: None,
                next_in: 10_000,
            },
            Event::AttemptFailed {
                node,
                attempt: 1,
                failure: Failure { kind: FailureKind::Error, message: "connection refused".into() },
                facts: AttemptFacts::default(),
                next_in: 1_000,
            },
            finished(ended("up", Status::Succeeded)),
            finished(failed),
        ]
    }

    fn all(verbose: bool, quiet: bool) -> String {
        let run = RunId::new("r0123456789ab").unwrap();
        let lines = Lines { nodes: 2, width: 5, style: Style::PLAIN, verbose, quiet };
        events().iter().filter_map(|event| lines.text(&run, event)).collect()
    }

    #[test]
    fn events_are_plain_lines() {
        insta::assert_snapshot!(all(false, false));
    }

    #[test]
    fn more_is_said_when_asked_for() {
        insta::assert_snapshot!(all(true, false));
    }

    #[test]
    fn quiet_is_quiet() {
        assert_eq!(all(true, true), "");
    }
}
