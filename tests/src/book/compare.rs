//! What a command printed beside what the book says that it prints: what differs from one machine and one run to the next is left out.

use std::sync::LazyLock;

use regex_lite::Regex;

/// What may differ, and what it is compared as.
static VARYING: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        // Runs, whole and as a beginning.
        (r"\br[0-9][0-9a-z]{17}\b", "<run>"),
        // Digests, and the beginnings of them that are shown.
        (r"\b[0-9a-f]{12,64}\b", "<digest>"),
        (r"\bage1[0-9a-z]{40,}", "<identity>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "<time>"),
        // What is measured has a fraction or small units; what a file says has neither.
        (r"\b\d+(\.\d+)? ?(µs|ms)\b", "<span>"),
        // But for limits, which a file says.
        (r"\b(timeout|compile_time|compile_cpu) (\d+) (s|min)\b", "${1} ${2}_${3}"),
        (r"\b\d+(\.\d+)? ?(s|min)\b", "<span>"),
        (r"\bit took \d+", "it took <fuel>"),
        (r"(< )?\b\d+(\.\d+)? ?%", "<share>"),
        (r"\b\d+\.\d+ ?(B|kB|KiB|MiB|GiB)\b", "<size>"),
        (r"\b\d+(\.\d+)?[KMG]?( +<share>)", "<fuel>${2}"),
        (r"\b\d+\.\d+[KMG]\b", "<fuel>"),
        (r#""fuel": ?\d+"#, r#""fuel":<fuel>"#),
        (r"\bdeterminism \S+", "determinism <version>"),
        // Columns are as wide as what stands in them, and so are the lines below a heading.
        (r"[─-]{3,}", "---"),
        (r"[ \t]+", " "),
    ]
    .into_iter()
    .map(|(pattern, with)| (Regex::new(pattern).expect("a pattern of this file"), with))
    .collect()
});

/// The lines of a text without what may differ.
pub fn lines(text: &str) -> Vec<String> {
    text.trim_end().lines().map(line).collect()
}

fn line(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    for (pattern, with) in VARYING.iter() {
        if pattern.is_match(&line) {
            line = pattern.replace_all(&line, *with).into_owned();
        }
    }
    line.trim().to_owned()
}

/// Whether this was printed, where that was said; a line `...` is any number of lines.
pub fn same(said: &str, printed: &str, unordered: bool) -> bool {
    let (mut said, mut printed) = (lines(said), lines(printed));
    if unordered {
        said.sort();
        printed.sort();
    }
    matches(&said, &printed)
}

/// Greedy is right: what stands between two `...` may as well be found where it occurs first.
fn matches(said: &[String], printed: &[String]) -> bool {
    let parts: Vec<&[String]> = said.split(|line| line == "...").collect();
    let Some((first, rest)) = parts.split_first() else { return printed.is_empty() };
    if !printed.starts_with(first) {
        return false;
    }
    let mut printed = &printed[first.len()..];
    let Some((last, between)) = rest.split_last() else { return printed.is_empty() };
    for part in between {
        let Some(at) = (0..=printed.len()).find(|at| printed[*at..].starts_with(part)) else { return false };
        printed = &printed[at + part.len()..];
    }
    printed.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_may_differ_and_what_is_said_may_not() {
        for (one, other) in [
            ("succeeded  lint  93 ms  52.4K   < 0.01 %  1.1 MiB", "succeeded lint 1.2 s 5K 0.15 %  64.0 MiB"),
            (
                "run r01m80c4mvgp3h9364b succeeded sha256:54c60a4ad87c0112",
                "run r01m80c4nc0tq8w28an succeeded sha256:0123456789abcdef",
            ),
            ("started   2026-11-22T00:57:45Z, took 218 ms", "started 2027-01-01T10:07:45Z, took 21.9 s"),
            ("a\nb\nc", "a\n...\n"),
            ("a\nb\nc\nd", "...\nb\n...\nd\n"),
            ("", "..."),
        ] {
            assert!(same(other, one, false), "{:?} {:?}", lines(one), lines(other));
        }
        for (one, other) in [
            ("timeout 30 s", "timeout 31 s"),
            ("memory 64 MiB", "memory 65 MiB"),
            ("3 nodes, 1 source", "2 nodes, 1 source"),
            ("a\nb", "a"),
            ("a", "a\nb"),
            ("a\nb\nc", "a\n...\nb"),
            ("", "a"),
        ] {
            assert!(!same(other, one, false), "{:?} {:?}", lines(one), lines(other));
        }
        assert!(same("b\na", "a\nb", true) && !same("b\na", "a\nb", false));
    }
}
