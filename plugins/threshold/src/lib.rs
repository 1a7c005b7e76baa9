//! `std:threshold`: judges a canary by limits on its error rate, its p95 latency, that against the baseline's, and contract
//! violations. Here are its config and its export; `measure` reads the observation, `judge` decides.
//!
//! It keeps no state between looks: each look is judged by its own observation alone, so that a verdict can be derived again
//! from one observation and one config.

mod judge;
mod measure;

use lockgate_sdk::prelude::*;

/// The limits. Each holds for the canary; a value at its limit is within it.
#[config]
#[serde(default)]
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest share of answers that are errors. Beyond it: rollback.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_error_rate: f64,
    /// Classes of the metric `status` that are no errors: a status code, all of one kind (`2xx`), or any other class by its
    /// name. Whatever is not listed is an error.
    pub successes: Vec<String>,
    /// Largest p95 latency in milliseconds. Beyond it: rollback.
    #[schemars(range(min = 0.0))]
    pub max_p95_ms: f64,
    /// Largest increase of the p95 latency over the baseline's, as a share of it: 0.1 is 10 %. Beyond it: hold.
    #[schemars(range(min = 0.0))]
    pub max_p95_increase: f64,
    /// Increases of the p95 latency of at most so many milliseconds are never held against the canary, whatever their share:
    /// where answers take 2 ms, 10 % of that is noise.
    #[schemars(range(min = 0.0))]
    pub min_p95_increase_ms: f64,
    /// Largest number of contract violations. Beyond it: rollback at once, however few samples there are.
    pub max_contract_violations: u64,
    /// Fewest samples that a check needs on each side it looks at. With fewer: inconclusive.
    #[schemars(range(min = 1))]
    pub min_samples: u64,
    /// What a missing baseline means.
    pub baseline: Baseline,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_error_rate: 0.10,
            successes: vec!["2xx".into(), "3xx".into()],
            max_p95_ms: 500.0,
            max_p95_increase: 0.10,
            min_p95_increase_ms: 0.0,
            max_contract_violations: 0,
            min_samples: 10,
            baseline: Baseline::Required,
        }
    }
}

/// What a missing baseline means.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Without it the verdict is inconclusive.
    Required,
    /// Without any latency of it the comparison is left out, and the reasons say so.
    Optional,
    /// It is never compared.
    Ignored,
}

/// The evaluator.
pub struct Threshold;

impl CanaryEvaluator for Threshold {
    type Config = Config;
    const ABOUT: About = about!("Judges a canary by limits on errors, latency and contract violations.")
        .schema(include_str!("../schema.json"));

    fn evaluate(config: Config, observation: Observation, _look: Look, _state: State) -> Result<Verdict> {
        judge::judge(&config, &observation)
    }
}

export_canary_evaluator!(Threshold);

#[cfg(test)]
mod tests {
    use lockgate_sdk::evaluation::CANARY;
    use lockgate_sdk::testing::Harness;

    use super::*;

    fn evaluate(config: &str, errors: u64) -> lockgate_sdk::testing::Outcome<Verdict> {
        let mut status = Sample::new("status", CANARY);
        status.counts = [("200".to_owned(), 90), ("503".to_owned(), errors)].into();
        Harness::new().evaluate::<Threshold>(config, Observation::new(vec![status]), Look::default(), State(None))
    }

    #[test]
    fn the_config_of_the_readme_is_the_default() {
        let readme = r#"{"max_error_rate": 0.10, "successes": ["2xx", "3xx"], "max_p95_ms": 500, "max_p95_increase": 0.10,
            "min_p95_increase_ms": 0, "max_contract_violations": 0, "min_samples": 10, "baseline": "required"}"#;
        assert_eq!(evaluate(readme, 10).ok(), evaluate("{}", 10).ok());
        assert_eq!(evaluate("{}", 11).ok().status, Judgement::Rollback);
        assert_eq!(evaluate(r#"{"max_error_rate": 0.2}"#, 11).ok().status, Judgement::Inconclusive);
    }

    #[test]
    fn a_config_that_cannot_be_meant_is_refused() {
        assert!(evaluate(r#"{"max_eror_rate": 0.2}"#, 0).failure().contains("max_eror_rate"));
        assert_eq!(evaluate(r#"{"max_error_rate": 2}"#, 0).failure(), "`max_error_rate` must be between 0 and 1");
    }

    #[test]
    fn the_schema_holds_the_defaults() {
        let schema = lockgate_sdk::plugin::config_schema::<Config>();
        for part in [r#""default":0.1"#, r#""default":500.0"#, r#""default":"required""#, r#""maximum":1"#] {
            assert!(schema.contains(part), "{part} in {schema}");
        }
    }

    #[test]
    fn the_schema_file_is_what_the_config_derives() {
        lockgate_sdk::testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
    }
}
