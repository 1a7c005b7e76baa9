//! Health checks and canary evaluators: what they get, what they may say, and what breaks the contract.

use lockgate_model::manifest::World;
use lockgate_model::outcome::FailureKind;
use lockgate_model::task::Task;

use crate::guest::Guest;
use crate::world::{Lab, fails, port};

/// A health check that answers this.
fn health(status: &str, reason: &str, details: &str) -> Guest {
    let mut guest = Guest::new(World::HealthCheck);
    let mut words = vec![0];
    for text in [status, reason, details] {
        words.extend(guest.bytes(text.as_bytes()));
    }
    let result = guest.words(&words);
    guest.body(format!("(i32.const {result})"))
}

/// A canary evaluator that answers this, with one figure of this value, and a state of so many bytes.
fn canary(status: &str, value: f64, state: u32) -> Guest {
    let mut guest = Guest::new(World::CanaryEvaluator).pages(20);
    let [status, status_len] = guest.bytes(status.as_bytes());
    let [name, name_len] = guest.bytes(b"error-rate");
    let bits = value.to_bits();
    let mut figure = vec![0; 16];
    (figure[0], figure[1]) = (name, name_len);
    (figure[2], figure[3]) = (bits as u32, (bits >> 32) as u32);
    // The option `passed`: some, true.
    figure[15] = 0x0101;
    let figures = guest.words(&figure);
    let reasons = guest.words(&[name, name_len]);
    let result = guest.words(&[0, status, status_len, reasons, 1, figures, 1, 60_000, state]);
    guest.body(format!("(i32.const {result})"))
}

fn observe(lab: &Lab, text: &str) -> impl FnOnce(&mut Task) + use<> {
    let blob = lab.store.blob(text.as_bytes());
    move |task| _ = task.inputs.insert(port("observation"), blob)
}

const OBSERVATION: &str = r#"{"schema":1,"samples":[{"metric":"latency","side":"canary","unit":"ms","points":[{"t":0,"v":1.5}],
    "counts":{"200":3},"buckets":[{"le":1.0,"n":2},{"n":1}]}]}"#;

#[tokio::test]
async fn health_checks() {
    let lab = Lab::new();
    let done = lab.run(health("degraded", "slow", r#"{"ms": 12}"#), |_| ()).await;
    let verdict = done.verdict.unwrap();
    assert_eq!((&*verdict.word, verdict.reasons, done.failure), ("degraded", vec!["slow".to_owned()], None));
    assert_eq!(verdict.details, Some(serde_json::json!({ "ms": 12 })));
    let verdict = lab.run(health("healthy", "", ""), |_| ()).await.verdict.unwrap();
    assert_eq!((verdict.reasons.len(), verdict.details), (0, None));

    let done = lab.run(health("fine", "", ""), |_| ()).await;
    fails(
        &done,
        FailureKind::Contract,
        "returned the status `fine`: expected one of `healthy`, `degraded`, `unhealthy`",
    );
    assert_eq!(done.verdict, None);
    let done = lab.run(health("healthy", "", "{garbage"), |_| ()).await;
    fails(&done, FailureKind::Contract, "`details` that are no JSON");
}

#[tokio::test]
async fn health_checks_see_which_look_it_is() {
    let lab = Lab::new();
    let mut guest = Guest::new(World::HealthCheck);
    let [at, len] = guest.bytes(b"healthy");
    let result = guest.words(&[0, at, len, 0, 0, 0, 0]);
    let body = format!(
        "(if (i32.ne (local.get 2) (i32.const 3)) (then (unreachable)))
         (if (i64.ne (local.get 3) (i64.const 30000)) (then (unreachable)))
         (if (i32.ne (local.get 4) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (local.get 5) (i32.const 2)) (then (unreachable))) (i32.const {result})"
    );
    let done = lab
        .run(guest.body(body), |task| (task.look.index, task.look.elapsed, task.look.step) = (3, 30_000, Some(2)))
        .await;
    assert_eq!(done.failure, None);
}

#[tokio::test]
async fn canaries() {
    let lab = Lab::new();
    let done = lab.run(canary("promote", 0.25, 3), observe(&lab, OBSERVATION)).await;
    assert_eq!(done.failure, None);
    let verdict = done.verdict.unwrap();
    assert_eq!((&*verdict.word, verdict.figures[0].value, verdict.figures[0].passed), ("promote", 0.25, Some(true)));
    assert_eq!(done.state, Some(vec![0; 3]));
    let done = lab.run(canary("hold", 1.0, 0), observe(&lab, OBSERVATION)).await;
    assert_eq!(done.state, None, "an empty state is none");
}

#[tokio::test]
async fn canaries_that_break_the_contract() {
    let lab = Lab::new();
    let done = lab.run(canary("yes", 1.0, 0), observe(&lab, OBSERVATION)).await;
    fails(&done, FailureKind::Contract, "returned the status `yes`: expected one of `promote`");
    let done = lab.run(canary("promote", f64::NAN, 0), observe(&lab, OBSERVATION)).await;
    fails(&done, FailureKind::Contract, "the figure `error-rate` with a number that is not finite");
    let done = lab.run(canary("promote", 1.0, (1 << 20) + 1), observe(&lab, OBSERVATION)).await;
    fails(&done, FailureKind::Contract, "returned a state of 1048577 bytes: at most 1048576");

    let good = || canary("promote", 1.0, 0);
    fails(&lab.run(good(), |_| ()).await, FailureKind::Contract, "it needs an input named `observation`");
    let done = lab.run(good(), observe(&lab, "{\"schema\":1}")).await;
    fails(&done, FailureKind::Contract, "its input `observation` is none: failed to read the observation as JSON");
    fails(&lab.run(good(), observe(&lab, "\u{1}")).await, FailureKind::Contract, "observation");
    fails(&lab.run(good(), observe(&lab, r#"{"schema":2,"samples":[]}"#)).await, FailureKind::Contract, "version 2");
    let tree = lab.store.tree(&[("a", Some("b"))]);
    let done = lab.run(good(), |task| _ = task.inputs.insert(port("observation"), tree)).await;
    fails(&done, FailureKind::Contract, "not a blob");
}

#[tokio::test]
async fn canaries_get_their_state_back_and_every_sample() {
    let lab = Lab::new();
    let mut guest = Guest::new(World::CanaryEvaluator);
    let [at, len] = guest.bytes(b"hold");
    let result = guest.words(&[0, at, len, 0, 0, 0, 0, 0, 0]);
    // One sample; of it: points 1, counts 1, buckets 2; and a state of four bytes.
    let body = format!(
        "(local.set $a (local.get 2))
         (if (i32.ne (local.get 3) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (i32.load offset=32 (local.get $a)) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (i32.load offset=40 (local.get $a)) (i32.const 1)) (then (unreachable)))
         (if (i32.ne (i32.load offset=48 (local.get $a)) (i32.const 2)) (then (unreachable)))
         (if (i32.ne (local.get 10) (i32.const 4)) (then (unreachable)))
         (if (i32.ne (i32.load (local.get 9)) (i32.const 0x64636261)) (then (unreachable)))
         (i32.const {result})"
    );
    let observation = observe(&lab, OBSERVATION);
    let done = lab
        .run(guest.body(body), |task| {
            observation(task);
            task.state = Some(b"abcd".to_vec());
        })
        .await;
    assert_eq!(done.failure, None);
}
