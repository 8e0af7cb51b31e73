//! `container id`, `inspect`, `exec` and `logs`: look at the copy that runs, whoever runs it.
//!
//! exec and logs become the docker client itself: terminals, windows and streams are its trade.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use switchyard_engine::EngineError;

use crate::args::Output;
use crate::error::CliError;
use crate::output;
use crate::runtime::block_on;
use switchyard_host::{Host, Target};

/// The feature that is never ours has an id all the same.
const DATABASE: &str = "database";

/// What the engine calls the recorded copy; nothing if none is recorded.
fn recorded(name: &str) -> Result<(Host, Target, Option<String>), CliError> {
    let (mut host, target) = Host::for_name(name, crate::KUBERNETES)?;
    let id = match &target {
        Target::Plain(name) => Some(name.clone()),
        Target::Feature(instance) => {
            let name = instance.container_name();
            match host.switch.feature_state(instance)? {
                None => Some(name),
                Some(row) => row.engine_name(&name).map(|id| id.to_string()),
            }
        }
    };
    Ok((host, target, id))
}

/// As [`recorded`], for what needs a container that the engine knows. Asked before the docker client is, which would
/// say in its own words, and with its own exit code, that it is not there, that we may not, or that nobody answers.
async fn known(name: &str) -> Result<(Host, String), CliError> {
    let (mut host, target, id) = recorded(name)?;
    let id = id.ok_or_else(|| CliError::NotRunning(name.to_owned()))?;
    match (host.engine.container(&id).await?, target) {
        (Some(_), _) => Ok((host, id)),
        (None, Target::Plain(name)) => Err(CliError::NoSuchFeature(name)),
        (None, Target::Feature(_)) => Err(EngineError::NoSuchContainer(id).into()),
    }
}

pub(super) fn id(name: &str, format: Output) -> Result<ExitCode, CliError> {
    let (mut host, target, id) = recorded(name)?;
    // Only a name without a row is worth asking the engine about: this is called a thousand times a day.
    if let Target::Plain(name) = &target
        && name != DATABASE
        && block_on(async { Ok(host.engine.container(name).await?) })?.is_none()
    {
        return Err(CliError::NoSuchFeature(name.clone()));
    }
    // An empty line if there is none, as SONiC's scripts expect.
    match format {
        Output::Json => output::json(&serde_json::json!({ "name": name, "container_id": id })),
        Output::Table | Output::Wide => output::line(id.as_deref().unwrap_or_default()),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn inspect(name: &str) -> Result<ExitCode, CliError> {
    let (host, id) = known(name).await?;
    output::json(&[host.engine.inspect(&id).await?]);
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn exec(name: &str, command: &[String]) -> Result<ExitCode, CliError> {
    let (_, id) = known(name).await?;
    let mut docker = Command::new("docker");
    docker.arg("exec").arg("-i");
    if rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stdout()) {
        docker.arg("-t");
    }
    Err(become_program(docker.arg(id).args(command)))
}

pub(super) async fn logs(name: &str, follow: bool, tail: Option<u32>) -> Result<ExitCode, CliError> {
    let (_, id) = known(name).await?;
    let mut docker = Command::new("docker");
    docker.arg("logs");
    if follow {
        docker.arg("--follow");
    }
    if let Some(lines) = tail {
        docker.arg("--tail").arg(lines.to_string());
    }
    Err(become_program(docker.arg(id)))
}

fn become_program(command: &mut Command) -> CliError {
    let source = command.exec();
    CliError::Exec { program: command.get_program().to_string_lossy().into_owned(), source }
}
