//! What can be typed after `switchyard config`. The words of values are those that stand in the rows.

use clap::{Args, Subcommand};
#[cfg(feature = "kubernetes")]
use std::path::PathBuf;

/// Configures features, and in a build with Kubernetes support also that.
#[derive(Debug, Args)]
#[command(infer_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) area: ConfigArea,
}

#[cfg(feature = "kubernetes")]
const EXAMPLES: &str = "\
Examples:
  sudo switchyard config kubernetes server ip 10.0.0.5
  sudo switchyard config kubernetes server token
  sudo switchyard config feature owner snmp kube
  sudo switchyard config feature state sflow enabled --block

Verbs may be shortened while they are unique. To keep what was configured over a reboot: config save.
Exit codes: 0 done, or already so; 1 refused; 2 wrong arguments; 5 no permission; 6 database.";
#[cfg(not(feature = "kubernetes"))]
const EXAMPLES: &str = "\
Examples:
  sudo switchyard config feature state sflow enabled --block
  sudo switchyard config feature autorestart snmp disabled

Verbs may be shortened while they are unique. To keep what was configured over a reboot: config save.
Exit codes: 0 done, or already so; 1 refused; 2 wrong arguments; 5 no permission; 6 database.";

/// What can be configured.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigArea {
    /// The server that this switch joins, and the labels of its node
    #[cfg(feature = "kubernetes")]
    Kubernetes(Kubernetes),
    /// Features: whether they run, and who runs them
    Feature(Feature),
}

/// Features.
#[derive(Debug, Args)]
pub(crate) struct Feature {
    #[command(subcommand)]
    pub(crate) verb: FeatureVerb,
}

/// What can be configured of a feature.
#[derive(Debug, Subcommand)]
pub(crate) enum FeatureVerb {
    /// Say who is to run it: this switch's own image, or Kubernetes
    #[cfg(feature = "kubernetes")]
    #[command(after_help = "Examples:\n  switchyard config feature owner snmp kube\n\n\
        With kube the local image goes on until the pod is there; with local it is back at once.\n\
        To see where it stands: switchyard show kubernetes status")]
    Owner {
        /// The feature
        name: String,
        /// Who runs it
        #[arg(value_parser = ["local", "kube"])]
        owner: String,
    },
    /// Say whether the local image may run while Kubernetes brings none
    #[cfg(feature = "kubernetes")]
    #[command(after_help = "Examples:\n  switchyard config feature fallback snmp off\n\n\
        Off means that nobody runs the feature while no pod of it can.")]
    Fallback {
        /// The feature
        name: String,
        /// Whether it may
        #[arg(value_parser = ["on", "off"])]
        fallback: String,
    },
    /// Say whether a new version that Kubernetes brings takes over by itself
    #[cfg(feature = "kubernetes")]
    #[command(after_help = "Examples:\n  switchyard config feature update swss hold\n\n\
        Under hold a version other than the last one that ran here waits for: system service accept. Where nobody \
        has said, features whose restart would restart others hold, and all else is auto.")]
    Update {
        /// The feature
        name: String,
        /// When it takes over
        #[arg(value_parser = ["auto", "hold"])]
        update: String,
    },
    /// Let it run, or not
    #[command(after_help = "Examples:\n  switchyard config feature state sflow enabled\n  \
        switchyard config feature state sflow enabled --block --timeout 60")]
    State {
        /// The feature
        name: String,
        /// Whether it runs
        #[arg(value_parser = ["enabled", "disabled"])]
        state: String,
        /// Wait until it is so
        #[arg(long)]
        block: bool,
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "block")]
        timeout: u32,
    },
    /// Let systemd start it again when it ends by itself, or not
    #[command(after_help = "Examples:\n  switchyard config feature autorestart snmp disabled")]
    Autorestart {
        /// The feature
        name: String,
        /// Whether it is started again
        #[arg(value_parser = ["enabled", "disabled"])]
        auto_restart: String,
    },
}

/// Kubernetes.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Args)]
pub(crate) struct Kubernetes {
    #[command(subcommand)]
    pub(crate) verb: KubernetesVerb,
}

/// What can be configured of Kubernetes.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesVerb {
    /// The server that this switch joins
    #[command(after_help = "\
Examples:
  switchyard config kubernetes server ip 10.0.0.5
  switchyard config kubernetes server ca-pin sha256:<64 hexadecimal digits>
  switchyard config kubernetes server token --token-file /root/token
  switchyard show kubernetes status

The switch joins by itself once address and token are there, and keeps trying while the server is away.")]
    Server {
        #[command(subcommand)]
        verb: ServerVerb,
    },
    /// Join the configured server now, and wait until this switch's node is ready
    #[command(after_help = "Examples:\n  switchyard config kubernetes join\n\n\
        The switch joins by itself too, as soon as a server is configured. What a join needs: switchyard doctor")]
    Join {
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u32,
    },
    /// Leave the cluster: features come home first, then what made this switch a node goes
    #[command(after_help = "Examples:\n  switchyard config kubernetes reset\n\n\
        Refused while a feature is enabled that nobody could run here: it would stop. --force leaves all the same.")]
    Reset {
        /// Leave although features stop for it
        #[arg(long)]
        force: bool,
        /// How long to wait, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        timeout: u32,
    },
    /// The labels of this switch's node
    Label {
        #[command(subcommand)]
        verb: LabelVerb,
    },
}

