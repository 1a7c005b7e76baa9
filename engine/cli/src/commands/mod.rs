//! What each command does, one file each. To add one: a variant of [`crate::args::Command`], a file here, an arm of
//! [`dispatch`], and its examples in the help text.

mod attest;
mod audit;
mod build;
mod cache;
mod call;
mod check;
mod compare;
mod compile;
mod completions;
mod config;
mod diff;
mod doctor;
mod execute;
mod graph;
mod inspect;
mod keys;
mod lock;
mod logs;
mod new;
mod plan;
mod policy;
mod profile;
mod registry;
mod replay;
mod reports;
mod resume;
pub(crate) mod run;
mod runs;
mod say;
mod schema;
mod secret;
mod show;
mod sign;
mod test;

use std::sync::Arc;

use lockgate::wiring::child::Helper;
use lockgate::wiring::load::{self, Loaded};
use lockgate_host::Host;

use crate::args::{AuditCommand, CacheCommand, Command, PluginCommand, PolicyCommand};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics;
use crate::render::output::Output;

pub(crate) use reports::put;

/// How a command ends.
pub(crate) type Ended = Result<Exit, CliError>;

/// Does what was asked for.
pub(crate) fn dispatch(command: Command, output: &Output) -> Ended {
    match command {
        Command::Check(args) => check::check(&args, output),
        Command::Plan(args) => plan::plan(&args, output),
        Command::Run(args) => run::run(&args, output),
        Command::Resume(args) => resume::resume(&args, output),
        Command::Approve(args) => say::approve(&args, output),
        Command::Reject(args) => say::reject(&args, output),
        Command::Cancel(args) => say::cancel(&args, output),
        Command::Replay(args) => replay::replay(&args, output),
        Command::CompileComponent => compile::compile(),
        Command::ExecuteTask => execute::execute(output),
        Command::Confine { orders } => {
            let (code, reason) = lockgate_host::confine(&orders);
            output.note(&reason);
            // The engine that started this knows the code.
            std::process::exit(code)
        }
        Command::Graph(args) => graph::graph(&args, output),
        Command::Runs(args) => runs::runs(&args, output),
        Command::Show(args) => show::show(&args, output),
        Command::Diff(args) => diff::diff(&args, output),
        Command::Logs(args) => logs::logs(&args, output),
        Command::Cache { command: CacheCommand::Explain(args) } => cache::explain(&args, output),
        Command::Cache { command: CacheCommand::Gc(args) } => cache::gc(&args, output),
        Command::Policy { command: PolicyCommand::Show(args) } => policy::show(&args, output),
        Command::Policy { command: PolicyCommand::Check(args) } => policy::check(&args, output),
        Command::Policy { command: PolicyCommand::Test(args) } => policy::test(&args, output),
        Command::Completions(args) => completions::completions(&args, output),
        Command::Secret { command } => secret::secret(command, output),
        Command::Doctor(args) => doctor::doctor(&args, output),
        Command::Schema(args) => schema::schema(&args, output),
        Command::Attest(args) => attest::attest(&args, output),
        Command::Audit { command: AuditCommand::Sign(args) } => audit::sign(&args, output),
        Command::Audit { command: AuditCommand::Verify(args) } => audit::verify(&args, output),
        Command::Plugin { command: PluginCommand::New(args) } => new::new(&args, output),
        Command::Plugin { command: PluginCommand::Build(args) } => build::build(&args, output),
        Command::Plugin { command: PluginCommand::Lock(args) } => lock::lock(&args, output),
        Command::Plugin { command: PluginCommand::Push(args) } => registry::push(&args, output),
        Command::Plugin { command: PluginCommand::Pull(args) } => registry::pull(&args, output),
        Command::Plugin { command: PluginCommand::Keygen(args) } => keys::keygen(&args, output),
        Command::Plugin { command: PluginCommand::Sign(args) } => sign::sign(&args, output),
        Command::Plugin { command: PluginCommand::Verify(args) } => sign::verify(&args, output),
        Command::Plugin { command: PluginCommand::Seen(args) } => sign::seen(&args, output),
        Command::Plugin { command: PluginCommand::Inspect(args) } => inspect::inspect(&args, output),
        Command::Plugin { command: PluginCommand::Test(args) } => test::test(&args, output),
        Command::Plugin { command: PluginCommand::Profile(args) } => profile::profile(&args, output),
        Command::Plugin { command: PluginCommand::Diff(args) } => compare::diff(&args, output),
        Command::Plugin { command: PluginCommand::Check(args) } => compare::check(&args, output),
        Command::Plugin { command: PluginCommand::Call(args) } => call::call(&args, output),
    }
}

/// The exit code of a pipeline's problems.
fn exit_of(loaded: &Loaded) -> Exit {
    loaded.class().map_or(Exit::Succeeded, Exit::from)
}

/// This program, as the one that compiles, executes and confines in processes of their own.
pub(crate) fn helper() -> Result<Helper, CliError> {
    Helper::own().map_err(|error| CliError::new(Exit::Infrastructure, error).context("find this program's own file"))
}

/// A host for so many executions at once, with this program as its helper.
pub(crate) fn host(slots: usize) -> Result<Arc<Host>, CliError> {
    Ok(load::host(slots, 1, Some(&helper()?))?)
}

/// Prints the problems of a pipeline for people, and gives their exit code.
fn report_problems(loaded: &Loaded, output: &Output) -> Exit {
    output.note(&diagnostics::human(&loaded.problems, output.err, output.width));
    let problems = diagnostics::count(loaded.problems.len(), "problem");
    output.note(&format!("{} {problems} in {}; nothing ran\n", output.err.bad("error:"), loaded.name));
    exit_of(loaded)
}
