//! `${params.x}`, `${matrix.x}` and `${git.x}` in strings; `$${` stands for a plain `${`. A string that is one substitution of an
//! integer or boolean and nothing else becomes that integer or boolean in a config.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use lockgate_model::grant::{SecretName, SecretSource};
use lockgate_model::pipeline::{GitFacts, ParamValue};
use toml::de::DeValue;

use crate::Inputs;
use crate::params::Params;
use crate::problem::{Code, Source, cut};
use crate::report::{Problems, list, suggest};
use crate::table::{Text, Value, integer};

/// Most bytes that a file's texts and references may unfold to by substitution and matrices. A pipeline of 100,000 real nodes
/// stays far below; what passes it is a bomb.
pub(crate) const MAX_UNFOLDED: u64 = 256 << 20;
/// What one value or one edge costs besides its text.
pub(crate) const UNIT: u64 = 64;

const GIT_KEYS: [&str; 4] = ["commit", "branch", "tag", "dirty"];

/// What reading a file needs everywhere.
pub(crate) struct Context<'a> {
    pub(crate) problems: &'a Problems,
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) params: Params,
    /// The file's `[secrets]`.
    pub(crate) secrets: BTreeMap<SecretName, SecretSource>,
    git: Arc<OnceLock<Result<GitFacts, String>>>,
    left: Cell<u64>,
}

/// What of a [`Context`] several threads use.
pub(crate) struct Shared<'a> {
    source: Arc<Source>,
    inputs: &'a Inputs<'a>,
    params: &'a Params,
    secrets: &'a BTreeMap<SecretName, SecretSource>,
    git: &'a Arc<OnceLock<Result<GitFacts, String>>>,
}

/// Where substitutions of one node take their values from.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) cx: &'a Context<'a>,
    /// Values of this combination; none where there is no matrix.
    pub(crate) matrix: Option<&'a BTreeMap<String, ParamValue>>,
}

/// A string after its substitutions.
pub(crate) enum Expanded {
    Text(String),
    /// The string was one substitution.
    Value(ParamValue),
}

/// Places of parts of a string in the file.
pub(crate) type Places<'a> = dyn Fn(Range<usize>) -> Range<usize> + 'a;

impl<'a> Context<'a> {
    pub(crate) fn new(problems: &'a Problems, inputs: &'a Inputs<'a>, params: Params) -> Self {
        Self { problems, inputs, params, secrets: BTreeMap::new(), git: Arc::default(), left: Cell::new(MAX_UNFOLDED) }
    }

    /// What others read a part of the file with.
    pub(crate) fn shared(&self) -> Shared<'_> {
        let Self { problems, inputs, params, secrets, git, .. } = self;
        Shared { source: problems.source.clone(), inputs, params, secrets, git }
    }

    /// What was taken from the budget.
    pub(crate) fn cost(&self) -> u64 {
        MAX_UNFOLDED - self.left.get()
    }

    /// Takes from the budget what others took from theirs; false, and nothing is taken, where it does not last.
    pub(crate) fn take(&self, cost: u64) -> bool {
        let fits = cost < self.left.get();
        if fits {
            self.left.set(self.left.get() - cost);
        }
        fits
    }

    /// Takes from the budget; false, and one problem, once it is spent.
    pub(crate) fn charge(&self, cost: u64, span: &Range<usize>) -> bool {
        let left = self.left.get();
        if left == 0 {
            return false;
        }
        self.left.set(left.saturating_sub(cost));
        if self.left.get() == 0 {
            let message = format!("the pipeline unfolds to more than {} MiB", MAX_UNFOLDED >> 20);
            let hint =
                "by now matrices and substitutions have multiplied it: use fewer combinations, or shorter values";
            self.problems.report(Code::TooLarge, span, "reached here", message, Some(hint.to_owned()));
        }
        self.left.get() > 0
    }

    /// Whether the budget is spent: then nothing more is unfolded.
    pub(crate) fn spent(&self) -> bool {
        self.left.get() == 0
    }
}

impl Shared<'_> {
    /// Does something with a context of its own, which has the whole budget: what comes of it, and the cost. None where there was a
    /// problem.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Context<'_>) -> T) -> Option<(T, u64)> {
        let problems = Problems::new(self.source.clone());
        let context = Context {
            problems: &problems,
            inputs: self.inputs,
            params: self.params.clone(),
            secrets: self.secrets.clone(),
            git: self.git.clone(),
            left: Cell::new(MAX_UNFOLDED),
        };
        let done = work(&context);
        (problems.count() == 0).then(|| (done, context.cost()))
    }
}

