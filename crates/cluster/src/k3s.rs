//! k3s as the program that makes the switch a node: its files, its tokens, its servers.
//!
//! Made after k3s's documentation and source; k3s itself was not to be had where this was written. What is taken from
//! where: `docs/cluster.md`. As with the kubelet's, each write is whole or not there, and whatever was cut short is begun
//! again and comes to the same end.

mod server;
mod texts;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::sign::CertifiedKey;

pub(crate) use server::{look, try_node, try_token};

use crate::address::ServerAddress;
use crate::certificate::{ClientCertificate, identity, why_no_credentials};
use crate::credential::Credential;
use crate::error::ClusterError;
use crate::forms::NodeName;
use crate::kubeconfig;
use crate::kubelet::{Changed, Settings};
use crate::place::{self, Readers};
use crate::program::Program;
use crate::tls::Identity;
use crate::trust::CaCertificate;

pub(crate) const PROGRAM: Program = Program {
    name: "k3s",
    unit: "k3s-agent.service",
    programs: &["/usr/local/bin/k3s", "/usr/bin/k3s", "/opt/bin/k3s"],
    remedy: "install k3s as an agent that is not started: INSTALL_K3S_EXEC=agent INSTALL_K3S_SKIP_ENABLE=true \
             INSTALL_K3S_SKIP_START=true ./install.sh",
};

/// Where k3s keeps everything.
const DATA: &str = "/var/lib/rancher/k3s";
const CONFIGURATION: &str = "/etc/rancher/k3s/config.yaml.d/90-switchyard.yaml";
const TOKEN: &str = "/etc/rancher/k3s/switchyard-token";
const DROP_IN: &str = "/etc/systemd/system/k3s-agent.service.d/10-switchyard.conf";
/// Is there from before the first change until k3s was started with all of them.
const JOINING: &str = "/run/switchyard/k3s-joining";

/// The CA of the API server. Ours until k3s has joined, then k3s's, which follows a cluster that replaces it.
const CA: &str = "/var/lib/rancher/k3s/agent/server-ca.crt";
const CLIENT: &str = "/var/lib/rancher/k3s/agent/client-kubelet.crt";
const KEY: &str = "/var/lib/rancher/k3s/agent/client-kubelet.key";
/// By it the cluster knows that a node of this name is the one that it was: without it, nobody may join under the name.
const PASSWORD: &str = "/etc/rancher/node/password";

/// What else k3s got from its cluster, and the servers that it remembers.
const OTHERS: [&str; 12] = [
    "client-ca.crt",
    "serving-kubelet.crt",
    "serving-kubelet.key",
    "kubelet.kubeconfig",
    "client-kube-proxy.crt",
    "client-kube-proxy.key",
    "kubeproxy.kubeconfig",
    "client-k3s-controller.crt",
    "client-k3s-controller.key",
    "k3scontroller.kubeconfig",
    "etc/k3s-agent-load-balancer.json",
    "etc/k3s-api-server-agent-load-balancer.json",
];

/// What outlives a change of the SONiC image, and under which name. The CA comes first: a certificate without the CA it
/// goes with is not brought back.
const KEPT: [(&str, &str); 4] = [
    (CA, "/host/switchyard/kubernetes/k3s/server-ca.crt"),
    (CLIENT, "/host/switchyard/kubernetes/k3s/client-kubelet.crt"),
    (KEY, "/host/switchyard/kubernetes/k3s/client-kubelet.key"),
    (PASSWORD, "/host/switchyard/kubernetes/k3s/node-password"),
];

/// k3s's files below a root, which is `/` but for tests.
#[derive(Debug, Clone)]
pub struct K3sFiles {
    root: PathBuf,
}

