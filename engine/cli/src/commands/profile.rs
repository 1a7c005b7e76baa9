//! `lockgate plugin profile`: where the fuel of a call goes, and how much memory it had by then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate::wiring::load;
use lockgate_host::{Host, HostOptions, Plugin, Profile};
use lockgate_model::limits::Limits;
use lockgate_model::units::Millis;
use lockgate_model::{PortName, canonical_json};
use lockgate_syntax::case::{CaseFile, CaseInput, Expect};
use serde_json::{Value, json};

use super::{Ended, config};
use crate::args::{Format, ProfileArgs, StateArgs};
use crate::cases::{Bench, Case, Project};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::diagnostics::{self, count};
use crate::render::output::Output;
use crate::render::profile::{self, Function, Title};
use crate::render::svg;

/// Samples that are aimed at: enough that a function with a thousandth of the fuel is seen.
const SAMPLES: u64 = 5_000;
/// Least fuel between two samples by default: taking one costs about as long as this much.
const LEAST: u64 = 199;
/// Wall time for a call that is profiled, whatever its limit is: samples cost time, and time is not what is measured.
const TIMEOUT: Millis = Millis(600_000);
/// Functions that are listed for people.
const LISTED: usize = 20;

/// Profiles a call.
pub(crate) fn profile(args: &ProfileArgs, output: &Output) -> Ended {
    let memory_file = memory_file(&args.output);
    if let Some(path) = [&args.output, &memory_file].into_iter().find(|path| path.is_dir()) {
        let error = anyhow::anyhow!("write a profile to `{}`: it is a directory", path.display());
        return Err(CliError::new(Exit::Wrong, error).hint("name a file with `--output`"));
    }
    let mut problems = Vec::new();
    let (component, bytes, case) = match &args.case {
        Some(name) => {
            let mut project = Project::case(&args.target, name, &mut problems)?;
            if !problems.is_empty() {
                output.note(&diagnostics::human(&problems, output.err, output.width));
                let problems = count(problems.len(), "problem");
                output.note(&format!("{} {problems} in the case; nothing ran\n", output.err.bad("error:")));
                return Ok(Exit::Wrong);
            }
            let case = project.cases.pop();
            (project.component, project.bytes, case)
        }
        None => (args.target.clone(), load::component(&args.target)?, Some(by_hand(args)?)),
    };
    let Some(mut case) = case else { return Err(wrong("find the case: there is none")) };
    case.file.limits.timeout = case.file.limits.timeout.max(TIMEOUT);
    let host = Arc::new(Host::new(HostOptions { slots: 1, profiling: true, ..HostOptions::default() })?);
    let bench = Bench::new(host)?;
    let here = place::state_here(&StateArgs { root: None, state: None })?;
    let cache = load::code_cache(if here.is_dir() { &here } else { bench.store.dir() });
    let plugin = bench.host.load(&bytes, &*cache).map_err(|error| load::load_failed(&component, error))?;
    let (end, profile) = bench.profile(&plugin, &case, |fuel| interval(args, fuel))?;
    if let Some(fuel) = end.fuel.filter(|fuel| *fuel != profile.fuel) {
        let error = anyhow::anyhow!("profile the call: it took {fuel} of fuel, the profile has {}", profile.fuel);
        return Err(CliError::new(Exit::NotReproducible, error));
    }
    let functions = profile::functions(&profile);
    let title = title(&plugin, args);
    write(&args.output, &svg::flame_graph(&profile, &title))?;
    write(&memory_file, &profile::memory_graph(&profile, &title))?;
    match args.format {
        Format::Human => {
            output.data(&profile::human(&profile, &functions[..functions.len().min(LISTED)], &end, output.out));
            if !output.quiet {
                let (flame, memory) = (args.output.display(), memory_file.display());
                output.note(&format!("flame graph in {flame}, memory in {memory}\n"));
            }
        }
        Format::Json => {
            let document = document(&plugin, args, &profile, &functions, (&args.output, &memory_file));
            output.data(&(document.to_string() + "\n"));
        }
    }
    if let Some((kind, message)) = &end.failure {
        output.warning(&format!("the call failed ({kind}): {message}"));
    }
    Ok(if end.broken { Exit::Infrastructure } else { Exit::Succeeded })
}

