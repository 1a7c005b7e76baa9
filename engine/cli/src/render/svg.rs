//! The graph of a pipeline as a picture, drawn in layers from left to right after Sugiyama: layer by longest path, order within a
//! layer by the mean of the neighbours, places by least squares. Kept small: no crate for this is both maintained and routes edges
//! around nodes. The same graph gives the same bytes.

use std::fmt::Write as _;

use lockgate_model::graph::{Edge, Graph};
use lockgate_model::pipeline::{NodeKind, Pipeline};

use super::graph::{caption, edges};

/// The most nodes in a picture: beyond, nobody reads it, and Graphviz does better.
const MAX_NODES: usize = 2_000;
/// The most bends of edges: bounds the work on graphs with many long edges.
const MAX_BENDS: usize = 20_000;
/// Sweeps over all layers: the order hardly changes after a few.
const SWEEPS: usize = 12;

const CHAR: f64 = 7.3;
const BOX_HEIGHT: f64 = 40.0;
const BEND_HEIGHT: f64 = 8.0;
const GAP: f64 = 14.0;
const LAYER_GAP: f64 = 48.0;
const MARGIN: f64 = 16.0;

/// A graph that is too large for a picture.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("draw a picture of {nodes} nodes and {bends} bends of edges: at most {MAX_NODES} and {MAX_BENDS}")]
pub(crate) struct TooLarge {
    nodes: usize,
    bends: usize,
}

/// A node, or a bend of edges that pass through a layer.
struct Vertex {
    layer: usize,
    width: f64,
    height: f64,
    y: f64,
    before: Vec<usize>,
    behind: Vec<usize>,
}

struct Layout {
    vertices: Vec<Vertex>,
    layers: Vec<Vec<usize>>,
    /// For each edge: the vertices that it passes, both ends included.
    routes: Vec<(Vec<usize>, Edge)>,
}

/// The graph as an SVG document.
pub(crate) fn svg(pipeline: &Pipeline, graph: &Graph) -> Result<String, TooLarge> {
    if graph.len() > MAX_NODES {
        return Err(TooLarge { nodes: graph.len(), bends: 0 });
    }
    let labels: Vec<(String, String)> = pipeline
        .nodes
        .iter()
        .map(|node| (node.id.to_string(), format!("{} · {}", node.kind.name(), caption(pipeline, node))))
        .collect();
    let mut layout = build(pipeline, graph, &labels)?;
    order(&mut layout);
    place(&mut layout);
    Ok(draw(pipeline, &layout, &labels))
}

