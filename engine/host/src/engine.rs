//! The wasmtime engine: every setting that could make two runs differ, and the allocator.

use std::num::NonZeroUsize;

use lockgate_model::Digest;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::imports::MAX_OUTPUTS;
use crate::schedule;

/// Raised by hand whenever the same component, inputs and effects may give another result under this engine than under the
/// one before, other than through what [`determinism`] covers already.
const DETERMINISM: u32 = 1;
/// wasmtime's full version; a test holds it against the lock file.
pub(crate) const WASMTIME: &str = "48.0.8";

/// Most core instances of one component: programs made of many shared libraries have some dozens.
pub(crate) const MAX_INSTANCES: u32 = 128;
/// Most linear memories of one component: each takes 4 GiB of address space in the pool.
pub(crate) const MAX_MEMORIES: u32 = 8;
/// Most tables of one component: one of its own, one for the imports, one for each library.
pub(crate) const MAX_TABLES: u32 = 32;
/// Most elements of one table, whatever the node's limit says: 8 MB.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 1_000_000;
/// Memories and tables are counted when a component is loaded, with the same words for both allocators; the pool's own check,
/// while compiling, stays out of the way.
const UNCHECKED: u32 = 10_000;
/// Bytes of a memory, a table or a stack that a pool slot keeps between calls: resetting them by copying is faster than giving
/// them back and faulting them in again, up to about this size.
const KEEP_RESIDENT: usize = 1 << 20;
/// wasm stack in bytes. Passing it is an infrastructure failure, since frames differ between targets; so it is roomy.
const WASM_STACK: usize = 1 << 20;
/// Stack of the fiber in bytes: the wasm stack and room for host functions.
const FIBER_STACK: usize = 2 << 20;
/// Most wasm frames in a backtrace.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::new(50).expect("50 is not zero");

/// wasm proposals, and whether components may use them. Off: what could make two runs differ (threads, relaxed SIMD), what no
/// ordinary toolchain emits yet, and what is not worth its attack surface.
type Feature = (&'static str, bool, fn(&mut Config, bool) -> &mut Config);
const FEATURES: &[Feature] = &[
    ("bulk-memory", true, Config::wasm_bulk_memory),
    ("extended-const", true, Config::wasm_extended_const),
    ("multi-memory", true, Config::wasm_multi_memory),
    ("multi-value", true, Config::wasm_multi_value),
    ("simd", true, Config::wasm_simd),
    ("tail-call", true, Config::wasm_tail_call),
    ("custom-page-sizes", false, Config::wasm_custom_page_sizes),
    ("memory64", false, Config::wasm_memory64),
    ("relaxed-simd", false, Config::wasm_relaxed_simd),
    ("wide-arithmetic", false, Config::wasm_wide_arithmetic),
];

/// The determinism version: our own integer, wasmtime's version, and a hash of the settings that a result may depend on. Never
/// the target or the CPU.
pub fn determinism() -> String {
    let mut settings = String::new();
    for (name, on, _) in FEATURES {
        settings += &format!("{name}={on}\n");
    }
    settings += "nan-canonicalization=true\nrelaxed-simd-deterministic=true\nconcurrency=false\nshared-memory=false\n";
    settings += &format!(
        "instances={MAX_INSTANCES}\nmemories={MAX_MEMORIES}\ntables={MAX_TABLES}\ntable-elements={MAX_TABLE_ELEMENTS}\noutputs={MAX_OUTPUTS}\n"
    );
    settings += &schedule::describe();
    let hash = Digest::tagged("lockgate-determinism-v1", settings.as_bytes());
    format!("{DETERMINISM}+wasmtime-{WASMTIME}+{}", hash.short())
}

/// An engine with a pool of `slots`, or without one where the address space has no room for it. Tells whether it has one.
pub(crate) fn engine(slots: u32, pooling: bool) -> wasmtime::Result<(Engine, bool)> {
    if pooling {
        match Engine::new(config().allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)))) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => tracing::info!("no room for a pool of {slots} slots, allocating on demand: {error:#}"),
        }
    }
    let engine = Engine::new(config().allocation_strategy(InstanceAllocationStrategy::OnDemand))?;
    Ok((engine, false))
}

/// An engine whose guests call back when their epoch ends, for profiles. Its fuel is that of the other: epochs cost none.
pub(crate) fn profiling_engine() -> wasmtime::Result<Engine> {
    let frames = NonZeroUsize::new(crate::profile::MAX_FRAMES);
    let mut config = config();
    config.epoch_interruption(true).wasm_backtrace_max_frames(frames);
    Engine::new(config.allocation_strategy(InstanceAllocationStrategy::OnDemand))
}

/// Settings without the allocator.
fn config() -> Config {
    let mut config = Config::new();
    for (_, on, set) in FEATURES {
        set(&mut config, *on);
    }
    config
        .concurrency_support(false)
        .shared_memory(false)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .consume_fuel(true)
        .operator_cost(schedule::operators())
        .epoch_interruption(false)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        .wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES))
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(MAX_INSTANCES))
        .total_memories(slots.saturating_mul(MAX_MEMORIES))
        .total_tables(slots.saturating_mul(MAX_TABLES))
        .total_stacks(slots)
        .max_core_instances_per_component(MAX_INSTANCES)
        .max_memories_per_component(UNCHECKED)
        .max_memories_per_module(UNCHECKED)
        .max_tables_per_component(UNCHECKED)
        .max_tables_per_module(UNCHECKED)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_memory_size(4 << 30)
        .max_unused_warm_slots(slots)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    pool
}
