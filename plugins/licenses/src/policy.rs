//! What is permitted, decided over SPDX expressions.

use lockgate_sdk::prelude::*;
use spdx::{Expression, LicenseItem, LicenseReq, Licensee, ParseMode};

use crate::bill::Component;
use crate::{Class, Config};

/// What is said of a package.
pub enum Answer {
    Permitted,
    /// Nothing is known of its licence.
    Unknown,
    /// What is known is no expression: the text, and why not.
    Unclear(String, String),
    /// The text, and which licences in it are not permitted.
    Refused(String, String),
}

/// Licences as the config names them.
struct List(Vec<Licensee>);

impl List {
    fn new(key: &str, names: &[String]) -> Result<Self> {
        let parse = |name: &String| match Licensee::parse(name) {
            Ok(licensee) => Ok(licensee),
            Err(error) => bail!("`{name}` in `{key}` is no licence of the SPDX list: {}", error.reason),
        };
        Ok(Self(names.iter().map(parse).collect::<Result<_>>()?))
    }

    fn has(&self, requirement: &LicenseReq) -> bool {
        self.0.iter().any(|licensee| licensee.satisfies(requirement))
    }
}

struct Exempt<'c> {
    packages: &'c [String],
    allow: List,
    licence: Option<&'c str>,
    reason: &'c str,
    used: bool,
}

pub struct Policy<'c> {
    config: &'c Config,
    allow: List,
    deny: List,
    exempt: Vec<Exempt<'c>>,
}

/// The longest expression, and the deepest brackets in one.
const LONGEST: usize = 10_000;
const DEEPEST: usize = 32;

impl<'c> Policy<'c> {
    pub fn new(config: &'c Config) -> Result<Self> {
        let (allow, deny) = (List::new("allow", &config.allow)?, List::new("deny", &config.deny)?);
        let some = !allow.0.is_empty() || !deny.0.is_empty() || !config.allow_classes.is_empty();
        ensure!(some, "the policy is empty: set `allow`, `allow_classes` or `deny`");
        let mut exempt = Vec::new();
        for (index, exception) in config.exceptions.iter().enumerate() {
            ensure!(!exception.packages.is_empty(), "`exceptions[{index}]` names no packages");
            ensure!(!exception.reason.trim().is_empty(), "`exceptions[{index}]` has no reason");
            let allow = List::new(&format!("exceptions[{index}].allow"), &exception.allow)?;
            if let Some(licence) = &exception.license {
                parse(licence)
                    .map_err(|why| Error::new(format!("`exceptions[{index}].license` is no SPDX expression: {why}")))?;
            }
            let (packages, licence) = (exception.packages.as_slice(), exception.license.as_deref());
            exempt.push(Exempt { packages, allow, licence, reason: &exception.reason, used: false });
        }
        Ok(Self { config, allow, deny, exempt })
    }

    /// Judges a package; the licence by which it was judged is returned besides.
    pub fn judge(&mut self, component: &Component) -> (Answer, String) {
        let fits =
            |exempt: &Exempt<'_>| exempt.packages.iter().any(|pattern| fast_glob::glob_match(pattern, &component.purl));
        self.exempt.iter_mut().for_each(|exempt| exempt.used |= fits(exempt));
        let fitting: Vec<&Exempt<'_>> = self.exempt.iter().filter(|exempt| fits(exempt)).collect();
        let told = fitting.iter().find_map(|exempt| exempt.licence);
        let text = match (told, component.licences.as_slice()) {
            (Some(told), _) => told.to_owned(),
            (None, []) => String::new(),
            (None, [one]) => one.clone(),
            (None, several) => several.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" AND "),
        };
        let shown = if text.is_empty() { "(unknown)".to_owned() } else { text.chars().take(200).collect() };
        // An exception that says nothing else permits anything.
        if fitting.iter().any(|exempt| exempt.licence.is_none() && exempt.allow.0.is_empty()) {
            return (Answer::Permitted, shown);
        }
        if text.is_empty() {
            return (Answer::Unknown, shown);
        }
        let expression = match parse(&text) {
            Ok(expression) => expression,
            Err(why) => return (Answer::Unclear(shown.clone(), why), shown),
        };
        let permits = |requirement: &LicenseReq| {
            fitting.iter().any(|exempt| exempt.allow.has(requirement)) || self.permits(requirement)
        };
        match expression.evaluate_with_failures(permits) {
            Ok(()) => (Answer::Permitted, shown),
            Err(failed) => {
                let mut names: Vec<String> = failed.iter().map(|failed| failed.req.to_string()).collect();
                names.dedup();
                let why = if names
                    .iter()
                    .any(|name| Licensee::parse(name).is_ok_and(|licence| self.deny.has(&licence.into_req())))
                {
                    "is denied"
                } else {
                    "is not in `allow`"
                };
                (Answer::Refused(shown.clone(), format!("{} {why}", names.join(", "))), shown)
            }
        }
    }

    fn permits(&self, requirement: &LicenseReq) -> bool {
        if self.deny.has(requirement) {
            return false;
        }
        let class = |class: &Class| match (&requirement.license, class) {
            (LicenseItem::Spdx { id, .. }, Class::OsiApproved) => id.is_osi_approved(),
            (LicenseItem::Spdx { id, .. }, Class::FsfFree) => id.is_fsf_free_libre(),
            _ => false,
        };
        let anything = self.config.allow.is_empty() && self.config.allow_classes.is_empty();
        anything || self.allow.has(requirement) || self.config.allow_classes.iter().any(class)
    }

    /// Reasons of exceptions that no package needed.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.exempt.iter().filter(|exempt| !exempt.used).map(|exempt| exempt.reason)
    }
}

/// Reads an expression: strictly first, then as older packages write it (`GPL-2.0`, `Apache2`).
fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} characters"));
    }
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("it nests more than {DEEPEST} brackets"));
        }
    }
    match Expression::parse(text) {
        Ok(expression) => Ok(expression),
        Err(error) => Expression::parse_mode(text, ParseMode::LAX).map_err(|_| error.reason.to_string()),
    }
}
