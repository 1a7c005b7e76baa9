//! Tasks of this repository: `cargo xtask plugins | programs | test | api | browser | tools | book | demo`. Each does all its set-up itself.
//!
//! In reading order: `tools` (what guests and tests need), `plugins` (guests to components), `programs` (WASI programs of others), `browser` (a browser for tests), `advisories` (known vulnerabilities), `book` (the documentation), `api` (what the library promises), `test` (everything that CI checks), `demo` (the main job, shown).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "talks to people at a terminal")]

mod advisories;
mod api;
mod book;
mod browser;
mod demo;
mod plugins;
mod programs;
mod steps;
mod test;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
Usage: cargo xtask <TASK>

  plugins [NAME..]     builds the standard plugins (and the tests' guests) into `plugins/dist`
    --profile NAME       cargo's profile (default: release)
    --reproducible       instead: builds `noop` in two directories and compares the bytes
  test                 sets up, builds and checks everything that CI checks
    --quick              leaves out what takes long: other toolchains, reproducibility, documentation, `api`
  api                  compares the public interface of the library with `engine/lockgate/public-api.txt`
    --update             writes that file anew, where the version permits it
  browser              installs what the test of reports looks at them with: Chromium and playwright-core
  programs             builds the WASI programs that tests run into `target/programs`
  tools                installs what plugins in other languages are built with, below `target/tools`
  book                 builds the book in `docs`, with its generated pages, into `target/book`
  demo                 releases this repository, then gates a good and a bad version of a service

Environment:
  LOCKGATE_GUEST_TOOLCHAIN=rustup|debian   forces the compiler of the plugins
  LOCKGATE_BIN=PATH                        the engine that `book` asks, instead of one that it builds";

fn main() -> ExitCode {
    if let Some(code) = api::stand_in() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((task, rest)) = arguments.split_first() else {
        bail!("no task\n\n{USAGE}");
    };
    match task.as_str() {
        "plugins" => plugins::task(rest),
        "api" => api::task(rest),
        "browser" => browser::task(rest),
        "programs" => programs::task(rest),
        "tools" => tools::task(rest),
        "book" => book::task(rest),
        "test" => test::task(rest),
        "demo" => demo::task(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no task `{other}`\n\n{USAGE}"),
    }
}

/// The repository's root.
fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("failed to find the repository at `{}`", root.display()))
}

/// Where cargo builds what runs on this machine.
fn target_dir(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}
