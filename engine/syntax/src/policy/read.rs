//! What the tables of a policy file mean.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use lockgate_model::Digest;
use lockgate_model::grant::ProcessGrant;
use lockgate_model::grant::process::is_plain_path;
use lockgate_model::limits::Limits;
use lockgate_model::policy::grants::ProcessRule;
use lockgate_model::policy::limit::Limit;
use lockgate_model::policy::pattern::PatternError;
use lockgate_model::policy::{EnvironmentRules, ExportRules, GrantRules, PluginRules, Policy, Revoked, Rule, Signer};

use super::shape::{EXPECTATIONS, POLICY};
use super::{Expectation, ParsedPolicy, PolicyFile, PolicyTest};
use crate::problem::{Code, Source, cut};
use crate::report::{Problems, suggest};
use crate::table::{Table, Text};
use crate::{fields, gates, resolve};

/// Reads the text of a policy file.
pub(super) fn read(name: &str, text: &str) -> ParsedPolicy {
    let source = Source::new(name, text);
    let problems = Problems::new(source.clone());
    let root = resolve::structure(&source, &problems, &POLICY);
    let read = root.map(|root| {
        let reader = Reader { root: Table { map: &root, span: 0..0 }, source: &source, problems: &problems };
        let policy = reader.policy();
        let (tests, lines) = (reader.tests(), reader.lines());
        PolicyFile { file: name.to_owned(), policy, digest: Digest::of(text.as_bytes()), tests, lines }
    });
    let problems = problems.finish();
    ParsedPolicy { policy: read.filter(|_| problems.is_empty()), problems }
}

/// The tables of a file that the structural check has seen.
struct Reader<'a> {
    root: Table<'a>,
    source: &'a Source,
    problems: &'a Problems,
}

