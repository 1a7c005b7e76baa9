//! What the tests parse files with: parameters, environment, git facts, and manifests of some plugins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockgate_model::PluginAlias;
use lockgate_model::manifest::Manifest;
use lockgate_model::pipeline::{GitFacts, PluginSource};
use lockgate_syntax::{Inputs, Parsed, parse_bytes};
use serde_json::json;

pub fn ui() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ui")
}

/// Files of a directory with this ending, sorted.
pub fn files(dir: PathBuf, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == ending));
    files.sort();
    files
}

/// Parses a file; lines `# param name=value` and `# git none` in it set what it is parsed with.
pub fn parse_file(name: &str, bytes: &[u8]) -> Parsed {
    let text = String::from_utf8_lossy(bytes);
    let given = text.lines().filter_map(|line| line.strip_prefix("# param ")?.split_once('='));
    let params: BTreeMap<_, _> = given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let no_git = text.lines().any(|line| line == "# git none");
    let git = || match no_git {
        true => Err("there is no repository".to_owned()),
        false => Ok(GitFacts { commit: "0123abcd".repeat(5), branch: Some("main".into()), tag: None, dirty: true }),
    };
    let env = |name: &str| (name == "LANG").then(|| "C.UTF-8".to_owned());
    parse_bytes(name, bytes, &Inputs { params: &params, env: &env, git: &git })
}

/// Manifests of those plugins of a file that [`manifest`] knows.
pub fn manifests(parsed: &Parsed) -> BTreeMap<PluginAlias, Manifest> {
    let known = parsed.plugins().iter().filter_map(|(alias, source)| match source {
        PluginSource::Std { name, .. } => Some((alias.clone(), manifest(name)?)),
        PluginSource::Path { .. } | PluginSource::Oci { .. } | PluginSource::App { .. } => None,
    });
    known.collect()
}

fn manifest(name: &str) -> Option<Manifest> {
    if name == "tool" {
        return Some(lockgate_model::command::manifest(vec!["http".to_owned()], false));
    }
    let port = |name: &str, kind: &str, optional: bool| json!({ "name": name, "kind": kind, "optional": optional, "summary": "" });
    let (world, schema, inputs, outputs, effects) = match name {
        "pack" => (
            "stage",
            json!({
                "type": "object",
                "properties": {
                    "format": { "enum": ["tar.zst", "tar.gz", "zip"], "description": "Kind of archive." },
                    "prefix": { "type": "string" },
                    "level": { "type": "integer", "minimum": 1, "maximum": 9 },
                    "rules": { "type": "array", "items": { "$ref": "#/$defs/rule" } },
                },
                "$defs": { "rule": { "type": "object", "properties": { "glob": { "type": "string", "pattern": "^[^/]" } }, "additionalProperties": false } },
                "required": ["format"],
                "additionalProperties": false,
            }),
            json!({ "named": [port("src", "tree", false)], "open": null }),
            json!({ "named": [port("archive", "blob", false), port("files", "tree", true)], "open": null }),
            json!([]),
        ),
        "any" => (
            "stage",
            json!({ "properties": { "mode": { "oneOf": [{ "const": "fast", "description": "Soon." }, { "const": "small" }] } } }),
            json!({ "named": [], "open": "any" }),
            json!({ "named": [], "open": "blob" }),
            json!([]),
        ),
        "echo" => (
            "stage",
            json!(true),
            json!({ "named": [port("data", "blob", false)], "open": null }),
            json!({ "named": [port("data", "blob", false)], "open": null }),
            json!(["clock"]),
        ),
        "probe" => (
            "health-check",
            json!({}),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!(["http"]),
        ),
        "judge" => (
            "canary-evaluator",
            json!({}),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!([]),
        ),
        "shell" => (
            "stage",
            json!({}),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!(["process"]),
        ),
        "deployer" => (
            "stage",
            json!({}),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!(["http", "process", "secrets", "tcp"]),
        ),
        "quantum" => (
            "stage",
            json!({}),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!(["entanglement"]),
        ),
        "endless" => (
            "stage",
            json!({ "properties": { "a": { "$ref": "#" } } }),
            json!({ "named": [], "open": null }),
            json!({ "named": [], "open": null }),
            json!([]),
        ),
        _ => return None,
    };
    let manifest = json!({
        "world": world, "name": name, "version": "1.0.0", "summary": "", "config_schema": schema,
        "inputs": inputs, "outputs": outputs, "effects": effects, "reads_time": false,
    });
    Some(serde_json::from_value(manifest).unwrap())
}
