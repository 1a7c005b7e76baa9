//! Single flight: of the nodes of a run with one action key, one is executed, and the others get what it proved.
//!
//! Only pure nodes that are executed once take part: a node with `repeat` is there to be executed. If the first one does not
//! succeed, the others are executed themselves, all at once: each has its own retries, and what a failure means is its own.

use std::collections::{HashMap, HashSet};

use lockgate_model::Digest;
use lockgate_model::pipeline::Node;

/// Which keys are being executed.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    /// The first node of each key, and those that wait for it, in the order in which they came.
    under_way: HashMap<Digest, (usize, Vec<usize>)>,
    /// The keys of first nodes.
    keys: HashMap<usize, Digest>,
    /// Nodes that waited in vain: they wait no more.
    alone: HashSet<usize>,
}

/// Whether a node's result may come from another execution of its key.
pub(crate) fn may_share(node: &Node) -> bool {
    node.plugin.is_some() && node.grants.is_empty() && node.repeat <= 1
}

impl Flights {
    /// Whether a node is to wait for another with its key; else it is the first.
    pub(crate) fn waits(&mut self, node: usize, key: Digest) -> bool {
        if self.alone.contains(&node) {
            return false;
        }
        match self.under_way.get_mut(&key) {
            Some((first, _)) if *first == node => false,
            Some((_, waiting)) => {
                waiting.push(node);
                true
            }
            None => {
                self.under_way.insert(key, (node, Vec::new()));
                self.keys.insert(node, key);
                false
            }
        }
    }

    /// A node is final: those that waited for it.
    pub(crate) fn landed(&mut self, node: usize) -> Vec<usize> {
        let key = self.keys.remove(&node);
        key.and_then(|key| self.under_way.remove(&key)).map(|(_, waiting)| waiting).unwrap_or_default()
    }

    /// A node waited in vain.
    pub(crate) fn alone(&mut self, node: usize) {
        self.alone.insert(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_flies_and_the_others_wait() {
        let mut flights = Flights::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert!(!flights.waits(0, a) && flights.waits(1, a) && flights.waits(2, a) && !flights.waits(3, b));
        assert!(!flights.waits(0, a), "a further attempt of the first one");
        assert_eq!(flights.landed(3), [0usize; 0]);
        assert_eq!(flights.landed(0), [1, 2]);
        assert_eq!(flights.landed(0), [0usize; 0]);
        flights.alone(1);
        assert!(!flights.waits(2, a) && !flights.waits(1, a));
        assert_eq!(flights.landed(1), [0usize; 0], "it is not the first");
    }
}
