//! Grants of programs: which, with which arguments, in which surroundings.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::InDoubt;
use super::secret::SecretName;

/// Where programs that are granted by name are looked for, in this order; never the engine's own `PATH`.
pub const PROGRAM_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// The environment variable in which a program finds the idempotency key of its execution.
pub const KEY_VARIABLE: &str = "LOCKGATE_IDEMPOTENCY_KEY";
/// The pattern that stands for any further arguments.
pub(crate) const REST: &str = "...";

/// One program that may be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessGrant {
    /// An absolute path, or a name that is looked for in [`PROGRAM_PATH`].
    pub program: String,
    /// One pattern for each argument, in order. In a pattern `*` stands for any text, but a pattern that begins with it takes no
    /// argument that begins with `-`: so no value is taken for an option. `**` takes any argument. `...` at the end stands for
    /// any number of further arguments that do not begin with `-`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The program's whole environment, besides `PATH`, `HOME` and `TMPDIR`, which the engine sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// Absolute paths of files and directories of the host that it may read, besides the system's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Absolute paths that it may read and write, besides its working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub write: Vec<String>,
    /// Whether it may open network connections.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// What happens to an execution in doubt.
    #[serde(default = "stop", skip_serializing_if = "is_stop")]
    pub in_doubt: InDoubt,
}

const fn stop() -> InDoubt {
    InDoubt::Stop
}

fn is_stop(in_doubt: &InDoubt) -> bool {
    *in_doubt == InDoubt::Stop
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvValue {
    /// As it stands here.
    Text(String),
    /// A secret's value.
    Secret(SecretName),
}

/// Why a grant of a program cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grant the program `{program}`: {reason}")]
pub struct ProcessGrantError {
    /// The program as written, cut to 200 characters.
    pub program: String,
    /// What is wrong, for people.
    pub reason: &'static str,
}

impl ProcessGrant {
    /// A grant of this program without arguments, environment, paths and network.
    pub fn new(program: &str) -> Result<Self, ProcessGrantError> {
        let error = |reason| ProcessGrantError { program: program.chars().take(200).collect(), reason };
        if program.is_empty() || program.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(error(
                "a program is a name or an absolute path, without blanks; arguments stand in `arguments`",
            ));
        }
        if program.len() > 200 {
            return Err(error("its name is longer than 200 bytes"));
        }
        if program.contains('/') && !is_plain_path(program) {
            return Err(error("expected a name, as in `git`, or an absolute path without `.`, `..` and doubled `/`"));
        }
        if !program.contains('/') && (program.starts_with('-') || program == "." || program == "..") {
            return Err(error("this cannot be a program's name"));
        }
        Ok(Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            env: BTreeMap::new(),
            read: Vec::new(),
            write: Vec::new(),
            network: false,
            in_doubt: InDoubt::Stop,
        })
    }

    /// Whether the program may be run with these arguments.
    pub fn permits(&self, program: &str, arguments: &[String]) -> bool {
        if self.program != program {
            return false;
        }
        let (patterns, rest) = match self.arguments.split_last() {
            Some((last, patterns)) if last == REST => (patterns, true),
            _ => (&self.arguments[..], false),
        };
        let Some((first, further)) = arguments.split_at_checked(patterns.len()) else { return false };
        patterns.iter().zip(first).all(|(pattern, argument)| matches(pattern, argument))
            && (rest || further.is_empty())
            && further.iter().all(|argument| !argument.starts_with('-'))
    }

    /// The secrets in its environment.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.env.values().filter_map(|value| match value {
            EnvValue::Secret(name) => Some(name),
            EnvValue::Text(_) => None,
        })
    }
}

/// Whether this is an absolute path in its one form: no `.`, `..`, doubled or trailing `/`.
pub fn is_plain_path(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix('/')
            .is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0'))
}

/// Whether an argument matches a pattern.
pub fn matches(pattern: &str, argument: &str) -> bool {
    if pattern == "**" {
        return true;
    }
    if pattern.starts_with('*') && argument.starts_with('-') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = argument.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl fmt::Display for ProcessGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for argument in &self.arguments {
            if argument.contains(|c: char| c.is_whitespace() || "'\"".contains(c)) || argument.is_empty() {
                write!(f, " {argument:?}")?;
            } else {
                write!(f, " {argument}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_patterns() {
        let permits = |patterns: &[&str], arguments: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            ProcessGrant { arguments: owned(patterns), ..ProcessGrant::new("git").unwrap() }
                .permits("git", &owned(arguments))
        };
        assert!(permits(&[], &[]));
        assert!(!permits(&[], &["push"]));
        assert!(permits(&["describe", "--tags", "*"], &["describe", "--tags", "v1"]));
        assert!(!permits(&["describe", "--tags", "*"], &["describe", "--tags", "--exec=x"]), "a value is no option");
        assert!(!permits(&["describe", "--tags", "*"], &["describe", "--tags"]));
        assert!(!permits(&["describe"], &["describe", "x"]));
        assert!(permits(&["log", "--format=*"], &["log", "--format=-%h"]));
        assert!(!permits(&["log", "--format=*"], &["log", "--output=x"]));
        assert!(permits(&["add", "..."], &["add"]) && permits(&["add", "..."], &["add", "a", "b"]));
        assert!(!permits(&["add", "..."], &["add", "a", "--force"]));
        assert!(permits(&["**", "**"], &["-c", "x"]) && !permits(&["**"], &[]));
        assert!(!ProcessGrant::new("git").unwrap().permits("gitk", &[]));
    }

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, argument, yes) in [
            ("*", "", true),
            ("*", "a", true),
            ("*", "-a", false),
            ("a*", "a-b", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "a", false),
            ("ab*bc", "abc", false),
            ("*.toml", "x.toml", true),
            ("*.toml", "-x.toml", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("a", "ab", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, argument), yes, "{pattern} {argument}");
        }
    }

    #[test]
    fn programs_are_names_or_absolute_paths() {
        for program in ["git", "/usr/bin/git", "g++"] {
            assert!(ProcessGrant::new(program).is_ok(), "{program}");
        }
        for program in
            ["", "./git", "bin/git", "/usr/../git", "/usr//git", "/usr/git/", "git describe", "-x", "..", "a\0"]
        {
            assert!(ProcessGrant::new(program).is_err(), "{program}");
        }
    }
}
