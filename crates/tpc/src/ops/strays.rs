//! What this SONiC image has of TPCs that nobody else would ever look at: containers, images and units without a record of
//! a TPC that was uninstalled while another one ran, whose unit fails at every boot, and whose name is taken; and what
//! the engine has made for an operation that was killed, after all else of that was undone.

use std::collections::BTreeSet;

use switchyard_core::ImageId;
use switchyard_core::tpc::{LABEL, TpcName};
use switchyard_engine::Labelled;

use super::container::{ROOT_LABEL, is_ours};
use super::record::Record;
use super::services::Services;
use super::steps::NEXT;
use super::{OpsError, Tpcm, layout, unit};

impl<S: Services> Tpcm<S> {
    /// Removes every container and unit of ours that has neither a record nor a journal, and what only an operation under
    /// way has where there is none.
    pub(super) async fn remove_strays(&mut self) -> Result<(), OpsError> {
        let mut names = self.stray_units()?;
        let mut images: Vec<ImageId> = Vec::new();
        for found in self.engine.labelled(LABEL).await? {
            let Some(name) = self.name_of(&found) else { continue };
            if !self.is_known(&name) {
                images.extend(found.image);
                names.insert(name);
            } else if self.is_late(&name, &found) {
                self.discard(&found.name).await?;
                self.drop_name(&name, NEXT).await?;
                images.extend(found.image);
            }
        }
        for name in names {
            tracing::warn!("{name}: what is left of it here is removed: it is not installed");
            self.remove_unit(&name).await?;
            for container in name.containers() {
                self.discard(&container).await?;
            }
            for word in [NEXT, "latest"] {
                self.drop_name(&name, word).await?;
            }
        }
        self.drop_late_commits().await?;
        for image in images {
            self.drop_image(&image).await?;
        }
        self.remove_trash()
    }

    /// What was in the way when an old volume was put back, and could not be removed then.
    fn remove_trash(&self) -> Result<(), OpsError> {
        let names = layout::entries(&self.layout.records())?;
        let names = names.iter().filter_map(|name| TpcName::parse(name).ok());
        let over = names.filter(|name| !self.layout.journal(name).exists());
        over.map(|name| self.layout.trash(&name)).try_for_each(|trash| layout::remove_tree(&trash))
    }

    /// The TPC that a container was made here for. One of another root, or made by hand, is none.
    fn name_of(&self, found: &Labelled) -> Option<TpcName> {
        let here = found.labels.get(ROOT_LABEL).is_some_and(|root| *root == self.root_text());
        let name = TpcName::parse(found.labels.get(LABEL)?).ok()?;
        (here && is_ours(&found.name, &found.labels)).then_some(name)
    }

    /// Also with a record that cannot be read: a person is to mend that first.
    fn is_known(&self, name: &TpcName) -> bool {
        self.layout.record(name).exists() || self.layout.journal(name).exists()
    }

    /// Whether a container has a name that it has only on the way, and there is no operation under way. Whatever it is
    /// called, the one that counts stays.
    fn is_late(&self, name: &TpcName, found: &Labelled) -> bool {
        let counts = |record: &Record| record.container.as_deref() == Some(found.id.as_str());
        found.name != name.as_str()
            && !self.layout.journal(name).exists()
            && matches!(Record::load(&self.layout, name), Ok(Some(record)) if !counts(&record))
    }

    fn stray_units(&self) -> Result<BTreeSet<TpcName>, OpsError> {
        let files = layout::entries(&self.settings.units)?;
        let names = files.iter().filter_map(|file| TpcName::parse(file.strip_suffix(".service")?).ok());
        let ours = |name: &TpcName| {
            let text = std::fs::read_to_string(self.settings.units.join(name.unit())).unwrap_or_default();
            unit::is_ours(&text)
        };
        Ok(names.filter(|name| !self.is_known(name) && ours(name)).collect())
    }
}
