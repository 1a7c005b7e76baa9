//! `process`: programs of the host within grants, each execution recorded.

use std::collections::BTreeSet;
use std::time::Duration;

use lockgate_model::artifact::{ArtifactRef, MAX_PATH};
use lockgate_model::effect::Begun;
use lockgate_model::{Digest, PortName};
use serde_json::json;
use wasmtime::component::Linker;

use super::{Context, claim_output, interface, short};
use crate::bindings::process::{Command, Error, Exit};
use crate::exchange::{Effect, REQUEST_DOMAIN, Recorder, answer, bytes_json, idempotency_key};
use crate::ports::{Asked, AskedProcess};
use crate::process::{Checked, refuse, run};
use crate::schedule::Call;
use crate::state::{Output, State, Stop, begin, charge, charge_bytes};

/// The time of one execution, by default.
const DEFAULT_TIMEOUT: u32 = 10_000;
/// Most arguments, and most bytes of them together: what systems take.
const MAX_ARGUMENTS: usize = 10_000;
const MAX_ARGUMENT_BYTES: usize = 64 << 10;
/// Most paths that are laid into a working directory or taken out of it.
const MAX_PATHS: usize = 1_000;

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut process = interface(linker, "process")?;
    process.func_wrap_async("run", |mut store: Context<'_>, (command,): (Command,)| {
        Box::new(async move {
            begin(&mut store, "process", Call::Small)?;
            Ok((one(&mut store, command).await?,))
        })
    })
}

async fn one(store: &mut Context<'_>, command: Command) -> Result<Result<Exit, Error>, Stop> {
    charge(store, Call::Exchange.fuel())?;
    charge_bytes(store, command_bytes(&command))?;
    let checked = check(store.data_mut(), &command);
    tell(store.data(), &command, checked.as_ref());
    let (checked, effect) = match checked {
        Ok(checked) => checked,
        Err(refused) => return Ok(Err(refused)),
    };
    let recorder = Recorder::begin(store.data_mut(), 1)?;
    let (artifacts, secrets) = (store.data().artifacts.clone(), store.data().secrets.clone());
    let (ran, record) = match recorder.intent(0, &effect).await? {
        Begun::Answered(record) => {
            let ran = answer::exited(&record, &*artifacts).map_err(|error| recorder.unreadable(0, &error))?;
            (ran, record)
        }
        Begun::Issue => {
            let launcher = store.data().launcher.clone();
            let key = idempotency_key(&store.data().task, recorder.sequence(0));
            let ran = run(launcher, checked, key, artifacts.clone(), secrets).await?;
            let record = match &ran {
                Ok((exit, outputs)) => json!({
                    "code": exit.code,
                    "stdout": bytes_json(&*artifacts, &exit.stdout)?,
                    "stderr": bytes_json(&*artifacts, &exit.stderr)?,
                    "truncated": exit.truncated,
                    "total-us": exit.total_us,
                    "outputs": outputs,
                }),
                Err(error) => json!({ "error": { "code": error.code, "message": error.message } }),
            };
            recorder.outcome(0, &record).await?;
            (ran, record)
        }
    };
    let record = recorder.record(0, effect, record);
    store.data_mut().records.push(record);
    let (exit, outputs) = match ran {
        Ok(ran) => ran,
        Err(error) => return Ok(Err(error)),
    };
    for (port, collected) in outputs {
        let ArtifactRef { kind, size, .. } = collected.artifact;
        if let Err(error) = claim_output(store.data_mut(), port.as_str(), kind) {
            return Ok(Err(refuse("bad-request", error.message)));
        }
        charge_bytes(store, size)?;
        let state = store.data_mut();
        state.write(size)?;
        state.add_entries(collected.entries)?;
        state.outputs.insert(port, Output::Done(collected.artifact));
    }
    charge_bytes(store, (exit.stdout.len() + exit.stderr.len()) as u64)?;
    Ok(Ok(exit))
}

fn command_bytes(command: &Command) -> u64 {
    let arguments: usize = command.arguments.iter().map(String::len).sum();
    (command.program.len() + arguments + command.stdin.as_ref().map_or(0, Vec::len)) as u64
}

