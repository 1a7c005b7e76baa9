//! A run for GitHub Actions: on stdout, workflow commands. Each node that ended is a group with what it did and its log, its findings
//! and its failure are annotations, and the job's summary gets a table.
//!
//! What a guest wrote stands between `stop-commands` and its token: a log line `::add-path::...` is then text like any other.

use lockgate_model::RunId;
use lockgate_model::event::Event;
use lockgate_model::outcome::{Failure, Finding, Status};
use lockgate_model::pipeline::Pipeline;
use lockgate_syntax::Problem;

use super::findings::{SourceDirs, read_findings};
use super::human::Lines;
use super::report::{Blobs, Ended, percent};
use super::style::{Style, clean_text};
use crate::time::duration;

/// Findings of one node that become annotations: GitHub shows ten of each kind for a step, the group and the SARIF file have all.
const ANNOTATIONS: usize = 50;
/// Lines of a log in its group; of longer ones the end.
const LOG_LINES: usize = 20_000;

/// Prints a run as it goes on.
pub(crate) struct Github<'a> {
    pipeline: &'a Pipeline,
    dirs: SourceDirs<'a>,
    blobs: &'a dyn Blobs,
    token: String,
    quiet: bool,
}

impl<'a> Github<'a> {
    /// For a run of this pipeline. `token` ends what a guest wrote, so no guest may know it.
    pub(crate) fn new(pipeline: &'a Pipeline, blobs: &'a dyn Blobs, token: String, quiet: bool) -> Self {
        Self { pipeline, dirs: SourceDirs::new(pipeline), blobs, token, quiet }
    }

    /// What is printed at an event.
    pub(crate) fn text(&self, run: &RunId, event: &Event) -> String {
        let Event::NodeFinished { receipt, attempt, reason, facts, .. } = event else {
            let lines = Lines {
                nodes: self.pipeline.nodes.len(),
                width: 0,
                style: Style::PLAIN,
                verbose: false,
                quiet: self.quiet,
            };
            return lines.text(run, event).map(|text| harmless(&text)).unwrap_or_default();
        };
        let (receipt, reason, facts) = (receipt.clone(), reason.clone(), facts.clone());
        let dir = receipt.findings.and_then(|_| self.dirs.of(&receipt.node));
        self.node(&Ended { receipt, attempt: *attempt, reason, facts, dir })
    }

    fn node(&self, ended: &Ended) -> String {
        let mut text = String::new();
        if (!self.quiet || ended.is_bad()) && !ended.is_left_out() {
            text += &format!("::group::{}\n", data(&title(ended)));
            text += &self.guarded(&self.body(ended));
            text += "::endgroup::\n";
        }
        text + &self.annotations(ended)
    }

    fn body(&self, ended: &Ended) -> String {
        let receipt = &ended.receipt;
        let mut text = ended.line(Style::PLAIN, 0);
        text += &format!("    receipt {}\n", receipt.digest());
        for (name, output) in &receipt.outputs {
            text += &format!("    output {name}: {} {}\n", output.kind.name(), output.digest);
        }
        text + &ended.details(self.blobs, Style::PLAIN, usize::MAX, LOG_LINES)
    }

    /// Text in which no line is a command.
    fn guarded(&self, text: &str) -> String {
        format!("::stop-commands::{token}\n{text}::{token}::\n", token = self.token)
    }

    fn annotations(&self, ended: &Ended) -> String {
        let id = ended.receipt.node.as_str();
        let mut text = String::new();
        if let Some(failed) = &ended.receipt.failure {
            let allowed = self.pipeline.nodes.iter().any(|node| node.id.as_str() == id && node.allow_failure);
            text += &failure(id, failed, allowed);
        }
        let read = |blob| read_findings(blob, ended.dir.as_deref(), self.blobs).ok();
        let findings = ended.receipt.findings.as_ref().and_then(read).unwrap_or_default();
        for found in findings.iter().take(ANNOTATIONS) {
            text += &finding(id, found);
        }
        if findings.len() > ANNOTATIONS {
            let more = format!("{} more findings of {id} are in its group above", findings.len() - ANNOTATIONS);
            text += &format!("::notice title={}::{}\n", property(id), data(&more));
        }
        text
    }
}

/// `lint failed, 1.2 s, fuel 3 % of budget`
fn title(ended: &Ended) -> String {
    let receipt = &ended.receipt;
    let mut title = format!("{} {}", receipt.node, receipt.status.name());
    if ended.attempt > 0 {
        title += &format!(", {}", duration(ended.facts.micros));
    }
    if let Some(fuel) = receipt.fuel {
        title += &format!(", fuel {} of budget", percent(fuel, ended.facts.fuel_limit));
    }
    if let Some(origin) = &ended.facts.taken_from {
        title += &format!(", from run {}", origin.run);
    } else if ended.facts.cached {
        title += ", cached";
    }
    title
}

