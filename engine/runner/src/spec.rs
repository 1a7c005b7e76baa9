//! What a run is made of, how it is to be driven, and what came of it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lockgate_model::event::{Commit, Component, Selection, Source};
use lockgate_model::graph::Graph;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::{Counts, ExitClass, IllegalTransition, RunState};
use lockgate_model::{Digest, NodeId, PluginAlias, PortName, RunId};

use crate::executor::Executor;
use crate::part::Taken;
use crate::ports::{
    BlobError, Blobs, Cache, Clock, Interrupt, JournalError, JournalSink, NoObserver, Observer, SystemClock,
};

/// Everything that a run depends on.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// The run's id, see [`crate::run_id()`].
    pub run: RunId,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Its graph.
    pub graph: Arc<Graph>,
    /// The file as the user named it, for people.
    pub file: String,
    /// The pipeline's root, absolute, for exports after a resume.
    pub root: Option<String>,
    /// The component of each alias that a node names.
    pub components: BTreeMap<PluginAlias, Component>,
    /// The snapshot of each directory and file that is an input.
    pub sources: Vec<Source>,
    /// The run's logical time in milliseconds since 1970.
    pub logical_time: u64,
    /// The engine's version.
    pub engine: String,
    /// The determinism version.
    pub determinism: String,
    /// Which part of the pipeline is run; none: all of it.
    pub selection: Option<Selection>,
    /// Git's commit of the root, where somebody wants it on record.
    pub commit: Option<Commit>,
    /// Digests of the policy files in force, for the journal.
    pub policies: Vec<Digest>,
}

/// What a run is driven with.
#[derive(Clone)]
pub struct Surroundings {
    /// Where its events are kept.
    pub journal: Arc<dyn JournalSink>,
    /// Where blobs are read and kept.
    pub blobs: Arc<dyn Blobs>,
    /// Where results of earlier executions are found; none: nothing is served from there. What this run proves is kept all the
    /// same, by the journal.
    pub cache: Option<Arc<dyn Cache>>,
    /// What nodes get that a run of a part does not select, see [`crate::forecast()`]; empty for a whole pipeline.
    pub taken: Taken,
    /// Who watches.
    pub observer: Arc<dyn Observer>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The wish to stop.
    pub interrupt: Interrupt,
    /// Who executes the second and later times where an execution is repeated to compare: best in another process. None: who
    /// executes the first time.
    pub again: Option<Arc<dyn Executor>>,
}

impl Surroundings {
    /// Surroundings with the machine's clock, without a cache, and nobody who watches or interrupts.
    pub fn new(journal: Arc<dyn JournalSink>, blobs: Arc<dyn Blobs>) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self {
            journal,
            blobs,
            cache: None,
            taken: Taken::default(),
            observer: Arc::new(NoObserver),
            clock,
            interrupt: Interrupt::default(),
            again: None,
        }
    }
}

/// How a run is driven. None of it changes what comes out, with one exception: which nodes `fail_fast` skips depends on speed,
/// and a run in which it skipped any has no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriveOptions {
    /// Executions at one time. Default: the machine's cores.
    pub jobs: NonZeroUsize,
    /// Whether nothing new starts after a failure, `finally` nodes excepted. Default: no.
    pub fail_fast: bool,
    /// How many milliseconds the run stays while only waiting nodes are left, for a signal or for the first of them to end by
    /// itself. Default: 0.
    pub stay: u64,
    /// Whether each node without grants is executed at least twice, uncached, and compared. Default: no.
    pub check_determinism: bool,
    /// Whether each node without grants is executed although its result is in the cache, and compared with that. Default: no.
    pub check_cache: bool,
}

impl Default for DriveOptions {
    fn default() -> Self {
        Self {
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            fail_fast: false,
            stay: 0,
            check_determinism: false,
            check_cache: false,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Its status.
    pub status: Status,
    /// Its digest; none after an infrastructure error, an interruption, of a part, or where `--fail-fast` skipped a node.
    pub digest: Option<Digest>,
    /// What the exit code is made of.
    pub exit: ExitClass,
    /// How many nodes ended how.
    pub counts: Counts,
    /// Its last state, with every receipt.
    pub state: RunState,
}

/// Why a run could not be driven to its end. What the journal holds is still a legal beginning, from which `resume` goes on.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A node's plugin has no component.
    #[error("start the run: plugin `{0}` has no component")]
    NoComponent(PluginAlias),
    /// An input of the host was not taken.
    #[error("start the run: there is no snapshot for input `{input}` of node `{node}`")]
    NoSource {
        /// The node.
        node: NodeId,
        /// Its input.
        input: PortName,
    },
    /// The graph is not the pipeline's.
    #[error("start the run: the graph has {graph} nodes, the pipeline {pipeline}")]
    Graph {
        /// Nodes of the graph.
        graph: usize,
        /// Nodes of the pipeline.
        pipeline: usize,
    },
    /// The pipeline could not be kept.
    #[error("keep the pipeline")]
    Pipeline(#[source] BlobError),
    /// The journal took no more: the disk is full, or worse.
    #[error("write the journal")]
    Journal(#[source] JournalError),
    /// An event that cannot have happened: a defect of the engine.
    #[error("go on: the engine contradicts itself")]
    Illegal(#[from] IllegalTransition),
    /// Nodes are left, and nothing will set them free: a defect of the engine.
    #[error("go on: {0} nodes are not final, and none of them can start")]
    Stuck(usize),
    /// The journal's writer ended without a word: a defect of the engine.
    #[error("go on: the journal's writer is gone")]
    WriterGone,
}

impl DriveError {
    /// What the exit code is made of.
    pub const fn exit(&self) -> ExitClass {
        ExitClass::Infrastructure
    }
}
