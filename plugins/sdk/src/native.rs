//! The backend of a plugin in `cargo test`: artifacts in memory, one node per thread. It follows the contract where a plugin
//! could notice: sorted entries, one-time outputs, chunks of at most 1 MiB, logical time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::artifact::{ArtifactError, Entry, EntryKind, Input, Kind};
use crate::http::{HttpError, Request, Response};
use crate::process::{Command, Exit, ProcessError};
use crate::tcp::{self, Exchange, TcpError};
use crate::testing::{Artifact, Item};

type Result<T, E = ArtifactError> = std::result::Result<T, E>;

/// Answers a request.
pub(crate) type Answer = Box<dyn FnMut(Request) -> Result<Response, HttpError>>;

/// Runs a program.
pub(crate) type Program = Box<dyn FnMut(Command) -> Result<Exit, ProcessError>>;
/// Answers over a connection.
pub(crate) type Server = Box<dyn FnMut(Exchange) -> Result<tcp::Answer, TcpError>>;

/// What the running node sees and makes.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) inputs: BTreeMap<String, Artifact>,
    pub(crate) outputs: BTreeMap<String, Artifact>,
    pub(crate) log: Vec<(String, String)>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) now_ms: u64,
    pub(crate) answer: Option<Answer>,
    pub(crate) program: Option<Program>,
    pub(crate) server: Option<Server>,
    pub(crate) secrets: Vec<String>,
    pub(crate) begun: Vec<String>,
}

thread_local! {
    static NODE: RefCell<Node> = RefCell::new(Node::default());
}

/// Makes `node` the one that this thread runs, and gives back the one before.
pub(crate) fn exchange(node: Node) -> Node {
    NODE.replace(node)
}

fn with<T>(body: impl FnOnce(&mut Node) -> T) -> T {
    NODE.with_borrow_mut(body)
}

