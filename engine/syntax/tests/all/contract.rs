//! Plugins beside other versions of themselves: what changed, and whether the one can take the other's place. The judge of the latter is
//! `jsonschema`: what is called compatible takes every config that the old one took.

use lockgate_model::manifest::{Manifest, Port, PortKind, Ports, World};
use lockgate_syntax::contract::{Obstacle, changes, compatible, subsumes};
use proptest::prelude::*;
use serde_json::{Value, json};

fn found(old: &Value, new: &Value) -> Vec<String> {
    subsumes(old, new).iter().map(text).collect()
}

fn text(obstacle: &Obstacle) -> String {
    let Obstacle { path, reason, breaks } = obstacle;
    format!("{}{path} {reason}", if *breaks { "" } else { "? " })
}

fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

#[test]
fn every_narrowing_is_named() {
    let cases: [(Value, Value, &[&str]); 30] = [
        (object(json!({ "a": {} })), object(json!({})), &["config.a is no longer taken"]),
        (object(json!({})), object(json!({ "a": { "type": "string" } })), &[]),
        (
            json!({ "properties": { "a": {} } }),
            json!({ "properties": { "a": {} }, "required": ["a", "b"] }),
            &["config.a is required now", "config.b is new, and required"],
        ),
        (json!({ "type": "object" }), object(json!({})), &["config no longer takes members that it does not know"]),
        (
            object(json!({ "a": { "type": ["string", "integer"] } })),
            object(json!({ "a": { "type": "string" } })),
            &["config.a is no longer an integer"],
        ),
        (object(json!({ "a": { "type": "integer" } })), object(json!({ "a": { "type": "number" } })), &[]),
        (
            object(json!({ "a": { "type": "number" } })),
            object(json!({ "a": { "type": "integer" } })),
            &["config.a takes only whole numbers now"],
        ),
        (
            object(json!({ "a": { "enum": ["x", "y"] } })),
            object(json!({ "a": { "enum": ["x", "z"] } })),
            &["config.a no longer takes \"y\""],
        ),
        (
            object(json!({ "a": { "enum": ["x", "y"] } })),
            object(
                json!({ "a": { "oneOf": [{ "const": "x" }, { "const": "y", "description": "Why." }, { "const": "z" }] } }),
            ),
            &[],
        ),
        (
            object(json!({ "a": { "type": "string" } })),
            object(json!({ "a": { "enum": ["x"] } })),
            &["config.a takes only \"x\" now"],
        ),
        (
            object(json!({ "a": { "enum": ["x"] } })),
            object(json!({ "a": { "type": "string", "minLength": 2 } })),
            &["config.a no longer takes \"x\""],
        ),
        (
            object(json!({ "a": { "type": "integer", "minimum": 1 } })),
            object(json!({ "a": { "type": "integer", "minimum": 2 } })),
            &["config.a must be at least 2 now"],
        ),
        (
            object(json!({ "a": { "type": "integer", "exclusiveMinimum": 1 } })),
            object(json!({ "a": { "type": "integer", "minimum": 2 } })),
            &[],
        ),
        (
            object(json!({ "a": { "type": "number", "exclusiveMinimum": 1 } })),
            object(json!({ "a": { "type": "number", "minimum": 2 } })),
            &["config.a must be at least 2 now"],
        ),
        (
            object(json!({ "a": { "type": "integer" } })),
            object(json!({ "a": { "type": "integer", "maximum": 9 } })),
            &["config.a must be at most 9 now"],
        ),
        (
            object(json!({ "a": { "multipleOf": 6 } })),
            object(json!({ "a": { "multipleOf": 4 } })),
            &["config.a must be a multiple of 4 now"],
        ),
        (
            object(json!({ "a": { "type": "integer", "multipleOf": 6 } })),
            object(json!({ "a": { "type": "integer", "multipleOf": 3 } })),
            &[],
        ),
        (
            object(json!({ "a": { "type": "string", "maxLength": 8 } })),
            object(json!({ "a": { "type": "string", "maxLength": 7 } })),
            &["config.a may have at most 7 characters now"],
        ),
        (
            object(json!({ "a": { "type": "string" } })),
            object(json!({ "a": { "type": "string", "pattern": "^a" } })),
            &["config.a must match \"^a\" now"],
        ),
        (
            object(json!({ "a": { "type": "string", "pattern": "^ab" } })),
            object(json!({ "a": { "type": "string", "pattern": "^a" } })),
            &["? config.a must match another pattern now, \"^a\""],
        ),
        (
            object(json!({ "a": { "type": "array", "items": { "type": "string" } } })),
            object(
                json!({ "a": { "type": "array", "items": { "type": "integer" }, "minItems": 1, "uniqueItems": true } }),
            ),
            &[
                "config.a may hold no element twice now",
                "config.a must have at least 1 element now",
                "config.a[] is no longer a string",
            ],
        ),
        (
            json!({ "additionalProperties": { "type": ["string", "integer"] } }),
            json!({ "additionalProperties": { "type": "string" } }),
            &["config.* is no longer an integer"],
        ),
        (
            json!({ "properties": { "by": { "$ref": "#/$defs/By" } }, "$defs": { "By": { "type": "integer" } } }),
            json!({ "properties": { "by": { "$ref": "#/$defs/To", "description": "x" } }, "$defs": { "To": { "type": "integer", "title": "y" } } }),
            &[],
        ),
        (
            object(json!({ "a": { "type": ["string", "null"], "default": null } })),
            object(json!({ "a": { "type": "string" } })),
            &[],
        ),
        (
            object(json!({ "a": { "anyOf": [{ "type": "string" }, { "type": "array" }] } })),
            object(
                json!({ "a": { "anyOf": [{ "type": "array", "maxItems": 2 }, { "type": "string" }, { "type": "integer" }] } }),
            ),
            &["config.a may have at most 2 elements now"],
        ),
        (
            object(json!({ "a": { "oneOf": [
                { "type": "object", "properties": { "kind": { "const": "x" }, "n": { "type": "integer" } }, "required": ["kind"] },
                { "type": "object", "properties": { "kind": { "const": "y" } }, "required": ["kind"] },
            ] } })),
            object(json!({ "a": { "oneOf": [
                { "type": "object", "properties": { "kind": { "const": "y" } }, "required": ["kind"] },
                { "type": "object", "properties": { "kind": { "const": "x" }, "n": { "type": "integer", "maximum": 3 } }, "required": ["kind"] },
                { "type": "object", "properties": { "kind": { "const": "z" } }, "required": ["kind"] },
            ] } })),
            &["config.a.n must be at most 3 now"],
        ),
        (
            object(json!({ "a": { "oneOf": [{ "type": "integer" }] } })),
            object(json!({ "a": { "oneOf": [{ "type": "integer" }, { "type": "number" }] } })),
            &["? config.a may be several of its alternatives at once now, which is refused"],
        ),
        (
            object(json!({ "a": {} })),
            object(json!({ "a": { "not": { "type": "string" } } })),
            &["? config.a cannot be compared: it uses `not`"],
        ),
        (
            object(json!({ "a": { "not": { "const": 1 } } })),
            object(json!({ "a": { "not": { "const": 1 }, "title": "x" } })),
            &[],
        ),
        (
            json!({ "$ref": "#" }),
            json!({ "type": "object" }),
            &["? config cannot be compared with the old schema: it refers to itself"],
        ),
    ];
    for (old, new, expected) in cases {
        assert_eq!(found(&old, &new), expected, "{old} to {new}");
        assert!(found(&old, &old).is_empty() && found(&new, &new).is_empty());
    }
}

