//! Hears of units that enter another state.

use std::collections::HashMap;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use zbus::Variant;

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
            let mut known = None;
            let entered = events.filter_map(move |event| {
                let state = event.args().ok().and_then(|args| state(args.changed_properties()));
                // systemd tells of a unit as a whole, also when nothing but its dependencies has changed: that happens
                // whenever somebody asks for another unit that was not loaded, such as who listens here.
                let is_news = state.is_some() && state != known;
                if is_news {
                    known = state;
                }
                std::future::ready(is_news.then(|| name.clone()))
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

/// What tells one state of a unit from the next, also from the same one at another time; nothing if another interface
/// than that of units has changed.
fn state(properties: &HashMap<&str, Variant<'_>>) -> Option<[String; 3]> {
    let text = |key: &str| properties.get(key).map(Variant::to_string);
    Some([text("ActiveState")?, text("SubState")?, text("StateChangeTimestampMonotonic")?])
}

impl UnitChanges {
    /// The next unit that has entered another state; nothing if systemd went away: connect anew then.
    pub async fn next(&mut self) -> Option<String> {
        self.changes.next().await
    }
}
