//! `lockgate graph`: the graph of a pipeline, drawn. Loads no plugin.

use super::{Ended, report_problems};
use crate::args::{GraphArgs, GraphFormat};
use crate::exit::{CliError, Exit};
use crate::render::output::Output;
use crate::render::{graph as text, svg};

/// Draws the graph to stdout.
pub(crate) fn graph(args: &GraphArgs, output: &Output) -> Ended {
    let loaded = args.file.read()?;
    let Some(ready) = loaded.ready() else { return Ok(report_problems(&loaded, output)) };
    let drawn = match args.format {
        GraphFormat::Dot => text::dot(&ready.pipeline, &ready.graph),
        GraphFormat::Mermaid => text::mermaid(&ready.pipeline, &ready.graph),
        GraphFormat::Svg => svg::svg(&ready.pipeline, &ready.graph)
            .map_err(|error| CliError::new(Exit::Wrong, error).hint("use `--format dot` and Graphviz's `sfdp`"))?,
    };
    output.data(&drawn);
    Ok(Exit::Succeeded)
}
