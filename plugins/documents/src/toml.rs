//! TOML: `toml_parser` finds what is malformed and hands out events, which become a document here.
//!
//! The `toml` crate does the same with tables of its own, which would be a tenth of this plugin. What may be defined twice, and how,
//! is its rule by rule; a test holds both against each other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml_datetime::Datetime;
use toml_parser::decoder::ScalarKind;
use toml_parser::parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{Expected, ParseError, Source, Span};

use crate::document::{Document, Number, Place, Problem, Value};
use crate::read::{Limits, too_deep};

/// The deepest nesting that is read, above that which a config may permit: reading recurses.
const DEEPEST: u32 = 128;

/// Reads a file: its document, or what is wrong.
pub fn read(text: &str, limits: Limits) -> Result<Document, Vec<Problem>> {
    let source = Source::new(text);
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    {
        let tokens = source.lex().into_vec();
        let mut validated = ValidateWhitespace::new(&mut events, source);
        parse_document(&tokens, &mut RecursionGuard::new(&mut validated, DEEPEST), &mut errors);
    }
    let mut reader = Reader { source, events: &events, at: 0, depth: 0, errors };
    let root = reader.document();
    if !reader.errors.is_empty() {
        return Err(reader.errors.iter().map(problem).collect());
    }
    drop(events);
    // The document itself is a table that nobody wrote.
    document(0, Node::Table(Box::new(root)), limits, limits.depth + 1).map_err(|problem| vec![problem])
}

/// An error as the `toml` crate words it.
fn problem(error: &ParseError) -> Problem {
    let mut message = error.description().to_owned();
    if error.expected().is_some_and(<[_]>::is_empty) {
        message.push_str(", expected nothing");
    }
    for (index, expected) in error.expected().unwrap_or_default().iter().enumerate() {
        message.push_str(if index == 0 { ", expected " } else { ", " });
        match expected {
            Expected::Literal("\n") => message.push_str("newline"),
            Expected::Literal(literal) => {
                message.push('`');
                message.push_str(literal);
                message.push('`');
            }
            Expected::Description(description) => message.push_str(description),
            _ => message.push_str("etc"),
        }
    }
    Problem { message, rule: "toml", place: error.unexpected().map(|span| Place::Offset(span.start())) }
}

/// A value whose tables may still grow.
enum Node<'a> {
    Leaf(Value),
    Array {
        items: Vec<(usize, Node<'a>)>,
        tables: bool,
    },
    /// Boxed, so that other values stay small: a file may have very many.
    Table(Box<Table<'a>>),
}

impl Node<'_> {
    /// The type's name in the words of the `toml` crate.
    fn kind(&self) -> &'static str {
        match self {
            Self::Leaf(Value::Boolean(_)) => "boolean",
            Self::Leaf(Value::Number(Number(number))) if number.fract() == 0.0 => "integer",
            Self::Leaf(Value::Number(_)) => "float",
            Self::Leaf(_) => "string",
            Self::Array { .. } => "array",
            Self::Table(_) => "table",
        }
    }
}

#[derive(Default)]
struct Table<'a> {
    /// Key, its place, the value's place, the value.
    entries: Vec<(Cow<'a, str>, usize, usize, Node<'a>)>,
    /// Where each key is among them.
    index: BTreeMap<Cow<'a, str>, usize>,
    /// It is there because of what is inside of it.
    implicit: bool,
    /// It is there because of a dotted key in front of a value.
    dotted: bool,
    /// It is written between braces, and ends with them.
    inline: bool,
}

/// A key and its place.
type Key<'a> = (Cow<'a, str>, usize);

