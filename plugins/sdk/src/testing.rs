//! Runs plugins natively, in plain `cargo test`, with inputs, answers and time made by the test.
//!
//! ```ignore
//! let outcome = Harness::new().tree("src", [("a.toml", "x = ")]).run::<Lint>("{}");
//! assert_eq!(outcome.failure(), "1 error");
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use crate::backend::{self, Node};
use crate::error::Error;
use crate::evaluation::{Observation, State, Verdict};
use crate::finding::{Finding, Findings};
use crate::http::{HttpError, Request, Response};
use crate::plugin::{self, CanaryEvaluator, Health, HealthCheck, Look, Stage};
use crate::process::{Command, Exit, ProcessError};
use crate::tcp::{Answer, Exchange, TcpError};

/// An artifact in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Artifact {
    /// Bytes.
    Blob(Rc<[u8]>),
    /// Items by their paths.
    Tree(Rc<BTreeMap<String, Item>>),
}

/// What stands at a path of a tree in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A file.
    File {
        /// Whether it is executable.
        executable: bool,
        /// Its content.
        bytes: Rc<[u8]>,
    },
    /// A symbolic link.
    Symlink {
        /// Its target.
        target: String,
    },
    /// A directory.
    Directory,
}

impl Item {
    /// A file that is not executable.
    pub fn file(bytes: impl AsRef<[u8]>) -> Self {
        Self::File { executable: false, bytes: bytes.as_ref().into() }
    }

