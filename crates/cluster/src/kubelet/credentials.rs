//! What a switch proves itself with: the kubelet's certificate, and the token or client certificate by
//! which it gets one, and their copies on /host, which outlive
//! the SONiC image.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::place::{self, Readers};
use super::{CA, CLIENT, KUBECONFIG, KubeletFiles, PKI, SAVED};
use crate::credential::{Credential, InvitationCertificate};
use crate::error::ClusterError;
use crate::forms::NodeName;
use crate::tls::Identity;
use crate::trust::{CaCertificate, Token};
use crate::x509;

/// What the names of the kubelet's certificates begin with.
const CLIENT_PREFIX: &str = "kubelet-client-";

/// The certificate that is brought back; the kubelet wants `kubelet-client-current.pem` to be a link to another.
const RESTORED: &str = "kubelet-client-restored.pem";

/// The kubelet's own certificate for those who ask it for logs; made by itself for this host name.
const SERVING: [&str; 2] = ["kubelet.crt", "kubelet.key"];

const SAVED_CLIENT: &str = "kubelet-client.pem";
const SAVED_CA: &str = "ca.crt";
const SAVED_TOKEN: &str = "token";
pub(super) const SAVED_CERTIFICATE: &str = "client.pem";

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

    fn read(pem: &[u8]) -> Option<Self> {
        let facts = x509::facts(&CertificateDer::from_pem_slice(pem).ok()?)?;
        PrivateKeyDer::from_pem_slice(pem).ok()?;
        let node = facts.common_name.strip_prefix("system:node:").unwrap_or(&facts.common_name).to_owned();
        Some(Self { node, not_before: facts.not_before, not_after: facts.not_after })
    }
}

