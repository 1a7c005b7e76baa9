//! Where fuel goes: stacks of a call, each with the fuel that was spent in it, and the memory in use over the fuel spent.
//!
//! Sampled is by fuel, not by time, so one call has one profile on every machine. wasmtime suspends the guest each time that an interval
//! of fuel is spent, always where its code looks at the fuel: at a loop's head, or at a function's entry. Behind that look stands the
//! look at the engine's epoch. Whoever polls the call raises the epoch while the guest is suspended, so that it calls back right there,
//! with the store at hand. What was spent since the sample before counts for the stack that is found; what a host call costs, for the
//! host call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasmtime::{AsContext as _, StoreContextMut, UpdateDeadline, WasmBacktrace};

use crate::state::State;

/// Deepest stack that is seen, in frames; of a deeper one the outermost are left away.
pub(crate) const MAX_FRAMES: usize = 1_000;
/// Longest name of a function that is kept, in characters.
const MAX_NAME: usize = 200;
/// Most stacks that are told apart; what comes beyond counts for [`OTHERS`].
const MAX_STACKS: usize = 100_000;
/// Most points of the memory's course.
const MAX_POINTS: usize = 100_000;
/// What stands for frames and stacks beyond the bounds.
const OTHERS: &str = "(others)";
/// What is spent after the last sample, where nobody looks any more.
const REST: &str = "(after the last sample)";

/// Where a call's fuel went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Fuel between two samples, about.
    pub interval: u64,
    /// How many samples were taken.
    pub samples: u64,
    /// Fuel in all: that of the call, if it returned.
    pub fuel: u64,
    /// Stacks, outermost function first, with the fuel spent in each; sorted. Host calls are frames of the form `host: read`.
    pub stacks: BTreeMap<Vec<Arc<str>>, u64>,
    /// How much memory was in use, from which fuel on: in both ascending.
    pub memory: Vec<(u64, u64)>,
}

/// Takes the samples of one call.
#[derive(Debug)]
pub(crate) struct Profiler {
    interval: u64,
    /// The interval that wasmtime works with: a shorter one between a host call and the next sample.
    in_force: u64,
    /// Whether a host call began since the guest was last suspended.
    called: bool,
    /// The call's budget of fuel.
    budget: u64,
    /// Fuel that host calls cost.
    host: u64,
    /// Fuel of the guest's own code at the last sample, and from which on the next one is due.
    last: u64,
    next: u64,
    /// The stack of the host call that is under way.
    under: Vec<Arc<str>>,
    names: HashMap<String, Arc<str>>,
    profile: Profile,
}

impl Profiler {
    pub(crate) fn new(interval: u64) -> Self {
        let interval = interval.max(1);
        Self {
            interval,
            in_force: interval,
            called: false,
            budget: 0,
            host: 0,
            last: 0,
            next: interval,
            under: Vec::new(),
            names: HashMap::new(),
            profile: Profile { interval, ..Profile::default() },
        }
    }

    /// Ends it, with the fuel that is left if the call returned.
    pub(crate) fn finish(mut self, left: Option<u64>, memory: u64) -> Profile {
        if let Some(left) = left {
            let spent = self.budget.saturating_sub(left).saturating_sub(self.host);
            let rest = spent.saturating_sub(self.last);
            if rest > 0 {
                self.add(vec![REST.into()], rest);
            }
            self.last = self.last.max(spent);
        }
        self.profile.fuel = self.last + self.host;
        let spent = self.profile.fuel;
        self.point(spent, memory);
        self.profile
    }

    /// Fuel of the guest's own code.
    fn spent(&self, left: u64) -> u64 {
        self.budget.saturating_sub(left).saturating_sub(self.host)
    }

    fn add(&mut self, stack: Vec<Arc<str>>, fuel: u64) {
        let known = self.profile.stacks.len() < MAX_STACKS || self.profile.stacks.contains_key(&stack);
        let stack = if known { stack } else { vec![OTHERS.into()] };
        let sum = self.profile.stacks.entry(stack).or_default();
        *sum = sum.saturating_add(fuel);
    }

    fn point(&mut self, fuel: u64, memory: u64) {
        let points = &mut self.profile.memory;
        if points.last().is_none_or(|(_, before)| *before != memory) && points.len() < MAX_POINTS {
            points.push((fuel, memory));
        }
    }

