//! A stage that writes what its config tells: a blob, a tree, a log. Tests of everything around a stage use it.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;

/// What to write.
#[config]
#[derive(Default)]
#[serde(default)]
pub struct Config {
    /// The output `out`.
    pub text: String,
    /// Files of the output `tree`, by path; none where there are none.
    pub files: BTreeMap<String, String>,
    /// Lines for the log.
    pub log: Vec<String>,
    /// Fails with this message after everything was written.
    pub fail: Option<String>,
    /// Panics with this message after everything was written.
    pub panic: Option<String>,
    /// Adds the inputs' names and digests to `out`, one a line.
    pub inputs: bool,
    /// Adds the declared environment to `out`, one variable a line.
    pub env: bool,
}

/// The plugin.
pub struct Say;

impl Stage for Say {
    type Config = Config;
    const ABOUT: About = about!("Writes what its config tells.")
        .open_inputs(PortKind::Any)
        .outputs(&[Port::blob("out", "the text"), Port::tree("tree", "the files").optional()]);

    fn run(config: Config) -> Result<Findings> {
        config.log.iter().for_each(|line| info!("{line}"));
        let mut text = config.text;
        if config.inputs {
            for input in inputs() {
                text += &format!("{} {}\n", input.name, input.digest);
            }
        }
        if config.env {
            for (name, value) in lockgate_sdk::env::variables() {
                text += &format!("{name}={value}\n");
            }
        }
        output("out").write(text)?;
        if !config.files.is_empty() {
            let tree = output("tree").tree()?;
            for (path, text) in &config.files {
                let mut file = tree.file(path, false)?;
                file.write_all(text.as_bytes())?;
                file.finish()?;
            }
            tree.finish()?;
        }
        if let Some(message) = config.panic {
            panic!("{message}");
        }
        match config.fail {
            Some(message) => bail!("{message}"),
            None => Ok(Findings::new()),
        }
    }
}

export_stage!(Say);
