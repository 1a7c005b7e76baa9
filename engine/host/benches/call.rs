//! What `Host::call` adds to a bare loop of wasmtime calls of the same component, and the throughput of artifacts. Ratios, in
//! one run: run with `cargo bench -p lockgate-host`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a program for developers, like a test")]

#[path = "../tests/host/guest.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod guest;
#[path = "../tests/host/world.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use std::io::Write as _;
use std::time::{Duration, Instant};

use guest::{Guest, check, got, got_len, ret};
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use world::{Lab, port, task};

const CALLS: u32 = 2_000;
const ROUNDS: usize = 9;

/// The time of one round.
fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The same component on a plain engine with the same settings of its pool: instantiate and call, asynchronously, with fuel.
fn bare(bytes: &[u8]) -> (Engine, wasmtime::component::InstancePre<()>) {
    let mut pool = PoolingAllocationConfig::new();
    pool.linear_memory_keep_resident(1 << 20).table_keep_resident(1 << 20).pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.consume_fuel(true).concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_binary(&engine, bytes).unwrap();
    let pre = Linker::new(&engine).instantiate_pre(&component).unwrap();
    (engine, pre)
}

async fn bare_call(engine: &Engine, pre: &wasmtime::component::InstancePre<()>) {
    let mut store = Store::new(engine, ());
    store.set_fuel(2_000_000_000).unwrap();
    store.fuel_async_yield_interval(Some(1_000_000)).unwrap();
    let instance = pre.instantiate_async(&mut store).await.unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let mut results = [wasmtime::component::Val::Bool(false)];
    run.call_async(&mut store, &[wasmtime::component::Val::String("{}".into())], &mut results).await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut out = std::io::stdout();
    let bytes = Guest::stage().body("(call $ok)").component();
    let lab = Lab::new();
    let plugin = lab.host.load(&bytes, &lockgate_host::NoCache).unwrap();
    let (engine, pre) = bare(&bytes);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(time(|| {
            runtime.block_on(async {
                for _ in 0..CALLS {
                    bare_call(&engine, &pre).await
                }
            })
        }));
        ours.push(time(|| {
            runtime.block_on(async {
                for _ in 0..CALLS {
                    assert_eq!(lab.call(&plugin, task(&plugin)).await.failure, None);
                }
            })
        }));
    }
    let (ours, theirs) = (median(ours) / CALLS, median(theirs) / CALLS);
    writeln!(
        out,
        "call of a no-op: {ours:?}, bare wasmtime {theirs:?}, ratio {:.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    )
    .unwrap();
    let start = median((0..ROUNDS).map(|_| time(|| drop(Lab::new()))).collect());
    writeln!(out, "a new host: {start:?}").unwrap();
    artifacts(&lab, &runtime, &mut out);
}

/// 256 MiB from an input to an output, against copying and hashing the same bytes.
fn artifacts(lab: &Lab, runtime: &tokio::runtime::Runtime, out: &mut std::io::Stdout) {
    let mut guest =
        Guest::stage().import(&["open-blob", "create-blob", "reader.read", "writer.write", "writer.finish"]).pages(40);
    guest = guest.says(|says| (says.open_inputs, says.open_outputs) = (Some("any"), Some("any")));
    let (input, output) = (guest.text("in"), guest.text("out"));
    let (ret, check, got, len) = (ret(), check(), got(), got_len());
    // The heap is set back for each chunk: a guest that uses one buffer again.
    let body = format!(
        "(call $open-blob {input} {ret}) {check} (local.set $a {got})
         (call $create-blob {output} {ret}) {check} (local.set $b {got})
         (local.set $i (global.get $heap))
         (block $end (loop $l
            (global.set $heap (local.get $i))
            (call $reader.read (local.get $a) (i32.const 1048576) {ret}) {check}
            (br_if $end (i32.eqz {len}))
            (call $writer.write (local.get $b) {got} {len} {ret}) {check}
            (br $l)))
         (call $writer.finish (local.get $b) {ret}) {check} (call $ok)"
    );
    let plugin = lab.load(guest.body(body));
    let bytes = vec![7_u8; 64 << 20];
    let input = lab.store.blob(&bytes);
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        plain.push(time(|| {
            let mut copy = Vec::new();
            for chunk in bytes.chunks(1 << 20) {
                copy.extend_from_slice(chunk);
            }
            std::hint::black_box(lockgate_model::Digest::of(&copy));
            std::hint::black_box(copy.into_boxed_slice());
        }));
        ours.push(time(|| {
            let mut task = task(&plugin);
            task.inputs.insert(port("in"), input);
            let done = runtime.block_on(lab.call(&plugin, task));
            assert_eq!(done.outputs[&port("out")], input);
        }));
    }
    let (ours, plain) = (median(ours), median(plain));
    writeln!(
        out,
        "64 MiB in and out: {ours:?}, copy and sha-256 {plain:?}, ratio {:.2}",
        ours.as_secs_f64() / plain.as_secs_f64()
    )
    .unwrap();
}
