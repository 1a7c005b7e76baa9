//! Programs: one execution in a working directory of its own, from its inputs to its outputs.
//!
//! A program is started by the engine's own binary ([`Launcher`]), which limits itself ([`confine()`]) and then becomes the program. So
//! nothing has to happen between fork and exec in the engine, and what is forbidden to the program was never permitted to it.

mod confine;
mod spawn;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind};
use lockgate_model::grant::process::{KEY_VARIABLE, PROGRAM_PATH};
use lockgate_model::grant::{EnvValue, ProcessGrant};
use lockgate_model::{Digest, PortName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::task::JoinSet;

use self::confine::{FAILED, Spec};
pub use self::confine::{Support, confine, support};
use crate::bindings::process::{Error, Exit};
use crate::exchange::answer::{Collected, Ran};
use crate::ports::Artifacts;
use crate::secret::Secrets;
use crate::state::Stop;

/// Bytes that are kept of each stream.
const MAX_STREAM: usize = 1 << 20;
/// How long a stream may stay open behind the end of the program and all of its group: something that left the group holds it.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes that are read at once.
const FRAME: usize = 64 << 10;

/// How programs are started: the engine's own binary, with the arguments that make it call [`confine()`] with what comes behind them.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The binary.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
}

/// An execution that is permitted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) grant: ProcessGrant,
    pub(crate) arguments: Vec<String>,
    pub(crate) stdin: Vec<u8>,
    /// What is laid where.
    pub(crate) inputs: Vec<(ArtifactRef, String)>,
    /// What becomes of which path.
    pub(crate) outputs: Vec<(String, PortName)>,
    pub(crate) timeout: Duration,
    /// The most bytes that one file may have.
    pub(crate) max_file: u64,
}

pub(crate) fn refuse(code: &str, message: impl Into<String>) -> Error {
    Error { code: code.to_owned(), message: message.into() }
}

/// Runs a program to its end. It finds the idempotency key in its environment.
pub(crate) async fn run(
    launcher: Option<Launcher>,
    checked: Checked,
    key: String,
    artifacts: Arc<dyn Artifacts>,
    secrets: Arc<Secrets>,
) -> Result<Ran, Stop> {
    let infrastructure = |doing: &str, error: &dyn std::fmt::Display| {
        Stop::Infrastructure(format!("failed to {doing} for `{}`: {error}", checked.grant.program))
    };
    let launcher = launcher.ok_or_else(|| infrastructure("find a way to start programs", &"there is none here"))?;
    let Some(program) = find(&checked.grant.program) else {
        let places = PROGRAM_PATH.join(", ");
        let message = match checked.grant.program.contains('/') {
            true => format!("there is no program `{}`", checked.grant.program),
            false => format!("there is no program `{}` in {places}", checked.grant.program),
        };
        return Ok(Err(refuse("not-found", message)));
    };
    let dir = tempfile::Builder::new().prefix("lockgate-").tempdir();
    let dir = dir.map_err(|error| infrastructure("make a working directory", &error))?;
    let (work, temp) = (dir.path().join("work"), dir.path().join("tmp"));
    for path in [&work, &temp] {
        std::fs::create_dir(path).map_err(|error| infrastructure("make a working directory", &error))?;
    }
    let inputs = checked.inputs.clone();
    let (store, place) = (artifacts.clone(), work.clone());
    let laid = blocking(move || inputs.iter().try_for_each(|(artifact, path)| store.lay(artifact, &place, path))).await;
    laid.map_err(|error| infrastructure("lay the inputs", &error))?;

    let token = format!("lockgate-{:032x}", rand_token(&work));
    let spec = Spec {
        program,
        arguments: checked.arguments.clone(),
        work: work.clone(),
        temp: temp.clone(),
        read: checked.grant.read.clone(),
        write: checked.grant.write.clone(),
        network: checked.grant.network,
        max_file: checked.max_file,
        token: token.clone(),
    };
    let mut command = Command::new(&launcher.program);
    command.args(&launcher.arguments).arg(spec.encode()).env_clear().current_dir(&work);
    command.env("PATH", PROGRAM_PATH.join(":")).env("HOME", &work).env("TMPDIR", &temp).env("LANG", "C.UTF-8");
    command.env(KEY_VARIABLE, key);
    for (name, value) in &checked.grant.env {
        match value {
            EnvValue::Text(text) => command.env(name, text),
            EnvValue::Secret(secret) => {
                let value = secrets.value(secret).ok_or_else(|| {
                    infrastructure("place a secret", &format!("the secret `{secret}` has no value here"))
                })?;
                command.env(name, os_string(value))
            }
        };
    }
    let start = Instant::now();
    let ended =
        execute(command, &checked, &secrets).await.map_err(|error| infrastructure("start the launcher", &error))?;
    let Ended { code, stdout, stderr, truncated } = match ended {
        Some(ended) => ended,
        None => {
            let message = format!(
                "`{}` did not end within {} ms; it was killed, with all that it started",
                checked.grant.program,
                checked.timeout.as_millis()
            );
            return Ok(Err(refuse("timeout", message)));
        }
    };
    if code == Some(FAILED)
        && let Some(reason) =
            String::from_utf8_lossy(&stderr).split_once(&token).map(|(_, reason)| reason.trim().to_owned())
    {
        return Err(infrastructure("confine a process", &reason));
    }
    let total_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let exit = Exit { code, stdout, stderr, truncated, total_us };
    let wanted = checked.outputs.clone();
    let collected = blocking(move || {
        let collected = collect(&*artifacts, &secrets, &work, &wanted);
        // Many files may take a moment to be removed, too.
        drop(dir);
        collected
    })
    .await;
    match collected {
        Ok(outputs) => Ok(outputs.map(|outputs| (exit, outputs))),
        Err(error) => Err(infrastructure("collect the outputs", &error)),
    }
}

