//! Reads an observation: counts of answers by success and error, contract violations, and latencies as a distribution whose
//! percentile is taken. All of it is independent of the order of samples.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;

/// Latencies from here on are refused as no latencies: 30,000 years in milliseconds. It keeps sums and limits finite.
const MAX_MS: f64 = 1e15;

/// Answers of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// All.
    pub total: u64,
    /// Those whose class is no success.
    pub errors: u64,
}

impl Answers {
    /// Counts the classes of the metric `status` on a side.
    pub fn of(observation: &Observation, side: &str, successes: &[String]) -> Self {
        let mut answers = Self::default();
        for (class, number) in counts(observation, "status", side) {
            answers.total = answers.total.saturating_add(number);
            if !successes.iter().any(|pattern| matches_class(pattern, class)) {
                answers.errors = answers.errors.saturating_add(number);
            }
        }
        answers
    }

    /// Share of errors; none where nothing was answered.
    pub fn error_rate(self) -> Option<f64> {
        (self.total > 0).then(|| self.errors as f64 / self.total as f64)
    }
}

/// Whether a class of answers is meant by a pattern: the same text, or `2xx` for a status code of three digits.
fn matches_class(pattern: &str, class: &str) -> bool {
    let hundreds = || {
        let digit = pattern.strip_suffix("xx")?;
        let rest = class.strip_prefix(digit)?;
        Some(digit.len() == 1 && rest.len() == 2 && class.bytes().all(|byte| byte.is_ascii_digit()))
    };
    pattern == class || hundreds() == Some(true)
}

/// Contract violations of a side by rule (empty: no rule was named); none where no contract was observed.
pub fn violations<'a>(observation: &'a Observation, side: &str) -> Option<BTreeMap<&'a str, u64>> {
    let (mut observed, mut rules) = (false, BTreeMap::new());
    for (class, number) in counts(observation, "contract", side) {
        observed = true;
        let rule = match class.strip_prefix("violation") {
            Some("") => "",
            Some(rest) if rest.starts_with(':') => &rest[1..],
            _ => continue,
        };
        if number > 0 {
            let sum: &mut u64 = rules.entry(rule).or_default();
            *sum = sum.saturating_add(number);
        }
    }
    observed.then_some(rules)
}

fn counts<'a>(observation: &'a Observation, metric: &str, side: &str) -> impl Iterator<Item = (&'a str, u64)> {
    samples(observation, metric, side)
        .flat_map(|sample| &sample.counts)
        .map(|(class, number)| (class.as_str(), *number))
}

fn samples<'a>(observation: &'a Observation, metric: &str, side: &str) -> impl Iterator<Item = &'a Sample> {
    observation.samples.iter().filter(move |sample| sample.metric == metric && sample.side == side)
}

/// Latencies of one side in milliseconds. A point counts as itself; a histogram's value as the upper bound of its bucket.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    /// How many.
    pub total: u64,
    /// Upper bounds with how many values lie there, ascending.
    bounded: Vec<(f64, u64)>,
    /// The largest bound that unbounded buckets are known to lie beyond; the smallest of these, of several histograms.
    beyond: f64,
}

/// What is known of a percentile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Percentile {
    /// It is this, or at most this where it comes from a histogram.
    At(f64),
    /// It is more than this: it lies in a histogram's unbounded bucket.
    Beyond(f64),
}

impl Percentile {
    /// The number itself.
    pub const fn number(self) -> f64 {
        match self {
            Self::At(number) | Self::Beyond(number) => number,
        }
    }

    /// Whether it is within a limit; none where that cannot be known.
    pub fn within(self, limit: f64) -> Option<bool> {
        match self {
            Self::At(number) => Some(number <= limit),
            Self::Beyond(number) => (number >= limit).then_some(false),
        }
    }
}

