//! What a probe asks and expects.

use std::collections::BTreeMap;
use std::fmt;

use lockgate_sdk::prelude::*;
use lockgate_sdk::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use lockgate_sdk::serde::de::{SeqAccess, Visitor};
use lockgate_sdk::serde::{self, Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What is asked, and what a healthy service answers.
#[config]
pub struct Config {
    /// Absolute URL with `http` or `https`. The node needs a grant for it, as in `GET http://127.0.0.1:8080/health`.
    pub url: String,
    /// Method, in upper case.
    #[serde(default = "get")]
    #[schemars(regex(pattern = "^[A-Z]{1,20}$"))]
    pub method: String,
    /// Headers of the request, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Status codes of a healthy answer: one, or a list. Redirects are not followed.
    #[serde(default)]
    pub expect: Statuses,
    /// What the body of a healthy answer holds.
    #[serde(default)]
    pub body: Body,
    /// Milliseconds until the whole answer is there; beyond it: degraded.
    #[schemars(range(min = 1))]
    pub degraded_ms: Option<u32>,
    /// Milliseconds until the whole answer is there; beyond it: unhealthy.
    #[schemars(range(min = 1))]
    pub max_latency_ms: Option<u32>,
    /// Milliseconds until the exchange is given up: unhealthy.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1, max = 10_000))]
    pub timeout_ms: u32,
}

fn get() -> String {
    "GET".into()
}

/// Long for an answer of a health endpoint, short enough for three attempts within the default time of a node (30 s).
const fn timeout_ms() -> u32 {
    5_000
}

/// What a body holds. All that is given must be so.
#[config]
#[serde(default)]
#[derive(Default)]
pub struct Body {
    /// It is exactly this text.
    pub equals: Option<String>,
    /// It contains this text.
    pub contains: Option<String>,
    /// It is JSON, with these values at these JSON pointers (RFC 6901), as in `{"/status": "ok"}`. Numbers are equal if they
    /// are the same number, `1` and `1.0` too.
    pub json: BTreeMap<String, Value>,
}

/// Status codes, written as one number or as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<u16>);

impl Statuses {
    /// Whether a status is one of them.
    pub fn contain(&self, status: u16) -> bool {
        self.0.contains(&status)
    }
}

impl Default for Statuses {
    fn default() -> Self {
        Self(vec![200])
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, status) in self.0.iter().enumerate() {
            write!(f, "{}{status}", if index == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // One schema for both forms: `anyOf` would make the engine's messages say nothing.
        json_schema!({
            "type": ["integer", "array"],
            "minimum": 100,
            "maximum": 599,
            "minItems": 1,
            "items": { "type": "integer", "minimum": 100, "maximum": 599 },
        })
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [status] => status.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status code or a list of them")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<Statuses, E> {
        Ok(Statuses(vec![status(number)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Statuses, A::Error> {
        let mut statuses = Vec::new();
        while let Some(number) = items.next_element()? {
            statuses.push(status(number)?);
        }
        if statuses.is_empty() {
            return Err(serde::de::Error::custom("the list of status codes is empty"));
        }
        Ok(Statuses(statuses))
    }
}

fn status<E: serde::de::Error>(number: u64) -> std::result::Result<u16, E> {
    match u16::try_from(number) {
        Ok(status @ 100..=599) => Ok(status),
        _ => Err(E::custom(format!("{number} is no status code"))),
    }
}
