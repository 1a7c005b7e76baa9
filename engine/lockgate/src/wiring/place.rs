//! Where things are: the root of a pipeline, the state directory.

use std::path::{Path, PathBuf};

use lockgate_store::Store;

use crate::error::{Class, Error};

/// Name of the state directory in a root.
pub const STATE: &str = ".lockgate";
/// What makes a directory a root.
const MARKS: [&str; 2] = [".git", ".lockgate-root"];

/// The root of a pipeline file: the one that was given, else the nearest directory above the file that holds a mark, else the file's
/// own. Absolute.
pub fn root_of_file(file: &Path, given: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(root) = given {
        return given_root(root);
    }
    let file = file.canonicalize().map_err(|error| file_error(file, error))?;
    let own = file.parent().unwrap_or(Path::new("/"));
    Ok(marked(own, &MARKS).unwrap_or(own).to_owned())
}

/// The state directory for what names no pipeline file: the one that was given, else that of the given root, else that of the nearest
/// directory from here upwards that has one or is a root.
pub fn state_here(state: Option<&Path>, root: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(state) = state {
        return Ok(state.to_owned());
    }
    if let Some(root) = root {
        return Ok(given_root(root)?.join(STATE));
    }
    let here = std::env::current_dir()
        .map_err(|error| Error::new(Class::Infrastructure, error).context("find the current directory"))?;
    Ok(state_from(&here))
}

/// The state directory of an absolute directory: that of the nearest one from it upwards that has one or is a root.
pub fn state_from(dir: &Path) -> PathBuf {
    marked(dir, &[STATE, MARKS[0], MARKS[1]]).unwrap_or(dir).join(STATE)
}

/// Checks that a state directory is there already.
pub fn existing(dir: PathBuf) -> Result<PathBuf, Error> {
    if !dir.is_dir() {
        let error = anyhow::anyhow!("find runs: there is no state directory `{}`", dir.display());
        return Err(
            Error::new(Class::Wrong, error).hint("go to the pipeline's root, or name it with `--root` or `--state`")
        );
    }
    Ok(dir)
}

/// Opens a state directory to read from it. It must exist already: there is nothing to show otherwise.
pub fn open_existing(dir: PathBuf) -> Result<Store, Error> {
    Ok(Store::open_to_read(&existing(dir)?)?)
}

/// A root that somebody names. Absolute.
pub fn given_root(root: &Path) -> Result<PathBuf, Error> {
    let wrong =
        |error: anyhow::Error| Error::new(Class::Wrong, error.context(format!("use `{}` as the root", root.display())));
    let absolute = root.canonicalize().map_err(|error| wrong(error.into()))?;
    if absolute.is_dir() { Ok(absolute) } else { Err(wrong(anyhow::anyhow!("it is not a directory"))) }
}

/// The error for a pipeline file that cannot be read.
pub fn file_error(file: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    let class = match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            Class::Wrong
        }
        _ => Class::Infrastructure,
    };
    Error::new(class, error).context(format!("read the pipeline `{}`", file.display()))
}

fn marked<'a>(from: &'a Path, marks: &[&str]) -> Option<&'a Path> {
    from.ancestors().find(|dir| marks.iter().any(|mark| dir.join(mark).symlink_metadata().is_ok()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_mark_is_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b/c")).unwrap();
        let file = base.join("a/b/c/p.toml");
        fs::write(&file, "").unwrap();
        fs::write(base.join("a/.git"), "gitdir: elsewhere").unwrap();
        assert_eq!(root_of_file(&file, None).unwrap(), base.join("a"));
        fs::write(base.join("a/b/.lockgate-root"), "").unwrap();
        assert_eq!(root_of_file(&file, None).unwrap(), base.join("a/b"));
        assert_eq!(root_of_file(&file, Some(&base)).unwrap(), base);
    }

    #[test]
    fn what_is_missing_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(root_of_file(&dir.path().join("none.toml"), None).unwrap_err().class(), Class::Wrong);
        assert_eq!(open_existing(dir.path().join("none")).err().map(|error| error.class()), Some(Class::Wrong));
        assert_eq!(state_here(None, Some(dir.path())).unwrap(), dir.path().canonicalize().unwrap().join(STATE));
    }
}
