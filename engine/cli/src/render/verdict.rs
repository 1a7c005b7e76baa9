//! A verdict with its reasons and every figure that led there.

use lockgate_model::outcome::{Figure, Verdict};

use super::report::short;
use super::style::{Style, clean_line};
use super::table::{Align, Cell, Table};

/// The verdict's word, coloured by what it means.
pub(crate) fn verdict_word(verdict: &Verdict, style: Style) -> String {
    let word = clean_line(&verdict.word);
    match (verdict.is_good(), verdict.is_bad()) {
        (true, _) => style.good(&word),
        (_, true) => style.bad(&word),
        _ => style.warn(&word),
    }
}

/// A verdict with its reasons, and its figures as a table.
pub(crate) fn verdict_text(verdict: &Verdict, style: Style) -> String {
    let mut text = format!("    verdict {}\n", verdict_word(verdict, style));
    for reason in &verdict.reasons {
        text += &format!("      - {}\n", short(reason));
    }
    if !verdict.figures.is_empty() {
        let mut table = Table::new(&[
            ("figure", Align::Left),
            ("value", Align::Right),
            ("baseline", Align::Right),
            ("limit", Align::Right),
            ("", Align::Left),
        ]);
        for figure in &verdict.figures {
            table.row(figure_row(figure, style));
        }
        text += &table.render(style, 6);
    }
    text
}

fn figure_row(figure: &Figure, style: Style) -> Vec<Cell> {
    let unit = figure.unit.as_deref().map(|unit| format!(" {}", clean_line(unit))).unwrap_or_default();
    let number = |value: Option<f64>| value.map(|value| number(value) + &unit).unwrap_or_default();
    let passed = match figure.passed {
        Some(true) => Cell::painted("within", |text| style.good(text)),
        Some(false) => Cell::painted("over", |text| style.bad(text)),
        None => "".into(),
    };
    vec![
        clean_line(&figure.name).into(),
        number(Some(figure.value)).into(),
        number(figure.baseline).into(),
        number(figure.limit).into(),
        passed,
    ]
}

/// At most four digits behind the point, none that say nothing.
pub(crate) fn number(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value:e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_shows_its_figures() {
        let figure = |name: &str, value, baseline, limit, unit: Option<&str>, passed| Figure {
            name: name.into(),
            value,
            baseline,
            limit,
            unit: unit.map(Into::into),
            passed,
        };
        let verdict = Verdict {
            word: "rollback".into(),
            reasons: vec!["error rate 12.5 % is over 10 %".into()],
            figures: vec![
                figure("error-rate", 0.125, Some(0.01), Some(0.1), None, Some(false)),
                figure("p95", 412.0, Some(390.25), Some(500.0), Some("ms"), Some(true)),
                figure("samples", 200.0, None, None, None, None),
            ],
            details: None,
        };
        insta::assert_snapshot!(verdict_text(&verdict, Style::PLAIN));
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.0, 0.1, 412.0, 1.0 / 3.0, 1e-9, 1e20].map(number).into();
        assert_eq!(shown, ["0", "0.1", "412", "0.3333", "1e-9", "1e20"]);
    }
}
