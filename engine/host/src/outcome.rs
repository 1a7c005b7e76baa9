//! From what a call gave, or how it ended, to a [`Completion`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::canonical_json;
use lockgate_model::effect;
use lockgate_model::limits::Limits;
use lockgate_model::outcome::{Completion, Failure, FailureKind, Figure, Finding, Verdict};
use wasmtime::{Trap, WasmBacktrace};

use crate::bindings::{Health, evaluation, types};
use crate::secret::Secrets;
use crate::state::{Output, State, Stop};

/// Most bytes of state that a canary evaluator may return.
const MAX_STATE: usize = 1 << 20;
/// Longest message of a failure, and longest reason of a verdict, in characters; a plugin's own may be as long as a host call
/// permits.
const MAX_MESSAGE: usize = 10_000;
/// Most reasons of a verdict. A verdict stands whole in its receipt and in the journal, so each part of it has a bound.
const MAX_REASONS: usize = 100;
/// Most figures of a verdict: a dozen for each of some dozens of metrics.
const MAX_FIGURES: usize = 1_000;
/// Longest name and longest unit of a figure in characters.
const MAX_FIGURE_TEXT: usize = 200;
/// Most bytes of a health check's details.
const MAX_DETAILS: usize = 256 << 10;

/// What an exported call returned.
pub(crate) enum Returned {
    Stage(Vec<types::Finding>),
    Health(Health),
    Canary(evaluation::Verdict),
    /// The exit code of a command.
    Command(u8),
    Refused(types::Failure),
}

/// Where a call was when it ended without returning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Start,
    Call,
}

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) result: Result<Returned, (Failure, Option<String>)>,
    /// Fuel left, if it returned.
    pub(crate) fuel_left: Option<u64>,
}

pub(crate) fn failure(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: cut(message.into(), MAX_MESSAGE) }
}

/// A text of at most `max` characters; what was longer ends with dots.
fn cut(mut text: String, max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max) {
        text.truncate(end);
        text += " ...";
    }
    text
}

fn at_most(what: &str, found: usize, max: usize) -> Result<(), String> {
    if found > max { Err(format!("it returned {found} {what}: at most {max}")) } else { Ok(()) }
}

/// The failure of a call that ended without returning, and a trap's backtrace.
pub(crate) fn of_error(error: &wasmtime::Error, phase: Phase, limits: &Limits) -> (Failure, Option<String>) {
    let (kind, message) = match (error.downcast_ref::<Stop>(), error.downcast_ref::<Trap>()) {
        (Some(Stop::Fuel), _) | (None, Some(Trap::OutOfFuel)) => (FailureKind::Fuel, out_of_fuel(phase, limits)),
        (Some(Stop::Limit(what)), _) => (FailureKind::Limit, what.clone()),
        (Some(Stop::TooEarly(_)), _) => (FailureKind::Contract, error_text(error)),
        (Some(Stop::Differs(what)), _) => (FailureKind::NotReproducible, what.clone()),
        (Some(Stop::Misuse(what)), _) => (FailureKind::Contract, what.clone()),
        (Some(Stop::Exit(_)), _) => (FailureKind::Error, error_text(error)),
        (Some(Stop::Infrastructure(what)), _) => (FailureKind::Infrastructure, what.clone()),
        (None, Some(Trap::StackOverflow)) => {
            let message = "it spent its stack: it recurses too deeply. How deep it can go depends on the machine, so this is no result";
            (FailureKind::Infrastructure, message.into())
        }
        (None, Some(trap)) => (FailureKind::Trap, format!("it trapped: {}", trap_text(*trap))),
        (None, None) => other(error, phase, limits),
    };
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(backtrace).filter(|text| !text.is_empty());
    (failure(kind, message), backtrace)
}

fn out_of_fuel(phase: Phase, limits: &Limits) -> String {
    match phase {
        Phase::Start => {
            format!(
                "it spent its {} of fuel for starting; raise `limits.start_fuel` of the node if it is right",
                limits.start_fuel
            )
        }
        Phase::Call => format!("it spent its {} of fuel; raise `limits.fuel` of the node if it is right", limits.fuel),
    }
}

/// wasmtime's own errors that are neither traps nor ours. Only their text tells them apart.
fn other(error: &wasmtime::Error, phase: Phase, limits: &Limits) -> (FailureKind, String) {
    let text = error_text(error);
    let key = |what: &str, key: &str| {
        (FailureKind::Limit, format!("{what}; raise `limits.{key}` of the node if it is right"))
    };
    if text.contains("handle limit exceeded") {
        return key(&format!("it holds more than {} resources at once", limits.handles), "handles");
    }
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return (
            FailureKind::Limit,
            "one of its calls moves more than 16 MiB at once; use artifacts for so much".into(),
        );
    }
    if text.contains("resource limit exceeded") {
        return (FailureKind::Limit, format!("it has too many instances, memories or tables: {text}"));
    }
    match phase {
        Phase::Start => (FailureKind::Infrastructure, format!("failed to start it: {text}")),
        Phase::Call => (FailureKind::Contract, format!("it broke the component model's rules: {text}")),
    }
}

