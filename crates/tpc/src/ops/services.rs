//! What is asked of systemd. A trait of the few things that are needed, so that the operations can be killed at every
//! step against a real engine on a machine that runs no systemd.

use std::future::Future;
use std::time::Duration;

use switchyard_sonic::{JobOutcome, SonicError, Units};

/// systemd, as far as operations on third-party containers need it.
pub trait Services {
    /// Whether there is such a unit.
    fn exists(&self, unit: &str) -> impl Future<Output = Result<bool, SonicError>>;
    /// Whether it runs or is about to.
    fn is_up(&self, unit: &str) -> impl Future<Output = Result<bool, SonicError>>;
    /// In which state it is and since when, microseconds of Unix time.
    fn state(&self, unit: &str) -> impl Future<Output = Result<(String, u64), SonicError>>;
    /// Lets it start at boot, as its file is now. Takes long unless that is so already.
    fn enable(&self, unit: &str) -> impl Future<Output = Result<(), SonicError>>;
    /// Keeps it from starting at boot. One without a file is as asked.
    fn disable(&self, unit: &str) -> impl Future<Output = Result<(), SonicError>>;
    /// Reads unit files anew.
    fn reload(&self) -> impl Future<Output = Result<(), SonicError>>;
    /// Starts it and waits until it has started; else says why not.
    fn start(&self, unit: &str) -> impl Future<Output = Result<Result<(), String>, SonicError>>;
    /// Asks for its start and waits for nothing: at boot it waits for us.
    fn queue(&self, unit: &str) -> impl Future<Output = Result<(), SonicError>>;
    /// Stops it and waits until it has stopped. One that does not run, or is none, is as asked.
    fn stop(&self, unit: &str) -> impl Future<Output = Result<(), SonicError>>;
    /// Waits until it is up. False if the time is over before.
    fn wait_up(&self, unit: &str, time: Duration) -> impl Future<Output = Result<bool, SonicError>>;
}

/// The switch's own systemd, over D-Bus.
#[derive(Clone)]
pub struct Systemd {
    units: Units,
}

impl Systemd {
    /// Connects to the system bus.
    pub async fn connect() -> Result<Self, SonicError> {
        Ok(Self { units: Units::connect().await? })
    }
}

impl Services for Systemd {
    async fn exists(&self, unit: &str) -> Result<bool, SonicError> {
        Ok(self.units.status(unit).await?.exists())
    }

    async fn is_up(&self, unit: &str) -> Result<bool, SonicError> {
        Ok(self.units.status(unit).await?.is_up())
    }

    async fn state(&self, unit: &str) -> Result<(String, u64), SonicError> {
        let status = self.units.status(unit).await?;
        Ok((status.active_state, status.since))
    }

    async fn enable(&self, unit: &str) -> Result<(), SonicError> {
        let status = self.units.status(unit).await?;
        if status.exists() && !status.is_outdated && status.unit_file_state == "enabled" {
            return Ok(());
        }
        // A file that is new is found by name only after systemd has looked.
        self.units.daemon_reload().await?;
        self.units.enable(unit).await
    }

    async fn disable(&self, unit: &str) -> Result<(), SonicError> {
        match self.units.disable(unit).await {
            Err(SonicError::NoSuchUnit { .. }) => Ok(()),
            done => done,
        }
    }

    async fn reload(&self) -> Result<(), SonicError> {
        self.units.daemon_reload().await
    }

    async fn start(&self, unit: &str) -> Result<Result<(), String>, SonicError> {
        // What failed before must not count against a start that an operator asks for.
        self.units.reset_failed(unit).await?;
        Ok(match self.units.start(unit).await? {
            JobOutcome::Done => Ok(()),
            JobOutcome::Failed(how) => {
                Err(format!("its unit's start ended with {how:?}; see: journalctl -u {unit}"))
            }
            JobOutcome::Refused(why) => Err(why),
        })
    }

    async fn queue(&self, unit: &str) -> Result<(), SonicError> {
        self.units.reset_failed(unit).await?;
        self.units.ask_start(unit).await
    }

    async fn stop(&self, unit: &str) -> Result<(), SonicError> {
        match self.units.stop(unit).await {
            Ok(JobOutcome::Done) | Err(SonicError::NoSuchUnit { .. }) => Ok(()),
            Ok(JobOutcome::Failed(text) | JobOutcome::Refused(text)) => {
                Err(SonicError::BusRefused { doing: format!("stop {unit}"), text })
            }
            Err(error) => Err(error),
        }
    }

    async fn wait_up(&self, unit: &str, time: Duration) -> Result<bool, SonicError> {
        self.units.wait_active(unit, true, time).await
    }
}
