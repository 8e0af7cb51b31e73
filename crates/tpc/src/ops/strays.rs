//! What this SONiC image still has of TPCs that were uninstalled while another one ran: containers, images and units
//! here, records on the partition that all have in common. Without a record nobody else would ever look at them: the unit
//! fails at every boot, and its name is taken.

use std::collections::BTreeSet;
use std::path::Path;

use switchyard_core::ImageId;
use switchyard_core::tpc::{LABEL, TpcName};

use super::container::is_ours;
use super::services::Services;
use super::steps::{NEXT, SAVED};
use super::{OpsError, Tpcm, unit};

impl<S: Services> Tpcm<S> {
    /// Removes every container and unit of ours that has neither a record nor a journal.
    pub(super) async fn remove_strays(&mut self) -> Result<(), OpsError> {
        let mut names = self.stray_units()?;
        let mut images: Vec<ImageId> = Vec::new();
        for found in self.engine.labelled(LABEL).await? {
            let Ok(name) = TpcName::parse(found.labels.get(LABEL).map_or("", String::as_str)) else {
                continue;
            };
            // A container that has the private volume mounted was made here; of another root, or by hand, it is not.
            let volume = self.layout.volume(&name);
            let mounted = found.binds.iter().any(|(from, to)| *from == volume && to == Path::new("/tpc"));
            if mounted && is_ours(&found.name, &found.labels) && !self.is_known(&name) {
                images.extend(found.image);
                names.insert(name);
            }
        }
        for name in names {
            tracing::warn!(
                "{name}: what is left of it here is removed: it was uninstalled under another SONiC image"
            );
            self.remove_unit(&name).await?;
            for container in name.containers() {
                self.discard(&container).await?;
            }
            for word in [NEXT, SAVED, "latest"] {
                self.drop_name(&name, word).await?;
            }
        }
        for image in images {
            self.drop_image(&image).await?;
        }
        Ok(())
    }

    /// Also with a record that cannot be read: a person is to mend that first.
    fn is_known(&self, name: &TpcName) -> bool {
        self.layout.record(name).exists() || self.layout.journal(name).exists()
    }

    fn stray_units(&self) -> Result<BTreeSet<TpcName>, OpsError> {
        let files = super::layout::entries(&self.settings.units)?;
        let names = files.iter().filter_map(|file| TpcName::parse(file.strip_suffix(".service")?).ok());
        let ours = |name: &TpcName| {
            let text = std::fs::read_to_string(self.settings.units.join(name.unit())).unwrap_or_default();
            unit::is_ours(&text)
        };
        Ok(names.filter(|name| !self.is_known(name) && ours(name)).collect())
    }
}
