//! Artifacts: unending outputs, trees that multiply, and paths that should lead elsewhere.

use super::Case;
use super::case::Expect::{Fails, Harmless};
use super::case::Make;
use super::guest::{Guest, RET, check, got, ret};

const ALL: &[&str] = &[
    "log",
    "open-tree",
    "create-blob",
    "create-tree",
    "writer.write",
    "writer.finish",
    "tree.entries",
    "tree-builder.file",
    "tree-builder.copy",
    "tree-builder.symlink",
    "tree-builder.directory",
    "tree-builder.finish",
    "drop-writer",
];

/// A stage with open ports that builds the tree `out`, in `$a`, by these lines: a function's name and its texts. An error of the
/// host is its own failure, with the host's words.
struct Script {
    guest: Guest,
    body: String,
}

/// Fails with the message of the error that the host answered.
fn fail() -> String {
    let at = |offset: u32| format!("(i32.load (i32.const {}))", RET + offset);
    format!("(if (i32.load8_u (i32.const {RET})) (then (return (call $say {} {}))))", at(12), at(16))
}

impl Script {
    fn new() -> Self {
        let mut guest = Guest::stage().import(ALL).pages(40);
        guest = guest.says(|says| (says.open_inputs, says.open_outputs) = (Some("any"), Some("any")));
        let body = format!("(call $create-tree {} {}) {} (local.set $a {})", guest.text("out"), ret(), check(), got());
        Self { guest, body }
    }

    /// Calls a function of the builder with these texts.
    fn call(mut self, function: &str, texts: &[&str]) -> Self {
        let mut arguments: String = texts.iter().map(|text| self.guest.text(text)).collect();
        if function == "tree-builder.file" {
            arguments += "(i32.const 0)";
        }
        self.body += &format!("(call ${function} (local.get $a) {arguments} {}) {}", ret(), fail());
        self
    }

    fn then(mut self, code: &str) -> Self {
        self.body += code;
        self
    }

    fn log(mut self, text: &str) -> Self {
        let (level, text) = (self.guest.text("info"), self.guest.text(text));
        self.body += &format!("(call $log {level} {text})");
        self
    }

    fn build(self) -> Vec<u8> {
        self.guest.body(self.body + "(call $ok)").component()
    }

    /// Finishes the tree and says that it is done.
    fn done(self) -> Vec<u8> {
        let finish = format!("(call $tree-builder.finish (local.get $a) {}) {}", ret(), fail());
        self.then(&finish).log("all of it was taken").build()
    }
}

fn directory(path: &'static str) -> impl Fn(&str) -> Vec<u8> + Send + Sync {
    move |_| Script::new().call("tree-builder.directory", &[path]).done()
}

fn link(path: &'static str, target: &'static str) -> impl Fn(&str) -> Vec<u8> + Send + Sync {
    move |_| Script::new().call("tree-builder.symlink", &[path, target]).done()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = floods();
    cases.extend(paths());
    cases.extend(links());
    cases
}

