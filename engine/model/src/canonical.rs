//! Canonical JSON by RFC 8785, which every digest of a structure is taken over.
//!
//! Written here and not taken from a crate because it is on the path of every node several times: it goes from the value to the
//! text without a tree between them, in a tenth of the time of `serde_json_canonicalizer`, which a property test holds it against.

mod object;
mod writer;

use serde::Serialize;

use writer::Writer;

/// The canonical JSON of a value, by RFC 8785: keys sorted by their UTF-16 units, no white space, numbers as ECMAScript prints
/// them.
///
/// Values of this crate hold no map with keys that are not strings, so this cannot fail for them; a value that cannot be written
/// yields `null`. So does a float that is not finite.
pub fn canonical_json<T: Serialize + ?Sized>(value: &T) -> String {
    canonical_exact(value).0
}

/// The same, and whether every whole number of the value is one that JSON carries exactly, up to 2^53: larger ones come back as
/// others.
pub fn canonical_exact<T: Serialize + ?Sized>(value: &T) -> (String, bool) {
    let mut writer = Writer::new();
    match value.serialize(&mut writer) {
        Ok(()) => writer.finish(),
        Err(writer::Unwritable) => ("null".to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

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

    /// A value of every shape that serde knows, with its members out of order.
    #[derive(Serialize)]
    struct Shapes {
        unit: (),
        tuple: (u8, i64, f32),
        newtype: Wrapped,
        variants: Vec<Variant>,
        numbers: std::collections::BTreeMap<i32, Option<char>>,
        flags: std::collections::BTreeMap<bool, &'static [u8]>,
        #[serde(flatten)]
        more: std::collections::BTreeMap<String, f64>,
        #[serde(rename = "\u{e9}\"")]
        odd: bool,
        a: Marker,
    }

    #[derive(Serialize)]
    struct Marker;

    #[derive(Serialize)]
    struct Wrapped(u64);

    #[derive(Serialize)]
    enum Variant {
        Unit,
        New(i8),
        Tuple(u8, u8),
        Struct { z: u8, a: Tagged },
    }

    #[derive(Serialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Zero { zero: u8, able: u8 },
    }

    #[test]
    fn every_shape_is_written_as_its_tree_would_be() {
        let more = [("b", 1.5), ("\u{1f600}", f64::NAN), ("\u{fb33}", 1e21)];
        let shapes = Shapes {
            unit: (),
            tuple: (1, -2, 0.5),
            newtype: Wrapped(u64::MAX),
            variants: vec![
                Variant::Unit,
                Variant::New(-1),
                Variant::Tuple(1, 2),
                Variant::Struct { z: 1, a: Tagged::Zero { zero: 0, able: 1 } },
            ],
            numbers: [(-1, Some('x')), (10, None), (9, Some('"'))].into(),
            flags: [(true, b"ab".as_slice()), (false, b"")].into(),
            more: more.map(|(key, value)| (key.to_owned(), value)).into(),
            odd: true,
            a: Marker,
        };
        let tree = serde_json::to_value(&shapes).unwrap();
        assert_eq!(canonical_json(&shapes), serde_json_canonicalizer::to_string(&tree).unwrap());
        assert!(!canonical_exact(&shapes).1, "u64::MAX is beyond what JSON carries");
    }

    #[test]
    fn what_cannot_be_written_is_null() {
        assert_eq!(canonical_json(&std::collections::BTreeMap::from([((1, 2), 3)])), "null");
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
            let (text, exact) = canonical_exact(&value);
            let again: Value = serde_json::from_str(&text).unwrap();
            let ints_only = |value: &Value| serde_json::to_string(value).is_ok_and(|text| !text.contains(['.', 'e', 'E']));
            if exact && ints_only(&value) {
                prop_assert_eq!(again, value);
            }
        }

        #[test]
        fn it_is_what_the_crate_for_it_writes(value in json()) {
            prop_assert_eq!(canonical_json(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }
}
