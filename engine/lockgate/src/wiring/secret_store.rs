//! Where this machine's encrypted store of secrets is, and what people are told when it cannot be used. The store itself is
//! `lockgate-secrets`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lockgate_secrets::{Found, SecretStore, SecretStoreError};

use crate::error::{Class, Error};
use crate::wiring::std_plugins::nearest;
use crate::wiring::text::clean_line;

/// Names the directory.
pub const STORE_VARIABLE: &str = "LOCKGATE_SECRETS";
/// Names the file of the identity.
pub const IDENTITY_VARIABLE: &str = "LOCKGATE_IDENTITY";
/// Most names that a hint lists.
const MAX_NAMES: usize = 10;

/// The store: the directory that was given, else the one that the environment names, else the user's.
pub fn locate(given: Option<&Path>) -> Result<SecretStore, Error> {
    locate_by(given, |name| std::env::var_os(name))
}

fn locate_by(given: Option<&Path>, get: impl Fn(&str) -> Option<OsString>) -> Result<SecretStore, Error> {
    let path = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Relative ones are to be ignored, says the XDG Base Directory Specification.
    let config = || path("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute());
    let dir = given.map(Path::to_owned).or_else(|| path(STORE_VARIABLE));
    let dir = dir.or_else(|| {
        let config = config().or_else(|| path("HOME").map(|home| home.join(".config")));
        config.map(|config| config.join("lockgate/secrets"))
    });
    let Some(dir) = dir else {
        let error =
            anyhow::anyhow!("find the store of secrets: none of LOCKGATE_SECRETS, XDG_CONFIG_HOME and HOME is set");
        return Err(Error::new(Class::Wrong, error).hint("name its directory with `LOCKGATE_SECRETS`"));
    };
    Ok(SecretStore::new(&dir, path(IDENTITY_VARIABLE).as_deref()))
}

/// The current value of a secret, for a pipeline that names it.
pub fn read(name: &str, environment: &str) -> Result<Found, Error> {
    let store = locate(None)?;
    let error = match store.read(environment, name) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if let SecretStoreError::Unknown { known, .. } = &error
        && nearest(name, known.iter().map(String::as_str)).is_none()
    {
        // What cannot be read here was no help in the first place.
        let elsewhere = store.list(None).unwrap_or_default();
        let elsewhere: Vec<_> = elsewhere
            .iter()
            .filter(|l| l.name == name)
            .map(|l| format!("`{}`", l.environment))
            .take(MAX_NAMES)
            .collect();
        if !elsewhere.is_empty() {
            let hint = format!("there is one of this name in {}: say `environment = ...`", elsewhere.join(", "));
            return Err(Error::new(class(&error), error).hint(hint));
        }
    }
    Err(error.into())
}

/// What to do next.
pub fn hint(error: &SecretStoreError) -> Option<String> {
    use SecretStoreError as E;
    let text = match error {
        E::NoStore(_) => "`lockgate secret set` makes one; `LOCKGATE_SECRETS` names one that is elsewhere".to_owned(),
        E::Writable { path, .. } => format!("look who did that, then `chmod go-w {}`", path.display()),
        E::NoIdentity(_) => {
            "name it with `LOCKGATE_IDENTITY`, or put its copy there; nothing else opens the store".into()
        }
        E::Exposed { path, .. } => {
            format!(
                "`chmod 600 {}`; if others may have read it, also `lockgate secret rotate --identity`",
                path.display()
            )
        }
        E::Identity { .. } => "it is a file as `age-keygen` writes it: lines with `AGE-SECRET-KEY-1...`".into(),
        E::OtherIdentity { .. } => "name the right one with `LOCKGATE_IDENTITY`".into(),
        E::Damaged { .. } => "put a copy of the file back, or remove it and set its secrets again".into(),
        E::Newer { .. } => "use a newer lockgate".into(),
        E::Unknown { name, environment, known } => match nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if known.is_empty() => format!("add it: lockgate secret set {name} --environment {environment}"),
            None => {
                let more = if known.len() > MAX_NAMES { ", ..." } else { "" };
                let names: Vec<_> = known.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
                format!("there are {}{more}", names.join(", "))
            }
        },
        E::UnknownVersion { .. } => "see what there is: lockgate secret list".into(),
        E::Full(_) => "remove what is not used any more: lockgate secret rm".into(),
        E::Encryption { .. } | E::Io { .. } => return None,
    };
    // Names come from pipelines, paths from anywhere.
    Some(clean_line(&text))
}