/// Tells who stands behind the effects what was asked.
fn tell(state: &State, command: &Command, checked: Result<&(Checked, Effect), &Error>) {
    state.effects.asked(&Asked::Process(AskedProcess {
        program: &command.program,
        arguments: &command.arguments,
        stdin: command.stdin.as_deref().unwrap_or_default(),
        inputs: &command.inputs,
        outputs: &command.outputs,
        effect: checked.map(|(_, effect)| effect.request).map_err(|refused| refused.code.as_str()),
    }));
}

/// Everything that needs no process: grants, paths, names.
fn check(state: &mut State, command: &Command) -> Result<(Checked, Effect), Error> {
    let bad = |message: String| refuse("bad-request", message);
    let Command { program, arguments, stdin, inputs, outputs, timeout_ms } = command;
    let size: usize = arguments.iter().map(String::len).sum();
    if arguments.len() > MAX_ARGUMENTS || size > MAX_ARGUMENT_BYTES {
        return Err(bad(format!("it has more than {MAX_ARGUMENTS} arguments, or {MAX_ARGUMENT_BYTES} bytes of them")));
    }
    if arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(bad("an argument holds a NUL character".into()));
    }
    let summary = std::iter::once(program).chain(arguments).map(String::as_str).collect::<Vec<_>>().join(" ");
    let grants = &state.task.grants.process;
    let Some(grant) = grants.iter().find(|grant| grant.permits(program, arguments)).cloned() else {
        let message = format!("`grants.process` of the node does not permit `{}`", short(&summary));
        return Err(refuse("not-granted", message));
    };
    if inputs.len() > MAX_PATHS || outputs.len() > MAX_PATHS {
        return Err(bad(format!("it names more than {MAX_PATHS} inputs or outputs")));
    }
    let mut laid: Vec<(ArtifactRef, String)> = Vec::with_capacity(inputs.len());
    for (name, path) in inputs {
        let Some(artifact) = state.task.inputs.get(name.as_str()) else {
            return Err(bad(format!("there is no input `{}`", short(name))));
        };
        let path = relative(path)?;
        let clash = |other: &String| {
            let inside = |outer: &str, inner: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            inside(other, &path) || inside(&path, other)
        };
        if let Some((_, other)) = laid.iter().find(|(_, other)| clash(other)) {
            return Err(bad(format!("the inputs at `{other}` and `{path}` lie in each other")));
        }
        laid.push((*artifact, path));
    }
    let mut wanted = Vec::with_capacity(outputs.len());
    let mut names = BTreeSet::new();
    for (path, name) in outputs {
        let path = relative(path)?;
        let port = PortName::new(name).ok().filter(|_| state.outputs_declared.kind(name).is_some());
        let Some(port) = port else {
            let message = format!("it writes the output `{}`, which its manifest does not declare", short(name));
            state.breach(message.clone());
            return Err(bad(message));
        };
        if state.outputs.contains_key(&port) || !names.insert(port.clone()) {
            return Err(bad(format!("the output `{port}` was begun already")));
        }
        wanted.push((path, port));
    }
    let most = state.limits().timeout.0;
    let timeout = u64::from(timeout_ms.unwrap_or(DEFAULT_TIMEOUT)).min(most);
    let stdin = stdin.clone().unwrap_or_default();
    let canonical = json!({
        "program": program,
        "arguments": arguments,
        "stdin": Digest::of(&stdin),
        "inputs": laid,
        "outputs": wanted,
        "timeout-ms": timeout,
    });
    let effect = Effect { kind: "process", request: Digest::of_json(REQUEST_DOMAIN, &canonical), summary };
    let max_file = state.limits().output.0.saturating_sub(state.written).saturating_add(1);
    let timeout = Duration::from_millis(timeout);
    let arguments = arguments.clone();
    Ok((Checked { grant, arguments, stdin, inputs: laid, outputs: wanted, timeout, max_file }, effect))
}

/// A path inside of the working directory.
fn relative(path: &str) -> Result<String, Error> {
    let wrong = path.is_empty()
        || path.len() > MAX_PATH
        || path.contains('\0')
        || path.split('/').any(|part| matches!(part, "" | "." | ".."));
    match wrong {
        true => {
            let message = format!("`{}` is no path inside of the working directory", short(path));
            Err(refuse("bad-request", message))
        }
        false => Ok(path.to_owned()),
    }
}
