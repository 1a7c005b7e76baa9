//! The pages that nobody writes: what the engine, its plugins and its tests say of themselves.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::sources::read;
use super::{help, schema};

/// What was made.
pub struct Made {
    /// Pages by their paths below `src`.
    pub pages: Vec<(String, String)>,
    /// The lines of the table of contents for the standard plugins.
    pub plugins: String,
}

/// The formats that have a page of keys: the schema's name, the page, its title, what the whole is called, what is said first.
const FORMATS: [[&str; 5]; 6] = [
    [
        "pipeline",
        "reference/pipeline.md",
        "Keys of the pipeline file",
        "The file",
        "Every table and key of the format, with its type and limits, as `lockgate schema` has them for editors. What they are for stands in \
         [The pipeline file](../pipeline.md).",
    ],
    [
        "policy",
        "reference/policy.md",
        "Keys of the policy file",
        "The file",
        "Every table and key of a policy, as `lockgate schema policy` has them. What they are for stands in [Policies](../policies.md).",
    ],
    [
        "case",
        "reference/case.md",
        "Keys of `case.toml`",
        "The file",
        "Every table and key of a plugin's case, as `lockgate schema case` has them. What cases are stands in \
         [Testing and profiling](../authoring/testing.md).",
    ],
    [
        "events",
        "reference/events.md",
        "Events and receipts",
        "A line",
        "What `run --format json` prints while a run goes on, and `show --format json` of past runs: one JSON object a line, as `lockgate schema events` has \
         it. Fields and kinds of events are only added under the same `schema`: bear with those that you do not know.",
    ],
    [
        "runs",
        "reference/runs.md",
        "Lists of runs",
        "A line",
        "What `lockgate runs --format json` prints: one JSON object for each run, as `lockgate schema runs` has it.",
    ],
    [
        "diff",
        "reference/diff.md",
        "Differences between runs",
        "The object",
        "What `lockgate diff --format json` prints, as `lockgate schema diff` has it.",
    ],
];

/// Makes all.
pub fn all(root: &Path, lockgate: &Path) -> Result<Made> {
    let mut pages = vec![("reference/cli.md".to_owned(), help::page(lockgate)?)];
    for [name, page, title, whole, intro] in FORMATS {
        let said: Value = serde_json::from_str(&ask(lockgate, &["schema", name])?)
            .with_context(|| format!("`lockgate schema {name}` prints no JSON"))?;
        pages.push((page.to_owned(), format!("# {title}\n\n{intro}\n{}", schema::sections(&said, whole))));
    }
    pages.push(("reference/diagnostics.md".to_owned(), diagnostics(root)?));
    let mut plugins = String::new();
    let mut table = String::new();
    for name in standard(root)? {
        let (page, summary) = plugin(root, lockgate, &name)?;
        let _ = writeln!(plugins, "  - [std:{name}](plugins/{name}.md)");
        let _ = writeln!(table, "| [`std:{name}`]({name}.md) | {summary} |");
        pages.push((format!("plugins/{name}.md"), page));
    }
    let index = read(&root.join("docs/plugins.md"))?.replace("<!-- the standard plugins -->", table.trim_end());
    pages.push(("plugins/index.md".to_owned(), index));
    Ok(Made { pages, plugins })
}

/// What the engine prints, if it succeeds.
fn ask(lockgate: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(lockgate).args(words).env("NO_COLOR", "1").output();
    let output = output.with_context(|| format!("failed to start `{}`", lockgate.display()))?;
    if !output.status.success() {
        bail!(
            "`lockgate {}` ended with {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).context("it prints something that is not UTF-8")
}

/// The standard plugins: the folders of `plugins` that describe one.
fn standard(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("plugins")).context("failed to read `plugins`")? {
        let path = entry.context("failed to read `plugins`")?.path();
        if path.join("README.md").is_file() && path.join("Cargo.toml").is_file() {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("there is no plugin in `plugins`");
    }
    Ok(names)
}

/// A plugin's page, and its summary: its README, and then what the component says of itself.
fn plugin(root: &Path, lockgate: &Path, name: &str) -> Result<(String, String)> {
    let readme = read(&root.join("plugins").join(name).join("README.md"))?;
    let said = ask(lockgate, &["plugin", "inspect", &format!("std:{name}"), "--format", "markdown"])?;
    let (_, said) = said.split_once('\n').context("a component says nothing")?;
    let summary = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    // Its headings below one of this page's.
    let mut below = String::new();
    let mut inside = false;
    for line in said.lines().skip_while(|line| line.trim().is_empty()).skip(1) {
        inside ^= line.starts_with("```");
        let deeper = if !inside && line.starts_with('#') { "#" } else { "" };
        let _ = writeln!(below, "{deeper}{line}");
    }
    Ok((format!("{}\n\n## What the component says of itself\n{below}", readme.trim_end()), summary))
}

/// Every code of a diagnostic about a file, with an example: the golden files of the tests hold them.
fn diagnostics(root: &Path) -> Result<String> {
    const AREAS: [(&str, &str); 4] =
        [("", "Pipelines"), ("lock", "Lock files"), ("policy", "Policies"), ("case", "Cases")];
    let mut page = "# Diagnostics\n\nWhat `lockgate check` and its like say about files. Each diagnostic has a code, here with an example. All problems of a file are \
                    reported at once, and the exit code is 2.\n"
        .to_owned();
    for (folder, title) in AREAS {
        let mut codes: BTreeMap<String, String> = BTreeMap::new();
        let dir = root.join("engine/syntax/tests/ui").join(folder);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .with_context(|| format!("failed to read `{}`", dir.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
            .collect();
        files.sort();
        for file in files {
            for (code, text) in split(&read(&file)?) {
                // Of several examples the shortest one.
                let known = codes.entry(code).or_insert_with(|| text.clone());
                if text.len() < known.len() {
                    *known = text;
                }
            }
        }
        if codes.is_empty() {
            bail!("`{}` has no diagnostic", dir.display());
        }
        let _ = write!(page, "\n## {title}\n");
        for (code, text) in codes {
            let _ = write!(page, "\n### {code}\n\n```text\n{}\n```\n", text.trim_end());
        }
    }
    Ok(page)
}

/// The diagnostics of a golden file, each with its code.
fn split(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(code) = line.trim().strip_prefix("lockgate::") {
            found.push((code.to_owned(), String::new()));
        } else if let Some((_, text)) = found.last_mut()
            && (!text.is_empty() || !line.trim().is_empty())
        {
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_files_are_taken_apart() {
        let text = "lockgate::unknown-key\n\n  × no key\n   ╭─[a]\n\nlockgate::cycle\n\n  × round\n";
        let expected = [("unknown-key", "  × no key\n   ╭─[a]\n\n"), ("cycle", "  × round\n")];
        assert_eq!(split(text), expected.map(|(code, text)| (code.to_owned(), text.to_owned())));
    }
}
