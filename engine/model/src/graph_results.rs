//! What all nodes of a graph gave: a blob from which a later run of the same graph is served at once, and the key under which it is
//! found.
//!
//! The blob is text. Its first line names the format and every artifact that the receipts name, so that it can be known without
//! reading the rest whether all of them are still there; each further line is a [`NodeResult`] as JSON, in an order in which nodes can
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactRef;
use crate::digest::Digest;
use crate::event::{AttemptFacts, Component, Event, Source, shared};
use crate::id::{PluginAlias, PortName};
use crate::receipt::Receipt;

/// Domain of the keys of graphs.
pub const GRAPH_DOMAIN: &str = "lockgate-graph-v1";
/// The format, as the first line names it.
const FORMAT: &str = "lockgate-graph-results-v1";
/// Most threads that read results.
const MAX_THREADS: usize = 8;
/// Least bytes that are worth a thread.
const MIN_PART: usize = 256 << 10;
/// Largest blob that is read: 100,000 nodes with a dozen outputs each.
pub const MAX_GRAPH_RESULTS: u64 = 256 << 20;

/// What one node gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeResult {
    /// Its receipt: it succeeded.
    #[serde(serialize_with = "shared::serialize", deserialize_with = "shared::deserialize")]
    pub receipt: Arc<Receipt>,
    /// The receipt's digest.
    pub digest: Digest,
    /// Its inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<PortName, ArtifactRef>,
    /// Findings by severity.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub findings: BTreeMap<String, u64>,
    /// The most linear memory in use, in bytes.
    #[serde(default)]
    pub peak_memory: u64,
    /// Fuel in force.
    #[serde(default)]
    pub fuel_limit: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    artifacts: BTreeSet<ArtifactRef>,
    format: String,
}

/// Why a blob holds no results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// It is of no format that this engine knows.
    #[error("read the results of a graph: the format is not `{FORMAT}`")]
    Format,
    /// A line is wrong.
    #[error("read line {0} of the results of a graph")]
    Line(usize, #[source] serde_json::Error),
    /// A receipt has no action key: nothing was executed for it.
    #[error("read line {0} of the results of a graph: its receipt has no action key")]
    Key(usize),
}

/// The key of a run's graph: of all that the action keys of its nodes, their ids and their order depend on. Whoever started it, where
/// and when is not among that.
pub fn graph_key(
    pipeline: Digest,
    components: &BTreeMap<PluginAlias, Component>,
    sources: &[Source],
    determinism: &str,
    logical_time: u64,
) -> Digest {
    #[derive(Serialize)]
    struct Parts<'a> {
        components: &'a BTreeMap<PluginAlias, Component>,
        determinism: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        logical_time: Option<u64>,
        pipeline: Digest,
        sources: &'a [Source],
    }
    let reads_time = components.values().any(|component| component.reads_time);
    let logical_time = reads_time.then_some(logical_time);
    Digest::of_json(GRAPH_DOMAIN, &Parts { components, determinism, logical_time, pipeline, sources })
}

/// Writes the text of results.
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins a text of results with these receipts.
    pub fn new<'a>(receipts: impl Iterator<Item = &'a Receipt>) -> Self {
        let named = |receipt: &'a Receipt| {
            let Receipt { outputs, findings, log, effects, .. } = receipt;
            outputs.values().chain(findings).chain(log).chain(effects).copied()
        };
        let mut text = Vec::new();
        line(&mut text, &Head { artifacts: receipts.flat_map(named).collect(), format: FORMAT.to_owned() });
        Self(text)
    }

    /// Adds the result of a node; all that it needs must be there already.
    pub fn add(&mut self, result: &NodeResult) {
        line(&mut self.0, result);
    }

    /// The text.
    pub fn finish(self) -> String {
        // JSON is UTF-8.
        String::from_utf8(self.0).unwrap_or_default()
    }
}

