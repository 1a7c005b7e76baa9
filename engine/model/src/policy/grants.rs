//! Kinds of effects under a policy: which line says what of which kind, once for the decision and for what reaches the host.

use std::collections::BTreeMap;

use super::pattern::{HttpPattern, SecretPattern, TcpPattern, WordPattern, below};
use super::{Policy, Rule};
use crate::grant::address::Network;
use crate::grant::{Grants, ProcessGrant, SecretName, SecretPlace, SecretSource, process};

/// What a node is granted, and where the secrets in it come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) grants: &'a Grants,
    pub(super) secrets: &'a BTreeMap<SecretName, SecretSource>,
}

/// One kind of effect.
pub(super) struct Kind {
    /// As manifests name it.
    pub(super) name: &'static str,
    /// The line that speaks of all of it.
    pub(super) rule: Rule,
    /// How much of it a pipeline grants.
    pub(super) count: fn(&Grants) -> usize,
    /// The same, one text each.
    pub(super) texts: fn(&Grants) -> Vec<String>,
}

/// One line of a policy on one kind of effect.
pub(super) struct Line {
    pub(super) kind: &'static Kind,
    pub(super) rule: Rule,
    /// Whether it covers the grant of this number.
    pub(super) covers: fn(&Policy, Wanted<'_>, usize) -> bool,
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

static APP: Kind = Kind {
    name: "app",
    rule: Rule::App,
    count: |grants| usize::from(grants.app),
    texts: |grants| grants.app.then(|| "yes".to_owned()).into_iter().collect(),
};
static CLOCK: Kind = Kind {
    name: "clock",
    rule: Rule::Clock,
    count: |grants| usize::from(grants.clock),
    texts: |grants| grants.clock.then(|| "yes".to_owned()).into_iter().collect(),
};
static HTTP: Kind =
    Kind { name: "http", rule: Rule::Http, count: |grants| grants.http.len(), texts: |grants| texts(&grants.http) };
static PROCESS: Kind = Kind {
    name: "process",
    rule: Rule::Process,
    count: |grants| grants.process.len(),
    texts: |grants| texts(&grants.process),
};
static SECRETS: Kind = Kind {
    name: "secrets",
    rule: Rule::Secrets,
    count: |grants| grants.secrets.len(),
    texts: |grants| texts(&grants.secrets),
};
static TCP: Kind =
    Kind { name: "tcp", rule: Rule::Tcp, count: |grants| grants.tcp.len(), texts: |grants| texts(&grants.tcp) };

/// Every kind of effect, sorted by name.
pub(super) static KINDS: [&Kind; 6] = [&APP, &CLOCK, &HTTP, &PROCESS, &SECRETS, &TCP];

/// Every line on every kind; a grant passes if all lines on its kind cover it.
pub(super) static LINES: [Line; 12] = [
    Line { kind: &APP, rule: Rule::App, covers: |policy, _, _| policy.grants.app },
    Line { kind: &CLOCK, rule: Rule::Clock, covers: |policy, _, _| policy.grants.clock },
    Line {
        kind: &HTTP,
        rule: Rule::Http,
        covers: |policy, wanted, index| {
            let grant = &wanted.grants.http[index];
            policy.grants.http.iter().any(|pattern: &HttpPattern| pattern.covers(grant))
        },
    },
    Line {
        kind: &HTTP,
        rule: Rule::Networks,
        covers: |policy, wanted, index| policy.networks(&wanted.grants.http[index].networks),
    },
    Line {
        kind: &PROCESS,
        rule: Rule::Process,
        covers: |policy, wanted, index| {
            let grant = &wanted.grants.process[index];
            policy.grants.process.iter().any(|rule: &ProcessRule| rule.covers(grant))
        },
    },
    Line {
        kind: &PROCESS,
        rule: Rule::Secrets,
        covers: |policy, wanted, index| {
            wanted.grants.process[index].secrets().all(|name| policy.secret(wanted.secrets.get(name)))
        },
    },
    Line {
        kind: &PROCESS,
        rule: Rule::Environments,
        covers: |policy, wanted, index| {
            wanted.grants.process[index].secrets().all(|name| policy.environment(wanted.secrets.get(name)))
        },
    },
    Line {
        kind: &SECRETS,
        rule: Rule::Secrets,
        covers: |policy, wanted, index| policy.secret(wanted.secrets.get(&wanted.grants.secrets[index].name)),
    },
    Line {
        kind: &SECRETS,
        rule: Rule::SecretsInUrls,
        covers: |policy, wanted, index| {
            let grant = &wanted.grants.secrets[index];
            match grant.place {
                SecretPlace::Message => true,
                SecretPlace::Url => policy.secret_in_urls(wanted.secrets.get(&grant.name)),
            }
        },
    },
    Line {
        kind: &SECRETS,
        rule: Rule::Environments,
        covers: |policy, wanted, index| policy.environment(wanted.secrets.get(&wanted.grants.secrets[index].name)),
    },
    Line {
        kind: &TCP,
        rule: Rule::Tcp,
        covers: |policy, wanted, index| {
            let grant = &wanted.grants.tcp[index];
            policy.grants.tcp.iter().any(|pattern: &TcpPattern| pattern.covers(grant))
        },
    },
    Line {
        kind: &TCP,
        rule: Rule::Networks,
        covers: |policy, wanted, index| policy.networks(&wanted.grants.tcp[index].networks),
    },
];

impl Policy {
    fn networks(&self, wanted: &[Network]) -> bool {
        wanted.iter().all(|network| self.grants.networks.iter().any(|allowed| allowed.covers(network)))
    }

    /// Whether a secret may come from where it does. One of which nobody knows where it comes from may not.
    fn secret(&self, source: Option<&SecretSource>) -> bool {
        let allowed = |source| self.grants.secrets.iter().any(|pattern: &SecretPattern| pattern.covers(source));
        source.is_some_and(allowed)
    }

    fn secret_in_urls(&self, source: Option<&SecretSource>) -> bool {
        let allowed = |source| self.grants.secrets_in_urls.iter().any(|pattern| pattern.covers(source));
        source.is_some_and(allowed)
    }

    fn environment(&self, source: Option<&SecretSource>) -> bool {
        match source {
            Some(SecretSource::Store { environment, .. }) => {
                self.environment.names.iter().any(|pattern| pattern.covers(environment))
            }
            Some(SecretSource::Env(_) | SecretSource::File(_)) | None => true,
        }
    }

    /// The part of these grants that the policy covers. What was decided before a run is never changed by this: it stands between
    /// the decision and the host, so that no way around the decision leads to an effect.
    pub fn within(&self, grants: Grants, secrets: &BTreeMap<SecretName, SecretSource>) -> Grants {
        let wanted = Wanted { grants: &grants, secrets };
        let passes = |kind: &Kind, index| {
            let mut lines = LINES.iter().filter(|line| line.kind.name == kind.name);
            lines.all(|line| (line.covers)(self, wanted, index))
        };
        fn keep<T: Clone>(all: &[T], passes: impl Fn(usize) -> bool) -> Vec<T> {
            all.iter().enumerate().filter(|(index, _)| passes(*index)).map(|(_, grant)| grant.clone()).collect()
        }
        // Taken apart, so that a new kind of grant cannot pass here unseen.
        let Grants { http, clock, process, secrets: placed, tcp, app } = &grants;
        Grants {
            http: keep(http, |index| passes(&HTTP, index)),
            clock: *clock && passes(&CLOCK, 0),
            process: keep(process, |index| passes(&PROCESS, index)),
            secrets: keep(placed, |index| passes(&SECRETS, index)),
            tcp: keep(tcp, |index| passes(&TCP, index)),
            app: *app && passes(&APP, 0),
        }
    }
}

/// A program that pipelines may grant: with arguments, paths, variables and network of at most this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessRule {
    /// As grants must name it: an absolute path, or a name.
    pub program: String,
    /// Patterns as in [`ProcessGrant::arguments`]: a grant's patterns must permit nothing that these do not.
    pub arguments: Vec<String>,
    /// Names of variables that its environment may have.
    pub env: Vec<WordPattern>,
    /// Absolute paths at or below which it may read.
    pub read: Vec<String>,
    /// Absolute paths at or below which it may read and write.
    pub write: Vec<String>,
    /// Whether it may open network connections.
    pub network: bool,
}

impl ProcessRule {
    /// Whether everything that a grant permits is covered.
    pub fn covers(&self, grant: &ProcessGrant) -> bool {
        // Taken apart, so that a new field of a grant cannot pass here unseen. What happens in doubt is no permission.
        let ProcessGrant { program, arguments, env, read, write, network, in_doubt: _ } = grant;
        let under = |path: &String, roots: &[String]| roots.iter().any(|root| below(root, path));
        self.program == *program
            && covers_arguments(&self.arguments, arguments)
            && env.keys().all(|name| self.env.iter().any(|pattern| pattern.covers(name)))
            && read.iter().all(|path| under(path, &self.read) || under(path, &self.write))
            && write.iter().all(|path| under(path, &self.write))
            && (self.network || !network)
    }
}

impl std::fmt::Display for ProcessRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { program, arguments, env, read, write, network } = self;
        f.write_str(program)?;
        arguments.iter().try_for_each(|argument| write!(f, " {argument}"))?;
        let env: Vec<_> = env.iter().map(ToString::to_string).collect();
        for (what, list) in [("env", &env), ("read", read), ("write", write)] {
            if !list.is_empty() {
                write!(f, "; {what} {}", list.join(" "))?;
            }
        }
        if *network { f.write_str("; network") } else { Ok(()) }
    }
}

