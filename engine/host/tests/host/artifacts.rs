//! `artifacts`: reading and writing blobs and trees, and each error of it.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use lockgate_model::artifact::ArtifactKind;
use lockgate_model::outcome::Completion;

use crate::guest::{Guest, RET, check, got, got_len, ret};
use crate::world::{Lab, port};

const ALL: &[&str] = &[
    "log",
    "inputs",
    "open-blob",
    "open-tree",
    "create-blob",
    "create-tree",
    "forward",
    "reader.read",
    "reader.size",
    "writer.write",
    "writer.finish",
    "tree.entries",
    "tree.lookup",
    "tree.open",
    "tree-builder.file",
    "tree-builder.copy",
    "tree-builder.symlink",
    "tree-builder.directory",
    "tree-builder.finish",
    "drop-writer",
    "drop-tree-builder",
];

/// A stage written call by call. `$a` holds what was opened last for reading, `$b` what was created last.
struct Script {
    guest: Guest,
    body: String,
}

impl Script {
    fn new() -> Self {
        let guest = Guest::stage().import(ALL).pages(40);
        let guest = guest.says(|says| (says.open_inputs, says.open_outputs) = (Some("any"), Some("any")));
        Self { guest, body: String::new() }
    }

    /// A call with texts as its arguments after `before`, whose error ends the run with its code.
    fn call(mut self, function: &str, before: &str, texts: &[&str], after: &str) -> Self {
        let texts: String = texts.iter().map(|text| self.guest.text(text)).collect();
        writeln!(self.body, "(call ${function} {before} {texts} {after} {}) {}", ret(), check()).unwrap();
        self
    }

    fn then(mut self, code: &str) -> Self {
        self.body += code;
        self
    }

    fn keep(self, local: &str) -> Self {
        self.then(&format!("(local.set ${local} {})", got()))
    }

    fn open(self, function: &str, name: &str) -> Self {
        self.call(function, "", &[name], "").keep("a")
    }

    fn create(self, function: &str, name: &str) -> Self {
        self.call(function, "", &[name], "").keep("b")
    }

    fn build(self, function: &str, texts: &[&str], after: &str) -> Self {
        self.call(&format!("tree-builder.{function}"), "(local.get $b)", texts, after)
    }

    /// A file with a content, finished, in the tree that was created.
    fn file(self, path: &str, executable: u32, content: &str) -> Self {
        self.build("file", &[path], &format!("(i32.const {executable})"))
            .keep("i")
            .call("writer.write", "(local.get $i)", &[content], "")
            .call("writer.finish", "(local.get $i)", &[], "")
    }

    fn finish(self) -> Self {
        self.build("finish", &[], "")
    }

    async fn run(self, lab: &Lab, inputs: &[(&str, lockgate_model::artifact::ArtifactRef)]) -> Completion {
        let guest = self.guest.body(self.body + "(call $ok)");
        lab.run(guest, |task| task.inputs = inputs.iter().map(|(name, artifact)| (port(name), *artifact)).collect())
            .await
    }

    /// The code of the error that ended it.
    async fn code(self, lab: &Lab, inputs: &[(&str, lockgate_model::artifact::ArtifactRef)]) -> String {
        self.run(lab, inputs).await.failure.expect("an error").message
    }
}

/// Copies the reader in `$a` to the writer in `$b`, in chunks.
fn pump(chunk: u32) -> String {
    format!(
        "(block $end (loop $l
            (call $reader.read (local.get $a) (i32.const {chunk}) {ret}) {check}
            (br_if $end (i32.eqz {len}))
            (call $writer.write (local.get $b) {ptr} {len} {ret}) {check}
            (br $l)))",
        ret = ret(),
        check = check(),
        ptr = got(),
        len = got_len()
    )
}

