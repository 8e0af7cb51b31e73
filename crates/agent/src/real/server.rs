//! The cluster's side of the agent: joins, stays a member, leaves; and says in STATE_DB how it goes.
//!
//! Runs beside the loop, since a join takes minutes and a server may be away for months. What it learns becomes events;
//! what it does to features it leaves to the loop. Level-triggered like the loop: killed anywhere, it finds from files and
//! rows what it was about.

mod alone;
mod join;
mod kubelet;
mod labels;
mod leave;
mod pods;
mod proxy;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use switchyard_cluster::{
    Backoff, Client, ClusterError, Invitation, KubeletFiles, NodeName, OwnEvent, ServerAddress, random,
    try_credential,
};
use switchyard_core::{ContainerId, Knobs, Reason};
use switchyard_host::clock;
use switchyard_sonic::{Paths, ServerStatus, Switch, Units};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{Message, Queue};
use crate::invitation::{host_name, invitation, kubelet_files};
use crate::world::{Event, PodReport, Trouble, trouble};
use alone::Manifests;
use kubelet::{Kubelet, Run};
use labels::Labels;
use pods::Pods;
use proxy::Proxy;
use why::{Told, Why};

const KUBELET: &str = "kubelet.service";
/// How often the server is asked whether it answers when it has nothing to tell. With it `connected` is never older.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A switch that has been up for longer than this has not just got its power back with its whole rack.
const BOOTING: Duration = Duration::from_mins(10);
/// How long a switch that cannot read its own configuration waits before it reads it again.
const RETRY: Duration = Duration::from_secs(5);

/// What the loop knows of the membership.
pub(crate) struct Member {
    leaving: Arc<AtomicBool>,
    go: watch::Sender<bool>,
    kept_out: mpsc::UnboundedSender<KeptOut>,
}

/// Why a pod waits, to be told in its conditions.
struct KeptOut {
    container: ContainerId,
    why: Option<Reason>,
}

impl Member {
    /// Whether no pod may stay in charge.
    pub(crate) fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The loop has looked at everything: pods may come.
    pub(crate) fn go(&self) {
        self.go.send_replace(true);
    }

    /// Tells the cluster why a pod waits, or that it waits no more.
    pub(crate) fn tell_kept_out(&self, pod: Option<&ContainerId>, why: Option<Reason>) {
        if let Some(container) = pod {
            // Nobody listens only while the agent ends.
            let _ = self.kept_out.send(KeptOut { container: container.clone(), why });
        }
    }
}

