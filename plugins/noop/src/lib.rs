//! `std:noop`: a stage that does nothing, for measuring the engine itself.

use lockgate_sdk::prelude::*;

/// Nothing to set.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// Ignored. Makes nodes of one pipeline differ.
    pub n: i64,
}

/// The plugin.
pub struct Noop;

impl Stage for Noop {
    type Config = Config;
    const ABOUT: About =
        about!("Does nothing, with any inputs.").open_inputs(PortKind::Any).schema(include_str!("../schema.json"));

    fn run(_: Config) -> Result<Findings> {
        Ok(Findings::new())
    }
}

export_stage!(Noop);

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::testing::{self, Harness};

    #[test]
    fn it_does_nothing_with_anything() {
        let outcome = Harness::new().blob("a", "x").tree("b", [("c", "y")]).run::<Noop>(r#"{"n": 7}"#);
        assert!(outcome.ok().is_empty());
        assert!(outcome.outputs.is_empty() && outcome.log.is_empty());
    }

    #[test]
    fn the_schema_file_is_what_the_config_derives() {
        testing::check_schema::<Config>("schema.json", include_str!("../schema.json"));
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(Harness::new().run::<Noop>(r#"{"m": 7}"#).failure().contains("unknown field `m`"));
    }
}
