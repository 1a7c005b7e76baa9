//! Canonical JSON by RFC 8785, which every digest of a structure is taken over.
//!
//! Written here and not taken from a crate because it is on the path of every node: over `serde_json::Value` it takes a quarter
//! of the time of `serde_json_canonicalizer`, which a property test holds it against.

use serde::Serialize;
use serde_json::Value;

/// The canonical JSON of a value, by RFC 8785: keys sorted by their UTF-16 units, no white space, numbers as ECMAScript prints
/// them.
///
/// Values of this crate hold no non-finite float and no map with keys that are not strings, so this cannot fail for them;
/// a value of another kind that cannot be written yields `null`.
pub fn canonical_json<T: Serialize>(value: &T) -> String {
    canonical_value(&serde_json::to_value(value).unwrap_or(Value::Null))
}

/// The canonical JSON of a value that is JSON already.
pub fn canonical_value(value: &Value) -> String {
    let mut text = String::with_capacity(256);
    write(value, &mut text);
    text
}

/// Whether every whole number of a value is one that JSON carries exactly, up to 2^53: larger ones come back as others.
pub fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => true,
        Value::Number(number) => {
            number.as_u64().is_some_and(|n| n <= EXACT) || number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT)
        }
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// The largest whole number up to which a double holds each.
const EXACT: u64 = 1 << 53;

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            // Sorted already where serde_json keeps its maps sorted, which another crate of the build may have turned off.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| {
                if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
            });
            out.push('{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// Whole numbers that a double holds exactly are printed as they are; all others as ECMAScript prints the nearest double.
fn write_number(number: &serde_json::Number, out: &mut String) {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) if n <= EXACT => out.push_str(&n.to_string()),
        (_, Some(n)) if n.unsigned_abs() <= EXACT => out.push_str(&n.to_string()),
        _ => out.push_str(ryu_js::Buffer::new().format(number.as_f64().unwrap_or_default())),
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            8 => "\\b",
            9 => "\\t",
            10 => "\\n",
            12 => "\\f",
            13 => "\\r",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match short {
            "" => out.push_str(&format!("\\u{byte:04x}")),
            short => out.push_str(short),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_8785_comes_out() {
        // Section 3.2.2 and 3.2.3.
        let value: Value = serde_json::from_str(
            r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#,
        )
        .unwrap();
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical_json(&value), expected);
    }

    #[test]
    fn keys_are_sorted_by_utf_16_units() {
        let value = serde_json::json!({"\u{fb33}": 1, "\u{1f600}": 2, "a": 3});
        assert_eq!(canonical_json(&value), "{\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_exact_comes_back(value in json()) {
            let again: Value = serde_json::from_str(&canonical_json(&value)).unwrap();
            let ints_only = |value: &Value| serde_json::to_string(value).is_ok_and(|text| !text.contains(['.', 'e', 'E']));
            if is_exact(&value) && ints_only(&value) {
                prop_assert_eq!(again, value);
            }
        }

        #[test]
        fn it_is_what_the_crate_for_it_writes(value in json()) {
            prop_assert_eq!(canonical_json(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }
}
