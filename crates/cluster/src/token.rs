//! The tokens that a switch shows a cluster to be let in: Kubernetes' bootstrap tokens, and k3s's.

mod k3s;

pub use k3s::K3sToken;
pub(crate) use k3s::sha256;

use std::fmt;

use crate::forms::FormError;

const TOKEN_RULE: &str =
    "a bootstrap token is six and sixteen of the characters a-z and 0-9 with a dot between";

/// A bootstrap token. Its secret is shown by [`Token::reveal`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

impl Token {
    /// Takes `id.secret`; blanks around it, as a prompt or a file leaves them, do not count.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        let is_part = |part: &str, len| {
            part.len() == len && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        match text.trim().split_once('.') {
            Some((id, secret)) if is_part(id, 6) && is_part(secret, 16) => {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
            }
            _ => Err(FormError::Secret { what: "the token", rule: TOKEN_RULE }),
        }
    }

    /// The public part, by which the cluster's administrator finds it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole token: to be written into a file of mode 0600 or sent over verified TLS, and nowhere else.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.<secret>", self.id)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_form_of_a_bootstrap_token() {
        let token = Token::parse(" abcdef.0123456789abcdef\n").unwrap();
        assert_eq!((token.id(), token.reveal().as_str()), ("abcdef", "abcdef.0123456789abcdef"));
        for bad in [
            "",
            "abcdef",
            "abcdef.",
            "abcde.0123456789abcdef",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcdefg",
            "abcdef.0123456789ab\ndef",
        ] {
            let error = Token::parse(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }
}
