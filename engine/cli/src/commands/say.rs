//! `lockgate approve`, `reject` and `cancel`: what is said from outside about a run.

use lockgate::wiring::inbox::{self, Said, Stopped};
use lockgate::wiring::past::PastRun;
use lockgate_model::event::Signal;
use lockgate_store::Store;

use super::Ended;
use super::run::options;
use crate::args::{CancelArgs, SaidArgs, SayArgs};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::output::Output;

/// Says yes to an approval.
pub(crate) fn approve(args: &SayArgs, output: &Output) -> Ended {
    decide(args, Signal::Approve, output)
}

/// Says no to an approval.
pub(crate) fn reject(args: &SayArgs, output: &Output) -> Ended {
    decide(args, Signal::Reject, output)
}

fn decide(args: &SayArgs, signal: Signal, output: &Output) -> Ended {
    let by = author(&args.said)?;
    let store = Store::open(&place::existing(&args.said.state)?)?;
    let said = Said::new(by, args.said.comment.clone())?;
    let run = inbox::decide(&store, &args.run, &args.node, signal, said)?;
    go_on(&run, &args.said, output);
    Ok(Exit::Succeeded)
}

/// Stops a run, or lets one of its waiting nodes fail.
pub(crate) fn cancel(args: &CancelArgs, output: &Output) -> Ended {
    let by = author(&args.said)?;
    let store = Store::open(&place::existing(&args.said.state)?)?;
    let said = Said::new(by, args.said.comment.clone())?;
    match &args.node {
        None => {
            let (run, stopped) = inbox::cancel(&store, &args.run, said)?;
            output.data(&match stopped {
                Stopped::Cancelled => format!("run {} cancelled\n", run.summary.id),
                Stopped::Told => format!("run {} is told to stop\n", run.summary.id),
            });
        }
        Some(node) => go_on(&inbox::cancel_node(&store, &args.run, node, said)?, &args.said, output),
    }
    Ok(Exit::Succeeded)
}

/// Who says it: what `--as` names, or the user.
fn author(args: &SaidArgs) -> Result<String, CliError> {
    args.by.clone().or_else(user).ok_or_else(|| {
        CliError::new(Exit::Wrong, anyhow::anyhow!("tell who says it: neither USER nor LOGNAME is set"))
            .hint("name somebody with `--as NAME`")
    })
}

/// The user's name, by the environment.
pub(super) fn user() -> Option<String> {
    ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn go_on(run: &PastRun, args: &SaidArgs, output: &Output) {
    let options = options(args.state.state.as_deref(), args.state.root.as_deref());
    if run.state.is_paused() {
        output.note(&output.err.dim(&format!("to go on: lockgate resume {}{options}\n", run.summary.id)));
    }
}
