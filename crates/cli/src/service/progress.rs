//! Says what is waited for, once it takes longer than a person expects, and how long it has been.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::output::tell;

/// A command that answers within this needs no word.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs something to its end, telling of it on standard error while it lasts.
pub(super) async fn told<T>(what: &str, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let mut ticks = interval_at(begin + PATIENCE, AGAIN);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => tell(&format!("{what} … {} s", begin.elapsed().as_secs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_is_handed_on() {
        assert_eq!(told("waiting for nothing", async { 7 }).await, 7);
    }
}
