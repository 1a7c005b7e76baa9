//! `lockgate doctor`: what this machine gives to pipelines. One check a line: what, how it stands, and what that means or what to do.
//! To add one: a function here, and its line in [`checks`].

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockgate::wiring::registry;
use lockgate::wiring::secret_store::{self, IDENTITY_VARIABLE, STORE_VARIABLE};
use lockgate::wiring::std_plugins::EMBEDDED;
use lockgate_model::grant::process::PROGRAM_PATH;
use lockgate_model::units::Bytes;
use lockgate_registry::Registries;
use lockgate_secrets::SecretStoreError;
use lockgate_store::Store;
use serde::Serialize;

use super::Ended;
use crate::args::{DoctorArgs, Format};
use crate::exit::{CliError, Exit, one_line};
use crate::place;
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};

/// Files of a state directory that are counted; more would take too long for a glance.
const MAX_COUNTED: usize = 1_000_000;
/// Longest value of a variable that is shown.
const MAX_SHOWN: usize = 80;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Worth knowing: something does less here, or changes what the engine does.
    Note,
    /// Something that is there cannot be used.
    Broken,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: String,
    state: State,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn new(check: &str, state: State, found: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state, found: found.into(), advice: None }
    }

    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self::new(check, State::Ok, found)
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    version: &'static str,
    ok: bool,
    checks: Vec<Check>,
}

/// Looks at everything and prints it.
pub(crate) fn doctor(args: &DoctorArgs, output: &Output) -> Ended {
    let checks = checks(args);
    let ok = checks.iter().all(|check| check.state != State::Broken);
    match args.format {
        Format::Human => output.data(&human(&checks, output.out)),
        Format::Json => {
            let report = Report { schema: 1, version: env!("CARGO_PKG_VERSION"), ok, checks };
            let text = serde_json::to_string(&report)
                .map_err(|error| CliError::new(Exit::Infrastructure, error).context("write what was found"))?;
            output.data(&(text + "\n"));
        }
    }
    Ok(if ok { Exit::Succeeded } else { Exit::Infrastructure })
}

fn checks(args: &DoctorArgs) -> Vec<Check> {
    let mut checks = vec![engine(), kernel()];
    checks.extend(confinement(lockgate_host::support()));
    checks.extend([cores(), instances(), std_plugins(EMBEDDED.len()), temporary()]);
    checks.extend([git(), programs(), authorities(), state(args)]);
    checks.extend(secrets(args));
    checks.push(registries());
    checks.extend(variables(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))),
    ));
    checks
}

fn engine() -> Check {
    let target = format!("{} on {}", std::env::consts::ARCH, std::env::consts::OS);
    let version = env!("CARGO_PKG_VERSION");
    Check::ok("lockgate", format!("{version}, determinism version {}, {target}", lockgate_host::determinism()))
}

fn kernel() -> Check {
    match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => Check::ok("kernel", release.trim()),
        Err(_) => Check::new("kernel", State::Note, format!("unknown, of {}", std::env::consts::OS)),
    }
}

/// What keeps programs of `grants.process` within their grant.
fn confinement(support: lockgate_host::Support) -> [Check; 3] {
    let one = |check: &str, has: bool, with: &str, without: &str, since: &str| match has {
        true => Check::ok(check, with),
        false => Check::new(check, State::Note, without)
            .advice(format!("only Linux {since} and later with Landlock enforces this; all else about a grant holds")),
    };
    [
        one(
            "landlock files",
            support.files,
            "programs reach only the files of their grant",
            "programs reach all files that this user reaches",
            "5.13",
        ),
        one(
            "landlock network",
            support.network,
            "programs without `network` connect to nothing over TCP",
            "programs without `network` can connect all the same",
            "6.7",
        ),
        one(
            "landlock scopes",
            support.scopes,
            "programs send no signals to processes outside",
            "programs can send signals to processes of this user",
            "6.12",
        ),
    ]
}

