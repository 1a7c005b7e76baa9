//! `lockgate approve`, `reject` and `cancel`: what is said from outside about a run. It goes into the journal, where the process that
//! drives the run finds it, or the next one.

use lockgate_model::NodeId;
use lockgate_model::event::{Event, Signal};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Node;
use lockgate_model::run::NodeState;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::Store;

use super::Ended;
use super::run::options;
use crate::args::{CancelArgs, SaidArgs, SayArgs};
use crate::exit::{CliError, Exit};
use crate::past::{self, PastRun};
use crate::place;
use crate::render::output::Output;
use crate::render::style::clean_line;

/// Longest name or comment, in bytes.
const LONGEST: usize = 4_096;

/// Says yes to an approval.
pub(crate) fn approve(args: &SayArgs, output: &Output) -> Ended {
    decide(args, Signal::Approve, output)
}

/// Says no to an approval.
pub(crate) fn reject(args: &SayArgs, output: &Output) -> Ended {
    decide(args, Signal::Reject, output)
}

fn decide(args: &SayArgs, signal: Signal, output: &Output) -> Ended {
    let store = Store::open(&place::existing(&args.said.state)?)?;
    let run = open_run(&store, &args.run)?;
    let node = run.node(&args.node)?;
    let (index, spec) = find(&run, &node)?;
    let Some(approval) = &spec.approval else {
        let kind = spec.kind.name();
        let error = anyhow::anyhow!("{} node `{node}`: it is a {kind}, not an approval", signal.name());
        return Err(CliError::new(Exit::Wrong, error));
    };
    let by = author(&args.said)?;
    if !approval.approvers.is_empty() && !approval.approvers.contains(&by) {
        let names: Vec<_> = approval.approvers.iter().map(|name| format!("`{}`", clean_line(name))).collect();
        let error = anyhow::anyhow!(
            "{} `{node}` as `{}`: only {} may decide",
            signal.name(),
            clean_line(&by),
            names.join(", ")
        );
        return Err(CliError::new(Exit::Refused, error).hint("say who you are with `--as NAME`"));
    }
    open_node(&run, index, &node)?;
    say(&store, &run, Some(node), signal, by, args.said.comment.clone())?;
    go_on(&run, &args.said, output);
    Ok(Exit::Succeeded)
}

/// Stops a run, or lets one of its waiting nodes fail.
pub(crate) fn cancel(args: &CancelArgs, output: &Output) -> Ended {
    let store = Store::open(&place::existing(&args.said.state)?)?;
    let run = open_run(&store, &args.run)?;
    let by = author(&args.said)?;
    let comment = args.said.comment.clone();
    let Some(node) = &args.node else {
        say(&store, &run, None, Signal::Cancel, by, comment)?;
        // Whoever drives it stops it; if nobody does, it ends here.
        if let Some(_hold) = store.hold_run(&run.summary.id)? {
            let event = Event::RunFinished { status: Status::Cancelled, digest: None };
            store.append(&run.summary.id, SystemClock::default().now_ms(), &[event])?;
            output.data(&format!("run {} cancelled\n", run.summary.id));
        } else {
            output.data(&format!("run {} is told to stop\n", run.summary.id));
        }
        return Ok(Exit::Succeeded);
    };
    let node = run.node(node)?;
    let (index, spec) = find(&run, &node)?;
    if spec.plugin.is_some() && !run.state.is_in_doubt(index) {
        let error = anyhow::anyhow!("cancel node `{node}`: only nodes that wait can be cancelled alone");
        return Err(CliError::new(Exit::Wrong, error)
            .hint(format!("stop the whole run with `lockgate cancel {}`", run.summary.id)));
    }
    open_node(&run, index, &node)?;
    say(&store, &run, Some(node), Signal::Cancel, by, comment)?;
    go_on(&run, &args.said, output);
    Ok(Exit::Succeeded)
}

/// A run about which something can still be said.
fn open_run(store: &Store, text: &str) -> Result<PastRun, CliError> {
    let run = past::find(store, text)?;
    if let Some((status, _)) = run.state.over() {
        let error = anyhow::anyhow!("say something about run `{}`: it is over ({})", run.summary.id, status.name());
        return Err(CliError::new(Exit::Wrong, error));
    }
    Ok(run)
}

fn find<'a>(run: &'a PastRun, node: &NodeId) -> Result<(usize, &'a Node), CliError> {
    let index = run.state.position(node.as_str());
    index
        .map(|index| (index, &run.pipeline.nodes[index]))
        .ok_or_else(|| CliError::new(Exit::Wrong, anyhow::anyhow!("find node `{node}` in run `{}`", run.summary.id)))
}

fn open_node(run: &PastRun, index: usize, node: &NodeId) -> Result<(), CliError> {
    if let NodeState::Finished { receipt, .. } = run.state.state(index) {
        let error = anyhow::anyhow!("say something about node `{node}`: it is final ({})", receipt.status.name());
        return Err(CliError::new(Exit::Wrong, error));
    }
    if let Some(said) = run.state.said(index) {
        let error = anyhow::anyhow!(
            "say something about node `{node}`: `{}` said `{}` before, and the first word counts",
            clean_line(&said.by),
            said.signal.name()
        );
        return Err(CliError::new(Exit::Wrong, error));
    }
    Ok(())
}

/// Who says it: what `--as` names, or the user.
pub(super) fn author(args: &SaidArgs) -> Result<String, CliError> {
    let by = args.by.clone().or_else(user).ok_or_else(|| {
        CliError::new(Exit::Wrong, anyhow::anyhow!("tell who says it: neither USER nor LOGNAME is set"))
            .hint("name somebody with `--as NAME`")
    })?;
    let long = args.comment.as_ref().is_some_and(|comment| comment.len() > LONGEST) || by.len() > LONGEST;
    if by.trim().is_empty() || long {
        let error =
            anyhow::anyhow!("say it as this: a name is not empty, and names and comments have at most {LONGEST} bytes");
        return Err(CliError::new(Exit::Wrong, error));
    }
    Ok(by)
}

/// The user's name, by the environment.
pub(super) fn user() -> Option<String> {
    ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn say(
    store: &Store,
    run: &PastRun,
    node: Option<NodeId>,
    signal: Signal,
    by: String,
    comment: Option<String>,
) -> Result<(), CliError> {
    let event = Event::Signalled { node, signal, by, comment };
    store.append(&run.summary.id, SystemClock::default().now_ms(), &[event])?;
    Ok(())
}

fn go_on(run: &PastRun, args: &SaidArgs, output: &Output) {
    let options = options(args.state.state.as_deref(), args.state.root.as_deref());
    if run.state.is_paused() {
        output.note(&output.err.dim(&format!("to go on: lockgate resume {}{options}\n", run.summary.id)));
    }
}
