//! What came of the cases of plugins: for people, as a line of JSON each, and as a JUnit report, one suite for each plugin.

use std::io;

use lockgate_host::Plugin;
use lockgate_model::Digest;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};
use serde_json::{Value, json};

use super::diagnostics::count;
use super::junit::{clean, clean_xml, seconds, write_properties};
use super::report::{fuel_text, memory_text};
use super::style::{Style, clean_line, clean_text};
use crate::cases::{Case, Project, Ran};
use crate::time::duration;

/// Version of the JSON form.
const SCHEMA: u32 = 1;
/// Lines of a log that are shown beside a case that is not as expected.
const LOG_LINES: usize = 20;

/// A case and what came of it.
pub(crate) struct Report {
    project: String,
    case: String,
    summary: Option<String>,
    component: Digest,
    ran: Ran,
}

/// What is said of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Its two executions differ.
    Unstable,
    /// The engine's surroundings failed.
    Broken,
}

impl Word {
    const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unstable => "not-reproducible",
            Self::Broken => "errored",
        }
    }
}

/// What stands above the cases of a plugin.
pub(crate) fn heading(project: &Project, plugin: &Plugin, style: Style) -> String {
    let manifest = plugin.manifest();
    let title = style.bold(&format!("{} {}", clean_line(&manifest.name), clean_line(&manifest.version)));
    let about = format!("{}, {}", clean_line(&project.component), plugin.digest().short());
    format!("{title}  {}\n", style.dim(&about))
}

impl Report {
    /// What came of a case of a project.
    pub(crate) fn new(project: &Project, case: &Case, plugin: &Plugin, ran: Ran) -> Self {
        let summary = case.file.summary.clone();
        Self { project: project.name.clone(), case: case.name.clone(), summary, component: plugin.digest(), ran }
    }

    /// What is said of it.
    pub(crate) fn word(&self) -> Word {
        let Ran { broken, unstable, wrong, .. } = &self.ran;
        match (broken, unstable.is_empty(), wrong.is_empty()) {
            (true, _, _) => Word::Broken,
            (false, false, _) => Word::Unstable,
            (false, true, false) => Word::Failed,
            (false, true, true) => Word::Passed,
        }
    }

    /// Its line, and what is to be said of it below; `width` is that of the longest name.
    pub(crate) fn human(&self, style: Style, width: usize, verbose: bool) -> String {
        let word = match self.word() {
            Word::Passed => style.good("ok     "),
            Word::Failed => style.bad("FAILED "),
            Word::Unstable => style.bad("DIFFERS"),
            Word::Broken => style.bad("ERRORED"),
        };
        let name = format!("{:<width$}", clean_line(&self.case));
        let mut text = format!("  {word}  {name}");
        if let Some(end) = &self.ran.end {
            let fuel = end.fuel.map_or("-".to_owned(), fuel_text);
            let (memory, time) = (memory_text(end.peak_memory), duration(self.ran.micros));
            text += &format!("  {fuel:>8} fuel  {memory:>9}  {time:>8}");
        } else {
            text += &style.dim("  not called");
        }
        text.push('\n');
        if self.word() != Word::Passed
            && let Some(summary) = &self.summary
        {
            text += &format!("      {}\n", style.dim(&clean_line(summary)));
        }
        for line in self.why(style) {
            text += &format!("      {line}\n");
        }
        let end = self.ran.end.as_ref();
        let log = end.map(|end| end.log.as_slice()).unwrap_or_default();
        if (self.word() != Word::Passed || verbose) && !log.is_empty() {
            let shown = if verbose { log.len() } else { LOG_LINES.min(log.len()) };
            text += &format!("      {}\n", style.dim("log:"));
            log[log.len() - shown..].iter().for_each(|line| text += &format!("        {}\n", clean_line(line)));
        }
        // Where the engine ended the call, the place says nothing.
        let trapped = self.ran.failure.as_ref().is_some_and(|(kind, _)| kind == "trap");
        if self.word() != Word::Passed
            && trapped
            && let Some(backtrace) = end.and_then(|end| end.backtrace.as_deref())
        {
            text += &format!("      {}\n", style.dim("wasm backtrace:"));
            backtrace.lines().take(LOG_LINES).for_each(|line| text += &format!("        {}\n", clean_line(line)));
        }
        for file in &self.ran.written {
            text += &format!("      {} {}\n", style.warn("wrote"), clean_line(file));
        }
        text
    }

