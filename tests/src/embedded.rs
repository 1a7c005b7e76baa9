//! The engine as a library, in the test's own process: a host over a store, and runs that are driven in it.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_host::{Artifacts, BlobWriter, Effects, EffectsError, Host, HostOptions, NoCache, Plugin};
use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::effect::Begun;
use lockgate_model::event::Component;
use lockgate_model::outcome::Completion;
use lockgate_model::task::Task;
use lockgate_model::{Digest, PluginAlias, RunId};
use lockgate_runner::{DriveOptions, EffectSink, Executor, Observer, RunReport, RunSpec, SinkError, Surroundings};
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

/// A store as a host's artifacts.
pub struct Shelf(pub Store);

struct Writer(lockgate_store::BlobWriter);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl BlobWriter for Writer {
    fn finish(self: Box<Self>) -> io::Result<(Digest, u64)> {
        self.0.finish().map_err(io::Error::other)
    }
}

impl Artifacts for Shelf {
    fn open_blob(&self, digest: Digest) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let reader = self.0.open_blob(&digest).map_err(io::Error::other)?;
        let size = reader.size();
        Ok((Box::new(reader), size))
    }

    fn blob_writer(&self) -> io::Result<Box<dyn BlobWriter>> {
        Ok(Box::new(Writer(self.0.blob_writer())))
    }

    fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        self.0.put_blob(bytes).map_err(io::Error::other)
    }

    fn directory(&self, digest: Digest) -> io::Result<Arc<Directory>> {
        self.0.directory(&digest).map_err(io::Error::other)
    }

    fn put_directory(&self, directory: &Directory) -> io::Result<Digest> {
        self.0.put_directory(directory).map_err(io::Error::other)
    }

    fn lay(&self, _: &ArtifactRef, _: &Path, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn take(&self, _: &Path, _: &str) -> io::Result<Option<ArtifactRef>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One plugin for all nodes of a run.
struct One {
    host: Arc<Host>,
    plugin: Arc<Plugin>,
    artifacts: Arc<Shelf>,
}

#[async_trait]
impl Executor for One {
    async fn execute(&self, task: Task, effects: Arc<dyn EffectSink>) -> Completion {
        self.host.call(&self.plugin, task, self.artifacts.clone(), Arc::new(Recorded(effects))).await
    }
}

struct Recorded(Arc<dyn EffectSink>);

#[async_trait]
impl Effects for Recorded {
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError> {
        self.0.intent(sequence, kind, request, summary).await.map_err(refused)
    }

    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), EffectsError> {
        self.0.outcome(sequence, answer).await.map_err(refused)
    }
}

fn refused(error: SinkError) -> EffectsError {
    match error {
        SinkError::Ending => EffectsError::Record("the run is ending".to_owned()),
        SinkError::Differs(differs) => EffectsError::Differs(differs),
    }
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
    let executor = Arc::new(One { host, plugin, artifacts: Arc::new(Shelf(store.clone())) });
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
