//! A flame graph: each function as wide as the fuel that was spent below it, callers below what they called. A file of its own that reads
//! without its script; with it (`flame.js`) a click zooms in, and functions are searched for. The same profile gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use lockgate_host::Profile;

use super::super::profile::Title;
use super::super::report::fuel_text;
use super::super::style::clean_line;
use super::escape;

/// Width of the picture, and of its margins at the left and at the right.
const WIDTH: u64 = 1_200;
const MARGIN: u64 = 10;
/// Room for the title above, and for nothing below.
const TOP: usize = 64;
const BOTTOM: usize = 10;
/// Height of a row of frames.
const ROW: usize = 18;
/// Width of a character, in tenths.
const CHAR: u64 = 73;
/// Frames with less than this part of the fuel are left out: they would be narrower than an eighth of a pixel.
const THINNEST: u64 = 10_000;
/// Most frames in the picture, the widest ones: browsers still move that many at once.
const MAX_FRAMES: usize = 20_000;
/// What the lowest frame is called.
const ALL: &str = "all";
/// Begins the names of host calls.
const HOST: &str = "host: ";

const SCRIPT: &str = include_str!("flame.js");
// Dark letters on light frames in either scheme: only what is around the frames changes.
const STYLE: &str = "\
.flame text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:12px;fill:#1f2328}.flame .paper{fill:#ffffff}\
.flame .title{font-size:16px}.flame .sub{fill:#59636e}.flame .frame{cursor:pointer}.flame .frame text{fill:#1f2328;pointer-events:none}\
.flame .frame rect{stroke:#ffffff;stroke-width:.5}.flame .frame:hover rect,.flame .frame:focus rect{stroke:#000000;stroke-width:1.5}\
.flame .frame:focus{outline:none}.flame .below{opacity:.75}.flame .hit rect{fill:#d58cf5}.flame .button{cursor:pointer;text-decoration:underline}\
@media(prefers-color-scheme:dark){.flame text{fill:#e6edf3}.flame .paper{fill:#0d1117}.flame .sub{fill:#9da7b1}\
.flame .frame rect{stroke:#0d1117}.flame .frame:hover rect,.flame .frame:focus rect{stroke:#ffffff}}";

/// A function at one place of the stacks.
struct Frame<'a> {
    name: &'a str,
    row: usize,
    /// Fuel left of it, and its own with that of all above it.
    at: u64,
    fuel: u64,
}

/// The flame graph as an SVG document of its own.
pub(crate) fn flame_graph(profile: &Profile, title: &Title) -> String {
    let frames = frames(&profile.stacks);
    let total = frames.first().map_or(0, |all| all.fuel);
    let shown = widest(&frames);
    let rows = shown.iter().map(|frame| frame.row + 1).max().unwrap_or_default();
    let height = TOP + rows * ROW + BOTTOM;
    let (name, component) = (escape(&clean_line(&title.name)), escape(&clean_line(&title.component)));
    let spent = if total == 0 { "no fuel was spent".to_owned() } else { format!("{} of fuel", fuel_text(total)) };
    let inner = WIDTH - 2 * MARGIN;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"flame\" viewBox=\"0 0 {WIDTH} {height}\" width=\"100%\" \
         data-left=\"{MARGIN}\" data-width=\"{inner}\" data-char=\"{}.{}\">\n<title>{name}: fuel</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"24\">{name}: {spent}</text>\n\
         <text class=\"sub\" x=\"{MARGIN}\" y=\"44\">{component}{}</text>\n",
        CHAR / 10,
        CHAR % 10,
        match frames.len() - shown.len() {
            0 => String::new(),
            1 => ", 1 thin frame left out".to_owned(),
            thin => format!(", {thin} thin frames left out"),
        },
    );
    for frame in shown {
        draw(&mut text, frame, total, height);
    }
    let right = WIDTH - MARGIN;
    // Without the script nothing would come of a click on these.
    let _ = write!(
        text,
        "<text class=\"button search\" x=\"{right}\" y=\"24\" text-anchor=\"end\" tabindex=\"0\" style=\"display:none\">search (/)</text>\n\
         <text class=\"button reset\" x=\"{}\" y=\"24\" text-anchor=\"end\" tabindex=\"0\" style=\"display:none\">all (Esc)</text>\n\
         <text class=\"sub found\" x=\"{right}\" y=\"44\" text-anchor=\"end\"></text>\n",
        right - 100
    );
    if total > 0 {
        let _ = write!(text, "<script><![CDATA[\n{SCRIPT}]]></script>\n");
    }
    text + "</svg>\n"
}

