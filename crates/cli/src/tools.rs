//! `ctrmgr_tools.py`, the name by which SONiC's reboot scripts take along what Kubernetes brought (SONIC.md 5.10).
//!
//! Ends with 0 whatever becomes of it, as SONiC's does: a reboot must not fail over it. What is wrong is in the log, and a
//! switch on which Kubernetes runs nothing says nothing (buildimage #24319).

use std::process::ExitCode;
use std::time::Duration;

use switchyard_agent::{tag_beside, take_home};
use switchyard_core::{ContainerId, CurrentOwner, SystemState, Tag, kill};
use switchyard_host::{Host, How};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::KUBERNETES;
use crate::args::{Tools, ToolsVerb};
use crate::error::CliError;
use crate::rows::{self, Row};
use crate::runtime::block_on;

/// A reboot waits for no longer: what is not tagged then is fetched again.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn main(args: &Tools) -> ExitCode {
    let done = block_on(async {
        let done = timeout(PATIENCE, carry_out(&args.verb)).await;
        done.unwrap_or_else(|_| {
            warn!("not done within {} s; what is left is left out", PATIENCE.as_secs());
            Ok(())
        })
    });
    if let Err(error) = done {
        warn!("{error}");
    }
    ExitCode::SUCCESS
}

async fn carry_out(verb: &ToolsVerb) -> Result<(), CliError> {
    let mut host = Host::open(KUBERNETES)?;
    let mut rows = rows::read(&mut host)?.rows;
    rows.retain(|row| !row.instance.feature.is_database());
    match verb {
        ToolsVerb::TagAll => {
            for row in &rows {
                tag(&host, row, None, &Tag::latest()).await?;
            }
        }
        ToolsVerb::Tag { feature, image, tag: wanted } => {
            let wanted = Tag::parse(wanted)?;
            rows.retain(|row| row.instance.feature.as_str() == feature);
            let mut tagged = false;
            for row in &rows {
                tagged |= tag(&host, row, image.as_deref(), &wanted).await?;
            }
            if !tagged {
                info!(%feature, "Kubernetes does not run it: nothing is tagged");
            }
        }
        ToolsVerb::KillAll => kill_all(&mut host, &rows).await,
    }
    Ok(())
}

/// Whether there was a pod. Of `latest` it is all that becomes of an image that ran well; SONiC's tool and its daemon did
/// two different things.
async fn tag(host: &Host, row: &Row, image: Option<&str>, tag: &Tag) -> Result<bool, CliError> {
    let Some(pod) = pod(row) else { return Ok(false) };
    let (paths, engine, instance) = (&host.paths, host.engine.clone(), &row.instance);
    if *tag == Tag::latest() {
        take_home(paths, engine, instance, pod, image).await;
    } else if let Err(error) = tag_beside(paths, engine, instance, pod, image, tag).await {
        warn!(feature = %instance, %error, "its image is not tagged");
    }
    Ok(true)
}

fn pod(row: &Row) -> Option<&ContainerId> {
    row.state.container_id.as_ref().filter(|_| row.state.current_owner == CurrentOwner::Kube)
}

/// One that cannot be killed keeps no other alive.
async fn kill_all(host: &mut Host, rows: &[Row]) {
    for row in rows.iter().filter(|row| row.state.system_state == Some(SystemState::Up)) {
        let killed = host.carry_out("kill", &row.instance, How::default(), |view| Ok(kill(view))).await;
        if let Err(error) = killed {
            warn!(feature = %row.instance, %error, "not killed");
        }
    }
}