    /// What is not as it should be, in lines.
    fn why(&self, style: Style) -> Vec<String> {
        let mut lines = Vec::new();
        if self.ran.broken {
            let (kind, message) = self.ran.failure.clone().unwrap_or_default();
            lines.push(clean_line(&format!("{kind}: {message}")));
            return lines;
        }
        for difference in &self.ran.unstable {
            let what = style.bold(&clean_line(&difference.what_and_where()));
            let (first, second) = (clean_line(&difference.first), clean_line(&difference.second));
            lines.push(format!("{what}: first {first}, then {second}"));
        }
        for wrong in &self.ran.wrong {
            let why = clean_text(&wrong.why);
            let mut parts = why.lines();
            let what = style.bold(&clean_line(&wrong.what));
            match (parts.next(), parts.next()) {
                (Some(one), None) => lines.push(format!("{what}: {one}")),
                _ => {
                    lines.push(format!("{what}:"));
                    lines.extend(why.lines().map(|line| format!("  {}", colored(line, style))));
                }
            }
        }
        lines
    }

    /// Everything as one line of JSON.
    pub(crate) fn json(&self) -> String {
        let end = self.ran.end.as_ref();
        let failure = self.ran.failure.as_ref();
        let line = json!({
            "schema": SCHEMA,
            "event": "case-finished",
            "plugin": self.project,
            "component": self.component,
            "case": self.case,
            "summary": self.summary,
            "result": self.word().name(),
            "mismatches": self.ran.wrong,
            "differences": self.ran.unstable,
            "written": self.ran.written,
            "status": end.map(|end| end.status),
            "failure": failure.map(|(kind, message)| json!({ "kind": kind, "message": message })),
            "verdict": end.and_then(|end| end.verdict.as_ref()).map(|verdict| &verdict.word),
            "findings": end.map_or(0, |end| end.findings.len()),
            "outputs": end.map(|end| json!(end.outputs)).unwrap_or(Value::Null),
            "log": end.map(|end| json!(end.log)).unwrap_or(Value::Null),
            "fuel": end.and_then(|end| end.fuel),
            "peak_memory": end.map(|end| end.peak_memory),
            "micros": self.ran.micros,
        });
        line.to_string() + "\n"
    }
}

/// A line of a difference in its colour.
fn colored(line: &str, style: Style) -> String {
    match line.trim_start().bytes().next() {
        Some(b'-') => style.bad(line),
        Some(b'+') => style.good(line),
        Some(b'@') => style.dim(line),
        _ => line.to_owned(),
    }
}

fn tally(reports: &[Report]) -> [(Word, usize); 4] {
    [Word::Passed, Word::Failed, Word::Unstable, Word::Broken]
        .map(|word| (word, reports.iter().filter(|report| report.word() == word).count()))
}

/// The last line for people.
pub(crate) fn end(reports: &[Report], micros: u64, style: Style) -> String {
    let parts: Vec<_> = tally(reports)
        .into_iter()
        .filter(|(word, number)| *word == Word::Passed || *number > 0)
        .map(|(word, number)| {
            let text = format!("{number} {}", word.name());
            if word == Word::Passed { style.good(&text) } else { style.bad(&text) }
        })
        .collect();
    format!("{}: {} in {}\n", count(reports.len(), "case"), parts.join(", "), duration(micros))
}

/// The last line of JSON.
pub(crate) fn end_line(reports: &[Report], micros: u64) -> String {
    let mut line = json!({ "schema": SCHEMA, "event": "cases-finished", "micros": micros });
    for (word, number) in tally(reports) {
        line[word.name()] = number.into();
    }
    line.to_string() + "\n"
}

/// The JUnit report.
///
/// # Errors
/// None but that of the formatter, which never happens: it writes to memory.
pub(crate) fn junit(reports: &[Report], micros: u64) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let totals = |reports: &[&Report], micros: u64| {
        let number =
            |words: &[Word]| reports.iter().filter(|report| words.contains(&report.word())).count().to_string();
        [
            ("tests", reports.len().to_string()),
            ("failures", number(&[Word::Failed, Word::Unstable])),
            ("errors", number(&[Word::Broken])),
            ("time", seconds(micros)),
        ]
    };
    let all: Vec<_> = reports.iter().collect();
    let mut names: Vec<_> = reports.iter().map(|report| report.project.as_str()).collect();
    names.dedup();
    let attributes = totals(&all, micros);
    let suites = writer.create_element("testsuites").with_attribute(("name", "lockgate plugin test"));
    suites.with_attributes(attributes.iter().map(|(name, value)| (*name, value.as_str()))).write_inner_content(
        |writer| {
            for name in names {
                let of: Vec<_> = reports.iter().filter(|report| report.project == name).collect();
                let attributes = totals(&of, of.iter().map(|report| report.ran.micros).sum());
                let suite = writer.create_element("testsuite").with_attribute(("name", &*clean(name)));
                suite
                    .with_attributes(attributes.iter().map(|(name, value)| (*name, value.as_str())))
                    .write_inner_content(|writer| of.iter().try_for_each(|report| report.write(writer)))?;
            }
            Ok(())
        },
    )?;
    let mut text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

