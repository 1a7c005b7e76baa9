//! Single flight: of the nodes of a run with one action key, one is executed, and the others get what it proved.
//!
//! Only pure nodes that are executed once take part: a node with `repeat` is there to be executed. If the first one does not
//! succeed, the others are executed themselves, as jobs are free: each has its own retries, and what a failure means is its own.

use std::collections::HashMap;

use lockgate_model::Digest;
use lockgate_model::pipeline::Node;

/// Whether a node's result may come from another execution of its key.
pub(crate) fn may_share(node: &Node) -> bool {
    node.plugin.is_some() && node.grants.is_empty() && node.repeat <= 1
}

/// What is to be done with a node that may share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Execute it.
    Execute,
    /// Nothing: it hears when the first node with its key is final.
    Wait,
    /// Give it what this node proved.
    Serve(usize),
}

/// What is known of the keys of a run.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    known: HashMap<Digest, Flight>,
    /// The keys of nodes that are executed while others may come to wait for them.
    first: HashMap<usize, Digest>,
}

#[derive(Debug)]
enum Flight {
    /// A node is being executed; the others wait, in the order in which they came.
    UnderWay { first: usize, waiting: Vec<usize> },
    /// A node proved the result.
    Proved(usize),
    /// It failed: each executes itself.
    Failed,
}

impl Flights {
    /// Whose turn it is when a node is about to be executed.
    pub(crate) fn turn(&mut self, node: usize, key: Digest) -> Turn {
        match self.known.get_mut(&key) {
            None => {
                self.known.insert(key, Flight::UnderWay { first: node, waiting: Vec::new() });
                self.first.insert(node, key);
                Turn::Execute
            }
            Some(Flight::UnderWay { first, .. }) if *first == node => Turn::Execute,
            Some(Flight::UnderWay { waiting, .. }) => {
                waiting.push(node);
                Turn::Wait
            }
            Some(Flight::Proved(proved)) => Turn::Serve(*proved),
            Some(Flight::Failed) => Turn::Execute,
        }
    }

    /// A node is final, and proved its result or did not. Those that waited for it.
    pub(crate) fn landed(&mut self, node: usize, proved: bool) -> Vec<usize> {
        let Some(key) = self.first.remove(&node) else { return Vec::new() };
        let after = if proved { Flight::Proved(node) } else { Flight::Failed };
        match self.known.insert(key, after) {
            Some(Flight::UnderWay { waiting, .. }) => waiting,
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_flies_and_the_others_wait() {
        let mut flights = Flights::default();
        let (a, b, c) = (Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c"));
        assert_eq!(
            [(0, a), (1, a), (2, a), (3, b)].map(|(node, key)| flights.turn(node, key)),
            [Turn::Execute, Turn::Wait, Turn::Wait, Turn::Execute]
        );
        assert_eq!(flights.turn(0, a), Turn::Execute, "a further attempt of the first one");
        assert_eq!(flights.landed(3, true), [0usize; 0]);
        assert_eq!(flights.landed(0, false), [1, 2]);
        assert_eq!(flights.landed(0, true), [0usize; 0], "once");
        assert_eq!(
            (flights.turn(1, a), flights.turn(4, a), flights.turn(5, b)),
            (Turn::Execute, Turn::Execute, Turn::Serve(3))
        );
        assert_eq!(flights.landed(9, true), [0usize; 0], "nobody's first");
        assert_eq!(flights.turn(9, c), Turn::Execute);
    }
}
