//! A health check that says anything: `do` in its config says what. It speaks the contract's raw types, because the SDK would not
//! let it.

#![cfg(target_arch = "wasm32")]

use lockgate_sdk::bindings::health_check::{Failure, Guest, Health, Look, Manifest};
use lockgate_sdk::bindings::stage::lockgate::plugin::types::Ports;
use lockgate_sdk::serde_json::Value;

struct Sick;

impl Guest for Sick {
    fn describe() -> Manifest {
        let none = || Ports { named: Vec::new(), open: None };
        Manifest {
            name: "sick".into(),
            version: "0.1.0".into(),
            summary: "Says anything.".into(),
            config_schema: r#"{"type":"object","required":["do"],"properties":{"do":{"type":"string"}}}"#.into(),
            inputs: none(),
            outputs: none(),
            effects: Vec::new(),
        }
    }

    fn check(config: String, look: Look) -> Result<Health, Failure> {
        let config: Value = lockgate_sdk::serde_json::from_str(&config).unwrap_or_default();
        let what = config["do"].as_str().unwrap_or_default();
        let mut health = Health { status: "healthy".into(), reason: "it looks so".into(), details: String::new() };
        match what {
            "healthy" | "degraded" | "unhealthy" => health.status = what.into(),
            "unknown" => health.status = "\u{1b}[31mfine, thanks".into(),
            "empty" => health.status.clear(),
            "details" => health.details = r#"{"seen": [1, 2]}"#.into(),
            "details-garbage" => health.details = "{not JSON".into(),
            "details-deep" => health.details = "[".repeat(100_000) + &"]".repeat(100_000),
            "details-huge" => health.details = format!("\"{}\"", "x".repeat(20 << 20)),
            "reason-huge" => health.reason = "x".repeat(8 << 20),
            "error" => return Err(Failure { message: "no idea".into(), findings: Vec::new() }),
            "trap" => core::arch::wasm32::unreachable(),
            // One character a look: `h`, `d` or `u`; the last one is repeated.
            script => {
                let looks: Vec<char> = script.chars().collect();
                let said = looks.get(look.index as usize).or(looks.last());
                health.status = match said {
                    Some('h') => "healthy".into(),
                    Some('d') => "degraded".into(),
                    _ => "unhealthy".into(),
                };
                health.reason = format!("look {} after {} ms", look.index, look.elapsed_ms);
            }
        }
        Ok(health)
    }
}

lockgate_sdk::bindings::health_check::export_health_check_world!(
    Sick with_types_in lockgate_sdk::bindings::health_check
);
