//! Where things are: the root of a pipeline, the state directory.

use std::path::{Path, PathBuf};

use lockgate_store::Store;

use crate::args::{FileArgs, StateArgs};
use crate::exit::{CliError, Exit};

/// Name of the state directory in a root.
pub(crate) const STATE: &str = ".lockgate";
/// What makes a directory a root.
const MARKS: [&str; 2] = [".git", ".lockgate-root"];

/// The root of a pipeline file: `--root`, else the nearest directory above the file that holds a mark, else the file's own. Absolute.
pub(crate) fn root_of_file(args: &FileArgs) -> Result<PathBuf, CliError> {
    if let Some(root) = &args.root {
        return given_root(root);
    }
    let file = args.file.canonicalize().map_err(|error| file_error(&args.file, error))?;
    let own = file.parent().unwrap_or(Path::new("/"));
    Ok(marked(own, &MARKS).unwrap_or(own).to_owned())
}

/// The state directory of a pipeline file.
pub(crate) fn state_of_file(args: &FileArgs, root: &Path) -> PathBuf {
    args.state.clone().unwrap_or_else(|| root.join(STATE))
}

/// The state directory for commands without a pipeline file: `--state`, else that of `--root`, else that of the nearest directory
/// from here upwards that has one or is a root.
pub(crate) fn state_here(args: &StateArgs) -> Result<PathBuf, CliError> {
    if let Some(state) = &args.state {
        return Ok(state.clone());
    }
    if let Some(root) = &args.root {
        return Ok(given_root(root)?.join(STATE));
    }
    let here = std::env::current_dir()
        .map_err(|error| CliError::new(Exit::Infrastructure, error).context("find the current directory"))?;
    Ok(state_from(&here))
}

/// The state directory of an absolute directory: that of the nearest one from it upwards that has one or is a root.
pub(crate) fn state_from(dir: &Path) -> PathBuf {
    marked(dir, &[STATE, MARKS[0], MARKS[1]]).unwrap_or(dir).join(STATE)
}

/// Opens the state directory to read from it. It must exist already: there is nothing to show otherwise.
pub(crate) fn open_existing(args: &StateArgs) -> Result<Store, CliError> {
    Ok(Store::open_to_read(&existing(args)?)?)
}

/// The state directory, which must exist already.
pub(crate) fn existing(args: &StateArgs) -> Result<PathBuf, CliError> {
    let dir = state_here(args)?;
    if !dir.is_dir() {
        let error = anyhow::anyhow!("find runs: there is no state directory `{}`", dir.display());
        return Err(
            CliError::new(Exit::Wrong, error).hint("go to the pipeline's root, or name it with `--root` or `--state`")
        );
    }
    Ok(dir)
}

fn given_root(root: &Path) -> Result<PathBuf, CliError> {
    let wrong = |error: anyhow::Error| {
        CliError::new(Exit::Wrong, error.context(format!("use `{}` as the root", root.display())))
    };
    let absolute = root.canonicalize().map_err(|error| wrong(error.into()))?;
    if absolute.is_dir() { Ok(absolute) } else { Err(wrong(anyhow::anyhow!("it is not a directory"))) }
}

/// The error for a pipeline file that cannot be read.
pub(crate) fn file_error(file: &Path, error: std::io::Error) -> CliError {
    use std::io::ErrorKind;
    let exit = match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            Exit::Wrong
        }
        _ => Exit::Infrastructure,
    };
    CliError::new(exit, error).context(format!("read the pipeline `{}`", file.display()))
}

fn marked<'a>(from: &'a Path, marks: &[&str]) -> Option<&'a Path> {
    from.ancestors().find(|dir| marks.iter().any(|mark| dir.join(mark).symlink_metadata().is_ok()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn args(file: PathBuf) -> FileArgs {
        FileArgs { file, params: Vec::new(), root: None, state: None }
    }

    #[test]
    fn the_nearest_mark_is_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b/c")).unwrap();
        fs::write(base.join("a/b/c/p.toml"), "").unwrap();
        let file = args(base.join("a/b/c/p.toml"));
        fs::write(base.join("a/.git"), "gitdir: elsewhere").unwrap();
        assert_eq!(root_of_file(&file).unwrap(), base.join("a"));
        fs::write(base.join("a/b/.lockgate-root"), "").unwrap();
        assert_eq!(root_of_file(&file).unwrap(), base.join("a/b"));
        assert_eq!(state_of_file(&file, &base), base.join(".lockgate"));
        let given = FileArgs { root: Some(base.clone()), ..file };
        assert_eq!(root_of_file(&given).unwrap(), base);
    }

    #[test]
    fn what_is_missing_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(root_of_file(&args(dir.path().join("none.toml"))).unwrap_err().exit, Exit::Wrong);
        let state = StateArgs { root: None, state: Some(dir.path().join("none")) };
        assert_eq!(open_existing(&state).err().map(|error| error.exit), Some(Exit::Wrong));
    }
}
