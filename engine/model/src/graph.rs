//! The DAG of a pipeline: who waits for whom, and why.

use std::collections::{BTreeSet, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::id::NodeId;
use crate::pipeline::Pipeline;

/// Why one node waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// `after`, or a reference in `when`: the other must be final.
    Order,
    /// An input: the other must have succeeded.
    Data,
}

/// The DAG of a pipeline; vertices are indices into [`Pipeline::nodes`].
#[derive(Debug, Clone)]
pub struct Graph {
    graph: DiGraph<(), Edge, u32>,
    order: Vec<usize>,
}

/// Why a pipeline has no graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Nodes that wait for each other: each for the next one, the last for the first.
    #[error("order the nodes: {}", cycle_text(.0))]
    Cycle(Vec<NodeId>),
    /// Two nodes of one id.
    #[error("order the nodes: two are called `{0}`")]
    Duplicate(NodeId),
    /// A node that does not exist.
    #[error("order the nodes: `{node}` needs `{missing}`, which does not exist")]
    Missing {
        /// Who needs it.
        node: NodeId,
        /// What is needed.
        missing: NodeId,
    },
}

fn cycle_text(cycle: &[NodeId]) -> String {
    let names = cycle.iter().chain(cycle.first()).map(|id| format!("`{id}`")).collect::<Vec<_>>();
    names.join(" needs ")
}

impl Graph {
    /// The graph of a pipeline. Edges come from inputs, `after` and `when`; nodes with `finally` also wait for every node
    /// without it, but that is the planner's rule, not an edge.
    pub fn new(pipeline: &Pipeline) -> Result<Self, GraphError> {
        let mut index = HashMap::with_capacity(pipeline.nodes.len());
        for (i, node) in pipeline.nodes.iter().enumerate() {
            if index.insert(&node.id, i).is_some() {
                return Err(GraphError::Duplicate(node.id.clone()));
            }
        }
        let mut graph = DiGraph::with_capacity(pipeline.nodes.len(), pipeline.nodes.len() * 3);
        for _ in &pipeline.nodes {
            graph.add_node(());
        }
        for (i, node) in pipeline.nodes.iter().enumerate() {
            let find = |id: &NodeId| {
                index.get(id).copied().ok_or_else(|| GraphError::Missing { node: node.id.clone(), missing: id.clone() })
            };
            let mut data = BTreeSet::new();
            for source in node.inputs.values().filter_map(|source| source.node()) {
                data.insert(find(source)?);
            }
            let mut order = BTreeSet::new();
            for id in &node.after {
                order.insert(find(id)?);
            }
            for id in node.when.iter().flat_map(|when| when.nodes()) {
                order.insert(find(&id)?);
            }
            for &other in &data {
                graph.add_edge(vertex(other), vertex(i), Edge::Data);
            }
            for &other in order.difference(&data) {
                graph.add_edge(vertex(other), vertex(i), Edge::Order);
            }
        }
        let order = match petgraph::algo::toposort(&graph, None) {
            Ok(order) => order.into_iter().map(NodeIndex::index).collect(),
            Err(_) => return Err(GraphError::Cycle(shortest_cycle(&graph, pipeline))),
        };
        Ok(Self { graph, order })
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nodes in an order in which each comes after all that it needs.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// What a node waits for.
    pub fn needs(&self, node: usize) -> impl Iterator<Item = (usize, Edge)> + '_ {
        self.adjacent(node, Direction::Incoming)
    }

    /// What waits for a node.
    pub fn dependants(&self, node: usize) -> impl Iterator<Item = (usize, Edge)> + '_ {
        self.adjacent(node, Direction::Outgoing)
    }

    fn adjacent(&self, node: usize, direction: Direction) -> impl Iterator<Item = (usize, Edge)> + '_ {
        let mut edges = self.graph.neighbors_directed(vertex(node), direction).detach();
        std::iter::from_fn(move || {
            let (edge, other) = edges.next(&self.graph)?;
            Some((other.index(), self.graph[edge]))
        })
    }
}

/// At most 100,000 nodes, so an index always fits.
fn vertex(index: usize) -> NodeIndex<u32> {
    NodeIndex::new(index)
}

