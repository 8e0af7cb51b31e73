//! What can be typed: one set of definitions serves parsing, `--help`, man pages and shell completions.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

use crate::config::Config;
use crate::show::Show;
use crate::tpcm::Tpcm;

/// The text that `--version` prints, with the variant it was built as.
pub(crate) const VERSION: &str = if cfg!(feature = "kubernetes") {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " standalone")
};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// A table for people.
    #[default]
    Table,
    /// The table with more columns.
    Wide,
    /// One JSON document for programs.
    Json,
}

/// Decides who runs each container of a SONiC switch, and keeps it so.
#[derive(Debug, Parser)]
#[command(name = "switchyard", version = VERSION, after_help = "\
The same program answers as `container`, `system`, `tpcm`, `container_startup.py` and, with Kubernetes support, \
`ctrmgr_tools.py` when it is called by those names.

Examples:
  switchyard system service status snmp
  switchyard container list -o json
  switchyard generate install /etc/switchyard/features.d/snmp.toml")]
pub(crate) struct Switchyard {
    #[command(subcommand)]
    pub(crate) command: Applet,
}

/// The programs in one.
#[derive(Debug, Subcommand)]
pub(crate) enum Applet {
    /// Start, stop and look at the containers of features, as control scripts do
    Container(Container),
    /// Manage features as services and as containers
    System(System),
    /// Bring third-party containers onto the switch and keep them there
    Tpcm(Box<Tpcm>),
    /// Configure features, as SONiC's own config does
    Config(Config),
    /// Show features, as SONiC's own show does
    Show(Show),
    /// Move features between this switch and Kubernetes: the daemon ctrmgrd.service
    #[cfg(feature = "kubernetes")]
    #[command(
        after_help = "systemd runs it; by hand it does the same until SIGTERM, with its log on standard error where \
        there is no syslog.\n\nIts numbers are in /etc/sonic/remote_ctr.config.json."
    )]
    Agent {
        /// Only list where SWITCHYARD_AGENT_FAIL makes it die
        #[arg(long, hide = true)]
        fail_points: bool,
    },
    /// Check what joining a cluster needs, and say what is missing
    #[cfg(feature = "kubernetes")]
    #[command(after_help = "Examples:\n  switchyard doctor\n  switchyard doctor -o json\n\n\
        Ends with 1 if something is missing. Asks the configured server, and changes nothing.")]
    Doctor {
        /// How to print
        #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
        output: Output,
    },
    /// Run a payload inside an image once the switch lets it: records up before and down after
    #[command(after_help = "Examples:\n  switchyard gate telemetry -- /usr/bin/telemetry -port 8080\n\n\
        RUNTIME_OWNER says who started the container (local, or kube if unset), IMAGE_VERSION which version it is.")]
    Gate(Gate),
    /// Sleep inside an image until SIGTERM, then record down: a supervisord program
    Watch(Watch),
    /// Make units and control scripts from short descriptions of features
    Generate(Generate),
    /// Print the completions of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
        /// Of which program: switchyard, container, system or tpcm
        #[arg(default_value = "switchyard")]
        program: String,
    },
    /// Write man pages and completions of all programs below a directory
    #[command(hide = true)]
    GenerateDocs {
        /// Where man/ and completions/ are made
        dir: PathBuf,
    },
}

/// What every verb about containers understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// How long stop waits before it kills, in seconds
    #[arg(short, long, global = true, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
}

/// Starts, stops and looks at the containers of features.
#[derive(Debug, Parser)]
#[command(name = "container", version = VERSION, after_help = "\
Examples:
  container start snmp          as the unit's ExecStartPre does
  container wait snmp           until the container ends, whoever runs it
  container -t 60 stop bgp0     the instance of ASIC 0, with a minute's grace
  container exec snmp -- ps     a command inside, in the local copy or in the pod
  container list -o json

Exit codes: 0 done; 1 failed; 2 wrong arguments; 3 no such feature or container;
4 no container to start; 5 no permission; 6 database; 7 container engine; 8 refused; 9 too late;
10 a row that cannot be read.")]
pub(crate) struct Container {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: ContainerVerb,
}

/// A feature's name on the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct Name {
    /// The feature, or its instance for an ASIC (bgp, bgp0)
    pub(crate) name: String,
}

/// What can be done with a container.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerVerb {
    /// Start the copy that is meant to run, or make room for the pod that is
    Start(Name),
    /// Stop the copy that runs, whoever runs it
    Stop(Name),
    /// Wait until the copy that runs ends; let a pod in that asks
    Wait(Name),
    /// Kill the copy that runs, at once
    Kill(Name),
    /// Print what the container engine calls the copy that runs
    Id(Name),
    /// Print the container engine's description of the copy that runs
    Inspect(Name),
    /// Run a command inside the copy that runs
    Exec {
        #[command(flatten)]
        name: Name,
        /// The command with its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print what the copy that runs has logged
    Logs {
        #[command(flatten)]
        name: Name,
        /// Go on printing
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
    },
    /// Record, inside an image, that its container is up or going down
    #[command(
        after_help = "Examples:\n  container state snmp up kube 20250510.07\n  container state snmp down"
    )]
    State {
        #[command(flatten)]
        name: Name,
        #[command(subcommand)]
        state: StateVerb,
    },
    /// List the features with who runs them
    List,
}

/// What a container says of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum StateVerb {
    /// It is about to run its payload; one that Kubernetes started waits here for its turn
    Up {
        /// Who started it: local (or systemd, docker, legacy) or kube
        owner: String,
        /// Its version; IMAGE_VERSION of the environment if not given
        version: Option<String>,
    },
    /// It is about to end
    Down,
}

