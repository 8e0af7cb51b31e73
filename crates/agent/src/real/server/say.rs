//! How it goes, in the rows that people and the rest of the switch read, in the log, and to the loop.

use std::collections::BTreeMap;

use switchyard_cluster::{ClusterError, ServerAddress};
use switchyard_sonic::ServerStatus;
use tracing::info;

use super::Side;
use super::follow::Membership;
use super::why::Why;
use crate::world::{Event, trouble};

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
                Some("waiting for the cluster to sign the node's certificate".into())
            }
            Some(error) => Some(error.into()),
            None if !seen.sees => Some("asking the API server".into()),
            None => seen.kubelet.why_not().map(Why::from),
        };
        self.say(Some(server), seen.connected(), why).await;
    }

    /// Says how it goes where it has become different: in the row, in the log, and to the loop.
    pub(super) async fn say(&mut self, server: Option<&ServerAddress>, connected: bool, why: Option<Why>) {
        let status = ServerStatus {
            ip: server.map(ServerAddress::host),
            port: server.map(ServerAddress::port),
            connected: server.is_some() && connected,
            update_time: None,
            reason: why.as_ref().map(|why| why.words().to_owned()),
            static_pods: server.is_none() && connected,
        };
        let could_come = self.status.as_ref().map(|status| status.connected || status.static_pods);
        if self.status.as_ref() == Some(&status) && self.row_says(&status) {
            return;
        }
        let said = self.switch().and_then(|mut switch| switch.set_server_status(&status).map_err(trouble));
        if let Err(why) = said {
            info!(%why, "the state of the membership could not be written; trying again");
            return;
        }
        let is_news = if let Some(why) = &why {
            self.told_why.is_news(why)
        } else {
            self.told_why.forget();
            self.status.as_ref() != Some(&status)
        };
        match (server, why) {
            _ if !is_news => {}
            (Some(server), Some(why)) => info!(%server, connected, "cluster: {why}"),
            (Some(server), None) => {
                info!(%server, connected, "cluster: the node is Ready and the API server answers");
            }
            (None, None) if connected => info!("cluster: none, and the kubelet runs static pods"),
            (None, Some(why)) => info!("cluster: none: {why}"),
            (None, None) => info!("cluster: none"),
        }
        self.status = Some(status);
        if could_come != Some(connected) {
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
            row.is_some_and(|row| {
                let says =
                    |status: &ServerStatus| (status.connected, status.static_pods, status.reason.clone());
                says(&row) == says(status)
            })
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
