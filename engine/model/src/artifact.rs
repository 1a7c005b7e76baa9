//! Artifacts: immutable blobs and trees, named by their digest.
//!
//! A blob's digest is sha-256 of its bytes. A tree is nested: each directory is an object of its own, whose encoding names its
//! entries sorted by the bytes of their names. Encoding of a directory, version 1, text, one line per entry, each ended by `\n`:
//!
//! ```text
//! f <sha256 hex of the file> <size> <name>      a file, mode 644
//! x <sha256 hex of the file> <size> <name>      a file, mode 755
//! d <tree digest hex> 0 <name>                  a directory
//! l <sha256 hex of the target text> <size> <name>     a symbolic link; its target is a blob
//! ```
//!
//! Names hold no `/`, NUL or line break, and are neither empty nor `.` nor `..`; so the encoding is unambiguous. A directory's
//! digest is the tagged digest of that text under `lockgate-tree-v1`, a tree's is that of its root directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Domain of directory digests.
pub const TREE_DOMAIN: &str = "lockgate-tree-v1";
/// Longest name of one entry in bytes, as common file systems have it.
pub const MAX_ENTRY_NAME: usize = 255;
/// Longest path inside a tree in bytes: Linux's PATH_MAX.
pub const MAX_PATH: usize = 4096;
/// Deepest nesting of directories in a tree.
pub const MAX_DEPTH: usize = 128;

/// Blob or tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// Bytes.
    Blob,
    /// Sorted paths, modes and blobs.
    Tree,
}

impl ArtifactKind {
    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
        }
    }
}

/// Names one artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactRef {
    /// Blob or tree.
    pub kind: ArtifactKind,
    /// Its digest.
    pub digest: Digest,
    /// Bytes of a blob, or of all files of a tree together.
    pub size: u64,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file; its digest names a blob.
    File,
    /// A file with mode 755.
    Executable,
    /// A directory; its digest names another directory object.
    Directory,
    /// A symbolic link; its digest names the blob that holds its target.
    Symlink,
}

impl EntryKind {
    const fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::Executable => 'x',
            Self::Directory => 'd',
            Self::Symlink => 'l',
        }
    }
}

/// One entry of one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without `/`.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Digest of its content; see [`EntryKind`].
    pub digest: Digest,
    /// Bytes of its content; 0 for a directory.
    pub size: u64,
}

/// One directory of a tree: entries sorted by the bytes of their names, no name twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    entries: Vec<DirEntry>,
}

/// What is wrong with a directory's entries or encoding, or with a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A name that no entry may have.
    #[error(
        "use `{0}` as a file name: it is empty, `.`, `..`, longer than 255 bytes, or holds `/`, NUL or a line break"
    )]
    Name(String),
    /// One name twice.
    #[error("put `{0}` into a directory twice")]
    Duplicate(String),
    /// A path that no tree may hold.
    #[error("use `{path}` as a path in a tree: {reason}")]
    Path {
        /// The path, cut to 200 characters.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Bytes that are no encoded directory.
    #[error("read a directory object at line {0}")]
    Encoding(usize),
}

impl Directory {
    /// A directory of these entries, sorted here; names are checked.
    pub fn new(mut entries: Vec<DirEntry>) -> Result<Self, TreeError> {
        entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        if let Some(entry) = entries.iter().find(|entry| !is_entry_name(&entry.name)) {
            return Err(TreeError::Name(cut(&entry.name)));
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(TreeError::Duplicate(cut(&pair[0].name)));
        }
        Ok(Self { entries })
    }

    /// Its entries, sorted.
    pub fn entries(&self) -> &[DirEntry] {
        &self.entries
    }

    /// The encoding that the module's documentation gives.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(self.entries.len() * 100);
        for entry in &self.entries {
            text.push(entry.kind.letter());
            text.push(' ');
            text += &entry.digest.hex();
            text += &format!(" {} {}\n", entry.size, entry.name);
        }
        text
    }

    /// Reads an encoding back. Only the one canonical encoding of a directory is taken.
    pub fn decode(text: &str) -> Result<Self, TreeError> {
        let mut entries = Vec::new();
        for (index, line) in text.split_terminator('\n').enumerate() {
            entries.push(decode_line(line).ok_or(TreeError::Encoding(index + 1))?);
        }
        let directory = Self::new(entries)?;
        if directory.encode() == text { Ok(directory) } else { Err(TreeError::Encoding(0)) }
    }

    /// The digest of the directory, and so of the tree whose root it is.
    pub fn digest(&self) -> Digest {
        Digest::tagged(TREE_DOMAIN, self.encode().as_bytes())
    }
}

fn decode_line(line: &str) -> Option<DirEntry> {
    let mut parts = line.splitn(4, ' ');
    let kind = match parts.next()? {
        "f" => EntryKind::File,
        "x" => EntryKind::Executable,
        "d" => EntryKind::Directory,
        "l" => EntryKind::Symlink,
        _ => return None,
    };
    let digest = format!("sha256:{}", parts.next()?).parse().ok()?;
    let size = parts.next()?.parse().ok()?;
    Some(DirEntry { name: parts.next()?.to_owned(), kind, digest, size })
}

