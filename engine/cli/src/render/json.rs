//! A run for programs: one event per line on stdout. The last line is always that of `run-finished`.

use lockgate_model::RunId;
use lockgate_model::event::Event;
use serde_json::{Map, Value};

use crate::telemetry::TraceId;

/// Version of the lines.
const SCHEMA: u32 = 1;

/// What each line of a run says besides its event.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The run.
    pub(crate) run: RunId,
    /// The trace that it belongs to, if it is traced.
    pub(crate) trace: Option<TraceId>,
}

/// An event as one line. Its own fields stand as in the journal; `run`, `time` (milliseconds since 1970), `schema` and, of a run that
/// is traced, `trace_id` are added.
pub(crate) fn line(of: &Line, time: u64, event: &Event) -> String {
    match serde_json::to_value(event) {
        Ok(Value::Object(fields)) => object(of, time, fields),
        // Events are structs with string keys: they always become objects.
        _ => String::new(),
    }
}

/// An output that was written to the host.
pub(crate) fn exported(of: &Line, time: u64, from: &str, to: &str, error: Option<&str>) -> String {
    let mut fields = Map::new();
    fields.insert("event".into(), if error.is_some() { "export-failed" } else { "exported" }.into());
    fields.insert("from".into(), from.into());
    fields.insert("to".into(), to.into());
    if let Some(error) = error {
        fields.insert("error".into(), error.into());
    }
    object(of, time, fields)
}

fn object(of: &Line, time: u64, mut fields: Map<String, Value>) -> String {
    let mut text = String::from("{");
    let mut put = |key: &str, value: &Value| {
        if text.len() > 1 {
            text.push(',');
        }
        text += &format!("{}:{value}", Value::from(key));
    };
    // What one looks for first stands first.
    put("event", &fields.remove("event").unwrap_or_default());
    put("run", &Value::from(of.run.as_str()));
    for key in ["status", "digest"] {
        if let Some(value) = fields.remove(key) {
            put(key, &value);
        }
    }
    for (key, value) in &fields {
        put(key, value);
    }
    if let Some(trace) = of.trace {
        put("trace_id", &Value::from(trace.to_string()));
    }
    put("time", &Value::from(time));
    put("schema", &Value::from(SCHEMA));
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use lockgate_model::Digest;
    use lockgate_model::outcome::Status;

    use super::*;

    fn run() -> Line {
        Line { run: RunId::new("r0123456789ab").unwrap(), trace: None }
    }

    #[test]
    fn the_last_line_is_as_documented() {
        let event = Event::RunFinished { status: Status::Succeeded, digest: Some(Digest::of(b"")) };
        assert_eq!(
            line(&run(), 7, &event),
            "{\"event\":\"run-finished\",\"run\":\"r0123456789ab\",\"status\":\"succeeded\",\"digest\":\"sha256:\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"time\":7,\"schema\":1}\n"
        );
        let event = Event::RunFinished { status: Status::Errored, digest: None };
        assert!(line(&run(), 7, &event).contains("\"digest\":null"));
    }

    #[test]
    fn a_traced_run_says_so_in_every_line() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = Line { trace: crate::telemetry::TraceParent::parse(text).map(|parent| parent.trace), ..run() };
        let event = Event::RunFinished { status: Status::Errored, digest: None };
        for text in [line(&of, 7, &event), exported(&of, 7, "a.b", "c", None)] {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        }
    }

    #[test]
    fn lines_are_json() {
        let text = exported(&run(), 1, "a.b", "dist/\"x\"\n", Some("disk full"));
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["to"], "dist/\"x\"\n");
        assert_eq!(value["event"], "export-failed");
    }
}
