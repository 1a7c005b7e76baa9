//! `lockgate completions`: what a shell needs to complete the command line.

use clap::CommandFactory as _;

use super::Ended;
use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::render::output::Output;

/// Prints the script.
pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lockgate", &mut script);
    output.bytes(&script);
    Ok(Exit::Succeeded)
}
