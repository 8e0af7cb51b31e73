//! Operations on third-party containers against a real Docker engine and a temporary root; only systemd is a stand-in,
//! whose units start and stop the container. Each operation is killed at every step of its plan, which names the steps.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

mod apart;
mod cuts;
mod kills;
mod registry;
#[path = "../../../engine/tests/docker/registry.rs"]
mod registry_server;
mod site;
mod starts;
mod verbs;