impl KubeletFiles {
    /// What the kubelet's client certificate says. None if there is none, or none that can be read with its key.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        ClientCertificate::read(&fs::read(self.client_path()).ok()?)
    }

    /// Whether the kubelet has a client certificate, good or expired.
    pub fn has_client_certificate(&self) -> bool {
        self.client_certificate().is_some()
    }

    /// Keeps what this switch is to show: mode 0600, on /host, in place of whatever it was to show before.
    pub fn save_credential(&self, credential: &Credential) -> Result<(), ClusterError> {
        let (name, text, other) = match credential {
            Credential::Token(token) => (SAVED_TOKEN, token.reveal(), SAVED_CERTIFICATE),
            Credential::Certificate(certificate) => {
                (SAVED_CERTIFICATE, certificate.reveal().to_owned(), SAVED_TOKEN)
            }
        };
        place::write(&self.saved(name), text.as_bytes(), Readers::Root)?;
        place::remove(&self.saved(other)).map(drop)
    }

    /// What was kept to be shown. None if there is nothing; a text that is neither is said.
    pub fn saved_credential(&self) -> Result<Option<Credential>, ClusterError> {
        if let Some(token) = self.saved_token()? {
            return Ok(Some(Credential::Token(token)));
        }
        Ok(self.saved_certificate()?.map(Credential::Certificate))
    }

    /// The client certificate that was kept, with which a node's own is asked for.
    pub fn saved_certificate(&self) -> Result<Option<InvitationCertificate>, ClusterError> {
        let path = self.saved(SAVED_CERTIFICATE);
        let Some(text) = place::read(&path)? else { return Ok(None) };
        let read = InvitationCertificate::parse(&text);
        read.map(Some).map_err(|error| ClusterError::file(&path, "used", error))
    }

    /// Forgets the client certificate that was kept. False if there was none.
    pub fn forget_certificate(&self) -> Result<bool, ClusterError> {
        place::remove(&self.saved(SAVED_CERTIFICATE))
    }

    fn saved_token(&self) -> Result<Option<Token>, ClusterError> {
        let path = self.saved(SAVED_TOKEN);
        let Some(text) = place::read(&path)? else { return Ok(None) };
        Token::parse(&text).map(Some).map_err(|error| ClusterError::file(&path, "used", error))
    }

    /// Copies the kubelet's certificate and the cluster's CA to /host. To be called whenever the certificate changed; true
    /// if there was anything new to copy.
    pub fn save_credentials(&self) -> Result<bool, ClusterError> {
        if !self.has_client_certificate() {
            return Ok(false);
        }
        let mut changed = false;
        // The CA first: a certificate without the CA it goes with is not brought back.
        for (from, to) in [(self.path(CA), SAVED_CA), (self.client_path(), SAVED_CLIENT)] {
            let Some(content) = place::read(&from)? else { return Ok(changed) };
            changed |= place::write(&self.saved(to), content.as_bytes(), Readers::Root)?;
        }
        Ok(changed)
    }

    /// Brings the saved certificate and CA back where the kubelet has none as good: after a SONiC image was changed. True
    /// if it did. Whether they are of the right cluster is judged by [`KubeletFiles::write_for_join`].
    pub fn restore_credentials(&self) -> Result<bool, ClusterError> {
        let saved = place::read(&self.saved(SAVED_CLIENT))?;
        let (Some(pem), Some(ca)) = (saved, place::read(&self.saved(SAVED_CA))?) else { return Ok(false) };
        let Some(certificate) = ClientCertificate::read(pem.as_bytes()) else { return Ok(false) };
        // Another image of this switch may have renewed it since.
        if self.client_certificate().is_some_and(|live| live.not_after >= certificate.not_after) {
            return Ok(false);
        }
        place::write(&self.path(CA), ca.as_bytes(), Readers::All)?;
        place::write(&self.path(PKI).join(RESTORED), pem.as_bytes(), Readers::Root)?;
        place::link(&self.client_path(), Path::new(RESTORED))?;
        Ok(true)
    }

    /// The file in which the kubelet's certificate and key are; it is replaced when the kubelet renews them.
    pub(crate) fn client_path(&self) -> PathBuf {
        self.path(CLIENT)
    }

    pub(crate) fn ca_path(&self) -> PathBuf {
        self.path(CA)
    }

    /// The kubelet's certificate and key.
    pub(crate) fn identity(&self, node: &NodeName) -> Result<(ClientCertificate, Identity), ClusterError> {
        let path = self.client_path();
        let missing = || ClusterError::NoCredentials { node: node.clone() };
        let pem = place::read(&path)?.ok_or_else(missing)?;
        let certificate = ClientCertificate::read(pem.as_bytes()).ok_or_else(missing)?;
        certificate.check(SystemTime::now())?;
        let unusable = |error| ClusterError::file(&path, "used", format!("{error:?}"));
        let chain: Result<_, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(unusable)?;
        Ok((certificate, (chain.map_err(unusable)?, key)))
    }

    /// Whether the certificate that is there makes the kubelet this node of that cluster.
    pub fn usable_certificate(&self, ca: &CaCertificate, node: &NodeName) -> bool {
        let Some(certificate) = self.client_certificate() else { return false };
        // The CA beside it tells which cluster gave it; one that cannot be read tells nothing.
        let same_cluster = self.ca().ok().flatten().is_some_and(|old| old.overlaps(ca));
        same_cluster && certificate.node == node.as_str() && certificate.check(SystemTime::now()).is_ok()
    }

    pub(super) fn why_no_credentials(&self, node: &NodeName) -> ClusterError {
        let old = self.client_certificate();
        let expired = old.and_then(|certificate| certificate.check(SystemTime::now()).err());
        expired.unwrap_or_else(|| ClusterError::NoCredentials { node: node.clone() })
    }

    /// Removes what the kubelet proves itself with. True if there was anything.
    pub(super) fn forget_identity(&self) -> Result<bool, ClusterError> {
        let mut changed = place::remove(&self.path(KUBECONFIG))?;
        let pki = self.path(PKI);
        let entries = match fs::read_dir(&pki) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(changed),
            Err(error) => return Err(ClusterError::file(&pki, "read", error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| ClusterError::file(&pki, "read", error))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(CLIENT_PREFIX) || SERVING.contains(&name.as_ref()) {
                changed |= place::remove(&entry.path())?;
            }
        }
        Ok(changed)
    }

    /// Of a certificate without its key, or the other way round, the kubelet would say so and end; without both it makes
    /// them anew.
    pub(super) fn mend_serving_pair(&self) -> Result<bool, ClusterError> {
        let pair = SERVING.map(|name| self.path(PKI).join(name));
        if pair.iter().all(|half| half.exists()) {
            return Ok(false);
        }
        pair.iter().try_fold(false, |changed, half| Ok(place::remove(half)? | changed))
    }

    /// Removes the copies on /host, token and client certificate too.
    pub(super) fn forget_saved(&self) -> Result<bool, ClusterError> {
        let mut changed = false;
        for name in [SAVED_TOKEN, SAVED_CERTIFICATE, SAVED_CLIENT, SAVED_CA] {
            changed |= place::remove(&self.saved(name))?;
        }
        Ok(changed)
    }

    fn saved(&self, name: &str) -> PathBuf {
        self.path(SAVED).join(name)
    }
}
