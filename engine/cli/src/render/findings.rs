//! Findings: read back, put below the directory that they speak of, shown as `path:line:column severity: message [rule]`.

use std::collections::HashMap;
use std::io::{self, Read as _};

use lockgate_model::NodeId;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::AttemptFacts;
use lockgate_model::outcome::Finding;
use lockgate_model::pipeline::{InputSource, Node, Pipeline};

use super::diagnostics::count;
use super::report::{Blobs, short};
use super::style::{Style, clean_line};

/// Largest JSON array of findings that is read: far more than the default of 10,000 findings needs.
const MAX_FINDINGS: u64 = 64 << 20;
/// Inputs handed on from node to node that are followed back to their directory.
const MAX_STEPS: usize = 100;

/// Knows which directories paths of findings are inside of, so that they can be shown relative to the root.
pub(crate) struct SourceDirs<'a>(HashMap<&'a NodeId, &'a Node>);

impl<'a> SourceDirs<'a> {
    /// For the nodes of a pipeline.
    pub(crate) fn new(pipeline: &'a Pipeline) -> Self {
        Self(pipeline.nodes.iter().map(|node| (&node.id, node)).collect())
    }

    /// The directory of a node: where all its inputs that may be trees are snapshots of one directory. Otherwise nobody knows which
    /// tree a path is meant in. None also for the root itself.
    pub(crate) fn of(&self, node: &NodeId) -> Option<String> {
        let mut found: Option<&str> = None;
        let mut open = vec![node];
        for _ in 0..MAX_STEPS {
            let Some(id) = open.pop() else { break };
            for source in self.0.get(id)?.inputs.values() {
                match source {
                    InputSource::Dir(spec) if found.is_none_or(|dir| dir == spec.dir) => found = Some(&spec.dir),
                    InputSource::File { .. } => {}
                    InputSource::Dir(_) | InputSource::Output { .. } => return None,
                    InputSource::Input { node, .. } => open.push(node),
                }
            }
        }
        found.filter(|dir| open.is_empty() && *dir != ".").map(|dir| dir.trim_end_matches('/').to_owned())
    }
}

/// Reads a blob of findings; their paths are put below `dir`.
pub(crate) fn read_findings(blob: &ArtifactRef, dir: Option<&str>, blobs: &dyn Blobs) -> io::Result<Vec<Finding>> {
    let mut bytes = Vec::new();
    blobs.open(blob)?.take(MAX_FINDINGS).read_to_end(&mut bytes)?;
    let mut findings: Vec<Finding> = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    if let Some(dir) = dir {
        findings
            .iter_mut()
            .filter_map(|finding| finding.path.as_mut())
            .for_each(|path| path.insert_str(0, &format!("{dir}/")));
    }
    Ok(findings)
}

/// Findings for people, at most `max` of them.
pub(crate) fn findings_text(
    blob: &ArtifactRef,
    dir: Option<&str>,
    blobs: &dyn Blobs,
    style: Style,
    max: usize,
) -> String {
    let findings = match read_findings(blob, dir, blobs) {
        Ok(findings) => findings,
        Err(error) => return format!("    findings cannot be read: {error}\n"),
    };
    let mut text = String::new();
    for finding in findings.iter().take(max) {
        text += &format!("    {}\n", finding_line(finding, style));
    }
    if findings.len() > max {
        text += &format!("    {}\n", style.dim(&format!("and {} more", findings.len() - max)));
    }
    text
}

/// `path:line:column severity: message [rule]`
pub(crate) fn finding_line(finding: &Finding, style: Style) -> String {
    let mut place = finding.path.as_deref().map(clean_line).unwrap_or_default();
    if let Some(line) = finding.line {
        place += &format!(":{line}");
        if let Some(column) = finding.column {
            place += &format!(":{column}");
        }
    }
    let place = if place.is_empty() { place } else { format!("{} ", style.bold(&place)) };
    let rule = finding.rule.as_deref().map(|rule| format!(" [{}]", clean_line(rule))).unwrap_or_default();
    format!("{place}{}: {}{}", style.severity(&finding.severity), short(&finding.message), style.dim(&rule))
}

/// `1 error, 3 warnings`
pub(crate) fn finding_counts(facts: &AttemptFacts) -> String {
    let parts: Vec<_> = facts
        .findings
        .iter()
        .map(|(severity, number)| count(usize::try_from(*number).unwrap_or(usize::MAX), &clean_line(severity)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use lockgate_model::pipeline::SnapshotSpec;

    use super::super::report::tests::Memory;
    use super::*;

    pub(crate) fn finding(line: u32) -> Finding {
        Finding {
            severity: "error".into(),
            message: "expected `=`\x1b[2J".into(),
            rule: Some("toml".into()),
            path: Some("a/b.toml".into()),
            line: Some(line),
            column: Some(7),
        }
    }

    #[test]
    fn paths_of_findings_are_relative_to_the_root_where_that_is_known() {
        let dir = |dir: &str| {
            InputSource::Dir(SnapshotSpec { dir: dir.into(), include: vec![], exclude: vec![], ignore: true })
        };
        let (mut pipeline, _) = super::super::graph::tests::sample();
        let (build, up) = (pipeline.nodes[0].id.clone(), pipeline.nodes[2].id.clone());
        let src: lockgate_model::PortName = "src".parse().unwrap();
        pipeline.nodes[0].inputs.insert(src.clone(), dir("engine/cli/"));
        pipeline.nodes[2].inputs.insert(src.clone(), InputSource::Input { node: build.clone(), input: src });
        assert_eq!(SourceDirs::new(&pipeline).of(&build).as_deref(), Some("engine/cli"));
        assert_eq!(SourceDirs::new(&pipeline).of(&up).as_deref(), Some("engine/cli"));
        pipeline.nodes[0].inputs.insert("more".parse().unwrap(), dir("docs"));
        assert_eq!(SourceDirs::new(&pipeline).of(&up), None);
        assert_eq!(SourceDirs::new(&pipeline).of(&pipeline.nodes[1].id), None);

        let mut blobs = Memory::default();
        let blob = blobs.put(serde_json::to_string(&[finding(1)]).unwrap().as_bytes());
        assert_eq!(read_findings(&blob, Some("x"), &blobs).unwrap()[0].path.as_deref(), Some("x/a/b.toml"));
    }
}
