//! The verdicts: a case for each rule, and the properties that hold for every observation.

use lockgate_sdk::evaluation::{Bucket, Point};
use proptest::prelude::*;

use super::*;

/// What was seen of one side.
#[derive(Debug, Clone, Default)]
struct Side {
    ok: u64,
    errors: u64,
    latencies: Vec<f64>,
    violations: Option<u64>,
}

fn good(latency: f64) -> Side {
    Side { ok: 50, errors: 0, latencies: vec![latency; 50], violations: Some(0) }
}

fn samples(name: &str, side: &Side) -> Vec<Sample> {
    let mut status = Sample::new("status", name);
    status.counts = [("200".to_owned(), side.ok), ("error:connect".to_owned(), side.errors)].into();
    let mut latency = Sample::new("latency", name);
    latency.unit = Some("ms".into());
    latency.points = side.latencies.iter().map(|value| Point { time_ms: 0, value: *value }).collect();
    let mut contract = Sample::new("contract", name);
    if let Some(violations) = side.violations {
        contract.counts = [("ok".to_owned(), side.ok), ("violation:status".to_owned(), violations)].into();
    }
    vec![status, latency, contract]
}

fn observation(baseline: &Side, canary: &Side) -> Observation {
    Observation::new([samples(BASELINE, baseline), samples(CANARY, canary)].concat())
}

fn verdict(config: &Config, baseline: &Side, canary: &Side) -> Verdict {
    judge(config, &observation(baseline, canary)).unwrap()
}

fn default(baseline: &Side, canary: &Side) -> Verdict {
    verdict(&Config::default(), baseline, canary)
}

fn figure<'a>(verdict: &'a Verdict, name: &str) -> &'a Figure {
    verdict
        .figures
        .iter()
        .find(|figure| figure.name == name)
        .unwrap_or_else(|| panic!("no figure `{name}`: {verdict:?}"))
}

#[test]
fn a_canary_like_its_baseline_is_promoted_with_every_figure() {
    let verdict = default(&good(50.0), &good(52.0));
    assert_eq!(verdict.status, Judgement::Promote);
    assert_eq!(
        verdict.reasons,
        [
            "contract violations: 0, at most 0",
            "error rate: 0 % of 50 answers, at most 10 % (baseline 0 %)",
            "p95: 52 ms, at most 500 ms",
            "p95 against baseline: 52 ms, at most 55 ms (baseline 50 ms)",
        ]
    );
    let names: Vec<_> = verdict.figures.iter().map(|figure| figure.name.as_str()).collect();
    assert_eq!(names, ["contract-violations", "answers", "error-rate", "latencies", "p95", "p95-against-baseline"]);
    assert!(verdict.figures.iter().all(|figure| figure.passed == Some(true) && figure.limit.is_some()));
    assert!(verdict.state.is_empty());
}

#[test]
fn errors_beyond_the_limit_roll_back() {
    let canary = |errors| Side { ok: 50 - errors, errors, ..good(50.0) };
    assert_eq!(default(&good(50.0), &canary(5)).status, Judgement::Promote, "a value at its limit is within it");
    let verdict = default(&good(50.0), &canary(6));
    assert_eq!(verdict.status, Judgement::Rollback);
    assert_eq!(verdict.reasons[0], "error rate: 12 % of 50 answers, at most 10 % (baseline 0 %)");
    let expected = Figure {
        name: "error-rate".into(),
        value: 0.12,
        baseline: Some(0.0),
        limit: Some(0.1),
        unit: None,
        passed: Some(false),
    };
    assert_eq!(figure(&verdict, "error-rate"), &expected);
}

#[test]
fn latency_beyond_the_limit_rolls_back_and_beyond_the_baseline_holds() {
    let slow = default(&good(495.0), &good(500.1));
    assert_eq!(slow.status, Judgement::Rollback);
    assert_eq!(slow.reasons[0], "p95: 500.1 ms, at most 500 ms");
    assert_eq!(default(&good(495.0), &good(500.0)).status, Judgement::Promote);
    let slower = default(&good(100.0), &good(111.0));
    assert_eq!(slower.status, Judgement::Hold);
    assert_eq!(slower.reasons[0], "p95 against baseline: 111 ms, at most 110 ms (baseline 100 ms)");
    assert_eq!(default(&good(100.0), &good(110.0)).status, Judgement::Promote);
}

#[test]
fn small_increases_can_be_left_out_of_account() {
    let config = Config { min_p95_increase_ms: 5.0, ..Config::default() };
    assert_eq!(verdict(&config, &good(2.0), &good(7.0)).status, Judgement::Promote);
    assert_eq!(verdict(&config, &good(2.0), &good(7.1)).status, Judgement::Hold);
    assert_eq!(verdict(&config, &good(100.0), &good(109.0)).status, Judgement::Promote);
    assert_eq!(default(&good(0.0), &good(0.1)).status, Judgement::Hold, "a baseline of zero divides nothing");
}

