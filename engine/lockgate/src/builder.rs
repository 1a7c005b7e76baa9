//! Pipelines that are built in Rust. A builder makes the text of a pipeline file, one line for each thing that was said, and that text
//! goes through the very parser that reads files: so there is one set of rules, and a problem's line leads back to what was said.

use std::fmt::Write as _;

use serde_json::Value;

use crate::error::{Class, Error};

/// A pipeline that is being built.
///
/// ```
/// use lockgate::{Input, Pipeline, Stage};
///
/// let pipeline = Pipeline::builder("release")
///     .param("version", serde_json::json!({ "type": "string", "default": "0.1.0" }))
///     .stage(Stage::new("pack").plugin("std:pack").input("src", Input::dir(".")))
///     .export("pack.archive", "dist/release.tar.zst");
/// assert!(pipeline.to_toml().unwrap().contains("[[stage]]"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    name: String,
    head: Vec<(String, Value)>,
    nodes: Vec<(&'static str, Fields)>,
    exports: Vec<(String, String)>,
}

type Fields = Vec<(String, Value)>;

/// The text of a pipeline, and what each of its lines is about.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) text: String,
    places: Vec<String>,
}

impl Built {
    /// What a line is about, from 1.
    pub(crate) fn place(&self, line: usize) -> Option<String> {
        self.places.get(line.checked_sub(1)?).cloned()
    }

    fn line(&mut self, text: &str, place: String) {
        let _ = writeln!(self.text, "{text}");
        self.places.push(place);
    }
}

impl Pipeline {
    /// Begins a pipeline of this name.
    pub fn builder(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Declares a parameter as a file does: `{ "type": "string", "pattern": ..., "default": ... }`.
    #[must_use]
    pub fn param(mut self, name: impl AsRef<str>, declaration: Value) -> Self {
        self.head.push((key(&["params", name.as_ref()]), declaration));
        self
    }

    /// Sets a limit of every node, as in `limit("fuel", "2G")`.
    #[must_use]
    pub fn limit(mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Self {
        self.head.push((key(&["limits", name.as_ref()]), value.into()));
        self
    }

    /// Declares a plugin by an alias: `"std:<name>"`, `"app:<name>"`, or a table as in a file.
    #[must_use]
    pub fn plugin(mut self, alias: impl AsRef<str>, source: impl Into<Value>) -> Self {
        self.head.push((key(&["plugins", alias.as_ref()]), source.into()));
        self
    }

    /// Sets anything else that a file says at its top: `secrets.token`, `concurrency`.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.head.push((path_key(path), value.into()));
        self
    }

    /// Adds a stage.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.nodes.push(("stage", stage.0));
        self
    }

    /// Adds a health check.
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.nodes.push(("health-check", check.0));
        self
    }

    /// Adds a canary.
    #[must_use]
    pub fn canary(mut self, canary: Canary) -> Self {
        self.nodes.push(("canary", canary.0));
        self
    }

    /// Adds an approval.
    #[must_use]
    pub fn approval(mut self, approval: Approval) -> Self {
        self.nodes.push(("approval", approval.0));
        self
    }

    /// Adds a wait.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.nodes.push(("wait", wait.0));
        self
    }

    /// Exports an output, `"<node>.<output>"`, to a path below the root after the run succeeded.
    #[must_use]
    pub fn export(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.exports.push((from.into(), to.into()));
        self
    }

    /// The pipeline as a file.
    pub fn to_toml(&self) -> Result<String, Error> {
        Ok(self.built()?.text)
    }

    pub(crate) fn built(&self) -> Result<Built, Error> {
        let name =
            format!("{}.toml", self.name.replace(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c), "-"));
        let mut built = Built { name, text: String::new(), places: Vec::new() };
        built.line("schema = 1", "the pipeline".to_owned());
        let title = inline(&Value::from(self.name.as_str()), "the pipeline")?;
        built.line(&format!("name = {title}"), "the pipeline, `name`".to_owned());
        for (path, value) in &self.head {
            let place = format!("the pipeline, `{path}`");
            let text = format!("{path} = {}", inline(value, &place)?);
            built.line(&text, place);
        }
        for (kind, fields) in &self.nodes {
            let id = fields.iter().find(|(name, _)| name == "id").and_then(|(_, id)| id.as_str()).unwrap_or_default();
            let node = format!("{kind} `{}`", crate::wiring::text::clean_line(id));
            built.line("", node.clone());
            built.line(&format!("[[{kind}]]"), node.clone());
            for (path, value) in fields {
                let place = format!("{node}, `{path}`");
                let text = format!("{path} = {}", inline(value, &place)?);
                built.line(&text, place);
            }
        }
        for (from, to) in &self.exports {
            let export = "export".to_owned();
            built.line("", export.clone());
            built.line("[[export]]", export);
            for (name, value) in [("from", from), ("to", to)] {
                let text = format!("{name} = {}", inline(&Value::from(value.as_str()), "export")?);
                built.line(&text, format!("export, `{name}`"));
            }
        }
        Ok(built)
    }
}

