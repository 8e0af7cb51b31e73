//! The developer commands: `cargo xtask <command>`.
//!
//! Only parses; each command is a module of its own, and what several need lives in `switchyard-lab`.

mod bench;
mod bench_tpc;
mod deb;
mod deb_test;
mod demo;
mod lab;
mod scenarios;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchyard_lab::vm;

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
    /// Install, upgrade, abort, remove and purge the packages in an empty Debian, and compare file trees
    DebTest(deb_test::Arguments),
    /// Test project quotas on ext4 and XFS, in an emulated machine whose kernel has them
    QuotaTest,
    /// Boot a virtual switch and tell the life of a feature on it
    Demo(demo::Arguments),
    /// Run every test, as CI does
    Test(test::Arguments),
    /// Measure the product on a virtual switch
    Bench(bench::Arguments),
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
        Command::DebTest(arguments) => deb_test::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::QuotaTest => vm::project_quotas().map(|passed| {
            println!("{passed} passed");
            ExitCode::SUCCESS
        }),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Scenarios(arguments) => scenarios::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