/// Whether a list of patterns permits all that another one permits. Where it cannot tell, it says no.
fn covers_arguments(allowed: &[String], wanted: &[String]) -> bool {
    let split = |patterns: &[String]| match patterns.split_last() {
        Some((last, patterns)) if last == process::REST => (patterns.len(), true),
        _ => (patterns.len(), false),
    };
    let ((few, rest), (many, more)) = (split(allowed), split(wanted));
    // What `...` takes is no option, and so is what `*` takes.
    let fits = |index: usize| covers_argument(if index < few { &allowed[index] } else { "*" }, &wanted[index]);
    let length = if rest { few <= many } else { few == many && !more };
    length && (0..many).all(fits)
}

/// Whether a pattern permits all that another one permits: a `*` of the other one is a character like others here, that only a `*` of
/// this one can stand for.
fn covers_argument(allowed: &str, wanted: &str) -> bool {
    allowed == "**" || wanted != "**" && process::matches(allowed, wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn arguments_are_covered_where_nothing_more_is_permitted() {
        let covers = |allowed: &[&str], wanted: &[&str]| covers_arguments(&owned(allowed), &owned(wanted));
        assert!(covers(&["describe", "*"], &["describe", "*"]));
        assert!(covers(&["describe", "*"], &["describe", "v*"]));
        assert!(covers(&["describe", "*"], &["describe", "main"]));
        assert!(!covers(&["describe", "*"], &["describe", "**"]), "`**` takes options");
        assert!(!covers(&["describe", "*"], &["describe", "--exec=x"]));
        assert!(!covers(&["describe", "v*"], &["describe", "*"]));
        assert!(!covers(&["describe", "*"], &["describe"]));
        assert!(!covers(&["describe", "*"], &["describe", "*", "*"]));
        assert!(covers(&["add", "..."], &["add", "a", "b*"]) && covers(&["add", "..."], &["add", "..."]));
        assert!(covers(&["add", "..."], &["add", "x", "..."]));
        assert!(!covers(&["add", "..."], &["add", "--force"]) && !covers(&["add", "..."], &["add", "**"]));
        assert!(!covers(&["add", "*", "..."], &["add", "..."]), "`...` may be nothing");
        assert!(!covers(&["add"], &["add", "..."]));
        assert!(covers(&["**"], &["**"]) && covers(&["--a=*"], &["--a=b*c"]) && !covers(&["--a=*"], &["--*"]));
        assert!(covers(&[], &[]) && !covers(&[], &["x"]) && !covers(&[], &["..."]));
    }

    #[test]
    fn every_part_of_a_program_bites() {
        let grant = ProcessGrant {
            arguments: owned(&["describe"]),
            env: [("LANG".to_owned(), crate::grant::EnvValue::Text("C".into()))].into(),
            read: owned(&["/etc/git"]),
            write: owned(&["/var/cache/git"]),
            network: true,
            ..ProcessGrant::new("git").unwrap()
        };
        let rule = ProcessRule {
            program: "git".into(),
            arguments: owned(&["describe"]),
            env: vec!["L*".parse().unwrap()],
            read: owned(&["/etc"]),
            write: owned(&["/var/cache"]),
            network: true,
        };
        assert!(rule.covers(&grant));
        assert_eq!(rule.to_string(), "git describe; env L*; read /etc; write /var/cache; network");
        let narrower = [
            ProcessRule { program: "/usr/bin/git".into(), ..rule.clone() },
            ProcessRule { arguments: Vec::new(), ..rule.clone() },
            ProcessRule { env: Vec::new(), ..rule.clone() },
            ProcessRule { read: owned(&["/etc/g"]), ..rule.clone() },
            ProcessRule { write: owned(&["/var/cache/git/x"]), read: owned(&["/"]), ..rule.clone() },
            ProcessRule { network: false, ..rule.clone() },
        ];
        assert!(narrower.iter().all(|rule| !rule.covers(&grant)));
        // What may be written may be read.
        assert!(rule.covers(&ProcessGrant { read: owned(&["/var/cache/x"]), ..grant }));
    }

    proptest! {
        /// Whatever a covered pattern permits, the covering one permits.
        #[test]
        fn covering_is_sound(
            allowed in proptest::collection::vec("(a|-|\\*|b){0,4}|\\*\\*|\\.\\.\\.", 0..4),
            wanted in proptest::collection::vec("(a|-|\\*|b){0,4}|\\*\\*|\\.\\.\\.", 0..4),
            arguments in proptest::collection::vec("(a|-|b){0,4}", 0..4),
        ) {
            let grant = |patterns: &[String]| ProcessGrant { arguments: patterns.to_vec(), ..ProcessGrant::new("x").unwrap() };
            if covers_arguments(&allowed, &wanted) && grant(&wanted).permits("x", &arguments) {
                prop_assert!(grant(&allowed).permits("x", &arguments));
            }
        }
    }
}
