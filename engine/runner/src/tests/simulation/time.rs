//! Virtual time. It stands still while anything can run, and then jumps to whatever is waited for next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::dice::Dice;
use crate::ports::Clock;

/// Jumps and looks at the clock of one session, by far more than any needs: a run that goes round in circles shows.
const MAX_STEPS: u64 = 200_000;
/// Times in a row that the driver may look for signals while nothing else is waited for.
const MAX_TICKS: u32 = 8;

thread_local! {
    static UNDER_WAY: RefCell<Option<Arc<Time>>> = const { RefCell::new(None) };
}

/// The time of the simulation that runs on this thread, if one does.
pub(crate) fn under_way() -> Option<Arc<Time>> {
    UNDER_WAY.with_borrow(Clone::clone)
}

/// For whom a sleeper sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Somebody who goes on then.
    Work,
    /// The driver, to look for signals: that alone moves nothing.
    Signals,
}

#[derive(Debug)]
pub(crate) struct Time {
    dice: Dice,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Microseconds since 1970.
    now: u64,
    next: u64,
    sleepers: BTreeMap<(u64, u64), (For, Waker)>,
    ticks: u32,
    steps: u64,
    /// Whether tasks are late now and then.
    rough: bool,
    /// The process is no more: nothing runs, nothing is heard of it.
    dead: bool,
    stuck: Option<&'static str>,
    root: Option<Waker>,
}

