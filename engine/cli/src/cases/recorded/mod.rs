//! Answers of effects from a case's file. Nothing is ever issued: what is asked and is not what is recorded, or is one too many, ends
//! the call and is kept as what went wrong. Each kind of effect has an order of its own. Modules in reading order: `tape` (the order of
//! one kind), `http`, `programs`, `connections` (what is compared and answered).

mod connections;
mod http;
mod programs;
mod tape;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lockgate_host::{Asked, AskedHttp, AskedProcess, AskedTcp, Effects, EffectsError};
use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind};
use lockgate_model::effect::{Begun, Differs};
use lockgate_store::Store;
use lockgate_syntax::case::{Answer, AnswerBody, Connection, ProgramEnd};
use serde_json::{Value, json};

use self::tape::Tape;
use super::execute::put;
use super::project::Case;
use super::{Mismatch, text};
use crate::exit::{CliError, Exit};

/// Longest bytes that stand in an answer itself, as in those that the host records.
const INLINE: usize = 4 << 10;
/// Largest body, of a request or of a file with an answer, in bytes: what a plugin may get at most.
const MAX_BODY: u64 = 16 << 20;
/// How far the granted clock moves from one reading to the next, in milliseconds: so that a plugin that waits for a time sees its end.
const TICK: u64 = 1_000;

/// The kinds of effects whose grants follow from what is recorded: then what is not granted is not recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Derived {
    pub(super) http: bool,
    pub(super) process: bool,
    pub(super) tcp: bool,
}

/// The answers of one case, through all its looks.
pub(super) struct Recorded {
    derived: Derived,
    logical_time: u64,
    keep: Keep,
    state: Mutex<State>,
}

struct State {
    http: Tape<http::Prepared>,
    process: Tape<programs::Prepared>,
    tcp: Tape<Connection>,
    readings: u64,
    wrong: Vec<Mismatch>,
}

/// Where long answers are kept.
struct Keep(Store);

impl Recorded {
    /// The answers of this case; files are relative to its folder.
    pub(super) fn new(case: &Case, derived: Derived, logical_time: u64, store: &Store) -> Result<Self, CliError> {
        let bytes = |body: &AnswerBody| match body {
            AnswerBody::Bytes(bytes) => Ok(bytes.clone()),
            AnswerBody::File(file) => body_file(&case.dir.join(file)),
        };
        let mut http = Vec::with_capacity(case.file.http.len());
        for exchange in &case.file.http {
            let body = match &exchange.answer {
                Answer::Response { body, .. } => bytes(body)?,
                Answer::Error(_) => Vec::new(),
            };
            http.push(http::Prepared { exchange: exchange.clone(), body });
        }
        let mut process = Vec::with_capacity(case.file.process.len());
        for execution in &case.file.process {
            let (mut stdout, mut stderr, mut left) = (Vec::new(), Vec::new(), BTreeMap::new());
            if let ProgramEnd::Exited { stdout: out, stderr: err, outputs, .. } = &execution.end {
                (stdout, stderr) = (bytes(out)?, bytes(err)?);
                for (name, output) in outputs {
                    let artifact = put(store, case, output)?;
                    left.insert(name.clone(), (artifact, entries(store, &artifact)?));
                }
            }
            process.push(programs::Prepared { execution: execution.clone(), stdout, stderr, outputs: left });
        }
        let state = State {
            http: Tape::new(http),
            process: Tape::new(process),
            tcp: Tape::new(case.file.tcp.clone()),
            readings: 0,
            wrong: Vec::new(),
        };
        Ok(Self { derived, logical_time, keep: Keep(store.clone()), state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for otherwise than recorded, and what was recorded and not asked for; `returned` says whether the call came to its
    /// own end, so that what is missing was left away and not merely not reached.
    pub(super) fn mismatches(&self, returned: bool) -> Vec<Mismatch> {
        let state = self.lock();
        if !state.wrong.is_empty() || !returned {
            return state.wrong.clone();
        }
        [state.http.missing(), state.process.missing(), state.tcp.missing()].into_iter().flatten().collect()
    }

    fn http(&self, request: &AskedHttp<'_>) {
        let body = match (request.body, request.body_input) {
            (Some(bytes), _) => bytes.to_vec(),
            // What cannot be read is found when the host opens it.
            (None, Some(input)) => self.keep.0.read_blob(&input, MAX_BODY).unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        let asked = http::Asked {
            method: request.method.to_owned(),
            url: http::normal(&String::from_utf8_lossy(&named(request.url.as_bytes()))),
            headers: request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), named(value))).collect(),
            body: named(&body),
            save_as: request.save_as.map(str::to_owned),
            max_body: request.max_body,
        };
        let State { http, wrong, .. } = &mut *self.lock();
        announce(http, asked, request.effect, self.derived.http, wrong);
    }

    fn process(&self, request: &AskedProcess<'_>) {
        let mut inputs = request.inputs.to_vec();
        inputs.sort();
        let asked = programs::Asked {
            run: std::iter::once(request.program.to_owned()).chain(request.arguments.iter().cloned()).collect(),
            stdin: named(request.stdin),
            inputs,
            outputs: request.outputs.to_vec(),
        };
        let State { process, wrong, .. } = &mut *self.lock();
        announce(process, asked, request.effect, self.derived.process, wrong);
    }

    fn tcp(&self, request: &AskedTcp<'_>) {
        let asked = connections::Asked {
            target: format!("{}:{}", request.host, request.port),
            send: named(request.send),
            until: request.until.map(<[u8]>::to_vec),
            max_bytes: request.max_bytes,
        };
        let State { tcp, wrong, .. } = &mut *self.lock();
        announce(tcp, asked, request.effect, self.derived.tcp, wrong);
    }
}

/// Takes what a plugin asks for before its intent.
fn announce<R: tape::Recording>(
    tape: &mut Tape<R>,
    asked: R::Asked,
    effect: Result<Digest, &str>,
    derived: bool,
    wrong: &mut Vec<Mismatch>,
) {
    match effect {
        Ok(digest) => tape.ask(digest, asked),
        Err("not-granted") if derived && wrong.is_empty() => wrong.push(tape.refused(&asked)),
        // The plugin is told, and what it makes of that is part of the case.
        Err(_) => {}
    }
}

#[async_trait]
impl Effects for Recorded {
    fn asked(&self, request: &Asked<'_>) {
        match request {
            Asked::Http(request) => self.http(request),
            Asked::Process(request) => self.process(request),
            Asked::Tcp(request) => self.tcp(request),
        }
    }

    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError> {
        let State { http, process, tcp, readings, wrong } = &mut *self.lock();
        let answer = match kind {
            "http" => {
                let (recorded, asked) = http.next(sequence, request, summary, wrong)?;
                http::answer(recorded, asked, &self.keep)?
            }
            "process" => {
                let (recorded, _) = process.next(sequence, request, summary, wrong)?;
                programs::answer(recorded, &self.keep)?
            }
            "tcp" => {
                let (recorded, asked) = tcp.next(sequence, request, summary, wrong)?;
                connections::answer(recorded, asked, &self.keep)?
            }
            "clock" => {
                let now = self.logical_time.saturating_add(readings.saturating_mul(TICK));
                *readings += 1;
                json!({ "now-ms": now })
            }
            _ => {
                let why = format!("`{summary}` has no recorded answer: cases record no effects of this kind\n");
                wrong.push(Mismatch::new(format!("effect {sequence} ({kind})"), why));
                return Err(Differs { sequence, recorded: None, asked: format!("{kind} {summary}") }.into());
            }
        };
        Ok(Begun::Answered(answer))
    }

