//! `std:http-probe`: asks one URL, and says healthy, degraded or unhealthy by status, body and latency. Its config is in
//! `config`; here is what it looks at.

mod config;

use lockgate_sdk::http::{Request, Response};
use lockgate_sdk::prelude::*;
use serde_json::{Value, json};

use crate::config::{Body, Config};

/// The most of a body that is looked at: 1 MiB, what the host answers by default. Health endpoints say little.
const MAX_BODY: u64 = 1 << 20;
/// Characters of a found value in a reason or detail: a sentence, not the page that a broken service answers.
const SHOWN: usize = 80;
/// Why an exchange failed although the service may be well: the node's own limits or grants. Nothing can be said then.
const OUR_OWN: [&str; 4] = ["not-granted", "bad-request", "limit", "body"];

/// The health check.
pub struct HttpProbe;

impl HealthCheck for HttpProbe {
    type Config = Config;
    const ABOUT: About =
        about!("Checks one URL: status, body and latency.").effects(&["http"]).schema(include_str!("../schema.json"));

    fn check(config: Config, _look: Look) -> Result<Health> {
        let mut request = Request::new(&config.method, &config.url).timeout_ms(config.timeout_ms).max_body(MAX_BODY);
        for (name, value) in &config.headers {
            request = request.header(name, value.as_bytes());
        }
        let response = match request.send() {
            Ok(response) => response,
            Err(error) if OUR_OWN.contains(&error.code.as_str()) => return Err(error.into()),
            Err(error) => {
                let details = json!({"url": config.url, "error": {"code": error.code, "message": error.message}});
                return Ok(Health::unhealthy(format!("no answer ({}): {error}", error.code)).details(&details));
            }
        };
        Ok(judge(&config, &response))
    }
}

export_health_check!(HttpProbe);

/// Looks at an answer. Whatever is wrong is a reason; the first is what is shown, all are in the details.
fn judge(config: &Config, response: &Response) -> Health {
    let mut wrong = Vec::new();
    if !config.expect.contain(response.status) {
        wrong.push(format!("answered {} instead of {}", response.status, config.expect));
    }
    wrong.extend(check_body(&config.body, response));
    let latency_ms = response.timings.total_us as f64 / 1e3;
    let beyond = |limit: Option<u32>| limit.filter(|limit| latency_ms > f64::from(*limit));
    let took = |limit: u32| format!("took {latency_ms} ms: at most {limit} ms");
    wrong.extend(beyond(config.max_latency_ms).map(took));
    let details = json!({
        "url": config.url,
        "status": response.status,
        "latency_ms": latency_ms,
        "connect_ms": response.timings.connect_us as f64 / 1e3,
        "first_byte_ms": response.timings.first_byte_us as f64 / 1e3,
        "wrong": wrong,
    });
    let health = match (wrong.is_empty(), beyond(config.degraded_ms)) {
        (false, _) => Health::unhealthy(wrong.join("; ")),
        (true, Some(limit)) => Health::degraded(took(limit)),
        (true, None) => Health::healthy(format!("answered {} in {latency_ms} ms", response.status)),
    };
    health.details(&details)
}

/// What is wrong with a body.
fn check_body(expected: &Body, response: &Response) -> Vec<String> {
    let mut wrong = Vec::new();
    if response.truncated && (expected.equals.is_some() || !expected.json.is_empty()) {
        return vec![format!("the body is longer than {MAX_BODY} bytes")];
    }
    if let Some(text) = &expected.equals
        && response.body != text.as_bytes()
    {
        wrong.push(format!("the body is {}", shown(&format!("{:?}", response.text()))));
    }
    if let Some(text) = &expected.contains
        && !contains(&response.body, text.as_bytes())
    {
        wrong.push(format!("the body does not contain {}", shown(&format!("{text:?}"))));
    }
    if !expected.json.is_empty() {
        match response.json::<Value>() {
            Ok(body) => {
                wrong.extend(expected.json.iter().filter_map(|(pointer, value)| mismatch(&body, pointer, value)))
            }
            Err(error) => wrong.push(format!("the body is no JSON: {error}")),
        }
    }
    wrong
}

fn mismatch(body: &Value, pointer: &str, expected: &Value) -> Option<String> {
    match body.pointer(pointer) {
        Some(found) if equal(found, expected) => None,
        Some(found) => Some(format!(
            "`{}` is {} instead of {}",
            shown(pointer),
            shown(&found.to_string()),
            shown(&expected.to_string())
        )),
        None => Some(format!("`{}` is not in the body", shown(pointer))),
    }
}

/// Equality of JSON values, with numbers by value: TOML's `1.0` and a service's `1` are one number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64().is_some_and(|x| y.as_f64() == Some(x)),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
