//! The developer commands: `cargo xtask <command>`.
//!
//! Only parses; each command is a module of its own, and what several need lives in `switchyard-lab`.

mod deb;
mod lab;
mod scenarios;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Switchyard's developer commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Virtual switches on this machine
    #[command(subcommand)]
    Lab(lab::Command),
    /// Build the Debian package
    Deb {
        /// The variant built without Kubernetes support
        #[arg(long)]
        no_kubernetes: bool,
    },
    /// Run end-to-end scenarios on virtual switches
    Scenarios(scenarios::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Lab(command) => lab::run(command),
        Command::Deb { no_kubernetes } => deb::build(!no_kubernetes).map(|package| {
            println!("{}", package.display());
            ExitCode::SUCCESS
        }),
        Command::Scenarios(arguments) => scenarios::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
