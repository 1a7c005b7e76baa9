//! What stands inside of a file: all secrets of one environment with their versions, as JSON, encrypted to one X25519 key.
//!
//! Version 1 of the text inside, an object without further members: `schema` is 1; `environment` names it, so that a file under
//! another name is found out; `secrets` has, by name, `last`, the highest number that was ever given, and `versions`, from old to new,
//! each with its `number`, `created` in milliseconds since 1970, and `value` in base64.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;

use age::{DecryptError, Decryptor};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::identity::Identities;

/// Shortest value in bytes. What is shorter could be guessed, and could not be masked.
pub const MIN_VALUE: usize = 8;
/// Longest value in bytes: a key with its chain of certificates.
pub const MAX_VALUE: usize = 64 << 10;
/// Versions of a secret that are kept: enough to go back after some bad changes, few enough that old values do not pile up.
pub const KEPT: usize = 10;
/// Largest text inside: two hundred of the longest secrets with a version, or some ten thousand tokens.
pub(crate) const MAX_TEXT: u64 = 16 << 20;
/// Largest file: the text, its authentication (16 bytes for each 64 KiB), and a header.
pub(crate) const MAX_FILE: u64 = MAX_TEXT + (64 << 10);
/// Number of the format of the text inside.
const SCHEMA: u32 = 1;

/// A secret's value: at least 8 bytes, at most 64 KiB. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

/// Bytes that cannot be a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// None at all.
    #[error("use the value: it is empty")]
    Empty,
    /// Too few.
    #[error("use the value: it has less than {MIN_VALUE} bytes, so it could be guessed, and not be masked")]
    Short,
    /// Too many.
    #[error("use the value: it has more than {MAX_VALUE} bytes")]
    Long,
}

impl Value {
    /// A value of these bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ValueError> {
        match bytes.len() {
            0 => Err(ValueError::Empty),
            len if len < MIN_VALUE => Err(ValueError::Short),
            len if len > MAX_VALUE => Err(ValueError::Long),
            _ => Ok(Self(bytes)),
        }
    }

    /// A value that nobody can guess: as many random bytes of the system, written in base64 for URLs, without padding.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn generate(bytes: u16) -> std::io::Result<Self> {
        let mut random = vec![0; usize::from(bytes.clamp(16, 1_024))];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(random).into_bytes()))
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for Value {
    /// Nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(***)")
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What is wrong with it would show some of it.
        let bytes = STANDARD.decode(text).map_err(|_| de::Error::custom("a value is not base64"))?;
        Self::new(bytes).map_err(|_| de::Error::custom("a value is too short or too long"))
    }
}

/// All secrets of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Environment {
    schema: u32,
    pub(crate) environment: String,
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// One secret; without any version it was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    pub(crate) last: u32,
    pub(crate) versions: Vec<Stored>,
}

/// One version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) number: u32,
    pub(crate) created: u64,
    pub(crate) value: Value,
}

/// Why a file cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// It is encrypted to other keys.
    OtherKeys,
    /// A later engine wrote it.
    Newer(u32),
    /// It is not what was written.
    Damaged(String),
}

/// Why a file cannot be made.
#[derive(Debug)]
pub(crate) enum NotSealed {
    /// All of it is too large.
    Full,
    /// The encryption failed.
    Encryption(String),
}

impl Secret {
    /// Adds a version; gives its number and those of the oldest ones that went for it. None if there are no numbers left.
    pub(crate) fn add(&mut self, value: Value, created: u64) -> Option<(u32, Vec<u32>)> {
        let number = self.last.checked_add(1)?;
        self.last = number;
        self.versions.push(Stored { number, created, value });
        let over = self.versions.len().saturating_sub(KEPT);
        Some((number, self.versions.drain(..over).map(|version| version.number).collect()))
    }

    fn is_in_order(&self) -> bool {
        let numbers: Vec<_> = self.versions.iter().map(|version| version.number).collect();
        numbers.is_sorted_by(|a, b| a < b)
            && numbers.first().is_none_or(|first| *first > 0)
            && numbers.last().is_none_or(|last| *last <= self.last)
    }
}

impl Environment {
    /// One without secrets.
    pub(crate) fn new(name: &str) -> Self {
        Self { schema: SCHEMA, environment: name.to_owned(), secrets: BTreeMap::new() }
    }

    /// Its file.
    pub(crate) fn seal(&self, identities: &Identities) -> Result<Vec<u8>, NotSealed> {
        let text = serde_json::to_vec(self).map_err(|error| NotSealed::Encryption(error.to_string()))?;
        if text.len() as u64 > MAX_TEXT {
            return Err(NotSealed::Full);
        }
        age::encrypt(&identities.current().to_public(), &text).map_err(|error| NotSealed::Encryption(error.to_string()))
    }

    /// Opens the file of the environment with this name.
    pub(crate) fn open(file: &[u8], name: &str, identities: &Identities) -> Result<Self, NotOpened> {
        let text = decrypt(file, identities)?;
        #[derive(Deserialize)]
        struct Any {
            schema: u32,
        }
        // Messages of the reader would show what stands there.
        let damaged = |what: &str| NotOpened::Damaged(what.to_owned());
        let any: Any = serde_json::from_slice(&text).map_err(|_| damaged("what it holds is no list of secrets"))?;
        if any.schema > SCHEMA {
            return Err(NotOpened::Newer(any.schema));
        }
        let read: Self = serde_json::from_slice(&text)
            .map_err(|error| damaged(&format!("what it holds is wrong at its byte {}", error.column())))?;
        if read.environment != name {
            return Err(damaged(&format!("it is that of the environment `{}`", read.environment.escape_debug())));
        }
        if !read.secrets.values().all(Secret::is_in_order) {
            return Err(damaged("its versions are not in order"));
        }
        Ok(read)
    }
}