impl Report {
    fn write(&self, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
        let time = seconds(self.ran.micros);
        let (name, class) = (clean(&self.case), clean(&self.project));
        let case = writer.create_element("testcase").with_attribute(("name", &*name));
        case.with_attributes([("classname", &*class), ("time", &*time)]).write_inner_content(|writer| {
            let end = self.ran.end.as_ref();
            let fuel = end.and_then(|end| end.fuel).map(|fuel| fuel.to_string());
            let memory = end.map(|end| end.peak_memory.to_string());
            let component = self.component.to_string();
            let properties = [
                ("lockgate.component", Some(component.as_str())),
                ("lockgate.fuel", fuel.as_deref()),
                ("lockgate.peak_memory", memory.as_deref()),
                ("lockgate.summary", self.summary.as_deref()),
            ];
            write_properties(writer, &properties)?;
            let element = match self.word() {
                Word::Passed => None,
                Word::Failed | Word::Unstable => Some("failure"),
                Word::Broken => Some("error"),
            };
            if let Some(element) = element {
                let lines = self.why(Style::PLAIN);
                let message = clean(lines.first().map_or("", String::as_str));
                let element = writer.create_element(element).with_attribute(("message", &*message));
                element
                    .with_attribute(("type", self.word().name()))
                    .write_text_content(BytesText::new(&clean_xml(&lines.join("\n"))))?;
            }
            let log = end.map(|end| end.log.join("\n")).unwrap_or_default();
            if !log.is_empty() {
                writer.create_element("system-out").write_text_content(BytesText::new(&clean_xml(&log)))?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lockgate_runner::Difference;

    use super::*;
    use crate::cases::Mismatch;

    fn report(change: impl FnOnce(&mut Ran)) -> Report {
        let mut ran = Ran {
            wrong: Vec::new(),
            unstable: Vec::new(),
            broken: false,
            written: Vec::new(),
            end: None,
            failure: None,
            micros: 1_500,
        };
        change(&mut ran);
        let (project, case) = ("scan".to_owned(), "one".to_owned());
        Report { project, case, summary: Some("finds <one>".into()), component: Digest::of(b""), ran }
    }

    fn differs(ran: &mut Ran) {
        let (first, second) = ("`a`".to_owned(), "`b`\u{1b}".to_owned());
        ran.unstable.push(Difference { what: "output `x`".into(), place: Some("line 1".into()), first, second });
    }

    fn fails(ran: &mut Ran) {
        ran.wrong.push(Mismatch { what: "output x".into(), why: "--- expected\n+++ found\n-a\n+b\u{1b}\n".into() });
    }

    #[test]
    fn what_is_worst_is_said() {
        let words = [
            report(|_| ()),
            report(fails),
            report(|ran| {
                fails(ran);
                differs(ran);
            }),
            report(|ran| {
                differs(ran);
                ran.broken = true;
            }),
        ]
        .map(|report| report.word().name());
        assert_eq!(words, ["passed", "failed", "not-reproducible", "errored"]);
    }

    #[test]
    fn reports_show_what_differs_and_nothing_of_a_guest_gets_through() {
        let reports = [report(|_| ()), report(fails), report(differs)];
        let text: String = reports.iter().map(|report| report.human(Style::PLAIN, 3, false)).collect();
        assert!(
            text.contains("DIFFERS  one") && text.contains("output `x` at line 1: first `a`, then `b`\\u{1b}"),
            "{text}"
        );
        assert!(text.contains("        -a\n        +b\\u{1b}\n"), "{text}");
        let xml = junit(&reports, 3_000).unwrap();
        assert!(xml.contains("tests=\"3\" failures=\"2\" errors=\"0\"") && xml.contains("not-reproducible"), "{xml}");
        assert!(![text, xml].iter().any(|text| text.contains('\u{1b}')));
        let line: Value = serde_json::from_str(&reports[2].json()).unwrap();
        assert_eq!(line["differences"][0]["place"], "line 1");
        let last: Value = serde_json::from_str(&end_line(&reports, 1)).unwrap();
        assert_eq!((&last["failed"], &last["not-reproducible"]), (&json!(1), &json!(1)));
    }
}
