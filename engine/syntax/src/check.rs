//! The structural check: walks a file's tables along the format's table (`shape.rs`) and reports unknown, missing and misplaced
//! keys, wrong types, unknown words and ranges. What it passes can be read without further questions of this kind.

use std::fmt;
use std::ops::Range;

use lockgate_model::PortName;
use lockgate_model::units::{Bytes, Fuel, Millis, QuantityError};
use toml::de::{DeTable, DeValue};

use crate::problem::{Code, cut};
use crate::report::{Problems, list, suggest};
use crate::shape::{self, Keys, NODE_KINDS, Shape, Type, Unit};
use crate::table::{Value, integer};

/// Deepest nesting of tables and arrays: half of what the TOML reader itself stands, and what JSON readers take too.
pub(crate) const MAX_DEPTH: usize = 40;

/// Longest text of a moment, before its substitutions.
const MAX_MOMENT: usize = 4096;

/// The place of the first value that is nested too deeply.
pub(crate) fn too_deep(table: &DeTable<'_>, depth: usize) -> Option<Range<usize>> {
    fn value(value: &Value<'_>, depth: usize) -> Option<Range<usize>> {
        if depth > MAX_DEPTH {
            return Some(value.span());
        }
        match value.get_ref() {
            DeValue::Table(table) => too_deep(table, depth),
            DeValue::Array(array) => array.iter().find_map(|item| value_of(item, depth)),
            _ => None,
        }
    }
    fn value_of(item: &Value<'_>, depth: usize) -> Option<Range<usize>> {
        value(item, depth + 1)
    }
    table.iter().find_map(|(_, item)| value(item, depth + 1))
}

