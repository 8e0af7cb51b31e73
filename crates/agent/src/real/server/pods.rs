//! The pods of this node, by the names of their containers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use switchyard_cluster::{Client, ClusterError, PodCondition, PodName, PodSeen, WaitingSeen as Waits};
use switchyard_core::{ContainerId, Reason};
use tracing::info;

use crate::world::PodReport;

/// Where features' pods live.
const NAMESPACE: &str = "sonic";
/// The condition in which a pod is told why it waits, or that it has its turn.
const CONDITION: &str = "switchyard.sonic/Turn";

/// So many containers may have been judged before the cluster tells of them. It does so within a second.
const UNTOLD: usize = 16;

/// What is seen.
#[derive(Default)]
pub(super) struct Pods {
    seen: BTreeMap<String, PodSeen>,
    /// Why pods cannot start, by the names of their containers.
    troubles: BTreeMap<String, Waits>,
    /// What containers are to be told whose pods are not seen to have them yet: they ask within moments of their start.
    untold: VecDeque<(ContainerId, Option<Reason>)>,
}

impl Pods {
    /// A pod is as told; what there is now of each name that it concerns.
    pub(super) fn seen(&mut self, pod: PodSeen) -> Vec<(String, Vec<PodReport>)> {
        let uid = pod.uid.clone();
        let before = self.seen.insert(uid.clone(), pod);
        let now = self.seen.get(&uid);
        let names = before.iter().chain(now).flat_map(names).collect();
        self.reports(&names)
    }

    /// A pod is gone.
    pub(super) fn gone(&mut self, uid: &str) -> Vec<(String, Vec<PodReport>)> {
        let before = self.seen.remove(uid);
        let names = before.iter().flat_map(names).collect();
        self.reports(&names)
    }

    /// Why pods cannot start, by the names of their containers: to be shown, and each to be said once.
    pub(super) fn troubles(&self) -> BTreeMap<String, String> {
        self.troubles.iter().map(|(name, waits)| (name.clone(), words(waits))).collect()
    }

    /// Finds out anew why pods of these names cannot start. What there is to say that was not said before.
    pub(super) fn look_for_trouble(&mut self, names: impl Iterator<Item = String>) -> Vec<(String, String)> {
        let mut news = Vec::new();
        for name in names {
            let Some(now) = self.trouble(&name) else {
                self.troubles.remove(&name);
                continue;
            };
            match self.troubles.get(&name) {
                // That it is tried again says less than what went wrong, and comes and goes with each try.
                Some(_) if now.is_back_off() => {}
                Some(before) if before.reason == now.reason => {}
                _ => {
                    news.push((name.clone(), words(&now)));
                    self.troubles.insert(name, now);
                }
            }
        }
        news
    }

    /// None while one of the pods is on its way or runs.
    fn trouble(&self, name: &str) -> Option<Waits> {
        let pods = self.seen.values().filter(|pod| pod.namespace == NAMESPACE && !pod.deleting);
        let mut waits = None;
        for container in pods.flat_map(|pod| &pod.containers).filter(|container| container.name == name) {
            waits = Some(container.waiting.clone().filter(Waits::cannot_start)?);
        }
        waits
    }

    fn reports(&self, names: &BTreeSet<String>) -> Vec<(String, Vec<PodReport>)> {
        let of_name = |name: &String| {
            let containers = self.seen.values().filter(|pod| pod.namespace == NAMESPACE);
            let containers = containers.flat_map(|pod| &pod.containers).filter(|one| one.name == *name);
            let report = |id: &String, ready| Some(PodReport { id: ContainerId::parse(id).ok()?, ready });
            containers.filter_map(|one| report(one.id.as_ref()?, one.ready)).collect()
        };
        names.iter().map(|name| (name.clone(), of_name(name))).collect()
    }

    /// Tells a pod why it waits. A cluster that does not take the word is told of once more the next time it changes.
    pub(super) async fn tell(&mut self, client: &Client, container: &ContainerId, why: Option<Reason>) {
        self.untold.retain(|(other, _)| !other.same_as(container));
        if !self.told(client, container, why).await {
            self.untold.push_back((container.clone(), why));
            let surplus = self.untold.len().saturating_sub(UNTOLD);
            self.untold.drain(..surplus);
        }
    }

    /// Tells what could not be told before its pod was seen.
    pub(super) async fn tell_late(&mut self, client: &Client) {
        for (container, why) in std::mem::take(&mut self.untold) {
            self.tell(client, &container, why).await;
        }
    }

