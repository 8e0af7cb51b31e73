//! Between the small world and the core: the core is asked with its own types and applies its own row changes.

use std::sync::LazyLock;

use switchyard_core::{
    Admin, ContainerId, Copy, FeatureConfig, FeatureName, FeatureState, Instance, OnlyIf, RowChange, Verdict,
    View,
};

use crate::world::{Change, GONE, Id, LOCAL_ID, Local, NO_ID, Pod, Row, Rows, Step, Version, Who, World};

pub(crate) static INSTANCE: LazyLock<Instance> =
    LazyLock::new(|| Instance::on_host(FeatureName::parse("snmp").unwrap()));
static LOCAL_VERSION: LazyLock<switchyard_core::Version> = LazyLock::new(|| version_text("1.0"));
static POD_VERSION: LazyLock<switchyard_core::Version> = LazyLock::new(|| version_text("2.0"));
/// The engine reports sixty-four digits, rows hold the first twelve.
static LONG_IDS: LazyLock<Vec<ContainerId>> = LazyLock::new(|| {
    (0..=Id::MAX).map(|id| ContainerId::parse(&format!("{id:012x}{}", "f".repeat(52))).unwrap()).collect()
});

fn version_text(text: &str) -> switchyard_core::Version {
    switchyard_core::Version::parse(text).unwrap()
}

pub(crate) fn version(version: Version) -> Option<&'static switchyard_core::Version> {
    match version {
        Version::Unknown => None,
        Version::Local => Some(&LOCAL_VERSION),
        Version::Pod => Some(&POD_VERSION),
    }
}

fn small_version(version: &switchyard_core::Version) -> Version {
    if *version == *LOCAL_VERSION { Version::Local } else { Version::Pod }
}

pub(crate) fn long_id(id: Id) -> &'static ContainerId {
    &LONG_IDS[usize::from(id)]
}

fn row_id(id: Id) -> Option<ContainerId> {
    match id {
        NO_ID => None,
        LOCAL_ID => ContainerId::parse(INSTANCE.feature.as_str()).ok(),
        _ => Some(long_id(id).short()),
    }
}

pub(crate) fn small_id(id: &ContainerId) -> Id {
    if id.as_str() == INSTANCE.feature.as_str() {
        return LOCAL_ID;
    }
    Id::from_str_radix(&id.as_str()[..ContainerId::SHORT], 16).unwrap()
}

pub(crate) fn row(row: Row) -> FeatureState {
    FeatureState {
        system_state: row.system,
        current_owner: row.owner,
        container_id: row_id(row.id),
        container_version: version(row.version).cloned(),
        remote_state: row.remote,
        remote_container_id: row_id(row.asker),
        ..FeatureState::default()
    }
}

fn small_row(row: &FeatureState) -> Row {
    Row {
        system: row.system_state,
        owner: row.current_owner,
        id: row.container_id.as_ref().map_or(NO_ID, small_id),
        remote: row.remote_state,
        asker: row.remote_container_id.as_ref().map_or(NO_ID, small_id),
        version: row.container_version.as_ref().map_or(Version::Unknown, small_version),
    }
}

pub(crate) fn small_change(change: &RowChange) -> Change {
    Change {
        system: change.system_state,
        owner: change.current_owner,
        id: change.container_id.as_ref().map(|id| id.as_ref().map_or(NO_ID, small_id)),
        remote: change.remote_state,
        asker: change.remote_container_id.as_ref().map(small_id),
        version: change.container_version.as_ref().map(small_version),
        only_if: change.only_if.as_ref().map(|seen| Row {
            system: seen.system_state,
            owner: seen.current_owner,
            id: seen.container_id.as_ref().map_or(NO_ID, small_id),
            remote: seen.remote_state,
            asker: seen.remote_container_id.as_ref().map_or(NO_ID, small_id),
            ..GONE
        }),
    }
}

fn change(change: &Change) -> RowChange {
    RowChange {
        system_state: change.system,
        current_owner: change.owner,
        container_id: change.id.map(row_id),
        container_version: change.version.and_then(version).cloned(),
        stable_version: None,
        last_version: None,
        remote_state: change.remote,
        remote_container_id: change.asker.and_then(row_id),
        only_if: change.only_if.and_then(|seen| OnlyIf::unchanged(&row(seen))),
    }
}

/// Writes as the database does: whole, and only if the condition holds.
pub(crate) fn write(world: &mut World, wanted: &Change) -> bool {
    match change(wanted).apply(&row(world.row)) {
        Some(after) => {
            world.row = small_row(&after);
            true
        }
        None => false,
    }
}

pub(crate) fn small_steps(steps: &[switchyard_core::Step]) -> Vec<Step> {
    steps.iter().map(small_step).collect()
}

fn small_step(step: &switchyard_core::Step) -> Step {
    match step {
        switchyard_core::Step::Label(wanted) => Step::Label(*wanted),
        switchyard_core::Step::Row(change) => Step::Row(small_change(change)),
        switchyard_core::Step::AwaitRow(_) => Step::AwaitRow,
        switchyard_core::Step::StartLocal => Step::StartLocal,
        switchyard_core::Step::Stop(copy) => Step::Stop(who(copy)),
        switchyard_core::Step::Kill(copy) => Step::Kill(who(copy)),
    }
}

pub(crate) fn who(copy: &Copy) -> Who {
    match copy {
        Copy::Local => Who::Local,
        Copy::Pod(id) => Who::Pod(small_id(id)),
    }
}

pub(crate) fn config(wanted: switchyard_core::SetOwner, fallback: bool) -> FeatureConfig {
    FeatureConfig { state: Admin::Enabled, set_owner: wanted, fallback, ..FeatureConfig::default() }
}

/// What a program sees that has read the databases and now asks the engine.
pub(crate) fn view(world: &World, rows: Rows, fallback: bool) -> View {
    let view = View {
        instance: INSTANCE.clone(),
        kubernetes: true,
        server_answers: rows.server,
        config: config(rows.wanted, fallback),
        row: row(rows.row),
        local: match world.local {
            Local::Missing => switchyard_core::Local::Missing,
            Local::Stopped => switchyard_core::Local::Stopped,
            Local::Fresh | Local::Recording(_) | Local::Running | Local::Leaving => {
                switchyard_core::Local::Running
            }
        },
        pods: world
            .pods
            .iter()
            .filter_map(Pod::id)
            .map(|id| switchyard_core::Pod { id: long_id(id).clone() })
            .collect(),
        asker_version: None,
        verdict: if world.welcome { Verdict::Welcome } else { Verdict::Blocked },
    };
    let asker_version = view.asker().map(|_| POD_VERSION.clone());
    View { asker_version, ..view }
}
