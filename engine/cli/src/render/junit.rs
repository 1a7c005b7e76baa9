//! A run as a JUnit report, in the dialect that Jenkins, GitLab and their kin read: one suite, a case for each node.
//!
//! Failures and errors in it are those that fail the run: a node that may fail (`allow_failure`) is reported as skipped, with what
//! happened as the message. Attempts before the last are `flakyFailure`s of a node that succeeded, else `rerunFailure`s.

use std::io;

use lockgate_model::event::Event;
use lockgate_model::outcome::{Failure, Status};
use lockgate_model::pipeline::Node;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::graph::plugin_name;
use super::report::{Blobs, Ended, LINE, last_lines};
use super::style::clean_text;
use crate::past::PastRun;
use crate::time::rfc3339;

/// Lines of each node's log: reports are read whole into memory by those that show them, logs are in `lockgate logs`.
const LOG_LINES: usize = 200;
/// Longest message, in characters.
const MESSAGE: usize = 10 * LINE;

/// The report.
///
/// # Errors
/// None but that of the formatter, which never happens: it writes to memory.
pub(crate) fn junit(run: &PastRun, blobs: &dyn Blobs) -> io::Result<String> {
    let cases: Vec<Case<'_>> = run.pipeline.nodes.iter().map(|node| Case::new(run, node)).collect();
    let count = |wanted: Outcome| cases.iter().filter(|case| case.outcome == wanted).count().to_string();
    let (tests, failures, errors) = (cases.len().to_string(), count(Outcome::Failure), count(Outcome::Error));
    let (skipped, time) = (count(Outcome::Skipped), seconds(run.micros().unwrap_or_default()));
    let (name, started) = (clean(&run.summary.name), rfc3339(run.summary.started_ms));
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let totals =
        [("tests", &*tests), ("failures", &failures), ("errors", &errors), ("skipped", &skipped), ("time", &time)];
    writer.create_element("testsuites").with_attribute(("name", &*name)).with_attributes(totals).write_inner_content(
        |writer| {
            let suite = writer.create_element("testsuite").with_attribute(("name", &*name)).with_attributes(totals);
            let suite = suite.with_attribute(("timestamp", started.trim_end_matches('Z')));
            suite.write_inner_content(|writer| {
                let digest = run.summary.digest.map(|digest| digest.to_string());
                let selection = run.selection().map(ToString::to_string);
                let properties = [
                    ("lockgate.run", Some(run.summary.id.as_str())),
                    ("lockgate.file", Some(&*run.summary.file)),
                    ("lockgate.status", Some(run.summary.status.map_or("unfinished", Status::name))),
                    ("lockgate.digest", digest.as_deref()),
                    ("lockgate.selection", selection.as_deref()),
                ];
                write_properties(writer, &properties)?;
                cases.iter().try_for_each(|case| case.write(writer, run, blobs))
            })?;
            Ok(())
        },
    )?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Success,
    Skipped,
    Failure,
    Error,
}

struct Case<'a> {
    node: &'a Node,
    ended: Option<&'a Ended>,
    outcome: Outcome,
}

impl<'a> Case<'a> {
    fn new(run: &'a PastRun, node: &'a Node) -> Self {
        let ended = run.ended.get(&node.id);
        let outcome = match ended.map(|ended| ended.receipt.status) {
            Some(Status::Succeeded) => Outcome::Success,
            Some(Status::Skipped) => Outcome::Skipped,
            Some(Status::Failed) if node.allow_failure => Outcome::Skipped,
            Some(Status::Failed) => Outcome::Failure,
            // What has not ended has no result that anybody may rely on.
            Some(Status::Errored | Status::Cancelled) | None => Outcome::Error,
        };
        Self { node, ended, outcome }
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>, run: &PastRun, blobs: &dyn Blobs) -> io::Result<()> {
        let facts = self.ended.map(|ended| &ended.facts);
        let time = seconds(facts.map_or(0, |facts| facts.micros));
        let class = format!("{}.{}", clean(&run.summary.name), self.node.kind.name());
        let case = writer.create_element("testcase").with_attribute(("name", self.node.id.as_str()));
        case.with_attributes([("classname", &*class), ("time", &*time)]).write_inner_content(|writer| {
            let digest = self.ended.map(|ended| ended.receipt.digest().to_string());
            let fuel = self.ended.and_then(|ended| ended.receipt.fuel).map(|fuel| fuel.to_string());
            let verdict = self.ended.and_then(|ended| ended.receipt.verdict.as_ref()).map(|verdict| &*verdict.word);
            let decision = self.ended.and_then(|ended| ended.receipt.decision.as_ref()).map(|decision| &*decision.word);
            let plugin = plugin_name(&run.pipeline, self.node);
            let taken_from = facts.and_then(|facts| facts.taken_from.as_ref()).map(|origin| origin.run.as_str());
            let properties = [
                ("lockgate.plugin", plugin.as_deref()),
                ("lockgate.decision", decision),
                ("lockgate.receipt", digest.as_deref()),
                ("lockgate.fuel", fuel.as_deref()),
                ("lockgate.verdict", verdict),
                ("lockgate.cached", facts.is_some_and(|facts| facts.cached).then_some("true")),
                ("lockgate.taken_from", taken_from),
            ];
            write_properties(writer, &properties)?;
            self.write_outcome(writer)?;
            self.write_attempts(writer, run)?;
            self.write_log(writer, run, blobs)
        })?;
        Ok(())
    }

