//! Keys: ed25519 (RFC 8032) as PEM files, as OpenSSL reads and writes them: PKCS#8 for the private one, SubjectPublicKeyInfo for the
//! public one (RFC 8410). A key's id is sha-256 of the DER of its public part, in hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use lockgate_model::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest text of a key that is read: one of ed25519 has some 120 bytes, comments before it a few more.
pub const MAX_KEY_TEXT: usize = 16 << 10;
/// Bytes of a private key's seed.
pub const SEED: usize = 32;

const BEGIN: &str = "-----BEGIN ";
const PRIVATE: &str = "PRIVATE KEY-----";
const PUBLIC: &str = "PUBLIC KEY-----";

/// What is wrong with the text of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is longer than any key.
    #[error("read a key of {0} bytes: at most {MAX_KEY_TEXT}")]
    TooLarge(usize),
    /// A private key stands where a public one is wanted.
    #[error("use a private key where a public one belongs")]
    Private,
    /// A public key stands where a private one is wanted.
    #[error("use a public key where a private one belongs")]
    Public,
    /// A private key behind a password.
    #[error("use a private key that is encrypted with a password: only plain PKCS#8 is read")]
    Encrypted,
    /// The text is no key of ed25519 in PEM.
    #[error("read a key: it is not ed25519 in PEM ({0})")]
    Malformed(String),
    /// A public key under which anybody can sign.
    #[error("use a public key of small order: anybody can sign under it")]
    Weak,
}

/// Names a key: sha-256 of the DER of its SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Digest);

impl KeyId {
    /// The id as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }

    /// The first 16 digits, for people; never to compare with.
    pub fn short(&self) -> String {
        self.hex().chars().take(16).collect()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// A text that is no key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse key id `{0}`: expected 64 hexadecimal digits, as `lockgate plugin keygen` prints them")]
pub struct ParseKeyIdError(String);

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digest = if text.starts_with("sha256:") { text.parse() } else { format!("sha256:{text}").parse() };
        digest.map(Self).map_err(|_| ParseKeyIdError(text.chars().take(80).collect()))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A public key: it tells whether a signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Result<Self, KeyError> {
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        let der = key.to_public_key_der().map_err(|error| KeyError::Malformed(error.to_string()))?;
        Ok(Self { key, id: KeyId(Digest::of(der.as_bytes())) })
    }

    /// Reads the text of a public key: PEM, or only the line of base64 between PEM's first and last line, which fits into one line of a
    /// policy.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = checked(text)?;
        if text.contains(BEGIN) && text.contains(PRIVATE) {
            return Err(KeyError::Private);
        }
        let text = if text.contains(BEGIN) {
            text.to_owned()
        } else {
            format!("{BEGIN}{PUBLIC}\n{text}\n-----END {PUBLIC}\n")
        };
        let key = VerifyingKey::from_public_key_pem(&text).map_err(|error| KeyError::Malformed(error.to_string()))?;
        Self::new(key)
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.key.to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `message`; by the strict rules, so that no signature can be altered into another good one.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
        self.key.verify_strict(message, &signature).is_ok()
    }
}

/// A private key: it signs. Its bytes are wiped from memory when it goes.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 random bytes, which nobody else may know.
    pub fn from_seed(seed: &[u8; SEED]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the text of a private key: PEM of PKCS#8.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = checked(text)?;
        if text.contains("-----BEGIN ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        if text.contains(BEGIN) && !text.contains(PRIVATE) && text.contains(PUBLIC) {
            return Err(KeyError::Public);
        }
        let key = SigningKey::from_pkcs8_pem(text).map_err(|error| KeyError::Malformed(error.to_string()))?;
        Ok(Self(key))
    }

    /// The key as PEM. Without the public part, which older tools do not read there.
    pub fn to_pem(&self) -> Result<impl std::ops::Deref<Target = String> + use<>, KeyError> {
        let bytes = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        bytes.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// Its public part.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        PublicKey::new(self.0.verifying_key())
    }

    /// Signs a message: 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn checked(text: &str) -> Result<&str, KeyError> {
    if text.len() > MAX_KEY_TEXT {
        return Err(KeyError::TooLarge(text.len()));
    }
    Ok(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8410, section 10.
    const RFC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn keys_are_those_of_rfc_8410() {
        let secret = SecretKey::parse(RFC_PRIVATE).unwrap();
        let public = PublicKey::parse(RFC_PUBLIC).unwrap();
        assert_eq!(secret.public().unwrap(), public);
        assert_eq!(*secret.to_pem().unwrap(), RFC_PRIVATE);
        assert_eq!(public.to_pem().unwrap(), RFC_PUBLIC);
        let line = RFC_PUBLIC.lines().nth(1).unwrap();
        assert_eq!(PublicKey::parse(line).unwrap(), public, "the line alone");
        assert_eq!(public.id().hex().parse(), Ok(public.id()));
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // Section 7.1, test 2.
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let secret = SecretKey::from_seed(&seed.try_into().unwrap());
        let expected = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        assert_eq!(secret.sign(&[0x72]).to_vec(), expected);
        let public = secret.public().unwrap();
        assert!(public.verifies(&[0x72], &expected));
        assert!(!public.verifies(&[0x73], &expected));
        for at in 0..expected.len() {
            let mut altered = expected.clone();
            altered[at] ^= 1;
            assert!(!public.verifies(&[0x72], &altered), "byte {at}");
        }
        assert!(!public.verifies(&[0x72], &expected[..63]) && !public.verifies(&[0x72], &[]));
    }

    #[test]
    fn wrong_keys_are_named() {
        assert_eq!(PublicKey::parse(RFC_PRIVATE), Err(KeyError::Private));
        assert_eq!(SecretKey::parse(RFC_PUBLIC).unwrap_err(), KeyError::Public);
        let encrypted = RFC_PRIVATE.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE");
        assert_eq!(SecretKey::parse(&encrypted).unwrap_err(), KeyError::Encrypted);
        assert_eq!(PublicKey::parse(&"x".repeat(MAX_KEY_TEXT + 1)), Err(KeyError::TooLarge(MAX_KEY_TEXT + 1)));
        assert!(matches!(PublicKey::parse(""), Err(KeyError::Malformed(_))));
        // The neutral element: every signature of a certain form is good under it.
        let mut weak = hex("302a300506032b6570032100");
        weak.extend([1].into_iter().chain([0; 31]));
        let weak = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, weak);
        assert_eq!(PublicKey::parse(&weak), Err(KeyError::Weak));
        assert!("sha256:00".parse::<KeyId>().is_err() && "é".parse::<KeyId>().is_err());
        assert_eq!(format!("{:?}", SecretKey::parse(RFC_PRIVATE).unwrap()), "SecretKey(..)");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "(-----BEGIN (PUBLIC|PRIVATE) KEY-----\n)?[A-Za-z0-9+/=\n]{0,80}(\n-----END (PUBLIC|PRIVATE) KEY-----)?|.{0,60}") {
            let _ = (PublicKey::parse(&text), SecretKey::parse(&text), text.parse::<KeyId>());
        }
    }
}
