//! `lockgate resume`: a run that another process left is finished from its records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_host::{CodeCache, Plugin};
use lockgate_model::artifact::ArtifactKind;
use lockgate_model::event::{Event, Signal};
use lockgate_model::graph::Graph;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{InputSource, Pipeline};
use lockgate_model::run::{NodeState, Role};
use lockgate_runner::{Clock as _, Recovered, RunSpec, SystemClock, recover};
use lockgate_store::{Record, Store};

use super::Ended;
use super::attest::Attesting;
use super::export::refused_export;
use super::mend::{self, Mend};
use super::run::{Begin, Going, Machine, allowed_exports, options, taken};
use super::say::user;
use crate::args::{Assume, ResumeArgs};
use crate::components::Shelf;
use crate::executor::{HostExecutor, StoreCode};
use crate::exit::{CliError, Exit, one_line};
use crate::forecast::Of;
use crate::past::{self, PastRun};
use crate::policy::Policies;
use crate::render::output::Output;
use crate::render::style::clean_line;
use crate::secrets;
use crate::trust::Vouched;
use crate::{load, place};

/// Changed files of one input that are named.
const NAMED: usize = 5;

/// Finishes a run.
pub(crate) fn resume(args: &ResumeArgs, output: &Output) -> Ended {
    let attesting = Attesting::prepare(&args.drive.attest, output)?;
    let policies = Policies::load(&args.policy, output)?;
    let machine = Machine::start(&args.drive)?;
    let state = place::existing(&args.state)?;
    let store = Store::open(&state)?;
    let store = if args.drive.verify { store.thorough() } else { store };
    let text = args.run.as_deref().unwrap_or("last");
    let found = past::find(&store, text)?;
    let run = found.summary.id.clone();
    let _holds = match machine.hold(&store, &run, &found.pipeline, output)? {
        Some(holds) => holds,
        None => return Ok(Exit::Interrupted),
    };
    // Again, now that nobody else drives it.
    let found = past::find(&store, run.as_str())?;
    check(&found)?;
    if let Some(assume) = args.assume {
        assumed(&store, &found, assume)?;
    }
    let records = store.records(&run)?;
    let (pipeline, graph) = (found.pipeline.clone(), graph(&found.pipeline)?);
    let spec = RunSpec { policies: policies.digests(), ..spec(&found, &records, graph.clone())? };
    let root = root(args, &spec, &state);
    let allowed = allowed_exports(&args.drive.allow_export)?;
    if let Some(error) = refused_export(&pipeline, &allowed) {
        return Err(error);
    }
    mend::read_sources(&store, &spec)?;
    name_changes(&store, &spec, &root, output);
    let host = load::host(machine.jobs.get())?;
    let code: Arc<dyn CodeCache> = Arc::new(StoreCode(store.clone()));
    let shelf = Shelf { store: &store, root: Some(&root), sources: &pipeline.plugins };
    let plugins = spec.components.iter().map(|(alias, component)| shelf.load(alias, component, &host, &code));
    let plugins: Vec<_> = plugins.collect::<Result<_, _>>()?;
    let told = records.iter().map(|record| (record.time_ms, &record.event));
    let recovered = recover(pipeline.clone(), graph, told).map_err(damaged)?;
    let loaded = spec.components.iter().filter_map(|(alias, component)| {
        let plugin = plugins.iter().find(|plugin| plugin.digest() == component.digest)?;
        Some((alias, pipeline.plugins.get(alias)?, plugin.as_ref()))
    });
    let vouched = Vouched::of(loaded, &root, &policies, &store.seen()?, output)?;
    permit(&policies, &vouched, &spec, &recovered, &plugins)?;
    let secrets = secrets::read(&pipeline, &root, output)?;
    let executor = HostExecutor::new(host.clone(), plugins.iter().cloned(), store.clone());
    let runtime = &machine.runtime;
    mend::mend(&Mend { store: &store, found: &found, spec: &spec, recovered: &recovered, runtime, output }, executor)?;
    let taken = taken(&spec, &Of::Resumed(&recovered), &store, &args.drive)?;
    let going = Going {
        args: &args.drive,
        output,
        options: options(args.state.state.as_deref(), args.state.root.as_deref()),
        root,
        pipeline,
        plugins,
        secrets,
        store,
        host,
        allowed,
        policies,
        selection: spec.selection.clone(),
        attesting,
    };
    going.drive(machine, Begin { spec, taken, after: Some((recovered, records)) })
}

