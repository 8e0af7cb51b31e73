//! By what a switch knows its cluster: the cluster's CA and the pins of it.

use std::fmt;
use std::path::Path;

use switchyard_core::CaPin;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::address::ServerAddress;
use crate::error::ClusterError;
use crate::forms::FormError;
use crate::place;
use crate::x509;

/// More certificates than any cluster has authorities: a bound for what a stranger may make us keep.
const AUTHORITIES_MAX: usize = 16;

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
