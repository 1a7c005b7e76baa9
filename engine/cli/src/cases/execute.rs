//! One case: its inputs are taken, its plugin is called twice, with each of its looks, and what came of it is put into one form.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lockgate::wiring::executor::{StoreArtifacts, StoreBlobs};
use lockgate_host::{Host, Plugin, Profile};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::grant::Grants;
use lockgate_model::manifest::World;
use lockgate_model::outcome::{Completion, Finding, Status, Verdict};
use lockgate_model::pipeline::SnapshotSpec;
use lockgate_model::task::{Look, Task};
use lockgate_model::units::Millis;
use lockgate_model::{Digest, PortName};
use lockgate_runner::differences;
use lockgate_store::Store;
use lockgate_syntax::case::{CaseInput, Expect, FirstLook};
use tokio::runtime::Runtime;

use super::project::{Case, ports};
use super::recorded::Recorded;
use super::task::{derived, grants, refused, task};
use super::{Mismatch, golden};
use crate::exit::{CliError, Exit};
use crate::render::findings::read_findings;
use crate::render::report::Blobs as _;

/// Largest log that is read.
const MAX_LOG: u64 = 64 << 20;
/// What state a golden result shows as it is, in bytes.
const MAX_STATE: usize = 64 << 10;

/// What cases are executed with.
pub(crate) struct Bench {
    /// The sandbox.
    pub(crate) host: Arc<Host>,
    /// Where artifacts are while the cases run; gone afterwards.
    pub(crate) store: Store,
    /// What drives the calls.
    pub(crate) runtime: Runtime,
    _dir: tempfile::TempDir,
}

/// What came of a case.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What is not as expected.
    pub(crate) wrong: Vec<Mismatch>,
    /// What differs between the two calls.
    pub(crate) unstable: Vec<lockgate_runner::Difference>,
    /// Whether the engine's surroundings kept it from saying anything, other than expected.
    pub(crate) broken: bool,
    /// Golden files that were written, relative to the case's folder.
    pub(crate) written: Vec<String>,
    /// What the plugin gave; none where it was not called.
    pub(crate) end: Option<End>,
    /// Why it was not called, or how it failed.
    pub(crate) failure: Option<(String, String)>,
    /// Wall time of the first call, in microseconds.
    pub(crate) micros: u64,
}

/// How a call ended, in the form in which it is compared.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: Status,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) log: Vec<String>,
    pub(crate) outputs: BTreeMap<PortName, ArtifactRef>,
    /// An evaluator's state: text as it is, else its digest and size.
    pub(crate) state: Option<String>,
    pub(crate) fuel: Option<u64>,
    pub(crate) peak_memory: u64,
    pub(crate) backtrace: Option<String>,
}

/// One look: how it is called, and what is expected of it.
struct Step<'a> {
    look: Look,
    inputs: BTreeMap<PortName, ArtifactRef>,
    expect: &'a Expect,
}

/// One pass through the looks of a case.
struct Pass {
    /// What came of each, up to the first that failed.
    completions: Vec<Completion>,
    recorded: Arc<Recorded>,
    micros: u64,
}

impl Pass {
    /// Whether the last call came to its own end.
    fn returned(&self) -> bool {
        self.completions.last().is_some_and(|last| last.failure.is_none() || last.fuel.is_some())
    }
}

/// How a call that was profiled ended.
#[derive(Debug)]
pub(crate) struct Profiled {
    /// Its fuel, if it returned.
    pub(crate) fuel: Option<u64>,
    /// The most memory that was in use.
    pub(crate) peak_memory: u64,
    /// Kind and message, where it failed.
    pub(crate) failure: Option<(String, String)>,
    /// Whether the engine's surroundings failed.
    pub(crate) broken: bool,
}

