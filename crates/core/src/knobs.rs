//! Every number of the rules, named, with its default and the reason for it.

use std::time::Duration;

/// Read once from `/etc/sonic/remote_ctr.config.json`, beside SONiC's own keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knobs {
    /// `revert_to_local_on_wait_seconds`: how long nobody may run before the local image steps in. 300 is what
    /// SONiC's `container` assumes without a file.
    pub revert_to_local: Duration,
    /// `wait_safety_check_seconds`: how often `container wait` compares the row with the engine when nothing has
    /// happened; Redis tells nobody that its data was flushed. Under a minute, as promised.
    pub safety_check: Duration,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { revert_to_local: Duration::from_mins(5), safety_check: Duration::from_secs(45) }
    }
}
