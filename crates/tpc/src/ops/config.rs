//! The rows: CONFIG_DB `TPC` enables and limits what is installed, STATE_DB `TPC` tells how it is.
//!
//! A TPC lives without them: a database that is away, as early at boot, costs a warning and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use switchyard_core::FeatureName;
use switchyard_core::tpc::{Asked, Disk, Memory, TpcName};
use switchyard_sonic::{Fields, SonicError, Switch};
use tokio::time::sleep;

use super::api::Report;
use super::interrupts::or_interrupted;
use super::journal::Entry;
use super::record::Record;
use super::services::Services;
use super::{OpsError, Tpcm};

/// A configuration that is being written counts when nothing was heard of it for so long (DESIGN.md section 4).
const SETTLE: Duration = Duration::from_secs(2);

/// A database that is away is asked again after so long.
const DATABASE_RETRY: Duration = Duration::from_secs(30);

/// What a row asks of a TPC.
struct Wish {
    record: Record,
    enabled: bool,
    /// New ones, if they are others than those recorded.
    limits: Option<Asked>,
}

/// Which rows are acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Every one; a container that its row wants and that is down is started.
    All,
    /// Those that say something else than what is recorded.
    ThatDiffer,
}

impl<S: Services> Tpcm<S> {
    fn databases(&self) -> Option<Result<Switch, SonicError>> {
        self.settings.sonic.clone().map(Switch::open)
    }

    fn with_databases(&self, doing: &str, act: impl FnOnce(&mut Switch) -> Result<(), SonicError>) {
        let Some(opened) = self.databases() else { return };
        if let Err(error) = opened.and_then(|mut switch| act(&mut switch)) {
            tracing::warn!("cannot {doing}: {error}");
        }
    }

    /// Whether a feature of SONiC has this name.
    pub(super) fn is_feature(&self, name: &TpcName) -> bool {
        let mut found = false;
        if let Ok(feature) = FeatureName::parse(name.as_str()) {
            self.with_databases("look for a feature of that name", |switch| {
                found = switch.has_feature(&feature)?;
                Ok(())
            });
        }
        found
    }

    /// Configuration follows what was done by command, so that `config save` keeps it.
    pub(super) fn tell_config(&self, record: &Record) {
        let limits = record.current.limits;
        let mut fields = vec![("state", word(record.enabled).to_owned()), ("cpu", limits.cpu.to_string())];
        fields.extend(limits.memory.map(|memory| ("memory", memory.to_string())));
        fields.extend(limits.disk.map(|disk| ("disk", disk.to_string())));
        self.with_databases("write CONFIG_DB TPC", |switch| {
            switch.set_tpc_config(record.name.as_str(), &fields)
        });
    }

    pub(super) fn forget_rows(&self, name: &TpcName) {
        self.with_databases("delete the rows of TPC", |switch| {
            switch.delete_tpc_config(name.as_str())?;
            switch.delete_tpc_state(name.as_str())
        });
    }

    /// STATE_DB follows what is.
    pub(super) async fn tell(&mut self, name: &TpcName) {
        if self.settings.sonic.is_none() {
            return;
        }
        let Ok(Some(record)) = Record::load(&self.layout, name) else { return };
        let Ok(summary) = self.summary(&record).await else { return };
        let state = serde_json::to_value(summary.state).ok();
        let state = state.as_ref().and_then(|state| state.as_str()).unwrap_or_default();
        let fields = [
            ("state", state.to_owned()),
            ("source", summary.source),
            ("image", summary.image),
            ("version", summary.version.unwrap_or_default()),
            ("container_id", record.container.iter().flat_map(|id| id.chars().take(12)).collect()),
            ("since", summary.since.unwrap_or_default()),
            ("reason", summary.reason.unwrap_or_default()),
            ("update_time", switchyard_sonic::local_time()),
        ];
        self.with_databases("write STATE_DB TPC", |switch| switch.set_tpc_state(name.as_str(), &fields));
    }

    /// Makes what is installed as CONFIG_DB has it. A row for nothing installs nothing; one that asks for more than there
    /// is changes nothing, and is the error of this call after all others were seen to.
    pub async fn apply(&mut self) -> Result<Vec<Report>, OpsError> {
        self.begin().await?;
        self.apply_rows(Rows::All, &mut BTreeSet::new()).await
    }

    /// As [`Tpcm::apply`] now and after each change of the rows or of the management VRF, until nothing is installed any
    /// more, nor being installed. Holds the lock only while it acts, and starts nothing that an operator has stopped and no row speaks of.
    pub async fn watch(&mut self) -> Result<(), OpsError> {
        let Some(paths) = self.settings.sonic.clone() else { return Ok(()) };
        let mut said = BTreeSet::new();
        let mut rows = Rows::All;
        loop {
            // Heard from before the look, so that no change falls in between.
            let changes = match Switch::open(paths.clone()) {
                Ok(switch) => switch.tpc_changes().await.ok(),
                Err(_) => None,
            };
            // What is wrong with a row was said there.
            if let Err(OpsError::Switch(error)) = self.follow(rows, &mut said).await {
                let text = format!("the rows of TPC cannot be followed: {error}");
                if !said.contains(&text) {
                    tracing::warn!("{text}");
                    said.insert(text);
                }
            }
            rows = Rows::ThatDiffer;
            self.lock = None;
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            if self.names()?.is_empty() && Entry::names(&self.layout)?.is_empty() {
                return Ok(());
            }
            let next = async {
                match changes {
                    Some(mut changes) => {
                        let _ = changes.next().await;
                        sleep(SETTLE).await;
                    }
                    None => sleep(DATABASE_RETRY).await,
                }
                Ok::<(), OpsError>(())
            };
            // Once an operation has been carried out, nobody else ends this process when systemd asks it to.
            if or_interrupted(&mut self.interrupts, next).await.is_err() {
                return Ok(());
            }
        }
    }

