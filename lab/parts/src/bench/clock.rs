//! Watches the memory of a process while it lives.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// How many looks make a process that only waits known: its memory does not change any more.
const LOOKS: usize = 2000;

/// A thread that reads a process's Pss again and again until the process is gone.
pub(super) struct Watcher {
    largest: Arc<AtomicU64>,
    looks: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Watcher {
    pub(super) fn of(pid: u32) -> Self {
        let (largest, looks) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let (seen, looked) = (Arc::clone(&largest), Arc::clone(&looks));
        let thread = thread::spawn(move || {
            while let Some(pss) = pss(pid) {
                seen.fetch_max(pss, Ordering::Relaxed);
                looked.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { largest, looks, thread }
    }

    /// Returns when the process has been looked at often enough.
    pub(super) fn rest(&self) {
        while self.looks.load(Ordering::Relaxed) < LOOKS && !self.thread.is_finished() {
            thread::yield_now();
        }
    }

    /// The largest Pss, in KiB, once the process is gone.
    pub(super) fn largest(self) -> u64 {
        // A thread that only reads cannot fail.
        let _ = self.thread.join();
        self.largest.load(Ordering::Relaxed)
    }
}

fn pss(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
