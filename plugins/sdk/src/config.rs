//! Configs from JSON text, by serde: a small reader over [`crate::json`], because `serde_json` and what it needs to read and
//! to print floating-point numbers would be some 45 kB of a component that uses it for nothing else.
//!
//! An error names the key that it is at, not a line and a column: the text was made by the engine.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::json::{self, Event, Parser};

/// The deepest nesting of a config, as in `serde_json`: a reader of nested types recurses.
const DEEPEST: usize = 128;

/// Why a config cannot be read.
#[derive(Debug)]
pub struct Error {
    /// Keys from the outside to where it is, joined by dots.
    path: String,
    message: String,
}

type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    /// Puts a key in front of the path.
    fn within(mut self, key: &str) -> Self {
        self.path = if self.path.is_empty() { key.to_owned() } else { format!("{key}.{}", self.path) };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    // Serde's own two would print floating-point numbers.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("invalid type: {}, expected {expected}", describe(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("invalid value: {}, expected {expected}", describe(unexpected)))
    }
}

fn describe(unexpected: Unexpected<'_>) -> Cow<'static, str> {
    match unexpected {
        Unexpected::Bool(boolean) => format!("boolean `{boolean}`").into(),
        Unexpected::Unsigned(number) => format!("integer `{number}`").into(),
        Unexpected::Signed(number) => format!("integer `{number}`").into(),
        Unexpected::Float(_) => "floating-point number".into(),
        Unexpected::Str(text) => format!("string \"{text}\"").into(),
        Unexpected::Unit => "null".into(),
        Unexpected::Seq => "sequence".into(),
        Unexpected::Map => "map".into(),
        Unexpected::Other(other) => other.to_owned().into(),
        _ => "value".into(),
    }
}

/// Reads a config.
pub fn read<C: DeserializeOwned>(text: &str) -> Result<C> {
    let mut reader = Reader { parser: Parser::new(text), peeked: None, depth: 0 };
    let config = C::deserialize(&mut reader)?;
    match reader.parser.next_event() {
        Ok(_) => Ok(config),
        Err(error) => Err(malformed(&error)),
    }
}

fn malformed(error: &json::Error) -> Error {
    Error::new(format!("{} at byte {}", error.message, error.offset))
}

struct Reader<'a> {
    parser: Parser<'a>,
    peeked: Option<Event<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>> {
        if let Some(event) = self.peeked.take() {
            return Ok(event);
        }
        match self.parser.next_event() {
            Ok(Some((_, event))) => Ok(event),
            Ok(None) => Err(Error::new("EOF while parsing a value")),
            Err(error) => Err(malformed(&error)),
        }
    }

    fn peek(&mut self) -> Result<&Event<'a>> {
        let event = self.next()?;
        Ok(self.peeked.insert(event))
    }

    /// The error for an event of another type than that which is expected.
    fn unexpected(event: &Event<'_>, expected: &dyn de::Expected) -> Error {
        let unexpected = match event {
            Event::Null => Unexpected::Unit,
            Event::Boolean(boolean) => Unexpected::Bool(*boolean),
            Event::String(text) | Event::Key(text) => Unexpected::Str(text),
            Event::ArrayStart | Event::ArrayEnd => Unexpected::Seq,
            Event::ObjectStart | Event::ObjectEnd => Unexpected::Map,
            Event::Number(text) => match (text.parse(), text.parse()) {
                (Ok(number), _) => Unexpected::Unsigned(number),
                (_, Ok(number)) => Unexpected::Signed(number),
                _ => Unexpected::Other("floating-point number"),
            },
        };
        de::Error::invalid_type(unexpected, expected)
    }

    /// Goes one level deeper for as long as `inner` runs.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEPEST {
            return Err(Error::new("recursion limit exceeded"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn sequence<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        self.deeper(|reader| {
            let value = visitor.visit_seq(Items { reader: &mut *reader, index: 0 })?;
            reader.end(&Event::ArrayEnd)?;
            Ok(value)
        })
    }

    fn map<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        self.deeper(|reader| {
            let value = visitor.visit_map(Entries { reader: &mut *reader, key: Cow::Borrowed("") })?;
            reader.end(&Event::ObjectEnd)?;
            Ok(value)
        })
    }

    fn end(&mut self, end: &Event<'_>) -> Result<()> {
        if self.next()? == *end { Ok(()) } else { Err(Error::new("there are too many items")) }
    }

    /// Skips the value that comes.
    fn skip(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                Event::ArrayStart | Event::ObjectStart => depth += 1,
                Event::ArrayEnd | Event::ObjectEnd => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Methods for types that a number may become, and what they expect of it.
macro_rules! numbers {
    ($($method:ident => $by:ident),*) => {$(
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
            self.$by(visitor)
        }
    )*};
}

