//! `lockgate audit`: the signed head of the journal, and whether the journal is still what was written and signed.

use std::path::Path;

use lockgate_model::time::rfc3339;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::{Audit, Expected};
use lockgate_trust::head::SignedHead;
use lockgate_trust::roots::{Revoked, Signer};
use lockgate_trust::{Envelope, SecretKey};

use super::Ended;
use super::sign::trusted;
use crate::args::{AuditSignArgs, AuditVerifyArgs};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::style::clean_line;
use crate::trust::{MAX_SIGNATURES, read_envelopes, secret_key, write_envelopes};

/// Signs the head, if the journal is as it was written.
pub(crate) fn sign(args: &AuditSignArgs, output: &Output) -> Ended {
    let key: SecretKey = secret_key(&args.key, output)?;
    let store = place::open_existing(&args.state)?;
    let audit = store.audit(&[])?;
    refuse(&audit)?;
    let (Some(first), Some(last)) = (audit.first, audit.last) else {
        let error = anyhow::anyhow!("sign the head of the journal: it has no record yet");
        return Err(CliError::new(Exit::Wrong, error));
    };
    let head = SignedHead { first, records: audit.records, last, time: SystemClock::default().now_ms() };
    let envelope = head.statement().sign(&key).map_err(|error| CliError::new(Exit::Wrong, error))?;
    write_envelopes(&[envelope], args.output.as_deref(), output)?;
    output.note(&format!("{} {}, the last one {last}\n", output.err.good("signed"), count_of(audit.records)));
    Ok(Exit::Succeeded)
}

/// Checks the journal, alone and against signed heads.
pub(crate) fn verify(args: &AuditVerifyArgs, output: &Output) -> Ended {
    if args.heads.is_empty() && !args.trust.is_empty() {
        let error = anyhow::anyhow!("verify a signature: no head is named");
        return Err(CliError::new(Exit::Wrong, error).hint("name the file that `lockgate audit sign` wrote"));
    }
    let trusted = if args.trust.is_empty() { None } else { Some(trusted(&args.trust, output)?) };
    let mut heads = Vec::new();
    for path in &args.heads {
        for envelope in read_envelopes(path, MAX_SIGNATURES)? {
            heads.push(head(path, &envelope, trusted.as_ref())?);
        }
        if trusted.is_none() {
            let path = path.display();
            output.warning(&format!("nobody checked who signed `{path}`: name the public key with `--key FILE`"));
        }
    }
    let expected: Vec<_> =
        heads.iter().map(|head| Expected { first: head.first, records: head.records, last: head.last }).collect();
    let audit = place::open_existing(&args.state)?.audit(&expected)?;
    refuse(&audit)?;
    for SignedHead { records, time, .. } in &heads {
        output.note(&format!("signed {}: the first {} are those of then\n", rfc3339(*time), count_of(*records)));
    }
    let last = audit.last.map(|last| format!(", the last one {last}")).unwrap_or_default();
    output.data(&format!("{} as they were written{last}\n", count_of(audit.records)));
    Ok(Exit::Succeeded)
}

/// Reads a head; with those who are trusted, only if one of them signed it.
fn head(path: &Path, envelope: &Envelope, trusted: Option<&(Vec<Signer>, Revoked)>) -> Result<SignedHead, CliError> {
    let context = || format!("use the head `{}`", path.display());
    if let Some((signers, revoked)) = trusted {
        super::attest::signer_of(envelope, signers, revoked).map_err(|error| error.context(context()))?;
    }
    SignedHead::of(envelope).map_err(|error| CliError::new(Exit::Wrong, error).context(context()))
}

fn refuse(audit: &Audit) -> Result<(), CliError> {
    let Some(problem) = &audit.problem else { return Ok(()) };
    let error = anyhow::anyhow!("{}", clean_line(&problem.to_string()))
        .context(format!("verify the journal, of which {} good", were(audit.records)));
    Err(CliError::new(Exit::Infrastructure, error)
        .hint("keep the state directory as it is for whoever looks into this; runs in a new one: --state DIR"))
}

fn count_of(records: u64) -> String {
    count(usize::try_from(records).unwrap_or(usize::MAX), "record")
}

fn were(records: u64) -> String {
    match records {
        0 => "no record is".to_owned(),
        1 => "the first record is".to_owned(),
        more => format!("the first {more} records are"),
    }
}