/// Manages features as services and as containers.
#[derive(Debug, Parser)]
#[command(name = "system", version = VERSION)]
pub(crate) struct System {
    #[command(subcommand)]
    pub(crate) area: SystemArea,
}

/// The two sides of a feature.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemArea {
    /// Start, stop, enable and explain features, whoever runs them
    Service(Service),
    /// Start, stop and look at the containers of features
    Container(Container),
}

/// Features as services.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  system service status snmp        what systemd knows and what the container says
  sudo system service restart snmp  never runs into systemd's start limit
  sudo system service disable sflow
  system service explain snmp       who runs it, why, and what would change that

Units that are no features behave as with systemctl. Exit codes: as `container`; status: 0 active, 3 not active,
4 no such unit.")]
pub(crate) struct Service {
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    /// How long to wait for the unit, in seconds
    #[arg(short, long, global = true, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u32,
    #[command(subcommand)]
    pub(crate) verb: ServiceVerb,
}

/// What can be done with a service.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Start it and wait until it is active
    Start(Name),
    /// Stop it and wait until it is inactive; says what stops with it
    Stop(Name),
    /// Stop and start it; not counted against systemd's start limit
    Restart(Name),
    /// Have it read its configuration again, where its unit can
    Reload(Name),
    /// What systemd knows and what the container says
    Status(Name),
    /// Let it run, now and after every boot
    Enable(Name),
    /// Do not let it run, now and after every boot
    Disable(Name),
    /// Make it impossible to start
    Mask(Name),
    /// Make it possible to start again
    Unmask(Name),
    /// Let a version in that Kubernetes brings and that is held or blocked
    #[cfg(feature = "kubernetes")]
    #[command(
        after_help = "Examples:\n  system service accept snmp\n  system service accept snmp 20250510.07\n\n\
        Without a version the one that waits now. It counts until that version fails here again."
    )]
    Accept {
        #[command(flatten)]
        name: Name,
        /// The version that is let in
        version: Option<String>,
    },
    /// List the features
    List,
    /// Print its journal
    Logs {
        #[command(flatten)]
        name: Name,
        /// Go on printing
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines
        #[arg(short = 'n', long, value_name = "LINES")]
        lines: Option<u32>,
    },
    /// Tell which rule applies now, what would change it, and what happened lately
    Explain(Name),
}

/// Runs a payload inside an image once the switch lets it.
#[derive(Debug, Args)]
pub(crate) struct Gate {
    #[command(flatten)]
    pub(crate) name: Name,
    /// The payload with its arguments
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}

/// Sleeps until SIGTERM, then records down.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) name: Name,
}

/// Units and control scripts from descriptions.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  switchyard generate render snmp.toml           print what would be written
  sudo switchyard generate install snmp.toml
  sudo switchyard generate remove snmp")]
pub(crate) struct Generate {
    /// The root below which files are written
    #[arg(long, global = true, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) verb: GenerateVerb,
}

/// What can be done with a description.
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateVerb {
    /// Print the files
    Render {
        /// The description
        description: PathBuf,
    },
    /// Write the files, and the record by which they can be removed
    Install {
        /// The description
        description: PathBuf,
        /// Also over files of ours that were changed since
        #[arg(long)]
        force: bool,
    },
    /// Remove what install wrote, without trace
    Remove {
        /// The feature
        name: String,
        /// Also files that were changed since
        #[arg(long)]
        force: bool,
    },
    /// List what was installed
    List,
}

/// SONiC's own start-up call, as images make it. Its `--version` is the image's.
#[derive(Debug, Parser)]
#[command(name = "container_startup.py")]
pub(crate) struct Startup {
    /// The feature
    #[arg(short, long)]
    pub(crate) feature: String,
    /// Who started the container: local or kube
    #[arg(short, long)]
    pub(crate) owner: String,
    /// The version of the image
    #[arg(short, long)]
    pub(crate) version: String,
}

/// What reboot scripts call to take along what Kubernetes brought.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Parser)]
#[command(name = "ctrmgr_tools.py", version = VERSION, after_help = "\
SONiC's reboot scripts call `ctrmgr_tools.py tag-all` where it is there. Ends with 0 whatever becomes of it; see the log.")]
pub(crate) struct Tools {
    #[command(subcommand)]
    pub(crate) verb: ToolsVerb,
}

/// What reboot scripts ask for.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Subcommand)]
pub(crate) enum ToolsVerb {
    /// Make the image of the pod that runs a feature the local one, or give it another tag
    Tag {
        /// The feature
        #[arg(short, long)]
        feature: String,
        /// The local image's name; that of the switch's own list if not given
        #[arg(short = 'n', long, value_name = "NAME")]
        image: Option<String>,
        /// The tag
        #[arg(short, long, default_value = "latest")]
        tag: String,
    },
    /// Make the images of all pods that run features the local ones
    TagAll,
    /// Kill the copies of all features that are up
    KillAll,
}

/// The programs that have a name of their own on a switch, for man pages and completions.
pub(crate) fn programs() -> [clap::Command; 4] {
    [Switchyard::command(), Container::command(), System::command(), Tpcm::command()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start-up call had two arguments `--version`, of which a build with clap's own checks made a panic.
    #[test]
    fn no_program_has_an_argument_twice() {
        programs().into_iter().chain([Startup::command()]).for_each(clap::Command::debug_assert);
    }
}
