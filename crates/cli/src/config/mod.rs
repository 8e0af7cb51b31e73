//! `switchyard config …`: the part of SONiC's `config` that is about features and Kubernetes (SONIC.md 9.2, 9.3).
//!
//! The same rows, words and exit codes, without the shipped faults: what is written is checked first, a value that is
//! there already is not written again, and nothing waits without end.

mod args;
mod feature;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "kubernetes")]
mod membership;
#[cfg(feature = "kubernetes")]
mod token;

use std::process::ExitCode;

pub(crate) use args::Config;

use crate::click::{Stop, answer};
use crate::error::CliError;
use args::ConfigArea;

/// Carries out one command.
pub(crate) fn main(args: &Config) -> Result<ExitCode, CliError> {
    answer(run(args))
}

fn run(args: &Config) -> Result<ExitCode, Stop> {
    if !rustix::process::geteuid().is_root() {
        return Err(Stop::refused(&"Root privileges are required for this operation"));
    }
    match &args.area {
        ConfigArea::Feature(feature) => feature::run(&feature.verb)?,
        #[cfg(feature = "kubernetes")]
        ConfigArea::Kubernetes(kubernetes) => kubernetes::run(&kubernetes.verb)?,
    }
    Ok(ExitCode::SUCCESS)
}