/// A finding at its line.
fn finding(node: &str, finding: &Finding) -> String {
    let command = match finding.severity.as_str() {
        "error" => "error",
        "warning" => "warning",
        _ => "notice",
    };
    let mut properties = Vec::new();
    if let Some(path) = finding.path.as_deref().filter(|path| !path.is_empty()) {
        properties.push(format!("file={}", property(path)));
        if let Some(line) = finding.line.filter(|line| *line > 0) {
            properties.push(format!("line={line}"));
            if let Some(column) = finding.column.filter(|column| *column > 0) {
                properties.push(format!("col={column}"));
            }
        }
    }
    let title = match &finding.rule {
        Some(rule) => format!("{node}: {rule}"),
        None => node.to_owned(),
    };
    properties.push(format!("title={}", property(&title)));
    format!("::{command} {}::{}\n", properties.join(","), data(&finding.message))
}

/// A failed node; a warning where it may fail.
fn failure(node: &str, failure: &Failure, allowed: bool) -> String {
    let command = if allowed { "warning" } else { "error" };
    let title = property(&format!("{node} failed ({})", failure.kind.name()));
    format!("::{command} title={title}::{}\n", data(&failure.message))
}

/// The last lines: how many nodes stand where.
pub(crate) fn end(ended: &[Ended], nodes: usize, before: usize, status: Status, micros: u64) -> String {
    let totals = super::report::totals(ended, nodes, before);
    format!("{} in {}: {totals}\n", status.name(), duration(micros))
}

/// Our own lines begin with our own words, so only the old form of commands, which may stand anywhere, could be in them.
fn harmless(text: &str) -> String {
    text.replace("##[", "## [")
}

/// A problem of a pipeline file as an annotation at its line.
pub(crate) fn problem(problem: &Problem, file: &str) -> String {
    let place = problem.place().map(|place| format!(",line={},col={}", place.line, place.column)).unwrap_or_default();
    let hint = problem.hint.as_ref().map(|hint| format!(". {hint}")).unwrap_or_default();
    let title = property(problem.code.name());
    format!("::error file={}{place},title={title}::{}\n", property(file), data(&format!("{}{hint}", problem.message)))
}

fn data(text: &str) -> String {
    clean_text(&text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")).replace("##[", "## [")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn printed(quiet: bool) -> String {
        let (run, blobs) = samples::past();
        let github = Github::new(&run.pipeline, &blobs, "token-0123".into(), quiet);
        run.records.iter().map(|record| github.text(&run.summary.id, &record.event)).collect()
    }

    /// What the runner takes for a command, as it reads lines: anywhere for the old form, behind blanks for the new one.
    fn commands(text: &str) -> Vec<String> {
        let mut stopped: Option<String> = None;
        let mut commands = Vec::new();
        for line in text.lines().flat_map(|line| line.split('\r')) {
            let line = line.trim_start();
            match &stopped {
                Some(token) if line == format!("::{token}::") => stopped = None,
                Some(_) => {}
                None => match line.strip_prefix("::stop-commands::") {
                    Some(token) => stopped = Some(token.to_owned()),
                    None if line.starts_with("::") || line.contains("##[") => commands.push(line.to_owned()),
                    None => {}
                },
            }
        }
        assert_eq!(stopped, None, "commands stay stopped");
        commands
    }

    #[test]
    fn a_run_is_groups_and_annotations() {
        insta::assert_snapshot!(printed(false));
    }

    #[test]
    fn no_guest_can_give_a_command() {
        let text = printed(false);
        let commands = commands(&text);
        let known = ["::group::", "::endgroup::", "::error ", "::warning ", "::notice "];
        assert!(commands.iter().all(|line| known.iter().any(|known| line.starts_with(known))), "{commands:#?}");
        assert_eq!(commands.iter().filter(|line| line.starts_with("::group::")).count(), 4);
        assert!(text.contains("##[add-path]"), "the log is shown as it is: {text}");
    }

    #[test]
    fn quiet_shows_what_failed() {
        let commands = commands(&printed(true));
        assert_eq!(commands.iter().filter(|line| line.starts_with("::group::")).count(), 1);
        assert!(
            commands.iter().any(|line| line.starts_with("::error title=judge failed (verdict)::")),
            "{commands:#?}"
        );
    }

    #[test]
    fn nothing_breaks_out_of_an_annotation() {
        let text = finding(
            "lint",
            &Finding {
                severity: "error".into(),
                message: "100%\n::set-output name=x::y".into(),
                rule: Some("a,b".into()),
                path: Some("a:b.toml".into()),
                line: Some(3),
                column: None,
            },
        );
        assert_eq!(text, "::error file=a%3Ab.toml,line=3,title=lint%3A a%2Cb::100%25%0A::set-output name=x::y\n");
    }
}