fn manifest(change: impl FnOnce(&mut Manifest)) -> Manifest {
    let port =
        |name: &str, kind, optional| Port { name: name.parse().unwrap(), kind, optional, summary: String::new() };
    let mut manifest = Manifest {
        world: World::Stage,
        name: "scan".into(),
        version: "0.1.0".into(),
        summary: "scans".into(),
        config_schema: object(json!({ "mode": { "enum": ["fast", "small"], "default": "fast" } })),
        inputs: Ports {
            named: vec![port("src", PortKind::Tree, false), port("rules", PortKind::Blob, true)],
            open: None,
        },
        outputs: Ports { named: vec![port("report", PortKind::Blob, false)], open: None },
        effects: vec!["http".into()],
        optional_effects: Vec::new(),
        reads_time: false,
    };
    change(&mut manifest);
    manifest
}

#[test]
fn ports_effects_and_worlds_count() {
    let old = manifest(|_| ());
    let check = |change: fn(&mut Manifest)| {
        let new = manifest(change);
        let obstacles: Vec<_> = compatible(&old, &new).iter().map(text).collect();
        assert_eq!(obstacles.is_empty(), compatible(&new, &new) == compatible(&old, &new));
        assert!(!changes(&old, &new).is_empty(), "{obstacles:?}");
        obstacles
    };
    assert!(compatible(&old, &old).is_empty() && changes(&old, &old).is_empty());
    assert_eq!(
        check(|m| m.world = World::HealthCheck),
        ["world is `health-check`, was `stage`: nodes name their kind"]
    );
    assert_eq!(
        check(|m| m.effects.push("process".into())),
        ["effects asks for `process`, which pipelines do not grant it"]
    );
    assert!(check(|m| m.effects.push("clock".into())).is_empty());
    assert!(check(|m| m.effects.clear()).is_empty());
    // What it can do without, no pipeline has to grant; what it needs from now on, each has to.
    let optional = |m: &mut Manifest| {
        m.effects.push("process".into());
        m.optional_effects.push("process".into());
    };
    assert!(check(optional).is_empty());
    let mut old = old.clone();
    optional(&mut old);
    let mut new = old.clone();
    new.optional_effects.clear();
    assert_eq!(compatible(&old, &new).len(), 1);
    assert_eq!(check(|m| drop(m.inputs.named.remove(1))), ["input rules is gone"]);
    assert_eq!(check(|m| m.inputs.named[1].optional = false), ["input rules must be there now"]);
    assert_eq!(check(|m| m.inputs.named[0].kind = PortKind::Blob), ["input src takes a blob, took a tree"]);
    assert!(check(|m| m.inputs.named[0].kind = PortKind::Any).is_empty());
    assert!(check(|m| m.inputs.open = Some(PortKind::Any)).is_empty());
    assert_eq!(
        check(|m| m.inputs.named.push(Port {
            name: "more".parse().unwrap(),
            kind: PortKind::Any,
            optional: false,
            summary: String::new()
        })),
        ["input more is new, and must be there"]
    );
    assert_eq!(check(|m| m.outputs.named.clear()), ["output report is gone"]);
    assert_eq!(check(|m| m.outputs.named[0].optional = true), ["output report may be missing now"]);
    assert_eq!(check(|m| m.outputs.named[0].kind = PortKind::Any), ["output report is either kind, was a blob"]);
    assert!(check(|m| m.version = "0.2.0".into()).is_empty());
    let open = manifest(|m| (m.inputs.open, m.outputs.open) = (Some(PortKind::Any), Some(PortKind::Blob)));
    let shut: Vec<_> = compatible(&open, &old).iter().map(text).collect();
    assert_eq!(shut, ["other inputs are no longer taken", "other outputs are no longer made"]);
}