fn cores() -> Check {
    match std::thread::available_parallelism() {
        Ok(cores) => Check::ok("cores", format!("{cores}; as many nodes run at once unless `--jobs` says otherwise")),
        Err(error) => Check::new("cores", State::Note, format!("not known: {error}")).advice("say `--jobs`"),
    }
}

fn instances() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match super::host(cores) {
        Ok(host) if host.is_pooled() => Check::ok("instances", "from a pool"),
        Ok(_) => Check::new("instances", State::Note, "made on demand: the address space has no room for a pool")
            .advice("slower, with the same results; a higher `ulimit -v` gives it room"),
        Err(error) => Check::new("instances", State::Broken, format!("failed to {}", error.one_line())),
    }
}

fn std_plugins(embedded: usize) -> Check {
    match embedded {
        0 => Check::new("standard plugins", State::Note, "none in this binary")
            .advice("build them with `cargo xtask plugins`, then the engine again"),
        _ => Check::ok("standard plugins", format!("{embedded} in this binary")),
    }
}

/// Where programs get their working directories.
fn temporary() -> Check {
    let dir = std::env::temp_dir();
    match tempfile::tempdir() {
        Ok(_) => Check::ok("temporary files", dir.display().to_string()),
        Err(error) => Check::new("temporary files", State::Broken, format!("{}: {error}", dir.display()))
            .advice("make it writable, or name another one with `TMPDIR`"),
    }
}

fn git() -> Check {
    let failed =
        |why: String| Check::new("git", State::Note, why).advice("pipelines that use `${git...}` need it in PATH");
    match Command::new("git").arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output() {
        Ok(answer) if answer.status.success() => {
            let text = String::from_utf8_lossy(&answer.stdout);
            Check::ok("git", text.trim().trim_start_matches("git version "))
        }
        Ok(answer) => failed(format!("it ends with {}", answer.status)),
        Err(error) => failed(format!("not to be had: {error}")),
    }
}

/// Where programs that are granted by name are looked for.
fn programs() -> Check {
    let (there, gone): (Vec<&str>, Vec<&str>) = PROGRAM_PATH.iter().copied().partition(|dir| Path::new(dir).is_dir());
    match there.is_empty() {
        true => Check::new("programs", State::Note, format!("none of {} is there", gone.join(", ")))
            .advice("`grants.process` needs absolute paths here"),
        false => Check::ok("programs", format!("by name from {}", there.join(", "))),
    }
}

fn authorities() -> Check {
    let found = rustls_native_certs::load_native_certs();
    let problem = found.errors.first().map(|error| format!("; {}", clean_line(&error.to_string())));
    let text = format!("{} found{}", found.certs.len(), problem.as_deref().unwrap_or_default());
    match (found.certs.is_empty(), problem) {
        (false, None) => Check::ok("certificate authorities", text),
        (false, Some(_)) => Check::new("certificate authorities", State::Note, text),
        (true, _) => Check::new("certificate authorities", State::Note, text)
            .advice("https requests fail: install `ca-certificates`, or set `SSL_CERT_FILE`"),
    }
}

fn state(args: &DoctorArgs) -> Check {
    const NAME: &str = "state directory";
    let dir = match place::state_here(&args.state) {
        Ok(dir) => dir,
        Err(error) => return Check::new(NAME, State::Broken, format!("failed to {}", error.one_line())),
    };
    match dir.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(NAME, format!("none yet; a run makes {}", dir.display()));
        }
        _ => {}
    }
    match Store::open_to_read(&dir) {
        Ok(store) => {
            let (files, bytes) = size(&dir);
            let over = if files >= MAX_COUNTED { "more than " } else { "" };
            let version = store.version();
            let found = format!("{}, version {version}, {over}{}", dir.display(), Bytes(bytes));
            match store.is_writable() {
                true => Check::ok(NAME, found),
                false => Check::new(NAME, State::Note, format!("{found}, cannot be written"))
                    .advice("runs need one that can be: make it writable, or name another one with `--state`"),
            }
        }
        Err(error) => Check::new(NAME, State::Broken, format!("{}: failed to {}", dir.display(), one_line(&error)))
            .advice("put a copy back, or name another one with `--state`"),
    }
}

