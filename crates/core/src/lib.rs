//! Who runs each container of a switch: every rule of ownership, once.
//!
//! Pure: no clock, file, socket, environment or logger is reached from here. Adapters hand in a [`View`] of what
//! is, and carry out the [`Plan`] that comes back. The same functions serve the command line, the call made inside
//! an image, the daemon and the model that explores every order of events (`tests/model`).
//!
//! Holds always: never two running copies of one instance's payload, whatever the rows say.

mod agent;
mod care;
mod image;
mod instance;
mod knobs;
mod knock;
mod leave;
mod name;
mod native;
mod pin;
mod plan;
mod reason;
mod start;
mod state;
mod stop;
pub mod tpc;
mod verdict;
mod view;
mod wait;

pub use agent::{AgentStep, AgentView, Phase, Unit, reconcile, speaks_for_label, wants_label};
pub use care::{Care, Health, PodTime, care, frozen};
pub use image::{Digest, Image, ImageId, ImageName, Made, Repository, Tag};
pub use instance::{Instance, ResolveError, Scope, instances_of, resolve};
pub use knobs::{Installed, Knobs, NodeProgram};
pub use knock::{Answer, Asking, Side, ask};
pub use leave::leave;
pub use name::{AsicId, ContainerId, FeatureName, NameError, Version};
pub use native::{NativeStep, NativeView, NotNow, go_native, local_repository};
pub use pin::{BadPin, CaPin};
pub use plan::{Copy, OnlyIf, Plan, Refusal, RowChange, Step};
pub use reason::Reason;
pub use start::{may_hold_track, start};
pub use state::{
    Admin, CurrentOwner, FeatureConfig, FeatureState, KubeUpdate, RemoteState, SetOwner, SystemState, Words,
};
pub use stop::{ended, kill, left_behind, stop, unspoken};
pub use verdict::{Cause, Failure, Moment, Record, ShortRuns, Verdict};
pub use view::{Local, Pod, View};
pub use wait::{Idle, Waiting, cause_of_end, is_planned_end, versions, wait, why_ended};
