//! Embeds what a new project is made of: the templates, the Rust SDK, the guests' lock file. So the `lockgate` file alone is enough.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let plugins = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../plugins").canonicalize()?;
    let mut files = Vec::new();
    for part in [
        "templates",
        "sdk/Cargo.toml",
        "sdk/src",
        "sdk/macros/Cargo.toml",
        "sdk/macros/src",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", plugins.join(part).display());
        collect(&plugins.join(part), &mut files)?;
    }
    files.sort();
    let mut table = String::from("pub(crate) static EMBEDDED: &[Embedded] = &[\n");
    for file in &files {
        let path = file.strip_prefix(&plugins)?.to_str().ok_or("a template's path is not UTF-8")?;
        writeln!(table, "    Embedded {{ path: {path:?}, text: include_str!({file:?}) }},")?;
    }
    table.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("embedded.rs"), table)?;
    Ok(())
}

/// All files at or below a path.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if path.is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
