//! `lockgate run`: check, take the snapshots, drive, export, sum up.

use std::collections::HashMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate::wiring::child::ChildExecutor;
use lockgate::wiring::components;
use lockgate::wiring::executor::{HostExecutor, StoreBlobs, StoreCode};
use lockgate::wiring::export::{Outcome, export, refused_export};
use lockgate::wiring::group;
use lockgate::wiring::policy::Policies;
use lockgate::wiring::prepare::{run_spec, snapshots};
use lockgate::wiring::registry::Finder;
use lockgate::wiring::secrets;
use lockgate_host::{CodeCache, Host, Plugin, Secrets};
use lockgate_model::event::{Commit, Event, Selection};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::ExitClass;
use lockgate_model::{Digest, RunId};
use lockgate_runner::{
    Clock as _, DriveError, DriveOptions, Interrupt, Recovered, RunReport, RunSpec, Surroundings, SystemClock, Taken,
    drive, resume,
};
use lockgate_store::{Hold, Record, Store};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::attest::Attesting;
use super::show::to_go_on;
use super::{Ended, helper, host, report_problems};
use crate::args::{DriveArgs, RunArgs, RunFormat};
use crate::exit::{CliError, Exit};
use crate::forecast::{Forecast, Of};
use crate::part::selection;
use crate::past;
use crate::place;
use crate::render::findings::SourceDirs;
use crate::render::json::Export;
use crate::render::output::Output;
use crate::render::summary::{Summary, result_line};
use crate::render::watch::{Printer, Seen};
use crate::render::{github, json, step_summary};
use crate::telemetry::{Telemetry, Trace};
use lockgate::wiring::trust;

/// The most threads of the runtime. Guests yield, so more threads than cores only serve calls that wait for a disk.
const MAX_THREADS: usize = 64;

/// Runs a pipeline.
pub(crate) fn run(args: &RunArgs, output: &Output) -> Ended {
    args.drive.reports.check()?;
    let attesting = Attesting::prepare(&args.drive.attest, output)?;
    let machine = Machine::start(&args.drive)?;
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let mut loaded = args.file.read()?;
    let store = Store::open(&place::state_of_file(&args.file, &loaded.root))?;
    let store = if args.drive.verify { store.thorough() } else { store };
    let host = host(machine.jobs.get())?;
    let code: Arc<dyn CodeCache> = Arc::new(StoreCode(store.clone()));
    loaded.check(&host, &code, &Finder::locked(&args.file.file, args.lock.offline));
    trust::look(&mut loaded, &args.file.file, args.lock.mode(), &policies, &store.seen()?, output)?;
    loaded.judge(&policies);
    let Some(ready) = loaded.ready() else { return Ok(report_problems(&loaded, output)) };
    let selection = selection(&args.part, &ready.pipeline)?;
    let allowed = allowed_exports(&args.drive.allow_export)?;
    if let Some(error) = refused_export(&ready.pipeline, &allowed) {
        return Err(error.into());
    }
    let secrets = secrets::read(&ready.pipeline, &loaded.root, output)?;
    let now = SystemClock::default().now_ms();
    let run = lockgate_runner::run_id(now, lockgate_runner::entropy());
    // Before the snapshots: whoever waits for a group wants what is there when it goes on.
    let _holds = match machine.hold(&store, &run, &ready.pipeline, output)? {
        Some(holds) => holds,
        None => return Ok(Exit::Interrupted),
    };
    let sources = match snapshots(&mut loaded, &ready.pipeline, &store) {
        Ok(sources) => sources,
        Err(class) => {
            report_problems(&loaded, output);
            return Ok(class.into());
        }
    };
    let spec = RunSpec {
        selection,
        commit: attesting.as_ref().and_then(|_| commit(&loaded.root)),
        policies: policies.digests(),
        ..run_spec(&loaded, &ready, run, sources, args.logical_time)
    };
    let taken = taken(&spec, &Of::Start, &store, &args.drive)?;
    components::keep(&store, &loaded)?;
    loaded.vouched.remember(&store)?;
    let going = Going {
        args: &args.drive,
        output,
        options: options(args.file.state.as_deref(), args.file.root.as_deref()),
        root: loaded.root.clone(),
        pipeline: ready.pipeline.clone(),
        plugins: loaded.plugins.values().cloned().collect(),
        secrets,
        store,
        host,
        allowed,
        policies,
        selection: spec.selection.clone(),
        attesting,
    };
    // The places of everything in the file: nobody asks for them any more, and they are as large as the pipeline.
    drop((loaded, ready));
    going.drive(machine, Begin { spec, taken, after: None })
}