/// The file of a program, if it is there and may be executed by somebody.
fn find(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    match program.contains('/') {
        true => Some(PathBuf::from(program)).filter(executable),
        false => PROGRAM_PATH.iter().map(|dir| Path::new(dir).join(program)).find(executable),
    }
}

fn os_string(value: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(value.to_vec())
}

/// Something that the program cannot know: by it a failure of the launcher is told from what a program prints.
fn rand_token(work: &Path) -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    let half = || u128::from(RandomState::new().hash_one(work));
    half() << 64 | half()
}

async fn blocking<T: Send + 'static>(f: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// How a program ended by itself.
struct Ended {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

/// A stream of a program, as far as it was read.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    truncated: bool,
}

/// Starts it and waits for its end; none where the time was over.
async fn execute(mut command: Command, checked: &Checked, secrets: &Arc<Secrets>) -> io::Result<Option<Ended>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let (mut child, group) = spawn::spawn(command).await?;
    let mut streams = JoinSet::new();
    if let Some(mut stdin) = child.stdin.take() {
        let bytes = checked.stdin.clone();
        // A program that does not read what it is given is no error.
        streams.spawn(async move { drop(stdin.write_all(&bytes).await) });
    }
    let (stdout, stderr) = (Arc::<Mutex<Captured>>::default(), Arc::<Mutex<Captured>>::default());
    if let Some(stream) = child.stdout.take() {
        streams.spawn(capture(stream, stdout.clone(), secrets.clone()));
    }
    if let Some(stream) = child.stderr.take() {
        streams.spawn(capture(stream, stderr.clone(), secrets.clone()));
    }
    let ended = tokio::time::timeout(checked.timeout, child.wait()).await;
    // What it left running goes with it.
    drop(group);
    let status = match ended {
        Ok(status) => status?,
        Err(_) => {
            child.wait().await?;
            return Ok(None);
        }
    };
    let rest = async { while streams.join_next().await.is_some() {} };
    let cut = tokio::time::timeout(GRACE, rest).await.is_err();
    let take =
        |captured: &Mutex<Captured>| std::mem::take(&mut *captured.lock().unwrap_or_else(PoisonError::into_inner));
    let (stdout, stderr) = (take(&stdout), take(&stderr));
    let truncated = cut || stdout.truncated || stderr.truncated;
    Ok(Some(Ended { code: status.code(), stdout: stdout.bytes, stderr: stderr.bytes, truncated }))
}

