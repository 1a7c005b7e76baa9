//! What spans say: OpenTelemetry's semantic conventions for CI/CD (`cicd.*`) and HTTP where they have a word, `lockgate.*` where
//! they have none. <https://opentelemetry.io/docs/specs/semconv/cicd/cicd-spans/>

use lockgate_model::event::{AttemptFacts, Signal};
use lockgate_model::outcome::{Failure, FailureKind, Status, Verdict};
use lockgate_model::receipt::Receipt;
use serde_json::Value as Json;
use url::Url;

use super::span::{Attributes, Kind, SpanEvent, Value, cut};

/// Query parameters whose values the conventions for HTTP keep out of `url.full`: they sign requests.
const SIGNATURES: [&str; 4] = ["AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature"];

/// A result in the conventions' words.
pub(super) fn result(status: Status, failure: Option<&Failure>) -> &'static str {
    match status {
        Status::Succeeded => "success",
        Status::Failed => "failure",
        Status::Skipped => "skip",
        Status::Errored if failure.is_some_and(|failure| failure.kind == FailureKind::Timeout) => "timeout",
        Status::Errored => "error",
        Status::Cancelled => "cancellation",
    }
}

/// The class of a failure; returns the text of the span's status.
pub(super) fn failure(attributes: &mut Attributes, failure: &Failure) -> String {
    attributes.put("error.type", failure.kind.name());
    cut(&failure.message)
}

/// A verdict with its reasons and figures.
pub(super) fn verdict(attributes: &mut Attributes, verdict: &Verdict) {
    attributes.put("lockgate.verdict", verdict.word.as_str());
    if !verdict.reasons.is_empty() {
        let reasons = verdict.reasons.iter().map(|reason| cut(reason)).collect();
        attributes.put("lockgate.verdict.reasons", Value::Texts(reasons));
    }
    for figure in &verdict.figures {
        let key = format!("lockgate.verdict.figure.{}", figure.name);
        for (suffix, value) in [("baseline", figure.baseline), ("limit", figure.limit)] {
            if let Some(value) = value {
                attributes.put(format!("{key}.{suffix}"), value);
            }
        }
        attributes.put(key, figure.value);
    }
}

/// What an attempt used up.
pub(super) fn usage(attributes: &mut Attributes, facts: &AttemptFacts, fuel: Option<u64>) {
    if let Some(fuel) = fuel {
        attributes.put("lockgate.fuel.used", fuel);
    }
    attributes
        .put("lockgate.fuel.limit", facts.fuel_limit)
        .put("lockgate.memory.peak", facts.peak_memory)
        .put("lockgate.wall_time_us", facts.micros);
}

/// What a receipt proves.
pub(super) fn receipt(attributes: &mut Attributes, receipt: &Receipt, facts: &AttemptFacts) {
    if let Some(key) = receipt.key {
        attributes.put("lockgate.action_key", key.to_string());
    }
    for (severity, number) in &facts.findings {
        attributes.put(format!("lockgate.findings.{severity}"), *number);
    }
    if let Some(given) = &receipt.verdict {
        verdict(attributes, given);
    }
    if let Some(decision) = &receipt.decision {
        attributes.put("lockgate.decision", decision.word.as_str());
        for (key, text) in [("lockgate.decision.by", &decision.by), ("lockgate.decision.comment", &decision.comment)] {
            if let Some(text) = text {
                attributes.put(key, text.as_str());
            }
        }
    }
}

/// What somebody outside said.
pub(super) fn signal(time: u64, signal: Signal, by: &str, comment: Option<&str>) -> SpanEvent {
    let mut attributes = Attributes::default();
    attributes.put("lockgate.signal", signal.name()).put("lockgate.signal.by", by);
    if let Some(comment) = comment {
        attributes.put("lockgate.signal.comment", comment);
    }
    SpanEvent { time, name: "lockgate.signal", attributes }
}

/// An effect's span, as far as its request and its answer say: name, kind, attributes and status.
pub(super) struct EffectWords {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) attributes: Attributes,
    pub(super) error: Option<String>,
}

/// The words of an effect; without an answer it was begun and not ended.
pub(super) fn effect(kind: &str, summary: &str, answer: Option<&Json>) -> EffectWords {
    let mut attributes = Attributes::default();
    let mut error = answer.is_none().then(|| "there is no record of its end".to_owned());
    if kind != "http" {
        return EffectWords { name: kind.to_owned(), kind: Kind::Internal, attributes, error };
    }
    let (method, url) = summary.split_once(' ').unwrap_or((summary, ""));
    attributes.put("http.request.method", method);
    if let Ok(url) = Url::parse(url) {
        attributes.put("server.address", url.host_str().unwrap_or_default());
        if let Some(port) = url.port_or_known_default() {
            attributes.put("server.port", u32::from(port));
        }
        attributes.put("url.full", without_signatures(url).to_string());
    }
    match answer {
        Some(answer) if answer["error"].is_object() => {
            let text = |key: &str| answer["error"][key].as_str().unwrap_or_default();
            attributes.put("error.type", text("code"));
            error = Some(cut(text("message")));
        }
        Some(answer) => {
            if let Some(status) = answer["status"].as_u64() {
                attributes.put("http.response.status_code", status);
                if status >= 400 {
                    attributes.put("error.type", status.to_string());
                    // The conventions leave the text empty: the status code says it.
                    error = Some(String::new());
                }
            }
        }
        None => {}
    }
    EffectWords { name: method.to_owned(), kind: Kind::Client, attributes, error }
}

fn without_signatures(mut url: Url) -> Url {
    if url.query_pairs().any(|(name, _)| SIGNATURES.contains(&&*name)) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in &pairs {
            query.append_pair(name, if SIGNATURES.contains(&name.as_str()) { "REDACTED" } else { value });
        }
        drop(query);
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(summary: &str, answer: &Json) -> (String, Option<String>) {
        let words = effect("http", summary, Some(answer));
        (format!("{:?}", words.attributes.0), words.error)
    }

    #[test]
    fn signatures_of_urls_are_kept_out() {
        let (text, _) =
            words("GET https://a.test/x?sig=s%2Fecret&b=1&X-Goog-Signature=secret", &json!({ "status": 200 }));
        assert!(text.contains("https://a.test/x?sig=REDACTED&b=1&X-Goog-Signature=REDACTED"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let (text, _) = words("GET https://a.test/x?b=%2F", &json!({ "status": 200 }));
        assert!(text.contains("https://a.test/x?b=%2F") && text.contains("Int(443)"), "{text}");
    }

    #[test]
    fn bad_answers_are_errors() {
        assert_eq!(words("GET http://a.test/", &json!({ "status": 302 })).1, None);
        assert_eq!(words("GET http://a.test/", &json!({ "status": 404 })).1, Some(String::new()));
        let (text, error) =
            words("GET http://a.test/", &json!({ "error": { "code": "connect", "message": "refused" } }));
        assert_eq!(error.as_deref(), Some("refused"));
        assert!(text.contains("(\"error.type\", Text(\"connect\"))"), "{text}");
    }

    #[test]
    fn strange_records_are_no_panic() {
        for (summary, answer) in [
            ("", json!(null)),
            ("GET", json!([])),
            ("GET :", json!({ "status": "x" })),
            ("é é", json!({ "error": {} })),
        ] {
            words(summary, &answer);
        }
    }
}
