//! The files of whichever program makes this switch a node. What the two have in common is asked here.

use std::path::{Path, PathBuf};

use switchyard_core::{Installed, NodeProgram};

use crate::address::ServerAddress;
use crate::certificate::ClientCertificate;
use crate::credential::Credential;
use crate::discover::{self, Seen};
use crate::error::ClusterError;
use crate::forms::NodeName;
use crate::invitation::Invitation;
use crate::k3s::{self, K3sFiles};
use crate::kubelet::{self, Changed, KubeletFiles, Settings};
use crate::program::Program;
use crate::tls::Identity;
use crate::trust::CaCertificate;

/// The files of one of the two.
#[derive(Debug, Clone)]
pub enum NodeFiles {
    /// SONiC's kubelet's.
    Kubelet(KubeletFiles),
    /// k3s's.
    K3s(K3sFiles),
}

/// The same question, whichever it is.
macro_rules! either {
    ($self:ident, $files:ident => $answer:expr) => {
        match $self {
            Self::Kubelet($files) => $answer,
            Self::K3s($files) => $answer,
        }
    };
}

impl NodeFiles {
    /// The files below this root of the program that is installed there, or preferred if both or none are.
    pub fn installed(root: &Path, preferred: NodeProgram) -> Self {
        let installed = Installed {
            kubelet: kubelet::PROGRAM.found(root).is_some(),
            k3s: k3s::PROGRAM.found(root).is_some(),
        };
        Self::of(NodeProgram::choose(preferred, installed), root)
    }

    fn of(program: NodeProgram, root: &Path) -> Self {
        match program {
            NodeProgram::Kubelet => Self::Kubelet(KubeletFiles::below(root)),
            NodeProgram::K3s => Self::K3s(K3sFiles::below(root)),
        }
    }

    /// Whose they are.
    pub fn program(&self) -> NodeProgram {
        match self {
            Self::Kubelet(_) => NodeProgram::Kubelet,
            Self::K3s(_) => NodeProgram::K3s,
        }
    }

    /// Those of the other program.
    pub fn other(&self) -> Self {
        let other = match self {
            Self::Kubelet(_) => NodeProgram::K3s,
            Self::K3s(_) => NodeProgram::Kubelet,
        };
        Self::of(other, self.root())
    }

    /// The unit that runs it.
    pub fn unit(&self) -> &'static str {
        self.about().unit
    }

    pub(crate) fn about(&self) -> &'static Program {
        match self {
            Self::Kubelet(_) => &kubelet::PROGRAM,
            Self::K3s(_) => &k3s::PROGRAM,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        either!(self, files => files.root())
    }

    /// Writes all that it needs to become, or to be, this node of this cluster.
    pub fn write_for_join(
        &self,
        server: &ServerAddress,
        ca: &CaCertificate,
        credential: Option<&Credential>,
        settings: &Settings<'_>,
    ) -> Result<Changed, ClusterError> {
        either!(self, files => files.write_for_join(server, ca, credential, settings))
    }

    /// The same cluster has another address. k3s is told with each join.
    pub fn point_to(&self, server: &ServerAddress) -> Result<Changed, ClusterError> {
        match self {
            Self::Kubelet(files) => files.point_to(server),
            Self::K3s(_) => Ok(Changed::default()),
        }
    }

    /// It was started with all that was written last.
    pub fn started(&self) -> Result<(), ClusterError> {
        either!(self, files => files.started())
    }

    /// Whether it is set up by us, if only in part: a join or a leave may have been cut short.
    pub fn are_ours(&self) -> bool {
        either!(self, files => files.are_ours())
    }

    /// The server that it is set up for. None if it is not set up by us.
    pub fn joined_to(&self) -> Option<ServerAddress> {
        either!(self, files => files.joined_to())
    }

    /// The CA that it trusts.
    pub fn ca(&self) -> Result<Option<CaCertificate>, ClusterError> {
        either!(self, files => files.ca())
    }

    /// What the node's certificate says. None if there is none, or none that can be read with its key.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        either!(self, files => files.client_certificate())
    }

    /// Whether the certificate that is there makes it this node of that cluster.
    pub fn usable_certificate(&self, ca: &CaCertificate, node: &NodeName) -> bool {
        either!(self, files => files.usable_certificate(ca, node))
    }

    /// Whether it gets a new certificate only when it starts. The kubelet renews its own while it runs.
    pub fn renew_by_restart(&self) -> bool {
        matches!(self, Self::K3s(_))
    }

    /// Copies to /host what another SONiC image needs to be the same node.
    pub fn save_credentials(&self) -> Result<bool, ClusterError> {
        either!(self, files => files.save_credentials())
    }

    /// Brings that back where there is none as good.
    pub fn restore_credentials(&self) -> Result<bool, ClusterError> {
        either!(self, files => files.restore_credentials())
    }

    /// Takes away what makes the switch a node, and what we wrote.
    pub fn forget(&self) -> Result<Changed, ClusterError> {
        either!(self, files => files.forget())
    }

    /// The directory of static pods' manifests: the kubelet's alone.
    pub fn static_pods(&self) -> PathBuf {
        KubeletFiles::below(self.root()).static_pods()
    }

    /// Whether it holds any manifest.
    pub fn has_static_pods(&self) -> bool {
        KubeletFiles::below(self.root()).has_static_pods()
    }

    /// The CA of the cluster that the switch is invited to, verified.
    pub async fn discover(&self, invitation: &Invitation) -> Result<CaCertificate, ClusterError> {
        self.look(invitation).await?.ca
    }

    pub(crate) async fn look(&self, invitation: &Invitation) -> Result<Seen, ClusterError> {
        match self {
            Self::Kubelet(_) => discover::look(invitation).await,
            Self::K3s(_) => k3s::look(invitation).await,
        }
    }

    /// Whether the cluster takes this. Shown over verified TLS only. Neither program tells anybody but its log why it is
    /// not let in.
    pub async fn try_credential(
        &self,
        server: &ServerAddress,
        ca: &CaCertificate,
        credential: &Credential,
    ) -> Result<(), ClusterError> {
        match (self, credential) {
            (Self::Kubelet(_), _) => discover::try_credential(server, ca, credential).await,
            (Self::K3s(_), Credential::K3s(token)) => k3s::try_token(server, ca, token).await,
            (Self::K3s(_), _) => Err(ClusterError::WantsK3sToken { server: server.clone() }),
        }
    }

    /// Whether the cluster takes it for this node, as far as the program itself would ask that.
    pub async fn try_to_join(
        &self,
        server: &ServerAddress,
        ca: &CaCertificate,
        credential: &Credential,
        node: &NodeName,
    ) -> Result<(), ClusterError> {
        self.try_credential(server, ca, credential).await?;
        match (self, credential) {
            (Self::K3s(files), Credential::K3s(token)) => match files.node_password()? {
                Some(password) => k3s::try_node(server, ca, token, node, &password).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    pub(crate) fn client_path(&self) -> PathBuf {
        either!(self, files => files.client_path())
    }

    pub(crate) fn ca_path(&self) -> PathBuf {
        either!(self, files => files.ca_path())
    }

    pub(crate) fn identity(&self, node: &NodeName) -> Result<(ClientCertificate, Identity), ClusterError> {
        either!(self, files => files.identity(node))
    }
}

impl From<KubeletFiles> for NodeFiles {
    fn from(files: KubeletFiles) -> Self {
        Self::Kubelet(files)
    }
}

impl From<K3sFiles> for NodeFiles {
    fn from(files: K3sFiles) -> Self {
        Self::K3s(files)
    }
}
