//! Findings and failures as annotations of GitHub Actions: workflow commands on stdout.

use lockgate_model::outcome::{Failure, Finding};

/// A finding at its line.
pub(crate) fn finding(node: &str, finding: &Finding) -> String {
    let command = match finding.severity.as_str() {
        "error" => "error",
        "warning" => "warning",
        _ => "notice",
    };
    let mut properties = Vec::new();
    if let Some(path) = &finding.path {
        properties.push(format!("file={}", property(path)));
        if let Some(line) = finding.line {
            properties.push(format!("line={line}"));
        }
        if let Some(column) = finding.column {
            properties.push(format!("col={column}"));
        }
    }
    let title = match &finding.rule {
        Some(rule) => format!("{node}: {rule}"),
        None => node.to_owned(),
    };
    properties.push(format!("title={}", property(&title)));
    format!("::{command} {}::{}\n", properties.join(","), data(&finding.message))
}

/// A failed node.
pub(crate) fn failure(node: &str, failure: &Failure) -> String {
    format!(
        "::error title={}::{}\n",
        property(&format!("{node} failed ({})", failure.kind.name())),
        data(&failure.message)
    )
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_an_annotation() {
        let text = finding(
            "lint",
            &Finding {
                severity: "error".into(),
                message: "100%\n::set-output name=x::y".into(),
                rule: Some("a,b".into()),
                path: Some("a:b.toml".into()),
                line: Some(3),
                column: None,
            },
        );
        assert_eq!(text, "::error file=a%3Ab.toml,line=3,title=lint%3A a%2Cb::100%25%0A::set-output name=x::y\n");
    }
}
