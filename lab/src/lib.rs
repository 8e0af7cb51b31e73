//! Virtual SONiC switches on this machine, and the scenarios that run on them.
//!
//! A switch is a privileged container of the machine's Docker: systemd as PID 1, Redis, a nested Docker, `/host` on a
//! volume, and the features' units and control scripts of `lab/switch/`, with our package installed by dpkg.
//!
//! From the ground up: [`machine`] makes a fresh Debian able to run switches, [`image`] builds what a switch is made of,
//! [`fleet`] brings switches up and down, [`switch`] drives one of them, [`scenario`] tells stories on them, and
//! [`scenarios`] are the stories. [`cluster`] is a Kubernetes control plane on the machine, which switches can join, and
//! [`servers`] are those from which third-party containers come. [`vm`] is a machine with another kernel.

pub mod cluster;
pub mod command;
pub mod fleet;
pub mod image;
pub mod machine;
pub mod scenario;
pub mod scenarios;
pub mod servers;
pub mod switch;
pub mod vm;

pub use cluster::Cluster;
pub use command::Output;
pub use scenario::{Scenario, SwitchKind};
pub use switch::{Boot, Switch, User};
