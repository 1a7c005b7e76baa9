//! A stage that computes for a while: so many rounds of a generator of numbers.

use lockgate_sdk::prelude::*;

/// How long it takes, and what makes one node differ from another.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// Rounds.
    pub rounds: u64,
    /// What the generator begins with.
    pub seed: u64,
}

/// The plugin.
pub struct Work;

impl Stage for Work {
    type Config = Config;
    const ABOUT: About = about!("Computes for a while.").outputs(&[Port::blob("out", "the last number")]);

    fn run(config: Config) -> Result<Findings> {
        // Knuth's constants for 64 bits.
        let step =
            |number: u64, _| number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let last = (0..config.rounds).fold(config.seed, |number, round| std::hint::black_box(step(number, round)));
        output("out").write(last.to_string())?;
        Ok(Findings::new())
    }
}

export_stage!(Work);
