//! `cargo xtask scenarios`: stories told end to end on virtual switches.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use switchyard_lab::scenario::{self, Selection};
use switchyard_lab::scenarios;

/// Which stories.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only those whose name contains this
    #[arg(default_value = "")]
    filter: String,
    /// The long ones too
    #[arg(long)]
    long: bool,
    /// Those of switches in a cluster instead, which takes minutes to build
    #[arg(long)]
    cluster: bool,
    /// Install this package on every switch instead of building one
    #[arg(long)]
    deb: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let selection = Selection { filter: arguments.filter.clone(), long: arguments.long };
    let stories = if arguments.cluster { scenarios::in_cluster() } else { scenarios::all() };
    let outcome = scenario::run(stories, &selection, &|kubernetes| {
        crate::lab::package(arguments.deb.clone(), kubernetes)
    })?;
    Ok(if outcome.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
