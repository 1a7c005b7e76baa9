//! A stage that reads the clock, sleeps, and reads it again.

use lockgate_sdk::clock;
use lockgate_sdk::prelude::*;

/// How long to sleep, and how often.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// Milliseconds of one sleep.
    pub sleep_ms: u32,
    /// Number of sleeps, each between two readings.
    pub times: u32,
}

/// The plugin.
pub struct Watch;

impl Stage for Watch {
    type Config = Config;
    const ABOUT: About = about!("Writes what the clock says.").outputs(&[Port::blob("out", "one reading a line")]);

    fn run(config: Config) -> Result<Findings> {
        let mut text = format!("{}\n", clock::now_ms());
        for _ in 0..config.times {
            clock::sleep_ms(config.sleep_ms);
            text += &format!("{}\n", clock::now_ms());
        }
        output("out").write(text)?;
        Ok(Findings::new())
    }
}

export_stage!(Watch);
