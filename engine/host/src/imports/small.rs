//! `log` and `environment`.

use wasmtime::component::Linker;

use super::{Context, interface, sync};
use crate::schedule::Call;
use crate::state::{State, Stop, charge_bytes};
use crate::turns::give_way;

/// Links both.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    // Functions without a result answer the empty list of results, so `sync` does not fit.
    interface(linker, "log")?.func_wrap_async(
        "log",
        |mut store: Context<'_>, (level, message): (String, String)| {
            Box::new(async move {
                crate::state::begin(&mut store, "log", Call::Small)?;
                log(&mut store, &level, &message)?;
                if crate::state::should_yield(&mut store) {
                    give_way().await;
                }
                Ok(())
            })
        },
    )?;
    sync(&mut interface(linker, "environment")?, "variables", Call::Small, variables)
}

fn log(store: &mut Context<'_>, level: &str, message: &str) -> Result<(), Stop> {
    charge_bytes(store, (level.len() + message.len()) as u64)?;
    let state = store.data_mut();
    state.log.add(&state.secrets.mask(level), &state.secrets.mask(message));
    Ok(())
}

fn variables(store: &mut Context<'_>, (): ()) -> Result<Vec<(String, String)>, Stop> {
    let variables: Vec<_> = store.data().task.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    charge_bytes(store, variables.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum())?;
    Ok(variables)
}
