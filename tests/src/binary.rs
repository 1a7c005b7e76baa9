//! Where the things under test are: the `lockgate` binary, the guests, the repository. Tests never build them, because two
//! builds of one tree at once wait for each other; `cargo xtask test` has built them before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What to do where something is missing.
const HINT: &str = "run `cargo xtask test`, which builds what the tests need";

/// The repository's root.
pub fn repository() -> &'static Path {
    // The crate lies in `tests/`, so it has a parent.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The `lockgate` binary: `LOCKGATE_BIN`, or the one beside the running test or benchmark.
///
/// # Panics
/// Where it does not exist, or has no standard plugins inside.
pub fn lockgate() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let path = built("LOCKGATE_BIN", "lockgate");
        let answer = Command::new(&path).args(["plugin", "inspect", "std:noop"]).output();
        let usable = answer.as_ref().is_ok_and(|answer| answer.status.success());
        assert!(usable, "{} has no standard plugins inside ({answer:?}): {HINT}", path.display());
        path
    })
}

/// The example service: `LOCKGATE_SERVICE_BIN`, or the one beside the running test.
///
/// # Panics
/// Where it does not exist.
pub fn service() -> PathBuf {
    built("LOCKGATE_SERVICE_BIN", "service")
}

/// The example of embedding: `LOCKGATE_EMBED_BIN`, or the one beside the running test.
///
/// # Panics
/// Where it does not exist.
pub fn embed() -> PathBuf {
    built("LOCKGATE_EMBED_BIN", "embed")
}

/// A guest of `tests/guests`, built from source.
///
/// # Panics
/// Where it does not exist.
pub fn guest(name: &str) -> PathBuf {
    let path = repository().join(format!("plugins/dist/guests/{name}.wasm"));
    assert!(path.is_file(), "the guest {} is missing: {HINT}", path.display());
    path
}

/// A WASI program that `cargo xtask programs` built.
///
/// # Panics
/// Where it does not exist.
pub fn program(name: &str) -> PathBuf {
    let path = profile_dir().parent().unwrap_or(Path::new(".")).join(format!("programs/{name}.wasm"));
    assert!(path.is_file(), "the program {} is missing: {HINT}, or `cargo xtask programs`", path.display());
    path
}

fn built(variable: &str, name: &str) -> PathBuf {
    let path = match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => profile_dir().join(format!("{name}{}", std::env::consts::EXE_SUFFIX)),
    };
    assert!(path.is_file(), "the program {} is missing: {HINT}", path.display());
    path
}

/// The directory of the build profile in which the running program lies: `target/debug` for `target/debug/deps/e2e-1234`.
fn profile_dir() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap_or_default();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}
