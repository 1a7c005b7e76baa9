//! JSON Schema over documents: the part of draft 2020-12 that configuration files are described with.
//!
//! The usual validators do not fit into a small component (their regular expressions alone take a megabyte). This one knows the
//! keywords of [`CHECKS`]; a schema with one that would change the result and is not known is refused, never half applied.
//! `format` is an annotation, as the draft has it.

use lockgate_documents::{Document, Number, Place, Problem, Value};
use lockgate_sdk::{Result, bail};
use regex_lite::Regex;

/// Keywords that are checked.
const CHECKS: [&str; 34] = [
    "$ref",
    "type",
    "enum",
    "const",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "properties",
    "patternProperties",
    "additionalProperties",
    "propertyNames",
    "required",
    "dependentRequired",
    "minProperties",
    "maxProperties",
    "items",
    "prefixItems",
    "contains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "dependentSchemas",
];

/// Keywords that change nothing.
const NOTES: [&str; 16] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "$anchor",
];

/// How many schemas may apply to one value at once: a `$ref` to itself has no end.
const DEEPEST: usize = 64;

/// How many applications of a schema one document may cost: alternatives of alternatives are exponential.
const MOST_STEPS: usize = 1_000_000;

/// A schema that can be applied.
pub struct Schema {
    root: Document,
    /// By their text, sorted.
    patterns: Vec<(String, Regex)>,
}

impl Schema {
    /// Takes a document as a schema; an error names a keyword, a reference or a pattern that cannot be used.
    pub fn new(root: Document) -> Result<Self> {
        let mut schema = Self { root, patterns: Vec::new() };
        let mut patterns = Vec::new();
        schema.prepare(&schema.root, &mut patterns)?;
        schema.patterns = patterns;
        Ok(schema)
    }

    /// Finds what is wrong in a document.
    pub fn check(&self, document: &Document, problems: &mut Vec<Problem>) {
        let mut run = Run { schema: self, steps: 0, problems: Vec::new() };
        run.apply(&self.root, document, "", 0);
        if run.steps > MOST_STEPS {
            let message = format!("the schema takes more than {MOST_STEPS} steps for this file");
            run.problems.push(Problem::new("schema", document.place, message));
        }
        problems.append(&mut run.problems);
    }

    /// Looks through a schema and those inside of it.
    fn prepare(&self, schema: &Document, patterns: &mut Vec<(String, Regex)>) -> Result<()> {
        match schema.value {
            Value::Boolean(_) => return Ok(()),
            Value::Object(_) => {}
            _ => bail!("a schema is an object or a boolean, not {}", schema.kind()),
        }
        let mut pattern = |text: &str| -> Result<()> {
            if let Err(index) = find(patterns, text) {
                match Regex::new(text) {
                    Ok(regex) => patterns.insert(index, (text.to_owned(), regex)),
                    Err(error) => bail!("the pattern `{text}` cannot be used: {error}"),
                }
            }
            Ok(())
        };
        for (key, _, value) in schema.entries() {
            match key.as_str() {
                "pattern" => pattern(value.text().unwrap_or_default())?,
                "patternProperties" => value.entries().iter().try_for_each(|(text, _, _)| pattern(text))?,
                "$ref" => {
                    let target = value.text().unwrap_or_default();
                    if self.resolve(target).is_none() {
                        bail!(
                            "the reference `{target}` leads nowhere: only those inside of the file (`#/...`) are followed"
                        );
                    }
                }
                _ => {}
            }
        }
        for (key, _, value) in schema.entries() {
            match key.as_str() {
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                    value.entries().iter().try_for_each(|(_, _, inner)| self.prepare(inner, patterns))?;
                }
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                    value.items().iter().try_for_each(|inner| self.prepare(inner, patterns))?;
                }
                "additionalProperties" | "propertyNames" | "items" | "contains" | "not" | "if" | "then" | "else" => {
                    self.prepare(value, patterns)?;
                }
                known if CHECKS.contains(&known) || NOTES.contains(&known) || known.starts_with("x-") => {}
                unknown => bail!("the keyword `{unknown}` is not supported"),
            }
        }
        Ok(())
    }

    /// Whether a text matches one of the schema's patterns.
    fn matches(&self, pattern: &str, text: &str) -> bool {
        find(&self.patterns, pattern).is_ok_and(|index| self.patterns[index].1.is_match(text))
    }

    /// The schema that a reference inside of the file leads to.
    fn resolve(&self, reference: &str) -> Option<&Document> {
        let pointer = reference.strip_prefix('#')?;
        if pointer.is_empty() {
            return Some(&self.root);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(&self.root, |at, part| {
            let part = part.replace("~1", "/").replace("~0", "~");
            at.get(&part).or_else(|| at.items().get(part.parse::<usize>().ok()?))
        })
    }
}

