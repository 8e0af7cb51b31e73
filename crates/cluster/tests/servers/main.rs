//! What a switch says to API servers and to what is none, each a real TLS server on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

mod discovery;
mod doctor;
mod k3s;
mod node;
mod server;
mod watch;
