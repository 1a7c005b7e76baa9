//! From the command line to a component and its cases: a plugin's folder with `cases/`, and the component that `lockgate plugin build`
//! makes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lockgate::wiring::load;
use lockgate::wiring::std_plugins::nearest;
use lockgate_model::PortName;
use lockgate_syntax::Problem;
use lockgate_syntax::case::{CaseFile, MAX_FILE, parse_case};

use crate::exit::{CliError, Exit};

/// Where a plugin's folder has its cases.
pub(crate) const CASES: &str = "cases";
/// The file that makes a folder a case.
const CASE_FILE: &str = "case.toml";
/// Where `lockgate plugin build` puts the component, below the plugin's folder.
const BUILT: &str = "target/lockgate";

/// A plugin's component and its cases.
pub(crate) struct Project {
    /// What the user calls it.
    pub(crate) name: String,
    /// The component's name, for messages.
    pub(crate) component: String,
    /// Its bytes.
    pub(crate) bytes: Cow<'static, [u8]>,
    /// The cases, sorted by name.
    pub(crate) cases: Vec<Case>,
}

/// One case: its folder, and what its file says.
pub(crate) struct Case {
    /// The folder's name.
    pub(crate) name: String,
    /// The folder.
    pub(crate) dir: PathBuf,
    /// What its file says.
    pub(crate) file: CaseFile,
    /// Whether it has no folder of its own, so that there is no more than the file says.
    pub(crate) alone: bool,
}

/// The folders of a project, before anything is read.
struct Places {
    name: String,
    component: String,
    cases: PathBuf,
}

impl Project {
    /// Finds what a command line names: a folder, a component's file, or `FOLDER=COMPONENT`. Problems of case files are all gathered.
    pub(crate) fn find(target: &str, only: &[String], problems: &mut Vec<Problem>) -> Result<Self, CliError> {
        let places = Places::find(target)?;
        let folders = folders(&places.cases, only)?;
        let mut cases = Vec::new();
        for (name, dir) in folders {
            cases.extend(Case::read(name, dir, problems)?);
        }
        let bytes = load::component(&places.component)?;
        Ok(Self { name: places.name, component: places.component, bytes, cases })
    }

    /// The one case of this name.
    pub(crate) fn case(target: &str, name: &str, problems: &mut Vec<Problem>) -> Result<Self, CliError> {
        Self::find(target, &[name.to_owned()], problems)
    }
}

impl Places {
    fn find(target: &str) -> Result<Self, CliError> {
        if let Some((folder, component)) = target.split_once('=').filter(|(folder, _)| Path::new(folder).is_dir()) {
            let name = name_of(Path::new(folder));
            return Ok(Self { name, component: component.to_owned(), cases: Path::new(folder).join(CASES) });
        }
        let path = Path::new(target);
        if path.is_dir() {
            let component = built(path)?;
            return Ok(Self { name: name_of(path), component, cases: path.join(CASES) });
        }
        let failed =
            |error: anyhow::Error| CliError::new(Exit::Wrong, error.context(format!("find the cases of `{target}`")));
        if target.starts_with("std:") {
            return Err(failed(anyhow::anyhow!("a standard plugin brings none along"))
                .hint(format!("name the folder that has them: `FOLDER={target}`")));
        }
        let full = path.canonicalize().map_err(|error| failed(error.into()))?;
        let folder = full.ancestors().skip(1).find(|folder| folder.join(CASES).is_dir());
        let Some(folder) = folder else {
            return Err(failed(anyhow::anyhow!("no folder above it has `{CASES}/`"))
                .hint(format!("name the folder that has them: `FOLDER={target}`")));
        };
        Ok(Self { name: name_of(folder), component: target.to_owned(), cases: folder.join(CASES) })
    }
}

