//! The `container` command: what SONiC's control scripts call, and people (SONIC.md section 3).

mod list;
mod look;
mod run;
mod wait;

use std::process::ExitCode;
use std::time::Duration;

use crate::args::{Container, ContainerVerb};
use crate::error::CliError;
use crate::inside;
use crate::runtime::block_on;
use switchyard_host::How;

/// Carries out one verb.
pub(crate) fn main(args: Container) -> Result<ExitCode, CliError> {
    let how = How { grace: args.common.timeout.map(|seconds| Duration::from_secs(seconds.into())) };
    let output = args.common.output;
    match args.verb {
        ContainerVerb::Start(name) => block_on(run::start(&name.name)),
        ContainerVerb::Stop(name) => block_on(run::stop(&name.name, how)),
        ContainerVerb::Kill(name) => block_on(run::kill(&name.name)),
        ContainerVerb::Wait(name) => block_on(wait::main(&name.name)),
        ContainerVerb::Id(name) => look::id(&name.name, output),
        ContainerVerb::Inspect(name) => block_on(look::inspect(&name.name)),
        ContainerVerb::Exec { name, command } => block_on(look::exec(&name.name, &command)),
        ContainerVerb::Logs { name, follow, tail } => block_on(look::logs(&name.name, follow, tail)),
        ContainerVerb::State { name, state } => inside::state(&name.name, state),
        ContainerVerb::List => block_on(list::main(output)),
    }
}