fn line(text: &mut Vec<u8>, value: &impl Serialize) {
    let start = text.len();
    // Nothing here has keys that are no strings, or fails by itself; a line of which only a part is there would not be read.
    if serde_json::to_writer(&mut *text, value).is_err() {
        text.truncate(start);
    }
    text.push(b'\n');
}

/// Every artifact that the receipts name.
pub fn artifacts(text: &str) -> Result<BTreeSet<ArtifactRef>, ResultsError> {
    let first = text.lines().next().unwrap_or_default();
    let head: Head = serde_json::from_str(first).map_err(|_| ResultsError::Format)?;
    if head.format == FORMAT { Ok(head.artifacts) } else { Err(ResultsError::Format) }
}

/// The events of a run that is served with these results. Those of a large graph are read on all cores.
pub fn events(text: &str) -> Result<Vec<Event>, ResultsError> {
    artifacts(text)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut parts = parts(text, text.len().div_ceil(threads).max(MIN_PART)).into_iter();
    let first = parts.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| (part.clone(), scope.spawn(move || part_events(text, part)))).collect();
        let mut events = part_events(text, first)?;
        for (part, other) in others {
            // A panic would be a defect, and comes again here.
            events.append(&mut other.join().unwrap_or_else(|_| part_events(text, part))?);
        }
        Ok(events)
    })
}

/// The lines behind the first one, cut into parts of about so many bytes.
fn parts(text: &str, size: usize) -> Vec<Range<usize>> {
    let line_end =
        |at: usize| text.as_bytes()[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end + 1);
    let (mut parts, mut start) = (Vec::new(), line_end(0));
    while start < text.len() {
        let end = line_end((start + size - 1).min(text.len() - 1));
        parts.push(start..end);
        start = end;
    }
    parts
}

