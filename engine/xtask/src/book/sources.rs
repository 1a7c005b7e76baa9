//! The pages of the book in one folder: those of `docs/src` and those that are made.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::generated::{self, Made};

/// Writes `docs` and all that is made to `to`, which is empty before.
pub fn lay_out(root: &Path, to: &Path, lockgate: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("failed to remove `{}`", to.display()))?;
    }
    let docs = root.join("docs");
    let Made { pages, plugins } = generated::all(root, lockgate)?;
    write(&to.join("book.toml"), &read(&docs.join("book.toml"))?)?;
    let mut names = BTreeSet::new();
    for name in below(&docs.join("src"), Path::new(""))? {
        let from = docs.join("src").join(&name);
        if name == Path::new("SUMMARY.md") {
            write(&to.join("src/SUMMARY.md"), &read(&from)?.replace("<!-- the standard plugins -->", plugins.trim()))?;
        } else if name.extension().is_some_and(|ending| ending == "md") {
            write(&to.join("src").join(&name), &plain(&read(&from)?, from.parent().unwrap_or(root))?)?;
            names.insert(name);
        } else {
            let target = to.join("src").join(&name);
            fs::create_dir_all(target.parent().unwrap_or(to)).context("failed to make a folder of the book")?;
            fs::copy(&from, &target).with_context(|| format!("failed to copy `{}`", from.display()))?;
        }
    }
    for (name, text) in pages {
        let name = PathBuf::from(name);
        write(&to.join("src").join(&name), &text)?;
        if !names.insert(name.clone()) {
            bail!("`docs/src/{}` is made by `cargo xtask book`, and cannot be written by hand, too", name.display());
        }
    }
    is_listed(&read(&to.join("src/SUMMARY.md"))?, &names)
}

/// Fails for pages that the table of contents lacks. That it names none that is missing, mdBook sees itself.
fn is_listed(summary: &str, names: &BTreeSet<PathBuf>) -> Result<()> {
    let listed: BTreeSet<&str> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|link| link.trim_start_matches("./"))
        .collect();
    let shown = names.iter().map(|name| name.to_string_lossy());
    let missing: Vec<_> = shown.filter(|name| !listed.contains(name.as_ref())).collect();
    if !missing.is_empty() {
        bail!("`docs/src/SUMMARY.md` lacks {}; add a line for each, or it is not in the book", missing.join(", "));
    }
    Ok(())
}

/// A page without the words by which it is tested, and with what it includes.
fn plain(text: &str, dir: &Path) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut fence: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let ticks: String = trimmed.chars().take_while(|c| *c == '`').collect();
        match &fence {
            None if ticks.len() >= 3 => {
                fence = Some(ticks);
                // `console npm=.` becomes `console`.
                let end = line.trim_end().len() - trimmed.trim_end().len();
                let language = trimmed.split(' ').next().unwrap_or(trimmed);
                out.push_str(&line[..end]);
                out.push_str(language);
            }
            Some(open) if trimmed.trim_end() == *open => {
                fence = None;
                out.push_str(line);
            }
            _ => out.push_str(&include(line, dir)?),
        }
        out.push('\n');
    }
    Ok(out)
}

/// A line, or the file that it includes. A part of one (`FILE:ANCHOR`) is left to mdBook, named from the root of the disk, because the page stands elsewhere now.
fn include(line: &str, dir: &Path) -> Result<String> {
    const OPEN: &str = "{{#include ";
    let Some(name) = line.trim().strip_prefix(OPEN).and_then(|rest| rest.strip_suffix("}}")) else {
        return Ok(line.to_owned());
    };
    let path = normal(&dir.join(name));
    if name.contains(':') {
        return Ok(format!("{OPEN}{}}}}}", path.display()));
    }
    // Templates of plugins are shown as `lockgate plugin new` writes them.
    let text = read(&path)?.replace("{{name}}", "line-count").replace("{{what}}", "Counts the lines of a text.");
    Ok(text.trim_end().to_owned())
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

/// All files below a folder, by their paths in it.
fn below(dir: &Path, inside: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("failed to read `{}`", dir.display()))? {
        let entry = entry.with_context(|| format!("failed to read `{}`", dir.display()))?;
        let name = inside.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(below(&entry.path(), &name)?);
        } else {
            found.push(name);
        }
    }
    Ok(found)
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).with_context(|| format!("failed to make `{}`", dir.display()))?;
    fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_shown_without_the_words_for_their_test() {
        let page = "a\n\n```toml file=x.toml\nb = 1\n```\n- c\n  ```console npm=.\n  $ d\n  ```\n````text\n```toml check\n````\n";
        let shown = "a\n\n```toml\nb = 1\n```\n- c\n  ```console\n  $ d\n  ```\n````text\n```toml check\n````\n";
        assert_eq!(plain(page, Path::new("/docs/src")).unwrap(), shown);
    }

    #[test]
    fn files_are_included() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.rs"), "//! {{what}}\n").unwrap();
        let pages = dir.path().join("docs/src");
        let included = plain("x\n{{#include ../../a.rs}}\n{{#include ../../a.rs:part}}\n", &pages).unwrap();
        let part = dir.path().join("a.rs:part");
        assert_eq!(included, format!("x\n//! Counts the lines of a text.\n{{{{#include {}}}}}\n", part.display()));
        assert!(plain("{{#include ../../b.rs}}\n", &pages).is_err());
    }

    #[test]
    fn paths_lose_their_dots() {
        assert_eq!(normal(Path::new("/r/docs/src/../../x")), Path::new("/r/x"));
    }

    #[test]
    fn a_page_that_is_not_listed_is_named() {
        let names = ["a.md", "b/c.md"].map(PathBuf::from).into();
        is_listed("- [A](a.md)\n  - [C](./b/c.md)\n", &names).unwrap();
        let wrong = is_listed("- [A](a.md)\n", &names).unwrap_err();
        assert!(wrong.to_string().contains("lacks b/c.md"), "{wrong}");
    }
}
