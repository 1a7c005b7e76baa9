//! What the tables of a case file mean.

use std::collections::BTreeMap;

use lockgate_model::PortName;
use lockgate_model::grant::{SecretName, SecretSource};
use lockgate_model::limits::Limits;
use lockgate_model::units::{Fuel, Millis};
use serde_json::{Map, Value as Json};
use toml::de::DeValue;

use super::shape::CASE;
use super::{CaseFile, CaseInput, CaseLook, Expect, FirstLook, ParsedCase};
use crate::params::Params;
use crate::problem::{Code, Source};
use crate::report::Problems;
use crate::substitute::{Context, Scope};
use crate::table::{Table, Value, integer};
use crate::{Inputs, fields, gates, grants, resolve};

/// Milliseconds between two looks where the case says nothing.
const BETWEEN: u64 = 10_000;

/// Reads the text of a case file.
pub(super) fn read(name: &str, text: &str) -> ParsedCase {
    let source = Source::new(name, text);
    let problems = Problems::new(source.clone());
    let root = resolve::structure(&source, &problems, &CASE);
    let case = root.map(|root| {
        let reader = Reader { root: Table { map: &root, span: 0..0 }, source: &source, problems: &problems };
        reader.case()
    });
    let problems = problems.finish();
    ParsedCase { case: case.filter(|_| problems.is_empty()), problems }
}

/// The tables of a file that the structural check has seen.
pub(super) struct Reader<'a> {
    root: Table<'a>,
    pub(super) source: &'a Source,
    pub(super) problems: &'a Problems,
}

impl<'a> Reader<'a> {
    fn case(&self) -> CaseFile {
        let config = match self.root.get("config").and_then(json) {
            Some(Json::Object(config)) => config,
            _ => Map::new(),
        };
        let moment = self.root.get("logical_time");
        let (look, looks, expect) = self.looks();
        CaseFile {
            summary: self.text(&self.root, "summary"),
            config,
            logical_time: moment.and_then(|moment| gates::plain_moment(moment, self.problems)),
            env: texts(&self.root, "env").into_iter().collect(),
            inputs: self.inputs(&self.root, "inputs"),
            limits: fields::limits(self.root.table("limits").as_ref(), &Limits::default()),
            grants: self.grants(),
            expect,
            http: self.root.list("http").iter().filter_map(|value| self.exchange(&Table::of(value)?)).collect(),
            process: self.root.list("process").iter().filter_map(|value| self.execution(&Table::of(value)?)).collect(),
            tcp: self.root.list("tcp").iter().filter_map(|value| self.connection(&Table::of(value)?)).collect(),
            look,
            state: self.root.table("state").and_then(|table| self.input(&table)),
            looks,
        }
    }

    pub(super) fn text(&self, table: &Table<'_>, key: &str) -> Option<String> {
        table.text(key).map(|text| text.text.to_owned())
    }

    /// Two keys that say the same thing.
    pub(super) fn conflict(&self, table: &Table<'_>, key: &str, message: &str) {
        let hint = Some("leave one of them away".to_owned());
        self.problems.report(Code::Conflict, &table.key_span(key), "", message, hint);
    }

    pub(super) fn inputs(&self, table: &Table<'_>, key: &str) -> BTreeMap<PortName, CaseInput> {
        let mut inputs = BTreeMap::new();
        for (name, _, value) in table.table(key).map(|table| table.entries()).unwrap_or_default() {
            let (Ok(name), Some(table)) = (PortName::new(name), Table::of(value)) else { continue };
            inputs.extend(self.input(&table).map(|input| (name, input)));
        }
        inputs
    }

