//! Parameters: their declarations, and their values from `--param` or by default.

use std::collections::BTreeMap;

use lockgate_model::pipeline::ParamValue;
use regex::RegexBuilder;

use crate::problem::{Code, Problem, cut};
use crate::report::{Problems, list, suggest};
use crate::shape::MAX_PARAM;
use crate::table::{Table, Text, scalar};

/// Largest compiled pattern: 1 MiB is far beyond sensible ones, and a pattern of repeated repetitions is refused at once.
pub(crate) const PATTERN_SIZE: usize = 1 << 20;

/// Declared parameters. One without a value has a problem of its own, and what uses it is not reported again.
#[derive(Debug, Default, Clone)]
pub(crate) struct Params {
    pub(crate) values: BTreeMap<String, Option<ParamValue>>,
}

struct Declaration<'a> {
    name: &'a str,
    ty: &'a str,
    table: Table<'a>,
    options: Vec<ParamValue>,
    pattern: Option<(Text<'a>, regex::Regex)>,
}

/// Reads `[params]`.
pub(crate) fn read(root: &Table<'_>, given: &BTreeMap<String, String>, problems: &Problems) -> Params {
    let mut params = Params::default();
    let entries = root.table("params").map(|table| table.entries()).unwrap_or_default();
    for (name, span, value) in entries {
        let mut table = Table::of(value);
        // Where the table is written with dotted keys, its name is the better place.
        if let Some(table) = &mut table {
            table.span = span;
        }
        let value = table
            .and_then(|table| Declaration::read(name, table, problems))
            .and_then(|it| it.value(given.get(name), problems));
        params.values.insert(name.to_owned(), value);
    }
    for name in given.keys().filter(|name| !params.values.contains_key(*name)) {
        let hint = suggest(name, params.values.keys().map(String::as_str));
        let hint = hint.or_else(|| params.values.is_empty().then(|| "the pipeline declares no parameters".to_owned()));
        let message = format!("there is no parameter `{}`", cut(name.clone(), 80));
        problems.push(Problem::new(Code::UnknownParam, message, hint));
    }
    params
}

impl<'a> Declaration<'a> {
    fn read(name: &'a str, table: Table<'a>, problems: &Problems) -> Option<Self> {
        let ty = table.text("type").filter(|ty| matches!(ty.text, "string" | "integer" | "boolean"))?.text;
        let mut fine = true;
        let mut wrong = |key: &str, message: String, hint: Option<String>| {
            fine = false;
            problems.report(Code::ParamDeclaration, &table.key_span(key), "", message, hint);
        };
        for (key, owner) in [("pattern", "string"), ("min", "integer"), ("max", "integer")] {
            if table.get(key).is_some() && ty != owner {
                wrong(key, format!("`{key}` is only for parameters of type `{owner}`"), None);
            }
        }
        if let (Some(min), Some(max)) = (table.integer("min"), table.integer("max"))
            && min > max
        {
            wrong("min", format!("`min` {min} is more than `max` {max}"), None);
        }
        let options: Vec<_> = table.list("enum").iter().filter_map(|value| scalar(value.get_ref())).collect();
        if options.iter().any(|option| type_of(option) != ty) {
            wrong("enum", format!("every element of `enum` must be of type `{ty}`"), None);
        } else if table.get("enum").is_some() && options.is_empty() {
            wrong(
                "enum",
                "`enum` permits nothing".to_owned(),
                Some("leave it away, or list what is possible".to_owned()),
            );
        }
        let pattern =
            table.text("pattern").filter(|_| ty == "string").and_then(|pattern| match compile(pattern.text) {
                Ok(compiled) => Some((pattern, compiled)),
                Err(reason) => {
                    wrong(
                        "pattern",
                        format!("`pattern` is no regular expression: {reason}"),
                        Some("the syntax is that of the Rust crate `regex`".to_owned()),
                    );
                    None
                }
            });
        fine.then_some(Self { name, ty, table, options, pattern })
    }

    /// The given value, else the default.
    fn value(&self, given: Option<&String>, problems: &Problems) -> Option<ParamValue> {
        // The default is checked even where a value is given: a wrong one is a problem of the file.
        let default = self.table.get("default").map(|value| {
            let span = value.span();
            let found = scalar(value.get_ref())?;
            let problem = (type_of(&found) != self.ty)
                .then(|| (format!("the default must be of type `{}`, not `{}`", self.ty, type_of(&found)), None))
                .or_else(|| self.refuse(&found).map(|(reason, hint)| (format!("the default {reason}"), hint)));
            match problem {
                Some((message, hint)) => {
                    problems.report(Code::ParamDeclaration, &span, "", message, hint);
                    None
                }
                None => Some(found),
            }
        });
        let Some(text) = given else {
            if default.is_none() {
                let message = format!("the parameter `{}` has no value", self.name);
                let hint = format!("give one with `--param {}=...`, or declare a `default`", self.name);
                problems.report(Code::MissingParam, &self.table.span, "declared here", message, Some(hint));
            }
            return default.flatten();
        };
        let value = match self.ty {
            "integer" => text.parse().map(ParamValue::Integer).ok(),
            "boolean" => text.parse().map(ParamValue::Boolean).ok(),
            _ => (text.len() <= MAX_PARAM).then(|| ParamValue::String(text.clone())),
        };
        let shown = cut(text.clone(), 80);
        let (message, hint) = match &value {
            None if self.ty == "boolean" => (format!("`{shown}` is neither `true` nor `false`"), None),
            None if self.ty == "integer" => (format!("`{shown}` is not a whole number of 64 bits"), None),
            None => (format!("it is longer than {MAX_PARAM} bytes"), None),
            Some(found) => match self.refuse(found) {
                Some((reason, hint)) => (format!("`{shown}` {reason}"), hint),
                None => return value,
            },
        };
        let message = format!("failed to take the value given for the parameter `{}`: {message}", self.name);
        problems.report(Code::ParamValue, &self.table.span, "declared here", message, hint);
        None
    }

    /// Why a value is not permitted, if it is not, and what is.
    fn refuse(&self, value: &ParamValue) -> Option<(String, Option<String>)> {
        if let (ParamValue::String(text), Some((pattern, compiled))) = (value, &self.pattern)
            && !compiled.is_match(text)
        {
            return Some((format!("does not match the pattern `{}`", pattern.text), None));
        }
        if !self.options.is_empty() && !self.options.contains(value) {
            let options: Vec<_> = self.options.iter().map(ToString::to_string).collect();
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let hint = suggest(&value.to_string(), options.iter().copied());
            return Some((format!("is not {}", list(&options[..options.len().min(20)], "or")), hint));
        }
        if let ParamValue::Integer(number) = value {
            if let Some(min) = self.table.integer("min").filter(|min| number < min) {
                return Some((format!("is less than {min}"), None));
            }
            if let Some(max) = self.table.integer("max").filter(|max| number > max) {
                return Some((format!("is more than {max}"), None));
            }
        }
        None
    }
}

/// A regular expression of limited size; matching is linear in the text.
fn compile(pattern: &str) -> Result<regex::Regex, String> {
    RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build().map_err(
        |error| match error {
            regex::Error::CompiledTooBig(_) => "it becomes too large".to_owned(),
            // The last line says what is wrong; those before draw it.
            error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        },
    )
}

fn type_of(value: &ParamValue) -> &'static str {
    match value {
        ParamValue::String(_) => "string",
        ParamValue::Integer(_) => "integer",
        ParamValue::Boolean(_) => "boolean",
    }
}
