//! Builds guests: cargo makes core modules, `lockgate-toolchain` makes components of them, which go to `plugins/dist` (standard plugins, which
//! the binary embeds) and `plugins/dist/guests` (the tests' and the examples').

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use lockgate_model::digest::Digest;
use lockgate_toolchain::component::componentize;
use lockgate_toolchain::rust::{RustToolchain, TARGET};

use crate::steps::run;
use crate::{root, target_dir, tools};

/// Largest component of a standard plugin, in bytes.
const LARGEST: usize = 300_000;
/// Those that cannot be as small, in bytes: `json` and `template` are interpreters of languages that others have written, `lint` and
/// `sbom` hold parsers of TOML and JSON, and `unpack` two decompressors beside the readers of two forms of archives.
const LARGER: &[(&str, usize)] =
    &[("json", 1_150_000), ("lint", 450_000), ("sbom", 450_000), ("template", 1_300_000), ("unpack", 330_000)];

/// What was stabilised after Debian's compiler, which has it in the form that it got, and the crates that use it.
const LATER: [(&str, &[&str]); 9] = [
    ("lockgate-diff", &["let_chains"]),
    ("lockgate-http-probe", &["let_chains"]),
    ("lockgate-lint", &["let_chains"]),
    ("lockgate-notify", &["let_chains"]),
    ("lockgate-secret-scan", &["let_chains"]),
    ("lockgate-unpack", &["let_chains"]),
    ("ruzstd", &["unsigned_is_multiple_of"]),
    ("sha2", &["slice_as_chunks"]),
    ("structured-zstd", &["let_chains", "slice_as_chunks", "unsigned_is_multiple_of"]),
];

/// A guest crate.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its folder's name: `std:<name>`, or a test's name for it.
    name: String,
    /// Its package's name.
    package: String,
    /// Whether it is a standard plugin.
    standard: bool,
}

/// `cargo xtask plugins`.
pub fn task(arguments: &[String]) -> Result<()> {
    let (mut profile, mut names, mut reproducible) = ("release".to_owned(), Vec::new(), false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--profile" => profile = arguments.next().context("`--profile` needs a name")?.clone(),
            "--reproducible" => reproducible = true,
            option if option.starts_with('-') => bail!("`plugins` has no option `{option}`"),
            name => names.push(name.to_owned()),
        }
    }
    let toolchain = tools::guests()?;
    if reproducible {
        println!("{}", check_reproducible(toolchain)?);
        return Ok(());
    }
    let root = root()?;
    let mut guests = find(&root)?;
    for name in &names {
        ensure!(guests.iter().any(|guest| guest.name == *name), "there is no plugin `{name}`");
    }
    let all = names.is_empty();
    guests.retain(|guest| all || names.contains(&guest.name));
    build(&root, &guests, toolchain, &profile, all).map(|_| ())
}

/// Builds everything, for other tasks.
pub fn build_all(toolchain: RustToolchain) -> Result<String> {
    let root = root()?;
    build(&root, &find(&root)?, toolchain, "release", true)
}

/// All guests: standard plugins, then the tests' and the examples', by name.
fn find(root: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for (folder, standard) in [("plugins", true), ("tests/guests", false), ("examples", false)] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries {
            let path = entry.with_context(|| format!("failed to list `{folder}`"))?.path();
            let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) else { continue };
            // The SDK and other libraries make no component.
            if !manifest.contains("cdylib") {
                continue;
            }
            let package = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            let package = package.with_context(|| format!("`{}` names no package", path.display()))?.to_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            guests.push(Guest { name, package, standard });
        }
    }
    guests.sort_by(|a, b| (!a.standard, &a.name).cmp(&(!b.standard, &b.name)));
    Ok(guests)
}

/// Builds guests into `plugins/dist`. Where these are all, components of guests that are gone are removed. Returns a closing
/// line.
fn build(root: &Path, guests: &[Guest], toolchain: RustToolchain, profile: &str, all: bool) -> Result<String> {
    let begun = Instant::now();
    // Each toolchain has its own directory: they would build everything anew in turn.
    let target = target_dir(root).join(format!("guests-{toolchain}"));
    let modules = compile(&root.join("plugins"), &target, guests, toolchain, profile)?;
    let dist = root.join("plugins/dist");
    fs::create_dir_all(dist.join("guests")).with_context(|| format!("failed to make `{}`", dist.display()))?;
    let mut written = Vec::new();
    for (guest, module) in guests.iter().zip(&modules) {
        let core = fs::read(module).with_context(|| format!("failed to read `{}`", module.display()))?;
        let component = componentize(&core).with_context(|| format!("failed to build `{}`", guest.name))?;
        let folder = if guest.standard { dist.clone() } else { dist.join("guests") };
        let path = folder.join(format!("{}.wasm", guest.name));
        // Left alone if it is the same: a new time would make cargo build the binary again.
        let state = if fs::read(&path).is_ok_and(|before| before == component) {
            "same"
        } else {
            fs::write(&path, &component).with_context(|| format!("failed to write `{}`", path.display()))?;
            "new"
        };
        let kind = if guest.standard { "std:" } else { "guest " };
        println!("{:>9} B  {state:<4}  {kind}{:<12}  {}", component.len(), guest.name, Digest::of(&component));
        let largest = LARGER.iter().find(|(name, _)| *name == guest.name).map_or(LARGEST, |(_, largest)| *largest);
        // Debian's older compiler and library make more of the same: a sixth of `diff`, where it was most.
        let largest = if toolchain == RustToolchain::Debian { largest + largest / 5 } else { largest };
        ensure!(
            !guest.standard || profile != "release" || component.len() <= largest,
            "`std:{}` has {} bytes: at most {largest} are permitted",
            guest.name,
            component.len()
        );
        written.push(path);
    }
    if all {
        remove_others(&dist, &written)?;
        remove_others(&dist.join("guests"), &written)?;
    }
    Ok(format!("{} components by {toolchain} in {:.1} s", guests.len(), begun.elapsed().as_secs_f32()))
}

