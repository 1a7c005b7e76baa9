//! `std:template`: fills in templates in the language of Jinja, one or a tree of them.
//!
//! In reading order: `data` (inputs as values), and here the plugin.

mod data;

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use lockgate_sdk::serde_json;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};

/// What is filled in with what.
#[config]
#[serde(default)]
pub struct Config {
    /// The template, where it is not an input.
    pub template: Option<String>,
    /// Data for it: names and values. Inputs are data by their names, too.
    pub data: BTreeMap<String, serde_json::Value>,
    /// Formats of inputs that are blobs, by their names; without an entry JSON. Files in trees have theirs by extension.
    pub formats: BTreeMap<String, Format>,
    /// Endings of names that make files of a tree templates; they are taken off.
    pub suffixes: Vec<String>,
    /// Patterns of files of a tree that are templates whatever their names.
    pub all: Vec<String>,
    /// Patterns of files of a tree that others include or extend, and that are not written themselves.
    pub partials: Vec<String>,
    /// How values are escaped.
    pub escape: Escape,
    /// The most that is written, in bytes.
    pub max_bytes: u64,
    /// The most that templates may do, in instructions of theirs.
    pub max_steps: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            template: None,
            data: BTreeMap::new(),
            formats: BTreeMap::new(),
            suffixes: vec![".j2".into(), ".jinja".into()],
            all: Vec::new(),
            partials: vec!["**/_*".into()],
            escape: Escape::None,
            max_bytes: 16 << 20,
            // A tenth of a node's default fuel, more or less.
            max_steps: 1_000_000,
        }
    }
}

/// Formats of data.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// YAML, its only document.
    Yaml,
    /// A string.
    Text,
}

/// How values are escaped.
#[config]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// Not at all.
    None,
    /// For HTML and XML.
    Html,
    /// As JSON: every value is written as one.
    Json,
}

/// The plugin.
pub struct Template;

/// The largest template in bytes.
const LARGEST: u64 = 1 << 20;
/// The deepest nesting of includes and macros: each takes some of the stack.
const NESTED: usize = 64;
/// The deepest nesting of what stands in brackets in a template: its parser recurses.
const BRACKETS: usize = 64;

impl Stage for Template {
    type Config = Config;
    const ABOUT: About = about!("Fills in templates.")
        .inputs(&[Port::any("template", "the template, or a tree of them").optional()])
        .open_inputs(PortKind::Any)
        .outputs(&[
            Port::blob("text", "what became of one template").optional(),
            Port::tree("tree", "what became of a tree").optional(),
        ])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        ensure!(config.max_steps > 0, "`max_steps` is 0: nothing could be filled in");
        let data = data::all(&config)?;
        let source = inputs().into_iter().find(|input| input.name == "template");
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_recursion_limit(NESTED);
        environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
        environment.set_fuel(Some(config.max_steps));
        let escape = config.escape;
        environment.set_auto_escape_callback(move |_| match escape {
            Escape::None => AutoEscape::None,
            Escape::Html => AutoEscape::Html,
            Escape::Json => AutoEscape::Json,
        });
        match (&config.template, source) {
            (Some(text), None) => one(environment, text, &data, &config),
            (None, Some(source)) if source.kind == Kind::Blob => one(environment, &source.read_text()?, &data, &config),
            (None, Some(source)) => tree(environment, &source, &data, &config),
            (Some(_), Some(_)) => bail!("there are two templates: in the config and as an input"),
            (None, None) => bail!("there is no template: set `template`, or give an input of that name"),
        }?;
        Ok(Findings::new())
    }
}

export_stage!(Template);

/// Fills in one template.
fn one(mut environment: Environment<'_>, text: &str, data: &Value, config: &Config) -> Result<()> {
    check(text).context("`template`")?;
    environment.add_template_owned("template", text.to_owned()).map_err(wrong)?;
    let mut writer = Bounded { writer: output("text").blob()?, left: config.max_bytes, passed: false };
    render(&environment, "template", data, &mut writer, config)?;
    writer.writer.finish()
}

