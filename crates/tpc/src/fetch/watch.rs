//! When the other side has been silent for too long.

use std::time::Duration;

use tokio::time::Instant;

/// Less than this within the time limit is as good as nothing: a server could else hold us for days.
pub(super) const STALL_BYTES: u64 = 1024;

/// When the other side has been silent, or nearly so, for too long.
pub(super) struct Watch {
    deadline: Instant,
    since: u64,
    max: Duration,
}

impl Watch {
    pub(super) fn new(max: Duration) -> Self {
        Self { deadline: Instant::now() + max, since: 0, max }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn came(&mut self, bytes: usize) {
        self.since += bytes as u64;
        if self.since >= STALL_BYTES {
            *self = Self::new(self.max);
        }
    }
}
