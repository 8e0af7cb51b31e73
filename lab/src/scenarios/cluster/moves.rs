//! A feature moves to Kubernetes and comes home, by the operator's word.

use anyhow::Result;

use super::member::{LOCAL, Member, NEWER, TIERS, as_member};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a feature that is set to kube runs locally until its pod is there, and is back at once when set to local",
    switch: SwitchKind::InCluster,
    long: false,
    run: |switch| as_member(switch, there_and_back),
}];

fn there_and_back(member: &Member<'_>) -> Result<()> {
    for feature in TIERS {
        member.owner(feature, "kube")?;
        member.row_becomes(feature, "local none up true")?;
        member.is_run_locally(feature, LOCAL)?;
        member.move_to_kube(feature, NEWER)?;
        member.tell_gap(feature, "on the way to Kubernetes")?;
        member.owner(feature, "local")?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up false")?;
        member.tell_gap(feature, "on the way there and back")?;
    }
    Ok(())
}
