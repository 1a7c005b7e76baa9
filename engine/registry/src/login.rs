//! Who asks: logins from docker's and podman's configuration, and the tokens that registries give for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential, get_podman_credential};
use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;

/// The key of Docker Hub in docker's configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A login. Its `Debug` shows no secret.
#[derive(Clone)]
pub(crate) enum Login {
    /// A name and a password.
    Basic(String, String),
    /// A token that is exchanged for others.
    Identity(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl Login {
    /// The value of a header `Authorization`.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Basic(name, password) => Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))),
            Self::Identity(_) => None,
        }
    }
}

/// The login for a registry: docker's `config.json` with its helpers, then podman's `auth.json`. None: nobody logged in.
pub(crate) fn find(registry: &str) -> Result<Option<Login>, String> {
    let keys = match registry {
        "docker.io" => vec![DOCKER_HUB.to_owned()],
        registry => vec![registry.to_owned(), format!("https://{registry}")],
    };
    for find in [get_credential, get_podman_credential] {
        for key in &keys {
            match find(key) {
                Ok(DockerCredential::UsernamePassword(name, password)) => {
                    return Ok(Some(Login::Basic(name, password)));
                }
                Ok(DockerCredential::IdentityToken(token)) => return Ok(Some(Login::Identity(token))),
                Err(
                    CredentialRetrievalError::NoCredentialConfigured
                    | CredentialRetrievalError::ConfigNotFound
                    | CredentialRetrievalError::ConfigReadError,
                ) => {}
                // Helpers say so of what they do not have.
                Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                    if format!("{stdout}{stderr}").contains("not found") => {}
                Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                    return Err(format!("docker's helper `{helper}` failed"));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(None)
}

/// How a registry wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With name and password.
    Basic,
    /// With a token, from this place.
    Bearer {
        /// Its URL.
        realm: String,
        /// The service that it is for.
        service: Option<String>,
        /// What it is for, if the registry says so.
        scope: Option<String>,
    },
}

/// Reads `WWW-Authenticate`. None: nothing in it is known.
pub(crate) fn challenge(header: &str) -> Option<Challenge> {
    let found: Vec<ChallengeRef<'_>> = ChallengeParser::new(header).collect::<Result<_, _>>().ok()?;
    let of = |scheme: &str| found.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
    if let Some(bearer) = of("bearer") {
        let param = |name: &str| {
            let found = bearer.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        return Some(Challenge::Bearer { realm: param("realm")?, service: param("service"), scope: param("scope") });
    }
    of("basic").map(|_| Challenge::Basic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:acme/scan:pull""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:acme/scan:pull".into()),
        };
        assert_eq!(challenge(header), Some(bearer));
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge("Bearer service=\"x\""), None);
        assert_eq!(challenge("\u{0}"), None);
    }

    #[test]
    fn a_login_does_not_show_itself() {
        let login = Login::Basic("me".into(), "hush".into());
        assert_eq!(login.basic().as_deref(), Some("Basic bWU6aHVzaA=="));
        assert!(!format!("{login:?}").contains("hush"));
        assert_eq!(Login::Identity("hush".into()).basic(), None);
    }
}