/// A folder's own name.
fn name_of(folder: &Path) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    full.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The component that was built of a folder.
fn built(folder: &Path) -> Result<String, CliError> {
    let dir = folder.join(BUILT);
    let mut found: Vec<_> = match fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(_) => Vec::new(),
    };
    found.retain(|path| path.extension().is_some_and(|ending| ending == "wasm") && path.is_file());
    found.sort();
    let name = name_of(folder);
    let named = found.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name.as_str()));
    match (&found[..], named) {
        (_, Some(path)) | ([path], None) => Ok(path.display().to_string()),
        ([], None) => {
            let error =
                anyhow::anyhow!("find the component of `{}`: there is none in `{}`", folder.display(), dir.display());
            Err(CliError::new(Exit::Wrong, error).hint(format!(
                "build it first, with `lockgate plugin build {}`, or name one: `{}=COMPONENT`",
                folder.display(),
                folder.display()
            )))
        }
        (several, None) => {
            let names: Vec<_> = several.iter().map(|path| format!("`{}`", path.display())).collect();
            let error = anyhow::anyhow!("find the component of `{}`: there are {}", folder.display(), names.join(", "));
            Err(CliError::new(Exit::Wrong, error).hint("name one of them"))
        }
    }
}

/// The folders of the cases, by name: all, or those that are wanted.
fn folders(cases: &Path, only: &[String]) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let context = || format!("find cases in `{}`", cases.display());
    let wrong = |text: String| CliError::new(Exit::Wrong, anyhow::anyhow!(text)).context(context());
    let mut found = BTreeMap::new();
    let entries = fs::read_dir(cases).map_err(|error| {
        CliError::new(Exit::Wrong, error)
            .context(context())
            .hint("a case is a folder with a `case.toml`: `cases/first/case.toml`; an empty one is a case, too")
    })?;
    for entry in entries {
        let path = entry.map_err(|error| CliError::new(Exit::Infrastructure, error).context(context()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !path.is_dir() || name.starts_with('.') {
            continue;
        }
        if !path.join(CASE_FILE).is_file() {
            // What cases share stands beside them; a case without its file would never be run.
            if path.join("inputs").exists() || path.join("expected").exists() {
                return Err(
                    wrong(format!("`{name}` looks like a case, and has no `{CASE_FILE}`")).hint("an empty one will do")
                );
            }
            continue;
        }
        found.insert(name.to_owned(), path);
    }
    for name in only {
        if !found.contains_key(name) {
            let error = wrong(format!("there is no `{name}`"));
            return Err(match nearest(name, found.keys().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
    }
    found.retain(|name, _| only.is_empty() || only.contains(name));
    if found.is_empty() {
        return Err(wrong("there is none".to_owned()).hint("a case is a folder with a `case.toml`"));
    }
    Ok(found)
}

impl Case {
    fn read(name: String, dir: PathBuf, problems: &mut Vec<Problem>) -> Result<Option<Self>, CliError> {
        let path = dir.join(CASE_FILE);
        let failed = |error| CliError::new(Exit::Wrong, error).context(format!("read the case `{}`", path.display()));
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(failed)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_FILE + 1), &mut bytes).map_err(failed)?;
        let parsed = parse_case(&path.display().to_string(), &bytes);
        problems.extend(parsed.problems);
        Ok(parsed.case.map(|file| Self { name, dir, file, alone: false }))
    }
}

/// Files and directories of a folder by the ports that they are called after: the name up to its first dot. Nothing where there is no
/// such folder.
pub(super) fn ports(folder: &Path) -> Result<BTreeMap<PortName, PathBuf>, CliError> {
    let context = || format!("read the folder `{}`", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(CliError::new(Exit::Wrong, error).context(context())),
    };
    let mut ports = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| CliError::new(Exit::Infrastructure, error).context(context()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        let stem = name.split('.').next().unwrap_or(&name);
        let port = PortName::new(stem)
            .map_err(|error| CliError::new(Exit::Wrong, error).context(format!("take `{}`", path.display())))?;
        if let Some(other) = ports.insert(port, path.clone()) {
            let text = format!("`{}` and `{}` are one port", other.display(), path.display());
            return Err(CliError::new(Exit::Wrong, anyhow::anyhow!(text))
                .context(context())
                .hint("what follows the first dot of a name does not count"));
        }
    }
    Ok(ports)
}
