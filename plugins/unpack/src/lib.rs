//! `std:unpack`: unpacks an archive into a tree, and refuses what tries to leave it, to hide in it, or to fill the disk.
//!
//! Everything streams: memory holds the names of the entries and the window of the compressor, whatever the archive's size. In
//! reading order: `compressed` (gzip, zstd and deflate as readers), `tar` and `zip` (the forms of archives), `place` (the rules for
//! names and the tree that is built), and here the plugin.

mod compressed;
mod place;
mod tar;
mod zip;

use std::rc::Rc;

use lockgate_sdk::prelude::*;

use crate::compressed::{Budget, Gunzip, Unzstd};
use crate::place::{Place, Rules};

/// What is unpacked how.
#[config]
#[serde(default)]
pub struct Config {
    /// The archive's form; without it the first bytes tell.
    pub format: Option<Format>,
    /// How many leading directories of each path are taken off, as `tar --strip-components` does.
    pub strip: u32,
    /// A directory that everything in the archive must stand in, and that is taken off.
    pub strip_prefix: String,
    /// Patterns of paths, once stripped, that are unpacked; empty: all.
    pub include: Vec<String>,
    /// Patterns of paths, once stripped, that are left out.
    pub exclude: Vec<String>,
    /// What becomes of symbolic links.
    pub symlinks: Links,
    /// What becomes of devices, pipes and sockets.
    pub special: Special,
    /// Whether paths may differ in upper and lower case alone.
    pub case_twins: bool,
    /// The most entries.
    #[schemars(range(min = 1))]
    pub max_entries: u64,
    /// The most bytes once decompressed.
    pub max_bytes: u64,
    /// The most that the archive may grow by, as a factor; the first 16 MiB are free.
    #[schemars(range(min = 1))]
    pub max_ratio: u64,
    /// The largest window of zstd in bytes; a node needs three times as much memory.
    pub max_window: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: None,
            strip: 0,
            strip_prefix: String::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            symlinks: Links::Keep,
            special: Special::Refuse,
            case_twins: false,
            // What a node may make of entries and bytes by default.
            max_entries: 100_000,
            max_bytes: 4 << 30,
            // Sources shrink by 10, logs by 50; a bomb of deflate by 1,000.
            max_ratio: 200,
            // What all levels of zstd up to 19 use at most.
            max_window: 8 << 20,
        }
    }
}

/// The forms of archives.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A tar archive.
    #[serde(rename = "tar")]
    Tar,
    /// A tar archive, compressed with gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A tar archive, compressed with zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
    /// A zip archive.
    #[serde(rename = "zip")]
    Zip,
}

/// What becomes of symbolic links.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are kept if they stay inside; one that leads out fails the stage.
    Keep,
    /// They are left out.
    Skip,
    /// One fails the stage.
    Refuse,
}

/// What becomes of devices, pipes and sockets.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// They are left out.
    Skip,
    /// One fails the stage.
    Refuse,
}

/// The plugin.
pub struct Unpack;

/// What any archive may grow to, however small it is.
const FREE: u64 = 16 << 20;

impl Stage for Unpack {
    type Config = Config;
    const ABOUT: About = about!("Unpacks an archive into a tree, and refuses what tries to leave it.")
        .inputs(&[Port::blob("archive", "tar, tar.gz, tar.zst or zip")])
        .outputs(&[Port::tree("tree", "what was in it")])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let archive = input("archive")?;
        let rules = Rules::new(&config)?;
        let grown = archive.size.saturating_mul(config.max_ratio).max(FREE);
        let budget = Rc::new(Budget::new(config.max_bytes, grown, config.max_ratio));
        let format = match config.format {
            Some(format) => format,
            None => detect(&archive)?,
        };
        let open = || -> Result<Box<dyn Read>> {
            let reader = archive.blob()?;
            Ok(match format {
                Format::TarGz => Box::new(Gunzip::new(reader, budget.clone())),
                Format::TarZst => Box::new(Unzstd::new(reader, config.max_window, budget.clone())),
                Format::Tar | Format::Zip => Box::new(reader),
            })
        };
        let mut place = Place::new(rules, output("tree").tree()?, budget.clone());
        match format {
            Format::Zip => zip::read(&archive, &mut place)?,
            _ => {
                tar::read(&mut *open()?, &mut place)?;
                if place.begin_links() {
                    // Hard links are files of their own here: a second pass finds their contents.
                    budget.restart();
                    tar::read(&mut *open()?, &mut place)?;
                }
            }
        }
        let (counts, findings) = place.finish()?;
        info!("{counts}");
        Ok(findings)
    }
}

export_stage!(Unpack);

/// Tells the form by the first bytes.
fn detect(archive: &Input) -> Result<Format> {
    let mut head = Vec::new();
    archive.blob()?.take(512).read_to_end(&mut head)?;
    Ok(match head.as_slice() {
        [0x1f, 0x8b, ..] => Format::TarGz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::TarZst,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Format::Zip,
        _ if tar::is_header(&head) => Format::Tar,
        [] => bail!("the archive is empty"),
        [b'B', b'Z', b'h', ..] => bail!("bzip2 is not supported: pack it as tar.gz, tar.zst or zip"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => bail!("xz is not supported: pack it as tar.gz, tar.zst or zip"),
        _ => bail!("this is no archive of a known form: tar, tar.gz, tar.zst or zip"),
    })
}

#[cfg(test)]
mod tests;
