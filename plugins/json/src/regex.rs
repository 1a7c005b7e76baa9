//! Regular expressions by `regex-lite`: in linear time, ASCII's classes, no look-around.

use jaq_core::data::JustLut;
use jaq_core::{Ctx, ValT as _};
use jaq_json::{Error, Val, ValR};
use regex_lite::RegexBuilder;

use crate::filter::bytes;

/// The largest compiled expression in bytes.
const LARGEST: usize = 256 << 10;

fn text(value: &Val) -> Result<&str, Error> {
    std::str::from_utf8(bytes(value)?).map_err(|_| Error::str("this string is not UTF-8"))
}

/// Applies an expression: gives what does not match, what does, or both in turn.
pub fn apply(mut cv: (Ctx<'_, JustLut<Val>>, Val), between: bool, matches: bool) -> ValR {
    let (flags, pattern) = (cv.0.pop_var(), cv.0.pop_var());
    let value = text(&cv.1)?;
    let (mut builder, mut global, mut skip_empty) = (RegexBuilder::new(text(&pattern)?), false, false);
    builder.size_limit(LARGEST);
    for flag in text(&flags)?.chars() {
        match flag {
            'g' => global = true,
            'n' => skip_empty = true,
            'i' => drop(builder.case_insensitive(true)),
            'm' => drop(builder.multi_line(true)),
            's' => drop(builder.dot_matches_new_line(true)),
            'l' => drop(builder.swap_greed(true)),
            'x' => drop(builder.ignore_whitespace(true)),
            'p' => drop(builder.multi_line(true).dot_matches_new_line(true)),
            other => return Err(Error::str(format_args!("`{other}` is no flag of a regular expression"))),
        }
    }
    let regex =
        builder.build().map_err(|error| Error::str(format_args!("this regular expression cannot be used: {error}")))?;
    let names: Vec<Option<&str>> = regex.capture_names().collect();
    let mut parts: Vec<Val> = Vec::new();
    // Characters up to a byte: matches come in order.
    let (mut last, mut at, mut characters) = (0, 0, 0);
    for captures in regex.captures_iter(value) {
        let Some(whole) = captures.get(0).filter(|whole| !(skip_empty && whole.range().is_empty())) else { continue };
        if between {
            parts.push(crate::text(&value[last..whole.start()]));
            last = whole.end();
        }
        if matches {
            characters += value[at..whole.start()].chars().count();
            at = whole.start();
            let groups = captures.iter().zip(&names).filter_map(|(group, name)| {
                let group = group?;
                // A group may begin before the whole only in other engines.
                let offset = characters + value[at..group.start().max(at)].chars().count();
                let length = group.as_str().chars().count();
                let field = |name: &str, value: Val| (crate::text(name), value);
                let mut fields = vec![
                    field("offset", Val::from(offset as isize)),
                    field("length", Val::from(length as isize)),
                    field("string", crate::text(group.as_str())),
                ];
                fields.extend(name.map(|name| field("name", crate::text(name))));
                Some(Val::from_map(fields))
            });
            parts.push(groups.collect::<Result<Val, Error>>()?);
        }
        if !global {
            break;
        }
    }
    if between {
        parts.push(crate::text(&value[last..]));
    }
    Ok(parts.into_iter().collect())
}