    /// One look. It tells without the lock whether there is anything to do: most changes of the rows are our own. But the
    /// first one, and any that finds nothing but an installation under way, waits for that one's end: its container
    /// counts on somebody here.
    async fn follow(&mut self, rows: Rows, said: &mut BTreeSet<String>) -> Result<(), OpsError> {
        let Some(opened) = self.databases() else { return Ok(()) };
        let idle = |judged: Result<Option<Wish>, OpsError>| matches!(judged, Ok(None));
        let is_awaited = self.names()?.is_empty() && !Entry::names(&self.layout)?.is_empty();
        let nothing_to_do = rows == Rows::ThatDiffer
            && !is_awaited
            && opened?.tpc_configs()?.iter().all(|(key, fields)| idle(self.judge(rows, key, fields)));
        if nothing_to_do {
            said.clear();
            self.put_vrf_right();
            return Ok(());
        }
        self.begin().await?;
        self.apply_rows(rows, said).await.map(drop)
    }

    /// With the lock. `said` has the complaints of the look before; each is logged once, as long as it lasts.
    async fn apply_rows(&mut self, rows: Rows, said: &mut BTreeSet<String>) -> Result<Vec<Report>, OpsError> {
        let Some(opened) = self.databases() else { return Ok(Vec::new()) };
        let mut switch = opened?;
        if !switch.config_initialized()? {
            tracing::info!("the configuration is being loaded: nothing is changed now");
            return Ok(Vec::new());
        }
        let mut reports = Vec::new();
        let mut complaints = BTreeSet::new();
        let mut first_failure = None;
        for (key, fields) in switch.tpc_configs()? {
            let done = match self.judge(rows, &key, &fields) {
                Ok(None) => continue,
                Ok(Some(wish)) => self.fulfil(&wish).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(report) => reports.extend(report),
                Err(error) => {
                    complaints.insert(format!("CONFIG_DB TPC|{key}: {error}"));
                    // A row may be there before what it is about.
                    if !matches!(error, OpsError::NotInstalled(_)) {
                        first_failure.get_or_insert(error);
                    }
                }
            }
        }
        for complaint in complaints.difference(said) {
            tracing::error!("{complaint}");
        }
        *said = complaints;
        self.put_vrf_right();
        first_failure.map_or(Ok(reports), Err)
    }

    /// What a row asks for, if anything is to be done about it; or why it cannot be done.
    fn judge(&self, rows: Rows, key: &str, fields: &Fields) -> Result<Option<Wish>, OpsError> {
        let name = TpcName::parse(key).map_err(|error| bad_row("name", &error))?;
        let record = self.record(&name)?;
        let asked = Asked {
            cpu: parsed(fields, "cpu")?,
            memory: parsed::<Memory>(fields, "memory")?,
            disk: parsed::<Disk>(fields, "disk")?,
        };
        let enabled = fields.get("state").is_none_or(|state| state.trim().eq_ignore_ascii_case("enabled"));
        let limits = (asked.over(record.current.limits) != record.current.limits).then_some(asked);
        let differs = limits.is_some() || enabled != record.enabled;
        Ok((rows == Rows::All || differs).then_some(Wish { record, enabled, limits }))
    }

    async fn fulfil(&mut self, wish: &Wish) -> Result<Option<Report>, OpsError> {
        let record = &wish.record;
        self.not_stuck(&record.name)?;
        // A row that asks for too much changes nothing at all.
        if wish.enabled {
            let mut wished = record.current.clone();
            if let Some(asked) = &wish.limits {
                wished.limits = asked.over(wished.limits);
            }
            self.admitted(&record.name, &wished)?;
        }
        // First, since whatever records new limits writes the row as well, with the state that is recorded.
        self.enable(&record.name, wish.enabled).await?;
        match wish.limits {
            Some(asked) => self.resources_locked(&record.name, asked).await.map(Some),
            None => Ok(None),
        }
    }

    /// Lets a TPC run, now and at every boot, or keeps it from it. May be done again after a crash anywhere in it.
    async fn enable(&mut self, name: &TpcName, wanted: bool) -> Result<(), OpsError> {
        let mut record = self.record(name)?;
        let unit = name.unit();
        let up = self.services.is_up(&unit).await?;
        if self.settings.dry_run || (record.enabled == wanted && up == wanted) {
            return Ok(());
        }
        if wanted {
            self.admitted(name, &record.current)?;
        }
        record.enabled = wanted;
        record.store(&self.layout)?;
        if wanted {
            self.write_unit(&record).await?;
            self.services.queue(&unit).await?;
        } else {
            self.services.disable(&unit).await?;
            self.services.stop(&unit).await?;
        }
        self.tell(name).await;
        Ok(())
    }
}

fn word(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    fields: &Fields,
    field: &str,
) -> Result<Option<T>, OpsError> {
    let Some(text) = fields.get(field).map(|text| text.trim()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error| bad_row(field, &error))
}

fn bad_row(field: &str, error: &impl std::fmt::Display) -> OpsError {
    OpsError::Damaged {
        path: format!("CONFIG_DB TPC {field}").into(),
        why: error.to_string(),
        hint: "correct it with: config tpcm",
    }
}
