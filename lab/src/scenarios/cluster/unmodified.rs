//! Pods of SONiC images that know nothing of us: their start-up call is SONiC's own, which writes no container that asks,
//! looks every two seconds, and freezes for ever where it may not go on.

use anyhow::{Result, ensure};

use super::member::{Delivery, HELD, LOCAL, Member, NEWER, NEWEST, SOON, as_member};
use crate::scenario::{Scenario, SwitchKind};

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "a pod of an unmodified SONiC image moves, rolls over, falls back and comes home by its start-up call alone",
    switch: SwitchKind::InCluster,
    long: false,
    run: |switch| as_member(switch, lives),
}];

const FEATURE: &str = "snmp";

/// As such an image starts: the call first, then the payload.
const STARTS: &str = "\
    trap 'kill -TERM \"$startup\" 2> /dev/null; exit 143' TERM
    lab-payload startup snmp kube \"$IMAGE_VERSION\" & startup=$!
    wait \"$startup\" && exec lab-payload run snmp";

fn lives(member: &Member<'_>) -> Result<()> {
    let deliver = |version| {
        let command = Some(vec!["sh", "-c", STARTS]);
        member.deliver(&Delivery { command, ..Delivery::of(FEATURE, version) })
    };
    deliver(NEWER)?;
    member.owner(FEATURE, "kube")?;
    member.is_run_by_pod(FEATURE, NEWER)?;
    member.tell_gap(FEATURE, "on the way to a pod that knows only SONiC's own call")?;
    let id = member.switch.ok("sonic-db-cli STATE_DB HGET 'FEATURE|snmp' container_id")?;
    ensure!(id.len() == 12, "the row should name the pod's container, and says {id:?}");

    // One that has to wait is told why as any other, although it says no name.
    member.switch.ok(&format!("switchyard config feature update {FEATURE} hold"))?;
    deliver(NEWEST)?;
    member.is_kept_out(FEATURE, "Held", HELD)?;
    member.switch.ok(&format!("system service accept {FEATURE}"))?;
    member.is_run_by_pod(FEATURE, NEWEST)?;
    member.tell_gap(FEATURE, "while a new version of such a pod was accepted and rolled over")?;

    // Its container comes again by the kubelet, and is kept out: it freezes or waits, and never runs beside.
    member.switch.payload(FEATURE, "crash 3")?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.tell_gap(FEATURE, "until the local image was back for such a pod that crashed")?;
    member.switch.ok(&format!("system service accept {FEATURE} {NEWEST}"))?;
    member.is_run_by_pod(FEATURE, NEWEST)?;

    member.owner(FEATURE, "local")?;
    member.is_run_locally(FEATURE, LOCAL)?;
    member.row_becomes(FEATURE, "local none up false")?;
    member.tell_gap(FEATURE, "with its way home")?;

    // Asked for again, it goes there again.
    member.owner(FEATURE, "kube")?;
    member.switch.wait_until("a pod is told of", SOON, || Ok(member.pod(FEATURE)?.is_object()))?;
    member.is_run_by_pod(FEATURE, NEWEST)
}
