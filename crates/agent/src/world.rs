//! What the agent's loop needs of the world: things that happen, things to look at, things to do.
//!
//! The switch itself is [`crate::real`]; the simulation has a world of its own in which time, order and faults are drawn
//! from a seed. Whatever takes long is begun here and its end comes back as an [`Event`]: nothing holds up the loop.

use std::time::Duration;

use switchyard_core::{ContainerId, CurrentOwner, FeatureName, Instance, Phase, Reason, Unit, Version, View};

/// Something that cannot be found out or done now, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// Any error, as trouble.
pub(crate) fn trouble(error: impl std::fmt::Display) -> Trouble {
    Trouble(error.to_string())
}

/// What happened. A hint where to look, never a fact to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A row, the unit or a container of this instance has changed, or what the cluster says of its pods.
    Instance(Instance),
    /// Something about all instances of a feature has changed.
    Feature(FeatureName),
    /// Something about the switch as a whole has changed, or events may have been missed.
    Everything,
    /// The restart that was begun is over.
    Restarted(Instance, Restarted),
    /// Making the pod's image the local one is over; whether it was done.
    WentNative(Instance, bool),
    /// The time is over for which [`World::next`] was to wait.
    Time,
}

/// What the cluster says of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodReport {
    /// Which one.
    pub id: ContainerId,
    /// Whether it is ready.
    pub ready: bool,
}

/// What became of a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restarted {
    /// The unit was restarted, or did not want to run any more.
    Done,
    /// systemd tried in vain.
    Failed,
    /// systemd refuses now: the switch is on its way down, or another job must come first.
    Later,
}

/// One instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Rows and engine.
    pub view: View,
    /// Its unit.
    pub unit: Unit,
    /// How long the unit has been as it is.
    pub since: Duration,
    /// The version of the pod that asks is that of the local image.
    pub same_as_local: bool,
    /// How long the local copy has been running, if it does.
    pub copy_for: Option<Duration>,
    /// The node is to have the feature's label, by what stands in the rows.
    pub labelled: bool,
    /// What the cluster says of the containers of its pods here, all of them.
    pub reports: Vec<PodReport>,
}

/// Where an agent lives.
pub trait World {
    /// Time since boot, suspended time included.
    fn now(&self) -> Duration;

    /// Waits for the next event; without one, for so long at most.
    fn next(&mut self, at_most: Duration) -> impl Future<Output = Event>;

    /// What the switch is going through.
    fn phase(&mut self) -> impl Future<Output = Result<Phase, Trouble>>;

    /// Whether the switch leaves, or has left, its cluster: whatever pods run here must go.
    fn leaving(&mut self) -> bool;

    /// All instances of all features.
    fn instances(&mut self) -> Result<Vec<Instance>, Trouble>;

    /// Instances of features that are configured no more, of which something on the switch still tells.
    fn deleted(&mut self) -> Result<Vec<Instance>, Trouble>;

    /// Looks at one instance.
    fn see(&mut self, instance: &Instance) -> impl Future<Output = Result<Seen, Trouble>>;

    /// Asks for the feature's node label, unless it is as asked already.
    fn label(&mut self, feature: &FeatureName, wanted: bool) -> Result<(), Trouble>;

    /// Begins to restart the unit if it still wants to run (`systemctl try-restart`, its start limit reset before).
    fn restart(&mut self, instance: &Instance, reason: Reason);

    /// Stops what runs of an instance whose unit is off, and makes its row say so.
    fn bring_down(
        &mut self,
        instance: &Instance,
        reason: Reason,
    ) -> impl Future<Output = Result<(), Trouble>>;

    /// Stops a container of a pod; the kubelet starts it again.
    fn stop_pod(&mut self, id: &ContainerId) -> impl Future<Output = Result<(), Trouble>>;

    /// The version of this container, if it is there and has one.
    fn version(&mut self, pod: &ContainerId) -> impl Future<Output = Result<Option<Version>, Trouble>>;

    /// Writes down that this version failed here.
    fn failed(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble>;

    /// Writes down that this version is good.
    fn ran_well(&mut self, instance: &Instance, version: &Version) -> Result<(), Trouble>;

    /// Begins to make the image of this container the local one.
    fn go_native(&mut self, instance: &Instance, pod: &ContainerId);

    /// Who ran it as was last told, be it by an earlier life of the agent.
    fn told_owner(&mut self, instance: &Instance) -> Option<CurrentOwner>;

    /// Keeps for later lives that it was told who runs it.
    fn keep_told_owner(&mut self, instance: &Instance, owner: CurrentOwner);

    /// Says that a feature is run by somebody else than before; why, if the agent itself has restarted its unit for it.
    fn tell_moved(&mut self, seen: &View, from: CurrentOwner, why: Option<Reason>);

    /// Says why the pod that asks is kept out, or with nothing that none is.
    fn tell_kept_out(&mut self, instance: &Instance, pod: Option<&ContainerId>, why: Option<Reason>);
}
