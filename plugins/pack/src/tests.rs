//! Archives are read back by other readers of the same formats, and are the same bytes each time.

use std::io::{Cursor, Read};

use super::*;
use lockgate_sdk::testing::{self, Harness, Item};

/// Name, mode, content (or target) of an entry.
type Entry = (String, u32, Vec<u8>);

fn long(part: &str) -> String {
    format!("{}/end", vec![part; 30].join("/"))
}

fn harness() -> Harness {
    let text: String = (0..40_000).map(|n| format!("line {} of a text\n", n % 977)).collect();
    Harness::new().tree(
        "src",
        [
            ("a/run.sh".to_owned(), Item::program("#!/bin/sh\n")),
            ("a/text".to_owned(), Item::file(text)),
            ("a/noise".to_owned(), Item::file(noise(0, 700_000))),
            ("empty".to_owned(), Item::file("")),
            ("link".to_owned(), Item::symlink("a/text")),
            ("void".to_owned(), Item::Directory),
            ("ü/ß".to_owned(), Item::file("ä")),
            (long("deeper"), Item::symlink(long("target"))),
            (format!("{:0>100}", "x"), Item::file("a name as long as the field")),
        ],
    )
}

/// Bytes that do not compress (xorshift).
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn archive(config: &str) -> Vec<u8> {
    let outcome = harness().run::<Pack>(config);
    outcome.ok();
    outcome.blob("archive").to_vec()
}

fn untar(bytes: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
        let mode = header.mode().unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = entry.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default();
        entry.read_to_end(&mut content).unwrap();
        (name, mode, content)
    });
    entries.collect()
}

fn unzip(bytes: &[u8]) -> Vec<Entry> {
    let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let entries = (0..archive.len()).map(|index| {
        let mut entry = archive.by_index(index).unwrap();
        assert_eq!(entry.last_modified().unwrap().to_string(), "1980-01-01 00:00:00");
        let (name, mode) = (entry.name().unwrap().into_owned(), entry.unix_mode().unwrap() & 0o777);
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, mode, content)
    });
    entries.collect()
}

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(bytes).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn expected(prefix: &str) -> Vec<Entry> {
    let Testing { items } = Testing::of(harness());
    let mut entries: Vec<Entry> =
        prefix.match_indices('/').map(|(at, _)| (prefix[..=at].to_owned(), 0o755, vec![])).collect();
    entries.extend(items.into_iter().map(|(path, item)| match item {
        Item::Directory => (format!("{prefix}{path}/"), 0o755, vec![]),
        Item::Symlink { target } => (format!("{prefix}{path}"), 0o777, target.into_bytes()),
        Item::File { executable, bytes } => {
            (format!("{prefix}{path}"), if executable { 0o755 } else { 0o644 }, bytes.to_vec())
        }
    }));
    entries
}

/// The items of a harness's tree, by a stage that hands them on.
struct Testing {
    items: std::collections::BTreeMap<String, Item>,
}

impl Testing {
    fn of(harness: Harness) -> Self {
        struct Forward;
        impl Stage for Forward {
            type Config = ();
            const ABOUT: About = about!("Hands its input on.");
            fn run((): ()) -> Result<Findings> {
                output("out").forward(&input("src")?)?;
                Ok(Findings::new())
            }
        }
        Self { items: harness.run::<Forward>("{}").tree("out").clone() }
    }
}

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

#[test]
fn other_readers_find_in_an_archive_what_was_put_in() {
    for level in 1..=4 {
        let bytes = archive(&format!(r#"{{"level": {level}}}"#));
        assert!(untar(&unzstd(&bytes)) == expected(""), "zstd, level {level}");
    }
    let bytes = archive(r#"{"format": "tar.gz"}"#);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut tar).unwrap();
    assert!(untar(&tar) == expected(""));
    assert!(unzip(&archive(r#"{"format": "zip", "level": 1}"#)) == expected(""));
}

#[test]
fn a_prefix_is_a_directory_around_everything() {
    assert!(untar(&unzstd(&archive(r#"{"prefix": "x-1.0/y"}"#))) == expected("x-1.0/y/"));
    assert!(unzip(&archive(r#"{"format": "zip", "prefix": "x-1.0/"}"#)) == expected("x-1.0/"));
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    for format in ["tar.zst", "tar.gz", "zip"] {
        let config = format!(r#"{{"format": "{format}"}}"#);
        assert!(archive(&config) == archive(&config), "{format}");
    }
}

#[test]
fn repetitions_are_found_across_blocks_and_windows() {
    // At level 1 the window is 512 KiB: `b` is within it, the second `a` is not.
    let (once, other) = (noise(1, 400_000), noise(2, 1_500_000));
    let tree = [("a", once.clone()), ("b", once.clone()), ("c", other), ("d", once)];
    let outcome = Harness::new().tree("src", tree.clone()).run::<Pack>(r#"{"level": 1}"#);
    let packed = outcome.blob("archive");
    assert!((2_300_000..2_320_000).contains(&packed.len()), "{}", packed.len());
    let entries = untar(&unzstd(packed));
    assert!(entries.iter().zip(&tree).all(|((_, _, content), (_, bytes))| content == bytes));
}

#[test]
fn a_zip_may_have_more_entries_than_its_first_form_could_count() {
    let tree = (0..66_000).map(|n| (format!("{n:05}"), Item::file(if n % 1000 == 0 { "x" } else { "" })));
    let outcome = Harness::new().tree("src", tree).run::<Pack>(r#"{"format": "zip", "level": 1}"#);
    let mut archive = ::zip::ZipArchive::new(Cursor::new(outcome.blob("archive"))).unwrap();
    assert_eq!(archive.len(), 66_000);
    let mut content = String::new();
    archive.by_name("65000").unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "x");
}

#[test]
fn levels_and_prefixes_are_checked() {
    let failure = |config: &str| harness().run::<Pack>(config).failure().to_owned();
    assert_eq!(failure(r#"{"level": 5}"#), "there is no level 5 for this format: 1 to 4");
    assert_eq!(failure(r#"{"format": "zip", "level": 0}"#), "there is no level 0 for this format: 1 to 9");
    for prefix in ["../x", "/x", "a//b", "a/./b"] {
        assert!(failure(&format!(r#"{{"prefix": "{prefix}"}}"#)).contains("is no path inside an archive"), "{prefix}");
    }
}
