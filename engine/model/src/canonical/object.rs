//! Lists, and objects whose members are put in order once all of them are written.

use std::cmp::Ordering;
use std::ops::Range;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::writer::{Key, Unwritable, Writer};

/// A list that is being written.
pub(super) struct Array<'a> {
    writer: &'a mut Writer,
    empty: bool,
    close: &'static str,
}

impl<'a> Array<'a> {
    pub(super) fn new(writer: &'a mut Writer, close: &'static str) -> Self {
        writer.text.push('[');
        Self { writer, empty: true, close }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        if !std::mem::take(&mut self.empty) {
            self.writer.text.push(',');
        }
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Result<(), Unwritable> {
        self.writer.text.push_str(self.close);
        Ok(())
    }
}

/// A member that is written: where its key and all of it stand.
pub(super) struct Member {
    whole: Range<usize>,
    /// The key's first bytes, as a number of the same order: they decide nearly always.
    prefix: u64,
    /// Where the key stands between its quotes.
    key: Range<usize>,
    /// The key itself, where its text is not plain ASCII without escapes.
    odd: Option<Box<str>>,
}

impl Member {
    /// By the UTF-16 units of the keys; of ASCII that is the order of bytes.
    fn order(&self, other: &Self, text: &str) -> Ordering {
        let key = |member: &Self| text.get(member.key.clone()).unwrap_or_default().to_owned();
        match (&self.odd, &other.odd) {
            (None, None) if self.prefix != other.prefix => self.prefix.cmp(&other.prefix),
            (None, None) => text[self.key.clone()].cmp(&text[other.key.clone()]),
            (Some(a), Some(b)) => a.encode_utf16().cmp(b.encode_utf16()),
            (Some(a), None) => a.encode_utf16().cmp(key(other).encode_utf16()),
            (None, Some(b)) => key(self).encode_utf16().cmp(b.encode_utf16()),
        }
    }
}

/// An object that is being written.
pub(super) struct Object<'a> {
    writer: &'a mut Writer,
    /// Where its first member stands in the text, and among the members.
    first: (usize, usize),
    close: &'static str,
}

impl<'a> Object<'a> {
    pub(super) fn new(writer: &'a mut Writer, close: &'static str) -> Self {
        writer.text.push('{');
        let first = (writer.text.len(), writer.members.len());
        Self { writer, first, close }
    }

    /// Writes a key. Its member ends where the next one begins.
    fn key(&mut self, key: &str) {
        self.ended();
        let writer = &mut *self.writer;
        if writer.members.len() > self.first.1 {
            writer.text.push(',');
        }
        let start = writer.text.len();
        writer.string(key);
        let end = writer.text.len();
        // Escapes make it longer.
        let plain = key.is_ascii() && end - start == key.len() + 2;
        let odd = (!plain).then(|| key.into());
        let mut prefix = [0; 8];
        let bytes = &key.as_bytes()[..key.len().min(prefix.len())];
        prefix[..bytes.len()].copy_from_slice(bytes);
        let prefix = u64::from_be_bytes(prefix);
        writer.members.push(Member { whole: start..end, prefix, key: start + 1..end - 1, odd });
        writer.text.push(':');
    }

    fn ended(&mut self) {
        let end = self.writer.text.len();
        if let [.., last] = &mut self.writer.members[self.first.1..] {
            last.whole.end = end;
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        value.serialize(&mut *self.writer)
    }

    fn close(mut self) -> Result<(), Unwritable> {
        self.ended();
        let (start, base) = self.first;
        let Writer { text, members, scratch, .. } = self.writer;
        let own = &mut members[base..];
        if !own.is_sorted_by(|a, b| a.order(b, text).is_le()) {
            own.sort_by(|a, b| a.order(b, text));
            scratch.clear();
            for (at, member) in own.iter().enumerate() {
                if at > 0 {
                    scratch.push(',');
                }
                scratch.push_str(&text[member.whole.clone()]);
            }
            text.truncate(start);
            text.push_str(scratch);
        }
        members.truncate(base);
        text.push_str(self.close);
        Ok(())
    }
}

macro_rules! arrays {
    ($($trait:ident $method:ident)*) => {
        $(impl $trait for Array<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.item(value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.close()
            }
        })*
    };
}

arrays! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! objects {
    ($($trait:ident)*) => {
        $(impl $trait for Object<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unwritable> {
                self.key(key);
                self.value(value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.close()
            }
        })*
    };
}

objects! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        let mut text = String::new();
        key.serialize(Key(&mut text))?;
        self.key(&text);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.value(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close()
    }
}