#[tokio::test]
async fn blobs_pass_through_in_chunks() {
    let lab = Lab::new();
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    let input = lab.store.blob(&bytes);
    for chunk in [100_000, u32::MAX] {
        let script = Script::new().open("open-blob", "in").create("create-blob", "out").then(&pump(chunk));
        let done = script.call("writer.finish", "(local.get $b)", &[], "").run(&lab, &[("in", input)]).await;
        assert_eq!(done.failure, None);
        assert_eq!(done.outputs[&port("out")], input);
    }
    let size = "(if (i64.ne (call $reader.size (local.get $a)) (i64.const 3000001)) (then (unreachable)))";
    assert_eq!(Script::new().open("open-blob", "in").then(size).run(&lab, &[("in", input)]).await.failure, None);
    // A chunk is 1 MiB at most, whatever is asked for.
    let script = Script::new().open("open-blob", "in").call("reader.read", "(local.get $a)", &[], "(i32.const -1)");
    let script = script.then(&format!("(if (i32.ne {} (i32.const 1048576)) (then (unreachable)))", got_len()));
    assert_eq!(script.run(&lab, &[("in", input)]).await.failure, None);
}

#[tokio::test]
async fn inputs_are_listed_and_forwarded() {
    let lab = Lab::new();
    let (blob, tree) = (lab.store.blob(b"x"), lab.store.tree(&[("a", Some("b"))]));
    let two = format!(
        "(call $inputs {}) (if (i32.ne (i32.load (i32.const {})) (i32.const 2)) (then (unreachable)))",
        ret(),
        RET + 4
    );
    let script =
        Script::new().then(&two).call("forward", "", &["blob", "out"], "").call("forward", "", &["tree", "out2"], "");
    let done = script.run(&lab, &[("blob", blob), ("tree", tree)]).await;
    assert_eq!(done.failure, None);
    assert_eq!((done.outputs[&port("out")], done.outputs[&port("out2")]), (blob, tree));
}

#[tokio::test]
async fn errors_have_codes() {
    let lab = Lab::new();
    let inputs = [("blob", lab.store.blob(b"x")), ("tree", lab.store.tree(&[("d/f", Some("x")), ("l", Some("-> d"))]))];
    let code = async |script: Script| script.code(&lab, &inputs).await;
    let s = Script::new;
    assert_eq!(code(s().open("open-blob", "none")).await, "no-such-input");
    assert_eq!(code(s().open("open-blob", "tree")).await, "wrong-kind");
    assert_eq!(code(s().open("open-tree", "blob")).await, "wrong-kind");
    assert_eq!(code(s().call("forward", "", &["none", "out"], "")).await, "no-such-input");
    assert_eq!(code(s().create("create-blob", "out").create("create-blob", "out")).await, "duplicate");
    assert_eq!(code(s().create("create-blob", "out").call("forward", "", &["blob", "out"], "")).await, "duplicate");
    let finished = || s().create("create-blob", "out").call("writer.finish", "(local.get $b)", &[], "");
    assert_eq!(code(finished().call("writer.write", "(local.get $b)", &["x"], "")).await, "closed");
    assert_eq!(code(finished().call("writer.finish", "(local.get $b)", &[], "")).await, "closed");
    for (path, expected) in [
        ("d/none", "no-such-path"),
        ("d", "wrong-kind"),
        ("l", "wrong-kind"),
        ("../x", "no-such-path"),
        ("", "no-such-path"),
    ] {
        assert_eq!(
            code(s().open("open-tree", "tree").call("tree.open", "(local.get $a)", &[path], "")).await,
            expected,
            "{path}"
        );
    }
    let built = || s().create("create-tree", "out");
    assert_eq!(code(built().file("a", 0, "x").file("a", 0, "x")).await, "duplicate");
    assert_eq!(code(built().file("a", 0, "x").file("a/b", 0, "x")).await, "duplicate");
    assert_eq!(code(built().file("a/b", 0, "x").build("symlink", &["a", "b"], "")).await, "duplicate");
    assert_eq!(code(built().build("file", &["../a"], "(i32.const 0)")).await, "bad-path");
    assert_eq!(code(built().build("directory", &["/a"], "")).await, "bad-path");
    assert_eq!(code(built().build("symlink", &["a/b", "../../c"], "")).await, "bad-path");
    assert_eq!(code(built().build("symlink", &["a", "/etc"], "")).await, "bad-path");
    assert_eq!(code(built().build("copy", &["none", "", ""], "")).await, "no-such-input");
    assert_eq!(code(built().build("copy", &["blob", "", ""], "")).await, "wrong-kind");
    assert_eq!(code(built().build("copy", &["tree", "none", "x"], "")).await, "no-such-path");
    assert_eq!(code(built().build("copy", &["tree", "d/f", ""], "")).await, "bad-path");
    assert_eq!(code(built().file("d", 0, "x").build("copy", &["tree", "", ""], "")).await, "duplicate");
    assert_eq!(code(built().finish().finish()).await, "closed");
    assert_eq!(code(built().finish().build("directory", &["a"], "")).await, "closed");
    let late = built().build("file", &["a"], "(i32.const 0)").keep("i").finish();
    assert_eq!(code(late.call("writer.finish", "(local.get $i)", &[], "")).await, "closed");
}

