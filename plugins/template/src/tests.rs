//! Templates of all kinds, data of all formats, and templates that mean harm.

use lockgate_sdk::testing::{self, Harness, Item, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn run(template: &str, config: &str) -> Outcome<Findings> {
    Harness::new()
        .blob("template", template)
        .blob("facts", r#"{"version": "1.2", "list": [1, 2.5, null, true]}"#)
        .run::<Template>(config)
}

#[track_caller]
fn gives(template: &str, text: &str) {
    assert_eq!(run(template, r#"{"data": {"who": "<you>", "n": 3}}"#).text("text"), text, "{template}");
}

#[track_caller]
fn fails(template: &str, message: &str) {
    let outcome = run(template, r#"{"max_bytes": 100000}"#);
    assert!(outcome.failure().contains(message), "{}", outcome.failure());
    assert!(outcome.outputs.is_empty());
}

#[test]
fn a_template_is_filled_in() {
    gives("Hello {{ who }}, {{ facts.version }}!\n", "Hello <you>, 1.2!\n");
    gives(
        "{% for x in facts.list %}{{ loop.index }}={{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "1=1, 2=2.5, 3=None, 4=True",
    );
    gives(
        "{% set x = n * 2 %}{{ x + 1 }} {{ who | upper }} {{ facts.list | length }} {{ gone | default('none') }}",
        "7 <YOU> 4 none",
    );
    gives("{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m(1) }}{{ m('b') }}", "[1][b]");
    gives("{{ facts | tojson }}", r#"{"list": [1, 2.5, null, true], "version": "1.2"}"#);
    gives("{%- raw %}{{ not }}{% endraw -%}  \n x", "{{ not }}x");
    let outcome = Harness::new().run::<Template>(r#"{"template": "{{ a.b[0] }}", "data": {"a": {"b": ["x"]}}}"#);
    assert_eq!(outcome.text("text"), "x");
}

#[test]
fn data_is_json_toml_yaml_or_text() {
    let outcome = Harness::new()
        .blob("t", "[package]\nname = \"x\"\nat = 2026-01-31\n")
        .blob("y", "a: [1, two]\nb: &b {c: 3}\nd: *b\n")
        .blob("s", "plain\n")
        .tree("tree", [("a/b.yaml", "k: v"), ("c.txt", "text")])
        .run::<Template>(
            r#"{"template": "{{ t.package.name }} {{ t.package.at }} {{ y.a[1] }} {{ y.d.c }} {{ s }}{{ tree['a/b.yaml'].k }} {{ tree['c.txt'] }}",
                "formats": {"t": "toml", "y": "yaml", "s": "text"}}"#,
        );
    assert_eq!(outcome.text("text"), "x 2026-01-31 two 3 plain\nv text");
    let wrong = |text: &str, config: &str| Harness::new().blob("d", text).run::<Template>(config).failure().to_owned();
    assert_eq!(wrong("{\"a\": }", r#"{"template": ""}"#), "read the input `d`: line 1, column 7: expected value");
    assert!(wrong("a: 1\n---\nb: 2\n", r#"{"template": "", "formats": {"d": "yaml"}}"#).contains("it has 2 documents"));
    assert!(wrong("{}", r#"{"template": "", "data": {"d": 1}}"#).contains("`d` is in `data` and an input"));
    assert!(wrong("{}", r#"{"template": "", "formats": {"e": "yaml"}}"#).contains("`e`, which is no input"));
    assert!(wrong(&"[".repeat(100_000), r#"{"template": ""}"#).contains("nested deeper than 64 levels"));
}

#[test]
fn a_tree_of_templates_becomes_a_tree() {
    let files = [
        ("_base.html", Item::file("<b>{% block x %}{% endblock %}</b>")),
        ("page.html.j2", Item::file("{% extends '_base.html' %}{% block x %}{{ n }}{% endblock %}")),
        ("deep/run.sh.jinja", Item::program("#!{{ n }}\n{% include 'deep/_part' %}")),
        ("deep/_part", Item::file("part {{ n }}")),
        ("asis.txt", Item::file("{{ n }}")),
        ("link", Item::symlink("asis.txt")),
        ("void", Item::Directory),
        ("conf.ini", Item::file("n={{ n }}")),
    ];
    let outcome = Harness::new().tree("template", files).run::<Template>(r#"{"data": {"n": 5}, "all": ["*.ini"]}"#);
    outcome.ok();
    let tree = outcome.tree("tree");
    assert_eq!(
        tree.keys().collect::<Vec<_>>(),
        ["asis.txt", "conf.ini", "deep", "deep/run.sh", "link", "page.html", "void"]
    );
    assert_eq!(tree["page.html"], Item::file("<b>5</b>"));
    assert_eq!(tree["deep/run.sh"], Item::program("#!5\npart 5"));
    assert_eq!((&tree["asis.txt"], &tree["conf.ini"]), (&Item::file("{{ n }}"), &Item::file("n=5")));
    let both = Harness::new().tree("template", [("a", ""), ("a.j2", "")]).run::<Template>("{}");
    assert_eq!(both.failure(), "`a` and `a.j2` would both become `a`");
}

#[test]
fn values_are_escaped_as_asked_for() {
    let escaped = |escape: &str| {
        run("{{ who }}", &format!(r#"{{"data": {{"who": "<\"&"}}, "escape": "{escape}"}}"#)).text("text").to_owned()
    };
    assert_eq!(escaped("none"), "<\"&");
    assert_eq!(escaped("html"), "&lt;&quot;&amp;");
    assert!(escaped("json").starts_with('"'));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    fails("a\n{{ gone }}", "`template`, line 2: undefined value");
    fails("{{ facts.gone.deeper }}", "undefined value");
    fails("{% if %}", "`template`, line 1: syntax error");
    fails("a\nb {% for x in %}", "`template`, line 2: syntax error");
    fails("{{ 1 | nosuch }}", "unknown filter");
    fails("{% include 'gone' %}", "template not found");
    fails("{{ 1 / 0 }}", "`template`, line 1: ");
    assert!(Harness::new().run::<Template>("{}").failure().starts_with("there is no template"));
    assert!(run("", r#"{"template": "x"}"#).failure().starts_with("there are two templates"));
}

#[test]
fn hostile_templates_end() {
    fails(
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "does not end within 1000000 steps",
    );
    fails("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion limit exceeded");
    fails("{% include 'template' %}", "recursion limit exceeded");
    fails("{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}", "writes more than 100000 bytes");
    fails(&"(".repeat(10_000), "a line nests more than 64 brackets");
    fails("{{ range(1000000000) }}", "");
    let files = [("a.j2", "{% include 'b.j2' %}"), ("b.j2", "{% include 'a.j2' %}")];
    let outcome = Harness::new().tree("template", files).run::<Template>("{}");
    assert!(outcome.failure().contains("recursion limit exceeded"), "{}", outcome.failure());
}
