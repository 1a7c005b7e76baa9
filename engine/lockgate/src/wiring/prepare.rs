//! From a checked pipeline to a run: its snapshots, and everything else that it depends on.

use std::path::PathBuf;

use lockgate_model::RunId;
use lockgate_model::event::{Component, Source};
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::pipeline::{InputSource, Pipeline};
use lockgate_runner::RunSpec;
use lockgate_store::Store;

use crate::error::{Class, snapshot_class};
use crate::wiring::load::{Loaded, Ready, host_sources};
use crate::wiring::text::one_line;

/// Everything that a run of a pipeline depends on.
pub fn run_spec(
    loaded: &Loaded,
    ready: &Ready,
    run: RunId,
    sources: Vec<Source>,
    logical_time: Option<u64>,
) -> RunSpec {
    let component = |plugin: &lockgate_host::Plugin| {
        let manifest = plugin.manifest();
        let name = format!("{} {}", manifest.name, manifest.version);
        Component { digest: plugin.digest(), name, reads_time: manifest.reads_time }
    };
    let plugins = loaded.plugins.iter().map(|(alias, plugin)| (alias.clone(), component(plugin)));
    let natives = loaded.natives.iter().map(|(alias, native)| (alias.clone(), native.component()));
    RunSpec {
        run,
        pipeline: ready.pipeline.clone(),
        graph: ready.graph.clone(),
        file: loaded.name.clone(),
        root: loaded.root.to_str().map(str::to_owned),
        components: plugins.chain(natives).collect(),
        sources,
        logical_time: logical_time.unwrap_or(DEFAULT_LOGICAL_TIME),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        determinism: lockgate_host::determinism(),
        selection: None,
        commit: None,
        policies: Vec::new(),
    }
}

/// Takes the snapshots of everything that the pipeline reads of the host. Every problem is kept; the worst class is given.
pub fn snapshots(loaded: &mut Loaded, pipeline: &Pipeline, store: &Store) -> Result<Vec<Source>, Class> {
    let leave_out: Vec<PathBuf> = pipeline.exports.iter().map(|export| PathBuf::from(&export.to)).collect();
    let mut sources = Vec::new();
    let mut worst = None;
    for source in host_sources(pipeline) {
        let taken = match &source {
            InputSource::Dir(spec) => store.snapshot(&loaded.root, spec, &leave_out),
            InputSource::File { path } => store.snapshot_file(&loaded.root, path),
            InputSource::Output { .. } | InputSource::Input { .. } => continue,
        };
        match taken {
            Ok(artifact) => sources.push(Source { source, artifact }),
            Err(error) => {
                let class = snapshot_class(&error);
                worst = Some(if worst == Some(Class::Infrastructure) { Class::Infrastructure } else { class });
                let problem = loaded.parsed.source_problem(&source, format!("failed to {}", one_line(&error)), None);
                loaded.problems.push(problem);
            }
        }
    }
    worst.map_or(Ok(sources), Err)
}
