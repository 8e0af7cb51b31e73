//! How it goes, in the rows that people and the rest of the switch read, in the log, and to the loop.

use std::collections::BTreeMap;

use switchyard_cluster::{ClusterError, ServerAddress};
use switchyard_sonic::ServerStatus;
use tracing::info;

use super::Side;
use super::follow::Membership;
use crate::world::{Event, trouble};

/// So many different reasons are logged in a row; a server that is away finds no more.
const LOGGED_MAX: usize = 32;

impl Side {
    pub(super) async fn say_membership(&mut self, server: &ServerAddress, seen: &Membership) {
        // An agent that has just begun knows less than the row: to call a server away that nobody has asked yet would
        // bring features home in the middle of a switchover.
        if !seen.asked && self.row_is_of(server) {
            return;
        }
        let why = match &seen.trouble {
            // Its first certificate is on its way: that is no trouble yet.
            Some(ClusterError::NoCredentials { .. }) => {
                Some("waiting for the cluster to sign the node's certificate".to_owned())
            }
            Some(error) => Some(error.to_string()),
            None if !seen.sees => Some("asking the API server".to_owned()),
            None => seen.kubelet.why_not(),
        };
        self.say(Some(server), seen.connected(), why.as_deref()).await;
    }

    /// Says how it goes where it has become different: in the row, in the log, and to the loop.
    pub(super) async fn say(&mut self, server: Option<&ServerAddress>, connected: bool, why: Option<&str>) {
        let status = ServerStatus {
            ip: server.map(ServerAddress::host),
            port: server.map(ServerAddress::port),
            connected,
            update_time: None,
            reason: why.map(ToOwned::to_owned),
        };
        let was_connected = self.status.as_ref().map(|status| status.connected);
        if self.status.as_ref() == Some(&status) && self.row_says(&status) {
            return;
        }
        let said = self.switch().and_then(|mut switch| switch.set_server_status(&status).map_err(trouble));
        if let Err(why) = said {
            info!(%why, "the state of the membership could not be written; trying again");
            return;
        }
        let is_news = if let Some(why) = why {
            self.logged.len() < LOGGED_MAX && self.logged.insert(why.to_owned())
        } else {
            self.logged.clear();
            self.status.as_ref() != Some(&status)
        };
        match (server, why) {
            _ if !is_news => {}
            (Some(server), Some(why)) => info!(%server, connected, "cluster: {why}"),
            (Some(server), None) => {
                info!(%server, connected, "cluster: the node is Ready and the API server answers");
            }
            (None, Some(why)) => info!("cluster: none: {why}"),
            (None, None) => info!("cluster: none"),
        }
        self.status = Some(status);
        if was_connected != Some(connected) {
            let _ = self.queue.send(Event::Everything.into()).await;
        }
    }

    /// Whether the row says that this very server is connected.
    fn row_is_of(&self, server: &ServerAddress) -> bool {
        let row = self.switch().and_then(|mut switch| switch.server_status().map_err(trouble));
        row.ok().flatten().is_some_and(|row| {
            row.connected && row.ip == Some(server.host()) && row.port == Some(server.port())
        })
    }

    /// Redis may have lost what was said.
    fn row_says(&self, status: &ServerStatus) -> bool {
        let row = self.switch().and_then(|mut switch| switch.server_status().map_err(trouble));
        row.is_ok_and(|row| {
            row.is_some_and(|row| row.connected == status.connected && row.reason == status.reason)
        })
    }

    /// In the row that `explain` and `show` read.
    pub(super) fn say_pod_troubles(&self, troubles: &BTreeMap<String, String>) {
        let said = self.switch().and_then(|mut switch| switch.set_pod_troubles(troubles).map_err(trouble));
        if let Err(why) = said {
            info!(%why, "why pods cannot start could not be written");
        }
    }
}
