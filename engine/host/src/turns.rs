//! Equal turns: whatever there is too little of goes to runs in turn, and within a run to its nodes in the order in which they came.
//! So a run of 500 nodes that spin takes from another run in the same engine no more than one of its nodes would.
//!
//! Two things are shared this way: slots, which a call has until it ends, and turns at computing, which it gives back whenever it
//! waits or gives way ([`Turns::taking`]). A call that could go on stands in the queue here, never in the runtime's, which knows
//! no runs.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use lockgate_model::RunId;

/// So many of something, shared by runs.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Most that one run has at once.
    each: usize,
    state: Mutex<Queues>,
}

#[derive(Debug)]
struct Queues {
    free: usize,
    runs: HashMap<RunId, Run>,
    /// Runs of which somebody waits, each once, the next in front.
    order: VecDeque<RunId>,
}

#[derive(Debug, Default)]
struct Run {
    has: usize,
    waiting: VecDeque<Arc<Ticket>>,
}

/// Somebody who has a turn, waits for one, or will.
#[derive(Debug)]
struct Ticket {
    turns: Arc<Turns>,
    run: RunId,
    state: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is to be done until it is woken. The waker is who has to be told then.
    Idle(Waker),
    /// It stands in the queue.
    Waits(Waker),
    /// It has a turn, and was told so.
    Granted,
    /// It is at work; whether it was woken meanwhile, so that it has to work again.
    Works { again: bool },
    /// It will never need another one.
    Over,
}

