//! A page of the book, taken apart: its fenced blocks, and what is to be done with each.

use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

/// Languages in which nothing may stand that nobody says how to test.
const TESTED: [&str; 7] = ["console", "sh", "bash", "shell", "toml", "yaml", "yml"];

/// A page.
#[derive(Debug)]
pub struct Page {
    /// Its path, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its fenced blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The first word after the fence.
    pub language: String,
    /// What is done with it.
    pub what: Use,
    /// Where its content is in the page's text.
    pub content: Range<usize>,
    /// The line of its fence, from 1.
    pub line: usize,
}

/// What is done with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// Nothing: it is shown, and no test could tell more.
    Show,
    /// Written to this file.
    File(String),
    /// A pipeline that has no problem.
    Check,
    /// Commands and what they print.
    Console {
        /// Lines may come in any order.
        unordered: bool,
    },
    /// Installs npm's packages in this folder.
    Npm(String),
    /// Installs this program of PyPI in the virtual environment of this folder.
    Python(String, String),
    /// Gets this WASI program of `cargo xtask programs`.
    Program(String),
    /// This test does what it shows.
    Covered(String),
    /// Not run, for this reason.
    Ignored(String),
}

impl Page {
    /// Takes a page apart.
    ///
    /// # Errors
    /// Says which blocks nobody could follow, and why.
    pub fn parse(name: &Path, text: String) -> Result<Self, String> {
        let name = name.display().to_string();
        let (mut blocks, mut wrong) = (Vec::new(), Vec::new());
        for (event, range) in Parser::new(&text).into_offset_iter() {
            let Event::Start(Tag::CodeBlock(kind)) = event else { continue };
            let line = text[..range.start].matches('\n').count() + 1;
            let CodeBlockKind::Fenced(info) = kind else {
                wrong.push(format!("{name}:{line}: an indented block; use a fence, which says what it is"));
                continue;
            };
            let (language, rest) = info.split_once(' ').unwrap_or((&info, ""));
            match what(language, rest) {
                Ok(what) => {
                    let content = content(&text, &range);
                    blocks.push(Block { language: language.to_owned(), what, content, line });
                }
                Err(why) => wrong.push(format!("{name}:{line}: {why}")),
            }
        }
        if wrong.is_empty() { Ok(Self { name, text, blocks }) } else { Err(wrong.join("\n")) }
    }

    /// Whether somebody has to follow it.
    pub fn says_what_to_do(&self) -> bool {
        let idle = |what: &Use| matches!(what, Use::Show | Use::Covered(_) | Use::Ignored(_));
        self.blocks.iter().any(|block| !idle(&block.what))
    }

    /// The text of a block.
    pub fn content(&self, block: &Block) -> &str {
        &self.text[block.content.clone()]
    }
}

/// What lies between the two fences, each a line of its own.
fn content(text: &str, block: &Range<usize>) -> Range<usize> {
    let whole = &text[block.clone()];
    let start = whole.find('\n').map_or(whole.len(), |at| at + 1);
    let end = whole.trim_end().rfind('\n').map_or(start, |at| at + 1);
    block.start + start..block.start + end.max(start)
}

/// What the words behind a language mean.
fn what(language: &str, rest: &str) -> Result<Use, String> {
    let words = words(rest)?;
    let (mut found, mut unordered) = (None, false);
    for (key, value) in words {
        let one = match (key.as_str(), value) {
            ("unordered", None) if language == "console" => {
                unordered = true;
                continue;
            }
            ("check", None) if language == "toml" => Use::Check,
            ("file", Some(name)) => Use::File(name),
            ("npm", Some(folder)) if language == "console" => Use::Npm(folder),
            ("python", Some(value)) if language == "console" => match value.split_once(':') {
                Some((folder, program)) => Use::Python(folder.to_owned(), program.to_owned()),
                None => return Err("`python` needs FOLDER:PROGRAM".to_owned()),
            },
            ("program", Some(name)) if language == "console" => Use::Program(name),
            ("covered", Some(test)) => Use::Covered(test),
            ("ignore", Some(why)) if why.len() > 10 => Use::Ignored(why),
            ("ignore", _) => return Err("`ignore` needs a reason: ignore=\"...\"".to_owned()),
            (key, _) => return Err(format!("nobody knows what `{key}` behind `{language}` means")),
        };
        if found.replace(one).is_some() {
            return Err("one thing at a time can be done with a block".to_owned());
        }
    }
    match (language, found) {
        (_, Some(what)) => Ok(what),
        ("console", None) => Ok(Use::Console { unordered }),
        ("", None) => Err("a fence without a language; `text` if it is none".to_owned()),
        (language, None) if TESTED.contains(&language) => Err(format!(
            "nobody says how this `{language}` is tested: `console` with `$ `, `toml file=NAME`, `toml check`, or `ignore=\"why\"`"
        )),
        (_, None) => Ok(Use::Show),
    }
}

/// Words with values: `a b=c d="e f"`.
fn words(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let (mut found, mut rest) = (Vec::new(), text.trim_start());
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        let mut value = None;
        rest = &rest[end..];
        if let Some(after) = rest.strip_prefix("=\"") {
            let (text, behind) = after.split_once('"').ok_or_else(|| format!("the text of `{key}` does not end"))?;
            (value, rest) = (Some(text.to_owned()), behind);
        } else if let Some(after) = rest.strip_prefix('=') {
            let end = after.find(' ').unwrap_or(after.len());
            (value, rest) = (Some(after[..end].to_owned()), &after[end..]);
        }
        found.push((key, value));
        rest = rest.trim_start();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Page, String> {
        Page::parse(Path::new("page.md"), text.to_owned())
    }

    #[test]
    fn blocks_say_what_is_done_with_them() {
        let page = parse(
            "# A\n\n```toml file=a.toml\nx = 1\n```\n\n- b\n\n  ```toml check\n  y = 1\n  ```\n\n```console unordered\n$ ls\n```\n\
             ```yaml ignore=\"a machine of others\"\n```\n```console python=a:go\n$ b\n```\n```rust\nfn a() {}\n```\n",
        )
        .unwrap();
        let uses: Vec<_> = page.blocks.iter().map(|block| block.what.clone()).collect();
        let expected = [
            Use::File("a.toml".into()),
            Use::Check,
            Use::Console { unordered: true },
            Use::Ignored("a machine of others".into()),
            Use::Python("a".into(), "go".into()),
            Use::Show,
        ];
        assert_eq!(uses, expected);
        assert_eq!(page.content(&page.blocks[0]), "x = 1\n");
        assert_eq!(page.content(&page.blocks[3]), "");
        assert_eq!((page.blocks[0].line, page.blocks[1].line), (3, 9));
    }

    #[test]
    fn what_nobody_could_follow_is_named() {
        for (text, says) in [
            ("```toml\nx = 1\n```\n", "page.md:1: nobody says how this `toml` is tested"),
            ("a\n\n```sh\nls\n```\n", "page.md:3: nobody says how this `sh` is tested"),
            ("```\nls\n```\n", "a fence without a language"),
            ("a\n\n    $ ls\n", "page.md:3: an indented block"),
            ("```sh ignore\nls\n```\n", "`ignore` needs a reason"),
            ("```toml chekc\n```\n", "nobody knows what `chekc`"),
            ("```toml check file=a\n```\n", "one thing at a time"),
            ("```sh ignore=\"a\n```\n", "does not end"),
        ] {
            let wrong = parse(text).unwrap_err();
            assert!(wrong.contains(says), "{wrong}");
        }
    }
}
