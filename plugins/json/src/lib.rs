//! `std:json`: selects from JSON and reshapes it, by filters of jq.
//!
//! In reading order: `filter` (the language: jaq, and what is added to it), `regex` (its regular expressions), and here the plugin.

mod filter;
mod regex;

use std::collections::BTreeMap;

use jaq_json::Val;
use lockgate_sdk::json::{Event, Parser};
use lockgate_sdk::prelude::*;

use crate::filter::Filter;

/// What becomes of what.
#[config]
pub struct Config {
    /// The filter, in the language of jq. `.` is the only input, or an object of all inputs by their names; a tree is an object of
    /// its files by their paths.
    pub filter: String,
    /// Values for the filter: `$name` for each.
    #[serde(default)]
    pub vars: BTreeMap<String, lockgate_sdk::serde_json::Value>,
    /// How inputs are written.
    #[serde(default)]
    pub input: Form,
    /// What is written of the results.
    #[serde(default)]
    pub output: Output,
    /// Patterns of the files of trees that are read; without any all `*.json`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Applies the filter to each file of the only tree, and writes a tree of the same paths.
    #[serde(default)]
    pub each: bool,
    /// Spaces of indentation; without it all stands on one line.
    #[schemars(range(max = 8))]
    #[serde(default)]
    pub indent: Option<u8>,
    /// Sorts keys.
    #[serde(default)]
    pub sort_keys: bool,
    /// Fails the stage unless every result is something else than `null` and `false`, and there is one.
    #[serde(default)]
    pub check: bool,
}

/// How inputs are written.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// One value.
    #[default]
    Json,
    /// A value on each line: they become an array.
    Lines,
    /// Any text: it becomes a string.
    Text,
}

/// What is written of the results.
#[config]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// The only result; none or several fail the stage.
    #[default]
    One,
    /// An array of all results.
    Array,
    /// A result on each line.
    Lines,
    /// A result on each line, strings without quotes.
    Raw,
}

/// The plugin.
pub struct Json;

/// The deepest nesting of what is read and of what is written: readers and writers recurse.
const DEEPEST: usize = 256;
/// The most results.
const RESULTS: usize = 1_000_000;

impl Stage for Json {
    type Config = Config;
    const ABOUT: About = about!("Selects from JSON and reshapes it, by filters of jq.")
        .open_inputs(PortKind::Any)
        .outputs(&[
            Port::blob("result", "what the filter gives").optional(),
            Port::tree("files", "what it gives for each file, with `each`").optional(),
        ])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let names: Vec<String> = config.vars.keys().map(|name| format!("${name}")).collect();
        let vars: Result<Vec<Val>> = config.vars.values().map(|value| read(value.to_string().as_bytes())).collect();
        let (vars, filter) = (vars.context("read `vars`")?, Filter::new(&config.filter, &names)?);
        let inputs = inputs();
        if config.each {
            let [source] = inputs.as_slice() else {
                bail!("`each` takes one input, a tree; there are {}", inputs.len())
            };
            ensure!(source.kind == Kind::Tree, "`each` takes a tree; the input `{}` is a blob", source.name);
            let (tree, target) = (source.tree()?, output("files").tree()?);
            let mut count = 0_u64;
            for file in chosen(&tree, &config.include) {
                let value = tree.read(&file.path).and_then(|bytes| value(bytes, config.input));
                let value = value.with_context(|| format!("read `{}`", file.path))?;
                let results = filter.run(&vars, value, RESULTS).with_context(|| format!("`{}`", file.path))?;
                target.write(&file.path, write(&config, results).with_context(|| format!("`{}`", file.path))?)?;
                count += 1;
            }
            target.finish()?;
            info!("{count} files");
            return Ok(Findings::new());
        }
        let mut values = Vec::new();
        for input in &inputs {
            let value = match input.kind {
                Kind::Blob => input.read().and_then(|bytes| value(bytes, config.input)),
                Kind::Tree => files(&input.tree()?, &config),
            };
            values.push((text(&input.name), value.with_context(|| format!("read the input `{}`", input.name))?));
        }
        let value = match values.len() {
            0 => Val::Null,
            1 => values.remove(0).1,
            _ => Val::obj(values.into_iter().collect()),
        };
        let results = filter.run(&vars, value, RESULTS)?;
        info!("{} results", results.len());
        output("result").write(write(&config, results)?)?;
        Ok(Findings::new())
    }
}

export_stage!(Json);

fn text(text: &str) -> Val {
    Val::utf8_str(text.to_owned())
}

