//! The D-Bus interfaces of systemd, as far as they are used here: signatures only.

use std::collections::HashMap;

use zbus::{OwnedObjectPath, OwnedVariant, proxy};

use super::Units;

/// The interface that every unit has.
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface that services have besides.
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// Properties of one interface, by name.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// Changes to links in the file system: what kind, which file, where to.
type FileChanges = Vec<(String, String, String)>;

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn enable_unit_files(
        &self,
        files: &[&str],
        runtime: bool,
        force: bool,
    ) -> zbus::Result<(bool, FileChanges)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<FileChanges>;
    fn mask_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<FileChanges>;
    fn unmask_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<FileChanges>;
    fn reload(&self) -> zbus::Result<()>;

    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

impl Units {
    /// All properties of one interface of a unit.
    pub(super) async fn properties(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
    ) -> zbus::Result<Properties> {
        let reply = self
            .bus
            .call_method(
                Some(SYSTEMD),
                path.as_ref(),
                Some("org.freedesktop.DBus.Properties"),
                "GetAll",
                &(interface),
            )
            .await?;
        reply.body().deserialize()
    }

    /// Hears of changes to a unit's properties.
    pub(super) async fn property_changes(
        &self,
        path: OwnedObjectPath,
    ) -> zbus::Result<zbus::fdo::PropertiesChangedStream> {
        let proxy =
            zbus::fdo::PropertiesProxy::builder(&self.bus).destination(SYSTEMD).path(path).build().await?;
        proxy.receive_properties_changed().await
    }
}
