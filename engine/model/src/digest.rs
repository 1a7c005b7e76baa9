//! Digests: sha-256 everywhere, domain-separated for structures, plain for bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::canonical::canonical_json;
use crate::text::from_text;

/// A sha-256 digest; written `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text that is not `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse digest `{0}`: expected `sha256:` and 64 hexadecimal digits")]
pub struct ParseDigestError(pub String);

impl Digest {
    /// Digest of plain bytes: what names a blob or a component.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digest of `bytes` under a domain: sha-256 of the domain's text, one zero byte, then the bytes. So a structure of one
    /// kind never has the digest of another kind, nor that of a blob by accident.
    pub fn tagged(domain: &str, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::tagged(domain);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Digest of a value's canonical JSON (RFC 8785) under a domain.
    pub fn of_json<T: Serialize>(domain: &str, value: &T) -> Self {
        Self::tagged(domain, canonical_json(value).as_bytes())
    }

    /// The raw 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from its raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// 64 lower-case hexadecimal digits, without the `sha256:` in front.
    pub fn hex(&self) -> String {
        text_of(self.0, &mut [0; TEXT])[PREFIX.len()..].to_owned()
    }

    /// The first 12 hexadecimal digits, for people; never for look-ups.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
/// What each byte is worth as a hexadecimal digit; 255: it is none.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        let letter = HEX[digit as usize];
        nibbles[letter as usize] = digit;
        nibbles[letter.to_ascii_uppercase() as usize] = digit;
        digit += 1;
    }
    nibbles
};
const PREFIX: &str = "sha256:";
/// Length of a digest's text.
const TEXT: usize = PREFIX.len() + 64;

/// Writes a digest's text without allocating: it is written several times for each node.
fn text_of(bytes: [u8; 32], to: &mut [u8; TEXT]) -> &str {
    to[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
    for (pair, byte) in to[PREFIX.len()..].chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    // All of it is ASCII.
    std::str::from_utf8(to).unwrap_or_default()
}

/// Computes a [`Digest`] piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher for plain bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A hasher under a domain; see [`Digest::tagged`].
    pub fn tagged(domain: &str) -> Self {
        let mut hasher = Self::default();
        hasher.update(domain.as_bytes());
        hasher.update(&[0]);
        hasher
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text_of(self.0, &mut [0; TEXT]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDigestError(text.chars().take(80).collect());
        let hex = text.strip_prefix(PREFIX).ok_or_else(error)?.as_bytes();
        if hex.len() != 64 {
            return Err(error());
        }
        let mut bytes = [0; 32];
        let mut wrong = 0;
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            wrong |= high | low;
            *byte = high << 4 | low & 15;
        }
        // Only what is no digit has more than four bits.
        if wrong > 15 { Err(error()) } else { Ok(Self(bytes)) }
    }
}

impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "A sha-256 digest." })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text_of(self.0, &mut [0; TEXT]))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, str::parse)
    }
}

/// Merkle root over leaves in the given order, as RFC 6962 section 2.1 builds it: a leaf is hashed with 0x00 in front, an inner
/// node with 0x01, the left subtree is the largest power of two smaller than the number of leaves. No leaves: the digest of
/// nothing.
pub fn merkle_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => {
            let mut hasher = Hasher::new();
            hasher.update(&[0]);
            hasher.update(leaf.as_bytes());
            hasher.finish()
        }
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let mut hasher = Hasher::new();
            hasher.update(&[1]);
            hasher.update(merkle_root(&leaves[..split]).as_bytes());
            hasher.update(merkle_root(&leaves[split..]).as_bytes());
            hasher.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_abc_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), expected);
        assert_eq!(expected.parse::<Digest>().unwrap(), Digest::of(b"abc"));
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in ["", "sha256:", "md5:00", "sha256:zz", &format!("sha256:{}", "g".repeat(64)), &"a".repeat(71)] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn domains_separate() {
        assert_ne!(Digest::tagged("a", b"x"), Digest::tagged("b", b"x"));
        assert_ne!(Digest::tagged("a", b"x"), Digest::of(b"x"));
    }

    #[test]
    fn merkle_root_is_that_of_rfc_6962() {
        let leaf = |n: u8| Digest::of(&[n]);
        let hash = |parts: &[&[u8]]| Digest::of(&parts.concat());
        let h = |n: u8| hash(&[&[0], leaf(n).as_bytes()]);
        let node = |l: Digest, r: Digest| hash(&[&[1], l.as_bytes(), r.as_bytes()]);
        assert_eq!(merkle_root(&[]), Digest::of(b""));
        assert_eq!(merkle_root(&[leaf(0)]), h(0));
        assert_eq!(merkle_root(&[leaf(0), leaf(1), leaf(2)]), node(node(h(0), h(1)), h(2)));
        let five = [leaf(0), leaf(1), leaf(2), leaf(3), leaf(4)];
        assert_eq!(merkle_root(&five), node(node(node(h(0), h(1)), node(h(2), h(3))), h(4)));
    }
}
