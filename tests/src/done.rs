//! What came of a command: exit code, output and events, with assertions that show everything where one fails.

use serde_json::Value;

/// A command that ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; none where a signal ended it.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The lines of its standard output that are JSON objects.
    pub events: Vec<Value>,
}

impl Done {
    /// Takes apart what a command printed.
    pub fn new(command: String, exit: Option<i32>, signal: Option<i32>, stdout: String, stderr: String) -> Self {
        let events = stdout.lines().filter(|line| line.starts_with('{'));
        let events = events.filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { command, exit, signal, stdout, stderr, events }
    }

    /// Everything, for a message.
    pub fn all(&self) -> String {
        let Self { command, exit, signal, stdout, stderr, .. } = self;
        format!("{command}\nexit {exit:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }

    /// Asserts the exit code, and that nothing panicked.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.exit, Some(code), "{}", self.all());
        for bad in ["panicked at", "RUST_BACKTRACE", "stack overflow"] {
            assert!(!self.stderr.contains(bad), "it panicked: {}", self.all());
        }
        self
    }

    /// Asserts that a person is told this, on stderr, however its lines were broken.
    #[track_caller]
    pub fn says(self, fragment: &str) -> Self {
        assert!(flat(&self.stderr).contains(&flat(fragment)), "nobody says `{fragment}`: {}", self.all());
        self
    }

    /// Asserts that a person is told one of these.
    #[track_caller]
    pub fn says_any(self, fragments: &[&str]) -> Self {
        let text = flat(&self.stderr);
        assert!(fragments.iter().any(|f| text.contains(&flat(f))), "nobody says one of {fragments:?}: {}", self.all());
        self
    }

    /// Asserts that a person is not told this.
    #[track_caller]
    pub fn keeps_quiet_about(self, fragment: &str) -> Self {
        assert!(!flat(&self.stderr).contains(&flat(fragment)), "it says `{fragment}`: {}", self.all());
        self
    }

    /// Asserts that stdout holds this.
    #[track_caller]
    pub fn prints(self, fragment: &str) -> Self {
        assert!(flat(&self.stdout).contains(&flat(fragment)), "it does not print `{fragment}`: {}", self.all());
        self
    }

    /// Events of one kind.
    pub fn events(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// The event with which a node ended.
    #[track_caller]
    pub fn node(&self, id: &str) -> &Value {
        let finished = self.events("node-finished").find(|event| event["receipt"]["node"] == id);
        finished.unwrap_or_else(|| panic!("the node `{id}` did not end: {}", self.all()))
    }

    /// How a node ended.
    #[track_caller]
    pub fn status(&self, id: &str) -> &str {
        self.node(id)["receipt"]["status"].as_str().unwrap_or_else(|| panic!("no status: {}", self.all()))
    }

    /// Asserts how a node ended.
    #[track_caller]
    pub fn node_is(self, id: &str, status: &str) -> Self {
        assert_eq!(self.status(id), status, "the node `{id}`: {}", self.all());
        self
    }

    /// Asserts the kind of failure of a node, and that its message tells this.
    #[track_caller]
    pub fn node_failed(self, id: &str, kind: &str, fragment: &str) -> Self {
        let failure = &self.node(id)["receipt"]["failure"];
        assert_eq!(failure["kind"], kind, "the node `{id}`: {}", self.all());
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(flat(message).contains(&flat(fragment)), "`{message}` without `{fragment}`: {}", self.all());
        self
    }

    /// The run digest.
    #[track_caller]
    pub fn digest(&self) -> String {
        let last = self.events.last().unwrap_or_else(|| panic!("no event: {}", self.all()));
        assert_eq!(last["event"], "run-finished", "{}", self.all());
        last["digest"].as_str().unwrap_or_else(|| panic!("no digest: {}", self.all())).to_owned()
    }

    /// The digest of a node's output.
    #[track_caller]
    pub fn output(&self, node: &str, output: &str) -> &str {
        let outputs = &self.node(node)["receipt"]["outputs"];
        outputs[output]["digest"].as_str().unwrap_or_else(|| panic!("no output `{node}.{output}`: {}", self.all()))
    }
}

/// One line of words: what wrapping and the frames around diagnostics add is taken away.
fn flat(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || "│├╭╰─▶·".contains(c)).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}
