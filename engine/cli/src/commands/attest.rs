//! `lockgate attest`: signed statements about what a run gave, made of the journal alone, and checking them offline.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactKind;
use lockgate_model::digest::Hasher;
use lockgate_model::pipeline::SnapshotSpec;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::Store;
use lockgate_trust::dsse::MAX_FILE;
use lockgate_trust::provenance::Provenance;
use lockgate_trust::rebuild::Rebuild;
use lockgate_trust::roots::{Refusal, Revoked, Signer};
use lockgate_trust::statement::{Predicate as _, algorithm};
use lockgate_trust::{Envelope, SecretKey, Statement};

use super::Ended;
use super::sign::trusted;
use crate::args::{AttestArgs, AttestCommand, AttestRunArgs, AttestVerifyArgs, KeyArg};
use crate::attestation::statements;
use crate::exit::{CliError, Exit};
use crate::past::{self, PastRun};
use crate::place;
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::style::clean_line;
use crate::trust::{read_envelopes, secret_key, write_envelopes};

/// Signs what a past run gave, or checks such a signature.
pub(crate) fn attest(args: &AttestArgs, output: &Output) -> Ended {
    if let Some(AttestCommand::Verify(args)) = &args.command {
        return verify(args, output);
    }
    let key = secret_key(&args.key, output)?;
    let store = place::open_existing(&args.state)?;
    let found = past::find(&store, args.run.as_deref().unwrap_or("last"))?;
    write(&found, &key, args.output.as_deref(), output)?;
    Ok(Exit::Succeeded)
}

/// Where a run's attestations go, and who signs them; known before it begins.
pub(super) struct Attesting {
    path: PathBuf,
    key: SecretKey,
}

impl Attesting {
    /// What the options ask for.
    pub(super) fn prepare(args: &AttestRunArgs, output: &Output) -> Result<Option<Self>, CliError> {
        let Some(path) = args.attest.clone() else { return Ok(None) };
        if path.is_dir() {
            let error = anyhow::anyhow!("write attestations to `{}`: it is a directory", path.display());
            return Err(CliError::new(Exit::Wrong, error));
        }
        let key = secret_key(&KeyArg { key: args.attest_key.clone() }, output)?;
        Ok(Some(Self { path, key }))
    }

    /// Writes them.
    pub(super) fn write(&self, run: &PastRun, output: &Output) -> Result<(), CliError> {
        write(run, &self.key, Some(&self.path), output)
    }
}

fn write(run: &PastRun, key: &SecretKey, path: Option<&Path>, output: &Output) -> Result<(), CliError> {
    let sign = |statement: &Statement| statement.sign(key).map_err(|error| CliError::new(Exit::Wrong, error));
    let statements = statements(run)?;
    let envelopes = statements.iter().map(sign).collect::<Result<Vec<_>, _>>()?;
    write_envelopes(&envelopes, path, output)?;
    if let Some(path) = path.filter(|_| !output.quiet) {
        let statements = count(envelopes.len(), "statement");
        output.note(&format!(
            "{} {statements} about run {}: {}\n",
            output.err.good("signed"),
            run.summary.id,
            path.display()
        ));
    }
    Ok(())
}

/// Who of those trusted signed an envelope.
pub(super) fn signer_of<'s>(
    envelope: &Envelope,
    signers: &'s [Signer],
    revoked: &Revoked,
) -> Result<&'s Signer, CliError> {
    let refused =
        |refusal: Refusal| CliError::new(Exit::Refused, anyhow::Error::from(refusal).context("accept a signature"));
    let now = SystemClock::default().now_ms();
    let mut why = None;
    for signer in signers.iter().filter(|signer| envelope.is_signed_by(&signer.key)) {
        let key = signer.key.id();
        if revoked.keys.contains(&key) {
            why = Some(Refusal::RevokedKey { signer: signer.name.clone(), key });
        } else if let Some(until) = signer.until.filter(|until| *until <= now) {
            why = Some(Refusal::SignerEnded { signer: signer.name.clone(), until });
        } else {
            return Ok(signer);
        }
    }
    let claimed = envelope.claimed_keys().map(|key| clean_line(key).chars().take(16).collect()).collect();
    let trusted = signers.iter().map(|signer| signer.name.clone()).collect();
    Err(refused(why.unwrap_or(Refusal::Unknown { trusted, claimed })))
}

