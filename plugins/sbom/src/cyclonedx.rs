//! The document: CycloneDX 1.6 (ECMA-424), the same bytes for the same packages.

use lockgate_sdk::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::package::{Bill, Package, Scope};
use crate::{Config, Kind};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<String>,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component<'a>>,
    dependencies: Vec<Dependency<'a>>,
    compositions: Vec<Composition<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    timestamp: &'a str,
    tools: Tools,
    component: Component<'a>,
}

#[derive(Serialize)]
struct Tools {
    components: [Tool; 1],
}

#[derive(Serialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    bom_ref: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<&'a str>,
    #[serde(rename = "externalReferences", skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property<'a>>,
}

#[derive(Serialize)]
struct Hash<'a> {
    alg: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Licence<'a> {
    Expression { expression: &'a str, acknowledgement: &'static str },
    Named { license: Named<'a> },
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    acknowledgement: &'static str,
}

#[derive(Serialize)]
struct Reference<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    hashes: Vec<Hash<'a>>,
}

#[derive(Serialize)]
struct Property<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency<'a> {
    #[serde(rename = "ref")]
    of: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<&'a str>,
}

#[derive(Serialize)]
struct Composition<'a> {
    aggregate: &'static str,
    dependencies: Vec<&'a str>,
}

/// What the document is of, among its own references.
const ROOT: &str = "root";

/// The document as JSON, with its serial number, which is made of all the rest.
pub fn document(config: &Config, bill: &Bill) -> Result<Vec<u8>> {
    let mut document = make(config, bill);
    let digest = Sha256::digest(serde_json::to_vec(&document)?);
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    // Version 8 of UUIDs (RFC 9562) is for numbers of one's own, variant 10.
    let variant = ["8", "9", "a", "b"][usize::from(digest[8] >> 6 & 3)];
    let uuid = format!("{}-{}-8{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]);
    document.serial_number = Some(format!("urn:uuid:{uuid}"));
    let mut json = serde_json::to_vec_pretty(&document)?;
    json.push(b'\n');
    Ok(json)
}

fn make<'a>(config: &'a Config, bill: &'a Bill) -> Document<'a> {
    let mut local = bill.packages.values().filter(|package| package.local);
    let only = local.next().filter(|_| local.next().is_none());
    let name = match (config.name.as_str(), only) {
        ("", Some(only)) => &only.name,
        ("", None) => "src",
        (name, _) => name,
    };
    let version = match (config.version.as_str(), only) {
        ("", only) => only.and_then(|only| only.version.as_deref()),
        (version, _) => Some(version),
    };
    let root = Component {
        kind: match config.kind {
            Kind::Application => "application",
            Kind::Library => "library",
            Kind::Container => "container",
            Kind::Firmware => "firmware",
        },
        bom_ref: ROOT,
        group: None,
        name,
        version,
        scope: None,
        hashes: Vec::new(),
        licenses: Vec::new(),
        purl: None,
        references: Vec::new(),
        properties: Vec::new(),
    };
    let mut dependencies = vec![Dependency { of: ROOT, depends_on: bill.direct.iter().map(String::as_str).collect() }];
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (purl, package) in &bill.packages {
        match &package.depends {
            Some(depends) => {
                known.push(purl.as_str());
                dependencies.push(Dependency { of: purl, depends_on: depends.iter().map(String::as_str).collect() });
            }
            None => unknown.push(purl.as_str()),
        }
    }
    let compositions = [("complete", known), ("unknown", unknown)].into_iter();
    let compositions = compositions.map(|(aggregate, dependencies)| Composition { aggregate, dependencies });
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: None,
        version: 1,
        metadata: Metadata {
            timestamp: &config.timestamp,
            tools: Tools {
                components: [Tool { kind: "application", name: "lockgate-sbom", version: env!("CARGO_PKG_VERSION") }],
            },
            component: root,
        },
        components: bill.packages.iter().map(|(purl, package)| component(purl, package)).collect(),
        dependencies,
        compositions: compositions.filter(|composition| !composition.dependencies.is_empty()).collect(),
    }
}

fn component<'a>(purl: &'a str, package: &'a Package) -> Component<'a> {
    let hashes = |hashes: &'a std::collections::BTreeSet<(&'static str, String)>| -> Vec<Hash<'a>> {
        hashes.iter().map(|(alg, content)| Hash { alg, content }).collect()
    };
    let (group, name) = package.parts();
    let references = match (&package.files.is_empty(), &package.version) {
        (false, Some(version)) => {
            let url = format!("https://pypi.org/project/{name}/{version}/");
            vec![Reference { kind: "distribution", url, hashes: hashes(&package.files) }]
        }
        _ => Vec::new(),
    };
    let properties = package.properties.iter().map(|(name, value)| Property { name, value });
    let local = package.local.then_some(Property { name: "lockgate:local", value: "true" });
    Component {
        kind: "library",
        bom_ref: purl,
        group,
        name,
        version: package.version.as_deref(),
        scope: match package.scope {
            Scope::Required => None,
            Scope::Optional => Some("optional"),
            Scope::Dev => Some("excluded"),
        },
        hashes: hashes(&package.hashes),
        licenses: package.licence.as_deref().map(licence).into_iter().collect(),
        purl: Some(purl),
        references,
        properties: properties.chain(local).collect(),
    }
}

/// A licence as an expression where it has the form of one; `std:licenses` looks closer.
fn licence(text: &str) -> Licence<'_> {
    let word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-:()".contains(&byte));
    let words: Vec<&str> = text.split_whitespace().collect();
    let joined = words.iter().skip(1).step_by(2).all(|word| matches!(*word, "AND" | "OR" | "WITH"));
    let acknowledgement = "declared";
    if words.len() % 2 == 1 && joined && words.iter().all(|text| word(text)) && text != "UNLICENSED" {
        return Licence::Expression { expression: text, acknowledgement };
    }
    Licence::Named { license: Named { name: text, acknowledgement } }
}

/// Whether a text is a time of RFC 3339, as far as its form goes.
pub fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let shape =
        |text: &str| text.bytes().map(|byte| if byte.is_ascii_digit() { '0' } else { byte.into() }).collect::<String>();
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    shape(date) == "0000-00-00"
        && shape(clock) == "00:00:00"
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && (zone == "Z" || matches!(shape(zone).as_str(), "+00:00" | "-00:00"))
}