/// Fills in a tree of them.
fn tree(mut environment: Environment<'_>, source: &Input, data: &Value, config: &Config) -> Result<()> {
    let (tree, target) = (source.tree()?, output("tree").tree()?);
    let any = |patterns: &[String], path: &str| patterns.iter().any(|pattern| fast_glob::glob_match(pattern, path));
    let (mut templates, mut written) = (Vec::new(), BTreeMap::new());
    for entry in tree.entries() {
        let path = entry.path.as_str();
        let stripped = config.suffixes.iter().find_map(|suffix| path.strip_suffix(suffix.as_str()));
        let stripped = stripped.filter(|name| !name.is_empty() && !name.ends_with('/'));
        let partial = any(&config.partials, path);
        let name = match (&entry.kind, stripped) {
            (EntryKind::File { .. }, Some(name)) => name,
            (EntryKind::File { .. }, None) if partial || any(&config.all, path) => path,
            (EntryKind::Directory, _) => {
                target.directory(path)?;
                continue;
            }
            _ => {
                // No template: handed on without being read.
                put(&mut written, path, path)?;
                match &entry.kind {
                    EntryKind::Symlink { target: leads } => target.symlink(path, leads)?,
                    _ => target.copy(source, path, path)?,
                }
                continue;
            }
        };
        ensure!(entry.size() <= LARGEST, "`{path}` has {} bytes: a template has at most {LARGEST}", entry.size());
        let text = tree.read_text(path)?;
        check(&text).with_context(|| format!("`{path}`"))?;
        environment.add_template_owned(path.to_owned(), text).map_err(wrong)?;
        if !partial {
            put(&mut written, name, path)?;
            let executable = matches!(entry.kind, EntryKind::File { executable: true, .. });
            templates.push((path.to_owned(), name.to_owned(), executable));
        }
    }
    let mut left = config.max_bytes;
    for (path, name, executable) in &templates {
        let mut writer = Bounded { writer: target.file(name, *executable)?, left, passed: false };
        render(&environment, path, data, &mut writer, config)?;
        left = writer.left;
        writer.writer.finish()?;
    }
    target.finish()?;
    info!("{} templates", templates.len());
    Ok(())
}

/// Notes which file a path comes from.
fn put(written: &mut BTreeMap<String, String>, name: &str, path: &str) -> Result<()> {
    if let Some(other) = written.insert(name.to_owned(), path.to_owned()) {
        bail!("`{other}` and `{path}` would both become `{name}`");
    }
    Ok(())
}

fn render(
    environment: &Environment<'_>,
    name: &str,
    data: &Value,
    writer: &mut Bounded,
    config: &Config,
) -> Result<()> {
    let template = environment.get_template(name).map_err(wrong)?;
    let result = template.render_captured_to(data.clone(), &mut *writer);
    ensure!(!writer.passed, "`{name}` writes more than {} bytes: `max_bytes` permits more", config.max_bytes);
    result.map(drop).map_err(|error| {
        if error.kind() == ErrorKind::OutOfFuel {
            let steps = config.max_steps;
            return Error::new(format!("`{name}` does not end within {steps} steps: `max_steps` permits more"));
        }
        wrong(error)
    })
}

/// An error with its place, and what lies behind it.
fn wrong(error: minijinja::Error) -> Error {
    let mut text = match (error.name(), error.line()) {
        (Some(name), Some(line)) => format!("`{name}`, line {line}: {}", error.kind()),
        _ => error.kind().to_string(),
    };
    if let Some(detail) = error.detail() {
        text += &format!(": {detail}");
    }
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    if error.kind() == ErrorKind::UndefinedError {
        text += " (a value is missing; `default` gives one: `{{ name | default('x') }}`)";
    }
    Error::new(text.chars().take(2_000).collect::<String>())
}

/// Checks what a template's parser would take too much of the stack for.
fn check(text: &str) -> Result<()> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'\n' => depth = 0,
            _ => {}
        }
        ensure!(depth <= BRACKETS, "a line nests more than {BRACKETS} brackets");
    }
    Ok(())
}

/// A writer with a bound.
struct Bounded {
    writer: Writer,
    left: u64,
    passed: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                self.writer.write_all(bytes)?;
                Ok(bytes.len())
            }
            None => {
                self.passed = true;
                Err(std::io::Error::other("too much is written"))
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
