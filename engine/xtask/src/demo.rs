//! `cargo xtask demo`: the main job, shown. Releases this repository, then gates two versions of a service.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::steps::{cargo, run};
use crate::{plugins, root, target_dir, tools};

/// How long a service may take until it listens: it is a small program on this very machine.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// `cargo xtask demo`.
pub fn task(arguments: &[String]) -> Result<()> {
    ensure!(arguments.is_empty(), "`demo` takes no arguments");
    let begun = Instant::now();
    let root = root()?;
    println!("==> building the plugins, the engine and a service");
    println!("    {}", plugins::build_all(tools::guests()?)?);
    // The whole workspace, so that tests find every dependency built as they need it.
    run(cargo(&root).args(["build", "--workspace", "--bins"]))?;
    let binaries = target_dir(&root).join("debug");
    let lockgate = binaries.join("lockgate");

    println!("\n==> releasing this repository: pipelines/release.toml (expected: exit code 0)");
    let mut release = Command::new(&lockgate);
    expect(release.current_dir(&root).args(["run", "pipelines/release.toml"]), 0)?;

    let service = binaries.join("service");
    let baseline = Service::start(&service, &["--version", "1.0.0"])?;
    let good = Service::start(&service, &["--version", "1.1.0"])?;
    let bad = Service::start(&service, &["--version", "1.2.0", "--error-rate", "0.3"])?;
    println!("\n==> three versions run: 1.0.0 at {}, 1.1.0 at {}, 1.2.0 at {}", baseline.url, good.url, bad.url);
    println!("\n==> gating 1.1.0, which is as good as 1.0.0 (expected: exit code 0)");
    expect(&mut gate(&root, &lockgate, &baseline, &good), 0)?;
    println!("\n==> gating 1.2.0, which fails three orders of ten (expected: exit code 1)");
    expect(&mut gate(&root, &lockgate, &baseline, &bad), 1)?;

    println!("\nThe demo took {:.1} s:", begun.elapsed().as_secs_f32());
    println!("  released    this repository, packed twice with the same bytes; see dist/");
    println!("  promoted    1.1.0 (exit code 0)");
    println!("  rolled back 1.2.0 (exit code 1), with every figure above");
    Ok(())
}

fn gate(root: &Path, lockgate: &PathBuf, baseline: &Service, canary: &Service) -> Command {
    let mut command = Command::new(lockgate);
    command.current_dir(root).args(["run", "pipelines/gate.toml"]);
    command.arg("--param").arg(format!("baseline={}", baseline.url));
    command.arg("--param").arg(format!("canary={}", canary.url));
    command
}

/// Runs `lockgate` and compares its exit code.
fn expect(command: &mut Command, code: i32) -> Result<()> {
    let status = command.status().context("failed to start `lockgate`")?;
    match status.code() {
        Some(found) if found == code => Ok(()),
        _ => bail!("`lockgate` ended with {status}, not with exit code {code}"),
    }
}

/// A running service; killed when it goes out of scope, whatever else happened.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    /// Starts one on a free port and reads from its first line where it listens.
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("failed to start `{}`", program.display()))?;
        let mut service = Self { child, url: String::new() };
        let stdout = service.child.stdout.take().context("failed to read what the service prints")?;
        // A thread, because a service that says nothing must not hold up the demo.
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // The receiver may have given up.
            let _ = sender.send(read.map(|_| line));
        });
        let line = receiver.recv_timeout(STARTS_WITHIN).context("the service did not say where it listens")?;
        let line = line.context("failed to read what the service prints")?;
        let url = line.trim().strip_prefix("listening on ");
        service.url = url.with_context(|| format!("the service said `{}`", line.trim()))?.to_owned();
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
