//! Values of secrets: where they are put, and how they are kept out of everything else.
//!
//! A guest gets a placeholder. [`Secrets::place`] puts the value in its stead, in what is sent within a grant. [`Secrets::mask`] and
//! [`Masking`] take values, and the forms in which programs and servers write them, out of what comes back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lockgate_model::Digest;
use lockgate_model::grant::{SecretGrant, SecretName};
use lockgate_model::task::Task;

/// Shortest value in bytes. What is shorter stands in any text by chance, so it could be guessed, and could not be masked.
const MIN_VALUE: usize = 8;
/// Longest value in bytes: a key with its chain of certificates.
const MAX_VALUE: usize = 64 << 10;
/// Shortest line of a value of several lines that is masked for itself.
const MIN_LINE: usize = 16;
/// Longest value in bytes that is searched as a whole. A longer one is searched in parts of half of it: what finds all of them at once
/// grows with the longest, and fast where it repeats itself.
const MAX_WHOLE: usize = 512;
/// What stands where a value stood.
const MASK: &str = "***";
/// Domain of placeholders.
const PLACEHOLDER_DOMAIN: &str = "lockgate-secret-v1";

/// The values of a run's secrets.
#[derive(Default)]
pub struct Secrets {
    values: BTreeMap<SecretName, Vec<u8>>,
    /// All forms of all values; none where there are no secrets.
    forms: Option<Forms>,
}

struct Forms {
    search: AhoCorasick,
    longest: usize,
}

/// A value that cannot be used as a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use the secret `{name}`: {reason}")]
pub struct SecretError {
    /// Its name.
    pub name: SecretName,
    /// What is wrong with its value, for people.
    pub reason: String,
}

impl Secrets {
    /// Secrets with these values. None may be shorter than 8 bytes or longer than 64 KiB.
    pub fn new(values: BTreeMap<SecretName, Vec<u8>>) -> Result<Self, SecretError> {
        let mut forms = BTreeSet::new();
        for (name, value) in &values {
            let wrong = |reason: String| SecretError { name: name.clone(), reason };
            match value.len() {
                0 => return Err(wrong("its value is empty".into())),
                len if len < MIN_VALUE => {
                    return Err(wrong(format!(
                        "its value has {len} bytes; one of less than {MIN_VALUE} could be guessed, and not be masked"
                    )));
                }
                len if len > MAX_VALUE => {
                    return Err(wrong(format!("its value has {len} bytes: at most {MAX_VALUE}")));
                }
                _ => self::forms(value, &mut forms),
            }
        }
        let longest = forms.iter().map(Vec::len).max();
        let forms = match longest {
            None => None,
            Some(longest) => {
                let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
                let Ok(search) = search else {
                    let name = values.keys().next().cloned();
                    let reason = "all values together are too large".to_owned();
                    // There is a form, so there is a value.
                    return name.map_or_else(|| Ok(Self::default()), |name| Err(SecretError { name, reason }));
                };
                Some(Forms { search, longest })
            }
        };
        Ok(Self { values, forms })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A secret's value.
    pub(crate) fn value(&self, name: &SecretName) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// The same bytes with `***` for each value.
    pub(crate) fn mask_bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        match &self.forms {
            Some(forms) if forms.search.is_match(bytes) => {
                let mut masked = Vec::with_capacity(bytes.len());
                forms.search.replace_all_with_bytes(bytes, &mut masked, |_, _, to| {
                    to.extend_from_slice(MASK.as_bytes());
                    true
                });
                Cow::Owned(masked)
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    /// The same text with `***` for each value.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A value that is no UTF-8 may begin in the middle of a character.
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// Whether a value stands in it, in any form.
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.forms.as_ref().is_some_and(|forms| forms.search.is_match(bytes))
    }

    /// Masks a stream.
    pub(crate) fn masking(&self) -> Masking<'_> {
        Masking { forms: self.forms.as_ref(), kept: Vec::new(), found: false }
    }

    /// Puts values in place of the task's placeholders. `Err` names a secret that has no value here.
    pub(crate) fn place<'b>(&self, task: &Task, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, SecretName> {
        let mut placed = Cow::Borrowed(bytes);
        for grant in &task.grants.secrets {
            let placeholder = placeholder(task, &grant.name);
            if contains(&placed, placeholder.as_bytes()) {
                let value = self.value(&grant.name).ok_or_else(|| grant.name.clone())?;
                placed = Cow::Owned(replace(&placed, placeholder.as_bytes(), value));
            }
        }
        Ok(placed)
    }
}

