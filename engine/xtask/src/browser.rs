//! A browser for the test that looks at reports: Debian's Chromium, and playwright-core from npm below `target`.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{run, succeeds};
use crate::tools::apt_install;
use crate::{root, target_dir};

/// The driver, in the version that is tested; it brings no browser and depends on nothing.
const PLAYWRIGHT: &str = "playwright-core@1.65.1";
/// Programs, and Debian's packages that have them.
const PROGRAMS: [(&str, &str); 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// `cargo xtask browser`.
pub fn task(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("`browser` takes nothing");
    }
    println!("{}", set_up()?);
    Ok(())
}

/// Installs what is missing; an error says how to do it by hand.
pub fn set_up() -> Result<String> {
    let missing = || -> Vec<&str> {
        let there = |program: &str| {
            let given = program == "chromium" && std::env::var_os("LOCKGATE_CHROMIUM").is_some();
            given || succeeds(program, &["--version"])
        };
        PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
    };
    let packages = missing();
    if !packages.is_empty() {
        apt_install(&packages).with_context(|| {
            format!(
                "the test of reports needs {}; install them (LOCKGATE_CHROMIUM may name a Chromium elsewhere) and run this again",
                packages.join(", ")
            )
        })?;
    }
    let dir = target_dir(&root()?).join("browser");
    if !dir.join("node_modules/playwright-core/package.json").is_file() {
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to make `{}`", dir.display()))?;
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]);
        install.arg(&dir).arg(PLAYWRIGHT);
        run(&mut install)
            .with_context(|| format!("the test of reports needs npm's {PLAYWRIGHT} in `{}`", dir.display()))?;
    }
    Ok(format!("chromium, {PLAYWRIGHT}"))
}
