//! From a plugin's folder to its component: one file for each language, and what is the same for all of them here.
//!
//! How to add a language: an arm of [`Language`], a file here, a folder in `plugins/templates`, its tools in [`crate::pins`].

mod c;
mod go;
mod javascript;
mod python;
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_model::manifest::World;

use crate::contract::{self, Contract, Shape};
use crate::program::{Happening, Progress};
use crate::project::{BUILT, Language, Plan, Project};
use crate::{ToolchainError, component};

/// How to build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the component goes, instead of the project's `target/lockgate/<name>.wasm`.
    pub output: Option<PathBuf>,
    /// Compile quickly, for code that is slow and large.
    pub debug: bool,
}

/// What was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// The plugin's name: that of the file.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// The world that it exports.
    pub world: World,
    /// What it imports, as [`Shape::imports`].
    pub imports: Vec<String>,
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A component, and what its file is called.
struct Made {
    name: String,
    component: Vec<u8>,
}

/// Builds the plugin of a folder. An error leaves the component of the time before where it is.
pub fn build(project: &Project, options: &Options, progress: &mut Progress<'_>) -> Result<Built, ToolchainError> {
    let Project { language, plan, .. } = project;
    let made = match (language, plan) {
        (Language::Rust, _) | (_, None) => rust::build(project, options, progress)?,
        (Language::JavaScript | Language::TypeScript, Some(plan)) => javascript::build(project, plan, progress)?,
        (Language::Python, Some(plan)) => python::build(project, plan, progress)?,
        (Language::C, Some(plan)) => c::build(project, plan, options, progress)?,
        (Language::Go, Some(plan)) => go::build(project, plan, progress)?,
    };
    progress(Happening::Step("checking it against the contract"));
    let bytes = component::strip(&made.component)?;
    let Shape { world, imports } = contract::check(&bytes)?;
    if let Some(plan) = plan
        && plan.world != world
    {
        let (found, said) = (world.name(), plan.world.name());
        return Err(ToolchainError::Contract { reason: format!("it is a {found}, and its plugin.toml says {said}") });
    }
    let path = match &options.output {
        Some(path) => path.clone(),
        None => project.directory.join(BUILT).join(format!("{}.wasm", made.name)),
    };
    put(&path, &bytes)?;
    Ok(Built { name: made.name, language: *language, world, imports, path, bytes })
}

/// Writes a component as a whole or not at all, and leaves the file alone if it is the same: nobody who watches it is woken.
fn put(path: &Path, bytes: &[u8]) -> Result<(), ToolchainError> {
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(ToolchainError::writing(folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(ToolchainError::writing(path))?;
    std::io::Write::write_all(&mut file, bytes).map_err(ToolchainError::writing(path))?;
    // Temporary files are for their owner alone; a component may be read like any other file.
    use std::os::unix::fs::PermissionsExt as _;
    let readable = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(ToolchainError::writing(path))?;
    file.persist(path).map_err(|error| ToolchainError::writing(path)(error.error))?;
    Ok(())
}

/// A fresh folder for what is made on the way, and the plugin's own contract in it as WIT.
fn prepare(project: &Project, plan: &Plan) -> Result<(PathBuf, Contract), ToolchainError> {
    let contract = Contract::narrow(plan.world, &plan.imports)?;
    let work = project.work();
    if work.exists() {
        fs::remove_dir_all(&work).map_err(ToolchainError::writing(&work))?;
    }
    contract.write(&work.join("wit"))?;
    Ok((work, contract))
}

/// What a tool wrote.
fn taken(path: &Path) -> Result<Vec<u8>, ToolchainError> {
    fs::read(path).map_err(ToolchainError::reading(path))
}

/// The command that puts a project's npm packages, or Python's, where they are looked for.
fn install(project: &Project, command: &str) -> String {
    format!("cd {} && {command}", project.directory.display())
}
