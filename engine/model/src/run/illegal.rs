//! What the run's state machine refuses, by name.

use crate::id::{NodeId, PluginAlias};
use crate::outcome::Status;

/// An event that cannot have happened in the state that it met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// The first event was another than `run-started`.
    #[error("apply `{0}`: the run has not started")]
    NotStarted(&'static str),
    /// `run-started` came twice.
    #[error("apply `run-started`: the run has already started")]
    StartedTwice,
    /// Something came after `run-finished`.
    #[error("apply `{0}`: the run is over")]
    Over(&'static str),
    /// The run waits; only a signal or `run-resumed` may come.
    #[error("apply `{0}`: the run waits, nothing goes on before `run-resumed`")]
    Paused(&'static str),
    /// The run cannot wait.
    #[error("apply `run-waiting`: {0}")]
    CannotWait(&'static str),
    /// The run succeeded.
    #[error("apply `run-resumed`: the run succeeded, nothing is left to do")]
    NothingLeft,
    /// A verdict is to be taken again where none was taken.
    #[error("apply `run-resumed`: node `{0}` has no verdict that could be taken again")]
    NoVerdict(NodeId),
    /// A plugin without a component.
    #[error("apply `run-started`: it names no component for plugin `{0}`")]
    NoComponent(PluginAlias),
    /// A node that the pipeline doesn't have.
    #[error("apply `{event}`: the pipeline has no node `{node}`")]
    UnknownNode {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
    },
    /// The node stands where this cannot happen.
    #[error("apply `{event}` of node `{node}`: it is {state}")]
    State {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
        /// Its state.
        state: &'static str,
    },
    /// A node starts or ends before what it needs is final.
    #[error("apply `{event}` of node `{node}`: something it needs is not final")]
    NotReady {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
    },
    /// A node starts although something it needs did not succeed.
    #[error("apply `{event}` of node `{node}`: something it needs did not succeed")]
    Blocked {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
    },
    /// Something that only an executed node does, of one that the run's selection does not have execute.
    #[error("apply `{event}` of node `{node}`: the run is of a part of the pipeline that does not execute it")]
    NotSelected {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
    },
    /// The number of an attempt is not the one that comes.
    #[error("apply `{event}` of node `{node}`: it is attempt {found}, expected {expected}")]
    Attempt {
        /// The event.
        event: &'static str,
        /// The node.
        node: NodeId,
        /// The number that comes.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// An attempt beyond what `retry` permits, or after a failure that it does not repeat.
    #[error("apply `attempt-failed` of node `{0}`: its `retry` permits no further attempt")]
    NoRetry(NodeId),
    /// A look of a node without `poll`.
    #[error("apply `look-taken` of node `{0}`: it is not polled")]
    NotPolled(NodeId),
    /// The number of a look is not the one that comes.
    #[error("apply `look-taken` of node `{node}`: it is look {found}, expected {expected}")]
    Look {
        /// The node.
        node: NodeId,
        /// The number that comes.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// One sequence number for two effects of one attempt.
    #[error("apply `effect-intended` of node `{node}`: effect {sequence} was already intended")]
    EffectTwice {
        /// The node.
        node: NodeId,
        /// The number.
        sequence: u64,
    },
    /// An outcome of an effect that was not intended, or that has one.
    #[error("apply `effect-finished` of node `{node}`: effect {sequence} is not under way")]
    EffectUnknown {
        /// The node.
        node: NodeId,
        /// The number.
        sequence: u64,
    },
    /// A node succeeded while an effect has no outcome.
    #[error("apply `node-finished` of node `{node}`: it succeeded, but effect {sequence} has no outcome")]
    EffectOpen {
        /// The node.
        node: NodeId,
        /// The number.
        sequence: u64,
    },
    /// A receipt that does not fit its node.
    #[error("apply `node-finished` of node `{node}`: its receipt {wrong}")]
    Receipt {
        /// The node.
        node: NodeId,
        /// What does not fit.
        wrong: &'static str,
    },
    /// The run ends while a node is not final.
    #[error("apply `run-finished`: node `{0}` is not final")]
    Unfinished(NodeId),
    /// The run's status is not what its nodes make of it.
    #[error("apply `run-finished`: its status is `{}`, expected `{}`", found.name(), expected.name())]
    RunStatus {
        /// What the nodes make of it.
        expected: Status,
        /// What came.
        found: Status,
    },
    /// The run digest is not that of its receipts.
    #[error("apply `run-finished`: its run digest is not that of its receipts")]
    RunDigest,
}
