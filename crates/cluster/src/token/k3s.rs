//! k3s's tokens, as its own documentation tells them (k3s docs, `cli/token.md`, and `pkg/clientaccess/token.go`):
//! `K10<hash of the CA>::<user>:<password>`, `K10<hash of the CA>::<id>.<secret>`, and both without what is before `::`,
//! in which case nothing tells whose cluster it is for.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use ring::digest::{SHA256, digest};

use super::Token;
use crate::forms::FormError;
use crate::trust::CaCertificate;

const PREFIX: &str = "K10";

/// As whom k3s's agent shows a password, whatever user its token names.
const USER: &str = "node";

/// More than any has: a full one has some 110 characters.
const TOKEN_MAX: usize = 8192;

const RULE: &str = "a token of k3s is K10, 64 hexadecimal digits, '::' and the secret, as in the server's file \
                    /var/lib/rancher/k3s/server/node-token, or the secret alone";

/// What an agent of k3s shows to be let in. Its text is shown by [`K3sToken::reveal`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct K3sToken {
    text: String,
    ca_hash: Option<String>,
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq)]
enum Secret {
    Password(String),
    Bootstrap(Token),
}

impl K3sToken {
    /// Takes each of the forms; blanks around it do not count.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let bad = || FormError::Secret { what: "the token", rule: RULE };
        let text = text.trim_ascii();
        // It stands in a header and in a line of a file.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > TOKEN_MAX || !is_plain {
            return Err(bad());
        }
        let (ca_hash, secret) = match text.strip_prefix(PREFIX) {
            None => (None, Secret::bare(text)),
            Some(rest) => {
                let (hash, secret) = rest.split_once("::").ok_or_else(bad)?;
                if !hash.is_empty() && !is_hash(hash) {
                    return Err(bad());
                }
                let hash = Some(hash.to_owned()).filter(|hash| !hash.is_empty());
                (hash, Secret::with_user(secret).ok_or_else(bad)?)
            }
        };
        Ok(Self { text: text.to_owned(), ca_hash, secret })
    }

    /// The whole token: to be written into a file of mode 0600, and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Whether it says by itself of which cluster it is.
    pub fn names_cluster(&self) -> bool {
        self.ca_hash.is_some()
    }

    /// The hash of the CA, in hexadecimal digits.
    pub(crate) fn ca_hash(&self) -> Option<&str> {
        self.ca_hash.as_deref()
    }

    /// The token with the hash of this CA in it, so that k3s itself knows the cluster again: as secret as the token. None
    /// if the hash cannot be told, because of a CA of several certificates k3s hashes the one that it takes for the root.
    pub(crate) fn full(&self, ca: &CaCertificate) -> Option<String> {
        if self.names_cluster() {
            return Some(self.text.clone());
        }
        let [_] = ca.certificates() else { return None };
        let hash = sha256(ca.pem().as_bytes());
        Some(match &self.secret {
            Secret::Password(password) => format!("{PREFIX}{hash}::{USER}:{password}"),
            Secret::Bootstrap(token) => format!("{PREFIX}{hash}::{}", token.reveal()),
        })
    }

    /// The header by which it is shown. To be sent over verified TLS only.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let text = match &self.secret {
            Secret::Password(password) => format!("Basic {}", STANDARD.encode(format!("{USER}:{password}"))),
            Secret::Bootstrap(token) => format!("Bearer {}", token.reveal()),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl Secret {
    fn bare(text: &str) -> Self {
        Token::parse(text).map_or_else(|_| Self::Password(text.to_owned()), Self::Bootstrap)
    }

    fn with_user(text: &str) -> Option<Self> {
        if let Ok(token) = Token::parse(text) {
            return Some(Self::Bootstrap(token));
        }
        let (_, password) = text.split_once(':')?;
        (!password.is_empty()).then(|| Self::Password(password.to_owned()))
    }
}