fn floods() -> Vec<Case> {
    vec![
        Case::new("output-without-end", "writes to an output for ever", "limits.output",
            Fails("limit", "its outputs are larger than 8 MiB"), |_| {
            let mut guest = Guest::stage().import(ALL).pages(40).says(|says| says.open_outputs = Some("any"));
            let create = format!("(call $create-blob {} {}) {} (local.set $a {})", guest.text("out"), ret(), check(), got());
            let write = format!("(call $writer.write (local.get $a) (i32.const 0) (i32.const 1000000) {})", ret());
            guest.body(format!("{create} (loop $l {write} (br $l)) (unreachable)")).component()
        }).limits("output = \"8MiB\""),
        Case::new("flood-of-outputs", "begins and ends outputs without number", "1,000 outputs of a node",
            Fails("contract", "it writes more than 1000 outputs"), |_| {
            let mut guest = Guest::stage().import(ALL).says(|says| says.open_outputs = Some("any"));
            let [at, _] = guest.bytes(b"aaaaaaaa");
            // Counts in letters: each output has another name.
            let digit = |n: u32| format!(
                "(i32.store8 (i32.const {}) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $i) (i32.const {})) (i32.const 26))))",
                at + n, 26_u32.pow(n));
            let name: String = (0..4).map(digit).collect();
            let next = "(local.set $i (i32.add (local.get $i) (i32.const 1)))";
            let create = format!("(call $create-blob (i32.const {at}) (i32.const 8) {}) {}", ret(), fail());
            let finish = format!("(local.set $a {}) (call $writer.finish (local.get $a) {}) (call $drop-writer (local.get $a))", got(), ret());
            guest.body(format!("(loop $l {name} {next} {create} {finish} (br $l)) (unreachable)")).component()
        }),
        Case::new("tree-without-end", "makes directories for ever", "limits.output_entries",
            Fails("limit", "its output trees have more than 5000 entries"), |_| {
            let mut script = Script::new();
            let [at, _] = script.guest.bytes(b"aaaa");
            let digit = |n: u32| format!(
                "(i32.store8 (i32.const {}) (i32.add (i32.const 97) (i32.rem_u (i32.div_u (local.get $i) (i32.const {})) (i32.const 26))))",
                at + n, 26_u32.pow(n));
            let name: String = (0..4).map(digit).collect();
            let make = format!("(call $tree-builder.directory (local.get $a) (i32.const {at}) (i32.const 4) {}) {}", ret(), fail());
            let next = "(local.set $i (i32.add (local.get $i) (i32.const 1)))";
            script.then(&format!("(loop $l {name} {next} {make} (br $l)) (unreachable)")).build()
        }).limits("output_entries = 5000"),
        Case::new("tree-that-multiplies", "copies an input into its output again and again, each time elsewhere", "limits.output_entries",
            Fails("limit", "its output trees have more than 5000 entries"), |_| {
            let mut script = Script::new();
            let (name, from) = (script.guest.text("in"), script.guest.text(""));
            let [at, _] = script.guest.bytes(b"aa");
            let copy = format!(
                "(i32.store8 (i32.const {at}) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 26))))
                 (i32.store8 (i32.const {}) (i32.add (i32.const 97) (i32.div_u (local.get $i) (i32.const 26))))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (call $tree-builder.copy (local.get $a) {name} {from} (i32.const {at}) (i32.const 2) {}) {}",
                at + 1, ret(), fail());
            script.then(&format!("(loop $l {copy} (br $l)) (unreachable)")).build()
        }).node("inputs.in = { dir = \"tree\" }").limits("output_entries = 5000"),
        Case::new("writers-without-end", "opens files of a tree and finishes none", "limits.handles",
            Fails("limit", "it holds more than 50 readers, writers and trees at once"), |_| {
            let mut script = Script::new();
            let [at, _] = script.guest.bytes(b"aa");
            let open = format!(
                "(i32.store8 (i32.const {at}) (i32.add (i32.const 97) (i32.rem_u (local.get $i) (i32.const 26))))
                 (i32.store8 (i32.const {}) (i32.add (i32.const 97) (i32.div_u (local.get $i) (i32.const 26))))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (call $tree-builder.file (local.get $a) (i32.const {at}) (i32.const 2) (i32.const 0) {}) {}",
                at + 1, ret(), fail());
            script.then(&format!("(loop $l {open} (br $l)) (unreachable)")).build()
        }).limits("handles = 50"),
        Case::new("output-undeclared", "writes an output that it does not declare", "its own manifest",
            Fails("contract", "it writes the output `other`, which its manifest does not declare"), |_| {
            let mut guest = Guest::stage().import(ALL);
            let name = guest.text("other");
            guest.body(format!("(call $create-blob {name} {}) (call $ok)", ret())).component()
        }),
        Case::new("output-unfinished", "ends with an output half written", "its own manifest",
            Fails("contract", "it did not finish the output `out`"), |_| {
            let mut guest = Guest::stage().import(ALL).says(|says| says.outputs = vec![("out", "blob", false)]);
            let name = guest.text("out");
            guest.body(format!("(call $create-blob {name} {}) (call $ok)", ret())).component()
        }),
    ]
}

