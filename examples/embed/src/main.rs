//! Runs a pipeline that is built in Rust, with a node kind and an event sink of its own. See the README beside it.

mod count_words;

use lockgate::{Engine, Error, Event, Input, Pipeline, Stage};

use crate::count_words::CountWords;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let engine = Engine::builder().node_kind(CountWords).on_event(show).build()?;
    let pipeline = Pipeline::builder("embedded")
        .stage(Stage::new("pack").plugin("std:pack").input("src", Input::dir("docs")))
        .stage(Stage::new("sum").plugin("std:checksum").input("archive", Input::of("pack.archive")))
        .stage(Stage::new("words").plugin("app:count-words").input("text", Input::of("pack.src")))
        .export("words.count", "out/words.json");
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let checked = engine.pipeline(&pipeline).root(directory).check()?;
    let report = engine.run(&checked).await?;
    say(&format!("{}: {}", report.status, report.digest.as_deref().unwrap_or("no digest")));
    Ok(())
}

/// The event sink: one line for each event.
fn show(event: &Event) {
    say(&event.to_string());
}

fn say(line: &str) {
    use std::io::Write as _;
    // A reader that went away is no reason to stop a run.
    let _ = writeln!(std::io::stdout(), "{line}");
}
