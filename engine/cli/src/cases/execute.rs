//! One case: its inputs are taken, its plugin is called twice, and what came of it is put into one form.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use lockgate_host::{Host, Plugin, Profile};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::grant::{Grants, HttpGrant};
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::manifest::{Port, PortKind, Ports, World};
use lockgate_model::outcome::{Completion, Finding, Status, Verdict};
use lockgate_model::pipeline::SnapshotSpec;
use lockgate_model::task::{Look, Task};
use lockgate_model::{NodeId, PortName, RunId, canonical_json};
use lockgate_runner::differences;
use lockgate_store::Store;
use lockgate_syntax::case::{CaseFile, CaseInput, Exchange};
use tokio::runtime::Runtime;

use super::project::{Case, ports};
use super::recorded::Recorded;
use super::{Mismatch, golden};
use crate::executor::{StoreArtifacts, StoreBlobs};
use crate::exit::{CliError, Exit, snapshot_exit};
use crate::render::findings::read_findings;
use crate::render::report::Blobs as _;

/// The input that every evaluator has.
const OBSERVATION: &str = "observation";
/// Largest log that is read.
const MAX_LOG: u64 = 64 << 20;
/// A grant that no case's exchange falls under, so that a plugin that may send requests can be called where none is expected.
const NOBODY: &str = "GET http://nobody.invalid/";

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
    pub(crate) fuel: Option<u64>,
    pub(crate) peak_memory: u64,
    pub(crate) backtrace: Option<String>,
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
        let inputs = self.inputs(case)?;
        let grants = grants(plugin, &case.file);
        if let Err((kind, message)) = refused(plugin, &case.file, &inputs, &grants) {
            ran.failure = Some((kind.to_owned(), message));
            ran.wrong = golden::expected_of_refusal(&case.file.expect, ran.failure.as_ref());
            return Ok(ran);
        }
        let task = task(plugin, &case.file, inputs, grants)?;
        let (first, recorded, micros) = self.call(plugin, case, task.clone())?;
        let (second, ..) = self.call(plugin, case, task)?;
        ran.micros = micros;
        ran.wrong = recorded.mismatches(first.failure.is_none() || first.fuel.is_some());
        ran.failure = first.failure.as_ref().map(|failure| (failure.kind.name().to_owned(), failure.message.clone()));
        let end = self.end(&first)?;
        if ran.wrong.is_empty() {
            ran.broken = end.status == Status::Errored && case.file.expect.status.as_deref() != Some("errored");
            ran.unstable = differences(&first, &second, &StoreBlobs(self.store.clone()));
            ran.wrong = golden::expected(&case.file.expect, &end, ran.failure.as_ref());
            if ran.wrong.is_empty() && ran.unstable.is_empty() && !ran.broken {
                let golden = golden::Golden::read(&case.dir)?;
                if update {
                    ran.written = golden.update(&self.store, &end, ran.failure.as_ref())?;
                } else {
                    ran.wrong = golden.compare(&self.store, &case.file.expect, &end, ran.failure.as_ref())?;
                }
            }
        }
        ran.end = Some(end);
        Ok(ran)
    }

    fn call(&self, plugin: &Plugin, case: &Case, task: Task) -> Result<(Completion, Arc<Recorded>, u64), CliError> {
        let recorded = self.recorded(case, &task)?;
        let artifacts = Arc::new(StoreArtifacts(self.store.clone()));
        let begun = Instant::now();
        let completion = self.runtime.block_on(self.host.call(plugin, task, artifacts, Arc::clone(&recorded) as _));
        Ok((completion, recorded, u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)))
    }

    /// Executes a case twice: to know how much fuel it takes, and to find out where that goes, with a sample each `interval` of it. The
    /// bench's host must be one for profiles.
    pub(crate) fn profile(
        &self,
        plugin: &Plugin,
        case: &Case,
        interval: impl FnOnce(u64) -> u64,
    ) -> Result<(Profiled, Profile), CliError> {
        let failed =
            |message: String| Err(CliError::new(Exit::Wrong, anyhow::anyhow!("profile the plugin: {message}")));
        let inputs = self.inputs(case)?;
        let grants = grants(plugin, &case.file);
        if let Err((_, message)) = refused(plugin, &case.file, &inputs, &grants) {
            return failed(message);
        }
        let task = task(plugin, &case.file, inputs, grants)?;
        let (first, recorded, _) = self.call(plugin, case, task.clone())?;
        if let Some(wrong) = recorded.mismatches(first.fuel.is_some()).first() {
            return failed(format!("{}: {}", wrong.what, wrong.why.trim_end()));
        }
        // Of a call that did not return, the limit is as near as it can be known.
        let interval = interval(first.fuel.unwrap_or(task.limits.fuel.0));
        let recorded = self.recorded(case, &task)?;
        let artifacts = Arc::new(StoreArtifacts(self.store.clone()));
        let (second, profile) =
            self.runtime.block_on(self.host.profile(plugin, task, artifacts, recorded as _, interval));
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

    fn recorded(&self, case: &Case, task: &Task) -> Result<Arc<Recorded>, CliError> {
        let derived = case.file.grants.http.is_empty();
        Recorded::new(&case.file.http, &case.dir, derived, task.logical_time, &self.store).map(Arc::new)
    }

    fn inputs(&self, case: &Case) -> Result<BTreeMap<PortName, ArtifactRef>, CliError> {
        let mut inputs = BTreeMap::new();
        let folder = if case.alone { BTreeMap::new() } else { ports(&case.dir.join("inputs"))? };
        for (name, path) in folder {
            inputs.insert(name, take(&self.store, &path)?);
        }
        for (name, input) in &case.file.inputs {
            let artifact = match input {
                CaseInput::Bytes(bytes) => {
                    let digest = self.store.put_blob(bytes)?;
                    ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 }
                }
                CaseInput::Path(path) => take(&self.store, &case.dir.join(path))?,
            };
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
            fuel: completion.fuel,
            peak_memory: completion.peak_memory,
            backtrace: completion.backtrace.clone(),
        })
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
    taken.map_err(|error| {
        let exit = snapshot_exit(&error);
        CliError::new(exit, error).context(context())
    })
}

