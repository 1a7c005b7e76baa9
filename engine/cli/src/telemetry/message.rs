//! Messages of protobuf, as bytes and as JSON. OTLP needs no more of protobuf than this: a crate for it would be a derive macro
//! whose own dependencies change how wasmtime is compiled.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use serde_json::{Map, Value as Json};

/// A message: its fields in order of their numbers, those that are absent left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Message(Vec<(u32, &'static str, Field)>);

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    /// `string`
    Text(String),
    /// `bytes` that are an id: hex in OTLP's JSON.
    Id(Vec<u8>),
    /// `bool`
    Bool(bool),
    /// `int64`: text in JSON.
    Int(i64),
    /// `uint32` or an enum: a number in JSON.
    Small(u32),
    /// `fixed32`: a number in JSON.
    Fixed32(u32),
    /// `fixed64`: text in JSON.
    Fixed64(u64),
    /// `double`
    Double(f64),
    /// A message.
    One(Message),
    /// `repeated` of a message.
    Many(Vec<Message>),
}

/// Types on the wire.
const VARINT: u32 = 0;
const EIGHT_BYTES: u32 = 1;
const LENGTH: u32 = 2;
const FOUR_BYTES: u32 = 5;

impl Message {
    /// Adds a field: its number, its name in JSON, its value.
    pub(super) fn with(mut self, number: u32, name: &'static str, field: Field) -> Self {
        self.0.push((number, name, field));
        self
    }

    /// Adds a field if it says something: protobuf takes what is absent for zero or empty.
    pub(super) fn with_some(self, number: u32, name: &'static str, field: Field) -> Self {
        let empty = match &field {
            Field::Text(text) => text.is_empty(),
            Field::Id(bytes) => bytes.is_empty(),
            Field::Bool(value) => !value,
            Field::Int(number) => *number == 0,
            Field::Small(number) | Field::Fixed32(number) => *number == 0,
            Field::Fixed64(number) => *number == 0,
            Field::Double(number) => *number == 0.0,
            Field::One(_) => false,
            Field::Many(messages) => messages.is_empty(),
        };
        if empty { self } else { self.with(number, name, field) }
    }

    /// The message as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, _, field) in &self.0 {
            let mut key = |wire: u32| varint(&mut bytes, u64::from(number << 3 | wire));
            match field {
                Field::Text(text) => {
                    key(LENGTH);
                    delimited(&mut bytes, text.as_bytes());
                }
                Field::Id(id) => {
                    key(LENGTH);
                    delimited(&mut bytes, id);
                }
                Field::Bool(value) => {
                    key(VARINT);
                    bytes.push((*value).into());
                }
                Field::Int(number) => {
                    key(VARINT);
                    // Two's complement: negative ones have ten bytes.
                    varint(&mut bytes, *number as u64);
                }
                Field::Small(number) => {
                    key(VARINT);
                    varint(&mut bytes, (*number).into());
                }
                Field::Fixed32(number) => {
                    key(FOUR_BYTES);
                    bytes.extend(number.to_le_bytes());
                }
                Field::Fixed64(number) => {
                    key(EIGHT_BYTES);
                    bytes.extend(number.to_le_bytes());
                }
                Field::Double(number) => {
                    key(EIGHT_BYTES);
                    bytes.extend(number.to_le_bytes());
                }
                Field::One(message) => {
                    key(LENGTH);
                    delimited(&mut bytes, &message.to_bytes());
                }
                Field::Many(messages) => {
                    for message in messages {
                        varint(&mut bytes, u64::from(number << 3 | LENGTH));
                        delimited(&mut bytes, &message.to_bytes());
                    }
                }
            }
        }
        bytes
    }

    /// The message as OTLP's JSON.
    pub(super) fn to_json(&self) -> Json {
        let value = |field: &Field| match field {
            Field::Text(text) => text.as_str().into(),
            Field::Id(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            Field::Bool(value) => (*value).into(),
            Field::Int(number) => number.to_string().into(),
            Field::Small(number) | Field::Fixed32(number) => (*number).into(),
            Field::Fixed64(number) => number.to_string().into(),
            Field::Double(number) => (*number).into(),
            Field::One(message) => message.to_json(),
            Field::Many(messages) => messages.iter().map(Self::to_json).collect(),
        };
        Json::Object(self.0.iter().map(|(_, name, field)| ((*name).to_owned(), value(field))).collect::<Map<_, _>>())
    }
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn delimited(bytes: &mut Vec<u8>, content: &[u8]) {
    varint(bytes, content.len() as u64);
    bytes.extend(content);
}

/// A field of a message that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A varint.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes.
    Fixed,
}

/// Reads a message's fields with their numbers; none if it is none.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<(u64, Read<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        let field = match u32::try_from(key & 7).ok()? {
            VARINT => Read::Number(take_varint(&mut bytes)?),
            EIGHT_BYTES => take(&mut bytes, 8).map(|_| Read::Fixed)?,
            FOUR_BYTES => take(&mut bytes, 4).map(|_| Read::Fixed)?,
            LENGTH => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                Read::Bytes(take(&mut bytes, length)?)
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        fields.push((key >> 3, field));
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_written() {
        // From the chapter on encoding: `a: 150`, and a message with `b: "testing"`.
        assert_eq!(Message::default().with(1, "a", Field::Small(150)).to_bytes(), [0x08, 0x96, 0x01]);
        let testing = Message::default().with(2, "b", Field::Text("testing".into())).to_bytes();
        assert_eq!(testing, [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        let nested = Message::default().with(3, "c", Field::One(Message::default().with(1, "a", Field::Small(150))));
        assert_eq!(nested.to_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let negative = Message::default().with(1, "a", Field::Int(-2)).to_bytes();
        assert_eq!(negative, [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn what_is_written_is_read() {
        let message = Message::default()
            .with(1, "a", Field::Int(i64::MAX))
            .with(2, "b", Field::Fixed64(7))
            .with(300, "c", Field::Text("é".into()))
            .with(301, "d", Field::Fixed32(1));
        let bytes = message.to_bytes();
        let expected = [
            (1, Read::Number(i64::MAX as u64)),
            (2, Read::Fixed),
            (300, Read::Bytes("é".as_bytes())),
            (301, Read::Fixed),
        ];
        assert_eq!(read(&bytes).unwrap(), expected);
        for cut in 1..bytes.len() {
            // Never a panic; most beginnings are no message.
            let _ = read(&bytes[..cut]);
        }
    }

    #[test]
    fn garbage_is_no_message() {
        let long = [0x80; 11];
        for garbage in
            [b"<html>".as_slice(), b"\xff", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", &long, b"\x00\x00"]
        {
            assert_eq!(read(garbage), None, "{garbage:?}");
        }
    }
}
