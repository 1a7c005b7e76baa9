//! Observations: the typed samples that a canary evaluator judges, and their JSON form (version 1).
//!
//! ```json
//! {"schema": 1, "samples": [
//!   {"metric": "latency", "side": "baseline", "unit": "ms", "points": [{"t": 0, "v": 12.5}]},
//!   {"metric": "status", "side": "canary", "counts": {"200": 98, "500": 2}},
//!   {"metric": "size", "side": "canary", "unit": "B", "buckets": [{"le": 100, "n": 3}, {"n": 1}]}
//! ]}
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Largest observation in bytes of JSON: 16 MiB, what one host call may carry.
pub const MAX_OBSERVATION: u64 = crate::limits::MAX_HOST_CALL;

/// Everything seen of a baseline and a canary at one look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Version of the format: 1.
    pub schema: u32,
    /// One per metric and side.
    pub samples: Vec<Sample>,
}

/// What was seen of one metric on one side: values with times, or counts, or a histogram.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Name of the metric: `latency`, `status`, ...
    pub metric: String,
    /// `baseline` or `canary`.
    pub side: String,
    /// Unit of the values, as UCUM writes it: `ms`, `s`, `B`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Values with their times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// Counts by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// A histogram; buckets ascend, the last may have no upper bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Bucket>,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Milliseconds since the observation began.
    pub t: u64,
    /// The value; finite.
    pub v: f64,
}

/// One bucket of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Upper bound, inclusive; none in the last: everything beyond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le: Option<f64>,
    /// Number of values in this bucket alone.
    pub n: u64,
}

/// Why bytes are no observation.
#[derive(Debug, thiserror::Error)]
pub enum ObservationError {
    /// Not the JSON that the format asks for.
    #[error("read the observation as JSON of version 1")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("read an observation of version {0}: this engine knows version 1")]
    Schema(u32),
    /// A side that is neither `baseline` nor `canary`.
    #[error("read the side `{0}` of a sample: expected `baseline` or `canary`")]
    Side(String),
    /// Too many bytes.
    #[error("read an observation of {0} bytes: at most {MAX_OBSERVATION}")]
    Size(u64),
}

impl Observation {
    /// Reads the JSON form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ObservationError> {
        if bytes.len() as u64 > MAX_OBSERVATION {
            return Err(ObservationError::Size(bytes.len() as u64));
        }
        let observation: Self = serde_json::from_slice(bytes)?;
        if observation.schema != 1 {
            return Err(ObservationError::Schema(observation.schema));
        }
        match observation.samples.iter().find(|s| s.side != "baseline" && s.side != "canary") {
            Some(sample) => Err(ObservationError::Side(sample.side.chars().take(80).collect())),
            None => Ok(observation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_example_is_read() {
        let text = r#"{"schema": 1, "samples": [
            {"metric": "latency", "side": "baseline", "unit": "ms", "points": [{"t": 0, "v": 12.5}]},
            {"metric": "status", "side": "canary", "counts": {"200": 98, "500": 2}},
            {"metric": "size", "side": "canary", "unit": "B", "buckets": [{"le": 100, "n": 3}, {"n": 1}]}
        ]}"#;
        let observation = Observation::from_json(text.as_bytes()).unwrap();
        assert_eq!(observation.samples[1].counts["500"], 2);
        assert_eq!(observation.samples[2].buckets[1], Bucket { le: None, n: 1 });
        let again = serde_json::to_vec(&observation).unwrap();
        assert_eq!(Observation::from_json(&again).unwrap(), observation);
    }

    #[test]
    fn garbage_is_named() {
        let error = |text: &str| Observation::from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(error("{"), ObservationError::Json(_)));
        assert!(matches!(error(r#"{"schema": 1, "samples": [], "x": 1}"#), ObservationError::Json(_)));
        assert!(matches!(error(r#"{"schema": 2, "samples": []}"#), ObservationError::Schema(2)));
        let side = r#"{"schema": 1, "samples": [{"metric": "m", "side": "left"}]}"#;
        assert!(matches!(error(side), ObservationError::Side(side) if side == "left"));
        assert!(matches!(
            error(r#"{"schema":1,"samples":[{"metric":"m","side":"canary","points":[{"t":0,"v":1e999}]}]}"#),
            ObservationError::Json(_)
        ));
    }
}
