//! {{what}}

use lockgate_sdk::evaluation::CANARY;
use lockgate_sdk::prelude::*;

/// What is permitted.
#[config]
#[serde(default)]
pub struct Config {
    /// The largest share of answers of the canary that are errors.
    max_error_rate: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_error_rate: 0.05 }
    }
}

/// The plugin.
pub struct Plugin;

impl CanaryEvaluator for Plugin {
    type Config = Config;
    const ABOUT: About = about!("{{what}}");

    fn evaluate(config: Config, observation: Observation, _look: Look, _state: State) -> Result<Verdict> {
        let Some(sample) = observation.sample("status", CANARY) else {
            return Ok(Verdict::new(Judgement::Inconclusive).reason("nothing was seen of the canary"));
        };
        let all: u64 = sample.counts.values().sum();
        let good: u64 = sample.counts.iter().filter(|(class, _)| class.starts_with('2')).map(|(_, number)| number).sum();
        if all == 0 {
            return Ok(Verdict::new(Judgement::Inconclusive).reason("the canary was not asked"));
        }
        let rate = (all - good) as f64 / all as f64;
        let passed = rate <= config.max_error_rate;
        let figure = Figure {
            name: "error-rate".into(),
            value: rate,
            limit: Some(config.max_error_rate),
            passed: Some(passed),
            ..Figure::default()
        };
        let judgement = if passed { Judgement::Promote } else { Judgement::Rollback };
        Ok(Verdict::new(judgement).reason(format!("{} of {all} answers are errors", all - good)).figure(figure))
    }
}

export_canary_evaluator!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::testing::Harness;

    fn judge(good: u64, bad: u64) -> Judgement {
        let mut status = Sample::new("status", CANARY);
        status.counts = [("200".to_owned(), good), ("503".to_owned(), bad)].into();
        let observation = Observation::new(vec![status]);
        let outcome = Harness::new().evaluate::<Plugin>("{}", observation, Look::default(), State(None));
        outcome.ok().status
    }

    #[test]
    fn too_many_errors_roll_back() {
        assert_eq!(judge(98, 2), Judgement::Promote);
        assert_eq!(judge(80, 20), Judgement::Rollback);
        assert_eq!(judge(0, 0), Judgement::Inconclusive);
    }
}
