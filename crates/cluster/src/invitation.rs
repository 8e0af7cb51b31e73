//! All that an operator tells a switch about the cluster that it is to join.

use switchyard_core::CaPin;

use crate::address::ServerAddress;
use crate::credential::Credential;
use crate::token::Token;
use crate::trust::CaCertificate;

/// How a switch was told to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where the API server is.
    pub server: ServerAddress,
    /// What a switch without a node certificate proves itself with.
    pub credential: Option<Credential>,
    /// The pin of the cluster's CA.
    pub pin: Option<CaPin>,
    /// Whether the CA may be taken as it is presented, if there is neither pin nor token to tell it by.
    pub insecure: bool,
}

impl Invitation {
    /// The bootstrap token, if that is what it came with.
    pub fn token(&self) -> Option<&Token> {
        self.credential.as_ref().and_then(Credential::token)
    }

    /// Whether there is anything in it by which the cluster can be told from others.
    pub(crate) fn tells_cluster(&self) -> bool {
        let by_credential = match &self.credential {
            Some(Credential::Token(_)) => true,
            Some(Credential::K3s(token)) => token.names_cluster(),
            Some(Credential::Certificate(_)) | None => false,
        };
        self.pin.is_some() || by_credential
    }

    /// Whether this may be the CA of the cluster that is meant: a pin names it, or none is given.
    pub fn allows(&self, ca: &CaCertificate) -> bool {
        self.pin.as_ref().is_none_or(|pin| ca.pins().contains(pin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn no_way_of_printing_a_token_shows_its_secret() {
        let token = Token::parse(&format!("abcdef.{SECRET}")).unwrap();
        let server = ServerAddress::new("10.0.0.5", 6443).unwrap();
        let invitation = Invitation {
            server,
            credential: Some(Credential::Token(token.clone())),
            pin: None,
            insecure: false,
        };
        for text in
            [token.to_string(), format!("{token:?}"), format!("{token:#?}"), format!("{invitation:?}")]
        {
            assert!(!text.contains(SECRET), "{text}");
        }
    }
}
