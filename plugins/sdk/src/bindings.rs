//! The contract's bindings, and the glue between its exports and the traits of [`plugin`](crate::plugin). Guest only.
//!
//! The three worlds share their imports, which are bound once, with the stage's.

#![allow(missing_docs, clippy::all, clippy::undocumented_unsafe_blocks, reason = "generated code")]

use std::marker::PhantomData;

use crate::evaluation::{self, State};
use crate::{CanaryEvaluator, Error, Findings, HealthCheck, Look, Port, Stage};

pub mod stage {
    wit_bindgen::generate!({
        world: "stage",
        path: "../../wit/0.1.0",
        pub_export_macro: true,
        export_macro_name: "export_stage_world",
        default_bindings_module: "lockgate_sdk::bindings::stage",
        runtime_path: "::wit_bindgen::rt",
        generate_all,
    });
}

pub mod health_check {
    wit_bindgen::generate!({
        world: "health-check",
        path: "../../wit/0.1.0",
        pub_export_macro: true,
        export_macro_name: "export_health_check_world",
        default_bindings_module: "lockgate_sdk::bindings::health_check",
        runtime_path: "::wit_bindgen::rt",
        with: {
            "lockgate:plugin/types@0.1.0": crate::bindings::stage::lockgate::plugin::types,
            "lockgate:plugin/log@0.1.0": crate::bindings::stage::lockgate::plugin::log,
            "lockgate:plugin/environment@0.1.0": crate::bindings::stage::lockgate::plugin::environment,
            "lockgate:plugin/artifacts@0.1.0": crate::bindings::stage::lockgate::plugin::artifacts,
            "lockgate:plugin/http@0.1.0": crate::bindings::stage::lockgate::plugin::http,
            "lockgate:plugin/tcp@0.1.0": crate::bindings::stage::lockgate::plugin::tcp,
            "lockgate:plugin/clock@0.1.0": crate::bindings::stage::lockgate::plugin::clock,
            "lockgate:plugin/process@0.1.0": crate::bindings::stage::lockgate::plugin::process,
            "lockgate:plugin/secrets@0.1.0": crate::bindings::stage::lockgate::plugin::secrets,
        },
    });
}

pub mod canary_evaluator {
    wit_bindgen::generate!({
        world: "canary-evaluator",
        path: "../../wit/0.1.0",
        pub_export_macro: true,
        export_macro_name: "export_canary_evaluator_world",
        default_bindings_module: "lockgate_sdk::bindings::canary_evaluator",
        runtime_path: "::wit_bindgen::rt",
        with: {
            "lockgate:plugin/types@0.1.0": crate::bindings::stage::lockgate::plugin::types,
            "lockgate:plugin/log@0.1.0": crate::bindings::stage::lockgate::plugin::log,
            "lockgate:plugin/environment@0.1.0": crate::bindings::stage::lockgate::plugin::environment,
            "lockgate:plugin/artifacts@0.1.0": crate::bindings::stage::lockgate::plugin::artifacts,
            "lockgate:plugin/http@0.1.0": crate::bindings::stage::lockgate::plugin::http,
            "lockgate:plugin/tcp@0.1.0": crate::bindings::stage::lockgate::plugin::tcp,
            "lockgate:plugin/clock@0.1.0": crate::bindings::stage::lockgate::plugin::clock,
            "lockgate:plugin/process@0.1.0": crate::bindings::stage::lockgate::plugin::process,
            "lockgate:plugin/secrets@0.1.0": crate::bindings::stage::lockgate::plugin::secrets,
            "lockgate:plugin/evaluation@0.1.0": generate,
        },
    });
}

use canary_evaluator::lockgate::plugin::evaluation as wit_evaluation;
use stage::lockgate::plugin::types as wit;

/// Exports a [`Stage`].
pub struct StagePlugin<S>(PhantomData<S>);

impl<S: Stage> stage::Guest for StagePlugin<S> {
    fn describe() -> wit::Manifest {
        manifest::<S::Config>(&S::ABOUT)
    }

    fn run(config: String) -> Result<Vec<wit::Finding>, wit::Failure> {
        crate::backend::log_panics();
        crate::plugin::run::<S>(&config).map(findings).map_err(failure)
    }
}

