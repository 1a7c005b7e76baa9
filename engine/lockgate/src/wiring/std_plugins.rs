//! The standard plugins, embedded by `build.rs`, so that the `lockgate` file alone is enough.

/// One embedded component.
#[derive(Debug)]
pub struct Embedded {
    /// The name behind `std:`.
    pub name: &'static str,
    /// The component.
    pub bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/std_plugins.rs"));

/// Why there is no standard plugin of a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StdPluginError {
    /// The binary was built without any.
    #[error("find `std:{name}`: this binary was built without the standard plugins")]
    NoneEmbedded {
        /// The name behind `std:`.
        name: String,
    },
    /// There are others, but none of this name.
    #[error("find `std:{name}`: there is no such standard plugin")]
    Unknown {
        /// The name behind `std:`.
        name: String,
        /// The nearest name, if one is near.
        nearest: Option<&'static str>,
    },
}

impl StdPluginError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::NoneEmbedded { .. } => {
                "build them with `cargo xtask plugins`, then build the engine again with `cargo build`".to_owned()
            }
            Self::Unknown { nearest: Some(nearest), .. } => format!("did you mean `std:{nearest}`?"),
            Self::Unknown { nearest: None, .. } => {
                let names: Vec<_> = EMBEDDED.iter().map(|plugin| format!("`std:{}`", plugin.name)).collect();
                format!("there are {}", names.join(", "))
            }
        }
    }
}

/// The standard plugin of a name.
pub fn find(name: &str) -> Result<&'static Embedded, StdPluginError> {
    find_in(EMBEDDED, name)
}

fn find_in(all: &'static [Embedded], name: &str) -> Result<&'static Embedded, StdPluginError> {
    if let Some(plugin) = all.iter().find(|plugin| plugin.name == name) {
        return Ok(plugin);
    }
    let shown: String = name.chars().take(64).collect();
    if all.is_empty() {
        return Err(StdPluginError::NoneEmbedded { name: shown });
    }
    Err(StdPluginError::Unknown { nearest: nearest(&shown, all.iter().map(|plugin| plugin.name)), name: shown })
}

/// The candidate that a misspelt name most likely meant, if any is near enough: at most a third of its characters differ.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    static TWO: &[Embedded] = &[Embedded { name: "pack", bytes: b"a" }, Embedded { name: "threshold", bytes: b"b" }];

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        assert_eq!(find_in(TWO, "pack").unwrap().bytes, b"a");
        let error = find_in(TWO, "treshold").unwrap_err();
        assert_eq!(error, StdPluginError::Unknown { name: "treshold".into(), nearest: Some("threshold") });
        assert_eq!(error.hint(), "did you mean `std:threshold`?");
        assert_eq!(find_in(TWO, "zzz").unwrap_err(), StdPluginError::Unknown { name: "zzz".into(), nearest: None });
    }

    #[test]
    fn a_binary_without_plugins_says_how_to_get_them() {
        let error = find_in(&[], "pack").unwrap_err();
        assert!(error.hint().contains("cargo xtask plugins"));
    }

    #[test]
    fn what_is_embedded_are_components() {
        for plugin in EMBEDDED {
            assert!(plugin.bytes.starts_with(b"\0asm") && !plugin.name.is_empty(), "{}", plugin.name);
        }
    }
}
