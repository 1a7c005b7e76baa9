//! Places for the nodes and edges of a graph, in layers from left to right after Sugiyama:
//!
//! 1. a layer for each node: as early as its needs let it, then as late as shortens its edges;
//! 2. a bend in each layer that an edge passes, shared by edges of one kind from one node;
//! 3. an order within each layer: sweeps by weighted medians and exchanges of neighbours, the order with the fewest crossings is kept
//!    (Gansner et al., "A technique for drawing directed graphs", 1993; crossings counted after Barth, Jünger and Mutzel, 2002);
//! 4. a height for each: near the mean of its neighbours by weighted least squares, bends most, so that long edges are straight.
//!
//! The third step is in `order`. Nodes without any edge stand in a grid below. The same graph gives the same places.

mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use lockgate_model::graph::{Edge, Graph};

use self::order::{number, order};
use super::super::graph::edges;

/// The most nodes in a picture: beyond, nobody reads it, and Graphviz does better.
pub(super) const MAX_NODES: usize = 2_000;
/// The most bends of edges: bounds the work on graphs with many long edges.
pub(super) const MAX_BENDS: usize = 20_000;
/// Rounds that move vertices to the height of their neighbours.
const ROUNDS: usize = 24;
/// Weights of edges for heights: between nodes, at a bend's end, between bends.
const WEIGHTS: [f64; 3] = [1.0, 2.0, 8.0];

/// Height of a node's box.
pub(super) const BOX_HEIGHT: f64 = 40.0;
const BEND_HEIGHT: f64 = 6.0;
const GAP: f64 = 14.0;
/// The least and the most room between two layers.
const LAYER_GAP: (f64, f64) = (44.0, 260.0);
/// Room around the picture.
pub(super) const MARGIN: f64 = 16.0;

/// A graph that is too large for a picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("draw a picture of {nodes} nodes and {bends} bends of edges: at most {MAX_NODES} and {MAX_BENDS}")]
pub(crate) struct TooLarge {
    pub(super) nodes: usize,
    pub(super) bends: usize,
}

/// A node, or a bend of edges that pass through a layer.
pub(super) struct Vertex {
    pub(super) layer: usize,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Left side and middle, in pixels.
    pub(super) x: f64,
    pub(super) y: f64,
    before: Vec<usize>,
    behind: Vec<usize>,
}

impl Vertex {
    fn is_bend(&self) -> bool {
        self.width == 0.0
    }
}

/// Places for everything. The first vertices are the nodes, in their order.
pub(super) struct Layout {
    pub(super) vertices: Vec<Vertex>,
    layers: Vec<Vec<usize>>,
    /// Bends one behind the other, of one node and kind of edge.
    chains: Vec<Vec<usize>>,
    /// For each edge: the vertices that it passes, both ends included.
    pub(super) routes: Vec<(Vec<usize>, Edge)>,
    /// Left side and width of each layer.
    pub(super) columns: Vec<(f64, f64)>,
    /// Width and height of the picture.
    pub(super) size: (f64, f64),
}

/// Lays a graph out. `widths` are those of the nodes' boxes, `late` tells which nodes stand behind all others.
pub(super) fn lay_out(graph: &Graph, widths: &[f64], late: &[bool]) -> Result<Layout, TooLarge> {
    if graph.len() > MAX_NODES {
        return Err(TooLarge { nodes: graph.len(), bends: 0 });
    }
    let mut layout = build(graph, widths, late)?;
    order(&mut layout);
    heights(&mut layout);
    columns(&mut layout);
    grid(&mut layout, graph.len());
    Ok(layout)
}

/// The layer of each node; none for those without an edge.
fn layers(graph: &Graph, late: &[bool]) -> Vec<Option<usize>> {
    let all = edges(graph);
    let mut layer = vec![0; graph.len()];
    let mut dependants = vec![Vec::new(); graph.len()];
    for &(from, to, _) in &all {
        dependants[from].push(to);
    }
    for wanted in [false, true] {
        // Nodes with `finally` begin behind all others.
        let first = if wanted && late.contains(&false) { layer.iter().max().map_or(0, |last| last + 1) } else { 0 };
        for &node in graph.order().iter().filter(|&&node| late[node] == wanted) {
            let after = graph.needs(node).map(|(other, _)| layer[other] + 1).max().unwrap_or(0);
            layer[node] = after.max(first);
        }
    }
    for &node in graph.order().iter().rev() {
        let room = dependants[node].iter().map(|&other| layer[other] - 1).min();
        // With more edges behind it than before it, each layer further shortens the whole.
        if let Some(room) = room.filter(|_| !late[node] && dependants[node].len() > graph.needs(node).count()) {
            layer[node] = layer[node].max(room);
        }
    }
    // A `finally` node stands behind the others even without an edge.
    let alone = |node: usize| !late[node] && dependants[node].is_empty() && graph.needs(node).next().is_none();
    let mut layers: Vec<_> = layer.iter().enumerate().map(|(node, &layer)| (!alone(node)).then_some(layer)).collect();
    let mut used: Vec<usize> = layers.iter().flatten().copied().collect();
    used.sort_unstable();
    used.dedup();
    for layer in layers.iter_mut().flatten() {
        *layer = used.binary_search(layer).unwrap_or(0);
    }
    layers
}