/// k3s compares the letters.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// In hexadecimal digits, as k3s writes it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, bytes).as_ref() {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl fmt::Display for K3sToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hash) = &self.ca_hash {
            write!(f, "{PREFIX}{}…::", &hash[..8])?;
        }
        match &self.secret {
            Secret::Password(_) => f.write_str("<secret>"),
            Secret::Bootstrap(token) => write!(f, "{token}"),
        }
    }
}

impl fmt::Debug for K3sToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "K3sToken({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const BOOTSTRAP: &str = "abcdef.0123456789abcdef";

    fn shown(text: &str) -> String {
        K3sToken::parse(text).unwrap().authorization().unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn each_form_is_shown_as_k3s_shows_it() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (text, header, names) in [
            (format!("K10{HASH}::server:pass:word\n"), basic("node:pass:word"), true),
            (format!("K10{HASH}::node:password"), basic("node:password"), true),
            (format!("K10{HASH}::{BOOTSTRAP}"), format!("Bearer {BOOTSTRAP}"), true),
            (format!("K10::{BOOTSTRAP}"), format!("Bearer {BOOTSTRAP}"), false),
            ("K10::node:password".to_owned(), basic("node:password"), false),
            (BOOTSTRAP.to_owned(), format!("Bearer {BOOTSTRAP}"), false),
            ("my:password".to_owned(), basic("node:my:password"), false),
        ] {
            assert_eq!(shown(&text), header, "{text}");
            assert_eq!(K3sToken::parse(&text).unwrap().names_cluster(), names, "{text}");
        }
    }

    #[test]
    fn what_k3s_would_not_take_is_refused_without_being_repeated() {
        let upper = HASH.to_uppercase();
        for bad in [
            "",
            " \n",
            "K10",
            "K10password",
            "K10::",
            "K10::password",
            "K10::node:",
            "K10abc::node:password",
            &format!("K10{upper}::node:password"),
            "pass word",
            "pass\nword",
            "pässword",
            &"x".repeat(TOKEN_MAX + 1),
        ] {
            let error = K3sToken::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("password") && error.contains("node-token"), "{error}");
        }
    }

    #[test]
    fn a_token_that_names_no_cluster_is_made_one_that_names_the_verified_one() {
        let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap().cert.pem();
        let (one, other) = (made("a").replace("\r\n", "\n"), made("b"));
        let ca = CaCertificate::from_pem(one.as_bytes()).unwrap();
        let full = |text: &str, ca: &CaCertificate| K3sToken::parse(text).unwrap().full(ca);
        assert_eq!(full("s3cret", &ca).unwrap(), format!("K10{}::node:s3cret", sha256(one.as_bytes())));
        assert_eq!(full(BOOTSTRAP, &ca).unwrap(), format!("K10{}::{BOOTSTRAP}", sha256(one.as_bytes())));
        let both = CaCertificate::from_pem((one + &other).as_bytes()).unwrap();
        assert_eq!(full("s3cret", &both), None);
        let named = format!("K10{HASH}::node:s3cret");
        assert_eq!(full(&named, &both), Some(named));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*", hash in "[0-9a-f]{60,66}") {
            let _ = K3sToken::parse(&text);
            let _ = K3sToken::parse(&format!("K10{hash}::{text}"));
        }

        #[test]
        fn no_way_of_printing_one_shows_its_secret(
            prefix in prop::sample::select(vec!["", "K10::node:", "K10::", "K10HASH::server:", "K10HASH::"]),
            secret in "(x[!-~]{8,40}|abcdef\\.[a-z0-9]{16})",
        ) {
            let text = prefix.replace("HASH", HASH) + &secret;
            let Ok(token) = K3sToken::parse(&text) else { return Ok(()) };
            let hidden = secret.strip_prefix("abcdef.").unwrap_or(&secret);
            for printed in [token.to_string(), format!("{token:?}"), format!("{token:#?}")] {
                prop_assert!(!printed.contains(hidden), "{printed}");
            }
            prop_assert_eq!(token.reveal(), text);
        }
    }
}
