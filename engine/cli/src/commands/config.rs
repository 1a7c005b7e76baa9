//! The config of `lockgate plugin call`: read, and checked against the plugin's schema exactly as a pipeline's would be, by writing it
//! into a pipeline of one node. So there is one validator, and one set of messages.

use std::collections::BTreeMap;
use std::fs;

use lockgate_host::Plugin;
use lockgate_model::PluginAlias;
use lockgate_model::limits::MAX_HOST_CALL;
use lockgate_model::manifest::World;
use lockgate_syntax::{Code, Inputs, Problem};
use serde_json::{Map, Value};

use crate::exit::{CliError, Exit};

/// Name of the one plugin of that pipeline.
const ALIAS: &str = "plugin";

/// Reads a config: JSON of an object, or `@` and a file with one. Members that are `null` count as absent, because pipeline files
/// cannot say `null`.
pub(super) fn read(text: &str) -> Result<Map<String, Value>, CliError> {
    let text = match text.strip_prefix('@') {
        Some(path) => {
            let failed = |error| CliError::new(Exit::Wrong, error).context(format!("read the config `{path}`"));
            if fs::metadata(path).map_err(failed)?.len() > MAX_HOST_CALL {
                return Err(wrong(format!("read the config `{path}`: it is larger than 16 MiB")));
            }
            fs::read_to_string(path).map_err(failed)?
        }
        None => text.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(mut config)) => {
            drop_nulls(&mut config);
            Ok(config)
        }
        Ok(_) => Err(wrong("read the config: it is not a JSON object".to_owned())),
        Err(error) => Err(CliError::new(Exit::Wrong, error).context("read the config as JSON")),
    }
}

/// Checks a config against the plugin's schema.
pub(super) fn check(plugin: &Plugin, config: &Map<String, Value>) -> Result<(), CliError> {
    let alias = PluginAlias::new(ALIAS).map_err(|error| CliError::new(Exit::Wrong, error))?;
    let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &|| Err("not in a call".to_owned()) };
    let mut parsed = lockgate_syntax::parse("--config", &pipeline(plugin.world(), config)?, &inputs);
    let mut problems = std::mem::take(&mut parsed.problems);
    let about_config = |problem: &Problem| matches!(problem.code, Code::Config | Code::ConfigSchema);
    let found = parsed.check_manifests(&[(alias, plugin.manifest().clone())].into());
    problems.extend(found.into_iter().filter(about_config));
    let Some(first) = problems.first() else { return Ok(()) };
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let error = wrong(format!("use the config: {}", messages.join("; ")));
    Err(match &first.hint {
        Some(hint) => error.hint(hint),
        None => error.hint("`lockgate plugin inspect` shows what the plugin takes"),
    })
}

fn wrong(message: String) -> CliError {
    CliError::new(Exit::Wrong, anyhow::anyhow!(message))
}

/// A pipeline of one node with this config.
fn pipeline(world: World, config: &Map<String, Value>) -> Result<String, CliError> {
    let kind = match world {
        World::Stage => "stage",
        World::HealthCheck => "health-check",
        World::CanaryEvaluator => "canary",
    };
    let mut text =
        format!("schema = 1\nname = \"call\"\n[plugins]\n{ALIAS} = {{ path = \"plugin.wasm\" }}\n[[{kind}]]\n");
    text += &format!("id = \"call\"\nplugin = \"{ALIAS}\"\nconfig = ");
    table(config, &mut text)?;
    text.push('\n');
    Ok(text)
}

fn drop_nulls(config: &mut Map<String, Value>) {
    config.retain(|_, value| !value.is_null());
    // The depth of JSON is bounded by its reader.
    for value in config.values_mut() {
        if let Value::Object(inner) = value {
            drop_nulls(inner);
        }
    }
}

fn table(members: &Map<String, Value>, text: &mut String) -> Result<(), CliError> {
    text.push('{');
    for (index, (key, member)) in members.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        text.push_str(&string(key));
        text.push_str(" = ");
        value(member, text)?;
    }
    text.push_str(" }");
    Ok(())
}

fn value(value_of: &Value, text: &mut String) -> Result<(), CliError> {
    match value_of {
        Value::Null => return Err(wrong("use the config: it holds `null` in a list".to_owned())),
        Value::Bool(_) | Value::Number(_) => text.push_str(&value_of.to_string()),
        Value::String(plain) => text.push_str(&string(&plain.replace("${", "$${"))),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                value(item, text)?;
            }
            text.push(']');
        }
        Value::Object(members) => table(members, text)?,
    }
    Ok(())
}

/// A basic string of TOML: JSON's escapes are TOML's, but TOML also escapes DEL.
fn string(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_objects() {
        assert_eq!(
            read("{\"a\":1,\"b\":null,\"c\":{\"d\":null}}").unwrap(),
            *serde_json::json!({"a": 1, "c": {}}).as_object().unwrap()
        );
        for text in ["[]", "{", "@/nowhere/config.json"] {
            assert_eq!(read(text).unwrap_err().exit, Exit::Wrong, "{text}");
        }
    }

    #[test]
    fn what_is_checked_is_what_was_given() {
        let text = r#"{"a b":"x\"\\\u007f\u0001é ${params.x} $${","n":-1,"f":1.5,"list":[1,{"deep":true}],"empty":{}}"#;
        let config = read(text).unwrap();
        let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &|| Err(String::new()) };
        for world in [World::Stage, World::HealthCheck, World::CanaryEvaluator] {
            let parsed = lockgate_syntax::parse("--config", &pipeline(world, &config).unwrap(), &inputs);
            assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
            assert_eq!(parsed.pipeline.unwrap().nodes[0].config, config);
        }
    }
}
