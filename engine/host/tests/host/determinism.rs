//! Same result everywhere: fuel, clocks, NaNs, versions.

use lockgate_host::{HostOptions, determinism};
use lockgate_model::manifest::World;
use lockgate_model::outcome::FailureKind;

use crate::guest::Guest;
use crate::world::{Lab, fails, task};

/// A guest that computes, allocates and logs.
fn busy() -> Guest {
    let mut guest = Guest::stage().import(&["log", "now-ms", "sleep-ms"]);
    let (level, text) = (guest.text("info"), guest.text("done"));
    guest.body(format!(
        "(loop $l
            (local.set $a (i32.add (i32.mul (local.get $a) (i32.const 31)) (local.get $i)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000))))
         (drop (memory.grow (i32.const 3)))
         (memory.fill (i32.const 70000) (i32.const 1) (i32.const 100000))
         (call $sleep-ms (i32.const 1000))
         (drop (call $now-ms))
         (call $log {level} {text})
         (call $ok)"
    ))
}

#[tokio::test]
async fn fuel_is_the_same_in_100_runs_and_with_both_allocators() {
    let pooled = Lab::new();
    let on_demand = Lab::with(HostOptions { slots: 2, pooling: false, ..HostOptions::default() });
    assert!(!on_demand.host.is_pooled());
    let (a, b) = (pooled.load(busy()), on_demand.load(busy()));
    let first = pooled.call(&a, task(&a)).await;
    assert_eq!(first.failure, None);
    assert!(first.fuel.is_some_and(|fuel| fuel > 300_000));
    for _ in 0..100 {
        assert_eq!(pooled.call(&a, task(&a)).await, first);
    }
    for _ in 0..5 {
        assert_eq!(on_demand.call(&b, task(&b)).await, first);
    }
}

#[tokio::test]
async fn memory_is_fresh_in_each_call() {
    let lab = Lab::with(HostOptions { slots: 1, ..HostOptions::default() });
    let dirty = "(if (i32.load (i32.const 100000)) (then (unreachable))) (i32.store (i32.const 100000) (i32.const 1)) (call $ok)";
    let plugin = lab.load(Guest::stage().body(dirty));
    for _ in 0..10 {
        assert_eq!(lab.call(&plugin, task(&plugin)).await.failure, None);
    }
}

#[tokio::test]
async fn the_logical_clock_moves_only_by_sleep_and_costs_no_time() {
    let lab = Lab::new();
    let expected = 946_684_800_000_u64 + 3_600_000;
    let body = format!(
        "(if (i64.ne (call $now-ms) (i64.const 946684800000)) (then (unreachable)))
         (call $sleep-ms (i32.const 3600000))
         (if (i64.ne (call $now-ms) (i64.const {expected})) (then (unreachable))) (call $ok)"
    );
    let done = lab.run(Guest::stage().import(&["now-ms", "sleep-ms"]).body(body), |_| ()).await;
    assert_eq!(done.failure, None);
    assert_eq!(done.effects, None, "it is no effect");
}

#[tokio::test]
async fn a_recorded_clock_says_the_same_and_costs_no_time() {
    let mut lab = Lab::new();
    // Fails with the difference that it saw, so that another clock could not go unnoticed.
    let body = "(local.set $n (call $now-ms)) (call $sleep-ms (i32.const 20))
         (local.set $n (i64.sub (call $now-ms) (local.get $n)))
         (if (i64.lt_u (local.get $n) (i64.const 20)) (then (unreachable))) (call $ok)";
    let guest = || Guest::stage().import(&["now-ms", "sleep-ms"]).body(body);
    let first = lab.run(guest(), |task| task.grants.clock = true).await;
    assert_eq!(first.failure, None);
    let mut records = lockgate_model::effect::decode(&lab.text(first.effects)).unwrap();
    assert_eq!(records.len(), 2);
    lab.recorded(records.clone());
    assert_eq!(lab.run(guest(), |task| task.grants.clock = true).await, first);

    // An hour between the readings: the call would time out if it slept.
    let wait = Guest::stage().import(&["now-ms", "sleep-ms"]).body(body.replace("const 20", "const 3600000"));
    records[1].answer["now-ms"] = (records[0].answer["now-ms"].as_u64().unwrap() + 3_600_000).into();
    lab.recorded(records);
    assert_eq!(lab.run(wait, |task| task.grants.clock = true).await.failure, None);
}

#[tokio::test]
async fn nans_are_canonical() {
    let lab = Lab::new();
    let item = "(global $zero (mut f32) (f32.const 0))";
    let body = "(if (i32.ne (i32.const 0x7fc00000) (i32.reinterpret_f32 (f32.add (f32.div (global.get $zero) (global.get $zero))
        (f32.reinterpret_i32 (i32.const 0xffa12345))))) (then (unreachable))) (call $ok)";
    assert_eq!(lab.run(Guest::stage().item(item).body(body), |_| ()).await.failure, None);
}

#[test]
fn the_version_names_ours_and_wasmtimes() {
    let lock = include_str!("../../../../Cargo.lock");
    let found = lock.split("[[package]]").find(|package| package.contains("name = \"wasmtime\"\n")).unwrap();
    let version = found.split("version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let determinism = determinism();
    assert!(determinism.starts_with(&format!("1+wasmtime-{version}+")), "{determinism}");
    assert_eq!(determinism.rsplit('+').next().unwrap().len(), 12);
}

#[tokio::test]
async fn a_task_for_another_component_is_refused() {
    let lab = Lab::new();
    let guest = || Guest::stage().body("(call $ok)");
    let done = lab.run(guest(), |task| task.world = World::HealthCheck).await;
    fails(&done, FailureKind::Infrastructure, "another component or world");
    let done = lab.run(guest(), |task| task.component = lockgate_model::Digest::of(b"x")).await;
    fails(&done, FailureKind::Infrastructure, "another component or world");
}

/// Runs this test binary again, with an address space that has no room for a pool.
#[cfg(unix)]
#[test]
fn without_room_for_a_pool_it_allocates_on_demand() {
    let script = "ulimit -v 16000000 && exec \"$0\" --exact determinism::in_a_small_address_space --include-ignored";
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh").arg("-c").arg(script).arg(this).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "the test above runs it, in a process of its own"]
async fn in_a_small_address_space() {
    let lab = Lab::new();
    assert!(!lab.host.is_pooled());
    assert_eq!(lab.run(Guest::stage().body("(call $ok)"), |_| ()).await.failure, None);
}