#[tokio::test]
async fn trees_are_built_and_copied() {
    let lab = Lab::new();
    let input = lab.store.tree(&[
        ("lib/a", Some("1")),
        ("lib/sub/b", Some("22")),
        ("lib/up", Some("-> sub/b")),
        ("top", Some("333")),
    ]);
    let script = Script::new()
        .create("create-tree", "out")
        .file("bin/run", 1, "#!")
        .file("z", 0, "zz")
        .build("directory", &["empty"], "")
        .build("directory", &["empty"], "")
        .build("symlink", &["bin/link", "../z"], "")
        .build("copy", &["in", "lib", "lib"], "")
        .file("lib/sub/new", 0, "n")
        .build("copy", &["in", "top", "copied"], "")
        .build("file", &["unfinished"], "(i32.const 0)")
        .finish();
    let done = script.run(&lab, &[("in", input)]).await;
    assert_eq!(done.failure, None);
    let out = done.outputs[&port("out")];
    let expected = [
        ("bin/link", Some("-> ../z")),
        ("bin/run*", Some("#!")),
        ("copied", Some("333")),
        ("empty", None),
        ("lib/a", Some("1")),
        ("lib/sub/b", Some("22")),
        ("lib/sub/new", Some("n")),
        ("lib/up", Some("-> sub/b")),
        ("z", Some("zz")),
    ];
    let list = lab.store.list(out.digest);
    assert_eq!(list.iter().map(|(path, content)| (&**path, content.as_deref())).collect::<Vec<_>>(), expected);
    assert_eq!((out.kind, out.size), (ArtifactKind::Tree, 2 + 3 + 1 + 2 + 1 + 2));

    let whole = Script::new().create("create-tree", "out").build("copy", &["in", "", ""], "").finish();
    assert_eq!(whole.run(&lab, &[("in", input)]).await.outputs[&port("out")], input, "a copy of all is the same tree");
}

#[tokio::test]
async fn links_stay_inside_when_they_are_copied() {
    let lab = Lab::new();
    let input = lab.store.tree(&[("d/link", Some("-> ../f")), ("f", Some("x"))]);
    let copy = |from, to| Script::new().create("create-tree", "out").build("copy", &["in", from, to], "").finish();
    assert_eq!(copy("d", "").code(&lab, &[("in", input)]).await, "bad-path");
    assert_eq!(copy("d/link", "link").code(&lab, &[("in", input)]).await, "bad-path");
    assert_eq!(copy("d", "e").run(&lab, &[("in", input)]).await.failure, None);
}

#[tokio::test]
async fn what_is_dropped_leaves_nothing() {
    let lab = Lab::new();
    let script = Script::new()
        .create("create-blob", "out")
        .then("(call $drop-writer (local.get $b))")
        .create("create-tree", "out")
        .then("(call $drop-tree-builder (local.get $b))")
        .create("create-tree", "out")
        .build("file", &["a/b"], "(i32.const 0)")
        .then(&format!("(call $drop-writer {})", got()))
        .file("a/b", 0, "again")
        .finish();
    let done = script.run(&lab, &[]).await;
    assert_eq!(done.failure, None);
    assert_eq!(lab.store.list(done.outputs[&port("out")].digest), [("a/b".to_owned(), Some("again".to_owned()))]);
}

