//! Places: nothing overlaps, edges go right, crossings are few.

use lockgate_model::pipeline::NodeKind;

use super::super::super::graph::tests::{node, pipeline};
use super::order::{begin, crossings};
use super::*;

/// Random graphs: `n` nodes in layers of 10, each needing up to three of those before it.
fn random(n: usize, seed: u64) -> Graph {
    let mut state = seed;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let nodes = (0..n).map(|i| {
        let mut needs: Vec<String> = Vec::new();
        for _ in 0..next(4) {
            if i >= 10 {
                needs.push(format!("n{}", next(i / 10 * 10)));
            }
        }
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        node(&format!("n{i}"), NodeKind::Stage, &[], &needs)
    });
    pipeline(nodes.collect()).1
}

fn laid_out(graph: &Graph) -> Layout {
    lay_out(graph, &vec![80.0; graph.len()], &vec![false; graph.len()]).unwrap()
}

#[test]
fn no_two_boxes_overlap_and_edges_go_right() {
    for seed in 0..20 {
        let graph = random(60, seed);
        let layout = laid_out(&graph);
        for (i, a) in layout.vertices.iter().enumerate() {
            assert!(a.x >= MARGIN && a.x + a.width <= layout.size.0 && a.y + a.height / 2.0 <= layout.size.1);
            for b in &layout.vertices[..i] {
                let apart_x = a.x + a.width <= b.x || b.x + b.width <= a.x;
                let same_column = a.x == b.x || !apart_x;
                let apart_y = (a.y - b.y).abs() >= f64::midpoint(a.height, b.height) - 1e-6;
                assert!(!same_column || apart_y, "seed {seed}");
            }
        }
        for (route, _) in &layout.routes {
            for pair in route.windows(2) {
                assert_eq!(layout.vertices[pair[0]].layer + 1, layout.vertices[pair[1]].layer);
            }
        }
    }
}

#[test]
fn crossings_are_counted() {
    let (_, graph) = pipeline(vec![
        node("a", NodeKind::Stage, &[], &[]),
        node("b", NodeKind::Stage, &[], &[]),
        node("c", NodeKind::Stage, &[], &["b"]),
        node("d", NodeKind::Stage, &[], &["a"]),
    ]);
    let mut layout = build(&graph, &[10.0; 4], &[false; 4]).unwrap();
    let mut rank = vec![0; 4];
    layout.layers = vec![vec![0, 1], vec![2, 3]];
    (0..2).for_each(|at| number(&layout, &mut rank, at));
    assert_eq!(crossings(&layout, &rank), 1);
    order(&mut layout);
    (0..2).for_each(|at| number(&layout, &mut rank, at));
    assert_eq!(crossings(&layout, &rank), 0);
}

#[test]
fn an_order_is_better_than_the_first_one() {
    let (mut first, mut last) = (0, 0);
    for seed in 0..10 {
        let graph = random(80, seed);
        let mut layout = build(&graph, &[80.0; 80], &[false; 80]).unwrap();
        let mut rank = vec![0; layout.vertices.len()];
        begin(&mut layout, &mut rank);
        first += crossings(&layout, &rank);
        order(&mut layout);
        (0..layout.layers.len()).for_each(|at| number(&layout, &mut rank, at));
        last += crossings(&layout, &rank);
    }
    assert!(last * 3 < first * 2, "{first} crossings became {last}");
}

#[test]
fn a_node_stands_near_what_needs_it() {
    // `late` is needed by the last of a chain only.
    let (_, graph) = pipeline(vec![
        node("late", NodeKind::Stage, &[], &[]),
        node("a", NodeKind::Stage, &[], &[]),
        node("b", NodeKind::Stage, &[], &["a"]),
        node("c", NodeKind::Stage, &[], &["b"]),
        node("d", NodeKind::Stage, &[], &["c", "late"]),
    ]);
    let layout = laid_out(&graph);
    assert_eq!(layout.vertices[0].layer, layout.vertices[3].layer);
    assert_eq!(layout.vertices.len(), 5, "no edge is long");
}

#[test]
fn nodes_without_edges_are_a_grid() {
    let nodes = (0..100).map(|i| node(&format!("n{i}"), NodeKind::Stage, &[], &[])).collect();
    let layout = laid_out(&pipeline(nodes).1);
    let ratio = layout.size.0 / layout.size.1;
    assert!((0.5..2.0).contains(&ratio), "{:?}", layout.size);
}

#[test]
fn pooling_keeps_the_order() {
    let equal: Vec<_> = [3.0, 1.0, 2.0, 5.0].map(|value| (value, 1.0)).into();
    assert_eq!(rising(&equal), [2.0, 2.0, 2.0, 5.0]);
    assert_eq!(rising(&[(3.0, 3.0), (1.0, 1.0)]), [2.5, 2.5]);
    assert!(rising(&[]).is_empty());
}

#[test]
fn large_graphs_are_refused() {
    let nodes = (0..=MAX_NODES).map(|i| node(&format!("n{i}"), NodeKind::Stage, &[], &[])).collect();
    let (_, graph) = pipeline(nodes);
    let refused = lay_out(&graph, &vec![1.0; MAX_NODES + 1], &vec![false; MAX_NODES + 1]);
    assert_eq!(refused.err(), Some(TooLarge { nodes: MAX_NODES + 1, bends: 0 }));
}
