//! `lockgate replay`: executes the nodes of a past run again, offline, from their records, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate::wiring::components::Shelf;
use lockgate::wiring::executor::{HostExecutor, StoreBlobs, StoreCode};
use lockgate::wiring::load;
use lockgate_host::CodeCache;
use lockgate_model::Digest;
use lockgate_model::event::Event;
use lockgate_model::pipeline::PIPELINE_DOMAIN;
use lockgate_runner::{Past, Replayed, Replayer};
use lockgate_store::{BundleLimits, Store};
use tempfile::TempDir;

use super::Ended;
use crate::args::{Format, ReplayArgs, StateArgs};
use crate::exit::{CliError, Exit};
use crate::past::{self, PastRun};
use crate::place;
use crate::render::output::Output;
use crate::render::replay::{self as render, Tally};

/// Where the run is: the state directory of this place, or a bundle that was unpacked.
struct Source {
    store: Store,
    run: PastRun,
    cache: Arc<dyn CodeCache>,
    root: Option<PathBuf>,
    /// Deleted at the end.
    _unpacked: Option<TempDir>,
}

/// Replays a run, or one node of it.
pub(crate) fn replay(args: &ReplayArgs, output: &Output) -> Ended {
    let source = open(args)?;
    let run = &source.run;
    let chosen = args.node.as_deref().map(|node| run.node(node)).transpose()?;
    check_pipeline(&source.store, run)?;
    let events = run.records.iter().map(|record| &record.event);
    let past = Past::new(run.summary.id.clone(), run.state.clone(), events)?;
    let nodes: Vec<usize> = match &chosen {
        Some(node) => run.state.position(node.as_str()).into_iter().collect(),
        None => (0..run.pipeline.nodes.len()).collect(),
    };
    if let (Some(node), Some(left)) = (&chosen, nodes.first().and_then(|node| past.left(*node))) {
        return Err(CliError::new(Exit::Wrong, anyhow::anyhow!("replay node `{node}`: {}", left.reason())));
    }

    let jobs = args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize));
    let jobs = jobs.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let determinism = lockgate_host::determinism();
    let same_engine = past.is_of(env!("CARGO_PKG_VERSION"), &determinism);
    if !same_engine {
        output.note(&render::other_engine(&past, &determinism, output.err));
    }
    let executor = executor(&source, &past, &nodes, jobs)?;
    let runtime = super::run::runtime(jobs.get())?;
    let blobs = Arc::new(StoreBlobs(source.store.clone()));
    let replayer = Replayer { past: Arc::new(past), executor: Arc::new(executor), blobs, same_engine };
    let mut ended: BTreeMap<usize, Replayed> = BTreeMap::new();
    runtime.block_on(replayer.all(&nodes, jobs, |node, replayed| drop(ended.insert(node, replayed))));

    let mut tally = Tally::default();
    for (node, replayed) in &ended {
        tally.take(replayed);
        let node = &run.pipeline.nodes[*node].id;
        output.data(&match args.format {
            Format::Human => render::node(node, replayed, output),
            Format::Json => render::node_line(&run.summary.id, node, replayed),
        });
    }
    match args.format {
        Format::Human => output.data(&render::end(run, &tally, output.out)),
        Format::Json => output.data(&render::end_line(run, &tally, same_engine)),
    }
    Ok(tally.exit())
}

fn open(args: &ReplayArgs) -> Result<Source, CliError> {
    let Some(path) = bundle(&args.run) else {
        let store = place::open_existing(&args.state)?;
        let run = past::find(&store, &args.run)?;
        let root = root(&args.state, &store, &run);
        return Ok(Source { cache: Arc::new(StoreCode(store.clone())), store, run, root, _unpacked: None });
    };
    let shown = path.display().to_string();
    let file = File::open(path)
        .map_err(|error| CliError::new(Exit::Wrong, error).context(format!("open the bundle `{shown}`")))?;
    let unpacked = tempfile::tempdir()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("make a temporary directory"))?;
    let store = Store::open(&unpacked.path().join("state"))?;
    let taken = store.read_bundle(file, BundleLimits::default());
    let id = taken.map_err(|error| CliError::from(error).context(format!("read the bundle `{shown}`")))?;
    let run = past::find(&store, id.as_str()).map_err(|mut error| {
        // Records that are no legal run are the bundle's fault, not the disk's.
        error.exit = Exit::Refused;
        error.context(format!("accept the bundle `{shown}`"))
    })?;
    // Compiled code is kept where one is, if one is somewhere: the next replay is faster.
    let here = place::state_here(&StateArgs { root: args.state.root.clone(), state: args.state.state.clone() })?;
    let cache = load::code_cache(if here.is_dir() { &here } else { store.dir() });
    Ok(Source { store, run, cache, root: None, _unpacked: Some(unpacked) })
}

/// The root that the run's paths are relative to: `--root`, else what the run recorded, else where the state directory lies.
pub(super) fn root(args: &StateArgs, store: &Store, run: &PastRun) -> Option<PathBuf> {
    let recorded = run.records.first().and_then(|record| match &record.event {
        Event::RunStarted { root, .. } => root.as_ref().map(PathBuf::from),
        _ => None,
    });
    args.root.clone().or(recorded).or_else(|| store.dir().parent().map(Path::to_owned))
}

/// A path, where the text cannot be the id of a run: those hold neither dots nor slashes.
fn bundle(text: &str) -> Option<&Path> {
    text.contains(['.', '/']).then(|| Path::new(text))
}

/// The pipeline has the digest that the run's digest is made of.
fn check_pipeline(store: &Store, run: &PastRun) -> Result<(), CliError> {
    let Some(Event::RunStarted { pipeline, pipeline_digest, .. }) = run.records.first().map(|record| &record.event)
    else {
        return Ok(());
    };
    let bytes = store.read_blob(&pipeline.digest, past::MAX_PIPELINE)?;
    let found = Digest::tagged(PIPELINE_DOMAIN, &bytes);
    if found == *pipeline_digest {
        return Ok(());
    }
    let error = anyhow::anyhow!(
        "use the record of run `{}`: its pipeline has the digest {found}, not {pipeline_digest}",
        run.summary.id
    );
    Err(CliError::new(Exit::Infrastructure, error))
}

/// An executor with the components that the nodes need.
fn executor(source: &Source, past: &Past, nodes: &[usize], jobs: NonZeroUsize) -> Result<HostExecutor, CliError> {
    let host = super::host(jobs.get())?;
    let pipeline = &source.run.pipeline;
    let shelf = Shelf { store: &source.store, root: source.root.as_deref(), sources: &pipeline.plugins };
    let wanted: BTreeSet<_> = nodes
        .iter()
        .filter(|node| past.left(**node).is_none())
        .filter_map(|node| pipeline.nodes[*node].plugin.as_ref())
        .collect();
    let mut plugins = BTreeMap::new();
    for (alias, component) in past.spec().components.iter().filter(|(alias, _)| wanted.contains(alias)) {
        if let std::collections::btree_map::Entry::Vacant(vacant) = plugins.entry(component.digest) {
            vacant.insert(shelf.load(alias, component, &host, &source.cache)?);
        }
    }
    Ok(HostExecutor::new(host, plugins.into_values(), source.store.clone()))
}
