//! Every limit of a call, firing, with its message; and every other way in which a guest may end.

use std::sync::Arc;

use lockgate_model::outcome::FailureKind;
use lockgate_model::units::{Bytes, Fuel, Millis};

use crate::guest::{Guest, check, got, ret};
use crate::world::{Lab, Memory, fails, port, task};

const FOREVER: &str = "(loop $l (br $l)) (unreachable)";

#[tokio::test]
async fn a_guest_that_does_nothing_succeeds() {
    let lab = Lab::new();
    let done = lab.run(Guest::stage().body("(call $ok)"), |_| ()).await;
    assert_eq!(done.failure, None);
    assert!(done.fuel.is_some_and(|fuel| fuel > 0 && fuel < 1_000), "{:?}", done.fuel);
    assert_eq!(done.peak_memory, 2 << 16);
    assert_eq!((done.log, done.findings, done.effects), (None, None, None));
}

#[tokio::test]
async fn fuel() {
    let lab = Lab::new();
    let done = lab.run(Guest::stage().body(FOREVER), |task| task.limits.fuel = Fuel(1_000_000)).await;
    fails(&done, FailureKind::Fuel, "spent its 1M of fuel; raise `limits.fuel`");
    assert_eq!(done.fuel, None, "the counter after a trap is approximate");
}

#[tokio::test]
async fn fuel_of_host_calls() {
    let lab = Lab::new();
    let guest = Guest::stage().import(&["now-ms"]).body("(loop $l (drop (call $now-ms)) (br $l)) (unreachable)");
    let done = lab.run(guest, |task| task.limits.fuel = Fuel(50_000)).await;
    fails(&done, FailureKind::Fuel, "50K");
    let mut guest = Guest::stage().import(&["log"]);
    let (level, text) = (guest.text("info"), guest.text(&"x".repeat(640)));
    let once = format!("(call $log {level} {text})");
    let one = lab.run(guest.clone().body(format!("{once} (call $ok)")), |_| ()).await.fuel.unwrap();
    let two = lab.run(guest.body(format!("{once} {once} (call $ok)")), |_| ()).await.fuel.unwrap();
    assert!((400 + 11 * 16..400 + 11 * 16 + 50).contains(&(two - one)), "a call and 644 bytes: {}", two - one);
}

#[tokio::test]
async fn start_fuel() {
    let lab = Lab::new();
    let start = "(func $s (local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))) (start $s)";
    let guest = Guest::stage().item(start).body("(call $ok)");
    let done = lab.run(guest.clone(), |task| task.limits.start_fuel = Fuel(500)).await;
    fails(&done, FailureKind::Fuel, "for starting; raise `limits.start_fuel`");
    let done = lab.run(guest, |task| task.limits.fuel = Fuel(500)).await;
    assert_eq!(done.failure, None, "starting does not count for the call");
}

#[tokio::test]
async fn memory_of_one_and_of_several() {
    let lab = Lab::new();
    let grow = "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)";
    let done = lab.run(Guest::stage().body(grow), |_| ()).await;
    fails(&done, FailureKind::Limit, "more than 64 MiB of memory; raise `limits.memory`");
    assert_eq!(done.peak_memory, 64 << 20);

    let several =
        "(loop $l (drop (memory.grow (i32.const 1))) (drop (memory.grow $other (i32.const 1))) (br $l)) (unreachable)";
    let done = lab.run(Guest::stage().item("(memory $other 1)").body(several), |_| ()).await;
    fails(&done, FailureKind::Limit, "64 MiB");
    assert_eq!(done.peak_memory, 64 << 20, "all memories count together");

    let done = lab.run(Guest::stage().pages(100).body("(call $ok)"), |task| task.limits.memory = Bytes(1 << 20)).await;
    fails(&done, FailureKind::Limit, "limits.memory");

    // What no memory can be is the guest's to handle, as the specification says.
    let beyond = "(if (i32.ne (memory.grow (i32.const 65536)) (i32.const -1)) (then (unreachable))) (call $ok)";
    assert_eq!(lab.run(Guest::stage().body(beyond), |_| ()).await.failure, None);
}

#[tokio::test]
async fn table_elements() {
    let lab = Lab::new();
    let grow = "(loop $l (drop (table.grow $t (ref.null func) (i32.const 10000))) (br $l)) (unreachable)";
    let guest = Guest::stage().item("(table $t 1 funcref)").body(grow);
    fails(&lab.run(guest.clone(), |_| ()).await, FailureKind::Limit, "100000 elements; raise `limits.table_elements`");
    let done = lab.run(guest, |task| task.limits.table_elements = u64::MAX).await;
    fails(&done, FailureKind::Limit, "one of its tables has more than 1000000 elements");
}

