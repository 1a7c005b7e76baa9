//! Archives by other writers are read as they were meant; archives that mean harm end in a message.

use std::io::{Cursor, Write};

use ::tar::{EntryType, Header};
use ::zip::write::{SimpleFileOptions, ZipWriter};
use flate2::Compression;
use flate2::write::GzEncoder;
use lockgate_sdk::testing::{self, Harness, Item, Outcome};

use super::*;

#[test]
fn the_schema_file_is_what_the_config_derives() {
    testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
}

fn unpack(archive: &[u8], config: &str) -> Outcome<Findings> {
    Harness::new().blob("archive", archive).run::<Unpack>(config)
}

/// A tar archive of entries: kind, path, link, content.
fn tar(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, path, link, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(if path.ends_with(".sh") { 0o755 } else { 0o644 });
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn files(entries: &[(&str, &str)]) -> Vec<u8> {
    tar(&entries.iter().map(|(path, text)| (EntryType::Regular, *path, "", text.as_bytes())).collect::<Vec<_>>())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in entries {
        let mode = if path.ends_with(".sh") { 0o755 } else { 0o644 };
        match path.strip_suffix('/') {
            Some(directory) => writer.add_directory(directory, SimpleFileOptions::default()).unwrap(),
            None => {
                writer.start_file(*path, SimpleFileOptions::default().unix_permissions(mode)).unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

fn zip_with_link(target: &str) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("a/link", target, SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap().into_inner()
}

/// One frame of zstd with a raw block, whose header asks for a window of `1 << window`.
fn zstd(window: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3];
    let mut blocks = content.chunks(100_000).peekable();
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(block);
    }
    bytes
}

#[track_caller]
fn refused(archive: &[u8], config: &str, message: &str) {
    let outcome = unpack(archive, config);
    assert!(outcome.failure().contains(message), "{}", outcome.failure());
    assert!(outcome.outputs.is_empty(), "what failed leaves no tree");
}

/// Makes all four forms of the same files and gives them to a check.
fn in_every_form(entries: &[(&str, &str)], check: impl Fn(&[u8])) {
    let plain = files(entries);
    check(&plain);
    check(&gzip(&plain));
    check(&zstd(20, &plain));
    check(&zip(&entries.iter().map(|(path, text)| (*path, text.as_bytes())).collect::<Vec<_>>()));
}

#[test]
fn every_form_is_unpacked() {
    let long = "x".repeat(300_000);
    in_every_form(&[("a/one.txt", "1"), ("a/run.sh", "#!"), ("ü/long", &long), ("empty", "")], |archive| {
        let outcome = unpack(archive, "{}");
        assert!(outcome.ok().is_empty());
        let tree = outcome.tree("tree");
        assert_eq!(tree.keys().collect::<Vec<_>>(), ["a", "a/one.txt", "a/run.sh", "empty", "ü", "ü/long"]);
        assert_eq!(tree["a/run.sh"], Item::program("#!"));
        assert_eq!(tree["ü/long"], Item::file(&long));
        assert!(outcome.log[0].1.starts_with("4 files of 300003 bytes"), "{:?}", outcome.log);
    });
}

#[test]
fn directories_links_and_hard_links_are_kept() {
    let archive = tar(&[
        (EntryType::Directory, "./", "", b""),
        (EntryType::Directory, "./void/", "", b""),
        (EntryType::Regular, "./bin/real.sh", "", b"#!/bin/sh\n"),
        (EntryType::Link, "copy", "./bin/real.sh", b""),
        (EntryType::Link, "copy-of-copy", "copy", b""),
        (EntryType::Symlink, "deep/er/link", "../../bin/real.sh", b""),
        (EntryType::Symlink, "dangling", "nowhere", b""),
    ]);
    for archive in [archive.clone(), gzip(&archive)] {
        let outcome = unpack(&archive, "{}");
        outcome.ok();
        let tree = outcome.tree("tree");
        assert_eq!(tree["void"], Item::Directory);
        assert_eq!(tree["copy"], Item::program("#!/bin/sh\n"));
        assert_eq!(tree["copy-of-copy"], tree["copy"]);
        assert_eq!(tree["deep/er/link"], Item::symlink("../../bin/real.sh"));
        // What a hard link leads to need not be unpacked itself.
        let outcome = unpack(&archive, r#"{"include": ["copy-*"]}"#);
        assert_eq!(outcome.tree("tree").keys().collect::<Vec<_>>(), ["copy-of-copy"]);
        assert_eq!(outcome.tree("tree")["copy-of-copy"], Item::program("#!/bin/sh\n"));
    }
    let outcome = unpack(&zip_with_link("../b"), "{}");
    assert_eq!(outcome.tree("tree")["a/link"], Item::symlink("../b"));
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let long = format!("{}/end", "directory/".repeat(20).trim_end_matches('/'));
    let pax = |text: &str| {
        let with = |length: usize| format!("{length} {text}\n");
        let length = (1..999).find(|length| with(*length).len() == *length).unwrap();
        with(length)
    };
    let gnu = tar(&[
        (EntryType::GNULongName, "././@LongLink", "", format!("{long}\0").as_bytes()),
        (EntryType::Regular, "short", "", b"gnu"),
    ]);
    let attributes = pax(&format!("path={long}")) + &pax("mtime=1.5") + &pax("size=3");
    let posix = tar(&[
        (EntryType::XGlobalHeader, "g", "", pax("comment=0123").as_bytes()),
        (EntryType::XHeader, "x", "", attributes.as_bytes()),
        (EntryType::Regular, "short", "", b"pax"),
    ]);
    assert_eq!(unpack(&gnu, "{}").tree("tree")[&long], Item::file("gnu"));
    assert_eq!(unpack(&posix, "{}").tree("tree")[&long], Item::file("pax"));
    // The size of the attributes counts, for every reader alike: the header's would show an entry that others do not see.
    let hidden = tar(&[
        (EntryType::XHeader, "x", "", pax("size=1024").as_bytes()),
        (EntryType::Regular, "outer", "", b""),
        (EntryType::Regular, "inner", "", b"x"),
    ]);
    assert_eq!(unpack(&hidden, "{}").tree("tree").keys().collect::<Vec<_>>(), ["outer"]);
    let all = tar(&[(EntryType::XGlobalHeader, "g", "", pax("path=x").as_bytes())]);
    refused(&all, "{}", "sets a path or a size for all of its entries");
    refused(&tar(&[(EntryType::XHeader, "x", "", b"9 path")]), "{}", "pax attributes that cannot be read");
    refused(&tar(&[(EntryType::GNULongName, "x", "", &[b'a'; 70_000])]), "{}", "70000 bytes stand in front");
}

#[test]
fn paths_are_stripped_and_chosen() {
    let entries = [("top/a/x.rs", "1"), ("top/a/y.md", "2"), ("top/b/z.rs", "3")];
    in_every_form(&entries, |archive| {
        let names = |config: &str| {
            let outcome = unpack(archive, config);
            outcome.ok();
            outcome
                .tree("tree")
                .iter()
                .filter(|(_, item)| **item != Item::Directory)
                .map(|(path, _)| path.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(r#"{"strip": 1}"#), ["a/x.rs", "a/y.md", "b/z.rs"]);
        assert_eq!(names(r#"{"strip_prefix": "top/", "exclude": ["**/*.md"]}"#), ["a/x.rs", "b/z.rs"]);
        assert_eq!(names(r#"{"strip": 2, "include": ["*.rs"]}"#), ["x.rs", "z.rs"]);
        refused(archive, r#"{"strip": 3}"#, "it has no 3 directories to strip");
        refused(archive, r#"{"strip_prefix": "top/a"}"#, "it is not in `top/a`, which is stripped");
        refused(archive, r#"{"strip_prefix": "top", "strip": 1}"#, "use one of them");
    });
}

#[test]
fn paths_that_leave_the_tree_are_refused() {
    for (path, message) in [
        ("../up", "it holds `..`"),
        ("a/../../up", "it holds `..`"),
        ("/etc/passwd", "it is absolute"),
        ("a\nb", "a line break"),
    ] {
        refused(&files(&[("fine", ""), (path, "x")]), "{}", message);
        // The crate that writes zips makes such names harmless: the same bytes, put there.
        let place = "y".repeat(path.len());
        let zip = replaced(&zip(&[("fine", b""), (&place, b"x")]), place.as_bytes(), path.as_bytes());
        refused(&zip, "{}", message);
    }
    refused(&files(&[(&"d/".repeat(48).repeat(3)[..99], "x")]), r#"{"max_entries": 0}"#, "more than 0 entries");
    refused(&zip(&[("a\\b", b"")]), "{}", "holds a backslash");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        at += 1;
    }
    bytes
}

#[test]
fn links_that_lead_out_are_refused() {
    let link = |path, target| tar(&[(EntryType::Symlink, path, target, b"")]);
    for (path, target, message) in [
        ("a", "/etc/passwd", "which is absolute"),
        ("a", "..", "out of the tree"),
        ("a/b", "../../x", "out of the tree"),
        ("a", "", "leads nowhere"),
        ("a", "b\\c", "which is no path"),
    ] {
        refused(&link(path, target), "{}", message);
    }
    refused(&zip_with_link("../../x"), "{}", "out of the tree");
    let together = tar(&[(EntryType::Symlink, "a/up", "..", b""), (EntryType::Symlink, "out", "a/up/..", b"")]);
    refused(&together, "{}", "out of the tree by way of other links");
    let circle = tar(&[(EntryType::Symlink, "a", "b", b""), (EntryType::Symlink, "b", "a", b"")]);
    assert_eq!(unpack(&circle, "{}").tree("tree").len(), 2, "a circle leads nowhere");
    let through = tar(&[(EntryType::Symlink, "a", "b", b""), (EntryType::Regular, "a/x", "", b"1")]);
    refused(&through, "{}", "nothing is written through links");
    refused(&tar(&[(EntryType::Link, "a", "../x", b"")]), "{}", "it holds `..`");
    refused(&tar(&[(EntryType::Link, "a", "later", b"")]), "{}", "which is no file before it");
    refused(&link("a", "b"), r#"{"symlinks": "refuse"}"#, "`symlinks` permits none");
    assert!(unpack(&link("a", "/b"), r#"{"symlinks": "skip"}"#).tree("tree").is_empty());
}

#[test]
fn entries_that_are_there_twice_are_refused() {
    refused(&files(&[("a", "1"), ("./a", "2")]), "{}", "it is in the archive twice");
    refused(&files(&[("x/a", "1"), ("y/a", "2")]), r#"{"strip": 1}"#, "another entry unpacks to `a` too");
    refused(&files(&[("a", "1"), ("a/b", "2")]), "{}", "`a` is a file, and cannot hold it");
    refused(&files(&[("a/b", "1"), ("a", "2")]), "{}", "another entry unpacks to `a` too");
    let twins = files(&[("Read/me", "1"), ("read/ME", "2")]);
    refused(&twins, "{}", "`read` and `Read` differ in upper and lower case alone");
    assert_eq!(unpack(&twins, r#"{"case_twins": true}"#).tree("tree").len(), 4);
    refused(&zip(&[("Ü", b""), ("ü", b"")]), "{}", "differ in upper and lower case alone");
}

#[test]
fn bombs_are_stopped() {
    let zeros = vec![0; 40 << 20];
    let bomb = files(&[("a", ""), ("zeros", &String::from_utf8(zeros.clone()).unwrap())]);
    refused(&gzip(&bomb), "{}", "more than 200 times its size");
    refused(&gzip(&bomb), r#"{"max_bytes": 1000000}"#, "more than 1000000 bytes");
    assert!(unpack(&gzip(&bomb), r#"{"max_ratio": 2000}"#).result.is_ok());
    refused(&zip(&[("zeros", &zeros)]), "{}", "more than 200 times its size");
    let many: Vec<(String, String)> = (0..50).map(|n| (format!("f{n}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    in_every_form(&many, |archive| refused(archive, r#"{"max_entries": 49}"#, "more than 49 entries"));
    let mut links = vec![(EntryType::Regular, "a", "", &[0; 1000][..])];
    let names: Vec<String> = (0..40).map(|n| format!("l{n}")).collect();
    links.extend(names.iter().map(|name| (EntryType::Link, name.as_str(), "a", &b""[..])));
    refused(&tar(&links), "{}", "more than 32 hard links");
    refused(&tar(&links[..20]), r#"{"max_bytes": 10000}"#, "more than 10000 bytes");
    refused(&zstd(24, &files(&[("a", "1")])), "{}", "asks for a window of 16777216 bytes");
    assert!(unpack(&zstd(24, &files(&[("a", "1")])), r#"{"max_window": 16777216}"#).result.is_ok());
}

#[test]
fn special_files_are_refused_or_left_out() {
    let pipe = tar(&[(EntryType::Fifo, "a/pipe", "", b""), (EntryType::Regular, "b", "", b"1")]);
    refused(&pipe, "{}", "it is a device, a pipe or a socket");
    let outcome = unpack(&pipe, r#"{"special": "skip"}"#);
    assert_eq!(
        outcome.ok().as_slice()[0].to_string(),
        "warning: a/pipe: a device, a pipe or a socket was left out [special]"
    );
    assert_eq!(outcome.tree("tree").keys().collect::<Vec<_>>(), ["b"]);
    refused(&tar(&[(EntryType::GNUSparse, "a", "", b"")]), "{}", "sparse file");
    refused(&tar(&[(EntryType::new(b'Q'), "a", "", b"")]), "{}", "of the kind `Q`");
    refused(&tar(&[(EntryType::Directory, "a", "", b"hidden")]), "{}", "is no file and has a content of 6 bytes");
}

/// Whatever is cut off or altered is an error with a message or a tree, and never a panic.
#[test]
fn damaged_archives_end_in_a_message() {
    in_every_form(&[("a/one.txt", "some content"), ("b.sh", "another content")], |archive| {
        for length in 0..archive.len() {
            // tar's end may be missing: only what is in the middle of an entry is cut off.
            if let Err(error) = unpack(&archive[..length], "{}").result {
                assert!(!error.message().is_empty());
            }
        }
        let (mut refused, all) = (0, archive.len());
        for at in 0..all {
            let mut altered = archive.to_vec();
            altered[at] ^= 0x55;
            refused += usize::from(unpack(&altered, "{}").result.is_err());
        }
        assert!(refused > all / 20, "{refused} of {all}");
    });
    let archive = gzip(&files(&[("a", "some content")]));
    for length in 1..archive.len() {
        assert!(unpack(&archive[..length], "{}").result.is_err(), "{length}");
    }
    let mut wrong = archive.clone();
    *wrong.last_mut().unwrap() ^= 1;
    refused(&wrong, "{}", "the checksum of the gzip file is another");
    refused(&[archive, vec![0; 100], vec![1]].concat(), "{}", "something stands behind the end");
    refused(&[files(&[("a", "1")]), vec![1; 512]].concat(), "{}", "something stands behind the end");
    refused(b"", "{}", "the archive is empty");
    refused(b"BZh9", "{}", "bzip2 is not supported");
    refused(b"what is this", "{}", "no archive of a known form");
}

#[test]
fn several_members_and_frames_are_one_archive() {
    let plain = files(&[("a", "1"), ("b", "2")]);
    let (one, two) = plain.split_at(700);
    let both = [gzip(one), gzip(two)].concat();
    assert_eq!(unpack(&both, "{}").tree("tree").len(), 2);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let both = [skippable, zstd(17, one), zstd(17, two)].concat();
    assert_eq!(unpack(&both, "{}").tree("tree").len(), 2);
}

#[test]
fn zips_that_say_two_things_are_refused() {
    let archive = zip(&[("aa", b"some content"), ("bb", b"more content")]);
    let directory = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let altered = |at: usize, bytes: &[u8]| {
        let mut archive = archive.clone();
        archive[at..at + bytes.len()].copy_from_slice(bytes);
        archive
    };
    let second = directory + 1 + archive[directory + 1..].windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    refused(&altered(directory + 46, b"zz"), "{}", "has another name before its content");
    refused(&altered(second + 42, &[0; 4]), "{}", "overlaps the entry before it");
    refused(&altered(directory + 24, &[200, 0, 0, 0]), "{}", "has other sizes before its content");
    refused(&altered(directory + 8, &[1]), "{}", "has other sizes");
    let prefixed = [b"#!/bin/sh\n".to_vec(), archive.clone()].concat();
    refused(&prefixed, r#"{"format": "zip"}"#, "something stands in front of it");
    refused(&[archive.clone(), vec![0]].concat(), "{}", "no zip directory at its end");
    // Sizes that lie in both places.
    let local = altered(directory + 24, &[3, 0, 0, 0]);
    let mut lies = local;
    lies[22..26].copy_from_slice(&[3, 0, 0, 0]);
    refused(&lies, "{}", "its content is longer than the directory says");
}
