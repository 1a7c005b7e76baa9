//! `lockgate plugin inspect`: a component's manifest, world, digest, signers, and every import with what it means.

use std::path::Path;

use lockgate::wiring::load;
use lockgate_host::{CONTRACT, Inspection};
use serde_json::json;

use super::Ended;
use crate::args::{InspectArgs, InspectFormat};
use crate::exit::{CliError, Exit};
use crate::render::output::Output;
use crate::render::plugin::{human, markdown};
use crate::trust::{MAX_SIGNATURES, read_envelopes, signatures_beside};

/// Shows a component.
pub(crate) fn inspect(args: &InspectArgs, output: &Output) -> Ended {
    let bytes = load::component(&args.component)?;
    let inspection = super::host(1)?.inspect(&bytes).map_err(|error| load::load_failed(&args.component, error))?;
    let signers = signers(&args.component)?;
    match args.format {
        InspectFormat::Human => output.data(&human(&inspection, &signers, output.out)),
        InspectFormat::Markdown => output.data(&markdown(&args.component, &inspection, &signers)),
        InspectFormat::Json => {
            let Inspection { digest, size, manifest, imports } = &inspection;
            let document = json!({
                "schema": 1,
                "digest": digest,
                "size": size,
                "contract": CONTRACT,
                "world": manifest.world,
                "manifest": manifest,
                "imports": imports,
                "signers": signers,
            });
            output.data(&format!("{document:#}\n"));
        }
    }
    Ok(Exit::Succeeded)
}

/// Ids of the keys that are said to have signed a component, in the file beside it. Nobody checks them here.
fn signers(component: &str) -> Result<Vec<String>, CliError> {
    if component.starts_with("std:") {
        return Ok(Vec::new());
    }
    let path = signatures_beside(Path::new(component));
    if path.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let envelopes = read_envelopes(&path, MAX_SIGNATURES)?;
    let mut signers: Vec<_> = envelopes.iter().flat_map(|envelope| envelope.key_hints().map(str::to_owned)).collect();
    signers.sort();
    signers.dedup();
    Ok(signers)
}
