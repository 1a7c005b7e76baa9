//! Expressions of `when`: small and total. Evaluation ends, needs no more than the expression's own size, and every wrong
//! comparison is an error that names the place.
//!
//! ```text
//! expr    = or
//! or      = and { "||" and }
//! and     = not { "&&" not }
//! not     = "!" not | compare
//! compare = operand [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") operand ]
//! operand = string | integer | decimal | "true" | "false" | "null" | list | path | "(" expr ")"
//! list    = "[" [ operand { "," operand } ] "]"
//! path    = name { "." name | "[" (integer | string) "]" }
//! ```
//!
//! A node of a matrix is written with its combination, as in `build[target=a].status`; texts stand in `'` or `"`.
//!
//! A path begins with `params`, `matrix` (both are put in before planning), `run` (`run.status`, in `finally` nodes) or a node's
//! id, followed by `status`, `verdict` or the name of an output that holds JSON, and then a path into that JSON.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, PortName};

/// Deepest nesting of an expression.
pub const MAX_EXPR_DEPTH: usize = 32;
/// Longest text of an expression in bytes.
pub const MAX_EXPR_LEN: usize = 4096;
/// Largest JSON output that an expression may look into: 1 MiB.
pub const MAX_FACT: u64 = 1 << 20;

/// An expression, parameters and matrix values already put in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expr {
    /// A value that stood there or was put in.
    Value(serde_json::Value),
    /// A list of operands.
    List(Vec<Expr>),
    /// `node.status`
    Status(NodeId),
    /// `node.verdict`
    Verdict(NodeId),
    /// `node.output.a.b[0]`
    Output {
        /// The node.
        node: NodeId,
        /// Its output.
        output: PortName,
        /// The path into its JSON.
        path: Vec<Step>,
    },
    /// `run.status`: `succeeded` or `failed`, as far as the run has come.
    RunStatus,
    /// `!a`
    Not(Box<Expr>),
    /// `a && b`; the right side is not looked at where the left one is false.
    And(Box<Expr>, Box<Expr>),
    /// `a || b`; the right side is not looked at where the left one is true.
    Or(Box<Expr>, Box<Expr>),
    /// `a == b` and the others.
    Compare(Compare, Box<Expr>, Box<Expr>),
}

/// One step of a path into JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An element of an array.
    Index(u64),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `in`: an element of a list, or a part of a text
    In,
}

/// What an expression may ask about the run. All answers are facts that the journal holds.
pub trait Facts {
    /// A final node's status, as receipts write it.
    fn status(&self, node: &NodeId) -> Option<String>;
    /// Its verdict, if it has one.
    fn verdict(&self, node: &NodeId) -> Option<String>;
    /// The JSON of its output, if there is one.
    fn output(&self, node: &NodeId, output: &PortName) -> Option<serde_json::Value>;
    /// `succeeded` or `failed`, as far as the run has come.
    fn run_status(&self) -> String;
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// `when` must be true or false.
    #[error("decide `when`: it is {0}, not true or false")]
    NotBoolean(&'static str),
    /// Two values that have no order, or `in` something that holds nothing.
    #[error("compare {left} with {right}")]
    Incomparable {
        /// Kind of the left value.
        left: &'static str,
        /// Kind of the right value.
        right: &'static str,
    },
}

impl Expr {
    /// Decides the expression. A path that leads nowhere is `null`.
    pub fn decide(&self, facts: &dyn Facts) -> Result<bool, EvalError> {
        match self.value(facts)? {
            serde_json::Value::Bool(value) => Ok(value),
            other => Err(EvalError::NotBoolean(kind(&other))),
        }
    }

