//! The rows: CONFIG_DB `TPC` enables and limits what is installed, STATE_DB `TPC` tells how it is.
//!
//! A TPC lives without them: a database that is away, as early at boot, costs a warning and nothing else.

use switchyard_core::FeatureName;
use switchyard_core::tpc::{Asked, Disk, Memory, TpcName};
use switchyard_sonic::{Fields, SonicError, Switch};

use super::api::Report;
use super::record::Record;
use super::services::Services;
use super::{OpsError, Tpcm};

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
        let Some(opened) = self.databases() else { return Ok(Vec::new()) };
        let mut switch = opened?;
        if !switch.config_initialized()? {
            tracing::info!("the configuration is being loaded: nothing is changed now");
            return Ok(Vec::new());
        }
        let mut reports = Vec::new();
        let mut first_failure = None;
        for (key, fields) in switch.tpc_configs()? {
            let Some(record) = TpcName::parse(&key).ok().map(|name| self.record(&name)) else {
                tracing::warn!("CONFIG_DB TPC|{key}: no third-party container can be called that");
                continue;
            };
            let Ok(record) = record else {
                tracing::warn!("CONFIG_DB TPC|{key}: it is not installed; a row installs nothing");
                continue;
            };
            match self.apply_one(&record, &fields).await {
                Ok(report) => reports.extend(report),
                Err(error) => {
                    tracing::error!("CONFIG_DB TPC|{key}: {error}");
                    first_failure.get_or_insert(error);
                }
            }
        }
        self.put_vrf_right();
        first_failure.map_or(Ok(reports), Err)
    }

    async fn apply_one(&mut self, record: &Record, fields: &Fields) -> Result<Option<Report>, OpsError> {
        let asked = Asked {
            cpu: parsed(fields, "cpu")?,
            memory: parsed::<Memory>(fields, "memory")?,
            disk: parsed::<Disk>(fields, "disk")?,
        };
        let wanted = fields.get("state").is_none_or(|state| state.trim().eq_ignore_ascii_case("enabled"));
        // A row that asks for too much changes nothing at all.
        let mut wished = record.current.clone();
        wished.limits = asked.over(wished.limits);
        if wanted {
            self.admitted(&record.name, &wished)?;
        }
        // First, since whatever records new limits writes the row as well, with the state that is recorded.
        self.enable(&record.name, wanted).await?;
        let mut report = None;
        if wished.limits != record.current.limits {
            report = Some(self.resources_locked(&record.name, asked).await?);
        }
        Ok(report)
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
    text.parse().map(Some).map_err(|error: T::Err| OpsError::Damaged {
        path: format!("CONFIG_DB TPC {field}").into(),
        why: error.to_string(),
        hint: "correct it with: config tpcm",
    })
}