impl Latencies {
    /// Reads the metric `latency` of a side. An error for a unit that is no time, and for values that are no latencies.
    pub fn of(observation: &Observation, side: &str) -> Result<Self> {
        let (mut latencies, mut floors) = (Self::default(), Vec::new());
        for sample in samples(observation, "latency", side) {
            let factor = match sample.unit.as_deref() {
                None | Some("ms") => 1.0,
                Some("s") => 1e3,
                Some("us") => 1e-3,
                Some(other) => {
                    bail!("the unit of the {side}'s latency is `{}`: expected `ms`, `s` or `us`", cut(other))
                }
            };
            let read = |value: f64| {
                let ms = value * factor;
                ensure!(
                    (0.0..MAX_MS).contains(&ms),
                    "a latency of the {side} is {value}: expected a time of at least 0"
                );
                Ok(ms)
            };
            for point in &sample.points {
                latencies.add(read(point.value)?, 1);
            }
            let mut floor = 0.0_f64;
            for bucket in &sample.buckets {
                if let Some(upper) = bucket.upper {
                    let upper = read(upper)?;
                    floor = floor.max(upper);
                    latencies.add(upper, bucket.number);
                }
            }
            let unbounded = sample.buckets.iter().filter(|bucket| bucket.upper.is_none()).map(|bucket| bucket.number);
            let unbounded = unbounded.fold(0, u64::saturating_add);
            if unbounded > 0 {
                latencies.total = latencies.total.saturating_add(unbounded);
                floors.push(floor);
            }
        }
        latencies.bounded.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        latencies.beyond = floors.into_iter().reduce(f64::min).unwrap_or(0.0);
        Ok(latencies)
    }

    fn add(&mut self, upper: f64, number: u64) {
        if number > 0 {
            self.total = self.total.saturating_add(number);
            // -0.0 and 0.0 are one latency; adding 0.0 makes them one number.
            self.bounded.push((upper + 0.0, number));
        }
    }

    /// The 95th percentile by nearest rank: the smallest value that at least 95 % of all values do not exceed (Hyndman and
    /// Fan, Sample Quantiles in Statistical Packages, 1996, definition 1). It is always a value that was seen, and means the
    /// same for points and histograms. None where there are no values.
    pub fn p95(&self) -> Option<Percentile> {
        if self.total == 0 {
            return None;
        }
        let rank = (u128::from(self.total) * 95).div_ceil(100);
        let mut seen = 0_u128;
        for (upper, number) in &self.bounded {
            seen += u128::from(*number);
            if seen >= rank {
                return Some(Percentile::At(*upper));
            }
        }
        Some(Percentile::Beyond(self.beyond))
    }
}

