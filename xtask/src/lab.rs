//! `cargo xtask lab`: virtual switches up, down, rebooted, crashed, a shell in one of them, and a control plane for them.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::{Error, Result, bail};
use switchyard_lab::cluster::{self, Cluster, Part};
use switchyard_lab::image::Product;
use switchyard_lab::machine::Machine;
use switchyard_lab::servers::Servers;
use switchyard_lab::{Boot, fleet};

use crate::deb;

/// What can be done with switches.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Bring up switch1, switch2, … with our package installed; those that run already stay
    Up {
        /// How many
        #[arg(long, default_value_t = 1)]
        switches: u32,
        /// ASICs of each
        #[arg(long, default_value_t = 1)]
        asics: u32,
        /// Switches whose SONiC was built without Kubernetes support
        #[arg(long)]
        without_kubernetes: bool,
        /// A Kubernetes control plane too, and SONiC's kubelet in the switches
        #[arg(long, conflicts_with = "without_kubernetes")]
        cluster: bool,
        /// Install this package instead of building one
        #[arg(long)]
        deb: Option<PathBuf>,
    },
    /// Run kubectl as the administrator of the lab's cluster
    #[command(disable_help_flag = true)]
    Kubectl {
        /// What kubectl is to do
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Put an image of this machine's Docker into the registry that the lab's switches pull from
    Publish {
        /// The image here
        image: String,
        /// What it is called there, such as docker-lldp:2.0.0
        name: String,
    },
    /// Look at the control plane, stop and start it; switches that joined stay as they are
    Cluster {
        /// What to do
        #[arg(value_enum)]
        verb: ClusterVerb,
        /// Only this part, such as kube-apiserver
        part: Option<String>,
    },
    /// Open a shell on a switch as its user admin, or run one command there
    Shell {
        /// The switch's name, such as switch1
        switch: String,
        /// Be root
        #[arg(long)]
        root: bool,
        /// The command and its arguments; a login shell if there is none
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Reboot a switch as its operator would, and wait until its features are back
    Reboot {
        /// The switch's name
        switch: String,
        /// Keep the data plane going
        #[arg(long, conflicts_with = "fast")]
        warm: bool,
        /// Keep the data plane going, with less ceremony
        #[arg(long)]
        fast: bool,
    },
    /// End all of a switch at once, boot it again and wait until its features are back
    Crash {
        /// The switch's name
        switch: String,
    },
    /// Remove all switches and stop the control plane
    Down {
        /// Their /host disks and the control plane's data too
        #[arg(long)]
        all: bool,
    },
}

/// What can be done with the control plane.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum ClusterVerb {
    /// Which parts run, and how much memory is theirs
    Status,
    /// What a switch has to be told to join
    Invitation,
    /// Start what does not run
    Start,
    /// Stop it, and keep its data
    Stop,
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { switches, asics, without_kubernetes, cluster, deb } => {
            let kubernetes = !without_kubernetes;
            let kubelet = cluster.then(bring_up_cluster).transpose()?;
            let product = Product { deb: package(deb, kubernetes)?, kubernetes, kubelet };
            for switch in fleet::up(&product, switches, asics)? {
                println!("{0} is up: cargo xtask lab shell {0}", switch.name());
            }
        }
        Command::Shell { switch, root, command } => return Err(shell(&switch, root, &command)?),
        Command::Reboot { switch, warm, fast } => {
            let kind = match (warm, fast) {
                (true, _) => Boot::Warm,
                (_, true) => Boot::Fast,
                _ => Boot::Cold,
            };
            fleet::find(&switch)?.reboot(kind)?;
            println!("{switch} is back");
        }
        Command::Crash { switch } => {
            fleet::find(&switch)?.crash()?;
            println!("{switch} is back");
        }
        Command::Kubectl { arguments } => {
            let error = Cluster::find()?.kubectl().args(arguments).exec();
            return Err(Error::new(error).context("cannot run kubectl"));
        }
        Command::Publish { image, name } => println!("{}", Cluster::find()?.publish(&image, &name)?),
        Command::Cluster { verb, part } => handle_cluster(verb, part.as_deref())?,
        Command::Down { all } => {
            fleet::down(all)?;
            Cluster::down(all)?;
            Servers::down()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The control plane, and the kubelet for switches that are to join it.
fn bring_up_cluster() -> Result<PathBuf> {
    Machine::prepare()?;
    Cluster::up()?;
    println!("the control plane is up: cargo xtask lab kubectl get nodes");
    cluster::kubelet()
}

fn handle_cluster(verb: ClusterVerb, part: Option<&str>) -> Result<()> {
    let cluster = Cluster::find()?;
    let chosen: Vec<Part> =
        Part::ALL.into_iter().filter(|known| part.is_none_or(|name| name == known.name())).collect();
    if chosen.is_empty() {
        let known = Part::ALL.map(Part::name).join(", ");
        bail!("no such part of the control plane; there are {known}");
    }
    let mut out = std::io::stdout();
    match verb {
        ClusterVerb::Status => {
            for part in chosen {
                let state = cluster
                    .memory(part)
                    .map_or_else(|| "stopped".to_owned(), |kilobytes| format!("{:>4} MB", kilobytes / 1024));
                writeln!(out, "{:<24} {state}", part.name())?;
            }
        }
        ClusterVerb::Invitation => {
            let invitation = cluster.invitation()?;
            writeln!(out, "server {}:{}", invitation.address, invitation.port)?;
            writeln!(out, "token  {}", invitation.token)?;
            writeln!(out, "ca     {}", invitation.ca_pin)?;
        }
        ClusterVerb::Start => chosen.into_iter().try_for_each(|part| cluster.start(part))?,
        ClusterVerb::Stop => chosen.into_iter().rev().try_for_each(|part| cluster.stop(part))?,
    }
    Ok(())
}

/// Our package for the switches' image: the one given, or one built from this tree.
pub(crate) fn package(given: Option<PathBuf>, kubernetes: bool) -> Result<Option<PathBuf>> {
    given.map_or_else(|| deb::build(kubernetes), Ok).map(Some)
}

/// Becomes docker, so that the terminal and the exit code are the command's; gives the error if that fails.
fn shell(switch: &str, root: bool, command: &[String]) -> Result<Error> {
    use std::io::IsTerminal;

    let switch = fleet::find(switch)?;
    let mut docker = process::Command::new("docker");
    docker.args(["exec", "--interactive", "--user", if root { "root" } else { "admin" }]);
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        docker.arg("--tty");
    }
    docker.arg(switch.name());
    if command.is_empty() {
        docker.args(["bash", "--login"]);
    } else {
        docker.args(command);
    }
    Ok(Error::new(docker.exec()).context("cannot run docker"))
}
