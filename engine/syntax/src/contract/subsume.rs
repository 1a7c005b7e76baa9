//! Whether a schema takes everything that another takes. What is found compatible is: for each config that the old schema takes there is
//! a proof, keyword by keyword, that the new one takes it. Where none is found, either something that the old schema permits is known to
//! be refused, or nobody can tell.
//!
//! The old schema is taken apart into branches: one alternative of each choice, one type, so that all that is left are demands that hold
//! together. Each demand of the new schema must follow from those of each branch. `null` is no value of a config, so it does not count.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Number, Value, json};

use super::Obstacle;
use super::plain::{Keep, plain};
use crate::config;
use crate::problem::cut;

/// Most branches of one schema.
const MAX_BRANCHES: usize = 256;
/// Most comparisons of two schemas in all.
const MAX_STEPS: usize = 20_000;
/// Longest value that is shown, in bytes.
const SHOWN: usize = 80;
/// Largest compiled pattern in bytes.
const PATTERN_SIZE: usize = 256 << 10;
/// Beyond this a 64-bit float does not tell two neighbouring integers apart.
const EXACT: u128 = 1 << 53;

type Part = Map<String, Value>;

/// What keeps configs that `old` takes from being taken by `new`; nothing where `new` takes all of them.
pub fn subsumes(old: &Value, new: &Value) -> Vec<Obstacle> {
    if old == new {
        return Vec::new();
    }
    let old = match plain(old, Keep::Nothing) {
        Ok(old) => old,
        Err(reason) => {
            return vec![Obstacle::unknown("config", format!("cannot be compared with the old schema: {reason}"))];
        }
    };
    let new = match plain(new, Keep::Nothing) {
        Ok(new) => new,
        Err(reason) => {
            return vec![Obstacle::unknown("config", format!("cannot be compared with the new schema: {reason}"))];
        }
    };
    // A config is always an object.
    let old = all(vec![json!({ "type": "object" }), old]);
    let mut found = Comparison { steps: 0 }.within("config", &old, &new);
    found.sort();
    found.dedup();
    found
}

/// One comparison.
struct Comparison {
    steps: usize,
}

/// Values of one type that meet all of some demands.
struct Branch {
    kind: Kind,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Integer,
    String,
    Array,
    Object,
}

/// The old schema, taken apart.
#[derive(Default)]
struct Branches {
    /// Values that are all that it takes of their kind.
    values: Vec<Value>,
    branches: Vec<Branch>,
}

/// Schemas that must all hold, as one.
fn all(mut schemas: Vec<Value>) -> Value {
    schemas.retain(|schema| !is_anything(schema));
    match schemas.len() {
        0 => Value::Bool(true),
        1 => schemas.remove(0),
        _ => json!({ "allOf": schemas }),
    }
}

fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(anything) => *anything,
        Value::Object(keywords) => keywords.is_empty(),
        _ => false,
    }
}

fn schemas<'a>(part: &'a Part, keyword: &str) -> Option<&'a Vec<Value>> {
    part.get(keyword).and_then(Value::as_array)
}

fn table<'a>(part: &'a Part, keyword: &str) -> Option<&'a Part> {
    part.get(keyword).and_then(Value::as_object).filter(|table| !table.is_empty())
}

fn shown(value: &Value) -> String {
    cut(value.to_string(), SHOWN)
}

/// Conjunctions of schemas, of which at least one holds for whatever the schema takes. None where there are too many.
fn alternatives(schema: &Value) -> Option<Vec<Vec<Part>>> {
    let part = match schema {
        Value::Object(part) => part,
        Value::Bool(false) => return Some(Vec::new()),
        _ => return Some(vec![Vec::new()]),
    };
    let mut found = vec![vec![part.clone()]];
    let product = |found: Vec<Vec<Part>>, with: &[Vec<Part>]| {
        if found.len().saturating_mul(with.len()) > MAX_BRANCHES {
            return None;
        }
        let mut product = Vec::with_capacity(found.len() * with.len());
        for one in &found {
            product.extend(with.iter().map(|other| [one.clone(), other.clone()].concat()));
        }
        Some(product)
    };
    for item in schemas(part, "allOf").into_iter().flatten() {
        found = product(found, &alternatives(item)?)?;
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(list) = schemas(part, keyword) {
            let mut choice = Vec::new();
            for item in list {
                choice.extend(alternatives(item)?);
            }
            found = product(found, &choice)?;
        }
    }
    Some(found)
}