/// Begins to look after the membership. `told` says that its rows have changed.
pub(crate) fn begin(paths: &Paths, knobs: &Knobs, queue: &Queue, told: watch::Receiver<u64>) -> Member {
    let leaving = Arc::new(AtomicBool::new(false));
    let (go, mut gone) = watch::channel(false);
    let (kept_out, reasons) = mpsc::unbounded_channel();
    let (paths, knobs, queue, shared) = (paths.clone(), knobs.clone(), queue.clone(), leaving.clone());
    let proxy = knobs.proxy_by_server.then(Proxy::of_switch);
    tokio::spawn(async move {
        if gone.wait_for(|go| *go).await.is_err() {
            return;
        }
        let side = Side {
            files: kubelet_files(),
            paths,
            knobs,
            queue,
            told,
            reasons,
            leaving: shared,
            status: None,
            wish: Ok(Wish::None),
            told_why: Told::default(),
            left_behind: None,
            manifests: Manifests::of(&kubelet_files()),
            proxy,
        };
        side.run().await;
    });
    Member { leaving, go, kept_out }
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wish {
    /// Belong to no cluster.
    None,
    /// Belong to no cluster, and run the static pods that are there.
    Alone(NodeName),
    /// Belong to this one, under this name.
    Join(Invitation, NodeName),
}

struct Side {
    files: KubeletFiles,
    paths: Paths,
    knobs: Knobs,
    queue: Queue,
    told: watch::Receiver<u64>,
    reasons: mpsc::UnboundedReceiver<KeptOut>,
    leaving: Arc<AtomicBool>,
    /// What was last said in STATE_DB.
    status: Option<ServerStatus>,
    /// What is wanted, as it was read last.
    wish: Result<Wish, Trouble>,
    /// What was logged since the switch was connected or something else was wanted.
    told_why: Told,
    /// What the last leave could not do, and what an administrator has to do instead.
    left_behind: Option<String>,
    /// The directory of static pods.
    manifests: Manifests,
    /// Only where it is asked for.
    proxy: Option<Proxy>,
}

impl Side {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.knobs.retry_join, Knobs::RETRY_MAX);
        self.wait_after_boot().await;
        loop {
            self.told.borrow_and_update();
            let wish = self.wish();
            if wish != self.wish {
                self.told_why.forget();
                self.wish = wish.clone();
            }
            match wish {
                Ok(Wish::None) => {
                    let done = self.belong_to_none().await;
                    self.rest(done.err().map(|_| RETRY)).await;
                }
                Ok(Wish::Alone(node)) => {
                    let done = self.run_alone(&node).await;
                    let retry = done.is_err().then_some(RETRY);
                    if let Err(why) = done {
                        self.say(None, false, Some(why)).await;
                    }
                    self.rest(retry).await;
                }
                Ok(Wish::Join(invitation, node)) => {
                    match self.belong(&invitation, &node, &mut backoff).await {
                        Ok(()) => backoff.reset(),
                        Err(why) => {
                            self.say(Some(&invitation.server), false, Some(why)).await;
                            self.rest(Some(backoff.next(random()))).await;
                        }
                    }
                }
                Err(why) => {
                    self.say(None, false, Some(why.into())).await;
                    self.rest(Some(RETRY)).await;
                }
            }
        }
    }

    /// A rack that gets its power back does not come all at once.
    async fn wait_after_boot(&mut self) {
        if clock::boottime() < BOOTING && self.files.joined_to().is_none() {
            sleep(self.knobs.join_latency.mul_f64(random())).await;
        }
    }

    /// Until a row or a static pod's manifest changes, or this time has passed.
    async fn rest(&mut self, at_most: Option<Duration>) {
        let end = async {
            match at_most {
                Some(at_most) => sleep(at_most).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.told.changed() => {}
            () = self.manifests.changed() => {}
            () = end => {}
        }
    }

    fn switch(&self) -> Result<Switch, Trouble> {
        Switch::open(self.paths.clone()).map_err(trouble)
    }

    fn wish(&self) -> Result<Wish, Trouble> {
        let mut switch = self.switch()?;
        if !switch.config_initialized().map_err(trouble)? {
            return Err(Trouble("the switch has not loaded its configuration yet".to_owned()));
        }
        match invitation(&self.paths, &mut switch)? {
            Some(invitation) => Ok(Wish::Join(invitation, node_name(&mut switch)?)),
            None if self.files.has_static_pods() => Ok(Wish::Alone(node_name(&mut switch)?)),
            None => Ok(Wish::None),
        }
    }

    async fn belong_to_none(&mut self) -> Result<(), Trouble> {
        if let Some(proxy) = &mut self.proxy {
            proxy.lead_to(None).await;
        }
        if self.files.are_ours() {
            self.leave().await?;
        }
        // A switch without Kubernetes keeps no row about it.
        if self.switch()?.server_status().map_err(trouble)?.is_some() {
            let left_behind = self.left_behind.clone().map(Why::from);
            self.say(None, false, left_behind).await;
            self.say_pod_troubles(&BTreeMap::new());
        }
        Ok(())
    }

    /// Becomes a member and stays it until the operator wants something else.
    async fn belong(
        &mut self,
        invitation: &Invitation,
        node: &NodeName,
        backoff: &mut Backoff,
    ) -> Result<(), Why> {
        if self.rebooting()? {
            return Ok(self.sit_out_reboot(&invitation.server).await?);
        }
        self.join(invitation, node).await?;
        self.leaving.store(false, Ordering::Relaxed);
        self.left_behind = None;
        self.follow(invitation, node, backoff).await
    }

    /// While the configuration is being loaded, what is missing in it says nothing.
    fn loaded(&self) -> Result<bool, Trouble> {
        self.switch()?.config_initialized().map_err(trouble)
    }

    fn rebooting(&self) -> Result<bool, Trouble> {
        self.switch()?.warm_or_fast_reboot().map_err(trouble)
    }

    /// No pod comes or goes while the data plane lives on by itself.
    async fn sit_out_reboot(&mut self, server: &ServerAddress) -> Result<(), Trouble> {
        systemd().await?.stop(KUBELET).await.map_err(trouble)?;
        let why = "a warm or fast reboot is under way: the kubelet stops until it is over";
        self.say(Some(server), false, Some(why.into())).await;
        while self.rebooting()? {
            self.rest(Some(HEARTBEAT)).await;
        }
        Ok(())
    }

    /// Follows Node and pods until the wish is another.
    async fn follow(
        &mut self,
        invitation: &Invitation,
        node: &NodeName,
        backoff: &mut Backoff,
    ) -> Result<(), Why> {
        let wish = Wish::Join(invitation.clone(), node.clone());
        let client = Client::new(invitation.server.clone(), node.clone(), self.files.clone());
        let mut events = std::pin::pin!(client.watch_own());
        let mut seen = Membership { labels: Labels::of(&self.knobs), ..Membership::default() };
        let systemd = systemd().await?;
        loop {
            let status = systemd.status(KUBELET).await.map_err(trouble)?;
            seen.kubelet.runs(Run::of(&status, clock::monotonic(), jiff::Timestamp::now()));
            self.say_membership(&invitation.server, &seen).await;
            if let Some(expired @ ClusterError::CertificateExpired { .. }) = &seen.trouble {
                // A token may still help, which takes another join.
                return Err(expired.into());
            }
            if seen.connected() {
                backoff.reset();
                self.keep_credentials();
            }
            if seen.labels_may_move() {
                seen.labels.apply(&self.paths, &client).await;
            }
            let nap = seen.look_again_in().map_or(HEARTBEAT, |soon| soon.min(HEARTBEAT));
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        self.happened(&mut seen, event).await;
                        seen.pods.tell_late(&client).await;
                    }
                    None => return Ok(()),
                },
                changed = self.told.changed() => {
                    // What is wrong with the wish is said where it is read again.
                    let wishes_otherwise = self.loaded()? && self.wish().ok().as_ref() != Some(&wish);
                    if changed.is_err() || wishes_otherwise || self.rebooting()? {
                        return Ok(());
                    }
                    seen.labels.rows_changed();
                }
                reason = self.reasons.recv() => if let Some(KeptOut { container, why }) = reason {
                    seen.pods.tell(&client, &container, why).await;
                },
                () = clock::sleep(nap) => {
                    debug!("woke: whether the API server answers");
                    seen.trouble = self.look_again(&client, invitation).await.err();
                    if seen.absent_since.is_some_and(|since| since.elapsed() >= HEARTBEAT) {
                        make_node_again(&mut seen).await;
                    }
                }
            }
        }
    }

    /// Whether the server answers; to a switch that still waits for its certificate, whether what it shows is still good.
    async fn look_again(&self, client: &Client, invitation: &Invitation) -> Result<(), ClusterError> {
        let answer = client.answers().await;
        if let (Err(ClusterError::NoCredentials { .. }), Some(credential)) = (&answer, &invitation.credential)
            && let Some(ca) = self.files.ca()?
        {
            try_credential(&invitation.server, &ca, credential).await?;
        }
        answer
    }

    async fn happened(&mut self, seen: &mut Membership, event: OwnEvent) {
        match event {
            OwnEvent::Back => {
                seen.asked = true;
                seen.trouble = None;
                seen.sees = true;
                // What an earlier life of the agent said may be over.
                self.say_pod_troubles(&seen.pods.troubles());
            }
            OwnEvent::Lost(error) => {
                seen.asked = true;
                seen.sees = false;
                seen.trouble = Some(error);
            }
            OwnEvent::NodeSeen(node) => {
                seen.kubelet.node_seen(&node);
                seen.was_there = true;
                seen.absent_since = None;
                seen.labels.node_seen(&node);
            }
            OwnEvent::NodeGone => {
                seen.kubelet.node_gone();
                seen.absent_since = Some(Instant::now());
                if std::mem::take(&mut seen.was_there) {
                    make_node_again(seen).await;
                }
            }
            OwnEvent::PodSeen(pod) => {
                let concerned = seen.pods.seen(*pod);
                self.tell_of_pods(seen, concerned).await;
            }
            OwnEvent::PodGone { uid, .. } => {
                let concerned = seen.pods.gone(&uid);
                self.tell_of_pods(seen, concerned).await;
            }
        }
    }

    /// To the loop what it acts on; to people why a pod cannot start, which the switch could only wait for.
    async fn tell_of_pods(&mut self, seen: &mut Membership, concerned: Vec<(String, Vec<PodReport>)>) {
        let news = seen.pods.look_for_trouble(concerned.iter().map(|(name, _)| name.clone()));
        for (name, why) in news {
            warn!(feature = %name, "the pod cannot start: {why}");
        }
        self.say_pod_troubles(&seen.pods.troubles());
        for (name, reports) in concerned {
            let _ = self.queue.send(Message::Pods(name, reports)).await;
        }
    }

    /// In the row that `explain` and `show` read.
    fn say_pod_troubles(&self, troubles: &BTreeMap<String, String>) {
        let said = self.switch().and_then(|mut switch| switch.set_pod_troubles(troubles).map_err(trouble));
        if let Err(why) = said {
            info!(%why, "why pods cannot start could not be written");
        }
    }

    /// The kubelet renews its certificate by itself; the copy on /host follows.
    fn keep_credentials(&self) {
        if let Err(error) = self.files.save_credentials() {
            warn!(%error, "the node's certificate is not kept on /host: after a SONiC upgrade a token is needed");
        }
    }

    async fn say_membership(&mut self, server: &ServerAddress, seen: &Membership) {
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
    async fn say(&mut self, server: Option<&ServerAddress>, connected: bool, why: Option<Why>) {
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
}

/// What is seen of the cluster.
#[derive(Default)]
struct Membership {
    /// Whether it is known by now how it goes.
    asked: bool,
    sees: bool,
    kubelet: Kubelet,
    was_there: bool,
    absent_since: Option<Instant>,
    trouble: Option<ClusterError>,
    labels: Labels,
    pods: Pods,
}

impl Membership {
    /// The truth of now: the API answers, and the kubelet that runs has said that the node is Ready.
    fn connected(&self) -> bool {
        self.sees && self.kubelet.is_ready() && self.trouble.is_none()
    }

    /// Pods come and go with labels: not before the kubelet has them all in hand.
    fn labels_may_move(&self) -> bool {
        self.connected() && self.kubelet.settles_in() == Some(Duration::ZERO)
    }

    /// When labels are due although nothing happens.
    fn look_again_in(&self) -> Option<Duration> {
        let settles = self.kubelet.settles_in().filter(|left| !left.is_zero());
        settles.into_iter().chain(self.labels.retry_in()).min()
    }
}

/// A kubelet makes its Node when it starts: of one that was deleted since then it only complains.
async fn make_node_again(seen: &mut Membership) {
    info!("the cluster has no Node of this switch any more: restarting the kubelet, which makes it");
    seen.absent_since = Some(Instant::now());
    let restarted = async { systemd().await?.restart(KUBELET).await.map_err(trouble) };
    if let Err(Trouble(why)) = restarted.await {
        warn!(%why, "the kubelet could not be restarted");
    }
}

fn node_name(switch: &mut Switch) -> Result<NodeName, Trouble> {
    NodeName::from_host_name(&host_name(switch)?).map_err(trouble)
}

async fn systemd() -> Result<Units, Trouble> {
    Ok(Units::connect().await.map_err(trouble)?.deadline(Duration::from_mins(2)))
}
