//! Looks for secrets, line by line, whatever the file's size.

use std::io::BufRead;

use lockgate_sdk::prelude::*;

use crate::rules::{ASSIGNED, Class, ENTROPY, PRIVATE_KEY, Rules, URL_PASSWORD};

/// The longest line that is looked at as a whole. Of longer ones pieces of this length are, which overlap.
const LINE: usize = 64 << 10;
/// How far pieces of a long line overlap: what a secret and the name in front of it take.
const OVERLAP: usize = 1 << 10;
/// A file with a zero in so many bytes is binary, as in git.
const HEAD: usize = 8000;
/// What permits a secret on its own line, or on the line behind.
const COMMENT: &str = "lockgate:allow-secret";

/// Something found.
#[derive(Debug)]
pub struct Found {
    pub rule: usize,
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The beginning that may be shown: a mark, a name.
    pub shown: String,
    /// Characters of the secret.
    pub length: usize,
    /// For its fingerprint: the line without the secret, and the secret.
    pub context: Vec<u8>,
    pub value: Vec<u8>,
    /// A comment permits it.
    pub commented: bool,
}

/// A file as lines or pieces of lines.
pub struct Lines {
    reader: Reader,
    line: usize,
    /// The piece, and how many characters of its line stand before it.
    piece: Vec<u8>,
    before: usize,
    ended: bool,
}

impl Lines {
    pub fn new(reader: Reader) -> Self {
        Self { reader, line: 0, piece: Vec::new(), before: 0, ended: true }
    }

    pub fn is_binary(&mut self) -> Result<bool> {
        let head = self.reader.fill_buf()?;
        Ok(head[..head.len().min(HEAD)].contains(&0))
    }

    /// Goes to the next piece; false at the end. How much of its beginning was looked at already is what it returns besides.
    fn next(&mut self) -> Result<Option<usize>> {
        let mut seen = 0;
        if self.ended {
            (self.line, self.before) = (self.line + 1, 0);
            self.piece.clear();
        } else {
            // The overlap, from a character's beginning on.
            let mut keep = self.piece.len().saturating_sub(OVERLAP);
            while keep < self.piece.len() && self.piece[keep] & 0xc0 == 0x80 {
                keep += 1;
            }
            self.before += characters(&self.piece[..keep]);
            self.piece.drain(..keep);
            seen = self.piece.len();
        }
        loop {
            let bytes = self.reader.fill_buf()?;
            let most = (LINE - self.piece.len()).min(bytes.len());
            if bytes.is_empty() {
                self.ended = true;
                return Ok((self.piece.len() > seen).then_some(seen));
            }
            let end = bytes[..most].iter().position(|byte| *byte == b'\n');
            self.piece.extend_from_slice(&bytes[..end.unwrap_or(most)]);
            self.reader.consume(end.map_or(most, |end| end + 1));
            if end.is_some() || self.piece.len() == LINE {
                self.ended = end.is_some();
                return Ok(Some(seen));
            }
        }
    }
}

fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Everything found in a file.
pub fn scan(rules: &Rules, lines: &mut Lines) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    // A private key's first line says what it is, its second that it is one.
    let (mut key, mut comment): (Option<Found>, Option<Vec<String>>) = (None, None);
    while let Some(seen) = lines.next()? {
        let line = Line { rules, bytes: &lines.piece, number: lines.line, before: lines.before };
        if let Some(mut key) = key.take()
            && let Some(body) = line.key_body(0)
        {
            key.value = body.to_vec();
            found.push(key);
        }
        let first = found.len();
        line.marks(seen, &mut found);
        line.assignments(seen, &mut found);
        line.urls(seen, &mut found);
        key = line.private_key(&mut found);
        line.own(seen, &mut found);
        if rules.is_on(ENTROPY) {
            line.random(seen, first, &mut found);
        }
        let here = line.comment();
        for found in &mut found[first..] {
            let id = &*rules.get(found.rule).id;
            let permits = |ids: &Vec<String>| ids.is_empty() || ids.iter().any(|allowed| allowed == id);
            found.commented = here.as_ref().is_some_and(permits) || comment.as_ref().is_some_and(permits);
        }
        if let Some(key) = &mut key {
            key.commented = here.is_some() || comment.is_some();
        }
        // A comment permits the line behind it only where it stands alone.
        comment = here.filter(|_| found.len() == first && key.is_none());
        if found.len() > 10_000 {
            bail!("line {} and those before hold more than 10000 secrets: leave the file out by `exclude`", lines.line);
        }
    }
    Ok(found)
}

