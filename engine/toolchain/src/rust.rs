//! What plugins in Rust are compiled with: rustup's toolchain with its wasm target, or Debian's packages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ToolchainError;
use crate::program::{Happening, Progress, answer, cargo, run, succeeds};

/// The target of plugins. The bare one: a component then imports what its code calls and nothing else.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Forces one of the compilers.
pub const VARIABLE: &str = "LOCKGATE_GUEST_TOOLCHAIN";

/// Debian's packages: compiler, cargo, the sources of the standard library, a linker for wasm.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

/// A compiler for plugins in Rust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RustToolchain {
    /// rustup's, with a standard library made by the Rust project.
    Rustup,
    /// Debian's, which builds the standard library itself.
    Debian,
}

impl fmt::Display for RustToolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup",
            Self::Debian => "debian",
        })
    }
}

impl RustToolchain {
    /// The one that `LOCKGATE_GUEST_TOOLCHAIN` forces, if it does.
    fn forced() -> Result<Option<Self>, ToolchainError> {
        match std::env::var(VARIABLE).ok().as_deref() {
            None | Some("") => Ok(None),
            Some("rustup") => Ok(Some(Self::Rustup)),
            Some("debian") => Ok(Some(Self::Debian)),
            Some(other) => {
                Err(ToolchainError::Wrong(format!("use {VARIABLE} = `{other}`: expected `rustup` or `debian`")))
            }
        }
    }

    /// The one that is forced, or else the first that is there, as a directory's own settings of rustup have it. Installs nothing.
    pub fn find(directory: &Path) -> Result<Self, ToolchainError> {
        let forced = Self::forced()?;
        let candidates = forced.map_or_else(|| vec![Self::Rustup, Self::Debian], |one| vec![one]);
        if let Some(found) = candidates.iter().find(|candidate| candidate.is_there(directory)) {
            return Ok(*found);
        }
        let install: Vec<String> = candidates.iter().map(|candidate| candidate.install()).collect();
        Err(ToolchainError::Missing { what: format!("a Rust compiler for {TARGET}"), install: install.join("\nor\n") })
    }

    /// The one that is forced, or else the first that can be had, set up.
    pub fn choose(directory: &Path, progress: &mut Progress<'_>) -> Result<Self, ToolchainError> {
        if let Some(forced) = Self::forced()? {
            return forced.set_up(directory, progress).map(|()| forced);
        }
        let Err(rustup) = Self::Rustup.set_up(directory, progress) else {
            return Ok(Self::Rustup);
        };
        progress(Happening::Step(&format!("rustup has no {TARGET} for us ({rustup}); trying Debian's packages")));
        let Err(debian) = Self::Debian.set_up(directory, progress) else {
            return Ok(Self::Debian);
        };
        Err(ToolchainError::Missing {
            what: format!("a Rust compiler for {TARGET} (rustup: {rustup}; Debian: {debian})"),
            install: format!("{}\nor\n{}", Self::Rustup.install(), Self::Debian.install()),
        })
    }

    /// The command that installs it.
    fn install(self) -> String {
        match self {
            Self::Rustup => format!("rustup target add {TARGET}"),
            Self::Debian => format!("apt-get install {}", PACKAGES.join(" ")),
        }
    }

    fn is_there(self, directory: &Path) -> bool {
        match self {
            Self::Rustup => {
                let sysroot = Command::new("rustc").args(["--print", "sysroot"]).current_dir(directory).output();
                sysroot.is_ok_and(|output| {
                    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
                    output.status.success() && sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
                })
            }
            Self::Debian => {
                let sources = Path::new("/usr/src").read_dir().is_ok_and(|entries| {
                    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("rustc"))
                });
                sources && Path::new("/usr/bin/cargo").exists() && succeeds("wasm-ld-19", &["--version"])
            }
        }
    }

    /// Installs what is missing; an error says why that cannot be done.
    pub fn set_up(self, directory: &Path, progress: &mut Progress<'_>) -> Result<(), ToolchainError> {
        if self.is_there(directory) {
            return Ok(());
        }
        match self {
            Self::Rustup => {
                progress(Happening::Step(&format!("adding the target {TARGET}")));
                run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(directory), progress)?;
            }
            Self::Debian => apt_install(&PACKAGES, progress)?,
        }
        if self.is_there(directory) {
            return Ok(());
        }
        let reason = format!("`{}` succeeded, and still something is missing", self.install());
        Err(ToolchainError::Install { what: self.to_string(), reason })
    }

    /// A cargo build of a workspace into `target_dir`, with flags that keep the machine's paths out: what the component shows of
    /// its sources begins with `/src`, which stands for `sources`.
    pub fn build(self, workspace: &Path, sources: &Path, target_dir: &Path) -> Result<Command, ToolchainError> {
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
                    .env_remove("RUSTC");
                command
            }
        };
        // rustc takes the last prefix that fits: the narrow ones come last.
        let prefixes = [
            (sources.to_path_buf(), "/src"),
            (target_dir.to_path_buf(), "/target"),
            (cargo_home()?.join("registry/src"), "/cargo"),
        ];
        let flags: Vec<String> =
            prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
        command.args(["build", "--target", TARGET, "--target-dir"]).arg(target_dir);
        if self == Self::Debian {
            // It is older than what the workspace asks for; guests that it cannot compile fail by themselves. Behind the subcommand, because
            // cargo forgets what stands before it where more options of this kind follow.
            command.args(["--ignore-rust-version", "-Zbuild-std=std,panic_abort"]);
        }
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        Ok(command)
    }
}

fn cargo_home() -> Result<PathBuf, ToolchainError> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME");
    let home =
        home.ok_or_else(|| ToolchainError::Wrong("find cargo's home: neither CARGO_HOME nor HOME is set".into()))?;
    Ok(Path::new(&home).join(".cargo"))
}

/// Installs Debian's packages; an error says why that cannot be done.
pub fn apt_install(packages: &[&str], progress: &mut Progress<'_>) -> Result<(), ToolchainError> {
    let packages = packages.join(" ");
    let failed = |reason: String| ToolchainError::Install { what: packages.clone(), reason };
    if !succeeds("apt-get", &["--version"]) {
        return Err(failed("there is no apt-get".into()));
    }
    if answer("id", &["-u"]).is_none_or(|user| user.trim() != "0") {
        return Err(failed(format!("`apt-get install {packages}` needs root")));
    }
    progress(Happening::Step(&format!("installing {packages}")));
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages.split(' '));
    install.env("DEBIAN_FRONTEND", "noninteractive");
    if run(&mut install, progress).is_err() {
        // The lists may be old, or not there at all.
        run(Command::new("apt-get").args(["update", "-qq"]), progress)?;
        run(&mut install, progress)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_machine_are_mapped_away() {
        let built = RustToolchain::Rustup.build(Path::new("/a/work"), Path::new("/a"), Path::new("/t")).unwrap();
        let flags = built.get_envs().find(|(name, _)| *name == "CARGO_ENCODED_RUSTFLAGS").unwrap().1.unwrap();
        let flags = flags.to_str().unwrap();
        assert!(flags.starts_with("--remap-path-prefix=/a=/src\x1f--remap-path-prefix=/t=/target\x1f"), "{flags}");
        assert!(flags.ends_with("/registry/src=/cargo"), "{flags}");
    }
}
