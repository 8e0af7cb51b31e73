//! What a feature is, as its author writes it down; and every rule about what may be written.
//!
//! The reference for authors, with an example of each key, is `docs/generator.md`.

use std::collections::BTreeMap;

use serde::Deserialize;
use switchyard_core::FeatureName;

use crate::error::DescriptionError;
use crate::raw::Raw;
use crate::reader::{Reader, line_of};

/// More is no description; it also bounds what a broken file can make us read.
const MAX_BYTES: usize = 64 * 1024;

/// A description that holds every rule; the only way to get one is [`Description::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub(crate) name: FeatureName,
    pub(crate) summary: String,
    /// `None` only for a kube-only feature: Kubernetes brings the image.
    pub(crate) image: Option<String>,
    pub(crate) host_scope: bool,
    pub(crate) asic_scope: bool,
    pub(crate) user: String,
    pub(crate) stop_timeout: u32,
    pub(crate) restart_delay: u32,
    pub(crate) delayed: bool,
    pub(crate) auto_restart: AutoRestart,
    pub(crate) state: InitialState,
    pub(crate) owner: Owner,
    pub(crate) requires: Vec<Dependency>,
    pub(crate) requisite: Vec<Dependency>,
    pub(crate) after: Vec<Dependency>,
    pub(crate) before: Vec<Dependency>,
    pub(crate) wanted_by: Vec<Dependency>,
    pub(crate) arguments: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) network: Option<String>,
    pub(crate) pre_start: Vec<String>,
    pub(crate) post_start: Vec<String>,
    /// The digest of the text it was read from, so that a generated file can say what it comes from.
    pub(crate) source: String,
}

/// What happens when the container ends by itself; `featured` turns it into the unit's `Restart=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoRestart {
    /// systemd starts it again.
    #[default]
    Enabled,
    /// It stays down.
    Disabled,
    /// systemd starts it again, and no operator can change that.
    AlwaysEnabled,
}

/// The state a feature has before an operator chooses one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialState {
    /// Runs from the first boot.
    Enabled,
    /// Waits for `config feature state … enabled`.
    #[default]
    Disabled,
    /// Runs, and no operator can change that.
    AlwaysEnabled,
    /// Never runs.
    AlwaysDisabled,
}

/// Who shall run the container before an operator chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// systemd, with the image on the switch.
    Local,
    /// Kubernetes.
    Kube,
}

/// A unit that this one depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The unit's name without `@` and without the ending of its kind.
    pub(crate) base: String,
    /// `.service` unless the author wrote another one.
    pub(crate) kind: &'static str,
    /// Written with `@`: means the copy of the same ASIC wherever there are copies.
    pub(crate) per_asic: bool,
}

impl Description {
    /// Reads a description. The first thing that is wrong is the error, with its key and line.
    pub fn parse(text: &str) -> Result<Self, DescriptionError> {
        if text.len() > MAX_BYTES {
            return Err(DescriptionError::TooLong { size: text.len(), max: MAX_BYTES });
        }
        let raw: Raw = toml::from_str(text).map_err(|error| DescriptionError::Syntax {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            problem: one_line(error.message()),
        })?;
        Reader { text }.description(&raw)
    }

    /// The feature's name.
    pub fn name(&self) -> &FeatureName {
        &self.name
    }

    /// The names of its unit files. A feature of per-ASIC scope has the plain one too: it is used on switches with
    /// one ASIC (SONIC.md 2.8).
    pub fn units(&self) -> Vec<String> {
        let plain = format!("{}.service", self.name);
        if self.asic_scope { vec![plain, format!("{}@.service", self.name)] } else { vec![plain] }
    }

    /// The fields of its FEATURE row, in the spelling of `init_cfg.json`.
    pub fn feature_row(&self) -> BTreeMap<&'static str, &'static str> {
        let capital = |value| if value { "True" } else { "False" };
        let mut row = BTreeMap::from([
            ("state", self.state.word()),
            ("auto_restart", self.auto_restart.word()),
            ("delayed", capital(self.delayed)),
            ("has_global_scope", capital(self.host_scope)),
            ("has_per_asic_scope", capital(self.asic_scope)),
            ("high_mem_alert", "disabled"),
            ("set_owner", self.owner.word()),
            ("check_up_status", "false"),
            ("support_syslog_rate_limit", "false"),
        ]);
        if self.image.is_none() {
            // There is nothing on the switch to fall back to.
            row.insert("no_fallback_to_local", "true");
        }
        row
    }
}

impl AutoRestart {
    fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::AlwaysEnabled => "always_enabled",
        }
    }
}

impl InitialState {
    fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::AlwaysEnabled => "always_enabled",
            Self::AlwaysDisabled => "always_disabled",
        }
    }
}

impl Owner {
    fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Kube => "kube",
        }
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
