//! A stage that does to the world what its config says, and logs and writes down what came of it: programs, connections, requests, secrets.

use lockgate_sdk::IDEMPOTENCY_KEY;
use lockgate_sdk::http::Request;
use lockgate_sdk::prelude::*;
use lockgate_sdk::process::Command;
use lockgate_sdk::secrets;
use lockgate_sdk::tcp::Exchange;

/// What to do, one after another.
#[config]
pub struct Config {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One step: exactly one of `run`, `connect`, `request`, `say`.
#[config]
pub struct Step {
    /// A program with its arguments.
    #[serde(default)]
    pub run: Vec<String>,
    /// Its standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// An input that is laid into its working directory, under its own name.
    #[serde(default)]
    pub lay: Option<String>,
    /// A path that becomes the output `file`.
    #[serde(default)]
    pub take: Option<String>,
    /// A host and a port.
    #[serde(default)]
    pub connect: Option<String>,
    /// What is sent.
    #[serde(default)]
    pub send: String,
    /// What reading ends behind.
    #[serde(default)]
    pub until: Option<String>,
    /// A URL to which `send` is posted.
    #[serde(default)]
    pub request: Option<String>,
    /// A header of the request.
    #[serde(default)]
    pub header: Option<String>,
    /// Goes into a finding.
    #[serde(default)]
    pub say: Option<String>,
    /// Limit in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
}

/// The plugin.
pub struct Act;

impl Stage for Act {
    type Config = Config;
    const ABOUT: About = about!("Does to the world what its config says.")
        .inputs(&[Port::any("src", "for programs").optional()])
        .outputs(&[Port::blob("out", "one line a step"), Port::any("file", "what a program left").optional()])
        .effects(&["http?", "process?", "secrets?", "tcp?"]);

    fn run(config: Config) -> Result<Findings> {
        let mut text = String::new();
        let mut findings = Findings::new();
        for step in config.steps {
            let came = match (&step.connect, &step.request, &step.say) {
                (Some(server), ..) => connect(&step, server),
                (_, Some(url), _) => request(&step, url),
                (.., Some(what)) => {
                    let what = filled(what);
                    findings.push(Finding::note(what.clone()));
                    what
                }
                _ => run(&step),
            };
            info!("{came}");
            text += &(came + "\n");
        }
        output("out").write(text)?;
        Ok(findings)
    }
}

/// Puts placeholders in place of `{name}` and `<key>`.
fn filled(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some((before, rest)) = text.split_once('{') {
        let Some((name, after)) = rest.split_once('}') else { break };
        text = format!("{before}{}{after}", secrets::placeholder(name).unwrap_or_else(|| "none".into()));
    }
    text.replace("<key>", IDEMPOTENCY_KEY)
}

fn run(step: &Step) -> String {
    let mut words = step.run.iter().cloned();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.arguments = words.map(|word| filled(&word)).collect();
    command.stdin = step.stdin.as_deref().map(|text| filled(text).into_bytes());
    command.inputs = step.lay.iter().map(|name| (name.clone(), name.clone())).collect();
    command.outputs = step.take.iter().map(|path| (path.clone(), "file".to_owned())).collect();
    command.timeout_ms = step.timeout_ms;
    match command.run() {
        Ok(exit) => {
            let code = exit.code.map_or("signal".to_owned(), |code| code.to_string());
            let cut = if exit.truncated { " cut" } else { "" };
            let errors = String::from_utf8_lossy(&exit.stderr).into_owned();
            format!("exit {code}{cut} {:?} {:?}", shown(&exit.text()), shown(&errors))
        }
        Err(error) => format!("error {} {}", error.code, error.message),
    }
}

fn connect(step: &Step, server: &str) -> String {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "0"));
    let mut exchange = Exchange::new(host, port.parse().unwrap_or_default()).send(filled(&step.send));
    exchange.until = step.until.as_deref().map(|text| text.as_bytes().to_vec());
    exchange.timeout_ms = step.timeout_ms;
    exchange.end = step.until.is_none();
    match exchange.run() {
        Ok(answer) => format!("{} {:?}", answer.ended_by, String::from_utf8_lossy(&answer.received)),
        Err(error) => format!("error {} {}", error.code, error.message),
    }
}

fn request(step: &Step, url: &str) -> String {
    let mut request = Request::new("POST", filled(url)).body(filled(&step.send));
    if let Some((name, value)) = step.header.as_deref().and_then(|header| header.split_once(": ")) {
        request = request.header(name, filled(value));
    }
    match request.send() {
        Ok(answer) => {
            let headers = answer.headers.iter().filter(|(name, _)| name.starts_with("x-"));
            let headers: Vec<_> = headers.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
            format!("{} {:?} {headers:?}", answer.status, answer.text())
        }
        Err(error) => format!("error {} {}", error.code, error.message),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(400).collect()
}

export_stage!(Act);