/// The words for a trap, without wasmtime's prefix.
pub(crate) fn trap_text(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}

/// An error's own words, without the backtrace that wasmtime puts in front of them.
pub(crate) fn first_lines(error: &wasmtime::Error) -> String {
    error_text(error).lines().take(3).collect::<Vec<_>>().join(" ")
}

fn error_text(error: &wasmtime::Error) -> String {
    let causes: Vec<_> =
        error.chain().map(ToString::to_string).filter(|text| !text.contains("wasm backtrace:")).collect();
    causes.join(": ")
}

/// Function names of a backtrace, innermost first; addresses differ between builds of one source, and say nothing to people.
fn backtrace(trace: &WasmBacktrace) -> String {
    let text = trace.to_string();
    let frames = text.lines().skip(1).filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let name = |line: &str| {
        let (number, rest) = line.trim_start().split_once(": ").unwrap_or(("", line));
        let rest = rest.trim_start();
        let name = match rest.split_once(" - ") {
            Some((address, name)) if address.starts_with("0x") => name,
            _ => rest,
        };
        format!("{number:>3}: {}\n", name.strip_prefix("<unknown>!").unwrap_or(name))
    };
    frames.map(name).collect()
}

/// What a call gave: checks what it returned, stores its log, findings and effects.
pub(crate) fn complete(mut state: State, ended: Ended) -> Completion {
    crate::wasi::flush(&mut state);
    let mut done = Completion::failed(FailureKind::Infrastructure, "");
    done.failure = None;
    done.peak_memory = state.usage.peak();
    let limits = &state.task.limits;
    done.fuel = ended.fuel_left.map(|left| limits.fuel.0.saturating_sub(left));
    let mut findings = Vec::new();
    match ended.result {
        Ok(Returned::Stage(found)) => findings = found,
        Ok(Returned::Health(health)) => match health_verdict(health) {
            Ok(verdict) => done.verdict = Some(verdict),
            Err(broken) => done.failure = Some(failure(FailureKind::Contract, broken)),
        },
        Ok(Returned::Canary(verdict)) => match canary_verdict(verdict) {
            Ok((verdict, state)) => {
                done.verdict = Some(verdict);
                done.state = Some(state).filter(|state| !state.is_empty());
            }
            Err(broken) => done.failure = Some(failure(FailureKind::Contract, broken)),
        },
        Ok(Returned::Command(0)) => {}
        Ok(Returned::Command(code)) => {
            let message = format!("it exited with the code {code}{}", crate::wasi::last_words(&state));
            done.failure = Some(failure(FailureKind::Error, message));
        }
        Ok(Returned::Refused(refused)) => {
            done.failure = Some(failure(FailureKind::Error, refused.message));
            findings = refused.findings;
        }
        Err((mut failure, backtrace)) => {
            // What a language's runtime says before it traps explains more than the trap.
            if matches!(failure.kind, FailureKind::Trap | FailureKind::Error) {
                failure.message += &crate::wasi::last_words(&state);
            }
            done.failure = Some(failure);
            done.backtrace = backtrace;
        }
    }
    if findings.len() as u64 > limits.findings {
        let what = format!("it returned {} findings, more than {}", findings.len(), limits.findings);
        done.failure = Some(failure(FailureKind::Limit, Stop::limit(what, "findings").to_string()));
        findings.clear();
    }
    if let Some(breach) = breach(&state, &done) {
        done.failure = Some(failure(FailureKind::Contract, breach));
    }
    if done.failure.is_none() {
        let written = state.outputs.iter().filter_map(|(name, output)| match output {
            Output::Done(artifact) => Some((name.clone(), *artifact)),
            Output::Open => None,
        });
        done.outputs = written.collect();
    } else {
        done.verdict = None;
        done.state = None;
    }
    let secrets = state.secrets.clone();
    if !secrets.is_empty() {
        mask(&mut done, &mut findings, &secrets);
    }
    if let Err(error) = store(state, &mut done, findings) {
        let failure = failure(FailureKind::Infrastructure, error.to_string());
        return Completion { failure: Some(failure), outputs: BTreeMap::new(), verdict: None, state: None, ..done };
    }
    done
}

/// Takes values of secrets out of everything that is shown or kept. A guest never gets one from the host, but an input may hold one.
fn mask(done: &mut Completion, findings: &mut [types::Finding], secrets: &Secrets) {
    let text = |text: &mut String| {
        if let Cow::Owned(masked) = secrets.mask(text) {
            *text = masked;
        }
    };
    for finding in findings {
        let types::Finding { severity, message, rule, path, line: _, column: _ } = finding;
        [severity, message].into_iter().chain(rule).chain(path).for_each(text);
    }
    done.failure.iter_mut().for_each(|failure| text(&mut failure.message));
    if let Some(verdict) = &mut done.verdict {
        verdict.reasons.iter_mut().for_each(text);
        for figure in &mut verdict.figures {
            text(&mut figure.name);
            figure.unit.iter_mut().for_each(text);
        }
        verdict.details.iter_mut().for_each(|details| mask_json(details, secrets));
    }
}

