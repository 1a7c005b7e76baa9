//! Case files: golden pairs of `tests/ui/case`, the JSON Schema, hostile texts.

use std::path::{Path, PathBuf};

use lockgate_syntax::case::{ParsedCase, parse_case};
use lockgate_syntax::case_schema;
use proptest::prelude::*;

use crate::fixtures::{files, ui};
use crate::golden::{compare, shown};
use crate::schema::as_editors_see;

fn dir() -> PathBuf {
    ui().join("case")
}

fn parse(path: &Path) -> ParsedCase {
    let parsed = parse_case(path.file_name().unwrap().to_str().unwrap(), &std::fs::read(path).unwrap());
    assert_eq!(parsed.case.is_some(), parsed.problems.is_empty(), "{}", path.display());
    parsed
}

#[test]
fn every_wrong_case_gets_its_exact_diagnostic() {
    let mut wrong = Vec::new();
    for path in files(dir(), "toml") {
        let problems = parse(&path).problems;
        assert!(!problems.is_empty(), "{} has no problem", path.display());
        wrong.extend(compare(&path, "txt", &shown(&problems)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_valid_case_says_exactly_this() {
    let mut wrong = Vec::new();
    for path in files(dir().join("valid"), "toml") {
        let parsed = parse(&path);
        assert_eq!(shown(&parsed.problems), "");
        wrong.extend(compare(&path, "txt", &format!("{:#?}\n", parsed.case.unwrap())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Cases of the repository's plugins, and the valid ones here.
fn cases() -> Vec<PathBuf> {
    let plugins = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    let mut found = files(dir().join("valid"), "toml");
    for plugin in std::fs::read_dir(plugins).unwrap() {
        let Ok(cases) = std::fs::read_dir(plugin.unwrap().path().join("cases")) else { continue };
        found.extend(cases.map(|case| case.unwrap().path().join("case.toml")).filter(|path| path.is_file()));
    }
    found
}

#[test]
fn the_schema_takes_every_case() {
    let validator = jsonschema::draft202012::new(&case_schema()).unwrap();
    let cases = cases();
    assert!(cases.len() > 10, "{cases:?}");
    for path in cases {
        let table: toml::Table = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let value = as_editors_see(toml::Value::Table(table));
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "[\\[\\]{}=\"a-z0-9\\.\\n ]{0,200}", cut in 0..900usize) {
        parse_case("case.toml", text.as_bytes());
        let whole = std::fs::read(dir().join("valid/all.toml")).unwrap();
        parse_case("case.toml", &whole[..cut.min(whole.len())]);
    }
}
