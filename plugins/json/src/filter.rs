//! The language of jq by jaq: its core and its standard library without what reads the clock, the environment or the standard
//! streams. Formats and regular expressions are added.

extern crate alloc;

use std::fmt::Write as _;

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader, parse::Def};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Compiler, Ctx, Vars, unwrap_valr};
use jaq_json::write::Pp;
use jaq_json::{Error as JaqError, Val};
use lockgate_sdk::prelude::*;

use crate::regex;

/// The longest filter.
const LONGEST: usize = 64 << 10;
/// The deepest nesting of brackets in a filter: its parser recurses.
const NESTED: usize = 100;

/// What the standard library defines over natives that are not there: streams, the environment, time, and a C library's mathematics.
const LEFT_OUT: [&str; 18] = [
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "todate",
    "fromdate",
    "@htmld",
    "@urid",
    "@html",
    "@uri",
    "@base64d",
];

/// Definitions over those that are there.
const DEFINED: &str = r#"
def abs: if . < 0 then - . end;
def @html: tostring | split("&") | join("&amp;") | split("<") | join("&lt;") | split(">") | join("&gt;") | split("'") | join("&#39;") | split("\"") | join("&quot;");
def @uri: tostring | encode_uri;
def @base64d: tostring | decode_base64;
def @csv: map(if isstring then "\"" + (split("\"") | join("\"\"")) + "\"" elif . == null then "" else tojson end) | join(",");
def @tsv: map(if isstring then split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n") | split("\r") | join("\\r") elif . == null then "" else tojson end) | join("\t");
def ascii: [.] | implode;
def todate: error("there is no time here: dates are not part of std:json");
def walk(f): def w: if isobject then map_values(w) elif isarray then map(w) end | f; w;
def env: error("there is no environment here");
def now: error("there is no clock here");
def input: error("there is one input: name several in the pipeline");
def debug: error("there is no standard error here");
def halt: error("a filter cannot halt: use `error`");
"#;

type Data = JustLut<Val>;

/// A filter that can be run.
pub struct Filter {
    compiled: jaq_core::Filter<Data>,
}

impl Filter {
    /// Compiles a filter that may use variables of these names, with their `$`.
    pub fn new(code: &str, vars: &[String]) -> Result<Self> {
        ensure!(code.len() <= LONGEST, "`filter` is longer than {LONGEST} bytes");
        let mut depth = 0_usize;
        for byte in code.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            ensure!(depth <= NESTED, "`filter` nests more than {NESTED} brackets");
        }
        for name in vars {
            let plain = name[1..].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            ensure!(
                plain && name.len() > 1 && !name.as_bytes()[1].is_ascii_digit(),
                "`{}` in `vars` is no name of a variable",
                &name[1..]
            );
        }
        let own: Vec<Def<&str>> = load::parse(DEFINED, |parser| parser.defs()).context("read the definitions")?;
        let defined: Vec<&str> = own.iter().map(|def| def.name).collect();
        let known = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let known: Vec<Def<&str>> =
            known.filter(|def| !LEFT_OUT.contains(&def.name) && !defined.contains(&def.name)).collect();
        let funs = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs()).chain(natives());
        let arena = Arena::default();
        let file = File { code, path: () };
        let modules = Loader::new(known.into_iter().chain(own)).load(&arena, file);
        let modules =
            modules.map_err(|errors| wrong(code, errors.into_iter().flat_map(|(_, error)| explain(error))))?;
        let compiler = Compiler::default().with_funs(funs).with_global_vars(vars.iter().map(String::as_str));
        let compiled = compiler.compile(modules).map_err(|errors| {
            let all = errors.into_iter().flat_map(|(_, errors)| errors);
            wrong(code, all.map(|(name, kind)| (name, format!("there is no {} `{name}`", kind.as_str()))))
        })?;
        Ok(Self { compiled })
    }

    /// All results for a value.
    pub fn run(&self, vars: &[Val], value: Val, most: usize) -> Result<Vec<Val>> {
        let ctx = Ctx::<Data>::new(&self.compiled.lut, Vars::new(vars.iter().cloned()));
        let mut results = Vec::new();
        for result in self.compiled.id.run((ctx, value)).map(unwrap_valr) {
            let value = result.map_err(|error| Error::new(format!("the filter failed: {}", message(error))))?;
            ensure!(results.len() < most, "the filter gave more than {most} results");
            results.push(value);
        }
        Ok(results)
    }
}

