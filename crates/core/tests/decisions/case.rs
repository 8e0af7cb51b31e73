//! Situations, told in a line. What is not said is as on a switch in order: Kubernetes support installed, the server
//! answers, fallback allowed, the feature enabled, the local container created and not running, no row, no pod.

use switchyard_core::{
    Admin, ContainerId, CurrentOwner, FeatureConfig, FeatureName, FeatureState, Instance, Local, Pod,
    RemoteState, SetOwner, SystemState, Verdict, Version, View,
};

pub(crate) const FEATURE: &str = "snmp";

/// A feature that is to run locally.
pub(crate) fn local() -> View {
    wanted(SetOwner::Local)
}

/// A feature that Kubernetes is to run.
pub(crate) fn kube() -> View {
    wanted(SetOwner::Kube)
}

fn wanted(set_owner: SetOwner) -> View {
    View {
        instance: Instance::on_host(feature()),
        kubernetes: true,
        server_answers: true,
        config: FeatureConfig { state: Admin::Enabled, set_owner, ..FeatureConfig::default() },
        row: FeatureState::default(),
        local: Local::Stopped,
        pods: Vec::new(),
        asker_version: None,
        verdict: Verdict::Welcome,
    }
}

pub(crate) fn feature() -> FeatureName {
    FeatureName::parse(FEATURE).unwrap()
}

/// `a` is written `aaaaaaaaaaaa` in rows and has sixty-four digits on the engine; the local container has its name.
pub(crate) fn row_id(id: &str) -> ContainerId {
    if id == FEATURE { ContainerId::parse(id).unwrap() } else { engine_id(id).short() }
}

pub(crate) fn engine_id(id: &str) -> ContainerId {
    ContainerId::parse(&id.repeat(64)).unwrap()
}

/// The row of a unit that is up, owned by nobody.
pub(crate) fn up() -> FeatureState {
    FeatureState { system_state: Some(SystemState::Up), ..FeatureState::default() }
}

/// The row of a unit that is down.
pub(crate) fn down() -> FeatureState {
    FeatureState { system_state: Some(SystemState::Down), ..FeatureState::default() }
}

pub(crate) trait RowCase {
    fn owner(self, owner: CurrentOwner, id: &str) -> Self;
    /// A pod runs that could not find out its id.
    fn owner_without_id(self) -> Self;
    /// The hand-shake, with the container that asked; empty if that one does not know its id.
    fn remote(self, state: RemoteState, asker: &str) -> Self;
}

impl RowCase for FeatureState {
    fn owner(self, owner: CurrentOwner, id: &str) -> Self {
        Self { current_owner: owner, container_id: Some(row_id(id)), ..self }
    }

    fn owner_without_id(self) -> Self {
        Self { current_owner: CurrentOwner::Kube, container_id: None, ..self }
    }

    fn remote(self, state: RemoteState, asker: &str) -> Self {
        let remote_container_id = (!asker.is_empty()).then(|| row_id(asker));
        Self { remote_state: state, remote_container_id, ..self }
    }
}

pub(crate) trait ViewCase {
    fn row(self, row: FeatureState) -> Self;
    fn runs(self) -> Self;
    fn no_image(self) -> Self;
    fn no_fallback(self) -> Self;
    fn no_server(self) -> Self;
    fn no_kubernetes(self) -> Self;
    fn state(self, state: Admin) -> Self;
    /// Pods whose containers run on the engine.
    fn pods(self, ids: &[&str]) -> Self;
    /// The version of the pod that asks, as the engine knows it.
    fn asks(self, version: &str) -> Self;
}

impl ViewCase for View {
    fn row(self, row: FeatureState) -> Self {
        Self { row, ..self }
    }

    fn runs(self) -> Self {
        Self { local: Local::Running, ..self }
    }

    fn no_image(self) -> Self {
        Self { local: Local::Missing, ..self }
    }

    fn no_fallback(mut self) -> Self {
        self.config.fallback = false;
        self
    }

    fn no_server(self) -> Self {
        Self { server_answers: false, ..self }
    }

    fn no_kubernetes(self) -> Self {
        Self { kubernetes: false, server_answers: false, ..self }
    }

    fn state(mut self, state: Admin) -> Self {
        self.config.state = state;
        self
    }

    fn pods(self, ids: &[&str]) -> Self {
        Self { pods: ids.iter().map(|id| Pod { id: engine_id(id) }).collect(), ..self }
    }

    fn asks(self, version: &str) -> Self {
        Self { asker_version: Version::parse(version).ok(), ..self }
    }
}