    /// Whether there is such a pod.
    async fn told(&self, client: &Client, container: &ContainerId, why: Option<Reason>) -> bool {
        let is_it = |id: &Option<String>| {
            id.as_ref().and_then(|id| ContainerId::parse(id).ok()).is_some_and(|id| id.same_as(container))
        };
        let of_it = |pod: &&PodSeen| pod.containers.iter().any(|one| is_it(&one.id));
        let Some(pod) = self.seen.values().find(of_it) else { return false };
        let (reason, message) = match why {
            Some(why) => (why.word(), why.to_string()),
            None => (Reason::HasTurn.word(), "nothing keeps the pod out".to_owned()),
        };
        let name = PodName { namespace: &pod.namespace, name: &pod.name };
        let status = why.is_none_or(Reason::counts_as_ready);
        let condition = PodCondition { kind: CONDITION, status, reason: &reason, message: &message };
        if let Err(error) = client.set_pod_condition(name, &condition).await {
            info!(pod = %pod.name, %error, "the pod was not told why it waits");
        }
        true
    }
}

/// Deletes the features' pods of this node, which has stopped its kubelet. Bound to a Node of this name they would count
/// as the features' pods, ended ones, once the switch joins again, until the cluster clears them away after minutes.
pub(super) async fn delete(client: &Client) -> Result<(), ClusterError> {
    for pod in client.pods().await?.into_iter().filter(|pod| pod.namespace == NAMESPACE) {
        client.delete_pod(PodName { namespace: &pod.namespace, name: &pod.name }, &pod.uid).await?;
        info!(pod = %pod.name, "deleted: its node leaves");
    }
    Ok(())
}

fn words(waits: &Waits) -> String {
    if waits.message.is_empty() {
        waits.reason.clone()
    } else {
        format!("{}: {}", waits.reason, waits.message)
    }
}

fn names(pod: &PodSeen) -> impl Iterator<Item = String> + '_ {
    pod.containers.iter().map(|container| container.name.clone())
}

#[cfg(test)]
mod tests {
    use switchyard_cluster::ContainerSeen;

    use super::*;

    fn pod(uid: &str, waits: Option<(&str, &str)>) -> PodSeen {
        let waiting =
            waits.map(|(reason, message)| Waits { reason: reason.to_owned(), message: message.to_owned() });
        let container = ContainerSeen { name: "snmp".to_owned(), waiting, ..ContainerSeen::default() };
        let namespace = NAMESPACE.to_owned();
        PodSeen { uid: uid.to_owned(), namespace, containers: vec![container], ..PodSeen::default() }
    }

    fn told(pods: &mut Pods, pod: PodSeen) -> Vec<String> {
        pods.seen(pod);
        let news = pods.look_for_trouble(["snmp".to_owned()].into_iter());
        news.into_iter().map(|(_, words)| words).collect()
    }

    #[test]
    fn why_an_image_cannot_be_had_is_said_once_however_often_it_is_tried() {
        let mut pods = Pods::default();
        assert!(told(&mut pods, pod("a", Some(("ContainerCreating", "")))).is_empty());
        let failed = Some(("ErrImagePull", "manifest unknown"));
        assert_eq!(told(&mut pods, pod("a", failed)), ["ErrImagePull: manifest unknown"]);
        for _ in 0..100 {
            assert!(
                told(&mut pods, pod("a", Some(("ImagePullBackOff", "Back-off pulling image")))).is_empty()
            );
            assert!(told(&mut pods, pod("a", failed)).is_empty());
        }
        assert_eq!(pods.troubles()["snmp"], "ErrImagePull: manifest unknown");
        assert_eq!(told(&mut pods, pod("a", Some(("InvalidImageName", "")))), ["InvalidImageName"]);
    }

    #[test]
    fn a_pod_that_is_on_its_way_or_gone_is_in_no_trouble() {
        let mut pods = Pods::default();
        let backs_off = Some(("ImagePullBackOff", "Back-off"));
        assert_eq!(told(&mut pods, pod("a", backs_off)), ["ImagePullBackOff: Back-off"]);
        assert!(told(&mut pods, pod("b", None)).is_empty() && pods.troubles().is_empty());
        assert_eq!(told(&mut pods, pod("b", backs_off)).len(), 1, "it is another trouble");
        assert!(told(&mut pods, PodSeen { deleting: true, ..pod("a", backs_off) }).is_empty());
        pods.gone("b");
        pods.look_for_trouble(["snmp".to_owned()].into_iter());
        assert!(pods.troubles().is_empty());
    }
}