impl<'a> Table<'a> {
    /// The place of the entry with a key; where there is none, it is added.
    fn entry(&mut self, key: &Key<'a>, value: impl FnOnce() -> (usize, Node<'a>)) -> (usize, bool) {
        if let Some(index) = self.index.get(&key.0) {
            return (*index, false);
        }
        let ((offset, node), index) = (value(), self.entries.len());
        self.index.insert(key.0.clone(), index);
        self.entries.push((key.0.clone(), key.1, offset, node));
        (index, true)
    }

    /// Adds a value, or says that its key is there already.
    fn add(&mut self, key: &Key<'a>, offset: usize, node: Node<'a>) -> Result<(), ParseError> {
        match self.entry(key, || (offset, node)) {
            (_, true) => Ok(()),
            (_, false) => Err(duplicate(key)),
        }
    }

    /// The table at a path, which grows where that is permitted. `dotted`: for a key and not for a header.
    fn descend(&mut self, path: &[Key<'a>], dotted: bool) -> Result<&mut Self, ParseError> {
        let inside = self.inline;
        let mut table = self;
        for key in path {
            let new = Table { implicit: true, dotted, inline: inside, ..Self::default() };
            let (index, _) = table.entry(key, || (key.1, Node::Table(Box::new(new))));
            let node = &mut table.entries[index].3;
            let kind = node.kind();
            let extends = |kind: &str| {
                let message = format!("cannot extend value of type {kind} with a dotted key");
                Err(ParseError::new(message).with_unexpected(at(key.1)))
            };
            table = match node {
                Node::Table(inner) => {
                    if inner.inline && !inside {
                        return extends("inline table");
                    }
                    if dotted && !inner.implicit {
                        return Err(duplicate(key));
                    }
                    inner.dotted |= dotted;
                    inner
                }
                Node::Array { items, tables: true } => match items.last_mut() {
                    Some((_, Node::Table(last))) => last,
                    _ => return extends(kind),
                },
                _ => return extends(kind),
            };
        }
        Ok(table)
    }
}

fn duplicate(key: &Key<'_>) -> ParseError {
    ParseError::new("duplicate key").with_unexpected(at(key.1))
}

fn at(offset: usize) -> Span {
    Span::new_unchecked(offset, offset)
}

/// Makes tables of events. What is malformed is among the errors already: here it only must not end in a loop.
struct Reader<'a, 'e> {
    source: Source<'a>,
    events: &'e [Event],
    at: usize,
    /// Keys around the value that is read, those of headers apart.
    depth: usize,
    errors: Vec<ParseError>,
}

