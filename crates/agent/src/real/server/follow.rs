//! A member's life: what is told of its Node and pods, and whether the server answers.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use switchyard_cluster::{Backoff, Client, ClusterError, Invitation, NodeName, OwnEvent};
use switchyard_host::clock;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::kubelet::{Kubelet, Run};
use super::labels::Labels;
use super::pods::Pods;
use super::why::Why;
use super::{HEARTBEAT, KeptOut, Message, Side, Wish, systemd};
use crate::world::{PodReport, Trouble, trouble};

/// How long after a restart for a new certificate another one makes sense: there are months left for it.
const RENEW_PAUSE: Duration = Duration::from_hours(24);

impl Side {
    /// Follows Node and pods until the wish is another.
    pub(super) async fn follow(
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
            let status = systemd.status(self.files.unit()).await.map_err(trouble)?;
            seen.kubelet.runs(Run::of(&status, clock::monotonic(), jiff::Timestamp::now()));
            self.say_membership(&invitation.server, &seen).await;
            if let Some(expired @ ClusterError::CertificateExpired { .. }) = &seen.trouble {
                // A token may still help, which takes another join.
                return Err(expired.into());
            }
            if seen.connected() {
                backoff.reset();
                self.keep_credentials();
                self.renew_certificate(&mut seen).await;
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
                    seen.trouble = self.look_again(&client, invitation, node).await.err();
                    if seen.absent_since.is_some_and(|since| since.elapsed() >= HEARTBEAT) {
                        make_node_again(&mut seen, self.files.unit()).await;
                    }
                }
            }
        }
    }

    /// Whether the server answers; to a switch that still waits for its certificate, whether what it shows is still good.
    async fn look_again(
        &self,
        client: &Client,
        invitation: &Invitation,
        node: &NodeName,
    ) -> Result<(), ClusterError> {
        let answer = client.answers().await;
        if let (Err(ClusterError::NoCredentials { .. }), Some(credential)) = (&answer, &invitation.credential)
            && let Some(ca) = self.files.ca()?
        {
            self.files.try_to_join(&invitation.server, &ca, credential, node).await?;
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
                    make_node_again(seen, self.files.unit()).await;
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

    /// A program that gets its certificate when it starts would go on with the old one until that has expired. Pods do not
    /// notice its restart.
    async fn renew_certificate(&self, seen: &mut Membership) {
        let is_due = || {
            self.files.client_certificate().is_some_and(|certificate| certificate.is_due(SystemTime::now()))
        };
        let lately = seen.renewed.is_some_and(|at| at.elapsed() < RENEW_PAUSE);
        if !self.files.renew_by_restart() || lately || !is_due() {
            return;
        }
        seen.renewed = Some(Instant::now());
        let unit = self.files.unit();
        info!("restarting {unit}, which gets a new certificate then: most of the old one's time is over");
        let restarted = async { systemd().await?.restart(unit).await.map_err(trouble) };
        if let Err(Trouble(why)) = restarted.await {
            warn!(%why, "{unit} could not be restarted");
        }
    }

    /// The kubelet renews its certificate by itself; the copy on /host follows.
    fn keep_credentials(&self) {
        if let Err(error) = self.files.save_credentials() {
            warn!(%error, "the node's certificate is not kept on /host: after a SONiC upgrade a token is needed");
        }
    }
}

/// What is seen of the cluster.
#[derive(Default)]
pub(super) struct Membership {
    /// Whether it is known by now how it goes.
    pub(super) asked: bool,
    pub(super) sees: bool,
    pub(super) kubelet: Kubelet,
    was_there: bool,
    absent_since: Option<Instant>,
    /// When its certificate was last to be renewed.
    renewed: Option<Instant>,
    pub(super) trouble: Option<ClusterError>,
    labels: Labels,
    pods: Pods,
}

impl Membership {
    /// The truth of now: the API answers, and the kubelet that runs has said that the node is Ready.
    pub(super) fn connected(&self) -> bool {
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
async fn make_node_again(seen: &mut Membership, unit: &str) {
    info!("the cluster has no Node of this switch any more: restarting the kubelet, which makes it");
    seen.absent_since = Some(Instant::now());
    let restarted = async { systemd().await?.restart(unit).await.map_err(trouble) };
    if let Err(Trouble(why)) = restarted.await {
        warn!(%why, "the kubelet could not be restarted");
    }
}