impl K3sFiles {
    /// The files below this root.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes all that k3s needs to become, or to be, this node of this cluster. Without a token, and without a certificate
    /// of this node that is good, this is refused before anything is written.
    pub fn write_for_join(
        &self,
        server: &ServerAddress,
        ca: &CaCertificate,
        credential: Option<&Credential>,
        settings: &Settings<'_>,
    ) -> Result<Changed, ClusterError> {
        let usable = self.usable_certificate(ca, settings.node);
        let token = full_token(server, ca, credential)?;
        if !usable && token.is_none() {
            return Err(why_no_credentials(self.client_certificate().as_ref(), settings.node));
        }
        let cut_short = !place::write(&self.path(JOINING), b"", Readers::All)?;
        // First: with it all that follows counts as ours, however far it comes.
        let program = PROGRAM.found(&self.root).unwrap_or(PROGRAM.programs[0]);
        let unit = place::write(&self.path(DROP_IN), texts::drop_in(program).as_bytes(), Readers::All)?;
        let mut changed = Changed { unit: unit || cut_short, files: false };
        if !usable {
            // Another cluster's, or another node's.
            changed.files |= self.forget_identity()?;
        }
        if !self.ca().ok().flatten().is_some_and(|known| known.overlaps(ca)) {
            changed.files |= place::write(&self.path(CA), ca.pem().as_bytes(), Readers::Root)?;
        }
        changed.files |= match &token {
            Some(token) => place::write(&self.path(TOKEN), token.as_bytes(), Readers::Root)?,
            None => place::remove(&self.path(TOKEN))?,
        };
        let configuration = texts::configuration(server, token.is_some(), settings);
        changed.files |= place::write(&self.path(CONFIGURATION), configuration.as_bytes(), Readers::All)?;
        Ok(changed)
    }

    /// k3s was started with all that the last join has written.
    pub(crate) fn started(&self) -> Result<(), ClusterError> {
        place::remove(&self.path(JOINING)).map(drop)
    }

    /// Whether k3s is set up by us, if only in part.
    pub fn are_ours(&self) -> bool {
        matches!(place::read(&self.path(DROP_IN)), Ok(Some(_)))
    }

    /// The server that k3s is set up for. None if it is not set up by us. Its kubeconfigs name a port of its own, behind
    /// which it balances between servers.
    pub fn joined_to(&self) -> Option<ServerAddress> {
        place::read(&self.path(DROP_IN)).ok()??;
        kubeconfig::server(&place::read(&self.path(CONFIGURATION)).ok()??)
    }

    /// The CA of the API server.
    pub fn ca(&self) -> Result<Option<CaCertificate>, ClusterError> {
        CaCertificate::in_file(&self.path(CA))
    }

