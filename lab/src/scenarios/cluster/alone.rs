//! Static pods: a kubelet that belongs to no cluster.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::member::{Delivery, LOCAL, Member, NEWER, NEWEST, SOON};
use super::outside::outside;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Boot;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "without a server a static pod takes a feature over, rolls over, survives a reboot, and the local image is home again",
        switch: SwitchKind::InCluster,
        long: false,
        run: |switch| outside(switch, lives),
    },
    Scenario {
        name: "without a server a warm reboot that is flagged stops the kubelet of static pods, and no owner changes until it is over",
        switch: SwitchKind::InCluster,
        long: true,
        run: |switch| outside(switch, flagged),
    },
];

const FEATURE: &str = "snmp";
const MANIFEST: &str = "/host/switchyard/kubernetes/manifests/snmp.json";

fn put(member: &Member<'_>, version: &str) -> Result<()> {
    let image = member.switch.make_image(FEATURE, version)?;
    let manifest = member.static_pod(&Delivery::of(FEATURE, version), &image).to_string();
    member.switch.write("/root/snmp.json", &manifest)?;
    member.switch.ok(&format!("mv /root/snmp.json {MANIFEST}")).map(drop)
}

fn lives(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    put(member, NEWER)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWER)?;
    member.tell_gap(FEATURE, "on the way to a static pod")?;
    member.shows("the kubelet runs static pods")?;
    // Its engine's part has a port for the switch itself, of which nobody is told.
    let open = "ss --listening --numeric --tcp --processes --no-header | grep kubelet | grep -v ' 127.0.0.1:' || true";
    let open = switch.ok(open)?;
    ensure!(open.is_empty(), "a kubelet without a cluster listens: {open}");

    put(member, NEWEST)?;
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
    switch.wait_text("systemctl is-active kubelet || true", "inactive", SOON)?;
    // After the kubelet went its pods' containers, and then what makes it a node.
    let left = "test ! -e /etc/systemd/system/kubelet.service.d/10-switchyard.conf";
    switch.wait_ok("nothing makes it a node any more", SOON, left)?;
    switch.ok("echo '{}' > /etc/sonic/config_db.json").map(drop)
}

fn flagged(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    let flag = |up: bool| {
        switch.ok(&format!("sonic-db-cli STATE_DB HSET 'WARM_RESTART_ENABLE_TABLE|system' enable {up}"))
    };
    let kubelet = |state| switch.wait_text("systemctl is-active kubelet || true", state, SOON);

    put(member, NEWER)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWER)?;
    let before = member.runs(FEATURE)?;
    flag(true)?;
    kubelet("inactive")?;
    member.owner(FEATURE, "local")?;
    // Only time can show that nothing comes of it.
    sleep(Duration::from_secs(3));
    member.is_run_by_pod(FEATURE, NEWER)?;
    ensure!(member.runs(FEATURE)? == before, "something was restarted amid a reboot");
    flag(false)?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.tell_gap(FEATURE, "on its way to a static pod and, when the reboot was over, home")?;
    member.owner(FEATURE, "kube")?;
    kubelet("active")?;
    member.is_run_by_pod(FEATURE, NEWER)?;
    switch.ok(&format!("rm {MANIFEST}"))?;
    member.is_run_locally(FEATURE, LOCAL)
}