    fn write_outcome(&self, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let element = match self.outcome {
            Outcome::Success => return Ok(()),
            Outcome::Skipped => "skipped",
            Outcome::Failure => "failure",
            Outcome::Error => "error",
        };
        let failure = self.ended.and_then(|ended| ended.receipt.failure.as_ref());
        let message = match (failure, self.ended) {
            (Some(failure), _) if self.outcome == Outcome::Skipped => {
                format!("failed, as it may: {}", first_line(failure))
            }
            (Some(failure), _) => first_line(failure),
            (None, Some(Ended { reason: Some(reason), .. })) => clean(reason),
            (None, Some(ended)) => ended.receipt.status.name().to_owned(),
            (None, None) => "it did not end".to_owned(),
        };
        let kind = failure.map_or("unfinished", |failure| failure.kind.name());
        let element = writer.create_element(element).with_attribute(("message", &*message));
        if self.outcome == Outcome::Skipped {
            element.write_empty()?;
            return Ok(());
        }
        let mut details = failure.map(|failure| clean(&failure.message)).unwrap_or_default();
        let reasons = self.ended.and_then(|ended| ended.receipt.verdict.as_ref()).map(|verdict| &verdict.reasons);
        for reason in reasons.into_iter().flatten() {
            details += &format!("\n- {}", clean(reason));
        }
        if let Some(backtrace) = self.ended.and_then(|ended| ended.facts.backtrace.as_deref()) {
            details += &format!("\n\nwasm backtrace:\n{}", clean(backtrace));
        }
        element.with_attribute(("type", kind)).write_text_content(BytesText::new(&details))?;
        Ok(())
    }

    fn write_attempts(&self, writer: &mut Writer<Vec<u8>>, run: &PastRun) -> io::Result<()> {
        let element = if self.outcome == Outcome::Success { "flakyFailure" } else { "rerunFailure" };
        for (_, event) in run.events_of(&self.node.id) {
            let Event::AttemptFailed { failure, attempt, .. } = event else { continue };
            let message = format!("attempt {attempt}: {}", first_line(failure));
            let element = writer.create_element(element).with_attribute(("message", &*message));
            element
                .with_attribute(("type", failure.kind.name()))
                .write_text_content(BytesText::new(&clean(&failure.message)))?;
        }
        Ok(())
    }

    fn write_log(&self, writer: &mut Writer<Vec<u8>>, run: &PastRun, blobs: &dyn Blobs) -> io::Result<()> {
        let Some(blob) = run.log_of(&self.node.id) else { return Ok(()) };
        let text = match blobs.open(&blob).and_then(|reader| last_lines(reader, LOG_LINES)) {
            Ok((total, lines)) if total > lines.len() => {
                format!("(last {} of {total} lines)\n{}", lines.len(), lines.join("\n"))
            }
            Ok((_, lines)) => lines.join("\n"),
            Err(error) => format!("(the log cannot be read: {error})"),
        };
        writer.create_element("system-out").write_text_content(BytesText::new(&clean_xml(&text)))?;
        Ok(())
    }
}

pub(super) fn write_properties(writer: &mut Writer<Vec<u8>>, properties: &[(&str, Option<&str>)]) -> io::Result<()> {
    writer.create_element("properties").write_inner_content(|writer| {
        for (name, value) in properties.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            let property = writer.create_element("property").with_attribute(("name", *name));
            property.with_attribute(("value", &*clean(value))).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

/// `1.234`
pub(super) fn seconds(micros: u64) -> String {
    format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000)
}

fn first_line(failure: &Failure) -> String {
    clean(failure.message.lines().next().unwrap_or_default())
}

/// Text that is well-formed XML, cut where it is too long for anybody.
pub(super) fn clean(text: &str) -> String {
    let cut: String = text.chars().take(MESSAGE).collect();
    clean_xml(&cut)
}

/// Text without what XML 1.0 cannot hold: control characters are shown as what they are, as everywhere, and the two characters that
/// are none are replaced.
pub(super) fn clean_xml(text: &str) -> String {
    clean_text(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use quick_xml::Reader;

    use super::super::samples;
    use super::*;

    #[test]
    fn a_run_is_a_report() {
        let (run, blobs) = samples::past();
        let text = junit(&run, &blobs).unwrap();
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        let mut cases = 0;
        loop {
            match reader.read_event().unwrap() {
                Xml::Start(element) if element.name().as_ref() == "testcase" => cases += 1,
                Xml::Eof => break,
                _ => {}
            }
        }
        assert_eq!(cases, run.pipeline.nodes.len());
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_may_fail_does_not_fail_the_suite() {
        let (mut run, blobs) = samples::past();
        let mut pipeline = (*run.pipeline).clone();
        pipeline.nodes.iter_mut().for_each(|node| node.allow_failure = true);
        run.run.pipeline = std::sync::Arc::new(pipeline);
        let text = junit(&run, &blobs).unwrap();
        assert!(text.contains("failures=\"0\" errors=\"3\" skipped=\"2\""), "{text}");
        assert!(text.contains("failed, as it may: "), "{text}");
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!([0, 999, 1_234_567].map(seconds), ["0.000", "0.000", "1.234"]);
    }
}