struct Line<'a> {
    rules: &'a Rules,
    bytes: &'a [u8],
    number: usize,
    before: usize,
}

impl Line<'_> {
    /// Something that begins and ends at these bytes.
    fn found(&self, rule: usize, shown: &[u8], start: usize, end: usize) -> Found {
        let shown: String = String::from_utf8_lossy(shown).chars().take(60).flat_map(char::escape_default).collect();
        let column = self.before + characters(&self.bytes[..start]) + 1;
        // So much of the line as tells it from others, and does not depend on where pieces of it begin.
        let from = self.bytes[..start].trim_ascii_start();
        let context = [&from[from.len().saturating_sub(100)..], &b"\0"[..]].concat();
        let value = self.bytes[start..end].to_vec();
        let length = characters(&value);
        Found { rule, line: self.number, column, shown, length, context, value, commented: false }
    }

    /// Keys that begin with a mark.
    fn marks(&self, seen: usize, found: &mut Vec<Found>) {
        let bytes = self.bytes;
        let mut at = 0;
        while at < bytes.len() {
            let marks = self.rules.marks(bytes[at]);
            // A mark in the middle of a word is none.
            if marks.is_empty() || at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
                at += 1;
                continue;
            }
            let hit = marks.iter().filter(|mark| self.rules.is_on(mark.rule)).find_map(|mark| {
                let rest = bytes[at..].strip_prefix(mark.mark)?;
                let length = rest.iter().take_while(|byte| mark.class.has(**byte)).count();
                (mark.least..=mark.most).contains(&length).then_some((mark, at + mark.mark.len() + length))
            });
            let Some((mark, end)) = hit else {
                at += 1;
                continue;
            };
            let value = &bytes[at..end];
            let jwt = mark.mark != b"eyJ" || value.iter().filter(|byte| **byte == b'.').count() == 2;
            if end > seen && jwt && !is_example(&value[mark.mark.len()..]) {
                found.push(self.found(mark.rule, mark.mark, at, end));
            }
            at = end;
        }
    }

    /// `password = "..."`, `"apiKey": "..."`, `TOKEN=...`
    fn assignments(&self, seen: usize, found: &mut Vec<Found>) {
        if !self.rules.is_on(ASSIGNED) {
            return;
        }
        let bytes = self.bytes;
        let signs = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'=' | b':'));
        for (sign, _) in signs {
            let before = bytes[..sign].trim_ascii_end();
            let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
            let name = before.iter().rev().take(60).take_while(|byte| Class::Dotted.has(**byte)).count();
            let name = &before[before.len() - name..];
            if !is_secret_name(name) {
                continue;
            }
            // `=`, `:`, `:=`, `=>` and `==`.
            let mut start = sign + 1;
            while bytes.get(start).is_some_and(|byte| matches!(byte, b'=' | b'>' | b' ' | b'\t')) {
                start += 1;
            }
            let quote = bytes.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
            start += usize::from(quote.is_some());
            let rest = &bytes[start.min(bytes.len())..];
            let length = match quote {
                Some(quote) => match rest.iter().take(OVERLAP / 2).position(|byte| *byte == quote) {
                    Some(length) => length,
                    None => continue,
                },
                // Without quotes only where the value ends with the line, as in `.env` and YAML: else it is code.
                None => {
                    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'#' | b',' | b';');
                    let length = rest.iter().take(OVERLAP / 2).take_while(|byte| !ends(byte)).count();
                    let behind = rest[length..].trim_ascii_start();
                    let code = rest[..length]
                        .iter()
                        .any(|byte| matches!(byte, b'(' | b')' | b'[' | b'{' | b'<' | b'$' | b'&' | b'"'));
                    if code || !(behind.is_empty() || behind.starts_with(b"#")) {
                        continue;
                    }
                    length
                }
            };
            let (value, end) = (&rest[..length], start + length);
            let known = found.iter().any(|other| {
                other.line == self.number && contains(&other.value, value) || contains(value, &other.value)
            });
            if end > seen && !known && is_secret_value(value, quote.is_some()) {
                let shown = [name, b" = "].concat();
                found.push(self.found(ASSIGNED, &shown, start, end));
            }
        }
    }

    /// `https://user:password@host`
    fn urls(&self, seen: usize, found: &mut Vec<Found>) {
        if !self.rules.is_on(URL_PASSWORD) {
            return;
        }
        let bytes = self.bytes;
        let mut at = 0;
        while let Some(scheme) = find(&bytes[at..], b"://") {
            let start = at + scheme + 3;
            at = start;
            let inside = |byte: &u8| {
                byte.is_ascii_graphic() && !matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'<' | b'>' | b'?' | b'#')
            };
            let length = bytes[start..].iter().take(OVERLAP / 2).take_while(|byte| inside(byte)).count();
            let authority = &bytes[start..start + length];
            let Some(host) = authority.iter().rposition(|byte| *byte == b'@') else { continue };
            let Some(colon) = authority[..host].iter().position(|byte| *byte == b':') else { continue };
            let value = &authority[colon + 1..host];
            if start + host > seen && value.len() >= 6 && !is_placeholder(value) {
                found.push(self.found(URL_PASSWORD, b"://", start + colon + 1, start + host));
            }
        }
    }

    /// The head of a private key: with its body on the same line it is found, else it is returned, for the next line to tell.
    fn private_key(&self, found: &mut Vec<Found>) -> Option<Found> {
        if !self.rules.is_on(PRIVATE_KEY) {
            return None;
        }
        let begin = find(self.bytes, b"-----BEGIN ")?;
        let rest = &self.bytes[begin..];
        let kind = find(rest, b"PRIVATE KEY").filter(|kind| *kind <= 40)?;
        let head = kind + find(&rest[kind..], b"-----").filter(|length| *length <= 17)? + 5;
        let mut key = self.found(PRIVATE_KEY, &rest[..head], begin, begin + head);
        key.length = 0;
        let behind = rest[head..].trim_ascii();
        if behind.is_empty() {
            return Some(key);
        }
        key.value = self.key_body(begin + head)?.to_vec();
        found.push(key);
        None
    }

    /// What can be a key's body at a byte: base64, or a header of one, behind line breaks that are escaped.
    fn key_body(&self, at: usize) -> Option<&[u8]> {
        let mut rest = self.bytes[at..].trim_ascii();
        while let Some(less) = rest.strip_prefix(b"\\n").or_else(|| rest.strip_prefix(b"\\r")) {
            rest = less;
        }
        let rest = rest.trim_ascii_start();
        let rest = rest.strip_prefix(b"\"").or_else(|| rest.strip_prefix(b"'")).unwrap_or(rest);
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')).count();
        let header =
            [&b"Proc-Type:"[..], b"DEK-Info:", b"Version:", b"Comment:"].iter().any(|header| rest.starts_with(header));
        (length >= 20 || header).then_some(&rest[..length])
    }

    /// A pipeline's own patterns.
    fn own(&self, seen: usize, found: &mut Vec<Found>) {
        if self.rules.own.is_empty() {
            return;
        }
        let lossy = String::from_utf8_lossy(self.bytes);
        let lower = lossy.to_ascii_lowercase();
        for own in self.rules.own.iter().filter(|own| self.rules.is_on(own.rule)) {
            if !own.keywords.is_empty() && !own.keywords.iter().any(|word| lower.contains(word.as_str())) {
                continue;
            }
            for captures in own.regex.captures_iter(&lossy).take(1_000) {
                let Some(value) = captures.get(1).or_else(|| captures.get(0)) else { continue };
                if value.end() <= seen {
                    continue;
                }
                let line = Line { bytes: lossy.as_bytes(), ..*self };
                found.push(line.found(own.rule, b"", value.start(), value.end()));
            }
        }
    }

    /// Long texts that look random.
    fn random(&self, seen: usize, first: usize, found: &mut Vec<Found>) {
        let bytes = self.bytes;
        let mut at = 0;
        while at < bytes.len() {
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-');
            let length = bytes[at..].iter().take_while(|byte| word(byte)).count();
            let (start, end) = (at, at + length);
            at = end + 1;
            let value = &bytes[start..end];
            let known =
                found[first..].iter().any(|other| contains(&other.value, value) || contains(value, &other.value));
            if end > seen && (32..=OVERLAP / 2).contains(&length) && !known && entropy(value) >= 4.5 {
                found.push(self.found(ENTROPY, b"", start, end));
            }
        }
    }

    /// The rules that a comment on this line permits; none: all.
    fn comment(&self) -> Option<Vec<String>> {
        let at = find(self.bytes, COMMENT.as_bytes())?;
        let rest = &self.bytes[at + COMMENT.len()..];
        let inside =
            rest.strip_prefix(b"(").and_then(|rest| Some(&rest[..rest.iter().position(|byte| *byte == b')')?]));
        let ids = inside.map(String::from_utf8_lossy).unwrap_or_default();
        Some(ids.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    !what.is_empty() && find(bytes, what).is_some()
}

/// Whether something of this name is a secret: its last words say so.
fn is_secret_name(name: &[u8]) -> bool {
    const WORDS: [&str; 13] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "secretkey",
        "apikey",
        "token",
        "accesskey",
        "authkey",
        "privatekey",
        "credential",
        "credentials",
        "pwd",
    ];
    let plain = |byte: &&u8| byte.is_ascii_alphanumeric();
    let name: Vec<u8> = name.iter().filter(plain).map(u8::to_ascii_lowercase).collect();
    WORDS.iter().any(|word| name.ends_with(word.as_bytes()))
}