/// What the nodes get that a run of a part does not select, all of it found before anything runs.
pub(super) fn taken(spec: &RunSpec, of: &Of<'_>, store: &Store, args: &DriveArgs) -> Result<Taken, CliError> {
    if spec.selection.is_none() {
        return Ok(Taken::default());
    }
    Forecast::new(spec.clone(), of, store, args.no_cache || args.check_cache || args.check_determinism)?.taken()
}

/// Options with which `show`, `logs` and `resume` find a run again.
pub(super) fn options(state: Option<&Path>, root: Option<&Path>) -> String {
    match (state, root) {
        (Some(state), _) => format!(" --state {}", state.display()),
        (None, Some(root)) => format!(" --root {}", root.display()),
        (None, None) => String::new(),
    }
}

/// What a run is driven on: threads, and who may stop it.
pub(super) struct Machine {
    pub(super) jobs: NonZeroUsize,
    pub(super) runtime: Runtime,
    pub(super) interrupt: Interrupt,
    /// Whether an interrupt stops the run first, and the engine only the second time.
    pub(super) driving: Arc<AtomicBool>,
}

impl Machine {
    pub(super) fn start(args: &DriveArgs) -> Result<Self, CliError> {
        let given = args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize));
        let jobs = given.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let runtime = runtime(jobs.get())?;
        let (interrupt, driving) = (Interrupt::default(), Arc::new(AtomicBool::new(false)));
        watch_signals(&runtime, interrupt.clone(), driving.clone())?;
        Ok(Self { jobs, runtime, interrupt, driving })
    }

    /// Takes a run, and the group that its pipeline names, for this process; waits for the group. None: interrupted meanwhile.
    pub(super) fn hold(
        &self,
        store: &Store,
        run: &RunId,
        pipeline: &Pipeline,
        output: &Output,
    ) -> Result<Option<(Hold, Option<Hold>)>, CliError> {
        let Some(own) = store.hold_run(run)? else {
            let error = anyhow::anyhow!("drive run `{run}`: another process does");
            return Err(CliError::new(Exit::Wrong, error).hint("watch it there, or stop it: lockgate cancel"));
        };
        self.driving.store(true, Ordering::SeqCst);
        let Some(concurrency) = &pipeline.concurrency else { return Ok(Some((own, None))) };
        let held = self.runtime.block_on(group::hold(store, run, concurrency, &self.interrupt, output))?;
        Ok(held.map(|group| (own, Some(group))))
    }
}

/// A run, and what it goes on from if another process began it: its state, and the number of its last record.
pub(super) struct Begin {
    pub(super) spec: RunSpec,
    pub(super) taken: Taken,
    pub(super) after: Option<(Recovered, Vec<Record>)>,
}

/// Everything that a run needs, once it is known to be right.
pub(super) struct Going<'a> {
    pub(super) args: &'a DriveArgs,
    pub(super) output: &'a Output,
    pub(super) options: String,
    pub(super) root: PathBuf,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) plugins: Vec<Arc<Plugin>>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) store: Store,
    pub(super) host: Arc<Host>,
    pub(super) allowed: Vec<PathBuf>,
    pub(super) policies: Policies,
    pub(super) selection: Option<Selection>,
    pub(super) attesting: Option<Attesting>,
}

