//! What runs pipelines: built once, shared by all runs of a program.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lockgate_host::{CodeCache, Host};
use lockgate_model::event::Signal;
use lockgate_runner::{
    Clock as _, DriveOptions, Executor, Interrupt, Recovered, Replayed, RunSpec, Surroundings, SystemClock, drive,
    resume,
};
use lockgate_store::{Record, Store};
use lockgate_syntax::Problem as Found;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::builder::Pipeline;
use crate::error::{Class, Error};
use crate::event::{Event, Listeners, PATIENCE, Sink};
use crate::node_kind::{Kinds, Native, NodeKind};
use crate::pipeline::{Checked, Draft, Parts, problems};
use crate::report::Report;
use crate::wiring::child::{ChildExecutor, Helper};
use crate::wiring::executor::{HostExecutor, StoreBlobs, StoreCode};
use crate::wiring::inbox::{self, Said};
use crate::wiring::lock::LockMode;
use crate::wiring::notices::Notices;
use crate::wiring::policy::Policies;
use crate::wiring::resume::{self as resuming, Resumable, Resume};
use crate::wiring::{components, export, group, load, past, place, prepare, secrets};

/// The most threads of the runtime: more than cores only serve calls that wait for a disk.
const MAX_THREADS: usize = 64;
/// Runs that one engine drives at full speed at the same time; more of them wait for each other's executions.
const RUNS: usize = 4;

type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// Runs pipelines. Clones are one.
///
/// It has threads of its own: its futures can be awaited in any runtime.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    runtime: Option<Runtime>,
    jobs: NonZeroUsize,
    pub(crate) host: Arc<Host>,
    pub(crate) policies: Policies,
    pub(crate) kinds: Kinds,
    pub(crate) state: Option<PathBuf>,
    pub(crate) lock: LockMode,
    pub(crate) offline: bool,
    sinks: Vec<Sink>,
    warn: Option<Warn>,
    helper: Option<Helper>,
    allowed: Vec<PathBuf>,
}

/// What an engine is made of. Everything has a default; what it permits beyond it is said here and nowhere else.
#[derive(Default)]
pub struct EngineBuilder {
    state: Option<PathBuf>,
    jobs: Option<usize>,
    policy: Option<PathBuf>,
    lock: LockMode,
    offline: bool,
    kinds: Vec<Arc<dyn NodeKind>>,
    sinks: Vec<Sink>,
    warn: Option<Warn>,
    helper: Option<PathBuf>,
    allowed: Vec<PathBuf>,
}

impl EngineBuilder {
    /// Where the journal, artifacts and the cache are. Default: `.lockgate` in the root of each pipeline.
    #[must_use]
    pub fn state(self, dir: impl Into<PathBuf>) -> Self {
        Self { state: Some(dir.into()), ..self }
    }

    /// How many nodes of a run are executed at a time. Default: the machine's cores.
    #[must_use]
    pub fn jobs(self, jobs: usize) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// The policy to run under, besides the machine's own in `/etc/lockgate/policy.toml`. Default: the one that the variable
    /// `LOCKGATE_POLICY` names.
    #[must_use]
    pub fn policy(self, file: impl Into<PathBuf>) -> Self {
        Self { policy: Some(file.into()), ..self }
    }

    /// Refuses plugins that are not as `lockgate.lock` beside the pipeline has them, as `--locked` does. Default: where `CI` is set, if
    /// there is such a file or the pipeline uses a plugin that is neither `std:` nor `app:`.
    #[must_use]
    pub fn locked(self) -> Self {
        Self { lock: LockMode::Enforced, ..self }
    }

    /// Asks no registry: plugins from there have to be pulled already. Default: where `LOCKGATE_OFFLINE` is set.
    #[must_use]
    pub fn offline(self) -> Self {
        Self { offline: true, ..self }
    }

    /// Adds a node kind; pipelines name it as `plugin = "app:<name>"`.
    #[must_use]
    pub fn node_kind(mut self, kind: impl NodeKind) -> Self {
        self.kinds.push(Arc::new(kind));
        self
    }