/// An error's text: what a filter gave to `error`, if that is one.
fn message(error: JaqError) -> String {
    let value = error.into_val();
    let text = match &value {
        Val::TStr(text) => String::from_utf8_lossy(text).into_owned(),
        value => value.to_string(),
    };
    text.chars().take(1_000).collect()
}

/// What is wrong in a filter, and where.
fn explain(error: load::Error<&str>) -> Vec<(&str, String)> {
    match error {
        load::Error::Io(errors) => {
            errors.into_iter().map(|(path, _)| (path, format!("`{path}`: there are no modules here"))).collect()
        }
        load::Error::Lex(errors) => {
            errors.into_iter().map(|(expected, found)| (found, format!("expected {}", expected.as_str()))).collect()
        }
        load::Error::Parse(errors) => {
            errors.into_iter().map(|(expected, found)| (found, format!("expected {}", expected.as_str()))).collect()
        }
    }
}

fn wrong<'a>(code: &'a str, errors: impl Iterator<Item = (&'a str, String)>) -> Error {
    let mut text = "`filter` cannot be used".to_owned();
    for (index, (part, message)) in errors.take(5).enumerate() {
        // What is expected at the end stands in no part of the filter.
        let inside = code.as_bytes().as_ptr_range().contains(&part.as_ptr());
        let offset = if inside { load::span(code, part).start } else { code.len() };
        let _ = write!(text, "{} {}: {message}", if index == 0 { ":" } else { ";" }, crate::place(code, offset));
    }
    Error::new(text)
}

/// What is added in Rust.
fn natives() -> impl Iterator<Item = Fun<Data>> {
    let vars = || v(2);
    let all: [jaq_core::native::Filter<jaq_core::RunPtr<Data>>; 8] = [
        ("matches", vars(), |cv| bome(regex::apply(cv, false, true))),
        ("split_matches", vars(), |cv| bome(regex::apply(cv, true, true))),
        ("split_", vars(), |cv| bome(regex::apply(cv, true, false))),
        ("encode_uri", v(0), |cv| bome(bytes(&cv.1).map(|bytes| crate::text(&uri(bytes))))),
        ("encode_base64", v(0), |cv| bome(bytes(&cv.1).map(|bytes| crate::text(&base64(bytes))))),
        ("decode_base64", v(0), |cv| {
            bome(bytes(&cv.1).and_then(|bytes| {
                let decoded = debase64(bytes).and_then(|bytes| String::from_utf8(bytes).ok());
                decoded.map(Val::utf8_str).ok_or_else(|| JaqError::str("this is no base64 of a text"))
            }))
        }),
        ("unescape_html", v(0), |cv| bome(Ok(cv.1))),
        ("decode_uri", v(0), |cv| bome(Ok(cv.1))),
    ];
    all.into_iter().map(run::<Data>)
}

/// The bytes of a string.
pub fn bytes(value: &Val) -> Result<&[u8], JaqError> {
    match value {
        Val::TStr(bytes) => Ok(bytes),
        other => Err(JaqError::typ(other.clone(), "string")),
    }
}

fn uri(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push((*byte).into()),
            _ => text += &format!("%{byte:02X}"),
        }
        text
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { letter.into() } else { '=' });
        }
    }
    text
}

fn debase64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.trim_ascii().iter().take_while(|byte| **byte != b'=') {
        let value = ALPHABET.iter().position(|letter| letter == byte)?;
        (bits, count) = (bits << 6 | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// How many levels of arrays and objects a value has, counted without recursion.
pub fn depth(value: &Val) -> usize {
    let (mut deepest, mut open) = (0, vec![(value, 1)]);
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        if deepest > crate::DEEPEST + 1 {
            break;
        }
        match value {
            Val::Arr(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Val::Obj(entries) => open.extend(entries.values().map(|item| (item, depth + 1))),
            _ => {}
        }
    }
    deepest - 1
}

/// Shows a value by a printer.
struct Shown<'a>(&'a Pp, &'a Val);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        format(f, self.0, 0, self.1)
    }
}

fn format(f: &mut std::fmt::Formatter<'_>, pp: &Pp, level: usize, value: &Val) -> std::fmt::Result {
    jaq_json::format_val!(f, pp, level, value, format)
}

/// Writes a value.
pub fn write(out: &mut Vec<u8>, pp: &Pp, value: &Val) {
    // A vector takes everything.
    let _ = std::io::Write::write_fmt(out, format_args!("{}", Shown(pp, value)));
}
