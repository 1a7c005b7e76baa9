//! Going on with a run that another process left, from its records: what it takes besides driving it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_host::{CodeCache, Host, Plugin, Secrets};
use lockgate_model::artifact::ArtifactKind;
use lockgate_model::event::{Event, Signal};
use lockgate_model::graph::Graph;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{InputSource, Pipeline};
use lockgate_model::run::{NodeState, Role};
use lockgate_runner::{Clock as _, Recovered, RunSpec, SystemClock, recover};
use lockgate_store::{Record, Store};
use tokio::runtime::Handle;

use super::components::Shelf;
use super::executor::{HostExecutor, StoreCode};
use super::export::refused_export;
use super::mend::{self, Mend};
use super::notices::Notices;
use super::past::PastRun;
use super::policy::Policies;
use super::secrets;
use super::text::{clean_line, one_line};
use super::vouched::Vouched;
use crate::error::{Class, Error};
use crate::node_kind::Native;

/// Changed files of one input that are named.
const NAMED: usize = 5;

/// With what a run is to be resumed.
pub struct Resume<'a> {
    /// The store, which nobody else drives the run from.
    pub store: &'a Store,
    /// The run, read after that was sure.
    pub found: &'a PastRun,
    /// Where exports go and inputs came from, if somebody says so.
    pub root: Option<&'a Path>,
    /// The policies of today.
    pub policies: &'a Policies,
    /// Absolute directories that may be exported to.
    pub allowed: &'a [PathBuf],
    /// What executes.
    pub host: &'a Arc<Host>,
    /// The node kinds of this program.
    pub natives: &'a [Arc<Native>],
    /// The runtime on which results that were lost are made again; not one of its threads calls this.
    pub runtime: &'a Handle,
    /// Who hears what changed since.
    pub notices: &'a dyn Notices,
}

/// A run that can go on.
pub struct Resumable {
    /// What it is made of.
    pub spec: RunSpec,
    /// Its records.
    pub records: Vec<Record>,
    /// Where it stands.
    pub recovered: Recovered,
    /// Its root.
    pub root: PathBuf,
    /// Its plugins.
    pub plugins: Vec<Arc<Plugin>>,
    /// The values of its secrets.
    pub secrets: Arc<Secrets>,
}

impl Resume<'_> {
    /// Reads what the run needs to go on, holds it against the policies, and makes again what was lost since.
    pub fn prepare(&self) -> Result<Resumable, Error> {
        let Self { store, found, policies, notices, .. } = *self;
        let records = store.records(&found.summary.id)?;
        let (pipeline, graph) = (found.pipeline.clone(), graph(&found.pipeline)?);
        let spec = RunSpec { policies: policies.digests(), ..spec(found, &records, graph.clone())? };
        let root = self.root_of(&spec);
        if let Some(error) = refused_export(&pipeline, self.allowed) {
            return Err(error);
        }
        mend::read_sources(store, &spec)?;
        name_changes(store, &spec, &root, notices);
        let code: Arc<dyn CodeCache> = Arc::new(StoreCode(store.clone()));
        let shelf = Shelf { store, root: Some(&root), sources: &pipeline.plugins };
        let own = |digest| self.natives.iter().any(|native| native.digest() == digest);
        let others = spec.components.iter().filter(|(_, component)| !own(component.digest));
        let plugins = others.map(|(alias, component)| shelf.load(alias, component, self.host, &code));
        let plugins: Vec<_> = plugins.collect::<Result<_, _>>()?;
        let told = records.iter().map(|record| (record.time_ms, &record.event));
        let recovered = recover(pipeline.clone(), graph, told).map_err(damaged)?;
        let loaded = spec.components.iter().filter_map(|(alias, component)| {
            let plugin = plugins.iter().find(|plugin| plugin.digest() == component.digest)?;
            Some((alias, pipeline.plugins.get(alias)?, plugin.as_ref()))
        });
        let vouched = Vouched::of(loaded, &root, policies, &store.seen()?, notices)?;
        permit(policies, &vouched, &spec, &recovered, &plugins, self.natives)?;
        let secrets = secrets::read(&pipeline, &root, notices)?;
        let executor = HostExecutor::new(self.host.clone(), plugins.iter().cloned(), store.clone());
        let executor = executor.with_natives(self.natives.iter().cloned());
        let mend = Mend { store, found, spec: &spec, recovered: &recovered, runtime: self.runtime, notices };
        mend::mend(&mend, executor)?;
        Ok(Resumable { spec, records, recovered, root, plugins, secrets })
    }

    /// Where exports go and inputs came from: what was said, else where the run began, else beside the state directory.
    fn root_of(&self, spec: &RunSpec) -> PathBuf {
        let began = spec.root.as_ref().map(PathBuf::from).filter(|root| root.is_dir());
        let beside = || self.store.dir().parent().unwrap_or(Path::new(".")).to_owned();
        self.root.map(Path::to_owned).or(began).unwrap_or_else(beside)
    }
}

