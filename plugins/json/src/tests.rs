//! Filters over inputs of all kinds, what is said of wrong ones, and hostile documents.

use lockgate_sdk::testing::{self, Harness, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn config(filter: &str, more: &str) -> String {
    let filter = lockgate_sdk::serde_json::Value::from(filter);
    format!("{{\"filter\": {filter}{more}}}")
}

fn run(filter: &str, more: &str, input: &str) -> Outcome<Findings> {
    Harness::new().blob("x", input).run::<Json>(&config(filter, more))
}

#[track_caller]
fn gives(filter: &str, input: &str, result: &str) {
    let outcome = run(filter, r#", "output": "lines""#, input);
    assert!(outcome.result.is_ok(), "{filter}: {}", outcome.failure());
    assert_eq!(outcome.text("result").trim_end(), result, "{filter}");
}

#[track_caller]
fn fails(filter: &str, input: &str, message: &str) {
    let outcome = run(filter, "", input);
    assert!(outcome.result.is_err(), "{filter} gave {}", outcome.text("result"));
    assert!(outcome.failure().contains(message), "{filter}: {}", outcome.failure());
}

#[test]
fn jqs_filters_are_there() {
    gives(".a[1].b", r#"{"a": [1, {"b": "x"}]}"#, r#""x""#);
    gives(".[] | select(.n > 1) | .n", r#"[{"n": 1}, {"n": 2}, {"n": 3}]"#, "2\n3");
    gives("to_entries | map(\"\\(.key)=\\(.value)\") | join(\",\")", r#"{"a": 1, "b": [2]}"#, r#""a=1,b=[2]""#);
    gives(
        "group_by(.k) | map({(.[0].k): map(.v) | add}) | add",
        r#"[{"k":"a","v":1},{"k":"b","v":2},{"k":"a","v":3}]"#,
        r#"{"a":4,"b":2}"#,
    );
    gives("[paths]", r#"{"a": [5]}"#, r#"[["a"],["a",0]]"#);
    gives(".a.b |= . + 1 | del(.c)", r#"{"a": {"b": 1}, "c": 2}"#, r#"{"a":{"b":2}}"#);
    gives("[limit(3; range(10))], (try error(\"x\") catch .), (.a? // \"none\")", "[]", "[0,1,2]\n\"x\"\n\"none\"");
    gives("reduce .[] as $x (0; . + $x), first(.[]), last(.[]), any, length", "[1, 2, 3]", "6\n1\n3\ntrue\n3");
    gives(
        "walk(if isnumber then . * 2 end), unique, (sort_by(-.) | tojson), min, max",
        "[2, 1, 2]",
        "[4,2,4]\n[1,2]\n\"[2,2,1]\"\n1\n2",
    );
    gives(
        "ascii_downcase, split(\"-\"), ltrimstr(\"A\"), (.[1:3]), ascii_upcase, test(\"^a\"; \"i\")",
        r#""Ab-C""#,
        "\"ab-c\"\n[\"Ab\",\"C\"]\n\"b-C\"\n\"b-\"\n\"AB-C\"\ntrue",
    );
    gives("floor, (. * 2 | round), ceil, abs, type", "-1.5", "-2\n-3\n-1\n1.5\n\"number\"");
    gives(
        "def f(x): x * x; f(.) as $y | {$y, \"z\": (if $y > 8 then \"big\" else \"small\" end)}",
        "3",
        r#"{"y":9,"z":"big"}"#,
    );
    gives("limit(2; repeat(.))", "1", "1\n1");
}

#[test]
fn regular_expressions_and_formats_are_there() {
    gives(
        "[scan(\"[a-z]+[0-9]\")], sub(\"b(?<n>[0-9])\"; \"<\\(.n)>\"), gsub(\"[0-9]\"; \"#\")",
        r#""ab1 cb2""#,
        "[\"ab1\",\"cb2\"]\n\"a<1> cb2\"\n\"ab# cb#\"",
    );
    gives("capture(\"(?<major>[0-9]+)\\\\.(?<minor>[0-9]+)\")", r#""v1.20""#, r#"{"major":"1","minor":"20"}"#);
    gives("[match(\"ü|x\"; \"g\") | [.offset, .length, .string]]", r#""aüüx""#, r#"[[1,1,"ü"],[2,1,"ü"],[3,1,"x"]]"#);
    gives("[splits(\", *\")]", r#""a,b,  c""#, r#"["a","b","c"]"#);
    gives(
        "@base64, (@base64 | @base64d), @uri, @html",
        r#""<a b>&ü\"""#,
        "\"PGEgYj4mw7wi\"\n\"<a b>&ü\\\"\"\n\"%3Ca%20b%3E%26%C3%BC%22\"\n\"&lt;a b&gt;&amp;ü&quot;\"",
    );
    gives(
        "@csv, @tsv, @json, @sh",
        r#"["a \"b\"", 1.5, null, true]"#,
        "\"\\\"a \\\"\\\"b\\\"\\\"\\\",1.5,,true\"\n\"a \\\"b\\\"\\t1.5\\t\\ttrue\"\n\"[\\\"a \\\\\\\"b\\\\\\\"\\\",1.5,null,true]\"\n\"'a \\\"b\\\"' 1.5 null true\"",
    );
    fails("test(\"(\")", r#""x""#, "this regular expression cannot be used");
    fails("test(\"((a{999}){999}){999}\")", r#""x""#, "this regular expression cannot be used");
    fails("test(\"a\"; \"q\")", r#""x""#, "`q` is no flag");
}

#[test]
fn results_are_written_as_asked_for() {
    let result =
        |filter: &str, more: &str| run(filter, more, r#"{"b": [1, "x"], "a": null}"#).text("result").to_owned();
    assert_eq!(result(".", ""), "{\"b\":[1,\"x\"],\"a\":null}\n");
    assert_eq!(
        result(".", r#", "sort_keys": true, "indent": 2"#),
        "{\n  \"a\": null,\n  \"b\": [\n    1,\n    \"x\"\n  ]\n}\n"
    );
    assert_eq!(result(".b[]", r#", "output": "array""#), "[1,\"x\"]\n");
    assert_eq!(result(".b[]", r#", "output": "lines""#), "1\n\"x\"\n");
    assert_eq!(result(".b[], .a", r#", "output": "raw""#), "1\nx\nnull\n");
    assert_eq!(result("empty", r#", "output": "array""#), "[]\n");
    fails(".[]", "[1, 2]", "the filter gave 2 results: `output` takes one");
    fails("empty", "1", "the filter gave 0 results");
    fails("nan", "1", "a result is no JSON: ");
    fails("{(1|tostring): infinite}", "1", "a result is no JSON: ");
    fails("{(1): 2}", "1", "a result is no JSON: ");
}

#[test]
fn several_inputs_and_trees_are_objects() {
    let outcome = Harness::new()
        .blob("one", "1")
        .tree("two", [("a/b.json", "[2]"), ("c.txt", "no"), ("d.json", "{}")])
        .run::<Json>(&config(".one, .two[\"a/b.json\"][0], (.two | keys)", r#", "output": "lines""#));
    assert_eq!(outcome.text("result"), "1\n2\n[\"a/b.json\",\"d.json\"]\n");
    let outcome = Harness::new()
        .run::<Json>(&config("$name + ($list | length | tostring)", r#", "vars": {"name": "n", "list": [1, 2.5]}"#));
    assert_eq!(outcome.text("result"), "\"n2\"\n");
    let outcome = run("map(.n) | add", r#", "input": "lines""#, "{\"n\": 1}\n\n{\"n\": 2}\n");
    assert_eq!(outcome.text("result"), "3\n");
    let outcome = run("split(\"\\n\") | length", r#", "input": "text""#, "a\nb");
    assert_eq!(outcome.text("result"), "2\n");
}

#[test]
fn each_file_of_a_tree_becomes_one() {
    let files = [("a/x.json", r#"{"v": 1}"#), ("y.yaml", "v: 2"), ("z.json", r#"{"v": 3}"#)];
    let outcome = Harness::new().tree("src", files).run::<Json>(&config("{w: .v}", r#", "each": true"#));
    outcome.ok();
    assert_eq!(outcome.tree("files").keys().collect::<Vec<_>>(), ["a", "a/x.json", "z.json"]);
    assert_eq!(outcome.tree("files")["z.json"], testing::Item::file("{\"w\":3}\n"));
    let wrong =
        Harness::new().tree("src", [("a.json", "{}"), ("b.json", "{")]).run::<Json>(&config(".", r#", "each": true"#));
    assert_eq!(wrong.failure(), "read `b.json`: line 1, column 2: EOF while parsing an object");
    assert!(run(".", r#", "each": true"#, "1").failure().contains("the input `x` is a blob"));
}

#[test]
fn a_check_is_a_gate() {
    let check = |filter: &str, input: &str| run(filter, r#", "check": true, "output": "array""#, input);
    assert!(check(".errors == 0", r#"{"errors": 0}"#).result.is_ok());
    assert_eq!(check(".errors == 0", r#"{"errors": 2}"#).failure(), "the check failed: the filter gave false");
    assert_eq!(check("empty", "1").failure(), "the check failed: the filter gave nothing");
    fails(
        "if .ok then . else error(\"not ok: \\(.why)\") end",
        r#"{"ok": false, "why": "because"}"#,
        "the filter failed: not ok: because",
    );
    fails(".a", "[1]", "the filter failed: cannot index [1] with \"a\"");
}

#[test]
fn a_wrong_filter_is_explained() {
    fails(".a |", "1", "`filter` cannot be used: line 1, column 5: expected term");
    fails(".a\n  | nonsense(1)", "1", "line 2, column 5: there is no filter `nonsense`");
    fails("$gone", "1", "there is no variable `$gone`");
    fails("import \"a\" as a; 1", "1", "there are no modules here");
    fails("\"a", "1", "`filter` cannot be used: line 1, ");
    fails(&"(".repeat(200), "1", "nests more than 100 brackets");
    fails("env", "1", "there is no environment here");
    fails("now", "1", "there is no clock here");
    fails("input", "1", "there is one input");
    let outcome = run("1", r#", "vars": {"not a name": 1}"#, "1");
    assert_eq!(outcome.failure(), "`not a name` in `vars` is no name of a variable");
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    fails(".", "{\"a\": 1,\n}", "read the input `x`: line 2, column 1: key must be a string");
    fails(".", "", "EOF while parsing a value");
    fails(".", "NaN", "expected value");
    fails(".", "1 # comment", "trailing characters");
    fails(".", "{a: 1}", "key must be a string");
    let outcome = Harness::new().blob("x", b"\"\xff\"").run::<Json>(&config(".", ""));
    assert_eq!(
        outcome.failure(),
        "read the input `x`: it is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1"
    );
}

#[test]
fn hostile_documents_and_filters_end() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    fails(".", &deep, "nested deeper than 256 levels");
    let allowed = format!("{}1{}", "[".repeat(256), "]".repeat(256));
    gives("length", &allowed, "1");
    fails("reduce range(300) as $i (1; [.])", "1", "a result is nested deeper than 256 levels");
    fails("repeat(1)", "1", "the filter gave more than 1000000 results");
    gives("test(\"^(a+)+$\")", &format!("\"{}!\"", "a".repeat(2_000)), "false");
    gives(".", "123456789012345678901234567890", "123456789012345678901234567890");
}