/// A cycle that exists, as short as a breadth-first search from the smallest strongly connected component's nodes finds it.
fn shortest_cycle(graph: &DiGraph<(), Edge, u32>, pipeline: &Pipeline) -> Vec<NodeId> {
    let components = petgraph::algo::tarjan_scc(graph);
    let cyclic = |c: &&Vec<NodeIndex>| c.len() > 1 || c.iter().any(|&v| graph.contains_edge(v, v));
    let Some(component) = components.iter().filter(cyclic).min_by_key(|c| c.len()) else { return Vec::new() };
    let Some(&start) = component.iter().min() else { return Vec::new() };
    // From the start along "needs" back to the start.
    let mut previous: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for need in graph.neighbors_directed(at, Direction::Incoming) {
            if need == start {
                let mut path = vec![at];
                let mut step = at;
                while let Some(&before) = previous.get(&step) {
                    path.push(before);
                    step = before;
                }
                path.reverse();
                return path.into_iter().map(|v| pipeline.nodes[v.index()].id.clone()).collect();
            }
            if need != start && !previous.contains_key(&need) {
                previous.insert(need, at);
                queue.push_back(need);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::{InputSource, Node, NodeKind, Retry};
    use crate::{PluginAlias, PortName};

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn node(name: &str, after: &[&str], data: &[&str]) -> Node {
        let input = |other: &&str| {
            let output = PortName::new("out").unwrap();
            (PortName::new(other).unwrap(), InputSource::Output { node: id(other), output })
        };
        Node {
            id: id(name),
            kind: NodeKind::Stage,
            plugin: Some(PluginAlias::new("p").unwrap()),
            config: serde_json::Map::new(),
            inputs: data.iter().map(input).collect(),
            after: after.iter().map(|other| id(other)).collect(),
            when: None,
            limits: Default::default(),
            grants: Default::default(),
            retry: Retry::default(),
            poll: None,
            accept: Default::default(),
            allow_failure: false,
            finally: false,
            repeat: 1,
            env: BTreeMap::new(),
            approval: None,
            wait: None,
            max_age: None,
        }
    }

    fn pipeline(nodes: Vec<Node>) -> Pipeline {
        let (params, plugins) = Default::default();
        Pipeline {
            schema: 1,
            name: "p".into(),
            params,
            terms: BTreeMap::new(),
            plugins,
            nodes,
            exports: Vec::new(),
            concurrency: None,
            secrets: Default::default(),
        }
    }

    #[test]
    fn data_outweighs_order_and_both_order() {
        let graph =
            Graph::new(&pipeline(vec![node("c", &["a", "b"], &["b"]), node("b", &["a"], &[]), node("a", &[], &[])]))
                .unwrap();
        let mut needs: Vec<_> = graph.needs(0).collect();
        needs.sort();
        assert_eq!(needs, [(1, Edge::Data), (2, Edge::Order)]);
        assert_eq!(graph.order(), [2, 1, 0]);
        assert_eq!(graph.dependants(2).count(), 2);
    }

    #[test]
    fn a_cycle_is_named_node_by_node() {
        let nodes =
            vec![node("a", &["c"], &[]), node("b", &["a"], &[]), node("c", &["b"], &[]), node("d", &["a"], &[])];
        let error = Graph::new(&pipeline(nodes)).unwrap_err();
        assert_eq!(error.to_string(), "order the nodes: `a` needs `c` needs `b` needs `a`");
        let error = Graph::new(&pipeline(vec![node("a", &["a"], &[])])).unwrap_err();
        assert_eq!(error, GraphError::Cycle(vec![id("a")]));
    }

    #[test]
    fn missing_and_double_nodes_are_named() {
        let missing = Graph::new(&pipeline(vec![node("a", &["x"], &[])])).unwrap_err();
        assert_eq!(missing, GraphError::Missing { node: id("a"), missing: id("x") });
        let double = Graph::new(&pipeline(vec![node("a", &[], &[]), node("a", &[], &[])])).unwrap_err();
        assert_eq!(double, GraphError::Duplicate(id("a")));
    }

    proptest! {
        #[test]
        fn every_reported_cycle_exists(edges in prop::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let names: Vec<String> = (0..8).map(|i| format!("n{i}")).collect();
            let nodes: Vec<Node> = (0..8)
                .map(|i| {
                    let after: Vec<_> = edges.iter().filter(|e| e.0 == i).map(|e| names[e.1].as_str()).collect();
                    node(&names[i], &after, &[])
                })
                .collect();
            let pipeline = pipeline(nodes);
            match Graph::new(&pipeline) {
                Ok(graph) => {
                    let place: Vec<_> = (0..8).map(|i| graph.order().iter().position(|&n| n == i)).collect();
                    for (node, need) in edges {
                        prop_assert!(place[need] < place[node]);
                    }
                }
                Err(GraphError::Cycle(cycle)) => {
                    prop_assert!(!cycle.is_empty());
                    for (at, id) in cycle.iter().enumerate() {
                        let next = &cycle[(at + 1) % cycle.len()];
                        let node = pipeline.nodes.iter().find(|node| node.id == *id);
                        prop_assert!(node.is_some_and(|node| node.after.contains(next)));
                    }
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
