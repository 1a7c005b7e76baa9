//! What a process gives up before it becomes a program: new privileges, files, connections, endless resources.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Exit code of a launcher that failed.
pub(super) const FAILED: i32 = 125;

/// What a launcher is told, as JSON: its one argument.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) work: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) read: Vec<String>,
    pub(super) write: Vec<String>,
    pub(super) network: bool,
    pub(super) max_file: u64,
    /// Stands before the reason on stderr where the launcher failed.
    pub(super) token: String,
}

impl Spec {
    pub(super) fn encode(&self) -> String {
        lockgate_model::canonical_json(self)
    }
}

/// What of a program's limits this system can enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Support {
    /// Files: only its working directory, those of the system, and those of its grant (Landlock, Linux 5.13).
    pub files: bool,
    /// Connections: none over TCP unless granted (Landlock, Linux 6.7).
    pub network: bool,
    /// Signals and abstract sockets: none to processes outside (Landlock, Linux 6.12).
    pub scopes: bool,
}

/// Gives up what the text, made by the engine for its launcher, says, and becomes the program. Comes back only with an exit code,
/// where it failed; then the reason stands on stderr.
pub fn confine(spec: &str) -> (i32, String) {
    match become_program(spec) {
        Err((token, reason)) => (FAILED, format!("{token} {reason}")),
    }
}

fn become_program(spec: &str) -> Result<Infallible, (String, String)> {
    let spec: Spec =
        serde_json::from_str(spec).map_err(|error| (String::new(), format!("read its orders: {error}")))?;
    let failed = |reason: String| (spec.token.clone(), reason);
    limit_resources(&spec).map_err(failed)?;
    system::confine(&spec).map_err(failed)?;
    let error = std::process::Command::new(&spec.program).args(&spec.arguments).exec();
    Err(failed(format!("execute `{}`: {error}", spec.program.display())))
}

/// Limits that all systems have. Time and output are the engine's to watch.
fn limit_resources(spec: &Spec) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // No core dumps: they would hold secrets. As many open files as programs expect.
    for (resource, limit) in [(Resource::Core, 0), (Resource::Nofile, 1_024), (Resource::Fsize, spec.max_file)] {
        let most = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|error| format!("limit its resources: {error}"))?;
    }
    Ok(())
}

/// Which limits this system can enforce.
pub fn support() -> Support {
    system::support()
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::Path;

    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
        RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
    };

    use super::{Spec, Support};

    /// The newest rules that are asked for; an older kernel enforces what it knows of them.
    const NEWEST: ABI = ABI::V6;
    /// What any program may read and execute: programs and libraries, and what these read to find their way.
    const SYSTEM: [&str; 24] = [
        "/bin",
        "/etc/alternatives",
        "/etc/ca-certificates",
        "/etc/group",
        "/etc/host.conf",
        "/etc/hosts",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/localtime",
        "/etc/nsswitch.conf",
        "/etc/os-release",
        "/etc/passwd",
        "/etc/pki",
        "/etc/protocols",
        "/etc/resolv.conf",
        "/etc/services",
        "/etc/ssl",
        "/lib",
        "/lib64",
        "/nix/store",
        "/opt",
        "/sbin",
        "/usr",
    ];
    /// Of the kernel: itself, and how large the machine is. Never `/proc` as a whole: it shows the environment of other processes.
    const KERNEL: [&str; 4] = ["/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"];
    const DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

    pub(super) fn confine(spec: &Spec) -> Result<(), String> {
        // Killed with the engine, however that ends.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|error| format!("bind it to the engine: {error}"))?;
        rustix::thread::set_no_new_privs(true).map_err(|error| format!("take away new privileges: {error}"))?;
        let failed = |error: &dyn std::error::Error| format!("confine it by Landlock: {error}");
        let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        rules = rules.handle_access(AccessFs::from_all(NEWEST)).map_err(|error| failed(&error))?;
        rules = rules.scope(Scope::from_all(NEWEST)).map_err(|error| failed(&error))?;
        if !spec.network {
            rules = rules.handle_access(AccessNet::from_all(NEWEST)).map_err(|error| failed(&error))?;
        }
        let mut rules = rules.create().map_err(|error| failed(&error))?;
        let (read, all) = (AccessFs::from_read(NEWEST), AccessFs::from_all(NEWEST));
        for path in SYSTEM.into_iter().chain(KERNEL).filter(|path| Path::new(path).exists()) {
            rules = below(rules, Path::new(path), read)?;
        }
        for path in DEVICES.into_iter().filter(|path| Path::new(path).exists()) {
            rules = below(rules, Path::new(path), AccessFs::ReadFile | AccessFs::WriteFile)?;
        }
        for path in [&spec.work, &spec.temp] {
            rules = below(rules, path, all)?;
        }
        rules = below(rules, &spec.program, read)?;
        for path in &spec.read {
            rules = below(rules, Path::new(path), read)?;
        }
        for path in &spec.write {
            rules = below(rules, Path::new(path), all)?;
        }
        rules.restrict_self().map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Permits something below a path; of a file, what files can have.
    fn below(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
        let failed = |error: &dyn std::error::Error| format!("permit it `{}`: {error}", path.display());
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
        let fd = PathFd::new(path).map_err(|error| failed(&error))?;
        rules.add_rule(PathBeneath::new(fd, access)).map_err(|error| failed(&error))
    }

    pub(super) fn support() -> Support {
        let can = |rules: Result<Ruleset, landlock::RulesetError>| rules.and_then(Ruleset::create).is_ok();
        let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        Support {
            files: can(hard().handle_access(AccessFs::from_all(ABI::V1))),
            network: can(hard().handle_access(AccessNet::from_all(ABI::V4))),
            scopes: can(hard().scope(Scope::from_all(ABI::V6))),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Spec, Support};

    /// Nothing to be had here.
    pub(super) fn confine(_: &Spec) -> Result<(), String> {
        Ok(())
    }

    pub(super) fn support() -> Support {
        Support::default()
    }
}
