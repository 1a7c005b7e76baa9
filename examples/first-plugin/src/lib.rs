//! A first plugin: a stage that finds source files which do not begin with a given header.

use lockgate_sdk::prelude::*;

/// What is asked for.
#[config]
pub struct Config {
    /// What the first line of each file contains.
    header: String,
    /// How the names of the files end, such as `.rs`.
    ending: String,
}

/// The plugin.
pub struct Header;

impl Stage for Header {
    type Config = Config;
    const ABOUT: About = about!("Finds source files without a header.").inputs(&[Port::tree("src", "where to look")]);

    fn run(config: Config) -> Result<Findings> {
        let (tree, mut findings) = (input("src")?.tree()?, Findings::new());
        for file in tree.files().filter(|file| file.path.ends_with(&config.ending)) {
            let text = tree.read_text(&file.path)?;
            if !text.lines().next().unwrap_or_default().contains(&config.header) {
                findings.push(Finding::error(format!("the first line lacks `{}`", config.header)).at(&file.path, 1));
            }
        }
        if findings.is_empty() { Ok(findings) } else { Err(findings.fail("there are files without the header")) }
    }
}

export_stage!(Header);

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::testing::Harness;

    #[test]
    fn files_without_the_header_are_found() {
        let files = [("a.rs", "//! Fine.\n"), ("b/c.rs", "fn main() {}\n"), ("d.txt", "")];
        let outcome = Harness::new().tree("src", files).run::<Header>(r#"{"header": "//!", "ending": ".rs"}"#);
        assert_eq!(outcome.failure(), "there are files without the header");
        let places: Vec<_> = outcome.findings().iter().map(ToString::to_string).collect();
        assert_eq!(places, ["error: b/c.rs:1: the first line lacks `//!`"]);
    }
}
