//! The verbs that change which version there is: install, upgrade, rollback, uninstall; and resources.

use switchyard_core::tpc::{Asked, CreateArgs, Facts, Operation, TpcName};

use super::api::{InstallRequest, Options, Report, SourceRequest, UpgradeRequest};
use super::bring::Draft;
use super::execute::{Live, Quiet};
use super::journal::Entry;
use super::record::Record;
use super::services::Services;
use super::{OpsError, Tpcm, container};
use crate::fetch::Progress;

impl<S: Services> Tpcm<S> {
    /// Brings a container onto the switch.
    pub async fn install(
        &mut self,
        request: InstallRequest,
        progress: &mut dyn Progress,
    ) -> Result<Report, OpsError> {
        let InstallRequest { name, source, options } = request;
        self.begin().await?;
        if Record::load(&self.layout, &name)?.is_some() {
            return Err(OpsError::Installed(name));
        }
        self.not_stuck(&name)?;
        self.name_is_free(&name).await?;
        let draft = self.draft(&source, None, &options)?;
        self.admitted_limits(&name, draft.limits)?;
        let mut entry = self.entry(&name, Operation::Install, Facts::default(), None).await?;
        entry.had_volume = self.layout.volume(&name).exists();
        entry.was_up = true;
        let mut live = Live::new(progress);
        if entry.had_volume {
            live.messages.push(format!("the data of an earlier {name} is still there and is kept"));
        }
        self.warn(&draft, &mut live)?;
        live.draft = Some(draft);
        let report = self.carry_out(entry, &mut live).await?;
        self.put_vrf_right();
        Ok(report)
    }

    /// Brings another version in place of the present one.
    pub async fn upgrade(
        &mut self,
        request: UpgradeRequest,
        progress: &mut dyn Progress,
    ) -> Result<Report, OpsError> {
        let UpgradeRequest { name, source, options, skip_data } = request;
        self.begin().await?;
        let record = self.record(&name)?;
        let draft = self.draft(&source, Some(&record), &options)?;
        self.admitted_limits(&name, draft.limits)?;
        let facts = Facts { hooks: !skip_data, ..Facts::default() };
        let entry = self.entry(&name, Operation::Upgrade, facts, Some(record)).await?;
        let mut live = Live::new(progress);
        self.warn(&draft, &mut live)?;
        live.draft = Some(draft);
        self.carry_out(entry, &mut live).await
    }

    /// Goes back to the version before, and to its data unless that is to stay as it is.
    pub async fn rollback(&mut self, name: &TpcName, keep_data: bool) -> Result<Report, OpsError> {
        self.begin().await?;
        let record = self.record(name)?;
        let mut back = record.before.clone().ok_or_else(|| OpsError::NothingBefore(name.clone()))?;
        back.limits = record.current.limits;
        self.admitted_limits(name, back.limits)?;
        // Without data of that version there is none to go back to.
        let keep_data = keep_data || !self.layout.before(name).is_dir();
        let facts = Facts { keep_data, ..Facts::default() };
        let mut entry = self.entry(name, Operation::Rollback, facts, Some(record.clone())).await?;
        let note = format!("to {} from {}", back.source, record.current.source);
        let mut after = record.clone();
        after.before = Some(record.current);
        after.current = back;
        after.note(&entry.began, Operation::Rollback, note);
        entry.after = Some(after);
        let mut quiet = Quiet;
        self.carry_out(entry, &mut Live::new(&mut quiet)).await
    }

    /// Takes a container off the switch; its data only if that is asked for.
    pub async fn uninstall(&mut self, name: &TpcName, purge: bool) -> Result<Report, OpsError> {
        self.begin().await?;
        let record = self.record(name)?;
        let facts = Facts { purge, ..Facts::default() };
        let entry = self.entry(name, Operation::Uninstall, facts, Some(record)).await?;
        let mut quiet = Quiet;
        let mut live = Live::new(&mut quiet);
        let volume = self.layout.volume(name);
        if !purge && volume.exists() {
            live.messages.push(format!("its data stays in {}; remove it with --purge", volume.display()));
        }
        let report = self.carry_out(entry, &mut live).await?;
        self.put_vrf_right();
        Ok(report)
    }