/// Exports a [`HealthCheck`].
pub struct HealthCheckPlugin<H>(PhantomData<H>);

impl<H: HealthCheck> health_check::Guest for HealthCheckPlugin<H> {
    fn describe() -> wit::Manifest {
        manifest::<H::Config>(&H::ABOUT)
    }

    fn check(config: String, look: wit::Look) -> Result<health_check::Health, wit::Failure> {
        crate::backend::log_panics();
        let health = crate::plugin::check::<H>(&config, self::look(look)).map_err(failure)?;
        let status = health.status.name().into();
        Ok(health_check::Health { status, reason: health.reason, details: health.details })
    }
}

/// Exports a [`CanaryEvaluator`].
pub struct CanaryEvaluatorPlugin<E>(PhantomData<E>);

impl<E: CanaryEvaluator> canary_evaluator::Guest for CanaryEvaluatorPlugin<E> {
    fn describe() -> wit::Manifest {
        manifest::<E::Config>(&E::ABOUT)
    }

    fn evaluate(
        config: String,
        observation: wit_evaluation::Observation,
        look: wit::Look,
        state: Option<Vec<u8>>,
    ) -> Result<wit_evaluation::Verdict, wit::Failure> {
        crate::backend::log_panics();
        let (observation, look) = (self::observation(observation), self::look(look));
        let verdict = crate::plugin::evaluate::<E>(&config, observation, look, State(state)).map_err(failure)?;
        let figure = |figure: evaluation::Figure| wit_evaluation::Figure {
            name: figure.name,
            value: figure.value,
            baseline: figure.baseline,
            limit: figure.limit,
            unit: figure.unit,
            passed: figure.passed,
        };
        Ok(wit_evaluation::Verdict {
            status: verdict.status.name().into(),
            reasons: verdict.reasons,
            figures: verdict.figures.into_iter().map(figure).collect(),
            state: verdict.state,
        })
    }
}

#[inline(always)]
fn manifest<C: schemars::JsonSchema>(about: &crate::About) -> wit::Manifest {
    let port = |port: &Port| wit::Port {
        name: port.name.into(),
        kind: port.kind.name().into(),
        optional: port.optional,
        summary: port.summary.into(),
    };
    let ports = |named: &[Port], open: Option<crate::PortKind>| wit::Ports {
        named: named.iter().map(port).collect(),
        open: open.map(|kind| kind.name().into()),
    };
    wit::Manifest {
        name: about.plugin_name().into(),
        version: about.version.into(),
        summary: about.summary.into(),
        config_schema: about.schema.map_or_else(crate::plugin::config_schema::<C>, String::from),
        inputs: ports(about.inputs, about.open_inputs),
        outputs: ports(about.outputs, about.open_outputs),
        effects: about.effects.iter().map(|kind| (*kind).into()).collect(),
    }
}

fn findings(findings: Findings) -> Vec<wit::Finding> {
    let finding = |finding: crate::Finding| wit::Finding {
        severity: finding.severity.name().into(),
        message: finding.message,
        rule: finding.rule,
        path: finding.path,
        line: finding.line,
        column: finding.column,
    };
    findings.into_iter().map(finding).collect()
}

fn failure(error: Error) -> wit::Failure {
    wit::Failure { message: error.message().into(), findings: findings(error.findings().iter().cloned().collect()) }
}

fn look(look: wit::Look) -> Look {
    Look { index: look.index, elapsed_ms: look.elapsed_ms, step: look.step }
}

fn observation(observation: wit_evaluation::Observation) -> evaluation::Observation {
    let sample = |sample: wit_evaluation::Sample| evaluation::Sample {
        metric: sample.metric,
        side: sample.side,
        unit: sample.unit,
        points: sample.points.iter().map(|p| evaluation::Point { time_ms: p.time_ms, value: p.value }).collect(),
        counts: sample.counts.into_iter().map(|count| (count.class, count.number)).collect(),
        buckets: sample.buckets.iter().map(|b| evaluation::Bucket { upper: b.upper, number: b.number }).collect(),
    };
    evaluation::Observation::new(observation.samples.into_iter().map(sample).collect())
}
