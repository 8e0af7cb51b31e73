//! A feature moves to Kubernetes and comes home, by the operator's word.

use anyhow::{Result, ensure};

use super::member::{LOCAL, Member, NEWER, SOON, TIERS, as_member};
use crate::scenario::{Scenario, SwitchKind};
use crate::switch::Moment;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    // BI#12188: the way home took very long.
    name: "a feature that is set to kube runs locally until its pod is there, and is back at once when set to local",
    switch: SwitchKind::InCluster,
    long: false,
    run: |switch| as_member(switch, there_and_back),
}];

fn there_and_back(member: &Member<'_>) -> Result<()> {
    for feature in TIERS {
        let since = member.switch.now()?;
        member.owner(feature, "kube")?;
        member.row_becomes(feature, "local none up true")?;
        member.is_run_locally(feature, LOCAL)?;
        member.move_to_kube(feature, NEWER)?;
        member.tell_gap(feature, "on the way to Kubernetes")?;
        told_once(member, &since, &format!("{feature} moved from local to kube: a pod asks for its turn"))?;
        member.owner(feature, "local")?;
        member.is_run_locally(feature, LOCAL)?;
        member.row_becomes(feature, "local none up false")?;
        member.tell_gap(feature, "on the way there and back")?;
        let home =
            format!("{feature} moved from kube to local: the owner was changed to local while a pod runs");
        told_once(member, &since, &home)?;
    }
    Ok(())
}

/// Waits until a change of hands is in the log, and insists that it is there once and that nothing else is said of one
/// between the same two.
pub(super) fn told_once(member: &Member<'_>, since: &Moment, news: &str) -> Result<()> {
    let told = || -> Result<Vec<String>> {
        let log = member.switch.journal_of(since, "--identifier=switchyard")?;
        let change = news.split(": ").next().unwrap_or(news);
        Ok(log.lines().filter(|line| line.contains(change)).map(str::to_owned).collect())
    };
    member.switch.wait_until(&format!("{news:?} is told"), SOON, || Ok(!told()?.is_empty()))?;
    let lines = told()?;
    ensure!(lines.len() == 1 && lines[0].contains(news), "instead of {news:?} once: {lines:?}");
    Ok(())
}