impl Scope<'_> {
    /// A string after its substitutions.
    pub(crate) fn text(&self, text: &Text<'_>) -> Option<String> {
        match self.expand(text.text, &|part| text.inside(&self.cx.problems.source, part))? {
            Expanded::Text(text) => Some(text),
            Expanded::Value(value) => Some(value.to_string()),
        }
    }

    /// A value of a config as JSON, after the substitutions in its strings. None where there is a problem.
    pub(crate) fn json(&self, value: &Value<'_>) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        if !self.cx.charge(UNIT, &value.span()) {
            return None;
        }
        Some(match value.get_ref() {
            DeValue::String(text) => {
                let text = Text { text, span: value.span() };
                match self.expand(text.text, &|part| text.inside(&self.cx.problems.source, part))? {
                    Expanded::Text(text) | Expanded::Value(ParamValue::String(text)) => Json::String(text),
                    Expanded::Value(ParamValue::Integer(number)) => number.into(),
                    Expanded::Value(ParamValue::Boolean(value)) => Json::Bool(value),
                }
            }
            DeValue::Integer(number) => integer(number)?.into(),
            DeValue::Float(number) => Json::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?),
            DeValue::Boolean(value) => Json::Bool(*value),
            DeValue::Datetime(_) => return None,
            DeValue::Array(array) => {
                // All elements are walked although one is wrong, for its problems.
                let items: Vec<_> = array.iter().map(|item| self.json(item)).collect();
                Json::Array(items.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(table) => {
                let items: Vec<_> =
                    table.iter().map(|(key, item)| (key.get_ref().to_string(), self.json(item))).collect();
                Json::Object(items.into_iter().map(|(key, item)| Some((key, item?))).collect::<Option<_>>()?)
            }
        })
    }

    /// Puts values in; `places` says where a part of the string stands in the file.
    pub(crate) fn expand(&self, text: &str, places: &Places<'_>) -> Option<Expanded> {
        let mut out = String::new();
        let mut fine = true;
        let mut at = 0;
        while let Some(found) = text[at..].find('$') {
            let dollar = at + found;
            let rest = &text[dollar..];
            out += &text[at..dollar];
            if rest.starts_with("$${") {
                out += "${";
                at = dollar + 3;
            } else if rest.starts_with("${") {
                let Some(len) = rest.find('}') else {
                    let hint = "end it with `}`; for a plain `${` write `$${`".to_owned();
                    self.cx.problems.report(
                        Code::Substitution,
                        &places(dollar..dollar + 2),
                        "begins here",
                        "a substitution has no end",
                        Some(hint),
                    );
                    return None;
                };
                at = dollar + len + 1;
                match self.lookup(&rest[2..len], &places(dollar..at)) {
                    Some(value) if dollar == 0 && at == text.len() => {
                        return self.charged(value.to_string().len(), places).then_some(Expanded::Value(value));
                    }
                    Some(value) => {
                        let value = value.to_string();
                        if !self.charged(value.len(), places) {
                            return None;
                        }
                        out += &value;
                    }
                    None => fine = false,
                }
            } else {
                out.push('$');
                at = dollar + 1;
            }
        }
        out += &text[at..];
        (fine && self.charged(text.len(), places)).then_some(Expanded::Text(out))
    }

    fn charged(&self, cost: usize, places: &Places<'_>) -> bool {
        self.cx.charge(cost as u64, &places(0..1))
    }

    /// The value of `params.x`, `matrix.x` or `git.x`; none where there is a problem, reported at `span` or before.
    pub(crate) fn lookup(&self, path: &str, span: &Range<usize>) -> Option<ParamValue> {
        let path = path.trim();
        let report = |code, message: String, hint| {
            self.cx.problems.report(code, span, "", message, hint);
            None
        };
        let (root, name) = path.split_once('.').unwrap_or((path, ""));
        let shown = cut(name.to_owned(), 80);
        match root {
            "params" => match self.cx.params.values.get(name) {
                Some(value) => value.clone(),
                None => {
                    let hint = suggest(name, self.cx.params.values.keys().map(String::as_str));
                    let hint = hint.or_else(|| {
                        self.cx.params.values.is_empty().then(|| format!("declare it: `[params.{shown}]`"))
                    });
                    report(Code::UnknownParam, format!("there is no parameter `{shown}`"), hint)
                }
            },
            "matrix" => match self.matrix {
                None => report(
                    Code::Substitution,
                    format!("there is no matrix for `{}`", cut(path.to_owned(), 80)),
                    Some("matrix values exist in a node that has a `matrix`".to_owned()),
                ),
                Some(values) => match values.get(name) {
                    Some(value) => Some(value.clone()),
                    None => report(
                        Code::Substitution,
                        format!("the matrix has no key `{shown}`"),
                        suggest(name, values.keys().map(String::as_str)),
                    ),
                },
            },
            "git" => self.git(name, span),
            _ => {
                let message = format!("nothing is called `{}`", cut(path.to_owned(), 80));
                let hint =
                    "substitutions are `${params.x}`, `${matrix.x}` and `${git.x}`; for a plain `${` write `$${`";
                report(Code::Substitution, message, Some(hint.to_owned()))
            }
        }
    }

    fn git(&self, name: &str, span: &Range<usize>) -> Option<ParamValue> {
        let report = |code, message: String, hint: String| {
            self.cx.problems.report(code, span, "", message, Some(hint));
            None
        };
        if !GIT_KEYS.contains(&name) {
            let hint = suggest(name, GIT_KEYS).unwrap_or_else(|| format!("there is {}", list(&GIT_KEYS, "and")));
            return report(Code::Substitution, format!("git has no fact `{}`", cut(name.to_owned(), 80)), hint);
        }
        match self.cx.git.get_or_init(self.cx.inputs.git) {
            Err(reason) => report(
                Code::Git,
                format!("failed to read git facts: {reason}"),
                "run it where the pipeline's root is a git repository with a commit".to_owned(),
            ),
            Ok(facts) => match name {
                "commit" => Some(ParamValue::String(facts.commit.clone())),
                "dirty" => Some(ParamValue::Boolean(facts.dirty)),
                "branch" => facts.branch.clone().map(ParamValue::String).or_else(|| {
                    report(
                        Code::Git,
                        "no branch is checked out".to_owned(),
                        "check a branch out, or use `${git.commit}`".to_owned(),
                    )
                }),
                _ => facts.tag.clone().map(ParamValue::String).or_else(|| {
                    report(
                        Code::Git,
                        "no tag points to the commit".to_owned(),
                        "tag the commit, or use `${git.commit}`".to_owned(),
                    )
                }),
            },
        }
    }
}
