//! Time, fuel, stacks, memory and tables.

use super::Case;
use super::case::Expect::{Fails, Refused};
use super::guest::{Guest, component, ret};

const FOREVER: &str = "(loop $l (br $l)) (unreachable)";
/// Grows a memory by a page, again and again.
const GROW: &str = "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)";

/// A stage that does this.
fn stage(imports: &[&'static str], items: &str, body: &str) -> Vec<u8> {
    Guest::stage().import(imports).item(items).body(body).component()
}

/// A stage whose allocator does this before it allocates.
fn allocator(imports: &[&'static str], code: &str, body: &str) -> Vec<u8> {
    let mut guest = Guest::stage().import(imports).says(|says| says.open_inputs = Some("any"));
    let name = guest.text("in");
    let wat = guest.body(body.replace("NAME", &name)).wat();
    component("stage", &wat.replacen("(local $at i32)", &format!("(local $at i32) {code}"), 1))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = time();
    cases.extend(stacks());
    cases.extend(memory());
    cases.extend(callbacks());
    cases
}

fn time() -> Vec<Case> {
    vec![
        Case::new("loop", "loops for ever", "limits.fuel", Fails("fuel", "it spent its 100M of fuel"), |_| {
            stage(&[], "", FOREVER)
        })
        .limits("fuel = \"100M\""),
        Case::new(
            "loop-in-describe",
            "loops for ever when it is asked what it is",
            "component.describe_fuel",
            Refused("`describe` spent its budget of fuel"),
            |_| Guest::stage().body("(call $ok)").describe(FOREVER).component(),
        ),
        Case::new(
            "loop-in-start",
            "loops for ever in its start function",
            "limits.start_fuel",
            Refused("`describe` spent its budget of fuel"),
            |_| stage(&[], &format!("(func $s {FOREVER}) (start $s)"), "(call $ok)"),
        ),
        Case::new(
            "loop-of-host-calls",
            "loops for ever over a host call",
            "limits.fuel",
            Fails("fuel", "it spent its 10M of fuel"),
            |_| stage(&["now-ms"], "", "(loop $l (drop (call $now-ms)) (br $l)) (unreachable)"),
        )
        .limits("fuel = \"10M\""),
        Case::new(
            "loop-of-sleeps",
            "sleeps for ever, without the real clock",
            "limits.fuel",
            Fails("fuel", "it spent its 10M of fuel"),
            |_| stage(&["sleep-ms"], "", "(loop $l (call $sleep-ms (i32.const -1)) (br $l)) (unreachable)"),
        )
        .limits("fuel = \"10M\""),
        Case::new(
            "sleeps-for-weeks",
            "sleeps for seven weeks, with the real clock",
            "limits.timeout",
            Fails("timeout", "it did not end within 300 ms"),
            |_| stage(&["sleep-ms"], "", "(call $sleep-ms (i32.const -1)) (call $ok)"),
        )
        .node("grants.clock = true")
        .limits("timeout = \"300ms\""),
        Case::new(
            "outlasts-its-time",
            "loops with fuel for years",
            "limits.timeout",
            Fails("timeout", "it did not end within 300 ms"),
            |_| stage(&[], "", FOREVER),
        )
        .limits("fuel = \"100T\"\ntimeout = \"300ms\""),
        Case::new(
            "bulk-operators",
            "fills a megabyte again and again by one operator",
            "limits.fuel",
            Fails("fuel", "it spent its 100M of fuel"),
            |_| {
                let fill = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 1000000))";
                Guest::stage().pages(20).body(format!("(loop $l {fill} (br $l)) (unreachable)")).component()
            },
        )
        .limits("fuel = \"100M\""),
    ]
}

fn stacks() -> Vec<Case> {
    const DEEP: &str =
        "(func $r (param i64) (result i64) (i64.add (call $r (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))";
    vec![
        Case::new(
            "recursion",
            "calls itself for ever",
            "the stack of 1 MiB",
            Fails("infrastructure", "it spent its stack"),
            |_| stage(&[], DEEP, "(drop (call $r (i64.const 0))) (call $ok)"),
        ),
        Case::new(
            "recursion-in-describe",
            "calls itself for ever when it is asked what it is",
            "the stack of 1 MiB",
            Refused("`describe` trapped: call stack exhausted"),
            |_| {
                let describe = "(drop (call $r (i64.const 0))) $manifest";
                Guest::stage().item(DEEP).describe(describe).body("(call $ok)").component()
            },
        ),
        Case::new(
            "recursion-in-start",
            "calls itself for ever in its start function",
            "the stack of 1 MiB",
            Refused("`describe` trapped: call stack exhausted"),
            |_| stage(&[], &format!("{DEEP} (func $s (drop (call $r (i64.const 0)))) (start $s)"), "(call $ok)"),
        ),
        Case::new(
            "wide-frames",
            "calls itself with frames of a thousand locals",
            "the stack of 1 MiB",
            Fails("infrastructure", "it spent its stack"),
            |_| {
                let locals = "(local v128)".repeat(1_000);
                let sets: String = (1..1_001).map(|n| format!("(local.set {n} (v128.const i64x2 {n} 0))")).collect();
                let adds: String =
                    (1..1_001).map(|n| format!("(i64x2.extract_lane 0 (local.get {n})) (i64.add)")).collect();
                let wide = format!(
                    "(func $w (param i64) (result i64) {locals} {sets} (call $w (i64.add (local.get 0) (i64.const 1))) {adds})"
                );
                stage(&[], &wide, "(drop (call $w (i64.const 0))) (call $ok)")
            },
        ),
        Case::new(
            "tail-calls",
            "calls itself for ever without a stack",
            "limits.fuel",
            Fails("fuel", "it spent its 100M of fuel"),
            |_| stage(&[], "(func $t (return_call $t))", "(call $t) (call $ok)"),
        )
        .limits("fuel = \"100M\""),
    ]
}

