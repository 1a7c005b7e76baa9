//! What the repository says of itself: its pipelines are right, the paths and commands in its documents exist.

use std::path::{Path, PathBuf};

use lockgate_tests::{Project, binary};

/// All files below a directory whose name ends so.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", "dist", ".git", ".lockgate", "ui"].contains(&name) {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
    found
}

/// Pipeline files: TOML with `schema = 1`.
fn pipelines() -> Vec<PathBuf> {
    let root = binary::repository();
    let all = [files(&root.join("pipelines"), ".toml"), files(&root.join("examples"), ".toml")].concat();
    let is_pipeline =
        |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().any(|line| line.trim() == "schema = 1");
    let is_policy = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with("policy.toml"));
    all.into_iter().filter(|path| is_pipeline(path) && !is_policy(path)).collect()
}

#[test]
fn every_pipeline_is_right() {
    let all = pipelines();
    assert!(all.len() >= 2, "{all:?}");
    let project = Project::new();
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        // Plugins that are built from an example's source are there only after that was done.
        if text.contains("path = \"") {
            continue;
        }
        let state = project.join("state");
        project.lockgate(["check", path.to_str().unwrap(), "--state", state.to_str().unwrap()]).code(0);
    }
}

#[test]
fn the_paths_in_architecture_exist() {
    let root = binary::repository();
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let mut seen = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        // A path of this repository: begins with one of its folders and holds no placeholder.
        let first = quoted.split('/').next().unwrap_or_default();
        let ours = ["engine", "plugins", "wit", "pipelines", "examples", "tests", "docs"].contains(&first);
        if !ours || quoted.contains([' ', '<', '*', '{', '\n']) || quoted.starts_with("plugins/dist") {
            continue;
        }
        let path = quoted.split("::").next().unwrap_or(quoted);
        assert!(root.join(path).exists(), "ARCHITECTURE.md speaks of `{quoted}`, which does not exist");
        seen += 1;
    }
    assert!(seen > 10, "only {seen} paths were found");
}

/// Lines of code blocks that call `lockgate`.
fn shown_commands(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let line = line.trim().trim_start_matches("$ ");
            if line.starts_with("lockgate ") {
                commands.push(line.split(" #").next().unwrap_or(line).to_owned());
            }
        }
    }
    commands
}

