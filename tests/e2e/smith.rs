//! Random valid modules and components by wasm-smith, through loading, compiling, `describe` and a call. A test run takes some
//! hundred; `LOCKGATE_SMITH=10000 cargo test -p lockgate-tests smith -- --nocapture` takes as many as it is told, and
//! `LOCKGATE_SMITH_FIRST` is the first seed. One number makes all of a case.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use lockgate::wiring::executor::StoreArtifacts;
use lockgate_host::{Host, HostOptions, LoadError, NoCache, NoEffects};
use lockgate_model::limits::ComponentLimits;
use lockgate_model::units::{Bytes, Fuel, Millis};
use lockgate_store::Store;
use lockgate_tests::embedded;
use lockgate_tests::handmade::Handmade;
use wasm_smith::{Component, Config, Module};

/// No case may take longer; compiling the largest takes a fraction of it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a seed: xorshift64*.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 256 + (seed % 3_840) as usize;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes
}

fn config() -> Config {
    Config {
        max_imports: 0,
        min_imports: 0,
        max_memories: 2,
        max_tables: 4,
        multi_value_enabled: true,
        simd_enabled: true,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        memory64_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        // `externref` among them, which needs the collector that the engine is built without.
        reference_types_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        tail_call_enabled: true,
        allow_start_export: true,
        ..Config::default()
    }
}

/// A good stage that also holds a random module, and makes an instance of it: so its start function, its data and its elements are
/// run whenever the stage is.
fn stage_with(module: &[u8]) -> Vec<u8> {
    let mut bytes = Handmade::stage().build();
    let mut modules = 0_u8;
    let mut at = 8;
    while at < bytes.len() {
        modules += u8::from(bytes[at] == 1);
        let (size, after) = leb(&bytes, at + 1);
        at = after + size;
    }
    let mut section = |id: u8, content: &[u8]| {
        bytes.push(id);
        let mut size = content.len();
        while size > 0x7f {
            bytes.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        bytes.push(size as u8);
        bytes.extend_from_slice(content);
    };
    section(1, module);
    // One instance, of that module, which needs nothing.
    section(2, &[1, 0, modules, 0]);
    bytes
}

fn leb(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[at];
        value |= usize::from(byte & 0x7f) << shift;
        (at, shift) = (at + 1, shift + 7);
        if byte & 0x80 == 0 {
            return (value, at);
        }
    }
}

/// What became of a seed, in a word.
async fn attempt(host: &Host, store: &Store, seed: u64) -> String {
    let bytes = bytes(seed);
    let mut random = Unstructured::new(&bytes);
    let component = if seed.is_multiple_of(4) {
        // Too few bytes for a component are no case.
        let Ok(component) = Component::new(config(), &mut random) else { return "none".to_owned() };
        component.to_bytes()
    } else {
        let Ok(module) = Module::new(config(), &mut random) else { return "none".to_owned() };
        stage_with(&module.to_bytes())
    };
    let plugin = match host.load(&component, &NoCache) {
        Ok(plugin) => plugin,
        Err(error) => {
            assert!(!error.is_infrastructure(), "seed {seed}: {error}");
            return match error {
                LoadError::Describe { .. } => "describe".to_owned(),
                LoadError::World { .. } | LoadError::UnknownImport { .. } => "no plugin".to_owned(),
                LoadError::Invalid { reason } => {
                    // Without the places, which differ from seed to seed.
                    let words = reason.rsplit(": ").next().unwrap_or_default();
                    format!("refused: {}", words.split(" (at").next().unwrap_or_default())
                }
                error => format!("refused: {error}").chars().take(60).collect(),
            };
        }
    };
    let mut task = embedded::task(&plugin);
    task.limits.fuel = Fuel(5_000_000);
    let done = host.call(&plugin, task, Arc::new(StoreArtifacts(store.clone())), Arc::new(NoEffects::default())).await;
    done.failure.map_or_else(|| "called".to_owned(), |failure| format!("call: {}", failure.kind.name()))
}

#[tokio::test]
async fn random_components_end_nothing_but_themselves() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (first, count) = (number("LOCKGATE_SMITH_FIRST", 0), number("LOCKGATE_SMITH", 300));
    let limits = ComponentLimits {
        compile_time: Millis(60_000),
        describe_memory: Bytes(64 << 20),
        ..ComponentLimits::default()
    };
    let host = Host::new(HostOptions { slots: 1, limits, pooling: false, ..HostOptions::default() }).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    let mut ends = BTreeMap::<String, u64>::new();
    let mut slowest = (Duration::ZERO, 0);
    let begun = Instant::now();
    for seed in first..first + count {
        let start = Instant::now();
        *ends.entry(attempt(&host, &store, seed).await).or_default() += 1;
        let time = start.elapsed();
        assert!(time < PATIENCE, "seed {seed} took {time:?}");
        slowest = slowest.max((time, seed));
    }
    println!("{count} in {:?}, the slowest {slowest:?}", begun.elapsed());
    for (end, number) in &ends {
        println!("{number:>8}  {end}");
    }
    // Were all of them refused, nothing would have been tried.
    assert!(ends.get("called").is_some_and(|called| called * 10 > count), "{ends:?}");
}
