//! What systemd knows of a unit, as one value.

use serde::Serialize;
use switchyard_core::Unit;
use zbus::{OwnedVariant, Structure};

use super::proxies::Properties;

/// A unit at one moment. The words are systemd's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    /// Its name; another than asked for if that was an alias.
    pub id: String,
    /// What its file says it is.
    pub description: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active_state: String,
    /// Finer: `running`, `exited`, `dead`, `auto-restart`, `start-pre`, ….
    pub sub_state: String,
    /// `enabled`, `disabled`, `masked`, `static`, …; empty for a unit without a file.
    pub unit_file_state: String,
    /// Its files have changed since systemd read them.
    #[serde(skip)]
    pub is_outdated: bool,
    /// The process that makes it active; 0 if there is none.
    pub main_pid: u32,
    /// Since when it is in this state, in microseconds of Unix time; 0 if it never was in another.
    pub since: u64,
    /// The same moment in microseconds of the monotonic clock.
    pub since_monotonic: u64,
    /// How its last run ended: `success`, `exit-code`, `signal`, `timeout`, `start-limit-hit`, ….
    pub result: String,
    /// How often systemd restarted it by itself.
    pub n_restarts: u32,
    /// The exit code, or the signal, of its last main process.
    pub exec_main_status: i32,
    /// The job that is queued or under way for it; 0 if there is none.
    #[serde(skip)]
    pub job: u32,
}

impl UnitStatus {
    /// Whether there is such a unit, be it masked or broken.
    pub fn exists(&self) -> bool {
        !matches!(self.load_state.as_str(), "" | "not-found")
    }

    /// Whether it is masked.
    pub fn is_masked(&self) -> bool {
        self.load_state == "masked" || self.unit_file_state.starts_with("masked")
    }

    /// Whether it runs, or is about to.
    pub fn is_up(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "activating" | "reloading")
    }

    /// The state in core's terms.
    pub fn unit(&self) -> Unit {
        match (self.active_state.as_str(), self.sub_state.as_str()) {
            ("active", _) => Unit::Active,
            // What systemd 254 and later call it while the restart is counted and while its job waits.
            ("activating", "auto-restart" | "auto-restart-queued") => Unit::WillRestart,
            ("activating" | "deactivating" | "reloading" | "refreshing" | "maintenance", _) => Unit::Busy,
            // Off for a moment only: between the two halves of a restart, or until what it needs has started.
            _ if self.job != 0 => Unit::Busy,
            _ => Unit::Off,
        }
    }

    pub(super) fn from_properties(unit: &Properties, service: &Properties) -> Self {
        let active_state = text(unit, "ActiveState");
        let entered = entered(&active_state);
        Self {
            id: text(unit, "Id"),
            description: text(unit, "Description"),
            load_state: text(unit, "LoadState"),
            sub_state: text(unit, "SubState"),
            unit_file_state: text(unit, "UnitFileState"),
            is_outdated: value(unit, "NeedDaemonReload"),
            main_pid: value(service, "MainPID"),
            since: value(unit, entered),
            since_monotonic: value(unit, &format!("{entered}Monotonic")),
            result: text(service, "Result"),
            n_restarts: value(service, "NRestarts"),
            exec_main_status: value(service, "ExecMainStatus"),
            job: job(unit).unwrap_or_default(),
            active_state,
        }
    }
}

/// The time stamp that tells since when a unit is in this state.
fn entered(active_state: &str) -> &'static str {
    match active_state {
        "active" | "reloading" => "ActiveEnterTimestamp",
        "activating" => "InactiveExitTimestamp",
        "deactivating" => "ActiveExitTimestamp",
        _ => "InactiveEnterTimestamp",
    }
}

/// The number of its job, which stands before the job's path.
fn job(unit: &Properties) -> Option<u32> {
    let job: &Structure<'_> = unit.get("Job")?.downcast_ref().ok()?;
    job.fields().first()?.downcast_ref().ok()
}

/// Empty if the property is missing, as in an older systemd.
pub(super) fn text(properties: &Properties, name: &str) -> String {
    properties.get(name).and_then(|value| value.downcast_ref::<&str>().ok()).unwrap_or_default().to_owned()
}

fn value<T: Default + for<'a> TryFrom<&'a OwnedVariant>>(properties: &Properties, name: &str) -> T {
    properties.get(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use zbus::{ObjectPath, Variant};

    use super::*;

    fn properties(pairs: Vec<(&str, Variant<'_>)>) -> Properties {
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value.try_to_owned().unwrap())).collect()
    }

    #[test]
    fn the_properties_of_a_running_service_become_one_value() {
        let unit = properties(vec![
            ("Id", "snmp.service".into()),
            ("LoadState", "loaded".into()),
            ("ActiveState", "active".into()),
            ("SubState", "running".into()),
            ("UnitFileState", "enabled".into()),
            ("NeedDaemonReload", true.into()),
            ("ActiveEnterTimestamp", 1_700_000_000_000_000_u64.into()),
            ("ActiveEnterTimestampMonotonic", 42_u64.into()),
            ("InactiveEnterTimestamp", 7_u64.into()),
        ]);
        let service = properties(vec![
            ("MainPID", 4711_u32.into()),
            ("Result", "success".into()),
            ("NRestarts", 2_u32.into()),
            ("ExecMainStatus", (-1_i32).into()),
        ]);
        let status = UnitStatus::from_properties(&unit, &service);
        assert_eq!(status.id, "snmp.service");
        assert_eq!((status.since, status.since_monotonic), (1_700_000_000_000_000, 42));
        assert_eq!((status.main_pid, status.n_restarts, status.exec_main_status), (4711, 2, -1));
        assert!(status.exists() && status.is_up() && !status.is_masked() && status.is_outdated);
    }

    #[test]
    fn a_unit_without_properties_does_not_exist() {
        let status = UnitStatus::from_properties(&Properties::new(), &Properties::new());
        assert_eq!(status, UnitStatus::default());
        assert!(!status.exists() && !status.is_up());
        let wrong_type = properties(vec![("LoadState", 1_u32.into()), ("ActiveState", true.into())]);
        assert!(!UnitStatus::from_properties(&wrong_type, &wrong_type).exists());
    }

    #[test]
    fn systemds_states_become_the_few_that_decisions_look_at() {
        for (active, sub, expected) in [
            ("active", "running", Unit::Active),
            ("activating", "auto-restart", Unit::WillRestart),
            ("activating", "auto-restart-queued", Unit::WillRestart),
            ("activating", "start-pre", Unit::Busy),
            ("deactivating", "stop-sigterm", Unit::Busy),
            ("reloading", "reload", Unit::Busy),
            ("inactive", "dead", Unit::Off),
            ("failed", "failed", Unit::Off),
            ("", "", Unit::Off),
        ] {
            let status =
                UnitStatus { active_state: active.into(), sub_state: sub.into(), ..UnitStatus::default() };
            assert_eq!(status.unit(), expected, "{active} {sub}");
        }
    }

    #[test]
    fn a_unit_between_the_halves_of_a_restart_is_not_off() {
        let status = |number: u32| {
            let job = Structure::from((number, ObjectPath::try_from("/").unwrap()));
            let unit = properties(vec![
                ("ActiveState", "inactive".into()),
                ("SubState", "dead".into()),
                ("Job", Variant::from(job)),
            ]);
            UnitStatus::from_properties(&unit, &Properties::new()).unit()
        };
        assert_eq!((status(7), status(0)), (Unit::Busy, Unit::Off));
    }
}
