//! What can go wrong between a switch and a cluster, each kind apart, because each has another way out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::ServerAddress;
use crate::forms::NodeName;

/// A call to the cluster that did not do what it was to do.
///
/// One line that names the server and the way out. What a server says is shortened and cleaned; a secret is never in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// Nobody is there.
    #[error("the API server {server} cannot be reached ({cause}): check the address and the network")]
    Unreachable {
        /// Which server.
        server: ServerAddress,
        /// What the attempt said.
        cause: String,
    },
    /// Somebody is there and does not answer.
    #[error("{server} did not answer within {after:?}: is it the API server, and is it overloaded?")]
    TimedOut {
        /// Which server.
        server: ServerAddress,
        /// How long was waited.
        after: Duration,
    },
    /// What answers is something else.
    #[error("{server} is no Kubernetes API server ({found}): check: show kubernetes server config")]
    NotAnApiServer {
        /// Which server.
        server: ServerAddress,
        /// What it seems to be.
        found: String,
    },
    /// It sends us elsewhere, where we do not go: secrets are for the configured server alone.
    #[error(
        "{server} answers with a redirect to {to}: configure the API server itself, not what stands before it"
    )]
    Redirected {
        /// Which server.
        server: ServerAddress,
        /// Where to.
        to: String,
    },
    /// The answer has no end that we would wait for.
    #[error("the answer of {server} is larger than {max} bytes: is it an API server?")]
    AnswerTooLarge {
        /// Which server.
        server: ServerAddress,
        /// How much is taken.
        max: usize,
    },
    /// The answer cannot be understood.
    #[error("the answer of {server} cannot be used: {why}")]
    BadAnswer {
        /// Which server.
        server: ServerAddress,
        /// What is wrong in it.
        why: String,
    },
    /// The server's certificate is for others.
    #[error(
        "the certificate of {server} is for another name{names}: configure the server by a name that is in it, or \
         add this one to the API server's certificate"
    )]
    WrongName {
        /// Which server.
        server: ServerAddress,
        /// For whom it is, as far as it tells.
        names: String,
    },
    /// The server's certificate is of a CA that is not the cluster's.
    #[error(
        "the certificate of {server} is not signed by the cluster's CA ({cause}): is this the right cluster, or was \
         its CA replaced? If it was, join anew with the new pin"
    )]
    Untrusted {
        /// Which server.
        server: ServerAddress,
        /// What the check said.
        cause: String,
    },
    /// The server's certificate counts at another time.
    #[error(
        "the certificate of {server} {when}: if the switch's clock is right (date), the cluster's administrator has \
         to renew it"
    )]
    ServerExpired {
        /// Which server.
        server: ServerAddress,
        /// `has expired` or `is not valid yet`.
        when: &'static str,
    },
    /// There is nothing to know the cluster by.
    #[error(
        "nothing tells whether {server} is the right cluster: give a token or the pin of its CA, or set insecure to \
         join without a secret"
    )]
    NoTrust {
        /// Which server.
        server: ServerAddress,
    },
    /// The cluster's CA is another one than the pin says.
    #[error(
        "the CA of {server} has another hash ({found}) than the pin: is this the right cluster, is the pin right?"
    )]
    PinDiffers {
        /// Which server.
        server: ServerAddress,
        /// The pins of what it presents.
        found: String,
    },
    /// The token does not say of which cluster it is, and nothing else does.
    #[error(
        "the token does not tell whether {server} is the right cluster, so it is not sent: give the full one (K10…, \
         from the server's file /var/lib/rancher/k3s/server/node-token) with: config kubernetes server token, or the \
         pin of a CA of one certificate"
    )]
    TokenNamesNoCluster {
        /// Which server.
        server: ServerAddress,
    },
    /// The cluster's CA is another one than the token says.
    #[error(
        "the CA of {server} has another hash ({found}) than its token says: is this the right cluster, is the token \
         of it? Set it anew with: config kubernetes server token"
    )]
    TokenHashDiffers {
        /// Which server.
        server: ServerAddress,
        /// The hash of what it presents.
        found: String,
    },
    /// k3s does not join so.
    #[error("k3s joins {server} with a token of k3s and nothing else: config kubernetes server token")]
    WantsK3sToken {
        /// Which server.
        server: ServerAddress,
    },
    /// Another kind of cluster.
    #[error(
        "{server} is no k3s server ({found}), and this switch runs k3s, which joins no other; check: show kubernetes \
         server config"
    )]
    NotK3s {
        /// Which server.
        server: ServerAddress,
        /// What it seems to be.
        found: String,
    },
    /// The cluster knows a node of this name by another password.
    #[error(
        "{server} knows another node {node}, by another password: two switches of one name, or one that was set up \
         anew; if it is this one: kubectl delete node {node}, and if that does not do, kubectl --namespace kube-system \
         delete secret {node}.node-password.k3s"
    )]
    NodePasswordRefused {
        /// Which server.
        server: ServerAddress,
        /// Which node.
        node: NodeName,
    },
    /// The cluster does not tell who it is.
    #[error(
        "{server} does not show its cluster-info ({status}), from which a switch takes the cluster's CA: apply \
         packaging/cluster/2-join.yaml and make the ConfigMap as docs/cluster.md tells"
    )]
    NoClusterInfo {
        /// Which server.
        server: ServerAddress,
        /// The answer's status.
        status: u16,
    },
    /// The cluster has no such token.
    #[error(
        "{server} knows no token {id}: it has expired, or is of another cluster, or is not for signing; make a new \
         one (docs/cluster.md) and set it with: config kubernetes server token"
    )]
    TokenUnknown {
        /// Which server.
        server: ServerAddress,
        /// The token's public part.
        id: String,
    },
    /// The cluster's information is signed with another secret.
    #[error(
        "the cluster-info of {server} is not signed with token {id}: the token's second part is wrong, or somebody \
         pretends to be the cluster; set it anew with: config kubernetes server token"
    )]
    SignatureWrong {
        /// Which server.
        server: ServerAddress,
        /// The token's public part.
        id: String,
    },
    /// The server does not know us by what we showed.
    #[error(
        "{server} does not accept {what}: make a new one (docs/cluster.md), then: config kubernetes server token, or \
         config kubernetes server client-certificate"
    )]
    Unauthorized {
        /// Which server.
        server: ServerAddress,
        /// What was shown, without secrets.
        what: String,
    },
    /// It knows us and does not let us.
    #[error("{server} forbids to {doing} ({message}); an administrator of the cluster can: {remedy}")]
    Forbidden {
        /// Which server.
        server: ServerAddress,
        /// What was asked.
        doing: String,
        /// The server's words.
        message: String,
        /// What to do there, usually a command.
        remedy: String,
    },
    /// The client certificate with which a node's own is asked for has run out.
    #[error(
        "the client certificate of {name:?} expired at {at}: make a new one (docs/cluster.md), then: config kubernetes \
         server client-certificate"
    )]
    InvitationExpired {
        /// Whose.
        name: String,
        /// When.
        at: String,
    },
    /// The node's certificate, or that of the server it was for, has run out.
    #[error(
        "the certificate of node {node} expired at {at}, while the switch was away: make a new token \
         (docs/cluster.md), then: config kubernetes server token"
    )]
    CertificateExpired {
        /// Whose.
        node: String,
        /// When.
        at: String,
    },
    /// There is neither a node certificate nor anything to get one by.
    #[error(
        "the switch has no certificate of node {node} and nothing to get one by: config kubernetes server \
         token, or config kubernetes server client-certificate"
    )]
    NoCredentials {
        /// The node it would be.
        node: NodeName,
    },
    /// The server answers that it will not now, or not this.
    #[error("{server} answered {status} when asked to {doing}: {message}")]
    Refused {
        /// Which server.
        server: ServerAddress,
        /// What was asked.
        doing: String,
        /// The answer's status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// A file of ours or the kubelet's.
    #[error("{} {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened to it.
        why: String,
    },
}

