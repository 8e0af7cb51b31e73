//! Leaving a cluster: features come home first, then what made the switch a node goes. Each step can run twice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use switchyard_cluster::{Client, ClusterError, NodeName};
use switchyard_core::CurrentOwner;
use switchyard_engine::{Engine, SOCKET};
use switchyard_sonic::SonicError;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::{Side, labels, node_name, pods, systemd};
use crate::invitation::saved_credential;
use crate::world::{Event, Trouble, trouble};

/// What an administrator has to do when the switch could not.
fn left_behind(error: &ClusterError, node: &NodeName) -> String {
    let command = match error {
        // It names the command by itself.
        ClusterError::Forbidden { .. } => String::new(),
        _ => format!("; to delete it: kubectl delete node {node}"),
    };
    format!("the cluster still has the Node of this switch: {error}{command}")
}

/// How long features may take to come home: stops with their grace, starts one after the other.
const HOME_MAX: Duration = Duration::from_mins(5);

impl Side {
    /// Leaves. A server that is away or forbids the last step does not keep the switch.
    pub(super) async fn leave(&mut self) -> Result<(), Trouble> {
        if !self.files.are_ours() {
            return Ok(());
        }
        self.end_membership().await?;
        saved_credential().forget().map_err(trouble)?;
        self.forget_node().await
    }

    /// Leaves one cluster for another, or with one program for the other: what the switch was given to be let in by stays.
    pub(super) async fn leave_keeping_invitation(&mut self) -> Result<(), Trouble> {
        self.end_membership().await?;
        self.forget_node().await?;
        if let Some(left_behind) = &self.left_behind {
            warn!("{left_behind}");
        }
        Ok(())
    }

    /// Features come home, pods and the Node go.
    async fn end_membership(&mut self) -> Result<(), Trouble> {
        // None where an earlier leave was cut short when the cluster had been left already.
        let server = self.files.joined_to();
        if let Some(server) = &server {
            info!(%server, "leaving the cluster");
        } else {
            info!("the kubelet is put away: there is no cluster for it, and no static pod");
        }
        self.leaving.store(true, Ordering::Relaxed);
        self.say(server.as_ref(), false, Some("the switch leaves its cluster".into())).await;
        match systemd().await?.stop(self.files.unit()).await {
            // Somebody took it away already.
            Ok(_) | Err(SonicError::NoSuchUnit { .. }) => {}
            Err(error) => return Err(trouble(error)),
        }
        self.everything_comes_home().await?;
        let engine = Engine::connect(std::path::Path::new(SOCKET)).map_err(trouble)?;
        engine.remove_pods().await.map_err(trouble)?;
        if let Some(server) = server {
            let node = node_name(&mut self.switch()?)?;
            self.let_go(&Client::new(server, node, self.files.clone())).await;
        }
        Ok(())
    }

    async fn forget_node(&self) -> Result<(), Trouble> {
        let changed = self.files.forget().map_err(trouble)?;
        if changed.unit {
            systemd().await?.daemon_reload().await.map_err(trouble)?;
        }
        info!("the switch has left its cluster");
        Ok(())
    }

    /// Takes the Node away, or else what draws pods to it; then, as none comes any more, its pods.
    async fn let_go(&mut self, client: &Client) {
        self.left_behind = None;
        match client.delete_node().await {
            Ok(()) => {}
            // Credentials go after the Node: an earlier leave was cut short. Without any there never was a Node.
            Err(ClusterError::NoCredentials { .. }) => return,
            Err(error) => self.left_behind = Some(left_behind(&error, client.node_name())),
        }
        if self.left_behind.is_some()
            && let Err(error) = labels::take_off(client).await
        {
            info!(%error, "the labels of the Node stay too");
            return;
        }
        if let Err(error) = pods::delete(client).await {
            info!(%error, "its pods stay until the cluster clears them away, within minutes");
        }
    }

    /// Has the loop bring features home and waits until no row says that a pod runs one that has a home.
    async fn everything_comes_home(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + HOME_MAX;
        let mut watch = self.switch()?.watch().await.map_err(trouble)?;
        let _ = self.queue.send(Event::Everything.into()).await;
        loop {
            let away = self.away()?;
            if away.is_empty() {
                return Ok(());
            }
            let Ok(changed) = timeout_at(deadline, watch.next()).await else {
                warn!(features = %away.join(", "), "still run as pods; they are stopped now");
                return Ok(());
            };
            changed.map_err(trouble)?;
        }
    }

    /// The features that a pod runs although the local image may step in.
    fn away(&self) -> Result<Vec<String>, Trouble> {
        let mut switch = self.switch()?;
        let mut away = Vec::new();
        for feature in switch.feature_names().map_err(trouble)? {
            // A row that cannot be read says nothing that could be waited for.
            let Ok(Some(config)) = switch.feature_config(&feature) else { continue };
            if !config.fallback {
                continue;
            }
            let scope = switchyard_core::Scope {
                global: config.has_global_scope,
                per_asic: config.has_per_asic_scope,
            };
            for instance in switchyard_core::instances_of(&feature, scope, switch.asics()) {
                let row = switch.feature_state(&instance).ok().flatten().unwrap_or_default();
                if row.current_owner == CurrentOwner::Kube {
                    away.push(instance.to_string());
                }
            }
        }
        Ok(away)
    }
}
