//! What a run needs of its surroundings, each behind one small trait: the journal, blobs, a clock, whoever watches, and the
//! wish to stop. Tests put faults and virtual time behind them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, NodeId, RunId};
use tokio::sync::watch;

/// An event with the time at which it was put in order, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamped {
    /// The time.
    pub time: u64,
    /// The event.
    pub event: Event,
}

/// Why the journal took nothing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JournalError(pub Box<dyn std::error::Error + Send + Sync>);

/// Where a run's events are kept.
pub trait JournalSink: Send + Sync + 'static {
    /// Appends events in one transaction: when it returns they are durable, all of them; after an error none is. It may block.
    fn append(&self, run: &RunId, events: &[Stamped]) -> Result<(), JournalError>;

    /// What other processes said about a run ([`Event::Signalled`]) in records behind number `after`, in order, and the number of
    /// the journal's last record: what to ask with next time. It may block. A journal that only one process writes has nothing.
    fn signals(&self, run: &RunId, after: u64) -> Result<(Vec<Stamped>, u64), JournalError> {
        let _ = run;
        Ok((Vec::new(), after))
    }
}

/// Why a blob could not be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Larger than the caller can use.
    #[error("read {digest}: it holds {size} bytes, at most {max} are taken here")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The most that the caller takes.
        max: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(Box<dyn std::error::Error + Send + Sync>),
}

/// Blobs and directories by digest. Calls may block; the runner makes them off its own task.
pub trait Blobs: Send + Sync + 'static {
    /// Reads a whole blob of at most `max` bytes.
    fn read(&self, digest: Digest, max: u64) -> Result<Vec<u8>, BlobError>;
    /// Keeps a blob.
    fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, BlobError>;
    /// Reads one directory of a tree.
    fn directory(&self, digest: Digest) -> Result<Arc<Directory>, BlobError>;
}

/// What an earlier execution proved for an action key.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    /// The run in which it was executed.
    pub run: RunId,
    /// Its receipt, which names the node of that run.
    pub receipt: Receipt,
    /// Facts of that execution.
    pub facts: AttemptFacts,
    /// When it was recorded, in milliseconds since 1970.
    pub time: u64,
}

/// Results of pure nodes by action key.
pub trait Cache: Send + Sync + 'static {
    /// What is proved for a key, if everything that the receipt names is there. It may block, for about as long as reading a small
    /// file; a cache that cannot be read has nothing.
    fn find(&self, key: &Digest) -> Option<Cached>;

    /// The text of what all nodes of the graph with this key gave, and where it is kept, if everything that it names is there. It may
    /// block. A cache that knows of nodes alone has nothing.
    fn graph(&self, key: &Digest) -> Option<(ArtifactRef, String)> {
        let _ = key;
        None
    }
}

/// How nodes with grants ended in earlier runs of a pipeline. Only those that a part of it does not select get such a result.
pub trait Earlier: Send + Sync {
    /// How a node last ended under this key where it was executed and gave an answer, infrastructure failures left out. May block.
    fn last_end(&self, node: &NodeId, key: &Digest) -> Option<LastEnd>;
}

/// How a node last ended under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct LastEnd {
    /// Its receipt, and where it comes from.
    pub found: Cached,
    /// Whether everything that the receipt names is still there.
    pub whole: bool,
}

/// Watches a run. Called in order, from the run's own task: it must not block. What is slow belongs behind a bounded channel
/// of the observer's own.
pub trait Observer: Send + Sync + 'static {
    /// An event is durable and was applied.
    fn event(&self, time: u64, event: &Event);
    /// Something happened that the journal doesn't record.
    fn notice(&self, notice: &Notice) {
        let _ = notice;
    }
}

/// What only a live view wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// An execution begins: a look, or one of an attempt's repetitions.
    Executing {
        /// The node.
        node: NodeId,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Number of the look, from 0.
        look: u32,
        /// When, in milliseconds since 1970.
        time: u64,
    },
    /// The run was interrupted; what runs is being cancelled.
    Interrupted,
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: u64, _: &Event) {}
}

/// The time, and waiting for it.
#[async_trait::async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970; never goes back.
    fn now_micros(&self) -> u64;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        self.now_micros() / 1_000
    }

    /// Returns once [`Clock::now_ms`] is at least `at`. May be dropped.
    async fn sleep_until(&self, at: u64);

    /// Returns after about this long by the machine's own time, whatever this clock says. May be dropped.
    async fn pause(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// The machine's clock: its time of day at the start, moved on by its monotonic clock, so that setting it disturbs no run.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    base: Duration,
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        let base = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { base, start: Instant::now() }
    }
}

#[async_trait::async_trait]
impl Clock for SystemClock {
    fn now_micros(&self) -> u64 {
        u64::try_from((self.base + self.start.elapsed()).as_micros()).unwrap_or(u64::MAX)
    }

    async fn sleep_until(&self, at: u64) {
        // Timers are rounded to milliseconds, so one sleep may end a little early.
        while let Some(left @ 1..) = at.checked_sub(self.now_ms()) {
            tokio::time::sleep(Duration::from_millis(left)).await;
        }
    }
}

/// The clock, moved on to this time (milliseconds since 1970) if it is behind.
pub(crate) fn not_before(clock: Arc<dyn Clock>, time: u64) -> Arc<dyn Clock> {
    match time.saturating_sub(clock.now_ms()) {
        0 => clock,
        ahead => Arc::new(MovedOn { clock, ahead }),
    }
}

/// A clock that counts some milliseconds more.
struct MovedOn {
    clock: Arc<dyn Clock>,
    ahead: u64,
}

#[async_trait::async_trait]
impl Clock for MovedOn {
    fn now_micros(&self) -> u64 {
        self.clock.now_micros().saturating_add(self.ahead.saturating_mul(1_000))
    }

    async fn sleep_until(&self, at: u64) {
        self.clock.sleep_until(at.saturating_sub(self.ahead)).await;
    }

    async fn pause(&self, span: Duration) {
        self.clock.pause(span).await;
    }
}

/// The wish to stop a run. Clones are one.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<watch::Sender<bool>>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Interrupt {
    /// Asks the run to stop; may be called from any thread, any number of times.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it was raised.
    pub async fn raised(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|raised| *raised).await;
    }
}
