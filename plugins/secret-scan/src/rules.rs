//! What is looked for: keys that begin with a mark of their own, pipelines' own patterns, and what is found by its place.

use std::borrow::Cow;

use lockgate_sdk::prelude::*;
use regex_lite::{Regex, RegexBuilder};

use crate::{Config, Level};

/// Characters that a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Letters and digits.
    Alnum,
    /// Capitals and the digits 2 to 7.
    Base32,
    /// Capitals and digits.
    Upper,
    /// Small letters a to f and digits.
    Hex,
    /// Letters, digits, `_` and `-`.
    Url,
    /// Letters, digits, `_`, `-` and `.`.
    Dotted,
    /// Letters, digits, `/`: a path of a URL.
    Path,
}

impl Class {
    pub const fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Base32 => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => matches!(byte, b'a'..=b'f' | b'0'..=b'9'),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Path => byte.is_ascii_alphanumeric() || byte == b'/',
        }
    }
}

/// A key that begins with a mark: rule, marks, what follows, how many characters at least and at most, what it is.
struct Mark(&'static str, &'static [&'static str], Class, usize, usize, Level, &'static str);

/// Longest keys are bounded by this where their issuers say nothing.
const LONG: usize = 512;

/// As their issuers document them.
const MARKS: &[Mark] = &[
    Mark(
        "aws-access-key",
        &["AKIA", "ASIA", "ABIA", "ACCA"],
        Class::Base32,
        16,
        16,
        Level::Error,
        "an access key of AWS",
    ),
    Mark(
        "github-token",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
        Class::Alnum,
        36,
        255,
        Level::Error,
        "a token of GitHub",
    ),
    Mark("github-token", &["github_pat_"], Class::Url, 82, 255, Level::Error, "a token of GitHub"),
    Mark(
        "gitlab-token",
        &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-"],
        Class::Dotted,
        20,
        300,
        Level::Error,
        "a token of GitLab",
    ),
    Mark(
        "slack-token",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-"],
        Class::Url,
        20,
        LONG,
        Level::Error,
        "a token of Slack",
    ),
    Mark(
        "slack-webhook",
        &["https://hooks.slack.com/services/T"],
        Class::Path,
        30,
        LONG,
        Level::Error,
        "a webhook of Slack",
    ),
    Mark("stripe-key", &["sk_live_", "rk_live_", "whsec_"], Class::Alnum, 24, 255, Level::Error, "a key of Stripe"),
    Mark("google-api-key", &["AIza"], Class::Url, 35, 35, Level::Error, "an API key of Google"),
    Mark("google-oauth", &["GOCSPX-"], Class::Url, 28, 28, Level::Error, "a client secret of Google"),
    Mark("npm-token", &["npm_"], Class::Alnum, 36, 36, Level::Error, "a token of npm"),
    Mark("pypi-token", &["pypi-AgE"], Class::Url, 80, LONG, Level::Error, "a token of PyPI"),
    Mark("crates-token", &["cio"], Class::Alnum, 32, 32, Level::Error, "a token of crates.io"),
    Mark("docker-token", &["dckr_pat_", "dckr_oat_"], Class::Url, 27, 64, Level::Error, "a token of Docker"),
    Mark("hugging-face-token", &["hf_"], Class::Alnum, 34, 40, Level::Error, "a token of Hugging Face"),
    Mark("sendgrid-key", &["SG."], Class::Dotted, 66, 66, Level::Error, "a key of SendGrid"),
    Mark(
        "shopify-token",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        Class::Hex,
        32,
        32,
        Level::Error,
        "a token of Shopify",
    ),
    Mark(
        "digitalocean-token",
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        Class::Hex,
        64,
        64,
        Level::Error,
        "a token of DigitalOcean",
    ),
    Mark("anthropic-key", &["sk-ant-"], Class::Url, 80, LONG, Level::Error, "a key of Anthropic"),
    Mark("openai-key", &["sk-proj-", "sk-svcacct-"], Class::Url, 40, LONG, Level::Error, "a key of OpenAI"),
    Mark("vault-token", &["hvs.", "hvb."], Class::Url, 24, 300, Level::Error, "a token of Vault"),
    Mark("age-key", &["AGE-SECRET-KEY-1"], Class::Upper, 58, 58, Level::Error, "a private key of age"),
    Mark("jwt", &["eyJ"], Class::Dotted, 40, 4096, Level::Warning, "a JSON Web Token"),
];

/// Rules by place, with their usual severities.
const PLACES: [(&str, Level, &str); 4] = [
    ("private-key", Level::Error, "a private key"),
    ("url-password", Level::Error, "a password in a URL"),
    ("assigned-secret", Level::Warning, "a value that is assigned to what is called a secret"),
    ("high-entropy", Level::Off, "a text that looks random"),
];

/// Names in the order of [`PLACES`].
pub const PRIVATE_KEY: usize = 0;
pub const URL_PASSWORD: usize = 1;
pub const ASSIGNED: usize = 2;
pub const ENTROPY: usize = 3;

/// One rule.
pub struct Rule {
    pub id: Cow<'static, str>,
    pub level: Level,
    pub summary: Cow<'static, str>,
}

/// A mark that is looked for.
pub struct Prefix {
    pub rule: usize,
    pub mark: &'static [u8],
    pub class: Class,
    pub least: usize,
    pub most: usize,
}

/// A pattern of a pipeline's own.
pub struct Own {
    pub rule: usize,
    pub regex: Regex,
    pub keywords: Vec<String>,
}

/// All rules that are looked for.
pub struct Rules {
    rules: Vec<Rule>,
    /// By the first byte of their marks.
    prefixes: Vec<Vec<Prefix>>,
    pub own: Vec<Own>,
}

/// The largest compiled pattern in bytes.
const REGEX: usize = 256 << 10;

impl Rules {
    pub fn new(config: &Config) -> Result<Self> {
        let mut rules: Vec<Rule> =
            PLACES.map(|(id, level, summary)| Rule { id: id.into(), level, summary: summary.into() }).into();
        let mut prefixes: Vec<Vec<Prefix>> = Vec::new();
        prefixes.resize_with(256, Vec::new);
        for Mark(id, marks, class, least, most, level, summary) in MARKS {
            let rule = match rules.iter().position(|rule| rule.id == *id) {
                Some(rule) => rule,
                None => {
                    rules.push(Rule { id: (*id).into(), level: *level, summary: (*summary).into() });
                    rules.len() - 1
                }
            };
            for mark in *marks {
                let (mark, class, least, most) = (mark.as_bytes(), *class, *least, *most);
                prefixes[usize::from(mark[0])].push(Prefix { rule, mark, class, least, most });
            }
        }
        let mut own = Vec::new();
        for pattern in &config.patterns {
            let id = &pattern.id;
            ensure!(
                !rules.iter().any(|rule| rule.id == *id),
                "there are two rules called `{id}`: name yours otherwise"
            );
            let regex = RegexBuilder::new(&pattern.regex).size_limit(REGEX).build();
            let regex = regex.with_context(|| format!("the pattern of `{id}` cannot be used"))?;
            ensure!(!regex.is_match(""), "the pattern of `{id}` matches the empty text, and so everything");
            let lower = |word: &String| word.to_ascii_lowercase();
            own.push(Own { rule: rules.len(), regex, keywords: pattern.keywords.iter().map(lower).collect() });
            let summary = if pattern.summary.is_empty() { "a secret" } else { &pattern.summary };
            rules.push(Rule { id: id.clone().into(), level: pattern.severity, summary: summary.to_owned().into() });
        }
        for (id, level) in &config.rules {
            let Some(rule) = rules.iter_mut().find(|rule| rule.id == *id) else {
                let known: Vec<&str> = rules.iter().map(|rule| &*rule.id).collect();
                bail!("`rules` speaks of `{id}`, which is no rule: there are {}", known.join(", "));
            };
            rule.level = *level;
        }
        let rules = Self { rules, prefixes, own };
        Ok(rules)
    }

    pub fn get(&self, rule: usize) -> &Rule {
        &self.rules[rule]
    }

    /// Whether a rule is looked for.
    pub fn is_on(&self, rule: usize) -> bool {
        self.rules[rule].level != Level::Off
    }

    /// Whether there is a rule of this name.
    pub fn has(&self, id: &str) -> bool {
        self.rules.iter().any(|rule| rule.id == id)
    }

    /// The marks that begin with a byte.
    pub fn marks(&self, first: u8) -> &[Prefix] {
        &self.prefixes[usize::from(first)]
    }
}
