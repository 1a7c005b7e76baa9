//! `secrets`: placeholders.

use wasmtime::component::Linker;

use super::{Context, interface, sync};
use crate::schedule::Call;
use crate::secret;
use crate::state::{State, Stop, charge_bytes};

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    sync(&mut interface(linker, "secrets")?, "placeholder", Call::Small, placeholder)
}

/// Costs the same whether the secret is granted or not.
fn placeholder(store: &mut Context<'_>, (name,): (String,)) -> Result<Option<String>, Stop> {
    charge_bytes(store, name.len() as u64)?;
    let task = &store.data().task;
    let granted = task.grants.secrets.iter().find(|grant| grant.name.as_str() == name);
    Ok(granted.map(|grant| secret::placeholder(task, &grant.name)))
}