    /// Adds somebody who hears every event of every run, in order, after it is durable. It is called on a thread of its own, and may be
    /// as slow as it likes: the run does not wait for it, and it misses nothing. Only the end of a run waits for it, up to 30 seconds.
    #[must_use]
    pub fn on_event(mut self, sink: impl FnMut(&Event) + Send + 'static) -> Self {
        self.sinks.push(Arc::new(Mutex::new(sink)));
        self
    }

    /// Sets who hears what is worth to be known and stops nothing, one line each. Default: nobody.
    #[must_use]
    pub fn on_warning(self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { warn: Some(Box::new(warn)), ..self }
    }

    /// Names a `lockgate` binary, by which components are compiled, repetitions executed and programs started in processes of their
    /// own. It must be of the same version. Default: none, see the crate's documentation.
    #[must_use]
    pub fn helper(self, lockgate: impl Into<PathBuf>) -> Self {
        Self { helper: Some(lockgate.into()), ..self }
    }

    /// Permits exports to absolute paths at or below a directory. Default: exports stay below the root.
    #[must_use]
    pub fn allow_export(mut self, dir: impl Into<PathBuf>) -> Self {
        self.allowed.push(dir.into());
        self
    }

    /// Builds the engine.
    pub fn build(self) -> Result<Engine, Error> {
        let given = self.jobs.and_then(NonZeroUsize::new);
        let jobs = given.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN));
        let mut kinds = Kinds::new();
        for kind in self.kinds {
            let native = Native::new(kind)?;
            let name = native.manifest().name.clone();
            if kinds.insert(name.clone(), Arc::new(native)).is_some() {
                return Err(Error::new(
                    Class::Wrong,
                    anyhow::anyhow!("add the node kind `{name}`: there are two of it"),
                ));
            }
        }
        let absolute = |dir: &PathBuf| std::path::absolute(dir);
        let allowed = self.allowed.iter().map(absolute).collect::<Result<_, _>>();
        let helper = self.helper.map(Helper::at);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(jobs.get().clamp(2, MAX_THREADS))
            .thread_name("lockgate")
            .enable_all()
            .build();
        let mut inner = Inner {
            runtime: Some(runtime.map_err(|error| infrastructure(error, "start the threads of the engine"))?),
            jobs,
            host: load::host(jobs.get(), RUNS, helper.as_ref())?,
            policies: Policies::default(),
            kinds,
            state: self.state,
            lock: self.lock,
            offline: self.offline,
            sinks: self.sinks,
            warn: self.warn,
            helper,
            allowed: allowed.map_err(|error| infrastructure(error, "use a directory of `allow_export`"))?,
        };
        inner.policies = Policies::load(self.policy.as_deref(), &inner)?;
        Ok(Engine { inner: Arc::new(inner) })
    }
}

fn infrastructure(error: std::io::Error, what: &'static str) -> Error {
    Error::new(Class::Infrastructure, error).context(what)
}

/// The wish to stop a run. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Interrupt);

impl Cancel {
    /// Stops the run that it was given to: what runs is ended, nothing new begins, and the run can be resumed.
    pub fn now(&self) {
        self.0.raise();
    }
}

/// What is assumed of effects of which nobody knows whether they took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Assumed {
    /// They took place, and their answers are lost: the node kind or plugin gets an error that says so.
    Done,
    /// They did not, or may be repeated: they are issued again, under the same idempotency keys.
    Repeat,
}