#[tokio::test]
async fn handles() {
    let lab = Lab::new();
    let mut guest = Guest::stage().says(|says| says.open_inputs = Some("any")).import(&["open-blob", "drop-reader"]);
    let open = format!("(call $open-blob {} {})", guest.text("in"), ret());
    let flood = guest.clone().body(format!("(loop $l {open} (br $l)) (unreachable)"));
    let input = lab.store.blob(b"x");
    let done = lab.run(flood, |task| _ = task.inputs.insert(port("in"), input)).await;
    fails(&done, FailureKind::Limit, "more than 1000 readers, writers and trees at once; raise `limits.handles`");

    let count = "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000)))";
    let dropping = guest.body(format!("(loop $l {open} (call $drop-reader {}) {count}) (call $ok)", got()));
    let done = lab.run(dropping, |task| _ = task.inputs.insert(port("in"), input)).await;
    assert_eq!(done.failure, None, "those that were dropped do not count");
}

#[tokio::test]
async fn bytes_through_host_calls() {
    let lab = Lab::new();
    let mut guest = Guest::stage().import(&["log"]).pages(20);
    let level = guest.text("info");
    let guest =
        guest.body(format!("(loop $l (call $log {level} (i32.const 8192) (i32.const 1000000)) (br $l)) (unreachable)"));
    let done = lab.run(guest, |task| task.limits.call_bytes = Bytes(10 << 20)).await;
    fails(&done, FailureKind::Limit, "move more than 10 MiB; raise `limits.call_bytes`");

    let mut guest = Guest::stage().import(&["log"]).pages(300);
    let level = guest.text("info");
    let guest = guest.body(format!("(call $log {level} (i32.const 8192) (i32.const 18000000)) (call $ok)"));
    fails(&lab.run(guest, |_| ()).await, FailureKind::Limit, "more than 16 MiB at once");
}

#[tokio::test]
async fn log() {
    let lab = Lab::new();
    let mut guest = Guest::stage().import(&["log"]);
    let (level, text) = (guest.text("info"), guest.text("a line\nand another"));
    let count = "(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))";
    let guest = guest.body(format!("(loop $l (call $log {level} {text}) {count}) (call $ok)"));
    let done = lab.run(guest, |task| task.limits.log = Bytes(100)).await;
    assert_eq!(done.failure, None, "a log that is too long does not fail a node");
    let lines = "info a line\\nand another\n".repeat(4);
    assert_eq!(lab.text(done.log), lines + "warn lockgate: the log ends here, at its limit of 100 B (`limits.log`)\n");
}

#[tokio::test]
async fn output_bytes_and_entries() {
    let lab = Lab::new();
    let mut guest =
        Guest::stage().says(|says| says.open_outputs = Some("any")).import(&["create-blob", "writer.write"]).pages(20);
    let create = format!("(call $create-blob {} {}) {} (local.set $a {})", guest.text("out"), ret(), check(), got());
    let write =
        format!("(loop $l (call $writer.write (local.get $a) (i32.const 8192) (i32.const 1000000) {}) (br $l))", ret());
    let done = lab
        .run(guest.body(format!("{create} {write} (unreachable)")), |task| task.limits.output = Bytes(5 << 20))
        .await;
    fails(&done, FailureKind::Limit, "outputs are larger than 5 MiB; raise `limits.output`");

    let mut guest =
        Guest::stage().says(|says| says.open_outputs = Some("any")).import(&["create-tree", "tree-builder.directory"]);
    let create = format!("(call $create-tree {} {}) {} (local.set $a {})", guest.text("out"), ret(), check(), got());
    let [at, _] = guest.bytes(b"aa");
    // Each directory has another name: two letters, counted up.
    let next = format!(
        "(i32.store8 (i32.const {at}) (i32.add (i32.const 65) (i32.rem_u (local.get $i) (i32.const 26))))
         (i32.store8 (i32.const {}) (i32.add (i32.const 65) (i32.div_u (local.get $i) (i32.const 26))))
         (local.set $i (i32.add (local.get $i) (i32.const 1)))
         (call $tree-builder.directory (local.get $a) (i32.const {at}) (i32.const 2) {})",
        at + 1,
        ret()
    );
    let guest = guest.body(format!("{create} (loop $l {next} (br $l)) (unreachable)"));
    let done = lab.run(guest, |task| task.limits.output_entries = 100).await;
    fails(&done, FailureKind::Limit, "more than 100 entries; raise `limits.output_entries`");
}

