//! Problems of a pipeline file: with line and caret for people, one JSON object a line for programs.

pub(crate) use lockgate::wiring::text::count;
use lockgate_syntax::Problem;
use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;

use super::style::Style;

/// Version of the JSON form.
const SCHEMA: u32 = 1;
/// Width where the terminal does not tell: what mails, logs and old terminals have.
const DEFAULT_WIDTH: usize = 80;
/// Wider lines are hard to read.
const MAX_WIDTH: usize = 110;

/// The problems for people, and how many there are.
pub(crate) fn human(problems: &[Problem], style: Style, width: Option<usize>) -> String {
    let theme = if style.has_color() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let width = width.unwrap_or(DEFAULT_WIDTH).clamp(40, MAX_WIDTH);
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let mut text = String::new();
    for problem in problems {
        // Writing into a String cannot fail, and a broken span only loses its own picture.
        if handler.render_report(&mut text, problem).is_err() {
            text += &format!("{}: {}\n", problem.code, problem.message);
        }
        text.push('\n');
    }
    text
}

/// One problem for programs, as one line.
pub(crate) fn json(problem: &Problem, file: &str) -> String {
    let place = problem.place();
    let line = json!({
        "schema": SCHEMA,
        "code": problem.code.name(),
        "message": problem.message,
        "hint": problem.hint,
        "file": file,
        "line": place.as_ref().map(|place| place.line),
        "column": place.as_ref().map(|place| place.column),
    });
    line.to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use lockgate_syntax::Code;

    use super::*;

    #[test]
    fn a_problem_is_one_line_of_json() {
        let problem = Problem::new(Code::Plugin, "find `std:x`\nnow", Some("build it".into()));
        let line = json(&problem, "a.toml");
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["code"], "lockgate::plugin");
        assert_eq!(value["hint"], "build it");
        assert_eq!(value["line"], serde_json::Value::Null);
    }

    #[test]
    fn a_problem_without_a_place_is_readable() {
        let problem = Problem::new(Code::Plugin, "find `std:x`", Some("build it".into()));
        let text = human(&[problem], Style::PLAIN, None);
        assert!(text.contains("find `std:x`") && text.contains("build it") && !text.contains('\x1b'), "{text}");
    }
}
