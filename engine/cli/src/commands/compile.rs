//! The hidden `lockgate compile-component`: one component in a process of its own, for [`crate::compiler`].

use std::io::{BufRead as _, Read as _, Write as _};

use lockgate_host::{Host, HostOptions};
use lockgate_model::limits::ComponentLimits;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::Ended;
use crate::exit::{CliError, Exit};

/// Largest line with the limits.
const MAX_HEAD: u64 = 64 << 10;

/// Reads limits and a component from stdin, and writes what came of compiling it to stdout.
pub(crate) fn compile() -> Ended {
    let wrong = |error: anyhow::Error| CliError::new(Exit::Wrong, error.context("read a component from stdin"));
    let infrastructure = |error: anyhow::Error| CliError::new(Exit::Infrastructure, error);
    let mut stdin = std::io::stdin().lock();
    let mut head = Vec::new();
    stdin.by_ref().take(MAX_HEAD).read_until(b'\n', &mut head).map_err(|error| wrong(error.into()))?;
    let limits: ComponentLimits = serde_json::from_slice(&head).map_err(|error| wrong(error.into()))?;
    confine(&limits).map_err(|error| infrastructure(anyhow::Error::new(error).context("limit this process")))?;
    let mut component = Vec::new();
    // One byte more than permitted is refused like any other that is too large.
    stdin.take(limits.size.0.saturating_add(1)).read_to_end(&mut component).map_err(|error| wrong(error.into()))?;
    // No pool: it starts faster, and reserves less.
    let options = HostOptions { slots: 1, limits, pooling: false, ..HostOptions::default() };
    let answer = lockgate_host::encode(Host::new(options)?.prepare(&component));
    // Nobody who does not read wants it.
    std::io::stdout().lock().write_all(&answer).map_err(|error| infrastructure(error.into()))?;
    Ok(Exit::Succeeded)
}

/// Limits this process. What counts as memory is what it can write to: address space that is only reserved, as for the guard
/// regions of WebAssembly memories, costs nothing. No core is left of it, since a component of a stranger stands in there.
fn confine(limits: &ComponentLimits) -> std::io::Result<()> {
    let seconds = limits.compile_cpu.0.div_ceil(1_000);
    let at_most = |resource, soft: u64, hard: u64| -> std::io::Result<()> {
        // What was limited further already stays so.
        let now = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(now)), maximum: Some(hard.min(now)) };
        Ok(setrlimit(resource, limit)?)
    };
    at_most(Resource::Core, 0, 0)?;
    at_most(Resource::Data, limits.compile_memory.0, limits.compile_memory.0)?;
    // The first of the two ends it by a signal that says why.
    at_most(Resource::Cpu, seconds, seconds.saturating_add(1))
}
