//! The parser of `when`: text to `model::expr::Expr`, with parameters and matrix values put in and types checked as far as they
//! are known. The grammar stands in `model::expr`; besides, a text may hold `${...}`, and a node of a matrix is written
//! `build[target=a].status`.

use std::ops::Range;

use lockgate_model::expr::{Compare, Expr, MAX_EXPR_DEPTH, Step};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::{NodeKind, ParamValue};
use lockgate_model::{NodeId, PortName};
use serde_json::Value;

use crate::lexer::{Kind, Token, tokens};
use crate::problem::{Code, cut};
use crate::references::Index;
use crate::report::suggest;
use crate::shape::{CANARY_WORDS, DECISION_WORDS, HEALTH_WORDS, a_node};
use crate::substitute::{Expanded, Places, Scope};
use crate::table::Text;

const STATUSES: &[&str] = &[
    Status::Succeeded.name(),
    Status::Failed.name(),
    Status::Skipped.name(),
    Status::Errored.name(),
    Status::Cancelled.name(),
];

/// What is known of an operand's value before anything runs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    Boolean,
    Number,
    Text,
    /// A text that is one of these words, or nothing.
    Word(&'static [&'static str]),
    List,
    Null,
    Unknown,
}

impl Type {
    fn describe(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Text | Self::Word(_) => "a text",
            Self::List => "a list",
            Self::Null => "nothing",
            Self::Unknown => "unknown",
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Word(_))
    }
}

/// A part of an expression with its type and place.
struct Part {
    expr: Expr,
    ty: Type,
    span: Range<usize>,
}

/// A part and how deep its tree is, checked as it grows.
type Parsed = Option<Part>;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    scope: Scope<'a>,
    index: &'a Index,
    node: &'a NodeId,
    places: &'a Places<'a>,
    fine: bool,
}

/// Reads the `when` of a node; none where there is a problem.
pub(crate) fn parse(text: &Text<'_>, node: &NodeId, scope: Scope<'_>, index: &Index) -> Option<Expr> {
    let places = |part: Range<usize>| text.inside(&scope.cx.problems.source, part);
    let fail = |span: Range<usize>, message: String, hint: Option<String>| {
        scope.cx.problems.report(Code::Expression, &places(span), "", message, hint);
        None
    };
    if !scope.cx.charge(text.text.len() as u64 * 8, &text.span) {
        return None;
    }
    let tokens = match tokens(text.text) {
        Ok(tokens) => tokens,
        Err(error) => {
            return fail(error.span, error.message, Some(error.hint.to_owned()).filter(|hint| !hint.is_empty()));
        }
    };
    let mut parser =
        Parser { text: text.text, tokens, at: 0, depth: 0, scope, index, node, places: &places, fine: true };
    let whole = parser.or()?;
    if let Some(token) = parser.tokens.get(parser.at) {
        return fail(
            token.span.clone(),
            "the expression should end here".to_owned(),
            Some("join conditions with `&&` or `||`".to_owned()),
        );
    }
    parser.boolean(&whole);
    if depth(&whole.expr) > MAX_EXPR_DEPTH {
        return fail(0..text.text.len(), format!("the expression is nested deeper than {MAX_EXPR_DEPTH}"), None);
    }
    parser.fine.then_some(whole.expr)
}

