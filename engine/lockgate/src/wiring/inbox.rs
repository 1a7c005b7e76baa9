//! What is said from outside about a run: yes or no to an approval, stop. It goes into the journal, where the process that drives the
//! run finds it, or the next one.

use lockgate_model::NodeId;
use lockgate_model::event::{Event, Signal};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Node;
use lockgate_model::run::NodeState;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::Store;

use super::past::{self, PastRun};
use super::text::clean_line;
use crate::error::{Class, Error};

/// Longest name or comment, in bytes.
const LONGEST: usize = 4_096;

/// Something that somebody says.
#[derive(Debug, Clone)]
pub struct Said {
    by: String,
    comment: Option<String>,
}

impl Said {
    /// What this one says.
    pub fn new(by: impl Into<String>, comment: Option<String>) -> Result<Self, Error> {
        let by = by.into();
        let long = comment.as_ref().is_some_and(|comment| comment.len() > LONGEST) || by.len() > LONGEST;
        if by.trim().is_empty() || long {
            let error = anyhow::anyhow!(
                "say it as this: a name is not empty, and names and comments have at most {LONGEST} bytes"
            );
            return Err(Error::new(Class::Wrong, error));
        }
        Ok(Self { by, comment })
    }

    /// Who says it.
    pub fn by(&self) -> &str {
        &self.by
    }
}

/// What became of the wish to stop a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Nobody drove it: it is over.
    Cancelled,
    /// Whoever drives it is told.
    Told,
}

/// Says [`Signal::Approve`] or [`Signal::Reject`] to an approval of a run.
pub fn decide(store: &Store, run: &str, node: &str, signal: Signal, said: Said) -> Result<PastRun, Error> {
    let run = open_run(store, run)?;
    let node = run.node(node)?;
    let (index, spec) = find(&run, &node)?;
    let Some(approval) = &spec.approval else {
        let kind = spec.kind.name();
        let error = anyhow::anyhow!("{} node `{node}`: it is a {kind}, not an approval", signal.name());
        return Err(Error::new(Class::Wrong, error));
    };
    if !approval.approvers.is_empty() && !approval.approvers.contains(&said.by) {
        let names: Vec<_> = approval.approvers.iter().map(|name| format!("`{}`", clean_line(name))).collect();
        let error = anyhow::anyhow!(
            "{} `{node}` as `{}`: only {} may decide",
            signal.name(),
            clean_line(&said.by),
            names.join(", ")
        );
        return Err(Error::new(Class::Refused, error).hint("say who you are with `--as NAME`"));
    }
    open_node(&run, index, &node)?;
    say(store, &run, Some(node), signal, said)?;
    Ok(run)
}

/// Stops a run.
pub fn cancel(store: &Store, run: &str, said: Said) -> Result<(PastRun, Stopped), Error> {
    let run = open_run(store, run)?;
    say(store, &run, None, Signal::Cancel, said)?;
    // Whoever drives it stops it; if nobody does, it ends here.
    let stopped = match store.hold_run(&run.summary.id)? {
        Some(_hold) => {
            let event = Event::RunFinished { status: Status::Cancelled, digest: None };
            store.append(&run.summary.id, SystemClock::default().now_ms(), &[event])?;
            Stopped::Cancelled
        }
        None => Stopped::Told,
    };
    Ok((run, stopped))
}

/// Lets one waiting node of a run fail.
pub fn cancel_node(store: &Store, run: &str, node: &str, said: Said) -> Result<PastRun, Error> {
    let run = open_run(store, run)?;
    let node = run.node(node)?;
    let (index, spec) = find(&run, &node)?;
    if spec.plugin.is_some() && !run.state.is_in_doubt(index) {
        let error = anyhow::anyhow!("cancel node `{node}`: only nodes that wait can be cancelled alone");
        return Err(Error::new(Class::Wrong, error)
            .hint(format!("stop the whole run with `lockgate cancel {}`", run.summary.id)));
    }
    open_node(&run, index, &node)?;
    say(store, &run, Some(node), Signal::Cancel, said)?;
    Ok(run)
}

/// A run about which something can still be said.
fn open_run(store: &Store, text: &str) -> Result<PastRun, Error> {
    let run = past::find(store, text)?;
    if let Some((status, _)) = run.state.over() {
        let error = anyhow::anyhow!("say something about run `{}`: it is over ({})", run.summary.id, status.name());
        return Err(Error::new(Class::Wrong, error));
    }
    Ok(run)
}

fn find<'a>(run: &'a PastRun, node: &NodeId) -> Result<(usize, &'a Node), Error> {
    let index = run.state.position(node.as_str());
    index
        .map(|index| (index, &run.pipeline.nodes[index]))
        .ok_or_else(|| Error::new(Class::Wrong, anyhow::anyhow!("find node `{node}` in run `{}`", run.summary.id)))
}

fn open_node(run: &PastRun, index: usize, node: &NodeId) -> Result<(), Error> {
    if let NodeState::Finished { receipt, .. } = run.state.state(index) {
        let error = anyhow::anyhow!("say something about node `{node}`: it is final ({})", receipt.status.name());
        return Err(Error::new(Class::Wrong, error));
    }
    if let Some(said) = run.state.said(index) {
        let error = anyhow::anyhow!(
            "say something about node `{node}`: `{}` said `{}` before, and the first word counts",
            clean_line(&said.by),
            said.signal.name()
        );
        return Err(Error::new(Class::Wrong, error));
    }
    Ok(())
}

fn say(store: &Store, run: &PastRun, node: Option<NodeId>, signal: Signal, said: Said) -> Result<(), Error> {
    let event = Event::Signalled { node, signal, by: said.by, comment: said.comment };
    store.append(&run.summary.id, SystemClock::default().now_ms(), &[event])?;
    Ok(())
}
