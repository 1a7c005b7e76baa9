//! Whether anything of a plugin's folder was saved: by looking at it again and again. Nothing to install and nothing of the system's own
//! behind it, so it works on every file system; a plugin has tens of files, not thousands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockgate_model::Digest;

/// Folders whose content is made, installed or kept by programs; hidden ones besides.
const LEFT_OUT: [&str; 7] = ["__pycache__", "bindings", "dist", "node_modules", "target", "types", "vendor"];
/// The most files that are looked at: whoever has more has put something else into the folder.
const MOST: usize = 10_000;
/// Larger files are compared by size and time alone, in bytes.
const LARGEST: u64 = 1 << 20;

/// What a folder was like when it was last looked at.
#[derive(Debug)]
pub struct Watch {
    directory: PathBuf,
    known: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    size: u64,
    time: Option<SystemTime>,
    content: Option<Digest>,
}

impl Watch {
    /// Looks at a folder for the first time.
    pub fn begin(directory: &Path) -> Self {
        let directory = directory.to_path_buf();
        let known = look(&directory, &BTreeMap::new());
        Self { directory, known }
    }

    /// Looks again: the first path, relative to the folder, whose content is another one than at the look before, that came, or that went.
    pub fn changed(&mut self) -> Option<PathBuf> {
        let now = look(&self.directory, &self.known);
        let content = |file: Option<&File>| file.map(|file| file.content.ok_or((file.size, file.time)));
        let paths = now.keys().chain(self.known.keys());
        let changed = paths.into_iter().find(|path| content(now.get(*path)) != content(self.known.get(*path))).cloned();
        self.known = now;
        changed.map(|path| path.strip_prefix(&self.directory).map_or(path.clone(), Path::to_path_buf))
    }
}

/// All files, with digests. What has the size and time that it had before is not read again.
fn look(directory: &Path, known: &BTreeMap<PathBuf, File>) -> BTreeMap<PathBuf, File> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(folder) = open.pop() {
        // What goes away while it is looked at is seen the next time.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                if !name.starts_with('.') && !LEFT_OUT.contains(&&*name) {
                    open.push(path);
                }
                continue;
            }
            if files.len() >= MOST || !metadata.is_file() {
                continue;
            }
            let (size, time) = (metadata.len(), metadata.modified().ok());
            let content = match known.get(&path) {
                Some(before) if before.size == size && before.time == time => before.content,
                _ if size <= LARGEST => fs::read(&path).ok().map(|bytes| Digest::of(&bytes)),
                _ => None,
            };
            files.insert(path, File { size, time, content });
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_a_change_and_another_time_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("src/a.c");
        fs::create_dir_all(dir.path().join("src")).unwrap();
        fs::create_dir_all(dir.path().join("target")).unwrap();
        fs::write(&path, "one").unwrap();
        let mut watch = Watch::begin(dir.path());
        assert_eq!(watch.changed(), None);
        fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(watch.changed(), None);
        fs::write(&path, "two").unwrap();
        assert_eq!(watch.changed(), Some("src/a.c".into()));
        assert_eq!(watch.changed(), None);
        fs::write(dir.path().join("b"), "").unwrap();
        assert_eq!(watch.changed(), Some("b".into()));
        fs::remove_file(dir.path().join("b")).unwrap();
        assert_eq!(watch.changed(), Some("b".into()));
        fs::write(dir.path().join("target/x"), "built").unwrap();
        assert_eq!(watch.changed(), None);
    }
}
