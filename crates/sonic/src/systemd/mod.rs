//! systemd over D-Bus: the state of units, jobs and their outcomes, and who stops with whom.
//!
//! Waits for signals and never polls. Which unit to start or stop, and what a refusal means, is the callers'.

mod jobs;
mod links;
mod proxies;
mod status;
mod watch;

use std::time::Duration;

use zbus::{Connection, OwnedObjectPath, connection::Builder};

pub use jobs::JobOutcome;
pub use status::UnitStatus;
pub use watch::UnitChanges;

use crate::SonicError;
use proxies::ManagerProxy;

/// systemd answers at once but for a daemon-reload, whose generators may take long on a slow switch.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A connection to the system's systemd.
#[derive(Clone)]
pub struct Units {
    bus: Connection,
    manager: ManagerProxy<'static>,
    deadline: Option<Duration>,
}

impl Units {
    /// Connects to the system bus. Needs a tokio runtime.
    pub async fn connect() -> Result<Self, SonicError> {
        Self::connect_by(Builder::system()).await
    }

    /// Connects to another bus on which a systemd is, by its D-Bus address.
    pub async fn connect_to(address: &str) -> Result<Self, SonicError> {
        Self::connect_by(Builder::address(address)).await
    }

    async fn connect_by(builder: Builder<'_>) -> Result<Self, SonicError> {
        let unreachable = |source| SonicError::BusUnreachable { source };
        let bus = builder.method_timeout(ANSWER_TIME_MAX).build().await.map_err(unreachable)?;
        let manager = ManagerProxy::new(&bus).await.map_err(unreachable)?;
        Ok(Self { bus, manager, deadline: None })
    }

    /// Waits for the end of a job for so long at most; without this, as long as systemd itself lets it run.
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// What systemd knows of a unit. One that does not exist is no error here: see [`UnitStatus::exists`].
    pub async fn status(&self, unit: &str) -> Result<UnitStatus, SonicError> {
        let of_service = async {
            // A target or timer has no such properties.
            if unit.ends_with(".service") {
                self.shown(unit, proxies::SERVICE).await
            } else {
                Ok(proxies::Properties::new())
            }
        };
        let (of_unit, of_service) = tokio::try_join!(self.shown(unit, proxies::UNIT), of_service)?;
        Ok(UnitStatus::from_properties(&of_unit, &of_service))
    }

    /// Forgets the failures and starts of a unit, so that neither its state nor its start limit stands in the way.
    pub async fn reset_failed(&self, unit: &str) -> Result<(), SonicError> {
        match self.manager.reset_failed_unit(unit).await {
            // One that systemd has not loaded has nothing to forget.
            Err(error) if is_named(&error, NO_SUCH_UNIT) => Ok(()),
            answer => answer.map_err(|e| failed(format!("reset {unit}"), unit, e)),
        }
    }

    /// Lets a unit start at boot. Reloads systemd, as systemctl does; so do the next three.
    pub async fn enable(&self, unit: &str) -> Result<(), SonicError> {
        let done = self.manager.enable_unit_files(&[unit], false, false).await;
        self.changed_file(done.map(drop), "enable", unit).await
    }

    /// Keeps a unit from starting at boot.
    pub async fn disable(&self, unit: &str) -> Result<(), SonicError> {
        let done = self.manager.disable_unit_files(&[unit], false).await;
        self.changed_file(done.map(drop), "disable", unit).await
    }

    /// Keeps a unit from being started at all.
    pub async fn mask(&self, unit: &str) -> Result<(), SonicError> {
        let done = self.manager.mask_unit_files(&[unit], false, true).await;
        self.changed_file(done.map(drop), "mask", unit).await
    }

    /// Lets a unit be started again.
    pub async fn unmask(&self, unit: &str) -> Result<(), SonicError> {
        let done = self.manager.unmask_unit_files(&[unit], false).await;
        self.changed_file(done.map(drop), "unmask", unit).await
    }

    /// Makes systemd read all unit files anew.
    pub async fn daemon_reload(&self) -> Result<(), SonicError> {
        self.manager.reload().await.map_err(|e| failed("reload its unit files".into(), "", e))
    }

    async fn changed_file(&self, done: zbus::Result<()>, verb: &str, unit: &str) -> Result<(), SonicError> {
        done.map_err(|e| failed(format!("{verb} {unit}"), unit, e))?;
        self.daemon_reload().await
    }

    /// Asks systemd to send signals at all. It remembers for as long as the connection lasts.
    async fn listen(&self) -> zbus::Result<()> {
        match self.manager.subscribe().await {
            Err(error) if is_named(&error, "org.freedesktop.systemd1.AlreadySubscribed") => Ok(()),
            answer => answer,
        }
    }

    /// All properties of one interface of a unit, which systemd loads for that if need be.
    async fn shown(&self, unit: &str, interface: &str) -> Result<proxies::Properties, SonicError> {
        let shown = async { self.properties(&path_of(unit)?, interface).await };
        shown.await.map_err(|e| failed(format!("show {unit}"), unit, e))
    }

    async fn load(&self, unit: &str) -> Result<OwnedObjectPath, SonicError> {
        self.manager.load_unit(unit).await.map_err(|e| failed(format!("show {unit}"), unit, e))
    }
}

