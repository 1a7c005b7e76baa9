//! Reports of a run as files: `--junit`, `--sarif`, `--report` of `lockgate run` and `lockgate show`. All are made of the journal, so
//! that a past run gives the same file as one that just ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use lockgate::wiring::executor::StoreBlobs;
use lockgate_model::NodeId;
use lockgate_store::Store;

use crate::args::ReportArgs;
use crate::exit::{CliError, Exit};
use crate::past::{self, PastRun};
use crate::render::json::Worst;
use crate::render::report::Blobs;
use crate::render::{junit, page, sarif};

type Render = fn(&PastRun, &dyn Blobs, &BTreeMap<NodeId, Worst>) -> io::Result<String>;

impl ReportArgs {
    /// Whether any is wanted.
    pub(crate) fn any(&self) -> bool {
        self.wanted().next().is_some()
    }

    fn wanted(&self) -> impl Iterator<Item = (&Path, &'static str, Render)> {
        let all: [(_, _, Render); 3] = [
            (&self.junit, "JUnit report", |run, blobs, _| junit::junit(run, blobs)),
            (&self.sarif, "SARIF log", |run, blobs, _| sarif::sarif(run, blobs)),
            (&self.report, "report", page::page),
        ];
        all.into_iter().filter_map(|(path, name, render)| Some((path.as_deref()?, name, render)))
    }

    /// Refuses, before anything runs, files that cannot be written in any case.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let mut seen: Vec<&Path> = Vec::new();
        for (path, name, _) in self.wanted() {
            let wrong = |why: &str| {
                let error = anyhow::anyhow!("write a {name} to `{}`: {why}", path.display());
                Err(CliError::new(Exit::Wrong, error).hint("name a file of its own"))
            };
            if path.is_dir() {
                return wrong("it is a directory");
            }
            if seen.contains(&path) {
                return wrong("another report goes there");
            }
            seen.push(path);
        }
        Ok(())
    }

    /// Writes them.
    pub(crate) fn write(&self, run: &PastRun, store: &Store) -> Result<(), CliError> {
        let blobs = StoreBlobs(store.clone());
        let worst = if self.report.is_some() { past::worst_fuel(store, &run.summary.name)? } else { BTreeMap::new() };
        for (path, name, render) in self.wanted() {
            render(run, &blobs, &worst).and_then(|text| put(path, text.as_bytes())).map_err(|error| {
                CliError::new(Exit::Infrastructure, error).context(format!("write a {name} to `{}`", path.display()))
            })?;
        }
        Ok(())
    }
}

/// Writes a file whole or not at all; directories above it are made. What is no file (a pipe, a device) is written into.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return fs::OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().permissions(readable()).tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// As any program makes files; the process's mask takes away what others must not do. Temporary files are private otherwise.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn files_are_whole_and_directories_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.xml");
        put(&path, b"one").unwrap();
        put(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
        put(Path::new("/dev/null"), b"x").unwrap();
        assert!(!Path::new("/dev/null").is_file(), "a device stays one");
    }

    #[test]
    fn what_cannot_be_written_is_refused_first() {
        let dir = tempfile::tempdir().unwrap();
        let args = |junit: Option<PathBuf>, sarif: Option<PathBuf>| ReportArgs { junit, sarif, report: None };
        assert!(args(None, None).check().is_ok() && !args(None, None).any());
        assert!(args(Some(dir.path().join("a")), Some(dir.path().join("b"))).check().is_ok());
        assert!(args(Some(dir.path().to_owned()), None).check().is_err());
        assert!(args(Some(dir.path().join("a")), Some(dir.path().join("a"))).check().is_err());
    }
}
