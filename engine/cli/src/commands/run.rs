//! `lockgate run`: check, take the snapshots, drive, export, sum up.

use std::collections::HashMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_host::{CodeCache, Host};
use lockgate_model::event::{Component, Event, Source};
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{InputSource, Pipeline};
use lockgate_model::{Digest, RunId};
use lockgate_runner::{
    Clock as _, DriveError, DriveOptions, Interrupt, RunReport, RunSpec, Surroundings, SystemClock, drive,
};
use lockgate_store::Store;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::export::{Outcome, export, refused_export};
use super::{Ended, report_problems};
use crate::args::{RunArgs, RunFormat};
use crate::executor::{HostExecutor, StoreBlobs, StoreCode, StoreJournal};
use crate::exit::{CliError, Exit, one_line, snapshot_exit};
use crate::load::{self, Loaded, Ready, host_sources};
use crate::past;
use crate::place;
use crate::render::findings::SourceDirs;
use crate::render::json::Export;
use crate::render::output::Output;
use crate::render::summary::{Summary, result_line};
use crate::render::watch::{Printer, Seen};
use crate::render::{github, json, step_summary};

/// The most threads of the runtime. Guests yield, so more threads than cores only serve calls that wait for a disk.
const MAX_THREADS: usize = 64;

/// Runs a pipeline.
pub(crate) fn run(args: &RunArgs, output: &Output) -> Ended {
    args.reports.check()?;
    let given = args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize));
    let jobs = given.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
    let runtime = runtime(jobs.get())?;
    let interrupt = Interrupt::default();
    let driving = Arc::new(AtomicBool::new(false));
    watch_signals(&runtime, interrupt.clone(), driving.clone())?;

    let mut loaded = load::read(&args.file)?;
    let store = Store::open(&place::state_of_file(&args.file, &loaded.root))?;
    let store = if args.verify { store.thorough() } else { store };
    let host = load::host(jobs.get())?;
    let code: Arc<dyn CodeCache> = Arc::new(StoreCode(store.clone()));
    loaded.check(&host, &code);
    let Some(ready) = loaded.ready() else { return Ok(report_problems(&loaded, output)) };
    let allowed = allowed_exports(&args.allow_export)?;
    if let Some(error) = refused_export(&ready.pipeline, &allowed) {
        return Err(error);
    }
    let sources = match snapshots(&mut loaded, &ready.pipeline, &store) {
        Ok(sources) => sources,
        Err(exit) => {
            report_problems(&loaded, output);
            return Ok(exit);
        }
    };
    let going = Going { args, output, loaded: &loaded, ready: &ready, store, host, jobs, allowed };
    driving.store(true, Ordering::SeqCst);
    going.drive(&runtime, sources, interrupt)
}

/// Everything that a run needs, once it is known to be right.
struct Going<'a> {
    args: &'a RunArgs,
    output: &'a Output,
    loaded: &'a Loaded,
    ready: &'a Ready,
    store: Store,
    host: Arc<Host>,
    jobs: NonZeroUsize,
    allowed: Vec<PathBuf>,
}

