//! `wasi:cli` and `wasi:random`: arguments, environment, standard streams, the end; and numbers that look random.

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::limits::MAX_HOST_CALL;
use wasmtime::component::{Linker, LinkerInstance, Resource};

use super::content::Content;
use super::streams::{InputStream, OutputStream};
use super::vfs::Mount;
use super::{Stream, call, call_unit, instance, resource};
use crate::imports::{claim_output, push};
use crate::schedule::Call;
use crate::state::{Output, State, Stop};

/// The first argument of every command: its name, which it has none of.
const PROGRAM: &str = "command";
/// The input that a command reads as its standard input.
const STDIN: &str = "stdin";
/// Longest line of a stream in the log in bytes; a longer one is broken.
const MAX_LINE: usize = 8 << 10;
/// What of standard error stands in the message of a failure, in bytes.
const TAIL: usize = 2 << 10;

/// What a guest wrote to one of its streams.
#[derive(Default)]
pub(crate) struct Captured {
    content: Content,
    /// Of the line that is not ended.
    line: Vec<u8>,
    /// The last bytes.
    tail: Vec<u8>,
    /// It is no text: it is not shown.
    binary: bool,
}

/// A stream of bytes without an end that nobody can foresee.
#[derive(Default)]
pub(crate) struct Random {
    seed: Option<Digest>,
    block: u64,
    left: Vec<u8>,
}

struct Terminal;

/// Links them.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut environment = instance(linker, "cli/environment")?;
    call(&mut environment, "get-environment", Call::Small, |state, (): ()| {
        let variables: Vec<_> = state.task.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        state.spend_bytes(variables.iter().map(|(name, value)| (name.len() + value.len()) as u64).sum())?;
        Ok(variables)
    })?;
    call(&mut environment, "get-arguments", Call::Small, |state, (): ()| {
        let Some(command) = &state.wasi.command else { return Ok(Vec::new()) };
        let arguments: Vec<_> = std::iter::once(PROGRAM.to_owned()).chain(command.args.iter().cloned()).collect();
        state.spend_bytes(arguments.iter().map(|argument| argument.len() as u64).sum())?;
        Ok(arguments)
    })?;
    call(&mut environment, "initial-cwd", Call::Small, |state, (): ()| {
        Ok(state.wasi.command.is_some().then(|| "/".to_owned()))
    })?;

    let mut exit = instance(linker, "cli/exit")?;
    call_unit(&mut exit, "exit", Call::Small, |_, (status,): (Result<(), ()>,)| {
        Err(Stop::Exit(u8::from(status.is_err())))
    })?;
    call_unit(&mut exit, "exit-with-code", Call::Small, |_, (code,): (u8,)| Err(Stop::Exit(code)))?;

    let mut stdin = instance(linker, "cli/stdin")?;
    call(&mut stdin, "get-stdin", Call::Small, |state, (): ()| {
        let input = state.task.inputs.get(STDIN).filter(|input| input.kind == ArtifactKind::Blob);
        let stream = match input.filter(|_| state.wasi.command.is_some()) {
            Some(input) => InputStream::Blob(Content::stored(input.digest, input.size), 0),
            None => InputStream::Empty,
        };
        push(state, stream)
    })?;
    for (name, function, stream) in
        [("cli/stdout", "get-stdout", Stream::Stdout), ("cli/stderr", "get-stderr", Stream::Stderr)]
    {
        let mut interface = instance(linker, name)?;
        call(&mut interface, function, Call::Small, move |state, (): ()| push(state, OutputStream::Captured(stream)))?;
    }
    terminals(linker)?;
    random(linker)
}

/// There are none.
fn terminals(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in ["terminal-input", "terminal-output"] {
        resource::<Terminal>(&mut instance(linker, &format!("cli/{name}"))?, name, |_, _| Ok(()))?;
    }
    for (name, function) in [
        ("cli/terminal-stdin", "get-terminal-stdin"),
        ("cli/terminal-stdout", "get-terminal-stdout"),
        ("cli/terminal-stderr", "get-terminal-stderr"),
    ] {
        call(&mut instance(linker, name)?, function, Call::Small, |_, (): ()| Ok(None::<Resource<Terminal>>))?;
    }
    Ok(())
}

fn random(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    fn bytes(instance: &mut LinkerInstance<'_, State>, name: &'static str) -> wasmtime::Result<()> {
        call(instance, name, Call::Small, |state, (length,): (u64,)| {
            if length > MAX_HOST_CALL {
                let limit = lockgate_model::units::Bytes(MAX_HOST_CALL);
                return Err(Stop::Limit(format!("it asks for more than {limit} of random bytes at once")));
            }
            take(state, length)
        })
    }
    fn number(instance: &mut LinkerInstance<'_, State>, name: &'static str) -> wasmtime::Result<()> {
        call(instance, name, Call::Small, |state, (): ()| take_number(state))
    }
    let mut secure = instance(linker, "random/random")?;
    bytes(&mut secure, "get-random-bytes")?;
    number(&mut secure, "get-random-u64")?;
    let mut insecure = instance(linker, "random/insecure")?;
    bytes(&mut insecure, "get-insecure-random-bytes")?;
    number(&mut insecure, "get-insecure-random-u64")?;
    let mut seed = instance(linker, "random/insecure-seed")?;
    call(&mut seed, "insecure-seed", Call::Small, |state, (): ()| Ok((take_number(state)?, take_number(state)?)))
}