/// Holds what is left to do against the policies in force today, whatever was in force when the run began.
fn permit(
    policies: &Policies,
    vouched: &Vouched,
    spec: &RunSpec,
    recovered: &Recovered,
    plugins: &[Arc<Plugin>],
) -> Result<(), CliError> {
    let state = mend::resumed(spec, recovered);
    let left =
        |index: &usize| state.role(*index) == Role::Runs && !matches!(state.state(*index), NodeState::Finished { .. });
    let nodes = &spec.pipeline.nodes;
    let open: Vec<_> = (0..nodes.len()).filter(left).map(|index| &nodes[index]).collect();
    let known = spec.components.iter().filter_map(|(alias, component)| {
        let plugin = plugins.iter().find(|plugin| plugin.digest() == component.digest)?;
        Some((alias.clone(), vouched.complete(alias, policies.known(plugin))))
    });
    let what = format!("resume run `{}`", spec.run);
    if let Some((alias, lowered)) = vouched.lowered().next() {
        let error = anyhow::anyhow!("plugin `{alias}`: {lowered}").context(what);
        return Err(CliError::new(Exit::Refused, error).hint(Vouched::accept_lowered(lowered)));
    }
    policies.permit_recorded(&what, &spec.pipeline, &open, &known.collect())
}

/// Whether there is anything left to do, and this engine can do it.
fn check(found: &PastRun) -> Result<(), CliError> {
    let run = &found.summary.id;
    if let Some((Status::Succeeded, _)) = found.state.over() {
        return Err(CliError::new(
            Exit::Wrong,
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
        return Err(CliError::new(Exit::Wrong, error).hint("finish it with that version, or run the pipeline again"));
    }
    Ok(())
}

fn damaged(error: impl Into<anyhow::Error>) -> CliError {
    CliError::new(Exit::Infrastructure, error).context("read the run out of the journal")
}

fn graph(pipeline: &Pipeline) -> Result<Arc<Graph>, CliError> {
    Graph::new(pipeline).map(Arc::new).map_err(damaged)
}

/// Says what to assume of every effect in doubt.
fn assumed(store: &Store, found: &PastRun, assume: Assume) -> Result<(), CliError> {
    let signal = match assume {
        Assume::Done => Signal::AssumeDone,
        Assume::Repeat => Signal::AssumeRepeat,
    };
    let by = user().unwrap_or_else(|| "resume".to_owned());
    let doubted = found.pipeline.nodes.iter().enumerate().filter(|(index, _)| found.state.is_in_doubt(*index));
    let events: Vec<_> = doubted
        .map(|(_, node)| Event::Signalled { node: Some(node.id.clone()), signal, by: by.clone(), comment: None })
        .collect();
    if events.is_empty() {
        let error = anyhow::anyhow!("assume something of run `{}`: no effect of it is in doubt", found.summary.id);
        return Err(CliError::new(Exit::Wrong, error).hint("leave `--assume` away"));
    }
    store.append(&found.summary.id, SystemClock::default().now_ms(), &events)?;
    Ok(())
}

/// What the run depends on, as its first record has it.
fn spec(found: &PastRun, records: &[Record], graph: Arc<Graph>) -> Result<RunSpec, CliError> {
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

/// Where exports go and inputs came from: what `--root` says, else where the run began, else beside the state directory.
fn root(args: &ResumeArgs, spec: &RunSpec, state: &Path) -> PathBuf {
    let began = spec.root.as_ref().map(PathBuf::from).filter(|root| root.is_dir());
    let beside = || state.parent().unwrap_or(Path::new(".")).to_owned();
    args.state.root.clone().or(began).unwrap_or_else(beside)
}

/// Says which inputs are not on the disk as the run has them. It goes on with what it has.
fn name_changes(store: &Store, spec: &RunSpec, root: &Path, output: &Output) {
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
        output.warning(&format!(
            "input `{what}` changed since the run began ({changed}); the run keeps what it began with"
        ));
    }
}
