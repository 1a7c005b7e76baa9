//! The hidden `lockgate execute-task`: one task in a process of its own, for [`crate::child`].

use std::io::Read as _;
use std::sync::Arc;

use lockgate::wiring::child::{Answer, Request};
use lockgate::wiring::compiler::ChildCompiler;
use lockgate::wiring::executor::{StoreArtifacts, StoreCode};
use lockgate::wiring::load;
use lockgate_host::{Host, HostOptions, NoEffects};
use lockgate_model::limits::ComponentLimits;
use lockgate_store::Store;

use super::Ended;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;

/// Largest request: a config and a state of 1 MiB as an array of numbers.
const MAX_REQUEST: u64 = 64 << 20;

/// Reads a task from stdin, executes it, and writes what came of it to stdout.
pub(crate) fn execute(output: &Output) -> Ended {
    let wrong = |error: anyhow::Error| CliError::new(Exit::Wrong, error.context("read a task from stdin"));
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_REQUEST).read_to_end(&mut bytes).map_err(|error| wrong(error.into()))?;
    let Request { state, task } = serde_json::from_slice(&bytes).map_err(|error| wrong(error.into()))?;
    if !task.grants.is_empty() {
        return Err(wrong(anyhow::anyhow!("it has grants, and nobody here records effects")));
    }
    let store = Store::open(&state)?;
    // One slot and no pool: it starts faster, and is as unlike the engine that asks as it can be.
    let compiler = Some(Arc::new(ChildCompiler::new(super::helper()?)) as _);
    let options = HostOptions { slots: 1, compiler, pooling: false, ..HostOptions::default() };
    let host = Host::new(options)?;
    let component = store.read_blob(&task.component, ComponentLimits::default().size.0)?;
    let plugin = host
        .load(&component, &StoreCode(store.clone()))
        .map_err(|error| load::load_failed(&task.component.to_string(), error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("start the engine"))?;
    let artifacts = Arc::new(StoreArtifacts(store.clone()));
    let completion = runtime.block_on(host.call(&plugin, task, artifacts, Arc::new(NoEffects::default())));
    // Who asked reads them from the disk.
    store.flush()?;
    let answer = Answer { determinism: lockgate_host::determinism(), completion };
    let text = serde_json::to_string(&answer).map_err(|error| CliError::new(Exit::Infrastructure, error))?;
    output.data(&text);
    Ok(Exit::Succeeded)
}