fn decrypt(file: &[u8], identities: &Identities) -> Result<Vec<u8>, NotOpened> {
    let damaged = |what: &str| NotOpened::Damaged(what.to_owned());
    let failed = |error: DecryptError| match error {
        DecryptError::NoMatchingKeys => NotOpened::OtherKeys,
        DecryptError::InvalidHeader | DecryptError::InvalidMac => damaged("its head was altered or cut off"),
        DecryptError::UnknownFormat => damaged("it is no age file, or one of a later version"),
        DecryptError::Io(_) => damaged("its head is cut off"),
        // The enum is open.
        _ => damaged("it was altered"),
    };
    if file.is_empty() {
        return Err(damaged("it is empty"));
    }
    let decryptor = Decryptor::new_buffered(file).map_err(failed)?;
    let mut reader = decryptor.decrypt(identities.keys().map(|key| key as &dyn age::Identity)).map_err(failed)?;
    let mut text = Vec::new();
    reader.read_to_end(&mut text).map_err(|_| damaged("it was altered or cut off"))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::new(text.as_bytes().to_vec()).unwrap()
    }

    fn environment() -> Environment {
        let mut environment = Environment::new("staging");
        let secret = environment.secrets.entry("token".into()).or_default();
        secret.add(value("first value"), 1).unwrap();
        secret.add(value("second value"), 2).unwrap();
        environment
    }

    #[test]
    fn values_have_limits_and_are_not_shown() {
        assert_eq!(Value::new(vec![]), Err(ValueError::Empty));
        assert_eq!(Value::new(vec![0; MIN_VALUE - 1]), Err(ValueError::Short));
        assert_eq!(Value::new(vec![0; MAX_VALUE + 1]), Err(ValueError::Long));
        assert!(Value::new(vec![0; MIN_VALUE]).is_ok() && Value::new(vec![0; MAX_VALUE]).is_ok());
        assert!(!format!("{:?}", environment()).contains("first"));
    }

    #[test]
    fn generated_values_are_long_and_differ() {
        let one = Value::generate(32).unwrap();
        assert_eq!(one.0.len(), 43);
        assert_ne!(one, Value::generate(32).unwrap());
        assert_eq!((Value::generate(0).unwrap().0.len(), Value::generate(u16::MAX).unwrap().0.len()), (22, 1_366));
    }

    #[test]
    fn what_is_sealed_is_opened() {
        let identities = Identities::generate();
        let file = environment().seal(&identities).unwrap();
        assert_eq!(Environment::open(&file, "staging", &identities), Ok(environment()));
        let plain = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!plain("staging") && !plain("token") && !plain("value") && plain("age-encryption.org/v1"));
        let other = Identities::generate();
        assert_eq!(Environment::open(&file, "staging", &other), Err(NotOpened::OtherKeys));
        assert!(Environment::open(&file, "staging", &identities.behind(&other)).is_ok());
        let moved = Environment::open(&file, "production", &identities).unwrap_err();
        assert_eq!(moved, NotOpened::Damaged("it is that of the environment `staging`".into()));
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_found() {
        let identities = Identities::generate();
        let file = environment().seal(&identities).unwrap();
        for at in 0..file.len() {
            assert!(Environment::open(&file[..at], "staging", &identities).is_err(), "cut at {at}");
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(Environment::open(&altered, "staging", &identities).is_err(), "altered at {at}");
        }
        let longer = [&file[..], b"x"].concat();
        assert!(Environment::open(&longer, "staging", &identities).is_err());
    }

    #[test]
    fn texts_inside_that_are_wrong_are_told_without_showing_them() {
        let identities = Identities::generate();
        let open = |text: &str| {
            let file = age::encrypt(&identities.current().to_public(), text.as_bytes()).unwrap();
            Environment::open(&file, "e", &identities)
        };
        let json = |secrets: &str| format!("{{\"schema\":1,\"environment\":\"e\",\"secrets\":{{{secrets}}}}}");
        let version = |number: u32, value: &str| format!("{{\"number\":{number},\"created\":0,\"value\":\"{value}\"}}");
        let secret = |last: u32, versions: &[String]| {
            json(&format!("\"s\":{{\"last\":{last},\"versions\":[{}]}}", versions.join(",")))
        };
        let good = "MTIzNDU2Nzg=";
        assert!(open(&secret(2, &[version(1, good), version(2, good)])).is_ok());
        assert_eq!(open("{\"schema\":2,\"more\":1}"), Err(NotOpened::Newer(2)));
        for text in [
            "secret text".to_owned(),
            "{\"schema\":1}".into(),
            json("\"s\":{\"last\":1,\"versions\":[],\"secretive\":1}"),
            secret(2, &[version(2, good), version(1, good)]),
            secret(2, &[version(2, good), version(2, good)]),
            secret(1, &[version(2, good)]),
            secret(1, &[version(0, good)]),
            secret(1, &[version(1, "secret!!")]),
            secret(1, &[version(1, "c2VjcmV0")]),
        ] {
            match open(&text) {
                Err(NotOpened::Damaged(what)) => {
                    assert!(!what.contains("secretive") && !what.contains("c2V"), "{what}")
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn old_versions_go_and_numbers_never_come_again() {
        let mut secret = Secret::default();
        for number in 1..=KEPT as u32 {
            assert_eq!(secret.add(value("12345678"), 0), Some((number, vec![])));
        }
        assert_eq!(secret.add(value("12345678"), 0), Some((KEPT as u32 + 1, vec![1])));
        secret.versions.clear();
        assert_eq!(secret.add(value("12345678"), 0), Some((KEPT as u32 + 2, vec![])));
        secret.last = u32::MAX;
        assert_eq!(secret.add(value("12345678"), 0), None);
    }
}
