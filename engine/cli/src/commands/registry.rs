//! `lockgate plugin push` and `pull`: components to and from registries.

use std::path::{Path, PathBuf};

use lockgate::wiring::load;
use lockgate::wiring::registry::{Depot, tag_of};
use lockgate_model::manifest::World;
use lockgate_model::units::Bytes;
use lockgate_registry::{ATTESTATION_TYPE, About, Attachment, SIGNATURE_TYPE, Which};
use serde_json::json;

use super::Ended;
use super::reports::put;
use crate::args::{Format, PullArgs, PushArgs};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics;
use crate::render::output::Output;
use crate::render::style::clean_line;
use crate::trust::{MAX_SIGNATURES, read_envelopes, signatures_beside, write_envelopes};

/// Pushes a component.
pub(crate) fn push(args: &PushArgs, output: &Output) -> Ended {
    let name = args.component.display().to_string();
    let bytes = load::component(&name)?;
    let inspection = super::host(1)?.inspect(&bytes).map_err(|error| load::load_failed(&name, error))?;
    let mut manifest = inspection.manifest;
    let mut exports = vec!["describe".to_owned(), manifest.world.function().to_owned()];
    if manifest.world == World::Command {
        exports = vec!["wasi:cli/run@0.2".to_owned()];
        let Some(Which::Tag(given)) = &args.to.which else {
            let error = anyhow::anyhow!("push the command `{}`: which version is it?", clean_line(&name));
            return Err(CliError::new(Exit::Wrong, error).hint(format!("say it: {}:1.0.0", args.to.name)));
        };
        manifest.name = args.to.name.path().rsplit('/').next().unwrap_or_default().to_owned();
        manifest.version = given.replace('_', "+");
    }
    let tag = tag_of(&manifest.version);
    if manifest.version.parse::<semver::Version>().is_err() {
        let error = anyhow::anyhow!(
            "push `{}` as `{}`: that is no version, such as `1.2.3`",
            clean_line(&name),
            clean_line(&tag)
        );
        return Err(CliError::new(Exit::Wrong, error));
    }
    match &args.to.which {
        None => {}
        Some(Which::Tag(given)) if *given == tag => {}
        Some(_) => {
            let version = clean_line(&manifest.version);
            let error =
                anyhow::anyhow!("push `{}` under another tag than its version, which is {version}", clean_line(&name));
            return Err(CliError::new(Exit::Wrong, error)
                .hint("leave the tag away, or build the component with the version that is meant"));
        }
    }
    let about = About {
        title: manifest.name.clone(),
        version: manifest.version.clone(),
        description: manifest.summary.clone(),
        imports: inspection.imports.iter().map(|import| import.name.clone()).collect(),
        exports,
    };
    let signed = args.signatures.clone().or_else(|| {
        let beside = signatures_beside(&args.component);
        beside.symlink_metadata().is_ok().then_some(beside)
    });
    let with = |path: &PathBuf, artifact_type| envelopes(path).map(|envelopes| Attachment { artifact_type, envelopes });
    let mut attachments = Vec::new();
    if let Some(path) = &signed {
        attachments.push(with(path, SIGNATURE_TYPE)?);
    }
    for path in &args.attestations {
        attachments.push(with(path, ATTESTATION_TYPE)?);
    }
    let depot = Depot::open(false)?;
    let pushed = depot.registry.push(&args.to.name, &tag, &bytes, &about, &attachments, args.force)?;
    let same = if pushed.unchanged { ", which was there already" } else { "" };
    let along = match (&signed, args.attestations.len()) {
        (None, 0) => ", not signed".to_owned(),
        (None, number) => format!(", not signed, with {}", diagnostics::count(number, "attestation")),
        (Some(path), 0) => format!(", signed by {}", path.display()),
        (Some(path), number) => {
            format!(", signed by {}, with {}", path.display(), diagnostics::count(number, "attestation"))
        }
    };
    output.note(&format!(
        "{} {}:{tag}: {}{same}{along}\n",
        output.err.good("pushed"),
        args.to.name,
        Bytes(bytes.len() as u64)
    ));
    output.data(&format!("{}@{}\n", args.to.name, pushed.manifest));
    Ok(Exit::Succeeded)
}

/// A file of envelopes as lines, each of them an envelope.
fn envelopes(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut lines = Vec::new();
    for envelope in read_envelopes(path, MAX_SIGNATURES)? {
        lines.extend_from_slice(envelope.to_line().as_bytes());
    }
    Ok(lines)
}

/// Pulls a component.
pub(crate) fn pull(args: &PullArgs, output: &Output) -> Ended {
    let depot = Depot::open(false)?;
    let name = &args.from.name;
    let (component, cached) = depot.named(&args.from)?;
    let beside = signatures_beside(&cached.path);
    let signatures =
        if beside.symlink_metadata().is_ok() { read_envelopes(&beside, MAX_SIGNATURES)? } else { Vec::new() };
    let path = match &args.output {
        Some(path) => {
            put(path, &cached.bytes).map_err(|error| {
                CliError::new(Exit::Infrastructure, error).context(format!("write `{}`", path.display()))
            })?;
            if !signatures.is_empty() {
                write_envelopes(&signatures, Some(&signatures_beside(path)), output)?;
            }
            path
        }
        None => &cached.path,
    };
    let shown = format!("{name}@{}", component.manifest);
    match args.format {
        Format::Json => {
            let document = json!({
                "schema": 1, "name": name, "manifest": component.manifest, "digest": component.digest,
                "size": component.size, "file": path, "signatures": signatures.len(),
            });
            output.data(&format!("{document}\n"));
        }
        Format::Human => {
            let signed = match signatures.len() {
                0 => "not signed".to_owned(),
                number => diagnostics::count(number, "signature"),
            };
            let size = Bytes(component.size);
            output.note(&format!("{} {shown}: {size}, {signed}: {}\n", output.err.good("pulled"), path.display()));
            output.data(&format!("{}\n", component.digest));
        }
    }
    Ok(Exit::Succeeded)
}