fn error<T>(code: &str, message: impl Into<String>) -> Result<T> {
    Err(ArtifactError { code: code.into(), message: message.into() })
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

pub(crate) fn log(level: &str, message: &str) {
    with(|node| node.log.push((level.into(), message.into())));
}

pub(crate) fn variables() -> Vec<(String, String)> {
    with(|node| node.variables.clone().into_iter().collect())
}

pub(crate) fn now_ms() -> u64 {
    with(|node| node.now_ms)
}

pub(crate) fn sleep_ms(duration: u32) {
    with(|node| node.now_ms += u64::from(duration));
}

pub(crate) fn inputs() -> Vec<Input> {
    let input = |(name, artifact): (&String, &Artifact)| Input {
        name: name.clone(),
        kind: match artifact {
            Artifact::Blob(_) => Kind::Blob,
            Artifact::Tree(_) => Kind::Tree,
        },
        digest: artifact.digest(),
        size: artifact.size(),
    };
    with(|node| node.inputs.iter().map(input).collect())
}

fn artifact(name: &str) -> Result<Artifact> {
    match with(|node| node.inputs.get(name).cloned()) {
        Some(artifact) => Ok(artifact),
        None => error("no-such-input", format!("there is no input `{name}`")),
    }
}

pub(crate) fn open_blob(name: &str) -> Result<RawReader> {
    match artifact(name)? {
        Artifact::Blob(bytes) => Ok(RawReader::new(bytes)),
        Artifact::Tree(_) => error("wrong-kind", format!("the input `{name}` is a tree")),
    }
}

pub(crate) fn open_tree(name: &str) -> Result<RawTree> {
    match artifact(name)? {
        Artifact::Tree(items) => Ok(RawTree { items }),
        Artifact::Blob(_) => error("wrong-kind", format!("the input `{name}` is a blob")),
    }
}

/// An output may be begun once.
fn begin(name: &str) -> Result<()> {
    if with(|node| node.begun.iter().any(|begun| begun == name)) {
        return error("duplicate", format!("the output `{name}` was begun already"));
    }
    with(|node| node.begun.push(name.into()));
    Ok(())
}

pub(crate) fn create_blob(name: &str) -> Result<RawWriter> {
    begin(name)?;
    let name = name.to_owned();
    Ok(RawWriter::new(move |bytes| {
        with(|node| node.outputs.insert(name, Artifact::Blob(bytes.into())));
    }))
}

pub(crate) fn create_tree(name: &str) -> Result<RawTreeBuilder> {
    begin(name)?;
    Ok(RawTreeBuilder { name: name.into(), items: Rc::default() })
}

pub(crate) fn forward(input: &str, output: &str) -> Result<()> {
    let artifact = artifact(input)?;
    begin(output)?;
    with(|node| node.outputs.insert(output.into(), artifact));
    Ok(())
}

pub(crate) struct RawReader {
    bytes: Rc<[u8]>,
    position: RefCell<usize>,
}

impl RawReader {
    fn new(bytes: Rc<[u8]>) -> Self {
        Self { bytes, position: RefCell::new(0) }
    }

    pub(crate) fn read(&self, max: u32) -> Result<Vec<u8>> {
        let mut position = self.position.borrow_mut();
        let end = self.bytes.len().min(*position + (max as usize).min(1 << 20));
        let chunk = self.bytes[*position..end].to_vec();
        *position = end;
        Ok(chunk)
    }

    pub(crate) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

pub(crate) struct RawTree {
    items: Rc<BTreeMap<String, Item>>,
}

impl RawTree {
    pub(crate) fn entries(&self, start: u64, max: u32) -> Vec<Entry> {
        let page = self.items.iter().skip(usize::try_from(start).unwrap_or(usize::MAX));
        page.take(max.min(4096) as usize).map(|(path, item)| entry(path, item)).collect()
    }

    pub(crate) fn lookup(&self, path: &str) -> Option<Entry> {
        self.items.get(path).map(|item| entry(path, item))
    }

    pub(crate) fn open(&self, path: &str) -> Result<RawReader> {
        match self.items.get(path) {
            Some(Item::File { bytes, .. }) => Ok(RawReader::new(bytes.clone())),
            Some(_) => error("wrong-kind", format!("`{path}` is no file")),
            None => error("no-such-path", format!("there is no `{path}`")),
        }
    }
}

fn entry(path: &str, item: &Item) -> Entry {
    let kind = match item {
        Item::File { executable, bytes } => {
            EntryKind::File { executable: *executable, size: bytes.len() as u64, digest: digest(bytes) }
        }
        Item::Symlink { target } => EntryKind::Symlink { target: target.clone() },
        Item::Directory => EntryKind::Directory,
    };
    Entry { path: path.into(), kind }
}

pub(crate) struct RawWriter {
    bytes: RefCell<Vec<u8>>,
    finish: Box<dyn FnOnce(Vec<u8>)>,
}

impl RawWriter {
    fn new(finish: impl FnOnce(Vec<u8>) + 'static) -> Self {
        Self { bytes: RefCell::default(), finish: Box::new(finish) }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<()> {
        (self.finish)(self.bytes.into_inner());
        Ok(())
    }
}

pub(crate) struct RawTreeBuilder {
    name: String,
    items: Rc<RefCell<BTreeMap<String, Item>>>,
}

impl RawTreeBuilder {
    fn free(&self, path: &str) -> Result<()> {
        let wrong = path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
        match self.items.borrow().get(path) {
            _ if wrong => error("bad-path", format!("`{path}` is no path inside a tree")),
            None => Ok(()),
            Some(_) => error("duplicate", format!("`{path}` is there already")),
        }
    }

    fn add(&self, path: &str, item: Item) -> Result<()> {
        self.free(path)?;
        crate::testing::insert(&mut self.items.borrow_mut(), path, item);
        Ok(())
    }

    pub(crate) fn file(&self, path: &str, executable: bool) -> Result<RawWriter> {
        self.free(path)?;
        let (items, path) = (self.items.clone(), path.to_owned());
        Ok(RawWriter::new(move |bytes| {
            let item = Item::File { executable, bytes: bytes.into() };
            crate::testing::insert(&mut items.borrow_mut(), &path, item);
        }))
    }

    pub(crate) fn copy(&self, input: &str, from: &str, to: &str) -> Result<()> {
        let Artifact::Tree(items) = artifact(input)? else {
            return error("wrong-kind", format!("the input `{input}` is a blob"));
        };
        if let Some(item) = items.get(from) {
            self.add(to, item.clone())?;
        } else if !from.is_empty() {
            return error("no-such-path", format!("there is no `{from}`"));
        }
        let below = if from.is_empty() { String::new() } else { format!("{from}/") };
        for (path, item) in items.iter() {
            if let Some(rest) = path.strip_prefix(&below) {
                self.add(&if to.is_empty() { rest.to_owned() } else { format!("{to}/{rest}") }, item.clone())?;
            }
        }
        Ok(())
    }

    pub(crate) fn symlink(&self, path: &str, target: &str) -> Result<()> {
        self.add(path, Item::Symlink { target: target.into() })
    }

    pub(crate) fn directory(&self, path: &str) -> Result<()> {
        self.add(path, Item::Directory)
    }

    pub(crate) fn finish(self) -> Result<()> {
        let items = self.items.take();
        with(|node| node.outputs.insert(self.name, Artifact::Tree(Rc::new(items))));
        Ok(())
    }
}

pub(crate) fn send(request: Request) -> Result<Response, HttpError> {
    // The answer runs outside of the borrow: it may log.
    let taken = with(|node| node.answer.take());
    let Some(mut answer) = taken else {
        return Err(HttpError { code: "not-granted".into(), message: format!("`{}` is not granted", request.url) });
    };
    let result = answer(request);
    with(|node| node.answer = Some(answer));
    result
}

pub(crate) fn send_all(requests: Vec<Request>, _parallel: u32) -> Vec<Result<Response, HttpError>> {
    requests.into_iter().map(send).collect()
}

pub(crate) fn run(command: Command) -> Result<Exit, ProcessError> {
    let taken = with(|node| node.program.take());
    let Some(mut program) = taken else {
        let message = format!("`{}` is not granted", command.program);
        return Err(ProcessError { code: "not-granted".into(), message });
    };
    let result = program(command);
    with(|node| node.program = Some(program));
    result
}

pub(crate) fn connect(exchange: Exchange) -> Result<tcp::Answer, TcpError> {
    let taken = with(|node| node.server.take());
    let Some(mut server) = taken else {
        let message = format!("`{}:{}` is not granted", exchange.host, exchange.port);
        return Err(TcpError { code: "not-granted".into(), message });
    };
    let result = server(exchange);
    with(|node| node.server = Some(server));
    result
}

pub(crate) fn placeholder(name: &str) -> Option<String> {
    let granted = with(|node| node.secrets.iter().any(|secret| secret == name));
    granted.then(|| format!("lockgate-secret-{}", &digest(name.as_bytes())[7..39]))
}
