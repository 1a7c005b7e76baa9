//! Work on a large file on all cores. Its TOML is read in pieces: the reader keeps every token and event of what it is given, which of a
//! whole file is more than its tables are. A file is cut before headers of nodes, where nothing is open, so that what stands in a
//! piece says the same alone. What comes out equals what the reader makes of the whole text, places included. Where that is not sure,
//! or a piece is not TOML, there is nothing: then the whole text is read, by which every error is found.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::shape::NODE_KINDS;
use crate::table::Value;

/// Smaller texts are read at once: a thread takes longer to start.
const MIN_TEXT: usize = 64 << 10;
/// About as much is a piece.
const PIECE: usize = 128 << 10;
/// Most threads: beyond, what one of them does alone takes longer.
const MAX_THREADS: usize = 8;

/// The tables of a text, if it is large and can be read in pieces.
pub(crate) fn read(text: &str) -> Option<DeTable<'_>> {
    if text.len() < MIN_TEXT {
        return None;
    }
    let pieces = cut(text, PIECE)?;
    if pieces.len() < 3 {
        return None;
    }
    // One that is wrong is enough for the whole to be read.
    let wrong = AtomicBool::new(false);
    let read = |range: Range<usize>| {
        let table = if wrong.load(Ordering::Relaxed) { None } else { piece(text, &range) };
        wrong.fetch_or(table.is_none(), Ordering::Relaxed);
        table
    };
    let tables = side_by_side(pieces, threads(text), read);
    join(tables.into_iter().map(Option::flatten))
}

/// Threads that a text is worth.
pub(crate) fn threads(text: &str) -> usize {
    match text.len() < MIN_TEXT {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS),
    }
}

/// Does the same with each item, on so many threads; what came of them, in their order.
pub(crate) fn side_by_side<T: Send, U: Send + Sync>(
    items: Vec<T>,
    threads: usize,
    work: impl Fn(T) -> U + Sync,
) -> Vec<Option<U>> {
    let done: Vec<_> = items.iter().map(|_| OnceLock::new()).collect();
    let queue = Mutex::new(done.iter().zip(items));
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        while let Some((done, item)) = take() {
            let _ = done.set(work(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without a thread the others do its work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    drop(queue);
    done.into_iter().map(OnceLock::into_inner).collect()
}

/// Cuts a text before headers of nodes: the first piece has what stands before all of them, the others are about `size` bytes each.
/// None where something in it is not closed.
fn cut(text: &str, size: usize) -> Option<Vec<Range<usize>>> {
    let bytes = text.as_bytes();
    let (mut pieces, mut start, mut depth, mut at) = (Vec::new(), 0, 0_usize, 0);
    let mut line = true;
    while let Some(byte) = bytes.get(at) {
        if line && depth == 0 && is_header(&bytes[at..]) && (pieces.is_empty() || at - start >= size) {
            pieces.push(start..at);
            start = at;
        }
        line = *byte == b'\n';
        at = match byte {
            b'"' | b'\'' => string(bytes, at)?,
            b'#' => at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at),
            b'[' | b'{' => {
                depth += 1;
                at + 1
            }
            b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                at + 1
            }
            _ => at + 1,
        };
    }
    pieces.push(start..bytes.len());
    (depth == 0).then_some(pieces)
}

/// Whether a line begins with the header of a node.
fn is_header(line: &[u8]) -> bool {
    let Some(name) = line.strip_prefix(b"[[") else { return false };
    NODE_KINDS.iter().any(|kind| name.strip_prefix(kind.name().as_bytes()).is_some_and(|rest| rest.starts_with(b"]]")))
}

/// Where the string that begins at `at` is over; none where it does not end.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let quote = bytes[at];
    let triple = [quote; 3];
    let long = bytes[at..].starts_with(&triple);
    let mut at = at + if long { 3 } else { 1 };
    loop {
        match *bytes.get(at)? {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !long => return None,
            byte if byte == quote && !long => return Some(at + 1),
            byte if byte == quote && bytes[at..].starts_with(&triple) => {
                // Up to two more quotes belong to the string.
                let more = bytes[at + 3..].iter().take(2).take_while(|byte| **byte == quote).count();
                return Some(at + 3 + more);
            }
            _ => at += 1,
        }
    }
}

/// The tables of one piece, with the places that they have in the text.
fn piece<'s>(text: &'s str, piece: &Range<usize>) -> Option<DeTable<'s>> {
    let table = DeTable::parse(&text[piece.clone()]).ok()?.into_inner();
    Some(if piece.start == 0 { table } else { moved(table, piece.start) })
}

fn moved(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    let at = |span: Range<usize>| span.start + by..span.end + by;
    let entries = table.into_iter().map(|(key, value)| {
        let span = at(key.span());
        (Spanned::new(span, key.into_inner()), moved_value(value, by))
    });
    entries.collect()
}

