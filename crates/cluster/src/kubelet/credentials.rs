//! What the kubelet proves itself with, and its copy on /host, which outlives the SONiC image.

use std::fs;
use std::path::{Path, PathBuf};

use super::{CA, CLIENT, KUBECONFIG, KubeletFiles, PKI};
use crate::certificate::{ClientCertificate, identity};
use crate::error::ClusterError;
use crate::forms::NodeName;
use crate::place::{self, Readers};
use crate::saved::SAVED;
use crate::tls::Identity;
use crate::trust::CaCertificate;

/// What the names of the kubelet's certificates begin with.
const CLIENT_PREFIX: &str = "kubelet-client-";

/// The certificate that is brought back; the kubelet wants `kubelet-client-current.pem` to be a link to another.
const RESTORED: &str = "kubelet-client-restored.pem";

/// The kubelet's own certificate for those who ask it for logs; made by itself for this host name.
const SERVING: [&str; 2] = ["kubelet.crt", "kubelet.key"];

const SAVED_CLIENT: &str = "kubelet-client.pem";
const SAVED_CA: &str = "ca.crt";

impl KubeletFiles {
    /// What the kubelet's client certificate says. None if there is none, or none that can be read with its key.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        ClientCertificate::read(&fs::read(self.client_path()).ok()?)
    }

    /// Copies the kubelet's certificate and the cluster's CA to /host. To be called whenever the certificate changed; true
    /// if there was anything new to copy.
    pub fn save_credentials(&self) -> Result<bool, ClusterError> {
        if self.client_certificate().is_none() {
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
        identity(place::read(&path)?.as_deref(), &path, node)
    }

    /// Whether the certificate that is there makes the kubelet this node of that cluster.
    pub fn usable_certificate(&self, ca: &CaCertificate, node: &NodeName) -> bool {
        // One that cannot be read tells nothing.
        let beside = self.ca().ok().flatten();
        self.client_certificate().is_some_and(|certificate| certificate.is_of(node, ca, beside.as_ref()))
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

    /// Removes the copies on /host.
    pub(super) fn forget_saved(&self) -> Result<bool, ClusterError> {
        let mut changed = false;
        for name in [SAVED_CLIENT, SAVED_CA] {
            changed |= place::remove(&self.saved(name))?;
        }
        Ok(changed)
    }

    fn saved(&self, name: &str) -> PathBuf {
        self.path(SAVED).join(name)
    }
}
