//! A path through the model as a person reads it: what happened, and what was true after it.

use crate::scenario::Move;
use crate::world::{Gate, Local, Pod, World};

/// The events with the world after each, one a line.
pub(crate) fn tell(path: &[(World, Option<Move>)]) -> String {
    let mut lines = Vec::new();
    let mut what = "at first";
    for (world, next) in path {
        lines.push(format!("{what:<48} {}", describe(world)));
        what = next.as_ref().map_or("", |next| next.what);
    }
    lines.join("\n")
}

/// One world in one line.
pub(crate) fn describe(world: &World) -> String {
    let row = &world.row;
    let system = row.system.map_or("absent", switchyard_core::SystemState::as_str);
    let pods: Vec<_> = world.pods.iter().map(pod).collect();
    format!(
        "row {system}/{}({})/{}({}) | wanted {} | local {} | pods {} | {:?}{} | {}{}{}",
        row.owner,
        row.id,
        row.remote,
        row.asker,
        world.wanted,
        local(world.local),
        pods.join(" "),
        world.unit,
        if world.unit_wanted { "" } else { " (off asked)" },
        if world.server { "" } else { "no server " },
        if world.label { "" } else { "no label " },
        if world.manifest { "" } else { "no manifest" },
    )
}

fn local(local: Local) -> &'static str {
    match local {
        Local::Missing => "missing",
        Local::Stopped => "-",
        Local::Fresh | Local::Recording(_) | Local::Running => "RUNS",
        Local::Leaving => "RUNS, leaving",
    }
}

fn pod(pod: &Pod) -> String {
    match pod {
        Pod::Dead => "-".to_owned(),
        Pod::Up(id, Gate::Waits { asked: false }) => format!("{id}:new"),
        Pod::Up(id, Gate::Waits { asked: true }) => format!("{id}:waits"),
        Pod::Up(id, Gate::Writes { run, .. }) => format!("{id}:{}", if *run { "takes" } else { "knocks" }),
        Pod::Up(id, Gate::Begins) => format!("{id}:begins"),
        Pod::Up(id, Gate::Runs) => format!("{id}:RUNS"),
        Pod::Up(id, Gate::Leaves) => format!("{id}:RUNS, leaving"),
    }
}
