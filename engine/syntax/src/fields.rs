//! The tables inside of a node: limits, retry, poll, environment, inputs of the host; and paths.

use std::collections::BTreeMap;
use std::ops::Range;

use lockgate_model::limits::Limits;
use lockgate_model::outcome::FailureKind;
use lockgate_model::pipeline::{InputSource, Poll, Retry, SnapshotSpec};

use crate::problem::{Code, cut};
use crate::shape::{MAX_LOOKS, MAX_PARAM};
use crate::substitute::{Context, Scope, UNIT};
use crate::table::{Table, Text};

/// The limits of `base`, with what a `limits` table says.
pub(crate) fn limits(table: Option<&Table<'_>>, base: &Limits) -> Limits {
    let mut limits = base.clone();
    let Some(table) = table else { return limits };
    macro_rules! set {
        (quantity: $($quantity:ident)+; number: $($number:ident)+) => {
            $(if let Some(value) = table.quantity(stringify!($quantity)) { limits.$quantity = value; })+
            $(if let Some(Ok(value)) = table.integer(stringify!($number)).map(u64::try_from) { limits.$number = value; })+
        };
    }
    set!(
        quantity: fuel start_fuel memory call_bytes log output timeout;
        number: table_elements handles output_entries findings effects
    );
    limits
}

/// A `retry` table.
pub(crate) fn retry(table: Option<&Table<'_>>, cx: &Context<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(table) = table else { return retry };
    if let Some(Ok(attempts)) = table.integer("attempts").map(u32::try_from) {
        retry.attempts = attempts;
    }
    if let Some(backoff) = table.quantity("backoff") {
        retry.backoff = backoff;
    }
    match table.quantity("max_backoff") {
        Some(longest) if longest < retry.backoff => {
            let hint = format!("the first pause is {}", retry.backoff);
            cx.problems.report(
                Code::Conflict,
                &table.key_span("max_backoff"),
                "",
                "`max_backoff` is shorter than `backoff`",
                Some(hint),
            );
        }
        Some(longest) => retry.max_backoff = longest,
        None => retry.max_backoff = retry.max_backoff.max(retry.backoff),
    }
    if table.get("on").is_some() {
        let kind = |text: Text<'_>| FailureKind::ALL.into_iter().find(|kind| kind.name() == text.text);
        retry.on = table.texts("on").filter_map(kind).collect();
    }
    retry
}

/// A `poll` table.
pub(crate) fn poll(table: &Table<'_>, cx: &Context<'_>) -> Option<Poll> {
    let count = |key| table.integer(key).and_then(|number| u32::try_from(number).ok());
    let poll = Poll {
        every: table.quantity("every")?,
        span: table.quantity("for")?,
        healthy: count("healthy"),
        unhealthy: count("unhealthy"),
    };
    if poll.span < poll.every {
        let hint = format!("one look begins every {}", poll.every);
        cx.problems.report(Code::Conflict, &table.key_span("for"), "", "`for` is shorter than `every`", Some(hint));
        return None;
    }
    if poll.span.0 / poll.every.0.max(1) > MAX_LOOKS {
        let hint = "look less often, or for a shorter time".to_owned();
        let message = format!("these are {} looks: at most {MAX_LOOKS}", poll.span.0 / poll.every.0.max(1));
        cx.problems.report(Code::OutOfRange, &table.key_span("every"), "", message, Some(hint));
        return None;
    }
    Some(poll)
}

/// The values of an `env` list.
pub(crate) fn env(table: &Table<'_>, cx: &Context<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for name in table.texts("env") {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.text.chars().all(letters) || name.text.starts_with(|c: char| c.is_ascii_digit()) {
            let hint = "names are letters, digits and `_`, not beginning with a digit; values do not stand in a file"
                .to_owned();
            let message = format!("`{}` cannot be the name of an environment variable", cut(name.text.to_owned(), 80));
            cx.problems.report(Code::BadName, &name.span, "", message, Some(hint));
            continue;
        }
        let Some(value) = (cx.inputs.env)(name.text) else { continue };
        if value.len() > MAX_PARAM {
            let message = format!("the environment variable `{}` is longer than {MAX_PARAM} bytes", name.text);
            cx.problems.report(Code::TooLarge, &name.span, "", message, None);
        } else if cx.charge(UNIT + value.len() as u64, &name.span) {
            env.insert(name.text.to_owned(), value);
        }
    }
    env
}

/// An input that is a table: a snapshot of a directory or file.
pub(crate) fn host_input(table: &Table<'_>, scope: Scope<'_>) -> Option<InputSource> {
    let report = |code, span: &Range<usize>, message: &str, hint: &str| {
        scope.cx.problems.report(code, span, "", message, Some(hint.to_owned()));
    };
    match (table.text("dir"), table.text("file")) {
        (Some(dir), None) => {
            let dir = inside(&dir, scope, true);
            let include = globs(table, "include", scope);
            let exclude = globs(table, "exclude", scope);
            let ignore = table.boolean("ignore").unwrap_or(true);
            Some(InputSource::Dir(SnapshotSpec { dir: dir?, include: include?, exclude: exclude?, ignore }))
        }
        (None, Some(file)) => {
            for key in ["include", "exclude", "ignore"].into_iter().filter(|key| table.get(key).is_some()) {
                report(Code::Conflict, &table.key_span(key), &format!("`{key}` is only for `dir`"), "leave it away");
            }
            inside(&file, scope, false).map(|path| InputSource::File { path })
        }
        // Neither or both were reported by the structural check.
        _ => None,
    }
}

fn globs(table: &Table<'_>, key: &str, scope: Scope<'_>) -> Option<Vec<String>> {
    let read = |text: Text<'_>| {
        let glob = scope.text(&text)?;
        match globset::GlobBuilder::new(&glob).literal_separator(true).build() {
            Ok(_) => Some(glob),
            Err(error) => {
                let message = format!("failed to read the glob: {}", error.kind());
                let hint =
                    "`*` stands for a part of a name, `**` for any directories, `{a,b}` for one of several".to_owned();
                scope.cx.problems.report(Code::Glob, &text.span, "", message, Some(hint));
                None
            }
        }
    };
    let all: Vec<_> = table.texts(key).map(read).collect();
    all.into_iter().collect()
}

/// A path inside of the root, after its substitutions and without `.` and doubled `/`.
fn inside(text: &Text<'_>, scope: Scope<'_>, root_too: bool) -> Option<String> {
    let path = scope.text(text)?;
    let wrong = |message: &str, hint: &str| {
        scope.cx.problems.report(Code::Path, &text.span, "", message, Some(hint.to_owned()));
        None
    };
    if path.starts_with('/') {
        return wrong(
            "inputs are inside of the pipeline's root, but this path is absolute",
            "write it relative to the root, or move that up with `--root`",
        );
    }
    match normal(&path) {
        None => wrong("inputs are inside of the pipeline's root, but this path leaves it", "`..` is not permitted"),
        Some(path) if path.is_empty() && root_too => Some(".".to_owned()),
        Some(path) if path.is_empty() => wrong("this path names a directory", "for a directory write `dir = \".\"`"),
        Some(path) => Some(path),
    }
}

/// A path without `.`, doubled and trailing `/`; none if it holds `..` or NUL.
pub(crate) fn normal(path: &str) -> Option<String> {
    if path.contains('\0') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal() {
        assert_eq!(normal("./a//b/./c/"), Some("a/b/c".into()));
        assert_eq!(normal("."), Some(String::new()));
        assert_eq!(normal("a/../b"), None);
    }
}
