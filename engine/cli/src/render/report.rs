//! What became of a node and of a run, for people. `run` and `show` print the same.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use lockgate::wiring::executor::StoreBlobs;
use lockgate_model::NodeId;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::AttemptFacts;
use lockgate_model::outcome::{Failure, FailureKind, Status};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::NOT_SELECTED;

use super::diagnostics::count;
use super::findings::{finding_counts, findings_text};
use super::json::Worst;
use super::style::{Style, clean_line, clean_text};
use super::table::{Align, Cell, Table};
use super::verdict::{verdict_text, verdict_word};
use crate::time::duration;

/// Lines of a failed node's log that are shown: the end mostly says why.
pub(crate) const LOG_LINES: usize = 10;
/// Findings of one node that are shown at the end of a run; `show` prints all.
pub(crate) const FINDINGS: usize = 20;
/// Rows of a summary: of larger runs only what did not succeed is listed.
const ROWS: usize = 50;
/// Longest line of a log or message that is shown, in characters.
pub(crate) const LINE: usize = 400;
/// Longest backtrace that is shown, in bytes.
const MAX_BACKTRACE: usize = 8 << 10;

/// Reads blobs by reference: the store.
pub(crate) trait Blobs {
    /// Opens a blob.
    fn open(&self, blob: &ArtifactRef) -> io::Result<Box<dyn Read + '_>>;
}

impl Blobs for StoreBlobs {
    fn open(&self, blob: &ArtifactRef) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.0.open_blob(&blob.digest).map_err(io::Error::other)?))
    }
}

/// A node that is final.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// Its receipt.
    pub(crate) receipt: Arc<Receipt>,
    /// Number of its last attempt.
    pub(crate) attempt: u32,
    /// Why it was skipped.
    pub(crate) reason: Option<String>,
    /// Facts of its last attempt.
    pub(crate) facts: AttemptFacts,
    /// The directory, relative to the root, that paths of its findings are inside of; see [`SourceDirs`](super::findings::SourceDirs).
    pub(crate) dir: Option<String>,
}

impl Ended {
    /// Whether it failed or errored.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self.receipt.status, Status::Failed | Status::Errored)
    }

    /// Whether the run is of a part that the node does not belong to. Nobody asked for such nodes: they are counted, not listed.
    pub(crate) fn is_left_out(&self) -> bool {
        self.receipt.status == Status::Skipped && self.reason.as_deref() == Some(NOT_SELECTED)
    }

    /// Where the result comes from, if not from an execution of this run.
    pub(crate) fn origin(&self) -> &'static str {
        match (&self.facts.taken_from, self.facts.cached) {
            (Some(_), _) => "earlier run",
            (None, true) => "cached",
            (None, false) => "",
        }
    }

    fn reason_of_verdict(&self) -> &str {
        self.receipt.verdict.as_ref().and_then(|verdict| verdict.reasons.first()).map_or("", String::as_str)
    }

    /// The one line that is printed when it is final; the node's id is padded to `width`.
    pub(crate) fn line(&self, style: Style, width: usize) -> String {
        let node = format!("{:<width$}", self.receipt.node);
        let mut line = format!("  {} {}", style.status(self.receipt.status), style.bold(&node));
        if self.attempt > 0 && self.facts.taken_from.is_none() {
            line += &format!("  {}", style.dim(&duration(self.facts.micros)));
        }
        if self.attempt > 1 {
            line += &format!("  attempt {}", self.attempt);
        }
        match &self.facts.taken_from {
            Some(origin) => line += &format!("  from run {}", origin.run),
            None if self.facts.cached => line += "  cached",
            None => {}
        }
        let findings = finding_counts(&self.facts);
        // Plugins that fail for their findings often say no more than how many there are.
        let said = self.receipt.failure.as_ref().is_some_and(|failure| failure.message == findings);
        if !findings.is_empty() && !said {
            line += &format!("  {findings}");
        }
        if let Some(verdict) = &self.receipt.verdict {
            line += &format!("  {}", verdict_word(verdict, style));
        }
        match (&self.receipt.failure, &self.reason) {
            (Some(failure), _) if failure.kind == FailureKind::Verdict && !self.reason_of_verdict().is_empty() => {
                line += &format!("  {}", short(self.reason_of_verdict()));
            }
            (Some(failure), _) => line += &format!("  {}", short(&failure.message)),
            (None, Some(reason)) => line += &format!("  {}", style.dim(&short(reason))),
            (None, None) => {}
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }

    /// Everything that explains its end: message, verdict with figures, findings, the log's last lines, backtrace.
    pub(crate) fn details(&self, blobs: &dyn Blobs, style: Style, findings: usize, log_lines: usize) -> String {
        let mut text = String::new();
        // A verdict explains itself.
        let explained = |failure: &&Failure| failure.kind == FailureKind::Verdict && self.receipt.verdict.is_some();
        if let Some(failure) = self.receipt.failure.as_ref().filter(|failure| !explained(failure)) {
            text += &failure_text(failure, style);
        }
        if let Some(verdict) = &self.receipt.verdict {
            text += &verdict_text(verdict, style);
        }
        if let Some(blob) = &self.receipt.findings {
            text += &findings_text(blob, self.dir.as_deref(), blobs, style, findings);
        }
        let log = self.receipt.log.as_ref().or(self.facts.log.as_ref());
        if let Some(blob) = log.filter(|_| log_lines > 0) {
            text += &log_text(blob, blobs, style, log_lines);
        }
        if let Some(backtrace) = &self.facts.backtrace {
            text += &format!("    {}\n", style.dim("wasm backtrace"));
            text += &indented(&cut_bytes(&clean_text(backtrace), MAX_BACKTRACE), "      ");
        }
        text
    }
}

