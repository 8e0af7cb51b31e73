//! Third-party containers: names, sources, arguments, limits and plans, as pure values (seed 004, DESIGN.md section 6).

mod limits;
mod name;
mod plan;

pub use limits::{Asked, BadAmount, Cap, Cpu, Defaults, Disk, Limits, Machine, Memory, NotAdmitted, admit, human};
pub use name::TpcName;
pub use plan::{Facts, Operation, Progress, Recovery, Step, plan, recover};
