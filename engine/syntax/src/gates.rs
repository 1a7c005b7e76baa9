//! Nodes that wait for somebody or for a time, and concurrency groups.

use std::ops::Range;

use lockgate_model::pipeline::{Approval, Concurrency, OnConflict, OnDeadline, Wait};
use lockgate_model::time::parse_rfc3339;
use lockgate_model::units::Millis;
use toml::de::DeValue;
use toml::value::Datetime;

use crate::problem::{Code, cut};
use crate::report::Problems;
use crate::shape::{MAX_LABEL, MAX_MESSAGE};
use crate::substitute::{Context, Scope, UNIT};
use crate::table::{Table, Text, Value, text};

/// How long an approval waits where the file does not say it: a week, holidays and week-ends included.
const DEADLINE: Millis = Millis(7 * 86_400_000);

/// What an `[[approval]]` asks.
pub(crate) fn approval(table: &Table<'_>, scope: Scope<'_>) -> Option<Approval> {
    let message = table.text("message").and_then(|text| label(&text, scope, "`message`", MAX_MESSAGE));
    let approver = |text: Text<'_>| {
        // Each costs memory for each combination of a matrix, however short it is.
        scope.cx.charge(UNIT, &text.span).then(|| label(&text, scope, "an approver", MAX_LABEL))?
    };
    let approvers: Vec<_> = table.texts("approvers").map(approver).collect();
    if table.get("approvers").is_some_and(|value| value.get_ref().as_array().is_some_and(|list| list.is_empty())) {
        // An empty list could be read as "nobody", and would mean "anybody".
        let hint = "name who may decide; without `approvers` anybody may who may write the state directory".to_owned();
        scope.cx.problems.report(
            Code::Conflict,
            &table.key_span("approvers"),
            "",
            "`approvers` names nobody",
            Some(hint),
        );
    }
    Some(Approval {
        message: message?,
        approvers: approvers.into_iter().collect::<Option<_>>()?,
        deadline: table.quantity("deadline").unwrap_or(DEADLINE),
        on_deadline: match table.text("on_deadline") {
            Some(word) if word.text == OnDeadline::Approve.name() => OnDeadline::Approve,
            _ => OnDeadline::Reject,
        },
    })
}

/// What a `[[wait]]` waits for.
pub(crate) fn wait(table: &Table<'_>, scope: Scope<'_>) -> Option<Wait> {
    match (table.get("for"), table.get("until")) {
        (Some(_), None) => table.quantity("for").map(Wait::For),
        (None, Some(until)) => moment(until, scope).map(Wait::Until),
        // Neither or both were reported by the structural check.
        _ => None,
    }
}

/// The `[concurrency]` of a pipeline.
pub(crate) fn concurrency(root: &Table<'_>, cx: &Context<'_>) -> Option<Concurrency> {
    let table = root.table("concurrency")?;
    let group = table.text("group")?;
    let group = label(&group, Scope { cx, matrix: None }, "the concurrency group", MAX_LABEL)?;
    let on_conflict = match table.text("on_conflict") {
        Some(word) if word.text == OnConflict::CancelOlder.name() => OnConflict::CancelOlder,
        _ => OnConflict::Queue,
    };
    Some(Concurrency { group, on_conflict })
}

/// A text for people after its substitutions, which may have made it empty, long or worse.
fn label(text: &Text<'_>, scope: Scope<'_>, what: &str, max: usize) -> Option<String> {
    let expanded = scope.text(text)?;
    let wrong = |message: String, hint: Option<&str>| {
        scope.cx.problems.report(Code::OutOfRange, &text.span, "", message, hint.map(ToOwned::to_owned));
        None
    };
    let lines = max == MAX_MESSAGE;
    if text.text.is_empty() {
        // The structural check reported it.
        return None;
    }
    if expanded.trim().is_empty() {
        let hint = "what is put in here is empty: a `pattern` or an `enum` of the parameter can forbid that";
        return wrong(format!("{what} is empty"), Some(hint).filter(|_| text.text.contains("${")));
    }
    let length = expanded.chars().count();
    if length > max {
        return wrong(format!("{what} has {length} characters: at most {max}"), None);
    }
    // Of the file itself, the structural check reported all but these three.
    let spaces = ['\n', '\r', '\t'];
    let wrong_char = |c: &char| match spaces.contains(c) {
        true => !lines,
        false => c.is_control() && !text.text.contains(*c),
    };
    match expanded.chars().find(wrong_char) {
        Some(c) => wrong(format!("{what} holds the control character U+{:04X}", u32::from(c)), Some("leave it away")),
        None => Some(expanded),
    }
}

/// A moment in milliseconds since 1970.
fn moment(value: &Value<'_>, scope: Scope<'_>) -> Option<u64> {
    match value.get_ref() {
        DeValue::Datetime(read) => read_moment(&read.to_string(), Some(*read), &value.span(), scope.cx.problems),
        _ => {
            let text = scope.text(&text(value)?)?;
            read_moment(&text, text.trim().parse().ok(), &value.span(), scope.cx.problems)
        }
    }
}

/// A moment where nothing is put in.
pub(crate) fn plain_moment(value: &Value<'_>, problems: &Problems) -> Option<u64> {
    match value.get_ref() {
        DeValue::Datetime(read) => read_moment(&read.to_string(), Some(*read), &value.span(), problems),
        _ => {
            let Text { text, span } = text(value)?;
            read_moment(text, text.trim().parse().ok(), &span, problems)
        }
    }
}

fn read_moment(shown: &str, read: Option<Datetime>, span: &Range<usize>, problems: &Problems) -> Option<u64> {
    let shown = cut(shown.to_owned(), 80);
    let (message, hint) = match read.map(|read: Datetime| (read, millis(read))) {
        Some((_, Some(millis))) => return Some(millis),
        Some((Datetime { date: Some(_), time: Some(_), offset: None }, _)) => (
            format!("`{shown}` has no offset: it is another moment in each time zone"),
            "end it with `Z` for UTC, or with an offset such as `+01:00`",
        ),
        Some((Datetime { date: Some(_), time: None, .. }, _)) => {
            (format!("`{shown}` is a day, not a moment"), "add the time and an offset, as in `2026-12-01T08:00:00Z`")
        }
        Some((Datetime { date: None, .. }, _)) => (
            format!("`{shown}` is a time of every day, not a moment"),
            "add the day and an offset, as in `2026-12-01T08:00:00Z`",
        ),
        _ => (format!("`{shown}` is no moment from 1970 to 9999"), "write it as in `2026-12-01T08:00:00Z`"),
    };
    problems.report(Code::Moment, span, "", message, Some(hint.to_owned()));
    None
}

/// None where it is no moment. TOML lets seconds be left away.
fn millis(read: Datetime) -> Option<u64> {
    let mut read = read;
    if let Some(time) = &mut read.time {
        time.second.get_or_insert(0);
    }
    parse_rfc3339(&read.to_string())
}