/// What can be configured of the server.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerb {
    /// Where it is
    #[command(after_help = "Examples:\n  switchyard config kubernetes server ip 10.0.0.5\n  \
        switchyard config kubernetes server ip fd00::5\n  switchyard config kubernetes server ip k8s.example.com")]
    Ip {
        /// Its IPv4 address, IPv6 address or DNS name
        address: String,
    },
    /// On which port it answers; 6443 if nobody says
    #[command(after_help = "Examples:\n  switchyard config kubernetes server port 6443")]
    Port {
        /// From 1 to 65535
        port: String,
    },
    /// Whether it need not prove who it is; no token is sent to it then
    #[command(after_help = "Examples:\n  switchyard config kubernetes server insecure off")]
    Insecure {
        /// Whether it need not
        #[arg(value_parser = ["on", "off"])]
        insecure: String,
    },
    /// Whether it is not to be joined although it is configured
    #[command(
        after_help = "Examples:\n  switchyard config kubernetes server disable on     leave it, and stay away\n  \
        switchyard config kubernetes server disable off    join it\n\n\
        A member's on is refused like config kubernetes reset while a feature is enabled that nobody could run here: it \
        would stop. --force leaves all the same."
    )]
    Disable {
        /// Whether it is not to be joined
        #[arg(value_parser = ["on", "off"])]
        disable: String,
        /// Leave although features stop for it
        #[arg(long)]
        force: bool,
    },
    /// Keep the token with which this switch joins; it is asked for at the terminal
    #[command(after_help = "\
Examples:
  switchyard config kubernetes server token
  switchyard config kubernetes server token --token-file /root/token
  pass show k8s/token | ssh switch sudo switchyard config kubernetes server token --token-stdin
  switchyard config kubernetes server token --remove

The token is no argument: everybody can see those. It is kept in /host/switchyard/kubernetes/token, which only root
can read and which outlives a SONiC image; it is never printed, logged or written to CONFIG_DB.")]
    Token(TokenSource),
    /// Keep a client certificate with which this switch joins, in place of a token
    #[command(after_help = "\
Examples:
  switchyard config kubernetes server client-certificate /root/switches.crt --key /root/switches.key
  switchyard config kubernetes server client-certificate /root/both.pem
  switchyard config kubernetes server client-certificate --remove

With it the switch asks for a certificate of its own, once, as it would with a token; docs/cluster.md tells how to make
one. It signs nothing, so the cluster's CA must be told too: switchyard config kubernetes server ca-pin. It is kept in
/host/switchyard/kubernetes/client.pem, which only root can read and which outlives a SONiC image.")]
    ClientCertificate(CertificateSource),
    /// Keep the hash of the cluster's CA, so that no other is believed
    #[command(after_help = "\
Examples:
  switchyard config kubernetes server ca-pin sha256:<64 hexadecimal digits>
  switchyard config kubernetes server ca-pin none

It is the hash that kubeadm prints for --discovery-token-ca-cert-hash, and no secret. It is kept in
/host/switchyard/kubernetes/ca-pin, beside the token. Without it the token's own signature vouches for the CA.")]
    CaPin {
        /// sha256: and 64 hexadecimal digits, or none
        pin: String,
    },
}

/// Where the token comes from.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct TokenSource {
    /// Read it from standard input
    #[arg(long)]
    pub(crate) token_stdin: bool,
    /// Read it from a file that nobody else can read
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Forget it
    #[arg(long)]
    pub(crate) remove: bool,
}

/// Where the client certificate comes from.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Args)]
pub(crate) struct CertificateSource {
    /// The certificate in PEM form, with those it was signed by, and with its key if that is in no file of its own
    #[arg(value_name = "FILE", required_unless_present = "remove", conflicts_with = "remove")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key in PEM form, in a file that nobody else can read
    #[arg(long, value_name = "FILE", conflicts_with = "remove")]
    pub(crate) key: Option<PathBuf>,
    /// Forget it
    #[arg(long)]
    pub(crate) remove: bool,
}

/// What can be done with a label.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum LabelVerb {
    /// Ask for a label on this switch's node
    #[command(after_help = "Examples:\n  switchyard config kubernetes label add rack r12")]
    Add {
        /// Its name
        key: String,
        /// Its value
        value: String,
    },
    /// Ask for a label no more; it is taken off the node if this switch has put it there
    #[command(after_help = "Examples:\n  switchyard config kubernetes label drop rack")]
    Drop {
        /// Its name
        key: String,
    },
}
