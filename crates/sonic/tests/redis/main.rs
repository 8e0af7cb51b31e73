//! The databases of a switch, played by real redis-servers on private sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helpers may stop at the first surprise, too"
)]

mod changes;
mod failures;
mod rows;
mod server;
mod support;
mod tpc;
mod write;