    /// What the node's certificate says. None if there is none, or none whose key is beside it.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        certificate_of(&self.pair().ok()??)
    }

    /// Whether the certificate that is there makes k3s this node of that cluster.
    pub(crate) fn usable_certificate(&self, ca: &CaCertificate, node: &NodeName) -> bool {
        let beside = self.ca().ok().flatten();
        self.client_certificate().is_some_and(|certificate| certificate.is_of(node, ca, beside.as_ref()))
    }

    pub(crate) fn identity(&self, node: &NodeName) -> Result<(ClientCertificate, Identity), ClusterError> {
        identity(self.pair()?.as_deref(), &self.client_path(), node)
    }

    /// The file with the node's certificate; k3s gets another one each time it starts.
    pub(crate) fn client_path(&self) -> PathBuf {
        self.path(CLIENT)
    }

    pub(crate) fn ca_path(&self) -> PathBuf {
        self.path(CA)
    }

    /// The password by which the cluster knows this node again. None before k3s has made one.
    pub(crate) fn node_password(&self) -> Result<Option<String>, ClusterError> {
        Ok(place::read(&self.path(PASSWORD))?.map(|text| text.trim().to_owned()))
    }

    /// Copies to /host what another SONiC image needs to be the same node. True if there was anything new.
    pub fn save_credentials(&self) -> Result<bool, ClusterError> {
        if self.client_certificate().is_none() {
            return Ok(false);
        }
        let mut changed = false;
        for (from, to) in KEPT {
            let Some(content) = place::read(&self.path(from))? else { continue };
            changed |= place::write(&self.path(to), content.as_bytes(), Readers::Root)?;
        }
        Ok(changed)
    }

    /// Brings back what was copied, where k3s has none as good: after a SONiC image was changed. True if it did.
    pub fn restore_credentials(&self) -> Result<bool, ClusterError> {
        let [ca, client, key, password] = KEPT.map(|(to, from)| (self.path(from), self.path(to)));
        let mut changed = false;
        if let (Some(content), None) = (place::read(&password.0)?, place::read(&password.1)?) {
            changed |= place::write(&password.1, content.as_bytes(), Readers::Root)?;
        }
        let saved = pair(&client.0, &key.0)?.and_then(|pem| certificate_of(&pem));
        let Some(saved) = saved.filter(|_| ca.0.is_file()) else { return Ok(changed) };
        // Another image of this switch may have got a newer one since.
        if self.client_certificate().is_some_and(|live| live.not_after >= saved.not_after) {
            return Ok(changed);
        }
        for (from, to) in [ca, client, key] {
            let Some(content) = place::read(&from)? else { continue };
            changed |= place::write(&to, content.as_bytes(), Readers::Root)?;
        }
        Ok(changed)
    }

    /// Takes away what makes the switch a node, copies too, and what we wrote. What an administrator wrote stays.
    pub fn forget(&self) -> Result<Changed, ClusterError> {
        let mut files = self.forget_identity()?;
        for path in [CA, PASSWORD, TOKEN, CONFIGURATION] {
            files |= place::remove(&self.path(path))?;
        }
        for (_, copy) in KEPT {
            files |= place::remove(&self.path(copy))?;
        }
        // Last: while it is there, what was cut short is carried on.
        let unit = place::remove(&self.path(DROP_IN))?;
        Ok(Changed { unit, files })
    }

    /// Removes what k3s proves itself with. Its password stays: the name is the same one, in whatever cluster.
    fn forget_identity(&self) -> Result<bool, ClusterError> {
        let agent = self.path(DATA).join("agent");
        let own = [self.path(CLIENT), self.path(KEY)];
        let mut changed = false;
        for path in own.into_iter().chain(OTHERS.map(|name| agent.join(name))) {
            changed |= place::remove(&path)?;
        }
        Ok(changed)
    }

    fn pair(&self) -> Result<Option<String>, ClusterError> {
        pair(&self.path(CLIENT), &self.path(KEY))
    }
}

/// A certificate and its key as one text.
fn pair(certificate: &Path, key: &Path) -> Result<Option<String>, ClusterError> {
    let both = place::read(certificate)?.zip(place::read(key)?);
    Ok(both.map(|(certificate, key)| format!("{certificate}\n{key}")))
}

/// k3s writes the two files one after the other.
fn certificate_of(pem: &str) -> Option<ClientCertificate> {
    let certificate = ClientCertificate::read(pem.as_bytes())?;
    let (chain, key) = crate::credential::read(pem)?;
    let fits = CertifiedKey::new(chain, any_supported_type(&key).ok()?).keys_match().is_ok();
    fits.then_some(certificate)
}

/// The token as k3s is to have it: with the hash of the verified CA in it.
fn full_token(
    server: &ServerAddress,
    ca: &CaCertificate,
    credential: Option<&Credential>,
) -> Result<Option<String>, ClusterError> {
    match credential {
        None => Ok(None),
        Some(Credential::K3s(token)) => {
            let full =
                token.full(ca).ok_or_else(|| ClusterError::TokenNamesNoCluster { server: server.clone() })?;
            Ok(Some(full))
        }
        Some(Credential::Token(_) | Credential::Certificate(_)) => {
            Err(ClusterError::WantsK3sToken { server: server.clone() })
        }
    }
}