#[test]
fn one_violation_rolls_back_at_once() {
    let canary = Side { ok: 1, latencies: vec![1.0], violations: Some(1), ..Side::default() };
    let verdict = default(&Side::default(), &canary);
    assert_eq!(verdict.status, Judgement::Rollback);
    assert_eq!(verdict.reasons[0], "contract violations: 1, at most 0 (status 1)");
    let config = Config { max_contract_violations: 1, ..Config::default() };
    assert_eq!(judge(&config, &observation(&Side::default(), &canary)).unwrap().status, Judgement::Inconclusive);
}

#[test]
fn a_contract_that_was_not_observed_is_said() {
    let verdict = default(&good(50.0), &Side { violations: None, ..good(50.0) });
    assert_eq!(verdict.status, Judgement::Promote);
    assert_eq!(verdict.reasons[0], "contract violations: no contract was observed");
    assert!(verdict.figures.iter().all(|figure| figure.name != "contract-violations"));
}

#[test]
fn many_rules_are_summed_up() {
    let mut contract = Sample::new("contract", CANARY);
    contract.counts = (1..=8).map(|n| (format!("violation:r{n}"), n)).collect();
    let verdict = judge(&Config::default(), &Observation::new(vec![contract])).unwrap();
    assert_eq!(verdict.reasons[0], "contract violations: 36, at most 0 (r8 8, r7 7, r6 6, r5 5, r4 4, 3 more rules)");
}

#[test]
fn too_few_samples_are_inconclusive() {
    let few = |n: u64| Side { ok: n, latencies: vec![50.0; n as usize], ..good(0.0) };
    let canary = default(&good(50.0), &few(9));
    assert_eq!(canary.status, Judgement::Inconclusive);
    assert_eq!(
        canary.reasons[..3],
        [
            "error rate: 9 answers of the canary, 10 are needed",
            "p95: 9 latencies of the canary, 10 are needed",
            "p95 against baseline: 50 latencies of the baseline and 9 of the canary, 10 of each are needed",
        ]
    );
    assert_eq!(figure(&canary, "answers").passed, Some(false));
    assert_eq!(default(&good(50.0), &few(10)).status, Judgement::Promote);
    assert_eq!(default(&few(9), &good(50.0)).status, Judgement::Inconclusive);
    assert_eq!(judge(&Config::default(), &Observation::default()).unwrap().status, Judgement::Inconclusive);
}

#[test]
fn a_known_rollback_outweighs_a_missing_baseline() {
    let canary = Side { ok: 10, errors: 40, ..good(50.0) };
    assert_eq!(default(&Side::default(), &canary).status, Judgement::Rollback);
}

#[test]
fn a_missing_baseline_means_what_the_config_says() {
    let with = |baseline, canary: &Side| verdict(&Config { baseline, ..Config::default() }, &Side::default(), canary);
    assert_eq!(with(Baseline::Required, &good(50.0)).status, Judgement::Inconclusive);
    let optional = with(Baseline::Optional, &good(50.0));
    assert_eq!(optional.status, Judgement::Promote);
    assert!(optional.reasons.iter().any(|reason| reason.ends_with("not compared")));
    assert_eq!(with(Baseline::Ignored, &good(50.0)).status, Judgement::Promote);
    let ignored = Config { baseline: Baseline::Ignored, ..Config::default() };
    assert_eq!(verdict(&ignored, &good(1.0), &good(400.0)).status, Judgement::Promote);
}

#[test]
fn a_histogram_that_ends_too_early_decides_only_what_it_knows() {
    let side = |name: &str, buckets: &[(Option<f64>, u64)]| {
        let mut samples = samples(name, &Side { latencies: Vec::new(), ..good(0.0) });
        samples[1].buckets = buckets.iter().map(|(upper, number)| Bucket { upper: *upper, number: *number }).collect();
        samples
    };
    let judged = |baseline: &[_], canary: &[_]| {
        let observation = Observation::new([side(BASELINE, baseline), side(CANARY, canary)].concat());
        judge(&Config::default(), &observation).unwrap()
    };
    let fine = [(Some(100.0), 50), (None, 0)];
    assert_eq!(judged(&fine, &fine).status, Judgement::Promote);
    let unknown = judged(&fine, &[(Some(100.0), 40), (None, 10)]);
    assert_eq!(unknown.status, Judgement::Inconclusive);
    assert_eq!(unknown.reasons[0], "p95: more than 100 ms, at most 500 ms");
    assert_eq!(figure(&unknown, "p95").passed, None);
    assert_eq!(judged(&fine, &[(Some(500.0), 40), (None, 10)]).status, Judgement::Rollback);
    assert_eq!(judged(&[(Some(100.0), 40), (None, 10)], &fine).status, Judgement::Inconclusive);
}

