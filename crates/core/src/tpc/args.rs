//! `--args "<docker create arguments>"`: what an operator adds to a container, as a value that is kept in its record.
//!
//! Takes what `docker create` takes and what makes sense for a container that tpcm owns. Its name, its restarts, its
//! limits and its volumes `/tpc` and `/tpc_shared` are tpcm's; a flag that would take one of them away is refused with
//! the way to do it instead. Nothing is ever passed on that is not understood here.

mod flags;
mod hazard;
mod parse;
#[cfg(test)]
mod tests;
mod values;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use hazard::Hazard;
pub use values::{Device, Mount, MountKind, Port, Tmpfs, Transport, Ulimit};

/// Why `--args` cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// A quote that is not closed, or a backslash at the end.
    #[error("--args has a quote that is not closed: {0:?}")]
    Unbalanced(String),
    /// More than a command line has.
    #[error("--args has {0} characters, at most {MAX} are allowed")]
    TooLong(usize),
    /// Something no program can be given.
    #[error("--args has a null character in it")]
    Null,
    /// A flag that nobody knows.
    #[error("--args: {0:?} is not an argument of `docker create` that tpcm knows; see: tpcm install --help")]
    Unknown(String),
    /// A word that belongs to no flag.
    #[error("--args: {0:?} belongs to no option; the container's command is written after --")]
    Stray(String),
    /// A flag whose effect is tpcm's own.
    #[error("--args: {flag} is not taken: {why}")]
    Refused {
        /// As written.
        flag: String,
        /// Whose it is, and what to do instead.
        why: &'static str,
    },
    /// A flag at the end that wants a value.
    #[error("--args: {0} needs a value")]
    NoValue(String),
    /// A value of another form.
    #[error("--args: {flag} {value:?} is not valid: {rule}")]
    BadValue {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wanted.
        rule: &'static str,
    },
    /// A flag that can be given once only.
    #[error("--args: {0} is given twice")]
    Twice(&'static str),
    /// Two volumes in one place.
    #[error("--args: two volumes are mounted at {0}")]
    SamePlace(String),
}

/// Longer than anybody types.
const MAX: usize = 32 * 1024;

/// What `docker create` is told beside the image and what tpcm says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateArgs {
    /// `--env`, each `NAME=value`.
    pub env: Vec<String>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--volume` and `--mount`
    pub mounts: Vec<Mount>,
    /// `--tmpfs`
    pub tmpfs: Vec<Tmpfs>,
    /// `--device`
    pub devices: Vec<Device>,
    /// `--publish`; the engine does without on the host's network.
    pub ports: Vec<Port>,
    /// `--network`; the host's if none is said.
    pub network: Option<String>,
    /// `--pid`: `host` or `container:<name>`
    pub pid: Option<String>,
    /// `--ipc`: `host`, `private`, `shareable`, `none` or `container:<name>`
    pub ipc: Option<String>,
    /// `--uts`: `host`
    pub uts: Option<String>,
    /// `--userns`: `host`
    pub userns: Option<String>,
    /// `--cgroupns`: `host` or `private`
    pub cgroupns: Option<String>,
    /// `--cap-add`
    pub cap_add: Vec<String>,
    /// `--cap-drop`
    pub cap_drop: Vec<String>,
    /// `--privileged`
    pub privileged: bool,
    /// `--security-opt`
    pub security_opt: Vec<String>,
    /// `--sysctl`
    pub sysctls: BTreeMap<String, String>,
    /// `--ulimit`
    pub ulimits: Vec<Ulimit>,
    /// `--group-add`
    pub group_add: Vec<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--workdir`
    pub workdir: Option<String>,
    /// `--hostname`
    pub hostname: Option<String>,
    /// `--add-host`, each `name:address`.
    pub add_host: Vec<String>,
    /// `--dns`
    pub dns: Vec<String>,
    /// `--dns-search`
    pub dns_search: Vec<String>,
    /// `--dns-option`
    pub dns_option: Vec<String>,
    /// `--entrypoint`; empty takes the image's away.
    pub entrypoint: Option<String>,
    /// The words after `--`.
    pub command: Vec<String>,
    /// `--init`
    pub init: bool,
    /// `--read-only`
    pub read_only: bool,
    /// `--no-healthcheck`
    pub no_healthcheck: bool,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--stop-signal`
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, in seconds.
    pub stop_timeout: Option<u32>,
    /// `--log-driver`
    pub log_driver: Option<String>,
    /// `--log-opt`
    pub log_opts: BTreeMap<String, String>,
}

impl CreateArgs {
    /// Takes a text as a shell would take it apart.
    pub fn parse(text: &str) -> Result<Self, ArgsError> {
        if text.len() > MAX {
            return Err(ArgsError::TooLong(text.len()));
        }
        if text.contains('\0') {
            return Err(ArgsError::Null);
        }
        let words = shlex::split(text).ok_or_else(|| ArgsError::Unbalanced(clip(text)))?;
        let args = parse::all(words)?;
        hazard::check(&args)?;
        Ok(args)
    }

    /// What in it the operator should know before it is done: allowed, and dangerous.
    pub fn hazards(&self) -> Vec<Hazard> {
        hazard::of(self)
    }

    /// Whether the container lives in the host's network, as it does unless told otherwise.
    pub fn is_on_host_network(&self) -> bool {
        self.network.as_deref().is_none_or(|network| network == "host")
    }
}

/// What was given, short enough for one line of an error.
fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}
