//! [`Host`]: one engine, its linkers and its slots.

use std::sync::OnceLock;

use lockgate_model::limits::ComponentLimits;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::imports::{self, Kinds};
use crate::load::CompileGate;
use crate::process::Launcher;
use crate::state::State;

/// Most slots of a host: each takes 32 GiB of address space, and no machine has more cores.
const MAX_SLOTS: usize = 256;

/// How a host is set up.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Calls that may run at once; more wait for their turn. Default: the number of cores. At least 1, at most 256.
    pub slots: usize,
    /// Limits on components. Default: those of [`ComponentLimits`].
    pub limits: ComponentLimits,
    /// Components that may be compiled at once. Each uses all cores where it can. Default 2.
    pub compilations: usize,
    /// Whether instances come from a pool, which is faster. Where the address space has no room for it they are allocated on
    /// demand all the same; results do not differ. Default true.
    pub pooling: bool,
    /// How programs of `grants.process` are started. Default: not at all, and running one is an infrastructure failure.
    pub launcher: Option<Launcher>,
}

impl Default for HostOptions {
    fn default() -> Self {
        let slots = std::thread::available_parallelism().map_or(1, usize::from);
        Self { slots, limits: ComponentLimits::default(), compilations: 2, pooling: true, launcher: None }
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
    pub(crate) slots: Semaphore,
    pub(crate) compile: CompileGate,
    pub(crate) limits: ComponentLimits,
    pooled: bool,
}

impl Host {
    /// Sets up an engine. Takes a few milliseconds at most.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let slots = options.slots.clamp(1, MAX_SLOTS);
        let compilations = options.compilations.max(1);
        // Besides the calls, each thread that loads a component may run its `describe`.
        let pool = slots + compilations;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "clamped: at most 256, and as many compilations as somebody asks for"
        )]
        let (engine, pooled) = crate::engine::engine(pool as u32, options.pooling).map_err(HostError::Engine)?;
        Ok(Self {
            engine,
            linkers: Default::default(),
            launcher: options.launcher,
            slots: Semaphore::new(slots),
            compile: CompileGate::new(compilations),
            limits: options.limits,
            pooled,
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
