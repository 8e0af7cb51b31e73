//! A switch that belongs to no cluster and whose kubelet runs static pods all the same (DESIGN.md section 5).

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::inotify;
use switchyard_cluster::{NodeFiles, NodeName, Settings};
use tokio::sync::watch;
use tracing::warn;

use super::Side;
use super::join::cgroup_driver;
use super::why::Why;

impl Side {
    /// Has the kubelet run what is in the directory of static pods.
    pub(super) async fn run_alone(&mut self, node: &NodeName) -> Result<(), Why> {
        let NodeFiles::Kubelet(kubelet) = self.files.clone() else {
            self.leave().await?;
            return Err(
                "static pods wait: only a kubelet runs them, and this switch has k3s, which runs nothing \
                        without a server"
                    .into(),
            );
        };
        if self.rebooting()? {
            let why = "a warm or fast reboot is under way: static pods wait until it is over";
            return Ok(self.sit_out_reboot(None, why).await?);
        }
        if self.files.joined_to().is_some() {
            self.leave().await?;
        }
        let settings = Settings { node, address: None, cgroup_driver: cgroup_driver().await? };
        let changed = kubelet.write_alone(&settings)?;
        self.start_node(changed).await?;
        self.leaving.store(false, std::sync::atomic::Ordering::Relaxed);
        self.say(None, true, None).await;
        Ok(())
    }
}

/// The directory of static pods' manifests, and what the kernel tells of it.
pub(super) struct Manifests(watch::Receiver<()>);

impl Manifests {
    /// Makes the directory if it is missing, so that there is one to look at.
    pub(super) fn of(files: &NodeFiles) -> Self {
        let (tell, told) = watch::channel(());
        let directory = files.static_pods();
        match watched(&directory) {
            // A thread that sleeps in the kernel until something happens there.
            Ok(inotify) => drop(std::thread::spawn(move || tell_changes(&inotify, &tell))),
            Err(error) => {
                let directory = directory.display();
                warn!(%error, "{directory} cannot be watched: static pods are looked at when a row changes");
            }
        }
        Self(told)
    }

    /// Returns when a manifest has come, changed or gone.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn watched(directory: &Path) -> std::io::Result<OwnedFd> {
    // Beside it are secrets.
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let inotify = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let happens = inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::MOVED_FROM
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::DELETE;
    inotify::add_watch(&inotify, directory, happens)?;
    Ok(inotify)
}

/// What happened is seen in the directory itself.
fn tell_changes(inotify: &OwnedFd, tell: &watch::Sender<()>) {
    let mut events = [0_u8; 4096];
    while rustix::io::retry_on_intr(|| rustix::io::read(inotify, &mut events)).is_ok_and(|read| read > 0)
        && tell.send(()).is_ok()
    {}
}
