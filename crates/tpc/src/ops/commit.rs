//! Writable layers made images. The engine ends a commit also for a process that has died, so its image may come only
//! after all else was undone: each has a name of its own, by which whoever comes next finds it.

use std::time::{Duration, SystemTime};

use switchyard_core::tpc::TpcName;
use switchyard_core::{ImageId, ImageName};

use super::services::Services;
use super::steps::{repository, tag};
use super::{OpsError, Tpcm};
use crate::store::Sha256;

impl<S: Services> Tpcm<S> {
    /// Makes an image of one of a TPC's containers, with a name until it is in the store.
    pub(super) async fn commit(&self, name: &TpcName, container: &str) -> Result<ImageId, OpsError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let tag = tag(&format!("{}{}", self.commits(), now.as_nanos()))?;
        Ok(self.engine.commit(container, &repository(name)?, &tag).await?)
    }

    /// Takes the names of a TPC's commits from their images, which go with them.
    pub(super) async fn drop_commits(&self, name: &TpcName) -> Result<(), OpsError> {
        for image in self.engine.names_like(&format!("{}:{}*", name.repository(), self.commits())).await? {
            self.engine.untag(&image).await?;
        }
        Ok(())
    }

    /// The same for every TPC on which no operation is under way, also for one that has been uninstalled since.
    pub(super) async fn drop_late_commits(&self) -> Result<(), OpsError> {
        for image in self.engine.names_like(&format!("tpc/*:{}*", self.commits())).await? {
            if !of(&image).is_some_and(|name| self.layout.journal(&name).exists()) {
                self.engine.untag(&image).await?;
            }
        }
        Ok(())
    }

    /// Waits for a commit that an operation which was killed had begun: the container is paused meanwhile. It may as well
    /// be an operator who has paused it, so this is not for long.
    pub(super) async fn wait_for_commit(&mut self, name: &TpcName) -> Result<(), OpsError> {
        const TIME_MAX: Duration = Duration::from_mins(1);
        const LOOK: Duration = Duration::from_millis(100);
        let done = async {
            while self.engine.container(name.as_str()).await?.is_some_and(|container| container.paused) {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(TIME_MAX, done).await.unwrap_or(Ok(()))
    }

    /// How the tags of commits begin. Where the TPCs are is in it: those of another root are not ours to remove.
    fn commits(&self) -> String {
        let root = Sha256::of(self.root_text().as_bytes());
        let root: String = root.chars().rev().take(12).collect();
        format!("saved-{root}-")
    }
}

fn of(image: &ImageName) -> Option<TpcName> {
    TpcName::parse(image.repository().as_str().strip_prefix("tpc/")?).ok()
}
