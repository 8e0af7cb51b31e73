//! The certificate by which a switch is a node.

use std::path::Path;
use std::time::SystemTime;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::ClusterError;
use crate::forms::NodeName;
use crate::tls::Identity;
use crate::trust::CaCertificate;
use crate::x509;

/// What the certificate of a node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The node's name, or whatever else its user is called.
    pub node: String,
    /// From when it is good.
    pub not_before: SystemTime,
    /// Until when.
    pub not_after: SystemTime,
}

impl ClientCertificate {
    /// Whether it is still good at this time. One that is not good yet is: it was given by a cluster whose clock is right.
    pub fn check(&self, now: SystemTime) -> Result<(), ClusterError> {
        if now < self.not_after {
            return Ok(());
        }
        Err(ClusterError::CertificateExpired { node: self.node.clone(), at: x509::told(self.not_after) })
    }

    /// Whether more than two thirds of its time are over, at which Kubernetes' own programs renew theirs.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let whole = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_after.duration_since(now).map_or(true, |left| left < whole / 3)
    }

    /// Takes PEM text with the certificate and its key.
    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let facts = x509::facts(&CertificateDer::from_pem_slice(pem).ok()?)?;
        PrivateKeyDer::from_pem_slice(pem).ok()?;
        let node = facts.common_name.strip_prefix("system:node:").unwrap_or(&facts.common_name).to_owned();
        Some(Self { node, not_before: facts.not_before, not_after: facts.not_after })
    }

    /// Whether it makes the switch this node of that cluster. The CA beside it tells which cluster gave it.
    pub(crate) fn is_of(&self, node: &NodeName, ca: &CaCertificate, beside: Option<&CaCertificate>) -> bool {
        let same_cluster = beside.is_some_and(|old| old.overlaps(ca));
        same_cluster && self.node == node.as_str() && self.check(SystemTime::now()).is_ok()
    }
}

/// Why a node has nothing to show, of which this is the certificate, if it has one.
pub(crate) fn why_no_credentials(old: Option<&ClientCertificate>, node: &NodeName) -> ClusterError {
    let expired = old.and_then(|certificate| certificate.check(SystemTime::now()).err());
    expired.unwrap_or_else(|| ClusterError::NoCredentials { node: node.clone() })
}

/// The certificate and key in this text, which was read from that file.
pub(crate) fn identity(
    pem: Option<&str>,
    path: &Path,
    node: &NodeName,
) -> Result<(ClientCertificate, Identity), ClusterError> {
    let missing = || ClusterError::NoCredentials { node: node.clone() };
    let pem = pem.ok_or_else(missing)?.as_bytes();
    let certificate = ClientCertificate::read(pem).ok_or_else(missing)?;
    certificate.check(SystemTime::now())?;
    let unusable = |error| ClusterError::file(path, "used", format!("{error:?}"));
    let chain: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(unusable)?;
    Ok((certificate, (chain.map_err(unusable)?, key)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_certificate_is_due_in_the_last_third_of_its_time() {
        let begin = SystemTime::UNIX_EPOCH;
        let after = |hours| begin + Duration::from_hours(hours);
        let year = ClientCertificate { node: "a".to_owned(), not_before: begin, not_after: after(365 * 24) };
        let due = |hours| year.is_due(after(hours));
        assert_eq!((due(0), due(240 * 24), due(250 * 24), due(400 * 24)), (false, false, true, true));
    }
}
