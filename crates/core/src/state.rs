//! What the rows of a feature say, as types. Reading them from Redis, with its aliases and defaults, is the
//! `sonic` crate's; here stand only the words that SONiC writes and what they mean.

use std::fmt;

use serde::Serialize;

use crate::{ContainerId, Version};

/// The words of an enum that stands in a row: one list serves writing, printing and reading back.
pub trait Words: Sized + std::marker::Copy + 'static {
    /// Each value with the word that SONiC ships for it.
    const ALL: &'static [(Self, &'static str)];

    /// The value of a shipped word.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, w)| *w == word).map(|(value, _)| *value)
    }
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Words for $type {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];
        }
        impl $type {
            /// The word that stands in the row.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }
    };
}

/// FEATURE.state of CONFIG_DB: may the feature run?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admin {
    /// It runs.
    Enabled,
    /// It does not run.
    Disabled,
    /// It runs and cannot be disabled.
    AlwaysEnabled,
    /// It does not run and cannot be enabled.
    AlwaysDisabled,
    /// A Jinja2 template that `featured` has not rendered yet.
    Template,
}
words!(Admin {
    Enabled = "enabled",
    Disabled = "disabled",
    AlwaysEnabled = "always_enabled",
    AlwaysDisabled = "always_disabled",
    Template = "template",
});

impl Admin {
    /// Whether the operator can change it.
    pub fn immutable(self) -> bool {
        matches!(self, Self::AlwaysEnabled | Self::AlwaysDisabled)
    }

    /// Whether it says, in so many words, that the feature runs. An unrendered template does not (SONIC.md 3.5).
    pub fn is_enabled(self) -> bool {
        matches!(self, Self::Enabled | Self::AlwaysEnabled)
    }
}

/// FEATURE.set_owner: who is meant to run the feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetOwner {
    /// systemd, with the image that came with the switch.
    Local,
    /// Kubernetes.
    Kube,
}
words!(SetOwner { Local = "local", Kube = "kube" });

/// FEATURE.current_owner of STATE_DB: who runs the feature now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CurrentOwner {
    /// The local copy.
    Local,
    /// A pod.
    Kube,
    /// Nobody.
    None,
}
words!(CurrentOwner { Local = "local", Kube = "kube", None = "none" });

/// FEATURE.system_state: the unit's wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemState {
    /// The unit wants a copy to run.
    Up,
    /// The unit wants none to run.
    Down,
}
words!(SystemState { Up = "up", Down = "down" });

/// FEATURE.remote_state: how far the hand-shake with the pod has come (SONIC.md 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteState {
    /// No pod has asked.
    None,
    /// A pod asks to run.
    Pending,
    /// The host says that the local copy has ended: this pod may run.
    Ready,
    /// The pod runs.
    Running,
    /// The pod ran and has ended.
    Stopped,
}
words!(RemoteState {
    None = "none",
    Pending = "pending",
    Ready = "ready",
    Running = "running",
    Stopped = "stopped",
});

/// FEATURE.kube_update: whether a version other than the last one that ran here takes over by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KubeUpdate {
    /// At once.
    Auto,
    /// Only when the operator accepts it.
    Hold,
}
words!(KubeUpdate { Auto = "auto", Hold = "hold" });

/// A feature's configuration (CONFIG_DB `FEATURE|<name>`), as far as ownership looks at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct FeatureConfig {
    /// May it run?
    pub state: Admin,
    /// Who is meant to run it?
    pub set_owner: SetOwner,
    /// May the local image step in when Kubernetes fails?
    pub fallback: bool,
    /// When does another version take over? Nothing if nobody has said: see [`FeatureConfig::update_policy`].
    pub kube_update: Option<KubeUpdate>,
    /// Does systemd restart it after it ends by itself?
    pub auto_restart: bool,
    /// Is it started only after the ports are up?
    pub delayed: bool,
    /// Has the host an instance of it?
    pub has_global_scope: bool,
    /// Has each ASIC an instance of it?
    pub has_per_asic_scope: bool,
}

impl FeatureConfig {
    /// When another version takes over. Where nobody has said, a version whose turn would restart other features too is
    /// not let in by itself: that is more than its manifest speaks of.
    pub fn update_policy(&self, takes_others: bool) -> KubeUpdate {
        let default = if takes_others { KubeUpdate::Hold } else { KubeUpdate::Auto };
        self.kube_update.unwrap_or(default)
    }