impl ClusterError {
    /// One word for rows, conditions and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "ServerUnreachable",
            Self::TimedOut { .. } => "ServerHangs",
            Self::NotAnApiServer { .. } => "NotAnApiServer",
            Self::Redirected { .. } => "RedirectRefused",
            Self::AnswerTooLarge { .. } => "AnswerTooLarge",
            Self::BadAnswer { .. } => "BadAnswer",
            Self::WrongName { .. } => "CertificateForAnotherName",
            Self::Untrusted { .. } => "CertificateUntrusted",
            Self::ServerExpired { .. } => "ServerCertificateExpired",
            Self::NoTrust { .. } => "NothingToTrust",
            Self::PinDiffers { .. } => "PinDiffers",
            Self::TokenNamesNoCluster { .. } => "TokenNamesNoCluster",
            Self::TokenHashDiffers { .. } => "TokenHashDiffers",
            Self::WantsK3sToken { .. } => "WantsK3sToken",
            Self::NotK3s { .. } => "NotK3s",
            Self::NodePasswordRefused { .. } => "NodePasswordRefused",
            Self::NoClusterInfo { .. } => "NoClusterInfo",
            Self::TokenUnknown { .. } => "TokenUnknown",
            Self::SignatureWrong { .. } => "TokenSignatureWrong",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::CertificateExpired { .. } => "CertificateExpired",
            Self::InvitationExpired { .. } => "ClientCertificateExpired",
            Self::NoCredentials { .. } => "NoCredentials",
            Self::Refused { .. } => "ServerRefused",
            Self::File { .. } => "FileUnusable",
        }
    }

    /// Whether the server is merely away or busy, so that the same call may do later without anybody's help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    pub(crate) fn file(path: &Path, doing: &str, cause: impl std::fmt::Display) -> Self {
        Self::File {
            path: path.to_owned(),
            why: format!("cannot be {doing}: {}", one_line(&cause.to_string())),
        }
    }
}

/// So much of what somebody else says is repeated.
const WORDS_MAX: usize = 200;

/// Another's words in one line, bounded, with nothing in them that a terminal or a log would act on.
pub(crate) fn one_line(text: &str) -> String {
    // Bounded before it is looked at: an answer may be large.
    let text: String = text.chars().take(4 * WORDS_MAX).collect();
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut line: String = words.chars().take(WORDS_MAX).collect();
    if line.len() < words.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_one_short_clean_line() {
        assert_eq!(one_line("a\n\tb\u{1b}[31m  c\0"), "a b [31m c");
        assert!(one_line(&"x".repeat(1_000_000)).chars().count() <= WORDS_MAX + 1);
    }

    #[test]
    fn only_what_passes_by_itself_is_passing() {
        let server = ServerAddress::new("10.0.0.5", 6443).unwrap();
        let refused = |status| ClusterError::Refused {
            server: server.clone(),
            doing: "read".to_owned(),
            status,
            message: String::new(),
        };
        assert!(refused(503).is_passing() && refused(429).is_passing() && !refused(422).is_passing());
        assert!(
            ClusterError::TimedOut { server: server.clone(), after: Duration::from_secs(1) }.is_passing()
        );
        assert!(!ClusterError::NoTrust { server }.is_passing());
    }
}
