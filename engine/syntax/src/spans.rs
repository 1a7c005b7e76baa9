//! Where the parts of a config stand in the file: kept beyond the parse, because plugins' schemas come later.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
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
    /// By key, sorted.
    Table(Box<[(Box<str>, Spans)]>),
    List(Box<[Spans]>),
}

impl Spans {
    /// A place without anything inside.
    pub(crate) fn leaf(span: Range<usize>) -> Self {
        Self { key: span.clone(), value: span, inside: Inside::Nothing }
    }

    /// The places of a value under a key.
    pub(crate) fn of(key: Range<usize>, value: &Value<'_>) -> Self {
        let inside = match value.get_ref() {
            DeValue::Table(table) => {
                let item = |(key, item): (&Spanned<Cow<'_, str>>, &Value<'_>)| {
                    (Box::from(key.get_ref().as_ref()), Self::of(key.span(), item))
                };
                let mut items: Box<[(Box<str>, Self)]> = table.iter().map(item).collect();
                items.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                Inside::Table(items)
            }
            DeValue::Array(array) => Inside::List(array.iter().map(|item| Self::of(item.span(), item)).collect()),
            _ => Inside::Nothing,
        };
        Self { key, value: value.span(), inside }
    }

    /// The places of what stands under a key, if the file has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let Inside::Table(table) = &self.inside else { return None };
        let at = table.binary_search_by(|(found, _)| (**found).cmp(key)).ok()?;
        Some(&table[at].1)
    }

    /// The place of a path, or of the nearest thing above it that the file has.
    pub(crate) fn find(&self, path: &[String]) -> &Self {
        let Some((first, rest)) = path.split_first() else { return self };
        let next = match &self.inside {
            Inside::Nothing => None,
            Inside::Table(_) => self.get(first),
            Inside::List(list) => first.parse::<usize>().ok().and_then(|index| list.get(index)),
        };
        next.map_or(self, |next| next.find(rest))
    }
}
