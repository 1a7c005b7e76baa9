//! Tokens of `when` expressions.

use std::ops::Range;

/// One token and its place in the expression's text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// `'...'` or `"..."`: what stands between the quotes.
    Text(String),
    Integer(i64),
    Decimal(f64),
    /// A name, a keyword, or a node's id with its combination.
    Name(String),
    Symbol(&'static str),
}

/// Why a text has no tokens.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Longer symbols first.
const SYMBOLS: [&str; 14] = ["||", "&&", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ","];
/// Words that are no ids.
pub(crate) const KEYWORDS: [&str; 4] = ["in", "true", "false", "null"];

fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Splits an expression into tokens.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, LexError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let error = |len: usize, message: String, hint| Err(LexError { span: at..at + len, message, hint });
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let after_dot = tokens.last().is_some_and(|token| token.kind == Kind::Symbol("."));
        let negative = first == '-' && rest[1..].starts_with(|c: char| c.is_ascii_digit());
        let (kind, len) = if first == '\'' || first == '"' {
            let Some(end) = rest[1..].find(first) else {
                return error(1, "a text has no end".to_owned(), "end it with the quote that it begins with");
            };
            (Kind::Text(rest[1..=end].to_owned()), end + 2)
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Kind::Symbol(symbol), symbol.len())
        } else if first == '.' {
            (Kind::Symbol("."), 1)
        } else if in_name(first) && (first != '-' || negative) {
            let len = rest[1..].find(|c: char| !in_name(c)).map_or(rest.len(), |len| len + 1);
            word(rest, len, after_dot).map_err(|message| LexError { span: at..at + len, message, hint: "" })?
        } else {
            let (message, hint) = match first {
                '=' => ("`=` compares nothing", "write `==`"),
                '&' => ("`&` is not an operator", "write `&&`"),
                '|' => ("`|` is not an operator", "write `||`"),
                '$' => ("`${...}` stands outside of a text", "write `params.x` or `matrix.x` without `${}`"),
                _ => (
                    "this character means nothing here",
                    "operators are `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `!`, `&&` and `||`",
                ),
            };
            return error(first.len_utf8(), message.to_owned(), hint);
        };
        tokens.push(Token { kind, span: at..at + len });
        at += len;
    }
    Ok(tokens)
}

/// A number, a name, or an id with its combination, of which `len` bytes are known to be letters, digits, `_` and `-`.
fn word(rest: &str, len: usize, after_dot: bool) -> Result<(Kind, usize), String> {
    let name = &rest[..len];
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let next = &rest[len..];
    if !after_dot && digits(name.strip_prefix('-').unwrap_or(name)) {
        let fraction = next.strip_prefix('.').map(|f| f.bytes().take_while(u8::is_ascii_digit).count()).unwrap_or(0);
        if fraction > 0 {
            let len = len + 1 + fraction;
            return match rest[..len].parse::<f64>() {
                Ok(number) if number.is_finite() => Ok((Kind::Decimal(number), len)),
                _ => Err("the number is too large".to_owned()),
            };
        }
        // `10.status` speaks of the node `10`.
        if !next.starts_with(['.', '[']) {
            return name
                .parse()
                .map(|number| (Kind::Integer(number), len))
                .map_err(|_| "the number does not fit into 64 bits".to_owned());
        }
    }
    if !after_dot && next.starts_with('[') && !KEYWORDS.contains(&name) {
        let Some(end) = next.find(']') else { return Err("the combination has no `]`".to_owned()) };
        return Ok((Kind::Name(rest[..=len + end].to_owned()), len + end + 1));
    }
    Ok((Kind::Name(name.to_owned()), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Kind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn names_numbers_and_combinations_are_told_apart() {
        let name = |text: &str| Kind::Name(text.into());
        let dot = Kind::Symbol(".");
        assert_eq!(kinds("a-b.c"), [name("a-b"), dot.clone(), name("c")]);
        assert_eq!(kinds("build[t=1.5,o=2].x"), [name("build[t=1.5,o=2]"), dot.clone(), name("x")]);
        assert_eq!(
            kinds("a.b[0]"),
            [name("a"), dot.clone(), name("b"), Kind::Symbol("["), Kind::Integer(0), Kind::Symbol("]")]
        );
        assert_eq!(kinds("-1 2.5 10.status"), [Kind::Integer(-1), Kind::Decimal(2.5), name("10"), dot, name("status")]);
        assert_eq!(
            kinds("x in['a']"),
            [name("x"), name("in"), Kind::Symbol("["), Kind::Text("a".into()), Kind::Symbol("]")]
        );
    }

    #[test]
    fn wrong_characters_are_refused() {
        for text in ["a = b", "a & b", "'x", "${params.x}", "ä", "a[b", "99999999999999999999", "1e5.5e", "-"] {
            let result = tokens(text);
            assert!(result.is_err() || text == "1e5.5e", "{text}: {result:?}");
        }
    }
}
