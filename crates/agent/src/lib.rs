//! The daemon of Kubernetes mode (`ctrmgrd.service`): rows, engine, systemd and the cluster tell of changes, the core
//! says what is to be done, and it is done.
//!
//! Killed at any moment, the next start carries on: nothing that matters is kept only here.

mod agent;
mod invitation;
mod node_labels;
mod real;
mod track;
mod world;

pub use agent::Agent;
pub use invitation::{host_name, invitation, node_files, saved_credential};
pub use node_labels::label_troubles;
pub use real::{fail_points, moved_words, tag_beside, take_home};
pub use world::{Event, PodReport, Restarted, Seen, Trouble, World};

/// Runs the agent on this switch until it is told to end. Needs a tokio runtime.
pub async fn run() -> Result<(), Trouble> {
    real::run().await
}