fn build(graph: &Graph, widths: &[f64], late: &[bool]) -> Result<Layout, TooLarge> {
    let layer = layers(graph, late);
    let count = layer.iter().flatten().max().map_or(0, |last| last + 1);
    let mut layout = Layout {
        vertices: Vec::with_capacity(graph.len()),
        layers: vec![Vec::new(); count],
        chains: Vec::new(),
        routes: Vec::new(),
        columns: Vec::new(),
        size: (0.0, 0.0),
    };
    for (layer, &width) in layer.iter().zip(widths) {
        push(&mut layout, *layer, width, BOX_HEIGHT);
    }
    let mut bends: BTreeMap<(usize, Edge, usize), usize> = BTreeMap::new();
    for (from, to, edge) in edges(graph) {
        let mut route = vec![from];
        for between in layout.vertices[from].layer + 1..layout.vertices[to].layer {
            let bend = *bends
                .entry((from, edge, between))
                .or_insert_with(|| push(&mut layout, Some(between), 0.0, BEND_HEIGHT));
            let number = layout.vertices.len() - graph.len();
            if number > MAX_BENDS {
                return Err(TooLarge { nodes: graph.len(), bends: number });
            }
            route.push(bend);
        }
        route.push(to);
        for pair in route.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            if !layout.vertices[a].behind.contains(&b) {
                layout.vertices[a].behind.push(b);
                layout.vertices[b].before.push(a);
            }
        }
        layout.routes.push((route, edge));
    }
    let mut last = None;
    for ((from, edge, _), bend) in bends {
        if last.replace((from, edge)) != Some((from, edge)) {
            layout.chains.push(Vec::new());
        }
        layout.chains.last_mut().into_iter().for_each(|chain| chain.push(bend));
    }
    Ok(layout)
}

fn push(layout: &mut Layout, layer: Option<usize>, width: f64, height: f64) -> usize {
    let vertex = layout.vertices.len();
    let (before, behind) = (Vec::new(), Vec::new());
    layout.vertices.push(Vertex { layer: layer.unwrap_or(0), width, height, x: 0.0, y: 0.0, before, behind });
    if let Some(layer) = layer {
        layout.layers[layer].push(vertex);
    }
    vertex
}

/// Gives each vertex its height on the page: near the mean of its neighbours, never over another.
fn heights(layout: &mut Layout) {
    for layer in &layout.layers {
        let mut y = 0.0;
        for &vertex in layer {
            y += layout.vertices[vertex].height / 2.0;
            layout.vertices[vertex].y = y;
            y += layout.vertices[vertex].height / 2.0 + GAP;
        }
    }
    for round in 0..ROUNDS {
        for step in 0..layout.layers.len() {
            let at = if round % 2 == 0 { step } else { layout.layers.len() - 1 - step };
            let layer = &layout.layers[at];
            let mut offset = 0.0;
            let mut offsets = Vec::with_capacity(layer.len());
            for (place, &vertex) in layer.iter().enumerate() {
                if place > 0 {
                    offset += (layout.vertices[layer[place - 1]].height + layout.vertices[vertex].height) / 2.0 + GAP;
                }
                offsets.push(offset);
            }
            let wanted: Vec<(f64, f64)> = layer
                .iter()
                .zip(&offsets)
                .map(|(&vertex, offset)| {
                    let (y, weight) = pull(layout, vertex);
                    (y - offset, weight)
                })
                .collect();
            let rising = rising(&wanted);
            for ((place, value), offset) in rising.into_iter().enumerate().zip(&offsets) {
                let vertex = layout.layers[at][place];
                layout.vertices[vertex].y = value + offset;
            }
        }
    }
    straighten(layout);
    let top = layout.layers.iter().flatten().map(|&v| layout.vertices[v].y - layout.vertices[v].height / 2.0);
    let top = top.fold(f64::INFINITY, f64::min);
    for vertex in layout.layers.iter().flatten() {
        layout.vertices[*vertex].y += MARGIN - top;
    }
}