fn take_number(state: &mut State) -> Result<u64, Stop> {
    let bytes = take(state, 8)?;
    Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

/// The next bytes: sha-256 of the seed and a counter, block by block. The seed is of what the node's action key says about what is
/// computed: component, world, config, inputs, environment, logical time, and of the look.
fn take(state: &mut State, length: u64) -> Result<Vec<u8>, Stop> {
    state.spend_bytes(length)?;
    let task = &state.task;
    let seed = *state.wasi.random.seed.get_or_insert_with(|| {
        let parts =
            (task.component, task.world, &task.config, &task.inputs, &task.env, task.logical_time, task.look.index);
        Digest::of_json("lockgate-random-v1", &parts)
    });
    let random = &mut state.wasi.random;
    // At most 16 MiB, so it fits.
    let mut bytes = Vec::with_capacity(length as usize);
    while (bytes.len() as u64) < length {
        if random.left.is_empty() {
            let block = [&seed.as_bytes()[..], &random.block.to_le_bytes()].concat();
            random.block += 1;
            random.left = Digest::tagged("lockgate-random-block-v1", &block).as_bytes().to_vec();
        }
        let count = random.left.len().min(length as usize - bytes.len());
        bytes.extend(random.left.drain(..count));
    }
    Ok(bytes)
}

/// Takes what a guest writes to a stream: line by line into the log, and of a command whole into an output.
pub(crate) fn capture(state: &mut State, stream: Stream, bytes: &[u8]) -> Result<(), Stop> {
    let mut captured = std::mem::take(&mut state.wasi.captured[stream as usize]);
    let Captured { content, line, tail, binary } = &mut captured;
    if state.wasi.command.is_some() {
        let end = content.size();
        content.write(state, Mount::Out, end, bytes)?;
    }
    tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
    tail.drain(..tail.len().saturating_sub(TAIL));
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        if *binary || state.log.is_cut() {
            break;
        }
        line.extend_from_slice(part);
        if line.ends_with(b"\n") || line.len() >= MAX_LINE {
            *binary = !show(state, stream, line);
            line.clear();
        }
    }
    state.wasi.captured[stream as usize] = captured;
    Ok(())
}

/// Shows a line in the log; false where it is no text.
fn show(state: &mut State, stream: Stream, line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&0) {
        let message = format!("{} is no text; the rest of it is not shown", stream.name());
        state.log.add(stream.level(), &message);
        return false;
    }
    let text = String::from_utf8_lossy(line);
    state.log.add(stream.level(), &state.secrets.mask(&text));
    true
}

/// Shows the last lines that have no end.
pub(crate) fn flush(state: &mut State) {
    for stream in [Stream::Stdout, Stream::Stderr] {
        let captured = &mut state.wasi.captured[stream as usize];
        let line = std::mem::take(&mut captured.line);
        if !line.is_empty() && !captured.binary {
            show(state, stream, &line);
        }
    }
}

/// Makes outputs of both streams.
pub(crate) fn keep(state: &mut State) -> Result<(), Stop> {
    for stream in [Stream::Stdout, Stream::Stderr] {
        let mut content = std::mem::take(&mut state.wasi.captured[stream as usize].content);
        let size = content.size();
        let digest = content.digest(state)?;
        if let Ok(port) = claim_output(state, stream.name(), ArtifactKind::Blob) {
            state.outputs.insert(port, Output::Done(ArtifactRef { kind: ArtifactKind::Blob, digest, size }));
        }
    }
    Ok(())
}

/// The last lines of standard error, for the message of a failure; begins with a line break where there are any.
pub(crate) fn last_words(state: &State) -> String {
    let tail = &state.wasi.captured[Stream::Stderr as usize].tail;
    let text = String::from_utf8_lossy(tail);
    let text = text.trim_matches(['\n', '\r', ' ', '\t', '\u{fffd}']);
    // Where the beginning is cut off, the first line is none.
    let text = match (tail.len() >= TAIL, text.split_once('\n')) {
        (true, Some((_, rest))) => rest,
        _ => text,
    };
    let mut lines: Vec<_> = text.lines().rev().take(10).collect();
    lines.reverse();
    if text.is_empty() { String::new() } else { format!(":\n{}", lines.join("\n")) }
}