#[test]
fn changes_are_named_with_both_sides() {
    let old = manifest(|_| ());
    let new = manifest(|m| {
        m.version = "0.2.0".into();
        m.inputs.named[1].optional = false;
        m.outputs.open = Some(PortKind::Blob);
        m.config_schema = object(json!({
            "mode": { "enum": ["fast", "exact"], "default": "exact" },
            "level": { "type": "integer", "minimum": 1 },
        }));
    });
    let shown: Vec<_> = changes(&old, &new)
        .iter()
        .map(|change| format!("{} {} {:?} {:?}", change.path, change.what, change.before, change.after))
        .collect();
    assert_eq!(
        shown,
        [
            "version  Some(\"0.1.0\") Some(\"0.2.0\")",
            "input rules required Some(\"optional\") Some(\"required\")",
            "other outputs  None Some(\"blob\")",
            "config.level  None Some(\"integer\")",
            "config.mode type Some(\"\\\"fast\\\" or \\\"small\\\"\") Some(\"\\\"fast\\\" or \\\"exact\\\"\")",
            "config.mode default Some(\"\\\"fast\\\"\") Some(\"\\\"exact\\\"\")",
        ]
    );
}

/// All pairs of one bound each: what is found is exactly what the judge finds, in both directions.
#[test]
fn bounds_are_compared_exactly() {
    let numbers: Vec<Value> = (-10..=10).map(|half| json!(f64::from(half) / 2.0)).collect();
    let texts: Vec<Value> = (0..7).map(|length| json!("x".repeat(length))).collect();
    let lists: Vec<Value> = (0..7).map(|length| json!(vec![0; length])).collect();
    let members: Vec<Value> = (0..7).map(|count| (0..count).map(|n| (n.to_string(), json!(n))).collect()).collect();
    type Bounded<'a> = (&'a str, &'a [&'a str], std::ops::Range<i64>, &'a [Value]);
    let kinds: [Bounded<'_>; 5] = [
        ("number", &["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"], -2..3, &numbers),
        ("integer", &["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"], -2..3, &numbers),
        ("string", &["minLength", "maxLength"], 0..4, &texts),
        ("array", &["minItems", "maxItems"], 0..4, &lists),
        ("object", &["minProperties", "maxProperties"], 0..4, &members),
    ];
    for (kind, keywords, bounds, values) in kinds {
        let one =
            |keyword: &&str| bounds.clone().map(|bound| json!({ "type": kind, *keyword: bound })).collect::<Vec<_>>();
        let mut schemas: Vec<Value> = keywords.iter().flat_map(one).collect();
        schemas.push(json!({ "type": kind }));
        let judges: Vec<_> = schemas.iter().map(|schema| jsonschema::draft202012::new(schema).unwrap()).collect();
        for (old, old_judge) in schemas.iter().zip(&judges) {
            for (new, new_judge) in schemas.iter().zip(&judges) {
                let taken = values.iter().all(|value| !old_judge.is_valid(value) || new_judge.is_valid(value));
                let found = subsumes(&object(json!({ "m": old })), &object(json!({ "m": new })));
                assert_eq!(found.is_empty(), taken, "{old} to {new}: {found:?}");
            }
        }
    }
}

