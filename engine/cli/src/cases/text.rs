//! How two contents differ, for people: lines of a text, or the first byte of anything else.

use std::time::Duration;

use similar::{Algorithm, TextDiff};

/// Longest text that is compared line by line, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Most lines of a difference that are shown.
const MAX_LINES: usize = 100;
/// Longest line that is shown, in characters.
const MAX_LINE: usize = 200;
/// After this long a difference is shown as it is known by then: it is right all the same, only not the shortest.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that are shown on each side of the first one that differs.
const AROUND: usize = 8;

/// How `found` differs from `expected`.
pub(super) fn difference(expected: &[u8], found: &[u8]) -> String {
    match (as_text(expected), as_text(found)) {
        (Some(expected), Some(found)) => lines(expected, found),
        _ => first_byte(expected, found),
    }
}

/// The text, if it is one that is worth comparing by lines.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT && !text.contains('\0'))
}

fn lines(expected: &str, found: &str) -> String {
    let diff = TextDiff::configure().algorithm(Algorithm::Patience).timeout(PATIENCE).diff_lines(expected, found);
    let mut unified = diff.unified_diff();
    let text = unified.context_radius(3).missing_newline_hint(true).header("expected", "found").to_string();
    let mut shown = String::new();
    for line in text.lines().take(MAX_LINES) {
        shown.extend(line.chars().take(MAX_LINE));
        shown.push('\n');
    }
    match text.lines().count().saturating_sub(MAX_LINES) {
        0 => {}
        more => shown += &format!("... and {more} more lines\n"),
    }
    shown
}

fn first_byte(expected: &[u8], found: &[u8]) -> String {
    let at = expected.iter().zip(found).position(|(a, b)| a != b).unwrap_or(expected.len().min(found.len()));
    let around = |bytes: &[u8]| match bytes.get(at) {
        None => format!("the end of {} bytes", bytes.len()),
        Some(byte) => {
            let near = &bytes[at.saturating_sub(AROUND)..bytes.len().min(at + AROUND + 1)];
            format!("{byte:02x} in \"{}\" of {} bytes", near.escape_ascii(), bytes.len())
        }
    };
    format!("byte {at}: expected {}, found {}\n", around(expected), around(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_by_lines() {
        let text = difference(b"a\nb\nc\n", b"a\nx\nc\n");
        assert_eq!(text, "--- expected\n+++ found\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        assert!(difference(b"a\n", b"a").contains("No newline"), "{}", difference(b"a\n", b"a"));
    }

    #[test]
    fn bytes_differ_by_the_first() {
        assert_eq!(
            difference(b"\0ab", b"\0ac"),
            "byte 2: expected 62 in \"\\x00ab\" of 3 bytes, found 63 in \"\\x00ac\" of 3 bytes\n"
        );
        assert_eq!(
            difference(b"\0a", b"\0"),
            "byte 1: expected 61 in \"\\x00a\" of 2 bytes, found the end of 1 bytes\n"
        );
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let long: String = (0..5_000).map(|n| format!("{n}\n")).collect();
        let text = difference(b"", long.as_bytes());
        assert!(text.lines().count() == MAX_LINES + 1 && text.contains("more lines"), "{}", text.lines().count());
        let wide = difference(b"", &[b'x'; 100_000]);
        assert!(wide.len() < 1_000);
    }
}
