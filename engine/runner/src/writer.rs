//! The journal's writer: the one place that puts a run's events in order. A thread of its own, because appending blocks; behind
//! a bounded channel; everything that waits there goes into one transaction, and what nobody waits for waits for more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockgate_model::effect::{Begun, Recorded};
use lockgate_model::event::Event;
use lockgate_model::grant::{Grants, InDoubt};
use lockgate_model::pipeline::Node;
use lockgate_model::{Digest, NodeId, RunId};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::blocking;
use crate::executor::{EffectSink, SinkError};
use crate::ports::{Clock, JournalError, JournalSink, Stamped};
use crate::recover::Intent;

/// Messages that wait for the writer. The driver keeps one of at most [`MAX_BATCH`] events, each executing task one; what is
/// beyond waits with its sender.
const QUEUE: usize = 64;
/// Most events of one transaction: large enough that its fixed cost vanishes, small enough that nobody waits long for it.
const MAX_GROUP: usize = 4_096;
/// How long events that nobody waits for may be kept back, to share a transaction with those that follow. A crash loses at most
/// what pure nodes did in this time.
const GATHER: Duration = Duration::from_millis(50);
/// They are kept back until they are this part of all events before them, so that short runs are not written at their end only.
const GATHER_PART: usize = 3;
/// Most events of one message of the driver.
pub(crate) const MAX_BATCH: usize = 1_024;
/// Groups that are durable and that the driver has not yet seen; it always reads them.
const ACKS: usize = 16;
/// The driver hears of effects at most each so many milliseconds: only those who watch wait for it, and waking it for each takes about as
/// long as the commit. What is left over comes with the next group, be it an empty one.
const TELL_EVERY: u64 = 50;
/// Most effects that it has not heard of.
const MAX_UNTOLD: usize = 256;

pub(crate) enum Message {
    /// From the driver; it hears of them when they come back. Whether anybody waits for that.
    Batch(Vec<Stamped>, bool),
    /// From an executing task, which waits.
    Effect(Box<Event>, oneshot::Sender<()>),
}

impl Message {
    fn events(&self) -> usize {
        match self {
            Self::Batch(events, _) => events.len(),
            Self::Effect(..) => 1,
        }
    }

    fn is_urgent(&self) -> bool {
        !matches!(self, Self::Batch(_, false))
    }
}

/// What is durable, in order; or why nothing more will be.
pub(crate) type Ack = Result<Vec<Stamped>, JournalError>;

/// Starts the writer. It ends when all senders are gone, when nobody reads its answers, or after the first error.
pub(crate) fn start(
    run: RunId,
    journal: Arc<dyn JournalSink>,
    clock: Arc<dyn Clock>,
) -> (mpsc::Sender<Message>, mpsc::Receiver<Ack>) {
    let (messages, inbox) = mpsc::channel(QUEUE);
    let (outbox, acks) = mpsc::channel(ACKS);
    blocking::drive(write(run, journal, Gather { inbox, clock, before: 0 }, outbox));
    (messages, acks)
}

/// Decides what goes into one transaction.
struct Gather {
    inbox: mpsc::Receiver<Message>,
    clock: Arc<dyn Clock>,
    /// Events of all groups before.
    before: usize,
}

impl Gather {
    /// The next group of messages; none when all senders are gone. Waits for more as long as nobody waits for these.
    async fn next(&mut self) -> Option<Vec<Message>> {
        let Self { inbox, clock, before } = self;
        let mut next = Some(inbox.recv().await?);
        let mut patience = std::pin::pin!(clock.pause(GATHER));
        let enough = (*before / GATHER_PART).clamp(1, MAX_GROUP);
        let (mut group, mut events, mut urgent) = (Vec::new(), 0, false);
        while let Some(message) = next.take() {
            events += message.events();
            urgent |= message.is_urgent();
            group.push(message);
            if events >= MAX_GROUP {
                break;
            }
            next = match inbox.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) if !urgent && events < enough => {
                    tokio::select! {
                        biased;
                        message = inbox.recv() => message,
                        () = &mut patience => None,
                    }
                }
                Err(_) => None,
            };
        }
        *before = before.saturating_add(events);
        Some(group)
    }
}

