//! The programs that live inside a virtual switch, as a library so that their parts can be tested.
//!
//! - [`payload`]: what a feature container runs instead of a routing stack: serves, logs, misbehaves on command.
//! - [`bench`]: measures `container` beside what a person would use instead.
//! - [`featured`]: the stand-in for SONiC's feature daemon, which turns FEATURE rows into systemctl calls.
//! - [`startup`]: what SONiC's own images say at the door.
//! - [`runtime`]: the wrapper around runc that this machine's missing privileges make necessary.
//!
//! Nothing here is product code and nothing here imports product code: a stand-in that shared the product's
//! reading of a row would also share its mistakes.

pub mod bench;
pub mod featured;
pub mod payload;
pub mod runtime;
pub mod startup;
