//! What the tables of recorded effects mean: `[[http]]`, `[[process]]`, `[[tcp]]`.

use lockgate_model::grant::{ProcessGrant, TcpGrant};
use lockgate_model::units::Millis;
use toml::de::DeValue;

use super::read::{Reader, json, texts};
use super::{Answer, AnswerBody, Connection, ConnectionEnd, Exchange, Execution, ProgramEnd, RequestBody};
use crate::problem::Code;
use crate::table::Table;

impl Reader<'_> {
    pub(super) fn exchange(&self, table: &Table<'_>) -> Option<Exchange> {
        let (request, response) = (table.table("request")?, table.table("response")?);
        let body = request.get("body").and_then(|value| match value.get_ref() {
            DeValue::String(text) => Some(RequestBody::Text(text.to_string())),
            _ => json(value).map(RequestBody::Json),
        });
        Some(Exchange {
            line: self.line(table),
            method: self.text(&request, "method")?,
            url: self.text(&request, "url")?,
            headers: texts(&request, "headers").into_iter().collect(),
            body,
            answer: self.answer(&response)?,
        })
    }

    fn answer(&self, table: &Table<'_>) -> Option<Answer> {
        if let Some(error) = self.text(table, "error") {
            for key in ["headers", "body", "body_file", "time"].into_iter().filter(|key| table.get(key).is_some()) {
                self.conflict(table, key, &format!("where there is an `error` there is no `{key}`"));
            }
            return Some(Answer::Error(error));
        }
        if table.get("body").is_some() && table.get("body_file").is_some() {
            self.conflict(table, "body_file", "the response has `body` and `body_file`");
        }
        let body = match (table.get("body"), self.path(table, "body_file")) {
            (Some(value), _) => AnswerBody::Bytes(match value.get_ref() {
                DeValue::String(text) => text.as_bytes().to_vec(),
                _ => lockgate_model::canonical_json(&json(value)?).into_bytes(),
            }),
            (None, Some(file)) => AnswerBody::File(file),
            (None, None) => AnswerBody::Bytes(Vec::new()),
        };
        Some(Answer::Response {
            status: table.integer("status").and_then(|status| u16::try_from(status).ok())?,
            headers: texts(table, "headers"),
            body,
            time: table.quantity("time").unwrap_or(Millis(0)),
        })
    }

    pub(super) fn execution(&self, table: &Table<'_>) -> Option<Execution> {
        let run: Vec<String> = table.texts("run").map(|text| text.text.to_owned()).collect();
        let Some(program) = run.first() else {
            if table.get("run").is_some() {
                let hint = Some("as in `run = [\"git\", \"describe\"]`".to_owned());
                self.problems.report(Code::WrongType, &table.key_span("run"), "", "`run` names no program", hint);
            }
            return None;
        };
        if let Err(error) = ProcessGrant::new(program) {
            let hint = Some("as grants name it: `git` or `/usr/bin/git`".to_owned());
            self.problems.report(Code::Grant, &table.key_span("run"), "", format!("failed to {error}"), hint);
        }
        let inputs = table.get("inputs").is_some().then(|| texts(table, "inputs").into_iter().collect());
        Some(Execution {
            line: self.line(table),
            run,
            stdin: table.text("stdin").map(|text| text.text.as_bytes().to_vec()),
            inputs,
            end: self.program_end(table)?,
        })
    }

    fn program_end(&self, table: &Table<'_>) -> Option<ProgramEnd> {
        if let Some(error) = self.text(table, "error") {
            let more = ["stdout", "stdout_file", "stderr", "stderr_file", "outputs", "time"];
            for key in more.into_iter().filter(|key| table.get(key).is_some()) {
                self.conflict(table, key, &format!("where there is an `error` there is no `{key}`"));
            }
            return Some(ProgramEnd::Error(error));
        }
        let code = match table.integer("exit") {
            Some(code) => Some(i32::try_from(code).ok()?),
            None => None,
        };
        Some(ProgramEnd::Exited {
            code,
            stdout: self.stream(table, "stdout", "stdout_file"),
            stderr: self.stream(table, "stderr", "stderr_file"),
            outputs: self.inputs(table, "outputs"),
            time: table.quantity("time").unwrap_or(Millis(0)),
        })
    }

    fn stream(&self, table: &Table<'_>, key: &str, file_key: &str) -> AnswerBody {
        let file = self.path(table, file_key);
        if table.get(key).is_some() && table.get(file_key).is_some() {
            self.conflict(table, file_key, &format!("the program has `{key}` and `{file_key}`"));
        }
        match (table.text(key), file) {
            (Some(text), _) => AnswerBody::Bytes(text.text.as_bytes().to_vec()),
            (None, Some(file)) => AnswerBody::File(file),
            (None, None) => AnswerBody::Bytes(Vec::new()),
        }
    }

    pub(super) fn connection(&self, table: &Table<'_>) -> Option<Connection> {
        let target = table.text("connect")?;
        let TcpGrant { host, port, .. } = match TcpGrant::parse(target.text) {
            Ok(grant) => grant,
            Err(error) => {
                let hint = Some("as in `db.example:5432`".to_owned());
                self.problems.report(Code::Grant, &target.span, "", format!("failed to {error}"), hint);
                return None;
            }
        };
        if table.get("send").is_some() && table.get("send_hex").is_some() {
            self.conflict(table, "send_hex", "the exchange has `send` and `send_hex`");
        }
        Some(Connection {
            line: self.line(table),
            host,
            port,
            send: self.bytes(table, "send", "send_hex"),
            end: self.connection_end(table)?,
        })
    }

    fn connection_end(&self, table: &Table<'_>) -> Option<ConnectionEnd> {
        if let Some(error) = self.text(table, "error") {
            for key in ["then", "time"].into_iter().filter(|key| table.get(key).is_some()) {
                self.conflict(table, key, &format!("where there is an `error` there is no `{key}`"));
            }
            return Some(ConnectionEnd::Error(error));
        }
        Some(ConnectionEnd::Received {
            bytes: self.bytes(table, "receive", "receive_hex")?,
            silent: table.text("then").is_some_and(|then| then.text == "silence"),
            time: table.quantity("time").unwrap_or(Millis(0)),
        })
    }

    /// Bytes, as text or in hexadecimal digits.
    fn bytes(&self, table: &Table<'_>, key: &str, hex_key: &str) -> Option<Vec<u8>> {
        match table.text(key) {
            Some(text) => Some(text.text.as_bytes().to_vec()),
            None => self.hex(table, hex_key),
        }
    }

    fn line(&self, table: &Table<'_>) -> usize {
        self.source.line_of(table.span.start) + 1
    }
}