impl Parser<'_> {
    fn problem(&mut self, code: Code, span: &Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.fine = false;
        self.scope.cx.problems.report(code, &(self.places)(span.clone()), "", message, hint);
    }

    fn fail<T>(&mut self, span: &Range<usize>, message: impl Into<String>, hint: Option<String>) -> Option<T> {
        self.problem(Code::Expression, span, message, hint);
        None
    }

    fn here(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(self.text.len()..self.text.len(), |token| token.span.clone())
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found =
            matches!(self.tokens.get(self.at), Some(Token { kind: Kind::Symbol(found), .. }) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Parsed {
        self.chain("||", Self::and, Expr::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("&&", Self::not, Expr::And)
    }

    /// Operands joined by one operator, as a balanced tree: a long chain is not deep.
    fn chain(&mut self, symbol: &str, next: fn(&mut Self) -> Parsed, join: fn(Box<Expr>, Box<Expr>) -> Expr) -> Parsed {
        let first = next(self)?;
        let mut span = first.span.clone();
        let mut parts = vec![first];
        while self.symbol(symbol) {
            let part = next(self)?;
            span.end = part.span.end;
            parts.push(part);
        }
        if parts.len() > 1 {
            parts.iter().for_each(|part| self.boolean(part));
        }
        let ty = if parts.len() == 1 { parts[0].ty } else { Type::Boolean };
        let expr = balanced(parts.into_iter().map(|part| part.expr).collect(), join)?;
        Some(Part { expr, ty, span })
    }

    fn nested<T>(&mut self, inner: fn(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        if self.depth > MAX_EXPR_DEPTH {
            let span = self.here();
            return self.fail(&span, format!("the expression is nested deeper than {MAX_EXPR_DEPTH}"), None);
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn not(&mut self) -> Parsed {
        let start = self.here().start;
        if !self.symbol("!") {
            return self.compare();
        }
        let inner = self.nested(Self::not)?;
        self.boolean(&inner);
        Some(Part { span: start..inner.span.end, ty: Type::Boolean, expr: Expr::Not(Box::new(inner.expr)) })
    }

    fn compare(&mut self) -> Parsed {
        let left = self.operand()?;
        let operator = match self.tokens.get(self.at).map(|token| &token.kind) {
            Some(Kind::Symbol("==")) => Compare::Equal,
            Some(Kind::Symbol("!=")) => Compare::NotEqual,
            Some(Kind::Symbol("<")) => Compare::Less,
            Some(Kind::Symbol("<=")) => Compare::LessEqual,
            Some(Kind::Symbol(">")) => Compare::Greater,
            Some(Kind::Symbol(">=")) => Compare::GreaterEqual,
            Some(Kind::Name(name)) if name == "in" => Compare::In,
            _ => return Some(left),
        };
        self.at += 1;
        let right = self.operand()?;
        let span = left.span.start..right.span.end;
        self.comparable(operator, &left, &right, &span);
        Some(Part { expr: Expr::Compare(operator, Box::new(left.expr), Box::new(right.expr)), ty: Type::Boolean, span })
    }

    fn operand(&mut self) -> Parsed {
        let Some(token) = self.tokens.get(self.at).cloned() else {
            let span = self.here();
            return self.fail(
                &span,
                "the expression ends too early",
                Some("a value, a name or `(` must follow".to_owned()),
            );
        };
        self.at += 1;
        let value = |value: Value, ty| Some(Part { expr: Expr::Value(value), ty, span: token.span.clone() });
        match &token.kind {
            Kind::Text(text) => {
                let start = token.span.start + 1;
                let places = self.places;
                let expanded = self.scope.expand(text, &|part| places(start + part.start..start + part.end));
                self.fine &= expanded.is_some();
                match expanded {
                    Some(Expanded::Text(text)) => value(Value::String(text), Type::Text),
                    Some(Expanded::Value(found)) => value(Value::String(found.to_string()), Type::Text),
                    None => value(Value::Null, Type::Unknown),
                }
            }
            Kind::Integer(number) => value((*number).into(), Type::Number),
            Kind::Decimal(number) => {
                value(serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number), Type::Number)
            }
            Kind::Name(name) => match name.as_str() {
                "true" | "false" => value(Value::Bool(name == "true"), Type::Boolean),
                "null" => value(Value::Null, Type::Null),
                name => self.path(name, token.span.clone()),
            },
            Kind::Symbol("(") => {
                let inner = self.nested(Self::or)?;
                let span = self.here();
                if !self.symbol(")") {
                    return self.fail(&span, "a `)` is missing", None);
                }
                Some(Part { span: token.span.start..span.end, ..inner })
            }
            Kind::Symbol("[") => self.list(token.span.start),
            Kind::Symbol(symbol) => {
                let message = format!("a value must stand here, not `{symbol}`");
                self.fail(
                    &token.span,
                    message,
                    Some("a text in quotes, a number, `params.x`, `matrix.x` or `<node>.status`".to_owned()),
                )
            }
        }
    }

    fn list(&mut self, start: usize) -> Parsed {
        let mut items = Vec::new();
        while !self.symbol("]") {
            if !items.is_empty() && !self.symbol(",") {
                let span = self.here();
                return self.fail(&span, "a `,` or `]` is missing", None);
            }
            items.push(self.nested(Self::operand)?.expr);
        }
        let span = start..self.tokens[self.at - 1].span.end;
        Some(Part { expr: Expr::List(items), ty: Type::List, span })
    }

    /// A path that begins with a name.
    fn path(&mut self, name: &str, first: Range<usize>) -> Parsed {
        let mut span = first.clone();
        let mut steps = Vec::new();
        loop {
            if self.symbol(".") {
                let token = self.tokens.get(self.at).cloned();
                let Some(Token { kind: Kind::Name(key), span: at }) = token else {
                    let here = self.here();
                    return self.fail(&here, "a name must follow the `.`", None);
                };
                steps.push((Step::Key(key), at));
            } else if !steps.is_empty() && self.symbol("[") {
                let token = self.tokens.get(self.at).cloned();
                let step = match token.as_ref().map(|token| &token.kind) {
                    Some(Kind::Text(key)) => Some(Step::Key(key.clone())),
                    Some(Kind::Integer(index)) => u64::try_from(*index).ok().map(Step::Index),
                    _ => None,
                };
                let closed = matches!(self.tokens.get(self.at + 1), Some(Token { kind: Kind::Symbol("]"), .. }));
                let (Some(step), true) = (step, closed) else {
                    let here = self.here();
                    return self.fail(&here, "`[...]` in a path holds a number from 0 or a text", None);
                };
                steps.push((step, self.here()));
                self.at += 1;
            } else {
                break;
            }
            span.end = self.tokens[self.at].span.end;
            self.at += 1;
        }
        match name {
            "params" | "matrix" => self.constant(name, &steps, span),
            "run" => self.run(&steps, span),
            _ => self.node_path(name, &first, steps, span),
        }
    }

    fn constant(&mut self, root: &str, steps: &[(Step, Range<usize>)], span: Range<usize>) -> Parsed {
        let [(Step::Key(key), _)] = steps else {
            return self.fail(&span, format!("`{root}` is followed by one name, as in `{root}.x`"), None);
        };
        let value = self.scope.lookup(&format!("{root}.{key}"), &(self.places)(span.clone()));
        self.fine &= value.is_some();
        let (value, ty) = match value {
            Some(ParamValue::String(text)) => (Value::String(text), Type::Text),
            Some(ParamValue::Integer(number)) => (number.into(), Type::Number),
            Some(ParamValue::Boolean(value)) => (Value::Bool(value), Type::Boolean),
            None => (Value::Null, Type::Unknown),
        };
        Some(Part { expr: Expr::Value(value), ty, span })
    }

    fn run(&mut self, steps: &[(Step, Range<usize>)], span: Range<usize>) -> Parsed {
        if !matches!(steps, [(Step::Key(key), _)] if key == "status") {
            return self.fail(&span, "the only fact about the run is `run.status`", None);
        }
        if self.index.base(self.node.as_str()).is_some_and(|base| !base.finally) {
            let hint = "other nodes see how far a run has come only by chance; ask for a node's status instead";
            self.problem(
                Code::Expression,
                &span,
                "`run.status` is only for nodes with `finally = true`",
                Some(hint.to_owned()),
            );
        }
        Some(Part { expr: Expr::RunStatus, ty: Type::Word(&STATUSES[..2]), span })
    }

    fn node_path(
        &mut self,
        name: &str,
        first: &Range<usize>,
        mut steps: Vec<(Step, Range<usize>)>,
        span: Range<usize>,
    ) -> Parsed {
        let unknown = Some(Part { expr: Expr::Value(Value::Null), ty: Type::Unknown, span: span.clone() });
        let places = self.places;
        let start = first.start;
        let name = match self.scope.expand(name, &|part| places(start + part.start..start + part.end)) {
            Some(Expanded::Text(name)) => name,
            Some(Expanded::Value(value)) => value.to_string(),
            None => {
                self.fine = false;
                return unknown;
            }
        };
        if steps.is_empty() {
            let hint = format!(
                "a text stands in quotes: `'{name}'`; a fact of a node is `{name}.status`, `{name}.verdict` or `{name}.<output>`"
            );
            return self.fail(&span, format!("`{}` alone is no value", cut(name.clone(), 80)), Some(hint));
        }
        let node = match self.index.node(&name, ".status") {
            Ok(node) => node,
            Err(miss) => {
                let mut hint = miss.hint;
                if miss.code == Code::UnknownNode && !self.index.bases.contains_key(&name) {
                    let roots = ["params", "matrix", "run"];
                    hint = match name.as_str() {
                        "git" => Some("git facts are put into a text: `'${git.branch}' == 'main'`".to_owned()),
                        _ => {
                            crate::report::nearest(&name, roots).map(|near| format!("did you mean `{near}`?")).or(hint)
                        }
                    };
                }
                self.problem(miss.code, first, miss.message, hint);
                return unknown;
            }
        };
        if node == *self.node {
            self.problem(
                Code::Expression,
                &span,
                format!("`{node}` cannot ask about itself"),
                Some("`when` is decided before the node runs".to_owned()),
            );
            return unknown;
        }
        let (fact, fact_span) = steps.remove(0);
        let Step::Key(fact) = fact else { return self.fail(&fact_span, "a node's fact is a name", None) };
        let kind = self.index.base(node.as_str()).map(|base| base.kind);
        match fact.as_str() {
            "status" | "verdict" if !steps.is_empty() => {
                self.fail(&steps[0].1.clone(), format!("`{fact}` is a text: nothing is inside of it"), None)
            }
            "status" => Some(Part { expr: Expr::Status(node), ty: Type::Word(STATUSES), span }),
            "verdict" => {
                let words = match kind {
                    Some(NodeKind::HealthCheck) => HEALTH_WORDS,
                    Some(NodeKind::Canary) => CANARY_WORDS,
                    Some(NodeKind::Approval) => DECISION_WORDS,
                    _ => {
                        let hint = "only health checks, canaries and approvals have one; ask for `.status`".to_owned();
                        self.problem(
                            Code::ExpressionType,
                            &fact_span,
                            format!("`{node}` is {}: it has no verdict", a_node(kind.unwrap_or(NodeKind::Stage))),
                            Some(hint),
                        );
                        return unknown;
                    }
                };
                Some(Part { expr: Expr::Verdict(node), ty: Type::Word(words), span })
            }
            _ if let Some(kind) = kind.filter(|kind| kind.world().is_none()) => {
                let hint = "ask for its `.status`, and an approval's `.verdict`".to_owned();
                let message = format!("`{node}` is {}: it has no outputs", a_node(kind));
                self.problem(Code::ExpressionType, &fact_span, message, Some(hint));
                unknown
            }
            _ => match PortName::new(&fact) {
                Ok(output) => {
                    let path = steps.into_iter().map(|(step, _)| step).collect();
                    Some(Part { expr: Expr::Output { node, output, path }, ty: Type::Unknown, span })
                }
                Err(error) => self.fail(&fact_span, format!("failed to {error}"), None),
            },
        }
    }

    /// Reports a part that can never be true or false.
    fn boolean(&mut self, part: &Part) {
        if !matches!(part.ty, Type::Boolean | Type::Unknown) {
            let message = format!("this is {}, not true or false", part.ty.describe());
            self.problem(
                Code::ExpressionType,
                &part.span,
                message,
                Some("compare it with something, as in `... == 'x'`".to_owned()),
            );
        }
    }

    fn comparable(&mut self, operator: Compare, left: &Part, right: &Part, span: &Range<usize>) {
        let unknown = left.ty == Type::Unknown || right.ty == Type::Unknown;
        let both = |test: fn(Type) -> bool| test(left.ty) && test(right.ty);
        let fits = match operator {
            _ if unknown => true,
            Compare::Equal | Compare::NotEqual => {
                left.ty == right.ty || both(Type::is_text) || left.ty == Type::Null || right.ty == Type::Null
            }
            Compare::In => right.ty == Type::List || both(Type::is_text),
            _ => both(Type::is_text) || both(|ty| ty == Type::Number),
        };
        if !fits {
            let message = format!("{} cannot be compared with {} like this", left.ty.describe(), right.ty.describe());
            let hint = match operator {
                Compare::In => "`in` looks for an element of a list, or a part of a text",
                Compare::Equal | Compare::NotEqual => {
                    "values of different types are never equal; texts stand in quotes, numbers do not"
                }
                _ => "only two numbers or two texts have an order",
            };
            self.problem(Code::ExpressionType, span, message, Some(hint.to_owned()));
        }
        for (words, other) in [(left, right), (right, left)] {
            let Type::Word(possible) = words.ty else { continue };
            let constants: &[Expr] = match &other.expr {
                Expr::List(items) if operator == Compare::In => items,
                value @ Expr::Value(_) if operator != Compare::In => std::slice::from_ref(value),
                _ => &[],
            };
            for constant in constants {
                if let Expr::Value(Value::String(text)) = constant
                    && !possible.contains(&text.as_str())
                {
                    let asked = cut(self.text[words.span.clone()].to_owned(), 80);
                    let message = format!("`{asked}` is never `{}`", cut(text.clone(), 80));
                    self.problem(Code::ExpressionType, &other.span, message, suggest(text, possible.iter().copied()));
                }
            }
        }
    }
}

fn balanced(mut parts: Vec<Expr>, join: fn(Box<Expr>, Box<Expr>) -> Expr) -> Option<Expr> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let right = parts.split_off(parts.len() / 2);
    Some(join(Box::new(balanced(parts, join)?), Box::new(balanced(right, join)?)))
}

fn depth(expr: &Expr) -> usize {
    1 + match expr {
        Expr::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Expr::Not(inner) => depth(inner),
        Expr::And(left, right) | Expr::Or(left, right) | Expr::Compare(_, left, right) => depth(left).max(depth(right)),
        Expr::Value(_) | Expr::Status(_) | Expr::Verdict(_) | Expr::Output { .. } | Expr::RunStatus => 0,
    }
}