/// Compiles guests and returns the paths of their core modules, in the same order.
fn compile(
    workspace: &Path,
    target: &Path,
    guests: &[Guest],
    toolchain: RustToolchain,
    profile: &str,
) -> Result<Vec<PathBuf>> {
    let root = workspace.parent().context("the plugins' workspace has no folder above it")?;
    let mut command = toolchain.build(workspace, root, target)?;
    command.args(["--lib", "--profile", profile]);
    if toolchain == RustToolchain::Debian {
        command.arg("-Zprofile-rustflags");
        for (name, features) in LATER {
            let flags = [format!("-Zcrate-attr=feature({})", features.join(","))];
            command.arg("--config").arg(format!("profile.release.package.{name}.rustflags={flags:?}"));
        }
    }
    for guest in guests {
        command.args(["-p", &guest.package]);
    }
    run(&mut command)?;
    // Cargo's folder for the profile `dev` is `debug`.
    let folder = target.join(TARGET).join(if profile == "dev" { "debug" } else { profile });
    Ok(guests.iter().map(|guest| folder.join(format!("{}.wasm", guest.package.replace('-', "_")))).collect())
}

/// Removes components that are not among `kept`.
fn remove_others(folder: &Path, kept: &[PathBuf]) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
        let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") && !kept.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("failed to remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// Builds `noop` with a toolchain, apart from `plugins/dist`. Returns a closing line.
pub fn build_one(toolchain: RustToolchain) -> Result<String> {
    let root = root()?;
    let target = target_dir(&root).join(format!("guests-{toolchain}"));
    let guests: Vec<Guest> = find(&root)?.into_iter().filter(|guest| guest.name == "noop").collect();
    let modules = compile(&root.join("plugins"), &target, &guests, toolchain, "release")?;
    let module = modules.first().context("there is no plugin `noop`")?;
    let component = componentize(&fs::read(module)?)?;
    Ok(format!("std:noop by {toolchain}: {} B, {}", component.len(), Digest::of(&component)))
}

/// Builds `noop` in two directories and compares the bytes. Returns a closing line.
pub fn check_reproducible(toolchain: RustToolchain) -> Result<String> {
    let root = root()?;
    let guests: Vec<Guest> = find(&root)?.into_iter().filter(|guest| guest.name == "noop").collect();
    let mut components = Vec::new();
    for name in ["one", "another-one/deeper"] {
        let place = tempfile::tempdir().context("failed to make a directory")?;
        let copy = place.path().join(name);
        for part in [
            "Cargo.toml",
            "rust-toolchain.toml",
            "wit",
            "engine/model",
            "plugins",
            "tests/guests",
            "examples/first-plugin",
        ] {
            copy_sources(&root.join(part), &copy.join(part))?;
        }
        let modules = compile(&copy.join("plugins"), &copy.join("built"), &guests, toolchain, "release")?;
        let module = modules.first().context("there is no plugin `noop`")?;
        let component = componentize(&fs::read(module)?)?;
        let text = place.path().to_string_lossy().into_owned();
        let leaked = component.windows(text.len()).any(|window| window == text.as_bytes());
        ensure!(!leaked, "the component holds the path `{text}` of the directory it was built in");
        components.push(component);
    }
    let digests: Vec<Digest> = components.iter().map(|component| Digest::of(component)).collect();
    ensure!(digests[0] == digests[1], "`noop` differs between two directories: {} and {}", digests[0], digests[1]);
    Ok(format!("std:noop by {toolchain} is {} from two directories", digests[0]))
}

/// Copies a file or a directory, without what was built in it.
fn copy_sources(from: &Path, to: &Path) -> Result<()> {
    let failed = || format!("failed to copy `{}`", from.display());
    if from.is_dir() {
        fs::create_dir_all(to).with_context(failed)?;
        for entry in fs::read_dir(from).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            if name != "target" && name != "dist" {
                copy_sources(&from.join(&name), &to.join(&name))?;
            }
        }
    } else if from.exists() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        fs::copy(from, to).with_context(failed)?;
    }
    Ok(())
}
