//! DSSE envelopes (<https://github.com/secure-systems-lab/dsse>, protocol v1): a payload with its type, and signatures over both.
//!
//! ```text
//! {"payload":BASE64,"payloadType":TYPE,"signatures":[{"keyid":ID,"sig":BASE64}, ...]}
//! signature over: "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload
//! ```
//!
//! The key's id in a signature is a hint for people: no decision hangs on it. A file may hold several envelopes, one behind the other.
//! Members that we do not know are passed over, as the protocol asks; both alphabets of base64 are read.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::key::{KeyError, PublicKey, SecretKey};

/// The type of payloads that are in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Largest file of envelopes that is read: a provenance with thousands of subjects and inputs has some MiB.
pub const MAX_FILE: usize = 16 << 20;
/// Most envelopes of one file, and most signatures of one envelope: each is checked against each trusted key.
pub const MAX_ENVELOPES: usize = 1_000;
/// Most signatures of one envelope.
pub const MAX_SIGNATURES: usize = 32;
/// Longest type of a payload, in bytes.
const MAX_TYPE: usize = 200;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const READ_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const READ_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What is wrong with an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The file is larger than any.
    #[error("read envelopes of {0} bytes: at most {MAX_FILE}")]
    TooLarge(usize),
    /// There are too many envelopes, or too many signatures of one.
    #[error("read more than {max} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// The file holds none.
    #[error("find an envelope: the file is empty")]
    Empty,
    /// It is not JSON of an envelope.
    #[error("read a DSSE envelope")]
    Json(#[source] serde_json::Error),
    /// A member is not base64.
    #[error("read the member `{0}` of a DSSE envelope: it is not base64")]
    Base64(&'static str),
    /// The payload's type is empty or too long.
    #[error("read the payload's type of a DSSE envelope: it has {0} bytes, 1 to {MAX_TYPE} are read")]
    Type(usize),
}

/// A payload with its signatures. Nothing in it is true until a signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    keyid: String,
    sig: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
    sig: String,
}

/// The bytes that are signed: the pre-authentication encoding.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Ids of the keys that are said to have signed it: hints, by which nothing is decided.
    pub fn key_hints(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.keyid.as_str())
    }

    /// A payload without a signature.
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.to_owned(), payload, signatures: Vec::new() }
    }

    /// Adds the key's signature, in place of an earlier one of that key.
    pub fn sign(&mut self, key: &SecretKey) -> Result<(), KeyError> {
        let public = key.public()?;
        self.remove(&public);
        let sig = key.sign(&self.signed()).to_vec();
        self.signatures.push(Signature { keyid: public.id().hex(), sig });
        Ok(())
    }

    /// Takes a key's signatures away: those that name it, and those that are good under it.
    pub fn remove(&mut self, key: &PublicKey) {
        let (signed, id) = (self.signed(), key.id().hex());
        self.signatures.retain(|signature| signature.keyid != id && !key.verifies(&signed, &signature.sig));
    }

    /// Whether one of the signatures is this key's.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let signed = self.signed();
        self.signatures.iter().any(|signature| key.verifies(&signed, &signature.sig))
    }

    fn signed(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }

    /// Whether it has no signature.
    pub fn is_unsigned(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Ids of keys, as the signatures claim them.
    pub fn claimed_keys(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.keyid.as_str())
    }

    /// The payload's type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The envelope as one line of JSON with a line feed.
    pub fn to_line(&self) -> String {
        let signature = |signature: &Signature| WireSignature {
            keyid: Some(signature.keyid.clone()).filter(|id| !id.is_empty()),
            sig: STANDARD.encode(&signature.sig),
        };
        let wire = Wire {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self.signatures.iter().map(signature).collect(),
        };
        lockgate_model::canonical_json(&wire) + "\n"
    }

    fn from_wire(wire: Wire) -> Result<Self, EnvelopeError> {
        if wire.payload_type.is_empty() || wire.payload_type.len() > MAX_TYPE {
            return Err(EnvelopeError::Type(wire.payload_type.len()));
        }
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(EnvelopeError::TooMany { what: "signatures of one envelope", max: MAX_SIGNATURES });
        }
        let payload = decode(&wire.payload).ok_or(EnvelopeError::Base64("payload"))?;
        let signature = |wire: WireSignature| {
            let sig = decode(&wire.sig).ok_or(EnvelopeError::Base64("sig"))?;
            Ok(Signature { keyid: wire.keyid.unwrap_or_default(), sig })
        };
        let signatures = wire.signatures.into_iter().map(signature).collect::<Result<_, EnvelopeError>>()?;
        Ok(Self { payload_type: wire.payload_type, payload, signatures })
    }
}

/// Reads the envelopes of a file: one or more JSON objects, with or without line breaks between them. At least one.
pub fn read(bytes: &[u8]) -> Result<Vec<Envelope>, EnvelopeError> {
    if bytes.len() > MAX_FILE {
        return Err(EnvelopeError::TooLarge(bytes.len()));
    }
    let mut envelopes = Vec::new();
    for wire in serde_json::Deserializer::from_slice(bytes).into_iter::<Wire>() {
        if envelopes.len() == MAX_ENVELOPES {
            return Err(EnvelopeError::TooMany { what: "envelopes of one file", max: MAX_ENVELOPES });
        }
        envelopes.push(Envelope::from_wire(wire.map_err(EnvelopeError::Json)?)?);
    }
    if envelopes.is_empty() { Err(EnvelopeError::Empty) } else { Ok(envelopes) }
}

