//! What guests are compiled with: rustup's toolchain with its wasm target, or Debian's packages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::steps::{cargo, run, succeeds};

/// The target of guests. The bare one: a component then imports what its code calls and nothing else.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's packages: compiler, cargo, the sources of the standard library, a linker for wasm.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

/// A compiler for guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// rustup's, with a standard library made by the Rust project.
    Rustup,
    /// Debian's, which builds the standard library itself.
    Debian,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        })
    }
}

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
impl Toolchain {
    /// The one that `LOCKGATE_GUEST_TOOLCHAIN` forces, or else the first that can be had, set up.
    pub fn choose() -> Result<Self> {
        match std::env::var("LOCKGATE_GUEST_TOOLCHAIN").ok().as_deref() {
            None | Some("") => {}
            Some("rustup") => return Self::Rustup.set_up().map(|()| Self::Rustup),
            Some("debian") => return Self::Debian.set_up().map(|()| Self::Debian),
            Some(other) => bail!("LOCKGATE_GUEST_TOOLCHAIN is `{other}`: expected `rustup` or `debian`"),
        }
        let Err(rustup) = Self::Rustup.set_up() else {
            return Ok(Self::Rustup);
        };
        eprintln!("rustup has no {TARGET} for us ({rustup:#}); trying Debian's packages");
        let Err(debian) = Self::Debian.set_up() else {
            return Ok(Self::Debian);
        };
        bail!(
            "there is no compiler for {TARGET}.\n  rustup: {rustup:#}\n  Debian: {debian:#}\nInstall one of these:\n  \
             rustup target add {TARGET}\n  apt-get install {}\nand run this again",
            PACKAGES.join(" ")
        )
    }

    /// Installs what is missing; an error says why that cannot be done.
    pub fn set_up(self) -> Result<()> {
        match self {
            Self::Rustup => set_up_rustup(),
            Self::Debian => set_up_debian(),
        }
    }

    /// A cargo build of guests into `target_dir`, with flags that keep the machine's paths out.
    pub fn build(self, workspace: &Path, target_dir: &Path) -> Result<Command> {
        let mut command = match self {
            Self::Rustup => cargo(workspace),
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                let path = std::env::var("PATH").unwrap_or_default();
                command
                    .current_dir(workspace)
                    .env("PATH", format!("/usr/bin:{path}"))
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTC")
                    .args(["-Zbuild-std=std,panic_abort", "-Zprofile-rustflags"]);
                for (name, features) in LATER {
                    let flags = [format!("-Zcrate-attr=feature({})", features.join(","))];
                    command.arg("--config").arg(format!("profile.release.package.{name}.rustflags={flags:?}"));
                }
                command
            }
        };
        // rustc takes the last prefix that fits: the narrow ones come last.
        let root = workspace.parent().context("the plugins' workspace has no folder above it")?;
        let prefixes = [
            (root.to_path_buf(), "/src"),
            (target_dir.to_path_buf(), "/target"),
            (cargo_home()?.join("registry/src"), "/cargo"),
        ];
        let flags: Vec<String> =
            prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
        command
            .args(["build", "--target", TARGET, "--target-dir"])
            .arg(target_dir)
            // Debian's compiler is older than what the workspace asks for; guests that it cannot compile fail by themselves.
            .args((self == Self::Debian).then_some("--ignore-rust-version"))
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        Ok(command)
    }
}

fn cargo_home() -> Result<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
    };
    Ok(home)
}

fn set_up_rustup() -> Result<()> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("failed to start `rustc`")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        return Ok(());
    }
    println!("    adding the target {TARGET}");
    run(Command::new("rustup").args(["target", "add", TARGET]))
}

fn set_up_debian() -> Result<()> {
    let installed = || {
        let sources = Path::new("/usr/src").read_dir().is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("rustc"))
        });
        sources && Path::new("/usr/bin/cargo").exists() && succeeds("wasm-ld-19", &["--version"])
    };
    if installed() {
        return Ok(());
    }
    apt_install(&PACKAGES)?;
    if !installed() {
        bail!("{} are installed, and still `wasm-ld-19` or the sources are missing", PACKAGES.join(", "));
    }
    Ok(())
}

/// Installs Debian's packages; an error says why that cannot be done.
pub fn apt_install(packages: &[&str]) -> Result<()> {
    if !succeeds("apt-get", &["--version"]) {
        bail!("there is no apt-get");
    }
    let user = Command::new("id").arg("-u").output().context("failed to start `id`")?;
    if user.stdout.trim_ascii() != b"0" {
        bail!("`apt-get install {}` needs root", packages.join(" "));
    }
    println!("    installing {}", packages.join(" "));
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut install).is_err() {
        // The lists may be old, or not there at all.
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        run(&mut install)?;
    }
    Ok(())
}

/// The programs by which tests read archives that Lockgate wrote, with Debian's packages of the same names; installs what is
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
