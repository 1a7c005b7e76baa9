//! `std:checksum`: writes `SHA256SUMS` of its inputs, and checks one against them.
//!
//! No byte is read: the engine names every blob and every file of a tree by its sha-256 anyway.

mod sums;

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use sums::Line;

/// The input that is checked instead of listed.
const SUMS: &str = "sums";

/// What is listed how, and what is wrong.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// Names in the list, by input: the file name of a blob, or the folder that the files of a tree are listed under (`""`:
    /// none). Without one a blob has its input's name, and a tree too, unless it is the only input: then it has none.
    pub names: BTreeMap<String, String>,
    /// What a file is that the checked list does not name.
    pub unlisted: Unlisted,
}

/// What a file is that the checked list does not name.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// Nothing.
    Ignore,
    /// A warning.
    #[default]
    Warning,
    /// An error.
    Error,
}

/// The plugin.
pub struct Checksum;

impl Stage for Checksum {
    type Config = Config;
    const ABOUT: About = about!("Writes SHA256SUMS of its inputs, and checks one against them.")
        .inputs(&[Port::blob(SUMS, "a SHA256SUMS to check the other inputs against").optional()])
        .open_inputs(PortKind::Any)
        .outputs(&[Port::blob(SUMS, "SHA256SUMS of the other inputs")])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let inputs = inputs();
        let (lists, sources): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| input.name == SUMS);
        ensure!(!sources.is_empty(), "there is nothing to list: give it an input");
        for name in config.names.keys() {
            ensure!(sources.iter().any(|input| input.name == *name), "`names` speaks of `{name}`, which is no input");
        }
        let found = list(&sources, &config.names)?;
        let mut writer = output(SUMS).blob()?;
        for (name, hex) in &found {
            writeln!(writer, "{}", Line { hex, name })?;
        }
        writer.finish()?;
        info!("{} files", found.len());

        let mut findings = Findings::new();
        if let Some(sums) = lists.first() {
            compare(&sums.read_text()?, &found, config.unlisted, &mut findings);
        }
        match findings.count(Severity::Error) {
            0 => Ok(findings),
            1 => Err(findings.fail("1 file is not as listed")),
            count => Err(findings.fail(format!("{count} files are not as listed"))),
        }
    }
}

export_stage!(Checksum);

/// Names and sha-256 of all files, sorted by name.
fn list(sources: &[Input], names: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for input in sources {
        let chosen = names.get(&input.name).map(String::as_str);
        let mut add = |name: String, digest: &str| -> Result<()> {
            ensure!(!name.is_empty() && !name.contains('\0'), "the input `{}` has no usable name", input.name);
            let hex = digest.strip_prefix("sha256:").with_context(|| format!("`{digest}` is no sha-256"))?;
            if found.insert(name.clone(), hex.to_owned()).is_some() {
                bail!("two files are called `{name}`: set `names`");
            }
            Ok(())
        };
        match input.kind {
            Kind::Blob => add(chosen.unwrap_or(&input.name).to_owned(), &input.digest)?,
            Kind::Tree => {
                let folder = match chosen {
                    Some(folder) => folder.trim_end_matches('/'),
                    None if sources.len() == 1 => "",
                    None => &input.name,
                };
                for entry in input.tree()?.entries() {
                    if let EntryKind::File { digest, .. } = &entry.kind {
                        let slash = if folder.is_empty() { "" } else { "/" };
                        add(format!("{folder}{slash}{}", entry.path), digest)?;
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Compares a list with what is there.
fn compare(text: &str, found: &BTreeMap<String, String>, unlisted: Unlisted, findings: &mut Findings) {
    let mut listed = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("line {} of the list", number + 1);
        match Line::parse(line) {
            None => findings.push(Finding::error(format!("{place} is no line of SHA256SUMS")).rule("format")),
            Some((hex, name)) => {
                let finding = match found.get(&name) {
                    None => Some(Finding::error(format!("{place} names a file that is not there")).rule("missing")),
                    Some(is) if *is != hex => {
                        Some(Finding::error(format!("sha-256 is {is}, {place} has {hex}")).rule("mismatch"))
                    }
                    Some(_) => None,
                };
                findings.extend(finding.map(|finding| finding.path(&name)));
                listed.insert(name, ());
            }
        }
    }
    let severity = match unlisted {
        Unlisted::Ignore => return,
        Unlisted::Warning => Severity::Warning,
        Unlisted::Error => Severity::Error,
    };
    for name in found.keys().filter(|name| !listed.contains_key(*name)) {
        findings.push(Finding::new(severity, "the list does not name this file").rule("unlisted").path(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::testing::{self, Harness, Item};

    /// Of `abc` (FIPS 180-2, appendix B.1) and of nothing.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn tree() -> Harness {
        Harness::new().tree("src", [("b/c", Item::file("abc")), ("a", Item::program("")), ("l", Item::symlink("a"))])
    }

    #[test]
    fn the_schema_file_is_what_the_config_derives() {
        testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
    }

    #[test]
    fn a_tree_alone_is_listed_by_its_paths() {
        let outcome = tree().run::<Checksum>("{}");
        assert!(outcome.ok().is_empty());
        assert_eq!(outcome.text("sums"), format!("{NOTHING}  a\n{ABC}  b/c\n"));
    }

    #[test]
    fn several_inputs_have_their_names() {
        let outcome = tree().blob("archive", "abc").run::<Checksum>(r#"{"names": {"archive": "x-1.0.zip"}}"#);
        assert_eq!(outcome.text("sums"), format!("{NOTHING}  src/a\n{ABC}  src/b/c\n{ABC}  x-1.0.zip\n"));
        let outcome = tree().blob("a", "abc").run::<Checksum>(r#"{"names": {"src": ""}}"#);
        assert_eq!(outcome.failure(), "two files are called `a`: set `names`");
        let outcome = tree().run::<Checksum>(r#"{"names": {"other": "x"}}"#);
        assert!(outcome.failure().contains("`other`"));
        assert!(Harness::new().run::<Checksum>("{}").failure().contains("nothing to list"));
    }

    #[test]
    fn a_right_list_passes() {
        let sums = tree().run::<Checksum>("{}");
        let outcome = tree().blob("sums", sums.blob("sums")).run::<Checksum>("{}");
        assert!(outcome.ok().is_empty());
        let star = format!("{} *a\r\n\n{ABC}  b/c\n", NOTHING.to_uppercase());
        assert!(tree().blob("sums", star).run::<Checksum>("{}").ok().is_empty());
    }

    #[test]
    fn every_difference_is_a_finding() {
        let sums = format!("{ABC}  a\n{ABC}  gone\nnonsense\n");
        let outcome = tree().blob("sums", &sums).run::<Checksum>("{}");
        assert_eq!(outcome.failure(), "3 files are not as listed");
        let findings: Vec<_> = outcome.findings().iter().map(ToString::to_string).collect();
        assert_eq!(
            findings,
            [
                format!("error: a: sha-256 is {NOTHING}, line 1 of the list has {ABC} [mismatch]"),
                "error: gone: line 2 of the list names a file that is not there [missing]".to_owned(),
                "error: line 3 of the list is no line of SHA256SUMS [format]".to_owned(),
                "warning: b/c: the list does not name this file [unlisted]".to_owned(),
            ]
        );
        let list = format!("{NOTHING}  a\n");
        let strict = tree().blob("sums", &list).run::<Checksum>(r#"{"unlisted": "error"}"#);
        assert_eq!(strict.failure(), "1 file is not as listed");
        assert!(tree().blob("sums", &list).run::<Checksum>(r#"{"unlisted": "ignore"}"#).ok().is_empty());
    }
}
