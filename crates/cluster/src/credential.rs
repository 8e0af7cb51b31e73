//! What a switch without a node certificate of its own shows to be given one: a bootstrap token, or a client certificate
//! that the cluster's administrator gave out.

use std::fmt;
use std::time::SystemTime;

use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::error::ClusterError;
use crate::forms::FormError;
use crate::tls::Identity;
use crate::token::{K3sToken, Token};
use crate::x509;

const RULE: &str = "wanted are a certificate and the private key that goes with it, both in PEM form and without a pass \
                    phrase";

/// A client certificate with its key, by which whoever holds it may ask for a node's certificate. Its text is shown by
/// [`InvitationCertificate::reveal`] alone.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationCertificate {
    pem: String,
    name: String,
    not_after: SystemTime,
}

impl InvitationCertificate {
    /// Takes PEM text that holds both, the holder's certificate first.
    pub fn parse(pem: &str) -> Result<Self, FormError> {
        let bad = || FormError::Secret { what: "the client certificate", rule: RULE };
        let (chain, key) = read(pem).ok_or_else(bad)?;
        let facts = chain.first().and_then(|holder| x509::facts(holder)).ok_or_else(bad)?;
        let signer = any_supported_type(&key).map_err(|_| bad())?;
        CertifiedKey::new(chain, signer).keys_match().map_err(|_| bad())?;
        Ok(Self { pem: pem.to_owned(), name: facts.common_name, not_after: facts.not_after })
    }

    /// Whom it names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is still good at this time.
    pub fn check(&self, now: SystemTime) -> Result<(), ClusterError> {
        if now < self.not_after {
            return Ok(());
        }
        Err(ClusterError::InvitationExpired { name: self.name.clone(), at: x509::told(self.not_after) })
    }

    /// The whole text: to be written into a file of mode 0600, and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.pem
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        read(&self.pem)
    }
}

pub(crate) fn read(pem: &str) -> Option<Identity> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    Some((chain.ok()?, PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?))
}

impl fmt::Display for InvitationCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client certificate of {:?}", self.name)
    }
}

impl fmt::Debug for InvitationCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvitationCertificate({self})")
    }
}

/// One of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token signs `cluster-info` too, so that the cluster can be told by it.
    Token(Token),
    /// A token of k3s may say by itself of which cluster it is.
    K3s(K3sToken),
    /// A certificate proves the switch to the cluster and nothing the other way round: the cluster is told by its pin.
    Certificate(InvitationCertificate),
}

impl Credential {
    /// The bootstrap token, if it is one that signs.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::K3s(_) | Self::Certificate(_) => None,
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "token {token}"),
            Self::K3s(token) => write!(f, "token {token}"),
            Self::Certificate(certificate) => write!(f, "{certificate}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn made(end: SystemTime) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, "switches");
        parameters.not_after = end.into();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_is_taken_with_its_own_key_and_never_shows_it() {
        let now = SystemTime::now();
        let (certificate, key) = made(now + Duration::from_hours(1));
        let whole = format!("{certificate}{key}");
        let taken = InvitationCertificate::parse(&whole).unwrap();
        assert_eq!(taken.name(), "switches");
        assert_eq!(taken.reveal(), whole);
        assert!(taken.check(now).is_ok());
        let secret = key.lines().nth(1).unwrap();
        let shown = format!("{taken} {taken:?} {:?}", Credential::Certificate(taken.clone()));
        assert!(!shown.contains(secret) && !shown.contains("BEGIN"), "{shown}");
        let late = taken.check(now + Duration::from_hours(2)).unwrap_err();
        assert!(late.to_string().contains("switches"), "{late}");
    }

    #[test]
    fn halves_strangers_and_junk_are_refused_without_repeating_them() {
        let end = SystemTime::now() + Duration::from_hours(1);
        let ((certificate, key), (_, other)) = (made(end), made(end));
        for bad in ["", "junk", &certificate, &key, &format!("{certificate}{other}")] {
            let error = InvitationCertificate::parse(bad).unwrap_err().to_string();
            assert!(error.contains("PEM") && !error.contains("BEGIN"), "{error}");
        }
    }
}
