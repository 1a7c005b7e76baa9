//! A stage that asks for http and hands on what it got, errors too, so that a test sees what the host let through.

use lockgate_sdk::http::{self, Request};
use lockgate_sdk::prelude::*;

/// What to ask.
#[config]
pub struct Config {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// Where.
    pub url: String,
    /// How often, one after another.
    #[serde(default = "once")]
    pub times: u32,
    /// How many at once, if not one after another.
    #[serde(default)]
    pub parallel: u32,
    /// Limit of one exchange in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// The most bytes of an answer.
    #[serde(default)]
    pub max_body: Option<u64>,
    /// Writes the body to the output `saved`.
    #[serde(default)]
    pub save: bool,
}

fn get() -> String {
    "GET".into()
}

fn once() -> u32 {
    1
}

/// The plugin.
pub struct Fetch;

impl Stage for Fetch {
    type Config = Config;
    const ABOUT: About = about!("Asks by HTTP and writes down what came.")
        .outputs(&[Port::blob("out", "one line an answer"), Port::blob("saved", "the body").optional()])
        .effects(&["http"]);

    fn run(config: Config) -> Result<Findings> {
        let mut request = Request::new(config.method, config.url);
        request.timeout_ms = config.timeout_ms;
        request.max_body = config.max_body;
        request.save_as = config.save.then(|| "saved".into());
        let answers = match config.parallel {
            0 => (0..config.times).map(|_| request.clone().send()).collect(),
            parallel => http::send_all(vec![request; config.times as usize], parallel),
        };
        let mut text = String::new();
        for answer in answers {
            text += &match answer {
                Ok(answer) => format!("{} {} {}\n", answer.status, answer.body.len(), cut(&answer.text())),
                Err(error) => format!("error {} {}\n", error.code, error.message),
            };
        }
        output("out").write(text)?;
        Ok(Findings::new())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

export_stage!(Fetch);
