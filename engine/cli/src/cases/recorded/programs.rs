//! Recorded executions of programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lockgate_host::EffectsError;
use lockgate_model::PortName;
use lockgate_model::artifact::ArtifactRef;
use lockgate_syntax::case::{Execution, ProgramEnd};
use serde_json::{Value, json};

use super::super::text;
use super::tape::Recording;
use super::{Keep, indent, quoted};

/// Bytes of each stream that the host keeps.
const MAX_STREAM: usize = 1 << 20;

/// One execution, with what it leaves.
pub(super) struct Prepared {
    pub(super) execution: Execution,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Artifacts, and how many entries each has if it is a tree.
    pub(super) outputs: BTreeMap<PortName, (ArtifactRef, u64)>,
}

/// A program as the plugin asked for it.
pub(super) struct Asked {
    pub(super) run: Vec<String>,
    pub(super) stdin: Vec<u8>,
    /// Name, path; sorted.
    pub(super) inputs: Vec<(String, String)>,
    /// Path, name.
    pub(super) outputs: Vec<(String, String)>,
}

impl Recording for Prepared {
    type Asked = Asked;
    const KIND: &'static str = "process";
    const NAME: &'static str = "program";
    const NEVER: &'static str = "never run";

    fn line(&self) -> usize {
        self.execution.line
    }

    fn first_line(&self) -> String {
        self.execution.run.join(" ")
    }

    fn expected(&self) -> String {
        let Execution { run, stdin, inputs, .. } = &self.execution;
        let names: Vec<_> = self.outputs.keys().map(PortName::as_str).collect();
        let inputs = inputs.as_ref().map(|inputs| inputs.iter().map(|(name, path)| (&name[..], &path[..])).collect());
        describe(run, inputs, &names, stdin.as_deref())
    }

    fn shown(asked: &Asked) -> String {
        let names: Vec<_> = asked.outputs.iter().map(|(_, name)| name.as_str()).collect();
        let stdin = Some(&asked.stdin[..]).filter(|stdin| !stdin.is_empty());
        describe(&asked.run, Some(pairs(asked)), &names, stdin)
    }

    fn differs(&self, asked: &Asked) -> Option<String> {
        let Execution { run, stdin, inputs, line, .. } = &self.execution;
        let same_stdin = stdin.as_ref().is_none_or(|stdin| *stdin == asked.stdin);
        let same_inputs = inputs
            .as_ref()
            .is_none_or(|inputs| inputs.iter().map(|(name, path)| (name.as_str(), path.as_str())).eq(pairs(asked)));
        // What it leaves where nobody looks would never be seen.
        let names: Vec<_> = self.outputs.keys().map(PortName::as_str).collect();
        let wanted: Vec<_> =
            names.iter().copied().filter(|name| asked.outputs.iter().any(|(_, other)| other == name)).collect();
        if *run == asked.run && same_stdin && same_inputs && wanted == names {
            return None;
        }
        let shown = describe(
            &asked.run,
            inputs.as_ref().map(|_| pairs(asked)),
            &wanted,
            stdin.as_ref().map(|_| &asked.stdin[..]),
        );
        let difference = text::difference(self.expected().as_bytes(), shown.as_bytes());
        Some(format!("another than the one of line {line}:\n{}", indent(&difference)))
    }
}

fn pairs(asked: &Asked) -> Vec<(&str, &str)> {
    asked.inputs.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect()
}

/// A program as text: an argument in each line, so that a difference shows which one.
fn describe(run: &[String], inputs: Option<Vec<(&str, &str)>>, outputs: &[&str], stdin: Option<&[u8]>) -> String {
    let mut text = String::new();
    for argument in run {
        let _ = writeln!(text, "{}", quoted(argument.as_bytes()));
    }
    for (name, path) in inputs.unwrap_or_default() {
        let _ = writeln!(text, "with the input {name} at {path}");
    }
    for name in outputs {
        let _ = writeln!(text, "for the output {name}");
    }
    if let Some(stdin) = stdin {
        let _ = write!(text, "standard input:\n{}\n", quoted(stdin));
    }
    text
}

/// The answer of an execution, as the host records it.
pub(super) fn answer(prepared: &Prepared, keep: &Keep) -> Result<Value, EffectsError> {
    let (code, time) = match &prepared.execution.end {
        ProgramEnd::Exited { code, time, .. } => (code, time),
        ProgramEnd::Error(code) => return Ok(super::no_answer(code)),
    };
    let stream = |bytes: &[u8]| keep.bytes(&bytes[..bytes.len().min(MAX_STREAM)]);
    let outputs: BTreeMap<_, _> = prepared
        .outputs
        .iter()
        .map(|(name, (artifact, entries))| (name, json!({ "artifact": artifact, "entries": entries })))
        .collect();
    Ok(json!({
        "code": code,
        "stdout": stream(&prepared.stdout)?,
        "stderr": stream(&prepared.stderr)?,
        "truncated": prepared.stdout.len().max(prepared.stderr.len()) > MAX_STREAM,
        "total-us": time.0.saturating_mul(1_000),
        "outputs": outputs,
    }))
}
