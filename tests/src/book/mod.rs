//! The book in `docs/src` as its reader lives it: files are written, commands typed, and what they print compared with what stands there.
//!
//! In reading order: [`page`] takes a page apart, [`compare`] says what may differ between two machines, [`reader`] follows a page.
//!
//! What is done with a fenced block stands behind its language, and is gone in the built book:
//!
//! | block | |
//! |---|---|
//! | `toml file=NAME`, any language | is written to this file in the reader's folder |
//! | `toml check` | has no problem; `schema` and `name` are put before it where they are missing |
//! | `console` | lines after `$ ` are typed into a shell, what stands below is what they print; `# exit 1` behind a command is its exit code |
//! | `console unordered` | likewise, but lines may come in any order |
//! | `console npm=DIR`, `python=DIR:PROGRAM` | what it installs is put there from `target/tools` instead |
//! | `console program=NAME` | what it builds comes from `target/programs` |
//! | `... covered=MODULE::TEST` | another end-to-end test does this |
//! | `... ignore="WHY"` | is not run, and why |
//!
//! A line `...` stands for any lines. A command that ends in `&` is a service: it is started on a free port, and 127.0.0.1 with the port that the page
//! names means that one from there on. `docker-registry serve &` is one, too.

pub mod compare;
pub mod page;
pub mod reader;

pub use page::{Block, Page, Use};
pub use reader::follow;

use std::path::PathBuf;

/// Where the book's pages are.
pub fn sources() -> PathBuf {
    crate::binary::repository().join("docs/src")
}

/// All pages, by their paths below [`sources`].
pub fn pages() -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![sources()]);
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("read {}: {error}", dir.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path.strip_prefix(sources()).expect("below it").to_owned());
            }
        }
    }
    found.sort();
    found
}
