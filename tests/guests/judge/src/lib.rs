//! A canary evaluator that says anything: `do` in its config says what. It speaks the contract's raw types, because the SDK would
//! not let it.

#![cfg(target_arch = "wasm32")]

use lockgate_sdk::bindings::canary_evaluator::lockgate::plugin::evaluation::{Figure, Observation, Verdict};
use lockgate_sdk::bindings::canary_evaluator::{Failure, Guest, Look, Manifest};
use lockgate_sdk::bindings::stage::lockgate::plugin::types::{Port, Ports};
use lockgate_sdk::serde_json::Value;

struct Judge;

impl Guest for Judge {
    fn describe() -> Manifest {
        let observation =
            Port { name: "observation".into(), kind: "blob".into(), optional: false, summary: "what was seen".into() };
        Manifest {
            name: "judge".into(),
            version: "0.1.0".into(),
            summary: "Says anything.".into(),
            config_schema: r#"{"type":"object","required":["do"],"properties":{"do":{"type":"string"}}}"#.into(),
            inputs: Ports { named: vec![observation], open: None },
            outputs: Ports { named: Vec::new(), open: None },
            effects: Vec::new(),
        }
    }

    fn evaluate(
        config: String,
        observation: Observation,
        look: Look,
        state: Option<Vec<u8>>,
    ) -> Result<Verdict, Failure> {
        let config: Value = lockgate_sdk::serde_json::from_str(&config).unwrap_or_default();
        let what = config["do"].as_str().unwrap_or_default();
        let figure = |name: &str, value| Figure {
            name: name.into(),
            value,
            baseline: None,
            limit: None,
            unit: None,
            passed: None,
        };
        let mut verdict = Verdict {
            status: "promote".into(),
            reasons: vec!["it looks so".into()],
            figures: vec![figure("samples", observation.samples.len() as f64)],
            state: Vec::new(),
        };
        match what {
            "promote" | "hold" | "rollback" | "inconclusive" => verdict.status = what.into(),
            "unknown" => verdict.status = "maybe".into(),
            "silent" => verdict.reasons.clear(),
            "nan" => verdict.figures.push(figure("share", f64::NAN)),
            "infinite" => verdict.figures.push(Figure { limit: Some(f64::INFINITY), ..figure("share", 0.5) }),
            "figures-many" => verdict.figures = (0..100_000).map(|n| figure("same", f64::from(n))).collect(),
            "state-huge" => verdict.state = vec![7; 2 << 20],
            "error" => return Err(Failure { message: "no idea".into(), findings: Vec::new() }),
            "trap" => core::arch::wasm32::unreachable(),
            // Holds until its state says that it was asked three times.
            "third-look" => {
                let before = state.as_deref().and_then(|state| state.first().copied()).unwrap_or(0);
                verdict.state = vec![before + 1];
                verdict.status = if before + 1 >= 3 { "promote".into() } else { "hold".into() };
                verdict.reasons = vec![format!("asked {} times, look {}", before + 1, look.index)];
            }
            other => {
                return Err(Failure { message: format!("nobody taught me `{other}`"), findings: Vec::new() });
            }
        }
        Ok(verdict)
    }
}

lockgate_sdk::bindings::canary_evaluator::export_canary_evaluator_world!(
    Judge with_types_in lockgate_sdk::bindings::canary_evaluator
);
