//! Configs against the plugins' JSON Schemas. A schema comes from a plugin and is trusted with nothing: no reference leaves it,
//! it may neither recurse nor multiply, and its patterns are matched by an engine that is linear in the text.

use std::collections::{HashMap, HashSet};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use crate::problem::{Code, cut};
use crate::report::{Problems, suggest};
use crate::spans::Spans;

/// Deepest nesting of a schema.
const MAX_DEPTH: usize = 64;
/// Most sub-schemas of a schema once its references are put in: a config is checked against each at most once per value.
const MAX_COST: u64 = 20_000;
/// What a pattern costs of [`MAX_COST`]: each compiles for itself, so a schema has at most 200.
const PATTERN_COST: u64 = 100;
/// Largest compiled pattern in bytes.
const PATTERN_SIZE: usize = 256 << 10;
/// Most problems shown of one config.
const MAX_ERRORS: usize = 20;

/// Keywords whose value is one schema (or, in older drafts, several).
const ONE: [&str; 14] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
    "extends",
    "disallow",
];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is a table of schemas.
const TABLE: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Keywords that change what references mean, or make them depend on where they are evaluated.
const REFUSED: [&str; 6] = ["$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];

/// A validator for a plugin's schema, or why there is none.
pub(crate) fn validator(schema: &Value) -> Result<Validator, String> {
    let mut vetting = Vetting { root: schema, costs: HashMap::new(), open: HashSet::new() };
    let cost = vetting.cost(schema, 0)?;
    if cost > MAX_COST {
        return Err(format!("it has more than {MAX_COST} sub-schemas once its references are put in"));
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE);
    let options = jsonschema::options().offline().with_pattern_options(patterns).should_validate_formats(false);
    options.build(schema).map_err(|error| cut(error.to_string(), 300))
}

struct Vetting<'s> {
    root: &'s Value,
    /// Costs of sub-schemas already seen, by address: the schema does not move.
    costs: HashMap<*const Value, u64>,
    /// Sub-schemas that are being walked: meeting one again is a recursion.
    open: HashSet<*const Value>,
}

impl<'s> Vetting<'s> {
    /// How many sub-schemas a schema has, references put in.
    fn cost(&mut self, schema: &'s Value, depth: usize) -> Result<u64, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let Value::Object(keywords) = schema else { return Ok(1) };
        let address = std::ptr::from_ref(schema);
        if let Some(cost) = self.costs.get(&address) {
            return Ok(*cost);
        }
        if !self.open.insert(address) {
            return Err("it refers to itself".to_owned());
        }
        let mut cost = 1_u64;
        for (keyword, value) in keywords {
            let keyword = keyword.as_str();
            if REFUSED.contains(&keyword) && !(keyword == "$id" && depth == 0) {
                return Err(format!("it uses `{keyword}`"));
            }
            let mut inner: Vec<&'s Value> = Vec::new();
            match value {
                Value::String(target) if keyword == "$ref" => inner.push(self.target(target)?),
                Value::String(_) if keyword == "pattern" => cost = cost.saturating_add(PATTERN_COST),
                Value::Object(table) if TABLE.contains(&keyword) => {
                    if keyword == "patternProperties" {
                        cost = cost.saturating_add(PATTERN_COST.saturating_mul(table.len() as u64));
                    }
                    // Definitions count where they are referred to; walked here all the same, for what is refused.
                    if matches!(keyword, "$defs" | "definitions") {
                        for definition in table.values() {
                            self.cost(definition, depth + 1)?;
                        }
                    } else {
                        inner.extend(table.values());
                    }
                }
                Value::Array(list) if LIST.contains(&keyword) || ONE.contains(&keyword) => inner.extend(list),
                _ if ONE.contains(&keyword) => inner.push(value),
                _ => {}
            }
            for schema in inner {
                cost = cost.saturating_add(self.cost(schema, depth + 1)?);
            }
        }
        self.open.remove(&address);
        self.costs.insert(address, cost);
        Ok(cost)
    }