/// Number of files below a directory and their bytes. What cannot be read is not counted; links are not followed.
fn size(dir: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
                continue;
            }
            files += 1;
            bytes += metadata.len();
            if files >= MAX_COUNTED {
                return (files, bytes);
            }
        }
    }
    (files, bytes)
}

fn secrets(args: &DoctorArgs) -> Vec<Check> {
    const STORE: &str = "secrets";
    const IDENTITY: &str = "identity";
    let broken = |check: &str, error: &SecretStoreError| {
        let broken = Check::new(check, State::Broken, format!("failed to {}", one_line(error)));
        match secret_store::hint(error) {
            Some(hint) => broken.advice(hint),
            None => broken,
        }
    };
    let store = match secret_store::locate(args.store.store.as_deref()) {
        Ok(store) => store,
        Err(error) => {
            return vec![
                Check::ok(STORE, "no store: neither HOME nor LOCKGATE_SECRETS is set")
                    .advice(format!("failed to {}", error.one_line())),
            ];
        }
    };
    let dir = store.dir().display();
    let identity = match store.keyring() {
        Ok(keys) if keys.keys == 1 => Check::ok(IDENTITY, format!("{} in {}", keys.public, store.identity().display())),
        Ok(keys) => Check::new(IDENTITY, State::Note, format!("{} keys in {}", keys.keys, store.identity().display()))
            .advice("`lockgate secret rotate --identity` leaves one; it may have been cut off before"),
        Err(error) => broken(IDENTITY, &error),
    };
    match store.list(None) {
        Ok(listed) => {
            let mut environments: Vec<_> = listed.iter().map(|secret| secret.environment.as_str()).collect();
            environments.dedup();
            let secrets = count(listed.len(), "secret");
            let found = format!("{dir}, {secrets} in {}", count(environments.len(), "environment"));
            vec![Check::ok(STORE, found), identity]
        }
        // Nobody needs one before a pipeline names it.
        Err(SecretStoreError::NoStore(_)) => {
            vec![Check::ok(STORE, format!("no store yet; `lockgate secret set` makes {dir}"))]
        }
        Err(error) if identity.state == State::Broken => {
            vec![Check::new(STORE, State::Broken, format!("failed to {}", one_line(&error))), identity]
        }
        Err(error) => vec![broken(STORE, &error), identity],
    }
}

/// What is said about registries on this machine, and where their components are kept.
fn registries() -> Check {
    const CHECK: &str = "registries";
    let cache = match registry::cache() {
        Ok(cache) => format!("components in {}", cache.dir().display()),
        Err(error) => return Check::new(CHECK, State::Note, format!("failed to {}", error.one_line())),
    };
    let Some((path, needed)) = registry::registries_file() else { return Check::ok(CHECK, cache) };
    match Registries::read(&path, needed) {
        Ok(_) if !path.exists() => Check::ok(CHECK, format!("{cache}, no {}", path.display())),
        Ok(_) => Check::ok(CHECK, format!("{cache}, as {} says", path.display())),
        Err(error) => Check::new(CHECK, State::Broken, format!("failed to {}", one_line(&error))),
    }
}

