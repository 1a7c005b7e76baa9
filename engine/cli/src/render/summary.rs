//! The end of a run for people: what failed and why, verdicts, findings, the table, and where to see more. Goes to stderr.

use std::collections::BTreeMap;

use lockgate_model::event::Selection;
use lockgate_model::outcome::Status;
use lockgate_model::{Digest, RunId};

use super::report::{self, Blobs, Ended, FINDINGS, LOG_LINES};
use super::style::Style;
use crate::time::duration;

/// Nodes that are explained at the end of a run; `lockgate show` explains any.
const EXPLAINED: usize = 20;

/// What is summed up.
pub(crate) struct Summary<'a> {
    /// The run.
    pub(crate) run: &'a RunId,
    /// How it ended.
    pub(crate) status: Status,
    /// Which part of its pipeline it is of.
    pub(crate) part: Option<&'a Selection>,
    /// Whether it is not over, and only waiting nodes are left.
    pub(crate) waits: bool,
    /// Final nodes in the order of the pipeline.
    pub(crate) ended: &'a [Ended],
    /// Nodes of the pipeline.
    pub(crate) nodes: usize,
    /// How many of them ended before the run was resumed.
    pub(crate) before: usize,
    /// How long it took, in microseconds.
    pub(crate) micros: u64,
    /// Options that `lockgate show` needs to find the run, with a blank in front.
    pub(crate) options: &'a str,
}

impl Summary<'_> {
    /// The text. `quiet` leaves away what concerns nodes that succeeded, `verbose` shows their logs too.
    pub(crate) fn render(&self, blobs: &dyn Blobs, style: Style, quiet: bool, verbose: bool) -> String {
        let mut text = String::new();
        let worth = |node: &&Ended| node.is_bad() || !quiet && (verbose || self.has_news(node));
        let mut explained = 0;
        for node in self.ended.iter().filter(worth) {
            let log_lines = if node.is_bad() || verbose { LOG_LINES } else { 0 };
            let details = node.details(blobs, style, FINDINGS, log_lines);
            if details.is_empty() {
                continue;
            }
            explained += 1;
            if explained > EXPLAINED {
                continue;
            }
            text += &format!(
                "\n  {} {}\n{details}",
                style.status(node.receipt.status),
                style.bold(node.receipt.node.as_str())
            );
        }
        if explained > EXPLAINED {
            text += &format!("\n  {}\n", style.dim(&format!("and {} more", explained - EXPLAINED)));
        }
        if !quiet {
            let table = report::summary(self.ended, style, &BTreeMap::new());
            if !table.is_empty() {
                text += &format!("\n{table}");
            }
        }
        text += &format!(
            "\n{} in {}: {}\n",
            self.word(style),
            duration(self.micros),
            report::totals(self.ended, self.nodes, self.before)
        );
        if let Some(part) = self.part {
            text += &format!("part of the pipeline: {part}; it has no run digest\n");
        }
        if !quiet {
            text += &self.more(style);
        }
        text
    }

    fn word(&self, style: Style) -> String {
        if self.waits {
            return style.bold("waiting");
        }
        style.status(self.status).replace("  ", "").trim_end().to_owned()
    }

    /// Verdicts and findings are worth a look even where all went well.
    fn has_news(&self, node: &Ended) -> bool {
        node.receipt.verdict.is_some() || node.receipt.findings.is_some()
    }

    fn more(&self, style: Style) -> String {
        let (run, options) = (self.run, self.options);
        match self.ended.iter().find(|node| node.is_bad()) {
            Some(node) => {
                let id = &node.receipt.node;
                style.dim(&format!("more: lockgate show {run} {id}{options}, lockgate logs {run} {id}{options}")) + "\n"
            }
            None => style.dim(&format!("more: lockgate show {run}{options}")) + "\n",
        }
    }
}

/// The one line of data that a run for people leaves on stdout.
pub(crate) fn result_line(run: &RunId, word: &str, digest: Option<Digest>) -> String {
    let digest = digest.map(|digest| format!(" {digest}")).unwrap_or_default();
    format!("run {run} {word}{digest}\n")
}

#[cfg(test)]
mod tests {
    use lockgate_model::outcome::{Failure, FailureKind};

    use super::super::report::tests::{Memory, ended};
    use super::*;

    fn summary(quiet: bool) -> String {
        let mut blobs = Memory::default();
        let mut bad = ended("judge", Status::Failed);
        std::sync::Arc::make_mut(&mut bad.receipt).failure =
            Some(Failure { kind: FailureKind::Error, message: "no samples".into() });
        std::sync::Arc::make_mut(&mut bad.receipt).log = Some(blobs.put(b"info one\nwarn two\n"));
        let mut good = ended("sample", Status::Succeeded);
        std::sync::Arc::make_mut(&mut good.receipt).fuel = Some(5_000_000);
        std::sync::Arc::make_mut(&mut good.receipt).log = Some(blobs.put(b"info not shown\n"));
        let run = RunId::new("r0123456789ab").unwrap();
        let ended = [good, bad];
        let summary = Summary {
            run: &run,
            status: Status::Failed,
            part: None,
            waits: false,
            ended: &ended,
            nodes: 3,
            before: 0,
            micros: 1_234_567,
            options: " --state s",
        };
        summary.render(&blobs, Style::PLAIN, quiet, false)
    }

    #[test]
    fn a_failed_run_is_explained() {
        insta::assert_snapshot!(summary(false));
    }

    #[test]
    fn quiet_still_explains_failures() {
        insta::assert_snapshot!(summary(true));
    }
}
