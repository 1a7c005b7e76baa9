//! `std:http-sample`: requests a baseline and a canary side by side and writes what was seen as an observation: the metrics
//! `status`, `latency` and `contract` that `std:threshold` judges. Here are its config and the sampling; `contract` holds the
//! answers against a contract, `side` collects what was seen.

mod contract;
mod side;

use std::collections::BTreeMap;

use lockgate_sdk::evaluation::{BASELINE, CANARY};
use lockgate_sdk::http::{HttpError, Request, send_all};
use lockgate_sdk::prelude::*;

use crate::contract::Contract;
use crate::side::Side;

/// Requests of one host call: as many as may be under way at once. With [`MAX_BODY`] the answers stay below 8 MiB, half of
/// what a host call may carry.
const BATCH: usize = 64;
/// The most of a body that is looked at: 128 KiB. Latencies include no more than that of it either.
const MAX_BODY: u64 = 128 << 10;
/// Most requests of each side: keeps the observation below 16 MiB, the most that a canary takes.
const MAX_REQUESTS: u32 = 100_000;
/// Why an exchange failed although the service may be well: the node's own limits or grants. Then no sample is a sample.
const OUR_OWN: [&str; 4] = ["not-granted", "bad-request", "limit", "body"];

/// What is asked, and how often.
#[config]
pub struct Config {
    /// URL of the baseline. Without it the canary alone is sampled. Each URL needs a grant.
    pub baseline: Option<String>,
    /// URL of the canary.
    pub canary: String,
    /// Requests of each side. Each counts as an effect, of which a node may have 1,000 unless its limits say otherwise.
    #[serde(default = "requests")]
    #[schemars(range(min = 1, max = MAX_REQUESTS))]
    pub requests: u32,
    /// Requests under way at once, of both sides together.
    #[serde(default = "parallel")]
    #[schemars(range(min = 1, max = 64))]
    pub parallel: u32,
    /// Method, in upper case.
    #[serde(default = "get")]
    #[schemars(regex(pattern = "^[A-Z]{1,20}$"))]
    pub method: String,
    /// Headers of each request, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Body of each request.
    pub body: Option<String>,
    /// Milliseconds until an exchange is given up.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1, max = 10_000))]
    pub timeout_ms: u32,
    /// What answers must look like. Without it no contract is observed.
    pub contract: Option<Contract>,
}

/// Enough for a p95 that is not merely the slowest answer.
const fn requests() -> u32 {
    50
}

const fn parallel() -> u32 {
    4
}

fn get() -> String {
    "GET".into()
}

/// Short enough that a canary which never answers is sampled within the default time of a node (30 s): 50 requests, 4 at once,
/// take 25 s then.
const fn timeout_ms() -> u32 {
    2_000
}

/// The stage.
pub struct HttpSample;

impl Stage for HttpSample {
    type Config = Config;
    const ABOUT: About =
        about!("Requests a baseline and a canary side by side: statuses, latencies, contract violations.")
            .outputs(&[Port::blob("samples", "the observation, as JSON of version 1")])
            .effects(&["http"])
            .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        ensure!((1..=MAX_REQUESTS).contains(&config.requests), "`requests` must be between 1 and {MAX_REQUESTS}");
        ensure!((1..=64).contains(&config.parallel), "`parallel` must be between 1 and 64");
        let sides = sample(&config)?;
        sides.iter().for_each(Side::log);
        let samples = sides.into_iter().flat_map(Side::into_samples).collect();
        output("samples").write_json(&Observation::new(samples))?;
        Ok(Findings::new())
    }
}

export_stage!(HttpSample);

/// Sends all requests and collects the answers: the baseline's side first, if there is one, then the canary's.
fn sample(config: &Config) -> Result<Vec<Side>> {
    let urls = [(BASELINE, config.baseline.as_deref()), (CANARY, Some(config.canary.as_str()))];
    let (mut sides, mut templates) = (Vec::new(), Vec::new());
    for (name, url) in urls.into_iter().filter_map(|(name, url)| Some((name, url?))) {
        sides.push(Side::new(name, config.contract.is_some()));
        templates.push(request(config, url));
    }
    let mut started_us = 0;
    for order in schedule(config.requests, sides.len()).chunks(BATCH) {
        let requests = order.iter().map(|side| templates[*side].clone()).collect();
        let answers = send_all(requests, config.parallel);
        ensure!(answers.len() == order.len(), "{} requests got {} answers", order.len(), answers.len());
        let durations = answers.iter().map(|answer| match answer {
            Ok(response) => response.timings.total_us,
            Err(error) if error.code == "timeout" => u64::from(config.timeout_ms) * 1000,
            Err(_) => 0,
        });
        let (starts, end) = starts(durations, config.parallel, started_us);
        for ((side, answer), start_us) in order.iter().zip(answers).zip(starts) {
            match answer {
                Ok(response) => sides[*side].answer(config.contract.as_ref(), start_us, &response),
                Err(error) => sides[*side].error(accept(error)?),
            }
        }
        started_us = end;
    }
    Ok(sides)
}

fn request(config: &Config, url: &str) -> Request {
    let mut request = Request::new(&config.method, url).timeout_ms(config.timeout_ms).max_body(MAX_BODY);
    for (name, value) in &config.headers {
        request = request.header(name, value.as_bytes());
    }
    match &config.body {
        Some(body) => request.body(body.as_bytes()),
        None => request,
    }
}

/// An error that says something about the service; the others end the stage.
fn accept(error: HttpError) -> Result<HttpError> {
    if OUR_OWN.contains(&error.code.as_str()) { Err(error.into()) } else { Ok(error) }
}

/// The sides in the order of their requests: interleaved, so that both are seen under the same conditions, and each in turn
/// the first of a pair, so that being first favours neither.
fn schedule(requests: u32, sides: usize) -> Vec<usize> {
    (0..requests)
        .flat_map(|round| (0..sides).map(move |side| if round % 2 == 0 { side } else { sides - 1 - side }))
        .collect()
}

/// When each of several exchanges began, in microseconds, if they began in order, at most `parallel` at once, each as soon as
/// one before it was done; and when the last was done. The host measures durations, not beginnings, so that a recorded answer
/// means the same at any time.
fn starts(durations: impl Iterator<Item = u64>, parallel: u32, begin: u64) -> (Vec<u64>, u64) {
    let mut free = vec![begin; parallel as usize];
    let starts = durations.map(|duration| {
        let Some(next) = free.iter_mut().min() else { return begin };
        let start = *next;
        *next = start.saturating_add(duration);
        start
    });
    let starts = starts.collect();
    (starts, free.into_iter().max().unwrap_or(begin))
}

#[cfg(test)]
mod tests;
