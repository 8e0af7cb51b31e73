//! The calls made inside an image: SONiC's start-up call, the seeds' separate up and down, the gate and the watch.
//!
//! All need nothing but this binary and the Redis socket. What may run is the core's to say; here it is asked for
//! again after every change of the rows, and nothing freezes: a container that is kept out says why, once.

mod child;
mod ident;

use std::process::ExitCode;

use switchyard_core::{
    Answer, Asking, ContainerId, FeatureName, Instance, Reason, RowChange, Side, Version, ask, leave,
};
use switchyard_sonic::{Paths, Switch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::KUBERNETES;
use crate::args::{Gate, Startup, StateVerb, Watch};
use crate::error::CliError;
use crate::runtime::block_on;
use switchyard_host::TrackLock;

/// A container, as it knows itself.
pub(crate) struct Inside {
    switch: Switch,
    instance: Instance,
    side: Side,
    version: Version,
    id: Option<ContainerId>,
    has_asked: bool,
}

/// SONiC's call: returns when the payload may run.
pub(crate) fn startup(args: &Startup) -> Result<ExitCode, CliError> {
    let mut inside = Inside::open(&args.feature, parse_side(&args.owner)?, &args.version)?;
    block_on(async move { inside.turn().await })?;
    Ok(ExitCode::SUCCESS)
}

/// The seeds' calls.
pub(crate) fn state(feature: &str, verb: StateVerb) -> Result<ExitCode, CliError> {
    match verb {
        StateVerb::Up { owner, version } => {
            let version = version.map_or_else(version_of_environment, Ok)?;
            let mut inside = Inside::open(feature, parse_side(&owner)?, &version)?;
            block_on(async move { inside.turn().await })?;
        }
        StateVerb::Down => Inside::of_environment(feature)?.down()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sleeps until it is asked to end, then records down.
pub(crate) fn watch(args: &Watch) -> Result<ExitCode, CliError> {
    let mut inside = Inside::of_environment(&args.name.name)?;
    block_on(async {
        let mut asked = terminate()?;
        asked.recv().await;
        Ok(())
    })?;
    inside.down()?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the turn, runs the payload as a child and records down when it has ended.
pub(crate) fn gate(args: &Gate) -> Result<ExitCode, CliError> {
    let mut inside = Inside::of_environment(&args.name.name)?;
    block_on(async move {
        let mut asked_to_end = terminate()?;
        let lock = tokio::select! {
            lock = inside.turn_with_lock() => lock?,
            // Nothing runs yet, so there is nothing to record.
            _ = asked_to_end.recv() => return Ok(ExitCode::SUCCESS),
        };
        drop(asked_to_end);
        let code = child::run(&args.command).await;
        // The payload is over whatever the database says; its exit status is what the engine must see.
        if let Err(error) = inside.down() {
            warn!(feature = %inside.instance, %error, "down was not recorded");
        }
        drop(lock);
        code
    })
}

fn terminate() -> Result<Signal, CliError> {
    signal(SignalKind::terminate()).map_err(CliError::Signals)
}

fn version_of_environment() -> Result<String, CliError> {
    std::env::var("IMAGE_VERSION").map_err(|_| {
        CliError::Usage("IMAGE_VERSION is not set: a container says with it which version it is".to_owned())
    })
}

/// The seeds call the local side systemd, docker or legacy; SONiC's images take an empty owner for kube.
fn parse_side(owner: &str) -> Result<Side, CliError> {
    match owner.to_ascii_lowercase().as_str() {
        "local" | "systemd" | "docker" | "legacy" => Ok(Side::Local),
        "kube" | "" => Ok(Side::Kube),
        _ => Err(CliError::Usage(format!("owner {owner:?} is neither local nor kube"))),
    }
}

impl Inside {
    fn open(feature: &str, side: Side, version: &str) -> Result<Self, CliError> {
        // In the container of an ASIC the namespace's own databases are mounted, with the plain feature name as key.
        let instance = Instance::on_host(FeatureName::parse(feature)?);
        let version = Version::parse(version)?;
        let switch = Switch::open_waiting_inside(&Paths::from_env())?;
        let id = ident::own_container_id();
        Ok(Self { switch, instance, side, version, id, has_asked: false })
    }

    fn of_environment(feature: &str) -> Result<Self, CliError> {
        let side = parse_side(&std::env::var("RUNTIME_OWNER").unwrap_or_default())?;
        Self::open(feature, side, &version_of_environment()?)
    }

    /// Returns when the payload may run, with the reason.
    async fn turn(&mut self) -> Result<Reason, CliError> {
        // Subscribed before the first look, so that no change falls in between.
        let mut changes = self.switch.changes(&self.instance).await?;
        let mut told = None;
        loop {
            let reason = match self.ask()? {
                Answer::Run(reason) => return Ok(reason),
                Answer::RecordAndRun(change, reason) => {
                    if self.switch.write_state(&self.instance, &change)? {
                        self.record_local_version()?;
                        info!(feature = %self.instance, version = %self.version, "up: {reason}");
                        return Ok(reason);
                    }
                    continue;
                }
                Answer::Ask(change, reason) => {
                    if !self.switch.write_state(&self.instance, &change)? {
                        continue;
                    }
                    self.has_asked = true;
                    reason
                }
                Answer::Wait(reason) => reason,
            };
            if told.replace(reason) != Some(reason) {
                info!(feature = %self.instance, version = %self.version, "waiting: {reason}");
            }
            changes.next().await?;
        }
    }

    /// The turn and, for a pod on a switch that shares its locks, the exclusive hold that makes two copies
    /// impossible. Without it the turn is given back.
    async fn turn_with_lock(&mut self) -> Result<Option<TrackLock>, CliError> {
        if self.side == Side::Local || !TrackLock::is_shared_with_us() {
            self.turn().await?;
            return Ok(None);
        }
        let track = self.track();
        loop {
            // From before the turn on: the host may take it back before we find that we cannot use it, and no
            // further change would follow.
            let mut changes = self.switch.changes(&self.instance).await?;
            let reason = self.turn().await?;
            if let Some(lock) = TrackLock::exclusive(&track)? {
                return Ok(Some(lock));
            }
            warn!(feature = %track, "{reason}, but the local side still holds the track; asking again");
            self.down()?;
            changes.next().await?;
        }
    }

    /// Lock and container are the host's, where instances are told apart by their ASIC.
    fn track(&self) -> Instance {
        let asic =
            std::env::var("NAMESPACE_ID").ok().and_then(|id| id.parse().ok()).map(switchyard_core::AsicId);
        Instance { feature: self.instance.feature.clone(), asic }
    }

    fn ask(&mut self) -> Result<Answer, CliError> {
        self.asking(ask)
    }

    fn down(&mut self) -> Result<(), CliError> {
        // Somebody else's entry is left alone; a row that changes meanwhile is looked at again.
        while let Some(change) = self.leaving()? {
            if self.switch.write_state(&self.instance, &change)? {
                info!(feature = %self.instance, version = %self.version, "down");
                break;
            }
        }
        Ok(())
    }

    fn leaving(&mut self) -> Result<Option<RowChange>, CliError> {
        self.asking(leave)
    }

    fn asking<T>(&mut self, question: impl FnOnce(&Asking<'_>) -> T) -> Result<T, CliError> {
        let configured = self.switch.config_initialized()?;
        let config = self.switch.feature_config(&self.instance.feature)?;
        let row = self.switch.feature_state(&self.instance)?.unwrap_or_default();
        let local_version = match self.side {
            Side::Kube => self.switch.local_version(&self.instance)?,
            Side::Local => None,
        };
        Ok(question(&Asking {
            instance: &self.track(),
            side: self.side,
            version: &self.version,
            id: self.id.as_ref(),
            has_asked: self.has_asked,
            configured,
            config: config.as_ref(),
            row: &row,
            local_version: local_version.as_ref(),
        }))
    }

    /// Tells the cluster, where there can be one, which version this switch has anyway.
    fn record_local_version(&mut self) -> Result<(), CliError> {
        if KUBERNETES && self.side == Side::Local {
            self.switch.set_label(&format!("{}_local", self.instance.feature), self.version.as_str())?;
        }
        Ok(())
    }
}
