//! Says what is waited for, once it takes longer than a person expects, and how long it has been.

use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::output::tell;

/// A command that answers within this needs no word.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs something to its end, telling of it on standard error while it lasts.
pub(crate) fn told<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    // Boxed, since those who wait for it would carry it along whole.
    telling(what, PATIENCE, Box::pin(work), tell)
}

/// As [`told`], if somebody sits at a terminal: what control scripts call has its standard error in a unit's log.
pub(crate) fn told_at_terminal<T>(what: &str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let is_seen = io::stderr().is_terminal();
    telling(what, PATIENCE, Box::pin(work), move |line| {
        if is_seen {
            tell(line);
        }
    })
}

async fn telling<T>(
    what: &str,
    patience: Duration,
    work: impl Future<Output = T>,
    mut tell: impl FnMut(&str),
) -> T {
    let begin = Instant::now();
    let mut ticks = interval_at(begin + patience, AGAIN);
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
    async fn what_is_waited_for_is_handed_on_and_what_is_quick_needs_no_word() {
        let mut said = Vec::new();
        let done = telling("waiting", PATIENCE, async { 7 }, |line| said.push(line.to_owned())).await;
        assert_eq!((done, said.as_slice()), (7, [].as_slice()));
    }

    #[tokio::test]
    async fn what_lasts_is_told() {
        // It lasts until it has been told of.
        let (said, hears) = tokio::sync::oneshot::channel();
        let mut said = Some(said);
        let tell = |line: &str| {
            if let Some(said) = said.take() {
                said.send(line.to_owned()).unwrap();
            }
        };
        let line = telling("waiting for snmp to stop", Duration::from_millis(1), hears, tell).await.unwrap();
        assert_eq!(line, "waiting for snmp to stop … 0 s");
    }
}
