//! Contracts: simple rules that an answer must keep. They find the change that nobody announced, such as a field that is gone
//! or a number that became a text; they are no schema.

use std::collections::BTreeMap;

use lockgate_sdk::http::Response;
use lockgate_sdk::prelude::*;
use serde_json::Value;

/// What answers must look like. An answer counts as one violation, under the first rule that it breaks: `status`,
/// `header:<name>`, `body` (too long to be read), `json`, `field:<pointer>`.
#[config]
#[serde(default)]
#[derive(Default)]
pub struct Contract {
    /// Status codes that are allowed. None: any, and the other rules hold for 2xx.
    #[schemars(inner(range(min = 100, max = 599)))]
    pub status: Vec<u16>,
    /// Headers that must be there, with how their values begin, as in `{ content-type = "application/json" }`.
    pub headers: BTreeMap<String, String>,
    /// What must stand at JSON pointers (RFC 6901) of the body, as in `{ "/items/0/price" = "number" }`.
    pub json: BTreeMap<String, Kind>,
}

/// What stands at a place of a JSON document.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything, null too.
    Any,
    /// Null.
    Null,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// A number without a fraction.
    Integer,
    /// A text.
    String,
    /// A list.
    Array,
    /// An object.
    Object,
}

impl Kind {
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Number => value.is_number(),
            // As JSON Schema says it: 1.0 is an integer.
            Self::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
}

/// Whether an answer keeps a contract.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It does.
    Yes,
    /// It is an error, which is counted as one already.
    NotHeldAgainst,
    /// It breaks this rule.
    No(String),
}

impl Contract {
    /// Holds an answer against the rules. An error of the server (5xx) is no violation unless the contract lists its status:
    /// it counts into the error rate, which may have more patience than a contract.
    pub fn check(&self, response: &Response) -> Kept {
        let status = response.status;
        match (self.status.is_empty(), self.status.contains(&status)) {
            (_, true) => {}
            (_, false) if status >= 500 => return Kept::NotHeldAgainst,
            (true, false) if !(200..300).contains(&status) => return Kept::NotHeldAgainst,
            (true, false) => {}
            (false, false) => return Kept::No("status".into()),
        }
        for (name, begin) in &self.headers {
            if !response.header(name).is_some_and(|value| value.starts_with(begin.as_str())) {
                return Kept::No(format!("header:{}", name.to_ascii_lowercase()));
            }
        }
        if self.json.is_empty() {
            return Kept::Yes;
        }
        if response.truncated {
            return Kept::No("body".into());
        }
        let Ok(body) = response.json::<Value>() else { return Kept::No("json".into()) };
        let broken =
            self.json.iter().find(|(pointer, kind)| !body.pointer(pointer).is_some_and(|value| kind.takes(value)));
        match broken {
            Some((pointer, _)) => Kept::No(format!("field:{pointer}")),
            None => Kept::Yes,
        }
    }
}

/// Whether an answer's latency is one of a success: a status that the contract lists, or without a list 2xx and 3xx.
pub fn succeeded(contract: Option<&Contract>, status: u16) -> bool {
    match contract {
        Some(contract) if !contract.status.is_empty() => contract.status.contains(&status),
        _ => (200..400).contains(&status),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contract(value: Value) -> Contract {
        serde_json::from_value(value).unwrap()
    }

    fn answer(status: u16, body: &str) -> Response {
        let headers = vec![("Content-Type".to_owned(), b"application/json; charset=utf-8".to_vec())];
        Response { status, headers, body: body.as_bytes().to_vec(), ..Response::default() }
    }

    fn no(rule: &str) -> Kept {
        Kept::No(rule.into())
    }

    #[test]
    fn listed_statuses_are_allowed() {
        let listed = contract(json!({"status": [200, 503]}));
        assert_eq!(listed.check(&answer(200, "")), Kept::Yes);
        assert_eq!(listed.check(&answer(503, "")), Kept::Yes);
        assert_eq!(listed.check(&answer(404, "")), no("status"));
        assert_eq!(listed.check(&answer(500, "")), Kept::NotHeldAgainst);
        let any = contract(json!({"json": {"/a": "any"}}));
        assert_eq!(any.check(&answer(404, "")), Kept::NotHeldAgainst);
        assert_eq!(any.check(&answer(201, "")), no("json"));
    }

    #[test]
    fn headers_begin_as_asked() {
        let with = |value: &str| contract(json!({"headers": {"content-TYPE": value}})).check(&answer(200, ""));
        assert_eq!(with("application/json"), Kept::Yes);
        assert_eq!(with(""), Kept::Yes);
        assert_eq!(with("text/"), no("header:content-type"));
        assert_eq!(contract(json!({"headers": {"etag": ""}})).check(&answer(200, "")), no("header:etag"));
    }

    #[test]
    fn fields_are_there_and_of_their_kind() {
        let order = contract(json!({"json": {"/id": "integer", "/items/0/sku": "string"}}));
        assert_eq!(order.check(&answer(200, r#"{"id":1,"items":[{"sku":"a"}]}"#)), Kept::Yes);
        assert_eq!(order.check(&answer(200, r#"{"id":"1","items":[{"sku":"a"}]}"#)), no("field:/id"));
        assert_eq!(order.check(&answer(200, r#"{"id":1,"items":[]}"#)), no("field:/items/0/sku"));
        assert_eq!(order.check(&answer(200, "<html>")), no("json"));
        assert_eq!(order.check(&Response { truncated: true, ..answer(200, "{}") }), no("body"));
    }

    #[test]
    fn kinds_are_those_of_json() {
        let values = [json!(null), json!(true), json!(1), json!(1.5), json!(2.0), json!("x"), json!([]), json!({})];
        let taken = |kind: Kind| -> Vec<_> { values.iter().map(|value| u8::from(kind.takes(value))).collect() };
        assert_eq!(taken(Kind::Any), [1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(taken(Kind::Null), [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(taken(Kind::Boolean), [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(taken(Kind::Number), [0, 0, 1, 1, 1, 0, 0, 0]);
        assert_eq!(taken(Kind::Integer), [0, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(taken(Kind::String), [0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(taken(Kind::Array), [0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(taken(Kind::Object), [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn latencies_are_those_of_successes() {
        assert!(succeeded(None, 304) && !succeeded(None, 404) && !succeeded(None, 500));
        let listed = contract(json!({"status": [404]}));
        assert!(succeeded(Some(&listed), 404) && !succeeded(Some(&listed), 200));
        assert!(succeeded(Some(&Contract::default()), 200));
    }
}