    fn input(&self, table: &Table<'_>) -> Option<CaseInput> {
        if let Some(value) = table.get("json") {
            return Some(CaseInput::Bytes(lockgate_model::canonical_json(&json(value)?).into_bytes()));
        }
        if let Some(text) = table.text("text") {
            return Some(CaseInput::Bytes(text.text.as_bytes().to_vec()));
        }
        if table.get("hex").is_some() {
            return self.hex(table, "hex").map(CaseInput::Bytes);
        }
        self.path(table, "path").map(CaseInput::Path)
    }

    /// Bytes in hexadecimal digits.
    pub(super) fn hex(&self, table: &Table<'_>, key: &str) -> Option<Vec<u8>> {
        let hex = table.text(key)?;
        let bytes = unhex(hex.text);
        if bytes.is_none() {
            let hint = "two digits for each byte, as in `00ff`; blanks and line breaks do not count".to_owned();
            let message = format!("`{key}` is no hexadecimal digits");
            self.problems.report(Code::WrongType, &hex.span, "", &message, Some(hint));
        }
        bytes
    }

    /// Which look it is, the looks, and what is expected of the last one.
    fn looks(&self) -> (Option<FirstLook>, Vec<CaseLook>, Expect) {
        let number = |table: &Table<'_>, key: &str| table.integer(key).and_then(|number| u32::try_from(number).ok());
        let first = self.root.table("look").map(|table| {
            let index = number(&table, "index").unwrap_or(0);
            let elapsed = table.quantity("elapsed").unwrap_or(Millis(BETWEEN.saturating_mul(index.into())));
            FirstLook { index, elapsed, step: number(&table, "step") }
        });
        let mut looks: Vec<CaseLook> = Vec::new();
        let tables: Vec<_> = self.root.list("looks").iter().filter_map(Table::of).collect();
        for (at, table) in tables.iter().enumerate() {
            let before = looks.last().map(|look| (look.elapsed, look.step));
            let (elapsed, step) = match before {
                Some((elapsed, step)) => (Millis(elapsed.0.saturating_add(BETWEEN)), step),
                None => first.map_or((Millis(0), None), |first| (first.elapsed, first.step)),
            };
            for key in
                ["elapsed", "step"].into_iter().filter(|key| at == 0 && first.is_some() && table.get(key).is_some())
            {
                self.conflict(table, key, &format!("`look` says of the first look what its `{key}` is"));
            }
            let said: Option<Millis> = table.quantity("elapsed");
            if let (Some(said), Some((before, _))) = (said, before)
                && said < before
            {
                let hint = Some("looks stand in the order of their times".to_owned());
                let message = "this look is earlier than the one before";
                self.problems.report(Code::OutOfRange, &table.key_span("elapsed"), "", message, hint);
            }
            looks.push(CaseLook {
                elapsed: said.unwrap_or(elapsed),
                step: number(table, "step").or(step),
                inputs: self.inputs(table, "inputs"),
                expect: self.expect(table, None),
            });
        }
        let mut expect = self.expect(&self.root, self.root.quantity("max_fuel"));
        if let (Some(last), Some(table)) = (looks.last(), tables.last())
            && table.get("expect").is_some()
        {
            if self.root.get("expect").is_some() {
                self.conflict(table, "expect", "`expect` of the case speaks of the last look, too");
            }
            let max_fuel = last.expect.max_fuel.or(expect.max_fuel);
            expect = Expect { max_fuel, ..last.expect.clone() };
        }
        (first, looks, expect)
    }

    /// A path relative to the case's folder. It may leave the folder, since cases share files, but not name a place of one machine.
    pub(super) fn path(&self, table: &Table<'_>, key: &str) -> Option<String> {
        let path = table.text(key)?;
        if path.text.starts_with('/') || path.text.contains('\0') {
            let hint =
                "write it relative to the folder of this file, so that it is the same on every machine".to_owned();
            self.problems.report(Code::Path, &path.span, "", "this path is absolute", Some(hint));
            return None;
        }
        Some(path.text.to_owned())
    }