/// The failure's kind and message, which may have several lines.
fn failure_text(failure: &Failure, style: Style) -> String {
    let mut lines = failure.message.lines().map(short);
    let mut text =
        format!("    {} {}\n", style.bad(&format!("{}:", failure.kind.name())), lines.next().unwrap_or_default());
    for line in lines {
        text += &format!("    {line}\n");
    }
    text
}

fn log_text(blob: &ArtifactRef, blobs: &dyn Blobs, style: Style, max: usize) -> String {
    match blobs.open(blob).and_then(|reader| last_lines(reader, max)) {
        Ok((0, _)) => String::new(),
        Ok((total, lines)) => {
            let what = if total > lines.len() {
                format!("last {} of {total} lines", lines.len())
            } else {
                count(total, "line")
            };
            let mut text = format!("    {}\n", style.dim(&format!("log, {what}")));
            for line in lines {
                text += &format!("      {}\n", short(&line));
            }
            text
        }
        Err(error) => format!("    the log cannot be read: {error}\n"),
    }
}

/// How many lines there are, and the last of them. Of each line only what is shown is kept.
pub(crate) fn last_lines(reader: impl Read, max: usize) -> io::Result<(usize, Vec<String>)> {
    use std::io::BufRead as _;
    let mut reader = io::BufReader::new(reader);
    let mut last = std::collections::VecDeque::new();
    let mut total = 0;
    let mut line = Vec::new();
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        // Four bytes a character at most.
        let room = (4 * LINE + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let consumed = part.len() + usize::from(end.is_some());
        reader.consume(consumed);
        if end.is_some() {
            total += 1;
            last.push_back(std::mem::take(&mut line));
            if last.len() > max {
                last.pop_front();
            }
        }
    }
    if !line.is_empty() {
        total += 1;
        last.push_back(line);
        if last.len() > max {
            last.pop_front();
        }
    }
    Ok((total, last.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect()))
}

/// The table at the end of a run: status, time, fuel of budget, memory, cache, findings.
/// `worst` is what each node used at most over several runs, where that is known; see [`worst_fuel`](crate::past::worst_fuel).
pub(crate) fn summary(ended: &[Ended], style: Style, worst: &BTreeMap<NodeId, Worst>) -> String {
    let mut shown: Vec<&Ended> = ended.iter().filter(|node| !node.is_left_out()).collect();
    if shown.len() > ROWS {
        shown.retain(|node| node.receipt.status != Status::Succeeded);
        shown.truncate(ROWS);
    }
    let mut table = Table::new(&[
        ("status", Align::Left),
        ("node", Align::Left),
        ("time", Align::Right),
        ("fuel", Align::Right),
        ("of budget", Align::Right),
        ("worst", Align::Right),
        ("memory", Align::Right),
        ("cache", Align::Left),
        ("findings", Align::Left),
    ]);
    for node in shown {
        let ran = node.attempt > 0;
        let fuel = node.receipt.fuel;
        let worst = worst.get(&node.receipt.node);
        table.row(vec![
            Cell::painted(node.receipt.status.name(), |_| style.status(node.receipt.status).trim_end().to_owned()),
            node.receipt.node.as_str().into(),
            if ran && node.facts.taken_from.is_none() { duration(node.facts.micros) } else { String::new() }.into(),
            fuel.map(fuel_text).unwrap_or_default().into(),
            fuel.map(|fuel| percent(fuel, node.facts.fuel_limit)).unwrap_or_default().into(),
            worst.filter(|worst| worst.runs > 1).map(|worst| percent_text(worst.percent)).unwrap_or_default().into(),
            if ran { memory_text(node.facts.peak_memory) } else { String::new() }.into(),
            node.origin().into(),
            finding_counts(&node.facts).into(),
        ]);
    }
    if table.is_empty() { String::new() } else { table.render(style, 2) }
}