fn moved_value(value: Value<'_>, by: usize) -> Value<'_> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(moved(table, by)),
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|value| moved_value(value, by)).collect()),
        other => other,
    };
    Spanned::new(span.start + by..span.end + by, value)
}

/// Puts the pieces together. None where one of them says more about a table of another: only the reader knows whether it may.
fn join<'s>(mut pieces: impl Iterator<Item = Option<DeTable<'s>>>) -> Option<DeTable<'s>> {
    let mut root = pieces.next()??;
    // A list before the first header may be one that nothing can be added to.
    if NODE_KINDS.iter().any(|kind| root.contains_key(kind.name())) {
        return None;
    }
    for piece in pieces {
        for (key, value) in piece? {
            let is_node = NODE_KINDS.iter().any(|kind| kind.name() == key.get_ref().as_ref());
            match root.get_mut(key.get_ref().as_ref()) {
                None if is_node && !value.get_ref().is_array() => return None,
                None => drop(root.insert(key, value)),
                Some(known) => match (known.get_mut(), value.into_inner()) {
                    (DeValue::Array(list), DeValue::Array(more)) if is_node => {
                        more.into_iter().for_each(|value| list.push(value));
                    }
                    _ => return None,
                },
            }
        }
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the pieces of a text give, cut as small as they may be.
    fn in_pieces(text: &str) -> Option<DeTable<'_>> {
        join(cut(text, 1)?.iter().map(|range| piece(text, range)))
    }

    #[test]
    fn a_text_is_cut_only_where_nothing_is_open() {
        let text = r##"name = "x"
[[stage]]
id = 'a' # [[stage]]
config.text = """
[[stage]]
"""
after = [
[[stage]]
]

[stage.config]
b = "[[\""
[[canary]]
id = "c"
[[export]]
x = 1
[[stages]]
"##;
        let pieces: Vec<_> = cut(text, 1).unwrap().into_iter().map(|range| &text[range]).collect();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[0], "name = \"x\"\n");
        assert!(
            pieces[1].starts_with("[[stage]]\nid = 'a'") && pieces[1].ends_with("b = \"[[\\\"\"\n"),
            "{}",
            pieces[1]
        );
        assert!(pieces[2].starts_with("[[canary]]"));
        for open in ["a = \"", "a = \"\n\"", "a = [", "a = ]", "a = '''x''", r#"a = """\""""#] {
            assert_eq!(cut(open, 1), None, "{open}");
        }
    }

    #[test]
    fn what_only_the_whole_text_can_say_is_left_to_it() {
        let right = "a = 1\n[[stage]]\nid = 'a'\n[[canary]]\nid = 'b'\n";
        for (more, fine) in [
            ("[stage.config]\nx = 1\n", false),
            ("[a]\n", false),
            ("[b]\nc = 1\n[[stage]]\nid = 'c'\n[b.d]\n", false),
            ("[b]\nc = 1\n[[stage]]\nid = 'c'\n[canary.config]\n", false),
            ("[b]\nc = 1\n[[stage]]\nid = 'c'\n[stage.config]\nx = 1\n", true),
            ("[[export]]\nx = 1\n[[export]]\nx = 2\n", true),
            ("id = 'twice'\n", false),
        ] {
            assert_eq!(in_pieces(&format!("{right}{more}")).is_some(), fine, "{more}");
        }
        assert!(in_pieces("stage = []\n[[stage]]\n").is_none());
    }

    #[test]
    fn large_files_are_read_on_several_threads() {
        let node = |number: usize| {
            format!("[[stage]]\nid = 'n{number}'\nafter = ['n1', 'n2']\n[stage.config]\nn = {number}\n")
        };
        let text: String = (0..20_000).map(node).collect();
        assert!(cut(&text, PIECE).unwrap().len() > 8);
        let whole = DeTable::parse(&text).unwrap().into_inner();
        assert_eq!(format!("{:?}", read(&text).unwrap()), format!("{whole:?}"));
        assert!(read(&text[..MIN_TEXT - 1]).is_none());
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("[[stage]]".to_owned()),
            Just("[[canary]] # again".to_owned()),
            Just("[stage.config]".to_owned()),
            Just("[[export]]".to_owned()),
            Just("[limits]".to_owned()),
            Just("text = \"\"\"".to_owned()),
            Just("\"\"\"".to_owned()),
            Just("[[1],".to_owned()),
            Just("]".to_owned()),
            r#"[a-d] = ('[^']{0,4}'|"[a-z\[\]#]{0,4}"|\[|[0-9]|\{ a\.b = 1 \}|'''x)"#,
            r#"[a-z"'#\[\]{}=. ]{0,6}"#,
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn pieces_give_what_the_whole_text_gives(lines in proptest::collection::vec(line(), 0..12)) {
            let text = lines.join("\n");
            let whole = DeTable::parse(&text).ok().map(Spanned::into_inner);
            if let Some(found) = in_pieces(&text) {
                prop_assert_eq!(Some(format!("{found:?}")), whole.map(|whole| format!("{whole:?}")));
            }
        }
    }
}