/// All frames, each before those above it, from left to right. Stacks come sorted, so that those that begin alike stand side by side.
fn frames(stacks: &BTreeMap<Vec<Arc<str>>, u64>) -> Vec<Frame<'_>> {
    let mut frames = vec![Frame { name: ALL, row: 0, at: 0, fuel: 0 }];
    // The frames of the stack that was seen last, from the lowest on.
    let mut open: Vec<usize> = vec![0];
    let mut at = 0_u64;
    for (stack, fuel) in stacks.iter().filter(|(_, fuel)| **fuel > 0) {
        let same = open[1..].iter().zip(stack).take_while(|(frame, name)| frames[**frame].name == &***name).count();
        open.truncate(same + 1);
        for name in &stack[same..] {
            frames.push(Frame { name, row: open.len(), at, fuel: 0 });
            open.push(frames.len() - 1);
        }
        for frame in &open {
            frames[*frame].fuel = frames[*frame].fuel.saturating_add(*fuel);
        }
        at = at.saturating_add(*fuel);
    }
    frames
}

/// Those that can be seen. What is above a frame is no wider than it is, so none is left in the air.
fn widest<'a, 'b>(frames: &'b [Frame<'a>]) -> Vec<&'b Frame<'a>> {
    let total = frames.first().map_or(0, |all| all.fuel);
    let mut fuels: Vec<u64> = frames.iter().map(|frame| frame.fuel).collect();
    fuels.sort_unstable_by(|a, b| b.cmp(a));
    let least = (total / THINNEST).max(fuels.get(MAX_FRAMES).map_or(0, |fuel| fuel.saturating_add(1)));
    frames.iter().filter(|frame| frame.row == 0 || frame.fuel >= least).collect()
}

fn draw(text: &mut String, frame: &Frame<'_>, total: u64, height: usize) {
    let tenths = |fuel: u64| {
        let all = u128::from(10 * (WIDTH - 2 * MARGIN));
        u64::try_from(u128::from(fuel) * all / u128::from(total.max(1))).unwrap_or(u64::MAX)
    };
    let (left, right) = (tenths(frame.at), tenths(frame.at.saturating_add(frame.fuel)));
    let width = if total == 0 { 10 * (WIDTH - 2 * MARGIN) } else { right - left };
    let (x, y) = (10 * MARGIN + left, height - BOTTOM - (frame.row + 1) * ROW);
    let name = clean_line(frame.name);
    let hundredths = u128::from(frame.fuel) * 10_000 / u128::from(total.max(1));
    let _ = writeln!(
        text,
        "<g class=\"frame\" data-at=\"{}\" data-fuel=\"{}\" data-row=\"{}\" data-name=\"{escaped}\">\
         <title>{escaped}: {} of fuel, {}.{:02} %</title>\
         <rect x=\"{}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"1\" fill=\"{}\"/>\
         <text x=\"{}\" y=\"{}\">{}</text></g>",
        frame.at,
        frame.fuel,
        frame.row,
        frame.fuel,
        hundredths / 100,
        hundredths % 100,
        decimal(x),
        decimal(width),
        ROW - 1,
        colour(&name),
        decimal(x + 30),
        y + 13,
        escape(&fitting(&name, width)),
        escaped = escape(&name),
    );
}

