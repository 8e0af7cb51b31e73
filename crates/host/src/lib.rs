//! The host side of every verb and of the agent: find out what is, ask the core, carry out what it says.
//!
//! Holds no rule of ownership. What was decided goes into the log and into the history on /host, whoever decided.

pub mod clock;
mod error;
mod history;
mod host;
mod lock;
mod process;

pub use error::HostError;
pub use history::{Entry, last};
pub use host::{Host, How, Target, engine_name, forgive_starts};
pub use lock::TrackLock;
