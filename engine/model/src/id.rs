//! Names: newtypes, so that a node is never taken for a port, with one rule for what a name may be.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::from_text;

/// Longest id of a node after its matrix values were put in. Ids stand in file names, URLs and table cells.
pub const MAX_NODE_ID: usize = 200;
/// Longest name of anything else.
pub const MAX_NAME: usize = 64;

/// A text that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("use an empty name")]
    Empty,
    /// More than the permitted number of bytes.
    #[error("use a name of {len} bytes: at most {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest permitted.
        max: usize,
    },
    /// A character outside of the permitted set.
    #[error("use `{found}` in a name: {allowed}")]
    Character {
        /// The first wrong character.
        found: char,
        /// The rule, for people.
        allowed: &'static str,
    },
}

fn check(text: &str, max: usize, extra: &str, allowed: &'static str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong { len: text.len(), max });
    }
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let wrong = text.char_indices().find(|&(i, c)| !(first(c) || i > 0 && (c == '-' || extra.contains(c))));
    match wrong {
        Some((_, found)) => Err(NameError::Character { found, allowed }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $extra:literal, $allowed:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// A name from a text, if it can be one.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $max, $extra, $allowed)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "minLength": 1, "maxLength": $max })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer, Self::new)
            }
        }
    };
}

name!(
    /// Names a node within its pipeline. Letters, digits, `_`, `-`; after a matrix also `[`, `]`, `=`, `,`, `.` and `+`, as in
    /// `build[target=x86_64,opt=2]`.
    NodeId, MAX_NODE_ID, "[]=,.+", "letters, digits, `_` and `-`, beginning with a letter, a digit or `_`"
);
name!(
    /// The name under which a pipeline speaks of a plugin.
    PluginAlias, MAX_NAME, "", "letters, digits, `_` and `-`, beginning with a letter, a digit or `_`"
);
name!(
    /// Names an input or an output of a node.
    PortName, MAX_NAME, "", "letters, digits, `_` and `-`, beginning with a letter, a digit or `_`"
);
name!(
    /// Names a secret within its pipeline.
    SecretName, MAX_NAME, "", "letters, digits, `_` and `-`, beginning with a letter, a digit or `_`"
);
name!(
    /// Names a run: `r` and 12 or more lower-case characters; sorted by text, runs are sorted by the time they started.
    RunId, MAX_NAME, "", "letters, digits, `_` and `-`"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(NodeId::new("build-1").is_ok());
        assert!(NodeId::new("build[target=x86_64,opt=2]").is_ok());
        assert_eq!(NodeId::new(""), Err(NameError::Empty));
        assert!(matches!(NodeId::new("-x"), Err(NameError::Character { found: '-', .. })));
        assert!(matches!(PortName::new("a.b"), Err(NameError::Character { found: '.', .. })));
        assert!(matches!(PortName::new("ä"), Err(NameError::Character { found: 'ä', .. })));
        assert!(matches!(PortName::new(&"x".repeat(65)), Err(NameError::TooLong { len: 65, max: 64 })));
    }
}
