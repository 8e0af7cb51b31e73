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
    let access = "authentication:\n\
         \x20 anonymous: { enabled: false }\n\
         \x20 webhook: { enabled: true }\n\
         \x20 x509: { clientCAFile: /etc/kubernetes/ca.crt }\n\
         authorization: { mode: Webhook }\n\
         rotateCertificates: true\n";
    whole(settings, access)
}

/// The same for a kubelet without a cluster: there is nobody whose words it could check, so nobody outside can reach it.
pub(super) fn configuration_alone(settings: &Settings<'_>, manifests: &str) -> String {
    let access = format!(
        "enableServer: false\n\
         healthzPort: 0\n\
         authentication:\n\
         \x20 anonymous: {{ enabled: false }}\n\
         \x20 webhook: {{ enabled: false }}\n\
         authorization: {{ mode: AlwaysAllow }}\n\
         staticPodPath: {manifests}\n"
    );
    whole(settings, &access)
}

fn whole(settings: &Settings<'_>, access: &str) -> String {
    format!(
        "{OURS}\n\
         apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         {access}\
         readOnlyPort: 0\n\
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
    unit(
        settings,
        "--kubeconfig=/etc/kubernetes/kubelet.conf --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
    )
}

/// The same for a kubelet without a cluster.
pub(super) fn drop_in_alone(settings: &Settings<'_>) -> String {
    unit(settings, "--kubeconfig= --bootstrap-kubeconfig=")
}

fn unit(settings: &Settings<'_>, cluster: &str) -> String {
    let address = settings.address.map(|address| address.to_string()).unwrap_or_default();
    let arguments = [
        "$KUBELET_EXTRA_ARGS".to_owned(),
        "--config=/var/lib/kubelet/config.yaml".to_owned(),
        cluster.to_owned(),
        format!("--hostname-override={}", settings.node),
        format!("--node-ip={address}"),
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