fn paths() -> Vec<Case> {
    const RULE: &str = "the rules for paths in trees";
    let bad = |name, tries, message, make: Make| Case::new(name, tries, RULE, Fails("error", message), make);
    vec![
        bad("path-upwards", "puts a directory at `../escape`", "it holds `..`", Box::new(directory("../escape"))),
        bad(
            "path-upwards-inside",
            "puts a directory at `a/../../escape`",
            "it holds `..`",
            Box::new(directory("a/../../escape")),
        ),
        bad("path-absolute", "puts a directory at `/etc/cron.d`", "it is absolute", Box::new(directory("/etc/cron.d"))),
        bad("path-with-nul", "puts a directory at `a`, NUL, `b`", "holds NUL", Box::new(directory("a\0b"))),
        bad(
            "path-with-line-break",
            "puts a directory at a path of two lines",
            "a line break",
            Box::new(directory("a\nb")),
        ),
        bad("path-of-dots", "puts a directory at `./a`", "`.`", Box::new(directory("./a"))),
        bad("path-empty", "puts a directory at an empty path", "it is empty", Box::new(directory(""))),
        Case::new(
            "path-of-64-kb",
            "puts a directory at a path of 64 kB",
            RULE,
            Fails("error", "it is longer than 4096 bytes"),
            |_| Script::new().call("tree-builder.directory", &[&"x/".repeat(32_000)]).done(),
        ),
        Case::new(
            "path-of-1000-levels",
            "puts a directory a thousand levels deep",
            RULE,
            Fails("error", "it is nested deeper than 128 directories"),
            |_| Script::new().call("tree-builder.directory", &[&["x"; 1_000].join("/")]).done(),
        ),
        Case::new(
            "name-of-300-bytes",
            "puts a directory with a name of 300 bytes",
            RULE,
            Fails("error", "too long"),
            |_| Script::new().call("tree-builder.directory", &[&"x".repeat(300)]).done(),
        ),
        Case::new(
            "case-twins",
            "puts `README` and `readme` into one directory",
            "nothing: they are two names where Lockgate runs",
            Harmless("all of it was taken"),
            |_| {
                Script::new()
                    .call("tree-builder.directory", &["README"])
                    .call("tree-builder.directory", &["readme"])
                    .done()
            },
        ),
        Case::new(
            "device-names",
            "puts directories at `CON`, `NUL.txt`, `a:b` and `..\\up`",
            "nothing: they are plain names where Lockgate runs",
            Harmless("all of it was taken"),
            |_| {
                let paths = ["CON", "NUL.txt", "a:b", "..\\up"];
                paths.iter().fold(Script::new(), |script, path| script.call("tree-builder.directory", &[path])).done()
            },
        ),
    ]
}

fn links() -> Vec<Case> {
    const RULE: &str = "links stay inside of their tree";
    let bad = |name, tries, make: Make| Case::new(name, tries, RULE, Fails("error", "would leave the tree"), make);
    vec![
        bad("link-absolute", "links to `/etc/passwd`", Box::new(link("link", "/etc/passwd"))),
        bad("link-upwards", "links from `a/link` to `../../escape`", Box::new(link("a/link", "../../escape"))),
        bad("link-with-backslash", "links to `..\\escape`", Box::new(link("link", "..\\escape"))),
        bad("link-empty", "links to nothing", Box::new(link("link", ""))),
        Case::new(
            "file-behind-a-link",
            "links `a` to `b`, then puts a file at `a/x`",
            "one entry at each path",
            Fails("error", "there is something at `a/x` already"),
            |_| Script::new().call("tree-builder.symlink", &["a", "b"]).call("tree-builder.file", &["a/x"]).done(),
        ),
        Case::new(
            "duplicate-name",
            "puts two files at one path",
            "one entry at each path",
            Fails("error", "there is something at `a` already"),
            |_| Script::new().call("tree-builder.file", &["a"]).call("tree-builder.file", &["a"]).done(),
        ),
        Case::new(
            "file-and-directory",
            "puts a file where a directory is",
            "one entry at each path",
            Fails("error", "there is something at `a` already"),
            |_| Script::new().call("tree-builder.directory", &["a/b"]).call("tree-builder.file", &["a"]).done(),
        ),
    ]
}
