//! `[[export]]`: outputs that are copied to the host.

use std::collections::BTreeMap;
use std::ops::Range;

use lockgate_model::pipeline::Export;

use crate::fields::normal;
use crate::problem::{Code, Problem};
use crate::references::{Index, split, without_outputs};
use crate::substitute::{Context, Scope};
use crate::table::{Table, Text};

/// Directories that no export may write into: one is git's, whose hooks run programs, the other the engine's own.
const KEPT: [&str; 2] = [".git", ".lockgate"];

/// Reads the exports, with the places of each one's `from` and `to`.
pub(crate) fn read(root: &Table<'_>, cx: &Context<'_>, index: &Index) -> Vec<(Export, Range<usize>, Range<usize>)> {
    let scope = Scope { cx, matrix: None };
    let mut exports = Vec::new();
    let mut targets: BTreeMap<String, Range<usize>> = BTreeMap::new();
    for table in root.list("export").iter().filter_map(Table::of) {
        let to = table.text("to").and_then(|text| Some((target(&text, scope)?, text.span)));
        if let Some((to, span)) = &to {
            if let Some((other, earlier)) = clash(&targets, to) {
                let message = match other == to {
                    true => format!("two exports go to `{to}`"),
                    false => format!("the exports to `{to}` and `{other}` overlap"),
                };
                let problem = Problem::new(Code::DuplicateExport, message, Some("give each its own place".to_owned()));
                let source = &cx.problems.source;
                cx.problems.push(problem.at(source, span, "here again").at(source, earlier, "here first"));
            }
            targets.insert(to.clone(), span.clone());
        }
        let Some(from) = table.text("from") else { continue };
        let Some(text) = scope.text(&from) else { continue };
        let found = split(&text).and_then(|(node, output)| Ok((index.node(node, &format!(".{output}"))?, output)));
        match (found, to) {
            (Ok((node, _)), _) if let Some(miss) = without_outputs(&node, index.base(node.as_str())) => {
                let hint = Some("export an output of a stage".to_owned());
                cx.problems.report(miss.code, &from.span, "", miss.message, hint);
            }
            (Ok((node, input)), _)
                if index.base(node.as_str()).is_some_and(|base| base.inputs.contains(input.as_str())) =>
            {
                let hint = Some("an export copies an output: name the one that the input comes from".to_owned());
                cx.problems.report(Code::Reference, &from.span, "", format!("`{input}` is an input of `{node}`"), hint);
            }
            (Ok((node, output)), Some((to, span))) => exports.push((Export { node, output, to }, from.span, span)),
            (Ok(_), None) => {}
            (Err(miss), _) => cx.problems.report(miss.code, &from.span, "", miss.message, miss.hint),
        }
    }
    exports
}

/// A target that is the same as `to`, above it or below it.
fn clash<'t>(targets: &'t BTreeMap<String, Range<usize>>, to: &str) -> Option<(&'t String, &'t Range<usize>)> {
    let above = to.match_indices('/').filter_map(|(at, _)| targets.get_key_value(&to[..at]));
    let below = format!("{to}/");
    let below = targets.range(below.clone()..).next().filter(|(other, _)| other.starts_with(&below));
    targets.get_key_value(to).or(below).or_else(|| above.into_iter().next())
}

fn target(text: &Text<'_>, scope: Scope<'_>) -> Option<String> {
    let path = scope.text(text)?;
    let wrong = |message: String, hint: &str| {
        scope.cx.problems.report(Code::Path, &text.span, "", message, Some(hint.to_owned()));
        None
    };
    let Some(plain) = normal(&path) else {
        return wrong(
            "the export's target leaves the pipeline's root, or may".to_owned(),
            "write it without `..`; an absolute path is permitted with `--allow-export`",
        );
    };
    if plain.is_empty() {
        return wrong("the export's target is the root itself".to_owned(), "name a file or directory inside of it");
    }
    let absolute = path.starts_with('/');
    if let Some(kept) = KEPT.iter().find(|kept| plain.split('/').any(|part| part == **kept)) {
        return wrong(format!("nothing is exported into `{kept}`"), "choose another place");
    }
    Some(if absolute { format!("/{plain}") } else { plain })
}