/// Whether a value can be a secret that somebody wrote down.
fn is_secret_value(value: &[u8], quoted: bool) -> bool {
    let printable = value.iter().all(|byte| byte.is_ascii_graphic());
    let digit = value.iter().any(u8::is_ascii_digit);
    let letter = value.iter().any(u8::is_ascii_alphabetic);
    // Words, paths, names of variables and types have no digits, or little entropy.
    let (least, bits) = if quoted { (8, 2.8) } else { (12, 3.2) };
    printable && letter && digit && value.len() >= least && entropy(value) >= bits && !is_placeholder(value)
}

/// Whether it is what documents write in place of a secret.
fn is_placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let marks: [&[u8]; 17] = [
        b"${",
        b"{{",
        b"$(",
        b"%(",
        b"<",
        b"*",
        b"...",
        b"example",
        b"changeme",
        b"change-me",
        b"placeholder",
        b"your-",
        b"your_",
        b"dummy",
        b"xxxx",
        b"secrets.",
        b"env.",
    ];
    let words: [&[u8]; 4] = [b"password", b"passwd", b"passphrase", b"secret"];
    words.contains(&&*lower)
        || marks.iter().any(|mark| contains(&lower, mark))
        || lower.starts_with(b"$")
        || lower.starts_with(b"{")
        || lower.starts_with(b"%")
}

/// Whether a key is one that its issuer's documents use, or nothing but one character.
fn is_example(value: &[u8]) -> bool {
    value.ends_with(b"EXAMPLE")
        || value.iter().all(|byte| Some(byte) == value.first())
        || contains(&value.to_ascii_lowercase(), b"xxxxxx")
}

/// Bits a character, as Shannon has it.
pub fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let all = bytes.len() as f64;
    let part = |count: &u32| f64::from(*count) / all;
    -counts.iter().filter(|count| **count > 0).map(part).map(|part| part * part.log2()).sum::<f64>()
}