impl Time {
    pub(super) fn new(dice: Dice) -> Arc<Self> {
        // A time of day, so that clocks can be behind.
        let state = State { now: 1_700_000_000_000_000, ..State::default() };
        Arc::new(Self { dice, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A process begins.
    pub(super) fn begin(&self, rough: bool) {
        let mut state = self.lock();
        let (now, next) = (state.now, state.next);
        *state = State { now, next, rough, ..State::default() };
    }

    /// The process ends here and now.
    pub(super) fn die(&self) {
        let mut state = self.lock();
        state.dead = true;
        if let Some(root) = state.root.take() {
            root.wake();
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Why nothing goes on, if that is so.
    pub(super) fn stuck(&self) -> Option<&'static str> {
        self.lock().stuck
    }

    /// Microseconds since 1970.
    pub(super) fn now(&self) -> u64 {
        self.lock().now
    }

    /// The same, asked for by the engine.
    fn asked(&self) -> u64 {
        let (steps, now) = {
            let mut state = self.lock();
            state.steps += 1;
            (state.steps, state.now)
        };
        assert!(steps < MAX_STEPS || std::thread::panicking(), "the clock is asked for ever");
        now
    }

    pub(super) fn pass(&self, micros: u64) {
        self.lock().now += micros;
    }

    /// Nothing can run: jumps to the first sleepers.
    fn jump(&self) {
        let mut state = self.lock();
        if state.dead {
            return;
        }
        state.steps += 1;
        let work = state.sleepers.values().any(|(whom, _)| *whom == For::Work);
        state.ticks = if work { 0 } else { state.ticks + 1 };
        if state.sleepers.is_empty() {
            state.stuck = Some("nothing can run, and nothing is waited for");
        } else if state.ticks > MAX_TICKS {
            state.stuck = Some("nothing can run, and only signals are waited for");
        } else if state.steps >= MAX_STEPS {
            state.stuck = Some("it goes on for ever");
        }
        if state.stuck.is_some() {
            state.dead = true;
            if let Some(root) = state.root.take() {
                root.wake();
            }
            return;
        }
        if let Some((&(at, _), _)) = state.sleepers.first_key_value() {
            state.now = state.now.max(at);
        }
        let now = state.now;
        while let Some(first) = state.sleepers.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().1.wake();
        }
    }

    /// Sleeps until a moment in microseconds.
    pub(super) fn sleep_until(self: &Arc<Self>, at: u64, whom: For) -> Sleep {
        Sleep { time: Arc::clone(self), at, whom, key: None }
    }

    /// Sleeps for a while, or lets others go first, or does nothing.
    pub(super) async fn dawdle(self: &Arc<Self>) {
        let rough = self.lock().rough;
        match self.dice.below(if rough { 8 } else { 16 }) {
            0 | 1 => {
                let span = self.dice.spread(22);
                let at = self.lock().now + span;
                self.sleep_until(at, For::Work).await;
            }
            count @ 2..4 => {
                for _ in 1..count {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
    }

    /// A future that is polled late now and then, and never again once the process is dead.
    pub(crate) fn jitter<F: Future>(self: &Arc<Self>, future: F) -> Jitter<F> {
        Jitter { time: Arc::clone(self), late: None, future: Box::pin(future) }
    }

    /// Runs a future as the whole of a process, on this thread. None: it died.
    pub(super) fn run<T>(self: &Arc<Self>, future: impl Future<Output = T>) -> Option<T> {
        let time = Arc::clone(self);
        let runtime =
            tokio::runtime::Builder::new_current_thread().on_thread_park(move || time.jump()).build().unwrap();
        let _guard = Guard(UNDER_WAY.replace(Some(Arc::clone(self))));
        let mut future = std::pin::pin!(self.jitter(future));
        runtime.block_on(std::future::poll_fn(|context| {
            self.lock().root = Some(context.waker().clone());
            let polled = if self.is_dead() { Poll::Pending } else { future.as_mut().poll(context).map(Some) };
            if self.is_dead() { Poll::Ready(None) } else { polled }
        }))
    }
}

struct Guard(Option<Arc<Time>>);

impl Drop for Guard {
    fn drop(&mut self) {
        UNDER_WAY.set(self.0.take());
    }
}

pub(super) struct Sleep {
    time: Arc<Time>,
    at: u64,
    whom: For,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = Arc::clone(&self.time);
        let mut state = time.lock();
        if let Some(key) = self.key.take() {
            state.sleepers.remove(&key);
        }
        if state.now >= self.at {
            return Poll::Ready(());
        }
        state.next += 1;
        // Those that wake at one moment do so in any order.
        let key = (self.at, (time.dice.next() << 32) | (state.next & 0xffff_ffff));
        state.sleepers.insert(key, (self.whom, context.waker().clone()));
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.time.lock().sleepers.remove(&key);
        }
    }
}

pub(crate) struct Jitter<F> {
    time: Arc<Time>,
    late: Option<Late>,
    future: Pin<Box<F>>,
}

enum Late {
    Yielded,
    Sleeps(Sleep),
}

impl<F: Future> Future for Jitter<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (rough, dead, now) = {
            let state = self.time.lock();
            (state.rough, state.dead, state.now)
        };
        if dead {
            return Poll::Pending;
        }
        if self.late.is_none() && rough {
            let dice = self.time.dice.clone();
            match dice.below(24) {
                0..4 => {
                    self.late = Some(Late::Yielded);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                4 => self.late = Some(Late::Sleeps(self.time.sleep_until(now + dice.spread(16), For::Work))),
                _ => {}
            }
        }
        if let Some(Late::Sleeps(sleep)) = &mut self.late
            && Pin::new(sleep).poll(context).is_pending()
        {
            return Poll::Pending;
        }
        self.late = None;
        self.future.as_mut().poll(context)
    }
}

/// The clock of one machine: it may be behind the others.
#[derive(Debug)]
pub(super) struct VirtualClock {
    pub(super) time: Arc<Time>,
    /// Microseconds that it is behind.
    pub(super) behind: u64,
}

#[async_trait::async_trait]
impl Clock for VirtualClock {
    fn now_micros(&self) -> u64 {
        self.time.asked().saturating_sub(self.behind)
    }

    async fn sleep_until(&self, at: u64) {
        let at = at.saturating_mul(1_000).saturating_add(self.behind);
        self.time.sleep_until(at, For::Work).await;
    }

    async fn pause(&self, span: Duration) {
        let at = self.time.now() + span.as_micros() as u64;
        self.time.sleep_until(at, For::Signals).await;
    }
}