/// What messages call a value; a text only once there is something to say.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    /// What stands under a key.
    Key(&'a str),
    /// An element of a list.
    Element(&'a What<'a>),
}

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{}`", cut((*key).to_owned(), 80)),
            Self::Element(of) => write!(f, "an element of {of}"),
        }
    }
}

/// Walks values of one file.
pub(crate) struct Checker<'p> {
    pub(crate) problems: &'p Problems,
}

impl Checker<'_> {
    /// Checks a table of known keys; `span` is where missing keys are reported.
    pub(crate) fn table(&self, table: &DeTable<'_>, span: &Range<usize>, shape: &'static Shape) {
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            match shape.key(name) {
                Some(known) => self.value(value, &known.ty, What::Key(name)),
                None => self.unknown_key(name, &key.span(), shape),
            }
        }
        for key in shape.keys().filter(|key| key.required && !table.contains_key(key.name)) {
            let message = format!("{} lacks `{}`", shape.name, key.name);
            self.problems.report(Code::MissingKey, span, "", message, Some(format!("`{}`: {}", key.name, key.doc)));
        }
        let mut found: Vec<_> =
            shape.one_of.iter().filter_map(|name| table.get_key_value(*name)).map(|(key, _)| key).collect();
        if found.is_empty() && !shape.one_of.is_empty() {
            let message = format!("{} lacks {}", shape.name, list(shape.one_of, "or"));
            self.problems.report(
                Code::MissingKey,
                span,
                "",
                message,
                Some("exactly one of them must be there".to_owned()),
            );
        }
        found.sort_by_key(|key| key.span().start);
        if let [first, second, ..] = found[..] {
            let message = format!("{} has `{}` and `{}`", shape.name, first.get_ref(), second.get_ref());
            self.problems.report(
                Code::Conflict,
                &second.span(),
                "",
                message,
                Some("leave one of them away".to_owned()),
            );
        }
    }

    fn unknown_key(&self, name: &str, span: &Range<usize>, shape: &'static Shape) {
        let shown = cut(name.to_owned(), 80);
        let owners: Vec<_> = NODE_KINDS
            .into_iter()
            .filter(|kind| std::ptr::eq(shape::node(*kind), shape) || shape::node(*kind).key(name).is_some())
            .collect();
        let is_node = owners.iter().any(|kind| std::ptr::eq(shape::node(*kind), shape));
        if is_node && owners.len() > 1 {
            let message = format!("{} has no `{shown}`", shape.name);
            let plugged = owners.iter().any(|kind| kind.world().is_some());
            if let Some(reason) = shape::without_plugin(shape).filter(|_| plugged) {
                self.problems.report(Code::MisplacedKey, span, "", message, Some(reason.to_owned()));
                return;
            }
            let others: Vec<_> = owners
                .iter()
                .map(|kind| shape::node(*kind))
                .filter(|other| !std::ptr::eq(*other, shape))
                .map(|other| other.name.trim_matches('`'))
                .collect();
            self.problems.report(
                Code::MisplacedKey,
                span,
                "",
                message,
                Some(format!("it belongs to {}", list(&others, "and"))),
            );
            return;
        }
        let hint = suggest(name, shape.keys().map(|key| key.name));
        self.problems.report(
            Code::UnknownKey,
            span,
            "unknown key",
            format!("{} has no key `{shown}`", shape.name),
            hint,
        );
    }

    /// Checks one value.
    fn value(&self, value: &Value<'_>, ty: &'static Type, what: What<'_>) {
        let span = value.span();
        match (ty, value.get_ref()) {
            (Type::Version, DeValue::Integer(number)) => {
                if integer(number) != Some(1) {
                    let hint = Some("write `schema = 1`, or take an engine that reads the other".to_owned());
                    let message =
                        format!("this engine reads version 1 of the format, not {}", cut(number.to_string(), 40));
                    self.problems.report(Code::Schema, &span, "", message, hint);
                }
            }
            (Type::Text(max), DeValue::String(text)) => self.text(text, &span, *max, what),
            (Type::Name, DeValue::String(text)) => self.name(text, &span),
            (Type::Word(words), DeValue::String(text)) => {
                if !words.contains(&text.as_ref()) {
                    let shown = cut(text.to_string(), 80);
                    let hint = suggest(text, words.iter().copied());
                    self.problems.report(Code::UnknownWord, &span, "", format!("{what} cannot be `{shown}`"), hint);
                }
            }
            (Type::Integer(min, max), DeValue::Integer(number)) => match integer(number) {
                Some(number) if (*min..=*max).contains(&number) => {}
                _ => self.range(&span, what, &number_range(*min, *max)),
            },
            (Type::Boolean, DeValue::Boolean(_)) => {}
            (Type::Quantity(unit, min, max), DeValue::Integer(number)) => match integer(number).map(u64::try_from) {
                Some(Ok(number)) if (*min..=*max).contains(&number) => {}
                _ => self.range(&span, what, &quantity_range(*unit, *min, *max)),
            },
            (Type::Quantity(unit, min, max), DeValue::String(text)) => match read_quantity(*unit, text) {
                Ok(number) if (*min..=*max).contains(&number) => {}
                Err(QuantityError::TooLarge(_)) | Ok(_) => self.range(&span, what, &quantity_range(*unit, *min, *max)),
                Err(error) => {
                    let example = match unit {
                        Unit::Fuel => "as in `2G`, `500M` or `1000`",
                        Unit::Bytes => "as in `64MiB`, `10kB` or `1000`",
                        Unit::Millis => "as in `30s`, `200ms`, `5m`, `7d` or `1000` (milliseconds)",
                    };
                    let message = match &error {
                        QuantityError::Unit { unit, .. } if unit.is_empty() => format!("{what} lacks its unit"),
                        error => format!("failed to {error}"),
                    };
                    self.problems.report(Code::Quantity, &span, "", message, Some(example.to_owned()));
                }
            },
            // What a string says is known after its substitutions.
            (Type::Moment, DeValue::String(text)) => self.text(text, &span, MAX_MOMENT, what),
            (Type::Moment, DeValue::Datetime(_)) => {}
            (Type::Scalar, DeValue::String(text)) => self.text(text, &span, shape::MAX_PARAM, what),
            (Type::Scalar, DeValue::Integer(number)) => self.integer_fits(integer(number), &span, what),
            (Type::Scalar, DeValue::Boolean(_)) => {}
            (Type::Value, _) => self.json(value, what),
            (Type::List(element, max), DeValue::Array(array)) => {
                if array.len() > *max {
                    let message = format!("{what} has {} elements: at most {max}", array.len());
                    self.problems.report(Code::TooLarge, &span, "", message, None);
                    return;
                }
                let of = if matches!(element, Type::Table(_)) { what } else { What::Element(&what) };
                array.iter().for_each(|item| self.value(item, element, of));
            }
            (Type::Table(shape), DeValue::Table(table)) => self.table(table, &span, shape),
            (Type::Map(keys, element), DeValue::Table(table)) => {
                for (key, item) in table.iter() {
                    if *keys == Keys::Names {
                        self.name(key.get_ref(), &key.span());
                    }
                    self.value(item, element, What::Key(key.get_ref()));
                }
            }
            (Type::Either(text, _), DeValue::String(_)) => self.value(value, text, what),
            (Type::Either(_, other), DeValue::Table(_) | DeValue::Array(_)) => self.value(value, other, what),
            (expected, found) => {
                let message = format!("{what} must be {}, not {}", expected.describe(), kind(found));
                let hint = match (expected, found) {
                    (Type::List(..), DeValue::String(_)) => Some("put it into brackets: `[...]`".to_owned()),
                    (Type::List(Type::Table(_), _), DeValue::Table(_)) => {
                        Some("write its header in double brackets: `[[...]]`".to_owned())
                    }
                    (Type::Moment, _) => Some("as in `2026-12-01T08:00:00Z`".to_owned()),
                    (Type::Text(_) | Type::Name | Type::Word(_), _) => Some("put it into quotes".to_owned()),
                    _ => None,
                };
                self.problems.report(Code::WrongType, &span, "", message, hint);
            }
        }
    }

    fn text(&self, text: &str, span: &Range<usize>, max: usize, what: What<'_>) {
        if text.len() > max {
            self.range(span, what, &format!("at most {max} bytes long"));
        } else if let Some(found) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
            let message = format!("{what} holds the control character U+{:04X}", u32::from(found));
            self.problems.report(Code::OutOfRange, span, "", message, Some("leave it away".to_owned()));
        } else if text.is_empty() && max < shape::MAX_PARAM {
            self.range(span, what, "more than nothing");
        }
    }

    fn name(&self, text: &str, span: &Range<usize>) {
        if let Err(error) = PortName::new(text) {
            let hint = "names are letters, digits, `_` and `-`, beginning with a letter, a digit or `_`, at most 64 characters";
            self.problems.report(Code::BadName, span, "", format!("failed to {error}"), Some(hint.to_owned()));
        }
    }

    fn integer_fits(&self, number: Option<i64>, span: &Range<usize>, what: What<'_>) {
        if number.is_none() {
            self.range(span, what, "a number of 64 bits");
        }
    }

    fn range(&self, span: &Range<usize>, what: What<'_>, range: &str) {
        self.problems.report(Code::OutOfRange, span, "", format!("{what} must be {range}"), None);
    }

    /// Whether JSON can say it.
    fn json(&self, value: &Value<'_>, what: What<'_>) {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(_) | DeValue::Boolean(_) => {}
            DeValue::Integer(number) => self.integer_fits(integer(number), &span, what),
            DeValue::Float(number) => {
                if !number.as_str().parse::<f64>().is_ok_and(f64::is_finite) {
                    let message = format!("{what} must be a finite number");
                    self.problems.report(
                        Code::Config,
                        &span,
                        "",
                        message,
                        Some("configs are JSON, which has no other".to_owned()),
                    );
                }
            }
            DeValue::Datetime(_) => {
                let message = format!("{what} cannot be a date or time: configs are JSON, which has none");
                self.problems.report(Code::Config, &span, "", message, Some("put it into quotes".to_owned()));
            }
            DeValue::Array(array) => array.iter().for_each(|item| self.json(item, what)),
            DeValue::Table(table) => {
                table.iter().for_each(|(key, item)| self.json(item, What::Key(key.get_ref())));
            }
        }
    }
}