/// Names of members: few, so that two schemas speak of the same ones.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        (-3..4i64).prop_map(Value::from),
        Just(json!(0.5)),
        Just(json!(1.0)),
        any::<bool>().prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ]
}

/// Values of the sizes that the schemas below speak of.
fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

/// Schemas as generators and people write them.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({ "type": "boolean" })),
        Just(json!({ "type": ["string", "null"] })),
        prop::sample::subsequence(vec!["string", "integer", "boolean", "null", "number", "array"], 1..4)
            .prop_map(|types| json!({ "type": types })),
        (
            prop::sample::select(vec!["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]),
            -2..3i64,
            any::<bool>()
        )
            .prop_map(
                |(keyword, bound, whole)| json!({ "type": if whole { "integer" } else { "number" }, keyword: bound })
            ),
        (1..4i64).prop_map(|step| json!({ "type": "integer", "multipleOf": step })),
        (0..3u8, 0..4u8).prop_map(|(least, most)| json!({ "type": "string", "minLength": least, "maxLength": most })),
        prop::sample::select(vec!["^a", "b$", "^a*$"])
            .prop_map(|pattern| json!({ "type": "string", "pattern": pattern })),
        prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({ "enum": values })),
        prop::collection::vec(scalar(), 1..3).prop_map(
            |values| json!({ "oneOf": values.into_iter().map(|value| json!({ "const": value })).collect::<Vec<_>>() })
        ),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members = prop::collection::btree_map(name(), inner.clone(), 0..4);
        let rest = prop_oneof![Just(json!(false)), Just(json!(true)), inner.clone()];
        let tagged = prop::collection::vec((name(), name(), inner.clone()), 1..3).prop_map(|list| {
            let one = |(tag, name, inner): (String, String, Value)| {
                json!({ "type": "object", "required": ["kind"], "properties": { "kind": { "const": tag }, name: inner } })
            };
            json!({ "oneOf": list.into_iter().map(one).collect::<Vec<_>>() })
        });
        prop_oneof![
            4 => (members, prop::option::of(rest), prop::collection::btree_set(name(), 0..3), any::<bool>()).prop_map(
                |(members, rest, required, typed)| {
                    let mut schema = json!({ "properties": members, "required": required });
                    if let Some(rest) = rest {
                        schema["additionalProperties"] = rest;
                    }
                    if typed {
                        schema["type"] = "object".into();
                    }
                    schema
                }
            ),
            2 => (inner.clone(), 0..3u8, 0..4u8, any::<bool>()).prop_map(|(items, least, most, unique)| {
                json!({ "type": "array", "items": items, "minItems": least, "maxItems": most, "uniqueItems": unique })
            }),
            2 => prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "anyOf": list })),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "oneOf": list })),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({ "allOf": list })),
            1 => inner.clone().prop_map(|inner| json!({ "not": inner })),
            1 => (0..3u8, 0..3u8).prop_map(|(least, most)| json!({ "minProperties": least, "maxProperties": most })),
            1 => inner.clone().prop_map(|inner| json!({ "patternProperties": { "^a": inner }, "additionalProperties": false })),
            1 => tagged,
            1 => inner.prop_map(|inner| json!({ "$ref": "#/$defs/x", "title": "t", "$defs": { "x": inner } })),
        ]
    })
}