fn mask_json(value: &mut serde_json::Value, secrets: &Secrets) {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) if secrets.are_in(number.to_string().as_bytes()) => *value = "***".into(),
        Value::Number(_) => {}
        Value::String(text) => {
            if let Cow::Owned(masked) = secrets.mask(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask_json(item, secrets)),
        Value::Object(members) => {
            let masked = std::mem::take(members).into_iter().map(|(key, mut item)| {
                mask_json(&mut item, secrets);
                (secrets.mask(&key).into_owned(), item)
            });
            *members = masked.collect();
        }
    }
}

/// A breach of the contract that explains the end better than the end itself: an output that was never declared, or, after a
/// good end, one that is missing.
fn breach(state: &State, done: &Completion) -> Option<String> {
    match done.failure.as_ref().map(|failure| failure.kind) {
        Some(FailureKind::Error | FailureKind::Trap) => state.breach.clone(),
        None => state.breach.clone().or_else(|| {
            let written = |name: &str| matches!(state.outputs.get(name), Some(Output::Done(_)));
            let missing =
                state.outputs_declared.named.iter().find(|port| !port.optional && !written(port.name.as_str()))?;
            let begun = if state.outputs.contains_key(&missing.name) { "did not finish" } else { "did not write" };
            Some(format!("it {begun} the output `{}`, which its manifest declares", missing.name))
        }),
        Some(_) => None,
    }
}

/// Stores what goes with every end: log, findings, effects.
fn store(state: State, done: &mut Completion, findings: Vec<types::Finding>) -> Result<(), Stop> {
    let artifacts = state.artifacts.clone();
    let put = |text: &str, what: &str| -> Result<ArtifactRef, Stop> {
        let digest = artifacts.put_blob(text.as_bytes()).map_err(|error| Stop::artifacts(what, &error))?;
        Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: text.len() as u64 })
    };
    let log = state.log.finish();
    if !log.is_empty() {
        done.log = Some(put(&log, "store the log")?);
    }
    if !state.records.is_empty() {
        done.effects = Some(put(&effect::encode(&state.records), "store the effects")?);
    }
    if !findings.is_empty() {
        let findings: Vec<_> = findings.into_iter().map(finding).collect();
        for finding in &findings {
            // Severities are few by contract; a plugin that invents more gets them counted as one.
            let known = ["error", "warning", "note"].contains(&finding.severity.as_str());
            let severity = if known { finding.severity.clone() } else { "note".to_owned() };
            *done.finding_counts.entry(severity).or_default() += 1;
        }
        done.findings = Some(put(&canonical_json(&findings), "store the findings")?);
    }
    Ok(())
}

fn finding(finding: types::Finding) -> Finding {
    let types::Finding { severity, message, rule, path, line, column } = finding;
    Finding { severity, message, rule, path, line, column }
}

fn health_verdict(health: Health) -> Result<Verdict, String> {
    word("status", &health.status, &Verdict::HEALTH)?;
    at_most("bytes of `details`", health.details.len(), MAX_DETAILS)?;
    let details = match health.details.trim() {
        "" => None,
        text => Some(
            serde_json::from_str(text).map_err(|error| format!("it returned `details` that are no JSON: {error}"))?,
        ),
    };
    let reason = cut(health.reason, MAX_MESSAGE);
    let reasons = Some(reason).filter(|reason| !reason.is_empty()).into_iter().collect();
    Ok(Verdict { word: health.status, reasons, figures: Vec::new(), details })
}

fn canary_verdict(verdict: evaluation::Verdict) -> Result<(Verdict, Vec<u8>), String> {
    word("status", &verdict.status, &Verdict::CANARY)?;
    if verdict.state.len() > MAX_STATE {
        return Err(format!("it returned a state of {} bytes: at most {MAX_STATE}", verdict.state.len()));
    }
    at_most("reasons", verdict.reasons.len(), MAX_REASONS)?;
    at_most("figures", verdict.figures.len(), MAX_FIGURES)?;
    let mut figures = Vec::with_capacity(verdict.figures.len());
    for figure in verdict.figures {
        let evaluation::Figure { name, value, baseline, limit, unit, passed } = figure;
        let finite = |number: Option<f64>| number.is_none_or(f64::is_finite);
        if !(finite(Some(value)) && finite(baseline) && finite(limit)) {
            return Err(format!(
                "it returned the figure `{}` with a number that is not finite",
                crate::imports::short(&name)
            ));
        }
        let (name, unit) = (cut(name, MAX_FIGURE_TEXT), unit.map(|unit| cut(unit, MAX_FIGURE_TEXT)));
        figures.push(Figure { name, value, baseline, limit, unit, passed });
    }
    let reasons = verdict.reasons.into_iter().map(|reason| cut(reason, MAX_MESSAGE)).collect();
    let word = Verdict { word: verdict.status, reasons, figures, details: None };
    Ok((word, verdict.state))
}

fn word(field: &str, found: &str, known: &[&str]) -> Result<(), String> {
    match known.contains(&found) {
        true => Ok(()),
        false => {
            let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
            Err(format!(
                "it returned the {field} `{}`: expected one of {}",
                crate::imports::short(found),
                known.join(", ")
            ))
        }
    }
}
