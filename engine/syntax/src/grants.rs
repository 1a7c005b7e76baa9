//! `grants` of a node, and `[secrets]` of the file.

use std::collections::BTreeMap;
use std::ops::Range;

use lockgate_model::grant::address::Network;
use lockgate_model::grant::process::{KEY_VARIABLE, is_plain_path};
use lockgate_model::grant::{
    EnvValue, Grants, HttpGrant, InDoubt, ProcessGrant, SecretGrant, SecretName, SecretPlace, SecretSource, TcpGrant,
};

use crate::problem::{Code, cut};
use crate::report::suggest;
use crate::substitute::{Scope, UNIT};
use crate::table::{Table, Text, Value, text};

/// Variables of a program's environment that the engine sets.
const ENGINE_ENV: [&str; 4] = ["HOME", KEY_VARIABLE, "PATH", "TMPDIR"];

/// A `grants` table.
pub(crate) fn grants(table: Option<&Table<'_>>, scope: Scope<'_>) -> Grants {
    let mut grants = Grants::default();
    let Some(table) = table else { return grants };
    grants.http = read(table, "http", scope, |value| http(value, scope));
    grants.app = table.boolean("app").unwrap_or(false);
    grants.clock = table.boolean("clock").unwrap_or(false);
    grants.process = read(table, "process", scope, |value| process(&Table::of(value)?, scope));
    grants.tcp = read(table, "tcp", scope, |value| tcp(value, scope));
    grants.secrets = read(table, "secrets", scope, |value| secret(value, &grants, scope));
    grants
}

/// All grants of one kind that can be read.
fn read<G>(table: &Table<'_>, key: &str, scope: Scope<'_>, one: impl Fn(&Value<'_>) -> Option<G>) -> Vec<G> {
    let mut grants = Vec::new();
    for value in table.list(key) {
        // A grant takes more memory than its text.
        if !scope.cx.charge(4 * UNIT, &value.span()) {
            break;
        }
        grants.extend(one(value));
    }
    grants
}

fn wrong(scope: Scope<'_>, span: &Range<usize>, message: String, hint: &str) {
    scope.cx.problems.report(Code::Grant, span, "", message, Some(hint.to_owned()));
}

fn http(value: &Value<'_>, scope: Scope<'_>) -> Option<HttpGrant> {
    let inner = Table::of(value);
    let text = inner.as_ref().map_or_else(|| text(value), |inner| inner.text("request"))?;
    let expanded = scope.text(&text)?;
    match HttpGrant::parse(&expanded) {
        Ok(mut grant) => {
            if let Some(inner) = inner {
                grant.networks = networks(&inner, scope);
                if let Some(said) = in_doubt(&inner) {
                    grant = grant.with_in_doubt(said);
                }
            }
            Some(grant)
        }
        Err(error) => {
            wrong(scope, &text.span, format!("failed to {error}"), "as in `GET https://example.org/api`");
            None
        }
    }
}

fn tcp(value: &Value<'_>, scope: Scope<'_>) -> Option<TcpGrant> {
    let inner = Table::of(value);
    let text = inner.as_ref().map_or_else(|| text(value), |inner| inner.text("server"))?;
    let expanded = scope.text(&text)?;
    match TcpGrant::parse(&expanded) {
        Ok(mut grant) => {
            if let Some(inner) = inner {
                grant.networks = networks(&inner, scope);
                grant.in_doubt = in_doubt(&inner);
            }
            Some(grant)
        }
        Err(error) => {
            wrong(scope, &text.span, format!("failed to {error}"), "as in `db.example.org:5432`");
            None
        }
    }
}

fn in_doubt(table: &Table<'_>) -> Option<InDoubt> {
    let word = table.text("in_doubt")?;
    [InDoubt::Repeat, InDoubt::Stop].into_iter().find(|said| said.name() == word.text)
}

fn networks(table: &Table<'_>, scope: Scope<'_>) -> Vec<Network> {
    let one = |text: Text<'_>| match scope.text(&text)?.parse() {
        Ok(network) => Some(network),
        Err(error) => {
            wrong(scope, &text.span, format!("failed to {error}"), "an address alone stands for itself");
            None
        }
    };
    table.texts("networks").filter_map(one).collect()
}

