//! WASI 0.2 over artifacts and logical time, for components from elsewhere: commands (`wasi:cli/run`), and plugins in languages
//! whose libraries stand on WASI.
//!
//! Nothing of the host is behind it: files are inputs and outputs, time is logical, randomness comes from the action key, the
//! environment is the declared one. So every interface here is harmless but `wasi:http`, which needs the grant that the contract's `http`
//! needs; `wasi:sockets` is not offered at all. Like the contract's imports all of it is linked by hand, charges fuel, gives way, and
//! counts to the node's limits. Other than them it may be called before the exported function is, since the libraries of languages
//! initialise themselves while they are instantiated; what it gives then is the same in each run.
//!
//! Modules in reading order: `types` (what crosses the boundary), `vfs` and `content` (files), `collect` (from `/out` to
//! outputs), `files`, `streams`, `poll`, `stdio`, `http` (the interfaces), `adapt` (WASI preview 1).

pub(crate) mod adapt;
mod collect;
mod content;
mod files;
mod http;
mod poll;
mod stdio;
mod streams;
mod types;
mod vfs;

use lockgate_model::command::CommandConfig;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

use crate::contract::Meaning;
use crate::imports::{Context, broken_handle};
use crate::schedule::Call;
use crate::state::{State, Stop, should_yield};
use crate::turns::give_way;

/// The version under which everything is linked; wasmtime takes it for any 0.2.
const VERSION: &str = "0.2.12";
/// The export of a command, without its version.
pub(crate) const RUN: &str = "wasi:cli/run@0.2.";

/// All interfaces that there are: name without version, what it needs, what it means.
const INTERFACES: &[(&str, Meaning, &str)] = &[
    ("cli/environment", Meaning::Harmless, "reads its arguments, and the environment that the pipeline declares"),
    ("cli/exit", Meaning::Harmless, "ends itself"),
    ("cli/stdin", Meaning::Harmless, "reads the input `stdin`; nothing where there is none"),
    ("cli/stdout", Meaning::Harmless, "writes to the log and, as a command, to the output `stdout`"),
    ("cli/stderr", Meaning::Harmless, "writes to the log and, as a command, to the output `stderr`"),
    ("cli/terminal-input", Meaning::Harmless, "asks for a terminal, of which there is none"),
    ("cli/terminal-output", Meaning::Harmless, "asks for a terminal, of which there is none"),
    ("cli/terminal-stdin", Meaning::Harmless, "asks for a terminal, of which there is none"),
    ("cli/terminal-stdout", Meaning::Harmless, "asks for a terminal, of which there is none"),
    ("cli/terminal-stderr", Meaning::Harmless, "asks for a terminal, of which there is none"),
    ("clocks/monotonic-clock", Meaning::Clock, "measures and waits: logical time, or the real one with `grants.clock`"),
    (
        "clocks/wall-clock",
        Meaning::Clock,
        "reads the time: the run's logical time, or the real one with `grants.clock`",
    ),
    ("filesystem/preopens", Meaning::Harmless, "sees, as a command, inputs in `/in`, outputs in `/out` and `/tmp`"),
    ("filesystem/types", Meaning::Harmless, "reads inputs, writes outputs and temporary files, as a command"),
    ("http/outgoing-handler", Meaning::Grant, "sends HTTP requests, those that `grants.http` of the node permits"),
    ("http/types", Meaning::Grant, "makes HTTP requests, those that `grants.http` of the node permits"),
    ("io/error", Meaning::Harmless, "reads why a stream failed"),
    ("io/poll", Meaning::Harmless, "waits"),
    ("io/streams", Meaning::Harmless, "reads and writes"),
    ("random/insecure", Meaning::Harmless, "takes numbers that look random, made of the action key"),
    ("random/insecure-seed", Meaning::Harmless, "takes numbers that look random, made of the action key"),
    ("random/random", Meaning::Harmless, "takes numbers that look random, made of the action key"),
];
/// What is known, and not offered.
const NOT_OFFERED: &[(&str, &str)] =
    &[("wasi:sockets/", "opens network connections: not offered; the contract's `tcp` and `http` are, with a grant")];

/// What an import of WASI needs and means; none where it is not offered.
pub(crate) fn find(name: &str) -> Option<(Meaning, &'static str)> {
    let (name, version) = name.strip_prefix("wasi:")?.split_once('@')?;
    let (_, needs, meaning) = INTERFACES.iter().find(|(known, ..)| *known == name)?;
    version.strip_prefix("0.2.").map(|_| (*needs, *meaning))
}

