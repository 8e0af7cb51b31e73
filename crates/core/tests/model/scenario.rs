//! Which switch is explored, and the `stateright` model of it.

use stateright::{Model, Property};
use switchyard_core::SetOwner;

use crate::lies::Lie;
use crate::world::{Agent, GONE, Local, Main, Pod, Row, Rows, Script, Unit, Verb, World};
use crate::{agent, pods, trouble, unit, watcher};

pub(crate) const ONE_PAYLOAD: &str = "never two payloads";
pub(crate) const AS_WANTED: &str = "the agent restarts nothing that is as wanted";

/// What does not change while the events do.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How many pods of the feature the cluster may bring at once.
    pub(crate) pods: usize,
    /// Whether containers of pods can find out their own id.
    pub(crate) ids: bool,
    pub(crate) local_image: bool,
    pub(crate) fallback: bool,
    /// Whether the pod's image is the local one.
    pub(crate) same_as_local: bool,
    pub(crate) agent: bool,
    /// Whether the local image makes the start-up call.
    pub(crate) local_asks: bool,
    /// Whether containers record that they are about to end.
    pub(crate) leaves: bool,
    /// Whether the world may move between reading the rows and reading the engine.
    pub(crate) torn: bool,
    /// How much may go wrong, and how often the operator changes his mind, on one path.
    pub(crate) trouble: u8,
    pub(crate) lie: Lie,
    /// Where to begin, if not with the unit's first start.
    pub(crate) from: Option<World>,
}

impl Scenario {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            pods: 1,
            ids: true,
            local_image: true,
            fallback: true,
            same_as_local: false,
            agent: true,
            local_asks: false,
            leaves: false,
            torn: false,
            trouble: 2,
            lie: Lie::None,
            from: None,
        }
    }

    pub(crate) fn rows(world: &World) -> Rows {
        Rows { row: world.row, wanted: world.wanted, server: world.server }
    }

    /// What the switch and the cluster do by themselves.
    pub(crate) fn quiet_moves(&self, world: &World) -> Vec<Move> {
        let mut moves = Moves { from: world, found: Vec::new() };
        unit::moves(self, world, &mut moves);
        watcher::moves(self, world, &mut moves);
        pods::moves(self, world, &mut moves);
        agent::moves(self, world, &mut moves);
        moves.found
    }

    /// What the operator does and what goes wrong.
    pub(crate) fn troubles(&self, world: &World) -> Vec<Move> {
        let mut moves = Moves { from: world, found: Vec::new() };
        trouble::moves(self, world, &mut moves);
        moves.found
    }
}

/// One thing that can happen next, and the world after it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Move {
    pub(crate) what: &'static str,
    pub(crate) to: World,
}

/// Collects what can happen. What changes nothing did not happen.
pub(crate) struct Moves<'a> {
    from: &'a World,
    found: Vec<Move>,
}

impl Moves<'_> {
    pub(crate) fn add(&mut self, what: &'static str, change: impl FnOnce(&mut World)) {
        let mut to = self.from.clone();
        change(&mut to);
        if to != *self.from {
            self.found.push(Move { what, to });
        }
    }
}

impl Model for Scenario {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        if let Some(world) = &self.from {
            return vec![World { trouble: self.trouble, ..world.clone() }];
        }
        // Before the kubelet starts, the host says `down` for a feature of Kubernetes (DESIGN.md section 4 *Boot*).
        let down = Row { system: Some(switchyard_core::SystemState::Down), ..GONE };
        [(SetOwner::Local, GONE), (SetOwner::Kube, GONE), (SetOwner::Kube, down)]
            .into_iter()
            .map(|(wanted, row)| World {
                row,
                label: wanted == SetOwner::Kube,
                wanted,
                server: true,
                welcome: true,
                manifest: true,
                orders: wanted == SetOwner::Kube,
                local: if self.local_image { Local::Stopped } else { Local::Missing },
                pods: vec![Pod::Dead; self.pods],
                unit: Unit::Pre,
                script: Script::Looks(Verb::Start),
                main: Main::None,
                agent: if self.agent { Agent::Watches } else { Agent::Absent },
                unit_wanted: true,
                lost: false,
                wronged: false,
                trouble: self.trouble,
            })
            .collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Move>) {
        actions.extend(self.quiet_moves(world));
        if world.trouble > 0 {
            actions.extend(self.troubles(world).into_iter().map(|mut found| {
                found.to.trouble -= 1;
                found
            }));
        }
    }

    fn next_state(&self, _: &World, action: Move) -> Option<World> {
        Some(action.to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("never two payloads", |_, world: &World| world.payloads() <= 1),
            Property::always("the agent restarts nothing that is as wanted", |_, world: &World| {
                !world.wronged
            }),
        ]
    }
}
