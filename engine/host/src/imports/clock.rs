//! `clock`: logical without a grant, the host's with one, and then each reading is an effect.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_model::Digest;
use lockgate_model::effect::Begun;
use serde_json::json;
use wasmtime::component::Linker;

use super::{Context, interface};
use crate::exchange::{Effect, Recorder, answer};
use crate::schedule::Call;
use crate::state::{State, Stop, begin, should_yield};
use crate::turns::give_way;

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut clock = interface(linker, "clock")?;
    clock.func_wrap_async("now-ms", |mut store: Context<'_>, (): ()| {
        Box::new(async move {
            begin(&mut store, "clock", Call::Small)?;
            let now = now(&mut store).await?;
            if should_yield(&mut store) {
                give_way().await;
            }
            Ok((now,))
        })
    })?;
    clock.func_wrap_async("sleep-ms", |mut store: Context<'_>, (duration,): (u32,)| {
        Box::new(async move {
            begin(&mut store, "clock", Call::Small)?;
            if store.data().task.grants.clock {
                let state = store.data();
                if !state.effects.has_waited(state.next_sequence()) {
                    tokio::time::sleep(Duration::from_millis(duration.into())).await;
                }
            } else {
                let state = store.data_mut();
                state.logical_time = state.logical_time.saturating_add(duration.into());
                if should_yield(&mut store) {
                    give_way().await;
                }
            }
            Ok(())
        })
    })
}

/// The time: logical, or with the grant the real one, recorded.
pub(crate) async fn now(store: &mut Context<'_>) -> Result<u64, Stop> {
    if !store.data().task.grants.clock {
        return Ok(store.data().logical_time);
    }
    let recorder = Recorder::begin(store.data_mut(), 1)?;
    let effect = Effect {
        kind: "clock",
        request: Digest::of_json(crate::exchange::REQUEST_DOMAIN, &"now-ms"),
        summary: "now".into(),
    };
    let (now, answer) = match recorder.intent(0, &effect).await? {
        Begun::Issue => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
            let now = u64::try_from(now).unwrap_or(u64::MAX);
            let answer = json!({ "now-ms": now });
            recorder.outcome(0, &answer).await?;
            (now, answer)
        }
        Begun::Answered(answer) => {
            let now = answer::now(&answer).map_err(|error| recorder.unreadable(0, &error))?;
            (now, answer)
        }
    };
    let record = recorder.record(0, effect, answer);
    store.data_mut().records.push(record);
    Ok(now)
}