async fn write(run: RunId, journal: Arc<dyn JournalSink>, mut inbox: Gather, outbox: mpsc::Sender<Ack>) {
    // Effects that are durable and of which the driver has not heard.
    let (mut untold, mut told) = (Vec::new(), 0_u64);
    while let Some(messages) = inbox.next().await {
        let now = inbox.clock.now_ms();
        let effects = messages.iter().all(|message| matches!(message, Message::Effect(..)));
        let later = effects && now < told.saturating_add(TELL_EVERY);
        let mut group = Vec::new();
        let mut waiting = Vec::new();
        for message in messages {
            match message {
                Message::Batch(events, _) => group.extend(events),
                Message::Effect(event, waits) => {
                    group.push(Stamped { time: now, event: *event });
                    waiting.push(waits);
                }
            }
        }
        let appended = if group.is_empty() { Ok(()) } else { journal.append(&run, &group) };
        if appended.is_ok() {
            // One that was dropped meanwhile no longer waits.
            for waits in waiting {
                let _ = waits.send(());
            }
            untold.extend(group);
            if later && untold.len() < MAX_UNTOLD {
                continue;
            }
        }
        told = now;
        if outbox.send(Ok(std::mem::take(&mut untold))).await.is_err() {
            return;
        }
        if let Err(error) = appended {
            // The end, whether anybody reads of it or not.
            let _ = outbox.send(Err(error)).await;
            return;
        }
    }
    // Nobody may read it any more.
    let _ = outbox.send(Ok(untold)).await;
}

/// The sink of one attempt.
pub(crate) struct Sink {
    messages: mpsc::Sender<Message>,
    node: NodeId,
    attempt: u32,
    grants: Grants,
    count: std::sync::Mutex<Count>,
    /// Effects without an outcome that must not be issued again unasked.
    doubt: std::sync::Mutex<BTreeSet<u64>>,
    /// What the attempt did before it was interrupted.
    before: Before,
}

/// What an interrupted attempt did, to be answered from.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) recorded: Recorded,
    /// Effects in doubt.
    pub(crate) open: BTreeMap<u64, Intent>,
    /// Whether effects in doubt count as done; otherwise they are issued again.
    pub(crate) assume_done: bool,
}

/// What the guest is told of a request that counts as done.
fn lost() -> serde_json::Value {
    serde_json::json!({ "error": {
        "code": "answer-lost",
        "message": "it is assumed to have taken place; its answer was lost when the run was interrupted",
    } })
}

/// What an attempt's effects have come to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// The first sequence number that is free.
    pub(crate) next: u64,
    /// Effects without an outcome.
    pub(crate) open: u64,
}

impl Sink {
    pub(crate) fn new(messages: mpsc::Sender<Message>, node: &Node, attempt: u32, first: u64, before: Before) -> Self {
        let count = std::sync::Mutex::new(Count { next: first, open: 0 });
        let (node, grants) = (node.id.clone(), node.grants.clone());
        Self { messages, node, attempt, grants, count, doubt: Default::default(), before }
    }

    /// Whether an effect has no outcome that must not be issued again unasked.
    pub(crate) fn is_in_doubt(&self) -> bool {
        !self.lock_doubt().is_empty()
    }

    fn lock_doubt(&self) -> std::sync::MutexGuard<'_, BTreeSet<u64>> {
        self.doubt.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> Count {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Count> {
        // Nothing under the lock can panic.
        self.count.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn open(&self, sequence: u64, kind: &str, summary: &str) {
        let mut count = self.lock();
        count.open = count.open.saturating_add(1);
        if self.grants.in_doubt(kind, summary) == InDoubt::Stop {
            self.lock_doubt().insert(sequence);
        }
    }

    async fn record(&self, event: Event) -> Result<(), SinkError> {
        let (waits, durable) = oneshot::channel();
        self.messages.send(Message::Effect(Box::new(event), waits)).await.map_err(|_| SinkError::Ending)?;
        durable.await.map_err(|_| SinkError::Ending)
    }
}

#[async_trait::async_trait]
impl EffectSink for Sink {
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, SinkError> {
        {
            let mut count = self.lock();
            count.next = count.next.max(sequence.saturating_add(1));
        }
        if let answered @ Begun::Answered(_) = self.before.recorded.begin(sequence, kind, request, summary)? {
            return Ok(answered);
        }
        if let Some(intent) = self.before.open.get(&sequence) {
            intent.check(sequence, kind, request, summary)?;
            if self.before.assume_done {
                let answer = lost();
                let (node, attempt) = (self.node.clone(), self.attempt);
                self.record(Event::EffectFinished { node, attempt, sequence, answer: answer.clone() }).await?;
                return Ok(Begun::Answered(answer));
            }
            // Its intent is on disk.
            self.open(sequence, kind, summary);
            return Ok(Begun::Issue);
        }
        self.open(sequence, kind, summary);
        self.record(Event::EffectIntended {
            node: self.node.clone(),
            attempt: self.attempt,
            sequence,
            kind: kind.to_owned(),
            request,
            summary: summary.to_owned(),
        })
        .await?;
        Ok(Begun::Issue)
    }

    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), SinkError> {
        let answer = answer.clone();
        self.record(Event::EffectFinished { node: self.node.clone(), attempt: self.attempt, sequence, answer }).await?;
        let mut count = self.lock();
        count.open = count.open.saturating_sub(1);
        self.lock_doubt().remove(&sequence);
        Ok(())
    }

    fn has_waited(&self, next: u64) -> bool {
        self.before.recorded.reaches(next) || self.before.open.range(next..).next().is_some()
    }
}