#[tokio::test]
async fn findings() {
    let lab = Lab::new();
    let mut guest = Guest::stage();
    let result = guest.words(&[0, 60_000, 20]);
    let guest = guest.body(format!("(i32.const {result})"));
    let done = lab.run(guest.clone(), |task| task.limits.findings = 10).await;
    fails(&done, FailureKind::Limit, "returned 20 findings, more than 10; raise `limits.findings`");
    assert!(done.fuel.is_some(), "the call returned");
    let done = lab.run(guest, |_| ()).await;
    assert_eq!(done.finding_counts.get("note"), Some(&20));
    assert!(lab.text(done.findings).starts_with(r#"[{"message":"","severity":""},"#));
}

#[tokio::test]
async fn effects() {
    let lab = Lab::new();
    let guest = Guest::stage().import(&["now-ms"]).body("(loop $l (drop (call $now-ms)) (br $l)) (unreachable)");
    let prepare = |task: &mut lockgate_model::task::Task| {
        task.grants.clock = true;
        task.limits.effects = 3;
        task.first_sequence = 7;
    };
    let done = lab.run(guest, prepare).await;
    fails(&done, FailureKind::Limit, "more than 3 effects; raise `limits.effects`");
    let records = lockgate_model::effect::decode(&lab.text(done.effects)).unwrap();
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [7, 8, 9]);
    let lines = lab.effects.lines.lock().unwrap();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0], "intent 7 clock now");
    assert!(lines[1].starts_with("outcome 7 {\"now-ms\":"));
}

#[tokio::test]
async fn timeout() {
    let lab = Lab::new();
    let done = lab
        .run(Guest::stage().body(FOREVER), |task| {
            task.limits.fuel = Fuel(1 << 52);
            task.limits.timeout = Millis(20);
        })
        .await;
    fails(&done, FailureKind::Timeout, "did not end within 20 ms; raise `limits.timeout`");
}

/// One thread, one guest that spins, in wasm or in host calls: another one gets its turn all the same.
#[tokio::test(flavor = "current_thread")]
async fn a_spinning_guest_gives_way() {
    let lab = Lab::new();
    let quick = lab.load(Guest::stage().body("(call $ok)"));
    let host_calls = "(loop $l (drop (call $now-ms)) (br $l)) (unreachable)";
    for spinning in [Guest::stage().body(FOREVER), Guest::stage().import(&["now-ms"]).body(host_calls)] {
        let spinning = lab.load(spinning);
        let first = tokio::select! {
            biased;
            _ = lab.call(&spinning, task(&spinning)) => "the spinning one",
            done = lab.call(&quick, task(&quick)) => {
                assert_eq!(done.failure, None);
                "the quick one"
            }
        };
        assert_eq!(first, "the quick one");
    }
}

#[tokio::test]
async fn traps_have_a_backtrace_of_names() {
    let lab = Lab::new();
    let guest = Guest::stage().item("(func $deep (unreachable))").body("(call $deep) (call $ok)");
    let done = lab.run(guest, |_| ()).await;
    fails(&done, FailureKind::Trap, "it trapped: wasm `unreachable` instruction executed");
    let backtrace = done.backtrace.unwrap();
    assert!(backtrace.contains("  0: deep\n  1: main\n") || backtrace.contains("deep\n"), "{backtrace}");
    assert!(!backtrace.contains("0x"), "{backtrace}");
    let done = lab.run(Guest::stage().body("(i32.load (i32.const -1))"), |_| ()).await;
    fails(&done, FailureKind::Trap, "out of bounds memory access");
    let done = lab.run(Guest::stage().body("(i32.div_u (i32.const 1) (local.get $i))"), |_| ()).await;
    fails(&done, FailureKind::Trap, "divide by zero");
}

#[tokio::test]
async fn too_deep_recursion_is_infrastructure() {
    let lab = Lab::new();
    let guest = Guest::stage().item("(func $r (param i64) (call $r (i64.add (local.get 0) (i64.const 1))))");
    let done = lab.run(guest.body("(call $r (i64.const 0)) (call $ok)"), |_| ()).await;
    fails(&done, FailureKind::Infrastructure, "spent its stack");
}

#[tokio::test]
async fn errors_that_a_guest_returns_are_its_own() {
    let lab = Lab::new();
    let mut guest = Guest::stage();
    let message = guest.text("the tests failed");
    let done = lab.run(guest.body(format!("(call $say {message})")), |_| ()).await;
    fails(&done, FailureKind::Error, "the tests failed");
    assert!(done.fuel.is_some());
}

#[tokio::test]
async fn values_that_are_none_break_the_contract() {
    let lab = Lab::new();
    let mut guest = Guest::stage();
    let result = guest.words(&[7, 0, 0]);
    let done = lab.run(guest.body(format!("(i32.const {result})")), |_| ()).await;
    fails(&done, FailureKind::Contract, "component model's rules");
    let mut guest = Guest::stage();
    let [at, len] = guest.bytes(b"\xff\xfe");
    let done = lab.run(guest.body(format!("(call $say (i32.const {at}) (i32.const {len}))")), |_| ()).await;
    fails(&done, FailureKind::Contract, "component model's rules");
    let done = lab.run(Guest::stage().body("(i32.const -16)"), |_| ()).await;
    fails(&done, FailureKind::Contract, "component model's rules");
}