impl Bench {
    /// Sets up a sandbox.
    pub(crate) fn new(host: Arc<Host>) -> Result<Self, CliError> {
        let failed =
            |what: &'static str| move |error: std::io::Error| CliError::new(Exit::Infrastructure, error).context(what);
        let dir = tempfile::tempdir().map_err(failed("make a temporary directory"))?;
        let store = Store::open(&dir.path().join("state"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(failed("start the threads of the engine"))?;
        Ok(Self { host, store, runtime, _dir: dir })
    }

    /// Executes a case, and holds what came of it against what it expects; `update` makes the golden files say what came of it.
    pub(crate) fn run(&self, plugin: &Plugin, case: &Case, update: bool) -> Result<Ran, CliError> {
        let mut ran = Ran {
            wrong: Vec::new(),
            unstable: Vec::new(),
            broken: false,
            written: Vec::new(),
            end: None,
            failure: None,
            micros: 0,
        };
        let steps = self.steps(case)?;
        let grants = grants(plugin, &case.file);
        let refusal = steps.iter().find_map(|step| refused(plugin, &case.file, &step.inputs, &grants).err());
        if let Some((kind, message)) = refusal {
            ran.failure = Some((kind.to_owned(), message));
            ran.wrong = golden::expected_of_refusal(&case.file.expect, ran.failure.as_ref());
            return Ok(ran);
        }
        let task = self.task(plugin, case, grants)?;
        let first = self.pass(plugin, case, &task, &steps)?;
        let second = self.pass(plugin, case, &task, &steps)?;
        ran.micros = first.micros;
        ran.wrong = first.recorded.mismatches(first.returned());
        let failure = |done: &Completion| done.failure.as_ref().map(|f| (f.kind.name().to_owned(), f.message.clone()));
        let ends: Vec<_> = first
            .completions
            .iter()
            .map(|done| Ok::<_, CliError>((self.end(done)?, failure(done))))
            .collect::<Result<_, _>>()?;
        ran.failure = first.completions.last().and_then(failure);
        if ran.wrong.is_empty() {
            let blobs = StoreBlobs(self.store.clone());
            let pairs = first.completions.iter().zip(&second.completions);
            ran.unstable = pairs.flat_map(|(first, second)| differences(first, second, &blobs)).collect();
            self.hold(&mut ran, case, &steps, &ends, update)?;
        }
        ran.end = whole(ends);
        Ok(ran)
    }

    /// Holds what came of a case's looks against what it expects.
    fn hold(
        &self,
        ran: &mut Ran,
        case: &Case,
        steps: &[Step<'_>],
        ends: &[(End, Option<(String, String)>)],
        update: bool,
    ) -> Result<(), CliError> {
        let expect = &case.file.expect;
        for (index, (step, (end, failure))) in steps.iter().zip(ends).enumerate() {
            let mut wrong = golden::expected(step.expect, end, failure.as_ref());
            if steps.len() > 1 {
                for mismatch in &mut wrong {
                    mismatch.what = format!("look {}: {}", index + 1, mismatch.what);
                }
            }
            ran.wrong.append(&mut wrong);
            ran.broken |= end.status == Status::Errored && step.expect.status.as_deref() != Some("errored");
        }
        if ends.len() < steps.len()
            && ran.wrong.is_empty()
            && let Some((kind, message)) = &ran.failure
        {
            let why = format!("not reached, because the look before it failed ({kind}: {message})\n");
            ran.wrong.push(Mismatch::new(format!("look {}", ends.len() + 1), why));
        }
        if !ran.wrong.is_empty() || !ran.unstable.is_empty() || ran.broken {
            return Ok(());
        }
        let golden = golden::Golden::read(&case.dir)?;
        if update {
            ran.written = golden.update(&self.store, ends)?;
        } else {
            ran.wrong = golden.compare(&self.store, expect, ends)?;
        }
        Ok(())
    }

    /// The looks of a case, and their inputs: one, unless it says otherwise.
    fn steps<'c>(&self, case: &'c Case) -> Result<Vec<Step<'c>>, CliError> {
        let inputs = self.inputs(case)?;
        let first = case.file.look.unwrap_or(FirstLook { index: 0, elapsed: Millis(0), step: None });
        if case.file.looks.is_empty() {
            let look = Look { index: first.index, elapsed: first.elapsed.0, step: first.step };
            return Ok(vec![Step { look, inputs, expect: &case.file.expect }]);
        }
        let mut steps = Vec::with_capacity(case.file.looks.len());
        for (index, look) in (first.index..).zip(&case.file.looks) {
            let mut all = inputs.clone();
            for (name, input) in &look.inputs {
                all.insert(name.clone(), put(&self.store, case, input)?);
            }
            let place = Look { index, elapsed: look.elapsed.0, step: look.step };
            steps.push(Step { look: place, inputs: all, expect: &look.expect });
        }
        // What the case expects is what it expects of its end.
        if let Some(last) = steps.last_mut() {
            last.expect = &case.file.expect;
        }
        Ok(steps)
    }

    /// Calls the plugin for each look, with the state of the one before.
    fn pass(&self, plugin: &Plugin, case: &Case, task: &Task, steps: &[Step<'_>]) -> Result<Pass, CliError> {
        let recorded = self.recorded(plugin, case, task)?;
        let begun = Instant::now();
        let mut completions: Vec<Completion> = Vec::with_capacity(steps.len());
        for step in steps {
            let task = next(task, step, completions.last());
            let artifacts = Arc::new(StoreArtifacts(self.store.clone()));
            let call = self.host.call(plugin, task, artifacts, Arc::clone(&recorded) as _);
            completions.push(self.runtime.block_on(call));
            if completions.last().is_some_and(|done| done.failure.is_some()) {
                break;
            }
        }
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(Pass { completions, recorded, micros })
    }

    /// Executes a case twice: to know how much fuel its last look takes, and to find out where that goes, with a sample each `interval` of it. The
    /// bench's host must be one for profiles.
    pub(crate) fn profile(
        &self,
        plugin: &Plugin,
        case: &Case,
        interval: impl FnOnce(u64) -> u64,
    ) -> Result<(Profiled, Profile), CliError> {
        let failed =
            |message: String| Err(CliError::new(Exit::Wrong, anyhow::anyhow!("profile the plugin: {message}")));
        let steps = self.steps(case)?;
        let grants = grants(plugin, &case.file);
        if let Some((_, message)) =
            steps.iter().find_map(|step| refused(plugin, &case.file, &step.inputs, &grants).err())
        {
            return failed(message);
        }
        let task = self.task(plugin, case, grants)?;
        let pass = self.pass(plugin, case, &task, &steps)?;
        if let Some(wrong) =
            pass.recorded.mismatches(pass.completions.last().is_some_and(|last| last.fuel.is_some())).first()
        {
            return failed(format!("{}: {}", wrong.what, wrong.why.trim_end()));
        }
        // Of several looks the last one that was reached is sampled; those before it are made again, for what is recorded of them.
        let reached = pass.completions.len().saturating_sub(1);
        let (before, Some(step)) = (&steps[..reached], steps.get(reached)) else {
            return failed("it was not called".to_owned());
        };
        let Some(first) = pass.completions.last() else { return failed("it was not called".to_owned()) };
        // Of a call that did not return, the limit is as near as it can be known.
        let interval = interval(first.fuel.unwrap_or(task.limits.fuel.0));
        let again = self.pass(plugin, case, &task, before)?;
        let task = next(&task, step, again.completions.last());
        let artifacts = Arc::new(StoreArtifacts(self.store.clone()));
        let (second, profile) =
            self.runtime.block_on(self.host.profile(plugin, task, artifacts, again.recorded as _, interval));
        if second.fuel != first.fuel {
            let fuel = |fuel: Option<u64>| fuel.map_or("none".to_owned(), |fuel| fuel.to_string());
            let message =
                format!("profile the plugin: it took {} of fuel, then {}", fuel(first.fuel), fuel(second.fuel));
            return Err(CliError::new(Exit::NotReproducible, anyhow::anyhow!(message)));
        }
        let Some(profile) = profile else { return failed("it was not called".to_owned()) };
        let failure = second.failure.map(|failure| (failure.kind, failure.message));
        let broken = failure.as_ref().is_some_and(|(kind, _)| kind.is_infrastructure());
        let failure = failure.map(|(kind, message)| (kind.name().to_owned(), message));
        Ok((Profiled { fuel: second.fuel, peak_memory: second.peak_memory, failure, broken }, profile))
    }

    fn recorded(&self, plugin: &Plugin, case: &Case, task: &Task) -> Result<Arc<Recorded>, CliError> {
        Recorded::new(case, derived(plugin, &case.file.grants), task.logical_time, &self.store).map(Arc::new)
    }

    fn task(&self, plugin: &Plugin, case: &Case, grants: Grants) -> Result<Task, CliError> {
        let mut task = task(plugin, &case.file, grants)?;
        let evaluates = plugin.world() == World::CanaryEvaluator;
        let mut wrong = None;
        if plugin.world().takes(World::Stage) && (case.file.look.is_some() || !case.file.looks.is_empty()) {
            wrong = Some("a stage is called once: it has no looks");
        } else if !evaluates && case.file.state.is_some() {
            wrong = Some("only canary evaluators have a state");
        }
        if let Some(wrong) = wrong {
            let error = anyhow::anyhow!(wrong);
            return Err(CliError::new(Exit::Wrong, error).context(format!("run the case `{}`", case.name)));
        }
        task.state = match &case.file.state {
            None => None,
            Some(CaseInput::Bytes(bytes)) => Some(bytes.clone()),
            Some(input) => {
                let artifact = put(&self.store, case, input)?;
                if artifact.kind != ArtifactKind::Blob {
                    let error = anyhow::anyhow!("take the state: its path is a directory");
                    return Err(CliError::new(Exit::Wrong, error).context(format!("run the case `{}`", case.name)));
                }
                Some(self.store.read_blob(&artifact.digest, MAX_LOG)?)
            }
        };
        Ok(task)
    }

    fn inputs(&self, case: &Case) -> Result<BTreeMap<PortName, ArtifactRef>, CliError> {
        let mut inputs = BTreeMap::new();
        let folder = if case.alone { BTreeMap::new() } else { ports(&case.dir.join("inputs"))? };
        for (name, path) in folder {
            inputs.insert(name, take(&self.store, &path)?);
        }
        for (name, input) in &case.file.inputs {
            let artifact = put(&self.store, case, input)?;
            if inputs.insert(name.clone(), artifact).is_some() {
                let error = anyhow::anyhow!("take the input `{name}`: it is in the file, and in the folder `inputs`");
                return Err(CliError::new(Exit::Wrong, error).context(format!("run the case `{}`", case.name)));
            }
        }
        Ok(inputs)
    }

    fn end(&self, completion: &Completion) -> Result<End, CliError> {
        let unreadable = |error| CliError::new(Exit::Infrastructure, error).context("read what the plugin made");
        let blobs = StoreBlobs(self.store.clone());
        let findings = match &completion.findings {
            Some(blob) => read_findings(blob, None, &blobs).map_err(unreadable)?,
            None => Vec::new(),
        };
        let mut log = String::new();
        if let Some(blob) = &completion.log {
            let mut reader = std::io::Read::take(blobs.open(blob).map_err(unreadable)?, MAX_LOG);
            std::io::Read::read_to_string(&mut reader, &mut log).map_err(unreadable)?;
        }
        let status = match &completion.failure {
            Some(failure) if failure.kind.is_infrastructure() => Status::Errored,
            Some(_) => Status::Failed,
            None => Status::Succeeded,
        };
        Ok(End {
            status,
            verdict: completion.verdict.clone(),
            findings,
            log: log.lines().map(str::to_owned).collect(),
            outputs: completion.outputs.clone(),
            state: completion.state.as_deref().map(shown_state),
            fuel: completion.fuel,
            peak_memory: completion.peak_memory,
            backtrace: completion.backtrace.clone(),
        })
    }
}

/// One look's task.
fn next(task: &Task, step: &Step<'_>, before: Option<&Completion>) -> Task {
    let state = before.map_or_else(|| task.state.clone(), |before| before.state.clone());
    Task { look: step.look, inputs: step.inputs.clone(), state, ..task.clone() }
}

/// What the looks of a case took together, and how the last one ended.
fn whole(mut ends: Vec<(End, Option<(String, String)>)>) -> Option<End> {
    let (mut last, _) = ends.pop()?;
    for (end, _) in ends {
        last.fuel = last.fuel.zip(end.fuel).map(|(sum, fuel)| sum.saturating_add(fuel));
        last.peak_memory = last.peak_memory.max(end.peak_memory);
    }
    Some(last)
}

fn shown_state(state: &[u8]) -> String {
    match std::str::from_utf8(state) {
        Ok(text) if state.len() <= MAX_STATE => text.to_owned(),
        _ => format!("{} of {} bytes", Digest::of(state), state.len()),
    }
}

/// Takes an input of a case's file into the store.
pub(super) fn put(store: &Store, case: &Case, input: &CaseInput) -> Result<ArtifactRef, CliError> {
    match input {
        CaseInput::Bytes(bytes) => {
            let digest = store.put_blob(bytes)?;
            Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 })
        }
        CaseInput::Path(path) => take(store, &case.dir.join(path)),
    }
}

/// Takes a file or a directory into the store, all of it: what a case has is what it is tried with, ignored or not.
pub(super) fn take(store: &Store, path: &Path) -> Result<ArtifactRef, CliError> {
    let context = || format!("take `{}`", path.display());
    let full = path.canonicalize().map_err(|error| CliError::new(Exit::Wrong, error).context(context()))?;
    let taken = if full.is_dir() {
        let spec = SnapshotSpec { dir: ".".into(), include: Vec::new(), exclude: Vec::new(), ignore: false };
        store.snapshot(&full, &spec, &[])
    } else {
        match (full.parent(), full.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(file)) => store.snapshot_file(parent, file),
            _ => return Err(CliError::new(Exit::Wrong, anyhow::anyhow!("its name is not UTF-8")).context(context())),
        }
    };
    taken.map_err(|error| CliError::from(error).context(context()))
}