impl<'a> Reader<'a> {
    fn integer<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        let event = self.next()?;
        if let Event::Number(text) = event {
            if let Ok(number) = text.parse() {
                return visitor.visit_u64(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_i64(number);
            }
        }
        Err(Self::unexpected(&event, &visitor))
    }

    fn float<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        let event = self.next()?;
        match event {
            Event::Number(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                _ => Err(Error::new("number out of range")),
            },
            _ => Err(Self::unexpected(&event, &visitor)),
        }
    }

    fn text<V: Visitor<'a>>(&mut self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Event::String(Cow::Borrowed(text)) | Event::Key(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Event::String(Cow::Owned(text)) | Event::Key(Cow::Owned(text)) => visitor.visit_string(text),
            event => Err(Self::unexpected(&event, &visitor)),
        }
    }
}

impl<'a> de::Deserializer<'a> for &mut Reader<'a> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.peek()? {
            Event::Null => self.deserialize_unit(visitor),
            Event::Boolean(_) => self.deserialize_bool(visitor),
            Event::Number(text) if text.contains(['.', 'e', 'E']) => self.float(visitor),
            Event::Number(text) if text.parse::<u64>().is_err() && text.parse::<i64>().is_err() => self.float(visitor),
            Event::Number(_) => self.integer(visitor),
            Event::ArrayStart => self.deserialize_seq(visitor),
            Event::ObjectStart => self.deserialize_map(visitor),
            _ => self.text(visitor),
        }
    }

    numbers! {
        deserialize_i8 => integer, deserialize_i16 => integer, deserialize_i32 => integer, deserialize_i64 => integer,
        deserialize_u8 => integer, deserialize_u16 => integer, deserialize_u32 => integer, deserialize_u64 => integer,
        deserialize_f32 => float, deserialize_f64 => float,
        deserialize_char => text, deserialize_str => text, deserialize_string => text, deserialize_identifier => text
    }

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Event::Boolean(boolean) => visitor.visit_bool(boolean),
            event => Err(Reader::unexpected(&event, &visitor)),
        }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Event::Null => visitor.visit_unit(),
            event => Err(Reader::unexpected(&event, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        if *self.peek()? == Event::Null {
            self.peeked = None;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Event::ArrayStart => self.sequence(visitor),
            event => Err(Reader::unexpected(&event, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _length: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(self, _: &'static str, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        match self.next()? {
            Event::ObjectStart => self.map(visitor),
            event => Err(Reader::unexpected(&event, &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.next()? {
            Event::String(name) => visitor.visit_enum(name.into_deserializer()),
            Event::ObjectStart => self.deeper(|reader| {
                let value = visitor.visit_enum(&mut *reader)?;
                reader.end(&Event::ObjectEnd)?;
                Ok(value)
            }),
            event => Err(Reader::unexpected(&event, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <W: Visitor<'a>> i128 u128 bytes byte_buf }
}

/// The items of an array.
struct Items<'r, 'a> {
    reader: &'r mut Reader<'a>,
    index: usize,
}

impl<'a> de::SeqAccess<'a> for Items<'_, 'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if *self.reader.peek()? == Event::ArrayEnd {
            return Ok(None);
        }
        self.index += 1;
        let item = seed.deserialize(&mut *self.reader);
        item.map(Some).map_err(|error| error.within(&(self.index - 1).to_string()))
    }
}

/// The entries of an object.
struct Entries<'r, 'a> {
    reader: &'r mut Reader<'a>,
    key: Cow<'a, str>,
}

impl<'a> de::MapAccess<'a> for Entries<'_, 'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        match self.reader.peek()? {
            Event::Key(key) => self.key = key.clone(),
            _ => return Ok(None),
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.within(&self.key))
    }
}

/// A case of an enum with content: the only entry of an object, whose key is the case's name.
impl<'a> de::EnumAccess<'a> for &mut Reader<'a> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self)> {
        Ok((seed.deserialize(&mut *self)?, self))
    }
}

impl<'a> de::VariantAccess<'a> for &mut Reader<'a> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        de::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'a>>(self, _length: usize, visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_seq(self, visitor)
    }

    fn struct_variant<V: Visitor<'a>>(self, _fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_map(self, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        flag: bool,
        small: Option<u8>,
        #[serde(default)]
        signed: i64,
        #[serde(default)]
        real: f64,
        #[serde(default)]
        texts: Vec<String>,
        #[serde(default)]
        pair: (u32, char),
        #[serde(default)]
        named: BTreeMap<String, Inner>,
        #[serde(default)]
        case: Case,
        #[serde(default)]
        any: Value,
        #[serde(default)]
        nothing: (),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner(u16);

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Case {
        #[default]
        Plain,
        New(String),
        Tuple(u8, u8),
        Struct {
            x: u8,
        },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    enum Tagged {
        One { real: f64 },
        Two,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        Number(i32),
        List(Vec<Untagged>),
    }

    fn same<C: DeserializeOwned + PartialEq + fmt::Debug>(text: &str) {
        assert_eq!(read::<C>(text).unwrap(), serde_json::from_str::<C>(text).unwrap(), "{text}");
    }

    #[test]
    fn configs_are_what_serde_json_makes_of_them() {
        for text in [
            "{}",
            r#"{"flag": true, "small": 255, "signed": -9, "real": 1.5e3, "texts": ["a", "\u00e4\n"], "pair": [1, "ß"]}"#,
            r#"{"small": null, "signed": 9223372036854775807, "real": 3, "named": {"a\"b": 1, "c": 2}, "nothing": null}"#,
            r#"{"case": "plain"}"#,
            r#"{"case": {"plain": null}}"#,
            r#"{"case": {"new": "x"}, "texts": []}"#,
            r#"{"case": {"tuple": [1, 2]}}"#,
            r#"{"case": {"struct": {"x": 1, "else": [{"y": {}}, 2]}}}"#,
            r#"{"any": {"a": [1, -1, 0.5, 18446744073709551615, 1e300, true, null, "x", {"b": []}]}}"#,
        ] {
            same::<Config>(text);
        }
        same::<Tagged>(r#"{"real": 2, "kind": "one"}"#);
        same::<Tagged>(r#"{"kind": "two"}"#);
        same::<Untagged>("[1, [2, []]]");
        same::<Option<Vec<Option<bool>>>>("[true, null]");
    }

    #[test]
    fn errors_name_the_key() {
        let error = |text: &str| read::<Config>(text).unwrap_err().to_string();
        assert_eq!(error(r#"{"small": 300}"#), "`small`: invalid value: integer `300`, expected u8");
        assert_eq!(error(r#"{"small": 1.5}"#), "`small`: invalid type: floating-point number, expected u8");
        assert_eq!(error(r#"{"texts": ["a", 1]}"#), "`texts.1`: invalid type: integer `1`, expected a string");
        assert_eq!(error(r#"{"named": {"a": "b"}}"#), "`named.a`: invalid type: string \"b\", expected u16");
        assert!(error(r#"{"flags": 1}"#).starts_with("unknown field `flags`, expected one of `flag`, `small`"));
        assert!(error(r#"{"case": "odd"}"#).starts_with("`case`: unknown variant `odd`, expected one of `plain`"));
        assert!(error(r#"{"case": {"new": "x", "tuple": 1}}"#).ends_with("there are too many items"));
        assert!(error(r#"{"pair": [1, "x", 2]}"#).ends_with("there are too many items"));
        assert!(error(r#"{"real": 1e999}"#).ends_with("number out of range"));
        assert_eq!(error("[]"), "invalid type: sequence, expected struct Config");
        assert_eq!(error("{} 1"), "trailing characters at byte 3");
        assert_eq!(error("{\"flag\": true"), "EOF while parsing an object at byte 13");
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(read::<Value>(&deep).unwrap_err().to_string().ends_with("recursion limit exceeded"));
    }
}