#[tokio::test]
async fn outputs_are_those_declared() {
    let lab = Lab::new();
    let says = |guest: Guest| guest.says(|says| says.outputs = vec![("out", "blob", false), ("more", "tree", true)]);
    let done = lab.run(says(Guest::stage()).body("(call $ok)"), |_| ()).await;
    fails(&done, FailureKind::Contract, "did not write the output `out`, which its manifest declares");

    let mut guest = says(Guest::stage()).import(&["create-blob", "writer.finish"]);
    let create = format!("(call $create-blob {} {}) {}", guest.text("out"), ret(), check());
    let done = lab.run(guest.clone().body(format!("{create} (call $ok)")), |_| ()).await;
    fails(&done, FailureKind::Contract, "did not finish the output `out`");
    let done = lab
        .run(guest.body(format!("{create} (call $writer.finish {} {}) {} (call $ok)", got(), ret(), check())), |_| ())
        .await;
    assert_eq!(done.failure, None);
    assert_eq!(done.outputs[&port("out")], lab.store.blob(b""));

    // Whatever the guest makes of the error, also nothing.
    for (name, part) in
        [("other", "writes the output `other`, which its manifest does not declare"), ("more", "`more` as a blob")]
    {
        let mut guest = says(Guest::stage()).import(&["create-blob"]);
        let create = format!("(call $create-blob {} {})", guest.text(name), ret());
        for end in ["(call $ok)", "(call $fail)", "(unreachable)"] {
            let done = lab.run(guest.clone().body(format!("{create} {end}")), |_| ()).await;
            fails(
                &done,
                FailureKind::Contract,
                if end == "(call $ok)" || end == "(call $fail)" { part } else { "manifest" },
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_there() {
    let lab = Lab::new();
    for (function, part) in [("send", "grant it with `grants.http`"), ("placeholder", "grant it with `grants.secrets`")]
    {
        let done =
            lab.run(Guest::stage().import(&[function]).body("(call $ok)"), |task| task.grants.clock = true).await;
        fails(&done, FailureKind::Contract, part);
    }
}

#[tokio::test]
async fn faults_of_the_store_are_infrastructure() {
    let writing = || {
        let mut guest = Guest::stage().says(|says| says.outputs = vec![("out", "blob", false)]);
        guest = guest.import(&["create-blob", "writer.write"]);
        let create = format!("(call $create-blob {} {}) {}", guest.text("out"), ret(), check());
        guest.body(format!("{create} (call $writer.write {} (i32.const 0) (i32.const 9) {}) (call $ok)", got(), ret()))
    };
    let mut lab = Lab::new();
    lab.store = Arc::new(Memory { full: true, ..Memory::default() });
    fails(&lab.run(writing(), |_| ()).await, FailureKind::Infrastructure, "failed to write an output: no space left");

    let reading = || {
        let mut guest = Guest::stage().says(|says| says.open_inputs = Some("any")).import(&["open-blob"]);
        let open = format!("(call $open-blob {} {})", guest.text("in"), ret());
        guest.body(format!("{open} (call $ok)"))
    };
    let mut lab = Lab::new();
    let input = lab.store.blob(b"x");
    lab.store = Arc::default();
    let done = lab.run(reading(), |task| _ = task.inputs.insert(port("in"), input)).await;
    fails(&done, FailureKind::Infrastructure, "failed to open an input: no such blob");

    lab.store = Arc::new(Memory { panics: true, ..Memory::default() });
    let done = lab.run(reading(), |task| _ = task.inputs.insert(port("in"), input)).await;
    fails(&done, FailureKind::Infrastructure, "the engine failed in a host call");
    lab.store = Arc::default();
    let done = lab.run(Guest::stage().body("(call $ok)"), |_| ()).await;
    assert_eq!(done.failure, None, "a panic ends one node, never the engine");
}

#[tokio::test]
async fn effects_that_cannot_be_recorded_do_not_happen() {
    let mut lab = Lab::new();
    lab.effects = Arc::new(crate::world::Recorded { broken: true, ..Default::default() });
    let guest = Guest::stage().import(&["now-ms"]).body("(drop (call $now-ms)) (call $ok)");
    let done = lab.run(guest, |task| task.grants.clock = true).await;
    fails(&done, FailureKind::Infrastructure, "failed to record an effect: disk full");
}