/// Envelopes as the text of a file: one a line.
pub fn write(envelopes: &[Envelope]) -> String {
    envelopes.iter().map(Envelope::to_line).collect()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    READ_STANDARD.decode(text).or_else(|_| READ_URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    #[test]
    fn the_encoding_is_that_of_the_protocol() {
        // The vectors of the protocol's text, and of its reference implementation.
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        assert_eq!(pae("application/example", b"\xc3\xa9"), b"DSSEv1 19 application/example 2 \xc3\xa9");
    }

    /// Only with the primitives: an envelope of ours is one for others.
    #[test]
    fn others_can_verify_what_is_signed_here() {
        let mut envelope = Envelope::new(IN_TOTO, b"{\"a\":1}".to_vec());
        envelope.sign(&key(1)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&envelope.to_line()).unwrap();
        let standard = |value: &serde_json::Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let payload = standard(&value["payload"]);
        assert_eq!((payload.as_slice(), value["payloadType"].as_str().unwrap()), (&b"{\"a\":1}"[..], IN_TOTO));
        let mut message = b"DSSEv1 28 application/vnd.in-toto+json 7 ".to_vec();
        message.extend(&payload);
        let signature: [u8; 64] = standard(&value["signatures"][0]["sig"]).try_into().unwrap();
        let other = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        let verified = other.verifying_key().verify_strict(&message, &ed25519_dalek::Signature::from_bytes(&signature));
        verified.unwrap();
        assert_eq!(value["signatures"][0]["keyid"], key(1).public().unwrap().id().hex());
    }

    #[test]
    fn what_others_signed_is_verified_here() {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        use ed25519_dalek::Signer as _;
        let (kind, payload) = ("application/example", b"\xff\xfe?>".as_slice());
        let signature = ed25519_dalek::SigningKey::from_bytes(&[2; 32]).sign(&pae(kind, payload));
        // Another order, the other alphabet, no key id, members of others, line breaks.
        let text = format!(
            "{{\n \"signatures\": [{{\"cert\": \"x\", \"sig\": \"{}\"}}],\n \"more\": 1, \"payloadType\": \"{kind}\", \"payload\": \"{}\"}}\n",
            URL_SAFE_NO_PAD.encode(signature.to_bytes()),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let [envelope] = read(text.as_bytes()).unwrap().try_into().unwrap();
        assert_eq!(envelope.payload(), payload);
        assert!(envelope.is_signed_by(&key(2).public().unwrap()));
        assert!(!envelope.is_signed_by(&key(1).public().unwrap()));
    }

    #[test]
    fn keys_add_their_signatures_and_replace_their_own() {
        let mut envelope = Envelope::new(IN_TOTO, b"x".to_vec());
        [1, 2, 1].iter().for_each(|seed| envelope.sign(&key(*seed)).unwrap());
        assert_eq!(envelope.claimed_keys().count(), 2);
        let [again] = read(envelope.to_line().as_bytes()).unwrap().try_into().unwrap();
        assert_eq!(again, envelope);
        assert!([1, 2].iter().all(|seed| again.is_signed_by(&key(*seed).public().unwrap())));
        envelope.remove(&key(1).public().unwrap());
        envelope.remove(&key(2).public().unwrap());
        assert!(envelope.is_unsigned());
    }

    #[test]
    fn a_signature_covers_payload_and_type() {
        let mut envelope = Envelope::new(IN_TOTO, b"payload".to_vec());
        envelope.sign(&key(1)).unwrap();
        let public = key(1).public().unwrap();
        for at in 0..envelope.payload.len() {
            let mut altered = envelope.clone();
            altered.payload[at] ^= 0x20;
            assert!(!altered.is_signed_by(&public), "byte {at}");
        }
        let other = Envelope { payload_type: "application/json".into(), ..envelope.clone() };
        assert!(!other.is_signed_by(&public));
        // What would be the same bytes if lengths were not signed.
        let shifted = Envelope { payload_type: format!("{IN_TOTO} 7"), payload: b"payload".to_vec(), ..envelope };
        assert!(!shifted.is_signed_by(&public));
    }

    #[test]
    fn limits_hold() {
        let error = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error(""), "find an envelope: the file is empty");
        assert!(matches!(read(&vec![b' '; MAX_FILE + 1]), Err(EnvelopeError::TooLarge(_))));
        let one = |signatures: usize| {
            let signature = vec!["{\"sig\":\"\"}"; signatures].join(",");
            format!("{{\"payload\":\"\",\"payloadType\":\"x\",\"signatures\":[{signature}]}}")
        };
        assert!(read(one(MAX_SIGNATURES).as_bytes()).is_ok());
        assert!(error(&one(MAX_SIGNATURES + 1)).contains("more than 32"));
        assert!(error(&one(0).repeat(MAX_ENVELOPES + 1)).contains("more than 1000"));
        assert!(error(&one(0).replace("\"x\"", "\"\"")).contains("type"));
        assert!(error(&one(0).replace("\"payload\":\"\"", "\"payload\":\"§\"")).contains("base64"));
        assert!(matches!(read(&[b'['; 100_000]), Err(EnvelopeError::Json(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn nearly_right_files_are_answered(at in 0..300_usize, byte: u8) {
            let mut envelope = Envelope::new(IN_TOTO, b"payload".to_vec());
            envelope.sign(&key(1)).unwrap();
            let mut bytes = envelope.to_line().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(found) = read(&bytes) {
                // One altered byte never gives another payload that is signed.
                let public = key(1).public().unwrap();
                prop_assert!(found.iter().all(|found| !found.is_signed_by(&public) || found.payload() == b"payload"));
            }
        }
    }
}
