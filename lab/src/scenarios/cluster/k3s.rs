//! k3s in place of the kubelet.
//!
//! **k3s itself is not run**: it cannot be had where the lab runs. A script stands in for it on the switch (`lab/k3s/k3s`),
//! and `k3s_server` for its server. What is told here is that our side does what k3s's documentation says: the files that
//! it reads, the questions that its server answers, the files that it leaves; below is SONiC's real kubelet, with the
//! arguments that we give k3s for its own, before a real API server.

use anyhow::{Context, Result, ensure};

use super::k3s_server::K3sServer;
use super::member::{JOIN_MAX, KNOBS, LOCAL, Member, NEWER, SOON};
use super::outside::outside;
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Boot;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a stand-in for k3s joins with a full token alone, a feature moves there and comes home, and nothing of it is left",
    switch: SwitchKind::InCluster,
    long: false,
    run: |switch| outside(switch, |member| lives(member).and(put_away(member))),
}];

const FEATURE: &str = "snmp";
const PASSWORD: &str = "k3spassw0rd0123456789";
const PROGRAM: &str = include_str!("../../../k3s/k3s");
const UNIT: &str = include_str!("../../../k3s/k3s-agent.service");

/// What is left of a membership. The globs are the shell's.
const OURS: &str = "/etc/rancher/k3s/config.yaml.d/90-switchyard.yaml /etc/rancher/k3s/switchyard-token \
    /etc/rancher/node/password /etc/systemd/system/k3s-agent.service.d/10-switchyard.conf \
    /var/lib/rancher/k3s/agent/*.crt /var/lib/rancher/k3s/agent/*.key /var/lib/rancher/k3s/agent/*.kubeconfig \
    /var/lib/rancher/k3s/agent/etc/*.json /host/switchyard/kubernetes/token /host/switchyard/kubernetes/k3s/*";

fn lives(member: &Member<'_>) -> Result<()> {
    let switch = member.switch;
    install(member)?;
    let server = K3sServer::of(&member.cluster, switch.name(), PASSWORD)?;
    let address = member.cluster.invitation()?.address;
    let full = |password: &str| {
        Ok::<_, anyhow::Error>(format!("K10{}::server:{password}", member.cluster.ca_hash()?))
    };

    member.undisturbed(&[PASSWORD], || {
        member.point_to(&address, server.port())?;
        member.wait_reason("nothing tells whether")?;
        member.give_token(PASSWORD)?;
        member.wait_reason("node-token")?;
        member.give_token(&format!("K10{}::server:{PASSWORD}", "0".repeat(64)))?;
        member.wait_reason("another hash")?;
        member.give_token(&full("wr0ng")?)?;
        member.wait_reason("which is wrong or has expired")?;
        member.doctor(false, "which is wrong or has expired")?;
        member.point_home()?;
        member.wait_reason("is no k3s server")?;
        member.point_to(&address, server.port())?;
        member.give_token(&full(PASSWORD)?)?;
        member.wait_connected(true)?;
        member.doctor(true, "k3s /usr/local/bin/k3s")
    })?;
    switch.ok("systemctl is-active k3s-agent && ! systemctl is-active kubelet")?;

    member.move_to_kube(FEATURE, NEWER)?;
    member.tell_gap(FEATURE, "on the way to a pod of k3s")?;
    member.owner(FEATURE, "local")?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWER)?;

    switch.ok("config save -y > /dev/null")?;
    switch.reboot(Boot::Cold)?;
    member.is_run_by_pod(FEATURE, NEWER)?;

    let reset = member.reset("")?;
    ensure!(reset.success(), "reset ended with {}: {}", reset.status, reset.stderr);
    member.is_run_locally(FEATURE, LOCAL)?;
    is_left(member)?;
    other_password(member, &server, &full(PASSWORD)?)
}

/// A switch that was set up anew is another node to the cluster, which k3s would tell its log alone.
fn other_password(member: &Member<'_>, server: &K3sServer, token: &str) -> Result<()> {
    server.know_node_by(Some("an0ther"));
    member.give_token(token)?;
    member.server("disable", "off")?;
    member.wait_reason("by another password")?;
    server.know_node_by(None);
    member.wait_connected(true)?;
    // With the kubelet as the operator's choice the same switch is no node of k3s any more.
    member.settle(KNOBS)?;
    member.switch.wait_text("systemctl is-active k3s-agent || true", "inactive", JOIN_MAX)?;
    member.switch.wait_until("nothing of k3s is left", SOON, || {
        Ok(left(member)? == "/host/switchyard/kubernetes/token")
    })
}

fn install(member: &Member<'_>) -> Result<()> {
    member.switch.write("/usr/local/bin/k3s", PROGRAM)?;
    member.switch.write("/etc/systemd/system/k3s-agent.service", UNIT)?;
    member.switch.ok("chmod 755 /usr/local/bin/k3s && systemctl daemon-reload")?;
    let (_, rest) = KNOBS.split_once('{').context("the knobs are an object")?;
    member.settle(&format!("{{ \"node_program\": \"k3s\", {rest}"))
}

fn left(member: &Member<'_>) -> Result<String> {
    member.switch.ok(&format!("ls -d {OURS} 2> /dev/null || true"))
}

fn is_left(member: &Member<'_>) -> Result<()> {
    let left = left(member)?;
    ensure!(left.is_empty(), "left behind: {left}");
    member.switch.ok("! systemctl is-active k3s-agent && test -z \"$(docker ps --all --quiet --filter label=io.kubernetes.pod.uid)\"").map(drop)
}

/// The next story's switch has no k3s.
fn put_away(member: &Member<'_>) -> Result<()> {
    member.settle(KNOBS)?;
    member.reset("--force")?;
    member
        .switch
        .ok("rm -rf /usr/local/bin/k3s /etc/systemd/system/k3s-agent.service* /etc/rancher /var/lib/rancher
            echo '{}' > /etc/sonic/config_db.json; systemctl daemon-reload")
        .map(drop)
}
