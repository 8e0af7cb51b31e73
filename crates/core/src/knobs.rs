//! Every number of the rules, named, with its default and the reason for it.

use std::time::Duration;

/// The program that makes a switch a node of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeProgram {
    /// The one that SONiC ships.
    #[default]
    Kubelet,
    /// `k3s agent`, which has a kubelet in it.
    K3s,
}

/// Which of them are on the switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Installed {
    /// The kubelet is.
    pub kubelet: bool,
    /// k3s is.
    pub k3s: bool,
}

impl NodeProgram {
    /// The one that counts: the preferred one, unless only the other is there.
    pub fn choose(preferred: Self, installed: Installed) -> Self {
        match installed {
            Installed { kubelet: true, k3s: false } => Self::Kubelet,
            Installed { kubelet: false, k3s: true } => Self::K3s,
            Installed { .. } => preferred,
        }
    }
}

/// Read once from `/etc/sonic/remote_ctr.config.json`, beside SONiC's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knobs {
    /// `revert_to_local_on_wait_seconds`: how long nobody may run before the local image steps in. 300 is what
    /// SONiC's `container` assumes without a file.
    pub revert_to_local: Duration,
    /// `wait_safety_check_seconds`: how often `container wait` compares the row with the engine when nothing has
    /// happened; Redis tells nobody that its data was flushed. Under a minute, as promised.
    pub safety_check: Duration,
    /// `failed_version_delay_seconds`: how long a version that failed once is kept out; twice as long each time.
    /// Longer than a kubelet's own first restarts, so that a pod that needs a moment is not judged by it.
    pub failed_version_delay: Duration,
    /// `failures_until_blocked`: how often in a row a version may fail before only the operator can let it in.
    pub failures_until_blocked: u32,
    /// `label_drop_seconds`: how long a unit must have been off by hand before the node label follows, so that stop,
    /// look, start does not take a version out of turn.
    pub label_drop: Duration,
    /// `pod_ready_seconds`: how long a pod that runs may be called not ready by the cluster, from its start on or
    /// later, before it has failed here. As long as nobody at all may run.
    pub pod_ready: Duration,
    /// `frozen_pod_seconds`: how long a pod may run without asking while nobody runs the feature, before it is taken
    /// for frozen by SONiC's own start-up script and stopped, so that the kubelet starts it again and it asks.
    pub frozen_pod: Duration,
    /// `tag_latest_image_on_wait_seconds`: how long a pod must have run well before its image becomes the local one.
    /// What SONiC ships; its code assumes 5 without a file, which says nothing about running well.
    pub tag_latest: Duration,
    /// `retry_tag_latest_seconds`: how long after a failure to make it the local one this is tried again.
    pub retry_tag_latest: Duration,
    /// `join_latency_on_boot_seconds`: at most so long after a boot a switch waits before it looks for its server;
    /// each waits another part of it, so that a rack that gets its power back does not come all at once.
    pub join_latency: Duration,
    /// `retry_join_interval_seconds`: the first pause after a join that failed; it doubles up to [`Knobs::RETRY_MAX`].
    pub retry_join: Duration,
    /// `retry_labels_update_seconds`: the first pause after labels that could not be written; it doubles likewise.
    pub retry_labels: Duration,
    /// `use_k8s_as_http_proxy`: whether Docker is led to its registry through the Kubernetes server.
    pub proxy_by_server: bool,
    /// `node_program`: which of `kubelet` and `k3s` makes the switch a node where both are installed.
    pub node_program: NodeProgram,
}

impl Knobs {
    /// The longest pause between two tries to reach a server, be it away for months.
    pub const RETRY_MAX: Duration = Duration::from_mins(10);

    /// How long a version that failed so often is kept out.
    pub fn delay_after(&self, failures: u32) -> Duration {
        // Bounded: nobody waits for more doublings than this.
        self.failed_version_delay * 2u32.pow(failures.saturating_sub(1).min(10))
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            revert_to_local: Duration::from_mins(5),
            safety_check: Duration::from_secs(45),
            failed_version_delay: Duration::from_mins(1),
            failures_until_blocked: 3,
            label_drop: Duration::from_mins(5),
            pod_ready: Duration::from_mins(5),
            frozen_pod: Duration::from_secs(10),
            tag_latest: Duration::from_mins(10),
            retry_tag_latest: Duration::from_secs(30),
            join_latency: Duration::from_secs(10),
            retry_join: Duration::from_secs(10),
            retry_labels: Duration::from_secs(2),
            proxy_by_server: false,
            node_program: NodeProgram::Kubelet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_counts_and_where_both_are_the_operator_s_word() {
        use NodeProgram::{K3s, Kubelet};
        for preferred in [Kubelet, K3s] {
            let chosen = |kubelet, k3s| NodeProgram::choose(preferred, Installed { kubelet, k3s });
            assert_eq!((chosen(true, false), chosen(false, true)), (Kubelet, K3s));
            assert_eq!((chosen(true, true), chosen(false, false)), (preferred, preferred));
        }
    }
}
