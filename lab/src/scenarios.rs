//! All scenarios, a module for each part of the story.

mod boot;

use crate::scenario::Scenario;

/// Every scenario, in the order in which they are told.
pub fn all() -> Vec<Scenario> {
    [boot::SCENARIOS].concat()
}
