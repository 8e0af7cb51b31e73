//! New ids for new containers. The engine never gives an id twice, but a world with ever larger numbers would have
//! no end: the smallest number that nothing speaks of any more is as good as new, since ids are only compared.

use crate::world::{Agent, Change, Gate, Id, LOCAL_ID, Main, NO_ID, Pod, Row, Script, Step, Who, World};

pub(crate) fn fresh_id(world: &World) -> Id {
    let mut known = Vec::new();
    world.speaks_of(&mut known);
    (LOCAL_ID + 1..=Id::MAX).find(|id| !known.contains(id)).expect("a world speaks of fewer than 250 ids")
}

trait SpeaksOf {
    fn speaks_of(&self, known: &mut Vec<Id>);
}

impl<T: SpeaksOf> SpeaksOf for Vec<T> {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        for item in self {
            item.speaks_of(known);
        }
    }
}

impl SpeaksOf for Row {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        known.extend([self.id, self.asker]);
    }
}

impl SpeaksOf for Change {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        known.extend([self.id, self.asker].into_iter().flatten());
        if let Some(row) = &self.only_if {
            row.speaks_of(known);
        }
    }
}

impl SpeaksOf for Who {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        known.push(match self {
            Self::Local => NO_ID,
            Self::Pod(id) => *id,
        });
    }
}

impl SpeaksOf for Step {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        match self {
            Self::Row(change) => change.speaks_of(known),
            Self::Stop(who) | Self::Kill(who) => who.speaks_of(known),
            Self::Label(_) | Self::AwaitRow | Self::StartLocal => {}
        }
    }
}

impl SpeaksOf for Pod {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        if let Self::Up(id, gate) = self {
            known.push(*id);
            if let Gate::Writes { change, .. } = gate {
                change.speaks_of(known);
            }
        }
    }
}

impl SpeaksOf for Script {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        match self {
            Self::Reads(_, rows) => rows.row.speaks_of(known),
            Self::Does(_, steps) => steps.speaks_of(known),
            Self::None | Self::Checks(_) | Self::Looks(_) => {}
        }
    }
}

impl SpeaksOf for Main {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        match self {
            Self::Reads { rows, .. } => rows.row.speaks_of(known),
            Self::Writes { change, .. } | Self::Records(change) => change.speaks_of(known),
            Self::Watches(who) => who.speaks_of(known),
            Self::Repairs(who, change) => {
                who.speaks_of(known);
                change.speaks_of(known);
            }
            Self::None | Self::Looks | Self::Ends => {}
        }
    }
}

impl SpeaksOf for Agent {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        match self {
            Self::Carries(steps) => steps.speaks_of(known),
            Self::Absent | Self::Watches | Self::Does(_) => {}
        }
    }
}

impl SpeaksOf for World {
    fn speaks_of(&self, known: &mut Vec<Id>) {
        self.row.speaks_of(known);
        self.pods.speaks_of(known);
        self.script.speaks_of(known);
        self.main.speaks_of(known);
        self.agent.speaks_of(known);
    }
}
