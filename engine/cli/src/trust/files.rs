//! Keys and envelopes as files and in the environment.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lockgate_trust::dsse::{self, Envelope};
use lockgate_trust::key::{KeyError, MAX_KEY_TEXT, PublicKey, SecretKey};

use crate::args::{KeyArg, TrustArgs};
use crate::commands::put;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;

/// What is put behind a component's file name to get that of its signatures.
pub(crate) const SIGNATURES: &str = ".dsse.json";
/// Names or holds the private key where no option does.
const KEY_VARIABLE: &str = "LOCKGATE_KEY";

/// A key whose signatures count, and what it is called.
pub(crate) struct Named {
    /// The file's name, or the signer's.
    pub(crate) name: String,
    /// The key.
    pub(crate) key: PublicKey,
}

fn wrong(error: impl Into<anyhow::Error>) -> CliError {
    CliError::new(Exit::Wrong, error)
}

/// A file up to a limit. One that is larger is an error, as is one that is no regular file or pipe.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let failed = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Exit::Wrong,
            _ => Exit::Infrastructure,
        };
        CliError::new(exit, error).context(format!("read `{}`", path.display()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(wrong(anyhow::anyhow!("read `{}`: it has more than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, CliError> {
    String::from_utf8(read_limited(path, MAX_KEY_TEXT)?)
        .map_err(|_| wrong(anyhow::anyhow!("read a key from `{}`: it is not text", path.display())))
}

fn key_hint(error: &KeyError) -> &'static str {
    match error {
        KeyError::Private => "keep that file to yourself; the public one ends in `.pub`",
        KeyError::Encrypted => "take the password away: openssl pkey -in FILE -out PLAIN",
        _ => "`lockgate plugin keygen --output PREFIX` makes PREFIX.key and PREFIX.pub",
    }
}

/// The private key: of the option, else of the environment.
pub(crate) fn secret_key(arg: &KeyArg, output: &Output) -> Result<SecretKey, CliError> {
    let variable = std::env::var_os(KEY_VARIABLE).filter(|value| !value.is_empty());
    let (text, place) = match (&arg.key, variable) {
        (Some(path), _) => (secret_text(path, output)?, path.display().to_string()),
        (None, Some(value)) => match value.to_str() {
            // CI services hand secrets over as text.
            Some(text) if text.contains("-----BEGIN") => (text.to_owned(), KEY_VARIABLE.to_owned()),
            _ => (secret_text(Path::new(&value), output)?, PathBuf::from(&value).display().to_string()),
        },
        (None, None) => {
            let error = anyhow::anyhow!("sign: no private key is named");
            return Err(wrong(error).hint(format!("name one with `--key FILE`, or set {KEY_VARIABLE}")));
        }
    };
    SecretKey::parse(&text).map_err(|error| {
        let hint = key_hint(&error);
        wrong(error).context(format!("use the private key `{place}`")).hint(hint)
    })
}

fn secret_text(path: &Path, output: &Output) -> Result<String, CliError> {
    let others = path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o077 != 0);
    if others {
        output.warning(&format!("others can read the private key `{0}`: chmod 600 {0}", path.display()));
    }
    read_text(path)
}

/// The public keys that were named.
pub(crate) fn public_keys(args: &TrustArgs) -> Result<Vec<Named>, CliError> {
    let read = |path: &PathBuf| {
        let key = PublicKey::parse(&read_text(path)?).map_err(|error| {
            let hint = key_hint(&error);
            wrong(error).context(format!("use the public key `{}`", path.display())).hint(hint)
        })?;
        Ok(Named { name: path.display().to_string(), key })
    };
    args.keys.iter().map(read).collect()
}

/// Largest file of signatures of a plugin, or of heads, in bytes: each signature is tried with each key, so there must not be many.
pub(crate) const MAX_SIGNATURES: usize = 256 << 10;

/// Reads the envelopes of a file of at most so many bytes.
pub(crate) fn read_envelopes(path: &Path, limit: usize) -> Result<Vec<Envelope>, CliError> {
    let bytes = read_limited(path, limit)?;
    dsse::read(&bytes).map_err(|error| {
        wrong(error)
            .context(format!("read `{}`", path.display()))
            .hint("it should hold DSSE envelopes: JSON, one a line")
    })
}

/// Writes envelopes: to a file, else to stdout.
pub(crate) fn write_envelopes(envelopes: &[Envelope], path: Option<&Path>, output: &Output) -> Result<(), CliError> {
    let text = dsse::write(envelopes);
    match path {
        None => output.data(&text),
        Some(path) => put(path, text.as_bytes()).map_err(|error| {
            CliError::new(Exit::Infrastructure, error).context(format!("write `{}`", path.display()))
        })?,
    }
    Ok(())
}

/// Where the signatures of a component are.
pub(crate) fn signatures_beside(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(SIGNATURES);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_stand_beside_the_component() {
        assert_eq!(signatures_beside(Path::new("a/scan.wasm")), Path::new("a/scan.wasm.dsse.json"));
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read_limited(&path, 3).unwrap_err().exit, Exit::Wrong);
        assert_eq!(read_limited(dir.path(), 3).unwrap_err().exit, Exit::Wrong);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_limited(&path, 3).unwrap(), b"abc");
        assert_eq!(read_limited(&path, 2).unwrap_err().exit, Exit::Wrong);
    }
}
