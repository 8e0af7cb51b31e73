//! On a switch with two ASICs each instance of a feature moves by itself, by a DaemonSet of its own.

use anyhow::{Result, ensure};

use super::member::{Delivery, LOCAL, Member, NEWER, as_member};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "the two instances of a feature of each ASIC move to Kubernetes and come home each by itself",
    switch: SwitchKind::TwoAsicsInCluster,
    long: true,
    run: |switch| as_member(switch, each_by_itself),
}];

/// The image asks nobody by itself.
fn deliver(member: &Member<'_>, instance: &str) -> Result<()> {
    let image = Some(member.publish("bgp", NEWER)?);
    let gate = vec!["/usr/bin/switchyard", "gate", "bgp", "--", "/usr/bin/lab-payload", "run", "bgp"];
    member.deliver(&Delivery { image, command: Some(gate), ..Delivery::of(instance, NEWER) }).map(drop)
}

fn each_by_itself(member: &Member<'_>) -> Result<()> {
    member.owner("bgp", "kube")?;
    for instance in ["bgp0", "bgp1"] {
        member.row_becomes(instance, "local none up true")?;
    }
    deliver(member, "bgp0")?;
    member.is_run_by_pod("bgp0", NEWER)?;
    member.tell_gap("bgp0", "on the way to Kubernetes")?;
    member.row_is("bgp1", "local none up true")?;
    ensure!(member.runs("bgp1")? == "0", "the other instance was restarted");

    deliver(member, "bgp1")?;
    member.is_run_by_pod("bgp1", NEWER)?;
    member.tell_gap("bgp1", "on the way to Kubernetes")?;
    let host = member.switch.state("bgp", "current_owner")?;
    ensure!(host.is_empty(), "the host's row names an owner of what each ASIC has: {host}");

    let before = member.runs("bgp1")?;
    member.withdraw("bgp0")?;
    member.is_run_locally("bgp0", LOCAL)?;
    member.row_becomes("bgp0", "local none up true")?;
    member.tell_gap("bgp0", "until the local image was back, 6000 ms of them patience")?;
    member.is_run_by_pod("bgp1", NEWER)?;
    ensure!(member.runs("bgp1")? == before, "the other instance was restarted");

    member.owner("bgp", "local")?;
    for instance in ["bgp0", "bgp1"] {
        member.is_run_locally(instance, LOCAL)?;
        member.row_becomes(instance, "local none up false")?;
        member.tell_gap(instance, "on the way there and back")?;
    }
    Ok(())
}
