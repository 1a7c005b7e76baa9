//! Exports of a run that succeeded. Each is atomic; one that fails keeps none of the others from being written.

use std::path::{Path, PathBuf};

use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::{Role, RunState};
use lockgate_store::Store;

use crate::exit::{CliError, Exit, one_line};
use crate::render::style::clean_line;

/// What became of one export.
pub(crate) struct Outcome {
    /// `node.output`
    pub(crate) from: String,
    /// Where it is now, or should be.
    pub(crate) to: String,
    /// Why it is not there.
    pub(crate) error: Option<String>,
    /// Why there was nothing to export, if so.
    pub(crate) skipped: Option<&'static str>,
}

/// Writes all exports of a run: those of its selected nodes.
pub(crate) fn export(
    store: &Store,
    pipeline: &Pipeline,
    state: &RunState,
    root: &Path,
    allowed: &[PathBuf],
) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(pipeline.exports.len());
    for export in &pipeline.exports {
        let index = pipeline.nodes.iter().position(|node| node.id == export.node);
        let receipt = index.and_then(|index| state.receipt(index));
        let artifact = receipt.and_then(|receipt| receipt.outputs.get(&export.output));
        let selected = index.is_none_or(|index| state.role(index) == Role::Runs);
        let (error, skipped) = match artifact {
            _ if !selected => (None, Some("is not of a selected node")),
            Some(artifact) => {
                (store.export(artifact, root, &export.to, allowed).err().map(|error| one_line(&error)), None)
            }
            // Its node was skipped, or failed and was allowed to.
            None => (None, Some("was not made")),
        };
        let from = format!("{}.{}", export.node, export.output);
        outcomes.push(Outcome { from, to: clean_line(&export.to), error, skipped });
    }
    outcomes
}

/// An export that would be refused at the end is refused at the start, before anything ran.
pub(crate) fn refused_export(pipeline: &Pipeline, allowed: &[PathBuf]) -> Option<CliError> {
    let absolute = |to: &str| Path::new(to).is_absolute();
    let permitted = |to: &str| allowed.iter().any(|dir| Path::new(to).starts_with(dir));
    let refused = pipeline.exports.iter().find(|export| absolute(&export.to) && !permitted(&export.to))?;
    let to = clean_line(&refused.to);
    let dir = Path::new(&to).parent().unwrap_or(Path::new("/")).display().to_string();
    let error = anyhow::anyhow!("export to `{to}`: it is an absolute path, and no `--allow-export` names it");
    Some(CliError::new(Exit::Refused, error).hint(format!("allow it with `--allow-export {dir}`")))
}

#[cfg(test)]
mod tests {
    use lockgate_model::pipeline::Export;
    use lockgate_model::{NodeId, PortName};

    use super::*;
    use crate::render::graph::tests::sample;

    #[test]
    fn absolute_paths_are_permitted_by_name_only() {
        let (mut pipeline, _) = sample();
        let mut refused = |to: &str, allowed: &[&str]| {
            pipeline.exports =
                vec![Export { node: NodeId::new("a").unwrap(), output: PortName::new("b").unwrap(), to: to.into() }];
            let allowed: Vec<_> = allowed.iter().map(PathBuf::from).collect();
            refused_export(&pipeline, &allowed).map(|error| error.exit)
        };
        assert_eq!(refused("dist/x", &[]), None);
        assert_eq!(refused("/out/x", &["/out"]), None);
        assert_eq!(refused("/out/x", &[]), Some(Exit::Refused));
        assert_eq!(refused("/outside/x", &["/out"]), Some(Exit::Refused));
    }
}
