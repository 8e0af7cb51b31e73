//! The databases of a switch, played by real redis-servers on private sockets.

mod changes;
mod failures;
mod rows;
mod support;
mod write;
