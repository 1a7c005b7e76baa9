//! What was seen of one side, and the samples made of it.

use std::collections::BTreeMap;

use lockgate_sdk::evaluation::Point;
use lockgate_sdk::http::{HttpError, Response};
use lockgate_sdk::prelude::*;

use crate::contract::{self, Contract, Kept};

/// What was seen of one side.
pub struct Side {
    name: &'static str,
    status: BTreeMap<String, u64>,
    latency: Vec<Point>,
    contract: Option<BTreeMap<String, u64>>,
}

impl Side {
    /// A side of which nothing was seen.
    pub fn new(name: &'static str, with_contract: bool) -> Self {
        let contract = with_contract.then(|| BTreeMap::from([("ok".to_owned(), 0)]));
        Self { name, status: BTreeMap::new(), latency: Vec::new(), contract }
    }

    /// Counts an answer to a request that began at this time.
    pub fn answer(&mut self, contract: Option<&Contract>, start_us: u64, response: &Response) {
        *self.status.entry(response.status.to_string()).or_default() += 1;
        if contract::succeeded(contract, response.status) {
            // Failures are often faster than successes: among the latencies they would hide slow ones.
            let value = response.timings.total_us as f64 / 1e3;
            self.latency.push(Point { time_ms: start_us / 1000, value });
        }
        let Some((contract, counts)) = contract.zip(self.contract.as_mut()) else { return };
        let class = match contract.check(response) {
            Kept::Yes => "ok".to_owned(),
            Kept::NotHeldAgainst => return,
            Kept::No(rule) => format!("violation:{rule}"),
        };
        let count = counts.entry(class).or_insert_with_key(|class| {
            warn!("{}: first `{class}`, answered {}", self.name, response.status);
            0
        });
        *count += 1;
    }

    /// Counts a request that got no answer.
    pub fn error(&mut self, error: HttpError) {
        let count = self.status.entry(format!("error:{}", error.code)).or_insert_with_key(|class| {
            warn!("{}: first `{class}`: {error}", self.name);
            0
        });
        *count += 1;
    }

    /// Says in the log what was seen.
    pub fn log(&self) {
        let statuses: Vec<_> = self.status.iter().map(|(class, number)| format!("{class}: {number}")).collect();
        let mut values: Vec<_> = self.latency.iter().map(|point| point.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let latency = match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(least), Some(median), Some(most)) => {
                format!("; {} to {} us, half within {} us", us(*least), us(*most), us(*median))
            }
            _ => String::new(),
        };
        info!("{}: {}{latency}", self.name, statuses.join(", "));
    }

    /// The samples of this side; a metric of which nothing was seen has none.
    pub fn into_samples(self) -> Vec<Sample> {
        let sample = |metric| Sample::new(metric, self.name);
        let status = Sample { counts: self.status, ..sample("status") };
        let latency = Sample { points: self.latency, unit: Some("ms".into()), ..sample("latency") };
        let contract = self.contract.map(|counts| Sample { counts, ..sample("contract") });
        let seen = |sample: &Sample| !sample.counts.is_empty() || !sample.points.is_empty();
        [Some(status), Some(latency), contract].into_iter().flatten().filter(seen).collect()
    }
}

/// Whole microseconds, as the host measured them. The code that prints fractions would add 15 kB to the plugin.
fn us(ms: f64) -> u64 {
    (ms * 1e3).round() as u64
}
