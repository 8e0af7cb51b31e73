//! The simulation can fail: each rule is taken away, and the checker must find what it was good for. (That rows are
//! written only as they were seen takes rarer orders of events than chance finds: the model of the core shows that.)

use crate::history::live;
use crate::lies::Lie;

/// So many histories are enough to meet what the rule was good for.
const HISTORIES: u64 = 1500;

fn fails_without(lie: Lie, expected: &str) {
    let mut others = Vec::new();
    for seed in 0..HISTORIES {
        if let Err(failure) = live(seed, lie) {
            if failure.complaint.contains(expected) {
                println!("{lie:?}: seed {seed}");
                return;
            }
            others.push(failure.complaint);
        }
    }
    others.sort();
    others.dedup();
    panic!("{lie:?}: no history ends with {expected:?}, but with {others:#?}");
}

#[test]
fn the_agent_must_hear_that_a_restart_is_over() {
    fails_without(Lie::RestartsNeverEnd, "runs");
}

#[test]
fn the_agent_must_hear_or_wake() {
    fails_without(Lie::Deaf, "the local copy runs although a pod could");
}

#[test]
fn a_restart_must_not_start_what_was_stopped() {
    fails_without(Lie::RestartStarts, "was stopped by the operator and its unit starts");
}

#[test]
fn what_a_unit_left_behind_must_be_brought_down() {
    fails_without(Lie::LeftAlone, "the unit is off and");
}

#[test]
fn nothing_may_be_restarted_while_the_switch_reboots_or_loads() {
    fails_without(Lie::AlwaysSteady, "is restarted during");
}

#[test]
fn what_a_restart_does_not_change_must_not_be_restarted_for_ever() {
    fails_without(Lie::OwnerSeemsLocal, "copies come and go");
}

/// FIELD.md defect 4: a time in seconds was taken for milliseconds, and the daemon spun until it was over.
#[test]
fn the_agent_must_sleep_while_nothing_happens() {
    fails_without(Lie::Restless, "wake-ups");
}

#[test]
fn a_pod_must_ask_before_it_runs() {
    fails_without(Lie::RunsAhead, "two payloads");
}

/// FIELD.md defect 8: a pod that was refused slept for ever.
#[test]
fn a_pod_must_be_seen_as_soon_as_it_can_ask() {
    fails_without(Lie::ListedLate, "the question of a pod is lost");
}

/// An unmodified local image writes its own version over that of a pod that asks.
#[test]
fn a_pod_must_be_judged_by_its_own_version() {
    fails_without(Lie::JudgedByRow, "the local copy runs although a pod");
}

#[test]
fn frozen_pods_must_be_stopped() {
    fails_without(Lie::FrozenStays, "runs");
}

#[test]
fn the_agent_must_hear_of_pods_that_never_get_ready() {
    fails_without(Lie::PodsHidden, "never");
}

/// BI#15432, BI#25931.
#[test]
fn what_ends_as_planned_must_not_count_against_the_start_limit() {
    fails_without(Lie::StartsCount, "systemd gave the unit up");
}
