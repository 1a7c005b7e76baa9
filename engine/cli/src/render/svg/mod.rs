//! Pictures: the graph of a pipeline, and in `flame` that of a profile. Kept small: no crate for layered graphs is both maintained and
//! routes edges around nodes.

mod flame;
mod layout;

use std::fmt::Write as _;

use lockgate_model::graph::{Edge, Graph};
use lockgate_model::pipeline::{NodeKind, Pipeline};

use self::layout::{BOX_HEIGHT, Layout, Vertex, lay_out};
use super::graph::caption;

pub(crate) use self::flame::flame_graph;
pub(crate) use self::layout::TooLarge;

/// Width of a character of the labels.
const CHAR: f64 = 7.3;

/// How a node is shown besides its id.
pub(crate) struct Label {
    /// The second line.
    pub(crate) below: String,
    /// Classes of its box besides its kind: `succeeded`, ...
    pub(crate) class: &'static str,
    /// Where a click leads.
    pub(crate) link: Option<String>,
}

/// The graph as an SVG document of its own.
pub(crate) fn svg(pipeline: &Pipeline, graph: &Graph) -> Result<String, TooLarge> {
    let label = |index: usize| {
        let node = &pipeline.nodes[index];
        Label { below: format!("{} · {}", node.kind.name(), caption(pipeline, node)), class: "", link: None }
    };
    picture(pipeline, graph, label)
}

/// The graph with these labels, to stand in a page or alone.
pub(crate) fn picture(pipeline: &Pipeline, graph: &Graph, label: impl Fn(usize) -> Label) -> Result<String, TooLarge> {
    let labels: Vec<Label> = (0..graph.len()).map(label).collect();
    let width = |(label, node): (&Label, &lockgate_model::pipeline::Node)| {
        let (id, below) = (node.id.as_str().chars().count() as f64, label.below.chars().count() as f64 * 0.84);
        id.max(below) * CHAR + 24.0
    };
    let widths: Vec<f64> = labels.iter().zip(&pipeline.nodes).map(width).collect();
    let late: Vec<bool> = pipeline.nodes.iter().map(|node| node.finally).collect();
    Ok(draw(pipeline, &lay_out(graph, &widths, &late)?, &labels))
}

// All selectors begin with the class of the picture: inside a page they must not reach further.
const STYLE: &str = "\
.graph text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px;text-anchor:middle;fill:#1f2328}\
.graph .sub{font-size:10px;fill:#59636e}.graph rect,.graph polygon{stroke-width:1.5}.graph .finally{stroke-dasharray:5 3}\
.graph .stage{fill:#eef4fb;stroke:#4a7ab5}.graph .health-check{fill:#edf7ee;stroke:#4b9a5b}.graph .canary{fill:#fdf5e2;stroke:#c0902f}\
.graph .approval{fill:#f6eefb;stroke:#8a5ab5}.graph .wait{fill:#f0f1f3;stroke:#7d8590}\
.graph .succeeded{fill:#e6f6e9;stroke:#1a7f37}.graph .failed,.graph .errored{fill:#ffebe9;stroke:#cf222e;stroke-width:2.5}\
.graph .skipped{fill:#f3f4f6;stroke:#8c959f}.graph .cancelled,.graph .waiting,.graph .unfinished{fill:#fff8e1;stroke:#9a6700}\
.graph path{fill:none;stroke:#7d8590;stroke-width:1.4}.graph .order{stroke-dasharray:4 3}.graph marker path{fill:#7d8590;stroke:none}\
@media(prefers-color-scheme:dark){.graph text{fill:#e6edf3}.graph .sub{fill:#9da7b1}.graph .stage{fill:#16263a}\
.graph .health-check{fill:#142a1a}.graph .canary{fill:#33280f}.graph .approval{fill:#2a1a38}.graph .wait{fill:#22262c}.graph .succeeded{fill:#12261a;stroke:#3fb950}\
.graph .failed,.graph .errored{fill:#3c1618;stroke:#f85149}.graph .skipped{fill:#1c2128;stroke:#6e7681}\
.graph .cancelled,.graph .waiting,.graph .unfinished{fill:#2e2411;stroke:#d29922}}";

