//! The component of `std:noop`, called without an engine around it: what a run can at best come down to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_tests::{binary, graph};
use petgraph::graph::{DiGraph, NodeIndex};
use wasmtime::component::{Component, ComponentType, InstancePre, Lift, Linker};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

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

/// The component, compiled with the host's settings.
#[derive(Clone)]
pub(crate) struct Bare {
    engine: Engine,
    instance: InstancePre<()>,
}

impl Bare {
    pub(crate) fn new() -> Self {
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

    fn call(&self, node: usize) -> bool {
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(100_000_000).unwrap();
        let instance = self.instance.instantiate(&mut store).unwrap();
        let run = instance.get_typed_func::<(String,), (Result<Vec<Finding>, Failure>,)>(&mut store, "run").unwrap();
        run.call(&mut store, (format!("{{\"n\":{node}}}"),)).unwrap().0.is_ok()
    }

    /// One pass over the graph on one thread.
    pub(crate) fn serial(&self, nodes: usize) -> Duration {
        let start = Instant::now();
        let mut done = vec![false; nodes];
        for node in 0..nodes {
            assert!(graph::needs(node).all(|need| done[need]), "nodes are numbered layer by layer");
            done[node] = self.call(node);
        }
        start.elapsed()
    }

    /// One pass by tokio over a graph of petgraph: a task for each node, once all that it needs is done.
    pub(crate) fn scheduled(&self, nodes: usize, threads: usize) -> Duration {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build().unwrap();
        let start = Instant::now();
        let mut dag = DiGraph::<usize, ()>::with_capacity(nodes, nodes * 3);
        let vertices: Vec<NodeIndex> = (0..nodes).map(|node| dag.add_node(node)).collect();
        let mut open = vec![0_usize; nodes];
        for node in 0..nodes {
            for need in graph::needs(node) {
                dag.add_edge(vertices[need], vertices[node], ());
                open[node] += 1;
            }
        }
        let (dag, bare) = (Arc::new(dag), self.clone());
        runtime.block_on(async move {
            let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
            let begin = |node: usize| {
                let (bare, ended) = (bare.clone(), ended.clone());
                tokio::spawn(async move { ended.send((node, bare.call(node))) });
            };
            open.iter().enumerate().filter(|(_, open)| **open == 0).for_each(|(node, _)| begin(node));
            for _ in 0..nodes {
                let (node, good) = endings.recv().await.unwrap();
                assert!(good);
                for next in dag.neighbors(vertices[node]) {
                    open[dag[next]] -= 1;
                    if open[dag[next]] == 0 {
                        begin(dag[next]);
                    }
                }
            }
        });
        start.elapsed()
    }
}