/// `3 succeeded, 1 skipped, 2 not selected, 4 before, 2 not ended`; `before` is how many ended before the run was resumed.
pub(crate) fn totals(ended: &[Ended], nodes: usize, before: usize) -> String {
    let order = [Status::Succeeded, Status::Failed, Status::Errored, Status::Skipped, Status::Cancelled];
    let left_out = ended.iter().filter(|node| node.is_left_out()).count();
    let number = |status| ended.iter().filter(|node| node.receipt.status == status && !node.is_left_out()).count();
    let mut parts: Vec<_> = order
        .iter()
        .map(|&status| (number(status), status))
        .filter(|(number, _)| *number > 0)
        .map(|(number, status)| format!("{number} {}", status.name()))
        .collect();
    if left_out > 0 {
        parts.push(format!("{left_out} {NOT_SELECTED}"));
    }
    if before > 0 {
        parts.push(format!("{before} before"));
    }
    match nodes.saturating_sub(ended.len() + before) {
        0 => {}
        open => parts.push(format!("{open} not ended")),
    }
    parts.join(", ")
}

/// `, 2 from the cache, 1 from earlier runs`
pub(crate) fn reused(ended: &[Ended]) -> String {
    let number = |origin: &str| ended.iter().filter(|node| node.origin() == origin).count();
    let text = |number: usize, text: &str| if number > 0 { format!(", {number} from {text}") } else { String::new() };
    text(number("cached"), "the cache") + &text(number("earlier run"), "earlier runs")
}

/// Used of a budget: two digits behind the point below 1 %, so that small is not taken for nothing.
pub(crate) fn percent(used: u64, limit: u64) -> String {
    if limit == 0 {
        return String::new();
    }
    percent_text(used as f64 * 100.0 / limit as f64)
}

/// The same of a share in percent.
pub(crate) fn percent_text(share: f64) -> String {
    match share {
        0.0 => "0 %".to_owned(),
        share if share < 0.01 => "< 0.01 %".to_owned(),
        share if share < 1.0 => format!("{share:.2} %"),
        share => format!("{share:.0} %"),
    }
}

/// Fuel with one digit behind the point: nobody needs more in a column.
pub(crate) fn fuel_text(fuel: u64) -> String {
    scaled(fuel, &[(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "K")])
}

