//! `lockgate plugin new`: writes a project. All of it or nothing: it is written beside its place and moved there.

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_toolchain::scaffold::{self, Wish};

use super::Ended;
use crate::args::NewArgs;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;

/// Writes a new project.
pub(crate) fn new(args: &NewArgs, output: &Output) -> Ended {
    let sdk = args.sdk.as_deref().map(sdk).transpose()?;
    let wish = Wish { name: args.name.clone(), language: args.lang.into(), world: args.world.into(), sdk };
    let files = scaffold::files(&wish)?;
    let target = args.directory.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    refuse_what_is_there(&target)?;
    let failed = |what: &Path| {
        let what = what.display().to_string();
        move |error: std::io::Error| CliError::new(Exit::Infrastructure, error).context(format!("write `{what}`"))
    };
    let above = match target.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&above).map_err(failed(&above))?;
    let temporary = tempfile::Builder::new().prefix(".lockgate-new-").tempdir_in(&above).map_err(failed(&above))?;
    let count = files.len();
    for (path, text) in files {
        let path = temporary.path().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        fs::write(&path, text).map_err(failed(&path))?;
    }
    let made = temporary.path().to_path_buf();
    readable(&made).map_err(failed(&made))?;
    // An empty folder gives way; one that somebody put something into meanwhile does not.
    fs::rename(&made, &target).map_err(failed(&target))?;
    // It is not there any more under the name that would be removed.
    let _ = temporary.keep();
    let place = target.display();
    output.data(&format!(
        "{place}: a {} in {}, {count} files\n  cd {place}\n{}  lockgate plugin build\n",
        wish.world.name(),
        wish.language,
        install(&wish).map(|line| format!("  {line}\n")).unwrap_or_default()
    ));
    Ok(Exit::Succeeded)
}

/// What comes before the first build.
fn install(wish: &Wish) -> Option<&'static str> {
    use lockgate_toolchain::project::Language;
    match wish.language {
        Language::JavaScript | Language::TypeScript => Some("npm install"),
        Language::Python => Some("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        Language::Rust | Language::C | Language::Go => None,
    }
}

/// A temporary folder is for its owner alone; a project is like any other folder.
fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// The SDK's folder in a checkout, or itself.
fn sdk(path: &Path) -> Result<PathBuf, CliError> {
    let candidates = [path.join("plugins/sdk"), path.to_path_buf()];
    let found = candidates.into_iter().find(|folder| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml"));
        manifest.is_ok_and(|text| text.contains("name = \"lockgate-sdk\""))
    });
    let Some(found) = found else {
        let error = anyhow::anyhow!("use the SDK of `{}`: there is no lockgate-sdk", path.display());
        return Err(CliError::new(Exit::Wrong, error)
            .hint("name a checkout of Lockgate, or leave --sdk out: the sources are then written into the project"));
    };
    found.canonicalize().map_err(|error| {
        CliError::new(Exit::Infrastructure, error).context(format!("find the SDK at `{}`", found.display()))
    })
}

/// Nothing is ever overwritten.
fn refuse_what_is_there(target: &Path) -> Result<(), CliError> {
    let taken = match target.symlink_metadata() {
        Err(_) => false,
        Ok(metadata) if metadata.is_dir() => fs::read_dir(target).map_or(true, |mut entries| entries.next().is_some()),
        Ok(_) => true,
    };
    if !taken {
        return Ok(());
    }
    let error = anyhow::anyhow!("write a project to `{}`: there is something already", target.display());
    Err(CliError::new(Exit::Wrong, error).hint("nothing is overwritten: name another place with --directory"))
}