    fn value(&self, facts: &dyn Facts) -> Result<serde_json::Value, EvalError> {
        use serde_json::Value;
        let text = |text: Option<String>| text.map_or(Value::Null, Value::String);
        Ok(match self {
            Self::Value(value) => value.clone(),
            Self::List(items) => Value::Array(items.iter().map(|item| item.value(facts)).collect::<Result<_, _>>()?),
            Self::Status(node) => text(facts.status(node)),
            Self::Verdict(node) => text(facts.verdict(node)),
            Self::RunStatus => Value::String(facts.run_status()),
            Self::Output { node, output, path } => {
                let mut value = facts.output(node, output).unwrap_or(Value::Null);
                for step in path {
                    let next = match step {
                        Step::Key(key) => value.get_mut(key),
                        Step::Index(index) => usize::try_from(*index).ok().and_then(|index| value.get_mut(index)),
                    };
                    value = next.map_or(Value::Null, Value::take);
                }
                value
            }
            Self::Not(inner) => Value::Bool(!inner.decide(facts)?),
            Self::And(left, right) => Value::Bool(left.decide(facts)? && right.decide(facts)?),
            Self::Or(left, right) => Value::Bool(left.decide(facts)? || right.decide(facts)?),
            Self::Compare(compare, left, right) => {
                Value::Bool(holds(*compare, &left.value(facts)?, &right.value(facts)?)?)
            }
        })
    }

    /// The nodes that it asks about.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes = Vec::new();
        self.visit(&mut |expr| match expr {
            Self::Status(node) | Self::Verdict(node) | Self::Output { node, .. } => nodes.push(node.clone()),
            _ => {}
        });
        nodes
    }

    /// The outputs that it looks into.
    pub fn outputs(&self) -> Vec<(NodeId, PortName)> {
        let mut outputs = Vec::new();
        self.visit(&mut |expr| {
            if let Self::Output { node, output, .. } = expr {
                outputs.push((node.clone(), output.clone()));
            }
        });
        outputs
    }

    fn visit(&self, see: &mut dyn FnMut(&Self)) {
        see(self);
        match self {
            Self::List(items) => items.iter().for_each(|item| item.visit(see)),
            Self::Not(inner) => inner.visit(see),
            Self::And(left, right) | Self::Or(left, right) | Self::Compare(_, left, right) => {
                left.visit(see);
                right.visit(see);
            }
            _ => {}
        }
    }
}