    /// The names of a backtrace's functions, outermost first.
    fn stack(&mut self, trace: &WasmBacktrace) -> Vec<Arc<str>> {
        let frames = trace.frames();
        let mut stack: Vec<Arc<str>> = Vec::with_capacity(frames.len() + 1);
        if frames.len() >= MAX_FRAMES {
            stack.push(OTHERS.into());
        }
        for frame in frames.iter().rev() {
            // What the component model's own adapters do belongs to who calls them.
            let Some(raw) = frame.func_name() else { continue };
            let name = match self.names.get(raw) {
                Some(name) => name.clone(),
                None => {
                    let name: Arc<str> = readable(raw).into();
                    self.names.insert(raw.to_owned(), name.clone());
                    name
                }
            };
            stack.push(name);
        }
        stack
    }
}

/// A function's name for people.
fn readable(raw: &str) -> String {
    let name = match rustc_demangle::try_demangle(raw) {
        Ok(name) => format!("{name:#}"),
        Err(_) => match cpp_demangle::Symbol::new(raw).ok().and_then(|symbol| symbol.demangle().ok()) {
            Some(name) => name,
            None => raw.to_owned(),
        },
    };
    // A `;` ends a frame where stacks are written down.
    name.chars().take(MAX_NAME).map(|c| if c == ';' { ':' } else { c }).collect()
}

/// Prepares a store whose call begins with this much fuel.
pub(crate) fn begin(store: &mut wasmtime::Store<State>, fuel: u64) -> wasmtime::Result<()> {
    let Some(profiler) = &mut store.data_mut().profiler else { return Ok(()) };
    profiler.budget = fuel;
    let interval = profiler.in_force;
    let memory = store.data().usage.memory();
    if let Some(profiler) = &mut store.data_mut().profiler {
        profiler.point(0, memory);
    }
    store.fuel_async_yield_interval(Some(interval))?;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        sample(&mut store)?;
        Ok(UpdateDeadline::Continue(1))
    });
    Ok(())
}

/// Takes a sample, if one is due.
fn sample(store: &mut StoreContextMut<'_, State>) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let Some(mut profiler) = store.data_mut().profiler.take() else { return Ok(()) };
    let spent = profiler.spent(left);
    if spent >= profiler.next {
        let trace = WasmBacktrace::force_capture(store.as_context());
        let stack = profiler.stack(&trace);
        profiler.add(stack, spent.saturating_sub(profiler.last));
        profiler.profile.samples += 1;
        profiler.last = spent;
        profiler.next = spent.saturating_add(profiler.interval);
        profiler.point(spent + profiler.host, store.data().usage.memory());
    }
    let full = (!profiler.called && profiler.in_force != profiler.interval).then_some(profiler.interval);
    if let Some(interval) = full {
        // The guest was just suspended, and what it holds in a register is what it got then: the interval, or all that was left.
        // It does not look again before that is spent, so the reserve must stay what it is.
        let held = profiler.in_force.min(left);
        store.fuel_async_yield_interval(Some(interval))?;
        let reserve = left - held;
        store.set_fuel(reserve.saturating_add(interval))?;
        profiler.in_force = interval;
    }
    profiler.called = false;
    store.data_mut().profiler = Some(profiler);
    Ok(())
}

/// Hears of fuel that a host call took; `began` is the name of one that begins.
pub(crate) fn charged(
    store: &mut StoreContextMut<'_, State>,
    fuel: u64,
    began: Option<&'static str>,
) -> wasmtime::Result<()> {
    let left = store.get_fuel()?;
    let Some(mut profiler) = store.data_mut().profiler.take() else { return Ok(()) };
    if let Some(name) = began {
        let trace = WasmBacktrace::force_capture(store.as_context());
        profiler.under = profiler.stack(&trace);
        // `[method]tree.open` as people write it.
        profiler.under.push(format!("host: {}", name.rsplit(']').next().unwrap_or(name)).into());
    }
    profiler.host = profiler.host.saturating_add(fuel);
    let stack = profiler.under.clone();
    profiler.add(stack, fuel);
    let spent = profiler.spent(left);
    profiler.point(spent + profiler.host, store.data().usage.memory());
    // Setting the fuel began wasmtime's interval anew: without this, a guest that does little between its host calls would never
    // be suspended.
    profiler.in_force = profiler.next.saturating_sub(spent).max(1);
    profiler.called = true;
    let interval = profiler.in_force;
    store.data_mut().profiler = Some(profiler);
    store.fuel_async_yield_interval(Some(interval))
}