/// Names of types that a schema takes by its `type` alone; none where it says nothing of it.
fn types(part: &Part) -> Option<BTreeSet<&str>> {
    match part.get("type")? {
        Value::String(name) => Some([name.as_str()].into()),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

/// The values that a schema names one by one, if it does.
fn finite(part: &Part) -> Option<Vec<&Value>> {
    match (part.get("const"), part.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// Takes a schema apart. None where there are too many branches.
fn branches(schema: &Value) -> Option<Branches> {
    let mut all = Branches::default();
    for parts in alternatives(schema)? {
        let valid = |value: &Value| {
            // What cannot be judged counts as taken.
            parts.iter().all(|part| {
                config::validator(&Value::Object(part.clone())).map_or(true, |validator| validator.is_valid(value))
            })
        };
        if let Some(values) = parts.iter().find_map(finite) {
            all.values.extend(values.into_iter().filter(|value| valid(value)).cloned());
            continue;
        }
        let takes = |name: &str| {
            parts.iter().all(|part| {
                types(part).is_none_or(|types| types.contains(name) || name == "integer" && types.contains("number"))
            })
        };
        if takes("boolean") {
            all.values.extend([true, false].map(Value::Bool).into_iter().filter(|value| valid(value)));
        }
        let number = if takes("number") { Some(Kind::Number) } else { takes("integer").then_some(Kind::Integer) };
        let others = [("string", Kind::String), ("array", Kind::Array), ("object", Kind::Object)];
        let kinds = others.into_iter().filter(|(name, _)| takes(name)).map(|(_, kind)| kind);
        all.branches.extend(number.into_iter().chain(kinds).map(|kind| Branch { kind, parts: parts.clone() }));
    }
    Some(all)
}

impl Kind {
    /// Whether a schema's `type` takes it.
    fn is_taken(self, part: &Part) -> bool {
        let names: &[&str] = match self {
            Self::Number => &["number"],
            Self::Integer => &["integer", "number"],
            Self::String => &["string"],
            Self::Array => &["array"],
            Self::Object => &["object"],
        };
        types(part).is_none_or(|types| names.iter().any(|name| types.contains(name)))
    }

    /// The name for people, with its article.
    const fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Integer => "an integer",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "a table",
        }
    }
}

impl Branch {
    /// Whether a demand is one of the branch's own.
    fn has(&self, keyword: &str, value: &Value) -> bool {
        self.parts.iter().any(|part| part.get(keyword) == Some(value))
    }

    fn any(&self, keyword: &str, holds: impl Fn(&Value) -> bool) -> bool {
        self.parts.iter().filter_map(|part| part.get(keyword)).any(holds)
    }

    fn requires(&self, name: &str) -> bool {
        self.any("required", |names| names.as_array().is_some_and(|names| names.iter().any(|found| found == name)))
    }

    /// The schema of a member of this name; none where there can be no such member.
    fn member(&self, name: &str) -> Option<Value> {
        self.members(|part| table(part, "properties").and_then(|properties| properties.get(name)))
    }

    /// The schema of all members that no part names; none where there can be none.
    fn others(&self) -> Option<Value> {
        self.members(|_| None)
    }

    fn members<'a>(&'a self, named: impl Fn(&'a Part) -> Option<&'a Value>) -> Option<Value> {
        let mut demands = Vec::new();
        for part in &self.parts {
            let demand = match named(part) {
                Some(demand) => Some(demand),
                // It may be one of those; what they demand is left away.
                None if table(part, "patternProperties").is_some() => None,
                None => part.get("additionalProperties"),
            };
            match demand {
                Some(Value::Bool(false)) => return None,
                Some(demand) => demands.push(demand.clone()),
                None => {}
            }
        }
        Some(all(demands))
    }

    /// Names of members that the parts know.
    fn names(&self) -> BTreeSet<&str> {
        let tables = self.parts.iter().filter_map(|part| table(part, "properties"));
        tables.flat_map(|table| table.keys().map(String::as_str)).collect()
    }

    /// Whether no value can be in both.
    fn is_apart(&self, schema: &Value) -> bool {
        let Value::Object(part) = schema else { return *schema == Value::Bool(false) };
        if !self.kind.is_taken(part)
            || schemas(part, "allOf").is_some_and(|list| list.iter().any(|item| self.is_apart(item)))
        {
            return true;
        }
        if self.kind != Kind::Object {
            return false;
        }
        let required = |part: &Part, name: &str| {
            schemas(part, "required").is_some_and(|names| names.iter().any(|found| found == name))
        };
        let closed = |part: &Part, name: &str| {
            part.get("additionalProperties") == Some(&Value::Bool(false))
                && table(part, "patternProperties").is_none()
                && table(part, "properties").is_none_or(|properties| !properties.contains_key(name))
        };
        let ours = self.parts.iter().filter_map(|part| schemas(part, "required")).flatten();
        if ours.filter_map(Value::as_str).any(|name| closed(part, name)) {
            return true;
        }
        let theirs = schemas(part, "required").into_iter().flatten().filter_map(Value::as_str);
        if theirs.into_iter().any(|name| self.member(name).is_none()) {
            return true;
        }
        // A member that must be there and that no one value fits both.
        table(part, "properties").into_iter().flatten().any(|(name, theirs)| {
            let there = required(part, name) || self.requires(name);
            let (Some(Value::Object(ours)), Value::Object(theirs)) = (self.member(name), theirs) else { return false };
            match (finite(&ours), finite(theirs)) {
                (Some(ours), Some(theirs)) => {
                    there && ours.iter().all(|ours| theirs.iter().all(|theirs| differ(ours, theirs)))
                }
                _ => false,
            }
        })
    }
}

impl Comparison {
    /// What keeps values that `old` takes from being taken by `new`.
    fn within(&mut self, path: &str, old: &Value, new: &Value) -> Vec<Obstacle> {
        self.steps += 1;
        if old == new || is_anything(new) || *old == Value::Bool(false) {
            return Vec::new();
        }
        if self.steps > MAX_STEPS {
            return vec![Obstacle::unknown(path, "cannot be compared: the schemas are too large")];
        }
        let Some(Branches { values, branches }) = branches(old) else {
            return vec![Obstacle::unknown(path, "cannot be compared: it has too many alternatives")];
        };
        if *new == Value::Bool(false) {
            let some = values.iter().any(|value| !value.is_null()) || !branches.is_empty();
            return some.then(|| Obstacle::breaks(path, "is no longer taken")).into_iter().collect();
        }
        let mut found = Vec::new();
        match config::validator(new) {
            _ if values.is_empty() => {}
            Ok(validator) => {
                let refused = values.iter().filter(|value| !value.is_null() && !validator.is_valid(value));
                found.extend(refused.map(|value| Obstacle::breaks(path, format!("no longer takes {}", shown(value)))));
            }
            Err(reason) => found.push(Obstacle::unknown(path, format!("cannot be compared: {reason}"))),
        }
        for branch in &branches {
            found.extend(self.branch(path, branch, new));
        }
        found
    }

    fn branch(&mut self, path: &str, branch: &Branch, new: &Value) -> Vec<Obstacle> {
        let part = match new {
            Value::Object(part) => part,
            Value::Bool(false) => return vec![Obstacle::breaks(path, "is no longer taken")],
            _ => return Vec::new(),
        };
        if branch.parts.contains(part) {
            return Vec::new();
        }
        if !branch.kind.is_taken(part) {
            let wholes = branch.kind == Kind::Number && Kind::Integer.is_taken(part);
            let reason = if wholes {
                "takes only whole numbers now".to_owned()
            } else {
                format!("is no longer {}", branch.kind.name())
            };
            return vec![Obstacle::breaks(path, reason)];
        }
        if let Some(values) = finite(part) {
            let words: Vec<_> = values.iter().take(10).map(|value| shown(value)).collect();
            return vec![Obstacle::breaks(path, format!("takes only {} now", words.join(", ")))];
        }
        let mut found = Vec::new();
        for item in schemas(part, "allOf").into_iter().flatten() {
            found.extend(self.branch(path, branch, item));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(list) = part.get(keyword).filter(|list| !branch.has(keyword, list)).and_then(Value::as_array) {
                found.extend(self.choice(path, branch, list, keyword == "oneOf"));
            }
        }
        found.extend(opaque(path, branch, part));
        match branch.kind {
            Kind::Number | Kind::Integer => found.extend(numbers(path, branch, part)),
            Kind::String => found.extend(strings(path, branch, part)),
            Kind::Array => found.extend(self.arrays(path, branch, part)),
            Kind::Object => found.extend(self.objects(path, branch, part)),
        }
        found
    }

    /// One of several schemas must take all of a branch; where exactly one may, no other may take any of it.
    fn choice(&mut self, path: &str, branch: &Branch, list: &[Value], exactly: bool) -> Vec<Obstacle> {
        let live: Vec<&Value> = list.iter().filter(|item| !branch.is_apart(item)).collect();
        let mut results: Vec<_> = live.iter().map(|item| self.branch(path, branch, item)).collect();
        if results.iter().any(Vec::is_empty) {
            if exactly && live.len() > 1 {
                return vec![Obstacle::unknown(
                    path,
                    "may be several of its alternatives at once now, which is refused",
                )];
            }
            return Vec::new();
        }
        match results.len() {
            0 => vec![Obstacle::breaks(path, format!("is no longer {} of this form", branch.kind.name()))],
            1 => results.remove(0),
            _ => vec![Obstacle::unknown(
                path,
                "is none of its new alternatives alone, and may be covered by them together",
            )],
        }
    }

    fn arrays(&mut self, path: &str, branch: &Branch, part: &Part) -> Vec<Obstacle> {
        let mut found = Vec::new();
        found.extend(least(path, branch, part, "minItems", "element"));
        found.extend(most(path, branch, part, "maxItems", "element"));
        if part.get("uniqueItems") == Some(&Value::Bool(true)) && !branch.has("uniqueItems", &Value::Bool(true)) {
            found.push(Obstacle::breaks(path, "may hold no element twice now"));
        }
        if let Some(prefix) = part.get("prefixItems") {
            let same = branch
                .parts
                .iter()
                .any(|old| old.get("prefixItems") == Some(prefix) && old.get("items") == part.get("items"));
            if !same {
                found.push(Obstacle::unknown(path, "cannot be compared: its first elements have schemas of their own"));
            }
        } else if let Some(items) = part.get("items") {
            let plain = branch.parts.iter().filter(|old| !old.contains_key("prefixItems"));
            let old = all(plain.filter_map(|old| old.get("items")).cloned().collect());
            found.extend(self.within(&format!("{path}[]"), &old, items));
        }
        found
    }

    fn objects(&mut self, path: &str, branch: &Branch, part: &Part) -> Vec<Obstacle> {
        let mut found = Vec::new();
        let inner = |name: &str| format!("{path}.{name}");
        for name in schemas(part, "required").into_iter().flatten().filter_map(Value::as_str) {
            if !branch.requires(name) {
                let known = branch.names().contains(name);
                let reason = if known { "is required now" } else { "is new, and required" };
                found.push(Obstacle::breaks(inner(name), reason));
            }
        }
        let names = branch.parts.iter().filter_map(|old| schemas(old, "required")).flatten();
        let required: BTreeSet<&str> = names.filter_map(Value::as_str).collect();
        if part.get("minProperties").and_then(Value::as_u64).is_some_and(|least| least > required.len() as u64) {
            found.extend(least(path, branch, part, "minProperties", "member"));
        }
        let others = branch.others();
        let possible = branch.names().into_iter().filter(|name| branch.member(name).is_some()).count() as u64;
        let fits = others.is_none() && !branch.parts.iter().any(|old| table(old, "patternProperties").is_some());
        if !(fits && part.get("maxProperties").and_then(Value::as_u64).is_some_and(|most| possible <= most)) {
            found.extend(most(path, branch, part, "maxProperties", "member"));
        }
        let named = table(part, "properties");
        for (name, new) in named.into_iter().flatten() {
            if let Some(old) = branch.member(name) {
                found.extend(self.within(&inner(name), &old, new));
            }
        }
        let patterns = table(part, "patternProperties");
        if let Some(new) = part.get("additionalProperties") {
            let is_named = |name: &str| named.is_some_and(|named| named.contains_key(name));
            for name in branch.names().into_iter().filter(|name| !is_named(name)) {
                let Some(old) = branch.member(name) else { continue };
                let wrong = self.within(&inner(name), &old, new);
                // A pattern may take it; that is looked at below, but not which of both it is.
                found.extend(
                    wrong.into_iter().map(|wrong| Obstacle { breaks: wrong.breaks && patterns.is_none(), ..wrong }),
                );
            }
            if let Some(old) = &others {
                match new {
                    Value::Bool(false) => {
                        let wrong = Obstacle::breaks(path, "no longer takes members that it does not know");
                        found.push(Obstacle { breaks: patterns.is_none(), ..wrong });
                    }
                    new => found.extend(self.within(&inner("*"), old, new)),
                }
            }
        }
        if let Some(patterns) = patterns
            && !branch.any("patternProperties", |old| old.as_object() == Some(patterns))
        {
            found.extend(self.patterns(path, branch, patterns, fits));
        }
        if let Some(names) = part.get("propertyNames").filter(|names| !branch.has("propertyNames", names)) {
            match config::validator(names) {
                Ok(validator) if fits => {
                    let refused = branch.names().into_iter().filter(|name| branch.member(name).is_some());
                    let refused = refused.filter(|name| !validator.is_valid(&Value::from(*name)));
                    found.extend(refused.map(|name| Obstacle::breaks(inner(name), "is no name of a member any more")));
                }
                _ => found.push(Obstacle::unknown(path, "cannot be compared: it says what names of members must be")),
            }
        }
        found
    }

    /// Members whose names match patterns; `closed` says whether all names are known.
    fn patterns(&mut self, path: &str, branch: &Branch, patterns: &Part, closed: bool) -> Vec<Obstacle> {
        let unknown =
            || vec![Obstacle::unknown(path, "cannot be compared: members are judged by patterns of their names")];
        if !closed {
            return unknown();
        }
        let mut found = Vec::new();
        for (pattern, new) in patterns {
            // Classes and escapes mean other things to other engines.
            if pattern.contains(['\\', '[', '(']) {
                return unknown();
            }
            let Ok(regex) = regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build() else {
                return unknown();
            };
            for name in branch.names().into_iter().filter(|name| regex.is_match(name)) {
                if let Some(old) = branch.member(name) {
                    found.extend(self.within(&format!("{path}.{name}"), &old, new));
                }
            }
        }
        found
    }
}

/// Demands that are compared as a whole alone.
fn opaque(path: &str, branch: &Branch, part: &Part) -> Vec<Obstacle> {
    let groups: [&[&str]; 7] = [
        &["not"],
        &["if", "then", "else"],
        &["contains", "minContains", "maxContains"],
        &["dependentRequired"],
        &["dependentSchemas"],
        &["dependencies"],
        &["additionalItems"],
    ];
    let mut found = Vec::new();
    for group in groups {
        if !part.contains_key(group[0]) || group[0] == "contains" && branch.kind != Kind::Array {
            continue;
        }
        let same = branch.parts.iter().any(|old| group.iter().all(|keyword| old.get(*keyword) == part.get(*keyword)));
        if !same {
            found.push(Obstacle::unknown(path, format!("cannot be compared: it uses `{}`", group[0])));
        }
    }
    // What these mean depends on everything beside them.
    for keyword in
        ["unevaluatedItems", "unevaluatedProperties"].into_iter().filter(|keyword| part.contains_key(*keyword))
    {
        found.push(Obstacle::unknown(path, format!("cannot be compared: it uses `{keyword}`")));
    }
    found
}

fn least(path: &str, branch: &Branch, part: &Part, keyword: &str, of: &str) -> Option<Obstacle> {
    let least = part.get(keyword)?;
    let follows =
        least.as_u64() == Some(0) || branch.any(keyword, |old| order(old, least).is_some_and(Ordering::is_ge));
    (!follows).then(|| Obstacle::breaks(path, format!("must have at least {least} {of}{} now", plural(least))))
}

fn most(path: &str, branch: &Branch, part: &Part, keyword: &str, of: &str) -> Option<Obstacle> {
    let most = part.get(keyword)?;
    let follows = branch.any(keyword, |old| order(old, most).is_some_and(Ordering::is_le));
    (!follows).then(|| Obstacle::breaks(path, format!("may have at most {most} {of}{} now", plural(most))))
}

fn plural(number: &Value) -> &'static str {
    if number.as_u64() == Some(1) { "" } else { "s" }
}

fn strings(path: &str, branch: &Branch, part: &Part) -> Vec<Obstacle> {
    let mut found = Vec::new();
    found.extend(least(path, branch, part, "minLength", "character"));
    found.extend(most(path, branch, part, "maxLength", "character"));
    if let Some(pattern) = part.get("pattern").filter(|pattern| !branch.has("pattern", pattern)) {
        let shown = shown(pattern);
        found.push(match branch.any("pattern", |_| true) {
            true => Obstacle::unknown(path, format!("must match another pattern now, {shown}")),
            false => Obstacle::breaks(path, format!("must match {shown} now")),
        });
    }
    found
}

fn numbers(path: &str, branch: &Branch, part: &Part) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let whole = branch.kind == Kind::Integer;
    // What is more than 2 is at least 3, if it is whole.
    let next = |value: &Value, by: i64| {
        value.as_i64().and_then(|value| value.checked_add(by)).map(Value::from).filter(|_| whole)
    };
    if let Some(bound) = part.get("minimum") {
        let follows = branch.any("minimum", |old| order(old, bound).is_some_and(Ordering::is_ge))
            || branch.any("exclusiveMinimum", |old| {
                order(old, bound).is_some_and(Ordering::is_ge)
                    || next(old, 1).is_some_and(|old| order(&old, bound).is_some_and(Ordering::is_ge))
            });
        found.extend((!follows).then(|| Obstacle::breaks(path, format!("must be at least {bound} now"))));
    }
    if let Some(bound) = part.get("exclusiveMinimum") {
        let follows = branch.any("minimum", |old| order(old, bound).is_some_and(Ordering::is_gt))
            || branch.any("exclusiveMinimum", |old| order(old, bound).is_some_and(Ordering::is_ge));
        found.extend((!follows).then(|| Obstacle::breaks(path, format!("must be more than {bound} now"))));
    }
    if let Some(bound) = part.get("maximum") {
        let follows = branch.any("maximum", |old| order(old, bound).is_some_and(Ordering::is_le))
            || branch.any("exclusiveMaximum", |old| {
                order(old, bound).is_some_and(Ordering::is_le)
                    || next(old, -1).is_some_and(|old| order(&old, bound).is_some_and(Ordering::is_le))
            });
        found.extend((!follows).then(|| Obstacle::breaks(path, format!("must be at most {bound} now"))));
    }
    if let Some(bound) = part.get("exclusiveMaximum") {
        let follows = branch.any("maximum", |old| order(old, bound).is_some_and(Ordering::is_lt))
            || branch.any("exclusiveMaximum", |old| order(old, bound).is_some_and(Ordering::is_le));
        found.extend((!follows).then(|| Obstacle::breaks(path, format!("must be less than {bound} now"))));
    }
    if let Some(step) = part.get("multipleOf") {
        let divides = |old: &Value| match (old.as_i64(), step.as_i64()) {
            (Some(old), Some(step)) => step != 0 && old % step == 0,
            _ => old == step,
        };
        let follows = whole && step.as_i64() == Some(1) || branch.any("multipleOf", divides);
        found.extend((!follows).then(|| Obstacle::breaks(path, format!("must be a multiple of {step} now"))));
    }
    found
}

/// Whether two values are certainly not equal: `1` and `1.0` are.
fn differ(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b).is_some_and(Ordering::is_ne),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        (a, b) => a != b,
    }
}

/// Two numbers by size; none where they are no numbers, or cannot be compared exactly.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    let (a, b) = (a.as_number()?, b.as_number()?);
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Some(whole), None) | (None, Some(whole)) if whole.unsigned_abs() > EXACT => None,
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}