fn draw(pipeline: &Pipeline, layout: &Layout, labels: &[Label]) -> String {
    let (width, height) = layout.size;
    // A picture with links is no single image for those who cannot see it.
    let role = if labels.iter().any(|label| label.link.is_some()) { "group" } else { "img" };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"{role}\" aria-label=\"graph of {name}\">\n<title>{name}</title>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
        name = escape(&pipeline.name)
    );
    for (route, edge) in &layout.routes {
        let class = if *edge == Edge::Order { " class=\"order\"" } else { "" };
        let _ = writeln!(text, "<path{class} d=\"{}\" marker-end=\"url(#arrow)\"/>", path(layout, route));
    }
    for ((node, vertex), label) in pipeline.nodes.iter().zip(&layout.vertices).zip(labels) {
        let class = if label.class.is_empty() { node.kind.name() } else { label.class };
        let classes = if node.finally { vec![class, "finally"] } else { vec![class] };
        let outline = outline(node.kind, &format!("class=\"{}\"", classes.join(" ")), vertex);
        let (open, close) = match &label.link {
            Some(link) => (format!("<a href=\"{}\">", escape(link)), "</a>"),
            None => (String::new(), ""),
        };
        let _ = writeln!(
            text,
            "{open}{outline}\n\
             <text x=\"{center:.1}\" y=\"{:.1}\">{}</text>\n<text class=\"sub\" x=\"{center:.1}\" y=\"{:.1}\">{}</text>{close}",
            vertex.y - 2.0,
            escape(node.id.as_str()),
            vertex.y + 13.0,
            escape(&label.below),
            center = vertex.x + vertex.width / 2.0,
        );
    }
    text + "</svg>\n"
}

/// How much of its corners an approval or a wait lacks.
const CUT: f64 = 10.0;

/// The outline of a node, by its kind.
fn outline(kind: NodeKind, class: &str, vertex: &Vertex) -> String {
    let (x, right) = (vertex.x, vertex.x + vertex.width);
    let (top, bottom) = (vertex.y - BOX_HEIGHT / 2.0, vertex.y + BOX_HEIGHT / 2.0);
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

/// An edge: straight through layers, curved between them.
fn path(layout: &Layout, route: &[usize]) -> String {
    let (first, last) = (&layout.vertices[route[0]], &layout.vertices[route[route.len() - 1]]);
    let mut at = (first.x + first.width, first.y);
    let mut path = format!("M{:.1} {:.1}", at.0, at.1);
    let (left, width) = layout.columns[first.layer];
    if at.0 < left + width {
        at.0 = left + width;
        let _ = write!(path, "H{:.1}", at.0);
    }
    for &bend in &route[1..route.len() - 1] {
        let vertex = &layout.vertices[bend];
        let (left, width) = layout.columns[vertex.layer];
        curve(&mut path, at, (left, vertex.y));
        at = (left + width, vertex.y);
        let _ = write!(path, "H{:.1}", at.0);
    }
    curve(&mut path, at, (last.x, last.y));
    path
}

fn curve(path: &mut String, from: (f64, f64), to: (f64, f64)) {
    let middle = f64::midpoint(from.0, to.0);
    let _ = write!(path, "C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}", from.1, to.1, to.0, to.1);
}

/// Text for XML and for the double-quoted values of its attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            // XML has none of these, in whatever form.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::{pipeline, sample};
    use super::*;

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
    fn names_cannot_break_out() {
        let (mut pipeline, graph) = sample();
        pipeline.name = "\"><script>".into();
        let label = |_| Label { below: "</text><script>".into(), class: "failed", link: Some("#\"x".into()) };
        let text = picture(&pipeline, &graph, label).unwrap();
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("<a href=\"#&quot;x\">"), "{text}");
    }
}