/// Gives way to others once. Not by the runtime's own function, which tells the waker only after it served others as it sees fit.
pub(crate) async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// So many in all, of which one run has at most so many.
    pub(crate) fn new(total: usize, each: usize) -> Arc<Self> {
        let state = Queues { free: total.max(1), runs: HashMap::new(), order: VecDeque::new() };
        Arc::new(Self { each: each.max(1), state: Mutex::new(state) })
    }

    /// Waits for one and has it until it is dropped.
    pub(crate) fn one(self: &Arc<Self>, run: &RunId) -> impl Future<Output = Slot> + Send + use<> {
        let mut slot = Some(Slot(self.ticket(run)));
        std::future::poll_fn(move |context| {
            let Some(Slot(ticket)) = &slot else { return Poll::Pending };
            if ticket.is_granted(context.waker()) {
                return slot.take().map_or(Poll::Pending, Poll::Ready);
            }
            // A second time it stands there already.
            ticket.turns.queue(ticket);
            if ticket.is_granted(context.waker()) {
                slot.take().map_or(Poll::Pending, Poll::Ready)
            } else {
                Poll::Pending
            }
        })
    }

    /// Does the work of a future, taking a turn each time that it can go on, and giving it back when it waits or gives way.
    pub(crate) fn taking<F: Future>(self: &Arc<Self>, run: &RunId, work: F) -> Taking<F> {
        let ticket = self.ticket(run);
        Taking { waker: Waker::from(ticket.clone()), ticket, begun: false, work: Box::pin(work) }
    }

    fn ticket(self: &Arc<Self>, run: &RunId) -> Arc<Ticket> {
        let state = Mutex::new(Stage::Idle(Waker::noop().clone()));
        Arc::new(Ticket { turns: self.clone(), run: run.clone(), state })
    }

    /// Puts a ticket that does nothing behind the others of its run, then hands out what is free. One that is at work is
    /// queued when it gives its turn back.
    fn queue(&self, ticket: &Arc<Ticket>) {
        // A ticket's own lock is only ever taken inside of this one, or alone.
        let mut queues = lock(&self.state);
        let mut state = lock(&ticket.state);
        match &mut *state {
            Stage::Idle(waker) => *state = Stage::Waits(std::mem::replace(waker, Waker::noop().clone())),
            Stage::Works { again } => {
                *again = true;
                return;
            }
            // It stands there, or will look anyway, or never again.
            Stage::Waits(_) | Stage::Granted | Stage::Over => return,
        }
        drop(state);
        let run = queues.runs.entry(ticket.run.clone()).or_default();
        run.waiting.push_back(ticket.clone());
        if run.waiting.len() == 1 {
            queues.order.push_back(ticket.run.clone());
        }
        self.hand_out(queues);
    }

    /// Puts a ticket that was at work into another stage and takes its turn back.
    fn give_back(&self, ticket: &Ticket, stage: Stage) {
        let mut queues = lock(&self.state);
        let before = std::mem::replace(&mut *lock(&ticket.state), stage);
        let Some(run) = queues.runs.get_mut(&ticket.run) else { return };
        let mut freed = 0;
        match before {
            Stage::Granted | Stage::Works { .. } => {
                run.has = run.has.saturating_sub(1);
                freed = 1;
            }
            Stage::Waits(_) => run.waiting.retain(|other| !std::ptr::eq(&**other, ticket)),
            Stage::Idle(_) | Stage::Over => {}
        }
        let (waits, known) = (!run.waiting.is_empty(), run.has > 0);
        queues.free += freed;
        if !waits {
            queues.order.retain(|run| *run != ticket.run);
        }
        if !waits && !known {
            queues.runs.remove(&ticket.run);
        }
        self.hand_out(queues);
    }

    /// Takes the turn of a ticket back that waits or gave way. One that can go on stands in the queue before anything is handed
    /// out: so a run that is alone goes on at once, and one that is not goes on after the others.
    fn rest(&self, ticket: &Arc<Ticket>, waker: &Waker) {
        let mut queues = lock(&self.state);
        let mut state = lock(&ticket.state);
        let again = matches!(*state, Stage::Works { again: true });
        *state = if again { Stage::Waits(waker.clone()) } else { Stage::Idle(waker.clone()) };
        drop(state);
        queues.free += 1;
        if let Some(run) = queues.runs.get_mut(&ticket.run) {
            run.has = run.has.saturating_sub(1);
            if again {
                run.waiting.push_back(ticket.clone());
            }
            match (run.waiting.len(), run.has) {
                (1, _) if again => queues.order.push_back(ticket.run.clone()),
                (0, 0) => drop(queues.runs.remove(&ticket.run)),
                _ => {}
            }
        }
        self.hand_out(queues);
    }

    /// Gives what is free to those whose turn it is. Their wakers are called when nothing is locked any more.
    fn hand_out(&self, mut queues: MutexGuard<'_, Queues>) {
        let mut wakers = Vec::new();
        let mut passed = 0;
        while queues.free > 0 && passed < queues.order.len() {
            let Some(id) = queues.order.pop_front() else { break };
            let Some(run) = queues.runs.get_mut(&id) else { continue };
            if run.has >= self.each {
                queues.order.push_back(id);
                passed += 1;
                continue;
            }
            let Some(ticket) = run.waiting.pop_front() else { continue };
            run.has += 1;
            if !run.waiting.is_empty() {
                queues.order.push_back(id);
            }
            queues.free -= 1;
            passed = 0;
            if let Stage::Waits(waker) = std::mem::replace(&mut *lock(&ticket.state), Stage::Granted) {
                wakers.push(waker);
            }
        }
        drop(queues);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.turns.queue(&self);
    }
}

impl Ticket {
    /// Whether it has a turn; if not, who is to be told then.
    fn is_granted(&self, waker: &Waker) -> bool {
        match &mut *lock(&self.state) {
            Stage::Granted => true,
            Stage::Idle(told) | Stage::Waits(told) => {
                told.clone_from(waker);
                false
            }
            Stage::Works { .. } | Stage::Over => false,
        }
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Ticket>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.turns.give_back(&self.0, Stage::Over);
    }
}

/// Work that takes turns.
pub(crate) struct Taking<F> {
    ticket: Arc<Ticket>,
    waker: Waker,
    begun: bool,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Taking<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let turns = &this.ticket.turns;
        if !this.ticket.is_granted(context.waker()) {
            if std::mem::replace(&mut this.begun, true) {
                return Poll::Pending;
            }
            // It has to begin, as if something had woken it.
            turns.queue(&this.ticket);
            if !this.ticket.is_granted(context.waker()) {
                return Poll::Pending;
            }
        }
        *lock(&this.ticket.state) = Stage::Works { again: false };
        if let Poll::Ready(done) = this.work.as_mut().poll(&mut Context::from_waker(&this.waker)) {
            return Poll::Ready(done);
        }
        turns.rest(&this.ticket, context.waker());
        Poll::Pending
    }
}