/// One application of a schema to a document.
struct Run<'a> {
    schema: &'a Schema,
    steps: usize,
    problems: Vec<Problem>,
}

impl Run<'_> {
    fn problem(&mut self, place: Place, path: &str, message: String) {
        let message = if path.is_empty() { message } else { format!("`{path}`: {message}") };
        self.problems.push(Problem::new("schema", place, message));
    }

    /// Whether a value is what a schema says, without a word about it.
    fn fits(&mut self, schema: &Document, value: &Document, depth: usize) -> bool {
        let before = self.problems.len();
        self.apply(schema, value, "", depth);
        let fits = self.problems.len() == before;
        self.problems.truncate(before);
        fits
    }

    fn apply(&mut self, schema: &Document, value: &Document, path: &str, depth: usize) {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return;
        }
        if depth > DEEPEST {
            return self.problem(value.place, path, format!("more than {DEEPEST} schemas apply to one value"));
        }
        if schema.value == Value::Boolean(false) {
            return self.problem(value.place, path, "nothing is allowed here".to_owned());
        }
        self.apply_others(schema, value, path, depth);
        self.check_value(schema, value, path);
        match &value.value {
            Value::Object(_) => self.check_object(schema, value, path, depth),
            Value::Array(items) => self.check_array(schema, value, items, path, depth),
            _ => {}
        }
    }

    /// Keywords that apply other schemas to the same value.
    fn apply_others(&mut self, schema: &Document, value: &Document, path: &str, depth: usize) {
        let rules = self.schema;
        if let Some(target) = schema.get("$ref").and_then(Document::text).and_then(|target| rules.resolve(target)) {
            self.apply(target, value, path, depth + 1);
        }
        for inner in list(schema, "allOf") {
            self.apply(inner, value, path, depth + 1);
        }
        if let Some(alternatives) = schema.get("anyOf") {
            self.alternatives(alternatives.items(), value, path, depth, false);
        }
        if let Some(alternatives) = schema.get("oneOf") {
            self.alternatives(alternatives.items(), value, path, depth, true);
        }
        if let Some(inner) = schema.get("not")
            && self.fits(inner, value, depth + 1)
        {
            self.problem(value.place, path, "is what the schema excludes".to_owned());
        }
        if let Some(condition) = schema.get("if") {
            let branch = if self.fits(condition, value, depth + 1) { "then" } else { "else" };
            if let Some(inner) = schema.get(branch) {
                self.apply(inner, value, path, depth + 1);
            }
        }
    }

    /// At least one of several schemas must fit, or exactly one. If none does and only one has the right type, its problems
    /// say more than "none fits".
    fn alternatives(&mut self, schemas: &[Document], value: &Document, path: &str, depth: usize, one: bool) {
        let count = schemas.iter().filter(|schema| self.fits(schema, value, depth + 1)).count();
        match count {
            0 => {
                let mut near = schemas.iter().filter(|schema| {
                    // A constant of the right type is still another constant.
                    schema.get("type").is_none_or(|kind| has_type(kind, value)) && schema.get("const").is_none()
                });
                match (near.next(), near.next()) {
                    (Some(only), None) => self.apply(only, value, path, depth + 1),
                    _ => {
                        let constants: Vec<_> = schemas.iter().filter_map(|schema| schema.get("const")).collect();
                        let message = match constants.len() == schemas.len() {
                            true => format!("expected {}", show_all(constants.into_iter())),
                            false => format!("is none of the {} alternatives", schemas.len()),
                        };
                        self.problem(value.place, path, message);
                    }
                }
            }
            1 => {}
            _ if one => self.problem(value.place, path, format!("is {count} of the alternatives, not one")),
            _ => {}
        }
    }

    /// Keywords about the value itself.
    fn check_value(&mut self, schema: &Document, value: &Document, path: &str) {
        for (key, _, rule) in schema.entries() {
            let limit = rule.number();
            let number = value.number();
            let message = match (key.as_str(), limit, number) {
                ("type", ..) if !has_type(rule, value) => {
                    let wanted = rule.text().map_or_else(|| show_all(rule.items().iter()), str::to_owned);
                    format!("expected {wanted}, found {}", value.kind())
                }
                ("enum", ..) if !rule.items().iter().any(|item| item.equals(value)) => {
                    format!("expected {}", show_all(rule.items().iter()))
                }
                ("const", ..) if !rule.equals(value) => format!("expected {}", show(rule)),
                ("minimum", Some(limit), Some(number)) if number < limit => format!("{number} is less than {limit}"),
                ("maximum", Some(limit), Some(number)) if number > limit => format!("{number} is more than {limit}"),
                ("exclusiveMinimum", Some(limit), Some(number)) if number <= limit => {
                    format!("{number} is not more than {limit}")
                }
                ("exclusiveMaximum", Some(limit), Some(number)) if number >= limit => {
                    format!("{number} is not less than {limit}")
                }
                ("multipleOf", Some(limit), Some(number)) if !is_multiple(number, limit) => {
                    format!("{number} is no multiple of {limit}")
                }
                ("minLength", Some(limit), _) if length(value).is_some_and(|length| length < limit) => {
                    format!("is shorter than {limit} characters")
                }
                ("maxLength", Some(limit), _) if length(value).is_some_and(|length| length > limit) => {
                    format!("is longer than {limit} characters")
                }
                ("pattern", ..) if !self.is_match(rule, value) => {
                    format!("does not match `{}`", rule.text().unwrap_or(""))
                }
                _ => continue,
            };
            self.problem(value.place, path, message);
        }
    }

    fn is_match(&self, pattern: &Document, value: &Document) -> bool {
        pattern.text().zip(value.text()).is_none_or(|(pattern, text)| self.schema.matches(pattern, text))
    }

    fn check_object(&mut self, schema: &Document, value: &Document, path: &str, depth: usize) {
        let entries = value.entries();
        let count = Number(entries.len() as f64);
        if let Some(limit) = number(schema, "minProperties").filter(|limit| count < *limit) {
            self.problem(value.place, path, format!("has fewer than {limit} keys"));
        }
        if let Some(limit) = number(schema, "maxProperties").filter(|limit| count > *limit) {
            self.problem(value.place, path, format!("has more than {limit} keys"));
        }
        for key in list(schema, "required").iter().filter_map(Document::text) {
            if value.get(key).is_none() {
                self.problem(value.place, path, format!("the key `{key}` is missing"));
            }
        }
        let dependent = schema.get("dependentRequired").map(Document::entries).unwrap_or_default();
        for (key, _, needed) in dependent.iter().filter(|(key, _, _)| value.get(key).is_some()) {
            for name in needed.items().iter().filter_map(Document::text).filter(|name| value.get(name).is_none()) {
                self.problem(value.place, path, format!("the key `{name}` is missing, which `{key}` needs"));
            }
        }
        let dependent = schema.get("dependentSchemas").map(Document::entries).unwrap_or_default();
        for (_, _, inner) in dependent.iter().filter(|(key, _, _)| value.get(key).is_some()) {
            self.apply(inner, value, path, depth + 1);
        }
        let patterns = schema.get("patternProperties").map(Document::entries).unwrap_or_default();
        for (key, place, item) in entries {
            let below = format!("{path}/{key}");
            let mut known = false;
            if let Some(inner) = schema.get("properties").and_then(|properties| properties.get(key)) {
                known = true;
                self.apply(inner, item, &below, 0);
            }
            for (pattern, _, inner) in patterns {
                if self.schema.matches(pattern, key) {
                    known = true;
                    self.apply(inner, item, &below, 0);
                }
            }
            match schema.get("additionalProperties") {
                Some(inner) if !known && inner.value == Value::Boolean(false) => {
                    self.problem(*place, path, format!("the key `{key}` is not known"));
                }
                Some(inner) if !known => self.apply(inner, item, &below, 0),
                _ => {}
            }
            if let Some(inner) = schema.get("propertyNames") {
                let name = Document { place: *place, value: Value::String(key.clone()) };
                self.apply(inner, &name, &below, 0);
            }
        }
    }

    fn check_array(&mut self, schema: &Document, value: &Document, items: &[Document], path: &str, depth: usize) {
        let count = Number(items.len() as f64);
        if let Some(limit) = number(schema, "minItems").filter(|limit| count < *limit) {
            self.problem(value.place, path, format!("has fewer than {limit} items"));
        }
        if let Some(limit) = number(schema, "maxItems").filter(|limit| count > *limit) {
            self.problem(value.place, path, format!("has more than {limit} items"));
        }
        let first = list(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            if let Some(inner) = first.get(index).or_else(|| schema.get("items")) {
                self.apply(inner, item, &format!("{path}/{index}"), 0);
            }
        }
        if let Some(inner) = schema.get("contains")
            && !items.iter().any(|item| self.fits(inner, item, depth + 1))
        {
            self.problem(value.place, path, "has no item that the schema asks for".to_owned());
        }
        if schema.get("uniqueItems").is_some_and(|unique| unique.value == Value::Boolean(true)) {
            for (index, item) in items.iter().enumerate() {
                // Quadratic: it counts against the steps.
                self.steps += index;
                if self.steps <= MOST_STEPS && items[..index].iter().any(|other| other.equals(item)) {
                    self.problem(item.place, &format!("{path}/{index}"), "is there already".to_owned());
                }
            }
        }
    }
}

