//! Components of a CycloneDX document: what they are called, and what is said of their licences.

use lockgate_documents::Document;
use lockgate_sdk::prelude::*;

/// A component.
pub struct Component {
    /// Its purl without qualifiers, or else its name and version.
    pub purl: String,
    /// Expressions, or names of licences: all of them hold.
    pub licences: Vec<String>,
    /// It is of the tree itself, as `std:sbom` marks it.
    pub local: bool,
    /// It is for development alone.
    pub dev: bool,
}

/// All components, those inside of others too.
pub fn components(document: &Document) -> Result<Vec<Component>> {
    let format = document.get("bomFormat").and_then(Document::text);
    ensure!(
        format == Some("CycloneDX"),
        "this is no CycloneDX document: `bomFormat` is {}",
        format.unwrap_or("missing")
    );
    let mut found = Vec::new();
    let mut waiting: Vec<&Document> =
        document.get("components").map(Document::items).unwrap_or_default().iter().rev().collect();
    while let Some(component) = waiting.pop() {
        waiting.extend(component.get("components").map(Document::items).unwrap_or_default().iter().rev());
        let text = |key: &str| component.get(key).and_then(Document::text);
        let name = || {
            let (name, version) = (text("name").unwrap_or("?"), text("version").unwrap_or("?"));
            format!("{name}@{version}")
        };
        let purl = text("purl").map(|purl| purl.split(['?', '#']).next().unwrap_or(purl).to_owned());
        let marked = |property: &Document| {
            let get = |key| property.get(key).and_then(Document::text);
            get("name") == Some("lockgate:local") && get("value") == Some("true")
        };
        found.push(Component {
            purl: purl.unwrap_or_else(name),
            licences: component
                .get("licenses")
                .map(Document::items)
                .unwrap_or_default()
                .iter()
                .filter_map(licence)
                .collect(),
            local: component.get("properties").map(Document::items).unwrap_or_default().iter().any(marked),
            dev: text("scope") == Some("excluded"),
        });
    }
    Ok(found)
}

fn licence(choice: &Document) -> Option<String> {
    let text = |document: &Document, key: &str| document.get(key).and_then(Document::text).map(str::to_owned);
    let named = || choice.get("license").and_then(|licence| text(licence, "id").or_else(|| text(licence, "name")));
    text(choice, "expression").or_else(named)
}
