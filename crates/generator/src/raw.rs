//! The description exactly as it stands in TOML: every key with its type, default and line, nothing judged yet.
//!
//! Judging is [`crate::Description::parse`]. Every table refuses keys it does not know, so that a misspelt key is an
//! error and not a setting that silently does nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::description::{AutoRestart, InitialState, Owner};

/// A text that remembers where it stood.
pub(crate) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) name: Text,
    pub(crate) description: Option<Text>,
    pub(crate) image: Option<Text>,
    #[serde(default)]
    pub(crate) kube_only: bool,
    pub(crate) scope: Option<Vec<Text>>,
    pub(crate) user: Option<Text>,
    pub(crate) stop_timeout_seconds: Option<Spanned<u32>>,
    pub(crate) restart_delay_seconds: Option<Spanned<u32>>,
    #[serde(default)]
    pub(crate) delayed: bool,
    #[serde(default)]
    pub(crate) auto_restart: AutoRestart,
    #[serde(default)]
    pub(crate) state: InitialState,
    #[serde(default)]
    pub(crate) owner: Option<Owner>,
    #[serde(default)]
    pub(crate) dependencies: Dependencies,
    #[serde(default)]
    pub(crate) container: Container,
    #[serde(default)]
    pub(crate) hooks: Hooks,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dependencies {
    #[serde(default)]
    pub(crate) requires: Vec<Text>,
    #[serde(default)]
    pub(crate) requisite: Vec<Text>,
    #[serde(default)]
    pub(crate) after: Vec<Text>,
    #[serde(default)]
    pub(crate) before: Vec<Text>,
    pub(crate) wanted_by: Option<Vec<Text>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    #[serde(default)]
    pub(crate) arguments: Vec<Text>,
    #[serde(default)]
    pub(crate) command: Vec<Text>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<Text, Text>,
    #[serde(default)]
    pub(crate) volumes: Vec<Text>,
    pub(crate) network: Option<Text>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    #[serde(default)]
    pub(crate) pre_start: Vec<Text>,
    #[serde(default)]
    pub(crate) post_start: Vec<Text>,
}
