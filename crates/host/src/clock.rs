//! Clocks that nobody can set, and a sleep that wakes its process once.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Time since boot, suspended time included.
pub fn boottime() -> Duration {
    read(ClockId::Boottime)
}

/// systemd's clock: without the time that was slept through.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Sleeps on a timer of the kernel's. One of the runtime's wakes the process up to three times: its wheel turns by 4096 ms
/// and by 64 ms before it comes to the very millisecond.
pub async fn sleep(time: Duration) {
    match alarm(time) {
        // An alarm that cannot be heard is as one that has rung: whoever sleeps looks again.
        Ok(alarm) => drop(alarm.readable().await),
        Err(_) => tokio::time::sleep(time).await,
    }
}

#[expect(
    deprecated,
    reason = "its successors are unsafe: they trust a type's word for its descriptor, OwnedFd's is good"
)]
fn alarm(time: Duration) -> io::Result<AsyncFd<OwnedFd>> {
    let alarm = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    // Nothing would be no alarm at all.
    let time = Timespec::try_from(time.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
    let once = Itimerspec { it_interval: Timespec::default(), it_value: time };
    timerfd_settime(&alarm, TimerfdTimerFlags::empty(), &once)?;
    AsyncFd::with_interest(alarm, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often this thread has gone to sleep.
    fn slept() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_sleeps_is_woken_once() {
        // Longer than a turn of the runtime's wheel by 64 ms.
        let time = Duration::from_millis(150);
        let mut fewest = u64::MAX;
        // A machine with other work may have a thread wait for memory besides.
        for _ in 0..3 {
            let (begin, before) = (boottime(), slept());
            sleep(time).await;
            assert!(boottime() >= begin + time);
            fewest = fewest.min(slept() - before);
        }
        assert_eq!(fewest, 1);
    }

    #[tokio::test]
    async fn no_time_is_over_at_once() {
        sleep(Duration::ZERO).await;
    }
}