impl Going<'_> {
    fn drive(&self, runtime: &Runtime, sources: Vec<Source>, interrupt: Interrupt) -> Ended {
        let clock = Arc::new(SystemClock::default());
        let run = lockgate_runner::run_id(clock.now_ms(), lockgate_runner::entropy());
        let plugins = self.loaded.plugins.values().cloned();
        let executor = Arc::new(HostExecutor::new(self.host.clone(), plugins, self.store.clone()));
        let options = DriveOptions { jobs: self.jobs, fail_fast: self.args.fail_fast, stay: 0 };
        let spec = run_spec(self.loaded, self.ready, run.clone(), sources, self.args.logical_time);
        let blobs = StoreBlobs(self.store.clone());
        let (result, seen) = std::thread::scope(|scope| {
            let pipeline = &*self.ready.pipeline;
            let (printer, watcher) =
                Printer::start(scope, self.output, self.args.format, run.clone(), pipeline, &blobs);
            let surroundings = Surroundings {
                journal: Arc::new(StoreJournal(self.store.clone())),
                blobs: Arc::new(StoreBlobs(self.store.clone())),
                cache: (!self.args.no_cache).then(|| Arc::new(self.store.clone()) as _),
                observer: Arc::new(watcher),
                clock: clock.clone(),
                interrupt,
            };
            let result = runtime.block_on(drive(spec, executor, surroundings, options));
            (result, printer.end())
        });
        self.finish(&run, result, seen, clock.now_ms())
    }

    /// Exports, and prints the end.
    fn finish(&self, run: &RunId, result: Result<RunReport, DriveError>, mut seen: Seen, now: u64) -> Ended {
        let order: HashMap<_, _> =
            self.ready.pipeline.nodes.iter().enumerate().map(|(i, node)| (&node.id, i)).collect();
        seen.ended.sort_by_key(|node| order.get(&node.receipt.node));
        let dirs = SourceDirs::new(&self.ready.pipeline);
        for node in seen.ended.iter_mut().filter(|node| node.receipt.findings.is_some()) {
            node.dir = dirs.of(&node.receipt.node);
        }
        let (status, digest, mut exit, exports, broken) = match result {
            Ok(report) => {
                let exports = if report.status == Status::Succeeded { self.export(&report) } else { Vec::new() };
                let failed = exports.iter().any(|export| export.error.is_some());
                let exit = if failed { Exit::Infrastructure } else { report.exit.into() };
                (report.status, report.digest, exit, exports, None)
            }
            Err(error) => (Status::Errored, None, Exit::Infrastructure, Vec::new(), Some(error)),
        };
        match self.args.format {
            RunFormat::Json => {
                for Outcome { from, to, error, .. } in exports.iter().filter(|export| !export.skipped) {
                    let export = match error.as_deref() {
                        Some(error) => Export::ExportFailed { from, to, error },
                        None => Export::Exported { from, to },
                    };
                    self.output.data(&json::exported(run, now, &export));
                }
                let (time, event) = seen.last.unwrap_or((now, Event::RunFinished { status, digest }));
                self.output.data(&json::line(run, time, &event, None));
            }
            RunFormat::Human | RunFormat::Github => {
                self.print_end(run, status, digest, &seen);
                let written = exports.iter().filter(|export| !export.skipped && export.error.is_none());
                self.output.data(&written.map(|export| format!("exported {}\n", export.to)).collect::<String>());
            }
        }
        self.explain_exports(&exports);
        if let Some(error) = broken {
            let error = CliError::from(error)
                .hint(format!("what is in the journal is kept: lockgate show {run}{}", self.options()));
            exit = error.exit;
            self.output.note(&error.render(self.output.err));
        }
        if let Err(error) = self.report(run) {
            self.output.note(&error.render(self.output.err));
            exit = if exit == Exit::Succeeded { error.exit } else { exit };
        }
        Ok(exit)
    }

    /// Writes the reports that were asked for, and the summary of a job.
    fn report(&self, run: &RunId) -> Result<(), CliError> {
        let step_summary = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        let step_summary = step_summary.filter(|_| self.args.format == RunFormat::Github);
        if !self.args.reports.any() && step_summary.is_none() {
            return Ok(());
        }
        let past = past::find(&self.store, run.as_str())?;
        let blobs = StoreBlobs(self.store.clone());
        let summed_up = step_summary.map_or(Ok(()), |path| {
            let text = step_summary::summary(&past, &blobs, &self.options());
            let append = std::fs::OpenOptions::new().append(true).create(true).open(&path);
            append.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
                let path = Path::new(&path).display().to_string();
                CliError::new(Exit::Infrastructure, error).context(format!("append the summary of the job to `{path}`"))
            })
        });
        self.args.reports.write(&past, &blobs)?;
        summed_up
    }

    fn export(&self, report: &RunReport) -> Vec<Outcome> {
        export(&self.store, &self.ready.pipeline, &report.state, &self.loaded.root, &self.allowed)
    }

    /// What was not written, and why; at the very end, where it is seen.
    fn explain_exports(&self, exports: &[Outcome]) {
        let style = self.output.err;
        for Outcome { from, to, error, skipped } in exports {
            match error {
                Some(error) => {
                    let text =
                        format!("{} not written: `{to}` (from `{from}`): failed to {error}\n", style.bad("error:"));
                    self.output.note(&text);
                }
                None if *skipped && !self.output.quiet => {
                    self.output.note(&style.dim(&format!("not exported: `{from}` was not made\n")));
                }
                None => {}
            }
        }
    }

    fn print_end(&self, run: &RunId, status: Status, digest: Option<Digest>, seen: &Seen) {
        let blobs = StoreBlobs(self.store.clone());
        let (start, end) = seen.span.unwrap_or_default();
        let micros = end.saturating_sub(start) * 1_000;
        if self.args.format == RunFormat::Github {
            // The groups have explained everything.
            self.output.data(&github::end(&seen.ended, self.ready.graph.len(), status, micros));
            self.output.data(&result_line(run, status, digest));
            return;
        }
        let options = self.options();
        let summary =
            Summary { run, status, ended: &seen.ended, nodes: self.ready.graph.len(), micros, options: &options };
        self.output.note(&summary.render(&blobs, self.output.err, self.output.quiet, self.output.verbose));
        self.output.data(&result_line(run, status, digest));
    }

    /// Options with which `show` and `logs` find the run again.
    fn options(&self) -> String {
        match (&self.args.file.state, &self.args.file.root) {
            (Some(state), _) => format!(" --state {}", state.display()),
            (None, Some(root)) => format!(" --root {}", root.display()),
            (None, None) => String::new(),
        }
    }
}

