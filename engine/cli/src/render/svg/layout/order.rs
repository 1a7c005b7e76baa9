//! The order of the vertices within each layer: few crossings.

use super::Layout;

/// Sweeps over all layers, forwards and backwards in turns.
const SWEEPS: usize = 24;
/// Sweeps without a better order after which the search ends.
const PATIENCE: usize = 6;
/// Vertices up to which neighbours are exchanged, which costs most.
const EXCHANGED: usize = 3_000;
/// Rounds of exchanges after a sweep.
const EXCHANGES: usize = 8;
/// Finds an order within each layer with few crossings.
pub(super) fn order(layout: &mut Layout) {
    let mut rank = vec![0; layout.vertices.len()];
    begin(layout, &mut rank);
    let mut best = (crossings(layout, &rank), layout.layers.clone());
    let mut patience = PATIENCE;
    for sweep in 0..SWEEPS {
        if best.0 == 0 || patience == 0 {
            break;
        }
        let forward = sweep % 2 == 0;
        for step in 0..layout.layers.len() {
            let at = if forward { step } else { layout.layers.len() - 1 - step };
            sort(layout, &mut rank, at, forward);
        }
        if layout.vertices.len() <= EXCHANGED {
            exchange(layout, &mut rank);
        }
        let found = crossings(layout, &rank);
        if found < best.0 {
            best = (found, layout.layers.clone());
            patience = PATIENCE;
        } else {
            patience -= 1;
        }
    }
    layout.layers = best.1;
}

/// The first order: depth first from the nodes that need nothing, so that what belongs together begins together.
pub(super) fn begin(layout: &mut Layout, rank: &mut [usize]) {
    let mut ordered = vec![Vec::new(); layout.layers.len()];
    let mut seen = vec![false; layout.vertices.len()];
    let starts: Vec<usize> = layout.layers.iter().flatten().copied().collect();
    for start in starts {
        let mut open = vec![start];
        while let Some(vertex) = open.pop() {
            if !std::mem::replace(&mut seen[vertex], true) {
                ordered[layout.vertices[vertex].layer].push(vertex);
                open.extend(layout.vertices[vertex].behind.iter().rev());
            }
        }
    }
    layout.layers = ordered;
    (0..layout.layers.len()).for_each(|at| number(layout, rank, at));
}

pub(super) fn number(layout: &Layout, rank: &mut [usize], at: usize) {
    for (place, &vertex) in layout.layers[at].iter().enumerate() {
        rank[vertex] = place;
    }
}

/// Sorts a layer by the medians of its neighbours' places; what has no neighbour there stays where it is.
fn sort(layout: &mut Layout, rank: &mut [usize], at: usize, forward: bool) {
    let medians: Vec<Option<f64>> = layout.layers[at]
        .iter()
        .map(|&vertex| {
            let vertex = &layout.vertices[vertex];
            median(if forward { &vertex.before } else { &vertex.behind }, rank)
        })
        .collect();
    let mut moving: Vec<(f64, usize)> =
        medians.iter().zip(&layout.layers[at]).filter_map(|(median, &vertex)| Some(((*median)?, vertex))).collect();
    moving.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut next = moving.into_iter().map(|(_, vertex)| vertex);
    for (place, median) in layout.layers[at].iter_mut().zip(&medians) {
        if median.is_some() {
            *place = next.next().unwrap_or(*place);
        }
    }
    number(layout, rank, at);
}

/// The weighted median of the places of neighbours: between the two middle ones, nearer to where more of them are.
fn median(neighbours: &[usize], rank: &[usize]) -> Option<f64> {
    let mut places: Vec<f64> = neighbours.iter().map(|&other| rank[other] as f64).collect();
    places.sort_by(f64::total_cmp);
    let middle = places.len() / 2;
    Some(match places.len() {
        0 => return None,
        odd if odd % 2 == 1 => places[middle],
        2 => (places[0] + places[1]) / 2.0,
        _ => {
            let left = places[middle - 1] - places[0];
            let right = places[places.len() - 1] - places[middle];
            if left + right == 0.0 {
                f64::midpoint(places[middle - 1], places[middle])
            } else {
                (places[middle - 1] * right + places[middle] * left) / (left + right)
            }
        }
    })
}

/// Exchanges neighbours of a layer where that takes crossings away, until nothing changes.
fn exchange(layout: &mut Layout, rank: &mut [usize]) {
    for _ in 0..EXCHANGES {
        let mut changed = false;
        for at in 0..layout.layers.len() {
            for place in 1..layout.layers[at].len() {
                let (a, b) = (layout.layers[at][place - 1], layout.layers[at][place]);
                let (u, v) = (&layout.vertices[a], &layout.vertices[b]);
                let now = between(&u.before, &v.before, rank) + between(&u.behind, &v.behind, rank);
                let then = between(&v.before, &u.before, rank) + between(&v.behind, &u.behind, rank);
                if then < now {
                    layout.layers[at].swap(place - 1, place);
                    rank.swap(a, b);
                    changed = true;
                }
            }
        }
        if !changed {
            return;
        }
    }
}

/// Crossings between the edges of two vertices, the first of which stands above the second.
fn between(above: &[usize], below: &[usize], rank: &[usize]) -> usize {
    above.iter().map(|&a| below.iter().filter(|&&b| rank[b] < rank[a]).count()).sum()
}

/// All crossings: for each pair of layers, the inversions of the ends of the edges sorted by their beginnings.
pub(super) fn crossings(layout: &Layout, rank: &[usize]) -> usize {
    let mut total = 0;
    for (at, layer) in layout.layers.iter().enumerate() {
        let next = layout.layers.get(at + 1).map_or(0, Vec::len);
        let mut tree = vec![0usize; next + 1];
        let mut seen = 0;
        for &vertex in layer {
            let mut ends: Vec<usize> = layout.vertices[vertex].behind.iter().map(|&other| rank[other]).collect();
            ends.sort_unstable();
            for &end in &ends {
                // How many ends up to this one there are: a Fenwick tree.
                let (mut i, mut up_to) = (end + 1, 0);
                while i > 0 {
                    up_to += tree[i];
                    i &= i - 1;
                }
                total += seen - up_to;
            }
            for &end in &ends {
                let mut i = end + 1;
                while i <= next {
                    tree[i] += 1;
                    i += i & i.wrapping_neg();
                }
                seen += 1;
            }
        }
    }
    total
}
