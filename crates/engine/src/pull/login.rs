//! As whom a registry is asked: what the operator gives, or what `docker login` left.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;
use switchyard_core::tpc::{Reference, Secret};

/// What Docker's own registry is called in files that are as old as it is.
const DOCKER_HUB: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

/// As whom to ask.
#[derive(Debug, Clone)]
pub enum RegistryLogin {
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// What a registry gave out in exchange.
    Token(Secret),
}

impl RegistryLogin {
    pub(super) fn credentials(&self, image: &Reference) -> DockerCredentials {
        let server = DockerCredentials {
            serveraddress: Some(match image.registry() {
                "docker.io" => DOCKER_HUB[0].to_owned(),
                registry => registry.to_owned(),
            }),
            ..DockerCredentials::default()
        };
        match self {
            Self::Password { username, password } => DockerCredentials {
                username: Some(username.clone()),
                password: Some(password.expose().to_owned()),
                ..server
            },
            Self::Token(token) => {
                DockerCredentials { identitytoken: Some(token.expose().to_owned()), ..server }
            }
        }
    }
}

/// Why what `docker login` left is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is not what `docker login` writes: {why}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is kept where only Docker's own helpers get it.
    #[error(
        "{path} leaves the login for {registry} to the program docker-credential-{helper}, which is not called from here; give it with --username and --password-stdin"
    )]
    Helper {
        /// The file.
        path: PathBuf,
        /// The registry.
        registry: String,
        /// The helper.
        helper: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: HashMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
}

/// What `docker login` left for this image's registry in a file such as `/root/.docker/config.json`, if anything.
pub fn docker_config(path: &Path, image: &Reference) -> Result<Option<RegistryLogin>, LoginError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| LoginError::File { path: path.to_owned(), source })?,
    };
    // The parser's words could repeat a part of a password.
    let bad = |why: &str| LoginError::Format { path: path.to_owned(), why: why.to_owned() };
    let config: Config = serde_json::from_slice(&bytes).map_err(|_| bad("it is no JSON of that form"))?;
    let registry = image.registry();
    let names = |key: &str| {
        if registry == "docker.io" {
            return DOCKER_HUB.contains(&key);
        }
        let bare = key.trim_start_matches("https://").trim_start_matches("http://");
        bare.split('/').next() == Some(registry)
    };
    let entry = config.auths.iter().find(|(key, _)| names(key)).map(|(_, entry)| entry);
    let helper = config.cred_helpers.iter().find(|(key, _)| names(key)).map(|(_, helper)| helper);
    match entry {
        Some(entry) if !entry.identitytoken.is_empty() => {
            Ok(Some(RegistryLogin::Token(Secret::new(entry.identitytoken.clone()))))
        }
        Some(entry) if !entry.auth.is_empty() => {
            let text = STANDARD.decode(entry.auth.trim_end_matches('\0')).ok();
            let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| bad("an auth in it is no base64"))?;
            let (username, password) =
                text.split_once(':').ok_or_else(|| bad("an auth in it is not user:password"))?;
            let password = Secret::new(password.trim_end_matches('\0'));
            Ok(Some(RegistryLogin::Password { username: username.to_owned(), password }))
        }
        // With a helper, `docker login` leaves an empty entry.
        entry => match helper.or(config.creds_store.as_ref().filter(|_| entry.is_some())) {
            Some(helper) => Err(LoginError::Helper {
                path: path.to_owned(),
                registry: registry.to_owned(),
                helper: helper.clone(),
            }),
            None => Ok(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Result<Option<RegistryLogin>, LoginError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        docker_config(&path, &Reference::parse(image).unwrap())
    }

    #[test]
    fn what_docker_login_left_is_found_by_the_registry() {
        let auth = STANDARD.encode("admin:hunter2:x");
        for (key, image) in [
            ("r.example.com:5000", "r.example.com:5000/nginx"),
            ("https://r.example.com/v2/", "r.example.com/a/nginx:1"),
            ("https://index.docker.io/v1/", "nginx"),
        ] {
            let config = format!(r#"{{"auths": {{"other": {{}}, "{key}": {{"auth": "{auth}"}}}}}}"#);
            let login = found(&config, image).unwrap().expect(key);
            let RegistryLogin::Password { username, password } = &login else { panic!("{login:?}") };
            assert_eq!((username.as_str(), password.expose()), ("admin", "hunter2:x"));
            assert!(!format!("{login:?}").contains("hunter2"));
            assert!(found(&config, "elsewhere.example.com/nginx").unwrap().is_none());
        }
        let token = r#"{"auths": {"r.io": {"auth": "", "identitytoken": "t"}}}"#;
        assert!(matches!(found(token, "r.io/x").unwrap(), Some(RegistryLogin::Token(_))));
    }

    #[test]
    fn a_helper_and_a_broken_file_are_told_without_a_secret() {
        let stored = r#"{"auths": {"r.io": {}}, "credsStore": "pass"}"#;
        assert!(matches!(found(stored, "r.io/x"), Err(LoginError::Helper { .. })));
        assert!(found(stored, "s.io/x").unwrap().is_none());
        let helped = r#"{"credHelpers": {"r.io": "pass"}}"#;
        assert!(matches!(found(helped, "r.io/x"), Err(LoginError::Helper { .. })));
        for bad in ["hunter2", r#"{"auths": {"r.io": {"auth": "hunter2!"}}}"#] {
            let error = found(bad, "r.io/x").unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(docker_config(Path::new("/no/such"), &Reference::parse("x").unwrap()).unwrap().is_none());
    }
}