/// Variables that change what the engine does: what each is for, and whether its value may be shown.
const VARIABLES: [(&str, &str, bool); 20] = [
    ("LOCKGATE_POLICY", "names the policy that holds besides the machine's own", true),
    // It may hold the key itself.
    ("LOCKGATE_KEY", "is, or names, the private key that signs", false),
    (STORE_VARIABLE, "names the directory of the store of secrets", true),
    (IDENTITY_VARIABLE, "names the file that opens the store of secrets", true),
    (registry::CACHE_VARIABLE, "names the directory of pulled components", true),
    (registry::REGISTRIES_VARIABLE, "names the file about registries", true),
    (registry::OFFLINE_VARIABLE, "keeps registries from being asked", true),
    ("DOCKER_CONFIG", "names the directory of docker's logins", true),
    // It may hold a login.
    ("HTTPS_PROXY", "is how registries are reached", false),
    ("XDG_CACHE_HOME", "moves pulled components", true),
    ("CI", "says that this is a CI service", true),
    ("GITHUB_STEP_SUMMARY", "is where `--format github` adds its summary", true),
    ("NO_COLOR", "turns colour off", true),
    ("SSL_CERT_FILE", "replaces the system's certificate authorities", true),
    ("SSL_CERT_DIR", "replaces the system's certificate authorities", true),
    ("TMPDIR", "is where programs get their working directories", true),
    ("TRACEPARENT", "is the span that runs are put below", true),
    ("XDG_CONFIG_HOME", "moves the store of secrets and the file about registries", true),
    // Both may hold what a collector wants to be paid with.
    ("OTEL_EXPORTER_OTLP_HEADERS", "is sent along with traces", false),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "is sent along with traces", false),
];

fn variables(all: impl Iterator<Item = (String, String)>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, value) in all {
        let known = VARIABLES.iter().find(|(known, ..)| *known == name);
        let (meaning, show) = match known {
            Some((_, meaning, show)) => (*meaning, *show),
            None if name.starts_with("OTEL_") => ("says how runs are traced, or what spans say", false),
            None if name.starts_with("LOCKGATE_") => ("is no variable of this engine; `[secrets]` may name it", false),
            None => continue,
        };
        if value.is_empty() {
            continue;
        }
        let mut shown: String = clean_line(&value).chars().take(MAX_SHOWN).collect();
        if shown.len() < clean_line(&value).len() {
            shown += "...";
        }
        let found = if show { shown } else { "set".to_owned() };
        checks.push(Check::new(&name, State::Note, found).advice(meaning));
    }
    checks.sort_by(|a, b| a.check.cmp(&b.check));
    checks
}

fn human(checks: &[Check], style: Style) -> String {
    let mut text = String::new();
    let width = checks.iter().map(|check| check.check.chars().count()).max().unwrap_or_default().min(24);
    for Check { check, state, found, advice } in checks {
        let word = match state {
            State::Ok => style.good("ok    "),
            State::Note => style.warn("note  "),
            State::Broken => style.bad("broken"),
        };
        text += &format!("{word}  {check:<width$}  {}\n", clean_line(found));
        if let Some(advice) = advice {
            text += &format!("        {:width$}  {}\n", "", style.dim(&clean_line(advice)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_is_and_what_to_do() {
        let none = lockgate_host::Support::default();
        let all = lockgate_host::Support { files: true, network: true, scopes: true };
        let mut checks: Vec<Check> = confinement(none).into_iter().chain(confinement(all)).collect();
        checks.extend([std_plugins(0), std_plugins(7), Check::new("x", State::Broken, "a\x1b[1m").advice("b\nc")]);
        insta::assert_snapshot!(human(&checks, Style::PLAIN));
    }

    #[test]
    fn variables_that_may_hold_secrets_are_not_shown() {
        let variables = |name: &str, value: &str| variables([(name.to_owned(), value.to_owned())].into_iter());
        for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "LOCKGATE_TOKEN", "OTEL_X"] {
            let found = variables(name, "secret");
            assert_eq!((found.len(), found[0].found.as_str(), found[0].state), (1, "set", State::Note), "{name}");
        }
        assert_eq!(variables(STORE_VARIABLE, "/s")[0].found, "/s");
        assert!(variables("TMPDIR", &"x".repeat(500))[0].found.len() < 100);
        assert_eq!(variables("PATH", "/bin"), []);
        assert_eq!(variables("CI", ""), []);
    }
}
