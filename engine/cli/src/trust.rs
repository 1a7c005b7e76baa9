//! Keys and envelopes as files and in the environment, as the command line names them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lockgate::wiring::signatures::read_limited;
pub(crate) use lockgate::wiring::signatures::{MAX_SIGNATURES, read_envelopes, signatures_beside};
pub(crate) use lockgate::wiring::vouched::trust_roots;
use lockgate_trust::dsse::{self, Envelope};
use lockgate_trust::key::{KeyError, MAX_KEY_TEXT, PublicKey, SecretKey};

use crate::args::{KeyArg, TrustArgs};
use crate::commands::put;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;

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