/// Bytes likewise; nothing for none.
pub(crate) fn memory_text(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { scaled(bytes, &[(1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB")]) }
}

fn scaled(value: u64, units: &[(u64, &str)]) -> String {
    match units.iter().find(|(size, _)| value >= *size) {
        Some((size, unit)) => {
            let text = format!("{:.1}", value as f64 / *size as f64);
            format!("{}{unit}", text.trim_end_matches(".0"))
        }
        None => value.to_string(),
    }
}

/// The first line, made harmless and cut where it is too long for anybody.
pub(crate) fn short(text: &str) -> String {
    let line = clean_line(text.lines().next().unwrap_or_default());
    if line.chars().count() > LINE { line.chars().take(LINE).chain(['…']).collect() } else { line }
}

fn cut_bytes(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}\n…", &text[..end])
}

fn indented(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{line}\n")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use lockgate_model::Digest;
    use lockgate_model::artifact::ArtifactKind;

    use super::super::findings::tests::finding;
    use super::*;

    #[derive(Default)]
    pub(crate) struct Memory(BTreeMap<Digest, Vec<u8>>);

    impl Memory {
        pub(crate) fn put(&mut self, bytes: &[u8]) -> ArtifactRef {
            let digest = Digest::of(bytes);
            self.0.insert(digest, bytes.to_vec());
            ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 }
        }
    }

    impl Blobs for Memory {
        fn open(&self, blob: &ArtifactRef) -> io::Result<Box<dyn Read + '_>> {
            let bytes = self.0.get(&blob.digest).ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(bytes.as_slice()))
        }
    }

    pub(crate) fn ended(node: &str, status: Status) -> Ended {
        let receipt = Receipt {
            node: NodeId::new(node).unwrap(),
            component: Some(Digest::of(b"component")),
            key: None,
            status,
            failure: None,
            outputs: BTreeMap::new(),
            findings: None,
            verdict: None,
            decision: None,
            log: None,
            effects: None,
            fuel: None,
        };
        Ended {
            receipt: Arc::new(receipt),
            attempt: 1,
            reason: None,
            dir: None,
            facts: AttemptFacts { micros: 12_345, fuel_limit: 2_000_000_000, ..AttemptFacts::default() },
        }
    }

    #[test]
    fn what_ended_before_a_resume_is_not_counted_as_open() {
        let one = [ended("a", Status::Succeeded)];
        assert_eq!(totals(&one, 1, 0), "1 succeeded");
        assert_eq!(totals(&one, 4, 2), "1 succeeded, 2 before, 1 not ended");
        assert_eq!(totals(&[], 2, 2), "2 before");
    }

    #[test]
    fn a_failed_node_is_explained() {
        let mut blobs = Memory::default();
        let mut node = ended("lint", Status::Failed);
        std::sync::Arc::make_mut(&mut node.receipt).failure =
            Some(Failure { kind: FailureKind::Trap, message: "wasm trap: unreachable\nsecond line".into() });
        std::sync::Arc::make_mut(&mut node.receipt).findings =
            Some(blobs.put(serde_json::to_string(&[finding(1), finding(2), finding(3)]).unwrap().as_bytes()));
        std::sync::Arc::make_mut(&mut node.receipt).log =
            Some(blobs.put((1..=12).map(|i| format!("info line {i}\n")).collect::<String>().as_bytes()));
        node.facts.backtrace = Some("0: 0x1f - scan::run\n1: 0x2f - run".into());
        insta::assert_snapshot!(node.details(&blobs, Style::PLAIN, 2, 3));
    }

    #[test]
    fn what_a_failure_says_of_findings_is_said_once() {
        let mut node = ended("lint", Status::Failed);
        node.facts.findings = [("error".to_owned(), 2)].into();
        let mut line = |message: &str| {
            std::sync::Arc::make_mut(&mut node.receipt).failure =
                Some(Failure { kind: FailureKind::Error, message: message.into() });
            node.line(Style::PLAIN, 4)
        };
        assert_eq!(line("2 errors"), "  failed    lint  12 ms  2 errors\n");
        assert_eq!(line("nothing was read"), "  failed    lint  12 ms  2 errors  nothing was read\n");
    }

    #[test]
    fn the_summary_shows_fuel_of_budget() {
        let mut a = ended("package", Status::Succeeded);
        std::sync::Arc::make_mut(&mut a.receipt).fuel = Some(1_500_000_000);
        a.facts.peak_memory = 12 << 20;
        let mut b = ended("lint", Status::Succeeded);
        std::sync::Arc::make_mut(&mut b.receipt).fuel = Some(1_000);
        b.facts.findings = [("warning".to_owned(), 3)].into();
        b.facts.cached = true;
        let mut c = ended("export", Status::Skipped);
        c.attempt = 0;
        c.reason = Some("`lint` failed".into());
        insta::assert_snapshot!(
            summary(&[a.clone(), b.clone(), c.clone()], Style::PLAIN, &BTreeMap::new())
                + &totals(&[a, b.clone(), c.clone()], 3, 0)
                + "\n"
                + &b.line(Style::PLAIN, 7)
                + &c.line(Style::PLAIN, 7)
        );
    }

    #[test]
    fn long_runs_list_only_what_did_not_succeed() {
        let mut nodes: Vec<_> = (0..60).map(|i| ended(&format!("n{i}"), Status::Succeeded)).collect();
        assert_eq!(summary(&nodes, Style::PLAIN, &BTreeMap::new()), "");
        std::sync::Arc::make_mut(&mut nodes[7].receipt).status = Status::Failed;
        assert_eq!(summary(&nodes, Style::PLAIN, &BTreeMap::new()).lines().count(), 2);
    }

    #[test]
    fn the_end_of_a_log_is_found_in_bounded_memory() {
        let text = "x".repeat(1 << 20) + "\nlast";
        let (total, lines) = last_lines(text.as_bytes(), 2).unwrap();
        assert_eq!((total, lines.len(), lines[1].as_str()), (2, 2, "last"));
        assert!(lines[0].len() < 2_000);
        assert_eq!(last_lines(&b""[..], usize::MAX).unwrap(), (0, vec![]));
    }

    #[test]
    fn shares_are_short() {
        assert_eq!([0, 1, 1_000, 50_000].map(|used| percent(used, 100_000)), ["0 %", "< 0.01 %", "1 %", "50 %"]);
    }
}
