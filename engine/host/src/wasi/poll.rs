//! `wasi:io/poll` and `wasi:clocks`: waiting, and the time.
//!
//! Without `grants.clock` time is the run's logical time: it moves only when the guest waits for it, and waiting costs no wall time. With
//! the grant each reading is an effect like those of the contract's `clock`, and waiting takes as long as it says. What is ready is decided
//! by recorded readings and by waits alone, so that it is the same in a replay.

use std::time::{Duration, Instant};

use lockgate_model::Digest;
use lockgate_model::effect::Begun;
use serde_json::json;
use wasmtime::component::{Linker, Resource};

use super::http::ExchangeId;
use super::types::Datetime;
use super::{call, instance, metered, resource};
use crate::exchange::{Effect, REQUEST_DOMAIN, Recorder, answer};
use crate::imports::{Context, broken_handle, push};
use crate::schedule::{Call, PER_ENTRY};
use crate::state::{State, Stop, should_yield};
use crate::turns::give_way;

/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

/// What can be waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pollable {
    /// It is there already.
    Ready,
    /// A moment of the monotonic clock, in nanoseconds.
    Until(u64),
    /// The answer to a request.
    Response(ExchangeId),
}

/// The clocks of one call.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// What of a millisecond has passed beyond the state's logical time.
    rest: u64,
    /// The latest moment that the guest knows of, with a grant.
    latest: u64,
    /// From when on the real monotonic clock counts.
    start: Option<Instant>,
}

/// Links them.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut poll = instance(linker, "io/poll")?;
    resource::<Pollable>(&mut poll, "pollable", |_, _| Ok(()))?;
    call(&mut poll, "[method]pollable.ready", Call::Small, |state, (pollable,): (Resource<Pollable>,)| {
        let pollable = *state.table.get(&pollable).map_err(broken_handle)?;
        Ok(is_ready(state, pollable))
    })?;
    poll.func_wrap_async("[method]pollable.block", |mut store: Context<'_>, (pollable,): (Resource<Pollable>,)| {
        Box::new(async move {
            wait(&mut store, vec![pollable]).await?;
            Ok(())
        })
    })?;
    poll.func_wrap_async("poll", |mut store: Context<'_>, (list,): (Vec<Resource<Pollable>>,)| {
        Box::new(async move { Ok((wait(&mut store, list).await?,)) })
    })?;

    let mut wall = instance(linker, "clocks/wall-clock")?;
    wall.func_wrap_async("now", |mut store: Context<'_>, (): ()| {
        Box::new(async move {
            metered(&mut store, Call::Small, |_| Ok(()))?;
            let millis = match is_real(store.data()) {
                true => crate::imports::clock::now(&mut store).await?,
                false => store.data().logical_time,
            };
            let rest = if is_real(store.data()) { 0 } else { store.data().wasi.clocks.rest };
            let nanoseconds = u32::try_from(millis % 1000 * MILLI + rest).unwrap_or_default();
            Ok((Datetime { seconds: millis / 1000, nanoseconds },))
        })
    })?;
    call(&mut wall, "resolution", Call::Small, |_, (): ()| Ok(Datetime { seconds: 0, nanoseconds: 1_000_000 }))?;

    let mut monotonic = instance(linker, "clocks/monotonic-clock")?;
    monotonic.func_wrap_async("now", |mut store: Context<'_>, (): ()| {
        Box::new(async move {
            metered(&mut store, Call::Small, |_| Ok(()))?;
            let now = now(&mut store).await?;
            if should_yield(&mut store) {
                give_way().await;
            }
            Ok((now,))
        })
    })?;
    call(&mut monotonic, "resolution", Call::Small, |_, (): ()| Ok(1_u64))?;
    call(&mut monotonic, "subscribe-instant", Call::Small, |state, (when,): (u64,)| {
        push(state, Pollable::Until(when))
    })?;
    call(&mut monotonic, "subscribe-duration", Call::Small, |state, (duration,): (u64,)| {
        let when = elapsed(state).saturating_add(duration);
        push(state, Pollable::Until(when))
    })
}

/// Whether the host's clocks are read. Until the exported function is called nothing is recorded, so time is logical then.
fn is_real(state: &State) -> bool {
    state.task.grants.clock && state.running
}

