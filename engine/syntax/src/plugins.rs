//! `[plugins]`, and the `plugin` of a node.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use lockgate_model::pipeline::{PluginSource, PluginTerms};
use lockgate_model::{PluginAlias, PortName};
use toml::de::DeValue;

use crate::problem::{Code, cut};
use crate::report::{Problems, suggest};
use crate::table::{Table, Text};

/// Declared aliases, and what nodes made of them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Plugins {
    /// What the file declares; none where there is a problem.
    declared: BTreeMap<String, Option<PluginSource>>,
    /// What nodes name.
    pub(crate) used: BTreeMap<PluginAlias, PluginSource>,
    /// As what those are taken of which the file says something.
    pub(crate) terms: BTreeMap<PluginAlias, PluginTerms>,
    /// Where an alias is declared, or first used where it is not.
    pub(crate) places: HashMap<PluginAlias, Range<usize>>,
}

impl Plugins {
    pub(crate) fn read(root: &Table<'_>, problems: &Problems) -> Self {
        let mut plugins = Self::default();
        for (alias, span, value) in root.table("plugins").map(|table| table.entries()).unwrap_or_default() {
            let source = match value.get_ref() {
                DeValue::String(text) => built_in(&Text { text, span: value.span() }, problems),
                _ => Table::of(value).and_then(|table| declared(&Table { span: span.clone(), ..table }, problems)),
            };
            if alias.starts_with("std-") || alias.starts_with("app-") {
                let kind = &alias[..3];
                let hint = format!("give it another name; a node may also say `plugin = \"{kind}:...\"` itself");
                problems.report(
                    Code::Conflict,
                    &span,
                    "",
                    format!("the alias `{}` is kept for `{kind}:` plugins", cut(alias.to_owned(), 80)),
                    Some(hint),
                );
            }
            if let Ok(alias) = PluginAlias::new(alias) {
                let terms = Table::of(value).map(|table| terms(&table)).unwrap_or_default();
                if terms != PluginTerms::default() {
                    plugins.terms.insert(alias.clone(), terms);
                }
                plugins.places.insert(alias, value.span());
            }
            plugins.declared.insert(alias.to_owned(), source);
        }
        plugins
    }

    /// Takes in what nodes further down in the file made of the same declarations.
    pub(crate) fn merge(&mut self, later: Self) {
        self.used.extend(later.used);
        for (alias, place) in later.places {
            self.places.entry(alias).or_insert(place);
        }
    }

    /// As what a plugin is taken.
    pub(crate) fn terms(&self, alias: &PluginAlias) -> PluginTerms {
        self.terms.get(alias).copied().unwrap_or_default()
    }

    /// The alias of a node's `plugin`.
    pub(crate) fn resolve(&mut self, text: &Text<'_>, problems: &Problems) -> Option<PluginAlias> {
        if text.text.starts_with("std:") || text.text.starts_with("app:") {
            let source = built_in(text, problems)?;
            let alias = PluginAlias::new(&text.text.replacen(':', "-", 1));
            let Ok(alias) = alias else {
                problems.report(
                    Code::BadName,
                    &text.span,
                    "",
                    "the plugin's name is too long",
                    Some("at most 60 characters".to_owned()),
                );
                return None;
            };
            self.places.entry(alias.clone()).or_insert_with(|| text.span.clone());
            self.used.entry(alias.clone()).or_insert(source);
            return Some(alias);
        }
        match self.declared.get(text.text) {
            Some(source) => {
                let (alias, source) = (PluginAlias::new(text.text).ok()?, source.clone()?);
                self.used.insert(alias.clone(), source);
                Some(alias)
            }
            None => {
                let shown = cut(text.text.to_owned(), 80);
                let near = suggest(text.text, self.declared.keys().map(String::as_str));
                let hint = if shown.contains(['/', '.']) {
                    format!("a file needs an alias: `[plugins]` `x = {{ path = \"{shown}\" }}`, then `plugin = \"x\"`")
                } else {
                    near.filter(|hint| hint.starts_with("did")).unwrap_or_else(|| {
                        format!("declare it in `[plugins]`, or write `std:{shown}` for one shipped inside the engine")
                    })
                };
                problems.report(
                    Code::UnknownPlugin,
                    &text.span,
                    "",
                    format!("there is no plugin `{shown}`"),
                    Some(hint),
                );
                None
            }
        }
    }
}

fn terms(table: &Table<'_>) -> PluginTerms {
    let says = |key, word| table.text(key).is_some_and(|text| text.text == word);
    PluginTerms { command: says("world", "command"), trap_missing: says("missing_imports", "trap") }
}

/// `std:<name>` or `app:<name>`.
fn built_in(text: &Text<'_>, problems: &Problems) -> Option<PluginSource> {
    let named = |prefix| text.text.strip_prefix(prefix).filter(|name| PortName::new(name).is_ok()).map(str::to_owned);
    let std = named("std:").map(|name| PluginSource::Std { name, digest: None });
    let source = std.or_else(|| named("app:").map(|name| PluginSource::App { name }));
    if source.is_none() {
        let shown = cut(text.text.to_owned(), 80);
        let hint =
            "write `std:<name>` for one shipped inside the engine, `{ path = \"...\" }` for a file, or `app:<name>` for a node kind of the program that embeds the engine".to_owned();
        problems.report(
            Code::Plugin,
            &text.span,
            "",
            format!("`{shown}` does not say where the plugin comes from"),
            Some(hint),
        );
    }
    source
}

/// `{ std = ... }`, `{ path = ... }` or `{ oci = ... }`.
fn declared(table: &Table<'_>, problems: &Problems) -> Option<PluginSource> {
    let digest = read(table, "digest", "`lockgate plugin inspect` shows a component's digest", problems);
    let name = read(table, "oci", "as in `oci = \"ghcr.io/acme/scan\", version = \"^1.2\"`", problems);
    let version = read(table, "version", "as in `^1.2`, `>=1.2, <3` or `=1.2.3`", problems);
    let (digest, name, version) = (digest?, name?, version?);
    if let (Some(key), None) = (version.as_ref().map(|_| table.key_span("version")), &name) {
        let hint = Some("pin other plugins by `digest`, or by a lock file".to_owned());
        problems.report(Code::Conflict, &key, "", "only a plugin from a registry has a `version`", hint);
        return None;
    }
    match (table.text("std"), table.text("path"), name) {
        (Some(name), None, None) => Some(PluginSource::Std { name: name.text.to_owned(), digest }),
        (None, Some(path), None) => Some(PluginSource::Path { path: path.text.to_owned(), digest }),
        (None, None, Some(name)) => Some(PluginSource::Oci { name, version: version.unwrap_or_default(), digest }),
        // None or several were reported by the structural check.
        _ => None,
    }
}

/// The value of a key, if it is there. None: there is a problem with it.
fn read<T: FromStr<Err: Display>>(table: &Table<'_>, key: &str, hint: &str, problems: &Problems) -> Option<Option<T>> {
    let Some(text) = table.text(key) else { return Some(None) };
    match text.text.parse() {
        Ok(value) => Some(Some(value)),
        Err(error) => {
            problems.report(Code::BadName, &text.span, "", format!("failed to {error}"), Some(hint.to_owned()));
            None
        }
    }
}
