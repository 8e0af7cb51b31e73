//! What can be typed after `switchyard show`.

use clap::{Args, Subcommand};

use crate::args::Output;

/// Shows features, and Kubernetes where the build knows it.
#[derive(Debug, Args)]
#[command(infer_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Show {
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) area: ShowArea,
}

#[cfg(feature = "kubernetes")]
const EXAMPLES: &str = "\
Examples:
  switchyard show kubernetes status          connected or why not, and why each feature runs where it runs
  switchyard show kubernetes server config
  switchyard show feature status snmp
  switchyard show feature config -o json

Verbs may be shortened while they are unique. Everybody who may read Redis may ask.
Exit codes: 0 shown; 1 no such feature; 2 wrong arguments; 5 no permission; 6 database; 10 a row that cannot be read.";
#[cfg(not(feature = "kubernetes"))]
const EXAMPLES: &str = "\
Examples:
  switchyard show feature status snmp
  switchyard show feature config -o json

Verbs may be shortened while they are unique. Everybody who may read Redis may ask.
Exit codes: 0 shown; 1 no such feature; 2 wrong arguments; 5 no permission; 6 database; 10 a row that cannot be read.";

/// What can be shown.
#[derive(Debug, Subcommand)]
pub(crate) enum ShowArea {
    /// The server that this switch joins, the labels of its node, and how it goes
    #[cfg(feature = "kubernetes")]
    Kubernetes {
        #[command(subcommand)]
        verb: KubernetesVerb,
    },
    /// Features: whether they run, and who runs them
    Feature {
        #[command(subcommand)]
        verb: FeatureVerb,
    },
}

/// What can be shown of features.
#[derive(Debug, Subcommand)]
pub(crate) enum FeatureVerb {
    /// What is configured and what is recorded; with -o wide in all columns, and what came of the last change of state
    Status(Which),
    /// What is configured
    Config(Which),
    /// Whether systemd starts them again
    Autorestart(Which),
}

/// One feature, or all.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The feature; all if none is named
    pub(crate) name: Option<String>,
}

/// What can be shown of Kubernetes.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesVerb {
    /// The server that this switch joins
    Server {
        #[command(subcommand)]
        verb: ServerVerb,
    },
    /// The labels that this switch's node is to have
    Labels,
    /// Everything that decides whether features run in pods, and why each does or does not
    Status,
}

/// What can be shown of the server.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerb {
    /// What is configured
    Config,
    /// Whether it is joined and answers; with -o wide also why not
    Status,
}
