//! The book: each page is followed, command by command, in a folder of its own, and prints what it says. `tests/src/book` says how.

use std::path::Path;

use lockgate_tests::book::{self, Page, Use};
use lockgate_tests::{Project, binary};

/// The most blocks that nobody runs: what belongs to machines of others.
const MOST_IGNORED: usize = 12;

macro_rules! pages {
    ($($test:ident = $page:literal,)*) => {
        /// The pages that say what to do.
        const PAGES: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $test() {
                book::follow($page);
            }
        )*
    };
}

pages! {
    install = "install.md",
    first_pipeline = "tutorial.md",
    concepts = "concepts.md",
    pipeline_file = "pipeline.md",
    expressions = "expressions.md",
    gates = "gates.md",
    approvals = "approvals.md",
    wasi = "wasi.md",
    caching = "caching.md",
    resume = "resume.md",
    determinism = "determinism.md",
    security = "security.md",
    grants = "grants.md",
    policies = "policies.md",
    trust = "trust.md",
    registries = "registries.md",
    exit_codes = "reference/exit-codes.md",
    plugin = "authoring/contract.md",
    plugin_in_rust = "authoring/rust.md",
    plugin_in_javascript = "authoring/javascript.md",
    plugin_in_c = "authoring/c.md",
    plugin_tested = "authoring/testing.md",
    plugin_published = "authoring/publishing.md",
    recipe_github_actions = "recipes/github-actions.md",
    recipe_monorepo = "recipes/monorepo.md",
    recipe_canary = "recipes/canary.md",
    recipe_nightly = "recipes/nightly.md",
    recipe_sbom = "recipes/sbom.md",
    recipe_notify = "recipes/notify.md",
    recipe_program = "recipes/program.md",
    recipe_offline = "recipes/offline.md",
}

/// All pages, taken apart.
fn pages() -> Vec<Page> {
    let parse = |name: &std::path::PathBuf| {
        let text = std::fs::read_to_string(book::sources().join(name)).unwrap();
        Page::parse(name, text)
    };
    let (pages, wrong): (Vec<_>, Vec<_>) = book::pages().iter().map(parse).partition(Result::is_ok);
    let wrong: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    pages.into_iter().filter_map(Result::ok).collect()
}

#[test]
fn no_page_is_forgotten() {
    for page in pages() {
        let followed = PAGES.contains(&page.name.as_str());
        assert_eq!(followed, page.says_what_to_do(), "{} in `pages!` of {}", page.name, file!());
    }
    assert!(PAGES.len() > 5, "{PAGES:?}");
}

#[test]
fn what_is_not_run_says_why() {
    let (mut ignored, pages) = (Vec::new(), pages());
    for page in &pages {
        for block in &page.blocks {
            let place = format!("{}:{}", page.name, block.line);
            match &block.what {
                Use::Ignored(why) => ignored.push(format!("{place}: {why}")),
                Use::Covered(test) => {
                    let (module, name) = test.split_once("::").unwrap_or_else(|| panic!("{place}: {test}"));
                    let path = binary::repository().join(format!("tests/e2e/{module}.rs"));
                    let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{place}: {error}"));
                    assert!(source.contains(&format!("fn {name}()")), "{place}: there is no test `{test}`");
                }
                _ => {}
            }
        }
    }
    println!("{} blocks are not run:\n{}", ignored.len(), ignored.join("\n"));
    assert!(ignored.len() <= MOST_IGNORED, "{}", ignored.join("\n"));
}

/// What the pages of the standard plugins, which come from their READMEs, show of pipelines.
#[test]
fn pipelines_of_plugins_are_right() {
    // One for all, so that each plugin is compiled once.
    let (mut seen, project) = (0, Project::new());
    for entry in std::fs::read_dir(binary::repository().join("plugins")).unwrap() {
        let readme = entry.unwrap().path().join("README.md");
        if !readme.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&readme).unwrap();
        for shown in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            seen += 1;
            check(&project, &readme, shown);
        }
    }
    assert!(seen > 10, "only {seen} pipelines were found");
}

/// A part of a pipeline: what is wrong with it is that other parts are missing, and nothing else.
#[track_caller]
fn check(project: &Project, readme: &Path, shown: &str) {
    const MISSING: [&str; 2] = ["unknown-node", "source"];
    // What all have in common.
    const COMMON: &str =
        "[params.version]\ntype = \"string\"\ndefault = \"1\"\n[secrets]\nslack = { env = \"SLACK\" }\n";
    project.pipeline(&format!("{COMMON}{shown}"));
    let done = project.check();
    let codes: Vec<&str> = done.stderr.lines().filter_map(|line| line.trim().strip_prefix("lockgate::")).collect();
    let others: Vec<_> = codes.iter().filter(|code| !MISSING.contains(code)).collect();
    assert!(others.is_empty(), "{}: {others:?}\n{}", readme.display(), done.all());
    assert!(done.exit == Some(0) || !codes.is_empty(), "{}: {}", readme.display(), done.all());
}