/// A text from outside, short enough for a message.
pub fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use lockgate_sdk::evaluation::{Bucket, CANARY, Point};

    use super::*;

    fn counted(metric: &str, counts: &[(&str, u64)]) -> Sample {
        let mut sample = Sample::new(metric, CANARY);
        sample.counts = counts.iter().map(|(class, number)| ((*class).to_owned(), *number)).collect();
        sample
    }

    fn points(values: impl IntoIterator<Item = f64>) -> Sample {
        let mut sample = Sample::new("latency", CANARY);
        sample.points = values.into_iter().map(|value| Point { time_ms: 0, value }).collect();
        sample
    }

    fn histogram(buckets: &[(Option<f64>, u64)]) -> Sample {
        let mut sample = Sample::new("latency", CANARY);
        sample.buckets = buckets.iter().map(|(upper, number)| Bucket { upper: *upper, number: *number }).collect();
        sample
    }

    fn latencies(samples: Vec<Sample>) -> Result<Latencies> {
        Latencies::of(&Observation::new(samples), CANARY)
    }

    fn p95(samples: Vec<Sample>) -> Option<Percentile> {
        latencies(samples).unwrap().p95()
    }

    #[test]
    fn what_is_no_success_is_an_error() {
        let counts =
            [("200", 5), ("204", 1), ("301", 1), ("404", 2), ("500", 1), ("error:connect", 3), ("2000", 1), ("odd", 1)];
        let observation = Observation::new(vec![counted("status", &counts)]);
        let of = |successes: &[&str]| {
            Answers::of(&observation, CANARY, &successes.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["2xx", "3xx"]), Answers { total: 15, errors: 8 });
        assert_eq!(of(&["200", "odd"]), Answers { total: 15, errors: 9 });
        assert_eq!(of(&[]), Answers { total: 15, errors: 15 });
        assert_eq!(Answers::of(&observation, "baseline", &[]).error_rate(), None);
    }

    #[test]
    fn violations_are_counted_by_rule() {
        let observation = Observation::new(vec![
            counted("contract", &[("ok", 9), ("violation", 1), ("violation:status", 2), ("violations", 7)]),
            counted("contract", &[("violation:status", 3), ("violation:json", 0)]),
        ]);
        assert_eq!(violations(&observation, CANARY).unwrap(), BTreeMap::from([("", 1), ("status", 5)]));
        assert_eq!(violations(&observation, "baseline"), None);
    }

    #[test]
    fn the_percentile_is_the_nearest_rank() {
        assert_eq!(p95(vec![]), None);
        assert_eq!(p95(vec![points([7.0])]), Some(Percentile::At(7.0)));
        assert_eq!(p95(vec![points((1..=20).map(f64::from))]), Some(Percentile::At(19.0)));
        assert_eq!(p95(vec![points((1..=21).map(f64::from))]), Some(Percentile::At(20.0)));
        assert_eq!(p95(vec![points((1..=100).rev().map(f64::from))]), Some(Percentile::At(95.0)));
    }

    #[test]
    fn a_histogram_gives_the_upper_bound() {
        assert_eq!(p95(vec![histogram(&[(Some(10.0), 90), (Some(50.0), 5), (None, 5)])]), Some(Percentile::At(50.0)));
        assert_eq!(
            p95(vec![histogram(&[(Some(10.0), 90), (Some(50.0), 4), (None, 6)])]),
            Some(Percentile::Beyond(50.0))
        );
        assert_eq!(p95(vec![histogram(&[(None, 3)])]), Some(Percentile::Beyond(0.0)));
        assert_eq!(p95(vec![histogram(&[(Some(10.0), 19)]), points([3000.0])]), Some(Percentile::At(10.0)));
        assert_eq!(p95(vec![histogram(&[(Some(10.0), u64::MAX), (None, u64::MAX)])]), Some(Percentile::At(10.0)));
    }

    #[test]
    fn units_of_time_are_converted() {
        let in_unit = |unit: &str, value| {
            let mut sample = points([value]);
            sample.unit = Some(unit.into());
            latencies(vec![sample])
        };
        assert_eq!(in_unit("s", 0.25).unwrap().p95(), Some(Percentile::At(250.0)));
        assert_eq!(in_unit("us", 1500.0).unwrap().p95(), Some(Percentile::At(1.5)));
        let error = in_unit("B", 1.0).unwrap_err();
        assert_eq!(error.message(), "the unit of the canary's latency is `B`: expected `ms`, `s` or `us`");
    }

    #[test]
    fn what_is_no_latency_is_refused() {
        for value in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(latencies(vec![points([value])]).is_err(), "{value}");
            assert!(latencies(vec![histogram(&[(Some(value), 1)])]).is_err(), "{value}");
        }
        assert_eq!(p95(vec![points([-0.0])]).unwrap().number().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn an_unbounded_percentile_is_beyond_or_unknown() {
        assert_eq!(Percentile::At(5.0).within(5.0), Some(true));
        assert_eq!(Percentile::At(5.1).within(5.0), Some(false));
        assert_eq!(Percentile::Beyond(5.0).within(5.0), Some(false));
        assert_eq!(Percentile::Beyond(4.0).within(5.0), None);
    }
}
