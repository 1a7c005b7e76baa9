//! What crosses the contract: values that are none, handles, and floods of everything that is counted.

use lockgate_model::manifest::World;

use super::Case;
use super::case::Expect::{Fails, Harmless};
use super::guest::{Guest, check, got, ret};

/// Adds one to `$i` and goes on while it is below this.
fn until(count: u32) -> String {
    format!("(br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))")
}

/// A stage that logs this much at once, from where there is only zeroes.
fn logs(length: i64, pages: u32) -> Vec<u8> {
    let mut guest = Guest::stage().import(&["log"]).pages(pages);
    let level = guest.text("info");
    guest.body(format!("(call $log {level} (i32.const 8192) (i32.const {length})) (call $ok)")).component()
}

/// A stage that answers these words.
fn answers(words: &[u32]) -> Vec<u8> {
    let mut guest = Guest::stage().pages(40);
    let result = guest.words(words);
    guest.body(format!("(i32.const {result})")).component()
}

/// A stage with an input `in` that is opened into `$a` before it does this.
fn opened(imports: &[&'static str], body: &str) -> Vec<u8> {
    let mut guest = Guest::stage().import(imports).says(|says| {
        says.open_inputs = Some("any");
        says.open_outputs = Some("any");
    });
    let open = format!("(call $open-blob {} {})", guest.text("in"), ret());
    let out = guest.text("out");
    let body = body.replace("OPEN", &open).replace("OUT", &out).replace("RET", &ret());
    guest.body(format!("{open} {} (local.set $a {}) {body}", check(), got())).component()
}

fn health(status: &str, details: &str) -> Vec<u8> {
    let mut guest = Guest::new(World::HealthCheck).pages(40);
    let mut words = vec![0];
    for text in [status, "because", details] {
        words.extend(guest.bytes(text.as_bytes()));
    }
    let result = guest.words(&words);
    guest.body(format!("(i32.const {result})")).component()
}

/// A canary evaluator with one figure of this value, so many reasons, and a state of so many bytes.
fn canary(value: f64, reasons: u32, state: u32) -> Vec<u8> {
    let mut guest = Guest::new(World::CanaryEvaluator).pages(40);
    let [status, status_len] = guest.bytes(b"promote");
    let [name, name_len] = guest.bytes(b"error-rate");
    let bits = value.to_bits();
    let mut figure = vec![0; 16];
    (figure[0], figure[1]) = (name, name_len);
    (figure[2], figure[3]) = (bits as u32, (bits >> 32) as u32);
    let figures = guest.words(&figure);
    let said: Vec<u32> = (0..reasons).flat_map(|_| [name, name_len]).collect();
    let said = guest.words(&said);
    let result = guest.words(&[0, status, status_len, said, reasons, figures, 1, 60_000, state]);
    guest.body(format!("(i32.const {result})")).component()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lists();
    cases.extend(handles());
    cases.extend(floods());
    cases.extend(verdicts());
    cases
}

const RULES: &str = "the component model's rules";
const BROKE: &str = "it broke the component model's rules";

fn lists() -> Vec<Case> {
    vec![
        Case::new(
            "text-of-18-mb",
            "hands the host a text of 18 MB",
            "16 MiB of one host call",
            Fails("limit", "one of its calls moves more than 16 MiB at once"),
            |_| logs(18_000_000, 300),
        ),
        Case::new("text-of-4-gib", "hands the host a text of 4 GiB", RULES, Fails("contract", BROKE), |_| logs(-1, 2)),
        Case::new("list-of-4-gib", "answers a list of 2^32-1 findings", RULES, Fails("contract", BROKE), |_| {
            answers(&[0, 1024, u32::MAX])
        }),
        Case::new(
            "list-beyond-memory",
            "answers a list behind the end of its memory",
            RULES,
            Fails("contract", BROKE),
            |_| answers(&[0, 0xffff_ff00, 100]),
        ),
        Case::new("list-not-aligned", "answers a list at an odd address", RULES, Fails("contract", BROKE), |_| {
            answers(&[0, 1025, 1])
        }),
        Case::new(
            "no-such-case",
            "answers a case that the result does not have",
            RULES,
            Fails("contract", BROKE),
            |_| answers(&[7, 0, 0]),
        ),
        Case::new(
            "answer-nowhere",
            "answers at an address that does not exist",
            RULES,
            Fails("contract", BROKE),
            |_| Guest::stage().body("(i32.const -16)").component(),
        ),
        Case::new("no-utf-8-logged", "logs a text that is not UTF-8", RULES, Fails("contract", BROKE), |_| {
            let mut guest = Guest::stage().import(&["log"]);
            let level = guest.text("info");
            let [at, len] = guest.bytes(b"\xff\xfe\xc0\x80");
            guest.body(format!("(call $log {level} (i32.const {at}) (i32.const {len})) (call $ok)")).component()
        }),
        Case::new(
            "no-utf-8-answered",
            "fails with a message that is not UTF-8",
            RULES,
            Fails("contract", BROKE),
            |_| {
                let mut guest = Guest::stage();
                let [at, len] = guest.bytes(b"\xed\xa0\x80");
                guest.body(format!("(call $say (i32.const {at}) (i32.const {len}))")).component()
            },
        ),
        Case::new(
            "message-of-8-mb",
            "fails with a message of 8 MB",
            "10,000 characters of a message",
            Fails("error", "aaaa"),
            |_| {
                let fill = "(memory.fill (i32.const 65536) (i32.const 97) (i32.const 8000000))";
                let body = format!("{fill} (call $say (i32.const 65536) (i32.const 8000000))");
                Guest::stage().pages(140).body(body).component()
            },
        ),
        Case::new(
            "escapes-in-message",
            "fails with a message that drives a terminal",
            "the rendering, which escapes it",
            Fails("error", "gone"),
            |_| {
                let mut guest = Guest::stage();
                let text = guest.text("\u{1b}]0;owned\u{7}\u{1b}[2Jgone");
                guest.body(format!("(call $say {text})")).component()
            },
        ),
    ]
}

fn handles() -> Vec<Case> {
    const IN: &str = "inputs.in = { file = \"in.bin\" }";
    vec![
        Case::new("a-million-handles", "opens a million readers and drops none", "limits.handles",
            Fails("limit", "it holds more than 1000 readers, writers and trees at once"),
            |_| opened(&["open-blob"], "(loop $l OPEN (br $l)) (unreachable)")).node(IN),
        Case::new("handle-dropped-twice", "drops a reader twice", RULES, Fails("contract", "unknown handle index"),
            |_| opened(&["open-blob", "drop-reader"],
                "(call $drop-reader (local.get $a)) (call $drop-reader (local.get $a)) (call $ok)")).node(IN),
        Case::new("handle-after-drop", "reads from a reader that it dropped", RULES, Fails("contract", "unknown handle index"),
            |_| opened(&["open-blob", "drop-reader", "reader.read"],
                "(call $drop-reader (local.get $a)) (call $reader.read (local.get $a) (i32.const 9) RET) (call $ok)")).node(IN),
        Case::new("handle-of-another-type", "writes to a reader", RULES, Fails("contract", "handle index"),
            |_| opened(&["open-blob", "writer.write"],
                "(call $writer.write (local.get $a) (i32.const 0) (i32.const 9) RET) (call $ok)")).node(IN),
        Case::new("handle-guessed", "reads from handles that it was never given", RULES, Fails("contract", "unknown handle index"),
            |_| opened(&["open-blob", "reader.read"],
                "(call $reader.read (i32.const 12345) (i32.const 9) RET) (call $ok)")).node(IN),
        Case::new("reads-for-ever", "reads an input again and again", "limits.call_bytes",
            Fails("limit", "its host calls move more than 8 MiB"),
            |_| opened(&["open-blob", "reader.read", "drop-reader"],
                "(loop $l OPEN (local.set $a (i32.load (i32.const 516))) (call $reader.read (local.get $a) (i32.const -1) RET) \
                 (call $drop-reader (local.get $a)) (br $l)) (unreachable)"))
            .node(IN).limits("call_bytes = \"8MiB\""),
    ]
}

fn floods() -> Vec<Case> {
    vec![
        Case::new(
            "flood-of-logs",
            "logs a million lines",
            "limits.log",
            Harmless("the log ends here, at its limit of 1 MiB"),
            |_| {
                let mut guest = Guest::stage().import(&["log"]);
                let (level, text) = (guest.text("info"), guest.text("all work and no play"));
                guest.body(format!("(loop $l (call $log {level} {text}) {}) (call $ok)", until(1_000_000))).component()
            },
        ),
        Case::new(
            "flood-of-findings",
            "answers 20,000 findings",
            "limits.findings",
            Fails("limit", "it returned 20000 findings, more than 10000"),
            |_| {
                let mut guest = Guest::stage().pages(40);
                let result = guest.words(&[0, 65_536, 20_000]);
                guest.body(format!("(i32.const {result})")).component()
            },
        ),
        Case::new(
            "flood-of-effects",
            "reads the real clock for ever",
            "limits.effects",
            Fails("limit", "it causes more than 1000 effects"),
            |_| {
                let read = "(loop $l (drop (call $now-ms)) (br $l)) (unreachable)";
                Guest::stage().import(&["now-ms"]).body(read).component()
            },
        )
        .node("grants.clock = true"),
        Case::new("finding-of-15-mb", "answers a finding of 15 MB", "16 MiB of one host call", Harmless(""), |_| {
            let mut guest = Guest::stage().pages(260);
            let severity = guest.bytes(b"note");
            // A finding: severity, message, three optional values, the last two of 4 bytes each.
            let finding = guest.words(&[severity[0], severity[1], 65_536, 15_000_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let result = guest.words(&[0, finding, 1]);
            let fill = "(memory.fill (i32.const 65536) (i32.const 97) (i32.const 15000000))";
            guest.body(format!("{fill} (i32.const {result})")).component()
        }),
    ]
}

fn verdicts() -> Vec<Case> {
    const IN: &str = "inputs.observation = { file = \"observation.json\" }";
    vec![
        Case::new(
            "json-bomb-in-details",
            "answers details of a hundred thousand brackets",
            "the JSON reader's depth of 128",
            Fails("contract", "it returned `details` that are no JSON"),
            |_| health("healthy", &"[".repeat(100_000)),
        )
        .table("health-check"),
        Case::new(
            "details-of-1-mb",
            "answers details of a megabyte",
            "256 KiB of details",
            Fails("contract", "bytes of `details`: at most 262144"),
            |_| health("healthy", &format!("\"{}\"", "x".repeat(1 << 20))),
        )
        .table("health-check"),
        Case::new(
            "verdict-made-up",
            "answers a verdict that does not exist",
            "the words of verdicts",
            Fails("contract", "it returned the status `splendid`"),
            |_| health("splendid", ""),
        )
        .table("health-check"),
        Case::new(
            "figure-not-a-number",
            "answers a figure that is not a number",
            "finite figures",
            Fails("contract", "with a number that is not finite"),
            |_| canary(f64::NAN, 1, 0),
        )
        .table("canary")
        .node(IN),
        Case::new(
            "reasons-without-end",
            "answers 10,000 reasons",
            "100 reasons",
            Fails("contract", "it returned 10000 reasons: at most 100"),
            |_| canary(1.0, 10_000, 0),
        )
        .table("canary")
        .node(IN),
        Case::new(
            "state-of-2-mb",
            "answers a state of 2 MB",
            "1 MiB of state",
            Fails("contract", "it returned a state of 2000000 bytes"),
            |_| canary(1.0, 1, 2_000_000),
        )
        .table("canary")
        .node(IN),
    ]
}
