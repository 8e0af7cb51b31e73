//! To be told.

use crate::scenario::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[];
