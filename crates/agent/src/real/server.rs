//! The cluster's side of the agent: joins, stays a member, leaves; and says in STATE_DB how it goes.
//!
//! Runs beside the loop, since a join takes minutes and a server may be away for months. What it learns becomes events;
//! what it does to features it leaves to the loop. Level-triggered like the loop: killed anywhere, it finds from files and
//! rows what it was about.

mod alone;
mod follow;
mod join;
mod kubelet;
mod labels;
mod leave;
mod pods;
mod proxy;
mod say;
mod settle;
mod why;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use switchyard_cluster::{Backoff, Invitation, NodeFiles, NodeName, ServerAddress, random};
use switchyard_core::{ContainerId, Knobs, Reason};
use switchyard_host::clock;
use switchyard_sonic::{Paths, ServerStatus, Switch, Units};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::info;

use super::{Message, Queue};
use crate::invitation::{host_name, invitation, node_files};
use crate::world::{Trouble, trouble};
use alone::Manifests;
use proxy::Proxy;
use why::{Told, Why};

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
    let files = node_files(knobs.node_program);
    tokio::spawn(async move {
        if gone.wait_for(|go| *go).await.is_err() {
            return;
        }
        let side = Side {
            manifests: Manifests::of(&files),
            files,
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
    files: NodeFiles,
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
            if let Err(why) = self.choose_program().await {
                self.say(None, false, Some(why.into())).await;
                self.rest(Some(RETRY)).await;
                continue;
            }
            let wish = self.wish();
            if self.would_leave(&wish) && !self.stands(&wish).await {
                continue;
            }
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

    /// What is installed may have changed. The other program's membership ends first: of the two one makes the node.
    async fn choose_program(&mut self) -> Result<(), Trouble> {
        self.files = node_files(self.knobs.node_program);
        let other = self.files.other();
        if !other.are_ours() {
            return Ok(());
        }
        info!("leaving the cluster with {}: this switch runs {} now", other.unit(), self.files.unit());
        let chosen = std::mem::replace(&mut self.files, other);
        let left = self.leave_keeping_invitation().await;
        self.files = chosen;
        left
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
        match invitation(&self.paths, &mut switch, self.files.program())? {
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
            let why = "a warm or fast reboot is under way: the kubelet stops until it is over";
            return Ok(self.sit_out_reboot(Some(&invitation.server), why).await?);
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
    async fn sit_out_reboot(&mut self, server: Option<&ServerAddress>, why: &str) -> Result<(), Trouble> {
        systemd().await?.stop(self.files.unit()).await.map_err(trouble)?;
        self.say(server, false, Some(why.to_owned().into())).await;
        while self.rebooting()? {
            self.rest(Some(HEARTBEAT)).await;
        }
        // Something else may be wanted by now.
        self.told.mark_changed();
        Ok(())
    }
}

fn node_name(switch: &mut Switch) -> Result<NodeName, Trouble> {
    NodeName::from_host_name(&host_name(switch)?).map_err(trouble)
}

async fn systemd() -> Result<Units, Trouble> {
    Ok(Units::connect().await.map_err(trouble)?.deadline(Duration::from_mins(2)))
}