/// The monotonic clock as far as the guest knows it: since the call began.
fn elapsed(state: &State) -> u64 {
    let clocks = &state.wasi.clocks;
    let logical = state.logical_time.saturating_sub(state.task.logical_time).saturating_mul(MILLI);
    logical.saturating_add(clocks.rest).max(clocks.latest)
}

/// Reads the monotonic clock.
async fn now(store: &mut Context<'_>) -> Result<u64, Stop> {
    if !is_real(store.data()) {
        return Ok(elapsed(store.data()));
    }
    let recorder = Recorder::begin(store.data_mut(), 1)?;
    let effect = Effect {
        kind: "clock",
        request: Digest::of_json(REQUEST_DOMAIN, &"monotonic-now"),
        summary: "monotonic now".into(),
    };
    let (reading, answer) = match recorder.intent(0, &effect).await? {
        Begun::Issue => {
            let start = *store.data_mut().wasi.clocks.start.get_or_insert_with(Instant::now);
            let reading = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // As text: JSON has no integers of 64 bits.
            let answer = json!({ "monotonic-ns": reading.to_string() });
            recorder.outcome(0, &answer).await?;
            (reading, answer)
        }
        Begun::Answered(answer) => {
            let reading = answer::monotonic(&answer).map_err(|error| recorder.unreadable(0, &error))?;
            (reading, answer)
        }
    };
    let record = recorder.record(0, effect, answer);
    let state = store.data_mut();
    state.records.push(record);
    state.wasi.clocks.latest = elapsed(state).max(reading);
    Ok(state.wasi.clocks.latest)
}

fn is_ready(state: &State, pollable: Pollable) -> bool {
    match pollable {
        Pollable::Ready => true,
        Pollable::Until(when) => when <= elapsed(state),
        Pollable::Response(id) => super::http::is_answered(state, id),
    }
}

/// Waits until something of a list is there, and says what.
async fn wait(store: &mut Context<'_>, list: Vec<Resource<Pollable>>) -> Result<Vec<u32>, Stop> {
    let pollables = metered(store, Call::Small, |state| {
        state.spend(PER_ENTRY.saturating_mul(list.len() as u64))?;
        let get = |pollable| state.table.get(pollable).copied().map_err(broken_handle);
        list.iter().map(get).collect::<Result<Vec<_>, _>>()
    })?;
    if pollables.is_empty() {
        return Err(Stop::Misuse(
            "it waits for nothing: it called `poll` with an empty list, which would never end".into(),
        ));
    }
    if !pollables.iter().any(|pollable| is_ready(store.data(), *pollable)) {
        let exchanges: Vec<_> = pollables
            .iter()
            .filter_map(|pollable| match pollable {
                Pollable::Response(id) => Some(*id),
                Pollable::Ready | Pollable::Until(_) => None,
            })
            .collect();
        // Requests first: each has a limit of its own, and which of two clocks was faster would be no result.
        if !super::http::perform(store, &exchanges).await? {
            let first = pollables.iter().filter_map(|pollable| match pollable {
                Pollable::Until(when) => Some(*when),
                Pollable::Ready | Pollable::Response(_) => None,
            });
            match first.min() {
                Some(when) => sleep(store, when).await,
                None => {
                    return Err(Stop::Misuse(
                        "it waits for the answer to a request whose body it never finished".into(),
                    ));
                }
            }
        }
    }
    if should_yield(&mut *store) {
        give_way().await;
    }
    let state = store.data();
    Ok((0..).zip(&pollables).filter(|(_, pollable)| is_ready(state, **pollable)).map(|(index, _)| index).collect())
}

/// Waits until a moment of the monotonic clock that has not come yet.
async fn sleep(store: &mut Context<'_>, when: u64) {
    let state = store.data_mut();
    let span = when.saturating_sub(elapsed(state));
    if is_real(state) {
        if !state.effects.has_waited(state.next_sequence()) {
            tokio::time::sleep(Duration::from_nanos(span)).await;
        }
        store.data_mut().wasi.clocks.latest = when;
        return;
    }
    let total = state.wasi.clocks.rest.saturating_add(span);
    state.wasi.clocks.rest = total % MILLI;
    state.logical_time = state.logical_time.saturating_add(total / MILLI);
}
