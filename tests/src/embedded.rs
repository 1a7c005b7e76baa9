//! The engine as a library, in the test's own process: a host over a store, and runs that are driven in it.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lockgate::wiring::executor::HostExecutor;
use lockgate_host::{Host, HostOptions, NoCache, Plugin};
use lockgate_model::event::Component;
use lockgate_model::task::Task;
use lockgate_model::{PluginAlias, RunId};
use lockgate_runner::{DriveOptions, Observer, RunReport, RunSpec, Surroundings};
use lockgate_store::Store;
use lockgate_syntax::Inputs;

/// A host for runs at the same time, of which each may have so many calls under way.
///
/// # Panics
/// If it cannot be set up.
pub fn host(slots: usize, runs: usize) -> Arc<Host> {
    Arc::new(Host::new(HostOptions { slots, runs, ..HostOptions::default() }).expect("set up the engine"))
}

/// Loads a component.
///
/// # Panics
/// If it is none.
pub fn load(host: &Host, component: &[u8]) -> Arc<Plugin> {
    host.load(component, &NoCache).expect("a component that can be used")
}

/// Drives a pipeline whose only plugin is this one, of the alias `it`, to its end.
///
/// # Panics
/// If the pipeline is wrong, or the engine fails.
pub async fn drive(
    host: Arc<Host>,
    plugin: Arc<Plugin>,
    store: Store,
    text: &str,
    jobs: usize,
    observer: Arc<dyn Observer>,
) -> RunReport {
    let (params, env, git) = (std::collections::BTreeMap::new(), |_: &str| None, || Err("no git".to_owned()));
    let parsed = lockgate_syntax::parse("pipeline.toml", text, &Inputs { params: &params, env: &env, git: &git });
    let (Some(pipeline), Some(graph)) = (parsed.pipeline, parsed.graph) else {
        panic!("the pipeline is wrong: {:?}", parsed.problems)
    };
    let name = format!("{} {}", plugin.manifest().name, plugin.manifest().version);
    let component = Component { digest: plugin.digest(), name, reads_time: plugin.manifest().reads_time };
    let spec = RunSpec {
        run: lockgate_runner::run_id(1, lockgate_runner::entropy()),
        pipeline,
        graph,
        file: "pipeline.toml".into(),
        root: None,
        components: [(PluginAlias::new("it").expect("a name"), component)].into(),
        sources: Vec::new(),
        logical_time: 0,
        engine: "test".into(),
        determinism: lockgate_host::determinism(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    };
    let executor = Arc::new(HostExecutor::new(host, [plugin], store.clone()));
    let mut surroundings = Surroundings::new(Arc::new(store.clone()), Arc::new(store));
    surroundings.observer = observer;
    let jobs = NonZeroUsize::new(jobs).expect("at least one job");
    let options = DriveOptions { jobs, ..DriveOptions::default() };
    lockgate_runner::drive(spec, executor, surroundings, options).await.expect("a run that is driven to its end")
}

/// A task for one call of a plugin outside of any run.
///
/// # Panics
/// Never: the names are names.
pub fn task(plugin: &Plugin) -> Task {
    Task {
        run: RunId::new("call").expect("a name"),
        node: "call".parse().expect("a name"),
        attempt: 1,
        component: plugin.digest(),
        world: plugin.world(),
        config: "{}".into(),
        inputs: Default::default(),
        env: Default::default(),
        limits: Default::default(),
        grants: Default::default(),
        logical_time: 0,
        look: Default::default(),
        state: None,
        first_sequence: 0,
    }
}