/// What a node reads.
#[derive(Debug, Clone)]
pub struct Input(Value);

impl Input {
    /// A directory below the root, as a snapshot of what it holds when the run starts.
    pub fn dir(path: impl Into<String>) -> Self {
        Self(serde_json::json!({ "dir": path.into() }))
    }

    /// A file below the root, likewise.
    pub fn file(path: impl Into<String>) -> Self {
        Self(serde_json::json!({ "file": path.into() }))
    }

    /// An output of another node, or one of its inputs: `"<node>.<name>"`. That node runs before.
    pub fn of(from: impl Into<String>) -> Self {
        Self(Value::String(from.into()))
    }

    /// The same directory, of which only files that fit one of the globs are taken.
    #[must_use]
    pub fn include<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        if let Value::Object(table) = &mut self.0 {
            table.insert("include".to_owned(), globs.into_iter().map(Into::into).collect::<Vec<String>>().into());
        }
        self
    }
}

macro_rules! nodes {
    ($($(#[doc = $doc:literal])+ $node:ident { $($rest:tt)* })+) => {
        $($(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $node(Fields);

        impl $node {
            /// Begins it, with the id that other nodes name it by.
            pub fn new(id: impl Into<String>) -> Self {
                Self(vec![("id".to_owned(), Value::String(id.into()))])
            }

            /// Sets anything that a file says of it, by its key: `set("retry", json!({ "attempts": 3 }))`.
            #[must_use]
            pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
                self.0.push((path_key(path), value.into()));
                self
            }

            /// Lets it begin after these nodes, without data of theirs.
            #[must_use]
            pub fn after<S: Into<String>>(self, nodes: impl IntoIterator<Item = S>) -> Self {
                let nodes: Vec<String> = nodes.into_iter().map(Into::into).collect();
                self.set("after", nodes)
            }

            /// Runs it only where an expression over parameters and nodes before is true.
            #[must_use]
            pub fn when(self, expression: impl Into<String>) -> Self {
                self.set("when", expression.into())
            }

            nodes!(@ $($rest)*);
        })+
    };
    (@ executed) => {
        /// Names its plugin: `"std:<name>"`, `"app:<name>"`, or an alias.
        #[must_use]
        pub fn plugin(self, plugin: impl Into<String>) -> Self {
            self.set("plugin", plugin.into())
        }

        /// Adds an input.
        #[must_use]
        pub fn input(mut self, name: impl AsRef<str>, input: Input) -> Self {
            self.0.push((key(&["inputs", name.as_ref()]), input.0));
            self
        }

        /// Sets its config: an object.
        #[must_use]
        pub fn config(self, config: Value) -> Self {
            self.set("config", config)
        }

        /// Sets one of its limits, as in `limit("timeout", "5m")`.
        #[must_use]
        pub fn limit(mut self, name: impl AsRef<str>, value: impl Into<Value>) -> Self {
            self.0.push((key(&["limits", name.as_ref()]), value.into()));
            self
        }

        /// Permits exchanges over HTTP: `"GET https://example.org/path"`.
        #[must_use]
        pub fn grant_http<S: Into<String>>(self, requests: impl IntoIterator<Item = S>) -> Self {
            let requests: Vec<String> = requests.into_iter().map(Into::into).collect();
            self.set("grants.http", requests)
        }

        /// Permits programs, each as the table that a file has: `{ "program": "git", "arguments": ["describe"] }`.
        #[must_use]
        pub fn grant_process(self, programs: impl IntoIterator<Item = Value>) -> Self {
            self.set("grants.process", Value::Array(programs.into_iter().collect()))
        }

        /// Permits what its node kind, `app:<name>`, does beyond computing.
        #[must_use]
        pub fn grant_app(self) -> Self {
            self.set("grants.app", true)
        }
    };
    (@ waits) => {};
}

nodes! {
    /// A stage: makes outputs of inputs.
    Stage { executed }
    /// A health check.
    HealthCheck { executed }
    /// A canary.
    Canary { executed }
    /// An approval: waits for [`Engine::approve`](crate::Engine::approve) or [`Engine::reject`](crate::Engine::reject).
    Approval { waits }
    /// A wait for a time, which `set("for", "5m")` or `set("until", ...)` says.
    Wait { waits }
}

/// A dotted key of these names.
fn key(names: &[&str]) -> String {
    let quoted = |name: &&str| {
        let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if bare { (*name).to_owned() } else { serde_json::Value::from(*name).to_string().replace('\u{7f}', "\\u007F") }
    };
    names.iter().map(quoted).collect::<Vec<_>>().join(".")
}

fn path_key(path: &str) -> String {
    key(&path.split('.').collect::<Vec<_>>())
}

/// A value on one line.
fn inline(value: &Value, place: &str) -> Result<String, Error> {
    let wrong = |what: &str| {
        let place = crate::wiring::text::clean_line(place);
        Error::new(Class::Wrong, anyhow::anyhow!("write {place} as TOML: {what}"))
    };
    Ok(match value {
        Value::Null => return Err(wrong("it holds null, which TOML has not").hint("leave the key away")),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(float)) if !number.is_u64() => format!("{float:?}"),
            _ => return Err(wrong("it holds a number that is larger than TOML's")),
        },
        // JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
        Value::String(text) => Value::from(text.as_str()).to_string().replace('\u{7f}', "\\u007F"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| inline(item, place)).collect::<Result<_, _>>()?;
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let one = |(name, value): (&String, &Value)| Ok(format!("{} = {}", key(&[name]), inline(value, place)?));
            let members: Vec<_> = members.iter().map(one).collect::<Result<_, Error>>()?;
            format!("{{ {} }}", members.join(", "))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockgate_syntax::Inputs;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> lockgate_syntax::Parsed {
        let inputs = Inputs { params: &BTreeMap::new(), env: &|_| None, git: &|| Err(String::new()) };
        lockgate_syntax::parse("built.toml", text, &inputs)
    }

    /// JSON that TOML can say.
    fn json_value() -> impl Strategy<Value = Value> {
        // A dollar would begin a substitution, which is for the parser to do, not for the builder.
        let text = "[^$]{0,12}".prop_map(Value::from);
        let leaf = prop_oneof![
            text,
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|n: f64| json!(n))
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[^$]{0,8}", inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        /// What was said comes out of the parser as it was said.
        #[test]
        fn what_is_built_is_what_is_parsed(
            configs in proptest::collection::vec(proptest::collection::btree_map("[^$]{0,8}", json_value(), 0..4), 1..5),
            name in "[a-z][a-z0-9-]{0,10}",
            globs in proptest::collection::vec("[a-z*/]{1,6}", 0..3),
        ) {
            let mut pipeline = Pipeline::builder(name.clone());
            for (index, config) in configs.iter().enumerate() {
                let stage = Stage::new(format!("n{index}")).plugin("app:kind").config(json!(config)).grant_app();
                let stage = stage.limit("fuel", 1_000 + index).input("src", Input::dir("src").include(globs.clone()));
                pipeline = pipeline.stage(match index {
                    0 => stage,
                    _ => stage.input("before", Input::of(format!("n{}.out", index - 1))),
                });
            }
            let text = pipeline.to_toml().unwrap();
            let parsed = parsed(&text);
            prop_assert!(parsed.problems.is_empty(), "{:?}\n{text}", parsed.problems);
            let found = parsed.pipeline.unwrap();
            prop_assert_eq!(&found.name, &name);
            prop_assert_eq!(found.nodes.len(), configs.len());
            for (index, (node, config)) in found.nodes.iter().zip(&configs).enumerate() {
                prop_assert_eq!(node.id.as_str(), format!("n{index}"));
                prop_assert_eq!(Value::Object(node.config.clone()), json!(config));
                prop_assert!(node.grants.app && node.limits.fuel.0 == 1_000 + index as u64);
                prop_assert_eq!(node.inputs.len(), if index == 0 { 1 } else { 2 });
            }
        }
    }

    #[test]
    fn each_line_knows_what_it_is_about() {
        let pipeline = Pipeline::builder("p").stage(Stage::new("a").plugin("std:pack")).export("a.archive", "x");
        let built = pipeline.built().unwrap();
        let about: Vec<_> =
            built.text.lines().zip(&built.places).map(|(line, place)| format!("{line} <- {place}")).collect();
        let expected = [
            "schema = 1 <- the pipeline",
            "name = \"p\" <- the pipeline, `name`",
            " <- stage `a`",
            "[[stage]] <- stage `a`",
            "id = \"a\" <- stage `a`, `id`",
            "plugin = \"std:pack\" <- stage `a`, `plugin`",
            " <- export",
            "[[export]] <- export",
            "from = \"a.archive\" <- export, `from`",
            "to = \"x\" <- export, `to`",
        ];
        assert_eq!(about, expected);
        assert_eq!(built.place(6).as_deref(), Some("stage `a`, `plugin`"));
        assert_eq!((built.place(0), built.place(99)), (None, None));
    }

    #[test]
    fn what_toml_cannot_say_is_told() {
        let of = |config: Value| Pipeline::builder("p").stage(Stage::new("a").config(config)).to_toml();
        assert_eq!(of(json!({ "x": [null] })).unwrap_err().class(), Class::Wrong);
        assert_eq!(of(json!({ "x": u64::MAX })).unwrap_err().class(), Class::Wrong);
        assert!(of(json!({ "x": "\u{7f}\u{0}\n\"" })).is_ok_and(|text| text.contains(r#""\u007F\u0000\n\"""#)));
    }
}
