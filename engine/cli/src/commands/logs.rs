//! `lockgate logs`: the logs of a run's nodes. They are data, so they go to stdout, streamed: a log may be large.

use std::io::{BufRead as _, BufReader, Read};

use lockgate::wiring::executor::StoreBlobs;
use lockgate_model::NodeId;
use lockgate_model::artifact::ArtifactRef;

use super::Ended;
use crate::args::LogsArgs;
use crate::exit::{CliError, Exit};
use crate::past;
use crate::place;
use crate::render::output::Output;
use crate::render::report::Blobs as _;
use crate::render::style::clean_text;

/// Longest line that is kept together; a longer one is printed in pieces.
const MAX_LINE: u64 = 1 << 16;

/// Prints the log of one node as it is, or those of all nodes with the node in front of each line.
pub(crate) fn logs(args: &LogsArgs, output: &Output) -> Ended {
    let store = place::open_existing(&args.state)?;
    let run = past::find(&store, &args.run)?;
    let blobs = StoreBlobs(store);
    let print = |node: &NodeId, blob: &ArtifactRef, named: bool| {
        let failed = |error| CliError::new(Exit::Infrastructure, error).context(format!("read the log of `{node}`"));
        let prefix = if named { format!("{} ", output.out.dim(&format!("{node}:"))) } else { String::new() };
        copy(blobs.open(blob).map_err(failed)?, &prefix, output).map_err(failed)
    };
    match &args.node {
        Some(node) => {
            let node = run.node(node)?;
            match run.log_of(&node) {
                Some(blob) => print(&node, &blob, false)?,
                None => output.note(&format!("`{node}` wrote no log\n")),
            }
        }
        None => {
            for node in &run.pipeline.nodes {
                if let Some(blob) = run.log_of(&node.id) {
                    print(&node.id, &blob, true)?;
                }
            }
        }
    }
    Ok(Exit::Succeeded)
}

fn copy(reader: impl Read, prefix: &str, output: &Output) -> std::io::Result<()> {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut text = String::new();
    loop {
        line.clear();
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            output.data(&text);
            return Ok(());
        }
        text += prefix;
        text += &clean_text(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        text.push('\n');
        if text.len() as u64 > MAX_LINE {
            output.data(&text);
            text.clear();
        }
    }
}
