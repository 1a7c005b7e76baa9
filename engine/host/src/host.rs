//! [`Host`]: one engine, its linkers and its slots.

use std::sync::{Arc, OnceLock};

use lockgate_model::limits::ComponentLimits;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::imports::{self, Kinds};
use crate::load::CompileGate;
use crate::ports::Compiler;
use crate::process::Launcher;
use crate::state::State;
use crate::turns::Turns;

/// Most slots of a host: each takes 32 GiB of address space, and no machine has more cores.
const MAX_SLOTS: usize = 256;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Calls of one run that may be under way at once; more wait for their turn. Default: the number of cores. At least 1, at
    /// most 256.
    pub slots: usize,
    /// Runs at one time that each have all of their slots; more share what there is, in turn. Default 1. At least 1; all slots
    /// together are at most 256.
    pub runs: usize,
    /// Limits on components. Default: those of [`ComponentLimits`].
    pub limits: ComponentLimits,
    /// Who compiles components that nobody vouches for, outside of this process. Default: nobody, all are compiled here.
    pub compiler: Option<Arc<dyn Compiler>>,
    /// Whether instances come from a pool, which is faster. Where the address space has no room for it they are allocated on
    /// demand all the same; results do not differ. Default true.
    pub pooling: bool,
    /// How programs of `grants.process` are started. Default: not at all, and running one is an infrastructure failure.
    pub launcher: Option<Launcher>,
    /// Whether it is for [`Host::profile`](crate::Host::profile): such a host calls one plugin at a time, and compiles in this process.
    /// Default false.
    pub profiling: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        let slots = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots,
            runs: 1,
            limits: ComponentLimits::default(),
            compiler: None,
            pooling: true,
            launcher: None,
            profiling: false,
        }
    }
}

/// The sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime refused.
    #[error("set up the WebAssembly engine: {0:#}")]
    Engine(wasmtime::Error),
}

/// The sandbox: compiles components and calls them.
pub struct Host {
    pub(crate) engine: Engine,
    /// Everything that the contract offers a node, by the kinds that it was granted; made when first needed.
    linkers: [OnceLock<Linker<State>>; Kinds::SETS],
    /// How programs are started.
    pub(crate) launcher: Option<Launcher>,
    pub(crate) slots: Arc<Turns>,
    /// Turns at computing: as many as there are cores.
    pub(crate) turns: Arc<Turns>,
    pub(crate) compile: CompileGate,
    pub(crate) compiler: Option<Arc<dyn Compiler>>,
    pub(crate) limits: ComponentLimits,
    pooled: bool,
    profiling: bool,
}

impl Host {
    /// Sets up an engine. Takes a few milliseconds at most.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let slots = options.slots.clamp(1, MAX_SLOTS);
        let all = slots.saturating_mul(options.runs.max(1)).min(MAX_SLOTS);
        let compilations = usize::try_from(options.limits.compilations).unwrap_or(MAX_SLOTS).clamp(1, MAX_SLOTS);
        // Besides the calls, each thread that loads a component may run its `describe`.
        let pool = all + compilations;
        #[expect(clippy::cast_possible_truncation, reason = "clamped: at most 256 each")]
        let made = match options.profiling {
            true => crate::engine::profiling_engine().map(|engine| (engine, false)),
            false => crate::engine::engine(pool as u32, options.pooling),
        };
        let (engine, pooled) = made.map_err(HostError::Engine)?;
        Ok(Self {
            engine,
            linkers: Default::default(),
            launcher: options.launcher,
            slots: Turns::new(all, slots),
            turns: Turns::new(std::thread::available_parallelism().map_or(1, usize::from), usize::MAX),
            compile: CompileGate::new(compilations),
            // What another process compiles is of another engine.
            compiler: options.compiler.filter(|_| !options.profiling),
            limits: options.limits,
            pooled,
            profiling: options.profiling,
        })
    }

    /// Everything that a node with grants of these kinds may have.
    pub(crate) fn linker(&self, kinds: Kinds) -> wasmtime::Result<&Linker<State>> {
        let cell = &self.linkers[kinds.index()];
        if let Some(linker) = cell.get() {
            return Ok(linker);
        }
        let linker = imports::linker(&self.engine, kinds)?;
        Ok(cell.get_or_init(|| linker))
    }

    /// Whether it is for profiles.
    pub(crate) fn is_profiling(&self) -> bool {
        self.profiling
    }

    /// Whether instances come from a pool.
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("pooled", &self.pooled).field("limits", &self.limits).finish_non_exhaustive()
    }
}
