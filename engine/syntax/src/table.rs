//! Helpers to read the spanned tables of a file that the structural check has already seen: what is missing or of a wrong type
//! was reported there, and is simply absent here.

use std::ops::Range;
use std::str::FromStr;

use lockgate_model::pipeline::ParamValue;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::problem::Source;

/// A value with its place.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// A table with its place: of its header, of its key where it is dotted, or all of it where it is inline.
#[derive(Clone)]
pub(crate) struct Table<'a> {
    pub(crate) map: &'a DeTable<'a>,
    pub(crate) span: Range<usize>,
}

/// A string with its place.
#[derive(Debug, Clone)]
pub(crate) struct Text<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Range<usize>,
}

impl<'a> Table<'a> {
    pub(crate) fn of(value: &'a Value<'a>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(map) => Some(Self { map, span: value.span() }),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.map.get_key_value(key).map(|(_, value)| value)
    }

    /// Where a key stands; the table itself where it is absent.
    pub(crate) fn key_span(&self, key: &str) -> Range<usize> {
        self.map.get_key_value(key).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// Keys, their places and values, in the order of the file.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Range<usize>, &'a Value<'a>)> {
        let mut entries: Vec<_> =
            self.map.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value)).collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    pub(crate) fn text(&self, key: &str) -> Option<Text<'a>> {
        self.get(key).and_then(text)
    }

    pub(crate) fn table(&self, key: &str) -> Option<Self> {
        self.get(key).and_then(Self::of)
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key)?.get_ref().as_bool()
    }

    pub(crate) fn integer(&self, key: &str) -> Option<i64> {
        integer(self.get(key)?.get_ref().as_integer()?)
    }

    pub(crate) fn list(&self, key: &str) -> &'a [Value<'a>] {
        self.get(key).and_then(|value| value.get_ref().as_array()).map_or(&[], |array| array)
    }

    pub(crate) fn texts(&self, key: &str) -> impl Iterator<Item = Text<'a>> {
        self.list(key).iter().filter_map(text)
    }

    /// A quantity, written with its unit or as a plain number of its smallest one.
    pub(crate) fn quantity<Q: FromStr + From<u64>>(&self, key: &str) -> Option<Q> {
        match self.get(key)?.get_ref() {
            DeValue::String(text) => text.parse().ok(),
            DeValue::Integer(number) => u64::try_from(integer(number)?).ok().map(Q::from),
            _ => None,
        }
    }
}

impl Text<'_> {
    /// The place of a part of the string, where the string is written without escapes; else the whole string.
    pub(crate) fn inside(&self, source: &Source, part: Range<usize>) -> Range<usize> {
        let Some(raw) = source.text().get(self.span.clone()) else { return self.span.clone() };
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            let Some(inner) = raw.strip_prefix(quote).and_then(|raw| raw.strip_suffix(quote)) else { continue };
            let mut start = self.span.start + quote.len();
            let mut body = inner;
            if quote.len() == 3 {
                // A line break right behind the opening quotes is not part of the string.
                let trimmed = inner.strip_prefix("\r\n").or_else(|| inner.strip_prefix('\n')).unwrap_or(inner);
                start += inner.len() - trimmed.len();
                body = trimmed;
            }
            if body == self.text {
                // A part at the end (something missing there) points at the closing quote.
                return start + part.start..start + part.end.max(part.start + 1);
            }
            break;
        }
        self.span.clone()
    }
}

pub(crate) fn text<'a>(value: &'a Value<'a>) -> Option<Text<'a>> {
    Some(Text { text: value.get_ref().as_str()?, span: value.span() })
}

/// The integer, if 64 bits hold it.
pub(crate) fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A string, integer or boolean.
pub(crate) fn scalar(value: &DeValue<'_>) -> Option<ParamValue> {
    match value {
        DeValue::String(text) => Some(ParamValue::String(text.to_string())),
        DeValue::Integer(number) => integer(number).map(ParamValue::Integer),
        DeValue::Boolean(value) => Some(ParamValue::Boolean(*value)),
        _ => None,
    }
}
