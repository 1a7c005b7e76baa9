//! What is known of one package, its purl, and the bill of all of them.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_sdk::prelude::*;

/// A lock file.
#[derive(Clone, Copy)]
pub struct File<'a> {
    pub path: &'a str,
    pub text: &'a str,
}

/// When a package is needed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The lock file tells nothing else.
    #[default]
    Required,
    /// Where it can be installed.
    Optional,
    /// For development alone.
    Dev,
}

/// Where packages come from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ecosystem {
    Cargo,
    Npm,
    Python,
    Go,
}

impl Ecosystem {
    /// The type of its purls.
    const fn purl(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Python => "pypi",
            Self::Go => "golang",
        }
    }

    /// A name in the form by which its registry compares names.
    pub fn normal(self, name: &str) -> String {
        match self {
            Self::Cargo | Self::Go => name.to_owned(),
            Self::Npm => name.to_ascii_lowercase(),
            // PEP 503: runs of `-`, `_` and `.` are one `-`.
            Self::Python => {
                let mut normal = String::with_capacity(name.len());
                for character in name.chars() {
                    match character {
                        '-' | '_' | '.' if normal.ends_with('-') => {}
                        '-' | '_' | '.' => normal.push('-'),
                        _ => normal.push(character.to_ascii_lowercase()),
                    }
                }
                normal
            }
        }
    }
}

/// A package.
#[derive(Clone)]
pub struct Package {
    pub ecosystem: Ecosystem,
    pub name: String,
    pub version: Option<String>,
    /// Of what was downloaded: algorithm as CycloneDX names it, hex.
    pub hashes: BTreeSet<(&'static str, String)>,
    /// Hashes of several files, of which one was downloaded.
    pub files: BTreeSet<(&'static str, String)>,
    pub scope: Scope,
    /// It stands in the tree itself.
    pub local: bool,
    /// Where it comes from, if not from the usual registry: the name of a purl's qualifier and a URL.
    pub from: Option<(&'static str, String)>,
    /// More that is known: names and values.
    pub properties: BTreeSet<(&'static str, String)>,
    /// As its manifest has it.
    pub licence: Option<String>,
    /// Purls; none where the lock file does not tell.
    pub depends: Option<BTreeSet<String>>,
}

impl Package {
    pub fn new(ecosystem: Ecosystem, name: &str, version: Option<&str>) -> Self {
        Self {
            ecosystem,
            name: name.to_owned(),
            version: version.map(str::to_owned),
            hashes: BTreeSet::new(),
            files: BTreeSet::new(),
            scope: Scope::Required,
            local: false,
            from: None,
            properties: BTreeSet::new(),
            licence: None,
            depends: None,
        }
    }

    /// Group and name: npm's scopes, Go's paths.
    pub fn parts(&self) -> (Option<&str>, &str) {
        match self.ecosystem {
            Ecosystem::Npm | Ecosystem::Go => match self.name.rsplit_once('/') {
                Some((group, name)) => (Some(group), name),
                None => (None, &self.name),
            },
            _ => (None, &self.name),
        }
    }

    /// Its package URL.
    pub fn purl(&self) -> String {
        let name = self.ecosystem.normal(&self.name);
        let path: Vec<String> = name.split('/').map(encode).collect();
        let mut purl = format!("pkg:{}/{}", self.ecosystem.purl(), path.join("/"));
        if let Some(version) = &self.version {
            purl += "@";
            purl += &encode(version);
        }
        if let Some((qualifier, url)) = &self.from {
            purl += &format!("?{qualifier}={}", encode(url));
        }
        purl
    }
}

/// Percent-encoding as purls have it: all but letters, digits and `-._~:`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// Everything found.
#[derive(Default)]
pub struct Bill {
    /// By purl.
    pub packages: BTreeMap<String, Package>,
    /// What the tree itself needs, by purl.
    pub direct: BTreeSet<String>,
    /// Lock files that do not tell what their packages need.
    pub graphless: Vec<String>,
    pub findings: Findings,
}

impl Bill {
    /// Adds a package; what is known of one that is there already comes together.
    pub fn add(&mut self, package: Package) -> String {
        let purl = package.purl();
        match self.packages.get_mut(&purl) {
            None => {
                self.packages.insert(purl.clone(), package);
            }
            Some(there) => {
                there.hashes.extend(package.hashes);
                there.files.extend(package.files);
                there.properties.extend(package.properties);
                there.scope = there.scope.min(package.scope);
                there.local |= package.local;
                if let Some(depends) = package.depends {
                    there.depends.get_or_insert_default().extend(depends);
                }
            }
        }
        purl
    }

    /// Says something about a file.
    pub fn found(&mut self, finding: Finding) {
        // Enough to see what is wrong, and far below what a node may have.
        if self.findings.len() < 1_000 {
            self.findings.push(finding);
        }
    }

    /// Whether a file could not be read.
    pub fn failed(&self) -> bool {
        self.findings.count(Severity::Error) > 0
    }

    /// Takes away what leads to packages that are not listed.
    pub fn close(&mut self) {
        let listed: BTreeSet<String> = self.packages.keys().cloned().collect();
        self.direct.retain(|purl| listed.contains(purl));
        for package in self.packages.values_mut() {
            if let Some(depends) = &mut package.depends {
                depends.retain(|purl| listed.contains(purl));
            }
        }
        for path in std::mem::take(&mut self.graphless) {
            let message = "this file does not tell which package needs which: the list has no such edges from it";
            self.found(Finding::note(message).rule("no-graph").path(path));
        }
    }
}

/// Bytes of base64 (RFC 4648) as hex; none where it is none.
pub fn base64_to_hex(text: &str) -> Option<String> {
    let (mut bits, mut count, mut hex) = (0_u32, 0, String::new());
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            hex += &format!("{:02x}", (bits >> count) as u8);
        }
    }
    Some(hex)
}

/// A hash in hex with the name that CycloneDX has for its algorithm; none where its length is another.
pub fn hash(algorithm: &str, hex: &str) -> Option<(&'static str, String)> {
    let (name, length) = match algorithm {
        "md5" => ("MD5", 32),
        "sha1" => ("SHA-1", 40),
        "sha256" => ("SHA-256", 64),
        "sha384" => ("SHA-384", 96),
        "sha512" => ("SHA-512", 128),
        _ => return None,
    };
    let hex = hex.to_ascii_lowercase();
    (hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((name, hex))
}