    /// Changes the limits of a container, which runs on.
    pub async fn resources(&mut self, name: &TpcName, asked: Asked) -> Result<Report, OpsError> {
        self.begin().await?;
        self.resources_locked(name, asked).await
    }

    pub(super) async fn resources_locked(
        &mut self,
        name: &TpcName,
        asked: Asked,
    ) -> Result<Report, OpsError> {
        let record = self.record(name)?;
        let limits = asked.over(record.current.limits);
        self.admitted_limits(name, limits)?;
        let mut entry =
            self.entry(name, Operation::Resources, Facts::default(), Some(record.clone())).await?;
        let mut after = record;
        after.current.limits = limits;
        let amount = |amount: Option<String>| amount.unwrap_or_else(|| "unlimited".to_owned());
        let note = format!(
            "cpu {}, memory {}, disk {}",
            limits.cpu,
            amount(limits.memory.map(|memory| memory.to_string())),
            amount(limits.disk.map(|disk| disk.to_string())),
        );
        after.note(&entry.began, Operation::Resources, note);
        entry.after = Some(after);
        let mut quiet = Quiet;
        self.carry_out(entry, &mut Live::new(&mut quiet)).await
    }

    /// What an operation finds when it begins.
    pub(super) async fn entry(
        &mut self,
        name: &TpcName,
        operation: Operation,
        facts: Facts,
        before: Option<Record>,
    ) -> Result<Entry, OpsError> {
        self.not_stuck(name)?;
        let began = (switchyard_sonic::local_time(), self.settings.command.clone());
        let mut entry = Entry::new(name, operation, facts, before, began);
        let found = self.engine.container(name.as_str()).await?;
        entry.was_up = found.as_ref().is_some_and(|container| container.running)
            || self.services.is_up(&name.unit()).await?;
        entry.old_container = found.map(|container| container.id.to_string());
        Ok(entry)
    }

    fn draft<'a>(
        &self,
        source: &'a SourceRequest,
        record: Option<&Record>,
        options: &Options,
    ) -> Result<Draft<'a>, OpsError> {
        let old = record.map(|record| &record.current);
        let args = options.args.clone().or_else(|| old.map(|old| old.args.clone())).unwrap_or_default();
        CreateArgs::parse(&args)?;
        let limits = options.limits.over(old.map_or(self.defaults.limits, |old| old.limits));
        let after = options.after.clone().or_else(|| old.map(|old| old.after.clone())).unwrap_or_default();
        let shared = options.shared.or(old.map(|old| old.shared)).unwrap_or(true);
        Ok(Draft { source, args, limits, after, shared })
    }

    fn admitted_limits(&self, name: &TpcName, limits: switchyard_core::tpc::Limits) -> Result<(), OpsError> {
        let (records, _) = Record::load_readable(&self.layout)?;
        let others: Vec<_> = records
            .into_iter()
            .filter(|record| record.enabled)
            .map(|record| (record.name, record.current.limits))
            .collect();
        Ok(switchyard_core::tpc::admit(&self.machine()?, &self.defaults.cap, &others, name, &limits)?)
    }

    /// Whether nobody else on this switch goes by that name.
    pub(super) async fn name_is_free(&mut self, name: &TpcName) -> Result<(), OpsError> {
        let taken = |by: &str| Err(OpsError::NameTaken { name: name.clone(), by: by.to_owned() });
        if self.is_feature(name) {
            return taken("a feature of SONiC");
        }
        if let Some(found) = self.engine.container(name.as_str()).await?
            && !container::is_ours(name.as_str(), &found.labels)
        {
            return taken("another container");
        }
        if self.services.exists(&name.unit()).await? {
            return taken("another systemd unit");
        }
        Ok(())
    }

    /// What the operator should know before it is done.
    fn warn(&self, draft: &Draft<'_>, live: &mut Live<'_>) -> Result<(), OpsError> {
        /// Seed 004: such partitions are too small for images, their copies in the store and a second SONiC image.
        const SMALL: u64 = 32 << 30;
        let disk = self.machine()?.disk;
        if disk < SMALL {
            let size = switchyard_core::tpc::human(disk);
            live.messages
                .push(format!("warning: the partition has {size}, less than the 32G that are advised"));
        }
        let args = CreateArgs::parse(&draft.args)?;
        live.messages.extend(args.hazards().into_iter().map(|hazard| format!("warning: {hazard}")));
        Ok(())
    }
}
