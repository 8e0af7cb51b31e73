//! All scenarios, a module for each part of the story.

mod admin;
mod asics;
mod bad_input;
mod boot;
mod cluster;
mod config;
mod crash;
mod dependencies;
mod facts;
mod fallback;
mod garbage;
mod generated;
mod generated_boot;
mod handover;
mod inside;
mod kept_out;
mod looks;
mod lost;
mod package;
mod pod;
mod quiet;
mod reboot;
mod refusal;
mod reload;
mod service;
mod standalone;
mod tpc;

use anyhow::Result;
use serde_json::Value;

use crate::scenario::Scenario;
use crate::switch::Switch;

/// Every scenario of a switch without a cluster, in the order in which they are told.
pub fn all() -> Vec<Scenario> {
    [
        boot::SCENARIOS,
        service::SCENARIOS,
        admin::SCENARIOS,
        dependencies::SCENARIOS,
        crash::SCENARIOS,
        quiet::SCENARIOS,
        reload::SCENARIOS,
        lost::SCENARIOS,
        reboot::SCENARIOS,
        asics::SCENARIOS,
        handover::SCENARIOS,
        kept_out::SCENARIOS,
        fallback::SCENARIOS,
        inside::SCENARIOS,
        bad_input::SCENARIOS,
        garbage::SCENARIOS,
        standalone::SCENARIOS,
        generated::SCENARIOS,
        generated_boot::SCENARIOS,
        looks::SCENARIOS,
        config::SCENARIOS,
        package::SCENARIOS,
        &tpc::all(),
    ]
    .concat()
}

/// Those that need a control plane, which takes minutes to build.
pub fn in_cluster() -> Vec<Scenario> {
    cluster::all()
}

/// The figures of Kubernetes mode, measured on a switch that has a kubelet, as JSON.
pub fn cluster_figures(switch: &Switch) -> Result<Value> {
    cluster::figures(switch)
}
