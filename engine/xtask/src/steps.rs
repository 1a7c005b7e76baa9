//! Runs programs, one step after another, and tells what came of them.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
pub use lockgate_toolchain::program::{cargo, succeeds};

/// What a step printed last, or why it was left out.
pub enum Closing {
    /// Its own last line that says something.
    Line(String),
    /// Not run, and why.
    Skipped(String),
}

/// Steps with their times.
#[derive(Default)]
pub struct Steps {
    done: Vec<(String, Duration, Closing)>,
}

impl Steps {
    /// Runs a step. The first that fails ends everything.
    pub fn step(&mut self, name: &str, body: impl FnOnce() -> Result<Closing>) -> Result<()> {
        println!("==> {name}");
        let begun = Instant::now();
        let result = body();
        let time = begun.elapsed();
        match result {
            Ok(closing) => {
                if let Closing::Skipped(why) = &closing {
                    println!("    skipped: {why}");
                }
                self.done.push((name.to_owned(), time, closing));
                Ok(())
            }
            Err(error) => {
                self.summary();
                println!("  FAILED  {:>6.1} s  {name}", time.as_secs_f32());
                Err(error.context(format!("`{name}` failed")))
            }
        }
    }

    /// Prints all steps.
    pub fn summary(&self) {
        println!();
        for (name, time, closing) in &self.done {
            let (word, line) = match closing {
                Closing::Line(line) => ("ok", line),
                Closing::Skipped(why) => ("skipped", why),
            };
            println!("{word:>8}  {:>6.1} s  {name:<28}  {line}", time.as_secs_f32());
        }
    }
}

/// Runs a program with its output shown; an error if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("failed to start `{}`", text(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", text(command));
    }
    Ok(())
}

/// Runs a program, shows its output and returns the last line that says something; an error if it fails.
///
/// Standard output and error go through one pipe, so that their lines stay in order.
pub fn last_line(command: &mut Command, says: impl Fn(&str) -> bool) -> Result<String> {
    use std::io::{BufRead as _, BufReader};
    let (reader, writer) = std::io::pipe().context("failed to make a pipe")?;
    let shown = text(command);
    let second = writer.try_clone().context("failed to make a pipe")?;
    let mut child =
        command.stdout(writer).stderr(second).spawn().with_context(|| format!("failed to start `{shown}`"))?;
    // The command holds the pipe's other end; without this the loop below would never end.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut last = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("failed to read what `{shown}` prints"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if says(&line) {
            last = line.trim().to_owned();
        }
    }
    let status = child.wait().with_context(|| format!("failed to wait for `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(last)
}

fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
