//! All that a switch says to a Kubernetes cluster and to the kubelet of its own.
//!
//! Finding out whom to trust, the kubelet's files or k3s's, the switch's own Node and the pods on it. It observes and acts; who may
//! run is `core`'s to say. Holds always: a secret goes to a verified server only, and is in no text that is shown; every
//! answer is bounded in time and in size; nothing is taken from where a server redirects to.

mod address;
mod backoff;
mod certificate;
mod client;
mod credential;
mod discover;
pub mod doctor;
mod error;
mod forms;
mod https;
mod identity;
mod invitation;
mod jws;
mod k3s;
mod kubeconfig;
mod kubelet;
mod node_files;
mod objects;
mod place;
mod program;
mod route;
mod saved;
#[cfg(test)]
mod switch_files;
mod tls;
mod token;
mod trust;
mod watch;
mod x509;

pub use address::ServerAddress;
pub use backoff::{Backoff, random};
pub use certificate::ClientCertificate;
pub use client::{Client, PodCondition, PodName};
pub use credential::{Credential, InvitationCertificate};
pub use discover::{discover, recognize, try_credential};
pub use error::ClusterError;
pub use forms::{FormError, LabelKey, LabelValue, NodeName, altered, label_value};
pub use identity::{SwitchFacts, identity_labels, identity_troubles};
pub use invitation::Invitation;
pub use k3s::K3sFiles;
pub use kubelet::{CgroupDriver, Changed, KubeletFiles, Settings};
pub use node_files::NodeFiles;
pub use objects::{ContainerSeen, Exit, Node, PodSeen, Taint, WaitingSeen};
pub use route::local_address_towards;
pub use saved::SavedCredential;
pub use token::{K3sToken, Token};
pub use trust::CaCertificate;
pub use watch::OwnEvent;
