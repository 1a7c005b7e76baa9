//! A pull parser for JSON (RFC 8259): events with their places, and no tree.
//!
//! Configs are read with it, and files where the place of each value matters. It knows no floating-point numbers, whose readers
//! and printers would be a tenth of a small component; `serde_json` stays the way to read and write data.

use std::borrow::Cow;

/// One piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A text without its escapes; half a surrogate pair is U+FFFD.
    String(Cow<'a, str>),
    /// A key, before its value.
    Key(Cow<'a, str>),
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
}

/// What is malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong, in the words of `serde_json`.
    pub message: &'static str,
    /// The byte at which it is.
    pub offset: usize,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    /// A value or `]`.
    FirstItem,
    /// A key or `}`.
    FirstKey,
    /// A comma, or the end of what is open.
    Separator,
}

/// Reads a text from its beginning to its end. It does not recurse: the nesting costs a byte per level.
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// For each array or object that is open: whether it is an object.
    open: Vec<bool>,
    next: Next,
}

type Result<T> = std::result::Result<T, Error>;

impl<'a> Parser<'a> {
    /// A parser of one document.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new(), next: Next::Value }
    }

    /// The next event and the byte at which it begins; none at the end of the document.
    ///
    /// # Errors
    ///
    /// The text is malformed; nothing after that place can be read.
    pub fn next_event(&mut self) -> Result<Option<(usize, Event<'a>)>> {
        let mut byte = self.peek();
        if self.next == Next::Separator {
            let Some(object) = self.open.last().copied() else {
                return if byte.is_none() { Ok(None) } else { self.error("trailing characters") };
            };
            match (byte, object) {
                (Some(b'}'), true) => return Ok(Some(self.close(Event::ObjectEnd))),
                (Some(b']'), false) => return Ok(Some(self.close(Event::ArrayEnd))),
                (Some(b','), _) => {}
                (None, true) => return self.error("EOF while parsing an object"),
                (None, false) => return self.error("EOF while parsing a list"),
                (_, true) => return self.error("expected `,` or `}`"),
                (_, false) => return self.error("expected `,` or `]`"),
            }
            self.at += 1;
            byte = self.peek();
            if object {
                return self.key(byte).map(Some);
            }
            if byte == Some(b']') {
                return self.error("trailing comma");
            }
        }
        match (self.next, byte) {
            (Next::FirstItem, Some(b']')) => Ok(Some(self.close(Event::ArrayEnd))),
            (Next::FirstItem, None) => self.error("EOF while parsing a list"),
            (Next::FirstKey, Some(b'}')) => Ok(Some(self.close(Event::ObjectEnd))),
            (Next::FirstKey, _) => self.key(byte).map(Some),
            _ => self.value(byte).map(Some),
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn error<T>(&self, message: &'static str) -> Result<T> {
        Err(Error { message, offset: self.at })
    }

    /// Takes one byte that ends what is open.
    fn close(&mut self, event: Event<'a>) -> (usize, Event<'a>) {
        self.open.pop();
        self.next = Next::Separator;
        self.at += 1;
        (self.at - 1, event)
    }

    /// Reads a key and its colon.
    fn key(&mut self, byte: Option<u8>) -> Result<(usize, Event<'a>)> {
        match byte {
            Some(b'"') => {}
            None => return self.error("EOF while parsing an object"),
            Some(_) => return self.error("key must be a string"),
        }
        let start = self.at;
        let key = self.string()?;
        match self.peek() {
            Some(b':') => self.at += 1,
            None => return self.error("EOF while parsing an object"),
            Some(_) => return self.error("expected `:`"),
        }
        self.next = Next::Value;
        Ok((start, Event::Key(key)))
    }

    fn value(&mut self, byte: Option<u8>) -> Result<(usize, Event<'a>)> {
        let start = self.at;
        self.next = Next::Separator;
        let event = match byte {
            Some(b'{') => self.open(true, Event::ObjectStart),
            Some(b'[') => self.open(false, Event::ArrayStart),
            Some(b'"') => Event::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Event::Number(self.number()?),
            Some(b'n') => self.word("null", Event::Null)?,
            Some(b't') => self.word("true", Event::Boolean(true))?,
            Some(b'f') => self.word("false", Event::Boolean(false))?,
            None => return self.error("EOF while parsing a value"),
            Some(_) => return self.error("expected value"),
        };
        Ok((start, event))
    }

    fn open(&mut self, object: bool, event: Event<'a>) -> Event<'a> {
        self.at += 1;
        self.open.push(object);
        self.next = if object { Next::FirstKey } else { Next::FirstItem };
        event
    }

    fn word(&mut self, word: &str, event: Event<'a>) -> Result<Event<'a>> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.error("expected ident");
        }
        self.at += word.len();
        Ok(event)
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.skip(b'-');
        let first = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes()[first] == b'0' {
            self.at = first + 1;
            return self.error("invalid number");
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Takes digits, at least one, and says how many.
    fn digits(&mut self) -> Result<usize> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        match (count, rest.is_empty()) {
            (0, true) => self.error("EOF while parsing a value"),
            (0, false) => self.error("invalid number"),
            _ => Ok(count),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let (start, bytes) = (self.at, self.text.as_bytes());
            while bytes.get(self.at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
                self.at += 1;
            }
            let piece = &self.text[start..self.at];
            if text.is_empty() {
                text = Cow::Borrowed(piece);
            } else {
                text.to_mut().push_str(piece);
            }
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    text.to_mut().push(character);
                }
                Some(_) => return self.error("control character (\\u0000-\\u001F) found while parsing a string"),
                None => return self.error("EOF while parsing a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let Some(letter) = self.text.as_bytes().get(self.at + 1) else {
            self.at += 1;
            return self.error("EOF while parsing a string");
        };
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(*letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.error("invalid escape"),
        };
        self.at += 2;
        Ok(character)
    }

    /// Reads `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self) -> Result<char> {
        let first = self.hex()?;
        if (0xD800..0xDC00).contains(&first) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            let before = self.at;
            let second = self.hex()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
        let Some(code) = digits.and_then(|digits| {
            digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
        }) else {
            return self.error("invalid escape");
        };
        self.at += 6;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Reads a whole document into the values of `serde_json`.
    fn read(text: &str) -> Result<Value> {
        let mut parser = Parser::new(text);
        // The outermost value is the only item of an array.
        let mut open = vec![(Value::Array(vec![]), None)];
        while let Some((_, event)) = parser.next_event()? {
            let value = match event {
                Event::Null => Value::Null,
                Event::Boolean(boolean) => boolean.into(),
                Event::Number(number) => number.parse::<serde_json::Number>().map_or(Value::Null, Value::Number),
                Event::String(text) => text.into(),
                Event::Key(key) => {
                    open.last_mut().unwrap().1 = Some(key.into_owned());
                    continue;
                }
                Event::ArrayStart | Event::ObjectStart => {
                    let object = event == Event::ObjectStart;
                    open.push((if object { serde_json::json!({}) } else { serde_json::json!([]) }, None));
                    continue;
                }
                Event::ArrayEnd | Event::ObjectEnd => open.pop().unwrap().0,
            };
            match open.last_mut().unwrap() {
                (Value::Array(items), _) => items.push(value),
                (Value::Object(entries), key) => drop(entries.insert(key.take().unwrap(), value)),
                _ => unreachable!(),
            }
        }
        assert_eq!(open.len(), 1);
        Ok(open[0].0[0].take())
    }

    #[test]
    fn what_is_well_formed_is_what_serde_json_reads() {
        let text = r#" {"a" : [1, -0, 2.5e+3, 0.1E-2,true,false, null, [ ], {}],
            "\u00e4\/\\\"\b\f\n\r\t\ud83d\ude00x": "ü", "": {"b": {"c":[[1],[2, []]]}}} "#;
        assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    /// Every cut and every change of one byte of a document is refused by both or by neither.
    #[test]
    fn what_is_malformed_is_what_serde_json_refuses() {
        let text = r#"{"a":[1,-20.5e+3,0.1E-2,true,{"\u00e4\n":null}],"b":"x\"y" , "c":[ ],"d":{}}"#;
        let (mut texts, bytes) = (Vec::new(), b"{}[],:\"\\01.-+eEtnu \n\tx");
        for at in 0..text.len() {
            texts.push(text[..at].to_owned());
            texts.push(format!("{}{}", &text[..at], &text[at + 1..]));
            for byte in bytes {
                texts.push(format!("{}{}{}", &text[..at], char::from(*byte), &text[at + 1..]));
                texts.push(format!("{}{}{}", &text[..at], char::from(*byte), &text[at..]));
            }
        }
        let mut refused = 0;
        for text in texts {
            match (read(&text), serde_json::from_str::<Value>(&text)) {
                (Ok(read), Ok(value)) => assert_eq!(read, value, "{text}"),
                (Err(_), Err(_)) => refused += 1,
                (Ok(_), Err(error)) => panic!("{text} is refused by serde_json only: {error}"),
                (Err(error), Ok(_)) => panic!("{text} is refused here only: {error:?}"),
            }
        }
        assert!(refused > 1_000);
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| read(text).map_err(|error| (error.message, error.offset)).unwrap_err();
        assert_eq!(error(""), ("EOF while parsing a value", 0));
        assert_eq!(error("{\"a\": 1,\n}"), ("key must be a string", 9));
        assert_eq!(error("[1,]"), ("trailing comma", 3));
        assert_eq!(error("[1 2]"), ("expected `,` or `]`", 3));
        assert_eq!(error("{\"a\" 1}"), ("expected `:`", 5));
        assert_eq!(error("[01]"), ("invalid number", 2));
        assert_eq!(error("nul"), ("expected ident", 0));
        assert_eq!(error("1 2"), ("trailing characters", 2));
        assert_eq!(error("\"\n\""), ("control character (\\u0000-\\u001F) found while parsing a string", 1));
        assert_eq!(error("\"\\x\""), ("invalid escape", 1));
        assert_eq!(read(r#""\ud800\u0041""#).unwrap(), "\u{fffd}A");
    }
}