/// Whether a directory's entry may have this name.
pub fn is_entry_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_ENTRY_NAME
        && name != "."
        && name != ".."
        && !name.contains(['/', '\0', '\n', '\r'])
}

/// Checks a path inside a tree: relative, `/` between names, each a valid name, not too long or deep.
pub fn check_path(path: &str) -> Result<(), TreeError> {
    let error = |reason| TreeError::Path { path: cut(path), reason };
    if path.is_empty() {
        return Err(error("it is empty"));
    }
    if path.starts_with('/') {
        return Err(error("it is absolute"));
    }
    if path.len() > MAX_PATH {
        return Err(error("it is longer than 4096 bytes"));
    }
    if path.split('/').count() > MAX_DEPTH {
        return Err(error("it is nested deeper than 128 directories"));
    }
    if path.split('/').any(|name| name == "..") {
        return Err(error("it holds `..`"));
    }
    match path.split('/').all(is_entry_name) {
        true => Ok(()),
        false => Err(error("one of its names is empty, `.`, too long, or holds NUL or a line break")),
    }
}

/// Whether a link at `path` with this target stays inside the tree.
pub fn link_stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty()
        || target.len() > MAX_PATH
        || target.starts_with('/')
        || target.contains(['\0', '\n', '\r', '\\'])
    {
        return false;
    }
    let mut depth = path.split('/').count() as i64 - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    true
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str) -> DirEntry {
        DirEntry { name: name.into(), kind: EntryKind::File, digest: Digest::of(name.as_bytes()), size: 1 }
    }

    #[test]
    fn order_of_entries_does_not_matter() {
        let a = Directory::new(vec![entry("a"), entry("b")]).unwrap();
        let b = Directory::new(vec![entry("b"), entry("a")]).unwrap();
        assert_eq!(a.digest(), b.digest());
        assert_eq!(Directory::decode(&a.encode()), Ok(a));
    }

    #[test]
    fn wrong_names_and_paths_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0", "a\nf"] {
            assert!(Directory::new(vec![entry(name)]).is_err(), "{name:?}");
        }
        assert_eq!(Directory::new(vec![entry("a"), entry("a")]), Err(TreeError::Duplicate("a".into())));
        for path in ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "a/\0"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a/".repeat(200)).is_err());
        assert!(check_path("a/b.c/d e").is_ok());
    }

    #[test]
    fn links_stay_inside() {
        assert!(link_stays_inside("a/b", "../c"));
        assert!(link_stays_inside("a/b", "c/../../d"));
        assert!(!link_stays_inside("a/b", "../../c"));
        assert!(!link_stays_inside("a", "/etc/passwd"));
        assert!(!link_stays_inside("a", ""));
    }

    #[test]
    fn only_the_canonical_encoding_is_read() {
        let text = Directory::new(vec![entry("a"), entry("b c")]).unwrap().encode();
        let lines: Vec<_> = text.lines().collect();
        assert!(Directory::decode(&text).is_ok());
        let wrong = [
            text.trim_end().to_owned(),
            text.clone() + "\n",
            format!("{}\n{}\n", lines[1], lines[0]),
            format!("{0}\n{0}\n", lines[0]),
            text.replace(" 1 a", " 01 a"),
            text.replace(" 1 a", " +1 a"),
            text.replace(" 1 a", " -1 a"),
            text.replacen('f', "y", 1),
            text.to_uppercase(),
            text.replace('\n', "\r\n"),
            text.replace(" 1 a", " 1 ../a"),
        ];
        for text in wrong {
            assert!(Directory::decode(&text).is_err(), "{text:?}");
        }
        assert_eq!(Directory::decode(""), Ok(Directory::default()));
    }

    #[test]
    fn limits_of_names_and_paths_are_exact() {
        assert!(is_entry_name(&"n".repeat(MAX_ENTRY_NAME)) && !is_entry_name(&"n".repeat(MAX_ENTRY_NAME + 1)));
        let nested = |depth: usize| vec!["d"; depth].join("/");
        assert!(check_path(&nested(MAX_DEPTH)).is_ok() && check_path(&nested(MAX_DEPTH + 1)).is_err());
        let long = |length: usize| "n".repeat(255) + &format!("/{}", "n".repeat(254)).repeat((length - 255) / 255);
        assert_eq!((long(4080).len(), check_path(&long(4080))), (4080, Ok(())));
        assert!(check_path(&long(4335)).is_err());
        assert!(link_stays_inside("a/b", &"x/".repeat(2048)) && !link_stays_inside("a/b", &"x/".repeat(2049)));
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_is_exact(text in "([fxdl] [0-9a-f]{64} [0-9]{1,3} [ -~]{1,8}\n){0,4}|.{0,40}") {
            if let Ok(directory) = Directory::decode(&text) {
                prop_assert_eq!(directory.encode(), text);
            }
        }
    }
}
