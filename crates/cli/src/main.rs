//! One binary, called by several names: parses, calls, prints.
//!
//! Holds no rule: what may run is `core`'s to say, what is and what is done goes through `sonic` and `engine`.

#[cfg(feature = "kubernetes")]
mod agent;
mod args;
mod click;
mod config;
mod container;
#[cfg(feature = "kubernetes")]
mod doctor;
mod error;
mod generate;
mod inside;
mod log;
mod output;
mod progress;
mod restart_rule;
mod retire;
mod rows;
mod runtime;
mod service;
mod show;
mod terminal;
#[cfg(feature = "kubernetes")]
mod tools;
mod tpcm;
mod usage;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing::error;

use crate::args::{Applet, Startup, Switchyard, System, SystemArea};
use crate::error::CliError;

/// Whether this build knows Kubernetes.
pub(crate) const KUBERNETES: bool = cfg!(feature = "kubernetes");

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
    let called = called.to_string_lossy().into_owned();
    let result = match called.as_str() {
        "container" => logged(&called, arguments, container::main),
        "system" => logged(&called, arguments, system),
        "tpcm" => logged(&called, arguments, |args: tpcm::Tpcm| tpcm::main(&args)),
        #[cfg(feature = "kubernetes")]
        "ctrmgr_tools.py" => logged(&called, arguments, |args: args::Tools| Ok(tools::main(&args))),
        "container_startup.py" => logged(&called, arguments, |args: Startup| inside::startup(&args)),
        _ => logged("switchyard", arguments, applet),
    };
    result.unwrap_or_else(|error| {
        error!("{error}");
        output::tell(&format!("{called}: {error}"));
        ExitCode::from(error.exit_code())
    })
}

fn logged<A: Parser>(
    name: &str,
    arguments: Vec<OsString>,
    verb: impl FnOnce(A) -> Result<ExitCode, CliError>,
) -> Result<ExitCode, CliError> {
    match A::try_parse_from(arguments) {
        Ok(args) => {
            log::begin(name);
            verb(args)
        }
        Err(error) => Ok(usage::answer(name, &error)),
    }
}

fn system(args: System) -> Result<ExitCode, CliError> {
    match args.area {
        SystemArea::Service(service) => service::main(&service),
        SystemArea::Container(args) => container::main(args),
    }
}

fn applet(args: Switchyard) -> Result<ExitCode, CliError> {
    match args.command {
        Applet::Container(args) => container::main(args),
        Applet::System(args) => system(args),
        Applet::Tpcm(args) => tpcm::main(&args),
        Applet::Config(args) => config::main(&args),
        Applet::Show(args) => show::main(&args),
        #[cfg(feature = "kubernetes")]
        Applet::Agent { fail_points: true } => {
            agent::list_fail_points();
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "kubernetes")]
        Applet::Agent { fail_points: false } => agent::main(),
        #[cfg(feature = "kubernetes")]
        Applet::Doctor { output } => doctor::main(output),
        Applet::Gate(args) => inside::gate(&args),
        Applet::Watch(args) => inside::watch(&args),
        Applet::Generate(args) => generate::main(&args),
        Applet::Completions { shell, program } => generate::completions(shell, &program),
        Applet::GenerateDocs { dir } => generate::docs(&dir),
    }
}
