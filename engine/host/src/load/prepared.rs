//! What compiling and examining a component gives, as bytes: so that another process can do both.
//!
//! The form, version 1: the length of the head (4 bytes, little-endian), the head as JSON, then the compiled code to the end. It is
//! only ever read by the engine that started the process that wrote it, so it has no compatibility to keep.

use serde::{Deserialize, Serialize};

use super::{Facts, LoadError};
use crate::host::Host;
use crate::ports::NoCache;

/// What is made of a component once: its compiled code, and what is known of it.
#[derive(Debug)]
pub struct Prepared {
    /// Names component, compiler and settings; see `code_key`.
    pub(super) key: String,
    pub(super) facts: Facts,
    pub(super) code: Vec<u8>,
}

/// What stands in front of the code.
#[derive(Serialize, Deserialize)]
enum Head {
    Good { key: String, facts: Box<Facts> },
    Refused(LoadError),
}

impl Host {
    /// Compiles a component and asks it what it is, in this process, whatever [`HostOptions::compiler`](crate::HostOptions) says:
    /// it is what such a compiler calls in its process. Blocks like [`Host::load`].
    pub fn prepare(&self, bytes: &[u8]) -> Result<Prepared, LoadError> {
        let digest = super::checked(bytes, self.limits.size)?;
        let component = self.compiled(bytes, digest, &NoCache)?;
        let facts = self.examine(&component)?;
        let code = component.serialize().map_err(LoadError::Engine)?;
        Ok(Prepared { key: self.code_key(digest), facts, code })
    }
}

/// The bytes of what came of [`Host::prepare`].
pub fn encode(prepared: Result<Prepared, LoadError>) -> Vec<u8> {
    let (head, code) = match prepared {
        Ok(Prepared { key, facts, code }) => (Head::Good { key, facts: Box::new(facts) }, code),
        Err(error) => (Head::Refused(error), Vec::new()),
    };
    // Neither holds a map with keys that are not text, the one thing that JSON cannot have; were it so, nobody would read it.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &head, &code].concat()
}

/// Reads what [`encode`] wrote; none where it is something else.
pub fn decode(bytes: &[u8]) -> Option<Result<Prepared, LoadError>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (head, code) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(match serde_json::from_slice(head).ok()? {
        Head::Good { key, facts } => Ok(Prepared { key, facts: *facts, code: code.to_vec() }),
        Head::Refused(error) => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use lockgate_model::units::Millis;

    use super::*;

    #[test]
    fn refusals_come_back_as_they_were() {
        let errors = [
            LoadError::CompileTime { limit: Millis(7) },
            LoadError::TooMany { what: "memories".into(), count: 9, limit: 8 },
            LoadError::Unstable { field: "name".into() },
            LoadError::Engine(wasmtime::Error::msg("no room")),
        ];
        for error in errors {
            let text = error.to_string();
            let again = decode(&encode(Err(error))).unwrap().unwrap_err();
            assert_eq!(again.to_string(), text);
        }
    }

    #[test]
    fn what_is_cut_is_nothing() {
        let bytes = encode(Err(LoadError::CoreModule));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
        assert!(decode(b"\xff\xff\xff\xffrubbish").is_none());
    }
}
