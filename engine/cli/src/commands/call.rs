//! `lockgate plugin call`: one component alone, with JSON and files in, JSON and files out. No journal: what it makes goes to
//! `--output`, everything else is gone afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate::wiring::executor::{StoreArtifacts, StoreBlobs};
use lockgate::wiring::load;
use lockgate::wiring::policy::{Guard, Policies};
use lockgate::wiring::registry::Reference;
use lockgate::wiring::std_plugins::nearest;
use lockgate::wiring::vouched::Vouched;
use lockgate_host::{Missing, NoEffects, Plugin, Secrets};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::effect;
use lockgate_model::event::AttemptFacts;
use lockgate_model::grant::{
    Grants, HttpGrant, ProcessGrant, SecretGrant, SecretName, SecretPlace, SecretSource, TcpGrant,
};
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::limits::Limits;
use lockgate_model::manifest::{Port, PortKind, Ports, World};
use lockgate_model::oci::VersionRange;
use lockgate_model::outcome::{Completion, Status};
use lockgate_model::pipeline::{PluginSource, SnapshotSpec};
use lockgate_model::policy::limit::Limit;
use lockgate_model::policy::{NodeFacts, PluginFacts};
use lockgate_model::receipt::Receipt;
use lockgate_model::task::{Look, Task};
use lockgate_model::{NodeId, PluginAlias, PortName, RunId, canonical_json};
use lockgate_store::Store;
use lockgate_syntax::policy::PluginKnown;
use serde_json::{Map, Value, json};

use super::{Ended, config};
use crate::args::{CallArgs, Format, StateArgs};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::findings::read_findings;
use crate::render::output::Output;
use crate::render::report;
use crate::render::style::clean_text;

/// The input that every evaluator has.
const OBSERVATION: &str = "observation";
/// Lines of the log that are shown to people; the JSON form prints all of it.
const LOG_LINES: usize = 1_000;
/// Largest log that is printed at the end.
const MAX_LOG: u64 = 64 << 20;

/// Calls a component.
pub(crate) fn call(args: &CallArgs, output: &Output) -> Ended {
    let bytes = load::component(&args.component)?;
    let config = config::read(&args.given.config)?;
    let (grants, secrets) = grants(args)?;
    let temporary = tempfile::tempdir()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("make a temporary directory"))?;
    let store = Store::open(&temporary.path().join("state"))?;
    let host = super::host(1)?;
    // Compiled code is taken from and kept in the state directory of the place one is in, if it has one.
    let here = place::state_here(&StateArgs { root: None, state: None })?;
    let cache = load::code_cache(if here.is_dir() { &here } else { store.dir() });
    let missing = if args.trap_missing_imports { Missing::Trap } else { Missing::Refuse };
    let plugin = host.load_with(&bytes, &*cache, missing).map_err(|error| load::load_failed(&args.component, error))?;
    config::check(&plugin, &config)?;
    check_effects(&plugin, &grants, missing)?;
    let inputs = inputs(args, &store)?;
    check_inputs(&ports_of(&plugin)?, &inputs)?;
    let mut task = task(args, &plugin, config, inputs, grants)?;
    let guard = permit(args, &plugin, &mut task, output)?;
    let task = guard.within(task);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("start the threads of the engine"))?;
    let limits = task.limits.clone();
    let artifacts = Arc::new(StoreArtifacts(store.clone()));
    let started = std::time::Instant::now();
    let completion =
        runtime.block_on(host.call(&plugin, task, artifacts, Arc::new(NoEffects { secrets: Arc::new(secrets) })));
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let written = match &args.output {
        Some(dir) => write_outputs(&store, dir, &completion.outputs)?,
        None => BTreeMap::new(),
    };
    let blobs = StoreBlobs(store);
    match args.format {
        Format::Json => {
            print_log(&completion, &blobs, output);
            let document = document(&plugin, &completion, &written, &blobs)?;
            output.data(&format!("{document:#}\n"));
        }
        Format::Human => {
            let ended = ended(&plugin, &completion, &limits, micros)?;
            output.data(&ended.line(output.out, 0));
            output.data(&ended.details(&blobs, output.out, usize::MAX, LOG_LINES));
            for (name, artifact) in &completion.outputs {
                let place = written.get(name).map(|path| format!(" in {}", path.display())).unwrap_or_default();
                output.data(&format!("    {name}: {} {}{place}\n", artifact.kind.name(), artifact.digest));
            }
        }
    }
    Ok(exit(&completion))
}

