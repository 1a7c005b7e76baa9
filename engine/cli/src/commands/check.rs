//! `lockgate check`: every problem of a pipeline, without running it.

use lockgate::wiring::load;
use lockgate::wiring::policy::Policies;
use lockgate::wiring::registry::Finder;
use lockgate_store::Store;

use super::{Ended, report_problems};
use crate::args::{CheckArgs, FileArgs, Format, LockArgs};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::diagnostics;
use crate::render::output::Output;
use lockgate::wiring::trust;

/// Checks a pipeline. Problems go to stderr, or with `--format json` to stdout.
pub(crate) fn check(args: &CheckArgs, output: &Output) -> Ended {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let loaded = checked(&args.file, &args.lock, &policies, output)?;
    if args.format == Format::Json {
        let lines: String = loaded.problems.iter().map(|problem| diagnostics::json(problem, &loaded.name)).collect();
        output.data(&lines);
        return Ok(super::exit_of(&loaded));
    }
    if !loaded.problems.is_empty() {
        return Ok(report_problems(&loaded, output));
    }
    if let Some(ready) = loaded.ready().filter(|_| !output.quiet) {
        let nodes = diagnostics::count(ready.graph.len(), "node");
        let plugins = diagnostics::count(loaded.plugins.len(), "plugin");
        output.note(&format!("{} {}: {nodes}, {plugins}, no problem\n", output.err.good("ok"), loaded.name));
    }
    Ok(Exit::Succeeded)
}

/// A pipeline with everything checked that can be without running it, and held against the policies.
pub(crate) fn checked(
    args: &FileArgs,
    lock: &LockArgs,
    policies: &Policies,
    output: &Output,
) -> Result<load::Loaded, CliError> {
    checked_with(args, lock, &Finder::locked(&args.file, lock.offline), policies, output)
}

/// The same, with components of registries as `registries` finds them.
pub(super) fn checked_with(
    args: &FileArgs,
    lock: &LockArgs,
    registries: &Finder<'_>,
    policies: &Policies,
    output: &Output,
) -> Result<load::Loaded, CliError> {
    let mut loaded = args.read()?;
    if !loaded.parsed.plugins().is_empty() {
        let cache = load::code_cache(&place::state_of_file(args, &loaded.root));
        loaded.check(&*super::host(1)?, &cache, registries);
        let state = place::state_of_file(args, &loaded.root);
        // What was seen counts where it can be read; a state directory that cannot is named by whoever needs it.
        let seen = Store::open_to_read(&state).and_then(|store| store.seen()).unwrap_or_default();
        trust::look(&mut loaded, &args.file, lock.mode(), policies, &seen, output)?;
    }
    loaded.judge(policies);
    Ok(loaded)
}