fn verify(args: &AttestVerifyArgs, output: &Output) -> Ended {
    let (signers, revoked) = trusted(&args.trust, output)?;
    let context = || format!("use the attestations `{}`", args.file.display());
    let mut statements = Vec::new();
    for envelope in read_envelopes(&args.file, MAX_FILE)? {
        let signer = signer_of(&envelope, &signers, &revoked).map_err(|error| error.context(context()))?;
        let statement =
            Statement::of(&envelope).map_err(|error| CliError::new(Exit::Wrong, error).context(context()))?;
        let what = told(&statement).map_err(|error| error.context(context()))?;
        let subjects = count(statement.subject.len(), "subject");
        output.data(&format!(
            "{what}: {subjects}, signed by {} (key {})\n",
            clean_line(&signer.name),
            signer.key.id().short()
        ));
        statements.push(statement);
    }
    let mut unknown = Vec::new();
    for path in &args.artifacts {
        let (kind, digest) = digest_of(path)?;
        let found = statements.iter().filter(|statement| statement.predicate_type == Provenance::TYPE);
        match found.filter_map(|statement| statement.find(algorithm(kind), digest)).next() {
            Some(subject) => {
                output.data(&format!("{} is `{}`, {digest}\n", path.display(), clean_line(&subject.name)));
            }
            None => {
                output.note(&format!("{} {} ({digest}) is no subject\n", output.err.bad("error:"), path.display()));
                unknown.push(path);
            }
        }
    }
    if unknown.is_empty() {
        return Ok(Exit::Succeeded);
    }
    let error =
        anyhow::anyhow!("find {} among the subjects of `{}`", count(unknown.len(), "artifact"), args.file.display());
    Err(CliError::new(Exit::Refused, error).hint("somebody changed it since, or it is of another run"))
}

/// What a statement says, for people.
fn told(statement: &Statement) -> Result<String, CliError> {
    let wrong = |error| CliError::new(Exit::Wrong, error);
    Ok(match statement.predicate_type.as_str() {
        Provenance::TYPE => {
            let provenance: Provenance = statement.predicate().map_err(wrong)?;
            let (builder, metadata) = (&provenance.run_details.builder, &provenance.run_details.metadata);
            let version = builder.version.get("lockgate").map(|version| format!(" {version}")).unwrap_or_default();
            let text = format!(
                "provenance of run {} of {}, finished {}, by {}{version}",
                metadata.invocation_id,
                provenance.build_definition.external_parameters["pipeline"]["name"],
                metadata.finished_on,
                builder.id
            );
            clean_line(&text)
        }
        Rebuild::TYPE => {
            let rebuild: Rebuild = statement.predicate().map_err(wrong)?;
            format!("node {} of run {} gave the same in {} executions", rebuild.node, rebuild.run, rebuild.executions)
        }
        other => format!("statement of the type {}", clean_line(other)),
    })
}

/// The digest of a file or directory as an artifact has it.
fn digest_of(path: &Path) -> Result<(ArtifactKind, Digest), CliError> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::Wrong } else { Exit::Infrastructure };
        CliError::new(exit, error).context(format!("read the artifact `{}`", path.display()))
    };
    if path.metadata().map_err(failed)?.is_dir() {
        let place = tempfile::tempdir().map_err(failed)?;
        let store = Store::open(&place.path().join("state"))?;
        let spec = SnapshotSpec { dir: ".".to_owned(), include: Vec::new(), exclude: Vec::new(), ignore: false };
        let tree = store
            .snapshot(path, &spec, &[])
            .map_err(|error| CliError::from(error).context(format!("read the artifact `{}`", path.display())))?;
        return Ok((ArtifactKind::Tree, tree.digest));
    }
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok((ArtifactKind::Blob, hasher.finish()));
        }
        hasher.update(&buffer[..read]);
    }
}