/// The same schema, changed somewhere as one version changes to the next: one keyword more or another than before, or one part another.
fn changed(schema: Value) -> impl Strategy<Value = Value> {
    let count = nodes(&schema);
    let at = 0..count.max(1);
    let replaced = {
        let schema = schema.clone();
        (at.clone(), super_schema()).prop_map(move |(at, with)| {
            let mut schema = schema.clone();
            let mut left = at;
            replace(&mut schema, &mut left, &with);
            schema
        })
    };
    let merged = (at, patch()).prop_map(move |(at, with)| {
        let mut schema = schema.clone();
        let mut left = at;
        merge(&mut schema, &mut left, &with);
        schema
    });
    prop_oneof![1 => replaced, 4 => merged]
}

/// One keyword.
fn patch() -> BoxedStrategy<Value> {
    let bounds = prop::sample::select(vec![
        "minimum",
        "exclusiveMinimum",
        "maximum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "multipleOf",
    ]);
    prop_oneof![
        6 => (bounds, 1..4u8).prop_map(|(keyword, bound)| json!({ keyword: bound })),
        1 => Just(json!({ "uniqueItems": true })),
        1 => name().prop_map(|name| json!({ "required": [name] })),
        2 => prop::sample::select(vec!["string", "integer", "number", "boolean", "array", "object"]).prop_map(|name| json!({ "type": name })),
        1 => scalar().prop_map(|value| json!({ "const": value })),
        1 => prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({ "enum": values })),
        2 => prop_oneof![Just(json!(false)), super_schema()].prop_map(|inner| json!({ "additionalProperties": inner })),
        2 => super_schema().prop_map(|inner| json!({ "items": inner })),
        2 => (name(), super_schema()).prop_map(|(name, inner)| json!({ "properties": { name: inner } })),
        1 => super_schema().prop_map(|inner| json!({ "patternProperties": { "^a": inner } })),
        1 => prop::sample::select(vec!["anyOf", "oneOf", "allOf"]).prop_flat_map(|keyword| {
            prop::collection::vec(super_schema(), 1..3).prop_map(move |list| json!({ keyword: list }))
        }),
        1 => Just(json!({ "pattern": "^a" })),
        1 => Just(json!({ "propertyNames": { "enum": ["a", "b"] } })),
        1 => super_schema().prop_map(|inner| json!({ "not": inner })),
    ]
    .boxed()
}

