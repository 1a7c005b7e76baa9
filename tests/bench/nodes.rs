//! 1,000 nodes that do nothing, against a bare loop of wasmtime calls of the same component over the same graph.

use std::time::{Duration, Instant};

use lockgate_tests::{Project, binary, graph};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::measure::{line, median, ms, ratio, run};

/// Nodes of the graph.
const NODES: usize = 1_000;
/// Repetitions of each.
const TIMES: usize = 15;

pub(crate) fn bench() {
    let project = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.file("noop.toml", graph::pipeline(NODES));
    run(project.command(["run", "pipeline.toml"]));
    let bare = Bare::new();
    let (mut one, mut checked, mut loops, mut many, mut serial) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..TIMES {
        // A state directory of its own for each, so that the journal does not grow; the compiled code is taken along.
        let state = format!("state{number}");
        run(project.command(["run", "pipeline.toml", "--no-cache", "--state", &state]));
        one.push(run(project.command(["run", "pipeline.toml", "--no-cache", "--state", &state])).wall);
        checked.push(run(project.command(["check", "noop.toml", "--state", &state])).wall);
        loops.push(bare.time());
        many.push(run(project.command(["run", "noop.toml", "--no-cache", "--quiet", "--state", &state])));
        serial.push(
            run(project.command(["run", "noop.toml", "--no-cache", "--quiet", "--jobs", "1", "--state", &state])).wall,
        );
    }
    let (one, checked, bare, serial) = (median(one), median(checked), median(loops), median(serial));
    let wall = median(many.iter().map(|cost| cost.wall));
    line("bare loop: instantiate and call, one thread", &ms(bare), "");
    line(&format!("`lockgate run` of {NODES} nodes, start to exit"), &ms(wall), "");
    line("  against the bare loop", &ratio(wall, bare), "at most 3 x");
    line("  without what a run of one node takes, against the loop", &ratio(wall.saturating_sub(one), bare), "");
    let cpu = median(many.iter().map(|cost| cost.cpu));
    line("  its processor time", &ms(cpu), "");
    line("  against the bare loop, which does nothing but compute", &ratio(cpu, bare), "");
    line("  with --jobs 1", &ms(serial), "");
    line("`lockgate run` of one node", &ms(one), "");
    line(&format!("`lockgate check` of {NODES} nodes"), &ms(checked), "");
    line("peak memory", &format!("{} MiB", median(many.iter().map(|cost| cost.peak)) / 1024), "under 150 MiB");
}

/// The same component, called without an engine around it.
struct Bare {
    engine: Engine,
    instance: InstancePre<()>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "only its type counts")]
struct Finding {
    severity: String,
    message: String,
    rule: Option<String>,
    path: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "only its type counts")]
struct Failure {
    message: String,
    findings: Vec<Finding>,
}

impl Bare {
    fn new() -> Self {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(4)
            .max_unused_warm_slots(4)
            .linear_memory_keep_resident(1 << 20)
            .table_keep_resident(1 << 20)
            .pagemap_scan(Enabled::Auto);
        let mut config = Config::new();
        config
            .concurrency_support(false)
            .cranelift_nan_canonicalization(true)
            .consume_fuel(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).unwrap();
        let bytes = std::fs::read(binary::repository().join("plugins/dist/noop.wasm")).unwrap();
        let component = Component::new(&engine, bytes).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let instance = linker.instantiate_pre(&component).unwrap();
        Self { engine, instance }
    }

    /// One pass over the graph.
    fn time(&self) -> Duration {
        let start = Instant::now();
        let mut done = vec![false; NODES];
        for node in 0..NODES {
            assert!(graph::needs(node).all(|need| done[need]), "nodes are numbered layer by layer");
            let mut store = Store::new(&self.engine, ());
            store.set_fuel(100_000_000).unwrap();
            let instance = self.instance.instantiate(&mut store).unwrap();
            let run =
                instance.get_typed_func::<(String,), (Result<Vec<Finding>, Failure>,)>(&mut store, "run").unwrap();
            let (result,) = run.call(&mut store, (format!("{{\"n\":{node}}}"),)).unwrap();
            done[node] = result.is_ok();
        }
        start.elapsed()
    }
}