fn process(table: &Table<'_>, scope: Scope<'_>) -> Option<ProcessGrant> {
    let program = table.text("program")?;
    let mut grant = match ProcessGrant::new(&scope.text(&program)?) {
        Ok(grant) => grant,
        Err(error) => {
            wrong(scope, &program.span, format!("failed to {error}"), "as in `git` or `/usr/bin/git`");
            return None;
        }
    };
    let arguments: Option<Vec<_>> = table.texts("arguments").map(|text| scope.text(&text)).collect();
    grant.arguments = arguments?;
    grant.read = paths(table, "read", scope);
    grant.write = paths(table, "write", scope);
    grant.network = table.boolean("network").unwrap_or(false);
    grant.in_doubt = in_doubt(table).unwrap_or(InDoubt::Stop);
    for (name, span, value) in table.table("env").map(|env| env.entries()).unwrap_or_default() {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(letters) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` cannot be the name of an environment variable", cut(name.to_owned(), 80));
            let hint = "names are letters, digits and `_`, not beginning with a digit".to_owned();
            scope.cx.problems.report(Code::BadName, &span, "", message, Some(hint));
            continue;
        }
        if ENGINE_ENV.contains(&name) || name.starts_with("LD_") {
            wrong(
                scope,
                &span,
                format!("the environment variable `{name}` is the engine's"),
                "the engine sets it for each program that it runs, or it says what is loaded into programs",
            );
            continue;
        }
        let value = match (text(value), Table::of(value)) {
            (Some(text), _) => scope.text(&text).map(EnvValue::Text),
            (None, Some(table)) => table.text("secret").and_then(|name| known(&name, scope)).map(EnvValue::Secret),
            (None, None) => None,
        };
        grant.env.extend(value.map(|value| (name.to_owned(), value)));
    }
    Some(grant)
}

fn paths(table: &Table<'_>, key: &str, scope: Scope<'_>) -> Vec<String> {
    let one = |text: Text<'_>| {
        let path = scope.text(&text)?;
        if !is_plain_path(&path) {
            wrong(
                scope,
                &text.span,
                "expected an absolute path without `.`, `..` and doubled `/`".to_owned(),
                "as in `/etc/ssl/certs`",
            );
            return None;
        }
        Some(path)
    };
    table.texts(key).filter_map(one).collect()
}

fn secret(value: &Value<'_>, others: &Grants, scope: Scope<'_>) -> Option<SecretGrant> {
    let inner = Table::of(value);
    let name = inner.as_ref().map_or_else(|| text(value), |inner| inner.text("name"))?;
    let name = known(&name, scope)?;
    let mut to = Vec::new();
    for text in inner.iter().flat_map(|inner| inner.texts("to")) {
        let target = scope.text(&text)?.to_ascii_lowercase();
        let named = |host: &str, port: u16| target == host || target == format!("{host}:{port}");
        let http = others.http.iter().any(|grant| named(&grant.host, grant.port));
        if !http && !others.tcp.iter().any(|grant| named(&grant.host, grant.port)) {
            wrong(
                scope,
                &text.span,
                format!("no `http` or `tcp` grant of the node is for `{}`", cut(target, 80)),
                "a secret only goes where the node may send something: `HOST` or `HOST:PORT` of such a grant",
            );
            continue;
        }
        to.push(target);
    }
    let place = match inner.as_ref().and_then(|inner| inner.text("place")) {
        Some(word) if word.text == SecretPlace::Url.name() => SecretPlace::Url,
        _ => SecretPlace::Message,
    };
    if place == SecretPlace::Url && others.http.is_empty() {
        let span = inner.as_ref().map_or_else(|| value.span(), |inner| inner.key_span("place"));
        wrong(
            scope,
            &span,
            "a secret in URLs goes nowhere without an `http` grant".to_owned(),
            "name what it may ask: `grants.http = [\"POST https://hooks.example.org/services\"]`",
        );
    }
    Some(SecretGrant { name, to, place })
}

/// A secret's name, if `[secrets]` has it.
fn known(name: &Text<'_>, scope: Scope<'_>) -> Option<SecretName> {
    let secrets = &scope.cx.secrets;
    if let Some((name, _)) = secrets.get_key_value(name.text) {
        return Some(name.clone());
    }
    let hint = suggest(name.text, secrets.keys().map(SecretName::as_str)).unwrap_or_else(|| {
        let name = cut(name.text.to_owned(), 64);
        format!("say where its value comes from: `[secrets]` `{name} = {{ env = \"...\" }}`")
    });
    let message = format!("`[secrets]` has no `{}`", cut(name.text.to_owned(), 80));
    scope.cx.problems.report(Code::UnknownSecret, &name.span, "", message, Some(hint));
    None
}

/// The file's `[secrets]`.
pub(crate) fn secrets(root: &Table<'_>, scope: Scope<'_>) -> BTreeMap<SecretName, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (name, _, value) in root.table("secrets").map(|table| table.entries()).unwrap_or_default() {
        let (Ok(name), Some(table)) = (SecretName::new(name), Table::of(value)) else { continue };
        let source = match (table.text("env"), table.text("file"), table.text("store")) {
            (Some(env), None, None) => Some(SecretSource::Env(env.text.to_owned())),
            (None, Some(file), None) => scope.text(&file).map(SecretSource::File),
            (None, None, Some(store)) => {
                let environment = match table.text("environment") {
                    Some(text) => scope.text(&text).and_then(|name| environment(&name, &text, scope)),
                    None => Some("default".to_owned()),
                };
                environment.map(|environment| SecretSource::Store { name: store.text.to_owned(), environment })
            }
            // None or several were reported by the structural check.
            _ => None,
        };
        if source.is_some() && table.get("store").is_none() && table.get("environment").is_some() {
            let message = "`environment` is only for `store`";
            scope.cx.problems.report(
                Code::Conflict,
                &table.key_span("environment"),
                "",
                message,
                Some("leave it away".into()),
            );
        }
        secrets.extend(source.map(|source| (name, source)));
    }
    secrets
}

/// An environment's name after its substitutions.
fn environment(name: &str, text: &Text<'_>, scope: Scope<'_>) -> Option<String> {
    match SecretName::new(name) {
        Ok(name) => Some(name.as_str().to_owned()),
        Err(error) => {
            scope.cx.problems.report(Code::BadName, &text.span, "", format!("failed to {error}"), None);
            None
        }
    }
}
