//! `std:command`: runs a granted program over artifacts.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use lockgate_sdk::process::{Command, Exit};

/// What is run, over what.
#[config]
pub struct Config {
    /// The program, as the grant names it.
    pub program: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Where inputs are laid into its working directory, by their names; without an entry at a path of that name.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// What it has to leave in its working directory, by the names of outputs: paths.
    #[serde(default)]
    pub outputs: BTreeMap<String, String>,
    /// The input whose bytes are its standard input; it is not laid into the directory.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Exit codes that are a success.
    #[serde(default = "zero")]
    pub exit_codes: Vec<i32>,
    /// Limit in milliseconds; at most the node's own.
    #[schemars(range(min = 1))]
    #[serde(default)]
    pub timeout_ms: Option<u32>,
}

fn zero() -> Vec<i32> {
    vec![0]
}

/// The plugin.
pub struct Run;

/// Lines of each stream that the log shows at most: the last ones, where a program says what went wrong.
const LINES: usize = 200;
/// Characters of a line that are shown.
const LINE: usize = 500;
/// Names of outputs for the streams.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

impl Stage for Run {
    type Config = Config;
    const ABOUT: About = about!("Runs a granted program over artifacts.")
        .open_inputs(PortKind::Any)
        .outputs(&[
            Port::blob("stdout", "what it printed").optional(),
            Port::blob("stderr", "what it complained about").optional(),
        ])
        .open_outputs(PortKind::Any)
        .effects(&["process"])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        ensure!(!config.exit_codes.is_empty(), "`exit_codes` is empty: nothing would be a success");
        let mut command = Command::new(&config.program);
        command.arguments.clone_from(&config.args);
        command.timeout_ms = config.timeout_ms;
        let inputs = inputs();
        for name in config.inputs.keys().chain(&config.stdin) {
            ensure!(inputs.iter().any(|input| input.name == *name), "there is no input `{name}`");
        }
        for input in inputs {
            if config.stdin.as_ref() == Some(&input.name) {
                command.stdin = Some(input.read()?);
                continue;
            }
            let path = config.inputs.get(&input.name).unwrap_or(&input.name);
            inside(path).with_context(|| format!("`inputs.{}`", input.name))?;
            command.inputs.push((input.name.clone(), path.clone()));
        }
        for (name, path) in &config.outputs {
            ensure!(
                !STREAMS.contains(&name.as_str()),
                "the output `{name}` is that stream of the program: name yours otherwise"
            );
            inside(path).with_context(|| format!("`outputs.{name}`"))?;
            command.outputs.push((path.clone(), name.clone()));
        }
        let exit = command.run().with_context(|| format!("run `{}`", config.program))?;
        for (name, bytes) in STREAMS.iter().zip([&exit.stdout, &exit.stderr]) {
            tail(name, bytes);
            output(name).write(bytes)?;
        }
        if exit.truncated {
            warn!("it printed more than 1 MiB: the rest is not kept");
        }
        match exit.code {
            Some(code) if config.exit_codes.contains(&code) => {
                info!("`{}` ended with exit code {code}", config.program);
                Ok(Findings::new())
            }
            Some(code) => bail!("`{}` ended with exit code {code}{}", config.program, last_words(&exit)),
            None => bail!("`{}` was ended by a signal{}", config.program, last_words(&exit)),
        }
    }
}

export_stage!(Run);

/// Checks that a path stays in the working directory.
fn inside(path: &str) -> Result<()> {
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    ensure!(plain && !path.contains('\0'), "`{path}` is no path in the working directory: use names joined by `/`");
    Ok(())
}

/// Logs the last lines of a stream.
fn tail(name: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LINES);
    if skipped > 0 {
        info!("{name}: {skipped} lines before these");
    }
    for line in &lines[skipped..] {
        let line: String = line.chars().take(LINE).collect();
        info!("{name}: {line}");
    }
}

/// The last line of what a program said, as its reason.
fn last_words(exit: &Exit) -> String {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(line.trim().chars().take(LINE).collect::<String>())
    };
    last(&exit.stderr).or_else(|| last(&exit.stdout)).map_or_else(String::new, |line| format!(": {line}"))
}

#[cfg(test)]
mod tests;