/// Where a unit is on the bus: its name as `sd_bus_path_encode(3)` writes it. That spares a question to systemd, which at
/// the worst of times is busy.
fn path_of(unit: &str) -> zbus::Result<OwnedObjectPath> {
    let escaped = unit.bytes().enumerate().map(|(at, byte)| {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            char::from(byte).to_string()
        } else {
            format!("_{byte:02x}")
        }
    });
    format!("/org/freedesktop/systemd1/unit/{}", escaped.collect::<String>()).try_into()
}

fn is_named(error: &zbus::Error, wanted: &str) -> bool {
    matches!(error, zbus::Error::MethodError(name, ..) if name.as_str() == wanted)
}

/// What an error reply means.
fn failed(doing: String, unit: &str, error: zbus::Error) -> SonicError {
    use zbus::fdo::Error as Fdo;
    let unit = unit.to_owned();
    match &error {
        zbus::Error::MethodError(name, text, _) => {
            let text = text.clone().unwrap_or_else(|| name.to_string());
            by_name(name.as_str(), doing, unit, text)
        }
        zbus::Error::FDO(fdo) => match &**fdo {
            Fdo::AccessDenied(_) | Fdo::InteractiveAuthorizationRequired(_) | Fdo::AuthFailed(_) => {
                SonicError::BusDenied { doing }
            }
            Fdo::NoReply(_) | Fdo::Timeout(_) | Fdo::TimedOut(_) => {
                SonicError::TimedOut { what: format!("systemd's answer to {doing}"), after: ANSWER_TIME_MAX }
            }
            Fdo::Disconnected(_) | Fdo::ServiceUnknown(_) | Fdo::NameHasNoOwner(_) => {
                SonicError::BusUnreachable { source: error }
            }
            other => SonicError::BusRefused { doing, text: without_name(&other.to_string()) },
        },
        zbus::Error::InputOutput(io) if io.kind() == std::io::ErrorKind::TimedOut => {
            SonicError::TimedOut { what: format!("systemd's answer to {doing}"), after: ANSWER_TIME_MAX }
        }
        zbus::Error::InputOutput(_) | zbus::Error::Connection(..) => {
            SonicError::BusUnreachable { source: error }
        }
        other => SonicError::BusRefused { doing, text: other.to_string() },
    }
}

/// The bus's own errors put their name before systemd's sentence; the sentence says it better.
fn without_name(text: &str) -> String {
    match text.split_once(": ") {
        Some((name, sentence)) if name.starts_with("org.freedesktop.") => sentence.to_owned(),
        _ => text.to_owned(),
    }
}

/// systemd's own error names, and those of the bus that zbus passes on by name.
fn by_name(name: &str, doing: String, unit: String, text: String) -> SonicError {
    match name {
        // The last two are what enabling or masking a unit without a file says.
        NO_SUCH_UNIT | "org.freedesktop.DBus.Error.FileNotFound" | "System.Error.ENOENT" => {
            SonicError::NoSuchUnit { unit }
        }
        "org.freedesktop.systemd1.UnitMasked" => SonicError::UnitMasked { unit },
        "org.freedesktop.DBus.Error.AccessDenied"
        | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => SonicError::BusDenied { doing },
        _ => SonicError::BusRefused { doing, text },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(name: &str) -> SonicError {
        by_name(name, "start snmp.service".into(), "snmp.service".into(), "systemd's words".into())
    }

    #[test]
    fn systemds_errors_are_told_apart_and_name_the_unit_and_the_way_out() {
        for (name, text) in [
            ("org.freedesktop.systemd1.NoSuchUnit", "there is no unit snmp.service"),
            ("org.freedesktop.DBus.Error.FileNotFound", "there is no unit snmp.service"),
            ("org.freedesktop.systemd1.UnitMasked", "systemctl unmask snmp.service"),
            ("org.freedesktop.DBus.Error.AccessDenied", "no right to start snmp.service: run it with sudo"),
            ("org.freedesktop.systemd1.LoadFailed", "refused to start snmp.service: systemd's words"),
        ] {
            let error = meaning(name).to_string();
            assert!(error.contains(text), "{name}: {error}");
        }
    }

    #[test]
    fn a_unit_is_where_systemd_says_that_it_is() {
        for (unit, path) in [
            ("snmp.service", "snmp_2eservice"),
            ("bgp@0.service", "bgp_400_2eservice"),
            ("0-a_b.target", "_30_2da_5fb_2etarget"),
        ] {
            assert_eq!(path_of(unit).unwrap().as_str(), format!("/org/freedesktop/systemd1/unit/{path}"));
        }
    }

    #[test]
    fn a_bus_that_went_away_is_no_refusal() {
        let error: zbus::Error = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        assert!(matches!(failed("x".into(), "u", error), SonicError::BusUnreachable { .. }));
        let error = zbus::Error::from(zbus::fdo::Error::AccessDenied("no".into()));
        assert!(matches!(failed("x".into(), "u", error), SonicError::BusDenied { .. }));
        let error: zbus::Error = std::io::Error::from(std::io::ErrorKind::TimedOut).into();
        assert!(matches!(failed("x".into(), "u", error), SonicError::TimedOut { .. }));
    }
}
