//! What canary evaluators get and give: observations and verdicts, and the JSON form of an observation (version 1) that
//! stages write and the engine reads.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};

/// Everything seen of both sides at one look. As JSON it is the artifact that a canary's input `observation` carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Version of the JSON form: 1.
    pub schema: u32,
    /// One per metric and side.
    pub samples: Vec<Sample>,
}

impl Default for Observation {
    fn default() -> Self {
        Self { schema: 1, samples: Vec::new() }
    }
}

impl Observation {
    /// An observation of these samples.
    pub fn new(samples: Vec<Sample>) -> Self {
        Self { schema: 1, samples }
    }

    /// The sample of a metric on a side.
    pub fn sample(&self, metric: &str, side: &str) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.metric == metric && sample.side == side)
    }
}

/// The baseline's side.
pub const BASELINE: &str = "baseline";
/// The canary's side.
pub const CANARY: &str = "canary";

/// What was seen of one metric on one side: values with times, or counts, or a histogram; the others are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Name of the metric: `latency`, `status`, ...
    pub metric: String,
    /// [`BASELINE`] or [`CANARY`].
    pub side: String,
    /// Unit as UCUM writes it: `ms`, `s`, `B`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Values with their times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<Point>,
    /// Counts by class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
    /// A histogram, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Bucket>,
}

impl Sample {
    /// A sample without values.
    pub fn new(metric: impl Into<String>, side: impl Into<String>) -> Self {
        Self { metric: metric.into(), side: side.into(), ..Self::default() }
    }
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Milliseconds since the observation began.
    #[serde(rename = "t")]
    pub time_ms: u64,
    /// The value; finite.
    #[serde(rename = "v")]
    pub value: f64,
}

/// One bucket of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Upper bound, inclusive; none in the last one: everything beyond.
    #[serde(rename = "le", default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<f64>,
    /// Number of values in this bucket alone.
    #[serde(rename = "n")]
    pub number: u64,
}

/// What an evaluator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Go on with the canary.
    Promote,
    /// Not yet.
    Hold,
    /// Go back to the baseline.
    Rollback,
    /// Nothing can be said.
    Inconclusive,
}

impl Judgement {
    /// The judgement's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Hold => "hold",
            Self::Rollback => "rollback",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The judgement, with the reasons and every figure that led there.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What is said.
    pub status: Judgement,
    /// Why, most important first.
    pub reasons: Vec<String>,
    /// Every figure that led there.
    pub figures: Vec<Figure>,
    /// State for the next look; at most 1 MiB. See [`Verdict::keep`].
    pub state: Vec<u8>,
}

impl Verdict {
    /// A verdict without reasons and figures.
    pub const fn new(status: Judgement) -> Self {
        Self { status, reasons: Vec::new(), figures: Vec::new(), state: Vec::new() }
    }

    /// Adds a reason.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    /// Adds a figure.
    pub fn figure(mut self, figure: Figure) -> Self {
        self.figures.push(figure);
        self
    }

    /// Keeps a value, as JSON, for the next look's [`State`].
    pub fn keep(mut self, state: &impl Serialize) -> Result<Self> {
        self.state = serde_json::to_vec(state)?;
        Ok(self)
    }
}

/// One figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// What was measured: `error-rate`, `p95`, ...
    pub name: String,
    /// The canary's value; finite.
    pub value: f64,
    /// The baseline's value, where it was compared.
    pub baseline: Option<f64>,
    /// The limit it was held against.
    pub limit: Option<f64>,
    /// Unit of the values.
    pub unit: Option<String>,
    /// Whether it is within its limit; none where it only informs.
    pub passed: Option<bool>,
}

/// What the look before kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State(pub Option<Vec<u8>>);

impl State {
    /// The value that [`Verdict::keep`] took at the look before; none at the first look, or if nothing was kept.
    pub fn get<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        match self.0.as_deref() {
            None | Some([]) => Ok(None),
            Some(bytes) => serde_json::from_slice(bytes).map(Some).context("read the state of the look before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_reads_the_json_of_an_observation() {
        let mut latency = Sample::new("latency", BASELINE);
        latency.unit = Some("ms".into());
        latency.points.push(Point { time_ms: 3, value: 12.5 });
        let mut status = Sample::new("status", CANARY);
        status.counts.insert("200".into(), 98);
        let mut size = Sample::new("size", CANARY);
        size.buckets = vec![Bucket { upper: Some(100.0), number: 3 }, Bucket { upper: None, number: 1 }];
        let observation = Observation::new(vec![latency, status, size]);

        let json = serde_json::to_vec(&observation).unwrap();
        let read = lockgate_model::observation::Observation::from_json(&json).unwrap();
        assert_eq!((read.samples[0].points[0].t, read.samples[0].points[0].v), (3, 12.5));
        assert_eq!(read.samples[1].counts["200"], 98);
        assert_eq!(read.samples[2].buckets[1].le, None);
        let back: Observation = serde_json::from_slice(&serde_json::to_vec(&read).unwrap()).unwrap();
        assert_eq!(back, observation);
        assert_eq!(back.sample("status", CANARY).unwrap().counts.len(), 1);
    }

    #[test]
    fn state_survives_a_look() {
        let verdict = Verdict::new(Judgement::Hold).keep(&(1, "a")).unwrap();
        let state = State(Some(verdict.state));
        assert_eq!(state.get::<(i32, String)>().unwrap(), Some((1, "a".into())));
        assert_eq!(State(None).get::<u8>().unwrap(), None);
        assert!(State(Some(b"x".to_vec())).get::<u8>().is_err());
    }
}