/// The files of a tree that are read.
fn chosen<'a>(tree: &'a Tree, patterns: &'a [String]) -> impl Iterator<Item = Entry> + 'a {
    tree.files().filter(move |file| match patterns {
        [] => file.path.ends_with(".json"),
        _ => patterns.iter().any(|pattern| fast_glob::glob_match(pattern, &file.path)),
    })
}

/// All files of a tree by their paths.
fn files(tree: &Tree, config: &Config) -> Result<Val> {
    let mut values = Vec::new();
    for file in chosen(tree, &config.include) {
        let value = tree.read(&file.path).and_then(|bytes| value(bytes, config.input));
        values.push((text(&file.path), value.with_context(|| format!("read `{}`", file.path))?));
    }
    Ok(Val::obj(values.into_iter().collect()))
}

fn value(bytes: Vec<u8>, form: Form) -> Result<Val> {
    match form {
        Form::Json => read(&bytes),
        Form::Lines => {
            let lines =
                bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
            let values = lines.map(|(number, line)| read(line).with_context(|| format!("line {}", number + 1)));
            Ok(values.collect::<Result<Vec<Val>>>()?.into_iter().collect())
        }
        Form::Text => Ok(Val::utf8_str(String::from_utf8(bytes).context("it is not UTF-8")?)),
    }
}

/// Reads one value. jaq's reader takes more than JSON, and recurses: what stands before it takes JSON alone, and not too deep.
fn read(bytes: &[u8]) -> Result<Val> {
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check(text)?;
    jaq_json::read::parse_single(text.as_bytes()).map_err(|error| Error::new(error.to_string()))
}

/// Checks that a text is JSON, and not nested too deep.
fn check(text: &str) -> Result<()> {
    let (mut parser, mut depth) = (Parser::new(text), 0);
    loop {
        match parser.next_event() {
            Ok(Some((offset, event))) => match event {
                Event::ArrayStart | Event::ObjectStart => {
                    depth += 1;
                    ensure!(depth <= DEEPEST, "{}: nested deeper than {DEEPEST} levels", place(text, offset));
                }
                Event::ArrayEnd | Event::ObjectEnd => depth -= 1,
                _ => {}
            },
            Ok(None) => return Ok(()),
            Err(error) => bail!("{}: {}", place(text, error.offset), error.message),
        }
    }
}

fn place(text: &str, offset: usize) -> String {
    let finding = Finding::note("").offset(text, offset);
    format!("line {}, column {}", finding.line.unwrap_or(1), finding.column.unwrap_or(1))
}

/// Writes results.
fn write(config: &Config, mut results: Vec<Val>) -> Result<Vec<u8>> {
    if config.check {
        let good = results.iter().filter(|value| !matches!(value, Val::Null | Val::Bool(false))).count();
        ensure!(!results.is_empty(), "the check failed: the filter gave nothing");
        ensure!(good == results.len(), "the check failed: the filter gave {}", shown(&results));
    }
    let pp = jaq_json::write::Pp {
        indent: config.indent.map(|spaces| " ".repeat(spaces.into())),
        sort_keys: config.sort_keys,
        sep_space: config.indent.is_some(),
        ..Default::default()
    };
    let mut out = Vec::new();
    match config.output {
        Output::One => {
            ensure!(
                results.len() == 1,
                "the filter gave {} results: `output` takes one, `array` or `lines` all",
                results.len()
            );
            let Some(value) = results.pop() else { bail!("the filter gave nothing") };
            json(&mut out, &pp, &value)?;
        }
        Output::Array => json(&mut out, &pp, &results.into_iter().collect::<Val>())?,
        Output::Lines => results.iter().try_for_each(|value| json(&mut out, &pp, value))?,
        Output::Raw => {
            for value in &results {
                match value {
                    Val::TStr(text) => {
                        out.extend_from_slice(text);
                        out.push(b'\n');
                    }
                    value => json(&mut out, &pp, value)?,
                }
            }
        }
    }
    Ok(out)
}

fn shown(results: &[Val]) -> String {
    let texts: Vec<String> =
        results.iter().take(5).map(|value| value.to_string().chars().take(100).collect()).collect();
    texts.join(", ")
}

/// Writes one value, and a line's end.
fn json(out: &mut Vec<u8>, pp: &jaq_json::write::Pp, value: &Val) -> Result<()> {
    ensure!(filter::depth(value) <= DEEPEST, "a result is nested deeper than {DEEPEST} levels");
    let begin = out.len();
    filter::write(out, pp, value);
    // Infinite numbers, numbers that are none, bytes and keys that are no strings have no form in JSON.
    let text = std::str::from_utf8(&out[begin..]).context("a result is not UTF-8")?;
    check(text).with_context(|| format!("a result is no JSON: {}", shown(std::slice::from_ref(value))))?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
