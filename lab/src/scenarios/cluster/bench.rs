//! The figures of Kubernetes mode, measured on a member of the lab's cluster beside what a person would do instead.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::idle;
use super::member::{Delivery, LOCAL, Member, NEWER, as_member};
use crate::switch::Switch;

/// Of each kind of change of hands.
const ROUNDS: usize = 10;
/// Of changes of a row, enough for a hundredth.
const CHANGES: usize = 200;
const FEATURE: &str = "snmp";

/// Runs all rounds, interleaved, and gives the figures.
pub(super) fn figures(switch: &Switch) -> Result<Value> {
    let mut figures = None;
    as_member(switch, |member| {
        figures = Some(measure(member)?);
        Ok(())
    })?;
    figures.context("nothing was measured")
}

fn measure(member: &Member<'_>) -> Result<Value> {
    member.deliver(&Delivery::of(FEATURE, NEWER))?;
    let (mut by_hand, mut to_pod, mut fallback, mut home) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let restart = format!("systemctl reset-failed {FEATURE}; systemctl restart {FEATURE}");
        by_hand.push(gap(member, &restart)?);
        member.is_run_locally(FEATURE, LOCAL)?;
        to_pod.push(gap(member, &format!("switchyard config feature owner {FEATURE} kube"))?);
        member.is_run_by_pod(FEATURE, NEWER)?;
        fallback.push(gap(member, &format!("lab-payload send {FEATURE} crash 3"))?);
        member.is_run_locally(FEATURE, LOCAL)?;
        member.switch.ok(&format!("system service accept {FEATURE} {NEWER}"))?;
        member.is_run_by_pod(FEATURE, NEWER)?;
        home.push(gap(member, &format!("switchyard config feature owner {FEATURE} local"))?);
        member.is_run_locally(FEATURE, LOCAL)?;
    }
    let median_by_hand = median(&mut by_hand);
    let ratio = |gaps: &mut Vec<f64>| json!({ "median": median(gaps) / median_by_hand, "worst": worst(gaps) / median_by_hand });
    let (switchover, fallback, home) = (ratio(&mut to_pod), ratio(&mut fallback), ratio(&mut home));
    let mut delays = row_to_action(member)?;
    delays.sort_by(f64::total_cmp);
    let at = |part: usize| delays.get(delays.len() * part / 100).copied().unwrap_or(f64::NAN);
    Ok(json!({
        "rounds": ROUNDS,
        "switchover_gap": switchover,
        "fallback_gap": fallback,
        "way_home_gap": home,
        "row_to_action_ms": { "changes": delays.len(), "median": at(50), "p99": at(99) },
        "idle": idle::figures(member)?,
        "agent_pss_kib": pss(member)?,
    }))
}

/// How long nobody ran the payload while a command changed hands, in milliseconds.
///
/// The log begins with its last line, if it has one, which is the word of the copy that runs: one that is killed leaves no
/// other. Until
/// the next copy has the lock nobody asks anything: on two cores each question would be part of what it measures.
fn gap(member: &Member<'_>, command: &str) -> Result<f64> {
    let log = format!("/run/payload/{FEATURE}.log");
    let script = format!(
        "tail -n 1 {log} > {log}.kept && cat {log}.kept > {log} && rm {log}.kept
         wanted=$(($(wc -l < {log}) + 1))
         exec 3< <(exec tail -n +1 -f {log}); follower=$!
         {command}
         copies=0
         while [ $copies -lt $wanted ] && read -r -t 60 -u 3 _ word _; do
           [ $word != acquired ] || copies=$((copies + 1))
         done
         kill $follower
         [ $copies -eq $wanted ]"
    );
    member
        .switch
        .ok(&script)
        .with_context(|| format!("no other copy had the lock within a minute of `{command}`"))?;
    Ok(f64::from(u32::try_from(member.switch.longest_gap_ms(FEATURE)?)?))
}

/// From the operator's row to the agent's first write, as Redis itself saw both, in milliseconds.
fn row_to_action(member: &Member<'_>) -> Result<Vec<f64>> {
    // A feature without a pod: its label follows the owner at once, and nothing else happens.
    let script = format!(
        "redis-cli -s /var/run/redis/redis.sock MONITOR > /tmp/monitor & monitor=$!
         for n in $(seq {CHANGES}); do
           owner=$([ $((n % 2)) = 1 ] && echo kube || echo local)
           wanted=$([ $owner = kube ] && echo true || echo false)
           sonic-db-cli CONFIG_DB HSET 'FEATURE|lldp' set_owner $owner > /dev/null
           for try in $(seq 2000); do
             [ \"$(sonic-db-cli STATE_DB HGET 'KUBE_LABELS|SET' lldp_enabled)\" != $wanted ] || break
           done
         done
         kill $monitor
         grep -E 'FEATURE\\|lldp\" \"set_owner|\"lldp_enabled\" \"(true|false)' /tmp/monitor"
    );
    let lines = member.switch.ok(&script)?;
    let mut begun = None;
    let mut delays = Vec::new();
    for line in lines.lines() {
        let stamp = line.split(' ').next().and_then(|stamp| stamp.parse::<f64>().ok());
        let stamp = stamp.with_context(|| format!("an unexpected line of MONITOR: {line:?}"))?;
        if line.contains("set_owner") {
            begun = Some(stamp);
        } else if let Some(begun) = begun.take() {
            delays.push((stamp - begun) * 1000.0);
        }
    }
    ensure!(delays.len() > CHANGES / 2, "only {} of {CHANGES} changes were followed", delays.len());
    Ok(delays)
}

fn pss(member: &Member<'_>) -> Result<u64> {
    let pss = member.switch.ok(
        "awk '/^Pss:/ { print $2 }' /proc/$(systemctl show --value --property MainPID ctrmgrd)/smaps_rollup",
    )?;
    Ok(pss.parse()?)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

fn worst(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::NAN, f64::max)
}
