//! A run for programs: one event per line on stdout. The last line is that of `run-finished`, or of `run-waiting` where the run waits.
//!
//! What stands in a line is said once: by the types of `lockgate_model::event` and by those below. The schema that
//! `lockgate schema events` prints is made of them, and a test holds lines of every kind against it.

use lockgate_model::RunId;
use lockgate_model::event::Event;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::telemetry::TraceId;

/// Version of the lines. Fields and kinds of events are added under the same number; one that is taken away or means something
/// else raises it.
pub(crate) const SCHEMA: u32 = 1;

/// What each line of a run says besides its event.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// The run.
    pub(crate) run: RunId,
    /// The trace that it belongs to, if it is traced.
    pub(crate) trace: Option<TraceId>,
}

/// What the command line does after the last node ended, and no journal records.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Export<'a> {
    /// An output was written to the host.
    Exported {
        /// The output: `<node>.<output>`.
        from: &'a str,
        /// The path, as the pipeline names it.
        to: &'a str,
    },
    /// An output was not written to the host.
    ExportFailed {
        /// The output: `<node>.<output>`.
        from: &'a str,
        /// The path, as the pipeline names it.
        to: &'a str,
        /// Why.
        error: &'a str,
    },
}

/// What a line of `node-finished` says besides the event: figures that people would compute from it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Figures {
    /// Fuel of the call in percent of the budget in force; only if the call returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuel_percent: Option<f64>,
    /// The most of its budget that the node ever used, over the last runs of the same pipeline; only in `lockgate show`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fuel_worst: Option<Worst>,
}

/// The most of its budget that a node ever used.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Worst {
    /// In percent of the budget that was in force.
    pub(crate) percent: f64,
    /// The run in which that was.
    pub(crate) run: RunId,
    /// How many runs were looked at.
    pub(crate) runs: u32,
}

/// Used of a budget in percent; none where there was no budget.
pub(crate) fn percent(used: u64, limit: u64) -> Option<f64> {
    // Four digits behind the point tell one instruction of a million from none, and keep lines short.
    (limit > 0).then(|| (used as f64 * 1e6 / limit as f64).round() / 1e4)
}

/// An event as one line. Its own fields stand as in the journal; `run`, `time` (milliseconds since 1970), `schema` and, of
/// a run that is traced, `trace_id` are added.
pub(crate) fn line(of: &Line, time: u64, event: &Event, worst: Option<Worst>) -> String {
    let mut fields = fields(event);
    if let Event::NodeFinished { receipt, facts, .. } = event {
        let fuel_percent = receipt.fuel.and_then(|fuel| percent(fuel, facts.fuel_limit));
        fields.extend(self::fields(&Figures { fuel_percent, fuel_worst: worst }));
    }
    object(of, time, fields)
}

/// What became of an export, as one line.
pub(crate) fn exported(of: &Line, time: u64, export: &Export<'_>) -> String {
    object(of, time, fields(export))
}

/// The JSON Schema of lines. It is open: a reader has to bear with fields that it does not know.
pub(crate) fn events_schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let (event, export) = (generator.subschema_for::<Event>(), generator.subschema_for::<Export<'_>>());
    let (run, figures) = (generator.subschema_for::<RunId>(), generator.subschema_for::<Figures>());
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lockgate event",
        "description": "One line of `lockgate run --format json` or `lockgate show --format json`.",
        "type": "object",
        "properties": {
            "run": run,
            "time": { "type": "integer", "minimum": 0, "description": "When, in milliseconds since 1970." },
            "schema": { "const": SCHEMA, "description": "Version of this format." },
            "trace_id": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The trace of the run, if it is traced." },
        },
        "required": ["event", "run", "time", "schema"],
        "oneOf": [event, export],
        "if": { "properties": { "event": { "const": "node-finished" } } },
        "then": figures,
        "$defs": generator.take_definitions(true),
    });
    open(&mut schema);
    schema
}

/// The JSON Schema of a type that is printed; open, like that of events.
pub(crate) fn schema_of<T: JsonSchema>(title: &str, description: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema["description"] = description.into();
    open(&mut schema);
    schema
}

/// Takes away that objects are closed: the journal refuses fields that it does not know, readers of lines must not.
pub(crate) fn open(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|key, value| key != "additionalProperties" || *value != Value::Bool(false));
            fields.values_mut().for_each(open);
        }
        Value::Array(values) => values.iter_mut().for_each(open),
        _ => {}
    }
}