fn decimal(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// As much of a name as there is room for; nothing where that would say nothing. The same as in the script.
fn fitting(name: &str, tenths: u64) -> String {
    let most = usize::try_from(tenths.saturating_sub(60) / CHAR).unwrap_or(usize::MAX);
    if name.chars().count() <= most {
        return name.to_owned();
    }
    if most < 3 { String::new() } else { name.chars().take(most - 2).chain("..".chars()).collect() }
}

/// A colour by the name, light enough for dark letters: warm for functions, cold for host calls, grey for the whole.
fn colour(name: &str) -> String {
    if name == ALL {
        return "#d0d7de".to_owned();
    }
    // FNV-1a: names that differ in little differ in colour.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let part = |shift: u32, from: u64, to: u64| from + (hash >> shift) % (to - from);
    let (red, green, blue) = match name.starts_with(HOST) {
        true => (part(8, 120, 170), part(24, 175, 215), part(40, 225, 255)),
        false => (part(8, 230, 255), part(24, 145, 220), part(40, 70, 130)),
    };
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;

    use super::*;

    fn stack(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn of(stacks: impl IntoIterator<Item = (Vec<Arc<str>>, u64)>) -> Profile {
        let stacks: BTreeMap<_, _> = stacks.into_iter().collect();
        Profile { fuel: stacks.values().sum(), stacks, ..Profile::default() }
    }

    fn sample() -> Profile {
        of([
            (stack(&["run"]), 50),
            (stack(&["run", "parse"]), 300),
            (stack(&["run", "parse", "parse"]), 200),
            (stack(&["run", "host: read"]), 400),
            (stack(&["run", "\"><script>alert(1)</script>&\u{202e}\u{0}\u{ffff}"]), 50),
        ])
    }

    fn title() -> Title {
        Title { name: "scan <1>".into(), component: "sha256:00".into() }
    }

    /// Its frames as `(name, row, x, width)`, in tenths of a pixel; reading fails where it is no XML.
    fn read(svg: &str) -> Vec<(String, usize, u64, u64)> {
        let mut reader = quick_xml::Reader::from_str(svg);
        reader.config_mut().check_end_names = true;
        let (mut found, mut scripts) = (Vec::new(), 0);
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Start(element) if element.name().as_ref() == "script" => scripts += 1,
                Event::Start(element) | Event::Empty(element) => {
                    let value = |name: &str| {
                        let found = element.attributes().map(Result::unwrap).find(|a| a.key.as_ref() == name);
                        found.map(|a| a.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap().into_owned())
                    };
                    let tenths = |name: &str| value(name).unwrap().replace('.', "").parse::<u64>().unwrap();
                    match element.name().as_ref() {
                        "g" => found.push((value("data-name").unwrap(), tenths("data-row") as usize, 0, 0)),
                        "rect" if value("rx").is_some() => {
                            let last = found.last_mut().unwrap();
                            (last.2, last.3) = (tenths("x"), tenths("width"));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        assert!(scripts <= 1, "{svg}");
        found
    }

    #[test]
    fn the_picture_is_always_the_same() {
        let first = flame_graph(&sample(), &title());
        assert_eq!(first, flame_graph(&sample(), &title()));
        insta::assert_snapshot!(first.split("<script>").next().unwrap());
    }

    #[test]
    fn frames_are_as_wide_as_their_fuel_and_stand_on_their_callers() {
        let frames = read(&flame_graph(&sample(), &title()));
        let shown: Vec<_> = frames.iter().map(|(name, row, x, width)| (name.as_str(), *row, *x, *width)).collect();
        assert_eq!(shown[..2], [("all", 0, 100, 11_800), ("run", 1, 100, 11_800)],);
        assert_eq!(
            shown[3..],
            [("host: read", 2, 1_280, 4_720), ("parse", 2, 6_000, 5_900), ("parse", 3, 9_540, 2_360)]
        );
        // What a guest calls its functions stays a name.
        let (name, row, x, width) = shown[2];
        assert!(name.starts_with("\"><script>alert(1)</script>&\\u{202e}") && !name.contains('\u{ffff}'), "{name}");
        assert_eq!((row, x, width), (2, 690, 590));
    }

    #[test]
    fn nothing_is_a_picture_too() {
        let svg = flame_graph(&Profile::default(), &title());
        assert!(svg.contains("no fuel was spent") && !svg.contains("<script"), "{svg}");
        assert_eq!(read(&svg), [("all".to_owned(), 0, 100, 11_800)]);
    }

    #[test]
    fn what_is_too_thin_or_too_much_is_left_out_and_said() {
        let mut many: Vec<_> = (0..30_000).map(|n| (stack(&["run", &format!("f{n}")]), 1_000)).collect();
        many.push((stack(&["run", "wide"]), 1_000_000));
        let svg = flame_graph(&of(many), &title());
        assert!(svg.contains("30000 thin frames left out"), "{}", &svg[..3_000]);
        let names: Vec<_> = read(&svg).into_iter().map(|frame| frame.0).collect();
        assert_eq!(names, ["all", "run", "wide"]);

        // As deep as stacks get, and wide enough to be drawn, every one of them.
        let deep: Vec<String> = (0..1_000).map(|n| format!("f{n}")).collect();
        let stacks = (0..30).map(|top| {
            let mut names: Vec<&str> = vec![["a", "b", "c"][top % 3]; top + 1];
            names.extend(deep.iter().map(String::as_str));
            (stack(&names), 1_000)
        });
        let svg = flame_graph(&of(stacks), &title());
        assert!(read(&svg).len() <= MAX_FRAMES, "{}", read(&svg).len());
        assert!(svg.contains("thin frames left out"));
    }

    #[test]
    fn letters_are_readable_on_every_colour() {
        let luminance = |hex: &str| {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        for name in (0..500).flat_map(|n| [format!("f{n}"), format!("{HOST}{n}")]).chain([ALL.to_owned()]) {
            let contrast = (luminance(&colour(&name)) + 0.05) / (luminance("#1f2328") + 0.05);
            assert!(contrast >= 4.5, "{name}: {contrast}");
        }
        assert_ne!(colour("parse"), colour("parsf"));
    }
}
