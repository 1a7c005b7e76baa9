//! `std:pack`: packs a tree into one archive, the same bytes each time.
//!
//! Entries come in the tree's order (sorted), with fixed owner, time and mode. Everything streams: memory does not depend on
//! the size of the tree, only on the compressor's level.

mod archive;
mod deflate;
mod matcher;
mod zip;

use archive::{Form, Level, TarArchive};
use lockgate_sdk::prelude::*;
use zip::ZipArchive;

/// How to pack.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// The archive's form.
    pub format: Format,
    /// A directory inside the archive that everything is put into.
    pub prefix: String,
    /// Compression level: 1 to 4 for zstd (3 where it is missing), 1 to 9 for gzip and zip (6).
    pub level: Option<u8>,
}

/// The forms of archives.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A tar archive, compressed with zstd.
    #[default]
    #[serde(rename = "tar.zst")]
    TarZst,
    /// A tar archive, compressed with gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A zip archive, compressed with deflate.
    Zip,
}

/// The plugin.
pub struct Pack;

impl Stage for Pack {
    type Config = Config;
    const ABOUT: About = about!("Packs a tree into one archive, the same bytes each time.")
        .inputs(&[Port::tree("src", "what is packed")])
        .outputs(&[Port::blob("archive", "the archive")])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let prefix = prefix(&config.prefix)?;
        let level = Level::new(config.format, config.level)?;
        let source = input("src")?;
        let (tree, writer) = (source.tree()?, output("archive").blob()?);
        let archive: Box<dyn Form> = match config.format {
            Format::TarZst => Box::new(TarArchive::zstd(writer, level)?),
            Format::TarGz => Box::new(TarArchive::gzip(writer, level)?),
            Format::Zip => Box::new(ZipArchive::new(writer, level)),
        };
        let count = pack(&tree, &prefix, archive)?;
        info!("packed {count} entries, {} bytes of files", source.size);
        Ok(Findings::new())
    }
}

export_stage!(Pack);

/// Checks the prefix; what is returned is empty or ends in `/`.
fn prefix(text: &str) -> Result<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Ok(String::new());
    }
    let plain = text.split('/').all(|part| !matches!(part, "" | "." | "..")) && !text.contains(['\\', '\0']);
    ensure!(plain, "the prefix `{text}` is no path inside an archive: use names joined by `/`");
    Ok(format!("{text}/"))
}

/// Writes all entries and returns how many there were.
fn pack(tree: &Tree, prefix: &str, mut archive: Box<dyn Form>) -> Result<u64> {
    let mut count = 0;
    // The prefix's own directories come first, so that unpacking sets their modes too.
    for (slash, _) in prefix.match_indices('/') {
        archive.directory(&prefix[..slash])?;
    }
    for entry in tree.entries() {
        let path = format!("{prefix}{}", entry.path);
        match &entry.kind {
            EntryKind::Directory => archive.directory(&path),
            EntryKind::Symlink { target } => archive.symlink(&path, target),
            EntryKind::File { executable, size, .. } => {
                archive.file(&path, *executable, *size, &mut tree.open(&entry.path)?)
            }
        }
        .with_context(|| format!("pack `{}`", entry.path))?;
        count += 1;
    }
    archive.finish()?;
    Ok(count)
}

#[cfg(test)]
mod tests;
