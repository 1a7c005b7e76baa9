//! The values of a pipeline's secrets: read before anything runs, and kept out of what a run writes down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use lockgate_host::Secrets;
use lockgate_model::grant::{SecretName, SecretSource};
use lockgate_model::pipeline::{ParamValue, Pipeline};

use crate::error::{Class, Error};
use crate::wiring::notices::Notices;
use crate::wiring::secret_store;
use crate::wiring::text::clean_line;

/// Longest value in bytes: what the host takes, and one byte more to find that it is longer.
const MAX_VALUE: u64 = (64 << 10) + 1;

/// Reads every secret that a node of the pipeline was granted, and refuses a pipeline that would write one down.
pub fn read(pipeline: &Pipeline, root: &Path, output: &dyn Notices) -> Result<Arc<Secrets>, Error> {
    let wanted: BTreeSet<&SecretName> = pipeline.nodes.iter().flat_map(|node| node.grants.secret_names()).collect();
    let mut values = BTreeMap::new();
    for name in wanted {
        // The file was refused if it did not declare it; a stored pipeline may come from elsewhere.
        let Some(source) = pipeline.secrets.get(name) else {
            let error = anyhow::anyhow!("find the secret `{name}`: the pipeline does not declare it");
            return Err(Error::new(Class::Wrong, error));
        };
        let value = value(name, source, root, output)
            .map_err(|error| error.context(format!("read the secret `{name}` from {source}")))?;
        values.insert(name.clone(), value);
    }
    let secrets = Secrets::new(values).map_err(|error| {
        Error::new(Class::Wrong, error).hint("a secret is at least 8 bytes long; generate one that nobody can guess")
    })?;
    if let Some(place) = written_down(pipeline, &secrets) {
        let error =
            anyhow::anyhow!("keep a secret: its value stands in {place}, which every run writes into its journal");
        return Err(Error::new(Class::Wrong, error).hint("hand it over by `grants.secrets` alone"));
    }
    Ok(Arc::new(secrets))
}

fn value(name: &SecretName, source: &SecretSource, root: &Path, output: &dyn Notices) -> Result<Vec<u8>, Error> {
    let wrong = |error: anyhow::Error, hint: String| Error::new(Class::Wrong, error).hint(hint);
    match source {
        SecretSource::Env(variable) => {
            let hint = || format!("set `{variable}` for lockgate alone, not in the pipeline's `env`");
            let value = std::env::var_os(variable).ok_or_else(|| wrong(anyhow::anyhow!("it is not set"), hint()))?;
            Ok(std::os::unix::ffi::OsStringExt::into_vec(value))
        }
        SecretSource::File(path) => {
            let hint = "the path is absolute, or relative to the pipeline's root".to_owned();
            file(&root.join(path)).map_err(|error| wrong(error.into(), hint))
        }
        SecretSource::Store { name: stored, environment } => {
            let found = secret_store::read(stored, environment)?;
            // Which version it was is known afterwards; the value never is.
            let version = found.version;
            let note = format!("secret `{name}` is version {version} of `{stored}` in `{environment}`");
            output.info(&clean_line(&note));
            Ok(found.value.into_bytes())
        }
    }
}

/// A file without the line break at its end.
fn file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_VALUE).read_to_end(&mut bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// Where the pipeline itself holds a value.
fn written_down(pipeline: &Pipeline, secrets: &Secrets) -> Option<String> {
    let holds = |text: &str| secrets.are_in(text.as_bytes());
    for (name, value) in &pipeline.params {
        if matches!(value, ParamValue::String(text) if holds(text)) {
            return Some(format!("the parameter `{name}`"));
        }
    }
    for node in &pipeline.nodes {
        if let Some((name, _)) = node.env.iter().find(|(_, value)| holds(value)) {
            return Some(format!("the environment variable `{name}` of the node `{}`", node.id));
        }
        if !secrets.is_empty() && holds(&serde_json::Value::Object(node.config.clone()).to_string()) {
            return Some(format!("the config of the node `{}`", node.id));
        }
    }
    None
}