/// Whose problem it is.
pub(crate) fn class(error: &SecretStoreError) -> Class {
    use SecretStoreError as E;
    match error {
        E::NoStore(_)
        | E::Writable { .. }
        | E::NoIdentity(_)
        | E::Exposed { .. }
        | E::Identity { .. }
        | E::OtherIdentity { .. }
        | E::Unknown { .. }
        | E::UnknownVersion { .. }
        | E::Full(_) => Class::Wrong,
        E::Damaged { .. } | E::Newer { .. } | E::Encryption { .. } | E::Io { .. } => Class::Infrastructure,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_host::Secrets;
    use lockgate_model::grant::SecretName;
    use lockgate_secrets::{MAX_VALUE, MIN_VALUE, Value};

    use super::*;

    fn located(given: Option<&str>, variables: &[(&str, &str)]) -> Option<(String, String)> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let store = locate_by(given.map(Path::new), |name| variables.get(name).map(Into::into)).ok()?;
        Some((store.dir().display().to_string(), store.identity().display().to_string()))
    }

    #[test]
    fn the_store_is_where_it_was_said_to_be() {
        let pair = |dir: &str, identity: &str| Some((dir.to_owned(), identity.to_owned()));
        let home = ("HOME", "/home/me");
        let default = pair("/home/me/.config/lockgate/secrets", "/home/me/.config/lockgate/secrets.identity");
        assert_eq!(located(None, &[home]), default);
        assert_eq!(located(None, &[home, ("XDG_CONFIG_HOME", "relative"), ("LOCKGATE_SECRETS", "")]), default);
        let xdg = pair("/x/lockgate/secrets", "/x/lockgate/secrets.identity");
        assert_eq!(located(None, &[home, ("XDG_CONFIG_HOME", "/x")]), xdg);
        let variables = [home, ("LOCKGATE_SECRETS", "/s/"), ("LOCKGATE_IDENTITY", "/k")];
        assert_eq!(located(None, &variables), pair("/s/", "/k"));
        assert_eq!(located(Some("t"), &variables[..2]), pair("t", "t.identity"));
        assert_eq!(located(Some(".."), &[]), pair("..", "../identity"));
        assert_eq!(located(None, &[]), None);
    }

    #[test]
    fn what_the_store_keeps_the_host_takes() {
        // Not the longest one: of one letter alone, the host is long at finding its forms.
        for len in [0, MIN_VALUE - 1, MIN_VALUE, MAX_VALUE + 1] {
            let taken = Secrets::new([(SecretName::new("s").unwrap(), vec![b'x'; len])].into());
            assert_eq!(Value::new(vec![b'x'; len]).is_ok(), taken.is_ok(), "{len}");
        }
    }

    #[test]
    fn unknown_names_get_help() {
        let unknown = |name: &str, known: &[&str]| {
            let known = known.iter().map(|name| (*name).to_owned()).collect();
            hint(&SecretStoreError::Unknown { name: name.into(), environment: "e".into(), known }).unwrap()
        };
        assert_eq!(unknown("tokn", &["key", "token"]), "did you mean `token`?");
        assert_eq!(unknown("zzz", &["key", "token"]), "there are `key`, `token`");
        assert_eq!(unknown("zzz", &[]), "add it: lockgate secret set zzz --environment e");
    }
}