impl<'a> Reader<'a> {
    /// A table of the file's top, with the place of its header.
    fn table(&self, key: &str) -> Option<Table<'a>> {
        self.root.table(key).map(|table| Table { span: self.root.key_span(key), ..table })
    }

    fn policy(&self) -> Policy {
        let name = self.root.text("name").map(|name| name.text.to_owned()).unwrap_or_default();
        let signers = self.signers();
        let plugins = self.plugins(&signers);
        Policy {
            name,
            plugins,
            signers,
            revoked: self.revoked(),
            limits: self.limits(),
            grants: self.grants(),
            environment: EnvironmentRules {
                variables: self.patterns("environment", "variables").unwrap_or_default(),
                names: self.patterns("environment", "names").unwrap_or_default(),
            },
            exports: ExportRules { roots: self.patterns("exports", "roots").unwrap_or_default() },
        }
    }

    /// A list of patterns of a table of the file's top; none where it is absent.
    fn patterns<T: FromStr<Err = PatternError>>(&self, table: &str, key: &str) -> Option<Vec<T>> {
        let table = self.table(table)?;
        table.get(key)?;
        Some(self.list(&table, key))
    }

    /// A list of patterns, without those that cannot be read.
    fn list<T: FromStr<Err = PatternError>>(&self, table: &Table<'_>, key: &str) -> Vec<T> {
        let read = |text: Text<'_>| match text.text.parse() {
            Ok(pattern) => Some(pattern),
            // The structural check reported it.
            Err(_) if text.text.is_empty() => None,
            Err(PatternError { text: shown, kind, reason }) => {
                let message = format!("failed to read `{}` as {kind}", cut(shown, 80));
                self.problems.report(Code::Pattern, &text.span, "", message, Some(reason));
                None
            }
        };
        table.texts(key).filter_map(read).collect()
    }

    fn grants(&self) -> GrantRules {
        let Some(table) = self.table("grants") else { return GrantRules::default() };
        let network = |text: Text<'_>| match text.text.parse() {
            Ok(network) => Some(network),
            Err(error) => {
                let hint = "an address alone stands for itself".to_owned();
                self.problems.report(Code::Pattern, &text.span, "", format!("failed to {error}"), Some(hint));
                None
            }
        };
        GrantRules {
            http: self.list(&table, "http"),
            app: table.boolean("app").unwrap_or(false),
            clock: table.boolean("clock").unwrap_or(false),
            process: table
                .list("process")
                .iter()
                .filter_map(Table::of)
                .filter_map(|rule| self.program(&rule))
                .collect(),
            secrets: self.list(&table, "secrets"),
            secrets_in_urls: self.list(&table, "secrets_in_urls"),
            tcp: self.list(&table, "tcp"),
            networks: table.texts("networks").filter_map(network).collect(),
        }
    }

    fn program(&self, table: &Table<'_>) -> Option<ProcessRule> {
        let program = table.text("program").filter(|program| !program.text.is_empty())?;
        if let Err(error) = ProcessGrant::new(program.text) {
            let hint = "as in `git` or `/usr/bin/git`".to_owned();
            self.problems.report(Code::Pattern, &program.span, "", format!("failed to {error}"), Some(hint));
        }
        let paths = |key| {
            let path = |text: Text<'_>| {
                if is_plain_path(text.text) {
                    return Some(text.text.to_owned());
                }
                let message = format!("`{}` is not an absolute path in its plain form", cut(text.text.to_owned(), 80));
                let hint = "without `.`, `..`, doubled or trailing `/`; everything below it is allowed too".to_owned();
                self.problems.report(Code::Path, &text.span, "", message, Some(hint));
                None
            };
            table.texts(key).filter_map(path).collect()
        };
        Some(ProcessRule {
            program: program.text.to_owned(),
            arguments: table.texts("arguments").map(|argument| argument.text.to_owned()).collect(),
            env: self.list(table, "env"),
            read: paths("read"),
            write: paths("write"),
            network: table.boolean("network").unwrap_or(false),
        })
    }

    fn plugins(&self, signers: &BTreeMap<String, Signer>) -> PluginRules {
        let mut rules = PluginRules::default();
        let Some(table) = self.table("plugins") else { return rules };
        if let Some(sources) = self.patterns("plugins", "sources") {
            rules.sources = sources;
        }
        rules.digests_required = table.get("digests").is_some();
        if table.get("signed").is_some() && table.list("signed").is_empty() {
            // An empty list could be read as "signed by nobody", and would demand nothing.
            let hint = "name who must sign; without `signed` no signature is demanded".to_owned();
            let span = table.key_span("signed");
            self.problems.report(Code::Conflict, &span, "", "`signed` names nobody", Some(hint));
        }
        rules.signed = table.texts("signed").filter_map(|name| self.signer(&name, signers)).collect();
        rules
    }

    /// The name of a signer that the file has.
    fn signer(&self, name: &Text<'_>, signers: &BTreeMap<String, Signer>) -> Option<String> {
        if signers.contains_key(name.text) {
            return Some(name.text.to_owned());
        }
        let shown = cut(name.text.to_owned(), 80);
        let near = suggest(name.text, signers.keys().map(String::as_str));
        let hint = near.unwrap_or_else(|| format!("add `[signers.{shown}]` with its public key"));
        let message = format!("there is no signer `{shown}`");
        self.problems.report(Code::UnknownSigner, &name.span, "", message, Some(hint));
        None
    }

    fn signers(&self) -> BTreeMap<String, Signer> {
        let mut signers = BTreeMap::new();
        for (name, _, value) in self.root.table("signers").map(|table| table.entries()).unwrap_or_default() {
            let Some(table) = Table::of(value) else { continue };
            let until = table.get("until").and_then(|until| gates::plain_moment(until, self.problems));
            let key = table.text("key").map(|key| key.text.to_owned()).unwrap_or_default();
            signers.insert(name.to_owned(), Signer { key, until });
        }
        signers
    }

    fn revoked(&self) -> Revoked {
        let Some(table) = self.table("revoked") else { return Revoked::default() };
        let key = |text: Text<'_>| {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if text.text.len() == 64 && text.text.bytes().all(hex) {
                return Some(text.text.to_owned());
            }
            let hint =
                "the id of a key is 64 digits of lower-case hex, as `lockgate plugin keygen` prints it".to_owned();
            let message = format!("`{}` is not the id of a key", cut(text.text.to_owned(), 80));
            self.problems.report(Code::BadName, &text.span, "", message, Some(hint));
            None
        };
        let digest = |text: Text<'_>| match text.text.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(error) => {
                let hint = "`lockgate plugin inspect` shows a component's digest".to_owned();
                self.problems.report(Code::BadName, &text.span, "", format!("failed to {error}"), Some(hint));
                None
            }
        };
        Revoked {
            keys: table.texts("keys").filter_map(key).collect::<BTreeSet<_>>(),
            digests: table.texts("digests").filter_map(digest).collect(),
        }
    }

    fn limits(&self) -> BTreeMap<Limit, u64> {
        let Some(table) = self.table("limits") else { return BTreeMap::new() };
        let read = fields::limits(Some(&table), &Limits::default());
        let said = Limit::ALL.into_iter().filter(|limit| table.get(limit.name()).is_some());
        said.map(|limit| (limit, limit.of(&read))).collect()
    }

    fn tests(&self) -> Vec<PolicyTest> {
        let line = |offset: usize| self.source.line_of(offset) + 1;
        let mut tests = Vec::new();
        for table in self.root.list("test").iter().filter_map(Table::of) {
            let refused = table.text("expect").is_some_and(|word| word.text == EXPECTATIONS[1]);
            let because = table.text("because");
            let rule = because.as_ref().and_then(|name| Rule::ALL.into_iter().find(|rule| rule.name() == name.text));
            if !refused && because.is_some() && table.get("expect").is_some() {
                let hint = "leave it away, or expect `refused`".to_owned();
                let message = "`because` names what refuses, but the test expects `allowed`";
                self.problems.report(Code::Conflict, &table.key_span("because"), "", message, Some(hint));
            }
            let text = |key| table.text(key).map(|text| text.text.to_owned()).unwrap_or_default();
            let signers = self.root.table("signers");
            for name in table.texts("signed_by") {
                let names: Vec<_> = signers.iter().flat_map(Table::entries).map(|(name, ..)| name).collect();
                if !names.contains(&name.text) {
                    let message = format!("there is no signer `{}`", cut(name.text.to_owned(), 80));
                    self.problems.report(Code::UnknownSigner, &name.span, "", message, suggest(name.text, names));
                }
            }
            tests.push(PolicyTest {
                name: text("name"),
                line: line(table.span.start),
                pipeline: text("pipeline"),
                signed_by: table.texts("signed_by").map(|name| name.text.to_owned()).collect(),
                expect: if refused { Expectation::Refused(rule) } else { Expectation::Allowed },
            });
        }
        tests
    }

    /// Where each rule stands.
    fn lines(&self) -> BTreeMap<Rule, usize> {
        let line = |rule: Rule| {
            let (table, key) = rule.name().split_once('.')?;
            let table = self.root.table(table)?;
            table.get(key)?;
            Some((rule, self.source.line_of(table.key_span(key).start) + 1))
        };
        Rule::ALL.into_iter().filter_map(line).collect()
    }
}