/// Puts a keyword into one of the schemas inside of a schema.
fn merge(schema: &mut Value, left: &mut usize, with: &Value) {
    match schema {
        Value::Object(map) => {
            if *left == 0 {
                // A table of members is no schema.
                if map.keys().all(|key| !["a", "b", "c", "kind", "x", "^a"].contains(&key.as_str())) {
                    map.extend(with.as_object().unwrap().clone());
                }
                *left = usize::MAX;
                return;
            }
            *left = left.saturating_sub(1);
            map.values_mut().for_each(|inner| {
                if *left != usize::MAX {
                    merge(inner, left, with)
                }
            });
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| {
            if *left != usize::MAX {
                merge(inner, left, with)
            }
        }),
        _ => {}
    }
}

fn super_schema() -> BoxedStrategy<Value> {
    schema().boxed()
}

fn nodes(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => 1 + map.values().map(nodes).sum::<usize>(),
        Value::Array(list) => list.iter().map(nodes).sum(),
        _ => 0,
    }
}

fn replace(schema: &mut Value, left: &mut usize, with: &Value) {
    match schema {
        Value::Object(map) => {
            if *left == 0 {
                // Only what is a schema here and there is one there keeps the whole a schema.
                if map.contains_key("type") || map.contains_key("enum") || map.is_empty() {
                    *schema = with.clone();
                }
                *left = usize::MAX;
                return;
            }
            *left = left.saturating_sub(1);
            map.values_mut().for_each(|inner| {
                if *left != usize::MAX {
                    replace(inner, left, with)
                }
            });
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| {
            if *left != usize::MAX {
                replace(inner, left, with)
            }
        }),
        _ => {}
    }
}

/// Whether it is `null`, or holds it: no config can.
fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(holds_null),
        Value::Object(map) => map.values().any(holds_null),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compatible_takes_all_that_was_taken(
        (old, new) in schema().prop_flat_map(|old| (Just(old.clone()), prop_oneof![3 => changed(old), 1 => schema()])),
        configs in prop::collection::vec(prop::collection::btree_map(name(), value(), 0..4), 80),
    ) {
        let (Ok(old_judge), Ok(new_judge)) = (jsonschema::draft202012::new(&old), jsonschema::draft202012::new(&new)) else {
            return Ok(());
        };
        let found = subsumes(&old, &new);
        for config in configs {
            let config = json!(config);
            if !holds_null(&config) && old_judge.is_valid(&config) && !new_judge.is_valid(&config) {
                prop_assert!(!found.is_empty(), "{} to {}: {} is called compatible", old, new, config);
            }
        }
        prop_assert!(subsumes(&old, &old).is_empty());
    }

    /// The same inside of one member, where values of every type come up.
    #[test]
    fn a_compatible_member_takes_all_that_was_taken(
        (old, new) in schema().prop_flat_map(|old| (Just(old.clone()), prop_oneof![3 => changed(old), 1 => schema()])),
        values in prop::collection::vec(value(), 150),
    ) {
        let (Ok(old_judge), Ok(new_judge)) = (jsonschema::draft202012::new(&old), jsonschema::draft202012::new(&new)) else {
            return Ok(());
        };
        let inside = |inner: &Value| json!({ "properties": { "m": { "allOf": [inner] } }, "$defs": inner.get("$defs") });
        let found = subsumes(&inside(&old), &inside(&new));
        for value in values {
            if !holds_null(&value) && old_judge.is_valid(&value) && !new_judge.is_valid(&value) {
                prop_assert!(!found.is_empty(), "{} to {}: {} is called compatible", old, new, value);
            }
        }
    }
}