fn status(completion: &Completion) -> Status {
    match &completion.failure {
        Some(failure) if failure.kind.is_infrastructure() => Status::Errored,
        Some(_) => Status::Failed,
        None => Status::Succeeded,
    }
}

fn exit(completion: &Completion) -> Exit {
    match status(completion) {
        Status::Errored => Exit::Infrastructure,
        Status::Succeeded if completion.verdict.as_ref().is_none_or(|verdict| verdict.is_good()) => Exit::Succeeded,
        _ => Exit::Failed,
    }
}

fn wrong(message: String) -> CliError {
    CliError::new(Exit::Wrong, anyhow::anyhow!(message))
}

fn grants(args: &CallArgs) -> Result<(Grants, Secrets), CliError> {
    let process = |text: &String| {
        let mut words = text.split_whitespace().map(str::to_owned);
        let grant = ProcessGrant::new(&words.next().unwrap_or_default());
        grant.map(|grant| ProcessGrant { arguments: words.collect(), ..grant })
    };
    let mut values = BTreeMap::new();
    let mut secrets = Vec::new();
    for text in &args.grant_secret {
        let (secret, variable) = text.split_once('=').unwrap_or((text, ""));
        let secret: SecretName = name(secret)?;
        let value = std::env::var_os(variable).filter(|_| !variable.is_empty());
        let Some(value) = value else {
            let error = wrong(format!("read the secret `{secret}`: the environment variable `{variable}` is not set"));
            return Err(error.hint("as in `--grant-secret token=DEPLOY_TOKEN`"));
        };
        values.insert(secret.clone(), std::os::unix::ffi::OsStringExt::into_vec(value));
        secrets.push(SecretGrant { name: secret, to: Vec::new(), place: SecretPlace::Message });
    }
    let grants = Grants {
        http: all(args.grant_http.iter().map(|text| HttpGrant::parse(text)))?,
        tcp: all(args.grant_tcp.iter().map(|text| TcpGrant::parse(text)))?,
        process: all(args.grant_process.iter().map(process))?,
        secrets,
        // Only a component is called here.
        app: false,
        clock: args.grant_clock,
    };
    let secrets = Secrets::new(values).map_err(|error| CliError::new(Exit::Wrong, error))?;
    Ok((grants, secrets))
}

fn all<T, E>(read: impl Iterator<Item = Result<T, E>>) -> Result<Vec<T>, CliError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    read.collect::<Result<_, _>>().map_err(|error| CliError::new(Exit::Wrong, error))
}

fn check_effects(plugin: &Plugin, grants: &Grants, terms: Missing) -> Result<(), CliError> {
    let granted = grants.kinds();
    // Without a grant a clock is the logical one, which is harmless.
    let free = |kind: &str| kind == "clock" || kind == "http" && terms == Missing::Trap;
    let missing = plugin.manifest().needed_effects().find(|kind| !free(kind) && !granted.contains(kind));
    match missing {
        None => Ok(()),
        Some(kind) => {
            let hint = match kind {
                "http" => "`--grant-http 'GET http://127.0.0.1:8080/'`: method and URL, whose path is a prefix",
                "tcp" => "`--grant-tcp 127.0.0.1:6379`",
                "process" => "`--grant-process 'git describe *'`: the program and a pattern for each argument",
                "secrets" => {
                    "`--grant-secret token=DEPLOY_TOKEN`: its name, and the environment variable with its value"
                }
                other => {
                    let kind = clean_text(other);
                    return Err(wrong(format!(
                        "call the plugin: it asks for `{kind}`, which this version cannot grant"
                    )));
                }
            };
            Err(wrong(format!("call the plugin: it asks for `{kind}`, which is not granted"))
                .hint(format!("grant it with {hint}")))
        }
    }
}

