//! `lockgate plugin sign`, `verify` and `seen`: who vouches for a component, and which versions were accepted.

use std::path::Path;

use lockgate::wiring::load;
use lockgate::wiring::policy::Policies;
use lockgate_model::Digest;
use lockgate_model::manifest::Manifest;
use lockgate_model::time::rfc3339;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::Store;
use lockgate_trust::plugin::{PluginId, VersionError};
use lockgate_trust::roots::{Revoked, Signer, verify_plugin};
use serde_json::json;

use super::Ended;
use crate::args::{Format, SeenArgs, SignArgs, TrustArgs, VerifyArgs};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::output::Output;
use crate::render::style::clean_line;
use crate::render::table::{Align, Table};
use crate::trust::{
    MAX_SIGNATURES, public_keys, read_envelopes, secret_key, signatures_beside, trust_roots, write_envelopes,
};

/// Signs a component.
pub(crate) fn sign(args: &SignArgs, output: &Output) -> Ended {
    let key = secret_key(&args.key, output)?;
    let now = SystemClock::default().now_ms();
    if let Some(expires) = args.expires.filter(|expires| *expires <= now) {
        let error = anyhow::anyhow!("sign until {}: that is over", rfc3339(expires));
        return Err(CliError::new(Exit::Wrong, error));
    }
    let plugin = examine(&args.component)?;
    let path = args.output.clone().unwrap_or_else(|| signatures_beside(&args.component));
    let mut envelopes =
        if path.symlink_metadata().is_ok() { read_envelopes(&path, MAX_SIGNATURES)? } else { Vec::new() };
    let name = args.component.file_name().unwrap_or_default().to_string_lossy();
    lockgate_trust::plugin::sign(&mut envelopes, &clean_line(&name), &plugin, args.expires, &key)
        .map_err(|error| CliError::new(Exit::Wrong, error))?;
    write_envelopes(&envelopes, Some(&path), output)?;
    let id = key.public().map_err(|error| CliError::new(Exit::Wrong, error))?.id();
    let until = args.expires.map(|expires| format!(", until {}", rfc3339(expires))).unwrap_or_default();
    output.note(&format!(
        "{} {} {}, {}{until}: {}\n",
        output.err.good("signed"),
        clean_line(&plugin.name),
        plugin.version,
        plugin.digest,
        path.display()
    ));
    output.data(&format!("{id}\n"));
    Ok(Exit::Succeeded)
}

/// Checks who vouches for a component.
pub(crate) fn verify(args: &VerifyArgs, output: &Output) -> Ended {
    let (signers, revoked) = trusted(&args.trust, output)?;
    let plugin = examine(&args.component)?;
    let path = args.signatures.clone().unwrap_or_else(|| signatures_beside(&args.component));
    let envelopes = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && args.signatures.is_none() => Vec::new(),
        _ => read_envelopes(&path, MAX_SIGNATURES)?,
    };
    match verify_plugin(&plugin, &envelopes, &signers, &revoked, SystemClock::default().now_ms()) {
        Ok(accepted) => {
            for accepted in accepted {
                let until = accepted.until.map(|until| format!(" until {}", rfc3339(until))).unwrap_or_default();
                output.data(&format!(
                    "{} {} {} signed by {} (key {}){until}\n",
                    clean_line(&plugin.name),
                    plugin.version,
                    plugin.digest,
                    clean_line(&accepted.signer),
                    accepted.key.short()
                ));
            }
            Ok(Exit::Succeeded)
        }
        Err(refusals) => {
            let reasons: Vec<_> = refusals.iter().map(|refusal| clean_line(&refusal.to_string())).collect();
            let error = anyhow::anyhow!("{}", reasons.join("; "));
            let context = format!("accept the component `{}`", args.component.display());
            Err(CliError::new(Exit::Refused, error).context(context))
        }
    }
}

/// Lists the highest versions that were accepted, or forgets some.
pub(crate) fn seen(args: &SeenArgs, output: &Output) -> Ended {
    if !args.forget.is_empty() {
        let store = Store::open(&place::existing(&args.state)?)?;
        for plugin in &args.forget {
            let known = store.seen()?.into_iter().filter(|seen| seen.plugin == *plugin).collect::<Vec<_>>();
            if known.is_empty() {
                let error = anyhow::anyhow!("forget versions of `{}`: none was accepted", clean_line(plugin));
                return Err(CliError::new(Exit::Wrong, error).hint("`lockgate plugin seen` lists them"));
            }
            store.forget(plugin)?;
            for seen in known {
                output.note(&format!(
                    "forgotten: {} {} by {}\n",
                    clean_line(plugin),
                    seen.version,
                    clean_line(&seen.signer)
                ));
            }
        }
        return Ok(Exit::Succeeded);
    }
    let all = place::open_existing(&args.state)?.seen()?;
    match args.format {
        Format::Json => {
            for seen in all {
                let line = json!({
                    "schema": 1, "plugin": seen.plugin, "version": seen.version, "signer": seen.signer,
                    "digest": seen.digest, "time": seen.time_ms,
                });
                output.data(&format!("{line}\n"));
            }
        }
        Format::Human => {
            let columns = ["plugin", "version", "signer", "accepted", "digest"].map(|name| (name, Align::Left));
            let mut table = Table::new(&columns);
            for seen in &all {
                table.row(vec![
                    clean_line(&seen.plugin).into(),
                    clean_line(&seen.version).into(),
                    clean_line(&seen.signer).into(),
                    rfc3339(seen.time_ms).into(),
                    seen.digest.short().into(),
                ]);
            }
            if table.is_empty() {
                output.note("no signed plugin was accepted yet\n");
            } else {
                output.data(&table.render(output.out, 0));
            }
        }
    }
    Ok(Exit::Succeeded)
}

/// Digest, name and version of a component's file.
fn examine(path: &Path) -> Result<PluginId, CliError> {
    let name = path.display().to_string();
    if name.starts_with("std:") {
        let error = anyhow::anyhow!("use signatures of `{name}`: it is part of the engine");
        return Err(CliError::new(Exit::Wrong, error).hint("check the engine's own file instead"));
    }
    let bytes = load::component(&name)?;
    let inspection = super::host(1)?.inspect(&bytes).map_err(|error| load::load_failed(&name, error))?;
    plugin_id(inspection.digest, &inspection.manifest).map_err(|error| {
        CliError::new(Exit::Wrong, error)
            .hint("give the plugin a version such as `1.2.3`, so that a lower one is known")
    })
}

/// What signatures are over.
pub(crate) fn plugin_id(digest: Digest, manifest: &Manifest) -> Result<PluginId, VersionError> {
    PluginId::new(digest, &manifest.name, &manifest.version)
}

/// Whose signatures count, and what does not.
pub(super) fn trusted(args: &TrustArgs, output: &Output) -> Result<(Vec<Signer>, Revoked), CliError> {
    let mut revoked = Revoked::default();
    let named = public_keys(args)?.into_iter().map(|named| Signer { name: named.name, key: named.key, until: None });
    let mut signers: Vec<_> = named.collect();
    if let Some(file) = &args.policy {
        for file in Policies::named(file, output)?.files() {
            let (more, no_longer) = trust_roots(&file.policy, None)?;
            signers.extend(more);
            revoked = no_longer;
        }
    }
    if signers.is_empty() {
        let error = anyhow::anyhow!("verify signatures: nobody is trusted");
        let hint = "name a public key with `--key FILE`, or a policy with signers with `--policy FILE`";
        return Err(CliError::new(Exit::Wrong, error).hint(hint));
    }
    Ok((signers, revoked))
}
