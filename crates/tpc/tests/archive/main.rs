//! The archive reader and the store against archives as tools make them, and as nobody should.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod fixtures;
mod formats;
mod fuzz;
mod hostile;
mod keeping;
