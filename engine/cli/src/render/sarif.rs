//! The findings of all nodes as a SARIF 2.1.0 log (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>): one run, whose tool is Lockgate.
//!
//! A rule is named `<plugin>/<rule>`, since two plugins may use one name. Paths are relative to the pipeline's root, `%SRCROOT%`, where
//! the engine knows which directory a node looked at. Failed nodes are notifications of the invocation, not results: they say that
//! something could not be looked at, not what was found.

use std::collections::BTreeMap;
use std::io;

use lockgate_model::outcome::{Finding, Status};
use serde_json::{Value, json};

use super::findings::read_findings;
use super::graph::plugin_name;
use super::report::Blobs;
use crate::past::PastRun;
use crate::time::rfc3339;

/// Where readers find the schema.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// The most results of one run: what code scanning services take of one file.
const MAX_RESULTS: usize = 25_000;

/// The log as JSON.
///
/// # Errors
/// If findings cannot be read: a log without them would look like there were none.
pub(crate) fn sarif(run: &PastRun, blobs: &dyn Blobs) -> io::Result<String> {
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    let mut results = Vec::new();
    let mut found: Vec<(String, &str, Finding)> = Vec::new();
    let mut notifications = Vec::new();
    for node in &run.pipeline.nodes {
        let Some(ended) = run.ended.get(&node.id) else { continue };
        // What has no plugin finds nothing, but may fail.
        let plugin = plugin_name(&run.pipeline, node).unwrap_or_else(|| node.kind.name().to_owned());
        if let Some(failure) = &ended.receipt.failure {
            notifications.push(json!({
                "level": if node.allow_failure { "warning" } else { "error" },
                "message": { "text": format!("{}: {}", node.id, failure.message) },
                "descriptor": { "id": failure.kind.name() },
                "properties": { "node": node.id, "plugin": plugin },
            }));
        }
        let Some(blob) = &ended.receipt.findings else { continue };
        for finding in read_findings(blob, ended.dir.as_deref(), blobs)? {
            let rule = match &finding.rule {
                Some(rule) => format!("{plugin}/{rule}"),
                None => plugin.clone(),
            };
            rules.entry(rule.clone()).or_default();
            found.push((rule, node.id.as_str(), finding));
        }
    }
    rules.values_mut().enumerate().for_each(|(index, place)| *place = index);
    let left_out = found.len().saturating_sub(MAX_RESULTS);
    if left_out > 0 {
        // Errors first: of those that do not fit, the least important ones go.
        found.sort_by_key(|(_, _, finding)| level_rank(&finding.severity));
        found.truncate(MAX_RESULTS);
        let text =
            format!("{left_out} findings are left out: a file holds at most {MAX_RESULTS}; `lockgate show` has all");
        notifications.push(json!({ "level": "warning", "message": { "text": text } }));
    }
    for (rule, node, finding) in &found {
        results.push(result(rule, rules[rule], node, finding));
    }
    let summary = &run.summary;
    let mut invocation = json!({
        "executionSuccessful": summary.status == Some(Status::Succeeded),
        "startTimeUtc": rfc3339(summary.started_ms),
        "toolExecutionNotifications": notifications,
    });
    if let Some(end) = summary.finished_ms {
        invocation["endTimeUtc"] = rfc3339(end).into();
    }
    let rules: Vec<Value> = rules.keys().map(|id| json!({ "id": id })).collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "lockgate",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "invocations": [invocation],
            // What stands before the last slash is the category by which services tell runs of one kind from others.
            "automationDetails": { "id": format!("{}/{}", summary.name, summary.id) },
            "originalUriBaseIds": { "%SRCROOT%": { "description": { "text": "The root of the pipeline." } } },
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": { "run": summary.id, "digest": summary.digest },
        }],
    });
    Ok(format!("{log:#}\n"))
}

fn result(rule: &str, index: usize, node: &str, finding: &Finding) -> Value {
    // SARIF wants a text, a plugin may give none.
    let text = if finding.message.is_empty() { rule } else { &finding.message };
    let mut result = json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level(&finding.severity),
        "message": { "text": text },
        "properties": { "node": node, "severity": finding.severity },
    });
    if let Some(path) = finding.path.as_deref().filter(|path| !path.is_empty()) {
        let mut place = json!({ "artifactLocation": { "uri": uri(path), "uriBaseId": "%SRCROOT%" } });
        // Both count from 1; a column is one of its line.
        if let Some(line) = finding.line.filter(|line| *line > 0) {
            place["region"] = json!({ "startLine": line });
            if let Some(column) = finding.column.filter(|column| *column > 0) {
                place["region"]["startColumn"] = column.into();
            }
        }
        result["locations"] = json!([{ "physicalLocation": place }]);
    }
    result
}

fn level(severity: &str) -> &'static str {
    ["error", "warning", "note"][level_rank(severity)]
}

fn level_rank(severity: &str) -> usize {
    match severity {
        "error" => 0,
        "warning" => 1,
        _ => 2,
    }
}

/// A path as a relative reference of RFC 3986.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.trim_start_matches('/').bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn findings_are_results_and_failures_notifications() {
        let (run, blobs) = samples::past();
        let log: Value = serde_json::from_str(&sarif(&run, &blobs).unwrap()).unwrap();
        insta::assert_json_snapshot!(log);
    }

    #[test]
    fn findings_that_cannot_be_read_are_no_empty_log() {
        let (run, _) = samples::past();
        assert!(sarif(&run, &super::super::report::tests::Memory::default()).is_err());
    }

    #[test]
    fn paths_are_references() {
        assert_eq!(uri("src/a b%.rs"), "src/a%20b%25.rs");
        assert_eq!(uri("/etc:x/ü?#"), "etc%3Ax/%C3%BC%3F%23");
    }
}