fn memory() -> Vec<Case> {
    let many = |item: &str, count: usize| Guest::stage().body("(call $ok)").item(&item.repeat(count)).component();
    vec![
        Case::new(
            "memory",
            "grows its memory for ever",
            "limits.memory",
            Fails("limit", "it needs more than 64 MiB of memory"),
            |_| stage(&[], "", GROW),
        ),
        Case::new(
            "memory-touched",
            "grows its memory for ever and writes to every page",
            "limits.memory",
            Fails("limit", "it needs more than 64 MiB of memory"),
            |_| {
                let touch = "(i32.store (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 7))";
                stage(&[], "", &format!("(loop $l {touch} (br $l)) (unreachable)"))
            },
        ),
        Case::new(
            "memory-of-seven",
            "grows seven memories in turn",
            "limits.memory",
            Fails("limit", "it needs more than 64 MiB of memory"),
            |_| {
                let items: String = (0..7).map(|n| format!("(memory $m{n} 1)")).collect();
                let grow: String = (0..7).map(|n| format!("(drop (memory.grow $m{n} (i32.const 16)))")).collect();
                stage(&[], &items, &format!("(loop $l {grow} (br $l)) (unreachable)"))
            },
        ),
        Case::new(
            "fifty-memories",
            "has fifty memories",
            "8 memories of a component",
            Refused("51 memories: at most 8 are permitted"),
            move |_| many("(memory 1)", 50),
        ),
        Case::new(
            "memory-at-once",
            "begins with 4 GiB of memory",
            "component.describe_memory",
            Refused("it needs more than 64 MiB of memory"),
            |_| Guest::stage().pages(65_536).body("(call $ok)").component(),
        ),
        Case::new(
            "memory-in-describe",
            "grows its memory when it is asked what it is",
            "component.describe_memory",
            Refused("it needs more than 64 MiB of memory"),
            |_| Guest::stage().body("(call $ok)").describe(GROW).component(),
        ),
        Case::new(
            "memory-in-start",
            "grows its memory in its start function",
            "component.describe_memory",
            Refused("it needs more than 64 MiB of memory"),
            |_| stage(&[], &format!("(func $s {GROW}) (start $s)"), "(call $ok)"),
        ),
        Case::new(
            "table",
            "grows a table for ever",
            "limits.table_elements",
            Fails("limit", "its tables have more than 100000 elements"),
            |_| {
                let grow = "(loop $l (drop (table.grow $t (ref.null func) (i32.const 10000))) (br $l)) (unreachable)";
                stage(&[], "(table $t 1 funcref)", grow)
            },
        ),
        Case::new(
            "table-at-once",
            "begins with a table of ten million elements",
            "limits.table_elements",
            Refused("its tables have more than 100000 elements"),
            |_| stage(&[], "(table 10000000 funcref)", "(call $ok)"),
        ),
        Case::new(
            "fifty-tables",
            "has fifty tables",
            "32 tables of a component",
            Refused("tables: at most 32 are permitted"),
            move |_| many("(table 1 funcref)", 50),
        ),
    ]
}

fn callbacks() -> Vec<Case> {
    let open = format!("(call $open-blob NAME {}) (call $ok)", ret());
    let [first, second, third] = [open.clone(), open.clone(), open];
    let errs = |body: &str| body.to_owned();
    vec![
        Case::new(
            "allocator-traps",
            "traps in its allocator, while the host hands an answer in",
            "the trap, which ends the node",
            Fails("trap", "unreachable"),
            move |_| allocator(&["open-blob"], "(unreachable)", &errs(&first)),
        ),
        Case::new(
            "allocator-loops",
            "loops for ever in its allocator, while the host hands an answer in",
            "limits.fuel",
            Fails("fuel", "it spent its 100M of fuel"),
            move |_| allocator(&["open-blob"], "(loop $l (br $l))", &second),
        )
        .limits("fuel = \"100M\""),
        Case::new(
            "allocator-calls-back",
            "calls the host from its allocator, in the midst of a host call",
            "the component model's rules",
            Fails("trap", "cannot leave component instance"),
            move |_| allocator(&["open-blob", "now-ms"], "(drop (call $now-ms))", &third),
        ),
        Case::new(
            "allocator-lies",
            "gives the host memory that does not exist",
            "the component model's rules",
            Fails("contract", "it broke the component model's rules"),
            |_| allocator(&[], "(return (i32.const -16))", "(call $ok)"),
        ),
        Case::new(
            "allocator-is-odd",
            "gives the host memory that is not aligned",
            "the component model's rules",
            Fails("contract", "it broke the component model's rules"),
            |_| {
                let mut guest = Guest::stage().import(&["inputs"]).says(|says| says.open_inputs = Some("any"));
                let _ = guest.text("in");
                let wat = guest.body(format!("(call $inputs {}) (call $ok)", ret())).wat();
                let odd = "(local $at i32) (if (i32.gt_u (local.get $align) (i32.const 1)) (then (return (i32.const 70001))))";
                component("stage", &wat.replacen("(local $at i32)", odd, 1))
            },
        )
        .node("inputs.in = { file = \"in.bin\" }"),
    ]
}