impl<F> Drop for Taking<F> {
    fn drop(&mut self) {
        self.ticket.turns.give_back(&self.ticket, Stage::Over);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    fn run(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    #[tokio::test]
    async fn runs_take_turns_whatever_the_number_of_their_nodes() {
        let turns = Turns::new(1, usize::MAX);
        let (many, steps) = (Arc::new(AtomicUsize::new(0)), 50);
        let mut nodes = JoinSet::new();
        for _ in 0..500 {
            let many = many.clone();
            nodes.spawn(turns.taking(&run("many"), async move {
                loop {
                    many.fetch_add(1, Ordering::Relaxed);
                    give_way().await;
                }
            }));
        }
        yield_now().await;
        let before = many.load(Ordering::Relaxed);
        turns
            .taking(&run("one"), async {
                for _ in 0..steps {
                    give_way().await;
                }
            })
            .await;
        let meanwhile = many.load(Ordering::Relaxed) - before;
        assert!((steps..=steps + 3).contains(&meanwhile), "{meanwhile} steps of the many in {steps} of the one");
        nodes.shutdown().await;
        assert_eq!(lock(&turns.state).free, 1);
        assert!(lock(&turns.state).runs.is_empty() && lock(&turns.state).order.is_empty());
    }

    #[tokio::test]
    async fn nodes_of_a_run_are_served_as_they_came() {
        let turns = Turns::new(1, usize::MAX);
        let first = turns.one(&run("a")).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut nodes = JoinSet::new();
        for (number, name) in ["a", "a", "a", "b", "b"].into_iter().enumerate() {
            let (turns, order) = (turns.clone(), order.clone());
            nodes.spawn(async move {
                let _slot = turns.one(&run(name)).await;
                order.lock().unwrap().push(number);
            });
            yield_now().await;
        }
        drop(first);
        while nodes.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), [0, 3, 1, 4, 2]);
    }

    #[tokio::test]
    async fn a_run_has_no_more_than_its_share() {
        let turns = Turns::new(3, 2);
        let (a, b) = (run("a"), run("b"));
        let _held = (turns.one(&a).await, turns.one(&a).await);
        let mut third = Box::pin(turns.one(&a));
        assert!(std::future::poll_fn(|context| Poll::Ready(third.as_mut().poll(context).is_pending())).await);
        let _other = turns.one(&b).await;
        drop(third);
        drop(_held);
        drop((turns.one(&a).await, turns.one(&b).await));
    }

    #[tokio::test]
    async fn what_is_dropped_gives_its_turn_back_at_every_stage() {
        let turns = Turns::new(1, 1);
        let forever = |name: &str| Box::pin(turns.taking(&run(name), std::future::pending::<()>()));
        let poll = async |work: &mut Pin<Box<Taking<std::future::Pending<()>>>>| {
            std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await
        };
        // Not begun; idle, which takes none.
        drop(forever("a"));
        let mut idle = forever("a");
        assert!(poll(&mut idle).await);
        let held = turns.one(&run("b")).await;
        // Waiting.
        let mut waiting = forever("c");
        assert!(poll(&mut waiting).await);
        drop(waiting);
        // Granted, and not at work yet.
        let mut granted = forever("d");
        assert!(poll(&mut granted).await);
        drop(held);
        drop(granted);
        drop(turns.one(&run("e")).await);
        drop(idle);
        assert!(lock(&turns.state).runs.is_empty());
        // A panic at work.
        let panics = turns.taking(&run("f"), async { panic!("on purpose") });
        assert!(tokio::spawn(panics).await.is_err());
        drop(turns.one(&run("g")).await);
    }
}
