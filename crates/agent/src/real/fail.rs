//! Places at which a test wants the agent to die, as by a crash (DESIGN.md section 9).
//!
//! `SWITCHYARD_AGENT_FAIL=restart_unit:before`: the steps are the core's own words for what the agent does.

use rustix::process::{Signal, getpid, kill_process};
use switchyard_core::{AgentStep, Care};
use tracing::warn;

/// All such places.
pub fn fail_points() -> Vec<String> {
    let steps = AgentStep::KINDS.iter().map(AgentStep::word).chain(Care::DEEDS.iter().map(Care::word));
    steps.flat_map(|step| ["before", "after"].map(|place| format!("{step}:{place}"))).collect()
}

/// Dies if it is wanted at this place.
fn fail_point(step: &str, place: &str) {
    let wanted = std::env::var("SWITCHYARD_AGENT_FAIL").unwrap_or_default();
    if wanted == format!("{step}:{place}") {
        warn!("killed at {wanted}, as a test wants it");
        // As a power cut: nothing is flushed, no destructor runs.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// The step is about to be done.
pub(super) fn before(step: &str) {
    fail_point(step, "before");
}

/// It has been done, and nothing after it.
pub(super) fn after(step: &str) {
    fail_point(step, "after");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_that_the_agent_does_has_a_place_before_and_one_after_it() {
        let points = fail_points();
        assert_eq!(points.len(), 2 * (AgentStep::KINDS.len() + Care::DEEDS.len()));
        for expected in ["label:before", "restart_unit:after", "give_up:before", "give_up:after"] {
            assert!(points.iter().any(|point| point == expected), "no {expected} in {points:?}");
        }
    }
}