/// Reads a stream to its end, and keeps the beginning.
async fn capture(mut stream: impl AsyncRead + Unpin, captured: Arc<Mutex<Captured>>, secrets: Arc<Secrets>) {
    let mut masking = secrets.masking();
    let mut buffer = vec![0; FRAME];
    let keep = |piece: &[u8]| {
        let mut captured = captured.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_STREAM - captured.bytes.len();
        captured.truncated |= piece.len() > room;
        captured.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    };
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        keep(&masking.push(&buffer[..read]));
    }
    keep(&masking.finish());
}

type Outputs = BTreeMap<PortName, Collected>;

/// Takes what the program left at the paths that become outputs. Nothing that holds a secret is taken: not even for a moment, because
/// what the store has is on disk.
fn collect(
    artifacts: &dyn Artifacts,
    secrets: &Secrets,
    work: &Path,
    wanted: &[(String, PortName)],
) -> io::Result<Result<Outputs, Error>> {
    let mut outputs = BTreeMap::new();
    for (path, port) in wanted {
        if !secrets.is_empty()
            && let Some(file) = holds_secret(secrets, &work.join(path), path)?
        {
            let message = format!("the program wrote a secret's value into `{file}`: it must not become an output");
            return Ok(Err(refuse("secret", message)));
        }
        let artifact = match artifacts.take(work, path) {
            Ok(None) => continue,
            Ok(Some(artifact)) => artifact,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("what the program left at `{path}` cannot be an output: {error}");
                return Ok(Err(refuse("bad-request", secrets.mask(&message))));
            }
            Err(error) => return Err(error),
        };
        let entries = match artifact.kind {
            ArtifactKind::Blob => 0,
            ArtifactKind::Tree => entries(artifacts, artifact.digest)?,
        };
        outputs.insert(port.clone(), Collected { artifact, entries });
    }
    Ok(Ok(outputs))
}

/// How many entries a tree has.
fn entries(artifacts: &dyn Artifacts, tree: Digest) -> io::Result<u64> {
    let mut count = 0;
    let mut open = vec![tree];
    while let Some(directory) = open.pop() {
        let directory = artifacts.directory(directory)?;
        count += directory.entries().len() as u64;
        open.extend(
            directory.entries().iter().filter(|entry| entry.kind == EntryKind::Directory).map(|entry| entry.digest),
        );
    }
    Ok(count)
}

/// The first file below a path, in whatever order, in which a secret stands, or whose name holds one. Follows no link.
fn holds_secret(secrets: &Secrets, place: &Path, shown: &str) -> io::Result<Option<String>> {
    let mut open = vec![(place.to_owned(), shown.to_owned())];
    while let Some((place, shown)) = open.pop() {
        let found = match std::fs::symlink_metadata(&place) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            found => found?.file_type(),
        };
        let holds = if found.is_dir() {
            for entry in std::fs::read_dir(&place)? {
                let entry = entry?;
                let name = entry.file_name();
                let shown = format!("{shown}/{}", name.to_string_lossy());
                if secrets.are_in(name.as_encoded_bytes()) {
                    return Ok(Some(secrets.mask(&shown).into_owned()));
                }
                open.push((entry.path(), shown));
            }
            false
        } else if found.is_symlink() {
            secrets.are_in(std::fs::read_link(&place)?.as_os_str().as_encoded_bytes())
        } else {
            found.is_file() && file_holds_secret(secrets, &place)?
        };
        if holds {
            return Ok(Some(shown));
        }
    }
    Ok(None)
}

fn file_holds_secret(secrets: &Secrets, path: &Path) -> io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let mut search = secrets.masking();
    let mut buffer = vec![0; FRAME];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(search.found_any()),
            read => drop(search.push(&buffer[..read])),
        }
    }
}
