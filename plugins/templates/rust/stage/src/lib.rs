//! {{what}}

use lockgate_sdk::prelude::*;

/// What is permitted.
#[config]
#[serde(default)]
pub struct Config {
    /// The most lines that a text may have.
    max_lines: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_lines: 1000 }
    }
}

/// The plugin.
pub struct Plugin;

impl Stage for Plugin {
    type Config = Config;
    const ABOUT: About = about!("{{what}}")
        .inputs(&[Port::blob("text", "what is counted")])
        .outputs(&[Port::blob("count", "bytes and lines, as JSON")]);

    fn run(config: Config) -> Result<Findings> {
        let text = input("text")?.read()?;
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        info!("{lines} lines");
        if lines > config.max_lines {
            let mut findings = Findings::new();
            findings.push(Finding::error(format!("line {} is one too many", config.max_lines + 1)).rule("max-lines"));
            return Err(findings.fail(format!("{lines} lines, at most {}", config.max_lines)));
        }
        output("count").write(format!("{{\"bytes\":{},\"lines\":{lines}}}\n", text.len()))?;
        Ok(Findings::new())
    }
}

export_stage!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sdk::testing::Harness;

    #[test]
    fn lines_and_bytes_are_counted() {
        let outcome = Harness::new().blob("text", "one\ntwo\n").run::<Plugin>("{}");
        assert_eq!(outcome.text("count"), "{\"bytes\":8,\"lines\":2}\n");
    }

    #[test]
    fn a_text_that_is_too_long_fails() {
        let outcome = Harness::new().blob("text", "one\ntwo\n").run::<Plugin>(r#"{"max_lines": 1}"#);
        assert_eq!(outcome.failure(), "2 lines, at most 1");
        assert_eq!(outcome.findings().len(), 1);
    }
}