impl Engine {
    /// Begins an engine with the defaults that [`EngineBuilder`] lists.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Begins with a pipeline file. Nothing is read before [`Draft::check`].
    pub fn load(&self, file: impl AsRef<Path>) -> Draft<'_> {
        Draft::file(&self.inner, file.as_ref())
    }

    /// Begins with a pipeline that was built in Rust.
    pub fn pipeline(&self, pipeline: &Pipeline) -> Draft<'_> {
        Draft::built(&self.inner, pipeline.built())
    }

    /// Runs a pipeline to its end, or until only waiting nodes are left.
    ///
    /// A run that fails is no error: the [`Report`] says so. An error is what kept the run from beginning, or the journal from being
    /// written. Dropping the future interrupts the run, as [`Cancel`] does.
    pub async fn run(&self, pipeline: &Checked) -> Result<Report, Error> {
        self.run_until(pipeline, &Cancel::default()).await
    }

    /// The same, which `cancel` stops.
    pub async fn run_until(&self, pipeline: &Checked, cancel: &Cancel) -> Result<Report, Error> {
        let parts = pipeline.parts.clone();
        self.beside(cancel, move |inner, interrupt| inner.start(inner.begin(&parts)?, interrupt)).await
    }

    /// The same as [`Engine::run`], for programs without async. Not to be called where blocking a thread is not permitted.
    pub fn run_blocking(&self, pipeline: &Checked) -> Result<Report, Error> {
        aside(|| self.inner.start(self.inner.begin(&pipeline.parts)?, &Interrupt::default()))
    }

    /// Goes on with a run that was interrupted, failed, or waits for what has come since. `run` is its id, the beginning of its id, or
    /// `last`. It stands in the state directory of the engine, or, where the builder named none, of the current directory.
    pub async fn resume(&self, run: &str) -> Result<Report, Error> {
        let run = run.to_owned();
        self.beside(&Cancel::default(), move |inner, interrupt| inner.resume(&run, interrupt)).await
    }

    /// The same, for programs without async.
    pub fn resume_blocking(&self, run: &str) -> Result<Report, Error> {
        aside(|| self.inner.resume(run, &Interrupt::default()))
    }

    /// Says yes to an approval of a run, as `by`. Whoever drives the run goes on; if nobody does, [`Engine::resume`] does.
    pub fn approve(&self, run: &str, node: &str, by: &str) -> Result<(), Error> {
        inbox::decide(&self.inner.store()?, run, node, Signal::Approve, Said::new(by, None)?).map(drop)
    }

    /// Says no to an approval of a run, as `by`.
    pub fn reject(&self, run: &str, node: &str, by: &str) -> Result<(), Error> {
        inbox::decide(&self.inner.store()?, run, node, Signal::Reject, Said::new(by, None)?).map(drop)
    }

    /// Says of all effects of a run that an interruption left in doubt whether they took place, as `by`. Their nodes wait for that;
    /// [`Engine::resume`] goes on then.
    pub fn assume(&self, run: &str, assumed: Assumed, by: &str) -> Result<(), Error> {
        let store = self.inner.store()?;
        let run = past::find(&store, run)?.summary.id;
        let Some(_own) = store.hold_run(&run)? else { return Err(busy(run.as_str())) };
        // Again, now that nobody else drives it.
        let found = past::find(&store, run.as_str())?;
        let signal = match assumed {
            Assumed::Done => Signal::AssumeDone,
            Assumed::Repeat => Signal::AssumeRepeat,
        };
        resuming::assume(&store, &found, signal, Said::new(by, None)?.by())
    }

    /// Stops a run, whichever process drives it. It is over then, and cannot be resumed where nobody drove it.
    pub fn cancel(&self, run: &str, by: &str) -> Result<(), Error> {
        inbox::cancel(&self.inner.store()?, run, Said::new(by, None)?).map(drop)
    }

    /// Does something that blocks on a thread of its own, and stops it when nobody waits for it any more.
    async fn beside(
        &self,
        cancel: &Cancel,
        work: impl FnOnce(&Inner, &Interrupt) -> Result<Report, Error> + Send + 'static,
    ) -> Result<Report, Error> {
        let (inner, interrupt) = (self.inner.clone(), cancel.0.clone());
        let (sender, receiver) = oneshot::channel();
        let spawned = std::thread::Builder::new().name("lockgate-run".to_owned()).spawn(move || {
            // Nobody may wait any more.
            let _ = sender.send(work(&inner, &interrupt));
        });
        spawned.map_err(|error| infrastructure(error, "start the run's thread"))?;
        let mut stop = StopOnDrop(Some(cancel.0.clone()));
        let result = receiver.await;
        stop.0 = None;
        result.unwrap_or_else(|_| Err(panicked()))
    }
}

