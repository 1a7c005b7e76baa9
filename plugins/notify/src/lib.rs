//! `std:notify`: tells somebody, by a webhook: Slack and what speaks like it, or any JSON.
//!
//! In reading order: `fill` (places in a text that inputs fill), and here the plugin.

mod fill;

use std::collections::BTreeMap;

use lockgate_sdk::http::Request;
use lockgate_sdk::prelude::*;
use serde_json::{Value, json};

use crate::fill::Filler;

/// Who is told what.
#[config]
pub struct Config {
    /// Where it is sent. `{{secret:name}}` stands for a secret whose grant says `place = "url"`: for hooks whose URL is the secret.
    pub url: String,
    /// How.
    #[serde(default = "post")]
    pub method: String,
    /// Headers. `{{secret:name}}` stands for a granted secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The message, sent as `{"text": ...}`, which Slack, Mattermost, Rocket.Chat, Google Chat and Teams take. `{{name}}` stands for
    /// the text of an input, `{{name#/a/b}}` for what is at this JSON pointer (RFC 6901) in it.
    #[serde(default)]
    pub text: Option<String>,
    /// More members beside `text`, such as `channel`; without a `text` the whole body. Its strings are filled likewise.
    #[serde(default)]
    pub json: Option<Value>,
    /// Status codes that are a success; none: 200 to 299.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// The idempotency key; without it the engine sends one of its own, the same for the same attempt.
    #[serde(default)]
    pub idempotency_key: Option<String>,
    /// Limit in milliseconds.
    #[schemars(range(min = 1, max = 10000))]
    #[serde(default)]
    pub timeout_ms: Option<u32>,
}

fn post() -> String {
    "POST".to_owned()
}

/// The plugin.
pub struct Notify;

/// The longest text, in characters: Slack takes 40,000. What is longer is cut, and says so.
const LONGEST: usize = 40_000;
/// The largest body in bytes.
const LARGEST: usize = 1 << 20;

impl Stage for Notify {
    type Config = Config;
    const ABOUT: About = about!("Tells somebody, by a webhook.")
        .inputs(&[Port::blob("body", "sent as it is, instead of `text` and `json`").optional()])
        .open_inputs(PortKind::Blob)
        .outputs(&[Port::blob("answer", "status and body of the answer, as JSON").optional()])
        .effects(&["http", "secrets?"])
        .schema(include_str!("../schema.json"));

    fn run(config: Config) -> Result<Findings> {
        let mut filler = Filler::default();
        // Inputs could name any place that the grant permits: who is told stands in the pipeline.
        let url = filler.secrets(&config.url).context("`url`")?;
        let mut request = Request::new(&config.method, &url);
        let (mut typed, mut keyed) = (false, false);
        for (name, value) in &config.headers {
            typed |= name.eq_ignore_ascii_case("content-type");
            keyed |= name.eq_ignore_ascii_case("idempotency-key");
            let value = filler.text(value).with_context(|| format!("`headers.{name}`"))?;
            ensure!(!value.contains(['\r', '\n', '\0']), "`headers.{name}` has more than one line");
            request = request.header(name, value);
        }
        if let Some(key) = &config.idempotency_key {
            ensure!(!keyed, "the idempotency key is in `headers` and in `idempotency_key`: use one of them");
            let key = filler.text(key).context("`idempotency_key`")?;
            ensure!(
                !key.is_empty() && !key.contains(['"', '\\', '\r', '\n', '\0']),
                "`idempotency_key` is empty or holds quotes"
            );
            request = request.header("Idempotency-Key", format!("\"{key}\""));
        }
        let (body, kind) = body(&config, &mut filler)?;
        ensure!(body.len() <= LARGEST, "the body has {} bytes: at most {LARGEST} are sent", body.len());
        if !typed && !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        request.timeout_ms = config.timeout_ms;
        let response =
            request.body(body).max_body(64 << 10).send().with_context(|| format!("notify `{}`", config.url))?;
        let answer = response.text();
        output("answer").write_json(&json!({"status": response.status, "body": answer}))?;
        let good = match config.expect.as_slice() {
            [] => (200..300).contains(&response.status),
            codes => codes.contains(&response.status),
        };
        let said: String = answer.trim().chars().take(300).collect();
        ensure!(
            good,
            "`{}` answered with status {}{}{said}",
            config.url,
            response.status,
            if said.is_empty() { "" } else { ": " }
        );
        // Slack's own methods say in the body of a 200 what went wrong.
        if let Ok(Value::Object(answer)) = serde_json::from_str(&answer)
            && answer.get("ok") == Some(&Value::Bool(false))
        {
            let why = answer.get("error").and_then(Value::as_str).unwrap_or("no reason");
            bail!("`{}` answered with `ok: false`: {why}", config.url);
        }
        info!("told `{}`: status {}", config.url, response.status);
        Ok(Findings::new())
    }
}

export_stage!(Notify);

/// The body, and its type.
fn body(config: &Config, filler: &mut Filler) -> Result<(Vec<u8>, &'static str)> {
    let own = inputs().into_iter().find(|input| input.name == "body");
    match (own, &config.text, &config.json) {
        (Some(own), None, None) => Ok((own.read()?, "")),
        (Some(_), _, _) => bail!("the input `body` is sent as it is: take `text` and `json` away, or the input"),
        (None, None, None) => bail!("there is nothing to send: set `text` or `json`, or give an input `body`"),
        (None, None, Some(value)) => Ok((serde_json::to_vec(&filler.value(value, 0)?)?, "application/json")),
        (None, Some(text), more) => {
            let mut text = filler.text(text).context("`text`")?;
            if let Some((end, _)) = text.char_indices().nth(LONGEST) {
                text.truncate(end);
                text += "\n(cut off)";
            }
            let mut members = match more {
                None => serde_json::Map::new(),
                Some(value) => match filler.value(value, 0)? {
                    Value::Object(members) => members,
                    _ => bail!("`json` beside `text` has to be an object"),
                },
            };
            members.insert("text".to_owned(), Value::String(text));
            Ok((serde_json::to_vec(&Value::Object(members))?, "application/json"))
        }
    }
}

#[cfg(test)]
mod tests;
