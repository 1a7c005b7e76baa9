//! Findings: what a plugin found in its inputs. Data, not log: stored, counted, and shown beside the line they speak of.

use std::fmt;

use crate::error::Error;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For information.
    Note,
    /// Worth a look.
    Warning,
    /// Wrong.
    Error,
}

impl Severity {
    /// The severity's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something found in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub message: String,
    /// The rule that found it.
    pub rule: Option<String>,
    /// A path inside an input tree.
    pub path: Option<String>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column, from 1, in characters.
    pub column: Option<u32>,
}

impl Finding {
    /// A finding without a place.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self { severity, message: message.into(), rule: None, path: None, line: None, column: None }
    }

    /// Something wrong.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// Something worth a look.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message)
    }

    /// Something to know.
    pub fn note(message: impl Into<String>) -> Self {
        Self::new(Severity::Note, message)
    }

    /// Names the rule.
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Names the file.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Names the file and the line, from 1. A line beyond 2^32 is cut to that.
    pub fn at(self, path: impl Into<String>, line: usize) -> Self {
        let mut finding = self.path(path);
        finding.line = Some(clamp(line));
        finding
    }

    /// Names the column, from 1, in characters.
    pub fn column(mut self, column: usize) -> Self {
        self.column = Some(clamp(column));
        self
    }

    /// Names line and column of a byte offset in the text of the file, both from 1, the column in characters.
    pub fn offset(mut self, text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.line = Some(clamp(before.bytes().filter(|byte| *byte == b'\n').count() + 1));
        self.column = Some(clamp(before[line_start..].chars().count() + 1));
        self
    }
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `severity: path:line:column: message [rule]`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity.name())?;
        if let Some(path) = &self.path {
            f.write_str(path)?;
            for number in [self.line, self.column].into_iter().map_while(|number| number) {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        self.rule.iter().try_for_each(|rule| write!(f, " [{rule}]"))
    }
}

/// What a stage returns: findings in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// No findings.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// How many there are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The findings.
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// The findings, one after another.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An error that keeps these findings: the stage fails and they are shown.
    pub fn fail(self, message: impl Into<String>) -> Error {
        Error::new(message).with_findings(self)
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        self.0.extend(findings);
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Self(findings.into_iter().collect())
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_lines_and_columns_in_characters() {
        let text = "eins\nzwölf, dreizehn\n";
        let at = |offset| {
            let finding = Finding::error("x").offset(text, offset);
            (finding.line.unwrap(), finding.column.unwrap())
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(4), (1, 5));
        assert_eq!(at(5), (2, 1));
        assert_eq!(at(text.find(',').unwrap()), (2, 6));
        assert_eq!(at(8), (2, 3), "the middle of a character counts as its beginning");
        assert_eq!(at(1000), (3, 1));
    }

    #[test]
    fn findings_read_like_a_compilers() {
        let finding = Finding::error("no such key").at("a/b.toml", 3).column(7).rule("toml");
        assert_eq!(finding.to_string(), "error: a/b.toml:3:7: no such key [toml]");
        assert_eq!(Finding::note("fine").to_string(), "note: fine");
    }

    #[test]
    fn failing_keeps_the_findings() {
        let findings: Findings = [Finding::error("a"), Finding::warning("b")].into_iter().collect();
        assert_eq!((findings.len(), findings.count(Severity::Error)), (2, 1));
        let error = findings.fail("1 error");
        assert_eq!((error.message(), error.findings().len()), ("1 error", 2));
    }
}
