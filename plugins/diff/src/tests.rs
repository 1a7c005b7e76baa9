//! Trees and texts, and the patches between them; that `git apply` takes them is a test of the whole engine.

use lockgate_sdk::serde_json::{Value, json};
use lockgate_sdk::testing::{self, Harness, Item, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn texts(before: &str, after: &str, config: &str) -> Outcome<Findings> {
    Harness::new().blob("before", before).blob("after", after).run::<Diff>(config)
}

fn patch(before: &str, after: &str) -> String {
    texts(before, after, "{}").text("patch").to_owned()
}

fn summary(outcome: &Outcome<Findings>) -> Value {
    outcome.text("summary").parse().unwrap()
}

#[test]
fn texts_differ_by_lines() {
    let before = "a\nb\nc\nd\ne\nf\ng\nh\n";
    let expected = "diff --git a/blob b/blob\n--- a/blob\n+++ b/blob\n@@ -1,5 +1,5 @@\n a\n-b\n+B\n c\n d\n e\n@@ -6,3 +6,4 @@\n f\n g\n h\n+i\n";
    // Contexts that touch make one hunk.
    assert_eq!(
        patch(before, "a\nB\nc\nd\ne\nf\ng\nh\ni\n"),
        expected.replace("@@ -6,3 +6,4 @@\n", "").replace("-1,5 +1,5", "-1,8 +1,9")
    );
    let far = texts(before, "a\nB\nc\nd\ne\nf\ng\nh\ni\n", r#"{"context": 1}"#).text("patch").to_owned();
    assert!(far.contains("@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n@@ -8 +8,2 @@\n h\n+i\n"), "{far}");
    assert!(patch("", "x\n").contains("@@ -0,0 +1 @@\n+x\n"));
    assert!(patch("x\n", "").contains("@@ -1 +0,0 @@\n-x\n"));
    assert!(patch("x", "x\n").contains("@@ -1 +1 @@\n-x\n\\ No newline at end of file\n+x\n"));
    assert_eq!(patch("same\n", "same\n"), "");
    let outcome = texts(before, "a\n", "{}");
    assert_eq!(summary(&outcome)["lines_removed"], 7);
    assert_eq!(outcome.ok().as_slice()[0].to_string(), "note: blob: changed (+0 -7 lines) [changed]");
}

#[test]
fn trees_differ_by_files() {
    let before = [
        ("a/same", Item::file("1")),
        ("a/text", Item::file("one\ntwo\n")),
        ("gone", Item::file("x\n")),
        ("link", Item::symlink("a/same")),
        ("mode.sh", Item::file("#!\n")),
        ("turns", Item::file("file\n")),
        ("void", Item::Directory),
        ("bin", Item::file("\0old")),
    ];
    let after = [
        ("a/same", Item::file("1")),
        ("a/text", Item::file("one\nTWO\n")),
        ("link", Item::symlink("a/text")),
        ("bin", Item::file("\0new")),
        ("mode.sh", Item::program("#!\n")),
        ("new/er", Item::program("y\n")),
        ("turns", Item::symlink("link")),
        ("with space", Item::file("")),
    ];
    let outcome = Harness::new().tree("before", before).tree("after", after).run::<Diff>("{}");
    outcome.ok();
    let patch = outcome.text("patch");
    for part in [
        "diff --git a/a/text b/a/text\n--- a/a/text\n+++ b/a/text\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n",
        "diff --git a/bin b/bin\nBinary files a/bin and b/bin differ\n",
        "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
        "diff --git a/link b/link\n--- a/link\n+++ b/link\n@@ -1 +1 @@\n-a/same\n\\ No newline at end of file\n+a/text\n",
        "diff --git a/mode.sh b/mode.sh\nold mode 100644\nnew mode 100755\ndiff",
        "diff --git a/new/er b/new/er\nnew file mode 100755\n--- /dev/null\n+++ b/new/er\n@@ -0,0 +1 @@\n+y\n",
        "diff --git a/turns b/turns\ndeleted file mode 100644\n",
        "diff --git a/turns b/turns\nnew file mode 120000\n",
        "diff --git a/with space b/with space\nnew file mode 100644\n",
    ] {
        assert!(patch.contains(part), "{part}\nin {patch}");
    }
    assert!(!patch.contains("a/same b/"));
    let summary = summary(&outcome);
    assert_eq!(
        (&summary["added"], &summary["removed"], &summary["changed"]),
        (&json!(2), &json!(2), &json!(5)),
        "{summary:#}"
    );
    let find = |path: &str| summary["files"].as_array().unwrap().iter().find(|file| file["path"] == path).unwrap();
    assert_eq!(find("mode.sh")["what"], json!(["mode"]));
    assert_eq!(find("turns")["what"], json!(["kind", "content"]));
    assert_eq!(find("void")["change"], "removed");
    assert_eq!((&find("a/text")["lines_added"], &find("bin")["lines_added"]), (&json!(1), &Value::Null));
}

#[test]
fn what_is_expected_decides() {
    let run =
        |before: &str, after: &str, expect: &str| texts(before, after, &format!(r#"{{"expect": "{expect}"}}"#)).result;
    assert!(run("a", "a", "equal").is_ok() && run("a", "b", "different").is_ok() && run("a", "b", "anything").is_ok());
    let error = run("a", "b", "equal").unwrap_err();
    assert_eq!((error.message(), error.findings().len()), ("they differ: 0 added, 0 removed, 1 changed", 1));
    assert_eq!(run("a", "a", "different").unwrap_err().message(), "they are equal, and ought to differ");
    let outcome = Harness::new().blob("before", "").tree("after", [("a", "")]).run::<Diff>("{}");
    assert!(outcome.failure().contains("give two of a kind"));
}

#[test]
fn paths_are_chosen_and_quoted() {
    let after = [("a.rs", "1"), ("b.md", "2"), ("sub/c.rs", "3")];
    let names = |config: &str| -> Vec<String> {
        let outcome = Harness::new().tree("before", [("x\"\t\u{1}", "")]).tree("after", after).run::<Diff>(config);
        outcome.ok().iter().filter_map(|finding| finding.path.clone()).collect()
    };
    assert_eq!(names(r#"{"include": ["**/*.rs"]}"#), ["a.rs", "sub/c.rs"]);
    assert_eq!(names(r#"{"exclude": ["**/*.rs", "x*"]}"#), ["b.md"]);
    let outcome = Harness::new().tree("before", [("x\"\t\u{1}", "1\n")]).tree("after", [("y", "")]).run::<Diff>("{}");
    assert!(outcome.text("patch").contains(r#"diff --git "a/x\"\t\001" "b/x\"\t\001""#), "{}", outcome.text("patch"));
}

#[test]
fn limits_cut_between_files() {
    let files = |text: &str| (0..20).map(|n| (format!("f{n:02}"), format!("{text}\n"))).collect::<Vec<_>>();
    let outcome =
        Harness::new().tree("before", files("a")).tree("after", files("b")).run::<Diff>(r#"{"max_patch": 300}"#);
    outcome.ok();
    assert!(outcome.text("patch").len() <= 300 && outcome.text("patch").ends_with("+b\n"));
    assert_eq!((&summary(&outcome)["cut"], &summary(&outcome)["changed"]), (&json!(true), &json!(20)));
    let large = texts(&"x\n".repeat(1_000), "y\n", r#"{"max_size": 100}"#);
    assert!(large.text("patch").contains("Binary files a/blob and b/blob differ"));
    // A text that other algorithms take a quadratic time for.
    let (before, after): (String, String) =
        (0..20_000).map(|n| (format!("{}\n", n % 7), format!("{}\n", n % 5))).unzip();
    assert!(texts(&before, &after, "{}").result.is_ok());
}