#[test]
fn limits_that_cannot_be_meant_are_refused() {
    for config in [
        Config { max_error_rate: 1.1, ..Config::default() },
        Config { max_error_rate: f64::NAN, ..Config::default() },
        Config { max_p95_ms: -1.0, ..Config::default() },
        Config { max_p95_increase: f64::INFINITY, ..Config::default() },
        Config { min_samples: 0, ..Config::default() },
    ] {
        assert!(judge(&config, &Observation::default()).is_err(), "{config:?}");
    }
}

fn side() -> impl Strategy<Value = Side> {
    (0..60_u64, 0..12_u64, prop::collection::vec(0.0..700.0_f64, 0..40), prop::option::of(0..2_u64))
        .prop_map(|(ok, errors, latencies, violations)| Side { ok, errors, latencies, violations })
}

/// From best to worst, as [`Outcome`].
fn rank(verdict: &Verdict) -> usize {
    let order = [Judgement::Promote, Judgement::Hold, Judgement::Inconclusive, Judgement::Rollback];
    order.iter().position(|judgement| *judgement == verdict.status).unwrap()
}

proptest! {
    #[test]
    fn the_order_of_samples_does_not_matter(
        baseline in side(),
        canary in side(),
        (samples, shuffled) in (side(), side()).prop_flat_map(|(a, b)| {
            let all = observation(&a, &b).samples;
            (Just(all.clone()), Just(all).prop_shuffle())
        }),
        turn in 0..40_usize,
    ) {
        prop_assert_eq!(
            judge(&Config::default(), &Observation::new(samples)).unwrap(),
            judge(&Config::default(), &Observation::new(shuffled)).unwrap()
        );
        let mut turned = canary.clone();
        turned.latencies.reverse();
        let middle = turn.min(turned.latencies.len());
        turned.latencies.rotate_left(middle);
        prop_assert_eq!(default(&baseline, &canary), default(&baseline, &turned));
    }

    #[test]
    fn errors_in_place_of_successes_never_improve_the_verdict(baseline in side(), canary in side(), more in 1..60_u64) {
        let more = more.min(canary.ok);
        let worse = Side { ok: canary.ok - more, errors: canary.errors + more, ..canary.clone() };
        prop_assert!(rank(&default(&baseline, &worse)) >= rank(&default(&baseline, &canary)));
    }

    #[test]
    fn errors_on_top_never_improve_a_verdict_with_enough_samples(baseline in side(), canary in side(), more in 1..60_u64) {
        prop_assume!(canary.ok + canary.errors >= 10);
        let worse = Side { errors: canary.errors + more, ..canary.clone() };
        prop_assert!(rank(&default(&baseline, &worse)) >= rank(&default(&baseline, &canary)));
    }

    #[test]
    fn slower_answers_and_violations_never_improve_the_verdict(
        baseline in side(),
        canary in side(),
        which in 0..40_usize,
        by in 0.0..500.0_f64,
        violations in 0..3_u64,
    ) {
        let mut worse = canary.clone();
        if let Some(latency) = worse.latencies.get_mut(which) {
            *latency += by;
        }
        worse.violations = canary.violations.map(|before| before + violations);
        prop_assert!(rank(&default(&baseline, &worse)) >= rank(&default(&baseline, &canary)));
    }

    #[test]
    fn figures_are_finite_and_agree_with_the_verdict(
        baseline in side(),
        canary in side(),
        scale in prop::sample::select(vec![1e-300, 1.0, 1e12]),
        increase in prop::sample::select(vec![0.0, 0.1, 1e100]),
    ) {
        let scaled = |side: &Side| Side { latencies: side.latencies.iter().map(|ms| ms * scale).collect(), ..side.clone() };
        let config = Config { max_p95_increase: increase, ..Config::default() };
        let verdict = verdict(&config, &scaled(&baseline), &scaled(&canary));
        for figure in &verdict.figures {
            let numbers = [Some(figure.value), figure.baseline, figure.limit];
            prop_assert!(numbers.into_iter().flatten().all(f64::is_finite), "{:?}", figure);
        }
        let all_passed = verdict.figures.iter().all(|figure| figure.passed == Some(true));
        prop_assert!(verdict.status != Judgement::Promote || all_passed, "{:?}", verdict);
        prop_assert!(!verdict.reasons.is_empty());
    }
}
