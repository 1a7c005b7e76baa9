//! What the library `lockgate` promises to programs that embed it: its public interface, line by line, in `engine/lockgate/public-api.txt`
//! under the version that it belongs to. Whatever is there may only go, or change, with a version that says so.
//!
//! `cargo xtask api` makes the JSON that is read here, and runs the comparison; `--update` writes the file.

use std::path::PathBuf;

use lockgate_tests::binary;
use public_api::Builder;
use semver::{Version, VersionReq};
use serde_json::Value;

/// Not covered by semver, as the library's documentation says: what the `lockgate` binary is made of.
const LEFT_OUT: &str = "wiring";

#[test]
#[ignore = "`cargo xtask api` makes what it reads, and runs it"]
fn the_public_interface_is_the_written_one() {
    let json = std::env::var_os("LOCKGATE_INTERFACE").expect("`cargo xtask api` says where rustdoc's JSON is");
    let now = Interface::of_rustdoc(&std::fs::read_to_string(json).unwrap());
    let path = binary::repository().join("engine/lockgate/public-api.txt");
    let written = Interface::read(&std::fs::read_to_string(&path).unwrap());
    match (written.becomes(&now), std::env::var_os("LOCKGATE_UPDATE").is_some()) {
        (Change::None, _) => {}
        (Change::Permitted(_), true) => std::fs::write(&path, now.text()).unwrap(),
        (Change::Permitted(why), false) => {
            panic!("{why}\n`cargo xtask api --update` writes engine/lockgate/public-api.txt anew")
        }
        (Change::Refused(why), _) => panic!("{why}"),
    }
}

/// The public interface at a version.
#[derive(Debug, Clone, PartialEq)]
struct Interface {
    version: Version,
    lines: Vec<String>,
}

/// What it is for the written interface to become another one.
#[derive(Debug, PartialEq)]
enum Change {
    /// It is the same.
    None,
    /// Something that the version permits.
    Permitted(String),
    /// Something that needs a higher version.
    Refused(String),
}

impl Interface {
    /// The file: a first line `lockgate VERSION`, then the interface.
    fn read(text: &str) -> Self {
        let mut lines = text.lines().map(str::to_owned);
        let first = lines.next().expect("a first line");
        let version = first.strip_prefix("lockgate ").expect("`lockgate VERSION` in the first line");
        Interface { version: version.parse().expect("a version in the first line"), lines: lines.collect() }
    }

    fn text(&self) -> String {
        let first = format!("lockgate {}", self.version);
        std::iter::once(&first).chain(&self.lines).map(|line| format!("{line}\n")).collect()
    }

    /// What rustdoc says about the library, without the part that promises nothing.
    fn of_rustdoc(json: &str) -> Self {
        let mut described: Value = serde_json::from_str(json).unwrap();
        let version = described["crate_version"].as_str().expect("the version, which cargo names").parse().unwrap();
        let index = &described["index"];
        let id = described["root"].to_string();
        let root = index[&id]["inner"]["module"]["items"].as_array().expect("the items of the library");
        let kept: Vec<Value> =
            root.iter().filter(|item| index[item.to_string()]["name"] != LEFT_OUT).cloned().collect();
        assert_eq!(kept.len() + 1, root.len(), "one module is left out: `{LEFT_OUT}`");
        described["index"][&id]["inner"]["module"]["items"] = kept.into();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), described.to_string()).unwrap();
        let interface = Builder::from_rustdoc_json(PathBuf::from(file.path())).omit_blanket_impls(true).build();
        let shown = interface.unwrap().items().map(ToString::to_string).collect::<Vec<_>>();
        let lines: Vec<_> = shown.into_iter().filter(|line| !is_noise(line)).collect();
        let inner = lines.iter().find(|line| line.contains("lockgate_") || line.contains("lockgate::wiring"));
        assert_eq!(inner, None, "the interface names what promises nothing; `#[doc(hidden)]` leaves an `impl` out");
        Interface { version, lines }
    }

    /// What it is to go on from this interface, which is written, to the one that the code has.
    fn becomes(&self, now: &Interface) -> Change {
        let (gone, new) = (missing(&self.lines, &now.lines), missing(&now.lines, &self.lines));
        if self.version > now.version {
            return Change::Refused(format!(
                "engine/lockgate/public-api.txt is of {}, the workspace of {}",
                self.version, now.version
            ));
        }
        let promised = VersionReq::parse(&format!("^{}", self.version)).unwrap();
        if !gone.is_empty() && promised.matches(&now.version) {
            return Change::Refused(format!(
                "the public interface of the library lost what {} promises, and {} may not:\n{}raise `version` in Cargo.toml to {}, or bring it back",
                self.version,
                now.version,
                listed('-', &gone),
                breaking(&self.version),
            ));
        }
        if !gone.is_empty() || !new.is_empty() {
            let lines = listed('-', &gone) + &listed('+', &new);
            return Change::Permitted(format!("the public interface of the library is another:\n{lines}"));
        }
        if self != now {
            // The version, or the order alone.
            return Change::Permitted(format!(
                "the public interface is written down for {}, this is {}",
                self.version, now.version
            ));
        }
        Change::None
    }
}

