//! Problems: what a user is told about a file. Each has a stable code, and mostly a place and a hint.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// Most problems reported of one file: nobody reads more, and each costs a rendering.
pub const MAX_PROBLEMS: usize = 100;
/// Longest part of a line that is shown; of a longer one (a minified file, a hostile one) what stands around the place.
const MAX_SHOWN: usize = 400;
/// Longest message or hint in bytes; both may quote what a file or a plugin holds.
const MAX_MESSAGE: usize = 2_000;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// What kind of problem it is. The names are stable: scripts and docs may rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// All codes, with what each means: the table for docs.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, concat!($($doc),+)),)+];

            /// The code as it is shown, `lockgate::...`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("lockgate::", $name),)+
                }
            }
        }
    };
}

codes! {
    /// The text is not TOML.
    Toml = "toml",
    /// The file is not UTF-8.
    Encoding = "encoding",
    /// The file, or what it unfolds to, passes a limit.
    TooLarge = "too-large",
    /// Tables or arrays are nested too deeply.
    TooDeep = "too-deep",
    /// There are more problems than are shown.
    TooManyProblems = "too-many-problems",
    /// The version of the format is not one that this engine reads.
    Schema = "schema",
    /// A key that the table does not have.
    UnknownKey = "unknown-key",
    /// A key that belongs to another kind of node.
    MisplacedKey = "misplaced-key",
    /// A key that must be there.
    MissingKey = "missing-key",
    /// A value of another type.
    WrongType = "wrong-type",
    /// A word that is not one of the possible ones.
    UnknownWord = "unknown-word",
    /// A number, size, time or length outside of its range.
    OutOfRange = "out-of-range",
    /// A number with a unit that cannot be read.
    Quantity = "quantity",
    /// A moment that cannot be read, or that is another one in each time zone.
    Moment = "moment",
    /// A text that cannot be a name.
    BadName = "bad-name",
    /// Keys that contradict each other.
    Conflict = "conflict",
    /// There is no node.
    EmptyPipeline = "empty-pipeline",
    /// Two nodes, or two combinations of a matrix, with one id.
    DuplicateNode = "duplicate-node",
    /// A node that does not exist.
    UnknownNode = "unknown-node",
    /// A reference that cannot be read, or that several combinations of a matrix answer to.
    Reference = "reference",
    /// Nodes that wait for each other.
    Cycle = "cycle",
    /// A node without `finally` needs one with it.
    NeedsFinally = "needs-finally",
    /// A parameter that the file does not declare.
    UnknownParam = "unknown-param",
    /// A parameter has no value.
    MissingParam = "missing-param",
    /// A parameter's value is not what its declaration asks for.
    ParamValue = "param-value",
    /// A parameter's declaration contradicts itself.
    ParamDeclaration = "param-declaration",
    /// `${...}` that cannot be put in.
    Substitution = "substitution",
    /// Git facts are used and there are none.
    Git = "git",
    /// A matrix that cannot be unfolded.
    Matrix = "matrix",
    /// An expression that cannot be read.
    Expression = "expression",
    /// An expression that compares or decides what has no such value.
    ExpressionType = "expression-type",
    /// A glob that cannot be read.
    Glob = "glob",
    /// A path that is not permitted where it stands.
    Path = "path",
    /// Two exports to one place.
    DuplicateExport = "duplicate-export",
    /// A grant that cannot be read.
    Grant = "grant",
    /// A secret that the file does not declare.
    UnknownSecret = "unknown-secret",
    /// A plugin that the file does not declare.
    UnknownPlugin = "unknown-plugin",
    /// A plugin that cannot be found, loaded or accepted.
    Plugin = "plugin",
    /// An input of the host that is missing or cannot be read.
    Source = "source",
    /// A plugin of another world than its node needs.
    World = "world",
    /// A config that the plugin does not take.
    Config = "config",
    /// A plugin's config schema that the engine cannot use.
    ConfigSchema = "config-schema",
    /// An input or output that the plugin does not have.
    UnknownPort = "unknown-port",
    /// An input that the plugin needs.
    MissingInput = "missing-input",
    /// A blob where a tree is needed, or a tree where a blob is.
    PortKind = "port-kind",
    /// The plugin asks for an effect that the node does not grant.
    MissingGrant = "missing-grant",
    /// A grant that the plugin does not ask for.
    UselessGrant = "useless-grant",
    /// The plugin asks for an effect that this version of the engine cannot grant.
    UnsupportedEffect = "unsupported-effect",
    /// What a policy does not allow.
    Refused = "refused",
    /// A pattern of a policy that cannot be read.
    Pattern = "pattern",
    /// A signer whose key the policy does not have.
    UnknownSigner = "unknown-signer",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A file's name and text, with an index of its lines.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Arc<Self> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        Arc::new(Self { name: name.to_owned(), text: text.to_owned(), lines })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Number of the line, from 0, that holds an offset.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The bytes of a line, without its end.
    fn line(&self, index: usize) -> Range<usize> {
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        start..end
    }

    fn floor(&self, mut offset: usize) -> usize {
        offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// A span within the text, on one line, at character boundaries.
    pub(crate) fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.floor(span.start);
        let line = self.line(self.line_of(start));
        let end = self.floor(span.end).clamp(start, line.end.max(start)).min(self.floor(start + MAX_SHOWN / 4));
        start..end
    }

    fn place(&self, offset: usize) -> Place {
        let offset = self.floor(offset);
        let index = self.line_of(offset);
        let line = self.line(index);
        let column = self.text[line.start..offset.max(line.start)].chars().count() + 1;
        let shown = if line.len() > MAX_SHOWN { self.window(offset..offset) } else { line };
        Place { line: index + 1, column, text: self.text[shown].trim_end_matches('\r').to_owned() }
    }

    /// What is shown of a long line.
    fn window(&self, span: Range<usize>) -> Range<usize> {
        let first = self.line(self.line_of(span.start));
        let last = self.line(self.line_of(span.end));
        let start = self.floor(span.start.saturating_sub(MAX_SHOWN / 4)).max(first.start);
        let end = self.floor(span.end + MAX_SHOWN / 4).min(last.end).max(start);
        start..end
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span.offset().checked_add(span.len()).filter(|end| *end <= self.text.len());
        let Some(end) = end else { return Err(MietteError::OutOfBounds) };
        let (first, last) = (self.line_of(span.offset()), self.line_of(end));
        let mut shown =
            self.line(first.saturating_sub(before)).start..self.line((last + after).min(self.lines.len() - 1)).end;
        if shown.len() > 2 * MAX_SHOWN {
            shown = self.window(span.offset()..end);
        }
        let line = self.line_of(shown.start);
        // With lines before it, what is shown begins a line; otherwise the column is that of the span, which the header names.
        let from = if before == 0 && after == 0 { span.offset() } else { shown.start };
        let column = self.text[self.line(line).start.min(from)..from].chars().count();
        let (line, column) = if before == 0 && after == 0 {
            let place = self.place(span.offset());
            (place.line - 1, place.column - 1)
        } else {
            (line, column)
        };
        let data = &self.text.as_bytes()[shown.clone()];
        let inner = SourceSpan::from((shown.start, shown.len()));
        Ok(Box::new(MietteSpanContents::new_named(self.name.clone(), data, inner, line, column, last - first + 1)))
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// The line, or of a very long one what stands around the place.
    pub text: String,
}

/// One problem of a file.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: Code,
    /// What is wrong, for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    labels: Vec<(Range<usize>, String)>,
    source: Option<Arc<Source>>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(code: Code, message: impl Into<String>, hint: Option<String>) -> Self {
        let hint = hint.map(|hint| cut(hint, MAX_MESSAGE));
        Self { code, message: cut(message.into(), MAX_MESSAGE), hint, labels: Vec::new(), source: None }
    }

    /// The same at a place of a file.
    pub(crate) fn at(mut self, source: &Arc<Source>, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.labels.push((source.clamp(span), label.into()));
        self.source = Some(source.clone());
        self
    }

    /// Where it stands; none where it is not about one place of the file.
    pub fn place(&self) -> Option<Place> {
        let (span, _) = self.labels.first()?;
        Some(self.source.as_ref()?.place(span.start))
    }

    /// Byte offset of the first label, to sort by.
    pub(crate) fn offset(&self) -> usize {
        self.labels.first().map_or(usize::MAX, |(span, _)| span.start)
    }
}

/// The text, cut to a number of bytes at a character boundary.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(miette::Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        let text = |label: &String| Some(label.clone()).filter(|label| !label.is_empty());
        let label = move |(span, label): &(Range<usize>, String)| LabeledSpan::new(text(label), span.start, span.len());
        Some(Box::new(self.labels.iter().map(label)))
    }
}
