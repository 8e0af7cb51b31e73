//! Static pods: a kubelet that belongs to no cluster.

use anyhow::{Result, ensure};

use super::member::{Delivery, LOCAL, Member, NEWER, NEWEST};
use super::outside::outside;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Boot;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "without a server a static pod takes a feature over, rolls over, survives a reboot, and the local image is home again",
    switch: SwitchKind::InCluster,
    long: false,
    run: |switch| outside(switch, lives),
}];

const FEATURE: &str = "snmp";
const MANIFEST: &str = "/host/switchyard/kubernetes/manifests/snmp.json";

fn lives(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let put = |version| {
        let image = switch.make_image(FEATURE, version)?;
        let manifest = member.static_pod(&Delivery::of(FEATURE, version), &image).to_string();
        switch.write("/root/snmp.json", &manifest)?;
        switch.ok(&format!("mv /root/snmp.json {MANIFEST}"))
    };
    put(NEWER)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWER)?;
    member.tell_gap(FEATURE, "on the way to a static pod")?;
    member.shows("the kubelet runs static pods")?;
    // Its engine's part has a port for the switch itself, of which nobody is told.
    let open = "ss --listening --numeric --tcp --processes --no-header | grep kubelet | grep -v ' 127.0.0.1:' || true";
    let open = switch.ok(open)?;
    ensure!(open.is_empty(), "a kubelet without a cluster listens: {open}");

    put(NEWEST)?;
    member.is_run_by_pod(FEATURE, NEWEST)?;
    member.tell_gap(FEATURE, "while another manifest took the place of the first")?;

    member.owner(FEATURE, "local")?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWEST)?;

    switch.ok("config save -y > /dev/null")?;
    switch.reboot(Boot::Cold)?;
    member.is_run_by_pod(FEATURE, NEWEST)?;

    switch.ok(&format!("rm {MANIFEST}"))?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.tell_gap(FEATURE, "with its way home")?;
    switch.wait_text("systemctl is-active kubelet || true", "inactive", super::member::SOON)?;
    switch
        .ok("echo '{}' > /etc/sonic/config_db.json
        test ! -e /etc/systemd/system/kubelet.service.d/10-switchyard.conf")
        .map(drop)
}