impl fmt::Debug for Secrets {
    /// Names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// The grants of the secrets whose placeholders stand in these bytes.
pub(crate) fn placed_in<'t>(task: &'t Task, bytes: &'t [u8]) -> impl Iterator<Item = &'t SecretGrant> {
    task.grants.secrets.iter().filter(move |grant| contains(bytes, placeholder(task, &grant.name).as_bytes()))
}

/// What stands for a secret in the guest: the same in each execution of one task, and nothing that stands in other texts.
pub(crate) fn placeholder(task: &Task, name: &SecretName) -> String {
    let of = (task.component, Digest::of(task.config.as_bytes()), &task.inputs, name);
    let digest = Digest::of_json(PLACEHOLDER_DOMAIN, &of);
    format!("lockgate-secret-{}", &digest.hex()[..32])
}

/// Whether a placeholder stands in bytes.
pub(crate) fn contains(bytes: &[u8], placeholder: &[u8]) -> bool {
    bytes.windows(placeholder.len()).any(|window| window == placeholder)
}

/// Puts a value in place of a placeholder, wherever it stands.
pub(crate) fn replace(bytes: &[u8], placeholder: &[u8], value: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len() + value.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(placeholder.len()).position(|window| window == placeholder) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(value);
        rest = &rest[at + placeholder.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// Masks bytes that come in pieces: a value that lies across two pieces is found, too.
pub(crate) struct Masking<'s> {
    forms: Option<&'s Forms>,
    /// The end of what came, which may be the beginning of a value.
    kept: Vec<u8>,
    found: bool,
}

impl Masking<'_> {
    /// Takes a piece; gives what is settled.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(forms) = self.forms else { return piece.to_vec() };
        self.kept.extend_from_slice(piece);
        // A match that begins before this place is whole in what came; one that begins behind it may be longer than it looks.
        let settled = (self.kept.len() + 1).saturating_sub(forms.longest);
        self.take(settled)
    }

    /// Whether a value stands in what came.
    pub(crate) fn found_any(mut self) -> bool {
        self.take(usize::MAX);
        self.found
    }

    /// The rest.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.take(usize::MAX)
    }

    fn take(&mut self, settled: usize) -> Vec<u8> {
        let Some(forms) = self.forms else { return Vec::new() };
        let mut out = Vec::new();
        let mut from = 0;
        for found in forms.search.find_iter(&self.kept) {
            if found.start() >= settled {
                break;
            }
            out.extend_from_slice(&self.kept[from..found.start()]);
            out.extend_from_slice(MASK.as_bytes());
            from = found.end();
            self.found = true;
        }
        let end = settled.min(self.kept.len()).max(from);
        out.extend_from_slice(&self.kept[from..end]);
        self.kept.drain(..end);
        out
    }
}

/// All forms in which a value may be written: as it is, as hexadecimal digits, as base64 in both alphabets at each of the three places
/// where it can begin, as in URLs and forms, as in JSON; and for themselves its longer lines, and keys in it if it is part of a URL.
fn forms(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    if value.len() <= MAX_WHOLE {
        one(value, forms);
    } else {
        let part = MAX_WHOLE / 2;
        value.chunks_exact(part).for_each(|part| one(part, forms));
        // The last one overlaps the one before.
        one(&value[value.len() - part..], forms);
    }
    if value.contains(&b'/') {
        url_parts(value).for_each(|part| one(part, forms));
    }
    if value.contains(&b'\n') {
        let lines = value.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        lines.filter(|line| (MIN_LINE..=MAX_WHOLE).contains(&line.len())).for_each(|line| one(line, forms));
    }
}

/// What looks like a key among the parts of a value that is one of a URL: whoever takes such a URL apart shows it alone.
fn url_parts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let key = |part: &&[u8]| {
        (MIN_LINE..=MAX_WHOLE).contains(&part.len())
            && part.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
            && part.iter().any(u8::is_ascii_digit)
    };
    value.split(|byte| b"/?&=".contains(byte)).filter(key)
}

fn one(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    forms.insert(value.to_vec());
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.insert(hex.to_ascii_uppercase().into());
    forms.insert(hex.into());
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            // What stands before it has an influence on the first characters, what stands behind it on the last one.
            let mut shifted = vec![0; before];
            shifted.extend_from_slice(value);
            let text = engine.encode(&shifted);
            let start = (before * 8).div_ceil(6);
            let end = shifted.len() * 8 / 6;
            forms.extend(text.get(start..end).map(|text| text.as_bytes().to_vec()));
        }
    }
    for (upper, plus) in [(true, false), (false, false), (true, true), (false, true)] {
        forms.insert(percent(value, upper, plus, b"-._~"));
        forms.insert(percent(value, upper, plus, b"-._*"));
        // As servers write paths into redirects and pages.
        forms.insert(percent(value, upper, plus, b"-._~/"));
        // As JavaScript's `encodeURIComponent` has it.
        forms.insert(percent(value, upper, plus, b"-._~!*'()"));
    }
    if let Ok(text) = std::str::from_utf8(value)
        && let Ok(json) = serde_json::to_string(text)
    {
        forms.insert(json.trim_matches('"').as_bytes().to_vec());
        forms.insert(json[1..json.len() - 1].replace('/', "\\/").into_bytes());
    }
}

