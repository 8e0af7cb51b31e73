//! Hears of units that enter another state.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};

use super::{Units, failed};
use crate::SonicError;

/// Units that change their state, from the moment it was made.
pub struct UnitChanges {
    changes: SelectAll<BoxStream<'static, String>>,
}

impl Units {
    /// Hears of these units and of no other. Look at them after this returns: no change is missed then.
    pub async fn changes(&self, units: &[String]) -> Result<UnitChanges, SonicError> {
        let error = |e| failed("listen to its units".to_owned(), "", e);
        self.listen().await.map_err(error)?;
        let mut changes = SelectAll::new();
        for unit in units {
            let path = self.load(unit).await?;
            let events = self.property_changes(path).await.map_err(error)?;
            let name = unit.clone();
            let entered = events.filter_map(move |event| {
                let is_state = event.args().is_ok_and(|args| {
                    ["ActiveState", "SubState"].iter().any(|key| args.changed_properties().contains_key(key))
                });
                std::future::ready(is_state.then(|| name.clone()))
            });
            changes.push(entered.boxed());
        }
        if units.is_empty() {
            // Nothing to hear of is no end.
            changes.push(stream::pending().boxed());
        }
        Ok(UnitChanges { changes })
    }
}

impl UnitChanges {
    /// The next unit that has entered another state; nothing if systemd went away: connect anew then.
    pub async fn next(&mut self) -> Option<String> {
        self.changes.next().await
    }
}