fn kind(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn holds(compare: Compare, left: &serde_json::Value, right: &serde_json::Value) -> Result<bool, EvalError> {
    use std::cmp::Ordering;

    use serde_json::Value;
    let incomparable = || EvalError::Incomparable { left: kind(left), right: kind(right) };
    let order = || match (left, right) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(incomparable),
        },
        _ => Err(incomparable()),
    };
    let equal = || match (left, right) {
        (Value::Number(_), Value::Number(_)) => order() == Ok(Ordering::Equal),
        _ => left == right,
    };
    Ok(match compare {
        Compare::Equal => equal(),
        Compare::NotEqual => !equal(),
        Compare::Less => order()? == Ordering::Less,
        Compare::LessEqual => order()? != Ordering::Greater,
        Compare::Greater => order()? == Ordering::Greater,
        Compare::GreaterEqual => order()? != Ordering::Less,
        Compare::In => match (left, right) {
            (_, Value::Array(items)) => {
                let mut found = false;
                for item in items {
                    found |= holds(Compare::Equal, left, item)?;
                }
                found
            }
            (Value::String(part), Value::String(whole)) => whole.contains(part.as_str()),
            _ => return Err(incomparable()),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// One node `a`: succeeded, rolled back, with an output `facts`.
    struct Known;

    impl Facts for Known {
        fn status(&self, node: &NodeId) -> Option<String> {
            (node.as_str() == "a").then(|| "succeeded".to_owned())
        }

        fn verdict(&self, node: &NodeId) -> Option<String> {
            (node.as_str() == "a").then(|| "rollback".to_owned())
        }

        fn output(&self, node: &NodeId, output: &PortName) -> Option<Value> {
            (node.as_str() == "a" && output.as_str() == "facts").then(|| json!({ "n": 3, "list": [{ "k": 1.5 }] }))
        }

        fn run_status(&self) -> String {
            "failed".to_owned()
        }
    }

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn output(path: &[Step]) -> Expr {
        Expr::Output { node: node("a"), output: PortName::new("facts").unwrap(), path: path.to_vec() }
    }

    fn compare(compare: Compare, left: Expr, right: Value) -> Result<bool, EvalError> {
        Expr::Compare(compare, Box::new(left), Box::new(Expr::Value(right))).decide(&Known)
    }

    #[test]
    fn facts_are_compared() {
        assert_eq!(compare(Compare::Equal, Expr::Status(node("a")), json!("succeeded")), Ok(true));
        assert_eq!(compare(Compare::NotEqual, Expr::Verdict(node("a")), json!("promote")), Ok(true));
        assert_eq!(compare(Compare::Equal, Expr::RunStatus, json!("failed")), Ok(true));
        assert_eq!(compare(Compare::Equal, Expr::Status(node("b")), json!(null)), Ok(true));
        assert_eq!(compare(Compare::GreaterEqual, output(&[Step::Key("n".into())]), json!(3)), Ok(true));
        let inner = [Step::Key("list".into()), Step::Index(0), Step::Key("k".into())];
        assert_eq!(compare(Compare::Less, output(&inner), json!(2)), Ok(true));
        assert_eq!(compare(Compare::Equal, output(&inner), json!(1.5)), Ok(true));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_nothing() {
        for path in
            [vec![Step::Key("x".into())], vec![Step::Index(0)], vec![Step::Key("list".into()), Step::Index(u64::MAX)]]
        {
            assert_eq!(compare(Compare::Equal, output(&path), json!(null)), Ok(true), "{path:?}");
        }
    }

    #[test]
    fn elements_and_parts_are_found() {
        let value = |value: Value| Expr::Value(value);
        assert_eq!(compare(Compare::In, value(json!("b")), json!(["a", "b"])), Ok(true));
        assert_eq!(compare(Compare::In, value(json!(1)), json!([1.0])), Ok(true));
        assert_eq!(compare(Compare::In, value(json!("x")), json!([])), Ok(false));
        assert_eq!(compare(Compare::In, value(json!("ell")), json!("hello")), Ok(true));
        assert_eq!(
            compare(Compare::In, value(json!(1)), json!("1")),
            Err(EvalError::Incomparable { left: "a number", right: "a text" })
        );
    }

    #[test]
    fn what_has_no_order_is_an_error() {
        assert!(compare(Compare::Less, Expr::Value(json!("1")), json!(2)).is_err());
        assert!(compare(Compare::Greater, Expr::Value(json!(null)), json!(null)).is_err());
        assert_eq!(compare(Compare::Equal, Expr::Value(json!("1")), json!(1)), Ok(false));
        assert_eq!(Expr::Value(json!("x")).decide(&Known), Err(EvalError::NotBoolean("a text")));
        // Beyond 2^53 integers stay exact.
        assert_eq!(
            compare(Compare::Less, Expr::Value(json!(9_007_199_254_740_992_i64)), json!(9_007_199_254_740_993_i64)),
            Ok(true)
        );
    }

    #[test]
    fn the_right_side_is_not_looked_at_where_the_left_one_decides() {
        let wrong = || Box::new(Expr::Value(json!("no boolean")));
        let yes = || Box::new(Expr::Value(json!(true)));
        let no = || Box::new(Expr::Not(yes()));
        assert_eq!(Expr::Or(yes(), wrong()).decide(&Known), Ok(true));
        assert_eq!(Expr::And(no(), wrong()).decide(&Known), Ok(false));
        assert!(Expr::And(yes(), wrong()).decide(&Known).is_err());
        assert!(Expr::Or(wrong(), yes()).decide(&Known).is_err());
    }

    #[test]
    fn nodes_and_outputs_are_listed() {
        let expr = Expr::And(
            Box::new(Expr::Status(node("b"))),
            Box::new(Expr::List(vec![output(&[]), Expr::Not(Box::new(Expr::Verdict(node("c"))))])),
        );
        assert_eq!(expr.nodes(), [node("b"), node("a"), node("c")]);
        assert_eq!(expr.outputs(), [(node("a"), PortName::new("facts").unwrap())]);
    }
}
