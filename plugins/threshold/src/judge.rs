//! Decides: four checks, each passed, held, undecided or failed; the worst is the verdict.

use lockgate_sdk::evaluation::{BASELINE, CANARY};
use lockgate_sdk::prelude::*;

use crate::measure::{Answers, Latencies, Percentile, cut, violations};
use crate::{Baseline, Config};

/// Rules of a contract named in a reason; more are summed up. A reason is a sentence, not a table.
const RULES_NAMED: usize = 5;

/// What a check says, from best to worst. The worst of all checks is the verdict: what is known to be bad outweighs what is
/// not known, and what is not known outweighs what is only slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Passed,
    Slower,
    Undecided,
    Failed,
}

/// The checks of one observation.
#[derive(Default)]
struct Checks {
    reasons: Vec<(Outcome, String)>,
    figures: Vec<Figure>,
}

impl Checks {
    fn say(&mut self, outcome: Outcome, reason: String) {
        self.reasons.push((outcome, reason));
    }

    fn verdict(mut self) -> Verdict {
        // Stable: within one outcome the order of the checks remains.
        self.reasons.sort_by_key(|(outcome, _)| std::cmp::Reverse(*outcome));
        let status = match self.reasons.first() {
            Some((Outcome::Failed, _)) => Judgement::Rollback,
            Some((Outcome::Undecided, _)) => Judgement::Inconclusive,
            Some((Outcome::Slower, _)) => Judgement::Hold,
            Some((Outcome::Passed, _)) | None => Judgement::Promote,
        };
        let reasons = self.reasons.into_iter().map(|(_, reason)| reason).collect();
        Verdict { reasons, figures: self.figures, ..Verdict::new(status) }
    }
}

/// Judges one observation. An error where the config or the observation cannot be meant.
pub fn judge(config: &Config, observation: &Observation) -> Result<Verdict> {
    validate(config)?;
    let answers = |side| Answers::of(observation, side, &config.successes);
    let (baseline, canary) = (Latencies::of(observation, BASELINE)?, Latencies::of(observation, CANARY)?);
    let mut checks = Checks::default();
    check_contract(&mut checks, config, observation);
    check_errors(&mut checks, config, answers(BASELINE), answers(CANARY));
    let compared = match config.baseline {
        Baseline::Required => true,
        Baseline::Optional => baseline.total > 0,
        Baseline::Ignored => false,
    };
    let fewest = if compared { baseline.total.min(canary.total) } else { canary.total };
    samples_figure(&mut checks, config, "latencies", baseline.total, canary.total, fewest);
    check_latency(&mut checks, config, &canary);
    if compared {
        check_increase(&mut checks, config, &baseline, &canary);
    } else {
        checks.say(Outcome::Passed, "p95 against baseline: not compared".into());
    }
    Ok(checks.verdict())
}

/// The schema says the same; this holds for callers that do not know it.
fn validate(config: &Config) -> Result<()> {
    ensure!((0.0..=1.0).contains(&config.max_error_rate), "`max_error_rate` must be between 0 and 1");
    for (name, value) in [
        ("max_p95_ms", config.max_p95_ms),
        ("max_p95_increase", config.max_p95_increase),
        ("min_p95_increase_ms", config.min_p95_increase_ms),
    ] {
        // The upper end keeps every limit that is computed from it finite.
        ensure!((0.0..=1e100).contains(&value), "`{name}` must be at least 0");
    }
    ensure!(config.min_samples >= 1, "`min_samples` must be at least 1");
    Ok(())
}

fn check_contract(checks: &mut Checks, config: &Config, observation: &Observation) {
    let Some(rules) = violations(observation, CANARY) else {
        return checks.say(Outcome::Passed, "contract violations: no contract was observed".into());
    };
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
    let (found, limit) = (sum(&mut rules.values().copied()), config.max_contract_violations);
    let passed = found <= limit;
    checks.figures.push(Figure {
        name: "contract-violations".into(),
        value: found as f64,
        baseline: violations(observation, BASELINE).map(|rules| sum(&mut rules.values().copied()) as f64),
        limit: Some(limit as f64),
        passed: Some(passed),
        unit: None,
    });
    let mut named: Vec<_> = rules.iter().filter(|(rule, _)| !rule.is_empty()).collect();
    named.sort_by_key(|(rule, number)| (std::cmp::Reverse(**number), **rule));
    let more = named.len().saturating_sub(RULES_NAMED);
    let mut parts: Vec<_> =
        named.iter().take(RULES_NAMED).map(|(rule, number)| format!("{} {number}", cut(rule))).collect();
    if more > 0 {
        parts.push(format!("{more} more rules"));
    }
    let rules = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
    let outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    checks.say(outcome, format!("contract violations: {found}, at most {limit}{rules}"));
}