impl Going<'_> {
    pub(super) fn drive(&self, machine: Machine, begin: Begin) -> Ended {
        let Machine { jobs, runtime, interrupt, .. } = machine;
        let Begin { spec, taken, after } = begin;
        let clock = Arc::new(SystemClock::default());
        let run = spec.run.clone();
        let before = after.as_ref().map(|(_, records)| records.as_slice()).unwrap_or_default();
        let told = before.iter().map(|record| (record.time_ms, &record.event));
        let telemetry = Telemetry::start(&runtime, &run, &self.pipeline, told);
        let of = json::Line { run: run.clone(), trace: telemetry.trace().map(Trace::id) };
        of.trace.into_iter().for_each(|trace| self.output.trace(trace));
        telemetry.problems().iter().for_each(|problem| self.output.warning(problem));
        let helper = helper()?;
        let executor = HostExecutor::new(self.host.clone(), self.plugins.iter().cloned(), self.store.clone());
        let executor = executor.under(self.policies.guard(&self.pipeline.secrets)).with_secrets(self.secrets.clone());
        let executor = Arc::new(executor.traced(telemetry.trace().map(Trace::parents)));
        self.warn_of_missing_confinement();
        let options = DriveOptions {
            jobs,
            fail_fast: self.args.fail_fast,
            stay: self.args.wait.0,
            check_determinism: self.args.check_determinism,
            check_cache: self.args.check_cache,
        };
        let blobs = StoreBlobs(self.store.clone());
        let (result, seen) = std::thread::scope(|scope| {
            let (printer, watcher) =
                Printer::start(scope, self.output, self.args.format, of.clone(), &self.pipeline, &blobs);
            let surroundings = Surroundings {
                journal: Arc::new(self.store.clone()),
                blobs: Arc::new(StoreBlobs(self.store.clone())),
                cache: (!self.args.no_cache).then(|| Arc::new(self.store.clone()) as _),
                taken,
                observer: telemetry.observe(Arc::new(watcher)),
                clock: clock.clone(),
                interrupt,
                again: Some(Arc::new(ChildExecutor::new(self.store.clone(), helper))),
            };
            let result = match after {
                None => runtime.block_on(drive(spec, executor, surroundings, options)),
                Some((recovered, records)) => {
                    let heard = records.last().map_or(0, |record| record.seq);
                    runtime.block_on(resume(spec, recovered, heard, executor, surroundings, options))
                }
            };
            (result, printer.end())
        });
        let ended = self.finish(&of, result, seen, clock.now_ms());
        // Last: it may take a moment, and what the run gave is known by now.
        telemetry.finish(&runtime).into_iter().for_each(|lost| self.output.warning(&lost));
        ended
    }

    /// Says what this system cannot enforce of what programs are kept from.
    fn warn_of_missing_confinement(&self) {
        let programs = || self.pipeline.nodes.iter().flat_map(|node| &node.grants.process);
        if programs().next().is_none() {
            return;
        }
        let support = lockgate_host::support();
        if !support.files {
            self.output.warning(
                "programs are not confined to their files: this system has no Landlock (see `lockgate doctor`)",
            );
        } else if !support.network && programs().any(|grant| !grant.network) {
            self.output.warning(
                "programs are not kept from the network: this kernel's Landlock is too old (see `lockgate doctor`)",
            );
        }
    }

    /// Exports, and prints the end.
    fn finish(&self, of: &json::Line, result: Result<RunReport, DriveError>, mut seen: Seen, now: u64) -> Ended {
        let run = &of.run;
        let order: HashMap<_, _> = self.pipeline.nodes.iter().enumerate().map(|(i, node)| (&node.id, i)).collect();
        seen.ended.sort_by_cached_key(|node| order.get(&node.receipt.node).copied());
        let dirs = SourceDirs::new(&self.pipeline);
        for node in seen.ended.iter_mut().filter(|node| node.receipt.findings.is_some()) {
            node.dir = dirs.of(&node.receipt.node);
        }
        let finished = result.as_ref().map_or(0, |report| report.counts.finished());
        let before = finished.saturating_sub(seen.ended.len());
        let (status, digest, mut exit, exports, broken) = match result {
            Ok(report) => {
                let succeeded = report.exit == ExitClass::Succeeded;
                let exports = if succeeded { self.export(&report) } else { Vec::new() };
                let failed = exports.iter().any(|export| export.error.is_some());
                let exit = if failed { Exit::Infrastructure } else { report.exit.into() };
                let (status, digest) = (report.status, report.digest);
                // The process ends now: what is as large as the pipeline is not given back piece by piece, nor the memory of guests, which
                // takes milliseconds while there are other threads.
                std::mem::forget((report, self.pipeline.clone(), self.host.clone()));
                (status, digest, exit, exports, None)
            }
            Err(error) => (Status::Errored, None, Exit::Infrastructure, Vec::new(), Some(error)),
        };
        match self.args.format {
            RunFormat::Json => {
                for Outcome { from, to, error, .. } in exports.iter().filter(|export| export.skipped.is_none()) {
                    let export = match error.as_deref() {
                        Some(error) => Export::ExportFailed { from, to, error },
                        None => Export::Exported { from, to },
                    };
                    self.output.data(&json::exported(of, now, &export));
                }
                // A run that waits is not over: `run-waiting` was its last line.
                if exit != Exit::Waiting {
                    let (time, event) = seen.last.unwrap_or((now, Event::RunFinished { status, digest }));
                    self.output.data(&json::line(of, time, &event, None));
                }
            }
            RunFormat::Human | RunFormat::Github => {
                self.print_end(run, (exit, status), digest, &seen, before);
                let written = exports.iter().filter(|export| export.skipped.is_none() && export.error.is_none());
                self.output.data(&written.map(|export| format!("exported {}\n", export.to)).collect::<String>());
            }
        }
        self.explain_exports(&exports);
        let stopped = matches!(exit, Exit::Waiting | Exit::Interrupted | Exit::Failed) || status == Status::Errored;
        if stopped && !self.output.quiet {
            // What the journal cannot tell any more is no reason to say nothing.
            let text = match past::find(&self.store, run.as_str()) {
                Ok(past) if exit == Exit::Waiting => to_go_on(&past, &self.options),
                _ => format!("to go on: lockgate resume {run}{}\n", self.options),
            };
            self.output.note(&self.output.err.dim(&text));
        }
        if let Some(error) = broken {
            let error = CliError::from(error)
                .hint(format!("what is in the journal is kept: lockgate show {run}{}", self.options));
            exit = error.exit;
            self.output.error(&error);
        }
        if let Some(attesting) = self.attesting.as_ref().filter(|_| exit == Exit::Succeeded) {
            let written = past::find(&self.store, run.as_str()).and_then(|past| attesting.write(&past, self.output));
            if let Err(error) = written {
                self.output.note(&error.render(self.output.err));
                exit = error.exit;
            }
        }
        if let Err(error) = self.report(run) {
            self.output.note(&error.render(self.output.err));
            exit = if exit == Exit::Succeeded { error.exit } else { exit };
        }
        std::mem::forget(seen.ended);
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
            let text = step_summary::summary(&past, &blobs, &self.options);
            let append = std::fs::OpenOptions::new().append(true).create(true).open(&path);
            append.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
                let path = Path::new(&path).display().to_string();
                CliError::new(Exit::Infrastructure, error).context(format!("append the summary of the job to `{path}`"))
            })
        });
        self.args.reports.write(&past, &self.store)?;
        summed_up
    }

    fn export(&self, report: &RunReport) -> Vec<Outcome> {
        export(&self.store, &self.pipeline, &report.state, &self.root, &self.allowed)
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
                None => {
                    if let Some(why) = skipped.filter(|_| !self.output.quiet) {
                        self.output.note(&style.dim(&format!("not exported: `{from}` {why}\n")));
                    }
                }
            }
        }
    }

    /// `before` is how many nodes ended before the run was resumed.
    fn print_end(
        &self,
        run: &RunId,
        (exit, status): (Exit, Status),
        digest: Option<Digest>,
        seen: &Seen,
        before: usize,
    ) {
        let blobs = StoreBlobs(self.store.clone());
        let (start, end) = seen.span.unwrap_or_default();
        let micros = end.saturating_sub(start) * 1_000;
        let word = if exit == Exit::Waiting { "waiting" } else { status.name() };
        if self.args.format == RunFormat::Github {
            // The groups have explained everything.
            self.output.data(&github::end(&seen.ended, self.pipeline.nodes.len(), before, status, micros));
            if let Some(part) = &self.selection {
                self.output.data(&format!("part of the pipeline: {part}; it has no run digest\n"));
            }
            self.output.data(&result_line(run, word, digest));
            return;
        }
        let summary = Summary {
            run,
            status,
            part: self.selection.as_ref(),
            waits: exit == Exit::Waiting,
            ended: &seen.ended,
            nodes: self.pipeline.nodes.len(),
            before,
            micros,
            options: &self.options,
        };
        self.output.note(&summary.render(&blobs, self.output.err, self.output.quiet, self.output.verbose));
        self.output.data(&result_line(run, word, digest));
    }
}

/// Git's commit of the root. None: it is in no repository, or git says nothing.
fn commit(root: &Path) -> Option<Commit> {
    let facts = lockgate_store::git_facts(root).ok()?;
    Some(Commit { id: facts.commit, dirty: facts.dirty })
}

/// Directories that `--allow-export` names, absolute; those that do not exist yet too.
pub(super) fn allowed_exports(given: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let absolute = |dir: &PathBuf| std::path::absolute(Path::new(dir));
    given
        .iter()
        .map(absolute)
        .collect::<Result<_, _>>()
        .map_err(|error| CliError::new(Exit::Wrong, error).context("use a directory of `--allow-export`"))
}

pub(super) fn runtime(jobs: usize) -> Result<Runtime, CliError> {
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