    async fn outcome(&self, _: u64, _: &Value) -> Result<(), EffectsError> {
        Err(EffectsError::Record("a case issues no effect".to_owned()))
    }

    fn has_waited(&self, _: u64) -> bool {
        true
    }
}

impl Keep {
    /// Bytes as they stand in an answer.
    fn bytes(&self, bytes: &[u8]) -> Result<Value, EffectsError> {
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.len() <= INLINE => Ok(json!({ "text": text })),
            _ => Ok(json!({ "blob": self.put(bytes)?, "size": bytes.len() })),
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, EffectsError> {
        self.0.put_blob(bytes).map_err(|error| EffectsError::Record(crate::exit::one_line(&error)))
    }
}

fn no_answer(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "the case has recorded that there is no answer" } })
}

fn body_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: anyhow::Error| {
        CliError::new(Exit::Wrong, error.context(format!("read the recorded answer `{}`", path.display())))
    };
    let meta = path.metadata().map_err(|error| failed(error.into()))?;
    if !meta.is_file() || meta.len() > MAX_BODY {
        return Err(failed(anyhow::anyhow!("it is not a regular file of at most 16 MiB")));
    }
    std::fs::read(path).map_err(|error| failed(error.into()))
}

/// How many entries a tree has, as the host counts those that a program left; of a blob none.
fn entries(store: &Store, artifact: &ArtifactRef) -> Result<u64, CliError> {
    if artifact.kind == ArtifactKind::Blob {
        return Ok(0);
    }
    let (mut count, mut left) = (0, vec![artifact.digest]);
    while let Some(digest) = left.pop() {
        let directory = store.directory(&digest)?;
        count += directory.entries().len() as u64;
        let inner = directory.entries().iter().filter(|entry| entry.kind == EntryKind::Directory);
        left.extend(inner.map(|entry| entry.digest));
    }
    Ok(count)
}

/// Bytes for people: text as it is, of anything else what can be seen.
fn quoted(bytes: &[u8]) -> String {
    match text::as_text(bytes) {
        Some(text) => text.to_owned(),
        None => format!("\"{}\"", bytes[..bytes.len().min(MAX_QUOTED)].escape_ascii()),
    }
}

/// Most bytes that are no text and shown nevertheless.
const MAX_QUOTED: usize = 1_000;

/// What a plugin sends, with `lockgate-secret` for each placeholder of a secret: placeholders differ with the component and its inputs,
/// so no case could have them.
fn named(bytes: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"lockgate-secret";
    const DIGITS: usize = 32;
    let (mut named, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let Some(at) = rest.windows(NAME.len()).position(|window| window == NAME) {
        let (before, after) = rest.split_at(at + NAME.len());
        named.extend_from_slice(before);
        let digits = after.strip_prefix(b"-").and_then(|after| after.get(..DIGITS));
        let is_one = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        rest = if is_one { &after[DIGITS + 1..] } else { after };
    }
    named.extend_from_slice(rest);
    named
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn placeholders_of_secrets_have_one_name() {
        let text = |bytes: &[u8]| String::from_utf8(named(bytes)).unwrap();
        let placeholder = format!("lockgate-secret-{}", "0a".repeat(16));
        assert_eq!(text(format!("a {placeholder}{placeholder}b").as_bytes()), "a lockgate-secretlockgate-secretb");
        for same in ["lockgate-secret-0a", "lockgate-secret", "lockgate-secret-gggggggggggggggggggggggggggggggg", ""] {
            assert_eq!(text(same.as_bytes()), same);
        }
    }
}
