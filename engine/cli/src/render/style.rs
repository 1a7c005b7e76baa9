//! Colour where it is wanted, and text from guests made harmless.

pub(crate) use lockgate::wiring::text::{clean_line, clean_text};

use lockgate_model::outcome::Status;

use crate::args::ColorChoice;

/// Whether and how to colour. Colours only repeat what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    /// Without any colour.
    pub(crate) const PLAIN: Self = Self { color: false };

    /// The style for a stream.
    pub(crate) fn new(choice: ColorChoice, is_terminal: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { color: decide(choice, is_terminal, set("NO_COLOR"), dumb) }
    }

    /// Whether there is colour.
    pub(crate) const fn has_color(self) -> bool {
        self.color
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For headings and names.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what is seldom needed.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what deserves a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// For what went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// A status's word, padded to the longest one.
    pub(crate) fn status(self, status: Status) -> String {
        let text = format!("{:<9}", status.name());
        match status {
            Status::Succeeded => self.good(&text),
            Status::Failed | Status::Errored => self.bad(&text),
            Status::Skipped => self.dim(&text),
            Status::Cancelled => self.warn(&text),
        }
    }

    /// A finding's severity.
    pub(crate) fn severity(self, severity: &str) -> String {
        let text = clean_line(severity);
        match severity {
            "error" => self.bad(&text),
            "warning" => self.warn(&text),
            _ => self.dim(&text),
        }
    }
}

fn decide(choice: ColorChoice, is_terminal: bool, no_color: bool, dumb: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !no_color && !dumb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_where_wanted() {
        assert!(decide(ColorChoice::Auto, true, false, false));
        assert!(!decide(ColorChoice::Auto, false, false, false));
        assert!(!decide(ColorChoice::Auto, true, true, false));
        assert!(!decide(ColorChoice::Auto, true, false, true));
        assert!(decide(ColorChoice::Always, false, true, true));
        assert!(!decide(ColorChoice::Never, true, false, false));
    }
}