#[test]
fn the_commands_in_the_documents_exist() {
    let project = Project::new();
    let root = binary::repository();
    let documents =
        [files(&root.join("examples"), ".md"), vec![root.join("README.md"), root.join("CONTRIBUTING.md")]].concat();
    let mut seen = 0;
    for path in documents.into_iter().filter(|path| path.is_file()) {
        for command in shown_commands(&std::fs::read_to_string(&path).unwrap()) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let two = ["plugin", "cache", "policy", "audit", "secret"].contains(&words[0])
                || words[..].starts_with(&["attest", "verify"]);
            let names = if two { 2 } else { 1 };
            if words[0].starts_with('-') {
                continue;
            }
            let name = words[..names.min(words.len())].join(" ");
            let help = project.lockgate(words[..names].iter().copied().chain(["--help"]));
            assert_eq!(help.exit, Some(0), "{} shows `{command}`: {}", path.display(), help.all());
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let flag = flag.split('=').next().unwrap_or(flag);
                assert!(
                    help.stdout.contains(flag),
                    "{} shows `{command}`, but `lockgate {name}` has no {flag}",
                    path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 3 || !root.join("README.md").exists(), "only {seen} commands were found");
}

#[test]
fn exit_codes_in_the_readme_are_those_of_the_help() {
    let path = binary::repository().join("README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let help = Project::new().lockgate(["--help"]).code(0).stdout;
    for code in ["0", "1", "2", "3", "4", "5", "6", "130"] {
        assert!(
            text.contains(&format!("| {code} |")) || text.contains(&format!("| `{code}` |")),
            "README.md lacks {code}"
        );
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "the help lacks {code}");
    }
}

#[test]
fn the_graph_in_the_readme_is_that_of_the_release() {
    let root = binary::repository();
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let shown = text.split("```mermaid\n").nth(1).and_then(|rest| rest.split("\n```").next()).unwrap();
    let release = root.join("pipelines/release.toml");
    let drawn = Project::new().lockgate(["graph", release.to_str().unwrap(), "--format", "mermaid"]).code(0).stdout;
    assert_eq!(shown.trim(), drawn.trim());
}

#[test]
fn the_first_pipeline_of_the_readme_runs() {
    let text = std::fs::read_to_string(binary::repository().join("README.md")).unwrap();
    let shown = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let project = Project::new();
    project.file("hello.toml", shown).file("a.txt", "hello");
    project.lockgate(["run", "hello.toml"]).code(0);
    assert!(project.has("dist/hello.tar.zst"));
}

#[test]
fn the_policy_of_the_readme_passes_its_test() {
    let text = std::fs::read_to_string(binary::repository().join("README.md")).unwrap();
    let section = text.split("## The operator's policy").nth(1).unwrap();
    let shown = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let project = Project::new();
    project.file("policy.toml", shown);
    project.lockgate(["policy", "test", "policy.toml"]).code(0).prints("a probe of another host is refused");
}

#[test]
fn the_first_plugin_does_what_its_readme_says() {
    let example = binary::repository().join("examples/first-plugin");
    let project = Project::new();
    let source = std::fs::read_to_string(example.join("src/lib.rs")).unwrap();
    project.guest("first-plugin").file("src/lib.rs", &source);
    project.file("pipeline.toml", std::fs::read(example.join("pipeline.toml")).unwrap());
    project.lockgate(["run", "pipeline.toml"]).code(0);
    let broken = source.split_once('\n').unwrap().1;
    project.file("src/lib.rs", broken);
    project.lockgate(["run", "pipeline.toml"]).code(1).says("src/lib.rs:1");
}

/// What stands around the table of a plugin's config in its README.
const CONFIG: [&str; 2] = ["<!-- config, as its manifest has it -->\n", "<!-- end of config -->"];

/// The part of a component's documentation that is about its config.
fn config_of(plugin: &str) -> String {
    let done = Project::new().lockgate(["plugin", "inspect", plugin, "--format", "markdown"]).code(0);
    let (_, behind) = done.stdout.split_once("\n## Config\n\n").expect("a part about the config");
    behind.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn every_plugin_s_readme_has_the_config_of_its_manifest() {
    let mut stale = Vec::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(binary::repository().join("plugins")).unwrap() {
        let folder = entry.unwrap().path();
        let (name, path) = (folder.file_name().unwrap().to_str().unwrap().to_owned(), folder.join("README.md"));
        let cargo = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        if name == "sdk" || !cargo.contains("cdylib") {
            continue;
        }
        seen += 1;
        let readme = std::fs::read_to_string(&path).unwrap();
        let parts = readme.split_once(CONFIG[0]).and_then(|(before, rest)| Some((before, rest.split_once(CONFIG[1])?)));
        let Some((before, (found, behind))) = parts else {
            stale.push(format!("plugins/{name}/README.md has no `{}`", CONFIG[0].trim_end()));
            continue;
        };
        let wanted = config_of(&format!("std:{name}"));
        if found == wanted {
            continue;
        }
        if std::env::var_os("LOCKGATE_UPDATE").is_some() {
            std::fs::write(&path, format!("{before}{}{wanted}{}{behind}", CONFIG[0], CONFIG[1])).unwrap();
        } else {
            stale.push(format!("plugins/{name}/README.md: another config than that of `std:{name}`"));
        }
    }
    assert!(seen > 10, "{seen} plugins");
    assert!(stale.is_empty(), "{}\n`LOCKGATE_UPDATE=1` writes the tables anew", stale.join("\n"));
}
