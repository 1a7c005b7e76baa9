//! A profile for people: the functions that take the most fuel, and the memory in use over the fuel spent. The flame graph is in
//! `svg/flame.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lockgate_host::Profile;

use super::report::{fuel_text, memory_text};
use super::style::{Style, clean_line};
use super::svg::escape;
use super::table::{Align, Cell, Table};
use crate::cases::Profiled;

/// Longest name in the table, in characters.
const NAME: usize = 100;
/// Width and height of the drawing of the memory, its margins included.
const WIDTH: u64 = 1_200;
const HEIGHT: u64 = 240;
const MARGIN: u64 = 60;

/// What is profiled.
pub(crate) struct Title {
    /// Name, version, case.
    pub(crate) name: String,
    /// The component's digest.
    pub(crate) component: String,
}

/// A function, and the fuel that was spent in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Fuel that it spent itself.
    pub(crate) own: u64,
    /// Fuel that it spent with what it called.
    pub(crate) total: u64,
}

/// All functions, those first that spent the most themselves.
pub(crate) fn functions(profile: &Profile) -> Vec<Function> {
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (stack, fuel) in &profile.stacks {
        if let Some(last) = stack.last() {
            sums.entry(last).or_default().0 += fuel;
        }
        // A function that calls itself spends its fuel once.
        for name in stack.iter().collect::<BTreeSet<_>>() {
            sums.entry(name).or_default().1 += fuel;
        }
    }
    let mut functions: Vec<_> =
        sums.into_iter().map(|(name, (own, total))| Function { name: name.to_owned(), own, total }).collect();
    functions.sort_by(|a, b| (b.own, b.total, &a.name).cmp(&(a.own, a.total, &b.name)));
    functions
}

/// The table of functions, and what the call took.
pub(crate) fn human(profile: &Profile, functions: &[Function], end: &Profiled, style: Style) -> String {
    let share = |fuel: u64| {
        let tenths = if profile.fuel == 0 { 0 } else { u128::from(fuel) * 1_000 / u128::from(profile.fuel) };
        format!("{}.{} %", tenths / 10, tenths % 10)
    };
    let mut table = Table::new(&[
        ("self", Align::Right),
        ("", Align::Right),
        ("total", Align::Right),
        ("", Align::Right),
        ("function", Align::Left),
    ]);
    for function in functions {
        let name: String = clean_line(&function.name).chars().take(NAME).collect();
        table.row(vec![
            fuel_text(function.own).into(),
            Cell::painted(&share(function.own), |text| style.bold(text)),
            fuel_text(function.total).into(),
            Cell::painted(&share(function.total), |text| style.dim(text)),
            name.into(),
        ]);
    }
    let mut text = table.render(style, 0);
    let _ = writeln!(
        text,
        "\n{} of fuel, {} at most; {} samples, one each {} of fuel",
        profile.fuel,
        memory_text(end.peak_memory),
        profile.samples,
        profile.interval
    );
    text
}

/// The memory in use over the fuel spent, as SVG.
pub(crate) fn memory_graph(profile: &Profile, title: &Title) -> String {
    let most = profile.memory.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default().max(1);
    let (fuel, width, height) = (profile.fuel.max(1), WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN);
    #[expect(clippy::cast_possible_truncation, reason = "a share of at most the width or the height")]
    let scale = |part: u64, whole: u64, length: u64| {
        (u128::from(part.min(whole)) * u128::from(length) / u128::from(whole)) as u64
    };
    let mut path = String::new();
    let mut before = None;
    for (at, bytes) in &profile.memory {
        let (x, y) = (MARGIN + scale(*at, fuel, width), HEIGHT - MARGIN - scale(*bytes, most, height));
        let _ = match before {
            None => write!(path, "M{x} {y}"),
            Some(_) => write!(path, "H{x}V{y}"),
        };
        before = Some(y);
    }
    let _ = write!(path, "H{}", WIDTH - MARGIN);
    let area = format!("{path}V{0}H{MARGIN}Z", HEIGHT - MARGIN);
    let mut points = String::new();
    for (at, bytes) in profile.memory.iter().take(1_000) {
        let (x, y) = (MARGIN + scale(*at, fuel, width), HEIGHT - MARGIN - scale(*bytes, most, height));
        let label = format!("{} after {} of fuel", memory_text(*bytes), fuel_text(*at));
        let _ = writeln!(points, "  <circle cx=\"{x}\" cy=\"{y}\" r=\"3\"><title>{label}</title></circle>");
    }
    let name = escape(&clean_line(&title.name));
    let (right, bottom, middle) = (WIDTH - MARGIN, HEIGHT - MARGIN, WIDTH / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"monospace\" font-size=\"12\">\n  \
         <title>{name}: memory</title>\n  \
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n  \
         <text x=\"{middle}\" y=\"24\" text-anchor=\"middle\" font-size=\"17\">{name}: memory</text>\n  \
         <path d=\"{area}\" fill=\"#c6dbef\"/>\n  \
         <path d=\"{path}\" fill=\"none\" stroke=\"#2171b5\" stroke-width=\"2\"/>\n  \
         <path d=\"M{MARGIN} {MARGIN}V{bottom}H{right}\" fill=\"none\" stroke=\"#000000\"/>\n  \
         <text x=\"{MARGIN}\" y=\"{}\">{}</text>\n  \
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{} fuel</text>\n{points}</svg>\n",
        MARGIN - 8,
        memory_text(most),
        bottom + 18,
        fuel_text(profile.fuel),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn profile() -> Profile {
        let stack = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<Arc<str>>>();
        Profile {
            interval: 100,
            samples: 7,
            fuel: 1_000,
            stacks: BTreeMap::from([
                (stack(&["run", "parse"]), 300),
                (stack(&["run", "parse", "parse"]), 200),
                (stack(&["run", "host: read"]), 400),
                (stack(&["run", "<b>&"]), 100),
            ]),
            memory: vec![(0, 65_536), (500, 131_072)],
        }
    }

    fn title() -> Title {
        Title { name: "scan <1>".into(), component: "sha256:00".into() }
    }

    #[test]
    fn a_function_that_calls_itself_counts_once() {
        let found = functions(&profile());
        let shown: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.own, f.total)).collect();
        assert_eq!(shown, [("parse", 500, 500), ("host: read", 400, 400), ("<b>&", 100, 100), ("run", 0, 1_000)]);
    }

    #[test]
    fn the_drawing_of_the_memory_is_well_formed() {
        let text = memory_graph(&profile(), &title());
        let mut reader = quick_xml::Reader::from_str(&text);
        reader.config_mut().check_end_names = true;
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        assert!(!text.contains("scan <1>"), "{text}");
        assert!(memory_graph(&Profile::default(), &title()).contains("</svg>"));
    }
}
