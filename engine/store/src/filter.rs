//! Which entries of a directory a snapshot takes: include and exclude globs, ignore files, and what is always left out.
//!
//! Globs are matched against paths inside the snapshot's directory; `*` and `?` never match `/`, `**` does. A pattern without
//! wildcards names a file, or a directory with all that is in it; so does any pattern of `exclude`. Ignore files follow git's
//! rules, from the pipeline's root down to each directory; those of the user and of the machine are not read, because the same
//! tree must give the same snapshot everywhere.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lockgate_model::pipeline::SnapshotSpec;

/// Ignore files, the later ones decide.
const IGNORE_FILES: [&str; 2] = [".gitignore", ".lockgateignore"];
/// Largest ignore file: one line for each of tens of thousands of files.
const MAX_IGNORE_FILE: u64 = 1 << 20;

/// What a snapshot takes.
pub(crate) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
    /// Left out, as paths below the pipeline's root.
    left_out: HashSet<PathBuf>,
    /// The snapshot's directory below the pipeline's root.
    base: PathBuf,
    honour_ignores: bool,
    /// Ignore files in force, the deepest last.
    ignores: Vec<Gitignore>,
}

/// Whether an entry is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Yes,
    /// Left out because `include` does not name it.
    NotIncluded,
    /// Left out by anything else.
    No,
}

impl Filter {
    pub fn new(spec: &SnapshotSpec, base: PathBuf, left_out: HashSet<PathBuf>) -> Result<Self, globset::Error> {
        let include = match spec.include.is_empty() {
            true => None,
            false => Some(globs(&spec.include, |pattern| !pattern.contains(['*', '?', '[', '{', '\\']))?),
        };
        let exclude = globs(&spec.exclude, |_| true)?;
        Ok(Self { include, exclude, left_out, base, honour_ignores: spec.ignore, ignores: Vec::new() })
    }

    /// Whether the snapshot's directory itself is left out.
    pub fn leaves_out_base(&self) -> bool {
        self.base.ancestors().any(|path| self.left_out.contains(path))
    }

    /// Whether the entry at `path` inside the snapshot is taken. A directory that is not included is still to be looked into.
    pub fn takes(&self, path: &Path, is_dir: bool) -> Taken {
        let below_root = self.base.join(path);
        if path.file_name().is_some_and(|name| name == ".git")
            || self.left_out.contains(&below_root)
            || self.exclude.is_match(path)
            || self.is_ignored(&below_root, is_dir)
        {
            return Taken::No;
        }
        match &self.include {
            Some(include) if !include.is_match(path) => Taken::NotIncluded,
            _ => Taken::Yes,
        }
    }

    fn is_ignored(&self, below_root: &Path, is_dir: bool) -> bool {
        for ignores in self.ignores.iter().rev() {
            match ignores.matched(Path::new("/").join(below_root), is_dir) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }

    /// Reads the ignore files of a directory below the pipeline's root; [`Filter::leave`] ends them. An error names the file.
    pub fn enter(&mut self, dir: &Dir, below_root: &Path) -> Result<(), (&'static str, io::Error)> {
        let folder = Path::new("/").join(below_root);
        let mut builder = GitignoreBuilder::new(&folder);
        for name in IGNORE_FILES.into_iter().filter(|_| self.honour_ignores) {
            for line in read_lines(dir, name).map_err(|error| (name, error))? {
                // Like git: a line that is no pattern matches nothing.
                let _ = builder.add_line(None, &line);
            }
        }
        self.ignores.push(builder.build().unwrap_or_else(|_| Gitignore::empty()));
        Ok(())
    }

    /// [`Filter::enter`] for a directory inside the snapshot.
    pub fn enter_inside(&mut self, dir: &Dir, path: &str) -> Result<(), (&'static str, io::Error)> {
        self.enter(dir, &self.base.join(path))
    }

    /// Ends what the last [`Filter::enter`] began.
    pub fn leave(&mut self) {
        self.ignores.pop();
    }
}

/// Options to open a file for reading: no link is followed, and a named pipe does not block.
pub(crate) fn read_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    options
}

/// Lines of an ignore file; none where there is no such file, or where it is no plain file: git follows no links there.
fn read_lines(dir: &Dir, name: &str) -> io::Result<Vec<String>> {
    match dir.symlink_metadata(name) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    dir.open_with(name, &read_options())?.take(MAX_IGNORE_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_IGNORE_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
}

fn globs(patterns: &[String], names_directories: impl Fn(&str) -> bool) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    let mut add = |pattern: &str| -> Result<(), globset::Error> {
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
        Ok(())
    };
    for pattern in patterns {
        let pattern = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
        if pattern == "." {
            add("**")?;
            continue;
        }
        add(pattern)?;
        if names_directories(pattern) {
            add(&format!("{pattern}/**"))?;
        }
    }
    set.build()
}

/// `path` relative to `root`, which has no links, as far as its parents exist; none if it lies elsewhere. The last name is not
/// followed if it is a link: it is the name that is left out.
pub(crate) fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut whole = PathBuf::new();
    for part in root.join(path).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    let mut parent = whole.parent()?;
    loop {
        if let Ok(found) = parent.canonicalize() {
            let rest = whole.strip_prefix(parent).ok()?;
            return found.join(rest).strip_prefix(root).ok().map(Path::to_owned);
        }
        parent = parent.parent()?;
    }
}
