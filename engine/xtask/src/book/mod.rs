//! `cargo xtask book`: the book in `docs`, with the pages that are made of what the engine says of itself.
//!
//! In reading order: [`sources`] puts the pages together below `target/book-src`, [`generated`] makes those that nobody writes, [`schema`] and [`help`] say how,
//! [`links`] looks at what was built for links that lead nowhere.
//!
//! A generated page needs a line in `docs/src/SUMMARY.md` and an arm in [`generated`]; those of the standard plugins come by themselves.

mod generated;
mod help;
mod links;
mod schema;
mod sources;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{cargo, run, succeeds};
use crate::{root, target_dir};

/// The version of mdBook that the book is built with.
const MDBOOK: &str = "0.5.4";

/// `cargo xtask book`.
pub fn task(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("`book` takes nothing");
    }
    // As the demo does; where tests were built, theirs would do as well, but nobody knows of what sources.
    if std::env::var_os("LOCKGATE_BIN").is_none() {
        run(cargo(&root()?).args(["build", "--workspace", "--bins"]))?;
    }
    println!("{}", build()?);
    Ok(())
}

/// Installs what the book is built with, and builds it with the engine that was built last; a line about it.
pub fn build() -> Result<String> {
    let root = root()?;
    let mdbook = install(&root)?;
    let target = target_dir(&root);
    let lockgate = std::env::var_os("LOCKGATE_BIN").map_or_else(|| target.join("debug/lockgate"), PathBuf::from);
    let (made, html) = (target.join("book-src"), target.join("book"));
    sources::lay_out(&root, &made, &lockgate)?;
    if html.exists() {
        std::fs::remove_dir_all(&html).with_context(|| format!("failed to remove `{}`", html.display()))?;
    }
    run(Command::new(mdbook).arg("build").arg(&made).arg("--dest-dir").arg(&html))?;
    let found = links::check(&html)?;
    let line = format!("{} pages, {} links, in {}", found.pages, found.links, html.display());
    Ok(line)
}

/// mdBook, below `target/tools`; the path of its program.
fn install(root: &Path) -> Result<PathBuf> {
    let target = target_dir(root);
    let dir = target.join("tools/mdbook");
    let program = dir.join("bin/mdbook");
    let is_there = Command::new(&program).arg("--version").output();
    if is_there.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(MDBOOK)) {
        return Ok(program);
    }
    // Without its server, and hardly optimised: it renders some dozen pages.
    let mut install = cargo(root);
    install.args([
        "install",
        "mdbook",
        "--version",
        MDBOOK,
        "--locked",
        "--no-default-features",
        "--features",
        "search",
    ]);
    install.args(["--profile", "dev", "--quiet", "--root"]).arg(&dir);
    install.env("CARGO_TARGET_DIR", dir.join("target")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(&mut install).with_context(|| format!("the book needs mdBook {MDBOOK} in `{}`", dir.display()))?;
    // What it was compiled from is of no use any more.
    std::fs::remove_dir_all(dir.join("target")).context("failed to remove what mdBook was compiled in")?;
    if !succeeds(&program, &["--version"]) {
        bail!("mdBook {MDBOOK} is installed in `{}`, and does not start", dir.display());
    }
    Ok(program)
}