/// Logs the paths of all entries of the tree in `$a`, `page` at a time.
fn walk(page: u32) -> String {
    format!(
        "(local.set $i (i32.const 0))
         (block $end (loop $l
            (call $tree.entries (local.get $a) (i64.extend_i32_u (local.get $i)) (i32.const {page}) {ret})
            (local.set $b (i32.load (i32.const {len})))
            (br_if $end (i32.eqz (local.get $b)))
            (local.set $i (i32.add (local.get $i) (local.get $b)))
            (local.set $n (i64.load32_u (i32.const {RET})))
            (loop $each
                (call $log (i32.const 0) (i32.const 0) (i32.load (i32.wrap_i64 (local.get $n))) (i32.load offset=4 (i32.wrap_i64 (local.get $n))))
                (local.set $n (i64.add (local.get $n) (i64.const 56)))
                (br_if $each (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))
            (br $l)))",
        ret = ret(),
        len = RET + 4
    )
}

#[tokio::test]
async fn trees_are_listed_in_the_order_of_their_paths() {
    let lab = Lab::new();
    let paths = ["a", "a-b", "a-b/c", "a/x", "a/x/y", "a/z", "a0", "b"];
    let files =
        [("a-b/c", Some("1")), ("a/x/y", Some("2")), ("a/z", Some("3")), ("a0", Some("4")), ("b", Some("-> a0"))];
    let input = lab.store.tree(&files);
    for page in [1, 3, 100] {
        let done = Script::new().open("open-tree", "in").then(&walk(page)).run(&lab, &[("in", input)]).await;
        assert_eq!(done.failure, None);
        let log = lab.text(done.log);
        let found: Vec<_> = log.lines().map(|line| line.strip_prefix("info ").unwrap()).collect();
        let mut sorted = paths.to_vec();
        sorted.sort_unstable();
        assert_eq!(found, sorted, "page {page}");
    }
}

#[tokio::test]
async fn paging_through_a_tree_costs_as_much_as_it_is_long() {
    let lab = Lab::new();
    let names: Vec<_> = (0..2_000).map(|n| format!("d{:03}/f{n}", n / 10)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Some("x"))).collect();
    let input = lab.store.tree(&files);
    let fuel = async |page| {
        let done = Script::new().open("open-tree", "in").then(&walk(page)).run(&lab, &[("in", input)]).await;
        assert_eq!(done.failure, None);
        done.fuel.unwrap()
    };
    let (small, large) = (fuel(10).await, fuel(4_096).await);
    assert!(small < large + large / 2, "{small} against {large}");
    assert_eq!(lab.store.directory_reads.load(Ordering::Relaxed), 2 * 201, "each directory once in each run");
}

#[tokio::test]
async fn entries_are_looked_up() {
    let lab = Lab::new();
    let input = lab.store.tree(&[("d/f", Some("abc")), ("l", Some("-> d/f"))]);
    // An option of a record: its size is an u64 at 32 behind the flag's 8 bytes; the digest's option at 40, the target's at 52.
    let look = |path: &str, expected: &str| {
        let script = Script::new().open("open-tree", "in");
        let mut script = script;
        let text = script.guest.text(path);
        let at = |offset: u32| RET + offset;
        script.body += &format!("(call $tree.lookup (local.get $a) {text} {}) ", ret());
        script.then(
            &expected
                .replace("SOME", &format!("(i32.load8_u (i32.const {}))", at(0)))
                .replace("SIZE", &format!("(i64.load (i32.const {}))", at(8 + 24))),
        )
    };
    let inputs = [("in", input)];
    let file =
        look("d/f", "(if (i32.eqz SOME) (then (unreachable))) (if (i64.ne SIZE (i64.const 3)) (then (unreachable)))");
    assert_eq!(file.run(&lab, &inputs).await.failure, None);
    let link =
        look("l", "(if (i32.eqz SOME) (then (unreachable))) (if (i64.ne SIZE (i64.const 0)) (then (unreachable)))");
    assert_eq!(link.run(&lab, &inputs).await.failure, None);
    for none in ["x", "d/x", "d/f/x", "l/x", "/d", ""] {
        let none = look(none, "(if SOME (then (unreachable)))");
        assert_eq!(none.run(&lab, &inputs).await.failure, None);
    }
    let open = Script::new().open("open-tree", "in").call("tree.open", "(local.get $a)", &["d/f"], "").keep("a");
    let open = open.create("create-blob", "out").then(&pump(2)).call("writer.finish", "(local.get $b)", &[], "");
    let done = open.run(&lab, &inputs).await;
    assert_eq!(done.outputs[&port("out")], lab.store.blob(b"abc"));
}