fn fields(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => fields,
        // Events are structs with string keys: they always become objects.
        _ => Map::new(),
    }
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
    use std::collections::BTreeSet;

    use lockgate_model::Digest;
    use lockgate_model::outcome::Status;

    use super::super::samples;
    use super::*;

    fn run() -> Line {
        Line { run: RunId::new("r0123456789ab").unwrap(), trace: None }
    }

    /// The schema with every object closed: nothing may stand in a line that it does not describe.
    fn closed() -> Value {
        fn close(schema: &mut Value) {
            if let Value::Object(fields) = schema {
                let is_variant = fields.get("properties").is_some_and(|properties| properties.get("event").is_some());
                if fields.contains_key("properties") && !is_variant {
                    fields.insert("additionalProperties".into(), false.into());
                }
                fields.values_mut().for_each(close);
            } else if let Value::Array(values) = schema {
                values.iter_mut().for_each(close);
            }
        }
        let mut schema = events_schema();
        let Some(defs) = schema["$defs"].as_object_mut() else { panic!("definitions") };
        let figures = defs.remove("Figures").unwrap();
        defs.values_mut().for_each(close);
        defs.insert("Figures".into(), figures);
        schema["unevaluatedProperties"] = false.into();
        schema
    }

    #[test]
    fn the_last_line_is_as_documented() {
        let event = Event::RunFinished { status: Status::Succeeded, digest: Some(Digest::of(b"")) };
        assert_eq!(
            line(&run(), 7, &event, None),
            "{\"event\":\"run-finished\",\"run\":\"r0123456789ab\",\"status\":\"succeeded\",\"digest\":\"sha256:\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\",\"time\":7,\"schema\":1}\n"
        );
        let event = Event::RunFinished { status: Status::Errored, digest: None };
        assert!(line(&run(), 7, &event, None).contains("\"digest\":null"));
    }

    #[test]
    fn a_traced_run_says_so_in_every_line() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let of = Line { trace: crate::telemetry::TraceParent::parse(text).map(|parent| parent.trace), ..run() };
        let event = Event::RunFinished { status: Status::Errored, digest: None };
        for text in [line(&of, 7, &event, None), exported(&of, 7, &Export::Exported { from: "a.b", to: "c" })] {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
        }
    }

    #[test]
    fn lines_are_json() {
        let text = exported(&run(), 1, &Export::ExportFailed { from: "a.b", to: "dist/\"x\"\n", error: "disk full" });
        assert_eq!(text.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["to"], "dist/\"x\"\n");
        assert_eq!(value["event"], "export-failed");
    }

    #[test]
    fn the_schema_describes_every_line_and_nothing_more() {
        let worst = Worst { percent: 75.0, run: run().run, runs: 3 };
        let mut lines: Vec<String> =
            samples::events().iter().map(|event| line(&run(), 1, event, Some(worst.clone()))).collect();
        lines.push(exported(&run(), 1, &Export::Exported { from: "a.b", to: "c" }));
        lines.push(exported(&run(), 1, &Export::ExportFailed { from: "a.b", to: "c", error: "disk full" }));
        let values: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for schema in [events_schema(), closed()] {
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            for value in &values {
                let errors: Vec<_> =
                    validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
                assert!(errors.is_empty(), "{value:#}\n{errors:#?}");
            }
        }
        let described: BTreeSet<String> = kinds(&events_schema()["$defs"]);
        let seen: BTreeSet<String> = values.iter().map(|value| value["event"].as_str().unwrap().to_owned()).collect();
        assert_eq!(seen, described, "an event has no sample in `samples::events`");
    }

    fn kinds(schema: &Value) -> BTreeSet<String> {
        let mut kinds = BTreeSet::new();
        if let Some(kind) = schema["properties"]["event"]["const"].as_str() {
            kinds.insert(kind.to_owned());
        }
        let below: Vec<&Value> = match schema {
            Value::Object(fields) => fields.values().collect(),
            Value::Array(values) => values.iter().collect(),
            _ => Vec::new(),
        };
        kinds.extend(below.into_iter().flat_map(kinds_of));
        kinds
    }

    fn kinds_of(schema: &Value) -> BTreeSet<String> {
        kinds(schema)
    }

    #[test]
    fn the_schema_refuses_what_is_no_line() {
        let validator = jsonschema::draft202012::new(&events_schema()).unwrap();
        let good = line(&run(), 7, &Event::RunFinished { status: Status::Succeeded, digest: None }, None);
        let good: Value = serde_json::from_str(&good).unwrap();
        assert!(validator.is_valid(&good));
        for (key, value) in [
            ("event", json!("run-vanished")),
            ("status", json!("fine")),
            ("digest", json!("sha256:12")),
            ("schema", json!(2)),
            ("time", json!(-1)),
            ("run", json!("")),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(!validator.is_valid(&bad), "{bad}");
            bad.as_object_mut().unwrap().remove(key);
            assert!(!validator.is_valid(&bad), "{bad}");
        }
        let mut more = good;
        more["later"] = json!(1);
        assert!(validator.is_valid(&more), "readers have to bear with new fields");
    }

    #[test]
    fn percent_of_no_budget_is_nothing() {
        assert_eq!(percent(1, 0), None);
        assert_eq!(percent(1, 3), Some(33.3333));
        assert_eq!(percent(3, 2), Some(150.0));
    }
}
