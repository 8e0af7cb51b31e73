//! What the kubelet is told: its configuration, and the drop-in of its unit.
//!
//! Written for the kubelet 1.22.2 that SONiC ships. What the images give it in `$KUBELET_EXTRA_ARGS`
//! (`--cgroup-driver=systemd --node-ip=::`) stands first, because of an argument given twice the last one counts.

use super::Settings;

/// By this line a configuration is known as ours.
pub(super) const OURS: &str = "# Written by switchyard; changes are lost at the next join.";

/// `/var/lib/kubelet/config.yaml`.
///
/// - Images are never collected: the collector would untag the local image of a feature that a pod runs.
/// - A full disk evicts nothing: the pods of a switch are its control plane. Memory keeps Kubernetes' default.
/// - What node allocatable would enforce are limits on pods alone, and local features share the same memory.
pub(super) fn configuration(settings: &Settings<'_>) -> String {
    format!(
        "{OURS}\n\
         apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         authentication:\n\
         \x20 anonymous: {{ enabled: false }}\n\
         \x20 webhook: {{ enabled: true }}\n\
         \x20 x509: {{ clientCAFile: /etc/kubernetes/ca.crt }}\n\
         authorization: {{ mode: Webhook }}\n\
         readOnlyPort: 0\n\
         rotateCertificates: true\n\
         cgroupDriver: {driver}\n\
         enforceNodeAllocatable: []\n\
         failSwapOn: false\n\
         imageGCHighThresholdPercent: 100\n\
         evictionHard:\n\
         \x20 memory.available: 100Mi\n\
         \x20 nodefs.available: 0%\n\
         \x20 nodefs.inodesFree: 0%\n\
         \x20 imagefs.available: 0%\n",
        driver = settings.cgroup_driver,
    )
}

/// `/etc/systemd/system/kubelet.service.d/10-switchyard.conf`: after kubeadm's `10-kubeadm.conf`, should there be one.
pub(super) fn drop_in(settings: &Settings<'_>) -> String {
    let arguments = [
        "$KUBELET_EXTRA_ARGS".to_owned(),
        "--config=/var/lib/kubelet/config.yaml".to_owned(),
        "--kubeconfig=/etc/kubernetes/kubelet.conf".to_owned(),
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf".to_owned(),
        format!("--hostname-override={}", settings.node),
        format!("--node-ip={}", settings.address),
        format!("--cgroup-driver={}", settings.cgroup_driver),
        "--container-runtime=docker".to_owned(),
        // Pods use the host's network; with a plug-in named, a node without one never gets Ready.
        "--network-plugin=".to_owned(),
    ];
    format!(
        "# Written by switchyard, removed when the switch leaves its cluster.\n\
         [Service]\n\
         EnvironmentFile=-/etc/default/kubelet\n\
         ExecStart=\n\
         ExecStart=/usr/bin/kubelet {}\n",
        arguments.join(" ")
    )
}