impl<'a> Reader<'a, '_> {
    /// The next event that is more than white space.
    fn next(&mut self) -> Option<Event> {
        loop {
            let event = *self.events.get(self.at)?;
            self.at += 1;
            if !matches!(
                event.kind(),
                EventKind::Whitespace | EventKind::Comment | EventKind::Newline | EventKind::Error
            ) {
                return Some(event);
            }
        }
    }

    /// Takes the next event if it is of this kind.
    fn take(&mut self, kind: EventKind) -> Option<Event> {
        let before = self.at;
        let event = self.next().filter(|event| event.kind() == kind);
        if event.is_none() {
            self.at = before;
        }
        event
    }

    fn report(&mut self, result: Result<(), ParseError>) {
        self.errors.extend(result.err());
    }

    fn document(&mut self) -> Table<'a> {
        let mut root = Table::default();
        // The header that is in force: its keys, and whether it could be made.
        let (mut header, mut known) = (Vec::new(), true);
        while let Some(event) = self.next() {
            match event.kind() {
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    header.clear();
                    while let Some(key) = self.take(EventKind::SimpleKey) {
                        header.push(self.key(&key));
                        self.take(EventKind::KeySep);
                    }
                    let result =
                        open(&mut root, &header, event.kind() == EventKind::ArrayTableOpen, event.span().start());
                    known = result.is_ok();
                    self.report(result);
                }
                EventKind::SimpleKey => {
                    // What stands below a header that is wrong would only be wrong once more.
                    let mut lost = Table::default();
                    let table = if known { current(&mut root, &header) } else { None };
                    let result = self.pair(&event, table.unwrap_or(&mut lost));
                    self.report(result);
                }
                _ => {}
            }
        }
        root
    }

    fn key(&mut self, event: &Event) -> Key<'a> {
        let mut key = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut key, &mut self.errors);
        }
        (key, event.span().start())
    }

    /// Reads a key, perhaps a dotted one, and its value.
    fn pair(&mut self, first: &Event, table: &mut Table<'a>) -> Result<(), ParseError> {
        let (mut path, mut last) = (Vec::new(), self.key(first));
        while self.take(EventKind::KeySep).is_some() {
            let Some(key) = self.take(EventKind::SimpleKey) else { break };
            let key = self.key(&key);
            path.push(std::mem::replace(&mut last, key));
        }
        if self.take(EventKind::KeyValSep).is_none() {
            // What comes has no structure any more: more errors would say nothing more.
            self.at = self.events.len();
            return Ok(());
        }
        // Where the value is wrong, what stands behind it is none.
        let wrong = |event: &&Event| event.kind() != EventKind::Whitespace;
        if self.events[self.at..].iter().find(wrong).is_none_or(|event| event.kind() == EventKind::Error) {
            return Ok(());
        }
        let Some(event) = self.next() else { return Ok(()) };
        // Brackets are counted by the guard already; each pair of braces may hold a key of many dots.
        let around = self.depth;
        self.depth += path.len() + 1;
        if self.depth > DEEPEST as usize {
            self.at = self.events.len();
            return Err(ParseError::new("recursion limit").with_unexpected(first.span()));
        }
        let value = self.value(&event);
        self.depth = around;
        let table = table.descend(&path, true)?;
        if !path.is_empty() && !table.implicit {
            return Err(duplicate(&last));
        }
        table.add(&last, event.span().start(), value)
    }

    fn value(&mut self, event: &Event) -> Node<'a> {
        match event.kind() {
            EventKind::Scalar => Node::Leaf(self.scalar(event)),
            EventKind::InlineTableOpen => {
                let mut table = Table { inline: true, ..Table::default() };
                while let Some(event) = self.next() {
                    match event.kind() {
                        EventKind::InlineTableClose => break,
                        EventKind::SimpleKey => {
                            let result = self.pair(&event, &mut table);
                            self.report(result);
                        }
                        _ => {}
                    }
                }
                Node::Table(Box::new(table))
            }
            EventKind::ArrayOpen => {
                let mut items = Vec::new();
                while let Some(event) = self.next() {
                    match event.kind() {
                        EventKind::ValueSep => {}
                        EventKind::InlineTableOpen | EventKind::ArrayOpen | EventKind::Scalar => {
                            items.push((event.span().start(), self.value(&event)));
                        }
                        _ => break,
                    }
                }
                Node::Array { items, tables: false }
            }
            _ => Node::Leaf(Value::Null),
        }
    }

    fn scalar(&mut self, event: &Event) -> Value {
        let mut text = Cow::Borrowed("");
        let Some(raw) = self.source.get(event) else { return Value::Null };
        match raw.decode_scalar(&mut text, &mut self.errors) {
            ScalarKind::String => Value::String(text.into_owned()),
            ScalarKind::Boolean(boolean) => Value::Boolean(boolean),
            ScalarKind::Float => Value::Number(Number(text.parse().unwrap_or_default())),
            ScalarKind::Integer(radix) => {
                Value::Number(Number(i64::from_str_radix(&text, radix.value()).unwrap_or_default() as f64))
            }
            ScalarKind::DateTime => match text.parse::<Datetime>() {
                Ok(time) => Value::String(time.to_string()),
                Err(error) => {
                    self.errors.push(ParseError::new(error.to_string()).with_unexpected(event.span()));
                    Value::Null
                }
            },
        }
    }
}

