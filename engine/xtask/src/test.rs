//! `cargo xtask test`: everything that CI checks, in an order that fails early.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use lockgate_toolchain::rust::{RustToolchain, TARGET};

use crate::steps::{Closing, Steps, cargo, last_line, succeeds};
use crate::{api, plugins, root, tools};

/// `cargo xtask test`.
pub fn task(arguments: &[String]) -> Result<()> {
    let quick = match arguments {
        [] => false,
        [one] if one == "--quick" => true,
        _ => bail!("`test` takes nothing but `--quick`"),
    };
    let mut steps = Steps::default();
    run(&mut steps, quick)?;
    steps.summary();
    println!("\nall steps passed");
    Ok(())
}

fn run(steps: &mut Steps, quick: bool) -> Result<()> {
    let root = root()?;
    let guests = root.join("plugins");
    let toolchain = tools::guests()?;
    // Formatting first: it takes a second.
    for (name, workspace) in [("format", &root), ("format plugins", &guests)] {
        steps.step(name, || line(cargo(workspace).args(["fmt", "--check"]), "formatted"))?;
    }
    steps.step("advisories", crate::advisories::check)?;
    steps.step("programs for tests", || tools::set_up_readers().map(Closing::Line))?;
    steps.step("browser for tests", || crate::browser::set_up().map(Closing::Line))?;
    steps.step("tools for JavaScript", || tools::set_up_javascript().map(Closing::Line))?;
    steps.step("tools for C", || tools::set_up_c().map(Closing::Line))?;
    // Brings a crate that is only read, never compiled: it carries the official schema of SARIF.
    steps.step("fetch", || line(cargo(&root).args(["fetch", "--locked"]), "all crates are here"))?;
    steps.step("plugins", || plugins::build_all(toolchain).map(Closing::Line))?;
    steps.step("programs", || crate::programs::set_up().map(Closing::Line))?;
    if !quick {
        let other = if toolchain == RustToolchain::Rustup { RustToolchain::Debian } else { RustToolchain::Rustup };
        steps.step(&format!("noop by {other}"), || match tools::set_up(other) {
            Ok(()) => plugins::build_one(other).map(Closing::Line),
            Err(error) => Ok(Closing::Skipped(format!("{error:#}"))),
        })?;
        steps.step("reproducible", || plugins::check_reproducible(toolchain).map(Closing::Line))?;
    }
    let clippy = ["clippy", "--workspace", "--all-targets"];
    steps.step("clippy", || line(cargo(&root).args(clippy).args(["--", "-D", "warnings"]), "no warnings"))?;
    steps.step("clippy plugins", || line(cargo(&guests).args(clippy).args(["--", "-D", "warnings"]), "no warnings"))?;
    if toolchain == RustToolchain::Rustup {
        // What exists only in a guest: the SDK, and what its macro makes in each world.
        let mut command = cargo(&guests);
        command.args(["clippy", "-p", "lockgate-sdk", "-p", "lockgate-noop", "-p", "lockgate-http-probe"]);
        command.args(["-p", "lockgate-threshold", "--target", TARGET, "--", "-D", "warnings"]);
        steps.step("clippy guests", || line(&mut command, "no warnings"))?;
    }
    steps.step("test plugins", || tests(&guests))?;
    steps.step("test", || tests(&root))?;
    for other in &tools::OTHERS {
        steps.step(&format!("plugin in {}", other.name), || match tools::set_up_other(other) {
            Ok(line) => ignored(&root, other.tests).map(|()| Closing::Line(line)),
            Err(error) => Ok(Closing::Skipped(format!("{error:#}"))),
        })?;
    }
    for (name, workspace) in [("doctests", &root), ("doctests plugins", &guests)] {
        let mut command = cargo(workspace);
        command.args(["test", "--workspace", "--doc", "--quiet"]);
        steps.step(name, || Ok(Closing::Line(last_line(&mut command, closes)?)))?;
    }
    if !quick {
        steps.step("book", || crate::book::build().map(Closing::Line))?;
        steps.step("doc", || api::document(&root))?;
        steps.step("public interface", || api::compare(&root, false))?;
        let mut command = cargo(&guests);
        command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        steps.step("doc plugins", || line(&mut command, "no warnings"))?;
    }
    Ok(())
}

/// Runs a check that prints nothing worth keeping if it succeeds.
fn line(command: &mut Command, closing: &str) -> Result<Closing> {
    crate::steps::run(command)?;
    Ok(Closing::Line(closing.to_owned()))
}

/// Runs all tests of a workspace, by nextest where it is installed; it leaves out doctests.
fn tests(workspace: &Path) -> Result<Closing> {
    let mut command = cargo(workspace);
    if succeeds("cargo", &["nextest", "--version"]) {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--color", "never"]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    Ok(Closing::Line(last_line(&mut command, closes)?))
}

/// Runs tests of the end-to-end tests that are ignored otherwise, because not every machine can have what they need.
fn ignored(workspace: &Path, tests: &[&str]) -> Result<()> {
    let mut command = cargo(workspace);
    // The whole workspace, as above, so that nothing is compiled anew.
    command.args(["test", "--workspace", "--test", "e2e", "--", "--ignored", "--exact"]).args(tests);
    crate::steps::run(&mut command)
}

/// Whether a line is one by which a runner closes.
fn closes(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Summary [") || line.starts_with("test result: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_known() {
        assert!(closes("     Summary [   1.2s] 12 tests run: 12 passed, 0 skipped"));
        assert!(closes("test result: ok. 3 passed; 0 failed"));
        assert!(!closes("        PASS [   0.1s] a::b"));
    }
}
