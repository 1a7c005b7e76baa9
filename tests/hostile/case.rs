//! A case, and trying it.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::usage::{self, Usage};
use crate::{Answer, Done, Project, Server};

/// What the engine may have in memory at most while it tries a case, the process that compiles included: a node's 64 MiB, what one
/// host call may carry several times over, the engine itself. What no case needs in a test build, by far.
pub const MAX_PEAK: u64 = 400 << 20;

/// Makes a component; it gets the address of the case's server, if there is one.
pub(super) type Make = Box<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// A hostile component and what becomes of it.
pub struct Case {
    /// Its name: also that of its component.
    pub name: &'static str,
    /// What it tries.
    pub tries: &'static str,
    /// The limit, the grant or the rule that stops it.
    pub stopped_by: &'static str,
    pub(super) make: Make,
    pub(super) limits: &'static str,
    pub(super) node: &'static str,
    pub(super) program: Option<&'static str>,
    pub(super) table: &'static str,
    pub(super) server: Option<Answer>,
    pub(super) hits: usize,
    pub(super) expect: Expect,
    pub(super) peak: u64,
    pub(super) slow: bool,
}

/// How a case has to end.
#[derive(Debug, Clone, Copy)]
pub enum Expect {
    /// The component is refused before anything runs: a part of the message.
    Refused(&'static str),
    /// The node fails with this kind of failure: a part of the message.
    Fails(&'static str, &'static str),
    /// The attempt is worth nothing: the node succeeds, and its log has this in it.
    Harmless(&'static str),
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How it ended: `refused`, a kind of failure, or `harmless`.
    pub kind: String,
    /// What people are told.
    pub message: String,
    /// From the engine's start to its end.
    pub wall: Duration,
    /// Processor time of the engine and the processes that it started.
    pub cpu: Duration,
    /// The most memory of any of them, in bytes.
    pub peak: u64,
}

impl Case {
    /// A case; `make` gets the address of its server, if it has one.
    pub(super) fn new(
        name: &'static str,
        tries: &'static str,
        stopped_by: &'static str,
        expect: Expect,
        make: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let make = Box::new(make);
        Self {
            name,
            tries,
            stopped_by,
            make,
            limits: "",
            node: "",
            program: None,
            table: "stage",
            server: None,
            hits: 0,
            expect,
            peak: MAX_PEAK,
            slow: false,
        }
    }

    /// Lines of the node's limits.
    pub(super) fn limits(self, limits: &'static str) -> Self {
        Self { limits, ..self }
    }

    /// Lines of the node.
    pub(super) fn node(self, node: &'static str) -> Self {
        Self { node, ..self }
    }

    /// It is a WASI program, which is called with this word, and has a file and a tree.
    pub(super) fn program(self, word: &'static str) -> Self {
        Self { program: Some(word), ..self }
    }

    /// The node is of this table: `health-check` or `canary`.
    pub(super) fn table(self, table: &'static str) -> Self {
        Self { table, ..self }
    }

    /// May take so many bytes of memory, because compiling it does.
    pub(super) fn peak(self, peak: u64) -> Self {
        Self { peak, ..self }
    }

    /// Takes so long that only the report tries it: on a busy machine it might not end in time.
    pub(super) fn slow(self) -> Self {
        Self { slow: true, ..self }
    }

    /// Runs beside a server that answers like this and has to get so many requests. `SERVER` in the pipeline is its address.
    pub(super) fn server(self, answer: Answer, hits: usize) -> Self {
        Self { server: Some(answer), hits, ..self }
    }

    /// Tries it, and asserts how it ends, that the honest node beside it is not harmed, and that the engine's memory stays in its
    /// bounds.
    ///
    /// # Panics
    /// Where anything is otherwise.
    pub fn attempt(&self) -> Outcome {
        let server = self.server.clone().map(Server::new);
        let address = server.as_ref().map(|server| server.address().to_string()).unwrap_or_default();
        let project = Project::new();
        project.file("bad.wasm", (self.make)(&address));
        project.file("in.bin", vec![7; 1 << 20]).file("observation.json", "{\"schema\":1,\"samples\":[]}");
        project.file("secret.txt", "correct horse battery staple");
        for number in 0..200 {
            project.file(format!("tree/f{number}"), "x");
        }
        let Self { limits, node, table, .. } = self;
        let (world, called) = match self.program {
            None => ("", String::new()),
            Some(word) => (
                "plugins.bad.world = \"command\"\n",
                format!(
                    "args = [\"{word}\"]\ninputs = {{ data = {{ file = \"in.bin\" }}, tree = {{ dir = \"tree\" }} }}\n"
                ),
            ),
        };
        let pipeline = format!(
            "plugins.bad.path = \"bad.wasm\"\n{world}secrets.token.file = \"secret.txt\"\n[[{table}]]\nid = \"bad\"\nplugin = \"bad\"\n{called}{node}\n[{table}.limits]\n{limits}\n\
             [[stage]]\nid = \"honest\"\nplugin = \"std:noop\"\n"
        );
        project.pipeline(&pipeline.replace("SERVER", &address));
        warm(&project, self.program.is_some());
        let (done, usage) = run(&project);
        let (kind, message) = self.judge(&done);
        let Usage { wall, cpu, peak } = usage;
        assert!(peak <= self.peak, "{}: a peak of {} MiB", self.name, peak >> 20);
        if let Some(server) = &server {
            assert_eq!(server.hits(), self.hits, "{}: requests that the server got: {}", self.name, done.all());
        }
        let message = match address.rsplit_once(':') {
            Some((_, port)) => message.replace(&address, "SERVER").replace(&format!(":{port}"), ":PORT"),
            None => message,
        };
        Outcome { kind, message, wall, cpu, peak }
    }

    fn judge(&self, done: &Done) -> (String, String) {
        assert!(!done.stderr.contains("panicked"), "{}: {}", self.name, done.all());
        match self.expect {
            Expect::Refused(fragment) => {
                let done = done.clone().code(2).says(fragment);
                assert!(done.events.is_empty(), "{}: something ran: {}", self.name, done.all());
                ("refused".to_owned(), problem(&done.stderr))
            }
            Expect::Fails(kind, fragment) => {
                let exit = if matches!(kind, "infrastructure" | "timeout") { 5 } else { 1 };
                let done = done.clone().code(exit).node_is("honest", "succeeded").node_failed("bad", kind, fragment);
                let message = done.node("bad")["receipt"]["failure"]["message"].as_str().unwrap_or_default();
                (kind.to_owned(), message.chars().take(300).collect())
            }
            Expect::Harmless(said) => {
                let done = done.clone().code(0).node_is("honest", "succeeded").node_is("bad", "succeeded");
                let logs = done.stderr.clone();
                assert!(logs.contains(said), "{}: it does not log `{said}`: {}", self.name, done.all());
                ("harmless".to_owned(), said.to_owned())
            }
        }
    }
}

/// Gives a project the compiled code of the honest node, and of the program where it is one: that is not what is tried.
fn warm(project: &Project, program: bool) {
    static HONEST: OnceLock<Project> = OnceLock::new();
    static PROGRAM: OnceLock<Project> = OnceLock::new();
    const NOOP: &str = "[[stage]]\nid = \"honest\"\nplugin = \"std:noop\"\n";
    let made = |text: &str| {
        let template = Project::with_pipeline(text);
        template.program("probe").run::<&str>([]).code(0);
        template
    };
    let template = match program {
        false => HONEST.get_or_init(|| made(NOOP)),
        true => PROGRAM.get_or_init(|| {
            made(&format!(
                "plugins.probe = {{ path = \"probe.wasm\", world = \"command\" }}\n[[stage]]\nid = \"probe\"\nplugin = \"probe\"\n\
                 args = [\"binary\"]\n{NOOP}"
            ))
        }),
    };
    for entry in std::fs::read_dir(template.join(".lockgate/code")).expect("read the cache of code").flatten() {
        let name = std::path::Path::new(".lockgate/code").join(entry.file_name());
        project.file(name, std::fs::read(entry.path()).expect("read compiled code"));
    }
}

/// Runs the pipeline and shows the log, all under one clock.
fn run(project: &Project) -> (Done, Usage) {
    let mut command = project.command(["run", "pipeline.toml", "--format", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let begun = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {shown}: {error}"));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (Some(mut out), Some(mut err)) = (out, err) else { panic!("{shown} has no pipes") };
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let mut stdout = Vec::new();
    out.read_to_end(&mut stdout).expect("read a pipe");
    let mut stderr = reader.join().expect("no panic").expect("read a pipe");
    let (status, usage) = usage::wait(child, begun);
    if status == Some(0) {
        stderr += &project.lockgate(["logs", "last", "bad"]).stdout;
    }
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    (Done::new(shown, status, None, stdout, stderr), usage)
}

/// The first problem of a pipeline as one line, without the frames around it.
fn problem(text: &str) -> String {
    let mut words = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches([' ', '×', '│']).trim_end();
        if line.starts_with(['╭', '╰']) || line.contains("╭─") || line.starts_with("help:") {
            break;
        }
        words.extend(line.split_whitespace());
    }
    let text = words.join(" ");
    text.split_once("] ").map_or(text.clone(), |(_, rest)| rest.to_owned()).chars().take(300).collect()
}
