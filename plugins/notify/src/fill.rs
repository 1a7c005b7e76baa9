//! Places in a text that inputs and secrets fill: `{{name}}`, `{{name#/pointer}}`, `{{secret:name}}`.
//!
//! What is filled in is never looked at for places again.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use lockgate_sdk::secrets;
use serde_json::Value;

/// The largest input in bytes.
const LARGEST: u64 = 1 << 20;
/// Begins a place for a secret.
const SECRET: &str = "secret:";
/// The deepest nesting of `json` in a config.
const DEEPEST: usize = 64;

/// Fills places, and keeps what it read.
#[derive(Default)]
pub struct Filler {
    texts: BTreeMap<String, String>,
    values: BTreeMap<String, Value>,
}

impl Filler {
    /// A text with its places filled.
    pub fn text(&mut self, text: &str) -> Result<String> {
        self.filled(text, |_| true)
    }

    /// A text whose places are those of secrets alone, with these filled.
    pub fn secrets(&mut self, text: &str) -> Result<String> {
        self.filled(text, |place| place.starts_with(SECRET))
    }

    fn filled(&mut self, text: &str, takes: fn(&str) -> bool) -> Result<String> {
        let (mut filled, mut rest) = (String::new(), text);
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((place, after)) = behind.split_once("}}") else { bail!("`{{{{` is not closed by `}}}}`") };
            ensure!(takes(place.trim()), "`{{{{{place}}}}}` cannot stand there: it takes `{{{{secret:name}}}}` alone");
            filled += before;
            match self.place(place.trim())? {
                Value::String(text) => filled += &text,
                other => filled += &other.to_string(),
            }
            rest = after;
        }
        Ok(filled + rest)
    }

    /// A value with the places in its strings filled. A string that is nothing but one place becomes what is there.
    pub fn value(&mut self, value: &Value, depth: usize) -> Result<Value> {
        ensure!(depth <= DEEPEST, "`json` is nested deeper than {DEEPEST} levels");
        Ok(match value {
            Value::String(text) => {
                let only = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}"));
                match only.filter(|place| !place.contains("{{")) {
                    Some(place) => self.place(place.trim())?,
                    None => Value::String(self.text(text)?),
                }
            }
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_>>()?)
            }
            Value::Object(members) => {
                let filled = members.iter().map(|(key, value)| Ok((key.clone(), self.value(value, depth + 1)?)));
                Value::Object(filled.collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }

    /// What fills a place.
    fn place(&mut self, place: &str) -> Result<Value> {
        if let Some(name) = place.strip_prefix(SECRET) {
            let placeholder = secrets::placeholder(name);
            let placeholder = placeholder.with_context(|| {
                format!("the secret `{name}` is not granted: name it in `grants.secrets` of the node")
            })?;
            return Ok(Value::String(placeholder));
        }
        match place.split_once('#') {
            None => Ok(Value::String(self.input(place)?.trim_end().to_owned())),
            Some((name, pointer)) => {
                if !self.values.contains_key(name) {
                    let value = serde_json::from_str(self.input(name)?);
                    self.values
                        .insert(name.to_owned(), value.with_context(|| format!("read the input `{name}` as JSON"))?);
                }
                let found = self.values.get(name).and_then(|value| value.pointer(pointer)).cloned();
                found.with_context(|| format!("the input `{name}` has nothing at `{pointer}`"))
            }
        }
    }

    fn input(&mut self, name: &str) -> Result<&str> {
        if !self.texts.contains_key(name) {
            let found = input(name).with_context(|| format!("`{{{{{name}}}}}` cannot be filled"))?;
            ensure!(
                found.size <= LARGEST,
                "the input `{name}` has {} bytes: at most {LARGEST} fill a place",
                found.size
            );
            self.texts.insert(name.to_owned(), found.read_text()?);
        }
        Ok(self.texts.get(name).map_or("", String::as_str))
    }
}
