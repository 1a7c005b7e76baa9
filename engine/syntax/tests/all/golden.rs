//! Golden pairs: `tests/ui/*.toml` beside the exact diagnostic in `*.txt`, `tests/ui/valid/*.toml` beside the pipeline in `*.json`.
//! `LOCKGATE_UPDATE=1 cargo test -p lockgate-syntax` writes the second file of each pair; read the difference before you keep it.

use std::collections::BTreeSet;
use std::path::Path;

use lockgate_model::manifest::Manifest;
use lockgate_model::pipeline::{InputSource, SnapshotSpec};
use lockgate_syntax::{Code, Problem, check_config};
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;

use crate::fixtures::{files, manifests, parse_file, ui};
use crate::policies;

/// The diagnostic as a terminal without colour and with 80 columns shows it.
pub fn render(problem: &Problem) -> String {
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_links(false).with_width(80);
    let mut text = String::new();
    handler.render_report(&mut text, problem).unwrap();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// All of them; of very many the first and the last say enough.
pub fn shown(problems: &[Problem]) -> String {
    let shown: Vec<_> = if problems.len() > 20 {
        [&problems[0], &problems[problems.len() - 1]].into()
    } else {
        problems.iter().collect()
    };
    shown.into_iter().map(render).collect::<Vec<_>>().join("\n")
}

/// Every problem of a file, those of manifests and of a directory called `missing` included.
pub fn problems(path: &Path) -> Vec<Problem> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let parsed = parse_file(name, &std::fs::read(path).unwrap());
    let mut problems = parsed.check_manifests(&manifests(&parsed));
    let missing = SnapshotSpec { dir: "missing".into(), include: Vec::new(), exclude: Vec::new(), ignore: true };
    let problem = parsed.source_problem(&InputSource::Dir(missing), "the directory `missing` does not exist", None);
    problems.extend(Some(problem).filter(|problem| problem.place().is_some()));
    problems.splice(0..0, parsed.problems.iter().cloned());
    assert_eq!(parsed.pipeline.is_some(), parsed.problems.is_empty(), "{name}");
    assert_eq!(parsed.graph.is_some(), parsed.problems.is_empty(), "{name}");
    problems
}

pub fn compare(path: &Path, ending: &str, actual: &str) -> Option<String> {
    let path = path.with_extension(ending);
    if std::env::var_os("LOCKGATE_UPDATE").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    (expected != actual).then(|| format!("{} differs; it is now:\n{actual}", path.display()))
}

#[test]
fn every_wrong_file_gets_its_exact_diagnostic() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files(ui(), "toml") {
        let problems = problems(&path);
        assert!(!problems.is_empty(), "{} has no problem", path.display());
        seen.extend(problems.iter().map(|problem| problem.code));
        wrong.extend(compare(&path, "txt", &shown(&problems)));
    }
    seen.extend(policies::codes());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = Code::ALL.iter().map(|(code, _)| code).filter(|code| !seen.contains(*code)).collect();
    assert!(missing.is_empty(), "no golden pair shows {missing:?}");
    let texts = files(ui(), "txt");
    assert!(texts.iter().all(|text| text.with_extension("toml").exists()), "a diagnostic without its file");
}

#[test]
fn every_valid_file_gives_its_exact_pipeline() {
    let mut wrong = Vec::new();
    for path in files(ui().join("valid"), "toml") {
        let shown: Vec<_> = problems(&path).iter().map(render).collect();
        assert!(shown.is_empty(), "{}:\n{}", path.display(), shown.join("\n"));
        let pipeline = parse_file("valid.toml", &std::fs::read(&path).unwrap()).pipeline.unwrap();
        let json = serde_json::to_string_pretty(&pipeline).unwrap() + "\n";
        // What the journal keeps can be read back.
        assert_eq!(serde_json::from_str::<lockgate_model::pipeline::Pipeline>(&json).unwrap(), *pipeline);
        wrong.extend(compare(&path, "json", &json));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn configs_without_a_file_are_checked_like_others() {
    let text = "schema = 1\nname = 'x'\n[[stage]]\nid = 'a'\nplugin = 'std:pack'\n";
    let mut manifest = manifests(&parse_file("x.toml", text.as_bytes())).into_values().next().unwrap();
    let check = |config: serde_json::Value, manifest: &Manifest| {
        let problems = check_config(config.as_object().unwrap(), manifest);
        assert!(problems.iter().all(|problem| problem.place().is_none()));
        problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    assert!(check(json!({ "format": "zip" }), &manifest).is_empty());
    let found = check(json!({ "formt": "zip", "level": 10 }), &manifest);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().any(|message| message == "`pack` does not know the key `formt` in `config`"), "{found:?}");
    manifest.config_schema = json!({ "$ref": "#" });
    assert_eq!(check(json!({}), &manifest), ["failed to use the config schema of `pack`: it refers to itself"]);
}

#[test]
fn problems_have_their_place_as_plain_fields() {
    let parsed = parse_file("x.toml", "schema = 1\nname = \"ä\"\nnäme = 1\n".as_bytes());
    let problem = parsed.problems.iter().find(|problem| problem.code == Code::Toml).unwrap();
    let place = problem.place().unwrap();
    assert_eq!((place.line, place.column, place.text.as_str()), (3, 2, "näme = 1"));
    assert_eq!(problem.code.name(), "lockgate::toml");
    let names: BTreeSet<_> = Code::ALL.iter().map(|(code, _)| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len());
    assert!(Code::ALL.iter().all(|(_, meaning)| !meaning.is_empty()));
}
