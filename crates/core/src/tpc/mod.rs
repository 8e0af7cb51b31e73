//! Third-party containers: names, sources, arguments, limits and plans, as pure values (seed 004, DESIGN.md section 6).

mod args;
mod limits;
mod name;
mod plan;
mod secret;
mod source;

/// The label of a third-party container: its name. An image that was made of such a container has it empty, so that what
/// somebody runs from it by hand is nobody's.
pub const LABEL: &str = "switchyard.tpc";

pub use args::{ArgsError, CreateArgs, Device, Hazard, Mount, MountKind, Port, Tmpfs, Transport, Ulimit};
pub use limits::{
    Asked, BadAmount, Cap, Cpu, Defaults, Disk, Limits, Machine, Memory, NotAdmitted, Reservation, admit,
    admit_start, human,
};
pub use name::TpcName;
pub use plan::{Facts, Operation, Progress, Recovery, Step, plan, recover};
pub use secret::Secret;
pub use source::{Host, HttpUrl, MediaPath, Protocol, Reference, Source, SourceError, SshFile, SshOptions};
