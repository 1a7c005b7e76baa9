//! `--only` and `--from`: from names on the command line to a selection of nodes.

use std::collections::BTreeSet;

use lockgate::wiring::std_plugins::nearest;
use lockgate_model::NodeId;
use lockgate_model::event::Selection;
use lockgate_model::pipeline::Pipeline;

use crate::args::PartArgs;
use crate::exit::{CliError, Exit};
use crate::render::style::clean_line;

/// The part of a pipeline that is selected; none: all of it.
pub(crate) fn selection(args: &PartArgs, pipeline: &Pipeline) -> Result<Option<Selection>, CliError> {
    if args.only.is_empty() && args.from.is_empty() {
        return Ok(None);
    }
    let find = |names: &[String]| {
        names.iter().try_fold(BTreeSet::new(), |mut found, name| {
            found.extend(named(name, pipeline)?);
            Ok::<_, CliError>(found)
        })
    };
    Ok(Some(Selection { only: find(&args.only)?, from: find(&args.from)? }))
}

/// The node with this id, or all of the matrix with this name.
fn named(name: &str, pipeline: &Pipeline) -> Result<Vec<NodeId>, CliError> {
    let ids = || pipeline.nodes.iter().map(|node| &node.id);
    let found: Vec<_> = match ids().find(|id| id.as_str() == name) {
        Some(id) => vec![id.clone()],
        None => ids().filter(|id| matrix(id) == Some(name)).cloned().collect(),
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let shown: String = clean_line(name).chars().take(200).collect();
    let error = CliError::new(Exit::Wrong, anyhow::anyhow!("find node `{shown}` in the pipeline"));
    let names = ids().map(NodeId::as_str).chain(ids().filter_map(matrix));
    Err(match nearest(name, names) {
        Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
        None => error.hint("`lockgate plan` lists the nodes"),
    })
}

/// The name of the matrix that a node is of: `build` of `build[os=linux]`.
fn matrix(id: &NodeId) -> Option<&str> {
    id.as_str().split_once('[').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::graph::tests::sample;

    #[test]
    fn nodes_and_matrices_are_named() {
        let (pipeline, _) = sample();
        let select = |only: &[&str], from: &[&str]| {
            let [only, from] = [only, from].map(|names| names.iter().map(|&name| name.to_owned()).collect());
            selection(&PartArgs { only, from }, &pipeline).map(|found| found.map(|found| found.to_string()))
        };
        assert_eq!(select(&[], &[]).unwrap(), None);
        let found = select(&["judge", "judge"], &["build"]).unwrap().unwrap();
        assert_eq!(found, "--only judge --from build[os=linux]");
        let wrong = |name: &str| select(&[name], &[]).unwrap_err().render(crate::render::style::Style::PLAIN);
        insta::assert_snapshot!(wrong("juge") + &wrong("bild") + &wrong("something-else"));
    }
}