    fn target(&self, reference: &str) -> Result<&'s Value, String> {
        let pointer = reference.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = pointer.ok_or_else(|| format!("its reference `{}` leaves it", cut(reference.to_owned(), 80)))?;
        self.root
            .pointer(pointer)
            .ok_or_else(|| format!("its reference `{}` leads nowhere", cut(reference.to_owned(), 80)))
    }
}

/// Reports what a schema finds wrong with a config.
pub(crate) fn check(
    config: &Value,
    schema: &Value,
    validator: &Validator,
    spans: &Spans,
    plugin: &str,
    problems: &Problems,
) {
    for error in validator.iter_errors(config).take(MAX_ERRORS) {
        let path: Vec<String> = error.instance_path().as_str().split('/').skip(1).map(unescape).collect();
        let place = spans.find(&path);
        let shown = shown(&path);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = properties(schema, &error);
                for name in unexpected.iter().take(MAX_ERRORS) {
                    let mut inner = path.clone();
                    inner.push(name.clone());
                    let hint = suggest(name, known.iter().map(String::as_str));
                    let message = format!("`{plugin}` does not know the key `{}` in `{shown}`", cut(name.clone(), 80));
                    problems.report(Code::Config, &spans.find(&inner).key, "", message, hint);
                }
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().map_or_else(|| property.to_string(), ToOwned::to_owned);
                let hint = schema.pointer(&format!("/properties/{name}/description")).filter(|_| path.is_empty());
                let hint = hint.and_then(Value::as_str).map(|text| format!("{name}: {}", cut(text.to_owned(), 200)));
                let message = format!("`{shown}` lacks `{}`, which `{plugin}` needs", cut(name, 80));
                problems.report(Code::Config, &place.key, "", message, hint);
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<_> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let text = error.instance().as_str().unwrap_or_default();
                let message = format!("`{shown}`: {}", cut(error.to_string(), 300));
                problems.report(Code::Config, &place.value, "", message, suggest(text, options));
            }
            ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }
                if words(context).is_some() =>
            {
                // How generators of schemas write an enum whose words have descriptions.
                let words = words(context).unwrap_or_default();
                let listed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                let message = format!(
                    "`{shown}`: {} is none of {}",
                    cut(error.instance().to_string(), 80),
                    cut(listed.join(", "), 300)
                );
                let text = error.instance().as_str().unwrap_or_default();
                problems.report(
                    Code::Config,
                    &place.value,
                    "",
                    message,
                    suggest(text, words.iter().map(String::as_str)),
                );
            }
            _ => {
                let message = format!("`{shown}`: {}", cut(error.to_string(), 300));
                problems.report(
                    Code::Config,
                    &place.value,
                    "",
                    message,
                    Some(format!("`{plugin}` says so by its schema")),
                );
            }
        }
    }
}

/// The words that a failed choice would have taken, if it was one between words only.
fn words(branches: &[Vec<ValidationError<'_>>]) -> Option<Vec<String>> {
    let word = |branch: &Vec<ValidationError<'_>>| {
        let const_error = |error: &ValidationError<'_>| match error.kind() {
            ValidationErrorKind::Constant { expected_value } => expected_value.as_str().map(ToOwned::to_owned),
            _ => None,
        };
        branch.iter().find_map(const_error)
    };
    branches.iter().map(word).collect()
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// `config.a[0].b`
fn shown(path: &[String]) -> String {
    let mut shown = "config".to_owned();
    for part in path {
        match part.parse::<usize>() {
            Ok(index) => shown += &format!("[{index}]"),
            Err(_) => {
                shown.push('.');
                shown += part;
            }
        }
    }
    cut(shown, 200)
}

/// Keys that the schema beside a failed keyword knows.
fn properties(schema: &Value, error: &ValidationError<'_>) -> Vec<String> {
    let path = error.schema_path().as_str();
    let beside = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let found = schema.pointer(beside).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    found.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}
