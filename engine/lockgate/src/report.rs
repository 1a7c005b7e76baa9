//! What came of a run.

use std::fmt;
use std::io;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::outcome;
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{ExitClass, RunState};
use lockgate_runner::RunReport;
use lockgate_store::Store;

use crate::wiring::export::Outcome;

/// How a run or a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It did what it should.
    Succeeded,
    /// A node said no, or broke a limit or its contract.
    Failed,
    /// It did not run.
    Skipped,
    /// Infrastructure kept it from saying anything.
    Errored,
    /// It was stopped before it ended.
    Cancelled,
    /// Only nodes that wait for something outside are left: [`Engine::resume`](crate::Engine::resume) goes on when it came.
    Waiting,
}

impl Status {
    /// The word for it, as `lockgate` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Errored => "errored",
            Self::Cancelled => "cancelled",
            Self::Waiting => "waiting",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[doc(hidden)]
impl From<outcome::Status> for Status {
    fn from(status: outcome::Status) -> Self {
        match status {
            outcome::Status::Succeeded => Self::Succeeded,
            outcome::Status::Failed => Self::Failed,
            outcome::Status::Skipped => Self::Skipped,
            outcome::Status::Errored => Self::Errored,
            outcome::Status::Cancelled => Self::Cancelled,
        }
    }
}

/// What came of a run.
#[non_exhaustive]
pub struct Report {
    /// The run's id, for `lockgate show`, [`Engine::resume`](crate::Engine::resume) and the like.
    pub run: String,
    /// How it ended.
    pub status: Status,
    /// The run digest, `sha256:` and 64 hex digits: the same for the same pipeline, inputs and recorded effects, on any machine. None
    /// after an infrastructure error, a cancellation, or while it waits.
    pub digest: Option<String>,
    /// The nodes that have a receipt, in the pipeline's order.
    pub nodes: Vec<NodeReport>,
    /// What was exported, or why not.
    pub exports: Vec<Exported>,
    store: Store,
}

/// What came of one node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeReport {
    /// Its id.
    pub id: String,
    /// How it ended.
    pub status: Status,
    /// Why it failed, if it did.
    pub message: Option<String>,
    /// What a health check or canary said.
    pub verdict: Option<String>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// The digest of its receipt.
    pub receipt: String,
    parts: Parts,
}

#[derive(Debug, Clone)]
struct Parts {
    outputs: Vec<(String, ArtifactRef)>,
    log: Option<ArtifactRef>,
    findings: Option<ArtifactRef>,
}

/// One export of a run that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// `node.output`
    pub from: String,
    /// Where it is, relative to the root.
    pub to: String,
    /// Why it is not there, if so.
    pub problem: Option<String>,
}

impl NodeReport {
    fn of(receipt: &Receipt) -> Self {
        let outputs: Vec<_> = receipt.outputs.iter().map(|(name, artifact)| (name.to_string(), *artifact)).collect();
        Self {
            id: receipt.node.to_string(),
            status: receipt.status.into(),
            message: receipt.failure.as_ref().map(|failure| failure.message.clone()),
            verdict: receipt.verdict.as_ref().map(|verdict| verdict.word.clone()),
            outputs: outputs.iter().map(|(name, _)| name.clone()).collect(),
            receipt: receipt.digest().to_string(),
            parts: Parts { outputs, log: receipt.log, findings: receipt.findings },
        }
    }
}

impl Report {
    pub(crate) fn new(run: String, report: &RunReport, exports: Vec<Outcome>, store: Store) -> Self {
        let status = match report.exit {
            ExitClass::Waiting => Status::Waiting,
            ExitClass::Interrupted => Status::Cancelled,
            _ => report.status.into(),
        };
        let exports = exports.into_iter().map(|Outcome { from, to, error, skipped }| {
            let problem = error.or_else(|| skipped.map(|why| format!("it {why}")));
            Exported { from, to, problem }
        });
        Self {
            run,
            status,
            digest: report.digest.map(|digest| digest.to_string()),
            nodes: nodes(&report.state),
            exports: exports.collect(),
            store,
        }
    }

    /// Whether the run succeeded and everything was exported.
    pub fn succeeded(&self) -> bool {
        self.status == Status::Succeeded && self.exports.iter().all(|export| export.problem.is_none())
    }

    /// What came of a node, by its id.
    pub fn node(&self, id: &str) -> Option<&NodeReport> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The bytes of a node's output, if they are at most so many. None: there is no such output, or it is a tree.
    pub fn output(&self, node: &str, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let found = self.node(node).and_then(|node| node.parts.outputs.iter().find(|(output, _)| output == name));
        self.read(found.map(|(_, artifact)| artifact), max)
    }

    /// The log of a node: a line a record, its level, a space, its message.
    pub fn log(&self, node: &str) -> io::Result<Option<String>> {
        self.text(self.node(node).and_then(|node| node.parts.log.as_ref()))
    }

    /// The findings of a node: a JSON array, as `lockgate show --format json` has them.
    pub fn findings(&self, node: &str) -> io::Result<Option<String>> {
        self.text(self.node(node).and_then(|node| node.parts.findings.as_ref()))
    }

    fn text(&self, artifact: Option<&ArtifactRef>) -> io::Result<Option<String>> {
        let bytes = self.read(artifact, u64::MAX)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn read(&self, artifact: Option<&ArtifactRef>, max: u64) -> io::Result<Option<Vec<u8>>> {
        match artifact.filter(|artifact| artifact.kind == ArtifactKind::Blob) {
            Some(artifact) => self.store.read_blob(&artifact.digest, max).map(Some).map_err(io::Error::other),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, status, digest, nodes, exports, store: _ } = self;
        let mut shown = f.debug_struct("Report");
        shown.field("run", run).field("status", status).field("digest", digest);
        shown.field("nodes", nodes).field("exports", exports).finish()
    }
}

fn nodes(state: &RunState) -> Vec<NodeReport> {
    let receipts = (0..state.pipeline().nodes.len()).filter_map(|index| state.receipt(index));
    receipts.map(|receipt| NodeReport::of(receipt)).collect()
}
