//! The summary of a run as Markdown: what GitHub shows on a job's page.

use super::findings::{finding_counts, read_findings};
use super::report::{Blobs, Ended, fuel_text, memory_text, percent, short, totals};
use crate::past::PastRun;
use crate::time::duration;
use lockgate_model::outcome::{Finding, Status};

/// Rows of the table; of larger runs only what did not succeed. GitHub takes a mebibyte for all steps of a job.
const ROWS: usize = 200;
/// Findings and failures that are listed.
const LISTED: usize = 50;

/// The summary. `options` are those that `lockgate show` needs to find the run, with a blank in front.
pub(crate) fn summary(run: &PastRun, blobs: &dyn Blobs, options: &str) -> String {
    let mut ended = run.in_order();
    let status = run.summary.status.map_or("unfinished", Status::name);
    let mut text = format!("## {}: {status}\n\n", escape(&run.summary.name));
    let owned: Vec<Ended> = ended.iter().map(|node| (*node).clone()).collect();
    text += &totals(&owned, run.pipeline.nodes.len(), 0);
    if let Some(micros) = run.micros() {
        text += &format!(" in {}", duration(micros));
    }
    ended.retain(|node| !node.is_left_out());
    text += &format!(", run `{}`", run.summary.id);
    if let Some(digest) = run.summary.digest {
        text += &format!(", digest `{digest}`");
    }
    if let Some(part) = run.selection() {
        text += &format!(", a part of the pipeline: `{part}`");
    }
    text += "\n\n";
    text += &table(&ended);
    text += &failures(&ended);
    text += &findings(&ended, blobs);
    let id = &run.summary.id;
    text += &match run.summary.status {
        Some(Status::Succeeded) => format!("More: `lockgate show {id}{options}`\n"),
        _ => format!("Go on where it stopped: `lockgate resume {id}{options}`. More: `lockgate show {id}{options}`\n"),
    };
    text
}

fn table(ended: &[&Ended]) -> String {
    let worth = |node: &&&Ended| ended.len() <= ROWS || node.receipt.status != Status::Succeeded;
    let rows: Vec<&&Ended> = ended.iter().filter(worth).take(ROWS).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = String::from("| node | status | time | fuel | of budget | memory | cache | findings |\n");
    text += "|---|---|--:|--:|--:|--:|---|---|\n";
    for node in &rows {
        let ran = node.attempt > 0;
        let fuel = node.receipt.fuel;
        let status = node.receipt.status.name();
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |\n",
            escape(node.receipt.node.as_str()),
            if node.is_bad() { format!("**{status}**") } else { status.to_owned() },
            if ran { duration(node.facts.micros) } else { String::new() },
            fuel.map(fuel_text).unwrap_or_default(),
            fuel.map(|fuel| percent(fuel, node.facts.fuel_limit)).unwrap_or_default(),
            if ran { memory_text(node.facts.peak_memory) } else { String::new() },
            node.origin(),
            escape(&finding_counts(&node.facts)),
        );
    }
    if rows.len() < ended.len() {
        text += &format!("\n{} more nodes are not listed.\n", ended.len() - rows.len());
    }
    text + "\n"
}

fn failures(ended: &[&Ended]) -> String {
    let failed = || ended.iter().filter_map(|node| Some((node, node.receipt.failure.as_ref()?)));
    let mut text = String::new();
    for (node, failure) in failed().take(LISTED) {
        let id = escape(node.receipt.node.as_str());
        text += &format!("- **{id}** ({}): {}\n", failure.kind.name(), escape(&short(&failure.message)));
        for reason in node.receipt.verdict.iter().flat_map(|verdict| &verdict.reasons) {
            text += &format!("  - {}\n", escape(&short(reason)));
        }
    }
    if text.is_empty() { text } else { format!("### What failed\n\n{text}{}\n", more(failed().count())) }
}

fn findings(ended: &[&Ended], blobs: &dyn Blobs) -> String {
    let mut text = String::new();
    let mut seen = 0;
    for node in ended {
        let Some(blob) = &node.receipt.findings else { continue };
        match read_findings(blob, node.dir.as_deref(), blobs) {
            Ok(findings) => {
                let room = LISTED.saturating_sub(seen);
                text.extend(findings.iter().take(room).map(finding_line));
                seen += findings.len();
            }
            Err(error) => {
                text += &format!("- findings of {} cannot be read: {error}\n", escape(node.receipt.node.as_str()));
            }
        }
    }
    if text.is_empty() { text } else { format!("### Findings\n\n{text}{}\n", more(seen)) }
}

fn more(number: usize) -> String {
    if number > LISTED { format!("- and {} more\n", number - LISTED) } else { String::new() }
}

fn finding_line(finding: &Finding) -> String {
    let mut place = finding.path.as_deref().map(short).unwrap_or_default();
    if let Some(line) = finding.line {
        place += &format!(":{line}");
    }
    let place = if place.is_empty() { place } else { format!("{} ", escape(&place)) };
    let rule = finding.rule.as_deref().map(|rule| format!(" \\[{}\\]", escape(&short(rule)))).unwrap_or_default();
    format!("- {place}{}: {}{rule}\n", escape(&short(&finding.severity)), escape(&short(&finding.message)))
}

/// Text in which nothing is markup: every character that Markdown gives a meaning to is escaped, those of HTML as entities.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            // A mention or a reference would reach people.
            '@' => escaped += "&#64;",
            '#' => escaped += "&#35;",
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '~' | '$' => escaped.extend(['\\', c]),
            // Links are made of bare addresses.
            ':' => escaped += "&#58;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_run_is_summed_up() {
        let (run, blobs) = samples::past();
        let text = summary(&run, &blobs, " --state s");
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn nothing_is_markup() {
        assert_eq!(
            escape("<a href=x>|`*_[x](y)@all #1 https://x"),
            "&lt;a href=x&gt;\\|\\`\\*\\_\\[x\\]\\(y\\)&#64;all &#35;1 https&#58;//x"
        );
    }
}
