//! From a past run to what is signed about it: its provenance, and for each node with `repeat` a rebuild attestation. Made of the journal
//! alone, so a run of years ago gives the same as right after its end.

use std::collections::BTreeMap;

use lockgate_model::Digest;
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::InputSource;
use lockgate_model::run::Role;
use lockgate_model::time::rfc3339;
use lockgate_trust::Statement;
use lockgate_trust::provenance::{
    BUILD_TYPE, BUILDER, BuildDefinition, Builder, GIT_COMMIT, Metadata, Provenance, RUN, RunDetails,
};
use lockgate_trust::rebuild::Rebuild;
use lockgate_trust::statement::{Resource, SHA256};
use serde_json::json;

use crate::exit::{CliError, Exit};
use crate::past::PastRun;

/// Everything that is said of a run that succeeded.
pub(crate) fn statements(run: &PastRun) -> Result<Vec<Statement>, CliError> {
    let id = &run.summary.id;
    let (Some(finished), Some(Status::Succeeded)) = (run.summary.finished_ms, run.summary.status) else {
        let error = anyhow::anyhow!("vouch for run `{id}`: it did not succeed");
        return Err(CliError::new(Exit::Wrong, error).hint(format!("see what became of it: lockgate show {id}")));
    };
    let mut statements = vec![Statement::new(subjects(run)?, &provenance(run, finished)?)];
    for node in run.in_order() {
        let receipt = &node.receipt;
        let spec = run.pipeline.nodes.iter().find(|spec| spec.id == receipt.node);
        let executions = spec.map_or(1, |spec| spec.repeat);
        let (Some(component), Some(key)) = (receipt.component, receipt.key) else { continue };
        // What came from the cache was not made here, however often.
        let made = executions > 1 && receipt.status == Status::Succeeded && !node.facts.cached;
        if !made || receipt.outputs.is_empty() {
            continue;
        }
        let named = |(name, artifact)| Resource::artifact(&format!("{}.{name}", receipt.node), artifact);
        let rebuild = Rebuild {
            run: id.clone(),
            node: receipt.node.clone(),
            component,
            key,
            executions,
            receipt: receipt.digest(),
        };
        statements.push(Statement::new(receipt.outputs.iter().map(named).collect(), &rebuild));
    }
    Ok(statements)
}

/// What the run exported; of one without exports the run itself, by its digest.
fn subjects(run: &PastRun) -> Result<Vec<Resource>, CliError> {
    let mut subjects = Vec::new();
    for export in &run.pipeline.exports {
        let runs = run.state.position(export.node.as_str()).is_none_or(|index| run.state.role(index) == Role::Runs);
        let artifact = run.ended.get(&export.node).and_then(|node| node.receipt.outputs.get(&export.output));
        if let Some(artifact) = artifact.filter(|_| runs) {
            subjects.push(Resource::artifact(&export.to, artifact));
        }
    }
    if subjects.is_empty() {
        let id = &run.summary.id;
        let Some(digest) = run.summary.digest else {
            let error = anyhow::anyhow!(
                "vouch for run `{id}`: it exported nothing and, as a part of a pipeline, has no digest"
            );
            return Err(CliError::new(Exit::Wrong, error));
        };
        subjects.push(Resource::new(&format!("run {id}"), RUN, digest));
    }
    Ok(subjects)
}

fn provenance(run: &PastRun, finished: u64) -> Result<Provenance, CliError> {
    let Some(Event::RunStarted {
        pipeline,
        pipeline_digest,
        name,
        file,
        components,
        sources,
        logical_time,
        engine,
        determinism,
        selection,
        commit,
        ..
    }) = run.records.first().map(|record| &record.event)
    else {
        let error =
            anyhow::anyhow!("read run `{}` out of the journal: it does not begin with `run-started`", run.summary.id);
        return Err(CliError::new(Exit::Infrastructure, error));
    };
    let mut parameters = json!({
        "params": run.pipeline.params,
        "pipeline": { "digest": pipeline_digest, "file": file, "name": name },
    });
    if let Some(selection) = selection {
        parameters["selection"] = json!(selection);
    }
    let mut used = vec![Resource::artifact("pipeline", pipeline)];
    for (alias, component) in components {
        let uri = run.pipeline.plugins.get(alias).map(ToString::to_string).unwrap_or_default();
        let annotations = BTreeMap::from([("version".to_owned(), component.name.clone().into())]);
        used.push(Resource { uri, annotations, ..Resource::new(alias.as_str(), SHA256, component.digest) });
    }
    for source in sources {
        let name = match &source.source {
            InputSource::Dir(spec) => format!("dir:{}", spec.dir),
            InputSource::File { path } => format!("file:{path}"),
            InputSource::Output { .. } | InputSource::Input { .. } => continue,
        };
        used.push(Resource::artifact(&name, &source.artifact));
    }
    if let Some(commit) = commit {
        used.push(Resource {
            name: "git".to_owned(),
            digest: BTreeMap::from([(GIT_COMMIT.to_owned(), commit.id.clone())]),
            annotations: BTreeMap::from([("dirty".to_owned(), commit.dirty.into())]),
            ..Resource::default()
        });
    }
    let by_run = |digest: Digest| Resource::new("run", RUN, digest);
    Ok(Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE.to_owned(),
            external_parameters: parameters,
            internal_parameters: json!({ "determinism": determinism, "logicalTime": logical_time }),
            resolved_dependencies: used,
        },
        run_details: RunDetails {
            builder: Builder {
                id: BUILDER.to_owned(),
                version: BTreeMap::from([("lockgate".to_owned(), engine.clone())]),
            },
            metadata: Metadata {
                invocation_id: run.summary.id.to_string(),
                started_on: rfc3339(run.summary.started_ms),
                finished_on: rfc3339(finished),
            },
            byproducts: run.summary.digest.map(by_run).into_iter().collect(),
        },
    })
}
