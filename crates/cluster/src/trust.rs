//! By what a switch and a cluster know each other: token, pin, the cluster's CA, and the invitation with all of it.

use std::fmt;
use std::path::Path;

use switchyard_core::CaPin;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::address::ServerAddress;
use crate::credential::Credential;
use crate::error::ClusterError;
use crate::forms::FormError;
use crate::place;
use crate::x509;

const TOKEN_RULE: &str =
    "a bootstrap token is six and sixteen of the characters a-z and 0-9 with a dot between";

/// More certificates than any cluster has authorities: a bound for what a stranger may make us keep.
const AUTHORITIES_MAX: usize = 16;

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

/// The pin of one certificate.
pub(crate) fn pin_of(certificate: &CertificateDer<'_>) -> Option<CaPin> {
    let hash = ring::digest::digest(&ring::digest::SHA256, &x509::public_key(certificate)?);
    Some(CaPin::of_sha256(hash.as_ref().try_into().ok()?))
}

/// The pins of some certificates, for people.
pub(crate) fn pins_told(certificates: &[CertificateDer<'_>]) -> String {
    let pins: Vec<String> =
        certificates.iter().filter_map(pin_of).take(3).map(|pin| pin.to_string()).collect();
    if pins.is_empty() { "none".to_owned() } else { pins.join(", ") }
}

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

/// The cluster's CA: one certificate, or several while it is being replaced.
#[derive(Clone, PartialEq, Eq)]
pub struct CaCertificate(Vec<CertificateDer<'static>>);

impl CaCertificate {
    /// The one in this file. None if there is no such file.
    pub(crate) fn in_file(path: &Path) -> Result<Option<Self>, ClusterError> {
        let Some(pem) = place::read(path)? else { return Ok(None) };
        Self::from_pem(pem.as_bytes()).map(Some).map_err(|error| ClusterError::file(path, "used", error))
    }

    /// Takes PEM text with at least one certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, FormError> {
        let bad =
            || FormError::Secret { what: "the CA", rule: "wanted are 1 to 16 certificates in PEM form" };
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem).take(AUTHORITIES_MAX + 1).collect();
        Self::from_der(certificates.map_err(|_| bad())?).ok_or_else(bad)
    }

    /// Takes certificates, if they are some and each can be read.
    pub(crate) fn from_der(certificates: Vec<CertificateDer<'static>>) -> Option<Self> {
        let count_is_right = (1..=AUTHORITIES_MAX).contains(&certificates.len());
        let readable = certificates.iter().all(|certificate| x509::public_key(certificate).is_some());
        (count_is_right && readable).then_some(Self(certificates))
    }

    /// Of these certificates those that the pin names.
    ///
    /// All others are left: somebody between could have put one of their own beside the cluster's.
    pub(crate) fn pinned(candidates: &[CertificateDer<'_>], pin: &CaPin) -> Option<Self> {
        let named = candidates.iter().filter(|certificate| pin_of(certificate).as_ref() == Some(pin));
        Self::from_der(named.map(|certificate| certificate.clone().into_owned()).collect())
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// The same as PEM text.
    pub fn pem(&self) -> String {
        self.0.iter().map(|certificate| x509::pem("CERTIFICATE", certificate)).collect()
    }

    /// The pins of its certificates.
    pub fn pins(&self) -> Vec<CaPin> {
        self.0.iter().filter_map(pin_of).collect()
    }

    /// Whether both have a certificate in common: the same cluster, even while its CA is being replaced.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|certificate| other.0.contains(certificate))
    }

    pub(crate) fn roots(&self, server: &ServerAddress) -> Result<RootCertStore, ClusterError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.0 {
            roots.add(certificate.clone()).map_err(|error| ClusterError::BadAnswer {
                server: server.clone(),
                why: format!("the cluster's CA is no usable certificate ({error})"),
            })?;
        }
        Ok(roots)
    }
}

impl fmt::Debug for CaCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pins()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

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

    #[test]
    fn a_pin_leaves_out_what_it_does_not_name() {
        let ours = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
        let foreign = rcgen::generate_simple_self_signed(vec!["b".to_owned()]).unwrap();
        let candidates = [foreign.cert.der().clone(), ours.cert.der().clone()];
        let pin = pin_of(ours.cert.der()).unwrap();
        let ca = CaCertificate::pinned(&candidates, &pin).unwrap();
        assert_eq!(ca.pins(), std::slice::from_ref(&pin));
        assert_eq!(CaCertificate::from_pem(ca.pem().as_bytes()).unwrap(), ca);
        assert_eq!(ca.pem(), ours.cert.pem().replace("\r\n", "\n"));
        assert!(CaCertificate::pinned(&candidates[..1], &pin).is_none());
    }

    #[test]
    fn what_is_no_certificate_is_no_ca() {
        let junk = x509::pem("CERTIFICATE", b"junk");
        for bad in ["", "hello", junk.as_str(), "-----BEGIN CERTIFICATE-----\n"] {
            assert!(CaCertificate::from_pem(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        let one = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
        assert!(CaCertificate::from_pem(one.repeat(17).as_bytes()).is_err(), "too many");
    }
}
