//! Delivers spans while the run goes on: a task behind a bounded queue. Whatever the collector does, the run never waits for it, and
//! the end of the run waits a bounded time. What is lost is counted.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::client::{Answer, Client, Failure};
use super::config::Export;
use super::context::Ids;
use super::otlp::Encoding;
use super::span::{Attributes, Span};

/// Spans that wait; more are dropped. At some 500 bytes each, 16 MB: a run of 10,000 nodes while its collector is away.
const QUEUE: usize = 32 << 10;
/// Most spans of one request. Collectors take 4 MiB and more by default; a span is seldom more than 1 kB.
const BATCH: usize = 1_024;
/// How long a batch waits for more spans.
const GATHER: Duration = Duration::from_secs(1);
/// The pause before a request is made again: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Beyond the hold, for a task that does not get the processor.
const GRACE: Duration = Duration::from_millis(200);
/// Longest text of the other side that is repeated, in characters.
const MAX_SAID: usize = 200;

/// The run's side.
pub(super) struct Exporter {
    spans: mpsc::Sender<Span>,
    made: Arc<AtomicU64>,
    ending: watch::Sender<Option<Instant>>,
    tally: Arc<Tally>,
    task: JoinHandle<()>,
    hold: Duration,
}

/// Where the run's side puts spans.
#[derive(Clone)]
pub(super) struct Queue {
    spans: mpsc::Sender<Span>,
    made: Arc<AtomicU64>,
}

impl Queue {
    /// Takes a span. Never waits: beyond the queue, it is lost.
    pub(super) fn push(&self, span: Span) {
        self.made.fetch_add(1, Ordering::Relaxed);
        let _ = self.spans.try_send(span);
    }
}

/// What became of the spans.
#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    /// The last reason for which some were not.
    why: std::sync::Mutex<Option<String>>,
}

impl Tally {
    fn because(&self, why: String) {
        *self.lock() = Some(why);
    }

    /// A reason that says less than any before it.
    fn or_because(&self, why: &str) {
        self.lock().get_or_insert_with(|| why.to_owned());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.why.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Spans that were not delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// How many.
    pub(super) spans: u64,
    /// Of how many.
    pub(super) of: u64,
    /// Why.
    pub(super) why: String,
}

impl Exporter {
    /// Starts the task.
    pub(super) fn start(runtime: &Runtime, export: Export, resource: Attributes, ids: Ids) -> Self {
        let (spans, inbox) = mpsc::channel(QUEUE);
        let (ending, ended) = watch::channel(None);
        let tally = Arc::new(Tally::default());
        let Export { url, headers, encoding, timeout, hold, .. } = export;
        let delivery = Delivery {
            client: Client::new(url, headers, encoding.content_type()),
            encoding,
            timeout,
            resource,
            ids,
            tally: tally.clone(),
            ended,
        };
        let task = runtime.spawn(delivery.run(inbox));
        Self { spans, made: Arc::default(), ending, tally, task, hold }
    }

    /// Where spans are put.
    pub(super) fn queue(&self) -> Queue {
        Queue { spans: self.spans.clone(), made: self.made.clone() }
    }