/// What an import that is not offered would let a component do.
pub(crate) fn meaning_of_missing(name: &str) -> &'static str {
    let known = NOT_OFFERED.iter().find(|(prefix, _)| name.starts_with(prefix));
    known.map_or("not offered", |(_, meaning)| meaning)
}

/// One of the two streams that a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout = 0,
    Stderr = 1,
}

impl Stream {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    const fn level(self) -> &'static str {
        match self {
            Self::Stdout => "info",
            Self::Stderr => "warn",
        }
    }
}

/// What one call has of WASI.
#[derive(Default)]
pub(crate) struct Wasi {
    /// Of a command: its arguments and outputs.
    pub(crate) command: Option<CommandConfig>,
    vfs: vfs::Vfs,
    captured: [stdio::Captured; 2],
    random: stdio::Random,
    clocks: poll::Clocks,
    http: http::Http,
}

/// Makes the files of a command.
pub(crate) fn mount(state: &mut State) -> Result<(), Stop> {
    vfs::Vfs::mounted(state)
}

/// Takes what a command made, once it ended well.
pub(crate) fn collect(store: &mut Context<'_>) -> Result<(), Stop> {
    metered(store, Call::Open, |state| {
        stdio::keep(state)?;
        let Some(config) = state.wasi.command.take() else { return Ok(()) };
        collect::outputs(state, &config)
    })
}

pub(crate) use stdio::{flush, last_words};

/// Links everything that is harmless; `wasi:http` only where it is granted.
pub(crate) fn link(linker: &mut Linker<State>, http: bool) -> wasmtime::Result<()> {
    streams::link(linker)?;
    poll::link(linker)?;
    stdio::link(linker)?;
    files::link(linker)?;
    if http {
        http::link(linker)?;
    }
    Ok(())
}

fn instance<'a>(linker: &'a mut Linker<State>, name: &str) -> wasmtime::Result<LinkerInstance<'a, State>> {
    linker.instance(&format!("wasi:{name}@{VERSION}"))
}

/// Does something with the state, charging the fuel that it spends.
fn metered<T>(
    store: &mut Context<'_>,
    call: Call,
    work: impl FnOnce(&mut State) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let engine = |error: wasmtime::Error| Stop::Infrastructure(format!("failed to count fuel: {error}"));
    let left = store.get_fuel().map_err(engine)?;
    let state = store.data_mut();
    state.fuel = left;
    let done = state.spend(call.fuel()).and_then(|()| work(state));
    let left = state.fuel;
    store.set_fuel(left).map_err(engine)?;
    done
}

/// Links a function.
fn call<P, R, F>(instance: &mut LinkerInstance<'_, State>, name: &'static str, call: Call, f: F) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + 'static,
    R: Lower + Send + 'static,
    (R,): ComponentNamedList + Lower,
    F: Fn(&mut State, P) -> Result<R, Stop> + Copy + Send + Sync + 'static,
{
    instance.func_wrap_async(name, move |mut store: Context<'_>, params: P| {
        Box::new(async move {
            let result = metered(&mut store, call, |state| f(state, params))?;
            if should_yield(&mut store) {
                give_way().await;
            }
            Ok((result,))
        })
    })
}

/// Links a function without a result.
fn call_unit<P, F>(
    instance: &mut LinkerInstance<'_, State>,
    name: &'static str,
    call: Call,
    f: F,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + 'static,
    F: Fn(&mut State, P) -> Result<(), Stop> + Copy + Send + Sync + 'static,
{
    instance.func_wrap_async(name, move |mut store: Context<'_>, params: P| {
        Box::new(async move {
            metered(&mut store, call, |state| f(state, params))?;
            if should_yield(&mut store) {
                give_way().await;
            }
            Ok(())
        })
    })
}

/// Links a resource type; `dropped` sees what the guest dropped, and may spend fuel.
fn resource<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    dropped: fn(&mut State, T) -> Result<(), Stop>,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), move |mut store, handle| {
        metered(&mut store, Call::Small, |state| {
            let value = state.table.delete(Resource::<T>::new_own(handle)).map_err(broken_handle)?;
            dropped(state, value)
        })?;
        Ok(())
    })
}

/// Parts what the guest is told from what ends the call.
fn done<T>(outcome: vfs::Outcome<T>) -> Result<Result<T, types::ErrorCode>, Stop> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(vfs::Fail::Code(code)) => Ok(Err(code)),
        Err(vfs::Fail::Stop(stop)) => Err(stop),
    }
}