/// Whether a line promises nothing: traits of the compiler alone, and those that follow from what dependencies are made of.
fn is_noise(line: &str) -> bool {
    let traits = ["marker::Freeze", "marker::StructuralPartialEq", "marker::UnsafeUnpin", "panic::unwind_safe::"];
    traits.iter().any(|name| line.strip_prefix("impl core::").is_some_and(|line| line.starts_with(name)))
}

/// The lines that stand in one list more often than in the other.
fn missing<'a>(of: &'a [String], from: &[String]) -> Vec<&'a String> {
    let mut from: Vec<&String> = from.iter().collect();
    let gone = |line: &&String| match from.iter().position(|other| other == line) {
        Some(at) => {
            from.swap_remove(at);
            false
        }
        None => true,
    };
    of.iter().filter(gone).collect()
}

fn listed(sign: char, lines: &[&String]) -> String {
    lines.iter().map(|line| format!("  {sign} {line}\n")).collect()
}

/// The lowest version that may break what this one promises.
fn breaking(version: &Version) -> Version {
    match (version.major, version.minor) {
        (0, 0) => Version::new(0, 0, version.patch + 1),
        (0, minor) => Version::new(0, minor + 1, 0),
        (major, _) => Version::new(major + 1, 0, 0),
    }
}

fn interface(version: &str, lines: &[&str]) -> Interface {
    Interface { version: version.parse().unwrap(), lines: lines.iter().map(|line| (*line).to_owned()).collect() }
}

#[test]
fn what_is_added_needs_an_update_and_no_version() {
    let written = interface("0.1.0", &["pub fn a()"]);
    assert_eq!(written.becomes(&written), Change::None);
    let Change::Permitted(why) = written.becomes(&interface("0.1.0", &["pub fn a()", "pub fn b()"])) else { panic!() };
    assert!(why.contains("+ pub fn b()") && !why.contains("pub fn a()"), "{why}");
    // The same line once more, as traits with equal names give.
    assert!(matches!(written.becomes(&interface("0.1.0", &["pub fn a()", "pub fn a()"])), Change::Permitted(_)));
    // A version alone.
    assert!(matches!(written.becomes(&interface("0.1.1", &["pub fn a()"])), Change::Permitted(_)));
}

#[test]
fn what_goes_or_changes_needs_a_version_that_breaks() {
    for (before, after, permitted) in [
        ("0.1.0", "0.1.0", false),
        ("0.1.0", "0.1.9", false),
        ("0.1.0", "0.2.0", true),
        ("0.1.0", "1.0.0", true),
        ("0.0.1", "0.0.1", false),
        ("0.0.1", "0.0.2", true),
        ("1.2.3", "1.3.0", false),
        ("1.2.3", "2.0.0", true),
    ] {
        let written = interface(before, &["pub fn a()", "pub fn b(u8)"]);
        for lines in [&["pub fn a()"][..], &["pub fn a()", "pub fn b(u16)"]] {
            let change = written.becomes(&interface(after, lines));
            assert_eq!(matches!(change, Change::Permitted(_)), permitted, "{before} to {after}: {change:?}");
            let (Change::Permitted(why) | Change::Refused(why)) = change else { panic!() };
            assert!(why.contains("- pub fn b(u8)") && !why.contains("- pub fn a()"), "{why}");
        }
    }
    let Change::Refused(why) = interface("0.1.0", &["pub fn a()"]).becomes(&interface("0.1.4", &[])) else { panic!() };
    assert!(why.contains("Cargo.toml to 0.2.0"), "{why}");
}

#[test]
fn a_version_does_not_go_back() {
    let written = interface("0.2.0", &["pub fn a()"]);
    assert!(matches!(written.becomes(&interface("0.1.0", &["pub fn a()"])), Change::Refused(_)));
}

#[test]
fn the_written_interface_is_read_as_it_was_written() {
    let text = std::fs::read_to_string(binary::repository().join("engine/lockgate/public-api.txt")).unwrap();
    let written = Interface::read(&text);
    assert_eq!(written.text(), text);
    assert!(written.lines.iter().any(|line| line.contains("lockgate::Engine::builder()")), "{text}");
    assert!(!written.lines.iter().any(|line| line.contains("mod lockgate::wiring")), "{text}");
}