/// The grants of a case. Those of `http` follow from its exchanges, unless it has its own: nothing is sent in any case.
fn grants(plugin: &Plugin, file: &CaseFile) -> Grants {
    let mut grants = file.grants.clone();
    if !grants.http.is_empty() || !plugin.manifest().effects.iter().any(|kind| kind == "http") {
        return grants;
    }
    let origin = |exchange: &Exchange| {
        let url = url::Url::parse(&exchange.url).ok()?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        HttpGrant::parse(&format!("{} {}://{}{port}/", exchange.method, url.scheme(), url.host_str()?)).ok()
    };
    grants.http = file.http.iter().filter_map(origin).collect();
    if grants.http.is_empty() {
        grants.http.extend(HttpGrant::parse(NOBODY));
    }
    grants
}

/// Why a pipeline with this config, these inputs and grants would be refused: the word of `expect.kind`, and the reason.
fn refused(
    plugin: &Plugin,
    file: &CaseFile,
    inputs: &BTreeMap<PortName, ArtifactRef>,
    grants: &Grants,
) -> Result<(), (&'static str, String)> {
    let manifest = plugin.manifest();
    let problems = lockgate_syntax::check_config(&file.config, manifest);
    if !problems.is_empty() {
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        return Err(("invalid-config", messages.join("; ")));
    }
    let ports = input_ports(plugin);
    for (name, artifact) in inputs {
        let message = match ports.kind(name.as_str()) {
            None => format!("the plugin has no input `{name}`"),
            Some(kind) if !kind.takes(artifact.kind) => {
                format!("the input `{name}` is a {}, the plugin takes a {}", artifact.kind.name(), kind.name())
            }
            Some(_) => continue,
        };
        return Err(("invalid-input", message));
    }
    if let Some(port) = ports.named.iter().find(|port| !port.optional && !inputs.contains_key(&port.name)) {
        return Err(("invalid-input", format!("the input `{}` is missing", port.name)));
    }
    let granted = grants.kinds();
    // Without a grant a clock is the logical one, which is harmless.
    match manifest.effects.iter().find(|kind| *kind != "clock" && !granted.contains(&kind.as_str())) {
        Some(kind) => Err(("missing-grant", format!("the plugin asks for `{kind}`, which the case does not grant"))),
        None => Ok(()),
    }
}

/// The plugin's input ports; an evaluator has its observation besides, which no manifest names.
fn input_ports(plugin: &Plugin) -> Ports {
    let mut ports = plugin.manifest().inputs.clone();
    if plugin.world() == World::CanaryEvaluator
        && ports.kind(OBSERVATION).is_none()
        && let Ok(name) = PortName::new(OBSERVATION)
    {
        ports.named.push(Port { name, kind: PortKind::Blob, optional: false, summary: String::new() });
    }
    ports
}

fn task(
    plugin: &Plugin,
    file: &CaseFile,
    inputs: BTreeMap<PortName, ArtifactRef>,
    grants: Grants,
) -> Result<Task, CliError> {
    let wrong = |error| CliError::new(Exit::Wrong, error);
    Ok(Task {
        run: RunId::new("case").map_err(wrong)?,
        node: NodeId::new("case").map_err(wrong)?,
        attempt: 1,
        component: plugin.digest(),
        world: plugin.world(),
        config: canonical_json(&file.config),
        inputs,
        env: file.env.clone(),
        limits: file.limits.clone(),
        grants,
        logical_time: file.logical_time.unwrap_or(DEFAULT_LOGICAL_TIME),
        look: Look::default(),
        state: None,
        first_sequence: 0,
    })
}