    /// Waits, a bounded time, until all is delivered; tells what was not. All queues must be gone by now, or it waits that long.
    pub(super) fn finish(self, runtime: &Runtime) -> Option<Lost> {
        let Self { spans, made, ending, tally, task, hold } = self;
        drop(spans);
        ending.send_replace(Some(Instant::now() + hold));
        let abort = task.abort_handle();
        if runtime.block_on(async { timeout(hold + GRACE, task).await }).is_err() {
            abort.abort();
        }
        let of = made.load(Ordering::Relaxed);
        let lost = of.saturating_sub(tally.delivered.load(Ordering::Relaxed));
        let why = tally.lock().take();
        let why = why.unwrap_or_else(|| "they came faster than they were taken".to_owned());
        (lost > 0).then_some(Lost { spans: lost, of, why })
    }
}

/// The delivering side.
struct Delivery {
    client: Client,
    encoding: Encoding,
    timeout: Duration,
    resource: Attributes,
    ids: Ids,
    tally: Arc<Tally>,
    /// When the end of the run waits no longer; none while the run goes on.
    ended: watch::Receiver<Option<Instant>>,
}

/// What to do after a request.
enum Next {
    /// So many spans were taken.
    Taken(u64),
    /// They will not be taken.
    Refused,
    /// Perhaps later.
    Again(Option<Duration>),
    /// Perhaps later, but not within the time that the end of a run has.
    Away,
}

impl Delivery {
    async fn run(mut self, mut inbox: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        loop {
            if inbox.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            let mut ended = self.ended.clone();
            let full = async {
                while batch.len() < BATCH {
                    let room = BATCH - batch.len();
                    if inbox.recv_many(&mut batch, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                () = full => {}
                () = sleep(GATHER) => {}
                _ = ended.wait_for(Option::is_some) => {}
            }
            // At the end there may be more at hand than the branch above took.
            while batch.len() < BATCH
                && let Ok(span) = inbox.try_recv()
            {
                batch.push(span);
            }
            if !self.deliver(&batch).await {
                return;
            }
            batch.clear();
        }
    }

    /// Delivers a batch, or finds that it cannot be. Whether there is any use in going on.
    async fn deliver(&mut self, batch: &[Span]) -> bool {
        let body = Bytes::from(self.encoding.encode(&self.ids, &self.resource, batch));
        let mut pause = FIRST_PAUSE;
        loop {
            let request = timeout(self.timeout, self.client.post(body.clone()));
            let Some(said) = before_end(self.ended.clone(), request).await else {
                self.tally.or_because("there was no answer before the run's end had waited long enough");
                return false;
            };
            let said = said.unwrap_or_else(|_| {
                Err(Failure::Broken(format!("there was no answer within {} ms", self.timeout.as_millis())))
            });
            let wanted = match self.judge(said, batch.len() as u64) {
                Next::Taken(spans) => {
                    self.tally.delivered.fetch_add(spans, Ordering::Relaxed);
                    return true;
                }
                Next::Refused => return true,
                Next::Away if self.ended.borrow().is_some() => return false,
                Next::Away => None,
                Next::Again(wanted) => wanted,
            };
            let wait = wanted.unwrap_or(pause).min(MAX_PAUSE);
            pause = (pause * 2).min(MAX_PAUSE);
            // The end of the run is worth another try at once.
            let was_over = self.ended.borrow().is_some();
            let mut ended = self.ended.clone();
            let ends = async {
                if was_over { std::future::pending().await } else { drop(ended.wait_for(Option::is_some).await) }
            };
            let waited = async {
                tokio::select! { () = sleep(wait) => {} () = ends => {} }
            };
            if before_end(self.ended.clone(), waited).await.is_none() {
                return false;
            }
        }
    }

    fn judge(&self, said: Result<Answer, Failure>, spans: u64) -> Next {
        let Answer { status, retry_after, body } = match said {
            Ok(answer) => answer,
            Err(Failure::Unreachable(why)) => {
                self.tally.because(why);
                return Next::Away;
            }
            Err(Failure::Broken(why)) => {
                self.tally.because(why);
                return Next::Again(None);
            }
        };
        if status.is_success() {
            let Some((refused, why)) = body.and_then(|body| self.encoding.refused(&body)) else {
                self.tally.because(format!("what answers {} is no collector", status.as_u16()));
                return Next::Refused;
            };
            if refused > 0 {
                self.tally.because(format!("the collector refused them: {}", short(&why)));
            }
            return Next::Taken(spans.saturating_sub(refused));
        }
        self.tally.because(format!("the collector answered {}", status.as_u16()));
        let later = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        if later.contains(&status) { Next::Again(retry_after) } else { Next::Refused }
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_SAID).collect()
}

/// What a future gives; none if the end of the run has waited for it long enough.
async fn before_end<T>(mut ended: watch::Receiver<Option<Instant>>, future: impl Future<Output = T>) -> Option<T> {
    let over = async {
        let deadline = match ended.wait_for(Option::is_some).await {
            Ok(deadline) => *deadline,
            // The run's side is gone without a word: nobody waits.
            Err(_) => None,
        };
        if let Some(deadline) = deadline {
            sleep_until(deadline).await;
        }
    };
    tokio::select! {
        value = future => Some(value),
        () = over => None,
    }
}
