//! WASI programs that tests run: our own probe, a command-line tool of others, and SQLite behind a C program. Each is built below `target`
//! from sources that are pinned, and only when something that it is made of changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use lockgate_model::digest::Digest;

use crate::steps::{cargo, run};
use crate::{root, target_dir};

/// The target of the Rust ones.
const TARGET: &str = "wasm32-wasip2";
/// Of crates.io: searches trees, as a stage over sources does.
const RIPGREP: &str = "15.1.0";
/// Of PyPI: the C compiler, which brings a libc for WASI preview 1.
const ZIG: &str = "ziglang==0.15.1";
/// What SQLite is built with: without threads and shared libraries, and with what WASI lacks emulated by its libc.
const SQLITE: [&str; 10] = [
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-D_WASI_EMULATED_GETPID",
    "-D_WASI_EMULATED_MMAN",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-lwasi-emulated-getpid",
    "-lwasi-emulated-mman",
    "-lwasi-emulated-signal",
    "-lwasi-emulated-process-clocks",
];

/// `cargo xtask programs`.
pub fn task(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`programs` takes nothing");
    println!("{}", set_up()?);
    Ok(())
}

/// Builds those that are not there, or are made of something else.
pub fn set_up() -> Result<String> {
    let root = root()?;
    let place = Place { sources: root.join("tests/programs"), target: target_dir(&root).join("programs"), root };
    fs::create_dir_all(&place.target).with_context(|| format!("failed to make `{}`", place.target.display()))?;
    let rust = compiler()?;
    let probe = ["Cargo.lock", "Cargo.toml", "src/main.rs", "src/bin/fetch.rs", "src/bin/socket.rs"];
    let probe = place.key(&probe.map(|file| format!("probe/{file}")), &rust)?;
    let sqlite = sqlite(&place.root)?;
    let query = place.key(&["query.c".to_owned()], &format!("{ZIG} {SQLITE:?} {}", sqlite.display()))?;
    let mut built = Vec::new();
    let mut make = |names: &[&str], key: &str, work: &dyn Fn() -> Result<()>| -> Result<()> {
        let mark = place.target.join(format!("{}.key", names[0]));
        let there = names.iter().all(|name| place.program(name).is_file());
        if !there || fs::read_to_string(&mark).ok().as_deref() != Some(key) {
            work().with_context(|| format!("failed to build {}", names.join(", ")))?;
            fs::write(&mark, key).with_context(|| format!("failed to write `{}`", mark.display()))?;
            built.extend(names.iter().map(|name| (*name).to_owned()));
        }
        Ok(())
    };
    make(&["probe", "fetch", "socket"], &probe, &|| place.probe())?;
    make(&["rg"], &format!("{RIPGREP} {rust}"), &|| place.ripgrep())?;
    make(&["query"], &query, &|| place.query(&sqlite))?;
    Ok(if built.is_empty() { "as before".to_owned() } else { format!("built {}", built.join(", ")) })
}

struct Place {
    root: PathBuf,
    sources: PathBuf,
    target: PathBuf,
}

impl Place {
    fn program(&self, name: &str) -> PathBuf {
        self.target.join(format!("{name}.wasm"))
    }

    /// What a program is made of, as one text.
    fn key(&self, files: &[String], with: &str) -> Result<String> {
        let mut key = with.to_owned();
        for file in files {
            let path = self.sources.join(file);
            let bytes = fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
            key += &format!("\n{file} {}", Digest::of(&bytes));
        }
        Ok(key)
    }

    fn take(&self, from: &Path, name: &str) -> Result<()> {
        let to = self.program(name);
        fs::copy(from, &to).map(drop).with_context(|| format!("failed to copy `{}`", from.display()))
    }

    fn probe(&self) -> Result<()> {
        let build = self.target.join("build");
        let mut command = cargo(&self.sources.join("probe"));
        command.args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"]).arg(&build);
        run(command.env_remove("RUSTFLAGS"))?;
        for name in ["probe", "fetch", "socket"] {
            self.take(&build.join(TARGET).join(format!("release/{name}.wasm")), name)?;
        }
        Ok(())
    }

    fn ripgrep(&self) -> Result<()> {
        let mut command = cargo(&self.root);
        command.args(["install", "ripgrep", "--version", RIPGREP, "--locked", "--force", "--target", TARGET]);
        // Whose speed is not looked at is built in half the time.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        command.arg("--target-dir").arg(self.target.join("ripgrep")).arg("--root").arg(self.target.join("installed"));
        run(command.env_remove("RUSTFLAGS"))?;
        self.take(&self.target.join("installed/bin/rg.wasm"), "rg")
    }

    fn query(&self, sqlite: &Path) -> Result<()> {
        let tools = self.target.parent().context("the target directory has no name")?.join("tools/zig");
        let python = tools.join("bin/python");
        if !python.is_file() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
        }
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ZIG]))?;
        let mut command = Command::new(&python);
        command.args(["-m", "ziglang", "cc", "-target", "wasm32-wasi", "-O1", "-s", "-I"]).arg(sqlite);
        command.args(SQLITE).arg("-o").arg(self.program("query"));
        run(command.arg(self.sources.join("query.c")).arg(sqlite.join("sqlite3.c")))
    }
}

/// rustc's version, with the target at hand.
fn compiler() -> Result<String> {
    let ask = |arguments: &[&str]| -> Result<String> {
        let output = Command::new("rustc").args(arguments).output().context("failed to start `rustc`")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let library = Path::new(&ask(&["--print", "sysroot"])?).join("lib/rustlib").join(TARGET).join("lib");
    if !library.is_dir() {
        println!("    adding the target {TARGET}");
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    ask(&["--version"])
}

/// Where the sources of SQLite are that the store is built with.
fn sqlite(root: &Path) -> Result<PathBuf> {
    let mut command = cargo(root);
    let output = command.args(["metadata", "--format-version", "1", "--locked"]).output();
    let output = output.context("failed to start `cargo metadata`")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("failed to read what `cargo metadata` prints")?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` names no packages")?;
    let Some(package) = packages.iter().find(|package| package["name"] == "libsqlite3-sys") else {
        bail!("the lock file names no `libsqlite3-sys`");
    };
    let manifest = Path::new(package["manifest_path"].as_str().context("`libsqlite3-sys` has no manifest")?);
    Ok(manifest.with_file_name("sqlite3"))
}