/// Holds what is left to do against the policies in force today, whatever was in force when the run began.
fn permit(
    policies: &Policies,
    vouched: &Vouched,
    spec: &RunSpec,
    recovered: &Recovered,
    plugins: &[Arc<Plugin>],
    natives: &[Arc<Native>],
) -> Result<(), Error> {
    let state = mend::resumed(spec, recovered);
    let left =
        |index: &usize| state.role(*index) == Role::Runs && !matches!(state.state(*index), NodeState::Finished { .. });
    let nodes = &spec.pipeline.nodes;
    let open: Vec<_> = (0..nodes.len()).filter(left).map(|index| &nodes[index]).collect();
    let known = spec.components.iter().filter_map(|(alias, component)| {
        let plugin = plugins.iter().find(|plugin| plugin.digest() == component.digest);
        let native = || natives.iter().find(|native| native.digest() == component.digest);
        let known = plugin.map(|plugin| policies.known(plugin)).or_else(|| Some(native()?.known()))?;
        Some((alias.clone(), vouched.complete(alias, known)))
    });
    let what = format!("resume run `{}`", spec.run);
    if let Some((alias, lowered)) = vouched.lowered().next() {
        let error = anyhow::anyhow!("plugin `{alias}`: {lowered}").context(what);
        return Err(Error::new(Class::Refused, error).hint(Vouched::accept_lowered(lowered)));
    }
    policies.permit_recorded(&what, &spec.pipeline, &open, &known.collect())
}

/// Whether there is anything left to do, and this engine can do it.
pub fn check(found: &PastRun) -> Result<(), Error> {
    let run = &found.summary.id;
    if let Some((Status::Succeeded, _)) = found.state.over() {
        return Err(Error::new(
            Class::Wrong,
            anyhow::anyhow!("resume run `{run}`: it succeeded, nothing is left to do"),
        ));
    }
    if let Some(Event::RunStarted { determinism, engine, .. }) = found.records.first().map(|record| &record.event)
        && *determinism != lockgate_host::determinism()
    {
        let error = anyhow::anyhow!(
            "resume run `{run}`: lockgate {} began it under other rules of execution ({}; here {})",
            clean_line(engine),
            clean_line(determinism),
            lockgate_host::determinism()
        );
        return Err(Error::new(Class::Wrong, error).hint("finish it with that version, or run the pipeline again"));
    }
    Ok(())
}

fn damaged(error: impl Into<anyhow::Error>) -> Error {
    Error::new(Class::Infrastructure, error).context("read the run out of the journal")
}

fn graph(pipeline: &Pipeline) -> Result<Arc<Graph>, Error> {
    Graph::new(pipeline).map(Arc::new).map_err(damaged)
}

/// Says of every effect in doubt whether it took place: [`Signal::AssumeDone`] or [`Signal::AssumeRepeat`].
pub fn assume(store: &Store, found: &PastRun, signal: Signal, by: &str) -> Result<(), Error> {
    let doubted = found.pipeline.nodes.iter().enumerate().filter(|(index, _)| found.state.is_in_doubt(*index));
    let events: Vec<_> = doubted
        .map(|(_, node)| Event::Signalled { node: Some(node.id.clone()), signal, by: by.to_owned(), comment: None })
        .collect();
    if events.is_empty() {
        let error = anyhow::anyhow!("assume something of run `{}`: no effect of it is in doubt", found.summary.id);
        return Err(Error::new(Class::Wrong, error).hint("leave `--assume` away"));
    }
    store.append(&found.summary.id, SystemClock::default().now_ms(), &events)?;
    Ok(())
}

/// What the run depends on, as its first record has it.
fn spec(found: &PastRun, records: &[Record], graph: Arc<Graph>) -> Result<RunSpec, Error> {
    let Some(Event::RunStarted { file, root, components, sources, logical_time, determinism, selection, .. }) =
        records.first().map(|record| &record.event)
    else {
        return Err(damaged(anyhow::anyhow!("it does not begin with `run-started`")));
    };
    Ok(RunSpec {
        run: found.summary.id.clone(),
        pipeline: found.pipeline.clone(),
        graph,
        file: file.clone(),
        root: root.clone(),
        components: components.clone(),
        sources: sources.clone(),
        logical_time: *logical_time,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        determinism: determinism.clone(),
        selection: selection.clone(),
        commit: None,
        policies: Vec::new(),
    })
}

/// Says which inputs are not on the disk as the run has them. It goes on with what it has.
fn name_changes(store: &Store, spec: &RunSpec, root: &Path, notices: &dyn Notices) {
    let leave_out: Vec<PathBuf> = spec.pipeline.exports.iter().map(|export| PathBuf::from(&export.to)).collect();
    for source in &spec.sources {
        let (what, now) = match &source.source {
            InputSource::Dir(dir) => (dir.dir.as_str(), store.snapshot(root, dir, &leave_out)),
            InputSource::File { path } => (path.as_str(), store.snapshot_file(root, path)),
            InputSource::Output { .. } | InputSource::Input { .. } => continue,
        };
        let what = clean_line(what);
        let changed = match now {
            Ok(now) if now.digest == source.artifact.digest => continue,
            Ok(now) if now.kind == ArtifactKind::Tree && source.artifact.kind == ArtifactKind::Tree => {
                match store.changes(&source.artifact.digest, &now.digest, NAMED) {
                    Ok(changes) => changes.iter().map(|change| clean_line(&change.0)).collect::<Vec<_>>().join(", "),
                    Err(error) => one_line(&error),
                }
            }
            Ok(_) => "its content".to_owned(),
            Err(error) => format!("it cannot be read now: {}", one_line(&error)),
        };
        notices.warning(&format!(
            "input `{what}` changed since the run began ({changed}); the run keeps what it began with"
        ));
    }
}