/// Puts the bends of a long edge on one height where what stands above and below them leaves one.
fn straighten(layout: &mut Layout) {
    let mut rank = vec![0; layout.vertices.len()];
    (0..layout.layers.len()).for_each(|at| number(layout, &mut rank, at));
    let chains = std::mem::take(&mut layout.chains);
    for chain in chains.iter().filter(|chain| chain.len() > 1) {
        let (mut low, mut high, mut sum) = (f64::NEG_INFINITY, f64::INFINITY, 0.0);
        for &bend in chain {
            let (layer, own) = (&layout.layers[layout.vertices[bend].layer], &layout.vertices[bend]);
            let room = |other: usize| f64::midpoint(layout.vertices[other].height, own.height) + GAP;
            if let Some(&above) = rank[bend].checked_sub(1).and_then(|place| layer.get(place)) {
                low = low.max(layout.vertices[above].y + room(above));
            }
            if let Some(&below) = layer.get(rank[bend] + 1) {
                high = high.min(layout.vertices[below].y - room(below));
            }
            sum += own.y;
        }
        if low <= high {
            let y = (sum / chain.len() as f64).clamp(low, high);
            chain.iter().for_each(|&bend| layout.vertices[bend].y = y);
        }
    }
    layout.chains = chains;
}

/// Where its neighbours draw a vertex, and how strongly.
fn pull(layout: &Layout, vertex: usize) -> (f64, f64) {
    let data = &layout.vertices[vertex];
    let (mut sum, mut total) = (0.0, 0.0);
    for &other in data.before.iter().chain(&data.behind) {
        let other = &layout.vertices[other];
        let weight = WEIGHTS[usize::from(data.is_bend()) + usize::from(other.is_bend())];
        sum += weight * other.y;
        total += weight;
    }
    if total > 0.0 { (sum / total, total) } else { (data.y, 0.1) }
}

/// The sequence that never falls and is nearest to the given values by their weights (pool adjacent violators).
fn rising(values: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::with_capacity(values.len());
    for &(value, weight) in values {
        let mut pool = (value, weight, 1);
        while let Some(&(last, by, count)) = pools.last()
            && last > pool.0
        {
            pools.pop();
            pool = ((last * by + pool.0 * pool.1) / (by + pool.1), by + pool.1, count + pool.2);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(value, _, count)| std::iter::repeat_n(value, count)).collect()
}

/// Gives each layer its place: steep edges and many of them need more room between two layers.
fn columns(layout: &mut Layout) {
    let mut x = MARGIN;
    for at in 0..layout.layers.len() {
        let layer = &layout.layers[at];
        let width = layer.iter().map(|&vertex| layout.vertices[vertex].width).fold(0.0, f64::max);
        layout.columns.push((x, width));
        for &vertex in layer {
            layout.vertices[vertex].x = x;
        }
        let (mut steepest, mut number) = (0.0f64, 0.0);
        for &vertex in layer {
            for &other in &layout.vertices[vertex].behind {
                steepest = steepest.max((layout.vertices[vertex].y - layout.vertices[other].y).abs());
                number += 1.0;
            }
        }
        x += width + (LAYER_GAP.0 + steepest * 0.12 + number).clamp(LAYER_GAP.0, LAYER_GAP.1);
    }
    let right = layout.columns.last().map_or(MARGIN, |(x, width)| x + width);
    let bottom = layout.layers.iter().flatten().map(|&v| layout.vertices[v].y + layout.vertices[v].height / 2.0);
    layout.size = (right + MARGIN, bottom.fold(MARGIN, f64::max) + MARGIN);
}

/// Puts the nodes without an edge below the others, as many in a row as make the picture about as wide as high.
fn grid(layout: &mut Layout, nodes: usize) {
    let mut placed = vec![false; layout.vertices.len()];
    layout.layers.iter().flatten().for_each(|&vertex| placed[vertex] = true);
    let alone: Vec<usize> = (0..nodes).filter(|&node| !placed[node]).collect();
    let widest = alone.iter().map(|&node| layout.vertices[node].width).fold(0.0, f64::max);
    if alone.is_empty() {
        return;
    }
    let (step_x, step_y) = (widest + 2.0 * GAP, BOX_HEIGHT + GAP);
    let square = (alone.len() as f64 * step_x * step_y).sqrt();
    let columns = ((square.max(layout.size.0) / step_x).floor() as usize).clamp(1, alone.len());
    let top = if layout.layers.is_empty() { MARGIN } else { layout.size.1 + GAP };
    for (place, &node) in alone.iter().enumerate() {
        let vertex = &mut layout.vertices[node];
        vertex.x = MARGIN + step_x * (place % columns) as f64;
        vertex.y = top + step_y * (place / columns) as f64 + BOX_HEIGHT / 2.0;
    }
    let rows = alone.len().div_ceil(columns);
    layout.size.0 = layout.size.0.max(2.0 * MARGIN + step_x * columns as f64 - 2.0 * GAP);
    layout.size.1 = top + step_y * rows as f64 - GAP + MARGIN;
}
