//! `lockgate secret`: what people do with the encrypted store. Values come in by stdin and never go out.

use std::io::{self, IsTerminal as _, Read as _};

use lockgate::wiring::secret_store::locate;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_secrets::{Added, KEPT, Listed, MAX_VALUE, SecretStore, Value, Version};
use serde_json::json;

use super::Ended;
use crate::args::{
    EnvironmentArgs, Format, SecretCommand, SecretListArgs, SecretRmArgs, SecretRotateArgs, SecretSetArgs,
};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};
use crate::render::table::{Align, Cell, Table};
use crate::time::rfc3339;

/// Does what was asked for.
pub(crate) fn secret(command: SecretCommand, output: &Output) -> Ended {
    match command {
        SecretCommand::Set(args) => set(args, output),
        SecretCommand::List(args) => list(&args, output),
        SecretCommand::Rotate(args) => rotate(args, output),
        SecretCommand::Rm(args) => remove(&args, output),
    }
}

fn set(args: SecretSetArgs, output: &Output) -> Ended {
    let SecretSetArgs { name, environment: EnvironmentArgs { environment }, generate, store } = args;
    let store = locate(store.store.as_deref())?;
    let value = value(generate, output)?;
    let added = store.set(&environment, &name, value, false, now())?;
    tell(&added, &store, (name.as_str(), environment.as_str()), output);
    Ok(Exit::Succeeded)
}

fn rotate(args: SecretRotateArgs, output: &Output) -> Ended {
    let SecretRotateArgs { name, environment: EnvironmentArgs { environment }, generate, identity: _, store } = args;
    let store = locate(store.store.as_deref())?;
    let Some(name) = name else {
        let made = store.rotate_identity(now())?;
        let environments = count(made.environments, "environment");
        output.data(&format!("encrypted {environments} to the new identity {}\n", made.public));
        note(output, &format!("it is in `{}`: keep a copy of it in a safe place", store.identity().display()));
        return Ok(Exit::Succeeded);
    };
    // Before somebody types a value in vain.
    store.check(environment.as_str(), name.as_str())?;
    let value = value(generate, output)?;
    let added = store.set(&environment, &name, value, true, now())?;
    tell(&added, &store, (name.as_str(), environment.as_str()), output);
    Ok(Exit::Succeeded)
}

fn tell(added: &Added, store: &SecretStore, (name, environment): (&str, &str), output: &Output) {
    output.data(&format!("version {} of `{name}` in `{environment}`\n", added.version));
    if let Some(made) = &added.made {
        let identity = store.identity().display();
        note(output, &format!("made the identity {} in `{identity}`", made.public));
        note(output, "keep a copy of that file in a safe place: without it the secrets are lost");
    }
    if !added.dropped.is_empty() {
        let dropped = numbers(&added.dropped);
        note(output, &format!("dropped {dropped}: the newest {KEPT} versions are kept"));
    }
}

fn list(args: &SecretListArgs, output: &Output) -> Ended {
    let store = locate(args.store.store.as_deref())?;
    let listed = store.list(args.environment.as_ref().map(|name| name.as_str()))?;
    match args.format {
        Format::Json => output.data(&(json_list(&store, &listed).to_string() + "\n")),
        Format::Human if listed.is_empty() => note(output, "there are no secrets"),
        Format::Human => output.data(&human_list(&listed, output.out)),
    }
    Ok(Exit::Succeeded)
}

fn json_list(store: &SecretStore, listed: &[Listed]) -> serde_json::Value {
    let version = |version: &Version| json!({ "version": version.number, "created": rfc3339(version.created_ms) });
    let secret = |secret: &Listed| {
        json!({
            "environment": secret.environment,
            "name": secret.name,
            "version": secret.versions.last().map(|version| version.number),
            "versions": secret.versions.iter().map(version).collect::<Vec<_>>(),
        })
    };
    json!({
        "schema": 1,
        "store": store.dir().display().to_string(),
        "secrets": listed.iter().map(secret).collect::<Vec<_>>(),
    })
}

fn human_list(listed: &[Listed], style: Style) -> String {
    let mut table = Table::new(&[
        ("environment", Align::Left),
        ("name", Align::Left),
        ("version", Align::Right),
        ("created", Align::Left),
        ("older", Align::Left),
    ]);
    for secret in listed {
        let Some((current, older)) = secret.versions.split_last() else { continue };
        let older: Vec<_> = older.iter().rev().map(|version| version.number.to_string()).collect();
        table.row(vec![
            clean_line(&secret.environment).into(),
            Cell::painted(&clean_line(&secret.name), |name| style.bold(name)),
            current.number.to_string().into(),
            rfc3339(current.created_ms).into(),
            older.join(", ").into(),
        ]);
    }
    table.render(style, 0)
}

fn remove(args: &SecretRmArgs, output: &Output) -> Ended {
    let (name, environment) = (args.name.as_str(), args.environment.environment.as_str());
    let removed = locate(args.store.store.as_deref())?.remove(environment, name, args.version)?;
    output.data(&format!("removed {} of `{name}` in `{environment}`\n", numbers(&removed.gone)));
    if let Some(current) = removed.current {
        note(output, &format!("version {current} is in use now"));
    }
    Ok(Exit::Succeeded)
}

/// A value of stdin or of chance.
fn value(generate: Option<u16>, output: &Output) -> Result<Value, CliError> {
    if let Some(bytes) = generate {
        let failed = |error| CliError::new(Exit::Infrastructure, error).context("get random bytes of the system");
        return Value::generate(bytes).map_err(failed);
    }
    let failed = |error| CliError::new(Exit::Infrastructure, error).context("read the value from stdin");
    let mut bytes = Vec::new();
    if io::stdin().is_terminal() {
        output.note("value (it is not shown): ");
        bytes = console::Term::stderr().read_secure_line().map_err(failed)?.into_bytes();
    } else {
        // A line break more than the longest value, and one byte more to find that it is longer.
        let most = MAX_VALUE as u64 + 3;
        io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Value::new(bytes)?)
}

fn now() -> u64 {
    SystemClock::default().now_ms()
}

fn numbers(numbers: &[u32]) -> String {
    let text: Vec<_> = numbers.iter().map(u32::to_string).collect();
    format!("{} {}", if numbers.len() == 1 { "version" } else { "versions" }, text.join(", "))
}

fn note(output: &Output, text: &str) {
    if !output.quiet {
        output.note(&(clean_line(text) + "\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_show_versions_and_dates() {
        let versions = |numbers: &[u32]| {
            numbers.iter().map(|&number| Version { number, created_ms: u64::from(number) * 1_000 }).collect()
        };
        let listed = [
            Listed { environment: "production".into(), name: "token".into(), versions: versions(&[1]) },
            Listed { environment: "staging".into(), name: "session-key".into(), versions: versions(&[3, 4, 12]) },
        ];
        insta::assert_snapshot!(human_list(&listed, Style::PLAIN));
        let json = json_list(&SecretStore::new("/s".as_ref(), None), &listed);
        assert_eq!(json["secrets"][1]["version"], 12);
        assert_eq!(json["secrets"][1]["versions"][0]["created"], "1970-01-01T00:00:03Z");
    }
}