fn panicked() -> Error {
    let error = anyhow::anyhow!("go on: the engine panicked");
    Error::new(Class::Infrastructure, error).hint("the journal is intact; please report it")
}

/// Does something on a thread that is in no runtime.
fn aside(work: impl FnOnce() -> Result<Report, Error> + Send) -> Result<Report, Error> {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|_| Err(panicked())))
}

struct StopOnDrop(Option<Interrupt>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(interrupt) = &self.0 {
            interrupt.raise();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Waiting for its threads is not permitted inside of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Notices for Inner {
    fn warning(&self, text: &str) {
        if let Some(warn) = &self.warn {
            warn(&crate::wiring::text::clean_line(text));
        }
    }

    fn info(&self, _: &str) {}

    fn waiting(&self, text: &str) {
        self.warning(text);
    }

    fn problems(&self, problems: &[Found]) {
        problems.iter().for_each(|problem| self.warning(&problem.to_string()));
    }

    fn replayed(&self, _: &lockgate_model::NodeId, _: &Replayed) {}
}

/// A run that can be driven.
struct Begun {
    store: Store,
    root: PathBuf,
    spec: RunSpec,
    executor: HostExecutor,
    natives: bool,
    after: Option<(Recovered, Vec<Record>)>,
}

impl Inner {
    pub(crate) fn code(&self, store: &Store) -> Arc<dyn CodeCache> {
        Arc::new(StoreCode(store.clone()))
    }

    fn runtime(&self) -> Result<&Runtime, Error> {
        self.runtime.as_ref().ok_or_else(panicked)
    }

    fn store(&self) -> Result<Store, Error> {
        Ok(Store::open(&place::existing(place::state_here(self.state.as_deref(), None)?)?)?)
    }

    /// Everything that is found before a run: its secrets, its snapshots.
    fn begin(&self, checked: &Parts) -> Result<Begun, Error> {
        let (ready, root) = (&checked.ready, &checked.root);
        let store = Store::open(&checked.state)?;
        if let Some(error) = export::refused_export(&ready.pipeline, &self.allowed) {
            return Err(error);
        }
        let secrets = secrets::read(&ready.pipeline, root, self)?;
        let run = lockgate_runner::run_id(SystemClock::default().now_ms(), lockgate_runner::entropy());
        checked.with(|loaded| {
            let sources = match prepare::snapshots(loaded, &ready.pipeline, &store) {
                Ok(sources) => sources,
                Err(class) => {
                    let error = problems(loaded, checked.built.as_ref(), Some(class));
                    // They may be gone at the next run.
                    loaded.problems.clear();
                    return Err(error);
                }
            };
            let spec =
                RunSpec { policies: self.policies.digests(), ..prepare::run_spec(loaded, ready, run, sources, None) };
            components::keep(&store, loaded)?;
            loaded.vouched.remember(&store)?;
            let executor = HostExecutor::new(self.host.clone(), loaded.plugins.values().cloned(), store.clone());
            let executor = executor.with_natives(loaded.natives.values().cloned()).with_secrets(secrets);
            let natives = !loaded.natives.is_empty();
            Ok(Begun { store: store.clone(), root: root.clone(), spec, executor, natives, after: None })
        })
    }

    /// Takes the run for this process, and drives it.
    fn start(&self, begun: Begun, interrupt: &Interrupt) -> Result<Report, Error> {
        let run = &begun.spec.run;
        let Some(_own) = begun.store.hold_run(run)? else { return Err(busy(run.as_str())) };
        let _group = match &begun.spec.pipeline.concurrency {
            None => None,
            Some(concurrency) => {
                let held = group::hold(&begun.store, run, concurrency, interrupt, self);
                let held = self.runtime()?.block_on(held)?;
                Some(held.ok_or_else(|| {
                    let error = anyhow::anyhow!("begin the run: it was cancelled while it waited for its group");
                    Error::new(Class::Infrastructure, error)
                })?)
            }
        };
        self.drive(begun, interrupt)
    }

    fn resume(&self, run: &str, interrupt: &Interrupt) -> Result<Report, Error> {
        let store = self.store()?;
        let run = past::find(&store, run)?.summary.id;
        let Some(_own) = store.hold_run(&run)? else { return Err(busy(run.as_str())) };
        // Again, now that nobody else drives it.
        let found = past::find(&store, run.as_str())?;
        resuming::check(&found)?;
        if found.selection().is_some() {
            let error = anyhow::anyhow!("resume run `{run}`: it is of a part of its pipeline");
            return Err(Error::new(Class::Wrong, error).hint(format!("do that with the binary: lockgate resume {run}")));
        }
        let _group = match &found.pipeline.concurrency {
            None => None,
            Some(concurrency) => self.runtime()?.block_on(group::hold(&store, &run, concurrency, interrupt, self))?,
        };
        let natives: Vec<_> = self.kinds.values().cloned().collect();
        let ask = Resume {
            store: &store,
            found: &found,
            root: None,
            policies: &self.policies,
            allowed: &self.allowed,
            host: &self.host,
            natives: &natives,
            runtime: self.runtime()?.handle(),
            notices: self,
        };
        let Resumable { spec, records, recovered, root, plugins, secrets } = ask.prepare()?;
        let executor = HostExecutor::new(self.host.clone(), plugins, store.clone());
        let executor = executor.with_natives(natives.iter().cloned()).with_secrets(secrets);
        let natives = !natives.is_empty();
        self.drive(Begun { store, root, spec, executor, natives, after: Some((recovered, records)) }, interrupt)
    }

    fn drive(&self, begun: Begun, interrupt: &Interrupt) -> Result<Report, Error> {
        let Begun { store, root, spec, executor, natives, after } = begun;
        let (run, pipeline) = (spec.run.clone(), spec.pipeline.clone());
        let executor = executor.under(self.policies.guard(&pipeline.secrets));
        let heard = after.as_ref().and_then(|(_, records)| records.last()).map_or(0, |record| record.seq);
        let listening = Listeners::start(&self.sinks, &store, &run, heard);
        let (bell, listeners) = listening.map_err(|error| infrastructure(error, "start the threads of event sinks"))?;
        // Node kinds are in this process alone.
        let helper = self.helper.clone().filter(|_| !natives);
        let surroundings = Surroundings {
            cache: Some(Arc::new(store.clone())),
            observer: Arc::new(bell),
            interrupt: interrupt.clone(),
            again: helper.map(|helper| Arc::new(ChildExecutor::new(store.clone(), helper)) as Arc<dyn Executor>),
            ..Surroundings::new(Arc::new(store.clone()), Arc::new(StoreBlobs(store.clone())))
        };
        let options = DriveOptions { jobs: self.jobs, ..DriveOptions::default() };
        let executor = Arc::new(executor);
        let driven = self.runtime()?.block_on(async {
            match after {
                None => drive(spec, executor, surroundings, options).await,
                Some((recovered, _)) => resume(spec, recovered, heard, executor, surroundings, options).await,
            }
        });
        listeners.finish(PATIENCE).iter().for_each(|lost| self.warning(lost));
        let report = driven?;
        let exports = match report.exit {
            lockgate_model::run::ExitClass::Succeeded => {
                export::export(&store, &pipeline, &report.state, &root, &self.allowed)
            }
            _ => Vec::new(),
        };
        Ok(Report::new(run.to_string(), &report, exports, store))
    }
}

fn busy(run: &str) -> Error {
    let error = anyhow::anyhow!("drive run `{run}`: another process does");
    Error::new(Class::Wrong, error).hint("watch it there, or stop it")
}
