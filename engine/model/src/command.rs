//! Commands: `wasi:cli/run` programs as stages. What a node says of one is its config, so that it stands in the action key, in the
//! record and in the task like any other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::id::PortName;
use crate::manifest::{Manifest, Port, PortKind, Ports, World};

/// Most arguments, and most bytes of them together: what systems take.
pub const MAX_ARGS: usize = 10_000;
/// Most bytes of all arguments together.
pub const MAX_ARG_BYTES: usize = 64 << 10;
/// Most declared outputs.
pub const MAX_OUTPUTS: usize = 100;
/// Outputs that every command has.
pub const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// The config of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// Its arguments, without its name.
    #[serde(default)]
    pub args: Vec<String>,
    /// What it leaves in `/out`, by name, besides what it writes to its streams.
    #[serde(default)]
    pub outputs: BTreeMap<PortName, PortKind>,
}

impl CommandConfig {
    /// Reads a command's config; what is wrong with it, otherwise.
    pub fn read(config: &Value) -> Result<Self, String> {
        let config = Self::deserialize(config).map_err(|error| error.to_string())?;
        let size: usize = config.args.iter().map(String::len).sum();
        if config.args.len() > MAX_ARGS || size > MAX_ARG_BYTES {
            return Err(format!("it has more than {MAX_ARGS} arguments, or {MAX_ARG_BYTES} bytes of them"));
        }
        if config.args.iter().any(|argument| argument.contains('\0')) {
            return Err("an argument holds a NUL character".to_owned());
        }
        if let Some(name) = config.outputs.keys().find(|name| STREAMS.contains(&name.as_str())) {
            return Err(format!("`outputs` names `{name}`, which every command has by itself"));
        }
        match config.outputs.len() > MAX_OUTPUTS {
            true => Err(format!("it has more than {MAX_OUTPUTS} outputs")),
            false => Ok(config),
        }
    }

    /// The outputs of a command with this config.
    pub fn outputs_of(config: &serde_json::Map<String, Value>, manifest: &Manifest) -> Ports {
        let mut ports = Ports { open: None, ..manifest.outputs.clone() };
        let declared = config.get("outputs").and_then(Value::as_object);
        for (name, kind) in declared.into_iter().flatten() {
            if let (Ok(name), Ok(kind)) = (PortName::new(name), PortKind::deserialize(kind)) {
                ports.named.push(Port { name, kind, optional: false, summary: String::new() });
            }
        }
        ports
    }
}

/// The manifest of a command, which has none of its own: any inputs, in `/in`; what it writes to its streams, and what the node
/// declares.
pub fn manifest(effects: Vec<String>, reads_time: bool) -> Manifest {
    let stream = |name: &str, summary: &str| {
        let name = PortName::new(name).ok()?;
        Some(Port { name, kind: PortKind::Blob, optional: false, summary: summary.to_owned() })
    };
    let streams = [stream(STREAMS[0], "what it writes to standard output"), stream(STREAMS[1], "to standard error")];
    Manifest {
        world: World::Command,
        name: "command".to_owned(),
        version: "0.0.0".to_owned(),
        summary: "a WASI program: inputs in /in, outputs in /out".to_owned(),
        config_schema: json!({
            "type": "object",
            "properties": {
                "args": {
                    "type": "array",
                    "items": { "type": "string" },
                    "maxItems": MAX_ARGS,
                    "description": "Its arguments.",
                },
                "outputs": {
                    "type": "object",
                    "additionalProperties": { "enum": ["blob", "tree", "any"] },
                    "maxProperties": MAX_OUTPUTS,
                    "description": "What it leaves in /out, by name.",
                },
            },
            "additionalProperties": false,
        }),
        inputs: Ports { named: Vec::new(), open: Some(PortKind::Any) },
        outputs: Ports { named: streams.into_iter().flatten().collect(), open: Some(PortKind::Any) },
        effects,
        optional_effects: Vec::new(),
        reads_time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_are_read_and_checked() {
        let read = |value| CommandConfig::read(&value);
        let good = read(json!({ "args": ["-v"], "outputs": { "report": "blob" } })).unwrap();
        assert_eq!((good.args, good.outputs.len()), (vec!["-v".to_owned()], 1));
        assert_eq!(read(json!({})).unwrap(), CommandConfig::default());
        let wrong = |value, part: &str| {
            let error = read(value).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        wrong(json!({ "arguments": [] }), "unknown field");
        wrong(json!({ "outputs": { "a b": "blob" } }), "in a name");
        wrong(json!({ "outputs": { "a": "file" } }), "file");
        wrong(json!({ "outputs": { "stdout": "blob" } }), "by itself");
        wrong(json!({ "args": ["a\0b"] }), "NUL");
        wrong(json!({ "args": ["x".repeat(MAX_ARG_BYTES + 1)] }), "more than");
    }
}