    /// Whether nobody could run the feature on a switch that leaves its cluster: Kubernetes is meant to, and the local
    /// image is not there or must not.
    pub fn stops_without_cluster(&self, has_local_image: bool) -> bool {
        let needs_cluster = !self.fallback || !has_local_image;
        self.set_owner == SetOwner::Kube && self.state.is_enabled() && needs_cluster
    }
}

impl Default for FeatureConfig {
    /// What a missing field means to the shipped readers (SONIC.md 2.1 and 3.1).
    fn default() -> Self {
        Self {
            state: Admin::Disabled,
            set_owner: SetOwner::Local,
            fallback: true,
            kube_update: None,
            auto_restart: false,
            delayed: false,
            has_global_scope: true,
            has_per_asic_scope: false,
        }
    }
}

/// What is recorded about an instance (STATE_DB `FEATURE|<name>` of its namespace).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct FeatureState {
    /// The unit's wish; absent until its first start after boot.
    pub system_state: Option<SystemState>,
    /// Who runs it.
    pub current_owner: CurrentOwner,
    /// The argument for the engine, if a copy is recorded.
    pub container_id: Option<ContainerId>,
    /// The version of the running, or asking, copy.
    pub container_version: Option<Version>,
    /// The version last known good.
    pub stable_version: Option<Version>,
    /// The stable version before that.
    pub last_version: Option<Version>,
    /// The hand-shake with the pod.
    pub remote_state: RemoteState,
    /// The container that asked last; `ready` is its alone. Unmodified SONiC images do not write it.
    pub remote_container_id: Option<ContainerId>,
    /// When anything of this last changed, local time as SONiC writes it.
    pub update_time: Option<String>,
    /// Since when the owner is this one. Where only SONiC's own programs have written, their `update_time`.
    pub owner_since: Option<String>,
}

impl FeatureState {
    /// What engine commands about the recorded copy take: the local container's name, or the recorded id
    /// (SONIC.md 3.2).
    pub fn engine_name(&self, local: &str) -> Option<ContainerId> {
        match self.current_owner {
            CurrentOwner::Local => ContainerId::parse(local).ok(),
            CurrentOwner::Kube | CurrentOwner::None => self.container_id.clone(),
        }
    }

    /// Whether every pod that begins while the row is like this waits: the unit is down, nobody is recorded, and nobody has
    /// asked (SONIC.md 4.2, row 4). One that the engine does not yet list as running need not be waited for: it can only
    /// run by a row that was changed, and whoever relies on this changes it on condition that it was not.
    pub fn holds_pods_back(&self) -> bool {
        self.system_state == Some(SystemState::Down)
            && self.current_owner == CurrentOwner::None
            && matches!(self.remote_state, RemoteState::None | RemoteState::Stopped)
    }
}

impl Default for FeatureState {
    /// A row that is not there: nobody ever started the feature through us.
    fn default() -> Self {
        Self {
            system_state: None,
            current_owner: CurrentOwner::None,
            container_id: None,
            container_version: None,
            stable_version: None,
            last_version: None,
            remote_state: RemoteState::None,
            remote_container_id: None,
            update_time: None,
            owner_since: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_takes_others_with_it_holds_unless_the_operator_has_said() {
        let policy = |kube_update, takes_others| {
            FeatureConfig { kube_update, ..FeatureConfig::default() }.update_policy(takes_others)
        };
        assert_eq!([false, true].map(|others| policy(None, others)), [KubeUpdate::Auto, KubeUpdate::Hold]);
        for said in [KubeUpdate::Auto, KubeUpdate::Hold] {
            assert_eq!([false, true].map(|others| policy(Some(said), others)), [said, said]);
        }
    }

    #[test]
    fn leaving_stops_what_only_the_cluster_may_or_can_run() {
        let kube =
            FeatureConfig { state: Admin::Enabled, set_owner: SetOwner::Kube, ..FeatureConfig::default() };
        assert!(!kube.stops_without_cluster(true), "it comes home");
        assert!(kube.stops_without_cluster(false), "there is no home");
        assert!(FeatureConfig { fallback: false, ..kube.clone() }.stops_without_cluster(true));
        assert!(!FeatureConfig { state: Admin::Disabled, ..kube.clone() }.stops_without_cluster(false));
        assert!(!FeatureConfig { set_owner: SetOwner::Local, ..kube }.stops_without_cluster(false));
    }
}
