//! Which units hang together: who would stop with whom, and who needs whom.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use switchyard_core::Unit;

use super::{UnitStatus, Units, proxies, proxies::Properties, status::text};
use crate::SonicError;

/// The properties that name the units which systemd stops, or restarts, together with this one.
const STOP_TOO: [&str; 5] = ["RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"];

/// The properties that name the units without which this one does not run.
const NEEDS: [&str; 3] = ["Requires", "Requisite", "BindsTo"];

impl Units {
    /// The units that are up and would be stopped or restarted with this one, without itself, sorted.
    pub async fn would_stop_with(&self, unit: &str) -> Result<Vec<String>, SonicError> {
        self.linked(unit, is_up).await
    }

    /// The units that would be stopped or restarted with this one when all are up, without itself, sorted: the answer is
    /// the same while they are restarted.
    pub async fn would_ever_stop_with(&self, unit: &str) -> Result<Vec<String>, SonicError> {
        self.linked(unit, |_| true).await
    }

    async fn linked(&self, unit: &str, counts: fn(&Properties) -> bool) -> Result<Vec<String>, SonicError> {
        let mut seen = BTreeSet::new();
        let mut found = BTreeSet::new();
        let mut todo = vec![unit.to_owned()];
        while let Some(name) = todo.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let properties = self.shown(&name, proxies::UNIT).await?;
            // A unit that is down does not pass the stop on: systemd drops that job, and those that hang on it.
            if name == unit || counts(&properties) {
                todo.extend(names(&properties, &STOP_TOO));
                found.insert(name);
            }
        }
        found.remove(unit);
        Ok(found.into_iter().collect())
    }

    /// A service that this one needs and that is on its way down or up, if there is one. A start that is asked for then
    /// waits; systemd (252) tries it again at every turn, and each try counts against the start limit of that service.
    pub(super) async fn need_in_motion(&self, unit: &str) -> Result<Option<String>, SonicError> {
        let mut needs = self.depends_on(unit).await?;
        needs.retain(|need| need.ends_with(".service"));
        let states = needs.iter().map(async |need| {
            let shown = self.shown(need, proxies::UNIT).await?;
            Ok::<Unit, SonicError>(UnitStatus::from_properties(&shown, &Properties::new()).unit())
        });
        let states: Vec<Unit> = try_join_all(states).await?;
        let moves = |state: &Unit| matches!(state, Unit::Busy | Unit::WillRestart);
        Ok(needs.into_iter().zip(states).find(|(_, state)| moves(state)).map(|(need, _)| need))
    }

    /// The units that this one needs itself, sorted: without them it does not start.
    pub async fn depends_on(&self, unit: &str) -> Result<Vec<String>, SonicError> {
        let needed: BTreeSet<_> = names(&self.shown(unit, proxies::UNIT).await?, &NEEDS).collect();
        Ok(needed.into_iter().collect())
    }
}

fn names<'a>(properties: &'a Properties, links: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    links
        .iter()
        .filter_map(|link| properties.get(*link))
        .filter_map(|value| <Vec<String>>::try_from(value.try_clone().ok()?).ok())
        .flatten()
}

fn is_up(properties: &Properties) -> bool {
    matches!(text(properties, "ActiveState").as_str(), "active" | "activating" | "reloading")
}
