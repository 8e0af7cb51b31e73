//! `container start`, `stop` and `kill`: the core's plan for a feature, the engine alone for what is none.

use std::process::ExitCode;

use crate::error::CliError;
use crate::progress::told_at_terminal;
use switchyard_core::View;
use switchyard_host::{Host, How, Target};

pub(super) async fn start(name: &str) -> Result<ExitCode, CliError> {
    let (mut host, target) = Host::for_name(name, crate::KUBERNETES)?;
    match target {
        Target::Feature(instance) => {
            let started = host.carry_out("start", &instance, How::default(), switchyard_core::start);
            told_at_terminal(&format!("waiting for {instance} to start"), started).await?;
        }
        Target::Plain(name) => {
            existing(&mut host, &name).await?;
            told_at_terminal(&format!("waiting for {name} to start"), host.engine.start(&name)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn stop(name: &str, how: How) -> Result<ExitCode, CliError> {
    let (mut host, target) = Host::for_name(name, crate::KUBERNETES)?;
    match target {
        Target::Feature(instance) => {
            let stopped = host.carry_out("stop", &instance, how, |view| Ok(switchyard_core::stop(view)));
            told_at_terminal(&format!("waiting for {instance} to stop"), stopped).await?;
        }
        Target::Plain(name) => {
            existing(&mut host, &name).await?;
            let stopped = host.engine.stop(&name, how.grace);
            told_at_terminal(&format!("waiting for {name} to stop"), stopped).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn kill(name: &str) -> Result<ExitCode, CliError> {
    let (mut host, target) = Host::for_name(name, crate::KUBERNETES)?;
    match target {
        Target::Feature(instance) => {
            let decide = |view: &View| Ok(switchyard_core::kill(view));
            let killed = host.carry_out("kill", &instance, How::default(), decide);
            told_at_terminal(&format!("waiting for {instance} to end"), killed).await?;
        }
        Target::Plain(name) => {
            existing(&mut host, &name).await?;
            told_at_terminal(&format!("waiting for {name} to end"), host.engine.kill(&name)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A name that is no feature must at least be a container: the first is the likelier mistake.
async fn existing(host: &mut Host, name: &str) -> Result<(), CliError> {
    match host.engine.container(name).await? {
        Some(_) => Ok(()),
        None => Err(CliError::NoSuchFeature(name.to_owned())),
    }
}