fn build(pipeline: &Pipeline, graph: &Graph, labels: &[(String, String)]) -> Result<Layout, TooLarge> {
    let mut layer = vec![0; graph.len()];
    for finally in [false, true] {
        // Nodes with `finally` begin behind all others.
        let first = if finally { layer.iter().max().map_or(0, |last| last + 1) } else { 0 };
        let any_other = pipeline.nodes.iter().any(|node| !node.finally);
        for &node in graph.order().iter().filter(|&&node| pipeline.nodes[node].finally == finally) {
            let after = graph.needs(node).map(|(other, _)| layer[other] + 1).max().unwrap_or(0);
            layer[node] = if any_other { after.max(first) } else { after };
        }
    }
    let mut layout = Layout {
        vertices: Vec::with_capacity(graph.len()),
        layers: vec![Vec::new(); layer.iter().max().map_or(0, |last| last + 1)],
        routes: Vec::new(),
    };
    for (node, (id, plugin)) in labels.iter().enumerate() {
        let chars = (id.chars().count() as f64).max(plugin.chars().count() as f64 * 0.84);
        push(&mut layout, layer[node], chars * CHAR + 24.0, BOX_HEIGHT);
    }
    // Edges of one node and kind share their bends.
    let mut bends: std::collections::BTreeMap<(usize, Edge, usize), usize> = std::collections::BTreeMap::new();
    for (from, to, edge) in edges(graph) {
        let mut route = vec![from];
        for between in layer[from] + 1..layer[to] {
            let bend =
                *bends.entry((from, edge, between)).or_insert_with(|| push(&mut layout, between, 0.0, BEND_HEIGHT));
            if layout.vertices.len() - graph.len() > MAX_BENDS {
                return Err(TooLarge { nodes: graph.len(), bends: layout.vertices.len() - graph.len() });
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
    Ok(layout)
}

fn push(layout: &mut Layout, layer: usize, width: f64, height: f64) -> usize {
    let vertex = layout.vertices.len();
    layout.vertices.push(Vertex { layer, width, height, y: 0.0, before: Vec::new(), behind: Vec::new() });
    layout.layers[layer].push(vertex);
    vertex
}

/// Sorts each layer by the mean place of the neighbours in the layer before or behind, in turns.
fn order(layout: &mut Layout) {
    let mut rank = vec![0.0; layout.vertices.len()];
    for layer in &layout.layers {
        for (place, &vertex) in layer.iter().enumerate() {
            rank[vertex] = place as f64;
        }
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 0..layout.layers.len() {
            let at = if forward { step } else { layout.layers.len() - 1 - step };
            let key = |&vertex: &usize| {
                let vertex_data = &layout.vertices[vertex];
                let neighbours = if forward { &vertex_data.before } else { &vertex_data.behind };
                mean(neighbours.iter().map(|&other| rank[other])).unwrap_or(rank[vertex])
            };
            let mut sorted: Vec<(f64, usize)> = layout.layers[at].iter().map(|vertex| (key(vertex), *vertex)).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            for (place, &(_, vertex)) in sorted.iter().enumerate() {
                rank[vertex] = place as f64;
            }
            layout.layers[at] = sorted.into_iter().map(|(_, vertex)| vertex).collect();
        }
    }
}

/// Gives each vertex its height on the page: near the mean of its neighbours, never over another.
fn place(layout: &mut Layout) {
    for layer in &layout.layers {
        let mut y = 0.0;
        for &vertex in layer {
            y += layout.vertices[vertex].height / 2.0;
            layout.vertices[vertex].y = y;
            y += layout.vertices[vertex].height / 2.0 + GAP;
        }
    }
    for sweep in 0..SWEEPS {
        for step in 0..layout.layers.len() {
            let at = if sweep % 2 == 0 { step } else { layout.layers.len() - 1 - step };
            let layer = &layout.layers[at];
            let mut offset = 0.0;
            let mut offsets = Vec::with_capacity(layer.len());
            for (place, &vertex) in layer.iter().enumerate() {
                if place > 0 {
                    offset += (layout.vertices[layer[place - 1]].height + layout.vertices[vertex].height) / 2.0 + GAP;
                }
                offsets.push(offset);
            }
            let wanted: Vec<f64> = layer
                .iter()
                .zip(&offsets)
                .map(|(&vertex, offset)| {
                    let data = &layout.vertices[vertex];
                    let around = data.before.iter().chain(&data.behind).map(|&other| layout.vertices[other].y);
                    mean(around).unwrap_or(data.y) - offset
                })
                .collect();
            for ((&vertex, value), offset) in layer.iter().zip(rising(&wanted)).zip(&offsets) {
                layout.vertices[vertex].y = value + offset;
            }
        }
    }
    let top = layout.vertices.iter().map(|v| v.y - v.height / 2.0).fold(f64::INFINITY, f64::min);
    for vertex in &mut layout.vertices {
        vertex.y += MARGIN - top;
    }
}

/// The sequence that never falls and is nearest to the given one by least squares (pool adjacent violators).
fn rising(values: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for &value in values {
        let mut pool = (value, 1);
        while let Some(&(last, count)) = pools.last()
            && last > pool.0
        {
            pools.pop();
            pool = ((last * count as f64 + pool.0 * pool.1 as f64) / (count + pool.1) as f64, count + pool.1);
        }
        pools.push(pool);
    }
    pools.into_iter().flat_map(|(value, count)| std::iter::repeat_n(value, count)).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

const STYLE: &str = "\
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px;text-anchor:middle;fill:#1f2328}\
.sub{font-size:10px;fill:#59636e}rect,polygon{stroke-width:1.5}.finally{stroke-dasharray:5 3}\
.stage{fill:#eef4fb;stroke:#4a7ab5}.health-check{fill:#edf7ee;stroke:#4b9a5b}.canary{fill:#fdf5e2;stroke:#c0902f}\
.approval{fill:#f6eefb;stroke:#8a5ab5}.wait{fill:#f0f1f3;stroke:#7d8590}\
path{fill:none;stroke:#7d8590;stroke-width:1.4}.order{stroke-dasharray:4 3}marker path{fill:#7d8590;stroke:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.sub{fill:#9da7b1}.stage{fill:#16263a}.health-check{fill:#142a1a}.canary{fill:#33280f}.approval{fill:#2a1a38}.wait{fill:#22262c}}";

fn draw(pipeline: &Pipeline, layout: &Layout, labels: &[(String, String)]) -> String {
    let widths: Vec<f64> = layout
        .layers
        .iter()
        .map(|layer| layer.iter().map(|&vertex| layout.vertices[vertex].width).fold(0.0, f64::max))
        .collect();
    let mut left = Vec::with_capacity(widths.len());
    let mut x = MARGIN;
    for width in &widths {
        left.push(x);
        x += width + LAYER_GAP;
    }
    let page_width = (x - LAYER_GAP + MARGIN).max(2.0 * MARGIN);
    let page_height = layout.vertices.iter().map(|v| v.y + v.height / 2.0).fold(MARGIN, f64::max) + MARGIN;

    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {page_width:.0} {page_height:.0}\" width=\"{page_width:.0}\" \
         height=\"{page_height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<defs><marker id=\"arrow\" \
         viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
        escape(&pipeline.name)
    );
    for (route, edge) in &layout.routes {
        let class = if *edge == Edge::Order { " class=\"order\"" } else { "" };
        let (first, last) = (&layout.vertices[route[0]], &layout.vertices[route[route.len() - 1]]);
        let mut at = (left[first.layer] + first.width, first.y);
        let mut path = format!("M{:.1} {:.1}", at.0, at.1);
        if at.0 < left[first.layer] + widths[first.layer] {
            at.0 = left[first.layer] + widths[first.layer];
            let _ = write!(path, "H{:.1}", at.0);
        }
        for &bend in &route[1..route.len() - 1] {
            let vertex = &layout.vertices[bend];
            curve(&mut path, at, (left[vertex.layer], vertex.y));
            at = (left[vertex.layer] + widths[vertex.layer], vertex.y);
            let _ = write!(path, "H{:.1}", at.0);
        }
        curve(&mut path, at, (left[last.layer], last.y));
        let _ = writeln!(text, "<path{class} d=\"{path}\" marker-end=\"url(#arrow)\"/>");
    }
    for ((node, vertex), (id, plugin)) in pipeline.nodes.iter().zip(&layout.vertices).zip(labels) {
        let x = left[vertex.layer];
        let finally = if node.finally { " finally" } else { "" };
        let _ = writeln!(
            text,
            "{}\n\
             <text x=\"{center:.1}\" y=\"{:.1}\">{}</text>\n<text class=\"sub\" x=\"{center:.1}\" y=\"{:.1}\">{}</text>",
            outline(node.kind, &format!("class=\"{}{finally}\"", node.kind.name()), x, vertex),
            vertex.y - 2.0,
            escape(id),
            vertex.y + 13.0,
            escape(plugin),
            center = x + vertex.width / 2.0,
        );
    }
    text + "</svg>\n"
}

/// How much of its corners an approval or a wait lacks.
const CUT: f64 = 10.0;

/// The outline of a node, by its kind.
fn outline(kind: NodeKind, class: &str, x: f64, vertex: &Vertex) -> String {
    let (top, bottom, right) = (vertex.y - BOX_HEIGHT / 2.0, vertex.y + BOX_HEIGHT / 2.0, x + vertex.width);
    let rectangle = |radius: u32| {
        let width = vertex.width;
        format!(
            "<rect {class} x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"{radius}\"/>"
        )
    };
    let corners: &[(f64, f64)] = match kind {
        NodeKind::Stage => return rectangle(6),
        NodeKind::HealthCheck | NodeKind::Canary => return rectangle(20),
        // A stop sign, stretched.
        NodeKind::Approval => &[
            (x + CUT, top),
            (right - CUT, top),
            (right, top + CUT),
            (right, bottom - CUT),
            (right - CUT, bottom),
            (x + CUT, bottom),
            (x, bottom - CUT),
            (x, top + CUT),
        ],
        // An arrow: time goes on.
        NodeKind::Wait => &[(x, top), (right - CUT, top), (right, vertex.y), (right - CUT, bottom), (x, bottom)],
    };
    let corners: Vec<_> = corners.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    format!("<polygon {class} points=\"{}\"/>", corners.join(" "))
}

fn curve(path: &mut String, from: (f64, f64), to: (f64, f64)) {
    let middle = (from.0 + to.0) / 2.0;
    let _ = write!(path, "C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}", from.1, to.1, to.0, to.1);
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::{node, pipeline, sample};
    use super::*;

    #[test]
    fn no_two_boxes_overlap_and_edges_go_right() {
        let (pipeline, graph) = sample();
        let labels = vec![(String::from("some-id"), String::from("stage")); graph.len()];
        let mut layout = build(&pipeline, &graph, &labels).unwrap();
        order(&mut layout);
        place(&mut layout);
        for layer in &layout.layers {
            for pair in layer.windows(2) {
                let (a, b) = (&layout.vertices[pair[0]], &layout.vertices[pair[1]]);
                assert!(b.y - a.y >= (a.height + b.height) / 2.0 + GAP - 1e-6);
            }
        }
        for (route, _) in &layout.routes {
            for pair in route.windows(2) {
                assert_eq!(layout.vertices[pair[0]].layer + 1, layout.vertices[pair[1]].layer);
            }
        }
    }

    #[test]
    fn the_picture_is_always_the_same() {
        let (pipeline, graph) = sample();
        let first = svg(&pipeline, &graph).unwrap();
        assert_eq!(first, svg(&pipeline, &graph).unwrap());
        assert_eq!((first.matches("<rect").count(), first.matches("<polygon").count()), (5, 2));
        assert_eq!(first.matches("class=\"order\"").count(), 5);
        insta::assert_snapshot!(first);
    }

    #[test]
    fn an_empty_pipeline_is_an_empty_picture() {
        let (pipeline, graph) = pipeline(Vec::new());
        assert!(svg(&pipeline, &graph).unwrap().ends_with("</svg>\n"));
    }

    #[test]
    fn large_graphs_are_refused() {
        let nodes = (0..=MAX_NODES).map(|i| node(&format!("n{i}"), NodeKind::Stage, &[], &[])).collect();
        let (pipeline, graph) = pipeline(nodes);
        assert_eq!(svg(&pipeline, &graph), Err(TooLarge { nodes: MAX_NODES + 1, bends: 0 }));
    }

    #[test]
    fn pooling_keeps_the_order() {
        assert_eq!(rising(&[3.0, 1.0, 2.0, 5.0]), [2.0, 2.0, 2.0, 5.0]);
        assert!(rising(&[]).is_empty());
    }
}
