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
    /// `failed_version_delay_seconds`: how long a version that failed once is kept out; twice as long each time.
    /// Longer than a kubelet's own first restarts, so that a pod that needs a moment is not judged by it.
    pub failed_version_delay: Duration,
    /// `failures_until_blocked`: how often in a row a version may fail before only the operator can let it in.
    pub failures_until_blocked: u32,
    /// `label_drop_seconds`: how long a unit must have been off by hand before the node label follows, so that stop,
    /// look, start does not take a version out of turn.
    pub label_drop: Duration,
}

impl Knobs {
    /// How long a version that failed so often is kept out.
    pub fn delay_after(&self, failures: u32) -> Duration {
        // Bounded: nobody waits for more doublings than this.
        self.failed_version_delay * 2u32.pow(failures.saturating_sub(1).min(10))
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            revert_to_local: Duration::from_mins(5),
            safety_check: Duration::from_secs(45),
            failed_version_delay: Duration::from_mins(1),
            failures_until_blocked: 3,
            label_drop: Duration::from_mins(5),
        }
    }
}