impl Type {
    /// The type for people, with its article.
    fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Name | Self::Word(_) => "a string",
            Self::Integer(..) | Self::Version => "an integer",
            Self::Boolean => "`true` or `false`",
            Self::Quantity(Unit::Fuel, ..) => "a number or a string such as `2G`",
            Self::Quantity(Unit::Bytes, ..) => "a number or a string such as `64MiB`",
            Self::Quantity(Unit::Millis, ..) => "a number or a string such as `30s`",
            Self::Moment => "a date with time and offset",
            Self::Scalar => "a string, an integer or `true` or `false`",
            Self::Value => "a value",
            Self::List(Self::Table(_), _) => "an array of tables",
            Self::List(..) => "an array",
            Self::Table(_) | Self::Map(..) => "a table",
            Self::Either(..) => "a string or a table",
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

fn read_quantity(unit: Unit, text: &str) -> Result<u64, QuantityError> {
    Ok(match unit {
        Unit::Fuel => text.parse::<Fuel>()?.0,
        Unit::Bytes => text.parse::<Bytes>()?.0,
        Unit::Millis => text.parse::<Millis>()?.0,
    })
}

fn number_range(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, i64::MAX) => "a number of 64 bits".to_owned(),
        (min, max) if min == max => format!("{min}"),
        (min, max) => format!("a number from {min} to {max}"),
    }
}

fn quantity_range(unit: Unit, min: u64, max: u64) -> String {
    let shown = |number| match unit {
        Unit::Fuel => Fuel(number).to_string(),
        Unit::Bytes => Bytes(number).to_string(),
        Unit::Millis => Millis(number).to_string(),
    };
    format!("from {} to {}", shown(min), shown(max))
}
