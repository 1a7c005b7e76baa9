//! The `lockgate` binary: arguments, rendering, exit codes. The only crate that prints. What joins the crates of the
//! engine is `lockgate::wiring`. Modules in reading order:
//!
//! - [`args`] — the command line
//! - [`commands`] — what each command does, one file each
//! - [`place`] — where state is, [`part`] — which nodes are meant, [`trust`] — keys and envelopes in files
//! - [`past`], [`difference`], [`history`] — runs out of the journal, one, two, and the action keys that their nodes had
//! - [`attestation`] — what is signed about a past run
//! - [`cases`] — the tests of plugins
//! - [`forecast`] — what a run would do, and why
//! - [`telemetry`] — traces of runs, for those who collect them
//! - [`render`] — everything that is printed
//! - [`exit`], [`time`] — exit codes and errors; times as people write them

mod args;
mod attestation;
mod cases;
mod commands;
mod difference;
mod exit;
mod forecast;
mod history;
mod part;
mod past;
mod place;
mod render;
mod telemetry;
mod time;
mod trust;

use std::panic::{self, PanicHookInfo};
use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::{CliError, Exit};
use crate::render::output::Output;

fn main() -> ExitCode {
    panic::set_hook(Box::new(bug));
    let cli = args::Cli::parse();
    let output = Output::new(&cli.global);
    let ended = panic::catch_unwind(panic::AssertUnwindSafe(|| commands::dispatch(cli.command, &output)));
    let exit = match ended {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            output.error(&error);
            error.exit
        }
        // The hook has said what there is to say.
        Err(_) => Exit::Infrastructure,
    };
    match output.take_failure() {
        Some(error) if exit == Exit::Succeeded => {
            let error = CliError::new(Exit::Infrastructure, error).context("write to stdout");
            output.error(&error);
            error.exit.into()
        }
        _ => exit.into(),
    }
}

/// What is printed where the engine itself is wrong. State on disk is safe: it only ever changes in whole transactions.
fn bug(info: &PanicHookInfo<'_>) {
    use std::io::Write as _;
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        std::io::stderr().lock(),
        "internal error: lockgate {version} panicked at {place}: {message}\n  This is a bug of lockgate, not of your pipeline. Please report it with \
         this text. The journal is intact."
    );
}
