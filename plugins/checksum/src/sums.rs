//! Lines of `SHA256SUMS`, as GNU coreutils write and read them.

use std::fmt;

/// One line: 64 hexadecimal digits, two spaces, a name. Where the name holds a backslash or a line break these are escaped, and
/// the line begins with a backslash.
pub struct Line<'a> {
    /// The digest.
    pub hex: &'a str,
    /// The file's name.
    pub name: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.contains(['\\', '\n', '\r']) {
            return write!(f, "{}  {}", self.hex, self.name);
        }
        write!(f, "\\{}  ", self.hex)?;
        self.name.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            c => write!(f, "{c}"),
        })
    }
}

impl Line<'_> {
    /// Reads a line: the digest in lower case, and the name. Names marked as binary by `*` are taken too.
    pub fn parse(line: &str) -> Option<(String, String)> {
        let (escaped, line) = match line.strip_prefix('\\') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let (hex, rest) = line.split_at_checked(64)?;
        let name = rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *")).filter(|name| !name.is_empty())?;
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let name = if escaped { unescape(name)? } else { name.to_owned() };
        Some((hex.to_ascii_lowercase(), name))
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        name.push(match c {
            '\\' => match rest.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let hex = "0123456789abcdef".repeat(4);
        for name in ["a", "a b", " a", "a\\b", "line\nbreak", "*a", "ä/ö"] {
            let line = Line { hex: &hex, name }.to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Line::parse(&line), Some((hex.clone(), name.to_owned())), "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let hex = "0123456789abcdef".repeat(4);
        let lines = [String::new(), hex.clone(), format!("{hex} a"), format!("{hex}  "), format!("x{}  a", &hex[1..])];
        for line in lines.iter().map(String::as_str).chain(["ä".repeat(40).as_str(), &format!("\\{hex}  a\\x")]) {
            assert_eq!(Line::parse(line), None, "{line}");
        }
    }
}
