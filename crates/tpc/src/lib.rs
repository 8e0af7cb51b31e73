//! Third-party containers (seed 004, DESIGN.md section 6): what an operator brings onto a switch, and what keeps it
//! there across upgrades, power cuts, reboots and SONiC images.

pub mod archive;
pub mod fetch;
pub mod ops;
pub mod store;