fn part_events(text: &str, part: Range<usize>) -> Result<Vec<Event>, ResultsError> {
    let lines = &text[part.clone()];
    let number = |at: usize| text[..part.start].lines().count() + at + 1;
    let mut events = Vec::with_capacity(2 * lines.lines().count());
    for (at, line) in lines.lines().enumerate() {
        let result = serde_json::from_str(line).map_err(|error| ResultsError::Line(number(at), error))?;
        let NodeResult { receipt, digest, inputs, findings, peak_memory, fuel_limit } = result;
        let (attempt, cached, pure) = (1, true, true);
        let key = receipt.key.ok_or_else(|| ResultsError::Key(number(at)))?;
        events.push(Event::AttemptStarted { node: receipt.node.clone(), attempt, key, inputs });
        let facts = AttemptFacts { peak_memory, fuel_limit, cached, pure, findings, ..AttemptFacts::default() };
        events.push(Event::NodeFinished { receipt, digest, attempt, reason: None, facts });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::ArtifactKind;
    use crate::id::NodeId;
    use crate::outcome::Status;

    fn result(node: &str) -> NodeResult {
        let artifact =
            |name: &str| ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(name.as_bytes()), size: 1 };
        let receipt = Receipt {
            node: NodeId::new(node).unwrap(),
            component: Some(Digest::of(b"component")),
            key: Some(Digest::of(node.as_bytes())),
            status: Status::Succeeded,
            failure: None,
            outputs: BTreeMap::from([(PortName::new("out").unwrap(), artifact("out"))]),
            findings: None,
            verdict: None,
            decision: None,
            log: Some(artifact("log")),
            effects: None,
            fuel: Some(7),
        };
        NodeResult {
            digest: receipt.digest(),
            receipt: Arc::new(receipt),
            inputs: BTreeMap::from([(PortName::new("in").unwrap(), artifact("in"))]),
            findings: BTreeMap::from([("warning".to_owned(), 2)]),
            peak_memory: 65_536,
            fuel_limit: 100,
        }
    }

    fn encode(results: &[NodeResult]) -> String {
        let mut encoder = Encoder::new(results.iter().map(|result| &*result.receipt));
        results.iter().for_each(|result| encoder.add(result));
        encoder.finish()
    }

    #[test]
    fn results_come_back_as_the_events_of_a_run_from_the_cache() {
        let results = [result("a")];
        let text = encode(&results);
        assert_eq!(artifacts(&text).unwrap().len(), 2);
        let events = events(&text).unwrap();
        let [Event::AttemptStarted { attempt: 1, key, inputs, .. }, end] = &events[..] else { panic!("{events:?}") };
        assert_eq!((*key, inputs), (Digest::of(b"a"), &results[0].inputs));
        let Event::NodeFinished { receipt, digest, attempt: 1, reason: None, facts } = end else { panic!("{end:?}") };
        assert_eq!((receipt, *digest), (&results[0].receipt, results[0].digest));
        assert!(facts.cached && facts.pure && facts.peak_memory == 65_536 && facts.fuel_limit == 100);
        assert_eq!(end.proves(), None);
    }

    #[test]
    fn results_are_cut_between_lines() {
        let text = encode(&["a", "bb", "ccc", "d"].map(result));
        for size in [1, 7, 500, 1_000, 10_000] {
            let parts = parts(&text, size);
            assert!(parts.iter().all(|part| text[part.clone()].ends_with('\n')), "{size}: {parts:?}");
            let all: String = parts.iter().map(|part| &text[part.clone()]).collect();
            assert_eq!(Some(&*all), text.split_once('\n').map(|(_, rest)| rest), "{size}");
        }
        assert!(parts(text.lines().next().unwrap(), 1).is_empty());
        let lines: Vec<_> = text.lines().collect();
        let torn = [lines[0], lines[1], lines[2], "{}"].join("\n");
        assert!(matches!(events(&torn), Err(ResultsError::Line(4, _))));
    }

    #[test]
    fn many_results_are_read_on_several_threads_in_their_order() {
        let results: Vec<_> = (0..3_000).map(|number| result(&format!("n{number}"))).collect();
        let text = encode(&results);
        assert!(text.len() > 3 * MIN_PART);
        let ends = events(&text).unwrap().into_iter().filter_map(|event| match event {
            Event::NodeFinished { receipt, .. } => Some(receipt),
            _ => None,
        });
        assert!(ends.eq(results.into_iter().map(|result| result.receipt)));
    }

    #[test]
    fn what_are_no_results_is_refused() {
        let text = encode(&[result("a")]);
        assert!(matches!(events(""), Err(ResultsError::Format)));
        assert!(matches!(events(&text.replace("results-v1", "results-v2")), Err(ResultsError::Format)));
        assert!(matches!(events(&text.replace("\"receipt\"", "\"recipe\"")), Err(ResultsError::Line(2, _))));
        let key = Digest::of(b"a");
        let keyless = text.replace(&format!("\"key\":\"{key}\","), "");
        assert!(matches!(events(&keyless), Err(ResultsError::Key(2))), "{keyless}");
    }

    #[test]
    fn the_key_covers_what_results_depend_on() {
        let alias = PluginAlias::new("p").unwrap();
        let component = |reads_time| Component { digest: Digest::of(b"c"), name: "p 1".to_owned(), reads_time };
        let source = |name: &str| Source {
            source: crate::pipeline::InputSource::File { path: name.to_owned() },
            artifact: ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(b"x"), size: 1 },
        };
        let key = |pipeline: &str, reads_time, sources: &[Source], determinism: &str, time| {
            let components = BTreeMap::from([(alias.clone(), component(reads_time))]);
            graph_key(Digest::of(pipeline.as_bytes()), &components, sources, determinism, time)
        };
        let one = key("a", false, &[], "1", 0);
        assert_eq!(one, key("a", false, &[], "1", 9), "the time counts only where it is read");
        let others = [
            key("b", false, &[], "1", 0),
            key("a", true, &[], "1", 0),
            key("a", true, &[], "1", 9),
            key("a", false, &[source("x")], "1", 0),
            key("a", false, &[source("y")], "1", 0),
            key("a", false, &[], "2", 0),
        ];
        let distinct: BTreeSet<_> = others.iter().chain([&one]).map(|key| *key.as_bytes()).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }
}