/// Holds the call against the policies in force: the plugin's source, the grants, the limits. The environment is given by value, so
/// nothing is read that a policy could protect.
fn permit(args: &CallArgs, plugin: &Plugin, task: &mut Task, output: &Output) -> Result<Guard, CliError> {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let source = match (args.component.strip_prefix("std:"), args.component.parse::<Reference>()) {
        (Some(name), _) => PluginSource::Std { name: name.to_owned(), digest: None },
        (None, Ok(Reference { name, .. })) if args.component.starts_with("oci:") => {
            PluginSource::Oci { name, version: VersionRange::default(), digest: None }
        }
        _ => PluginSource::Path { path: args.component.clone(), digest: None },
    };
    let alias = PluginAlias::new("component").map_err(|error| CliError::new(Exit::Wrong, error))?;
    // Relative to where one is, as the argument.
    let vouched = Vouched::of([(&alias, &source, plugin)].into_iter(), Path::new(""), &policies, &[], output)?;
    let PluginKnown { digest, asks, locked, signers } = vouched.complete(&alias, policies.known(plugin));
    let facts = PluginFacts { source: &source, digest, locked, signers: &signers };
    let said = [
        (Limit::Fuel, args.fuel.is_some()),
        (Limit::Memory, args.memory.is_some()),
        (Limit::Timeout, args.timeout.is_some()),
    ];
    let said = said.into_iter().filter(|(_, said)| *said).map(|(limit, _)| limit).collect();
    let source_of = |text: &String| {
        let (secret, variable) = text.split_once('=')?;
        Some((SecretName::new(secret).ok()?, SecretSource::Env(variable.to_owned())))
    };
    let secrets = &args.grant_secret.iter().filter_map(source_of).collect();
    let (grants, limits) = (&task.grants, &task.limits);
    let node = NodeFacts { grants, secrets, asks: asks.as_deref(), limits, said: &said, variables: &[] };
    task.limits = policies.permit("call the plugin", Some(&facts), &node)?;
    Ok(policies.guard(secrets))
}

/// Takes the inputs into the store.
fn inputs(args: &CallArgs, store: &Store) -> Result<BTreeMap<PortName, ArtifactRef>, CliError> {
    let mut inputs = BTreeMap::new();
    let mut add = |name: &str, artifact: ArtifactRef| {
        let port = PortName::new(name).map_err(|error| CliError::new(Exit::Wrong, error))?;
        match inputs.insert(port, artifact) {
            None => Ok(()),
            Some(_) => Err(wrong(format!("take input `{name}`: it is given twice"))),
        }
    };
    for (name, path) in &args.given.inputs {
        add(name, input(store, name, Path::new(path))?)?;
    }
    for (name, text) in &args.given.json_inputs {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| CliError::new(Exit::Wrong, error).context(format!("read input `{name}` as JSON")))?;
        let bytes = canonical_json(&value);
        let digest = store.put_blob(bytes.as_bytes())?;
        add(name, ArtifactRef { kind: ArtifactKind::Blob, digest, size: bytes.len() as u64 })?;
    }
    Ok(inputs)
}

fn input(store: &Store, name: &str, path: &Path) -> Result<ArtifactRef, CliError> {
    let failed = |error: anyhow::Error| {
        CliError::new(Exit::Wrong, error.context(format!("take input `{name}` from `{}`", path.display())))
    };
    let full = path.canonicalize().map_err(|error| failed(error.into()))?;
    let taken = if full.is_dir() {
        let spec = SnapshotSpec { dir: ".".into(), include: Vec::new(), exclude: Vec::new(), ignore: true };
        store.snapshot(&full, &spec, &[])
    } else {
        match (full.parent(), full.file_name().and_then(|name| name.to_str())) {
            (Some(parent), Some(file)) => store.snapshot_file(parent, file),
            _ => return Err(failed(anyhow::anyhow!("its name is not UTF-8"))),
        }
    };
    taken.map_err(|error| CliError::from(error).context(format!("take input `{name}` from `{}`", path.display())))
}

