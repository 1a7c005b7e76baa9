//! `requirements.txt`, as pip reads it: names, pinned versions and hashes. What needs what is not in it.

use lockgate_sdk::prelude::*;

use crate::package::{Bill, Ecosystem, File, Package, hash};

/// How many files may be included by one another.
const FILES: usize = 100;

pub fn read(file: File<'_>, bill: &mut Bill, other: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let mut waiting = vec![(file.path.to_owned(), file.text.to_owned())];
    let mut seen = vec![file.path.to_owned()];
    while let Some((path, text)) = waiting.pop() {
        for (number, line) in lines(&text) {
            let option = |names: [&str; 2]| {
                names.iter().find_map(|name| Some(line.strip_prefix(name)?.trim_start_matches(['=', ' ']).trim()))
            };
            if let Some(included) = option(["--requirement", "-r"]) {
                let included = beside(&path, included);
                if seen.contains(&included) {
                    continue;
                }
                match other(&included) {
                    Some(text) if seen.len() < FILES => {
                        seen.push(included.clone());
                        waiting.push((included, text));
                    }
                    _ => bill.found(
                        Finding::warning(format!("`{included}` is included and not there"))
                            .rule("unresolved")
                            .at(&path, number),
                    ),
                }
            } else if let Some(place) = option(["--editable", "-e"]) {
                let message = format!("`{place}` is installed from a directory or a repository: it is not listed");
                bill.found(Finding::warning(message).rule("unpinned").at(&path, number));
            } else if !line.starts_with('-') {
                requirement(&line, &path, number, bill);
            }
        }
    }
    bill.graphless.push(file.path.to_owned());
    Ok(())
}

/// Lines without comments, put together where they go on, with the numbers of their beginnings.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let comment = if line.starts_with('#') { Some(0) } else { line.find(" #").or_else(|| line.find("\t#")) };
        let line = comment.map_or(line, |at| &line[..at]).trim();
        let (line, more) = match line.strip_suffix('\\') {
            Some(line) => (line.trim_end(), true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, last)) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push((number + 1, line.to_owned())),
        }
        goes_on = more;
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// A path beside another.
fn beside(path: &str, name: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// One requirement: `name[extras]==version ; markers --hash=sha256:...`, or `name @ url`.
fn requirement(line: &str, path: &str, number: usize, bill: &mut Bill) {
    let name = line.split(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character))).next();
    let name = name.unwrap_or_default();
    if name.is_empty()
        || line.contains("://") && !line[name.len()..].trim_start().trim_start_matches(|c| c != '@').starts_with('@')
    {
        let finding = Finding::warning(format!("`{line}` names no package: it is not listed"));
        return bill.found(finding.rule("unpinned").at(path, number));
    }
    let mut rest = line[name.len()..].trim_start();
    if let Some((_, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        rest = behind.trim_start();
    }
    let (specifier, options) =
        rest.split_once(" --").map_or((rest, ""), |(specifier, _)| (specifier, &rest[specifier.len()..]));
    let specifier = specifier.split(';').next().unwrap_or_default().trim();
    let exact = specifier.strip_prefix("===").or_else(|| specifier.strip_prefix("=="));
    let version = exact.map(str::trim).filter(|version| !version.contains([',', '*', ' ']));
    let mut package = Package::new(Ecosystem::Python, name, version);
    if let Some(url) = specifier.strip_prefix('@') {
        let url = url.trim();
        let qualifier = if url.starts_with("git+") { "vcs_url" } else { "download_url" };
        package.from = Some((qualifier, url.to_owned()));
    } else if version.is_none() {
        let finding = Finding::warning(format!("`{name}` has no exact version: what will be installed is not known"));
        bill.found(finding.rule("unpinned").at(path, number));
    }
    let hashes = options.split_whitespace().filter_map(|option| option.strip_prefix("--hash="));
    let mut hashes: Vec<_> =
        hashes.filter_map(|text| text.split_once(':')).filter_map(|(kind, hex)| hash(kind, hex)).collect();
    match hashes.len() {
        // One file: it is the package's. Of several one will be chosen.
        1 => package.hashes.extend(hashes.pop()),
        _ => package.files.extend(hashes),
    }
    let purl = bill.add(package);
    bill.direct.insert(purl);
}