    /// A file that is executable.
    pub fn program(bytes: impl AsRef<[u8]>) -> Self {
        Self::File { executable: true, bytes: bytes.as_ref().into() }
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self::Symlink { target: target.into() }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::File { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

impl<T: AsRef<[u8]>> From<T> for Item {
    fn from(bytes: T) -> Self {
        Self::file(bytes)
    }
}

impl Artifact {
    /// A tree of these items; directories above them come by themselves.
    pub fn tree<P: Into<String>, I: Into<Item>>(items: impl IntoIterator<Item = (P, I)>) -> Self {
        let mut tree = BTreeMap::new();
        for (path, item) in items {
            insert(&mut tree, &path.into(), item.into());
        }
        Self::Tree(Rc::new(tree))
    }

    /// Bytes of a blob, or of all files of a tree.
    pub fn size(&self) -> u64 {
        match self {
            Self::Blob(bytes) => bytes.len() as u64,
            Self::Tree(items) => items.values().map(|item| item.bytes().len() as u64).sum(),
        }
    }

    /// A blob's digest is the engine's; that of a tree only tells trees apart.
    pub fn digest(&self) -> String {
        match self {
            Self::Blob(bytes) => backend::digest(bytes),
            Self::Tree(items) => {
                let line = |(path, item): (&String, &Item)| match item {
                    Item::File { executable, bytes } => format!("{path:?} {executable} {}\n", backend::digest(bytes)),
                    other => format!("{path:?} {other:?}\n"),
                };
                backend::digest(items.iter().map(line).collect::<String>().as_bytes())
            }
        }
    }
}

/// Puts an item into a tree, and the directories above it.
pub(crate) fn insert(tree: &mut BTreeMap<String, Item>, path: &str, item: Item) {
    for (slash, _) in path.match_indices('/') {
        tree.entry(path[..slash].into()).or_insert(Item::Directory);
    }
    tree.insert(path.into(), item);
}

/// Compares a plugin's schema file (see [`About::schema`](crate::About::schema)) with what its config derives, or writes it
/// if the environment has `LOCKGATE_UPDATE=1`.
///
/// # Panics
/// If they differ, or the file cannot be written.
pub fn check_schema<C: schemars::JsonSchema>(path: impl AsRef<Path>, written: &str) {
    let derived = plugin::config_schema::<C>();
    let derived: serde_json::Value = derived.parse().unwrap_or_default();
    if written.parse().is_ok_and(|written: serde_json::Value| written == derived) {
        return;
    }
    let path = path.as_ref();
    assert!(
        std::env::var_os("LOCKGATE_UPDATE").is_some(),
        "`{}` is not what the config derives; LOCKGATE_UPDATE=1 cargo test writes it",
        path.display()
    );
    let result = std::fs::write(path, format!("{derived:#}\n"));
    assert!(result.is_ok(), "failed to write `{}`: {result:?}", path.display());
}

/// Builds what a node sees, then runs a plugin in it.
#[derive(Default)]
pub struct Harness {
    node: Node,
}

impl Harness {
    /// A node without inputs, environment and answers, at the time 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input that is a blob.
    pub fn blob(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.input(name, Artifact::Blob(bytes.as_ref().into()))
    }

    /// Adds an input that is a tree.
    pub fn tree<P: Into<String>, I: Into<Item>>(self, name: &str, items: impl IntoIterator<Item = (P, I)>) -> Self {
        self.input(name, Artifact::tree(items))
    }

    /// Adds an input, such as another run's output.
    pub fn input(mut self, name: &str, artifact: Artifact) -> Self {
        self.node.inputs.insert(name.into(), artifact);
        self
    }

    /// Adds a name to the declared environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.node.variables.insert(name.into(), value.into());
        self
    }

    /// Sets the time, in milliseconds since 1970.
    pub fn now_ms(mut self, now: u64) -> Self {
        self.node.now_ms = now;
        self
    }

    /// Grants HTTP and answers every request.
    pub fn http(mut self, answer: impl FnMut(Request) -> Result<Response, HttpError> + 'static) -> Self {
        self.node.answer = Some(Box::new(answer));
        self
    }

    /// Grants programs and runs each.
    pub fn process(mut self, program: impl FnMut(Command) -> Result<Exit, ProcessError> + 'static) -> Self {
        self.node.program = Some(Box::new(program));
        self
    }

    /// Grants connections and answers every exchange.
    pub fn tcp(mut self, server: impl FnMut(Exchange) -> Result<Answer, TcpError> + 'static) -> Self {
        self.node.server = Some(Box::new(server));
        self
    }

    /// Grants a secret. What is sent holds its placeholder: nothing is put in its place here.
    pub fn secret(mut self, name: &str) -> Self {
        self.node.secrets.push(name.into());
        self
    }

    /// Runs a stage. `config` is JSON text, as the engine gives it.
    pub fn run<S: Stage>(self, config: &str) -> Outcome<Findings> {
        self.call(|| plugin::run::<S>(config))
    }

    /// Takes one look with a health check.
    pub fn check<H: HealthCheck>(self, config: &str, look: Look) -> Outcome<Health> {
        self.call(|| plugin::check::<H>(config, look))
    }

    /// Takes one look with a canary evaluator.
    pub fn evaluate<E: CanaryEvaluator>(
        self,
        config: &str,
        observation: Observation,
        look: Look,
        state: State,
    ) -> Outcome<Verdict> {
        self.call(|| plugin::evaluate::<E>(config, observation, look, state))
    }

    fn call<T>(self, body: impl FnOnce() -> Result<T, Error>) -> Outcome<T> {
        let before = backend::exchange(self.node);
        let result = body();
        let node = backend::exchange(before);
        Outcome { result, outputs: node.outputs, log: node.log, now_ms: node.now_ms }
    }
}

/// What came of a plugin's call.
#[derive(Debug)]
pub struct Outcome<T> {
    /// What it returned.
    pub result: Result<T, Error>,
    /// The outputs that it finished.
    pub outputs: BTreeMap<String, Artifact>,
    /// Levels and messages that it logged.
    pub log: Vec<(String, String)>,
    /// The time at the end.
    pub now_ms: u64,
}

impl<T: std::fmt::Debug> Outcome<T> {
    /// What it returned.
    ///
    /// # Panics
    /// If it failed.
    pub fn ok(&self) -> &T {
        match &self.result {
            Ok(value) => value,
            Err(error) => panic!("the plugin failed: {error}"),
        }
    }

    /// The message of its failure.
    ///
    /// # Panics
    /// If it did not fail.
    pub fn failure(&self) -> &str {
        match &self.result {
            Ok(value) => panic!("the plugin did not fail: {value:?}"),
            Err(error) => error.message(),
        }
    }

    /// The bytes of an output.
    ///
    /// # Panics
    /// If there is no such blob.
    pub fn blob(&self, name: &str) -> &[u8] {
        match self.outputs.get(name) {
            Some(Artifact::Blob(bytes)) => bytes,
            other => panic!("the output `{name}` is no blob: {other:?}"),
        }
    }

    /// The text of an output.
    ///
    /// # Panics
    /// If there is no such blob or it is not UTF-8.
    pub fn text(&self, name: &str) -> &str {
        match std::str::from_utf8(self.blob(name)) {
            Ok(text) => text,
            Err(error) => panic!("the output `{name}` is no text: {error}"),
        }
    }

    /// The items of an output.
    ///
    /// # Panics
    /// If there is no such tree.
    pub fn tree(&self, name: &str) -> &BTreeMap<String, Item> {
        match self.outputs.get(name) {
            Some(Artifact::Tree(items)) => items,
            other => panic!("the output `{name}` is no tree: {other:?}"),
        }
    }
}

impl Outcome<Findings> {
    /// The findings, whether the stage passed or failed.
    pub fn findings(&self) -> &[Finding] {
        match &self.result {
            Ok(findings) => findings.as_slice(),
            Err(error) => error.findings(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use crate::prelude::*;
    use crate::testing::{Harness, Item};
    use crate::{clock, env, http};

    struct Everything;

    impl Stage for Everything {
        type Config = ();
        const ABOUT: About = About::new("everything", "1.0.0", "Uses everything.").open_inputs(PortKind::Any);

        fn run((): ()) -> Result<Findings> {
            let tree = input("src")?.tree()?;
            for entry in tree.entries() {
                info!("{} {}", entry.path, entry.size());
            }
            let builder = output("out").tree()?;
            builder.copy(&input("src")?, "a", "copied")?;
            ensure!(builder.symlink("../x", "y").is_err(), "`..` leaves the tree");
            let mut writer = builder.file("bin/big", true)?;
            std::io::copy(&mut input("big")?.blob()?, &mut writer)?;
            writer.finish()?;
            builder.write("empty", b"")?;
            builder.finish()?;
            ensure!(output("out").blob().is_err(), "an output is made once");
            drop(output("dropped").blob()?);
            output("same").forward(&input("big")?)?;
            let mut head = [0; 4];
            tree.open("a/one")?.read_exact(&mut head)?;
            output("head").write(head)?;
            clock::sleep_ms(5);
            let answer = http::Request::get("http://x/").header("a", "b").send()?;
            output("facts").write_json(&(env::var("NAME"), clock::now_ms(), answer.status))?;
            Ok(Findings::new())
        }
    }

    #[test]
    fn a_stage_sees_and_makes_what_the_contract_says() {
        let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let outcome = Harness::new()
            .tree("src", [("a/one", Item::file("12345")), ("a/two", Item::program("x")), ("b", Item::symlink("a/one"))])
            .blob("big", &big)
            .env("NAME", "value")
            .now_ms(100)
            .http(|request| {
                assert_eq!(request.headers, [("a".to_owned(), b"b".to_vec())]);
                Ok(http::Response { status: 204, ..Default::default() })
            })
            .run::<Everything>("{}");
        assert!(outcome.ok().is_empty());
        let log: Vec<_> = outcome.log.iter().map(|(_, message)| message.as_str()).collect();
        assert_eq!(log, ["a 0", "a/one 5", "a/two 1", "b 0"]);
        let out = outcome.tree("out");
        assert_eq!(out.keys().collect::<Vec<_>>(), ["bin", "bin/big", "copied", "copied/one", "copied/two", "empty"]);
        assert_eq!(out["bin/big"], Item::program(&big));
        assert_eq!(out["copied/two"], Item::program("x"));
        assert_eq!(outcome.blob("same"), big);
        assert_eq!(outcome.text("head"), "1234");
        assert_eq!(outcome.text("facts"), r#"["value",105,204]"#);
        assert!(!outcome.outputs.contains_key("dropped"), "what is not finished is not there");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let outcome = Harness::new().run::<Everything>("{}");
        assert_eq!(outcome.failure(), "there is no input `src`");
        let outcome = Harness::new().blob("src", "").run::<Everything>("{}");
        assert_eq!(outcome.failure(), "the input `src` is a tree".replace("tree", "blob"));
        let outcome = Harness::new().run::<Everything>(r#"{"a": 1}"#);
        assert!(outcome.failure().starts_with("the config is not what the schema says: "), "{}", outcome.failure());
    }

    #[test]
    fn a_writer_passes_on_what_does_not_fit_its_buffer() {
        struct Pieces;
        impl Stage for Pieces {
            type Config = ();
            const ABOUT: About = about!("Writes pieces of all sizes.");
            fn run((): ()) -> Result<Findings> {
                let mut writer = output("out").blob()?;
                let bytes: Vec<u8> = (0..700_000_u32).map(|n| (n / 3) as u8).collect();
                let mut rest = bytes.as_slice();
                for size in [1, 300_000, 7, 262_144, 262_143, 99] {
                    let (piece, after) = rest.split_at(size.min(rest.len()));
                    writer.write_all(piece)?;
                    rest = after;
                }
                writer.finish()?;
                Ok(Findings::new())
            }
        }
        let outcome = Harness::new().run::<Pieces>("{}");
        outcome.ok();
        let expected: Vec<u8> = (0..700_000_u32).map(|n| (n / 3) as u8).collect();
        assert!(outcome.blob("out") == expected);
    }
}