fn check_errors(checks: &mut Checks, config: &Config, baseline: Answers, canary: Answers) {
    samples_figure(checks, config, "answers", baseline.total, canary.total, canary.total);
    let limit = config.max_error_rate;
    let Some(rate) = canary.error_rate().filter(|_| canary.total >= config.min_samples) else {
        let reason = format!("error rate: {} answers of the canary, {} are needed", canary.total, config.min_samples);
        return checks.say(Outcome::Undecided, reason);
    };
    let passed = rate <= limit;
    checks.figures.push(Figure {
        name: "error-rate".into(),
        value: rate,
        baseline: baseline.error_rate(),
        limit: Some(limit),
        passed: Some(passed),
        unit: None,
    });
    let beside = baseline.error_rate().map_or(String::new(), |rate| format!(" (baseline {})", percent(rate)));
    let reason =
        format!("error rate: {} of {} answers, at most {}{beside}", percent(rate), canary.total, percent(limit));
    checks.say(if passed { Outcome::Passed } else { Outcome::Failed }, reason);
}

fn check_latency(checks: &mut Checks, config: &Config, canary: &Latencies) {
    let limit = config.max_p95_ms;
    let Some(p95) = canary.p95().filter(|_| canary.total >= config.min_samples) else {
        let reason = format!("p95: {} latencies of the canary, {} are needed", canary.total, config.min_samples);
        return checks.say(Outcome::Undecided, reason);
    };
    let within = p95.within(limit);
    checks.figures.push(Figure {
        name: "p95".into(),
        value: p95.number(),
        baseline: None,
        limit: Some(limit),
        unit: Some("ms".into()),
        passed: within,
    });
    let reason = format!("p95: {}, at most {}", written(p95), ms(limit));
    checks.say(outcome(within, Outcome::Failed), reason);
}

fn check_increase(checks: &mut Checks, config: &Config, baseline: &Latencies, canary: &Latencies) {
    let enough = |side: &Latencies| side.p95().filter(|_| side.total >= config.min_samples);
    let (Some(before), Some(now)) = (enough(baseline), enough(canary)) else {
        let reason = format!(
            "p95 against baseline: {} latencies of the baseline and {} of the canary, {} of each are needed",
            baseline.total, canary.total, config.min_samples
        );
        return checks.say(Outcome::Undecided, reason);
    };
    let Percentile::At(number) = before else {
        let reason = format!("p95 against baseline: the baseline's is {}, where its histogram ends", written(before));
        return checks.say(Outcome::Undecided, reason);
    };
    let limit = (number * (1.0 + config.max_p95_increase)).max(number + config.min_p95_increase_ms);
    let within = now.within(limit);
    checks.figures.push(Figure {
        name: "p95-against-baseline".into(),
        value: now.number(),
        baseline: Some(number),
        limit: Some(limit),
        unit: Some("ms".into()),
        passed: within,
    });
    let reason =
        format!("p95 against baseline: {}, at most {} (baseline {})", written(now), ms(limit), written(before));
    checks.say(outcome(within, Outcome::Slower), reason);
}

/// How many samples there were: `needed` is the number that must reach the minimum.
fn samples_figure(checks: &mut Checks, config: &Config, name: &str, baseline: u64, canary: u64, needed: u64) {
    checks.figures.push(Figure {
        name: name.into(),
        value: canary as f64,
        baseline: Some(baseline as f64),
        limit: Some(config.min_samples as f64),
        unit: None,
        passed: Some(needed >= config.min_samples),
    });
}

fn outcome(within: Option<bool>, otherwise: Outcome) -> Outcome {
    match within {
        Some(true) => Outcome::Passed,
        Some(false) => otherwise,
        None => Outcome::Undecided,
    }
}

fn written(percentile: Percentile) -> String {
    match percentile {
        Percentile::At(number) => ms(number),
        Percentile::Beyond(number) => format!("more than {}", ms(number)),
    }
}

fn ms(number: f64) -> String {
    format!("{} ms", rounded(number))
}

fn percent(share: f64) -> String {
    format!("{} %", rounded(share * 100.0))
}

/// At most two decimals, without trailing zeros.
fn rounded(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