fn wrong(message: &str) -> CliError {
    CliError::new(Exit::Wrong, anyhow::anyhow!(message.to_owned()))
}

/// `profile.svg` and `profile.memory.svg`.
fn memory_file(flame: &Path) -> PathBuf {
    flame.with_extension("memory.svg")
}

/// The fuel between two samples of a call that takes so much.
fn interval(args: &ProfileArgs, fuel: u64) -> u64 {
    // Odd, so that it does not keep step with what repeats itself in powers of two.
    args.interval.map_or_else(|| (fuel / SAMPLES).max(LEAST) | 1, |interval| interval.0.max(1))
}

/// A call by hand as a case.
fn by_hand(args: &ProfileArgs) -> Result<Case, CliError> {
    let mut inputs = BTreeMap::new();
    let port = |name: &str| PortName::new(name).map_err(|error| CliError::new(Exit::Wrong, error));
    for (name, path) in &args.given.inputs {
        inputs.insert(port(name)?, CaseInput::Path(path.clone()));
    }
    for (name, text) in &args.given.json_inputs {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| CliError::new(Exit::Wrong, error).context(format!("read input `{name}` as JSON")))?;
        inputs.insert(port(name)?, CaseInput::Bytes(canonical_json(&value).into_bytes()));
    }
    if inputs.len() < args.given.inputs.len() + args.given.json_inputs.len() {
        return Err(wrong("take the inputs: one of them is given twice"));
    }
    let mut limits = Limits::default();
    limits.fuel = args.fuel.unwrap_or(limits.fuel);
    limits.memory = args.memory.unwrap_or(limits.memory);
    let file = CaseFile {
        summary: None,
        config: config::read(&args.given.config)?,
        logical_time: None,
        env: args.given.env.iter().cloned().collect(),
        inputs,
        limits,
        grants: lockgate_model::grant::Grants::default(),
        expect: Expect::default(),
        http: Vec::new(),
        process: Vec::new(),
        tcp: Vec::new(),
        look: None,
        state: None,
        looks: Vec::new(),
    };
    // The paths of a command line are relative to where one is. Its folder `inputs`, if there is one, is not a case's.
    Ok(Case { name: String::new(), dir: PathBuf::from("."), file, alone: true })
}

fn title(plugin: &Plugin, args: &ProfileArgs) -> Title {
    let manifest = plugin.manifest();
    let case = args.case.as_ref().map(|case| format!(", case {case}")).unwrap_or_default();
    Title { name: format!("{} {}{case}", manifest.name, manifest.version), component: plugin.digest().to_string() }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    super::put(path, text.as_bytes()).map_err(|error| {
        let wrong = matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied);
        let exit = if wrong { Exit::Wrong } else { Exit::Infrastructure };
        CliError::new(exit, error).context(format!("write a profile to `{}`", path.display()))
    })
}

fn document(
    plugin: &Plugin,
    args: &ProfileArgs,
    profile: &Profile,
    functions: &[Function],
    (flame, memory): (&Path, &Path),
) -> Value {
    let stacks: Vec<_> =
        profile.stacks.iter().map(|(frames, fuel)| json!({ "frames": frames, "fuel": fuel })).collect();
    let functions: Vec<_> = functions
        .iter()
        .map(|function| json!({ "name": function.name, "self": function.own, "total": function.total }))
        .collect();
    let absolute = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    json!({
        "schema": 1,
        "component": plugin.digest(),
        "case": args.case,
        "fuel": profile.fuel,
        "interval": profile.interval,
        "samples": profile.samples,
        "functions": functions,
        "stacks": stacks,
        "memory": profile.memory,
        "files": { "flame_graph": absolute(flame), "memory": absolute(memory) },
    })
}
