//! Where the parts of a config stand in the file: kept beyond the parse, because plugins' schemas come later.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeValue;

use crate::table::Value;

/// Places of a value, of its key, and of what is inside.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) key: Range<usize>,
    pub(crate) value: Range<usize>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Nothing,
    Table(BTreeMap<String, Spans>),
    List(Vec<Spans>),
}

impl Spans {
    /// A place without anything inside.
    pub(crate) fn leaf(span: Range<usize>) -> Self {
        Self { key: span.clone(), value: span, inside: Inside::Nothing }
    }

    /// The places of a value under a key.
    pub(crate) fn of(key: Range<usize>, value: &Value<'_>) -> Self {
        let inside = match value.get_ref() {
            DeValue::Table(table) => Inside::Table(
                table.iter().map(|(key, item)| (key.get_ref().to_string(), Self::of(key.span(), item))).collect(),
            ),
            DeValue::Array(array) => Inside::List(array.iter().map(|item| Self::of(item.span(), item)).collect()),
            _ => Inside::Nothing,
        };
        Self { key, value: value.span(), inside }
    }

    /// The place of a path, or of the nearest thing above it that the file has.
    pub(crate) fn find(&self, path: &[String]) -> &Self {
        let Some((first, rest)) = path.split_first() else { return self };
        let next = match &self.inside {
            Inside::Nothing => None,
            Inside::Table(table) => table.get(first),
            Inside::List(list) => first.parse::<usize>().ok().and_then(|index| list.get(index)),
        };
        next.map_or(self, |next| next.find(rest))
    }
}
