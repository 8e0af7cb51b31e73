//! The files by which this switch's kubelet belongs to a cluster.
//!
//! Only files: starting, stopping and reloading is the caller's, who is told whether anything changed. Every write is
//! whole or not there, so a join or a leave that died in between is begun again and comes to the same end.
//! What must outlive the SONiC image is kept a second time on /host (`credentials`).

mod credentials;
mod texts;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::address::ServerAddress;
use crate::certificate::why_no_credentials;
use crate::credential::Credential;
use crate::error::ClusterError;
use crate::forms::{FormError, NodeName};
use crate::kubeconfig::{self, User};
use crate::place::{self, Readers};
use crate::program::Program;
use crate::token::Token;
use crate::trust::CaCertificate;

pub(crate) const PROGRAM: Program = Program {
    name: "kubelet",
    unit: "kubelet.service",
    programs: &["/usr/bin/kubelet"],
    remedy: "install a SONiC image that was built with include_kubernetes=y",
};

const CA: &str = "/etc/kubernetes/ca.crt";
const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
const BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";
const CONFIGURATION: &str = "/var/lib/kubelet/config.yaml";
const DROP_IN: &str = "/etc/systemd/system/kubelet.service.d/10-switchyard.conf";
const PKI: &str = "/var/lib/kubelet/pki";
const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// Is there from before the first change until the kubelet was started with all of them. Gone after a boot, which starts
/// everything with what there is.
const JOINING: &str = "/run/switchyard/kubelet-joining";
const STATIC_PODS: &str = "/host/switchyard/kubernetes/manifests";
/// Where the kubelet finds the client certificate with which it asks for its own.
const INVITATION: &str = "/host/switchyard/kubernetes/client.pem";

/// How Docker keeps its containers apart, which the kubelet has to know: `cgroupfs` or `systemd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// The engine makes cgroups itself.
    Cgroupfs,
    /// systemd makes them.
    Systemd,
}

impl CgroupDriver {
    /// As `docker info` tells it.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        match text {
            "cgroupfs" => Ok(Self::Cgroupfs),
            "systemd" => Ok(Self::Systemd),
            _ => Err(FormError::Open {
                what: "cgroup driver",
                text: text.to_owned(),
                rule: "the kubelet knows cgroupfs and systemd; see: docker info",
            }),
        }
    }
}

impl std::fmt::Display for CgroupDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        })
    }
}

/// What the kubelet is to be.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The node's name.
    pub node: &'a NodeName,
    /// The node's address ([`crate::local_address_towards`]). A kubelet without a cluster needs none.
    pub address: Option<IpAddr>,
    /// What Docker uses.
    pub cgroup_driver: CgroupDriver,
}

/// What became different.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// The unit's drop-in: systemd has to read its units anew.
    pub unit: bool,
    /// A file that the kubelet reads at its start.
    pub files: bool,
}

impl Changed {
    /// Whether a kubelet that runs has to be restarted.
    pub fn any(self) -> bool {
        self.unit || self.files
    }
}

impl User<'static> {
    fn saved_certificate() -> Self {
        Self::Certificate(Path::new(INVITATION))
    }
}

/// The kubelet's files below a root, which is `/` but for tests.
#[derive(Debug, Clone)]
pub struct KubeletFiles {
    root: PathBuf,
}

impl KubeletFiles {
    /// The files below this root.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The place of a file of the switch.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes all that the kubelet needs to become, or to be, this node of this cluster.
    ///
    /// A node certificate that is there is used as long as it is this node's, of this cluster, and not expired; the
    /// credential, which must have been saved if it is a certificate, then waits for the day it is needed. Without either this is refused before anything is written.
    pub fn write_for_join(
        &self,
        server: &ServerAddress,
        ca: &CaCertificate,
        credential: Option<&Credential>,
        settings: &Settings<'_>,
    ) -> Result<Changed, ClusterError> {
        let usable = self.usable_certificate(ca, settings.node);
        let credential = credential.filter(|credential| !matches!(credential, Credential::K3s(_)));
        if !usable && credential.is_none() {
            return Err(why_no_credentials(self.client_certificate().as_ref(), settings.node));
        }
        // What a join that was cut short changed, and told neither systemd nor the kubelet, is still to be told: without
        // its drop-in the kubelet would run alone, with its ports open to everybody.
        let cut_short = !place::write(&self.path(JOINING), b"", Readers::All)?;
        // First: with it all that follows counts as ours, however far it comes.
        let unit = place::write(&self.path(DROP_IN), texts::drop_in(settings).as_bytes(), Readers::All)?;
        let mut changed = Changed { unit: unit || cut_short, files: self.mend_serving_pair()? };
        if !usable {
            // Another cluster's, or another node's: the kubelet would show it, and never ask for its own.
            changed.files |= self.forget_identity()?;
        }
        changed.files |= place::write(&self.path(CA), ca.pem().as_bytes(), Readers::All)?;
        changed.files |= match credential {
            Some(Credential::Token(token)) => self.write_bootstrap(server, &User::Token(token))?,
            Some(Credential::Certificate(_)) => self.write_bootstrap(server, &User::saved_certificate())?,
            Some(Credential::K3s(_)) | None => place::remove(&self.path(BOOTSTRAP))?,
        };
        if usable {
            changed.files |= self.write_kubeconfig(server)?;
        }
        let configuration = texts::configuration(settings);
        changed.files |= place::write(&self.path(CONFIGURATION), configuration.as_bytes(), Readers::All)?;
        Ok(changed)
    }