/// Defines the table of a header.
fn open<'a>(root: &mut Table<'a>, header: &[Key<'a>], array: bool, offset: usize) -> Result<(), ParseError> {
    let Some((key, path)) = header.split_last() else { return Ok(()) };
    if path.len() >= DEEPEST as usize {
        return Err(ParseError::new("recursion limit").with_unexpected(at(offset)));
    }
    let parent = root.descend(path, false)?;
    let (index, added) = parent.entry(key, || match array {
        true => (offset, Node::Array { items: Vec::new(), tables: true }),
        false => (offset, Node::Table(Box::default())),
    });
    let entry = &mut parent.entries[index];
    match &mut entry.3 {
        Node::Array { items, tables: true } if array => {
            items.push((offset, Node::Table(Box::default())));
            Ok(())
        }
        Node::Table(_) if added => Ok(()),
        // It was there because of what is inside of it, and has its own header now.
        Node::Table(table) if !array && table.implicit && !table.dotted => {
            table.implicit = false;
            (entry.1, entry.2) = (key.1, offset);
            Ok(())
        }
        _ => Err(duplicate(key)),
    }
}

/// The table of a header that was opened.
fn current<'t, 'a>(root: &'t mut Table<'a>, header: &[Key<'a>]) -> Option<&'t mut Table<'a>> {
    let mut table = root;
    for key in header {
        let index = *table.index.get(&key.0)?;
        table = match &mut table.entries[index].3 {
            Node::Table(table) => table,
            Node::Array { items, tables: true } => match items.last_mut() {
                Some((_, Node::Table(table))) => table,
                _ => return None,
            },
            _ => return None,
        };
    }
    Some(table)
}

/// Makes a document of a value; `left` is how many levels of nesting are left.
fn document(offset: usize, node: Node<'_>, limits: Limits, left: usize) -> Result<Document, Problem> {
    let place = Place::Offset(offset);
    let Some(less) = left.checked_sub(1) else {
        return match node {
            Node::Leaf(value) => Ok(Document { place, value }),
            _ => Err(too_deep(limits, place)),
        };
    };
    let value = match node {
        Node::Leaf(value) => value,
        Node::Array { items, .. } => {
            let items = items.into_iter().map(|(offset, item)| document(offset, item, limits, less));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Node::Table(table) => {
            let table = *table;
            drop(table.index);
            let mut entries = Vec::with_capacity(table.entries.len());
            for (key, place, offset, item) in table.entries {
                entries.push((key.into_owned(), Place::Offset(place), document(offset, item, limits, less)?));
            }
            Value::Object(entries)
        }
    };
    Ok(Document { place, value })
}

#[cfg(test)]
mod tests {
    use ::toml::de::{DeTable, DeValue};

    use super::*;

    const LIMITS: Limits = Limits { depth: 100 };

    /// What the `toml` crate makes of a value, in a form to compare: entries by key, numbers as they are.
    fn theirs(value: &DeValue<'_>) -> String {
        match value {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or_default();
                Number(number as f64).to_string()
            }
            DeValue::Float(float) => Number(float.as_str().parse().unwrap()).to_string(),
            DeValue::Boolean(boolean) => boolean.to_string(),
            DeValue::Datetime(time) => format!("{:?}", time.to_string()),
            DeValue::Array(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| format!("{}@{}", theirs(item.get_ref()), item.span().start)).collect();
                format!("[{}]", items.join(","))
            }
            DeValue::Table(table) => {
                let entry = |(key, item): (&::toml::Spanned<Cow<'_, str>>, &::toml::Spanned<DeValue<'_>>)| {
                    let (place, offset) = (key.span().start, item.span().start);
                    format!("{}@{place}={}@{offset}", key.get_ref(), theirs(item.get_ref()))
                };
                let mut entries: Vec<_> = table.iter().map(entry).collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    fn ours(document: &Document) -> String {
        let at = |place: &Place| match place {
            Place::Offset(offset) => *offset,
            Place::Line(..) => unreachable!(),
        };
        match &document.value {
            Value::Null => "null".to_owned(),
            Value::Boolean(boolean) => boolean.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => format!("{text:?}"),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| format!("{}@{}", ours(item), at(&item.place))).collect();
                format!("[{}]", items.join(","))
            }
            Value::Object(entries) => {
                let entry = |(key, place, item): &(String, Place, Document)| {
                    format!("{key}@{}={}@{}", at(place), ours(item), at(&item.place))
                };
                let mut entries: Vec<_> = entries.iter().map(entry).collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    /// Both must give the same document, or the same first error.
    fn same(text: &str) -> bool {
        let (table, errors) = DeTable::parse_recoverable(text);
        match read(text, LIMITS) {
            Ok(document) => {
                assert!(errors.is_empty(), "{text}\nis refused by toml: {:?}", errors[0].message());
                assert_eq!(ours(&document), theirs(&DeValue::Table(table.into_inner())), "{text}");
                true
            }
            Err(problems) => {
                assert!(!errors.is_empty(), "{text}\nis refused here: {problems:?}");
                let theirs: Vec<_> = errors
                    .iter()
                    .map(|error| (error.message(), error.span().map(|span| Place::Offset(span.start))))
                    .collect();
                let is = |problem: &Problem| theirs.contains(&(problem.message.as_str(), problem.place));
                assert!(is(&problems[0]), "{text}\nours: {problems:?}\ntheirs: {theirs:?}");
                false
            }
        }
    }

    #[test]
    fn tables_are_what_the_toml_crate_makes_of_them() {
        let lines = [
            "[a]",
            "[a.b]",
            "[a.b.c]",
            "[[a]]",
            "[[a.b]]",
            "[b]",
            "a = 1",
            "a.b = 2",
            "a.b.c = 3",
            "b = 4",
            "b.c = 5",
            "c = 6",
            "a = {b = 1}",
            "a = {b.c = 1, b.d = 2}",
            "a = {b.c = 1, b = 2}",
            "a = {b = {c = 1}, b.d = 2}",
            "a = [{b = 1}, 2]",
            "b = []",
            "\"a\" . 'b' = 7",
        ];
        let (mut read, mut refused) = (0, 0);
        for first in lines {
            for second in lines {
                for third in lines {
                    for fourth in ["", "x = 1", "[a.b.d]", "[a]", "a.b.e = 1", "[[a.b]]"] {
                        match same(&format!("{first}\n{second}\n{third}\n{fourth}")) {
                            true => read += 1,
                            false => refused += 1,
                        }
                    }
                }
            }
        }
        assert!(read > 2_000 && refused > 2_000, "{read} {refused}");
    }

    #[test]
    fn hostile_nesting_ends_early() {
        let keys = vec!["k"; 100].join(".");
        let braces = format!("{}1{}", format!("{{{keys} = ").repeat(50), "}".repeat(50));
        for text in [
            format!("a = {braces}"),
            format!("a = {}", "[".repeat(10_000)),
            format!("{} = 1", vec!["k"; 10_000].join(".")),
            format!("[{}]", vec!["k"; 10_000].join(".")),
        ] {
            let problems = read(&text, LIMITS).unwrap_err();
            assert!(problems.iter().any(|problem| problem.message.contains("recurs")), "{problems:?}");
        }
    }

    #[test]
    fn values_and_errors_are_what_the_toml_crate_makes_of_them() {
        let text = "t = \"a\\u00e4\\n\" # x\nl = 'raw'\nm = \"\"\"\na\\\n  b\"\"\"\nn = '''x'''\ni = [0xff, 0o7, 0b1, 1_000, -5]\n\
                    f = [1.5, -2e3, inf, -nan, 6.02_2e23]\nd = [1979-05-27T07:32:00Z, 1979-05-27 07:32:00.5, 1979-05-27, 07:32:00]\n\
                    y = {a = true, b.c = [ {}, [[]], ], }\n[x.y]\n[[z]]\n[[z.w]]\n";
        assert!(same(text));
        assert!(!same("d = 1979-02-30"));
        let mut refused = 0;
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            refused += usize::from(!same(&text[..at]));
            for byte in "=[]{}.,\"'#\n -1ax_:\\".chars() {
                refused += usize::from(!same(&format!("{}{byte}{}", &text[..at], &text[at..])));
                refused += usize::from(!same(&format!("{}{byte}{}", &text[..at], &text[at + 1..])));
            }
        }
        assert!(refused > 1_000);
    }
}