    fn grants(&self) -> lockgate_model::grant::Grants {
        // Nothing is sent, so secrets have no values here: every name that is granted is known.
        let Some(table) = self.root.table("grants") else { return lockgate_model::grant::Grants::default() };
        let mut secrets = BTreeMap::new();
        let programs = table.list("process").iter().filter_map(Table::of);
        let variables = programs.filter_map(|program| program.table("env")).flat_map(|env| env.entries());
        let placed = variables.filter_map(|(_, _, value)| Table::of(value)?.text("secret"));
        let granted = table.list("secrets").iter().filter_map(|value| match Table::of(value) {
            Some(inner) => inner.text("name"),
            None => crate::table::text(value),
        });
        for name in placed.chain(granted).filter_map(|name| SecretName::new(name.text).ok()) {
            secrets.insert(name.clone(), SecretSource::Env(name.as_str().to_owned()));
        }
        let (none, git) = (BTreeMap::new(), || Err("a case has no repository".to_owned()));
        let inputs = Inputs { params: &none, env: &|_| None, git: &git };
        let mut cx = Context::new(self.problems, &inputs, Params::default());
        cx.secrets = secrets;
        grants::grants(Some(&table), Scope { cx: &cx, matrix: None })
    }

    /// The table `expect`; `top` is the budget that stands elsewhere.
    fn expect(&self, table: &Table<'_>, top: Option<Fuel>) -> Expect {
        let Some(table) = table.table("expect") else { return Expect { max_fuel: top, ..Expect::default() } };
        let max_fuel = table.quantity("max_fuel");
        if top.is_some() && max_fuel.is_some() {
            self.conflict(&table, "max_fuel", "`max_fuel` stands at the top of the file, too");
        }
        let [status, kind, message, verdict] =
            ["status", "kind", "message", "verdict"].map(|key| self.text(&table, key));
        if status.as_deref() == Some("succeeded") {
            for key in ["kind", "message"].into_iter().filter(|key| table.get(key).is_some()) {
                let message = format!("`{key}` speaks of a failure, but the case expects `succeeded`");
                self.conflict(&table, key, &message);
            }
        }
        if verdict.is_some() && (kind.is_some() || status.as_deref().is_some_and(|status| status != "succeeded")) {
            self.conflict(&table, "verdict", "a call that fails has no verdict");
        }
        // Whoever names a kind or a message expects a failure.
        let failed = (kind.is_some() || message.is_some()).then(|| {
            let errored = matches!(kind.as_deref(), Some("timeout" | "infrastructure"));
            if errored { "errored" } else { "failed" }.to_owned()
        });
        let succeeded = verdict.is_some().then(|| "succeeded".to_owned());
        Expect { status: status.or(failed).or(succeeded), kind, message, verdict, max_fuel: max_fuel.or(top) }
    }
}

/// The texts of a table of free keys, in the order of the file.
pub(super) fn texts(table: &Table<'_>, key: &str) -> Vec<(String, String)> {
    let entries = table.table(key).map(|table| table.entries()).unwrap_or_default();
    let text = |(name, _, value): (&str, _, &Value<'_>)| Some((name.to_owned(), value.get_ref().as_str()?.to_owned()));
    entries.into_iter().filter_map(text).collect()
}

/// A value as JSON, as it stands: nothing is put into its strings. None where the structural check reported it.
pub(super) fn json(value: &Value<'_>) -> Option<Json> {
    Some(match value.get_ref() {
        DeValue::String(text) => Json::String(text.to_string()),
        DeValue::Integer(number) => integer(number)?.into(),
        DeValue::Float(number) => Json::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Boolean(value) => Json::Bool(*value),
        DeValue::Datetime(_) => return None,
        DeValue::Array(array) => Json::Array(array.iter().map(json).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let items = table.iter().map(|(key, item)| Some((key.get_ref().to_string(), json(item)?)));
            Json::Object(items.collect::<Option<_>>()?)
        }
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    let pairs = digits.chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None }).collect()
}