/// The plugin's input ports; an evaluator has its observation besides, which no manifest names.
fn ports_of(plugin: &Plugin) -> Result<Ports, CliError> {
    let mut ports = plugin.manifest().inputs.clone();
    if plugin.world() == World::CanaryEvaluator && ports.kind(OBSERVATION).is_none() {
        let summary = String::new();
        ports.named.push(Port { name: name(OBSERVATION)?, kind: PortKind::Blob, optional: false, summary });
    }
    Ok(ports)
}

fn check_inputs(ports: &Ports, inputs: &BTreeMap<PortName, ArtifactRef>) -> Result<(), CliError> {
    for (name, artifact) in inputs {
        let Some(kind) = ports.kind(name.as_str()) else {
            let error = wrong(format!("take input `{name}`: the plugin has no such input"));
            return Err(match nearest(name.as_str(), ports.named.iter().map(|port| port.name.as_str())) {
                Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
                None => error.hint("`lockgate plugin inspect` shows its inputs"),
            });
        };
        if !kind.takes(artifact.kind) {
            let (found, wanted) = (artifact.kind.name(), kind.name());
            return Err(wrong(format!("take input `{name}`: it is a {found}, the plugin takes a {wanted}"))
                .hint("a file becomes a blob, a directory a tree"));
        }
    }
    match ports.named.iter().find(|port| !port.optional && !inputs.contains_key(&port.name)) {
        Some(port) => Err(wrong(format!("call the plugin: its input `{}` is missing", port.name))
            .hint(format!("give it with `--input {}=PATH`", port.name))),
        None => Ok(()),
    }
}

fn name<T: std::str::FromStr<Err = lockgate_model::id::NameError>>(text: &str) -> Result<T, CliError> {
    text.parse().map_err(|error: lockgate_model::id::NameError| CliError::new(Exit::Wrong, error))
}

fn task(
    args: &CallArgs,
    plugin: &Plugin,
    config: Map<String, Value>,
    inputs: BTreeMap<PortName, ArtifactRef>,
    grants: Grants,
) -> Result<Task, CliError> {
    let mut limits = Limits::default();
    limits.fuel = args.fuel.unwrap_or(limits.fuel);
    limits.memory = args.memory.unwrap_or(limits.memory);
    limits.timeout = args.timeout.unwrap_or(limits.timeout);
    Ok(Task {
        run: name::<RunId>("call")?,
        node: name::<NodeId>("call")?,
        attempt: 1,
        component: plugin.digest(),
        world: plugin.world(),
        config: canonical_json(&config),
        inputs,
        env: args.given.env.iter().cloned().collect(),
        limits,
        grants,
        logical_time: args.logical_time.unwrap_or(DEFAULT_LOGICAL_TIME),
        look: Look::default(),
        state: None,
        first_sequence: 0,
    })
}

/// Writes the outputs below a directory, each under its name.
fn write_outputs(
    store: &Store,
    dir: &Path,
    outputs: &BTreeMap<PortName, ArtifactRef>,
) -> Result<BTreeMap<PortName, PathBuf>, CliError> {
    let context = || format!("write the outputs to `{}`", dir.display());
    let failed = |error: std::io::Error| CliError::new(Exit::Infrastructure, error).context(context());
    fs::create_dir_all(dir).map_err(failed)?;
    let root = dir.canonicalize().map_err(failed)?;
    let mut written = BTreeMap::new();
    for (name, artifact) in outputs {
        let exported = store.export(artifact, &root, name.as_str(), &[]);
        let exported = exported.map_err(|error| CliError::new(Exit::Infrastructure, error).context(context()))?;
        written.insert(name.clone(), exported.path);
    }
    Ok(written)
}

