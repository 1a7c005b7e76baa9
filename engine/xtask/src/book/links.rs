//! Links of the built book that lead nowhere: to a page or an anchor that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use html5gum::{Token, Tokenizer};

/// What was looked at.
pub struct Found {
    /// Pages.
    pub pages: usize,
    /// Links inside of the book.
    pub links: usize,
}

/// A page: its anchors, and its links.
#[derive(Default)]
struct Page {
    anchors: BTreeSet<String>,
    links: BTreeSet<String>,
}

/// Looks at all pages of a folder.
pub fn check(dir: &Path) -> Result<Found> {
    let mut pages = BTreeMap::new();
    for path in html(dir)? {
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        let name = path.strip_prefix(dir).unwrap_or(&path).to_owned();
        // All pages in one, for printers: its links are those of the others. And the page for those that are not there.
        if !["print.html", "404.html", "toc.html"].iter().any(|other| name == Path::new(other)) {
            pages.insert(name, parse(&text));
        }
    }
    let (mut links, mut broken) = (0, Vec::new());
    for (name, page) in &pages {
        for link in page.links.iter().filter(|link| is_ours(link)) {
            links += 1;
            if let Some(why) = wrong(dir, name, link, &pages) {
                broken.push(format!("{}: `{link}`: {why}", name.display()));
            }
        }
    }
    if !broken.is_empty() {
        bail!("{} links of the book lead nowhere:\n{}", broken.len(), broken.join("\n"));
    }
    if pages.is_empty() {
        bail!("there is no page in `{}`", dir.display());
    }
    Ok(Found { pages: pages.len(), links })
}

/// Whether a link stays in the book.
fn is_ours(link: &str) -> bool {
    !["https://", "http://", "mailto:", "data:", "javascript:"].iter().any(|other| link.starts_with(other))
}

/// Why a link leads nowhere, if it does.
fn wrong(dir: &Path, from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut target = if path.is_empty() { from.to_owned() } else { resolve(from, path)? };
    if dir.join(&target).is_dir() {
        target.push("index.html");
    }
    let Some(page) = pages.get(&target) else {
        let there = dir.join(&target).is_file();
        return (!there).then(|| format!("there is no `{}`", target.display()));
    };
    let known = anchor.is_empty() || page.anchors.contains(anchor);
    (!known).then(|| format!("`{}` has no anchor `{anchor}`", target.display()))
}

/// A link's path from the book's root.
fn resolve(from: &Path, path: &str) -> Option<PathBuf> {
    let mut target = from.parent()?.to_owned();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                target.pop();
            }
            part => target.push(part),
        }
    }
    Some(target)
}

fn parse(text: &str) -> Page {
    let mut page = Page::default();
    for token in Tokenizer::new(text) {
        let Ok(Token::StartTag(tag)) = token else { continue };
        for (name, value) in &tag.attributes {
            let value = String::from_utf8_lossy(value).into_owned();
            match name.as_slice() {
                b"id" => {
                    page.anchors.insert(value);
                }
                b"href" | b"src" if !value.is_empty() => {
                    page.links.insert(value);
                }
                _ => {}
            }
        }
    }
    page
}

fn html(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("failed to read `{}`", dir.display()))? {
        let path = entry.with_context(|| format!("failed to read `{}`", dir.display()))?.path();
        if path.is_dir() {
            found.extend(html(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "html") {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(pages: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in pages {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn links_that_lead_somewhere_are_counted() {
        let dir = book(&[
            (
                "a.html",
                "<h2 id=x>X</h2><a href='b/c.html#y'>c</a><a href='#x'>x</a><a href='https://x.example/'>x</a><img src=i.svg>",
            ),
            ("b/c.html", "<p id='y'><a href='../a.html'>a</a>"),
            ("i.svg", ""),
        ]);
        let found = check(dir.path()).unwrap();
        assert_eq!((found.pages, found.links), (2, 4));
    }

    #[test]
    fn links_that_lead_nowhere_are_named() {
        for (link, says) in [
            ("b.html", "a.html: `b.html`: there is no `b.html`"),
            ("#z", "`a.html` has no anchor `z`"),
            ("a.html#z", "`a.html` has no anchor `z`"),
            ("../b/", "there is no `b`"),
        ] {
            let dir = book(&[("a.html", &format!("<a href='{link}'>b</a>"))]);
            let wrong = check(dir.path()).err().unwrap().to_string();
            assert!(wrong.contains(says), "{wrong}");
        }
        assert!(check(book(&[]).path()).is_err());
    }
}
