//! Joining a cluster: finding out whom to trust, writing what the kubelet or k3s needs, starting it. Each step can run twice.

use switchyard_cluster::{
    CaCertificate, CgroupDriver, Changed, ClusterError, Invitation, NodeName, ServerAddress, Settings,
    local_address_towards, recognize,
};
use switchyard_engine::{Engine, SOCKET};
use tracing::info;

use super::why::Why;
use super::{Side, systemd};
use crate::world::{Trouble, trouble};

impl Side {
    /// Writes what is needed and starts it. Asks the cluster only for what is not known yet.
    pub(super) async fn join(&mut self, invitation: &Invitation, node: &NodeName) -> Result<(), Why> {
        let server = &invitation.server;
        if let Some(proxy) = &mut self.proxy {
            proxy.lead_to(Some(&server.host())).await;
        }
        self.files.restore_credentials()?;
        let (joined, known) = (self.files.joined_to(), self.files.ca()?);
        let ca = self.find_out_ca(invitation, joined.as_ref(), known.as_ref()).await?;
        if let (false, Some(credential)) = (self.files.usable_certificate(&ca, node), &invitation.credential)
        {
            // Whoever asks for the certificate would tell nobody but its own log why it gets none.
            self.files.try_to_join(server, &ca, credential, node).await?;
        }
        if joined.is_some() && !known.is_some_and(|known| known.overlaps(&ca)) {
            info!(%server, "another cluster is configured: leaving the one before it");
            self.leave_keeping_invitation().await?;
        }
        let address = Some(local_address_towards(server).await?);
        let settings = Settings { node, address, cgroup_driver: cgroup_driver().await? };
        let changed = self.files.write_for_join(server, &ca, invitation.credential.as_ref(), &settings)?;
        self.files.point_to(server)?;
        self.start_node(changed).await
    }

    /// Has the kubelet or k3s run with what is written now.
    pub(super) async fn start_node(&self, changed: Changed) -> Result<(), Why> {
        let (systemd, unit) = (systemd().await?, self.files.unit());
        if changed.unit {
            systemd.daemon_reload().await.map_err(trouble)?;
        }
        systemd.reset_failed(unit).await.map_err(trouble)?;
        let begun = if changed.any() { systemd.restart(unit).await } else { systemd.start(unit).await };
        begun.map_err(trouble)?;
        Ok(self.files.started()?)
    }

    /// The CA of the cluster that is wanted. One that is known from an earlier join counts for every server that proves
    /// to be of it: an address may change, and the token have expired long ago.
    async fn find_out_ca(
        &self,
        invitation: &Invitation,
        joined: Option<&ServerAddress>,
        known: Option<&CaCertificate>,
    ) -> Result<CaCertificate, ClusterError> {
        let server = &invitation.server;
        if let Some(known) = known.filter(|known| invitation.allows(known)) {
            if joined == Some(server) {
                return Ok(known.clone());
            }
            match recognize(server, known).await {
                Ok(()) => return Ok(known.clone()),
                // Nobody is there whom anything else could be asked.
                Err(error) if error.is_passing() => return Err(error),
                Err(_) => {}
            }
        }
        self.files.discover(invitation).await
    }
}

/// How the engine keeps its containers apart, which the kubelet has to know.
pub(super) async fn cgroup_driver() -> Result<CgroupDriver, Trouble> {
    let engine = Engine::connect(std::path::Path::new(SOCKET)).map_err(trouble)?;
    CgroupDriver::parse(&engine.cgroup_driver().await.map_err(trouble)?).map_err(trouble)
}