fn print_log(completion: &Completion, blobs: &StoreBlobs, output: &Output) {
    if let Some(log) = completion.log.as_ref().filter(|_| !output.quiet)
        && let Ok(bytes) = blobs.0.read_blob(&log.digest, MAX_LOG)
    {
        output.note(&clean_text(&String::from_utf8_lossy(&bytes)));
    }
    if let Some(backtrace) = &completion.backtrace {
        output.note(&(clean_text(backtrace) + "\n"));
    }
}

fn document(
    plugin: &Plugin,
    completion: &Completion,
    written: &BTreeMap<PortName, PathBuf>,
    blobs: &StoreBlobs,
) -> Result<Value, CliError> {
    let unreadable = |error| CliError::new(Exit::Infrastructure, error).context("read what the plugin made");
    let findings = match &completion.findings {
        Some(blob) => read_findings(blob, None, blobs).map_err(unreadable)?,
        None => Vec::new(),
    };
    let effects = match &completion.effects {
        Some(blob) => {
            let text = String::from_utf8_lossy(&blobs.0.read_blob(&blob.digest, MAX_LOG)?).into_owned();
            effect::decode(&text)
                .map_err(|error| CliError::new(Exit::Infrastructure, error).context("read the effects"))?
        }
        None => Vec::new(),
    };
    let outputs: Map<String, Value> = completion
        .outputs
        .iter()
        .map(|(name, artifact)| {
            let mut value = json!(artifact);
            if let Some(path) = written.get(name) {
                value["path"] = path.display().to_string().into();
            }
            (name.to_string(), value)
        })
        .collect();
    Ok(json!({
        "schema": 1,
        "component": plugin.digest(),
        "status": status(completion),
        "failure": completion.failure,
        "verdict": completion.verdict,
        "findings": findings,
        "outputs": outputs,
        "effects": effects,
        "fuel": completion.fuel,
        "peak_memory": completion.peak_memory,
    }))
}

/// The completion as a node that is final, so that it is shown as one.
fn ended(plugin: &Plugin, completion: &Completion, limits: &Limits, micros: u64) -> Result<report::Ended, CliError> {
    let receipt = Receipt {
        node: name::<NodeId>("call")?,
        component: Some(plugin.digest()),
        key: None,
        status: status(completion),
        failure: completion.failure.clone(),
        outputs: completion.outputs.clone(),
        findings: completion.findings,
        verdict: completion.verdict.clone(),
        decision: None,
        log: completion.log,
        effects: completion.effects,
        fuel: completion.fuel,
    };
    let facts = AttemptFacts {
        micros,
        peak_memory: completion.peak_memory,
        fuel_limit: limits.fuel.0,
        cached: false,
        pure: false,
        findings: completion.finding_counts.clone(),
        log: None,
        taken_from: None,
        backtrace: completion.backtrace.clone(),
    };
    Ok(report::Ended { receipt: Arc::new(receipt), attempt: 1, reason: None, facts, dir: None })
}

#[cfg(test)]
mod tests {
    use lockgate_model::Digest;

    use super::*;

    #[test]
    fn inputs_fit_the_ports() {
        let port =
            |name: &str, kind, optional| Port { name: name.parse().unwrap(), kind, optional, summary: String::new() };
        let ports =
            Ports { named: vec![port("src", PortKind::Tree, false), port("more", PortKind::Any, true)], open: None };
        let check = |given: &[(&str, ArtifactKind)]| {
            let artifact = |kind| ArtifactRef { kind, digest: Digest::of(b""), size: 0 };
            let inputs = given.iter().map(|(name, kind)| (name.parse().unwrap(), artifact(*kind))).collect();
            check_inputs(&ports, &inputs).err().map(|error| error.render(crate::render::style::Style::PLAIN))
        };
        assert_eq!(check(&[("src", ArtifactKind::Tree)]), None);
        assert!(check(&[]).unwrap().contains("--input src=PATH"));
        assert!(check(&[("src", ArtifactKind::Blob)]).unwrap().contains("takes a tree"));
        assert!(check(&[("scr", ArtifactKind::Tree)]).unwrap().contains("did you mean `src`?"));
    }
}