/// Everything that a run of a pipeline depends on.
pub(crate) fn run_spec(
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
    RunSpec {
        run,
        pipeline: ready.pipeline.clone(),
        graph: ready.graph.clone(),
        file: loaded.name.clone(),
        root: loaded.root.to_str().map(str::to_owned),
        components: loaded.plugins.iter().map(|(alias, plugin)| (alias.clone(), component(plugin))).collect(),
        sources,
        logical_time: logical_time.unwrap_or(DEFAULT_LOGICAL_TIME),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        determinism: lockgate_host::determinism(),
    }
}

/// Takes the snapshots of everything that the pipeline reads of the host. Every problem is kept; the worst exit code is given.
pub(crate) fn snapshots(loaded: &mut Loaded, pipeline: &Pipeline, store: &Store) -> Result<Vec<Source>, Exit> {
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
                let exit = snapshot_exit(&error);
                worst = Some(if worst == Some(Exit::Infrastructure) { Exit::Infrastructure } else { exit });
                let problem = loaded.parsed.source_problem(&source, format!("failed to {}", one_line(&error)), None);
                loaded.problems.push(problem);
            }
        }
    }
    worst.map_or(Ok(sources), Err)
}

/// Directories that `--allow-export` names, absolute; those that do not exist yet too.
fn allowed_exports(given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let absolute = |dir: &PathBuf| std::path::absolute(Path::new(dir));
    given
        .iter()
        .map(absolute)
        .collect::<Result<_, _>>()
        .map_err(|error| CliError::new(Exit::Wrong, error).context("use a directory of `--allow-export`"))
}

fn runtime(jobs: usize) -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(jobs.clamp(2, MAX_THREADS))
        .thread_name("lockgate")
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("start the threads of the engine"))
}

/// The first interrupt stops a run cleanly, the second ends the engine at once; so does the first while nothing runs yet.
fn watch_signals(runtime: &Runtime, interrupt: Interrupt, driving: Arc<AtomicBool>) -> Result<(), CliError> {
    let failed = |error| CliError::new(Exit::Infrastructure, error).context("watch for interrupts");
    let _guard = runtime.enter();
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if interrupt.is_raised() || !driving.load(Ordering::SeqCst) {
                // The journal only ever changes in whole transactions, so there is nothing to put in order.
                process::exit(Exit::Interrupted.code().into());
            }
            interrupt.raise();
        }
    });
    Ok(())
}
