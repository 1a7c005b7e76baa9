//! Embeds the standard plugins: every `plugins/dist/*.wasm`, as a table of name and bytes. Where there is none, the table
//! is empty and the binary says how to get them; so `cargo build` needs no wasm toolchain.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=LOCKGATE_STD_PLUGINS");
    println!("cargo::rerun-if-changed=build.rs");
    let dist = match env::var_os("LOCKGATE_STD_PLUGINS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../plugins/dist"),
    };
    // Cargo takes a path that does not exist for changed, and would build this crate anew each time.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed={}", dist.display());

    let mut components = Vec::new();
    if dist.is_dir() {
        for entry in fs::read_dir(&dist)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "wasm") {
                components.push(path.canonicalize()?);
            }
        }
    }
    components.sort();

    let mut table = String::from("/// Every standard plugin.\npub static EMBEDDED: &[Embedded] = &[\n");
    for path in &components {
        println!("cargo::rerun-if-changed={}", path.display());
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a component's file name is not UTF-8")?;
        writeln!(table, "    Embedded {{ name: {name:?}, bytes: include_bytes!({path:?}) }},")?;
    }
    table.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("std_plugins.rs"), table)?;
    Ok(())
}
