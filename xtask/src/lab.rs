//! `cargo xtask lab`: virtual switches up, down, rebooted, crashed, and a shell in one of them.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use anyhow::{Error, Result};
use switchyard_lab::image::Product;
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
        /// Install this package instead of building one
        #[arg(long)]
        deb: Option<PathBuf>,
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
    /// Cut a switch's power, switch it on again and wait until its features are back
    Crash {
        /// The switch's name
        switch: String,
    },
    /// Remove all switches
    Down {
        /// Their /host disks too
        #[arg(long)]
        all: bool,
    },
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up { switches, asics, without_kubernetes, deb } => {
            let kubernetes = !without_kubernetes;
            let product = Product { deb: package(deb, kubernetes)?, kubernetes };
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
        Command::Down { all } => fleet::down(all)?,
    }
    Ok(ExitCode::SUCCESS)
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