/// Where a pattern is, or where it belongs.
fn find(patterns: &[(String, Regex)], text: &str) -> Result<usize, usize> {
    patterns.binary_search_by(|(pattern, _)| pattern.as_str().cmp(text))
}

fn list<'a>(schema: &'a Document, key: &str) -> &'a [Document] {
    schema.get(key).map(Document::items).unwrap_or_default()
}

fn number(schema: &Document, key: &str) -> Option<Number> {
    schema.get(key).and_then(Document::number)
}

fn length(value: &Document) -> Option<Number> {
    value.text().map(|text| Number(text.chars().count() as f64))
}

fn is_multiple(Number(number): Number, Number(of): Number) -> bool {
    let quotient = number / of;
    // 0.3 is a multiple of 0.1 for everyone but binary fractions.
    of > 0.0 && (quotient - quotient.round()).abs() <= 1e-9 * quotient.abs().max(1.0)
}

fn has_type(kind: &Document, value: &Document) -> bool {
    let found = value.kind();
    let is = |name: &str| name == found || (name == "number" && found == "integer");
    kind.text().is_some_and(is) || kind.items().iter().filter_map(Document::text).any(is)
}

/// A value as people write it, if it is short.
fn show(value: &Document) -> String {
    match &value.value {
        Value::Null => "null".to_owned(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("`{}`", text.chars().take(40).collect::<String>()),
        Value::Array(_) | Value::Object(_) => format!("one certain {}", value.kind()),
    }
}

fn show_all<'a>(values: impl Iterator<Item = &'a Document>) -> String {
    let mut shown: Vec<String> = values.map(show).collect();
    if shown.len() > 8 {
        shown.truncate(8);
        shown.push("...".to_owned());
    }
    shown.join(" or ")
}
