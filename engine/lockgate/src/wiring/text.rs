//! Texts of others, as they are shown.

use std::error::Error;
use std::fmt::Write as _;

/// Text of a guest, a file or a server for one line: control characters (escape sequences, line breaks, direction marks) are
/// shown as what they are, never sent to a terminal.
pub fn clean_line(text: &str) -> String {
    clean(text, false)
}

/// The same for several lines: line breaks and tabs stay.
pub fn clean_text(text: &str) -> String {
    clean(text, true)
}

fn clean(text: &str, lines: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' if lines => clean.push(c),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => clean.extend(c.escape_unicode()),
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

/// An error and its sources on one line, for places that hold one line.
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    clean_line(&text)
}

/// A number of things: `1 problem`, `2 problems`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_sequence_gets_through() {
        assert_eq!(clean_line("a\x1b[31mb\nc\u{202e}"), "a\\u{1b}[31mb\\nc\\u{202e}");
        assert_eq!(clean_text("a\n\tb\r\0"), "a\n\tb\\r\\u{0}");
        assert_eq!(clean_line("grün µs"), "grün µs");
    }
}
