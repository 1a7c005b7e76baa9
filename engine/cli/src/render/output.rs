//! Stdout and stderr. A reader that went away is no error; any other failure to write is kept and reported at the end, so that a
//! full disk behind stdout never looks like success.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock};

use lockgate::wiring::notices::Notices;
use lockgate_model::NodeId;
use lockgate_runner::Replayed;
use lockgate_syntax::Problem;

use super::style::{Style, clean_line};
use super::{diagnostics, replay};
use crate::args::Global;
use crate::exit::CliError;
use crate::telemetry::TraceId;

/// Narrower terminals get plain lines: a live view would only be cut pieces.
const MIN_WIDTH: usize = 40;

/// Where everything that is printed goes. Cheap to share: lines of several threads never mix.
#[derive(Debug)]
pub(crate) struct Output {
    /// How to colour stdout.
    pub(crate) out: Style,
    /// How to colour stderr.
    pub(crate) err: Style,
    /// Columns of the terminal behind stderr, if it is one.
    pub(crate) width: Option<usize>,
    /// Whether stderr is a terminal that can be drawn on.
    pub(crate) live: bool,
    /// Say less.
    pub(crate) quiet: bool,
    /// Say more.
    pub(crate) verbose: bool,
    failure: Mutex<Option<io::Error>>,
    trace: OnceLock<TraceId>,
}

impl Output {
    /// Output as the options and the terminal say.
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let width = terminal_size::terminal_size_of(io::stderr()).map(|(width, _)| usize::from(width.0));
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            out: Style::new(global.color, io::stdout().is_terminal()),
            err: Style::new(global.color, terminal),
            width,
            // A terminal without a known width cannot be drawn on.
            live: terminal && !global.quiet && !dumb && width.is_some_and(|width| width >= MIN_WIDTH),
            quiet: global.quiet,
            verbose: global.verbose,
            failure: Mutex::new(None),
            trace: OnceLock::new(),
        }
    }

    /// Says, once, which trace the messages belong to.
    pub(crate) fn trace(&self, trace: TraceId) {
        if self.trace.set(trace).is_ok() && !self.quiet {
            self.note(&self.err.dim(&format!("trace {trace}\n")));
        }
    }

    /// Writes an error to stderr, with the trace that it belongs to, if there is one.
    pub(crate) fn error(&self, error: &CliError) {
        let trace = self.trace.get().map(|trace| format!("  {} {trace}\n", self.err.dim("trace:")));
        self.note(&(error.render(self.err) + &trace.unwrap_or_default()));
    }

    /// Writes a warning to stderr: one line, with the trace that it belongs to, if there is one.
    pub(crate) fn warning(&self, text: &str) {
        let trace = self.trace.get().map(|trace| self.err.dim(&format!(" (trace {trace})")));
        self.note(&format!("{} {}{}\n", self.err.warn("warning:"), clean_line(text), trace.unwrap_or_default()));
    }

    /// Writes text to stdout: data.
    pub(crate) fn data(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes to stdout: data.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            failure.get_or_insert(error);
        }
    }

    /// Writes text to stderr: everything that is not data. There is nowhere to report a failure to.
    pub(crate) fn note(&self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// The first failure to write data, once.
    pub(crate) fn take_failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Notices for Output {
    fn warning(&self, text: &str) {
        self.warning(text);
    }

    fn info(&self, text: &str) {
        if !self.quiet {
            self.note(&(self.err.dim(text) + "\n"));
        }
    }

    fn waiting(&self, text: &str) {
        self.note(&format!("{text}\n"));
    }

    fn problems(&self, problems: &[Problem]) {
        self.note(&diagnostics::human(problems, self.err, self.width));
    }

    fn replayed(&self, node: &NodeId, replayed: &Replayed) {
        self.note(&replay::node(node, replayed, self));
    }
}
