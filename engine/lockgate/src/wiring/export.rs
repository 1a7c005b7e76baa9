//! Exports of a run that succeeded. Each is atomic; one that fails keeps none of the others from being written.

use std::path::{Path, PathBuf};

use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::{Role, RunState};
use lockgate_store::Store;

use crate::error::{Class, Error};
use crate::wiring::text::{clean_line, one_line};

/// What became of one export.
pub struct Outcome {
    /// `node.output`
    pub from: String,
    /// Where it is now, or should be.
    pub to: String,
    /// Why it is not there.
    pub error: Option<String>,
    /// Why there was nothing to export, if so.
    pub skipped: Option<&'static str>,
}

/// Writes all exports of a run: those of its selected nodes.
pub fn export(store: &Store, pipeline: &Pipeline, state: &RunState, root: &Path, allowed: &[PathBuf]) -> Vec<Outcome> {
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
pub fn refused_export(pipeline: &Pipeline, allowed: &[PathBuf]) -> Option<Error> {
    let absolute = |to: &str| Path::new(to).is_absolute();
    let permitted = |to: &str| allowed.iter().any(|dir| Path::new(to).starts_with(dir));
    let refused = pipeline.exports.iter().find(|export| absolute(&export.to) && !permitted(&export.to))?;
    let to = clean_line(&refused.to);
    let dir = Path::new(&to).parent().unwrap_or(Path::new("/")).display().to_string();
    let error = anyhow::anyhow!("export to `{to}`: it is an absolute path, and no `--allow-export` names it");
    Some(Error::new(Class::Refused, error).hint(format!("allow it with `--allow-export {dir}`")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_syntax::Inputs;

    use super::*;

    #[test]
    fn absolute_paths_are_permitted_by_name_only() {
        let refused = |to: &str, allowed: &[&str]| {
            let text = format!(
                "schema = 1\nname = 'x'\n[[stage]]\nid = 'a'\nplugin = 'std:noop'\n[[export]]\nfrom = 'a.b'\nto = '{to}'\n"
            );
            let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &|| Err(String::new()) };
            let pipeline = lockgate_syntax::parse("x", &text, &inputs).pipeline.unwrap();
            let allowed: Vec<_> = allowed.iter().map(PathBuf::from).collect();
            refused_export(&pipeline, &allowed).map(|error| error.class())
        };
        assert_eq!(refused("dist/x", &[]), None);
        assert_eq!(refused("/out/x", &["/out"]), None);
        assert_eq!(refused("/out/x", &[]), Some(Class::Refused));
        assert_eq!(refused("/outside/x", &["/out"]), Some(Class::Refused));
    }
}
