//! `cargo xtask api`: compares the public interface of the library `lockgate` with `engine/lockgate/public-api.txt`.
//!
//! The interface is read out of what rustdoc says in JSON, which it only does where `RUSTC_BOOTSTRAP` is set. Set for cargo, that would
//! compile every dependency anew; so cargo is given this program as its rustdoc, which runs the real one, and for the library once more.
//! The comparison is a test (`tests/e2e/interface.rs`): what it reads JSON with need not be compiled before everything else.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::steps::{Closing, cargo, run};
use crate::{root, target_dir};

/// Set where this program stands in for rustdoc: the rustdoc to run.
const STANDS_IN: &str = "LOCKGATE_XTASK_RUSTDOC";
/// The comparison, a test that is ignored otherwise.
const TEST: &str = "interface::the_public_interface_is_the_written_one";
/// The crate whose interface is promised.
const LIBRARY: &str = "lockgate";

/// `cargo xtask api`.
pub fn task(arguments: &[String]) -> Result<()> {
    let update = match arguments {
        [] => false,
        [one] if one == "--update" => true,
        _ => bail!("`api` takes nothing but `--update`"),
    };
    let root = root()?;
    document(&root)?;
    compare(&root, update).map(|_| ())
}

/// Documents the workspace, with warnings as errors, and what the comparison reads along with it.
pub fn document(root: &Path) -> Result<Closing> {
    let mut command = cargo(root);
    command.args(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    // By the name of its own, cargo knows what was documented by the way of here, and so has its JSON, from what was not.
    command.env("RUSTDOCFLAGS", "-D warnings --cfg lockgate_interface");
    command.env("RUSTDOC", std::env::current_exe().context("failed to find this program")?);
    command.env(STANDS_IN, std::env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into()));
    run(&mut command)?;
    Ok(Closing::Line("no warnings".to_owned()))
}

/// Compares the interface that [`document`] left, or writes the file anew.
pub fn compare(root: &Path, update: bool) -> Result<Closing> {
    let described = target_dir(root).join("doc").join(format!("{LIBRARY}.json"));
    if !described.is_file() {
        bail!("there is no `{}`; `cargo clean --doc`, then once more, makes it", described.display());
    }
    let mut command = cargo(root);
    // The whole workspace, as for all other tests, so that nothing is compiled anew.
    command.args(["test", "--workspace", "--test", "e2e", "--", "--ignored", "--exact", TEST]);
    command.env("LOCKGATE_INTERFACE", described).env("RUST_BACKTRACE", "0");
    if update {
        command.env("LOCKGATE_UPDATE", "1");
    }
    run(&mut command)?;
    Ok(Closing::Line("as engine/lockgate/public-api.txt says".to_owned()))
}

/// What this process does in the place of rustdoc, if cargo started it as that.
pub fn stand_in() -> Option<ExitCode> {
    let rustdoc = std::env::var_os(STANDS_IN)?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut code = call(&rustdoc, &arguments, false);
    if code == 0 && is_library(&arguments) {
        code = call(&rustdoc, &for_json(&arguments), true);
    }
    Some(ExitCode::from(code))
}

fn call(rustdoc: &OsStr, arguments: &[OsString], unstable: bool) -> u8 {
    let mut command = Command::new(rustdoc);
    command.args(arguments).env_remove(STANDS_IN);
    if unstable {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    match command.status() {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        Err(error) => {
            eprintln!("error: failed to start `{}`: {error}", rustdoc.display());
            1
        }
    }
}

/// Whether these arguments document the library.
fn is_library(arguments: &[OsString]) -> bool {
    let follows = |name: &str, value: &str| arguments.windows(2).any(|pair| pair[0] == name && pair[1] == value);
    follows("--crate-name", LIBRARY) && follows("--crate-type", "lib")
}

/// The same arguments for JSON of what is public. Warnings were told the first time.
fn for_json(arguments: &[OsString]) -> Vec<OsString> {
    let kept = arguments.iter().filter(|argument| *argument != "--document-private-items").cloned();
    let more = ["-Zunstable-options", "--output-format", "json", "--cap-lints", "allow"];
    kept.chain(more.map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn only_the_library_is_described_as_json() {
        assert!(is_library(&words("--edition=2024 --crate-type lib --crate-name lockgate src/lib.rs")));
        assert!(!is_library(&words("--edition=2024 --crate-type lib --crate-name lockgate_model src/lib.rs")));
        assert!(!is_library(&words("--edition=2024 --crate-type bin --crate-name lockgate src/main.rs")));
        assert!(!is_library(&words("-vV")));
    }

    #[test]
    fn what_is_private_is_left_out_of_the_json() {
        let arguments = for_json(&words("--crate-name lockgate --document-private-items -o target/doc"));
        assert!(!arguments.contains(&OsString::from("--document-private-items")));
        assert!(arguments.ends_with(&words("--output-format json --cap-lints allow")));
    }
}
