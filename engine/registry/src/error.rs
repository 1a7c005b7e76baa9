//! What can go wrong between here and a registry.

use std::io;

use lockgate_model::Digest;
use lockgate_model::oci::{OciName, VersionRange};

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such thing in the registry.
    #[error("find {what}: the registry does not have it")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// No version fits.
    #[error("find a version of `{name}` that fits `{range}`: there {}", versions(.found))]
    NoVersion {
        /// The component.
        name: OciName,
        /// What has to fit.
        range: VersionRange,
        /// The highest versions that there are, highest first.
        found: Vec<String>,
    },
    /// The registry wants somebody else.
    #[error("ask `{registry}`: it refuses who asks ({status})")]
    Denied {
        /// The registry.
        registry: String,
        /// The status of its answer.
        status: u16,
        /// Whether a name and password, or a token, were found for it.
        logged_in: bool,
    },
    /// The credentials cannot be had.
    #[error("find the login for `{registry}`: {why}")]
    Login {
        /// The registry.
        registry: String,
        /// Why not.
        why: String,
    },
    /// No answer.
    #[error("reach `{registry}`: {why}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// Why not.
        why: String,
    },
    /// An answer that registries do not give.
    #[error("read what `{registry}` answers to {what}: {why}")]
    Answer {
        /// The registry.
        registry: String,
        /// What was asked.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Other bytes than those that were asked for.
    #[error("take what `{registry}` gives for {wanted}: its digest is {found}")]
    Digest {
        /// The registry.
        registry: String,
        /// What was asked for.
        wanted: Digest,
        /// What came.
        found: Digest,
    },
    /// What is there under the tag is something else.
    #[error("push `{name}:{tag}`: there is another one already ({found})")]
    Exists {
        /// The component.
        name: OciName,
        /// The tag.
        tag: String,
        /// The digest of the manifest that is there.
        found: Digest,
    },
    /// The registry was not asked, because nothing may be.
    #[error("ask `{registry}` for {what}: only what was pulled before is used (--offline, or LOCKGATE_OFFLINE)")]
    Offline {
        /// The registry.
        registry: String,
        /// What would have been asked.
        what: String,
    },
    /// The machine's own files.
    #[error("{doing}: {error}")]
    Disk {
        /// What was tried.
        doing: String,
        /// Why not.
        error: io::Error,
    },
}

impl RegistryError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "look at its name and version, and at who may see it: registries hide what others may not".to_owned(),
            ),
            Self::NoVersion { .. } => {
                Some("tags of versions are as `1.2.3`; pre-releases fit only ranges that name one".to_owned())
            }
            Self::Denied { registry, logged_in: false, .. } => {
                Some(format!("log in, as by `docker login {registry}`: the login is read from docker's configuration"))
            }
            Self::Denied { registry, .. } => Some(format!(
                "the login from docker's configuration does not do; `docker login {registry}` replaces it"
            )),
            Self::Exists { .. } => Some("push another version, or replace it with --force".to_owned()),
            Self::Digest { .. } => {
                Some("somebody changed it on the way, or the registry is damaged; nothing of it was used".to_owned())
            }
            Self::Offline { .. } => Some("pull it where there is a network: `lockgate plugin pull`".to_owned()),
            Self::Unreachable { .. } => {
                Some("proxies are taken from HTTPS_PROXY and NO_PROXY, mirrors from registries.toml".to_owned())
            }
            Self::Login { .. } | Self::Answer { .. } | Self::Disk { .. } => None,
        }
    }

    /// Whether another try, or another mirror, may have it.
    pub(crate) const fn elsewhere(&self) -> bool {
        !matches!(self, Self::Disk { .. } | Self::Exists { .. } | Self::Offline { .. })
    }
}

fn versions(found: &[String]) -> String {
    match found {
        [] => "are none".to_owned(),
        found => format!("are {}", found.join(", ")),
    }
}
