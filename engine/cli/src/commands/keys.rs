//! `lockgate plugin keygen`: a pair of keys.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lockgate_trust::key::{SEED, SecretKey};

use super::Ended;
use crate::args::KeygenArgs;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;

/// Makes a pair of keys. The id goes to stdout.
pub(crate) fn keygen(args: &KeygenArgs, output: &Output) -> Ended {
    let ending = |ending: &str| {
        let mut name = args.output.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (private, public) = (ending(".key"), ending(".pub"));
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            let error = anyhow::anyhow!("write a key to `{}`: there is something already", path.display());
            return Err(CliError::new(Exit::Wrong, error).hint("choose another prefix; keys are never overwritten"));
        }
    }
    let infrastructure = |error: anyhow::Error| CliError::new(Exit::Infrastructure, error.context("make a key"));
    let mut seed = [0; SEED];
    getrandom::fill(&mut seed)
        .map_err(|error| infrastructure(anyhow::anyhow!("no random numbers from the system: {error}")))?;
    let key = SecretKey::from_seed(&seed);
    let told = key.public().map_err(|error| infrastructure(error.into()))?;
    let secret = key.to_pem().map_err(|error| infrastructure(error.into()))?;
    let open = told.to_pem().map_err(|error| infrastructure(error.into()))?;
    create(&private, secret.as_bytes(), 0o600)?;
    if let Err(error) = create(&public, open.as_bytes(), 0o644) {
        // Half of a pair is of no use, and would be in the way next time.
        let _ = fs::remove_file(&private);
        return Err(error);
    }
    output.note(&format!(
        "{} {}: keep it to yourself\n{} {}: for policies and `--key` of `verify`\n",
        output.err.good("private"),
        private.display(),
        output.err.good("public "),
        public.display()
    ));
    output.data(&format!("{}\n", told.id()));
    Ok(Exit::Succeeded)
}

/// Makes a file that was not there.
fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CliError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).inspect_err(|_| drop(fs::remove_file(path)))
    };
    write().map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Wrong } else { Exit::Infrastructure };
        CliError::new(exit, error).context(format!("write a key to `{}`", path.display()))
    })
}