    /// Writes all that the kubelet needs to run the static pods of [`KubeletFiles::static_pods`] and nothing else. It belongs
    /// to no cluster then, and listens to nobody outside.
    pub fn write_alone(&self, settings: &Settings<'_>) -> Result<Changed, ClusterError> {
        let cut_short = !place::write(&self.path(JOINING), b"", Readers::All)?;
        let drop_in = texts::drop_in_alone(settings);
        let unit = place::write(&self.path(DROP_IN), drop_in.as_bytes(), Readers::All)?;
        let configuration = texts::configuration_alone(settings, STATIC_PODS);
        let files = place::write(&self.path(CONFIGURATION), configuration.as_bytes(), Readers::All)?;
        Ok(Changed { unit: unit || cut_short, files })
    }

    /// The directory of static pods' manifests: on /host, so that they outlive the SONiC image.
    pub fn static_pods(&self) -> PathBuf {
        self.path(STATIC_PODS)
    }

    /// Whether it holds any manifest; like the kubelet, this passes over names that begin with a dot.
    pub fn has_static_pods(&self) -> bool {
        let Ok(mut entries) = std::fs::read_dir(self.static_pods()) else { return false };
        entries.any(|entry| entry.is_ok_and(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")))
    }

    /// The kubelet was started with all that the last join has written.
    pub(crate) fn started(&self) -> Result<(), ClusterError> {
        place::remove(&self.path(JOINING)).map(drop)
    }

    /// Whether the kubelet is set up by us, if only in part: a join or a leave may have been cut short.
    pub fn are_ours(&self) -> bool {
        matches!(place::read(&self.path(DROP_IN)), Ok(Some(_)))
    }

    /// The server that the kubelet is set up for. None if it is not set up by us.
    pub fn joined_to(&self) -> Option<ServerAddress> {
        place::read(&self.path(DROP_IN)).ok()??;
        let server = |path: &str| kubeconfig::server(&place::read(&self.path(path)).ok()??);
        server(KUBECONFIG).or_else(|| server(BOOTSTRAP))
    }

    /// The CA that the kubelet trusts.
    pub fn ca(&self) -> Result<Option<CaCertificate>, ClusterError> {
        CaCertificate::in_file(&self.path(CA))
    }

    /// The same cluster has another address.
    pub fn point_to(&self, server: &ServerAddress) -> Result<Changed, ClusterError> {
        let mut files = false;
        if place::read(&self.path(KUBECONFIG))?.is_some() {
            files |= self.write_kubeconfig(server)?;
        }
        if let Some(text) = place::read(&self.path(BOOTSTRAP))? {
            let token = kubeconfig::field(&text, "token").and_then(|token| Token::parse(&token).ok());
            if let Some(token) = token {
                files |= self.write_bootstrap(server, &User::Token(&token))?;
            } else if kubeconfig::field(&text, "client-certificate").is_some() {
                files |= self.write_bootstrap(server, &User::saved_certificate())?;
            }
        }
        Ok(Changed { unit: false, files })
    }

    /// Takes away what makes the switch a node: its credentials, the saved copies too, and what we wrote. SONiC's own files stay.
    pub fn forget(&self) -> Result<Changed, ClusterError> {
        let mut files = self.forget_identity()?;
        for path in [BOOTSTRAP, CA] {
            files |= place::remove(&self.path(path))?;
        }
        let configuration = self.path(CONFIGURATION);
        if place::read(&configuration)?.is_some_and(|text| text.starts_with(texts::OURS)) {
            files |= place::remove(&configuration)?;
        }
        files |= self.forget_saved()?;
        // Last: while it is there, what was cut short is carried on.
        let unit = place::remove(&self.path(DROP_IN))?;
        Ok(Changed { unit, files })
    }

    fn write_bootstrap(&self, server: &ServerAddress, user: &User<'_>) -> Result<bool, ClusterError> {
        let text = kubeconfig::write(server, Path::new(CA), user);
        place::write(&self.path(BOOTSTRAP), text.as_bytes(), Readers::Root)
    }

    /// The kubelet writes this file itself, in its own words, when it gets its first certificate. It is left as it is
    /// if it says what ours would say.
    fn write_kubeconfig(&self, server: &ServerAddress) -> Result<bool, ClusterError> {
        let path = self.path(KUBECONFIG);
        let says =
            |text: &str, key: &str, value: &str| kubeconfig::field(text, key).as_deref() == Some(value);
        let same = place::read(&path)?.is_some_and(|text| {
            says(&text, "server", &server.url())
                && says(&text, "certificate-authority", CA)
                && says(&text, "client-certificate", CLIENT)
        });
        if same {
            return Ok(false);
        }
        let text = kubeconfig::write(server, Path::new(CA), &User::Certificate(Path::new(CLIENT)));
        place::write(&path, text.as_bytes(), Readers::Root)
    }
}

#[cfg(test)]
mod tests;