fn percent(value: &[u8], upper: bool, plus: bool, plain: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b' ' if plus => text.push(b'+'),
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => text.push(*byte),
            byte if upper => text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            byte => text.extend_from_slice(format!("%{byte:02x}").as_bytes()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "s3cr\u{e9}t / \"value\"+?";

    fn secrets(values: &[&str]) -> Secrets {
        let names = (0..).map(|n| SecretName::new(&format!("s{n}")).unwrap());
        Secrets::new(names.zip(values.iter().map(|value| value.as_bytes().to_vec())).collect()).unwrap()
    }

    #[test]
    fn all_forms_are_masked() {
        let secrets = secrets(&[VALUE]);
        let mut texts = vec![
            VALUE.to_owned(),
            VALUE.bytes().map(|byte| format!("{byte:02x}")).collect(),
            VALUE.bytes().map(|byte| format!("{byte:02X}")).collect(),
            serde_json::to_string(VALUE).unwrap(),
            url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect(),
        ];
        for before in ["", "u", "us", "user:"] {
            for after in ["", ";", ";;"] {
                let whole = format!("{before}{VALUE}{after}");
                texts.push(base64::engine::general_purpose::STANDARD.encode(&whole));
                texts.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&whole));
            }
        }
        for text in texts {
            let masked = secrets.mask(&text);
            assert!(masked.contains("***"), "{text}");
            assert!(masked.len() <= 3 + 2 * 4 + 8, "{text} -> {masked}");
        }
        assert_eq!(secrets.mask("nothing here"), "nothing here");
        assert_eq!(Secrets::default().mask(VALUE), VALUE);
    }

    #[test]
    fn pieces_are_masked_like_the_whole() {
        let secrets = secrets(&["abcdefgh", "abcdefghijkl", "hgfedcba"]);
        let whole = b"xxabcdefghyyabcdefghijklzzhgfedcbaabcdefg".repeat(3);
        let expected = secrets.mask_bytes(&whole).into_owned();
        for size in 1..=whole.len() {
            let mut masking = secrets.masking();
            let mut out: Vec<u8> = whole.chunks(size).flat_map(|piece| masking.push(piece)).collect();
            out.extend(masking.finish());
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected), "{size}");
        }
    }

    #[test]
    fn long_values_are_masked_in_parts() {
        let varied: String = (0..20_000).map(|n| char::from(b'a' + (n * n / 7 % 26) as u8)).collect();
        for value in [varied, "x".repeat(64 << 10)] {
            let secrets = secrets(&[&value]);
            let base64 = base64::engine::general_purpose::STANDARD.encode(&value);
            for text in [format!("before {value} after"), format!("before {base64} after")] {
                let masked = secrets.mask(&text);
                assert!(masked.starts_with("before ***") && masked.ends_with(" after"), "{masked}");
                let left = masked.replace('*', "").len();
                assert!(left < 20 + text.len() / 100, "{left} of {} bytes are left", text.len());
            }
        }
    }

    #[test]
    fn lines_of_a_key_are_masked_for_themselves() {
        let secrets = secrets(&["-----BEGIN KEY-----\r\nMC4CAQAwBQYDK2VwBCIEIA\r\nshort\r\n-----END KEY-----"]);
        assert_eq!(secrets.mask("line MC4CAQAwBQYDK2VwBCIEIA, short"), "line ***, short");
    }

    #[test]
    fn keys_in_a_url_are_masked_for_themselves() {
        let secrets = secrets(&["T0123/B4567/aB3dE5gH7jK9mN1pQ3sT5vW7"]);
        let text = "no such hook: aB3dE5gH7jK9mN1pQ3sT5vW7 of T0123%2FB4567%2FaB3dE5gH7jK9mN1pQ3sT5vW7";
        assert_eq!(secrets.mask(text), "no such hook: *** of ***");
    }

    #[test]
    fn values_that_cannot_be_kept_are_refused() {
        let one = |value: &str| Secrets::new([(SecretName::new("s").unwrap(), value.into())].into());
        assert!(one("").unwrap_err().to_string().contains("is empty"));
        assert!(one("1234567").unwrap_err().to_string().contains("less than 8"));
        assert!(one(&"x".repeat(65 << 10)).is_err());
        assert!(one("12345678").is_ok());
    }
}
