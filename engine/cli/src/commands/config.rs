//! The config of `lockgate plugin call`: read, and checked against the plugin's schema by what checks those of pipelines.

use std::fs;

use lockgate_host::Plugin;
use lockgate_model::limits::MAX_HOST_CALL;
use serde_json::{Map, Value};

use crate::exit::{CliError, Exit};

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
    let problems = lockgate_syntax::check_config(config, plugin.manifest());
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

fn drop_nulls(config: &mut Map<String, Value>) {
    config.retain(|_, value| !value.is_null());
    // The depth of JSON is bounded by its reader.
    for value in config.values_mut() {
        if let Value::Object(inner) = value {
            drop_nulls(inner);
        }
    }
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
}
